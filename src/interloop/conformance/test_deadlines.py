"""Chapter L: deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest

from interloop import (
    Deadline,
    Task,
    TaskGroup,
    checkpoint,
    current_deadline,
    current_time,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import compute

no_numbers: pytest.MarkDecorator = pytest.mark.parametrize(
    "value", ["5", True, object(), b"5", Decimal(5), 5j], ids=lambda value: type(value).__name__
)


# L1: on expiry the block is cancelled, and that cancellation becomes a TimeoutError


@rule("L1")
async def test_async_with_raises_timeout_error_on_expiry(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await sleep_forever()


@rule("L1")
async def test_plain_with_raises_timeout_error_on_expiry(tick: float) -> None:
    with pytest.raises(TimeoutError), deadline(tick):
        await sleep_forever()


@rule("L1")
async def test_async_with_suppress_just_leaves_the_block(tick: float) -> None:
    steps = []
    async with deadline(tick, suppress=True):
        await sleep_forever()
        steps.append("in the block")
    steps.append("after the block")
    assert steps == ["after the block"]


@rule("L1")
async def test_plain_with_suppress_just_leaves_the_block(tick: float) -> None:
    steps = []
    with deadline(tick, suppress=True):
        await sleep_forever()
        steps.append("in the block")
    steps.append("after the block")
    assert steps == ["after the block"]


@rule("L1")
async def test_entering_gives_the_deadline() -> None:
    limit = deadline(None)
    with limit as entered:
        assert entered is limit
    async_limit = deadline(None)
    async with async_limit as entered:
        assert entered is async_limit


@rule("L1")
async def test_the_block_sees_a_cancellation_and_not_a_timeout_error(tick: float) -> None:
    seen = []
    with deadline(tick, suppress=True):
        try:
            await sleep_forever()
        except BaseException as error:
            seen.append(type(error))
            raise
    assert seen == [get_cancelled_exc_class()]


@rule("L1")
async def test_a_cancellation_in_a_group_becomes_a_timeout_error(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            try:
                await sleep_forever()
            except get_cancelled_exc_class() as cancellation:
                raise BaseExceptionGroup("as except* makes it", [cancellation]) from None


@rule("L1")
async def test_the_time_is_the_one_that_was_set(tick: float) -> None:
    began = current_time()
    with deadline(3 * tick, suppress=True):
        await sleep_forever()
    assert current_time() - began > 2 * tick


@rule("L1")
async def test_a_block_that_ends_in_time_is_left_alone(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        await sleep(tick)
    assert not limit.expired()


@rule("L1")
@pytest.mark.parametrize("suppress", [False, True])
async def test_an_error_in_time_passes_as_it_is(tick: float, suppress: bool) -> None:
    error = OSError("no route")
    with pytest.raises(OSError, match="no route") as caught:
        async with deadline(1000 * tick, suppress=suppress):
            await sleep(tick)
            raise error
    assert caught.value is error


@rule("L1")
@pytest.mark.parametrize("suppress", [False, True])
async def test_a_timeout_error_of_the_block_itself_passes_as_it_is(tick: float, suppress: bool) -> None:
    error = TimeoutError("of a socket")
    with pytest.raises(TimeoutError) as caught:
        async with deadline(1000 * tick, suppress=suppress):
            raise error
    assert caught.value is error


@rule("L1")
async def test_suppress_lets_the_cancellation_of_an_outer_scope_pass() -> None:
    steps = []
    async with task_group() as tg:
        tg.cancel()
        with deadline(None, suppress=True):
            await sleep_forever()
        steps.append("not reached")
    assert steps == []


@rule("L1")
async def test_expiry_cancels_a_group_inside_and_all_its_children(tick: float) -> None:
    tasks: list[Task[None]] = []
    with pytest.raises(TimeoutError):
        async with deadline(tick), task_group() as tg:
            tasks += [tg.create_task(sleep_forever()) for _ in range(3)]
    assert [task.cancelled() for task in tasks] == [True, True, True]


@rule("L1")
@pytest.mark.parametrize("no_limit", [None, inf])
async def test_no_limit_never_expires(tick: float, no_limit: float | None) -> None:
    async with deadline(no_limit) as by_delay, deadline(at=no_limit) as by_time, deadline() as by_default:
        await sleep(10 * tick)
    assert [limit.when() for limit in (by_delay, by_time, by_default)] == [None, None, None]
    assert not any(limit.expired() for limit in (by_delay, by_time, by_default))


@rule("L1")
async def test_at_is_on_the_clock_of_current_time(tick: float) -> None:
    when = current_time() + 3 * tick
    async with deadline(at=when, suppress=True) as limit:
        await sleep_forever()
    assert limit.when() == when
    assert current_time() > when - tick


@rule("L1", only="trio")
async def test_on_trio_the_timeout_error_is_a_too_slow_error_too(tick: float) -> None:
    import trio

    with pytest.raises(trio.TooSlowError) as caught:
        async with deadline(tick):
            await sleep_forever()
    assert isinstance(caught.value, TimeoutError)


@rule("L1")
async def test_many_deadlines_expire_each_at_its_time(tick: float) -> None:
    expired = []

    async def wait(ticks: int) -> None:
        async with deadline(ticks * tick, suppress=True) as limit:
            await sleep_forever()
        assert limit.expired()
        expired.append(ticks)

    async with task_group() as tg:
        for ticks in [4, 1, 6, 3, 5, 2]:
            tg.create_task(wait(ticks))
    assert expired == [1, 2, 3, 4, 5, 6]


@rule("L1")
async def test_deadlines_that_were_left_in_any_order_leave_the_others_in_force(tick: float) -> None:
    expired = []

    async def leave_after(ticks: int, delay: int) -> None:
        async with deadline(delay * tick, suppress=True) as limit:
            await sleep(ticks * tick)
        if limit.expired():
            expired.append(delay)

    async with task_group() as tg:
        for number in range(300):
            tg.create_task(leave_after(ticks=1 + number % 3, delay=100 + number))
        for delay in [9, 5, 7]:
            tg.create_task(leave_after(ticks=50, delay=delay))
    assert expired == [5, 7, 9]


# L2: a block that ends, or fails with its own error, after expiry keeps its own outcome


@rule("L2")
@pytest.mark.parametrize("suppress", [False, True])
async def test_a_block_that_ends_after_expiry_has_ended(tick: float, suppress: bool) -> None:
    steps = []
    async with deadline(tick, suppress=suppress) as limit:
        await shield(sleep(3 * tick))
        steps.append("the end of the block")
    assert steps == ["the end of the block"]
    assert limit.expired()


@rule("L2")
async def test_a_function_that_returns_after_expiry_gives_its_value(tick: float) -> None:
    async def answer() -> int:
        async with deadline(tick):
            await shield(sleep(3 * tick))
            return 42

    assert await answer() == 42


@rule("L2")
async def test_a_block_that_catches_the_cancellation_and_ends_has_ended(tick: float) -> None:
    async with deadline(tick) as limit:
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            pass
    assert limit.expired()


@rule("L2")
async def test_a_block_that_computes_beyond_its_time_and_ends_has_ended(tick: float) -> None:
    steps = []
    async with deadline(tick):
        compute(2 * tick)
        steps.append("the end of the block")
    steps.append("after the block")
    assert steps == ["the end of the block", "after the block"]


@rule("L2")
@pytest.mark.parametrize("suppress", [False, True])
async def test_the_own_error_of_a_block_after_expiry_is_raised(tick: float, suppress: bool) -> None:
    error = OSError("while disconnecting")
    with pytest.raises(OSError, match="while disconnecting") as caught:
        async with deadline(tick, suppress=suppress):
            try:
                await sleep_forever()
            finally:
                raise error
    assert caught.value is error


@rule("L2")
async def test_a_timeout_error_that_the_block_raised_after_expiry_is_kept(
    tick: float,
) -> None:
    error = TimeoutError("of a socket")
    with pytest.raises(TimeoutError) as caught:
        async with deadline(tick):
            try:
                await sleep_forever()
            finally:
                raise error
    assert caught.value is error


@rule("L2", only="asyncio")
async def test_an_error_in_clean_up_after_expiry_shows_that_there_was_a_timeout(tick: float) -> None:
    with pytest.raises(OSError, match="while disconnecting") as caught:
        async with deadline(tick):
            try:
                await sleep_forever()
            finally:
                try:
                    raise KeyError("session")
                except KeyError:
                    raise OSError("while disconnecting")
    assert isinstance(caught.value.__context__, KeyError)
    timeout = caught.value.__context__.__context__
    assert isinstance(timeout, TimeoutError)
    assert isinstance(timeout.__cause__, asyncio.CancelledError)
    assert timeout.__context__ is timeout.__cause__


@rule("L2", only="asyncio")
async def test_a_cancellation_that_nobody_asked_for_is_no_timeout() -> None:
    with pytest.raises(asyncio.CancelledError):
        async with deadline(1000):
            raise asyncio.CancelledError


@rule("L2")
async def test_the_errors_of_a_group_in_the_block_are_raised_after_expiry(tick: float) -> None:
    async def disconnect() -> None:
        try:
            await sleep_forever()
        finally:
            raise OSError("while disconnecting")

    with pytest.raises(ExceptionGroup) as caught:
        async with deadline(tick), task_group() as tg:
            tg.create_task(disconnect())
            tg.create_task(sleep_forever())
    assert [type(error) for error in caught.value.exceptions] == [OSError]


@rule("L2")
@pytest.mark.parametrize("suppress", [False, True])
async def test_the_errors_beside_the_cancellation_of_a_handler_of_except_star_are_raised(
    tick: float, suppress: bool
) -> None:
    left = ExceptionGroup("two", [KeyError("left")])
    with pytest.raises(ExceptionGroup) as caught:
        async with deadline(tick, suppress=suppress):
            try:
                await sleep_forever()
            except get_cancelled_exc_class() as cancelled:
                # what `except*` raises; written out, since that of PyPy 3.11 fails if a handler is cancelled
                raise BaseExceptionGroup("", [cancelled, left]) from None
    assert caught.group_contains(KeyError, match="left")
    await checkpoint()


# L3: the outermost that has expired raises; an inner expiry never leaks into the outer block


@rule("L3")
async def test_an_inner_deadline_that_expires_first_raises_from_the_inner_block(tick: float) -> None:
    steps = []
    async with deadline(1000 * tick):
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await sleep_forever()
        steps.append("between")
        await sleep(tick)
    assert steps == ["between"]


@rule("L3")
async def test_an_outer_deadline_that_expires_first_raises_from_the_outer_block(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            try:
                async with deadline(1000 * tick):
                    await sleep_forever()
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_the_outer_expires_during_shielded_clean_up_after_the_inner(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            try:
                async with deadline(tick):
                    try:
                        await sleep_forever()
                    finally:
                        await shield(sleep(4 * tick))
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_the_inner_expires_during_shielded_clean_up_after_the_outer(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            try:
                async with deadline(2 * tick):
                    try:
                        await sleep_forever()
                    finally:
                        await shield(sleep(4 * tick))
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_of_two_deadlines_at_the_same_time_the_outer_raises(tick: float) -> None:
    caught = []
    when = current_time() + tick
    with pytest.raises(TimeoutError):
        async with deadline(at=when):
            try:
                async with deadline(at=when):
                    await sleep_forever()
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_of_two_deadlines_that_a_computation_ran_past_the_outer_raises(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            try:
                async with deadline(tick):
                    compute(3 * tick)
                    await checkpoint()
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_of_two_zero_deadlines_the_outer_raises() -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(0):
            try:
                async with deadline(0):
                    await checkpoint()
            except TimeoutError:
                caught.append("inner")
    assert caught == []


@rule("L3")
async def test_of_three_deadlines_the_middle_raises_when_the_two_inner_ones_have_expired(tick: float) -> None:
    caught = []
    async with deadline(1000 * tick):
        try:
            async with deadline(2 * tick):
                try:
                    async with deadline(tick):
                        try:
                            await sleep_forever()
                        finally:
                            await shield(sleep(4 * tick))
                except TimeoutError:
                    caught.append("inner")
        except TimeoutError:
            caught.append("middle")
        await sleep(tick)
    assert caught == ["middle"]


@rule("L3")
async def test_of_three_deadlines_the_outermost_expires_between_the_others(tick: float) -> None:
    caught = []
    try:
        async with deadline(2 * tick):
            try:
                async with deadline(3 * tick):
                    try:
                        async with deadline(tick):
                            try:
                                await sleep_forever()
                            finally:
                                await shield(sleep(5 * tick))
                    except TimeoutError:
                        caught.append("inner")
            except TimeoutError:
                caught.append("middle")
    except TimeoutError:
        caught.append("outer")
    assert caught == ["outer"]


@rule("L3")
async def test_an_inner_deadline_that_suppresses_does_not_swallow_the_outer(tick: float) -> None:
    steps = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            async with deadline(tick, suppress=True):
                try:
                    await sleep_forever()
                finally:
                    await shield(sleep(4 * tick))
            steps.append("between")
            await checkpoint()
    assert steps == []


@rule("L3")
async def test_an_outer_deadline_that_suppresses_lets_the_timeout_of_an_inner_pass(
    tick: float,
) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(1000 * tick, suppress=True):
            async with deadline(tick):
                await sleep_forever()


@rule("L3")
async def test_the_outer_raises_later_when_only_the_inner_has_expired_so_far(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(10**6 * tick) as outer:
            try:
                async with deadline(tick):
                    await sleep_forever()
            except TimeoutError:
                caught.append("inner")
            outer.reschedule(current_time() + tick)
            await sleep_forever()
    assert caught == ["inner"]


@rule("L3")
async def test_an_inner_deadline_expires_after_its_outer_one_was_moved_behind_it(tick: float) -> None:
    caught = []
    async with deadline(500 * tick) as outer:
        try:
            async with deadline(1000 * tick) as inner:
                outer.reschedule(None)
                inner.reschedule(current_time() + tick)
                await sleep_forever()
        except TimeoutError:
            caught.append("inner")
        await sleep(tick)
    assert caught == ["inner"]


@rule("L3")
async def test_an_inner_expiry_while_its_block_ends_does_not_leak_into_the_outer_block(tick: float) -> None:
    async with deadline(None):
        async with deadline(tick):
            await shield(sleep(3 * tick))
        await checkpoint()
        await sleep(tick)


@rule("L3")
async def test_an_inner_expiry_without_a_checkpoint_does_not_leak_into_the_outer_block(
    tick: float,
) -> None:
    async with deadline(None):
        async with deadline(tick):
            compute(3 * tick)
        await checkpoint()
        await sleep(tick)


@rule("L3")
async def test_an_inner_expiry_with_an_own_error_does_not_leak_into_the_outer_block(tick: float) -> None:
    async with deadline(None):
        with pytest.raises(OSError, match="while disconnecting"):
            async with deadline(tick):
                try:
                    await sleep_forever()
                finally:
                    raise OSError("while disconnecting")
        await checkpoint()
        await sleep(tick)


@rule("L3")
async def test_an_inner_expiry_does_not_leak_into_the_group_around_it(tick: float) -> None:
    async with task_group() as tg:
        sibling = tg.create_task(sleep(3 * tick))
        async with deadline(tick, suppress=True):
            await sleep_forever()
        await sleep(tick)
    assert not sibling.cancelled()


@rule("L3")
async def test_a_deadline_in_a_child_does_not_reach_its_siblings(tick: float) -> None:
    async def too_slow() -> None:
        async with deadline(tick, suppress=True):
            await sleep_forever()

    async with deadline(None), task_group() as tg:
        slow = tg.create_task(too_slow())
        sibling = tg.create_task(sleep(3 * tick))
    assert not slow.cancelled()
    assert not sibling.cancelled()


@rule("L3")
async def test_the_deadline_around_a_group_wins_over_one_in_its_child(tick: float) -> None:
    caught = []

    async def slow_to_stop() -> None:
        try:
            async with deadline(tick):
                try:
                    await sleep_forever()
                finally:
                    await shield(sleep(4 * tick))
        except TimeoutError:
            caught.append("child")

    with pytest.raises(TimeoutError):
        async with deadline(2 * tick), task_group() as tg:
            tg.create_task(slow_to_stop())
    assert caught == []


# L4: zero, negative and past times expire at the first checkpoint; bad arguments are refused


@rule("L4")
@pytest.mark.parametrize("delay", [0, 0.0, -0.0, -1, -1e9, -inf])
async def test_a_delay_of_zero_or_less_expires_at_the_first_checkpoint(delay: float) -> None:
    steps = []
    async with deadline(delay, suppress=True) as limit:
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")
    assert steps == ["before the checkpoint"]
    assert limit.expired()


@rule("L4")
@pytest.mark.parametrize("earlier", [0, 1, inf])
async def test_a_time_already_past_expires_at_the_first_checkpoint(earlier: float) -> None:
    steps = []
    async with deadline(at=current_time() - earlier, suppress=True) as limit:
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")
    assert steps == ["before the checkpoint"]
    assert limit.expired()


@rule("L4")
async def test_a_deadline_already_past_raises_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(0):
            await checkpoint()


async def _await_a_task(group: TaskGroup) -> None:
    await group.create_task(sleep_forever())


async def _leave_a_group(_: TaskGroup) -> None:
    async with task_group():
        pass


async def _leave_a_group_with_a_child(_: TaskGroup) -> None:
    async with task_group() as tg:
        tg.create_task(checkpoint())


CHECKPOINTS: dict[str, Callable[[TaskGroup], Awaitable[object]]] = {
    "checkpoint": lambda _: checkpoint(),
    "sleep-zero": lambda _: sleep(0),
    "sleep": lambda _: sleep(0.001),
    "sleep-until-the-past": lambda _: sleep_until(current_time() - 1),
    "sleep-forever": lambda _: sleep_forever(),
    "await-task": _await_a_task,
    "leave-group": _leave_a_group,
    "leave-group-with-child": _leave_a_group_with_a_child,
}


@rule("L4")
@pytest.mark.parametrize("reach_a_checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)
async def test_every_checkpoint_tells_of_a_zero_deadline(
    reach_a_checkpoint: Callable[[TaskGroup], Awaitable[object]],
) -> None:
    steps = []
    async with task_group() as tg:
        async with deadline(0, suppress=True):
            await reach_a_checkpoint(tg)
            steps.append("after the checkpoint")
        tg.cancel()
    assert steps == []


@rule("L4")
@pytest.mark.parametrize("reach_a_checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)
async def test_every_checkpoint_tells_of_a_deadline_that_a_computation_ran_past(
    tick: float, reach_a_checkpoint: Callable[[TaskGroup], Awaitable[object]]
) -> None:
    steps = []
    async with task_group() as tg:
        async with deadline(tick, suppress=True):
            compute(2 * tick)
            await reach_a_checkpoint(tg)
            steps.append("after the checkpoint")
        tg.cancel()
    assert steps == []


@rule("L4")
async def test_a_computation_in_a_child_runs_past_the_deadline_around_the_group(tick: float) -> None:
    steps = []

    async def child() -> None:
        await checkpoint()
        compute(2 * tick)
        await checkpoint()
        steps.append("after the checkpoint")

    with pytest.raises(TimeoutError):
        async with deadline(tick), task_group() as tg:
            tg.create_task(child())
    assert steps == []


@rule("L4")
async def test_a_zero_deadline_around_a_group_gives_its_children_one_step() -> None:
    steps = []

    async def child() -> None:
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")

    with pytest.raises(TimeoutError):
        async with deadline(0), task_group() as tg:
            tg.create_task(child())
    assert steps == ["before the checkpoint"]


@rule("L4")
async def test_a_block_without_a_checkpoint_ends_under_a_zero_deadline() -> None:
    async with deadline(0) as limit:
        pass
    assert limit.expired()
    await checkpoint()


@rule("L4")
@pytest.mark.parametrize("value", [nan, -nan])
async def test_nan_is_a_value_error_that_says_so(value: float) -> None:
    with pytest.raises(ValueError, match="NaN"):
        deadline(value)
    with pytest.raises(ValueError, match="NaN"):
        deadline(at=value)


@rule("L4")
@no_numbers
async def test_what_is_no_number_is_a_type_error_that_shows_it(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        deadline(value)
    assert "number of seconds" in str(caught.value)
    assert repr(value) in str(caught.value)
    with pytest.raises(TypeError) as caught:
        deadline(at=value)
    assert "number of seconds" in str(caught.value)
    assert repr(value) in str(caught.value)


@rule("L4")
async def test_both_delay_and_at_are_a_type_error_that_shows_both() -> None:
    with pytest.raises(TypeError) as caught:
        deadline(5, at=7)
    for part in ("delay", "at", "5", "7", "not both"):
        assert part in str(caught.value)


@rule("L4")
async def test_an_integer_is_a_number_of_seconds() -> None:
    async with deadline(10**6) as limit:
        when = limit.when()
    assert when is not None
    assert when - current_time() == pytest.approx(10**6, rel=0.01)


@rule("L4", "C4")
async def test_a_delay_that_no_clock_can_show_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        deadline(10**400)
    with pytest.raises(ValueError, match="too large"):
        deadline(at=10**400)
    with pytest.raises(ValueError, match="too large"):
        await shield(checkpoint(), timeout=10**400)


@rule("L4", "L7")
@pytest.mark.parametrize("delay", [0, -0.5])
async def test_without_time_left_the_block_is_cancelled_from_its_first_line(delay: float) -> None:
    with deadline(delay, suppress=True):
        assert current_deadline() == -inf
        await checkpoint()


# L5: reschedule moves a running deadline, later or earlier


@rule("L5")
async def test_reschedule_to_later_gives_the_block_more_time(tick: float) -> None:
    async with deadline(10 * tick) as limit:
        limit.reschedule(current_time() + 1000 * tick)
        await sleep(15 * tick)
    assert not limit.expired()


@rule("L5")
async def test_reschedule_to_earlier_gives_the_block_less_time(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(10**6 * tick) as limit:
            limit.reschedule(current_time() + tick)
            await sleep_forever()


@rule("L5")
@pytest.mark.parametrize("no_limit", [None, inf])
async def test_reschedule_to_no_limit(tick: float, no_limit: float | None) -> None:
    async with deadline(10 * tick) as limit:
        limit.reschedule(no_limit)
        assert limit.when() is None
        await sleep(15 * tick)
    assert not limit.expired()


@rule("L5")
async def test_reschedule_gives_a_limit_to_a_deadline_without_one(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline() as limit:
            limit.reschedule(current_time() + tick)
            await sleep_forever()


@rule("L5")
async def test_reschedule_later_and_then_earlier(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(10 * tick) as limit:
            limit.reschedule(current_time() + 10**6 * tick)
            await sleep(15 * tick)
            limit.reschedule(current_time() + tick)
            await sleep_forever()


@rule("L5")
@pytest.mark.parametrize("earlier", [0, 1, inf])
async def test_reschedule_into_the_past_expires_at_the_next_checkpoint(tick: float, earlier: float) -> None:
    steps = []
    async with deadline(1000 * tick, suppress=True) as limit:
        await sleep(tick)
        limit.reschedule(current_time() - earlier)
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")
    assert steps == ["before the checkpoint"]
    assert limit.expired()


@rule("L5", "L7")
async def test_current_deadline_tells_at_once_of_a_deadline_that_was_moved_into_the_past(tick: float) -> None:
    with deadline(5 * tick, suppress=True) as limit:
        limit.reschedule(current_time())
        assert current_deadline() == -inf


@rule("L5")
async def test_reschedule_from_a_child(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline() as limit, task_group() as tg:

            async def child() -> None:
                await sleep(tick)
                limit.reschedule(current_time())

            tg.create_task(child())
            await sleep_forever()


@rule("L5")
async def test_when_tells_the_new_time(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        when = current_time() + 2000 * tick
        limit.reschedule(when)
        assert limit.when() == when


@rule("L5")
async def test_reschedule_before_entry_is_refused() -> None:
    limit = deadline(5)
    with pytest.raises(RuntimeError, match="has not been entered"):
        limit.reschedule(current_time() + 5)
    assert limit.when() is None


@rule("L5")
async def test_reschedule_after_exit_is_refused(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        pass
    with pytest.raises(RuntimeError, match="finished"):
        limit.reschedule(current_time() + 5)


@rule("L5")
async def test_reschedule_after_expiry_is_refused_in_the_block(tick: float) -> None:
    async with deadline(tick, suppress=True) as limit:
        try:
            await sleep_forever()
        finally:
            with pytest.raises(RuntimeError, match="expir"):
                limit.reschedule(current_time() + 5)


@rule("L5")
async def test_reschedule_after_expiry_is_refused_after_the_block(tick: float) -> None:
    async with deadline(tick, suppress=True) as limit:
        await sleep_forever()
    with pytest.raises(RuntimeError, match="expired"):
        limit.reschedule(current_time() + 5)


@rule("L5")
async def test_reschedule_of_a_deadline_that_a_computation_ran_past_is_refused(tick: float) -> None:
    async with deadline(tick, suppress=True) as limit:
        compute(2 * tick)
        with pytest.raises(RuntimeError, match="expir"):
            limit.reschedule(current_time() + 1000 * tick)


@rule("L5")
async def test_reschedule_to_nan_is_a_value_error_and_changes_nothing(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        when = limit.when()
        with pytest.raises(ValueError, match="NaN"):
            limit.reschedule(nan)
        assert limit.when() == when


@rule("L5")
@no_numbers
async def test_reschedule_to_no_number_is_a_type_error_and_changes_nothing(tick: float, value: Any) -> None:
    async with deadline(1000 * tick) as limit:
        when = limit.when()
        with pytest.raises(TypeError) as caught:
            limit.reschedule(value)
        assert repr(value) in str(caught.value)
        assert limit.when() == when


@rule("L5")
async def test_moving_one_of_many_deadlines_moves_no_other(tick: float) -> None:
    expired = []

    async def wait(ticks: int, moved_to: int | None) -> None:
        began = current_time()
        async with deadline(ticks * tick, suppress=True) as limit:
            await sleep(tick)
            if moved_to is not None:
                limit.reschedule(began + moved_to * tick)
            await sleep_forever()
        expired.append(ticks)

    async with task_group() as tg:
        for ticks, moved_to in [(3, 9), (5, None), (20, 4), (7, None), (2, 8), (6, None)]:
            tg.create_task(wait(ticks, moved_to))
    assert expired == [20, 5, 6, 7, 2, 3]


# L6: a deadline is used once, and left in the task that entered it


@rule("L6", only="asyncio")
async def test_a_scope_is_entered_in_a_task_and_not_in_a_callback() -> None:
    limit = deadline(1)
    errors: list[Exception] = []

    def enter() -> None:
        try:
            limit.__enter__()
        except Exception as error:
            errors.append(error)

    asyncio.get_running_loop().call_soon(enter)
    await checkpoint()
    [error] = errors
    assert isinstance(error, RuntimeError)
    assert "must be used inside a task" in str(error)


@rule("L6")
async def test_entering_again_after_the_block_is_refused() -> None:
    limit = deadline(None)
    with limit:
        pass
    with pytest.raises(RuntimeError, match=r"already been entered.*make a new one"), limit:
        pytest.fail("entered twice")


@rule("L6")
async def test_entering_again_inside_the_block_is_refused_and_the_block_goes_on(tick: float) -> None:
    async with deadline(2 * tick, suppress=True) as limit:
        with pytest.raises(RuntimeError, match="already been entered"):
            async with limit:
                pytest.fail("entered twice")
        await sleep_forever()
    assert limit.expired()


@rule("L6")
async def test_leaving_in_another_task_is_an_error_that_names_both_tasks_and_the_cause(tick: float) -> None:
    messages: list[str] = []

    async def limited() -> AsyncGenerator[int, None]:
        async with deadline(None):
            yield 1

    async def opener() -> None:
        assert await anext(values) == 1
        await sleep_forever()

    async def closer() -> None:
        await sleep(tick)
        try:
            await values.aclose()
        except RuntimeError as error:
            messages.append(str(error))
        tg.cancel()

    values = limited()
    with suppress(ExceptionGroup):  # the opener ends with a scope of its own open
        async with task_group() as tg:
            tg.create_task(opener(), name="the-opener")
            tg.create_task(closer(), name="the-closer")
    [message] = messages
    for part in ("the-opener", "the-closer", "async generator", "exit stack"):
        assert part in message


@rule("L6")
async def test_leaving_before_an_inner_one_is_an_error_that_says_so() -> None:
    outer, inner = deadline(1000), deadline(2000)
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="reverse order"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    await checkpoint()
    assert current_deadline() == inf


@rule("L6")
async def test_a_deadline_left_before_an_inner_one_does_not_expire_later(tick: float) -> None:
    outer, inner = deadline(tick), deadline(None)
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="reverse order"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    await sleep(3 * tick)


@rule("L6")
async def test_leaving_before_a_group_inside_is_an_error_that_says_so() -> None:
    limit = deadline(None)
    limit.__enter__()
    async with task_group():
        with pytest.raises(RuntimeError, match="reverse order"):
            limit.__exit__(None, None, None)


# L7: current_deadline() sees the deadlines around the group that owns a task


@rule("L7")
async def test_without_a_deadline_the_current_one_is_infinite() -> None:
    assert current_deadline() == inf
    async with deadline(None), task_group():
        assert current_deadline() == inf


@rule("L7")
async def test_the_current_deadline_is_the_one_around_the_task(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        assert current_deadline() == limit.when()
    assert current_deadline() == inf


@rule("L7")
async def test_of_nested_deadlines_the_current_one_is_the_earliest(tick: float) -> None:
    async with deadline(2000 * tick) as outer:
        async with deadline(1000 * tick) as inner:
            assert current_deadline() == inner.when()
        async with deadline(3000 * tick):
            assert current_deadline() == outer.when()
        assert current_deadline() == outer.when()


@rule("L7")
async def test_the_current_deadline_moves_with_reschedule(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        when = current_time() + 500 * tick
        limit.reschedule(when)
        assert current_deadline() == when
        limit.reschedule(None)
        assert current_deadline() == inf


async def _current_deadline_after_a_checkpoint() -> float:
    await checkpoint()
    return current_deadline()


@rule("L7")
async def test_a_child_sees_the_deadline_around_its_group(tick: float) -> None:
    async with deadline(1000 * tick) as limit, task_group() as tg:
        task = tg.create_task(_current_deadline_after_a_checkpoint())
    assert task.result() == limit.when()


@rule("L7")
async def test_a_child_sees_it_in_its_first_step(tick: float) -> None:
    seen = []

    async def child() -> None:
        seen.append(current_deadline())

    async with deadline(1000 * tick) as limit, task_group() as tg:
        tg.create_task(child())
    assert seen == [limit.when()]


@rule("L7")
async def test_a_child_does_not_see_a_deadline_inside_the_group_around_its_creation(tick: float) -> None:
    async with deadline(2000 * tick) as around_group, task_group() as tg:
        async with deadline(1000 * tick):
            task = tg.create_task(_current_deadline_after_a_checkpoint())
            assert await task == around_group.when()


@rule("L7")
async def test_a_child_created_by_a_sibling_does_not_see_the_deadlines_of_the_sibling(tick: float) -> None:
    async with deadline(2000 * tick) as around_group, task_group() as tg:

        async def sibling() -> Task[float]:
            async with deadline(1000 * tick):
                return tg.create_task(_current_deadline_after_a_checkpoint())

        task = await tg.create_task(sibling())
    assert task.result() == around_group.when()


@rule("L7")
async def test_a_child_created_inside_an_inner_group_sees_what_is_around_its_own(
    tick: float,
) -> None:
    async with task_group() as outer, deadline(1000 * tick), task_group():
        task = outer.create_task(_current_deadline_after_a_checkpoint())
        assert await task == inf


@rule("L7")
async def test_a_child_created_inside_a_shield_sees_the_deadline_around_its_group(tick: float) -> None:
    async with deadline(1000 * tick) as limit, task_group() as tg:

        async def create() -> Task[float]:
            return tg.create_task(_current_deadline_after_a_checkpoint())

        task = await shield(create())
    assert task.result() == limit.when()


@rule("L7")
async def test_the_deadline_of_a_child_adds_to_those_around_its_group(tick: float) -> None:
    async def child() -> list[bool]:
        async with deadline(500 * tick) as own:
            earlier = current_deadline() == own.when()
        async with deadline(5000 * tick):
            later = current_deadline() == limit.when()
        return [earlier, later]

    async with deadline(1000 * tick) as limit, task_group() as tg:
        task = tg.create_task(child())
    assert task.result() == [True, True]


@rule("L7")
async def test_inside_a_shield_there_is_no_deadline(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        assert await shield(_current_deadline_after_a_checkpoint()) == inf
        assert current_deadline() == limit.when()


@rule("L7")
async def test_inside_a_shield_with_a_timeout_there_is_that(tick: float) -> None:
    before = current_time()
    async with deadline(10 * tick):
        seen = await shield(_current_deadline_after_a_checkpoint(), timeout=1000 * tick)
    assert before + 1000 * tick <= seen <= current_time() + 1000 * tick


@rule("L7")
async def test_after_expiry_the_current_deadline_is_past_everything(tick: float) -> None:
    seen = []
    async with deadline(tick, suppress=True):
        try:
            await sleep_forever()
        finally:
            seen.append(current_deadline())
            seen.append(await shield(_current_deadline_after_a_checkpoint()))
            seen.append(current_deadline())
    assert seen == [-inf, inf, -inf]
    assert current_deadline() == inf


@rule("L7")
async def test_in_a_cancelled_group_the_current_deadline_is_past_everything() -> None:
    seen = []
    async with task_group() as tg:
        tg.cancel()
        seen.append(current_deadline())
    assert seen == [-inf]
    assert current_deadline() == inf


@rule("L7")
async def test_in_a_cancelled_task_the_current_deadline_is_past_everything(tick: float) -> None:
    seen = []

    async def child() -> None:
        try:
            await sleep_forever()
        finally:
            seen.append(current_deadline())

    async with task_group() as tg:
        task = tg.create_task(child())
        await sleep(tick)
        task.cancel()
        seen.append(current_deadline())
    assert seen == [inf, -inf]


@rule("L7")
async def test_a_deadline_already_past_leaves_no_time_to_hand_on() -> None:
    async with deadline(-1):
        assert current_deadline() <= current_time()


# L8: expired() tells that the time came while the block ran, whatever the outcome


@rule("L8")
async def test_the_repr_of_a_deadline_shows_milliseconds() -> None:
    with deadline(at=1e9 + 0.23456) as limit:
        assert repr(limit) == "<Deadline [active] when=1000000000.235>"


@rule("L8")
async def test_not_expired_before_entry(tick: float) -> None:
    assert not deadline(1000 * tick).expired()
    assert not deadline(0).expired()
    assert not deadline(at=current_time() - 1).expired()


@rule("L8")
async def test_not_expired_while_there_is_time(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        assert not limit.expired()
    assert not limit.expired()


@rule("L8")
async def test_not_expired_when_the_time_comes_after_the_block(tick: float) -> None:
    async with deadline(10 * tick) as limit:
        pass
    await sleep(15 * tick)
    assert not limit.expired()


@rule("L8")
async def test_not_expired_after_an_error_in_time(tick: float) -> None:
    limit = deadline(1000 * tick)
    with pytest.raises(OSError, match="no route"):
        async with limit:
            raise OSError("no route")
    assert not limit.expired()


@rule("L8")
async def test_not_expired_when_an_outer_cancellation_came_in_time(tick: float) -> None:
    async with task_group() as tg:
        tg.cancel()
        limit = deadline(1000 * tick)
        async with limit:
            await sleep_forever()
    assert not limit.expired()


@rule("L8", "L5")
async def test_not_expired_after_it_was_moved_with_another_open_and_left_in_time(tick: float) -> None:
    with deadline(10 * tick) as outer:
        with deadline(20 * tick):
            outer.reschedule(current_time() + 12 * tick)
    await sleep(15 * tick)
    assert not outer.expired()


@rule("L8")
async def test_expired_at_its_very_time(tick: float) -> None:
    def compute_until(when: float | None) -> None:
        assert when is not None
        compute(tick)
        while current_time() < when:  # uvloop counts milliseconds, so they do not add up to the last bit
            compute(tick / 100)

    async with deadline(tick) as limit:
        compute_until(limit.when())
    assert limit.expired()
    async with deadline(tick, suppress=True) as limit:
        compute_until(limit.when())
        assert limit.expired()
        await checkpoint()


@rule("L8")
async def test_expired_after_a_timeout_error(tick: float) -> None:
    limit = deadline(tick)
    with pytest.raises(TimeoutError):
        async with limit:
            await sleep_forever()
    assert limit.expired()


@rule("L8")
async def test_expired_after_a_timeout_that_was_suppressed(tick: float) -> None:
    async with deadline(tick, suppress=True) as limit:
        await sleep_forever()
    assert limit.expired()


@rule("L8")
async def test_expired_already_in_the_clean_up_of_the_block(tick: float) -> None:
    seen = []
    async with deadline(tick, suppress=True) as limit:
        try:
            await sleep_forever()
        finally:
            seen.append(limit.expired())
    assert seen == [True]


@rule("L8")
async def test_expired_when_the_block_ended_by_itself(tick: float) -> None:
    async with deadline(tick) as limit:
        await shield(sleep(3 * tick))
    assert limit.expired()


@rule("L8")
async def test_expired_as_soon_as_a_computation_has_run_past_the_time(tick: float) -> None:
    async with deadline(tick) as limit:
        compute(2 * tick)
        assert limit.expired()


@rule("L8")
async def test_expired_when_the_block_ended_without_a_checkpoint_after_the_time(tick: float) -> None:
    async with deadline(tick) as limit:
        compute(2 * tick)
    assert limit.expired()


@rule("L8")
async def test_expired_when_the_block_failed_with_its_own_error_after_the_time(tick: float) -> None:
    limit = deadline(tick)
    with pytest.raises(OSError, match="while disconnecting"):
        async with limit:
            try:
                await sleep_forever()
            finally:
                raise OSError("while disconnecting")
    assert limit.expired()


@rule("L8")
async def test_expired_when_an_outer_cancellation_won(tick: float) -> None:
    inner = deadline(2 * tick)
    with pytest.raises(TimeoutError):
        async with deadline(tick), inner:
            try:
                await sleep_forever()
            finally:
                await shield(sleep(4 * tick))
    assert inner.expired()


@rule("L8")
async def test_expired_when_the_time_came_in_a_group_that_was_cancelled_before(tick: float) -> None:
    async with task_group() as tg:
        tg.cancel()
        limit = deadline(tick)
        async with limit:
            await shield(sleep(3 * tick))
    assert limit.expired()


@rule("L8")
async def test_expired_when_it_was_moved_into_the_past(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        limit.reschedule(current_time() - tick)
        assert limit.expired()
    assert limit.expired()


@rule("L8")
async def test_the_repr_of_a_deadline_tells_whether_it_expired() -> None:
    limit = deadline(at=current_time() - 5, suppress=True)
    reprs = [repr(limit)]
    async with limit:
        assert limit.expired()
        reprs.append(repr(limit))
        await sleep_forever()
    reprs.append(repr(limit))
    other = deadline(None)
    with other:
        reprs.append(repr(other))
    reprs.append(repr(other))
    assert reprs == [
        "<Deadline [created]>",
        f"<Deadline [expiring] when={round(limit.when() or 0, 3)}>",
        "<Deadline [expired]>",
        "<Deadline [active] when=None>",
        "<Deadline [finished]>",
    ]


# L9: delay counts from entry


@rule("L9")
async def test_a_delay_has_no_time_before_entry(tick: float) -> None:
    assert deadline(1000 * tick).when() is None


@rule("L9")
async def test_when_is_the_delay_after_entry(tick: float) -> None:
    limit = deadline(1000 * tick)
    await sleep(3 * tick)
    before = current_time()
    async with limit:
        after = current_time()
        when = limit.when()
    assert when is not None
    assert before + 1000 * tick <= when <= after + 1000 * tick


@rule("L9")
async def test_a_zero_delay_does_not_expire_before_entry() -> None:
    limit = deadline(0)
    await checkpoint()
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with limit:
            await checkpoint()


@rule("L9")
async def test_a_time_is_known_before_entry(tick: float) -> None:
    when = current_time() + 1000 * tick
    assert deadline(at=when).when() == when


@rule("L9")
async def test_a_time_that_passed_before_entry_expires_at_the_first_checkpoint(tick: float) -> None:
    limit = deadline(at=current_time() + tick)
    await sleep(3 * tick)
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with limit:
            await checkpoint()


@rule("L9")
async def test_a_deadline_made_by_another_task_counts_from_entry(tick: float) -> None:
    async def worker(limit: Deadline) -> None:
        await sleep(3 * tick)
        before = current_time()
        async with limit:
            assert current_deadline() >= before + 1000 * tick

    async with task_group() as tg:
        tg.create_task(worker(deadline(1000 * tick)))
