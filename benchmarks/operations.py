"""The operations: each is written once for every way in which a library can be called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

from .loops import Loop
from .measure import Round
from .peers import Coro, Peer, Stop, Wait

MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0

# the titles of those that have a budget
SPAWN_KEPT = "spawn and finish 100 children, handle kept"
SPAWN_DROPPED = "spawn and finish 100 children, handle dropped"
AWAIT = "spawn a child and await it"
DEADLINE = "deadline"
PLAIN_DEADLINE = "deadline, plain `with`"
FIRES = "deadline that fires"
CANCEL = "cancel a group of 1,000 tasks, flat"
CANCEL_MANY = "cancel a group of 100,000 tasks, flat"
GATHER = "gather 10"
AS_COMPLETED = "as_completed 10"
UNCONTENDED = {
    "lock": ("lock", "lock, by its methods"),
    "semaphore": ("semaphore", "semaphore, by its methods"),
    "limiter": ("limiter", "limiter, by its methods"),
}
SET_EVENT = "wait for a set event"
HAND_OVER = {tasks: f"hand a lock over, {tasks} tasks" for tasks in (2, 10, 100)}
ITEM = {0: "item, rendezvous", 1: "item, capacity 1", 100: "item, capacity 100"}
ITEM_IN_TIME = {capacity: f"{ITEM[capacity]}, received under a deadline" for capacity in (0, 100)}

Operation: TypeAlias = Callable[[Peer, Loop], Round | None]
"""What one repetition is for that peer on that loop; `None` if the peer cannot do it."""


def _nothing_around(peer: Peer, loop: Loop) -> AbstractAsyncContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        per: how many of the things that the title names one repetition does.
        size: how many tasks or deadlines there are at a time, times the levels of groups.
        count: how many repetitions make a round; calibrated if not given.
        surroundings: what is set up around the rounds and not measured.
    """

    title: str
    operation: Operation
    per: int = 1
    size: int = 1
    count: int | None = None
    surroundings: Callable[[Peer, Loop], AbstractAsyncContextManager[object]] = _nothing_around


def lines(loop: Loop) -> Iterator[Line]:
    """All that is measured on `loop`, in the order of the table."""
    for line in _structure(loop):
        yield replace(line, operation=partial(_if_structured, line.operation))
    yield from _coordination(loop)


def _if_structured(operation: Operation, peer: Peer, loop: Loop) -> Round | None:
    return operation(peer, loop) if peer.structured else None


def _structure(loop: Loop) -> Iterator[Line]:
    by_async_with = loop.backend == "asyncio"

    for children in (1, 100, 100_000):
        for handle in ("kept", "dropped"):
            yield Line(
                f"spawn and finish {children:,} {'child' if children == 1 else 'children'}, handle {handle}",
                partial(spawn, children, handle == "kept"),
                per=children,
                size=children,
                count=_once_if_many(children),
            )
    yield Line(AWAIT, await_task)
    yield Line("enter and leave an empty group", empty_group)

    yield Line(DEADLINE, partial(deadline, MINUTE, by_async_with))
    if by_async_with:
        yield Line(PLAIN_DEADLINE, partial(deadline, MINUTE, False))
    yield Line("deadline, three nested", partial(nested_deadlines, by_async_with))
    for others in (10_000, 100_000):
        yield Line(
            f"deadline, {others:,} others open",
            partial(deadline, MINUTE, by_async_with),
            size=others,
            surroundings=partial(others_open, others),
        )
    yield Line(
        "deadline, a day long, 10,000 in one turn of the loop",
        partial(deadline, DAY, by_async_with),
        count=10_000,
    )
    yield Line("move a deadline", reschedule)
    yield Line(FIRES, partial(expire, by_async_with))

    for levels, shape in ((1, "flat"), (10, "ten levels deep")):
        for tasks in (1, 1_000, 100_000) if levels == 1 else (10, 1_000, 100_000):
            yield Line(
                f"cancel a group of {tasks:,} {'task' if tasks == 1 else 'tasks'}, {shape}",
                partial(cancel, tasks, levels),
                size=tasks * levels,
                count=_once_if_many(tasks),
            )
    yield Line("shield", shield)

    for depth in (1, 20):
        yield Line(
            f"current_deadline, {depth} deep",
            partial(call, "current_deadline"),
            surroundings=partial(inside_deadlines, depth),
        )
    yield Line("current_time: dispatch alone", partial(call, "current_time"))

    yield Line(GATHER, partial(pattern, "gather", lambda: [nothing() for _ in range(10)]))
    yield Line(
        "first of 3", partial(pattern, "first", lambda: [nothing(), wait_forever(loop), wait_forever(loop)])
    )
    yield Line(AS_COMPLETED, partial(pattern, "as_completed", lambda: [nothing() for _ in range(10)]))


