"""Chapter S: channels."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import Coroutine
from math import inf, nan
from typing import Any

import pytest

from interloop import (
    BrokenChannel,
    ChannelStatistics,
    ClosedChannel,
    EndOfChannel,
    NoAsyncContext,
    ReceiveChannel,
    SendChannel,
    Task,
    WouldBlock,
    channel,
    checkpoint,
    deadline,
    shield,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import needs_anyio, settle, skip_if_deadlocks_are_not_named
from interloop.conformance.test_coordination import (
    FOREIGN,
    Cancel,
    in_a_thread,
    in_another_loop,
    turns_of_the_loop,
)
from interloop.conformance.test_groups import count
from interloop.conformance.test_handover import soon
from interloop.testing import Deadlock, Host

each_capacity: pytest.MarkDecorator = pytest.mark.parametrize("capacity", [0, 1, 3, inf])
small: pytest.MarkDecorator = pytest.mark.parametrize("capacity", [0, 1])


async def receive_all(receiver: ReceiveChannel[Any], log: list[Any]) -> None:
    with receiver:
        log += [item async for item in receiver]


async def receive_one(receiver: ReceiveChannel[Any], log: list[Any]) -> None:
    log.append(await receiver.receive())


async def send_all(sender: SendChannel[Any], items: list[Any]) -> None:
    with sender:
        for item in items:
            await sender.send(item)


async def outcome_of(call: Any, log: list[Any]) -> None:
    try:
        log.append(await call)
    except (BrokenChannel, ClosedChannel, EndOfChannel) as error:
        log.append(type(error))


# S7: order, and the end


@rule("S7", "S2")
@each_capacity
async def test_items_come_in_the_order_in_which_they_were_sent(capacity: float) -> None:
    sender, receiver = channel[int](capacity)
    log: list[int] = []
    async with task_group() as tg:
        tg.create_task(send_all(sender, [*range(10)]))
        tg.create_task(receive_all(receiver, log))
    assert log == [*range(10)]


@rule("S7", "S2")
@each_capacity
async def test_the_order_of_each_sender_is_kept_and_each_item_is_received_once(capacity: float) -> None:
    sender, receiver = channel[tuple[str, int]](capacity)
    logs: list[list[tuple[str, int]]] = [[], []]
    async with task_group() as tg, sender, receiver:
        for log in logs:
            tg.create_task(receive_all(receiver.clone(), log))
        for name in "ab":
            tg.create_task(send_all(sender.clone(), [(name, number) for number in range(10)]))
        sender.close()
    for log in logs:
        for name in "ab":
            numbers = [number for one, number in log if one == name]
            assert numbers == sorted(numbers)
    assert sorted([*logs[0], *logs[1]]) == [(name, number) for name in "ab" for number in range(10)]


@rule("S2")
@small
async def test_receivers_are_served_in_the_order_of_their_coming(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    tasks: list[Task[int]] = []
    with sender, receiver:
        async with task_group() as tg:
            for _ in range(4):
                tasks.append(tg.create_task(receiver.receive()))
                await settle()
            for number in range(4):
                await sender.send(number)
            with pytest.raises(WouldBlock):
                receiver.receive_nowait()
    assert [task.result() for task in tasks] == [0, 1, 2, 3]


@rule("S2")
@small
async def test_senders_that_wait_are_served_in_the_order_of_their_coming(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    log: list[int] = []
    with sender, receiver:
        async with task_group() as tg:
            for number in range(4):
                tg.create_task(sender.send(number))
                await settle()
            log += [receiver.receive_nowait() for _ in range(4)]
        assert sender.statistics().buffered == 0
    assert log == [0, 1, 2, 3]


@rule("S7")
@each_capacity
async def test_sending_waits_while_the_buffer_is_full(capacity: float) -> None:
    sender, receiver = channel[int](capacity)
    sent: list[int] = []

    async def send() -> None:
        for number in range(10):
            await sender.send(number)
            sent.append(number)

    with sender, receiver:
        async with task_group() as tg:
            tg.create_task(send())
            await settle()
            assert len(sent) == min(capacity, 10)
            for number in range(10):
                assert await receiver.receive() == number
                await settle()
                assert len(sent) == min(capacity + number + 1, 10)


@rule("S7")
async def test_what_is_left_is_received_before_the_end() -> None:
    sender, receiver = channel[int](inf)
    log: list[Any] = []
    with receiver:
        with sender, sender.clone() as other:
            await other.send(1)
            await sender.send(2)
        assert await receiver.receive() == 1
        assert receiver.receive_nowait() == 2
        for _ in range(2):
            await outcome_of(receiver.receive(), log)
            with pytest.raises(EndOfChannel, match="every sender"):
                receiver.receive_nowait()
        assert [item async for item in receiver] == []
    assert log == [EndOfChannel, EndOfChannel]


@rule("S7")
async def test_the_last_sender_that_closes_ends_the_wait_of_receivers() -> None:
    sender, receiver = channel[int](0)
    log: list[Any] = []
    with receiver:
        async with task_group() as tg:
            for _ in range(2):
                tg.create_task(outcome_of(receiver.receive(), log))
            other = sender.clone()
            await settle()
            sender.close()
            await settle()
            assert log == []
            other.close()
    assert log == [EndOfChannel, EndOfChannel]


@rule("S7")
@small
async def test_the_last_receiver_that_closes_breaks_the_channel(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    log: list[Any] = []
    with sender:
        async with task_group() as tg:
            for number in range(capacity):
                await sender.send(number)
            tg.create_task(outcome_of(sender.send(42), log))
            other = receiver.clone()
            await settle()
            receiver.close()
            await settle()
            assert log == []
            other.close()
        await outcome_of(sender.send(42), log)
        with pytest.raises(BrokenChannel, match="every receiver"):
            sender.send_nowait(42)
        assert sender.statistics().buffered == 0
    assert log == [BrokenChannel, BrokenChannel]


@rule("S7")
@small
async def test_an_end_that_is_closed_refuses_and_its_clones_go_on(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    log: list[Any] = []
    sending, receiving = sender.clone(), receiver.clone()
    with sending, receiving:
        for end in (sender, receiver):
            end.close()
            end.close()
            with pytest.raises(ClosedChannel, match="which was closed"):
                end.clone()
        await outcome_of(sender.send(1), log)
        await outcome_of(receiver.receive(), log)
        for call in (lambda: sender.send_nowait(1), receiver.receive_nowait):
            with pytest.raises(ClosedChannel, match="which was closed"):
                call()
        with pytest.raises(ClosedChannel):
            async for _ in receiver:
                pass
        async with task_group() as tg:
            tg.create_task(receive_one(receiving, log))
            await sending.send(42)
    assert log == [ClosedChannel, ClosedChannel, 42]


@rule("S7")
async def test_closing_an_end_ends_the_waits_at_this_end_alone() -> None:
    sender, receiver = channel[int](0)
    log: list[Any] = []
    async with task_group() as tg:
        with sender.clone() as sends_on, receiver.clone() as receives_on:
            tg.create_task(outcome_of(receiver.receive(), log))
            tg.create_task(receive_one(receives_on, log))
            await settle()
            receiver.close()
            await settle()
            assert log == [ClosedChannel]
            await sends_on.send(1)
            await settle()
            assert log == [ClosedChannel, 1]
            tg.create_task(outcome_of(sender.send(2), log))
            await settle()
            sender.close()
            await settle()
            assert log == [ClosedChannel, 1, ClosedChannel]
            assert receives_on.statistics().waiting_senders == 0


@rule("S7")
async def test_both_kinds_of_with_close_an_end() -> None:
    for asynchronous in (False, True):
        sender, receiver = channel[int](1)
        if asynchronous:
            async with sender as same_sender, receiver as same_receiver:
                pass
        else:
            with sender as same_sender, receiver as same_receiver:
                pass
        assert (same_sender, same_receiver) == (sender, receiver)
        assert "closed" in repr(sender)
        assert "closed" in repr(receiver)


@rule("S7", host="asyncio")
@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="without reference counts nothing goes at once"
)
def test_an_end_that_is_dropped_says_where_it_was_made() -> None:
    ends: list[Any] = [*channel[int](0)]
    ends += [end.clone() for end in ends]
    line = sys._getframe().f_lineno - 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ends[0].close()
        ends.clear()
        gc.collect()
    said = sorted(str(warning.message) for warning in caught)
    assert len(said) == 3
    assert sum(f"{__file__}:{line}" in one for one in said) == 2
    assert all(one.startswith(("<SendChannel [", "<ReceiveChannel [")) for one in said)
    assert {warning.category for warning in caught} == {ResourceWarning}
    assert {type(warning.source) for warning in caught} == {SendChannel, ReceiveChannel}


@rule("S7")
@pytest.mark.parametrize("kind", [SendChannel, ReceiveChannel])
def test_an_end_that_could_not_be_made_says_nothing_when_it_is_dropped(kind: Any) -> None:
    with pytest.raises(TypeError):
        kind()
    gc.collect()


@rule("S7", "G11")
@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_what_a_wait_was_refused_with_is_freed(side: str) -> None:
    refusals: weakref.WeakSet[Exception] = weakref.WeakSet()
    log: list[str] = []

    async def wait() -> None:
        try:
            await (sender.send(1) if side == "sender" else receiver.receive())
        except ClosedChannel as refusal:
            refusals.add(refusal)
            log.append("refused")

    gc.disable()
    try:
        sender, receiver = channel[int](0)
        with sender, receiver:
            async with task_group() as tg:
                tg.create_task(wait())
                await settle()
                (sender if side == "sender" else receiver).close()
                statistics = sender.statistics()
                assert (statistics.waiting_senders, statistics.waiting_receivers) == (0, 0)
            await settle()
            assert log == ["refused"]
            assert count(refusals) == 0
    finally:
        gc.enable()


@rule("S7")
async def test_statistics_tell_who_is_there_and_who_waits() -> None:
    sender, receiver = channel[int](1)
    with sender, receiver, sender.clone() as other:
        async with task_group() as tg:
            await sender.send(1)
            tg.create_task(other.send(2))
            await settle()
            assert (
                sender.statistics()
                == receiver.statistics()
                == ChannelStatistics(
                    buffered=1,
                    capacity=1,
                    open_senders=2,
                    open_receivers=1,
                    waiting_senders=1,
                    waiting_receivers=0,
                )
            )
            assert repr(sender) == "<SendChannel [1 of 1 buffered]>"
            assert [receiver.receive_nowait(), receiver.receive_nowait()] == [1, 2]
            waits = tg.create_task(receiver.receive())
            await settle()
            assert receiver.statistics().waiting_receivers == 1
            waits.cancel()
        assert receiver.statistics().waiting_receivers == 0


# S3: what need not wait does not suspend


@rule("S3")
async def test_where_there_is_room_or_an_item_nobody_suspends() -> None:
    sender, receiver = channel[int](2)

    async def use() -> None:
        for number in range(2):
            await sender.send(number)
        for number in range(2):
            assert await receiver.receive() == number

    with sender, receiver:
        assert await turns_of_the_loop(use) == 0


@rule("S3")
@small
async def test_what_never_waits_works_in_callbacks_or_says_that_it_would(capacity: int) -> None:
    sender, receiver = channel[int](capacity)
    log: list[int] = []
    with sender, receiver:
        with pytest.raises(WouldBlock, match="empty"):
            receiver.receive_nowait()
        for number in range(capacity):
            sender.send_nowait(number)
        with pytest.raises(WouldBlock, match="no room"):
            sender.send_nowait(42)
        log += [receiver.receive_nowait() for _ in range(capacity)]
        async with task_group() as tg:
            tg.create_task(receive_one(receiver, log))
            await settle()
            soon(lambda: sender.send_nowait(42))
            await settle()
            tg.create_task(sender.send(43))
            await settle()
            soon(lambda: log.append(receiver.receive_nowait()))
            await settle()
            tg.create_task(outcome_of(receiver.receive(), log))
            await settle()
            soon(sender.close)
    assert log == [*range(capacity), 42, 43, EndOfChannel]


# S4: nothing is lost; test_handover.py has the races with our scopes


@pytest.mark.parametrize("cancel", FOREIGN)
@pytest.mark.parametrize("order", ["send-cancel", "cancel-send"])
@small
async def test_a_native_cancellation_in_the_very_turn_loses_no_item(
    order: str, capacity: int, cancel: Cancel
) -> None:
    sender, receiver = channel[int](capacity)
    log: list[int] = []
    with sender, receiver:
        async with task_group() as tg:

            async def first() -> None:
                log.append(await receiver.receive())
                await checkpoint()
                log.append(-1)

            task = tg.create_task(first())
            await settle()
            tg.create_task(receive_one(receiver, log))
            await settle()
            for act in order.split("-"):
                if act == "send":
                    sender.send_nowait(42)
                else:
                    cancel(task)
            await settle()
            assert task.cancelled()
            assert log == [42]
            if order == "send-cancel":
                sender.send_nowait(43)
    assert log == ([42, 43] if order == "send-cancel" else [42])


@pytest.mark.parametrize("cancel", FOREIGN)
@pytest.mark.parametrize("order", ["receive-cancel", "cancel-receive"])
@small
async def test_a_send_that_was_cancelled_natively_has_not_sent(
    order: str, capacity: int, cancel: Cancel
) -> None:
    sender, receiver = channel[int](capacity)
    log: list[Any] = []
    with sender, receiver:
        async with task_group() as tg:
            for number in range(capacity):
                await sender.send(number)

            async def send() -> None:
                await sender.send(42)
                log.append("sent")
                await checkpoint()
                log.append("passed")

            task = tg.create_task(send())
            await settle()
            for act in order.split("-"):
                if act == "cancel":
                    cancel(task)
                elif capacity or order == "receive-cancel":
                    log.append(receiver.receive_nowait())
            await settle()
            assert task.cancelled()
            left = receiver.statistics().buffered
    if order == "receive-cancel":
        assert log == [0 if capacity else 42, "sent"]
        assert left == capacity
    else:
        assert log == [0] * capacity
        assert left == 0


@rule("S4", only="asyncio")
@small
async def test_a_coroutine_that_is_closed_after_the_hand_over_puts_the_item_back(capacity: int) -> None:
    for next_waits in (False, True):
        sender, receiver = channel[int](capacity)
        log: list[int] = []
        with sender, receiver:
            thrown_away = receiver.receive()
            thrown_away.send(None)  # as a task does
            async with task_group() as tg:
                if next_waits:
                    tg.create_task(receive_one(receiver, log))
                    await settle()
                sender.send_nowait(1)
                thrown_away.close()
                if not next_waits:
                    log.append(receiver.receive_nowait())
        assert log == [1]


@rule("S4")
@needs_anyio
@small
async def test_an_item_that_comes_with_the_cancellation_of_a_scope_of_anyio_is_not_lost(
    capacity: int,
) -> None:
    import anyio

    for order in ("send-cancel", "cancel-send"):
        sender, receiver = channel[int](capacity)
        log: list[int] = []
        kept: list[int] = []
        scope = anyio.CancelScope()

        async def receive(scope: Any = scope, receiver: Any = receiver, log: Any = log) -> None:
            with scope:
                log.append(await receiver.receive())

        with sender, receiver:
            async with task_group() as tg:
                tg.create_task(receive())
                await settle()
                for act in order.split("-"):
                    if act == "cancel":
                        scope.cancel()
                    else:
                        try:
                            sender.send_nowait(42)
                        except WouldBlock:
                            kept.append(42)
            assert len(log) + len(kept) + receiver.statistics().buffered == 1


@rule("S4")
async def test_who_left_the_queue_is_passed_over(tick: float) -> None:
    sender, receiver = channel[int](0)
    log: list[int] = []
    with sender, receiver:
        async with task_group() as tg:
            with deadline(tick, suppress=True):
                await sender.send(1)
            with deadline(tick, suppress=True):
                await receiver.receive()
            tg.create_task(sender.send(2))
            log.append(await receiver.receive())
    assert log == [2]


# S1: loops


@rule("S1")
async def test_a_channel_at_which_somebody_waits_to_send_is_refused_in_another_loop() -> None:
    sender, receiver = channel[int](1)

    async def intrude() -> None:
        for call in (receiver.receive_nowait, lambda: sender.send_nowait(3)):
            with pytest.raises(RuntimeError, match="not two at once"):
                call()

    with sender, receiver:
        await sender.send(1)
        async with task_group() as tg:
            tg.create_task(sender.send(2))
            await settle()
            await in_another_loop(intrude)
            assert [await receiver.receive(), await receiver.receive()] == [1, 2]
        await in_another_loop(lambda: sends_to_itself(sender, receiver))


@rule("S1", "S7", only="asyncio")
@pytest.mark.parametrize("kind", ["with", "async with"])
async def test_an_end_is_closed_with_a_task_that_is_thrown_away_with_its_loop(kind: str) -> None:
    sender, receiver = channel[int](0)
    coros: list[Coroutine[Any, Any, object]] = []

    async def hold() -> None:
        if kind == "with":
            with sender:
                await sleep_forever()
        async with sender:
            await sleep_forever()

    async def main() -> None:
        coros.extend([hold(), receiver.receive()])
        for coro in coros:
            task = asyncio.create_task(coro)
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    def run_and_leave() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        coros[0].close()  # while the other one waits

    in_a_thread(run_and_leave)
    assert sender.statistics().open_senders == 0
    coros[1].close()
    with receiver, pytest.raises(EndOfChannel):
        receiver.receive_nowait()


@rule("S1", "S7")
async def test_to_close_an_end_again_does_nothing_anywhere() -> None:
    sender, receiver = channel[int](0)
    other = sender.clone()
    other.close()
    with sender, receiver:
        async with task_group() as tg:
            tg.create_task(receiver.receive())
            await settle()
            in_a_thread(other.close)
            await sender.send(1)


@rule("S1")
@pytest.mark.parametrize("side", ["sender", "receiver"])
async def test_a_channel_belongs_to_no_loop_once_the_last_one_who_waited_was_served(side: str) -> None:
    sender, receiver = channel[int](0)
    with sender, receiver:
        async with task_group() as tg:
            tg.create_task(receiver.receive() if side == "receiver" else sender.send(1))
            await settle()
            if side == "receiver":
                sender.send_nowait(1)
            else:
                receiver.receive_nowait()
            await in_another_loop(lambda: sends_to_itself(sender, receiver))


@rule("S1")
async def test_a_channel_at_which_somebody_waits_is_refused_in_another_loop() -> None:
    sender, receiver = channel[int](0)

    async def intrude() -> None:
        for call in (sender.send_nowait, sender.send):
            with pytest.raises(RuntimeError, match="not two at once"):
                result = call(1)
                if result is not None:
                    await result
        for end in (sender, receiver):
            with pytest.raises(RuntimeError, match="not two at once"):
                end.close()
        with pytest.raises(RuntimeError, match="not two at once"):
            await receiver.receive()

    async with task_group() as tg:
        with sender, receiver:
            task = tg.create_task(receiver.receive())
            await settle()
            await in_another_loop(intrude)
            await settle()
            assert not task.done()
            await sender.send(42)
            assert await task == 42
            await in_another_loop(lambda: sends_to_itself(sender, receiver))


async def sends_to_itself(sender: SendChannel[int], receiver: ReceiveChannel[int]) -> None:
    async with task_group() as tg:
        tg.create_task(sender.send(1))
        assert await receiver.receive() == 1


@rule("S1")
def test_items_in_the_buffer_go_from_one_loop_to_the_next(host: Host) -> None:
    sender, receiver = channel[int](2)

    async def send() -> None:
        await sender.send(1)

    async def receive() -> None:
        assert await receiver.receive() == 1

    with sender, receiver:
        sender.send_nowait(1)
        host.run(receive)
        host.run(send)
        host.run(receive)


@rule("S8", "D2")
def test_outside_of_any_loop_waiting_says_so(host: Host) -> None:
    sender, receiver = channel[int](0)
    with sender, receiver:
        for coro in (sender.send(1), receiver.receive()):
            with pytest.raises(NoAsyncContext):
                coro.send(None)
        with pytest.raises(WouldBlock):
            sender.send_nowait(1)


@rule("S8")
@pytest.mark.parametrize(
    ("capacity", "error", "said"),
    [
        (-1, ValueError, "at least 0, got -1"),
        (nan, TypeError, "got nan"),
        ("3", TypeError, "got '3'"),
        (1.5, TypeError, "got 1.5"),
        (True, TypeError, "got True"),
        (None, TypeError, "got None"),
    ],
)
def test_what_is_no_capacity_is_refused(capacity: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as refusal:
        channel(capacity)
    assert said in str(refusal.value)


# S5, S9


@rule("S4", "C4")
async def test_a_shield_around_receiving_keeps_the_item() -> None:
    sender, receiver = channel[int](0)
    log: list[int] = []

    async def receive() -> None:
        log.append(await shield(receiver.receive()))
        await sleep_forever()

    with sender, receiver:
        async with task_group() as tg:
            task = tg.create_task(receive())
            await settle()
            task.cancel()
            await sender.send(42)
    assert log == [42]


@rule("S9")
@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_a_deadlock_names_the_end_of_a_channel(end: str, host: Host) -> None:
    async def main() -> None:
        sender, receiver = channel[int](0)
        with sender, receiver:
            await (sender.send(1) if end == "sender" else receiver.receive())

    skip_if_deadlocks_are_not_named(host)
    with pytest.raises(Deadlock) as deadlock:
        host.run(main)
    name = "SendChannel" if end == "sender" else "ReceiveChannel"
    assert f"for <{name} [0 of 0 buffered]>" in str(deadlock.value)
