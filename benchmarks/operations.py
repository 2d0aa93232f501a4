"""The operations: each is written once for every way in which a library can be called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

from .loops import Loop
from .measure import Round
from .peers import Peer, Stop

MINUTE = 60.0
DAY = 86_400.0

Operation: TypeAlias = Callable[[Peer, Loop], Round | None]
"""What one repetition is for that peer on that loop; `None` if the peer cannot do it."""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        per: how many of the things that the title names one repetition does.
        count: how many repetitions make a round; calibrated if not given.
        surroundings: what is set up around the rounds and not measured.
    """

    title: str
    operation: Operation
    per: int = 1
    count: int | None = None
    surroundings: Callable[[Peer, Loop], AbstractAsyncContextManager[object]] = lambda peer, loop: (
        nullcontext()
    )


def timed(repeat: Callable[[int], Awaitable[object]], loop: Loop) -> Round:
    """Time `repeat(count)`, with one turn of the loop, which clears away what was left in it."""

    async def one_round(count: int) -> float:
        began = perf_counter()
        await repeat(count)
        await loop.checkpoint()
        return perf_counter() - began

    return one_round


async def nothing() -> None:
    pass


def spawn(children: int, kept: bool, peer: Peer, loop: Loop) -> Round | None:
    """Open a group, spawn, and leave when all have ended."""
    group = peer.group

    async def create_tasks(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                for _ in range(children):
                    tg.create_task(nothing())

    async def create_and_keep_tasks(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                _tasks = [tg.create_task(nothing()) for _ in range(children)]

    async def start_functions(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                for _ in range(children):
                    tg.start_soon(nothing)

    async def start_and_keep_functions(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                _tasks = [tg.start_soon(nothing) for _ in range(children)]

    if peer.spawns_functions:
        return timed(start_and_keep_functions if kept else start_functions, loop)
    return timed(create_and_keep_tasks if kept else create_tasks, loop)


def empty_group(peer: Peer, loop: Loop) -> Round | None:
    group = peer.group

    async def repeat(count: int) -> None:
        for _ in range(count):
            async with group():
                pass

    return timed(repeat, loop)


def deadline(seconds: float, asynchronous: bool, peer: Peer, loop: Loop) -> Round | None:
    """Enter and leave, by `async with` if asked for and the peer has it, else by `with`."""
    opened = peer.deadline

    async def repeat(count: int) -> None:
        for _ in range(count):
            with opened(seconds):
                pass

    async def repeat_async(count: int) -> None:
        for _ in range(count):
            async with opened(seconds):
                pass

    return timed(repeat_async if _by_async_with(peer, asynchronous) else repeat, loop)


def nested_deadlines(asynchronous: bool, peer: Peer, loop: Loop) -> Round | None:
    opened = peer.deadline

    async def repeat(count: int) -> None:
        for _ in range(count):
            with opened(3 * MINUTE), opened(2 * MINUTE), opened(MINUTE):
                pass

    async def repeat_async(count: int) -> None:
        for _ in range(count):
            async with opened(3 * MINUTE), opened(2 * MINUTE), opened(MINUTE):
                pass

    return timed(repeat_async if _by_async_with(peer, asynchronous) else repeat, loop)


def _by_async_with(peer: Peer, asked_for: bool) -> bool:
    return peer.asynchronous and (asked_for or not peer.plain)


@asynccontextmanager
async def others_open(others: int, peer: Peer, loop: Loop) -> AsyncIterator[None]:
    """So many tasks, each waiting inside a deadline of the peer's; the tasks are the loop's own."""
    all_open, released = loop.event(), loop.event()
    still_to_open = others
    opened = peer.deadline

    async def wait(seconds: float) -> None:
        with opened(seconds):
            await wait_inside()

    async def wait_async(seconds: float) -> None:
        async with opened(seconds):
            await wait_inside()

    async def wait_inside() -> None:
        nonlocal still_to_open
        still_to_open -= 1
        if not still_to_open:
            all_open.set()
        await released.wait()

    waiting = wait if peer.plain else wait_async
    async with loop.native_group() as spawn_native:
        for index in range(others):
            spawn_native(waiting, MINUTE * 10 + index / others)
        await all_open.wait()
        yield
        released.set()


def lines(loop: Loop) -> list[Line]:
    by_async_with = loop.backend == "asyncio"
    return [
        *(
            Line(
                f"spawn and finish: {children:,} {'child' if children == 1 else 'children'}, handle {handle}",
                partial(spawn, children, handle == "kept"),
                per=children,
                count=1 if children > 1_000 else None,
            )
            for children in (1, 100, 100_000)
            for handle in ("kept", "dropped")
        ),
        Line("enter and leave an empty group", empty_group),
        Line("deadline", partial(deadline, MINUTE, by_async_with)),
        *([Line("deadline, plain `with`", partial(deadline, MINUTE, False))] if by_async_with else []),
        Line("deadline: three nested", partial(nested_deadlines, by_async_with)),
        *(
            Line(
                f"deadline: {others:,} others open",
                partial(deadline, MINUTE, by_async_with),
                surroundings=partial(others_open, others),
            )
            for others in (10_000, 100_000)
        ),
        Line("deadline: a day long, 10,000 in one turn", partial(deadline, DAY, by_async_with), count=10_000),
    ]
