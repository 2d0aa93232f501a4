"""The handle of a child, and the coroutine that keeps its outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from contextvars import Context
from math import inf
from typing import Any, TypeVar
from weakref import ref

import trio
from trio import CancelScope
from trio.lowlevel import current_task

from .._children import Child, Children
from .._error_groups import errors_only, explains_nothing
from .._errors import left_open
from .privates import is_woken
from .scopes import Scope, close_all, innermost, scopes_within

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Owner(Scope, Children):
    """The group of a child, as its handle knows it."""

    __slots__ = ()

    # handles that are kept until the first step of the child, which is where the cancellation is delivered
    _cancelled_before_start: set[Task[Any]]
    _last_child_ended: trio.Event | None

    @property
    @abstractmethod
    def native(self) -> trio.Nursery: ...


class Task(Child[T_co]):
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

    def __init__(self, group: Owner, name: str) -> None:
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
        if self._ended is not None:
            self._ended.set()
        if self._left_queue is not None:
            self._left_queue.set()

    @property
    def native(self) -> trio.lowlevel.Task:
        if self._native is not None:
            return self._native
        if self._done:
            raise RuntimeError(f"{self!r} never started, so it has no native task")
        if self._started is None:
            raise RuntimeError(
                f"{self!r} is waiting for a slot of its group's limit, so it has no native task yet"
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
        if self._done:
            return
        self._group._check_here(self, "cancel()")
        if self._left_queue is not None and not self._left_queue.is_set():
            self._group._drop(self)
        elif self._scope is not None:
            scope = self._scope
            del self  # G11: the cancellation's traceback may know this frame
            scope.cancel()
        else:  # before its first step, when the handle has to be there
            self._scope = CancelScope()
            self._scope.cancel()
            self._group._cancelled_before_start.add(self)

    def _queue(self, coro: Coroutine[Any, Any, T_co], name: str | None) -> None:
        self._left_queue = trio.Event()

    def _leave_queue(self, coro: Coroutine[Any, Any, T_co]) -> None:
        assert self._left_queue is not None
        self._left_queue.set()

    def _drop(self, error: BaseException | None = None) -> None:
        self._cancelled = error is None
        self._raised = error
        self._end()

    def _is_woken(self) -> bool:
        return self._native is None or is_woken(self._native)

    async def _out_of_queue(self) -> None:
        if self._left_queue is not None:
            await self._left_queue.wait()

    async def _wait(self) -> None:
        if not self._done:
            self._group._check_here(self, "await")
            if self._native is current_task():
                raise RuntimeError(f"{self!r} cannot wait for itself")
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
            # T2: the end of the task may be what cancels the waiter, who is then cancelled, as on asyncio
            await trio.lowlevel.checkpoint_if_cancelled()

    def _value(self) -> T_co:
        return self._returned

    def _error(self) -> BaseException | None:
        return self._raised


@explains_nothing
async def run(
    handle: ref[Task[T]], group: Owner, coro: Coroutine[Any, Any, T], context: Context | None
) -> None:
    """What the native task of a child runs; its errors go to `group`, and not through the nursery.

    The nursery would keep the `Cancelled` of each child (decision 0014), and trio would ask the user's errors
    what is in them (C7). Nor does trio need to see that a `Cancelled` arrives at the scope that asked for it:
    a cancellation from outside comes out of the group's end, once and not once for each child (G5).
    """
    task = handle()
    native = current_task()
    error: BaseException | None = None
    scope: CancelScope | None = None
    try:
        if context is not None:
            # G10: start_soon() makes a copy of the context; from its next step on the task runs in this one
            native.context = context
            await trio.lowlevel.cancel_shielded_checkpoint()
        if task is not None:
            task._native = native
            if task._scope is None:
                task._scope = CancelScope()
            else:
                group._cancelled_before_start.remove(task)
            scope = task._scope.__enter__()
        try:
            returned = await coro
            if task is not None:
                task._returned = returned
        except BaseException as raised:
            error = errors_only(raised, trio.Cancelled)
            if task is not None:
                task._raised = error
                task._cancelled = error is None
        if native in innermost:
            await _close_what_is_open(native, group)
        if scope is not None:
            try:
                scope.__exit__(None, None, None)
            except RuntimeError as corrupted:  # trio's own word for a scope of its own that is still open
                group._failed(corrupted)
    finally:
        if task is not None:
            task._end()
        if group._queue and trio.current_effective_deadline() == -inf:
            group._drop_queue()  # G14: nobody takes the slot if a scope around the group is cancelled
        group._child_ended(task, error)
        last_child_ended = group._last_child_ended
        if last_child_ended is not None and not (group._ordinary or group._background):
            last_child_ended.set()
        # G11: no cycle from the handle to its error, through the traceback to this frame, and back
        del task, coro, error


async def _close_what_is_open(native: trio.lowlevel.Task, group: Owner) -> None:
    """Cancel and wait for the children of these scopes; an error of `group` says whose they were (G9)."""
    scopes = scopes_within(native, None)
    assert scopes is not None
    for scope in scopes:
        group._failed(left_open(scope, native.name))
    for error in await close_all(scopes, native):
        group._failed(error)
