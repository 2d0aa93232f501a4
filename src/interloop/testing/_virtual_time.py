"""Virtual time on asyncio: a loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from asyncio import Future
from collections.abc import Callable
from concurrent.futures import Executor
from math import inf, ulp
from typing import TypeAlias, TypeVar, TypeVarTuple

__all__ = ["VirtualTimeLoop"]

T = TypeVar("T")
Args = TypeVarTuple("Args")
Events: TypeAlias = "list[tuple[selectors.SelectorKey, int]]"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which sleeping costs nothing, for tests; usable as any `loop_factory`.

    The clock starts at 0. When no callback is ready and no I/O is, it is set to the time of the next timer.
    With no timer left, the loop waits for I/O, threads and signals as any other does. While a function runs
    in an executor, waiting takes real time: a jump would expire the timeout of whoever waits for it.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._jobs = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Args], T], *args: *Args
    ) -> Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_ended)
        return future

    async def shutdown_default_executor(self, *timeout: float | None) -> None:  # no argument on 3.11
        self._jobs += 1  # it joins the threads in one more thread
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._jobs -= 1

    def _job_ended(self, _: Future[T]) -> None:
        self._jobs -= 1

    def _wait(self, select: Callable[[float | None], Events], timeout: float | None) -> Events:
        if timeout == 0:
            return select(0)
        # asyncio's heap of timers, which has no public view; `now + timeout` would be off by a rounding error
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        next_timer = timers[0].when() if timers else inf
        if next_timer == inf:
            return select(None)
        events = select(timeout if self._jobs else 0)
        if not events:
            self._now = next_timer
            # asyncio runs the timers before now + resolution: its nanosecond is lost in a number of days
            self._clock_resolution = ulp(next_timer)
        return events


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Events:
        return self._loop._wait(super().select, timeout)
