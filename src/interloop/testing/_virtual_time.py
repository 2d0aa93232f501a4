"""Virtual time on asyncio: a loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from asyncio import Future
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from math import inf, ulp
from time import monotonic
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

from ._outside import LOOK, Outside
from ._waiting import deadlock_of

__all__ = ["VirtualTimeLoop"]

T = TypeVar("T")
Args = TypeVarTuple("Args")
SPINS = 100  # rounds of the loop; unwinding does other things at least in every second one
Events: TypeAlias = "list[tuple[selectors.SelectorKey, int]]"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which sleeping costs nothing, for tests; usable as any `loop_factory`.

    The clock starts at 0. When nothing can run, it is set to the time of the next timer, exactly. While a
    function runs in an executor or a thread that was started during the run, and while a file descriptor is
    registered, waiting takes real time: a jump would expire the timeout of whoever waits for them.

    Raises:
        Deadlock: out of the run, when nothing can ever happen again; it names the tasks that wait, and where.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._waited = 0.0  # in real time, since the clock was last moved
        self._jobs = 0
        self._spins = 0
        self._outside = Outside()
        self._io = _Selector(self)
        super().__init__(self._io)
        self._run_nothing_early()
        self._own_io = len(self._io.get_map())  # by which other threads and signals wake the loop

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
        if timeout == 0 and not self._is_spinning():
            return select(0)
        # asyncio's heap of timers, which has no public view; `now + timeout` would be off by a rounding error
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        next_timer = timers[0].when() if timers else inf
        if self._is_awaiting_the_outside() or (next_timer == inf and self._outside.may_signal()):
            began = monotonic()
            events = select(min(LOOK, max(0, next_timer - self._now - self._waited)))
            self._waited += monotonic() - began
            if events or self._waited < next_timer - self._now:
                return events
        elif events := select(0):
            return events
        if next_timer == inf:
            raise deadlock_of((task.get_name(), task.get_coro()) for task in asyncio.all_tasks(self))
        self._now = next_timer
        self._waited = 0.0
        self._spins = 0
        self._run_nothing_early()
        return []

    def _run_nothing_early(self) -> None:
        """asyncio runs the timers before now + resolution: its nanosecond is lost in a number of days."""
        self._clock_resolution = ulp(self._now)

    def _is_awaiting_the_outside(self) -> bool:
        return bool(self._jobs) or len(self._io.get_map()) > self._own_io or self._outside.is_at_work()

    def _is_spinning(self) -> bool:
        """Whether anyio cancels what does not end: it asks again in every round of the loop."""
        ready: Iterable[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        spins = any(map(_cancels_again, ready)) and all(
            _cancels_again(handle) or _was_cancelled(handle) for handle in ready
        )
        self._spins = self._spins + 1 if spins else 0
        return self._spins >= SPINS


def _cancels_again(handle: asyncio.Handle) -> bool:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    return getattr(callback, "__name__", "") == "_deliver_cancellation"


def _was_cancelled(handle: asyncio.Handle) -> bool:
    """Whether the callback is called as what it waited for was cancelled.

    Such is the step of the task, and what looks whether the task has left anyio's shield (C8).
    """
    arguments: Any = handle._args
    return bool(arguments) and isinstance(arguments[0], Future) and arguments[0].cancelled()


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Events:
        return self._loop._wait(super().select, timeout)
