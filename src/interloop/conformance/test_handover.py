"""Chapter C: what is handed over while a cancellation is under way arrives, or stays with the giver."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from interloop import (
    Condition,
    Event,
    Limiter,
    Lock,
    Semaphore,
    Task,
    TaskGroup,
    WouldBlock,
    as_completed,
    channel,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    first,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Inside,
    asyncio_inside_trio,
    fail_when_cancelled,
    needs_anyio,
    note_the_end,
    settle,
    until,
)
from interloop.testing import Host

# What is handed over, and how


@dataclass(frozen=True)
class Handover:
    """One item on its way from a giver to the one task that waits for it.

    Attributes:
        take: waits for it.
        give: hands it over, as a giver does who looks first whether somebody waits.
        left: how many items there are that nobody has received.
        shared: any number may take it, so it is there for others afterwards, received or not.
        by_task: only a task can give it, no callback.
        swallows: what waits may drop the cancellation if the item is there.
    """

    take: Callable[[], Awaitable[object]]
    give: Callable[[], object]
    left: Callable[[], float]
    shared: bool = False
    by_task: bool = False
    swallows: bool = False


Make: TypeAlias = Callable[[TaskGroup], Coroutine[Any, Any, Handover]]
WAITS: list[Any] = []


def wait(*marks: pytest.MarkDecorator) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        WAITS.append(pytest.param(make, marks=marks, id=make.__name__))
        return make

    return add


of_asyncio: Callable[[Make], Make] = wait(rule("C1", only="asyncio"))
of_trio: Callable[[Make], Make] = wait(rule("C1", only="trio"))
of_anyio: Callable[[Make], Make] = wait(rule("C1"), needs_anyio)


@wait(rule("C1"))
async def a_task(tg: TaskGroup) -> Handover:
    ready = new_event()

    async def work() -> str:
        await ready.wait()
        return "item"

    task = tg.create_task(work())
    return Handover(lambda: task, ready.set, task.done, shared=True)


@of_asyncio
async def a_future(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    return hand_over_by(future, lambda: future)


@of_asyncio
async def a_future_in_gather(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    return hand_over_by(future, lambda: asyncio.gather(future))


async def take(future: asyncio.Future[str]) -> str:
    return await future


@of_asyncio
async def a_future_in_a_native_task(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    return hand_over_by(future, lambda: asyncio.create_task(take(future)))


@of_asyncio
async def a_future_in_a_task_in_gather(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    return hand_over_by(future, lambda: asyncio.gather(take(future)))


@of_asyncio
async def a_future_in_wait_for(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    # before 3.12 wait_for swallows a cancellation that comes after the result
    return hand_over_by(future, lambda: asyncio.wait_for(future, 10**6), sys.version_info < (3, 12))


@of_asyncio
async def a_future_in_a_shield_of_asyncio(_: TaskGroup) -> Handover:
    future = asyncio.get_running_loop().create_future()
    return Handover(lambda: asyncio.shield(future), lambda: future.set_result("item"), future.done, True)


@of_asyncio
async def the_result_of_a_thread(_: TaskGroup) -> Handover:
    future: Future[str] = Future()  # what an executor gives; it keeps its result for whoever asks
    items = ["item"]

    def give() -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(items.pop())

    return Handover(
        lambda: asyncio.wrap_future(future), give, lambda: len(items) or future.done(), shared=True
    )


@of_asyncio
async def an_asyncio_queue(_: TaskGroup) -> Handover:
    queue: asyncio.Queue[str] = asyncio.Queue()
    return Handover(queue.get, lambda: queue.put_nowait("item"), queue.qsize)


@of_asyncio
async def an_asyncio_event(_: TaskGroup) -> Handover:
    event = asyncio.Event()
    return Handover(event.wait, event.set, event.is_set, shared=True)


@of_asyncio
async def an_asyncio_lock(_: TaskGroup) -> Handover:
    lock = asyncio.Lock()
    await lock.acquire()
    return Handover(lock.acquire, lock.release, lambda: not lock.locked())


@of_asyncio
async def an_asyncio_semaphore(_: TaskGroup) -> Handover:
    semaphore = asyncio.Semaphore(0)
    return Handover(semaphore.acquire, semaphore.release, lambda: not semaphore.locked())


@of_asyncio
async def an_asyncio_socket(_: TaskGroup) -> Handover:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def left() -> int:
        with ours, theirs, suppress(BlockingIOError):
            return len(ours.recv(1))
        return 0

    loop = asyncio.get_running_loop()
    return Handover(lambda: loop.sock_recv(ours, 1), lambda: theirs.send(b"!"), left)


@of_trio
async def a_trio_channel(_: TaskGroup) -> Handover:
    return hand_over_by_trio_channel(0)


@of_trio
async def a_trio_channel_with_a_buffer(_: TaskGroup) -> Handover:
    return hand_over_by_trio_channel(1)


@of_trio
async def a_trio_event(_: TaskGroup) -> Handover:
    import trio

    event = trio.Event()
    return Handover(event.wait, event.set, event.is_set, shared=True)


@of_trio
async def a_trio_lock(_: TaskGroup) -> Handover:
    import trio

    lock = trio.Lock()
    await lock.acquire()
    return Handover(lock.acquire, lock.release, lambda: not lock.locked(), by_task=True)


@of_trio
async def a_trio_semaphore(_: TaskGroup) -> Handover:
    import trio

    semaphore = trio.Semaphore(0)
    return Handover(semaphore.acquire, semaphore.release, lambda: semaphore.value)


@of_trio
async def a_trio_socket(_: TaskGroup) -> Handover:
    import trio

    ours, theirs = socket.socketpair()
    trios = trio.socket.from_stdlib_socket(ours)  # makes it non-blocking

    def left() -> int:
        with trios, theirs, suppress(BlockingIOError):
            return len(ours.recv(1))
        return 0

    return Handover(lambda: trios.recv(1), lambda: theirs.send(b"!"), left)


@of_anyio
async def an_anyio_stream(_: TaskGroup) -> Handover:
    return hand_over_by_anyio_stream(0)


@of_anyio
async def an_anyio_stream_with_a_buffer(_: TaskGroup) -> Handover:
    return hand_over_by_anyio_stream(1)


@of_anyio
async def an_anyio_event(_: TaskGroup) -> Handover:
    import anyio

    event = anyio.Event()
    return Handover(event.wait, event.set, event.is_set, shared=True)


@of_anyio
async def an_anyio_lock(_: TaskGroup) -> Handover:
    import anyio

    lock = anyio.Lock()
    await lock.acquire()
    return Handover(lock.acquire, lock.release, lambda: not lock.locked(), by_task=True)


@of_anyio
async def an_anyio_semaphore(_: TaskGroup) -> Handover:
    import anyio

    semaphore = anyio.Semaphore(0)
    return Handover(semaphore.acquire, semaphore.release, lambda: semaphore.value)


@of_anyio
async def an_anyio_limiter(_: TaskGroup) -> Handover:
    import anyio

    limiter = anyio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("the giver")
    return Handover(
        limiter.acquire,
        lambda: limiter.release_on_behalf_of("the giver"),
        lambda: limiter.available_tokens,
    )


of_ours: Callable[[Make], Make] = wait(rule("S4"))


@of_ours
async def an_event(_: TaskGroup) -> Handover:
    event = Event()
    return Handover(event.wait, event.set, event.is_set, shared=True)


@of_ours
async def a_lock(_: TaskGroup) -> Handover:
    lock = Lock()
    await lock.acquire()
    return Handover(lock.acquire, lock.release, lambda: not lock.locked(), by_task=True)


@of_ours
async def a_semaphore(_: TaskGroup) -> Handover:
    semaphore = Semaphore(0)
    return Handover(semaphore.acquire, semaphore.release, lambda: semaphore.value)


@of_ours
async def a_limiter(_: TaskGroup) -> Handover:
    limiter = Limiter(1)
    await limiter.acquire()
    return Handover(limiter.acquire, limiter.release, lambda: limiter.available, by_task=True)


@of_ours
async def a_condition(_: TaskGroup) -> Handover:
    condition = Condition()
    items: list[str] = []

    async def take() -> None:
        async with condition:
            await condition.wait_for(lambda: items)
            items.pop()

    def give() -> None:
        condition.acquire_nowait()
        items.append("item")
        condition.notify()
        condition.release()

    return Handover(take, give, lambda: len(items), by_task=True)


@of_ours
async def a_channel(_: TaskGroup) -> Handover:
    return hand_over_by_channel(0)


@of_ours
async def a_channel_with_a_buffer(_: TaskGroup) -> Handover:
    return hand_over_by_channel(1)


@of_ours
async def room_in_a_channel(_: TaskGroup) -> Handover:
    """The one who waits has an item, and gets room for it."""
    sender, receiver = channel[str](1)
    await sender.send("first")
    given: list[str] = []

    def left() -> int:
        with sender, receiver:
            # the room is left if nobody has used it
            return 1 - sender.statistics().buffered if given else 0

    return Handover(lambda: sender.send("second"), lambda: given.append(receiver.receive_nowait()), left)


def hand_over_by(
    future: asyncio.Future[str], take: Callable[[], Awaitable[object]], swallows: bool = False
) -> Handover:
    items = ["item"]

    def give() -> None:
        if not future.done():
            future.set_result(items.pop())

    return Handover(take, give, lambda: len(items), swallows=swallows)


def hand_over_by_trio_channel(capacity: int) -> Handover:
    import trio

    send, receive = trio.open_memory_channel[str](capacity)
    kept: list[str] = []

    def give() -> None:
        try:
            send.send_nowait("item")
        except trio.WouldBlock:
            kept.append("item")

    return Handover(receive.receive, give, lambda: len(kept) + receive.statistics().current_buffer_used)


def hand_over_by_channel(capacity: int) -> Handover:
    sender, receiver = channel[str](capacity)
    kept: list[str] = []

    def give() -> None:
        try:
            sender.send_nowait("item")
        except WouldBlock:
            kept.append("item")

    def left() -> int:
        with sender, receiver:
            return len(kept) + receiver.statistics().buffered

    return Handover(receiver.receive, give, left)


def hand_over_by_anyio_stream(capacity: int) -> Handover:
    import anyio

    send, receive = anyio.create_memory_object_stream[str](capacity)
    kept: list[str] = []

    def give() -> None:
        try:
            send.send_nowait("item")
        except anyio.WouldBlock:
            kept.append("item")

    def left() -> int:
        with send, receive:
            return len(kept) + receive.statistics().current_buffer_used

    return Handover(receive.receive, give, left)


def new_event() -> Any:
    if current_backend() == "trio":
        import trio

        return trio.Event()
    return asyncio.Event()


# Who cancels. Each runs `receive()` in a scope that it can cancel, and gives away what cancels it.

GiveAway: TypeAlias = Callable[[Callable[[], object]], object]
Cancelled: TypeAlias = Callable[[Inside, GiveAway], Coroutine[Any, Any, None]]


async def in_a_deadline_that_is_moved(receive: Inside, give_away: GiveAway) -> None:
    def move() -> None:
        if not left:  # before 3.12 what follows a wait_for() may be over by now
            limit.reschedule(-1)

    left = False
    with deadline(None, suppress=True) as limit:
        give_away(move)
        await receive()
    left = True


async def in_the_body_of_a_group(receive: Inside, give_away: GiveAway) -> None:
    async with task_group() as tg:
        give_away(tg.cancel)
        await receive()


async def in_a_child(receive: Inside, give_away: GiveAway) -> None:
    async with task_group() as tg:
        give_away(tg.cancel)
        tg.create_task(receive())


async def in_a_task(receive: Inside, give_away: GiveAway) -> None:
    async with task_group() as tg:
        give_away(tg.create_task(receive()).cancel)


async def in_a_group_around(receive: Inside, give_away: GiveAway) -> None:
    async with task_group() as outer, deadline(None), task_group() as tg:
        give_away(outer.cancel)
        tg.create_task(receive())


async def beside_one_who_cancels(receive: Inside, give_away: GiveAway) -> None:
    event = new_event()
    async with task_group() as tg:
        give_away(event.set)
        tg.create_task(receive())
        await event.wait()
        tg.cancel()


async def beside_one_who_fails(receive: Inside, give_away: GiveAway) -> None:
    event = new_event()

    async def fail_later() -> None:
        await event.wait()
        raise OSError("no route")

    with suppress(ExceptionGroup):
        async with task_group() as tg:
            give_away(event.set)
            tg.create_task(fail_later())
            tg.create_task(receive())


async def in_the_background(receive: Inside, give_away: GiveAway) -> None:
    event = new_event()
    async with task_group() as tg:
        give_away(event.set)
        tg.create_background_task(receive())
        await event.wait()


async def in_first(receive: Inside, give_away: GiveAway) -> None:
    event = new_event()
    give_away(event.set)
    await first(receive(), event.wait())


async def in_a_loop_that_is_left(receive: Inside, give_away: GiveAway) -> None:
    event = new_event()
    give_away(event.set)
    async with as_completed([receive()]):
        await event.wait()


CANCELLED: list[Cancelled] = [
    in_a_deadline_that_is_moved,
    in_the_body_of_a_group,
    in_a_child,
    in_a_task,
    in_a_group_around,
    beside_one_who_cancels,
    beside_one_who_fails,
    in_the_background,
    in_first,
    in_a_loop_that_is_left,
]

Expiring: TypeAlias = Callable[[float, Inside], Coroutine[Any, Any, None]]


async def in_a_deadline(when: float, receive: Inside) -> None:
    with deadline(at=when, suppress=True):
        await receive()


async def in_a_deadline_around_groups(when: float, receive: Inside) -> None:
    async with deadline(at=when, suppress=True), task_group(), task_group() as tg:
        tg.create_task(receive())


async def in_a_deadline_that_is_moved_up(when: float, receive: Inside) -> None:
    with deadline(1000, suppress=True) as limit:
        limit.reschedule(when)
        await receive()


async def in_a_shield_with_a_timeout(when: float, receive: Inside) -> None:
    with suppress(TimeoutError):
        await shield(receive(), timeout=when - current_time())


EXPIRING: list[Expiring] = [
    in_a_deadline,
    in_a_deadline_around_groups,
    in_a_deadline_that_is_moved_up,
    in_a_shield_with_a_timeout,
]


# The race


class Receiver:
    """Waits for the item, and after that for the cancellation."""

    def __init__(self, handover: Handover) -> None:
        self.handover = handover
        self.waits: bool = False
        self.received: int = 0
        self.passed: bool = False

    async def __call__(self) -> None:
        self.waits = True
        await self.handover.take()
        self.received += 1
        if self.handover.swallows:
            return
        if current_deadline() == -inf:
            await checkpoint()
            self.passed = True
        await sleep_forever()

    def complaint(self) -> str | None:
        left = int(self.handover.left())
        if self.handover.shared:
            if self.received > 1 or left != 1:
                return f"received {self.received} times, {left} left"
        elif self.received + left != 1:
            return f"received {self.received} times, {left} left"
        return "the cancellation did not arrive at the next checkpoint" if self.passed else None


def soon(call: Callable[[], object]) -> None:
    """Let the loop call it."""
    if current_backend() == "trio":
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(call)
    else:
        asyncio.get_running_loop().call_soon(call)


@dataclass(frozen=True)
class Order:
    """Who acts first, how many turns of the loop later the other does, and which of them in a callback."""

    first: Literal["giver", "canceller"]
    turns: int
    callbacks: Literal["none", "giver", "both"]

    async def meet(self, give: Callable[[], object], cancel: Callable[[], object]) -> None:
        steps = deque([give, cancel])
        if self.callbacks != "none":
            steps[0] = lambda: soon(give)
        if self.callbacks == "both":
            steps[1] = lambda: soon(cancel)
        if self.first == "canceller":
            steps.reverse()
        steps[0]()
        for _ in range(self.turns):
            await checkpoint()
        steps[1]()


FIRST: tuple[Literal["giver", "canceller"], ...] = ("giver", "canceller")
CALLBACKS: tuple[Literal["none", "giver", "both"], ...] = ("none", "giver", "both")
ORDERS = [Order(*order) for order in product(FIRST, range(4), CALLBACKS)]


@pytest.mark.parametrize("cancelled", CANCELLED, ids=lambda cancelled: cancelled.__name__)
@pytest.mark.parametrize("make", WAITS)
async def test_what_is_handed_over_arrives_or_stays(make: Make, cancelled: Cancelled) -> None:
    complaints: dict[Order, str] = {}

    async def race(order: Order) -> None:
        cancels: list[Callable[[], object]] = []
        async with task_group() as tg:
            handover = await make(tg)
            if handover.by_task and order.callbacks != "none":
                return
            receiver = Receiver(handover)
            tg.create_task(cancelled(receiver, cancels.append))
            await until(lambda: receiver.waits)
            await settle()
            await order.meet(handover.give, cancels[0])
            await settle()
        if complaint := receiver.complaint():
            complaints[order] = complaint

    async with task_group() as tg:
        for order in ORDERS:
            tg.create_task(race(order), name=str(order))
    assert not complaints


@pytest.mark.parametrize("expiring", EXPIRING, ids=lambda expiring: expiring.__name__)
@pytest.mark.parametrize("make", WAITS)
async def test_what_is_handed_over_at_the_very_time_of_a_deadline(make: Make, expiring: Expiring) -> None:
    complaints: dict[str, str] = {}
    when = current_time() + 0.01

    async def race(first: str, turns: int) -> None:
        async with task_group() as tg:
            handover = await make(tg)
            receiver = Receiver(handover)
            tg.create_task(expiring(when, receiver))
            if first == "deadline":
                await settle()
            await sleep_until(when)
            for _ in range(turns):
                await checkpoint()
            handover.give()
            await settle()
        # where time is real it may have come before the receiver did
        if receiver.waits and (complaint := receiver.complaint()):
            complaints[f"{first} first, {turns} turns"] = complaint

    async with task_group() as tg:
        for first, turns in product(("giver", "deadline"), range(4)):
            tg.create_task(race(first, turns))
    assert not complaints


# What a cancellation does at once


@rule("T4", "C1", only="asyncio")
async def test_what_is_created_after_cancel_runs_after_the_clean_up(host: Host) -> None:
    if host.name == "asyncio-eager":
        pytest.skip("an eager loop runs the first step of a task inside create_task")
    steps: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(note_the_end(steps, "old ended"))
        await settle()
        task.cancel()
        tg.create_task(note(steps, "new began"))
    assert steps == ["old ended", "new began"]


@rule("C6", "C1", only="asyncio")
async def test_what_is_created_after_the_cancellation_of_a_group_runs_after_the_clean_up_in_it(
    host: Host,
) -> None:
    if host.name == "asyncio-eager":
        pytest.skip("an eager loop runs the first step of a task inside create_task")
    steps: list[str] = []

    async def middle() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(steps, "old ended"))

    async with task_group() as outer:
        async with task_group() as tg:
            tg.create_task(middle())
            await settle()
            tg.cancel()
            outer.create_task(note(steps, "new began"))
    assert steps == ["old ended", "new began"]


@needs_anyio
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no UNIX sockets here")
@rule("C1")
@pytest.mark.parametrize("first", ["data", "deadline"])
async def test_data_that_comes_at_the_very_time_of_a_deadline_is_read_by_the_next(
    first: str, tmp_path: Path
) -> None:
    """anyio's stream reports an `InvalidStateError` to the loop if it learns of the cancellation too late."""
    import anyio

    if asyncio_inside_trio():
        pytest.skip(
            "trio draws lots between data and timers; anyio's stream minds, under asyncio.timeout too"
        )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        stream = await anyio.connect_unix(tmp_path / "socket")
        peer, _ = server.accept()
    received: list[bytes] = []
    with peer:
        async with stream, task_group() as tg:
            when = current_time() + 0.01

            async def receive() -> None:
                with deadline(at=when, suppress=True):
                    received.append(await stream.receive())

            if first == "data":
                await call_at(when, lambda: peer.send(b"!"), tg)
            tg.create_task(receive())
            await settle()
            if first == "deadline":
                await call_at(when, lambda: peer.send(b"!"), tg)
            await sleep_until(when)
            await settle()
            if not received:
                received.append(await stream.receive())
    assert received == [b"!"]


