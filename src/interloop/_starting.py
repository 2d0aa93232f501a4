"""`TaskGroup.start`: spawn a task and wait until it says that it is ready (T5); over the group alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import inf
from typing import TYPE_CHECKING, Any

from ._checks import check_function, is_coroutine
from ._dispatch import current_backend
from ._errors import TaskCancelled, errors_only
from ._status import TaskStatus

if TYPE_CHECKING:
    from .abc import Backend, TaskGroup


async def start(
    group: TaskGroup, fn: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...], name: str | None
) -> Any:
    check_function(fn, "start()")
    backend = current_backend("start()")
    status: TaskStatus[Any] = TaskStatus(backend.Event())
    coro: Any = _run(status, fn, args, backend)
    coro.__qualname__ = getattr(fn, "__qualname__", repr(fn))  # what trio names the task after
    task = group.create_task(coro, name=name)
    try:
        await task._out_of_queue()
        if not task.done():
            await status._ready_or_ended.wait()
    except BaseException:
        if not status._started:
            task.cancel()
            await backend.shield(task._wait())
            if status._error is not None:  # it came before the cancellation, but this call did not see it
                _hand_over(status._error, group)
        raise
    if status._error is not None:
        try:
            raise status._error
        finally:
            status._error = None  # no cycle from the error through its traceback to the status
    if task.cancelled() and not status._started:
        raise TaskCancelled(f"task {task.get_name()!r} was cancelled before it called task_status.started()")
    if not status._started:
        # Its end may be what cancels this task: by SystemExit, or as the last ordinary child while this is a
        # background task (G15). asyncio tells of it in one turn of the loop, and delivers it in the next.
        await backend.checkpoint()
        await backend.checkpoint()
        await task
        raise RuntimeError(f"{fn!r} returned without calling task_status.started()")
    return status._value


async def _run(
    status: TaskStatus[Any], fn: Callable[..., Any], args: tuple[Any, ...], backend: Backend
) -> object:
    try:
        coro = fn(*args, task_status=status)
        if not is_coroutine(coro):
            raise TypeError(f"start() expects an async function, but {fn!r} returned {coro!r}")
        return await coro
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if status._started or backend.current_deadline() == -inf:
            raise  # an error of the group, as any other child's
        status._error = errors_only(error, backend.get_cancelled_exc_class())
        if status._error is None:
            raise
        return None
    finally:
        status._ready_or_ended.set()


def _hand_over(error: BaseException, group: TaskGroup) -> None:
    """Make it an error of the group, or raise it here if the child was the last that the group waited for."""

    async def fail() -> None:
        raise error

    try:
        group.create_background_task(fail())
    except RuntimeError:
        raise error from None
