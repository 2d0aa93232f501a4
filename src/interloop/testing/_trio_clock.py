"""Virtual time on trio: trio's own clock for tests, which jumps when it may.

`MockClock(autojump_threshold=0)` has trio call it when no task can run; what it does then is in one method,
which is replaced here (docs/decisions/0007). The method has no public name: `test_virtual_time.py` notices
when it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nextafter
from time import monotonic
from typing import Any

from trio import lowlevel
from trio.testing import MockClock, active_thread_count

from ._outside import LOOK, Outside
from ._waiting import Deadlock, deadlock_of

__all__ = ["make_clock"]


def make_clock(*, other_loop: bool) -> MockClock:
    """A clock in virtual time; `other_loop`: another loop in this thread may wake the tasks (guest mode)."""
    clock = MockClock(autojump_threshold=0)
    clock._autojump = _Autojump(clock, other_loop)  # type: ignore[method-assign]
    return clock


class _Autojump:
    """Called when no task can run and no I/O is ready."""

    def __init__(self, clock: MockClock, other_loop: bool) -> None:
        self._clock = clock
        self._other_loop = other_loop
        self._outside = Outside()
        self._waiting_since: float | None = None  # in real time, for what is under way outside
        self._reported: Deadlock | None = None

    def __call__(self) -> None:
        delay = _seconds_to_next_deadline()
        if self._is_awaiting_the_outside():
            now = monotonic()
            self._waiting_since = self._waiting_since or now
            if now - self._waiting_since < delay:
                self._look_again()
                return
        elif delay == inf:
            if self._other_loop or self._outside.may_signal():
                self._look_again()
            else:
                self._report()
            return
        self._waiting_since = None
        self._clock.autojump_threshold = 0
        # In two steps, of which the first is never too far and leaves a rest without a rounding error.
        self._clock.jump(nextafter(delay, 0))
        self._clock.jump(_seconds_to_next_deadline())

    def _look_again(self) -> None:
        self._clock.autojump_threshold = LOOK

    def _is_awaiting_the_outside(self) -> bool:
        io = lowlevel.current_statistics().io_statistics
        waiting = sum(getattr(io, name) for name in dir(io) if name.startswith("tasks_waiting"))
        own = 1  # the task by which other threads wake the loop
        return waiting > own or active_thread_count() > 0 or self._outside.is_at_work()

    def _report(self) -> None:
        if self._reported is not None:
            raise self._reported  # not even cancelled do they end
        self._reported = deadlock_of((task.name, task.coro) for task in _main_tasks())
        # trio cancels the main task when a system task fails: the one way from here to end a run in order
        lowlevel.spawn_system_task(_fail, self._reported, name="interloop: deadlock")


async def _fail(error: Deadlock) -> None:
    raise error


def _seconds_to_next_deadline() -> float:
    return lowlevel.current_statistics().seconds_to_next_deadline


def _main_tasks() -> Iterator[lowlevel.Task]:
    root: Any = lowlevel.current_root_task()
    nurseries = root.child_nurseries[-1:]  # the others are for the system tasks
    while nurseries:
        for task in nurseries.pop().child_tasks:
            yield task
            nurseries += task.child_nurseries
