"""One round: some givers, some receivers whose scopes keep ending, and a count of the items.

Times are whole numbers on a virtual clock, so that givers and cancellations meet in one turn of the loop
again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random
from typing import Any, Protocol, TypeAlias

from interloop import (
    TaskGroup,
    checkpoint,
    current_backend,
    current_time,
    deadline,
    first,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.testing import Host

LONGEST = 3  # a scope of a receiver


@dataclass
class Count:
    """What became of the items of a round."""

    given: int = 0
    kept: list[int] = field(default_factory=list[int])
    received: list[int] = field(default_factory=list[int])
    left: list[int] = field(default_factory=list[int])

    def complaint(self) -> str | None:
        found = sorted(self.kept + self.received + self.left)
        lost = set(range(self.given)) - set(found)
        doubled = {item for item in found if found.count(item) > 1}
        return f"lost {sorted(lost)}, doubled {sorted(doubled)}" if lost or doubled else None


# How items are handed over


class Channel(Protocol):
    def give(self, item: int) -> bool:
        """Hand the item over; tell whether it was accepted."""
        ...

    def take(self) -> Awaitable[int]: ...

    def left(self) -> list[int]: ...


class Futures:
    """A future for each receiver that waits, as a library writes it by hand."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[int]] = deque()

    def give(self, item: int) -> bool:
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(item)
                return True
        return False

    def take(self) -> Awaitable[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def left(self) -> list[int]:
        return []


class Queue:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue()

    def give(self, item: int) -> bool:
        self.queue.put_nowait(item)
        return True

    def take(self) -> Awaitable[int]:
        return self.queue.get()

    def left(self) -> list[int]:
        return [self.queue.get_nowait() for _ in range(self.queue.qsize())]


class TrioChannel:
    def __init__(self, capacity: float) -> None:
        import trio

        self.would_block: type[Exception] = trio.WouldBlock
        self.send, self.receive = trio.open_memory_channel[int](capacity)

    def give(self, item: int) -> bool:
        try:
            self.send.send_nowait(item)
        except self.would_block:
            return False
        return True

    def take(self) -> Awaitable[int]:
        return self.receive.receive()

    def left(self) -> list[int]:
        with self.send, self.receive:
            return [
                self.receive.receive_nowait() for _ in range(self.receive.statistics().current_buffer_used)
            ]


class AnyioStream(TrioChannel):
    def __init__(self, capacity: float) -> None:
        import anyio

        self.would_block = anyio.WouldBlock
        self.send, self.receive = anyio.create_memory_object_stream[int](capacity)  # type: ignore[assignment]


def channels() -> list[Callable[[], Channel]]:
    made: list[Callable[[], Channel]] = [
        lambda: AnyioStream(0),
        lambda: AnyioStream(1),
        lambda: AnyioStream(inf),
    ]
    if current_backend() == "trio":
        return [*made, lambda: TrioChannel(0), lambda: TrioChannel(1)]
    return [*made, Futures, Queue]


# Who cancels. Each runs `receive()`, and ends it after some time.

Receive: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


async def a_deadline(seconds: int, receive: Receive) -> None:
    with deadline(seconds, suppress=True):
        await receive()


async def a_deadline_that_is_moved(seconds: int, receive: Receive) -> None:
    async def move() -> None:
        await sleep(seconds)
        with suppress(RuntimeError):  # the block was left
            limit.reschedule(current_time() - 1)

    async with task_group() as tg:
        tg.create_background_task(move())
        with deadline(None, suppress=True) as limit:
            await receive()


async def a_group(seconds: int, receive: Receive) -> None:
    async with task_group() as tg:
        tg.create_background_task(after(seconds, tg.cancel))
        tg.create_task(receive())


async def a_body(seconds: int, receive: Receive) -> None:
    async with task_group() as tg:
        tg.create_background_task(after(seconds, tg.cancel))
        await receive()


async def a_group_around(seconds: int, receive: Receive) -> None:
    async with task_group() as outer:
        outer.create_background_task(after(seconds, outer.cancel))
        await a_group(seconds + LONGEST, receive)


async def a_task(seconds: int, receive: Receive) -> None:
    async with task_group() as tg:
        task = tg.create_task(receive())
        tg.create_background_task(after(seconds, task.cancel))


async def a_background_task(seconds: int, receive: Receive) -> None:
    async with task_group() as tg:
        tg.create_background_task(receive())
        await sleep(seconds)


async def the_loser_of_first(seconds: int, receive: Receive) -> None:
    await first(receive(), sleep(seconds))


async def a_shield(seconds: int, receive: Receive) -> None:
    with suppress(TimeoutError):
        await shield(receive(), timeout=seconds)


async def after(seconds: int, call: Callable[[], object]) -> None:
    await sleep(seconds)
    call()


SCOPES = [
    a_deadline,
    a_deadline_that_is_moved,
    a_group,
    a_body,
    a_group_around,
    a_task,
    a_background_task,
    the_loser_of_first,
    a_shield,
]


async def a_round(seed: int) -> Count:
    random = Random(seed)
    count = Count()
    channel = random.choice(channels())()
    over = False

    async def give() -> None:
        for _ in range(random.randint(1, 20)):
            await sleep(random.randint(0, LONGEST))
            await turns()
            item = count.given
            count.given += 1
            if not channel.give(item):
                count.kept.append(item)

    async def receive(items: int) -> None:
        for _ in range(items):
            count.received.append(await channel.take())
            await turns()
        await sleep_forever()

    async def receivers() -> None:
        while not over:
            items = random.randint(1, 3)
            await random.choice(SCOPES)(random.randint(1, LONGEST), partial(receive, items))

    async def turns() -> None:
        for _ in range(random.randint(0, 2)):
            await checkpoint()

    async def givers() -> None:
        nonlocal over
        async with task_group() as tg:
            start(tg, give, random.randint(1, 3))
        over = True

    async with task_group() as tg:
        tg.create_task(givers())
        start(tg, receivers, random.randint(1, 3))
    count.left = channel.left()
    return count


def start(tg: TaskGroup, fn: Callable[[], Coroutine[Any, Any, None]], number: int) -> None:
    for _ in range(number):
        tg.create_task(fn())


def play(host: Host, seed: int) -> Count:
    return host.run(a_round, seed, virtual_time=True)
