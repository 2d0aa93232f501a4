"""The handle of a child, and waiting for its end."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from inspect import signature
from typing import Any, ClassVar, TypeVar

from .._checks import name_of, safe_repr
from .._children import Child, Children
from .._error_groups import errors_only, traceback_of
from .privates import can_cancel_now, current_task
from .scopes import Node, Scope, cancel

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Owner(Scope, Children):
    """The group of a child, as its handle knows it."""

    _tasks: set[asyncio.Task[Any]]  # the children that run


class Queued:
    """Stands in for the native task of a child that waits for a slot of its group's limit (G14)."""

    __slots__ = ("dropped", "error", "left_queue", "name", "starting")

    error: BaseException | None  # of starting it, once it is dropped

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped = False
        self.left_queue = asyncio.Event()
        # an eager loop runs the first step of a task before it hands out the task
        self.starting: Coroutine[Any, Any, Any] | None = None

    def done(self) -> bool:
        return self.dropped

    def cancelled(self) -> bool:
        return self.dropped and self.error is None

    def exception(self) -> BaseException | None:
        return self.error

    def get_name(self) -> str:
        return self.name


class Task(Node, Child[T_co]):
    """A child, and in the tree the node around all that the child opens."""

    __slots__ = ("__weakref__", "_native")

    _is_task: ClassVar[bool] = True
    _native: asyncio.Task[T_co] | Queued
    _parent: Owner

    def __init__(self, parent: Owner) -> None:
        self._parent = parent
        self._cancelled = False
        self._asked = 0

    @property
    def native(self) -> asyncio.Task[T_co]:
        native = self._native_if_known()
        if native is not None:
            return native
        assert isinstance(self._native, Queued)
        if self._native.dropped:
            why = "never started, so it has no native task"
        elif self._native.starting is not None:
            why = (
                "is in its first step, in a coroutine of its task factory's, so its native task is not known"
            )
        else:
            why = "is waiting for a slot of its group's limit, so it has no native task yet"
        raise RuntimeError(f"{self!r} {why}")

    def _native_if_known(self) -> asyncio.Task[T_co] | None:
        native = self._native
        if not isinstance(native, Queued):
            return native
        tasks: set[asyncio.Task[Any]] = set()
        if native.starting is not None:
            tasks = asyncio.all_tasks(self._parent._tree.loop())
        return next((task for task in tasks if task.get_coro() is native.starting), None)

    def done(self) -> bool:
        return self._native.done()

    def cancelled(self) -> bool:
        native = self._native
        if not native.done() or native.cancelled():
            return native.cancelled()
        error = native.exception()
        return error is not None and errors_only(error, CancelledError) is None

    def get_name(self) -> str:
        return (self._native_if_known() or self._native).get_name()

    def cancel(self) -> None:
        if self._cancelled or self.done():
            return
        tree = self._parent._tree
        tree.check_here(self, "cancel()")
        if isinstance(self._native, Queued) and self._native.starting is None:
            self._parent._drop(self)
        else:
            cancel(self, self.native, tree)

    def _is_woken(self) -> bool:
        assert not isinstance(self._native, Queued)  # a group of `first` has no limit
        # CPython 3.12 crashes if asked for the coroutine of a task that has ended in its eager first step
        return not (self._native.done() or can_cancel_now(self._native, after_a_turn=False))

    def _task_to_cancel(self) -> asyncio.Task[Any] | None:
        return self._native_if_known()

    def _queue(self, coro: Coroutine[Any, Any, T_co], name: str | None) -> None:
        self._native = Queued(name or name_of(coro) or safe_repr(coro))

    def _leave_queue(self, coro: Coroutine[Any, Any, T_co]) -> None:
        assert isinstance(self._native, Queued)
        self._native.starting = coro
        self._native.left_queue.set()

    def _drop(self, error: BaseException | None = None) -> None:
        queued = self._native
        assert isinstance(queued, Queued)
        queued.starting = None
        queued.dropped = True
        queued.error = error
        # after the cancellation is delivered, if it is the waiter's as well (T2)
        asyncio.get_running_loop().call_soon(queued.left_queue.set)

    async def _out_of_queue(self) -> None:
        if isinstance(self._native, Queued) and not self._native.dropped:
            await self._native.left_queue.wait()

    async def _wait(self) -> None:
        self._parent._tree.check_here(self, "await")
        if isinstance(self._native, Queued):
            await self._out_of_queue()
            if self.done():
                return
        native = self.native
        # T2: until its group knows of the end, that may still cancel the one who waits
        if native.done() and native not in self._parent._tasks:
            return
        if native is current_task(asyncio.get_running_loop()):
            raise RuntimeError(f"{self!r} cannot wait for itself")
        await wait_for_end(native)

    def _value(self) -> T_co:
        return self.native.result()

    def _error(self) -> BaseException | None:
        error = self._native.exception()
        return None if error is None else errors_only(error, CancelledError)


def accepts(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> bool:
    """Whether the loop's task factory has arguments of these names."""
    factory: Any = loop.get_task_factory()
    try:
        signature(factory).bind(loop, coro, **options)
    except (TypeError, ValueError):
        return False
    return True


def make_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
) -> asyncio.Task[T]:
    """A native task, with what was given and no more (C7).

    With a task factory of the form `(loop, coro)` it is named afterwards, and runs in a copy of `context`.
    """
    if loop.get_task_factory() is None:
        if context is None:
            return loop.create_task(coro, name=name)
        return loop.create_task(coro, name=name, context=context)
    options: dict[str, Any] = {}
    if context is not None and accepts(loop, coro, context=context):
        options["context"] = context
        context = None
    if name is not None and accepts(loop, coro, name=name, **options):
        options["name"] = name
        name = None

    def create() -> asyncio.Task[T]:
        return loop.create_task(coro, **options)

    task = create() if context is None else context.run(create)
    try:
        if name is not None:
            task.set_name(name)
        return task
    finally:
        del task  # G11: the frames of an eager task know this one


CREATE_TASK = asyncio.BaseEventLoop.create_task.__code__


def clear_finished_frames(task: asyncio.Task[Any]) -> None:
    """Break the cycle from the error of a task that ended in its eager first step to the task (G11).

    The frames in its traceback know the frames that called them, and of these asyncio's own `create_task()`
    knows the task, up to Python 3.13.1.
    """
    error = None if task.cancelled() else task.exception()
    traceback = None if error is None else traceback_of(error)
    if traceback is not None:
        frame = traceback.tb_frame.f_back
        while frame is not None:
            if frame.f_code is CREATE_TASK:
                with suppress(RuntimeError):  # of one that runs
                    frame.clear()
            frame = frame.f_back


async def wait_for_end(task: asyncio.Task[Any]) -> None:
    """Wait without owning: cancelling the waiter leaves `task` alone (T3)."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    if awaited_by is not None:
        awaited_by(task, current_task(loop))
    try:
        await waiter
    finally:
        if no_longer_awaited_by is not None:
            no_longer_awaited_by(task, current_task(loop))
        task.remove_done_callback(wake)


# For `asyncio ps` and `pstree`, from 3.14 on.
awaited_by: Callable[[asyncio.Task[Any], asyncio.Task[Any] | None], None] | None = getattr(
    asyncio, "future_add_to_awaited_by", None
)
no_longer_awaited_by: Callable[[asyncio.Task[Any], asyncio.Task[Any] | None], None] | None = getattr(
    asyncio, "future_discard_from_awaited_by", None
)
