"""How time and memory grow with the number of children, open deadlines and cancelled tasks."""

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
from .operations import Crowd, Line, cancel, open_deadlines, others_open, spawn
from .peers import Peer, Stop

LIBRARIES = ("interloop", "native")
FIT_FROM = 1_000  # below, what is done once weighs as much as what is done for each


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
    """How many blocks of memory were allocated when a group had spawned and finished so many children."""

    loop: str
    peer: str
    blocks: dict[int, int]


def sizes(smallest: int, largest: int) -> list[int]:
    return [10**power for power in range(12) if smallest <= 10**power <= largest]


def timed_curves(
    largest_group: int, largest_crowd: int, largest_tree: int
) -> Iterator[tuple[str, dict[int, Line]]]:
    """What is timed at each size, in paired rounds like the operations."""

    def lines(largest: int, operation: Callable[[int], Any]) -> dict[int, Line]:
        return {
            size: Line(f"{size:,}", operation(size), count=1 if size >= FIT_FROM else None)
            for size in sizes(1, largest)
        }

    yield "children of a group", lines(largest_group, lambda size: partial(spawn, size, True))
    yield "open deadlines", lines(largest_crowd, lambda size: partial(open_deadlines, size))
    yield "cancelled tasks", lines(largest_tree, lambda size: partial(cancel, size, 1))


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


def flatness(loop: Loop, name: str, peer: Peer, children: int) -> Flatness:
    """Spawn and finish so many in one group, a hundred at a time (G11)."""
    blocks: dict[int, int] = {}
    at_once = 100

    async def child(crowd: Crowd) -> None:
        crowd.one_waits()

    async def main() -> None:
        async with peer.group() as tg:
            for finished in range(at_once, children + 1, at_once):
                crowd = Crowd(at_once, loop)
                for _ in range(at_once):
                    peer.spawn(tg, child, crowd)
                await crowd.complete()
                await loop.checkpoint()
                if finished in marks:
                    gc.collect()
                    blocks[finished] = sys.getallocatedblocks()

    marks = sizes(FIT_FROM, children)
    loop.run(main)
    return Flatness(loop.name, name, blocks)
