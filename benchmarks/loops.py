"""The event loops that are measured on, and the little that the operations take from them directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

Main = Callable[[], Coroutine[Any, Any, None]]
Spawn = Callable[..., object]

LOOP_BACKENDS = {"asyncio": "asyncio", "uvloop": "asyncio", "trio": "trio"}
"""Every loop that is measured on, and the backend of interloop that serves it."""


@dataclass(frozen=True)
class Loop:
    """A loop, and its own ways to wait, which are the same whoever does the structure.

    Attributes:
        backend: which backend of interloop serves it.
        checkpoint: lets other tasks run.
        sleep_forever: waits until cancelled.
        event: makes an event.
        native_group: opens the loop's own task group, and gives what spawns in it.
        spawn_to_cancel: spawns by the latter, and gives what cancels that task alone.
    """

    name: str
    backend: str
    run: Callable[[Main], None]
    checkpoint: Callable[[], Awaitable[object]]
    sleep_forever: Callable[[], Awaitable[object]]
    event: Callable[[], Any]
    native_group: Callable[[], AbstractAsyncContextManager[Spawn]]
    spawn_to_cancel: Callable[[Spawn, Main], Callable[[], object]]


def installed_loops() -> dict[str, Loop]:
    """The loops of `LOOP_BACKENDS` that can run here."""
    loops = [_asyncio("asyncio", _on_asyncio)]
    if find_spec("uvloop"):
        loops.append(_asyncio("uvloop", _on_uvloop))
    if find_spec("trio"):
        loops.append(_trio())
    return {loop.name: loop for loop in loops}


def _asyncio(name: str, run: Callable[[Main], None]) -> Loop:
    def spawn_to_cancel(spawn: Spawn, fn: Main) -> Callable[[], object]:
        task: Any = spawn(fn)
        return task.cancel  # type: ignore[no-any-return]

    return Loop(
        name,
        "asyncio",
        run,
        lambda: asyncio.sleep(0),
        _wait_for_nothing,
        asyncio.Event,
        _asyncio_group,
        spawn_to_cancel,
    )


async def _wait_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def _asyncio_group() -> AsyncGenerator[Spawn]:
    async with asyncio.TaskGroup() as group:
        yield lambda fn, *args: group.create_task(fn(*args))


def _on_asyncio(main: Main) -> None:
    asyncio.run(main())


def _on_uvloop(main: Main) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _trio() -> Loop:
    import trio

    @asynccontextmanager
    async def group() -> AsyncGenerator[Spawn]:
        async with trio.open_nursery() as nursery:
            yield nursery.start_soon

    def spawn_to_cancel(spawn: Spawn, fn: Main) -> Callable[[], object]:
        scope = trio.CancelScope()

        async def inside() -> None:
            with scope:
                await fn()

        spawn(inside)
        return scope.cancel

    return Loop(
        "trio",
        "trio",
        trio.run,
        trio.lowlevel.checkpoint,
        trio.sleep_forever,
        trio.Event,
        group,
        spawn_to_cancel,
    )
