"""The asyncio backend.

Theory of operation
-------------------
asyncio has one means of cancellation: `Task.cancel()` throws a `CancelledError` into a task, once, where it
is suspended, and counts the request; whoever asked takes the request back with `Task.uncancel()` when the
`CancelledError` has reached them. Everything here is that and nothing else. What this file adds is to know
*whom* to cancel, to do it at a moment when nothing can go wrong, and to recognise at the end of a block
whose cancellation it is that arrives.

**The tree.** Every scope (task group or deadline) knows the scope around it, `_parent`, and
`_Tree.innermost` holds each task's innermost one. The outermost scope of a child is its `Task` handle,
whose parent is the group that owns it. So from a scope upwards one follows `_parent`; downwards, one walks
from the innermost scope of a task up to the scope in question, and does the same for each child of each
group that is met. A task that asyncio or somebody else made, and the inside of a `shield`, is the root of a
tree of its own.

**How a cancellation travels.** Cancelling a scope marks it and everything inside it `_cancelled`, at once
(C6), and schedules one callback that calls `Task.cancel()` on the scope's task, if that is still in the
block, and on every child found. It is left to a callback because no task is running then: a task that is
cancelled while it runs carries a flag to its next await, wherever that is, and before 3.13 nothing takes
the flag away again (C2); a task that is cancelled before its first step never runs at all (G7), but the
step of every child found was queued before the callback. What is opened or created inside a scope that is
already cancelled is cancelled at birth, in the same way. A task that was reached once is not reached again
by the same or an outer scope: one cancellation, one `CancelledError`.

**Who takes it back.** The scope that was cancelled, when it is left: it withdraws the callback if that has
not run, and calls `uncancel()` if it has. Then it looks whether a cancellation from outside is under way:
the scope around it is `_cancelled`, or the task's count of requests is higher than at entry, which tells of
requests by others. If so the `CancelledError` passes on as it came (G5, L3), else it was this scope's own
and ends here.

**What is held back.** A group that raises errors while it is cancelled from outside swallows that
`CancelledError` (G4), and so does a shield, for as long as it runs (C4). Both deliver it again from a
callback, at the next checkpoint, unless whoever asked has taken the request back by then (C2), or is an anyio
scope, which asks again by itself (N5). If a scope is left before, with a `CancelledError` of its own in
flight, it raises the one that was held back instead: by the message on it others, anyio's scopes say, know
their own (G5). What is inside a shield runs in a task that is not among all tasks of the loop, since
`asyncio.run` cancels those at its end (C5).

**Deadlines** share one timer of the loop, `timers.py`.

**Children that wait for a slot** of the group's `limit` are a handle and a coroutine in a queue, and no
native task (G14). Background tasks are children like any other, which the group cancels when they are all
that is left (G15).
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError, get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from math import inf
from types import CoroutineType, TracebackType, coroutine
from typing import Any, Self, TypeVar

from .. import abc
from .._checks import check_child
from .._error_list import ErrorList
from .._errors import (
    already_entered,
    errors_only,
    finished,
    first_leaf,
    left_in_another_task,
    left_out_of_order,
    not_entered,
    not_open,
    outside_of_tasks,
)
from .timers import Entry, Timers

if sys.version_info >= (3, 12):
    from asyncio import current_task
else:  # Python code around this, 7 % of a deadline (decision 0012); it always wants the loop
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Tree:
    """The open scopes of one loop."""

    __slots__ = ("held_back", "innermost", "loop", "starting", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timers = Timers(loop)
        self.innermost: dict[asyncio.Task[Any], _Node] = {}
        self.held_back: dict[asyncio.Task[Any], tuple[BaseException, asyncio.Handle]] = {}
        # an eager loop runs the first step of a task before it hands out the task
        self.starting: tuple[Coroutine[Any, Any, Any], Task[Any]] | None = None

    def innermost_of(self, task: asyncio.Task[Any]) -> _Node | None:
        node = self.innermost.get(task)
        if node is None and self.starting is not None and self.starting[0] is task.get_coro():
            return self.starting[1]
        return node

    def take_held_back(self, task: asyncio.Task[Any]) -> BaseException | None:
        """The cancellation that was to be delivered to `task` again: whoever takes it raises it."""
        if task not in self.held_back:
            return None
        cancellation, delivery = self.held_back.pop(task)
        delivery.cancel()
        return cancellation


def _tree_of(loop: asyncio.AbstractEventLoop) -> _Tree:
    # On the loop itself, so that it ends with it and two loops share nothing (D4).
    try:
        return loop._interloop_tree  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        tree = loop._interloop_tree = _Tree(loop)  # type: ignore[attr-defined]
        return tree


def _innermost_of_current_task() -> _Node | None:
    loop = get_running_loop()
    task = current_task(loop)
    return None if task is None else _tree_of(loop).innermost_of(task)


def _opened_inside(task: asyncio.Task[Any], outer: _Node, tree: _Tree) -> list[_Node]:
    """The scopes that `task` has open inside `outer`; none if `outer` is not one of its open scopes."""
    opened: list[_Node] = []
    node = tree.innermost.get(task)
    while node is not outer:
        if node is None:
            return []
        opened.append(node)
        node = node._parent
    return opened


def _mark_cancelled(scope: _Node, task: asyncio.Task[Any], tree: _Tree) -> list[asyncio.Task[Any]]:
    """Mark `scope`, which is open in `task`, and everything inside it as cancelled (C6).

    Gives the children in it that are to be cancelled: those that no other scope has reached before.
    """
    found: list[asyncio.Task[Any]] = []
    pending = [(task, scope)]

    def mark(node: _Node, task: asyncio.Task[Any]) -> None:
        if type(node) is Task:  # isinstance() takes eight times as long, as these are abstract base classes
            found.append(task)
        elif type(node) is TaskGroup:
            node._drop_queue()
            pending.extend([(child, node) for child in node._tasks])
        node._cancelled = True

    mark(scope, task)
    while pending:
        task, outer = pending.pop()
        for node in _opened_inside(task, outer, tree):
            if not node._cancelled:
                mark(node, task)
    return found


def _deliver_again(task: asyncio.Task[Any], tree: _Tree, cancellation: BaseException | None) -> None:
    """Deliver a cancellation that was held back, at the next checkpoint of `task` (G4, C4).

    Unless it has been taken back by then (C2): the scopes of this task that are cancelled now have been
    left, and no more requests are counted than when the outermost of them was entered.
    """
    message = cancellation.args[0] if cancellation is not None and cancellation.args else None
    tree.take_held_back(task)
    withdrawn_at = task.cancelling() - 1
    node = tree.innermost_of(task)
    while isinstance(node, _Scope) and node._cancelled:
        withdrawn_at = node._requests_at_entry
        node = node._parent

    def deliver() -> None:
        tree.held_back.pop(task, None)
        innermost = tree.innermost_of(task)
        in_force = innermost is not None and innermost._cancelled
        # N5: anyio delivers its own cancellations again itself, and one more can come where it shields itself
        of_anyio = isinstance(message, str) and message.startswith("Cancelled via cancel scope ")
        if not of_anyio and task.cancelling() > (0 if in_force else withdrawn_at):
            task.uncancel()  # no further request: the same one again
            task.cancel(message)

    delivery = get_running_loop().call_soon(deliver)
    if cancellation is not None:
        tree.held_back[task] = cancellation, delivery


class _Queued:
    """Stands in for the native task of a child that waits for a slot of its group's limit (G14)."""

    __slots__ = ("_name", "dropped", "left_queue", "starting")

    def __init__(self, name: str) -> None:
        self._name = name
        self.dropped = False
        self.left_queue = asyncio.Event()
        # an eager loop runs the first step of a task before it hands out the task
        self.starting: Coroutine[Any, Any, Any] | None = None

    def done(self) -> bool:
        return self.dropped

    def cancelled(self) -> bool:
        return self.dropped

    def get_name(self) -> str:
        return self._name