async def call_at(when: float, call: Callable[[], object], tg: TaskGroup) -> None:
    """Let the loop call it when the time has come; on trio only a task can."""

    async def wait() -> None:
        await sleep_until(when)
        call()

    if current_backend() == "trio":
        tg.create_task(wait())
        await settle()
    else:
        asyncio.get_running_loop().call_at(when, call)


# shield begins its coroutine at once


in_both_kinds_of_scope: pytest.MarkDecorator = pytest.mark.parametrize("cancelled", [False, True])


def begins_later(tg: TaskGroup) -> bool:
    """On 3.11 a task of asyncio cannot begin in the call that creates it, whatever the backend is called."""
    return isinstance(tg.native, asyncio.TaskGroup) and sys.version_info < (3, 12)


@rule("C4")
@in_both_kinds_of_scope
async def test_a_shield_begins_before_anybody_else(cancelled: bool, host: Host) -> None:
    steps: list[str] = []
    async with task_group() as tg:
        tg.create_task(note(steps, "task"))
        if cancelled:
            tg.cancel()
        await shield(note(steps, "shielded"))
    if host.name == "asyncio-eager":  # the task has run in create_task
        assert sorted(steps) == ["shielded", "task"]
    else:
        assert steps == (["task", "shielded"] if begins_later(tg) else ["shielded", "task"])


