"""The trio backend: the same classes as in the asyncio backend, in the same order.

Theory of operation
-------------------
trio has the tree of scopes, and a cancellation that holds until its scope is left, built in: a task group
is a nursery, a deadline is a cancel scope, a shield is a shielded one. What remains to be done is at the
edges.

**Leaving a group.** A nursery raises all that its body and its tasks raised in one group, `Cancelled` among
them. Here the errors alone are raised; a cancellation from outside comes again at the next checkpoint by
itself (G4). Where there is nothing but `Cancelled`, one is raised bare, for trio to catch at the scope that
was cancelled (G5). A child raises errors alone, so that the nursery does not collect a `Cancelled` of each
one (decision 0014). A nursery that has nothing to raise is no checkpoint, so one follows it (G13), at which
a cancellation that reached children alone comes out too.

**Outcomes.** A nursery returns nothing, and cannot cancel one of its tasks. So each child runs in a cancel
scope of its own, inside a coroutine that keeps the outcome for the `Task` handle. A scope costs as much as a
task, so a child whose handle is gone when it takes its first step has none: nobody can cancel it or ask for
its outcome. The coroutine holds the handle weakly until then.

**Children that wait for a slot** of the group's `limit` are a handle and a coroutine in a queue, and no
task (G14). trio tells only tasks that a scope around them is cancelled, so while the queue is not empty one
task watches for it. Background tasks are children like any other, which the group cancels when they are all
that is left (G15).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine
from contextvars import Context, copy_context
from math import inf
from types import CoroutineType, TracebackType
from typing import Any, Self, TypeVar
from weakref import ref

import trio
from trio import CancelScope
from trio import current_time as current_time
from trio.lowlevel import current_task

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
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(abc.Task[T_co]):
    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_done",
        "_ended",
        "_group",
        "_left_queue",
        "_name",
        "_native",
        "_raised",
        "_returned",
        "_scope",
        "_started",
    )

    _returned: T_co

    def __init__(self, group: TaskGroup, name: str) -> None:
        self._group = group
        self._name = name
        self._scope: CancelScope | None = None
        self._started: Coroutine[Any, Any, None] | None = None  # what the native task runs
        self._native: trio.lowlevel.Task | None = None
        self._left_queue: trio.Event | None = None  # only of a child that waits for a slot
        self._ended: trio.Event | None = None  # made by the first who waits
        self._done = False
        self._cancelled = False
        self._raised: BaseException | None = None

    def _end(self) -> None:
        self._done = True
        self._started = None
        if self._ended is not None:
            self._ended.set()
        if self._left_queue is not None:
            self._left_queue.set()

    @property
    def native(self) -> trio.lowlevel.Task:
        if self._native is not None:
            return self._native
        if self._started is None:
            raise RuntimeError(
                f"{self!r} has not got a slot of its group's limit, so there is no native task"
            )
        # before its first step
        return next(task for task in self._group.native.child_tasks if task.coro is self._started)

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def get_name(self) -> str:
        return self._name

    def cancel(self) -> None:
        if self._left_queue is not None and not self._left_queue.is_set():
            self._group._drop(self)
        elif self._scope is not None:
            self._scope.cancel()
        else:  # before its first step, when the handle has to be there
            self._scope = CancelScope()
            self._scope.cancel()
            self._group._cancelled_before_start.add(self)

    async def _out_of_queue(self) -> None:
        if self._left_queue is not None:
            await self._left_queue.wait()
            await trio.lowlevel.checkpoint_if_cancelled()  # T2: as in `_wait`

    async def _wait(self) -> None:
        if self._native is current_task():
            raise RuntimeError(f"{self!r} cannot wait for itself")
        if not self._done:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
            # T2: the end of the task may be what cancels the waiter, who is then cancelled, as on asyncio
            await trio.lowlevel.checkpoint_if_cancelled()

    def _value(self) -> T_co:
        return self._returned

    def _error(self) -> BaseException | None:
        return self._raised


async def _run(
    handle: ref[Task[T]], group: TaskGroup, coro: Coroutine[Any, Any, T], context: Context | None
) -> None:
    task = handle()
    raised: BaseException | None = None
    failed = False
    try:
        if context is not None:
            # G10: start_soon() gives a task a copy of a context; from its next step on it runs in this
            current_task().context = context
            await trio.lowlevel.cancel_shielded_checkpoint()
        if task is None:
            await coro
        else:
            task._native = current_task()
            if task._scope is None:
                task._scope = CancelScope()
            else:
                group._cancelled_before_start.remove(task)
            with task._scope:
                task._returned = await coro
            task._cancelled = task._scope.cancelled_caught
    except BaseException as error:
        raised = errors_only(error, trio.Cancelled)
        failed = raised is not None and not group._error_list().defer(raised)
        if task is not None:
            task._raised = raised
            task._cancelled = raised is None
        if failed:
            raise
        # G5: a cancellation from outside comes out of the group's end, once and not once for each child
    finally:
        if task is not None:
            task._end()
        group._child_ended(task, failed)
        # G11: no cycle from the handle to its error, through the traceback to this frame, and back
        del task, coro, raised


class TaskGroup(abc.TaskGroup):
    __slots__ = (
        "__weakref__",
        "_background",
        "_cancel_before_entry",
        "_cancelled_before_start",
        "_defer_errors",
        "_errors",
        "_in_body",
        "_left",
        "_limit",
        "_manager",
        "_nursery",
        "_ordinary",
        "_queue",
        "_queue_watch",
    )

    _in_body: bool  # from entry on

    def __init__(self, limit: int | None, defer_errors: bool) -> None:
        self._manager = trio.open_nursery(strict_exception_groups=True)
        self._nursery: trio.Nursery | None = None
        self._cancel_before_entry = False
        self._left = False
        self._limit = limit
        self._defer_errors = defer_errors
        self._ordinary = 0  # how many children run that are no background tasks
        self._background: set[Task[Any]] = set()
        self._cancelled_before_start: set[Task[Any]] = set()
        self._queue: OrderedDict[Task[Any], tuple[Coroutine[Any, Any, Any], Context]] = OrderedDict()
        self._queue_watch: CancelScope | None = None
        self._errors: ErrorList | None = None

    def _state(self) -> str:
        if self._nursery is None:
            return "created"
        if self._left:
            return "finished"
        return "cancelling" if self._nursery.cancel_scope.cancel_called else "entered"

    @property
    def native(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError(f"{self!r} has not been entered, so there is no native group yet")
        return self._nursery

    async def __aenter__(self) -> Self:
        if self._nursery is not None:
            raise already_entered(self)
        self._nursery = await self._manager.__aenter__()
        self._in_body = True
        if self._cancel_before_entry:
            self._nursery.cancel_scope.cancel()
        return self

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Task[T]:
        if type(coro) is not CoroutineType or context is not None:
            check_child(coro, context, "create_task()")
        task = self._child(coro, name)
        if self._limit is None or self._ordinary < self._limit:
            self._ordinary += 1
            self._start(task, coro, context)
        else:
            task._left_queue = trio.Event()
            self._queue[task] = coro, copy_context() if context is None else context
            if self.native.cancel_scope.cancel_called:
                self._drop(task)  # G7: born cancelled
            elif self._queue_watch is None:
                self._queue_watch = CancelScope()
                self.native.start_soon(self._watch_queue, self._queue_watch, name="interloop: limit")
        return task

    def create_background_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Task[T]:
        check_child(coro, context, "create_background_task()")
        task = self._child(coro, name)
        self._background.add(task)
        self._start(task, coro, context)
        self._end_background()
        return task

    def _child(self, coro: Coroutine[Any, Any, T], name: str | None) -> Task[T]:
        if self._nursery is None:
            coro.close()
            raise not_entered(self)
        if name is None:
            # as trio names a task after its function
            name = getattr(coro, "__qualname__", None) or repr(coro)
        return Task(self, str(name))

    def _start(self, task: Task[T], coro: Coroutine[Any, Any, T], context: Context | None) -> None:
        started = task._started = _run(ref(task), self, coro, context)
        assert self._nursery is not None
        try:
            self._nursery.start_soon(lambda: started, name=task._name)
        except RuntimeError:
            started.close()
            coro.close()
            self._forget(task)
            raise finished(self) from None

    def _start_queued(self) -> None:
        while self._queue and (self._limit is None or self._ordinary < self._limit):
            task, (coro, context) = self._queue.popitem(last=False)
            self._ordinary += 1
            self._start(task, coro, context)
            assert task._left_queue is not None
            task._left_queue.set()
        self._end_queue_watch()

    async def _watch_queue(self, watch: trio.CancelScope) -> None:
        """Drop those who wait when a scope around the group is cancelled, of which trio tells tasks (G14)."""
        with watch:
            try:
                await trio.sleep_forever()
            finally:
                if self._queue_watch is watch:
                    self._drop_queue()

    def _end_queue_watch(self) -> None:
        if not self._queue and self._queue_watch is not None:
            watch, self._queue_watch = self._queue_watch, None
            watch.cancel()

    def _drop(self, task: Task[Any]) -> None:
        """Let a child that waits for a slot end as cancelled (G14)."""
        coro, _ = self._queue.pop(task)
        coro.close()
        task._cancelled = True
        task._end()
        self._end_queue_watch()

    def _drop_queue(self) -> None:
        while self._queue:
            self._drop(next(iter(self._queue)))

    def _forget(self, child: Task[Any] | None) -> None:
        if self._background and child in self._background:
            self._background.remove(child)
        else:
            self._ordinary -= 1

    def _end_background(self) -> None:
        """Cancel the background tasks once they are all that is left (G15)."""
        if not self._in_body and self._ordinary == 0:
            for task in self._background:
                task.cancel()

    def _child_ended(self, child: Task[Any] | None, failed: bool) -> None:
        self._forget(child)
        if self._queue:
            if failed or trio.current_effective_deadline() == -inf:
                self._drop_queue()
            self._start_queued()
        if not self._in_body:
            self._end_background()

    def _error_list(self) -> ErrorList:
        if self._errors is None:
            self._errors = ErrorList(self._defer_errors)
        return self._errors

    def cancel(self) -> None:
        if self._nursery is None:
            self._cancel_before_entry = True
        else:
            self._nursery.cancel_scope.cancel()
            self._drop_queue()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        if nursery is None or self._left:
            raise not_open(self)
        current = current_task()
        if current is not nursery.parent_task:
            self.cancel()
            raise left_in_another_task(self, nursery.parent_task.name, current.name)
        if current.child_nurseries[-1:] != [nursery]:
            self.cancel()
            raise left_out_of_order(self)

        self._in_body = False
        self._end_background()
        combined: BaseException | None = None
        swallowed: bool | None = None
        try:
            swallowed = await self._manager.__aexit__(exc_type, exc, tb)
        except BaseExceptionGroup as group:
            combined = group
        except RuntimeError as corrupted:  # trio's own word for it; errors come in a group
            raise left_out_of_order(self) from corrupted
        finally:
            self._left = True
        errors = None if combined is None else errors_only(combined, trio.Cancelled)
        try:
            if isinstance(errors, BaseExceptionGroup):
                self._error_list().extend(errors.exceptions)
            if self._errors == [exc] and isinstance(exc, GeneratorExit):
                return None  # G3: lets an async generator be closed, as on asyncio
            if self._errors:
                raise self._errors.group() from None
            if combined is None:
                await trio.lowlevel.checkpoint_if_cancelled()  # G13
                return swallowed
            if isinstance(exc, trio.Cancelled):
                return None  # G5
            raise first_leaf(combined)  # G5
        finally:
            # G11: no cycle from an exception through its traceback to this frame
            self._errors = None
            del exc, combined, errors


class DeadlineExceeded(TimeoutError, trio.TooSlowError):
    """What a deadline raises under trio: code written for trio's own deadlines catches it too (L1)."""


