"""What other code brings along, with one face on asyncio and trio: for the interpreter and the scripts.

What a construct does by its own nature after it has done its part is evened out here: asyncio's and trio's
groups end with a checkpoint (asyncio's is none if no child runs, trio's never is), trio's raises errors
without the cancellations among them, and a task that is waited for keeps its errors to itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import trio

from interloop import Task, checkpoint, current_backend, shield

__all__ = [
    "WAIT_FOR_MAKES_A_TASK",
    "anyio_group",
    "cancel_natively",
    "contained",
    "left_to_the_end",
    "native_group",
    "native_task",
    "native_timeout",
    "native_wait_for",
]

AsyncFn: TypeAlias = Callable[[], Coroutine[Any, Any, object]]

WAIT_FOR_MAKES_A_TASK = sys.version_info < (3, 12)


async def contained(fn: AsyncFn) -> None:
    """Run it and let no error out."""
    with suppress(Exception):
        await fn()


@asynccontextmanager
async def native_timeout(seconds: float) -> AsyncIterator[None]:
    """`asyncio.timeout`, whose own `TimeoutError` goes no further, or `trio.move_on_after`."""
    if current_backend() == "trio":
        with trio.move_on_after(seconds):
            yield
        return
    raised: BaseException | None = None
    try:
        async with asyncio.timeout(seconds):
            try:
                yield
            except BaseException as error:
                raised = error
                raise
    except TimeoutError as error:
        if error is raised:
            raise
    finally:
        del raised


async def native_wait_for(seconds: float, fn: AsyncFn) -> None:
    """`asyncio.wait_for`, or `trio.move_on_after` and a `TimeoutError`."""
    if current_backend() == "asyncio":
        await asyncio.wait_for(contained(fn) if WAIT_FOR_MAKES_A_TASK else fn(), seconds)
        return
    with trio.move_on_after(seconds) as scope:
        await (contained(fn) if WAIT_FOR_MAKES_A_TASK else fn())
    if WAIT_FOR_MAKES_A_TASK:
        await trio.lowlevel.checkpoint_if_cancelled()
    if scope.cancelled_caught:
        raise TimeoutError


@asynccontextmanager
async def native_group() -> AsyncIterator[Callable[[AsyncFn], object]]:
    """`asyncio.TaskGroup` or a nursery; gives what creates a child."""
    if current_backend() == "asyncio":
        async with asyncio.TaskGroup() as group:
            yield lambda fn: group.create_task(fn())
    else:
        try:
            async with trio.open_nursery() as nursery:
                yield nursery.start_soon
        except BaseExceptionGroup as caught:
            errors = caught.split(trio.Cancelled)[1]
            if errors is not None:
                raise errors from None
            cancelled: BaseException = caught
            while isinstance(cancelled, BaseExceptionGroup):
                cancelled = cancelled.exceptions[0]
            raise cancelled from None
    await checkpoint()


@asynccontextmanager
async def anyio_group() -> AsyncIterator[Any]:
    """`anyio.create_task_group`."""
    import anyio

    async with anyio.create_task_group() as group:
        yield group
    await checkpoint()


async def native_task(
    fn: AsyncFn,
    *,
    shielded: bool = False,
    fails: bool = False,
    started: Callable[[Callable[[], object]], object] = id,
) -> None:
    """A task of asyncio's that is waited for, behind `asyncio.shield` or not; on trio a cancel scope.

    Args:
        fn: runs in the task.
        shielded: whether a cancellation of the caller leaves the task alone.
        fails: whether an error of the task is raised.
        started: is called with what cancels the task.
    """
    if current_backend() == "trio":
        with trio.CancelScope(shield=shielded) as scope:
            started(scope.cancel)
            await (fn() if fails else contained(fn))
        await trio.lowlevel.checkpoint_if_cancelled()
        return
    task = asyncio.create_task(fn() if fails else contained(fn))
    started(task.cancel)
    waiting: Awaitable[object] = asyncio.shield(task) if shielded else asyncio.wait([task])
    try:
        await waiting
    except asyncio.CancelledError:
        if not shielded:
            task.cancel()
        await shield(asyncio.wait([task]))
        raise
    if fails and not task.cancelled():
        task.result()


def cancel_natively(task: Task[Any]) -> None:
    """`Task.cancel()` of asyncio, or the cancel scope around the child's body."""
    if current_backend() == "asyncio":
        task.native.cancel()
    else:
        task.cancel()


async def left_to_the_end(background: AsyncFn, main: AsyncFn) -> None:
    """Run `main()` beside a task that is cancelled when that has ended: by `asyncio.run`, or a nursery."""
    if current_backend() == "asyncio":
        loop = asyncio.get_running_loop()
        loop._left_to_the_end = loop.create_task(contained(background))  # type: ignore[attr-defined]
        await main()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(contained, background)
        try:
            await main()
        finally:
            nursery.cancel_scope.cancel()
