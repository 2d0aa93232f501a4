"""What the tests of several chapters share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeAlias

import pytest

from interloop import (
    Task,
    TaskCancelled,
    TaskGroup,
    checkpoint,
    current_backend,
    deadline,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.testing import Host, VirtualTimeLoop

Inside: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Enclosing: TypeAlias = Callable[[float, Inside], Awaitable[None]]

# What children do.


async def note_the_end(log: list[str], note: str = "child") -> None:
    """Run until cancelled, and note it."""
    try:
        await sleep_forever()
    finally:
        log.append(note)


async def clean_up(seconds: float, log: list[str], note: str = "child") -> None:
    """Run until cancelled, and then take some time to stop."""
    try:
        await sleep_forever()
    finally:
        await shield(sleep(seconds))
        log.append(note)


async def wait_behind(gate: Task[Any]) -> int:
    """Run until `gate` is cancelled, and return 42: for tests where no clock may decide what comes first."""
    with suppress(TaskCancelled):
        await gate
    return 42


async def fail(error: BaseException) -> None:
    raise error


async def fail_when_cancelled(error: BaseException) -> None:
    try:
        await sleep_forever()
    finally:
        raise error


# What tests do.


async def until(condition: Callable[[], object]) -> None:
    """Let the other tasks run until `condition()` holds; it must not need time to pass."""
    for _ in range(1000):
        if condition():
            return
        await checkpoint()
    raise AssertionError("what the test waits for does not come about")


async def settle() -> None:
    """Let the other tasks run until they wait for something, or have ended."""
    for _ in range(10):
        await checkpoint()


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The errors in `group`, at any depth."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def native_name(task: Task[Any]) -> str:
    """The name that the host's own tools show."""
    name: str = task.native.get_name() if isinstance(task.native, asyncio.Task) else task.native.name
    return name


def asyncio_inside_trio() -> bool:
    """Whether the loop is trio-asyncio's."""
    try:
        from trio.lowlevel import current_root_task

        return current_root_task() is not None and current_backend() == "asyncio"
    except (ImportError, RuntimeError):
        return False


def compute(seconds: float) -> None:
    """Let time pass without a checkpoint, as a long computation does."""
    try:
        loop: object = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if isinstance(loop, VirtualTimeLoop):
        loop._now += seconds
    elif not _jump_on_trio(seconds):
        time.sleep(seconds)


def _jump_on_trio(seconds: float) -> bool:
    try:
        from trio.lowlevel import current_clock
        from trio.testing import MockClock

        clock = current_clock()
    except (ImportError, RuntimeError):
        return False
    if isinstance(clock, MockClock):
        clock.jump(seconds)
        return True
    return False


# Every kind of scope around the code under test. Each runs `inside()`, cancels itself after a tick, and
# ends without an exception if that cancellation reaches its end.


async def in_deadline(tick: float, inside: Inside) -> None:
    with deadline(tick, suppress=True):
        await inside()


async def in_group(tick: float, inside: Inside) -> None:
    async def stop(group: TaskGroup) -> None:
        await sleep(tick)
        group.cancel()

    async with task_group() as tg:
        tg.create_task(stop(tg))
        await inside()


async def in_outer_group(tick: float, inside: Inside) -> None:
    async def middle() -> None:
        async with task_group():
            await inside()

    await in_group(tick, middle)


async def in_task(tick: float, inside: Inside) -> None:
    async with task_group() as tg:
        task = tg.create_task(inside())
        await sleep(tick)
        task.cancel()


async def in_native_timeout(tick: float, inside: Inside) -> None:
    if current_backend() == "trio":
        import trio

        with trio.move_on_after(tick):
            await inside()
    else:
        try:
            async with asyncio.timeout(tick):
                await inside()
        except TimeoutError:
            pass


async def in_native_task(tick: float, inside: Inside) -> None:
    if current_backend() == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside)
            await trio.sleep(tick)
            nursery.cancel_scope.cancel()
    else:
        async with asyncio.TaskGroup() as tg:
            task = tg.create_task(inside())
            await asyncio.sleep(tick)
            task.cancel()


in_every_scope = pytest.mark.parametrize(
    "enclosing",
    [in_deadline, in_group, in_outer_group, in_task, in_native_timeout, in_native_task],
    ids=lambda scope: scope.__name__,
)

WITH_ANYIO = ("asyncio", "trio")  # the backends that anyio serves as well

needs_anyio = pytest.mark.needs_anyio  # skipped where it is not, and on other backends


def skip_if_deadlocks_are_not_named(host: Host) -> None:
    if not host.virtual:
        pytest.skip("in real time nobody knows that nothing will happen")
    if host.name == "trio-guest":
        pytest.skip("the loop around trio could wake a task at any time")
    if host.name == "trio-asyncio":
        pytest.skip("trio sees that the loop inside waits, not which of its tasks do")


def anyio_is_here() -> bool:
    return find_spec("anyio") is not None and current_backend() in WITH_ANYIO