class Task(abc.Task[T_co]):
    """A child, and in the tree the scope around all that the child opens."""

    __slots__ = ("__weakref__", "_cancelled", "_native", "_parent")

    _native: asyncio.Task[T_co] | _Queued
    _when = None  # only deadlines have a time

    def __init__(self, parent: TaskGroup) -> None:
        self._parent = parent
        self._cancelled = False

    @property
    def native(self) -> asyncio.Task[T_co]:
        native = self._native
        if not isinstance(native, _Queued):
            return native
        if native.starting is None:
            raise RuntimeError(
                f"{self!r} has not got a slot of its group's limit, so there is no native task"
            )
        tasks: set[asyncio.Task[Any]] = asyncio.all_tasks(self._parent._tree.loop)
        return next(task for task in tasks if task.get_coro() is native.starting)

    def done(self) -> bool:
        return self._native.done()

    def cancelled(self) -> bool:
        if not self._native.done() or self._native.cancelled():
            return self._native.cancelled()
        error = self.native.exception()
        return error is not None and errors_only(error, CancelledError) is None

    def get_name(self) -> str:
        native = self._native
        if isinstance(native, _Queued) and native.starting is not None:
            native = self.native
        return native.get_name()

    def cancel(self) -> None:
        if self._cancelled:
            return
        if isinstance(self._native, _Queued) and self._native.starting is None:
            self._parent._drop(self)
        elif not self.done():
            tree = self._parent._tree
            tree.loop.call_soon(_cancel_all, _mark_cancelled(self, self.native, tree))

    async def _out_of_queue(self) -> None:
        if isinstance(self._native, _Queued) and not self._cancelled:
            await self._native.left_queue.wait()

    async def _wait(self) -> None:
        if isinstance(self._native, _Queued):
            await self._out_of_queue()
        if self.done():
            return
        native = self.native
        if native is current_task(get_running_loop()):
            raise RuntimeError(f"{self!r} cannot wait for itself")
        await _wait_for_end(native)

    def _value(self) -> T_co:
        return self.native.result()

    def _error(self) -> BaseException | None:
        error = self.native.exception()
        return None if error is None else errors_only(error, CancelledError)


