"""What a loop does while a cancelled group waits for a child that is slow to stop (C3)."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import interloop

from .loops import Loop, Main
from .operations import Crowd
from .peers import Peer, Stop

LIBRARIES = ("interloop", "native", "anyio")

SlowToStop = Callable[[float], Awaitable[object]]
"""Takes so many seconds to end, cancelled or not."""


@dataclass(frozen=True)
class Idle:
    """One wait.

    Attributes:
        iterations: how often the loop went round; `None` where the loop does not tell.
        cpu: the seconds that the process computed.
    """

    loop: str
    case: str
    peer: str
    iterations: int | None
    cpu: float


def cases(loop: Loop, library: str) -> Iterator[tuple[str, SlowToStop]]:
    if loop.backend == "asyncio":
        yield "a child that absorbs cancellation", _absorb
        yield "a child that waits for a thread", _thread_on_asyncio(library)
        yield "a child behind `asyncio.shield`", _shielded
    else:
        yield "a child that waits for a thread", _thread_on_trio(library)


async def _absorb(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(left)


async def _shielded(seconds: float) -> None:
    await _wait_through(asyncio.ensure_future(asyncio.sleep(seconds)))


async def _wait_through(future: asyncio.Future[None]) -> None:
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(future)


def _thread_on_asyncio(library: str) -> SlowToStop:
    async def native(seconds: float) -> None:
        await _wait_through(asyncio.get_running_loop().run_in_executor(None, time.sleep, seconds))

    async def with_interloop(seconds: float) -> None:
        await interloop.shield(asyncio.to_thread(time.sleep, seconds))

    async def with_anyio(seconds: float) -> None:
        import anyio

        await anyio.to_thread.run_sync(time.sleep, seconds)

    return {"native": native, "interloop": with_interloop, "anyio": with_anyio}[library]


def _thread_on_trio(library: str) -> SlowToStop:
    import trio

    async def native(seconds: float) -> None:
        await trio.to_thread.run_sync(time.sleep, seconds)

    async def with_interloop(seconds: float) -> None:
        await interloop.shield(trio.to_thread.run_sync(time.sleep, seconds))

    async def with_anyio(seconds: float) -> None:
        import anyio

        await anyio.to_thread.run_sync(time.sleep, seconds)

    return {"native": native, "interloop": with_interloop, "anyio": with_anyio}[library]


def measure_idle(loop: Loop, case: str, slow: SlowToStop, name: str, peer: Peer, seconds: float) -> Idle:
    """Cancel a group whose one child takes `seconds` to end."""
    count = _Iterations()
    iterations, cpu = 0, 0.0

    async def child(crowd: Crowd) -> None:
        crowd.one_waits()
        await slow(seconds)

    async def main() -> None:
        nonlocal iterations, cpu
        crowd = Crowd(1, loop)
        try:
            async with peer.group() as tg:
                peer.spawn(tg, child, crowd)
                await crowd.complete()
                iterations, cpu = -count.value, -time.process_time()
                peer.cancel(tg)
        except* Stop:
            pass
        iterations += count.value
        cpu += time.process_time()

    told = count.run(loop, main)
    return Idle(loop.name, case, name, iterations if told else None, cpu)


class _Iterations:
    """Counts how often a loop goes round, by what asyncio and trio have for it in public."""

    def __init__(self) -> None:
        self.value = 0

    def run(self, loop: Loop, main: Main) -> bool:
        """Run `main`; gives whether the loop tells."""
        if loop.name == "asyncio":
            with asyncio.Runner(loop_factory=self._asyncio_loop) as runner:
                runner.run(main())
        elif loop.name == "trio":
            self._run_on_trio(main)
        else:
            loop.run(main)
        return loop.name in ("asyncio", "trio")

    def _asyncio_loop(self) -> asyncio.AbstractEventLoop:
        outer = self

        class CountingSelector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> Any:
                outer.value += 1
                return super().select(timeout)

        return asyncio.SelectorEventLoop(CountingSelector())

    def _run_on_trio(self, main: Main) -> None:
        import trio

        outer = self

        class Counting(trio.abc.Instrument):
            def before_io_wait(self, timeout: float) -> None:
                outer.value += 1

        trio.run(main, instruments=[Counting()])