def _coordination(loop: Loop) -> Iterator[Line]:
    by_async_with = loop.backend == "asyncio"

    for name, (title, title_by_methods) in UNCONTENDED.items():
        yield Line(title, partial(uncontended, name, False))
        yield Line(title_by_methods, partial(uncontended, name, True))
    yield Line(SET_EVENT, wait_for_set_event)
    for tasks, title in HAND_OVER.items():
        yield Line(title, partial(hand_over, tasks), per=tasks)
    for capacity, title in ITEM.items():
        yield Line(title, partial(send_and_receive, 1, capacity))
    for capacity, title in ITEM_IN_TIME.items():
        yield Line(title, partial(receive_in_time, capacity, by_async_with))


def _once_if_many(things: int) -> int | None:
    return 1 if things > 1_000 else None


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


async def wait_forever(loop: Loop) -> None:
    await loop.sleep_forever()


def spawn(children: int, kept: bool, peer: Peer, loop: Loop) -> Round | None:
    """Open a group, spawn, and leave when all have ended."""
    group = peer.group

    async def create(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                for _ in range(children):
                    tg.create_task(nothing())

    async def create_and_keep(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                _handles = [tg.create_task(nothing()) for _ in range(children)]

    async def start(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                for _ in range(children):
                    tg.start_soon(nothing)

    async def start_and_keep(count: int) -> None:
        for _ in range(count):
            async with group() as tg:
                _handles = [tg.start_soon(nothing) for _ in range(children)]

    if peer.spawns_functions:
        return timed(start_and_keep if kept else start, loop)
    return timed(create_and_keep if kept else create, loop)


def await_task(peer: Peer, loop: Loop) -> Round | None:
    if not peer.awaits_handles:
        return None

    async def create(count: int) -> None:
        async with peer.group() as tg:
            for _ in range(count):
                await tg.create_task(nothing())

    async def start(count: int) -> None:
        async with peer.group() as tg:
            for _ in range(count):
                await tg.start_soon(nothing)

    return timed(start if peer.spawns_functions else create, loop)


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


def expire(asynchronous: bool, peer: Peer, loop: Loop) -> Round | None:
    opened, expiry, sleep_forever = peer.deadline, peer.expiry, loop.sleep_forever

    async def repeat(count: int) -> None:
        for _ in range(count):
            try:
                with opened(0):
                    await sleep_forever()
            except expiry:
                pass

    async def repeat_async(count: int) -> None:
        for _ in range(count):
            try:
                async with opened(0):
                    await sleep_forever()
            except expiry:
                pass

    return timed(repeat_async if _by_async_with(peer, asynchronous) else repeat, loop)


def _by_async_with(peer: Peer, asked_for: bool) -> bool:
    return peer.asynchronous and (asked_for or not peer.plain)


def reschedule(peer: Peer, loop: Loop) -> Round | None:
    """Push an open deadline further off, as a connection does whenever it hears from the other side."""

    async def call(count: int) -> None:
        async with peer.inside_deadline(HOUR) as scope:
            when = scope.when()
            for moved in range(count):
                scope.reschedule(when + moved)

    async def assign(count: int) -> None:
        async with peer.inside_deadline(HOUR) as scope:
            when = scope.deadline
            for moved in range(count):
                scope.deadline = when + moved

    return timed(call if peer.reschedules else assign, loop)


@asynccontextmanager
async def inside_deadlines(depth: int, peer: Peer, loop: Loop) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        for level in range(depth):
            await stack.enter_async_context(peer.inside_deadline(HOUR + level))
        yield


class Crowd:
    """Tasks that start to wait, and somebody who goes on when all of them do."""

    def __init__(self, tasks: int, loop: Loop) -> None:
        self._missing = tasks
        self._complete = loop.event()

    def one_waits(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()

    async def complete(self) -> None:
        await self._complete.wait()


@asynccontextmanager
async def others_open(others: int, peer: Peer, loop: Loop) -> AsyncGenerator[None]:
    """So many tasks, each waiting inside a deadline of the peer's; the tasks are the loop's own."""
    crowd = Crowd(others, loop)
    let_go = loop.event()

    async def wait(seconds: float) -> None:
        with peer.deadline(seconds):
            crowd.one_waits()
            await let_go.wait()

    async def wait_async(seconds: float) -> None:
        async with peer.deadline(seconds):
            crowd.one_waits()
            await let_go.wait()

    async with loop.native_group() as spawn_native:
        for index in range(others):
            spawn_native(wait if peer.plain else wait_async, HOUR + index)
        await crowd.complete()
        yield
        let_go.set()


def open_deadlines(deadlines: int, peer: Peer, loop: Loop) -> Round | None:
    """Open so many at a time, each in a task of the loop's own, and leave them all."""

    async def repeat(count: int) -> None:
        for _ in range(count):
            async with others_open(deadlines, peer, loop):
                pass

    return timed(repeat, loop)


def cancel(tasks: int, levels: int, peer: Peer, loop: Loop) -> Round | None:
    """From the call to the end of the block; the tasks wait in `levels` groups, one inside the other."""

    async def leaf(crowd: Crowd) -> None:
        crowd.one_waits()
        # not for one event together: to leave the queue of an asyncio.Event takes time by its length
        await loop.sleep_forever()

    async def branch(level: int, crowd: Crowd) -> None:
        async with peer.group() as tg:
            grow(tg, level, crowd)

    def grow(tg: Any, level: int, crowd: Crowd) -> None:
        for _ in range(tasks // levels):
            peer.spawn(tg, leaf, crowd)
        if level < levels:
            peer.spawn(tg, branch, level + 1, crowd)

    async def one_round(count: int) -> float:
        took = 0.0
        for _ in range(count):
            crowd = Crowd(tasks, loop)
            began = 0.0
            try:
                async with peer.group() as tg:
                    grow(tg, 1, crowd)
                    await crowd.complete()
                    began = perf_counter()
                    peer.cancel(tg)
            except* Stop:
                pass
            took += perf_counter() - began
        return took

    return one_round


def shield(peer: Peer, loop: Loop) -> Round | None:
    call, scope = peer.shield, peer.shield_scope

    async def by_call(count: int) -> None:
        assert call is not None
        for _ in range(count):
            await call(nothing())

    async def by_scope(count: int) -> None:
        assert scope is not None
        for _ in range(count):
            with scope():
                await nothing()

    if call is None and scope is None:
        return None
    return timed(by_call if scope is None else by_scope, loop)


def call(name: str, peer: Peer, loop: Loop) -> Round | None:
    """A plain function of the peer's."""
    function = getattr(peer, name)
    if function is None:
        return None

    async def repeat(count: int) -> None:
        for _ in range(count):
            function()

    return timed(repeat, loop)


def pattern(name: str, coros: Callable[[], list[Coro]], peer: Peer, loop: Loop) -> Round | None:
    function = getattr(peer, name)
    if function is None:
        return None

    async def repeat(count: int) -> None:
        for _ in range(count):
            await function(coros())

    return timed(repeat, loop)


def uncontended(name: str, by_methods: bool, peer: Peer, loop: Loop) -> Round | None:
    """Acquire and release, by `async with` if not by the methods."""
    make = getattr(peer, name)
    if make is None:
        return None

    async def enter(count: int) -> None:
        lock = make()
        for _ in range(count):
            async with lock:
                pass

    async def call(count: int) -> None:
        lock = make()
        acquire, release = getattr(lock, peer.acquire), getattr(lock, peer.release)
        for _ in range(count):
            await acquire()
            release()

    return timed(call if by_methods else enter, loop)


def wait_for_set_event(peer: Peer, loop: Loop) -> Round | None:
    make = peer.event
    if make is None:
        return None

    async def repeat(count: int) -> None:
        set_event, wait = make()
        set_event()
        for _ in range(count):
            await wait()

    return timed(repeat, loop)


def hand_over(tasks: int, peer: Peer, loop: Loop) -> Round | None:
    """From the first release, when all wait for the lock, to the last; in between all but the owner wait."""
    make = peer.lock
    if make is None:
        return None

    async def one_round(count: int) -> float:
        lock = make()
        crowd = Crowd(tasks, loop)

        async def take_turns() -> None:
            crowd.one_waits()
            for _ in range(count):
                async with lock:
                    pass

        async with loop.native_group() as spawn_native, lock:
            for _ in range(tasks):
                spawn_native(take_turns)
            await crowd.complete()
            began = perf_counter()
        return perf_counter() - began

    return one_round


def send_and_receive(items: int, capacity: int, peer: Peer, loop: Loop) -> Round | None:
    """A repetition sends so many items to a task that receives them; all go through one channel."""

    async def consume(items: int, receive: Wait) -> None:
        for _ in range(items):
            await receive()

    return _through_channel(items, capacity, consume, peer, loop)


def receive_in_time(capacity: int, asynchronous: bool, peer: Peer, loop: Loop) -> Round | None:
    """The same, with a deadline around each `receive()`."""
    opened = peer.move_on
    if opened is None:
        return None

    async def consume(items: int, receive: Wait) -> None:
        for _ in range(items):
            with opened(MINUTE):
                await receive()

    async def consume_async(items: int, receive: Wait) -> None:
        for _ in range(items):
            async with opened(MINUTE):
                await receive()

    by_async_with = _by_async_with(peer, asynchronous)
    return _through_channel(1, capacity, consume_async if by_async_with else consume, peer, loop)


def _through_channel(
    items: int, capacity: int, consume: Callable[[int, Wait], Coro], peer: Peer, loop: Loop
) -> Round | None:
    make = peer.channel
    if make is None:
        return None

    async def repeat(count: int) -> None:
        with make(capacity) as (send, receive):

            async def produce() -> None:
                for _ in range(count * items):
                    await send(None)

            async with loop.native_group() as spawn_native:
                spawn_native(produce)
                await consume(count * items, receive)

    return timed(repeat, loop)


@asynccontextmanager
async def _at_lock(_: int, peer: Peer) -> AsyncGenerator[Wait]:
    assert peer.lock is not None
    lock = peer.lock()

    async def wait() -> None:
        async with lock:
            pass

    async with lock:
        yield wait


@asynccontextmanager
async def _at_event(_: int, peer: Peer) -> AsyncGenerator[Wait]:
    assert peer.event is not None
    set_event, wait = peer.event()
    yield wait
    set_event()


@asynccontextmanager
async def _at_channel(waiters: int, peer: Peer) -> AsyncGenerator[Wait]:
    assert peer.channel is not None
    with peer.channel(1) as (send, receive):
        yield receive
        for _ in range(waiters):
            await send(None)


QUEUES: dict[str, Callable[[int, Peer], AbstractAsyncContextManager[Wait]]] = {
    "a lock": _at_lock,
    "an event": _at_event,
    "a channel": _at_channel,
}
"""Where tasks wait in a queue: each gives what waits there, and at the end lets so many go on."""


def release_waiters(at: str, waiters: int, peer: Peer, loop: Loop) -> Round | None:
    """So many tasks come, wait, all at a time, and go on; the tasks are the loop's own."""

    async def repeat(count: int) -> None:
        for _ in range(count):
            async with waiting(at, waiters, peer, loop):
                pass

    return timed(repeat, loop)


@asynccontextmanager
async def waiting(at: str, waiters: int, peer: Peer, loop: Loop) -> AsyncGenerator[None]:
    """So many tasks wait during the block."""
    crowd = Crowd(waiters, loop)
    async with loop.native_group() as spawn_native, QUEUES[at](waiters, peer) as wait:

        async def one() -> None:
            crowd.one_waits()
            await wait()

        for _ in range(waiters):
            spawn_native(one)
        await crowd.complete()
        yield


def cancel_in_the_middle(at: str, waiters: int, peer: Peer, loop: Loop) -> Round | None:
    """A repetition cancels one task that waits, with half of `waiters` before it and half behind."""

    async def one_round(count: int) -> float:
        crowd, gone = Crowd(waiters + count, loop), Crowd(count, loop)
        async with loop.native_group() as spawn_native, QUEUES[at](waiters, peer) as wait:

            async def one() -> None:
                crowd.one_waits()
                await wait()

            async def in_the_middle() -> None:
                try:
                    await one()
                finally:
                    gone.one_waits()

            for _ in range(waiters // 2):
                spawn_native(one)
            cancellations = [loop.spawn_to_cancel(spawn_native, in_the_middle) for _ in range(count)]
            for _ in range(waiters - waiters // 2):
                spawn_native(one)
            await crowd.complete()
            began = perf_counter()
            for cancel_one in cancellations:
                cancel_one()
            await gone.complete()
            return perf_counter() - began

    return one_round