def _cancel_all(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


async def _wait_for_end(task: asyncio.Task[Any]) -> None:
    """Wait without owning: cancelling the waiter leaves `task` alone (T3)."""
    loop = get_running_loop()
    waiter = loop.create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    waiting = current_task(loop)
    if _awaited_by is not None:
        _awaited_by(task, waiting)
    try:
        await waiter
    finally:
        if _no_longer_awaited_by is not None:
            _no_longer_awaited_by(task, waiting)
        task.remove_done_callback(wake)


# For `asyncio ps` and `pstree`, from 3.14 on.
_awaited_by: Callable[[asyncio.Task[Any], asyncio.Task[Any] | None], None] | None = getattr(
    asyncio, "future_add_to_awaited_by", None
)
_no_longer_awaited_by: Callable[[asyncio.Task[Any], asyncio.Task[Any] | None], None] | None = getattr(
    asyncio, "future_discard_from_awaited_by", None
)


class _Scope:
    """What a task group and a deadline share: a block in a task that can be cancelled as a whole.

    Each is entered in one piece of code, and a deadline is left in one in the usual case: with calls of what
    they have in common a deadline would take an eighth more (decision 0012).
    """

    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_entered",
        "_in_body",
        "_parent",
        "_requests_at_entry",
        "_task",
        "_tree",
        "_withdraw",
    )

    _entered: bool
    _in_body: bool
    _task: asyncio.Task[Any] | None  # the one that is in the block, or waits at its end

    # from entry on
    _cancelled: bool  # by itself, or by a scope around it
    _parent: _Node | None
    _requests_at_entry: int
    _tree: _Tree
    _withdraw: Callable[[], object] | None  # takes back what this scope asked of that task

    def _cancel(self) -> None:
        if self._cancelled:
            return
        assert self._task is not None
        found = _mark_cancelled(self, self._task, self._tree)  # type: ignore[arg-type]
        self._withdraw = self._tree.loop.call_soon(self._deliver, found).cancel

    def _deliver(self, tasks: list[asyncio.Task[Any]]) -> None:
        self._withdraw = None
        if self._in_body:
            assert self._task is not None
            self._withdraw = self._task.uncancel
            self._task.cancel()
        _cancel_all(tasks)

    def _leave(self) -> bool:
        """Close this scope and withdraw what it still has under way (C2).

        Gives whether a cancellation that is not this scope's own is under way.

        Raises:
            RuntimeError: left in another task, or out of order (G9, L6); the scope is closed all the same.
        """
        task = self._task
        assert task is not None
        tree = self._tree
        parent = self._parent
        self._in_body = False
        self._task = self._parent = None  # G11
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        still_open = tree.innermost.get(task)
        opened_inside = still_open is not self and _opened_inside(task, self, tree)  # type: ignore[arg-type]
        if still_open is self or opened_inside:
            if parent is None:
                del tree.innermost[task]
            else:
                tree.innermost[task] = parent
        current = current_task(tree.loop)
        if current is not task:
            left_in = "none" if current is None else current.get_name()
            raise left_in_another_task(self, task.get_name(), left_in)
        if opened_inside:
            raise left_out_of_order(self, still_open)
        return (parent is not None and parent._cancelled) or task.cancelling() > self._requests_at_entry


