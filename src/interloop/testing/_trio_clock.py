"""Virtual time on trio: trio's own clock for tests, which jumps when it may.

`MockClock(autojump_threshold=0)` has trio call it when no task can run; what it does then is in one method,
which is replaced here (docs/decisions/0007). That method, and the one by which trio raises an error where a
task waits, have no public names: `test_virtual_time.py` notices when they go.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from time import monotonic
from typing import Any, NoReturn

from trio import lowlevel
from trio.testing import MockClock, active_thread_count

from ._outside import LOOK, Outside
from ._waiting import Deadlock, deadlock_of

__all__ = ["make_clock"]

MAX_REPORTS = 10  # in one run: clean-up that waits for ever gets one, too


def make_clock(*, other_loop: bool) -> MockClock:
    """A clock in virtual time; `other_loop`: another loop in this thread may wake the tasks (guest mode)."""
    clock = MockClock()

    def start_clock() -> None:
        # From zero, and knowing nothing of an earlier run: anyio's plugin uses one clock for many.
        clock._autojump = _Autojump(clock, other_loop).jump  # type: ignore[method-assign]
        MockClock.__init__(clock, autojump_threshold=0)

    clock.start_clock = start_clock  # type: ignore[method-assign]
    return clock


class _Autojump:
    def __init__(self, clock: MockClock, other_loop: bool) -> None:
        self._clock = clock
        self._other_loop = other_loop
        self._outside = Outside()
        self._waiting_since: float | None = None  # in real time, for what is under way outside
        self._reports = 0

    def jump(self) -> None:
        """Called when no task can run and no I/O is ready."""
        delay = lowlevel.current_statistics().seconds_to_next_deadline
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
        self._clock.jump(
            max(0, delay)
        )  # no rounding error carries it too far; trio calls again if one left a rest

    def _look_again(self) -> None:
        self._clock.autojump_threshold = LOOK

    def _is_awaiting_the_outside(self) -> bool:
        io = lowlevel.current_statistics().io_statistics
        waiting = sum(getattr(io, name) for name in dir(io) if name.startswith("tasks_waiting"))
        own = 1  # the task by which other threads wake the loop
        return waiting > own or active_thread_count() > 0 or self._outside.is_at_work()

    def _report(self) -> None:
        """Raise a `Deadlock` where the main task waits, as trio does with a `KeyboardInterrupt`."""
        waiting = list(_main_tasks())
        message = str(deadlock_of((task.name, task.coro) for task in waiting))

        def raise_deadlock() -> NoReturn:
            raise Deadlock(message)

        self._reports += 1
        if self._reports == MAX_REPORTS:
            raise_deadlock()  # and leave the tasks as they are
        # If that was not enough, where every task waits: inside shields, too.
        for task in waiting[:1] if self._reports == 1 else waiting:
            if task._abort_func is not None:
                task._attempt_abort(raise_deadlock)


def _main_tasks() -> Iterator[lowlevel.Task]:
    root: Any = lowlevel.current_root_task()
    nurseries = root.child_nurseries[-1:]  # the others are for the system tasks
    while nurseries:
        for task in nurseries.pop().child_tasks:
            yield task
            nurseries += task.child_nurseries
