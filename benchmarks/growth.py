"""How time and memory grow with the number of children, deadlines, cancelled tasks, waiters and items."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import log
from statistics import linear_regression
from typing import Any

from .loops import Loop
from .operations import (
    QUEUES,
    Crowd,
    Line,
    cancel,
    cancel_in_the_middle,
    open_deadlines,
    others_open,
    release_waiters,
    send_and_receive,
    spawn,
    waiting,
)
from .peers import Peer, Stop

LIBRARIES = ("interloop", "native")
FIT_FROM = 1_000  # below, what is done once weighs as much as what is done for each
CANCELLED = 1_000  # waiters in each round: the others take long to make, and are not in the time
AT_ONCE = 100  # of what goes through one and the same thing

# the titles of those with a budget of their own, or none
CANCELLED_TASKS = "cancelled tasks"
CANCELLED_WAITER = {at: f"waiters at {at}, cancelling the middle one" for at in QUEUES}


@dataclass(frozen=True)
class Curve:
    """How one library's seconds or bytes grow with the size."""

    loop: str
    title: str
    unit: str
    peer: str
    values: dict[int, float]

    def names_the_same_as(self, other: Curve) -> bool:
        return replace(self, values={}) == replace(other, values={})

    @property
    def exponent(self) -> float | None:
        """Of the power of the size that fits best: 1 is linear. `None` if there are too few sizes to tell."""
        fitted = {size: value for size, value in self.values.items() if size >= FIT_FROM and value > 0}
        if len(fitted) < 2:
            return None
        return linear_regression([log(size) for size in fitted], [log(value) for value in fitted.values()])[0]


@dataclass(frozen=True)
class Flatness:
    """How many blocks of memory were allocated when so many had gone through one and the same thing."""

    loop: str
    title: str
    peer: str
    blocks: dict[int, int]


def sizes(smallest: int, largest: int) -> list[int]:
    return [10**power for power in range(12) if smallest <= 10**power <= largest]


def timed_curves(
    largest_group: int, largest_crowd: int, largest_tree: int, largest_flow: int
) -> Iterator[tuple[str, dict[int, Line]]]:
    """What is timed at each size, in paired rounds like the operations."""

    def lines(
        largest: int, operation: Callable[[int], Any], smallest: int = 1, count: int = 1
    ) -> dict[int, Line]:
        return {
            size: Line(f"{size:,}", operation(size), count=count if size >= FIT_FROM else None)
            for size in sizes(smallest, largest)
        }

    yield "children of a group", lines(largest_group, lambda size: partial(spawn, size, True))
    yield "open deadlines", lines(largest_crowd, lambda size: partial(open_deadlines, size))
    yield CANCELLED_TASKS, lines(largest_tree, lambda size: partial(cancel, size, 1))
    yield "items through a channel", lines(largest_flow, lambda size: partial(send_and_receive, size, 100))
    for at in QUEUES:
        yield f"waiters at {at}", lines(largest_crowd, partial(partial, release_waiters, at))
    for at, title in CANCELLED_WAITER.items():
        yield title, lines(largest_crowd, partial(partial, cancel_in_the_middle, at), FIT_FROM, CANCELLED)


def memory_of_children(loop: Loop, peer: Peer, children: int) -> int:
    """The bytes that so many waiting children of one group take, their handles kept."""

    async def main() -> int:
        crowd = Crowd(children, loop)
        taken = 0

        async def wait() -> None:
            crowd.one_waits()
            await loop.sleep_forever()

        try:
            async with peer.group() as tg:
                before = _traced()
                _handles = [peer.spawn(tg, wait) for _ in range(children)]
                await crowd.complete()
                taken = _traced() - before
                peer.cancel(tg)
        except* Stop:
            pass
        return taken

    return _tracing(loop, main)


def memory_of_deadlines(loop: Loop, peer: Peer, deadlines: int) -> int:
    """The bytes that so many open deadlines take, with the loop's own tasks that wait inside."""

    async def main() -> int:
        before = _traced()
        async with others_open(deadlines, peer, loop):
            return _traced() - before

    return _tracing(loop, main)


def memory_of_waiters(loop: Loop, peer: Peer, waiters: int) -> int:
    """The bytes that so many tasks take that wait for a lock; the tasks are the loop's own."""

    async def main() -> int:
        before = _traced()
        async with waiting("a lock", waiters, peer, loop):
            return _traced() - before

    return _tracing(loop, main)


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _tracing(loop: Loop, measure: Callable[[], Coroutine[Any, Any, int]]) -> int:
    answers: list[int] = []

    async def main() -> None:
        answers.append(await measure())

    tracemalloc.start()
    try:
        loop.run(main)
    finally:
        tracemalloc.stop()
    return answers[0]


def flatness_of_children(loop: Loop, peer: Peer, children: int) -> dict[int, int]:
    """Spawn and finish so many in one group, a hundred at a time (G11)."""
    blocks = _Blocks(children)

    async def child(crowd: Crowd) -> None:
        crowd.one_waits()

    async def main() -> None:
        async with peer.group() as tg:
            for finished in range(AT_ONCE, children + 1, AT_ONCE):
                crowd = Crowd(AT_ONCE, loop)
                for _ in range(AT_ONCE):
                    peer.spawn(tg, child, crowd)
                await crowd.complete()
                await loop.checkpoint()
                blocks.count_at(finished)

    loop.run(main)
    return blocks.counted


def flatness_of_waiters(loop: Loop, peer: Peer, waiters: int) -> dict[int, int]:
    """Let so many wait for one lock, a hundred at a time."""
    blocks = _Blocks(waiters)

    async def main() -> None:
        assert peer.lock is not None
        lock = peer.lock()

        async def one(crowd: Crowd) -> None:
            crowd.one_waits()
            async with lock:
                pass

        for finished in range(AT_ONCE, waiters + 1, AT_ONCE):
            crowd = Crowd(AT_ONCE, loop)
            async with loop.native_group() as spawn_native, lock:
                for _ in range(AT_ONCE):
                    spawn_native(one, crowd)
                await crowd.complete()
            blocks.count_at(finished)

    loop.run(main)
    return blocks.counted


def flatness_of_items(loop: Loop, peer: Peer, items: int) -> dict[int, int]:
    """Send so many through one channel."""
    blocks = _Blocks(items)

    async def main() -> None:
        assert peer.channel is not None
        with peer.channel(AT_ONCE) as (send, receive):

            async def produce() -> None:
                for _ in range(items):
                    await send(None)

            async with loop.native_group() as spawn_native:
                spawn_native(produce)
                for received in range(1, items + 1):
                    await receive()
                    blocks.count_at(received)

    loop.run(main)
    return blocks.counted


class _Blocks:
    """The blocks of memory that are allocated at certain points of the way to `last`."""

    def __init__(self, last: int) -> None:
        self.counted: dict[int, int] = {}
        self._marks = sizes(FIT_FROM, last)

    def count_at(self, point: int) -> None:
        if point in self._marks:
            gc.collect()
            self.counted[point] = sys.getallocatedblocks()
