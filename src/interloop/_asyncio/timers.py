"""One timer of an asyncio loop for all the deadlines that are open in it.

A timer of its own is most of what a deadline costs: `loop.call_at()` makes a handle and puts it into a heap,
and nearly every one is cancelled. Here the loop has one timer, for the time that was the earliest when it was
set. It stays when that deadline goes, since those that come are mostly later: at worst it rings once for
nothing, and is then set for what is the earliest by that time.

Until it rings nobody needs to know which deadline comes next. So a new one is appended to a list, where it
is the last again when it goes if blocks are left in the reverse order of entering; only what is open when
the timer rings gets an entry in the heap. `Deadline._timer` is the list or the entry. Entering and leaving
do here what `add` and `remove` do, in the usual case (decision 0012). What goes from the middle leaves a
dead place, to which its deadline does not point any more; they are tidied up when they are more than the
living.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from . import Deadline

# Its time, a number that keeps those of one time in the order of their coming, and the deadline.
Entry: TypeAlias = "tuple[float, int, Deadline]"

FEW_DEAD = 50  # are not worth tidying up


class Timers:
    __slots__ = ("_dead", "_heap", "_loop", "_numbers", "_timer", "new", "set_for")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.new: list[Deadline] = []
        self._heap: list[Entry] = []
        self._dead = 0  # places in either
        self._numbers = count()
        self._timer: TimerHandle | None = None
        self.set_for = inf

    def add(self, deadline: Deadline, when: float) -> None:
        deadline._timer = self.new
        self.new.append(deadline)
        if when < self.set_for:
            self.set_timer(when)

    def remove(self, deadline: Deadline) -> None:
        deadline._timer = None
        new = self.new
        if new and new[-1] is deadline:
            new.pop()
            return
        self._dead += 1
        if self._dead > FEW_DEAD and self._dead > (len(new) + len(self._heap)) // 2:
            # a deadline that was removed and added again has two places in the list
            new[:] = dict.fromkeys(deadline for deadline in new if deadline._timer is new)
            self._heap[:] = [entry for entry in self._heap if entry[2]._timer is entry]
            heapify(self._heap)
            self._dead = 0

    def set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.set_for = when
        self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        # A loop whose clock is coarse, such as uvloop's of whole milliseconds, rings a little early.
        now = max(self._loop.time(), self.set_for)
        self._timer = None
        self.set_for = inf
        self._sort_in_new()
        heap = self._heap
        while heap:
            when, _, deadline = entry = heap[0]
            if deadline._timer is not entry:
                self._dead -= 1
            elif when <= now:
                deadline._ring()
            else:
                self.set_timer(when)
                break
            heappop(heap)

    def _sort_in_new(self) -> None:
        new = self.new
        for deadline in new:
            if deadline._timer is new:
                assert deadline._when is not None
                deadline._timer = entry = deadline._when, next(self._numbers), deadline
                heappush(self._heap, entry)
            else:
                self._dead -= 1
        new.clear()