@rule("C4")
@in_both_kinds_of_scope
async def test_a_shield_does_not_suspend_if_nothing_in_it_does(cancelled: bool) -> None:
    steps: list[str] = []

    async def answer() -> int:
        return 42

    async def fails() -> None:
        raise OSError("no route")

    async with task_group() as tg:
        soon(lambda: steps.append("a turn of the loop"))
        if cancelled:
            tg.cancel()
        assert await shield(answer()) == 42
        assert await shield(shield(answer()), timeout=1000) == 42
        with suppress(OSError):
            await shield(fails())
        steps.append("done")
    await settle()
    assert steps == (["a turn of the loop", "done"] if begins_later(tg) else ["done", "a turn of the loop"])


@rule("C4")
async def test_what_a_shield_begins_sees_that_it_is_shielded() -> None:
    seen: list[float] = []

    async def look() -> None:
        seen.append(current_deadline())

    with deadline(1000):
        await shield(look())
        await shield(look(), timeout=inf)
    assert seen == [inf, inf]


@rule("C4", "G9")
async def test_a_scope_that_is_opened_before_the_first_checkpoint_in_a_shield_is_left_in_it(
    tick: float,
) -> None:
    log: list[str] = []

    async def work() -> None:
        async with deadline(1000 * tick), task_group() as tg:
            tg.create_task(note(log, "child"))
            await sleep(2 * tick)
            log.append("body")

    with deadline(tick, suppress=True):
        async with task_group():
            await shield(work())
            log.append("shielded")
            await checkpoint()
            log.append("passed")
    assert log == ["child", "body", "shielded"]