class TaskGroup(_Scope, abc.TaskGroup):
    __slots__ = (
        "_background",
        "_defer_errors",
        "_errors",
        "_last_child_ended",
        "_limit",
        "_native",
        "_ordinary",
        "_queue",
        "_tasks",
    )

    _when = None

    def __init__(self, limit: int | None, defer_errors: bool) -> None:
        self._entered = False
        self._in_body = False
        self._cancelled = False
        self._task = None
        self._limit = limit
        self._defer_errors = defer_errors
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ordinary = 0  # how many children run that are no background tasks
        # these are made when they are needed, by few groups
        self._background: dict[asyncio.Task[Any], Task[Any]] | None = None
        self._queue: OrderedDict[Task[Any], tuple[Coroutine[Any, Any, Any], str | None, Context]] | None = (
            None
        )
        self._errors: ErrorList | None = None
        self._last_child_ended: asyncio.Future[None] | None = None
        self._native: _NativeTaskGroup | None = None

    def _state(self) -> str:
        if not self._entered:
            return "created"
        if self._finished():
            return "finished"
        return "cancelling" if self._cancelled else "entered"

    @property
    def native(self) -> asyncio.TaskGroup:
        if not self._entered:
            raise RuntimeError(f"{self!r} has not been entered, so there is no native group yet")
        if self._native is None:
            self._native = _NativeTaskGroup(self)
        return self._native

    async def __aenter__(self) -> Self:
        cancelled_before_entry = self._cancelled
        if self._entered:
            raise already_entered(self)
        loop = get_running_loop()
        self._task = task = current_task(loop)
        if task is None:
            raise outside_of_tasks(self)
        try:
            self._tree = tree = loop._interloop_tree  # type: ignore[attr-defined]
        except AttributeError:
            self._tree = tree = _tree_of(loop)
        parent = tree.innermost.get(task)
        if parent is None and tree.starting is not None:
            parent = tree.innermost_of(task)
        self._parent = parent
        self._requests_at_entry = task.cancelling()
        self._cancelled = False
        self._withdraw = None
        self._entered = True
        self._in_body = True
        tree.innermost[task] = self
        if cancelled_before_entry or (parent is not None and parent._cancelled):
            self._cancel()  # G6, C6: born cancelled
        return self

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Task[T]:
        if not self._in_body or type(coro) is not CoroutineType or context is not None:
            self._check(coro, context, "create_task()")
        task: Task[T] = Task(self)
        if self._limit is None or self._ordinary < self._limit:
            self._start(task, coro, name, context, 1)
        else:
            task._native = _Queued(str(getattr(coro, "__qualname__", coro) if name is None else name))
            if self._queue is None:
                self._queue = OrderedDict()
            self._queue[task] = coro, name, copy_context() if context is None else context
            if self._cancelled:
                self._drop(task)  # G7: born cancelled
        return task

    def create_background_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Task[T]:
        self._check(coro, context, "create_background_task()")
        task: Task[T] = Task(self)
        self._start(task, coro, name, context, 0)
        if self._background is None:
            self._background = {}
        self._background[task.native] = task
        self._end_background()
        return task

    def _check(self, coro: Coroutine[Any, Any, Any], context: Context | None, call: str) -> None:
        check_child(coro, context, call)
        if not self._in_body and self._state() in ("created", "finished"):
            coro.close()
            raise finished(self) if self._entered else not_entered(self)

    def _start(
        self,
        task: Task[T],
        coro: Coroutine[Any, Any, T],
        name: str | None,
        context: Context | None,
        ordinary: int,  # 1, or 0 for a background task
    ) -> None:
        self._ordinary += ordinary
        tree = self._tree
        outer_starting = tree.starting
        tree.starting = coro, task
        try:
            if context is None:
                native = tree.loop.create_task(coro, name=name)
            else:
                native = tree.loop.create_task(coro, name=name, context=context)
        except BaseException:
            self._ordinary -= ordinary
            coro.close()
            raise
        finally:
            tree.starting = outer_starting
        task._native = native
        self._tasks.add(native)
        tree.innermost.setdefault(native, task)
        if _awaited_by is not None:
            _awaited_by(native, self._task)
        native.add_done_callback(self._child_ended)
        if self._cancelled:  # G7: born cancelled
            if getattr(coro, "cr_suspended", False):  # by an eager loop, at its first checkpoint
                _cancel_all(_mark_cancelled(task, native, self._tree))
            else:
                task.cancel()

    def _start_queued(self) -> None:
        while self._queue and (self._limit is None or self._ordinary < self._limit):
            task, (coro, name, context) = self._queue.popitem(last=False)
            assert isinstance(task._native, _Queued)
            task._native.left_queue.set()
            task._native.starting = coro
            self._start(task, coro, name, context, 1)

    def _drop(self, task: Task[Any]) -> None:
        """Let a child that waits for a slot end as cancelled (G14)."""
        assert self._queue is not None
        coro, *_ = self._queue.pop(task)
        coro.close()
        task._cancelled = True
        assert isinstance(task._native, _Queued)
        task._native.dropped = True
        # after the cancellation is delivered, if it is the waiter's as well (T2)
        self._tree.loop.call_soon(task._native.left_queue.set)

    def _drop_queue(self) -> None:
        while self._queue:
            self._drop(next(iter(self._queue)))

    def _end_background(self) -> None:
        """Cancel the background tasks once they are all that is left (G15)."""
        assert self._background
        if not self._in_body and self._ordinary == 0:
            for task in self._background.values():
                task.cancel()

    def cancel(self) -> None:
        if not self._entered:
            self._cancelled = True
        elif not self._finished():
            self._cancel()

    def _finished(self) -> bool:
        return not self._in_body and not self._tasks and not self._ordinary

    def _child_ended(self, native: asyncio.Task[Any]) -> None:
        self._tasks.discard(native)  # G11
        self._tree.innermost.pop(native, None)
        if _no_longer_awaited_by is not None:
            _no_longer_awaited_by(native, self._task)
        if self._background is None or self._background.pop(native, None) is None:
            self._ordinary -= 1
        if not native.cancelled() and (error := native.exception()) is not None:
            only_errors = errors_only(error, CancelledError)
            if only_errors is not None and not self._error_list().defer(only_errors):
                self._error_list().append(only_errors)
                self._cancel()
        if self._queue:
            self._start_queued()
        if not self._in_body:
            if self._background:
                self._end_background()
            if not self._tasks and self._last_child_ended is not None and not self._last_child_ended.done():
                self._last_child_ended.set_result(None)

    def _error_list(self) -> ErrorList:
        if self._errors is None:
            self._errors = ErrorList(self._defer_errors)
        return self._errors

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        task = self._task
        if task is None:
            raise not_open(self)
        self._in_body = False
        tree = self._tree
        parent = self._parent
        if current_task(tree.loop) is not task:
            self._cancel()  # G9: no child outlives the error
        own_cancellation = self._cancelled
        cancellation = None if exc is None else self._body_failed(exc)
        if self._background:
            self._end_background()

        try:
            must_suspend = exc is None  # G13
            while self._tasks:
                must_suspend = False
                self._last_child_ended = tree.loop.create_future()
                try:
                    await self._last_child_ended
                except CancelledError as outer:
                    cancellation = outer
                    self._cancel()
            outer_scope_cancelled = parent is not None and parent._cancelled
            if must_suspend or (cancellation is None and not self._errors and outer_scope_cancelled):
                try:
                    _expire_overdue(parent)
                    await _turn()
                except CancelledError as outer:
                    cancellation = outer
                if cancellation is None and outer_scope_cancelled:
                    cancellation = CancelledError()

            try:
                from_outside = self._leave()
            except RuntimeError as misuse:
                if self._errors:
                    raise misuse from self._errors.group()
                raise
            if self._errors:
                if from_outside and (outer_scope_cancelled or cancellation or _came_of_cancellation(exc)):
                    _deliver_again(task, tree, cancellation)
                if self._errors == [exc] and isinstance(exc, GeneratorExit):
                    return None  # G3: lets an async generator be closed, as asyncio does from 3.15 on
                raise _error_to_raise(self._errors) from None
            if cancellation is None:
                return None
            if own_cancellation and not from_outside:
                return True  # G6
            if own_cancellation:
                cancellation = tree.take_held_back(task) or cancellation
            if cancellation is exc:
                return None  # G5
            raise cancellation
        finally:
            # G11: no cycle from an exception through its traceback to this frame, and nothing kept after exit
            self._errors = None
            del task, parent, exc, cancellation

    def _body_failed(self, error: BaseException) -> BaseException | None:
        """Cancel the children, and keep the error; give the cancellation instead, if it is one."""
        self._cancel()
        only_errors = errors_only(error, CancelledError)
        if only_errors is None:
            return first_leaf(error)
        self._error_list().append(only_errors)
        return None


