"""Which scopes of ours are open in each task of a run, since trio cannot be asked.

trio has a tree of its own, in which scopes are cancelled and deadlines expire. If a scope is left in another
task, or before one that was entered inside it, trio takes its stack for corrupted and gives up the tasks in
it. So trio is never asked to do that: whether a scope can be left is found out here first (G9, L6).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import current_thread
from typing import TYPE_CHECKING

from trio.lowlevel import RunVar, current_task

from .._dispatch import cannot_be_entered
from .._errors import already_entered, left_in_another_task, not_open, used_from_elsewhere

if TYPE_CHECKING:
    from trio.lowlevel import Task


class Tree:
    """The open scopes of one run of trio."""

    __slots__ = ("innermost", "thread")

    def __init__(self) -> None:
        self.thread = current_thread().name
        self.innermost: dict[Task, Scope] = {}

    def is_here(self) -> bool:
        """Whether this code is called in this run; callbacks of the run are welcome (D5)."""
        try:
            return _trees.get() is self
        except (RuntimeError, LookupError):
            return False

    def elsewhere(self, owner: object, call: str) -> RuntimeError:
        here = f"thread {current_thread().name!r}"
        try:
            current_tree()
        except RuntimeError:
            here = f"{here}, where trio does not run"
        else:
            here = f"another run of trio in {here}"
        return used_from_elsewhere(
            call, owner, f"a run of trio in thread {self.thread!r}", here, "trio.from_thread.run_sync()"
        )

    def check_here(self, owner: object, call: str) -> None:
        """Refuse a call that comes from another run, or from outside of any (D5).

        Raises:
            RuntimeError: it does.
        """
        if not self.is_here():
            raise self.elsewhere(owner, call)


_trees: RunVar[Tree] = RunVar("interloop")


def current_tree() -> Tree:
    """The tree of this run.

    Raises:
        RuntimeError: trio does not run here.
    """
    try:
        return _trees.get()
    except LookupError:
        tree = Tree()
        _trees.set(tree)
        return tree


class Scope(ABC):
    """What a task group and a deadline share.

    A scope is open natively if and only if it can be reached from `innermost` along `_outer`. `_task` is the
    task that entered it, until it leaves it. One can be without the other:

    - A deadline that was left too early has no `_task`, and is open natively until all inside it is closed.
    - A scope that was closed together with one around it has its `_task`, which may still leave it, to no
    effect.
    """

    __slots__ = ("__weakref__", "_entered", "_in_body", "_outer", "_task", "_tree")

    _entered: bool
    _in_body: bool
    _outer: Scope | None  # the next open scope in the same task
    _task: Task | None
    _tree: Tree

    def _check_enter(self) -> None:
        """Find out where this scope is entered.

        Raises:
            RuntimeError: it was entered before, or no task of trio runs here (G9, L6).
        """
        if self._entered:
            raise already_entered(self)
        try:
            self._task = current_task()
        except RuntimeError:
            raise cannot_be_entered(self, "trio") from None
        self._tree = current_tree()

    def _opened(self) -> None:
        """It is open natively now."""
        task = self._task
        assert task is not None
        self._outer = self._tree.innermost.get(task)
        self._tree.innermost[task] = self
        self._entered = True
        self._in_body = True

    def _check_owner(self) -> Task:
        """The task that leaves this scope, which must be the one that entered it.

        Raises:
            RuntimeError: it is another one; the scope stays open for its owner (G9, L6).
        """
        task = self._task
        if task is None:
            raise not_open(self)
        self._tree.check_here(self, "leaving")
        current = current_task()
        if current is not task:
            raise left_in_another_task(self, task.name, current.name)
        return task

    def _inside(self, task: Task) -> list[Scope] | None:
        """The scopes of `task` inside this one, innermost first; `None` if this one was closed before."""
        found: list[Scope] = []
        scope = self._tree.innermost.get(task)
        while scope is not None:
            if scope is self:
                return found
            found.append(scope)
            scope = scope._outer
        return None

    def _closed(self, task: Task) -> None:
        """It was the innermost scope, and is closed natively."""
        outer = self._outer
        self._outer = None  # G11
        if outer is None:
            del self._tree.innermost[task]
        else:
            self._tree.innermost[task] = outer
            outer._innermost_again(task)

    def _innermost_again(self, task: Task) -> None:  # noqa: B027  # a group has nothing to do then
        """All that was open inside is closed natively."""

    @abstractmethod
    def _abandon(self) -> None:
        """A scope around it is left first: cancel its children, and let it expire no more."""

    @abstractmethod
    async def _close_abandoned(self, task: Task) -> list[BaseException]:
        """Wait for its children and close it natively; return the errors."""


async def close_all(scopes: list[Scope], task: Task) -> list[BaseException]:
    """Close `scopes` of `task`, innermost first (G9); return the errors of those that were groups."""
    for scope in scopes:
        scope._abandon()
    return [error for scope in scopes for error in await scope._close_abandoned(task)]