@rule("C4", "C5", only="asyncio")
async def test_a_shield_that_begins_at_once_holds_from_the_first_step_on(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await asyncio.sleep(tick)
        log.append("committed")

    async def work() -> None:
        cancel_current_task()
        await shield(commit())
        log.append("shielded")
        await asyncio.sleep(tick)
        log.append("passed")

    task = asyncio.ensure_future(work())
    await asyncio.wait([task])
    assert log == ["committed", "shielded"]
    assert task.cancelled()


@rule("C4", only="asyncio")
async def test_the_current_task_of_asyncio_is_the_caller_again_after_a_shield(tick: float) -> None:
    caller = asyncio.current_task()
    inside: list[object] = []

    async def look(seconds: float) -> None:
        inside.append(asyncio.current_task())
        if seconds:
            await sleep(seconds)
            inside.append(asyncio.current_task())

    for seconds in (0, tick):
        await shield(look(seconds))
        assert asyncio.current_task() is caller
    assert caller not in inside and None not in inside


async def note(log: list[str], what: str) -> None:
    log.append(what)


def cancel_current_task(message: str | None = None) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel(message)


# Tasks that never pause


async def exchange() -> None:
    """Two tasks that wake each other in every turn."""
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def give() -> None:
        while True:
            await queue.put(1)

    async def take() -> None:
        while True:
            await queue.get()

    await asyncio.gather(give(), take())


async def take_from_one_who_does_not_pause() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def give() -> None:
        while True:
            await queue.put(1)
            await asyncio.sleep(0)

    giver = asyncio.create_task(give())
    try:
        while True:
            await queue.get()
    finally:
        giver.cancel()


async def in_every_turn(give: Callable[[], object], take: Callable[[], Awaitable[object]]) -> None:
    async def go_on_giving() -> None:
        while True:
            give()
            await asyncio.sleep(0)

    giver = asyncio.create_task(go_on_giving())
    try:
        while True:
            await take()
    finally:
        giver.cancel()


async def receive_what_comes_in_every_turn() -> None:
    sender, receiver = channel[int](inf)
    with sender, receiver:
        await in_every_turn(lambda: sender.send_nowait(1), receiver.receive)


async def acquire_what_is_released_in_every_turn() -> None:
    semaphore = Semaphore(0)
    await in_every_turn(semaphore.release, semaphore.acquire)


@rule("C6", "C1", "S4", only="asyncio")
@pytest.mark.parametrize(
    "work",
    [
        exchange,
        take_from_one_who_does_not_pause,
        receive_what_comes_in_every_turn,
        acquire_what_is_released_in_every_turn,
    ],
    ids=lambda work: work.__name__,
)
@pytest.mark.parametrize("how", ["its-group", "itself", "natively", "a-deadline", "held-back"])
async def test_a_cancellation_reaches_tasks_that_never_pause(
    work: Callable[[], Coroutine[Any, Any, None]], how: str
) -> None:
    async def held_back() -> None:
        async with task_group() as inner:  # its error holds back the cancellation, while the work goes on
            inner.create_task(fail_when_cancelled(ValueError()))
            await sleep_forever()

    async def body() -> None:
        if how == "held-back":
            with suppress(ExceptionGroup):
                await held_back()
        await work()

    tasks: list[Task[None]] = []
    with deadline(1000, suppress=True) as limit:
        async with task_group() as tg:
            tasks.append(tg.create_task(body()))
            for _ in range(10):
                await checkpoint()
            if how == "itself":
                tasks[0].cancel()
            elif how == "natively":
                tasks[0].native.cancel()
            elif how == "a-deadline":
                limit.reschedule(current_time())
            else:
                tg.cancel()
    assert tasks[0].cancelled()


# A native task that is waited for is cancelled in the place of the one that waits, and may have other ideas.


@rule("C1", "C6", only="asyncio")
@pytest.mark.parametrize("gathered", [False, True])
async def test_a_native_task_that_a_child_waits_for_is_cancelled_at_once(gathered: bool) -> None:
    async def wait() -> None:
        await (asyncio.gather(native, *others) if gathered else native)

    native = asyncio.create_task(sleep_forever())
    others = [asyncio.create_task(sleep_forever()) for _ in range(2 * gathered)]
    async with task_group() as tg:
        tg.create_task(wait())
        await settle()
        tg.cancel()
        assert [task.cancelling() for task in (native, *others)] == [1] * (1 + len(others))
    assert all(task.cancelled() for task in (native, *others))


@rule("C1", "C4", only="asyncio")
@pytest.mark.parametrize("links", [1, 3])
@pytest.mark.parametrize("how", ["shield", "swallow", "fail"])
@pytest.mark.parametrize("canceller", ["deadline", "group", "task"])
async def test_a_native_task_that_swallows_a_cancellation_of_ours_does_not_keep_it(
    canceller: str, how: str, links: int, tick: float
) -> None:
    log: list[str] = []

    async def work() -> str:
        if how == "shield":
            await shield(sleep(3 * tick))
            return "value"
        with suppress(asyncio.CancelledError):
            await sleep_forever()
        if how == "fail":
            raise OSError
        return "value"

    async def link(coro: Coroutine[Any, Any, str]) -> str:
        return await asyncio.create_task(coro)

    async def wait() -> None:
        coro = work()
        for _ in range(links - 1):
            coro = link(coro)
        with suppress(OSError):
            log.append(await asyncio.create_task(coro))
        await checkpoint()
        log.append("lost")

    async def cancel(tg: TaskGroup, task: Task[None]) -> None:
        await sleep(tick)
        if canceller == "group":
            tg.cancel()
        elif canceller == "task":
            task.cancel()

    async with task_group() as outer:
        with deadline(tick if canceller == "deadline" else None, suppress=True):
            async with task_group() as tg:
                outer.create_task(cancel(tg, tg.create_task(wait())))
    assert log == ([] if how == "fail" else ["value"])
