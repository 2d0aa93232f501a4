"""What a type checker makes of events, locks and channels. Checked by `nox -s typing`, never run."""

from __future__ import annotations

from math import inf
from typing import assert_type

from interloop import (
    ChannelStatistics,
    Condition,
    Event,
    Limiter,
    Lock,
    ReceiveChannel,
    Semaphore,
    SendChannel,
    channel,
)


async def locks(stock: list[str]) -> None:
    event, lock, semaphore, limiter = Event(), Lock(), Semaphore(2, max_value=3), Limiter(inf)
    assert_type(event.is_set(), bool)
    await event.wait()
    event.set()
    for one in (lock, semaphore, limiter, Condition(lock)):
        await one.acquire()
        one.acquire_nowait()
        one.release()
        assert_type(one.locked(), bool)
        async with one as nothing:
            assert_type(nothing, None)
    assert_type(semaphore.value, int)
    assert_type(semaphore.max_value, int | None)
    assert_type(limiter.total, float)
    limiter.total = 3
    assert_type(limiter.borrowed, int)
    assert_type(limiter.available, float)

    condition = Condition()
    await condition.wait()
    assert_type(await condition.wait_for(lambda: stock and stock.pop()), list[str] | str)
    condition.notify(2)
    condition.notify_all()
    Condition(semaphore)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def receives_ints(receiver: ReceiveChannel[int]) -> None:
    async for number in receiver:
        assert_type(number, int)


async def sends_a_bool(sender: SendChannel[bool]) -> None:
    await sender.send(True)


async def channels() -> None:
    sender, receiver = channel[int](10)
    assert_type(sender, SendChannel[int])
    assert_type(receiver, ReceiveChannel[int])
    with sender as same_sender, receiver.clone() as other_receiver:
        assert_type(same_sender, SendChannel[int])
        assert_type(other_receiver, ReceiveChannel[int])
    async with sender.clone() as other_sender, receiver as same_receiver:
        assert_type(other_sender, SendChannel[int])
        assert_type(same_receiver, ReceiveChannel[int])
    await sender.send(1)
    sender.send_nowait(2)
    assert_type(await receiver.receive(), int)
    assert_type(receiver.receive_nowait(), int)
    assert_type(sender.statistics(), ChannelStatistics)
    await sender.send("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    # a sender of ints is a sender of bools; a receiver of bools is a receiver of ints
    await sends_a_bool(sender)
    bools, received_bools = channel[bool](0)
    await receives_ints(received_bools)
    strings, received_strings = channel[str](0)
    await sends_a_bool(strings)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await receives_ints(received_strings)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bools.send(False)
    channel[int]("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
