"""The tree: which scopes are open, which scope is around which, and what a cancelled scope reaches.

Downwards from a scope there are the scopes that its task has opened inside it, and the children of each group
among these, and so on. Upwards one follows `_parent`. The outermost node of a child is its handle, whose
parent is the group that owns it. A task that asyncio or somebody else made, and the inside of a `shield`, is
the root of a tree of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from sys import modules
from threading import current_thread
from typing import Any, ClassVar, NoReturn
from weakref import WeakKeyDictionary, ref

from .._checks import safe_repr
from .._dispatch import current_backend_name
from .._errors import (
    already_entered,
    entered_under_another_library,
    left_in_another_task,
    not_open,
    outside_of_tasks,
    used_from_elsewhere,
)
from .privates import ANYIO, AnyioScope, anyio_scope, current_task, shield_between
from .requests import Requests, outwards
from .timers import Timers

# A task that is not a child of ours can end while it has a scope of ours open, such as one in an async
# generator that was not closed. When there are this many entries, those of such tasks go; not that of the
# inside of a shield, which closes what was left open (G9).
FEW = 100


class Tree:
    """The open scopes of one loop."""

    __slots__ = ("in_shields", "innermost", "loop", "many", "requests", "starting", "thread", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # G11: the loop holds the tree, so this is no strong reference
        self.loop: Callable[[], asyncio.AbstractEventLoop | None] = ref(loop)
        self.thread = current_thread().name
        self.innermost: dict[asyncio.Task[Any], Node] = {}
        self.requests = Requests(self.innermost)
        self.timers = Timers()
        # C5: the tasks inside of shields, which asyncio.run() must not cancel at its end
        self.in_shields: set[asyncio.Task[Any]] = set()
        # an eager loop runs the first step of a task before it hands out and names the task
        self.starting: tuple[Coroutine[Any, Any, Any], Node, str | None] | None = None
        self.many = FEW

    def forget_what_ended(self) -> None:
        """Called where a group or an outermost deadline is entered and there are more than `many`."""
        for task in list(self.innermost):
            if task.done() and task not in self.in_shields and handle_of(task, self) is None:
                del self.innermost[task]
        self.many = max(FEW, 2 * len(self.innermost))

    def innermost_of(self, task: asyncio.Task[Any]) -> Node | None:
        node = self.innermost.get(task)
        if node is None and self.starting is not None and self.starting[0] is task.get_coro():
            return self.starting[1]
        return node

    def name_of(self, task: asyncio.Task[Any] | None) -> str:
        if task is None:
            return "none"
        if self.starting is not None and self.starting[0] is task.get_coro():
            return self.starting[2] or task.get_name()
        return task.get_name()

    def check_here(self, owner: object, call: str) -> None:
        """Refuse a call that does not come from this loop; callbacks of the loop are welcome (D5).

        Raises:
            RuntimeError: another loop runs here, or none.
        """
        running = asyncio._get_running_loop()
        loop = self.loop()
        if running is not loop or loop is None:
            here = f"thread {current_thread().name!r}"
            raise used_from_elsewhere(
                call,
                owner,
                f"{'a loop that is gone' if loop is None else safe_repr(loop)} in thread {self.thread!r}",
                f"{here}, where no event loop runs" if running is None else f"{safe_repr(running)} in {here}",
                "asyncio.run_coroutine_threadsafe()" if call == "await" else "loop.call_soon_threadsafe()",
            )


_beside: WeakKeyDictionary[asyncio.AbstractEventLoop, Tree] = WeakKeyDictionary()


def tree_of(loop: asyncio.AbstractEventLoop) -> Tree:
    """The tree of `loop`. It ends with the loop, and two loops share nothing (D4)."""
    known = getattr(loop, "_interloop_tree", None)
    if type(known) is Tree:  # some loops answer to any name
        return known
    try:
        return _beside[loop]
    except KeyError:
        tree = Tree(loop)
    with suppress(AttributeError):  # `uvloop.loop.Loop` has no place for it
        loop._interloop_tree = tree  # type: ignore[attr-defined]
    if getattr(loop, "_interloop_tree", None) is not tree:
        _beside[loop] = tree
    return tree


class Node:
    """A place in the tree: the handle of a child, or a scope."""

    __slots__ = ("_asked", "_cancelled", "_parent")

    _anyio: AnyioScope | None = None  # the innermost scope of anyio around a scope of ours (C8)
    _asked: int  # how many requests of this node are out: `requests` says more
    _cancelled: bool  # by itself, or by a scope around it
    _parent: Any  # the node around this one, if there is one; of a handle its group
    _is_task: ClassVar[bool] = False
    _when: float | None = None  # of a deadline

    def _task_to_cancel(self) -> asyncio.Task[Any] | None:
        """The task that a cancellation of this node is to be delivered to, if there still is one."""
        return None

    def _children(self) -> Iterable[asyncio.Task[Any]]:
        """The tasks that belong to this node."""
        return ()

    def _cancelled_now(self) -> None:
        """Called when this node has been marked as cancelled, and all that follows is under way."""

    def _abandon(self, adopter: Any) -> None:
        """Nobody will leave this in time: its children are cancelled, and `adopter` waits for them (G9)."""

    def _expire_if_due(self) -> None:
        """Of a deadline: expire if its time has come."""

    def _could_not_cancel(self, failure: Exception) -> None:
        """`Task.cancel()` raised (C7): an error of the nearest group around, or else the loop reports it."""
        if self._parent is not None:
            self._parent._could_not_cancel(failure)
        else:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{self!r} could not cancel a task", "exception": failure}
            )


def open_nodes(task: asyncio.Task[Any], outer: Node, tree: Tree) -> list[Node]:
    """What `task` has open, from `outer` inwards; nothing if `outer` is not open."""
    found: list[Node] = []
    for node in outwards(tree.innermost.get(task)):
        found.append(node)
        if node is outer:
            return found[::-1]
    return []


def handle_of(task: asyncio.Task[Any], tree: Tree) -> Node | None:
    """The outermost node of a child, whatever it has open inside."""
    return next((node for node in outwards(tree.innermost.get(task)) if node._is_task), None)


def put_under(handle: Node, innermost: Node) -> None:
    """Let what a child has opened in its eager first step be inside of the child.

    It is already, unless a task factory has put the child's coroutine into one of its own (C7): so nobody
    knew during that step whose the task is.
    """
    *_, outermost = outwards(innermost)
    if outermost is not handle:
        outermost._parent = handle


def cancel(scope: Node, task: asyncio.Task[Any], tree: Tree) -> None:
    """Mark `scope`, which is open in `task`, and all that is inside it as cancelled (C6); deliver that."""
    innermost = tree.innermost
    if innermost.get(task) is scope and not scope._children():  # nothing inside: a deadline's usual case
        scope._cancelled = True
        tree.requests.deliver([scope])
        scope._cancelled_now()
        return
    due = [scope]
    marked: list[Node] = []
    pending = [(task, scope)]
    while pending:
        task, outer = pending.pop()
        for node in open_nodes(task, outer, tree) or [outer]:
            if node._cancelled or shield_between(node._anyio, outer._anyio):
                break  # C8: a shield of anyio protects what is inside
            node._cancelled = True
            marked.append(node)
            for child in node._children():
                handle = innermost[child]
                if handle._is_task:  # it has nothing open
                    if not handle._cancelled:
                        handle._cancelled = True
                        due.append(handle)
                else:
                    found = handle_of(child, tree)
                    assert found is not None
                    if not found._cancelled:
                        due.append(found)
                        pending.append((child, found))
    tree.requests.deliver(due)
    for node in marked:
        node._cancelled_now()


class Scope(Node):
    """What a task group and a deadline share: a block in a task that can be cancelled as a whole.

    A scope that is open is in the tree, and `_task` is the task that entered it. It stays so for its owner
    whoever else tries to leave it (G9).
    """

    __slots__ = ("__weakref__", "_anyio", "_entered", "_in_body", "_settled", "_task", "_tree")

    _anyio: AnyioScope | None
    _entered: bool
    _in_body: bool
    _settled: int  # the requests on the task that are older than this scope: `requests` says more
    _task: asyncio.Task[Any] | None  # the one that is in the block, or waits at its end
    _tree: Tree

    def _enter(self) -> None:
        """Open this scope in the current task.

        Raises:
            RuntimeError: it was entered before (G9, L6), or no task of asyncio runs here (D5).
        """
        if self._entered:
            raise already_entered(self)
        loop = asyncio._get_running_loop()
        if loop is None:
            raise entered_under_another_library(self, "asyncio", current_backend_name("entering a scope"))
        task = current_task(loop)
        if task is None:
            raise outside_of_tasks(self)
        tree = tree_of(loop)
        parent = tree.innermost_of(task)
        self._task = task
        self._tree = tree
        self._parent = parent
        self._anyio = anyio_scope(task) if ANYIO in modules else None
        self._settled = tree.requests.settled(task) if task.cancelling() else 0
        self._asked = 0
        self._entered = True
        self._in_body = True
        tree.innermost[task] = self
        if len(tree.innermost) > tree.many:
            tree.forget_what_ended()
        if self._cancelled:
            self._cancelled = False
            self._cancel()  # G6
        elif parent is not None and parent._cancelled:
            self._be_born_cancelled(parent)

    def _be_born_cancelled(self, parent: Node) -> None:
        """C6: in a scope that is cancelled, unless a shield of anyio is between (C8)."""
        if not shield_between(self._anyio, parent._anyio):
            self._cancel()

    def _task_to_cancel(self) -> asyncio.Task[Any] | None:
        return self._task if self._in_body else None

    def _cancel(self) -> None:
        if not self._cancelled:
            assert self._task is not None
            cancel(self, self._task, self._tree)

    def _check_owner(self) -> asyncio.Task[Any]:
        """The task that leaves this scope, which must be the one that entered it (G9, L6).

        Raises:
            RuntimeError: it is another one; the scope stays open for its owner.
        """
        task = self._task
        loop = asyncio._get_running_loop()
        if task is None or loop is None or current_task(loop) is not task:
            del task  # G11: an error knows the frames that it came through, and a task its error
            self._refuse_to_leave()
        return task

    def _refuse_to_leave(self) -> NoReturn:
        task = self._task
        if task is None:
            raise not_open(self)
        tree = self._tree
        tree.check_here(self, "leaving")
        entered_in, here = tree.name_of(task), tree.name_of(current_task(asyncio.get_running_loop()))
        del task
        raise left_in_another_task(self, entered_in, here)

    def _close(self, task: asyncio.Task[Any]) -> None:
        """Take this scope and what is open inside it out of the tree; what they asked is taken back (C2)."""
        tree = self._tree
        still_open: Sequence[Node] = (self,)
        if tree.innermost.get(task) is not self:
            still_open = open_nodes(task, self, tree)
        for node in still_open:
            if node._asked:
                tree.requests.take_back(node, task)
        if still_open:  # it is in the tree, unless a scope around it was left before
            if self._parent is None:
                del tree.innermost[task]
            else:
                tree.innermost[task] = self._parent
        self._in_body = False
        self._task = self._parent = None  # G11