class Deadline(abc.Deadline):
    __slots__ = (
        "__weakref__",
        "_at",
        "_delay",
        "_entered",
        "_expired",
        "_in_body",
        "_scope",
        "_suppress",
        "_task",
    )

    def __init__(self, delay: float | None, at: float | None, suppress: bool) -> None:
        self._delay = delay
        self._at = inf if at is None else at
        self._suppress = suppress
        self._scope: CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None
        self._entered = False
        self._in_body = False
        self._expired = False

    @property
    def native(self) -> CancelScope:
        if self._scope is None:
            self._scope = CancelScope(deadline=self._at)
        return self._scope

    def when(self) -> float | None:
        when = self._at if self._scope is None else self._scope.deadline
        return None if when == inf else when

    def expired(self) -> bool:
        if self._in_body and self.native.deadline <= current_time():
            self._expired = True
        return self._expired

    def _move(self, when: float | None) -> None:
        self.native.deadline = inf if when is None else when
        if self.expired():
            self.native.cancel()  # L7: at once, as on entry, so that current_deadline() tells

    def __enter__(self) -> Self:
        if self._entered:
            raise already_entered(self)
        self._task = current_task()
        self._entered = True
        self._in_body = True
        if self._delay is not None:
            self._at = current_time() + self._delay  # L9
        if self._scope is None:
            self._scope = CancelScope(deadline=self._at)
        elif self._delay is not None:  # `native` was asked for before
            self._scope.deadline = self._at
        self._scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        if self._task is None:
            raise not_open(self)
        current = current_task()
        if current is not self._task:
            raise left_in_another_task(self, self._task.name, current.name)
        assert self._scope is not None
        if self._scope.deadline <= current_time():
            self._expired = True  # L8
        self._in_body = False
        self._task = None
        try:
            swallowed = self._scope.__exit__(exc_type, exc, tb)
        except RuntimeError as corrupted:  # trio's own word for it; errors of the block come in a group
            raise left_out_of_order(self) from corrupted
        if exc is not None and swallowed and self._expired and not self._suppress:
            raise DeadlineExceeded from exc  # L1
        return swallowed


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    with CancelScope(shield=True):
        return await coro
    raise AssertionError("a scope that nobody cancels swallows nothing")


Event = trio.Event


async def sleep(seconds: float) -> None:
    await trio.sleep(seconds)


async def sleep_forever() -> None:
    await trio.sleep_forever()


async def checkpoint() -> None:
    await trio.lowlevel.checkpoint()


def current_deadline() -> float:
    return trio.current_effective_deadline()


def get_cancelled_exc_class() -> type[BaseException]:
    return trio.Cancelled
