"""What goes on outside of a loop in virtual time, and could wake it: threads and signals."""

from __future__ import annotations

import signal
import sys
from threading import Thread, current_thread, enumerate
from weakref import WeakSet

__all__ = ["LOOK", "Outside"]

LOOK = 0.002  # seconds of real time between two looks at what is under way outside

# Where the threads of a pool wait for their next job.
_IDLE = {("concurrent.futures.thread", "_worker"), ("trio._core._thread_cache", "_work")}


class Outside:
    """What came after a run began: what was there before is taken to have nothing to do with it."""

    def __init__(self) -> None:
        self._threads_before = WeakSet(enumerate())
        self._handlers_before = _signal_handlers()

    def is_at_work(self) -> bool:
        """Whether a thread runs that was started since, other than those of a pool that wait for a job."""
        here = current_thread()
        return any(
            thread not in self._threads_before and thread is not here and not _is_idle(thread)
            for thread in enumerate()
        )

    def may_signal(self) -> bool:
        """Whether a signal is handled that was not before."""
        return _signal_handlers() != self._handlers_before


def _is_idle(thread: Thread) -> bool:
    idle_workers = getattr(thread, "idle_workers", None)
    if (
        idle_workers is not None
    ):  # a thread of anyio's on asyncio, which runs its jobs where it waits for them
        return thread in idle_workers
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_globals.get("__name__") in ("queue", "threading"):
        frame = frame.f_back
    return frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) in _IDLE


def _signal_handlers() -> list[object]:
    # SIGINT: asyncio's runner and trio have a handler of their own for Ctrl-C
    return [signal.getsignal(number) for number in signal.valid_signals() - {signal.SIGINT}]
