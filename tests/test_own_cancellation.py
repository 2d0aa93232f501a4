"""Every function of interloop that awaits, cancelled at every checkpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from interloop import (
    Condition,
    EndOfChannel,
    Event,
    Limiter,
    Lock,
    ReceiveChannel,
    Semaphore,
    SendChannel,
    TaskCancelled,
    TaskFailed,
    TaskStatus,
    as_completed,
    channel,
    checkpoint,
    current_time,
    deadline,
    first,
    gather,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from interloop.testing import explore_cancellation, wait_all_tasks_blocked

pytest.importorskip("trio")

opened: list[object] = []  # what is held, and must have been given back whatever was cancelled
losses: list[Callable[[], object]] = []  # each returns what is missing in the end, or in excess


@asynccontextmanager
async def held(thing: object) -> AsyncIterator[None]:
    """Holds something, and gives it back with an await."""
    opened.append(thing)
    try:
        yield
    finally:
        await shield(sleep(0.5))
        opened.remove(thing)


async def child(seconds: float) -> float:
    async with held(seconds):
        await sleep(seconds)
    return seconds


async def failing(seconds: float) -> float:
    await sleep(seconds)
    raise OSError("no route")


async def service(seconds: float, *, task_status: TaskStatus[float]) -> None:
    async with held(seconds):
        await sleep(seconds)
        task_status.started(seconds)
        await sleep(seconds)


# Each is a function with which nothing goes wrong unless it is cancelled.


async def sleeping() -> None:
    await sleep(1)
    await sleep(0)
    await sleep_until(current_time() + 1)
    await checkpoint()
    with deadline(1, suppress=True):
        await sleep_forever()


async def leaving_a_group() -> None:
    async with task_group() as tg:
        tasks = [tg.create_task(child(n)) for n in (1, 2)]
        await sleep(1.5)
        tasks.append(tg.create_task(child(3)))
    assert [task.result() for task in tasks] == [1, 2, 3]
    async with task_group():
        pass


async def nested_groups() -> None:
    async with task_group() as outer:
        outer.create_task(child(3))
        async with task_group() as inner:
            inner.create_task(child(1))
            outer.create_task(child(2))


async def a_group_that_cancels_itself() -> None:
    async with task_group() as tg:
        tg.create_task(child(1))
        tg.create_task(child(5))
        await sleep(2)
        tg.cancel()


async def a_group_that_fails() -> None:
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(failing(1))
            await child(2)


async def a_group_that_defers_errors() -> None:
    with suppress(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            tg.create_task(failing(1))
            await child(2)


async def a_group_with_a_limit() -> None:
    async with task_group(limit=2) as tg:
        tasks = [tg.create_task(child(n)) for n in (1, 2, 3, 4)]
        await tasks[-1]


async def background_tasks() -> None:
    async with task_group() as tg:
        tg.create_background_task(child(100))
        await child(1)


async def starting() -> None:
    async with task_group() as tg:
        assert await tg.start(service, 1) == 1


async def starting_what_fails() -> None:
    async def broken(*, task_status: TaskStatus[None]) -> None:
        async with held("it"):
            await failing(1)

    # cancelled while it cleans up, start() hands the error to the group (T5)
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            with suppress(OSError):
                await tg.start(broken)


async def awaiting_a_task() -> None:
    async with task_group() as tg:
        task = tg.create_task(child(1))
        assert await task == 1
        task = tg.create_task(child(2))
        with deadline(1, suppress=True):
            await task
        assert await task == 2


async def awaiting_a_task_that_is_cancelled() -> None:
    async with task_group() as tg:
        task = tg.create_task(child(1))
        await checkpoint()
        task.cancel()
        with suppress(TaskCancelled):
            await task


async def awaiting_a_task_that_fails() -> None:
    with suppress(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            with suppress(TaskFailed):
                await tg.create_task(failing(1))


async def within_deadlines() -> None:
    async with deadline(3, suppress=True):
        with suppress(TimeoutError):
            async with deadline(1):
                await child(2)
        await child(1)
        await child(5)


async def shielding() -> None:
    async def finish() -> None:
        await sleep(1)
        opened.remove("begun")

    opened.append("begun")
    await shield(finish())


async def shielding_for_a_time() -> None:
    with suppress(TimeoutError):
        await shield(child(2), timeout=1)


async def gathering() -> None:
    assert await gather(child(1), child(2), child(3)) == (1, 2, 3)


async def gathering_with_a_limit() -> None:
    assert await gather(child(1), child(2), child(3), limit=2) == (1, 2, 3)


async def gathering_what_fails() -> None:
    with suppress(ExceptionGroup):
        await gather(child(2), failing(1))


async def the_first() -> None:
    assert await first(failing(1), child(2), child(3)) == 2


async def the_first_of_failures() -> None:
    with suppress(ExceptionGroup):
        await first(failing(1), failing(2))


async def as_they_complete() -> None:
    seen = []
    async with as_completed([child(2), child(1), child(3)], limit=2) as results:
        async for result in results:
            seen.append(result)
            await sleep(0.1)
    assert sorted(seen) == [1, 2, 3]


async def leaving_before_all_have_completed() -> None:
    async def coroutines() -> AsyncIterator[Any]:
        for n in (1, 2, 3):
            await sleep(0.1)
            yield child(n)

    async with as_completed(coroutines()) as results:
        async for _ in results:
            break


async def waiting_for_all() -> None:
    async with task_group() as tg:
        tg.create_task(child(1))
        await wait_all_tasks_blocked()


# Chapter S: two that want it, and whatever is cancelled, it is free in the end


async def use(thing: Lock | Semaphore | Limiter | Condition) -> None:
    async with thing:
        await sleep(1)


async def sharing(thing: Lock | Semaphore | Limiter | Condition) -> None:
    losses.append(lambda: thing if thing.locked() else None)
    async with task_group() as tg:
        for _ in range(3):
            tg.create_task(use(thing))


async def sharing_a_lock() -> None:
    await sharing(Lock())


async def sharing_a_semaphore() -> None:
    await sharing(Semaphore(1))


async def sharing_a_limiter() -> None:
    await sharing(Limiter(1))


async def waiting_for_an_event() -> None:
    event = Event()
    losses.append(lambda: event if "waiting" in repr(event) else None)
    async with task_group() as tg:
        for _ in range(2):
            tg.create_task(event.wait())
        await sleep(1)
        event.set()


async def waiting_for_a_notification() -> None:
    condition = Condition()
    losses.append(lambda: condition if "unlocked]" not in repr(condition) else None)

    async def wait() -> None:
        async with condition:
            await condition.wait()
            await sleep(1)

    async with task_group() as tg:
        for _ in range(3):
            tg.create_task(wait())
        await sleep(1)
        async with condition:
            condition.notify(2)
            await sleep(1)
            condition.notify_all()


async def handing_items_over(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    sent: list[int] = []
    received: list[int] = []

    async def send(end: SendChannel[int], items: range) -> None:
        with end:
            for item in items:
                await end.send(item)
                sent.append(item)

    async def receive(end: ReceiveChannel[int]) -> None:
        async for item in end:
            received.append(item)
            await sleep(1)

    def lost() -> object:
        with receiver:
            with suppress(EndOfChannel):
                while True:
                    received.append(receiver.receive_nowait())
        return sorted(sent) != sorted(received) and (sent, received)

    losses.append(lost)
    async with task_group() as tg:
        for end, items in ((sender, range(3)), (sender.clone(), range(3, 6))):
            tg.create_task(send(end, items))
        for _ in range(2):
            tg.create_task(receive(receiver))


async def handing_items_over_without_a_buffer() -> None:
    await handing_items_over(0)


async def handing_items_over_through_a_buffer() -> None:
    await handing_items_over(2)


@pytest.mark.parametrize("host", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "function",
    [
        sleeping,
        leaving_a_group,
        nested_groups,
        a_group_that_cancels_itself,
        a_group_that_fails,
        a_group_that_defers_errors,
        a_group_with_a_limit,
        background_tasks,
        starting,
        starting_what_fails,
        awaiting_a_task,
        awaiting_a_task_that_is_cancelled,
        awaiting_a_task_that_fails,
        within_deadlines,
        shielding,
        shielding_for_a_time,
        gathering,
        gathering_with_a_limit,
        gathering_what_fails,
        the_first,
        the_first_of_failures,
        as_they_complete,
        leaving_before_all_have_completed,
        waiting_for_all,
        sharing_a_lock,
        sharing_a_semaphore,
        sharing_a_limiter,
        waiting_for_an_event,
        waiting_for_a_notification,
        handing_items_over_without_a_buffer,
        handing_items_over_through_a_buffer,
    ],
    ids=lambda function: function.__name__,
)
def test_a_function_that_awaits(function: Callable[[], Awaitable[None]], host: str) -> None:
    opened.clear()
    losses.clear()

    def check() -> None:
        assert opened == []
        assert [lost for loss in losses if (lost := loss())] == []
        losses.clear()

    assert explore_cancellation(function, host=host, check=check) > 0