def _error_to_raise(errors: ErrorList) -> BaseException:
    for error in errors:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return error  # G12: as asyncio's own group does
    return errors.group()


def _came_of_cancellation(error: BaseException | None) -> bool:
    """Whether the body raised `error` in the place of a cancellation.

    The count of requests is no proof that there was one: before 3.13 an `asyncio.TaskGroup` in which a child
    failed leaves the task with one more (N1).
    """
    while error is not None and not isinstance(error, CancelledError):
        error = error.__context__
    return error is not None


class _NativeTaskGroup(asyncio.TaskGroup):
    """The way out: a task group that has been entered, for a call that wants asyncio's own type."""

    def __init__(self, group: TaskGroup) -> None:
        super().__init__()
        self._group = group

    def __repr__(self) -> str:
        return repr(self._group)

    def create_task(  # type: ignore[override, unused-ignore]  # typeshed admits generators, which asyncio refuses
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        self._group._check(coro, context, "create_task()")
        task: Task[T] = Task(self._group)
        self._group._start(task, coro, name, context, 1)  # as a nursery, it knows no limit
        return task.native

    def cancel(self) -> None:  # asyncio's from 3.15 on
        self._group.cancel()

    async def __aenter__(self) -> Self:
        raise already_entered(self)


class Deadline(_Scope, abc.Deadline):
    __slots__ = ("_delay", "_expired", "_native", "_suppress", "_timer", "_when")

    _timer: list[Deadline] | Entry | None  # its place in the loop's `Timers`

    def __init__(self, delay: float | None, at: float | None, suppress: bool) -> None:
        self._entered = False
        self._in_body = False
        self._delay = delay
        self._when = at
        self._suppress = suppress
        self._expired = False
        self._task = None
        self._timer = None
        self._native: _NativeTimeout | None = None

    @property
    def native(self) -> asyncio.Timeout:
        if self._native is None:
            self._native = _NativeTimeout(self)
        return self._native

    def when(self) -> float | None:
        return self._when

    def expired(self) -> bool:
        if self._in_body and self._is_due():
            self._expire()
        return self._expired

    def _move(self, when: float | None) -> None:
        self._stop_timer()
        self._when = when
        if when is not None:
            self._start_timer(when)

    def __enter__(self) -> Self:
        if self._entered:
            raise already_entered(self)
        loop = get_running_loop()
        self._task = task = current_task(loop)
        if task is None:
            raise outside_of_tasks(self)
        try:
            self._tree = tree = loop._interloop_tree  # type: ignore[attr-defined]
        except AttributeError:
            self._tree = tree = _tree_of(loop)
        parent = tree.innermost.get(task)
        if parent is None and tree.starting is not None:
            parent = tree.innermost_of(task)
        self._parent = parent
        self._requests_at_entry = task.cancelling()
        self._cancelled = False
        self._withdraw = None
        self._entered = True
        self._in_body = True
        tree.innermost[task] = self
        if parent is not None and parent._cancelled:
            self._cancel()  # C6: born cancelled
        delay = self._delay
        if delay is not None:
            self._when = when = loop.time() + delay  # L9
            if delay > 0:
                timers = tree.timers
                self._timer = new = timers.new  # as `Timers.add` does
                new.append(self)
                if when < timers.set_for:
                    timers.set_timer(when)
            else:
                self._ring()  # L4
        elif self._when is not None:
            self._start_timer(self._when)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        task = self._task
        if task is None:
            raise not_open(self)
        own_cancellation = self._expired
        tree = self._tree
        timer = self._timer
        if timer is not None:
            self._expired = self._when <= tree.loop.time()  # type: ignore[operator]  # L8
            if isinstance(timer, list) and timer[-1] is self:  # as `Timers.remove` does
                timer.pop()
                self._timer = None
            else:
                tree.timers.remove(self)
        innermost = tree.innermost
        if (
            not own_cancellation
            and self._withdraw is None
            and innermost.get(task) is self
            and current_task(tree.loop) is task
        ):  # as `_leave` does
            if self._parent is None:
                del innermost[task]
            else:
                innermost[task] = self._parent
            self._in_body = False
            self._task = self._parent = None  # G11
            return None
        from_outside = self._leave()
        if not own_cancellation or exc is None:
            return None
        if from_outside:
            held_back = tree.take_held_back(task) if isinstance(exc, CancelledError) else None
            if held_back is not None:
                raise held_back  # G5: with its message, by which anyio's scopes know their own
            return None
        errors = errors_only(exc, CancelledError)
        if errors is None:
            if self._suppress:
                return True
            raise TimeoutError from exc  # L1
        _mention_timeout(errors)
        if errors is not exc:
            raise errors  # L2: `except*` joins the cancellation of its handler to the errors that it left
        return None

    def _start_timer(self, when: float) -> None:
        if when <= self._tree.loop.time():
            self._ring()  # L4
        else:
            self._tree.timers.add(self, when)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._tree.timers.remove(self)

    def _is_due(self) -> bool:
        return self._when is not None and self._when <= self._tree.loop.time()

    def _expire(self) -> None:
        self._stop_timer()
        self._ring()

    def _ring(self) -> None:
        self._timer = None
        self._expired = True
        self._cancel()


def _mention_timeout(error: BaseException) -> None:
    """Show in the context of an error that came out of a block after expiry that there was a timeout.

    As asyncio does from 3.13 on: what the error came up in was this cancellation, and that is the deadline's.
    """
    for leaf in (error, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())):
        while (context := leaf.__context__) is not None:
            if isinstance(context, CancelledError):
                timeout = TimeoutError()
                timeout.__context__ = timeout.__cause__ = context
                leaf.__context__ = timeout
                break
            leaf = context


