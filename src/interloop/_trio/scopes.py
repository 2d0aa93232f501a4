"""Which scopes of ours are open in each task of a run, since trio cannot be asked.

trio has a tree of its own, in which scopes are cancelled and deadlines expire. If a scope is left in another
task, or before one that was entered inside it, trio takes its stack for corrupted and gives up the tasks in
it. So trio is never asked to do that: whether a scope can be left is found out here first (G9, L6).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from threading import get_ident
from typing import TYPE_CHECKING

from sniffio import thread_local
from trio.lowlevel import current_root_task, current_task

from .._dispatch import current_backend_name
from .._errors import (
    already_entered,
    entered_under_another_library,
    left_in_another_task,
    not_open,
    outside_of_tasks,
    used_from_elsewhere,
)
from .privates import is_in_callback

if TYPE_CHECKING:
    from trio.lowlevel import Task


innermost: dict[Task, Scope] = {}  # of the tasks of all runs

# A task that is not a child of ours can end while it has a scope of ours open, such as one in an async
# generator that was not closed. When there are this many entries, those of tasks that have ended go.
FEW = 100
_many = FEW


def _forget_what_ended() -> None:
    global _many
    for task in list(innermost):
        if getattr(task.coro, "cr_frame", task) is None:
            innermost.pop(task, None)
    _many = max(FEW, 2 * len(innermost))


def _is_between_steps() -> bool:
    """Whether code of the loop runs that trio is a guest of: trio would learn of a call late, or never."""
    return thread_local.name is None


def _root_of(task: Task) -> Task:
    while task.parent_nursery is not None:
        task = task.parent_nursery.parent_task
    return task


class Scope(ABC):
    """What a task group and a deadline share.

    A scope is open natively if and only if it can be reached from `innermost` along `_outer`. `_task` is the
    task that entered it, until it leaves it. One can be without the other:

    - A deadline that was left too early has no `_task`, and is open natively until all inside it is closed.
    - A scope that was closed together with one around it has its `_task`, which may still leave it, to no
    effect.
    """

    __slots__ = ("__weakref__", "_entered", "_in_body", "_outer", "_task", "_thread")

    _entered: bool
    _in_body: bool
    _outer: Scope | None  # the next open scope in the same task
    _task: Task | None
    _thread: int  # the one whose run of trio it was entered in

    def _check_enter(self) -> Task:
        """The task that enters this scope.

        Raises:
            RuntimeError: it was entered before, or no task of trio runs here (G9, L6).
        """
        if self._entered:
            raise already_entered(self)
        try:
            task = current_task()
        except RuntimeError:
            here = current_backend_name("entering a scope")
            raise entered_under_another_library(self, "trio", here) from None
        if is_in_callback(task):
            raise outside_of_tasks(self)
        return task

    def _opened(self, task: Task) -> None:
        """It is open natively now."""
        self._task = task
        self._thread = get_ident()
        self._outer = innermost.get(task)
        innermost[task] = self
        self._entered = True
        self._in_body = True
        if len(innermost) > _many:
            _forget_what_ended()

    def _is_here(self) -> bool:
        """Whether this code is called in the run that this open scope is in, in a task or a callback (D5)."""
        assert self._task is not None
        try:
            return not _is_between_steps() and current_root_task() is _root_of(self._task)
        except RuntimeError:
            return False

    def _elsewhere(self, owner: object, call: str) -> RuntimeError:
        here = f"thread {threading.current_thread().name!r}"
        instead = "trio.from_thread.run()" if call == "await" else "trio.from_thread.run_sync()"
        try:
            current_root_task()
        except RuntimeError:
            here = f"{here}, where trio does not run"
        else:
            if _is_between_steps():
                here = f"the loop in {here} that trio is a guest of"
                instead = "TrioToken.run_sync_soon()"
            else:
                here = f"another run of trio in {here}"
        belongs_to = "a run of trio that is over"
        for thread in threading.enumerate():
            if thread.ident == self._thread:
                belongs_to = f"a run of trio in thread {thread.name!r}"
        return used_from_elsewhere(call, owner, belongs_to, here, instead)

    def _check_here(self, owner: object, call: str) -> None:
        """Refuse a call that comes from another run, or from outside of any (D5).

        Raises:
            RuntimeError: it does.
        """
        if not self._is_here():
            raise self._elsewhere(owner, call)

    def _check_owner(self) -> Task:
        """The task that leaves this scope, which must be the one that entered it.

        Raises:
            RuntimeError: it is another one; the scope stays open for its owner (G9, L6).
        """
        task = self._task
        if task is None:
            raise not_open(self)
        try:
            current = current_task()
        except RuntimeError:
            current = None
        if current is task:
            return task
        self._check_here(self, "leaving")
        raise left_in_another_task(self, task.name, "none" if current is None else current.name)

    def _closed(self, task: Task) -> None:
        """It was the innermost scope, and is closed natively."""
        outer = self._outer
        self._outer = None  # G11
        if outer is None:
            del innermost[task]
        else:
            innermost[task] = outer
            outer._innermost_again(task)

    def _innermost_again(self, task: Task) -> None:  # noqa: B027  # a group has nothing to do then
        """All that was open inside is closed natively."""

    @abstractmethod
    def _abandon(self) -> None:
        """A scope around it is left first: cancel its children, and let it expire no more."""

    @abstractmethod
    async def _close_abandoned(self, task: Task) -> list[BaseException]:
        """Wait for its children and close it natively; return the errors."""


def scopes_within(task: Task, around: Scope | None) -> list[Scope] | None:
    """The scopes of `task` inside `around`, or all of them, innermost first; `None` if it is not open."""
    found: list[Scope] = []
    scope = innermost.get(task)
    while scope is not around:
        if scope is None:
            return None
        found.append(scope)
        scope = scope._outer
    return found


async def close_all(scopes: list[Scope], task: Task) -> list[BaseException]:
    """Close `scopes` of `task`, innermost first (G9).

    Returns the errors of those that were groups, and those of closing, which keep no other from being closed.
    """
    for scope in scopes:
        scope._abandon()
    errors: list[BaseException] = []
    for scope in scopes:
        try:
            errors += await scope._close_abandoned(task)
        except RuntimeError as error:  # a scope of trio's own is open inside
            errors.append(error)
    return errors
