"""One timer of an asyncio loop for all the deadlines that are open in it.

A timer of its own is most of what a deadline costs: `loop.call_at()` makes a handle and puts it into a heap,
and nearly every one is cancelled. Here the loop has one timer, set for what was the earliest deadline at the
time. When that deadline goes the timer stays, since those that come are mostly later: at worst it rings once
for nothing, and is then set for what is the earliest by that time. It goes when no deadline is left (L10),
which a callback looks into once the turn is over, so that deadlines one after another share a timer.

Until the timer rings nobody needs to know which deadline comes next. So a new one is appended to a list, and
is the last there when it goes if blocks are left in the reverse order of entering; only what is open when the
timer rings gets an entry in the heap. `Deadline._timer` is the list or the entry. Entering and leaving
do in place what `add` and `remove` do, in the usual case (decision 0012). A deadline that goes from the
middle leaves a dead place, to which it does not point any more; the places are compacted once dead ones
outnumber the live ones.

Invariants: a deadline with a time that is open and has not rung has exactly one live place. `dead` counts the
others.
`set_for` is never later than the earliest live place, and `inf` if and only if there is no timer.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Protocol, TypeAlias

DAY = 86_400.0
FEW_DEAD = 50  # are not worth compacting


class Timed(Protocol):
    """A deadline, as the timers know it."""

    _timer: list[Timed] | Entry | None
    _when: float | None

    def _ring(self) -> None:
        """The time has come."""


# Its time, a number that keeps those of one time in the order of their coming, and the deadline.
Entry: TypeAlias = "tuple[float, int, Timed]"


class Timers:
    __slots__ = ("_heap", "_numbers", "checking", "dead", "new", "set_for", "timer")

    def __init__(self) -> None:
        self.new: list[Timed] = []
        self._heap: list[Entry] = []
        self.dead = 0  # places in either
        self._numbers = count()
        self.timer: asyncio.TimerHandle | None = None
        self.set_for = inf
        self.checking = False

    def add(self, deadline: Timed, when: float) -> None:
        if when < self.set_for or not self.timer_stands():
            self.set_timer(when)
        deadline._timer = self.new
        self.new.append(deadline)

    def timer_stands(self) -> bool:
        """Whether nobody else has cancelled the timer. Ask only while there is one (L10)."""
        assert self.timer is not None
        return not self.timer.cancelled()

    def remove(self, deadline: Timed) -> None:
        deadline._timer = None
        new = self.new
        if new and new[-1] is deadline:
            new.pop()
        else:
            self.dead += 1
            if self.dead > FEW_DEAD and self.dead > (len(new) + len(self._heap)) // 2:
                self._compact()
        self.check_soon()

    def _compact(self) -> None:
        new = self.new
        # a deadline that was removed and added again has two places in the list
        new[:] = dict.fromkeys(deadline for deadline in new if deadline._timer is new)
        self._heap[:] = [entry for entry in self._heap if entry[2]._timer is entry]
        heapify(self._heap)
        self.dead = 0

    def set_timer(self, when: float) -> None:
        """Set the timer for `when`; earlier if it was for that, or if the loop refuses `when`."""
        loop = asyncio.get_running_loop()
        when = min(when, self.set_for)
        try:
            timer = loop.call_at(when, self._ring)
        except (ValueError, OverflowError):
            # Pyodide's loop refuses the past, Qt's refuse more than 24.8 days
            now = loop.time()
            when = min(when, now + DAY)
            timer = loop.call_later(max(when - now, 0), self._ring)
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer
        self.set_for = when

    def _ring(self) -> None:
        # A loop whose clock is coarse, such as uvloop's of whole milliseconds, rings a little early.
        self._ring_what_is_due(max(asyncio.get_running_loop().time(), self.set_for))

    def _ring_what_is_due(self, now: float) -> None:
        self.timer = None
        self.set_for = inf
        self._sort_in_new()
        heap = self._heap
        due: list[Timed] = []
        while heap:
            when, _, deadline = entry = heap[0]
            if deadline._timer is not entry:
                self.dead -= 1
            elif when <= now:
                due.append(deadline)
                deadline._timer = None
            else:
                self.set_timer(when)
                break
            heappop(heap)
        for deadline in due:
            deadline._ring()

    def _sort_in_new(self) -> None:
        new = self.new
        for deadline in new:
            if deadline._timer is new:
                assert deadline._when is not None
                deadline._timer = entry = deadline._when, next(self._numbers), deadline
                heappush(self._heap, entry)
            else:
                self.dead -= 1
        new.clear()

    def check_soon(self) -> None:
        """Look, when this turn of the loop is over, whether a deadline is left (L10)."""
        if not self.checking and not self._live():
            self.checking = True
            asyncio.get_running_loop().call_soon(self._check)

    def _live(self) -> int:
        return len(self.new) + len(self._heap) - self.dead

    def _check(self) -> None:
        self.checking = False
        if self.timer is None:
            return
        if self._live():
            if not self.timer_stands():
                self._ring_what_is_due(asyncio.get_running_loop().time())
        else:
            self.timer.cancel()
            self.timer = None
            self.set_for = inf
            self.new.clear()
            self._heap.clear()
            self.dead = 0