class _NativeTimeout(asyncio.Timeout):  # type: ignore[misc]  # final for type checkers only
    """The way out: a deadline, for a call that wants asyncio's own type."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__(None)
        self._deadline = deadline

    def __repr__(self) -> str:
        return repr(self._deadline)

    def when(self) -> float | None:
        return self._deadline.when()

    def expired(self) -> bool:
        return self._deadline.expired()

    def reschedule(self, when: float | None) -> None:
        self._deadline.reschedule(when)

    async def __aenter__(self) -> Self:
        raise already_entered(self)


_Node = Task[Any] | TaskGroup | Deadline


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    loop = get_running_loop()
    caller = current_task(loop)
    assert caller is not None
    context = copy_context()
    # A task of its own, in no group: no scope and no cancellation of the caller reaches into it.
    task = loop.create_task(coro, name=f"shield in {caller.get_name()}", context=context)
    asyncio._unregister_task(task)  # C5: the end of asyncio.run cancels all tasks that there are
    cancellation: CancelledError | None = None
    while not task.done():
        try:
            await _wait_for_end(task)
        except CancelledError as outer:
            cancellation = outer
    for variable, value in context.items():  # as if it had run in the caller
        if variable.get(context) is not value:
            variable.set(value)
    if cancellation is not None:
        _deliver_again(caller, _tree_of(loop), cancellation)
    try:
        return task.result()
    finally:
        del task, cancellation  # no cycle from an error through its traceback to this frame


Event = asyncio.Event


async def sleep(seconds: float) -> None:
    if seconds == 0:
        await checkpoint()
    elif seconds == inf:
        await sleep_forever()
    else:
        await asyncio.sleep(seconds)


async def sleep_forever() -> None:
    await get_running_loop().create_future()


async def checkpoint() -> None:
    _expire_overdue(_innermost_of_current_task())
    await _turn()


@coroutine
def _turn() -> Generator[None]:
    """Let others run, as `asyncio.sleep(0)` does."""
    yield


def _expire_overdue(node: _Node | None) -> None:
    """Expire the deadlines around a task that comes to a checkpoint.

    asyncio runs the steps that are queued before the timers that are due: a deadline whose time came while
    the task computed would not be noticed there (L4).
    """
    while node is not None:
        if node._when is not None:
            node.expired()  # pyright: ignore[reportAttributeAccessIssue]  # only a deadline has a time
        node = node._parent


def current_time() -> float:
    return get_running_loop().time()


def current_deadline() -> float:
    earliest = inf
    node = _innermost_of_current_task()
    while node is not None:
        if node._cancelled:
            return -inf
        if node._when is not None:
            earliest = min(earliest, node._when)
        node = node._parent
    return earliest


def get_cancelled_exc_class() -> type[BaseException]:
    return CancelledError
