"""Chapter C: cancellation."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import product
from math import inf, nan
from typing import Any, TypeAlias

import pytest

from interloop import (
    Task,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    gather,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Enclosing,
    clean_up,
    compute,
    fail,
    fail_when_cancelled,
    in_deadline,
    in_every_scope,
    in_group,
    in_native_task,
    in_native_timeout,
    in_outer_group,
    in_task,
    note_the_end,
)
from interloop.conformance.test_groups import Payload, count

in_every_own_scope: pytest.MarkDecorator = pytest.mark.parametrize(
    "enclosing", [in_deadline, in_group, in_outer_group, in_task], ids=lambda scope: scope.__name__
)


async def return_after(seconds: float, value: str) -> str:
    await sleep(seconds)
    return value


async def note_after(seconds: float, log: list[str], note: str) -> None:
    await sleep(seconds)
    log.append(note)


# C1: a cancellation arrives at a checkpoint, at least once; code lets it pass


@rule("C1")
@in_every_scope
async def test_a_cancellation_arrives_where_the_task_waits(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []
    await enclosing(tick, lambda: note_the_end(log))
    assert log == ["child"]


@rule("C1")
async def test_code_without_a_checkpoint_is_not_interrupted() -> None:
    steps = []
    async with task_group() as tg:
        tg.cancel()
        steps += [1, 2, 3]
        await checkpoint()
        steps.append(4)
    assert steps == [1, 2, 3]


@rule("C1")
async def test_what_was_cancelled_while_it_computed_is_told_at_the_next_checkpoint(tick: float) -> None:
    steps = []
    async with deadline(tick, suppress=True):
        compute(2 * tick)
        steps.append("computed")
        await checkpoint()
        steps.append("after the checkpoint")
    assert steps == ["computed"]


@rule("C1")
@in_every_scope
async def test_a_cancellation_is_the_exception_of_the_host(enclosing: Enclosing, tick: float) -> None:
    seen = []

    async def look() -> None:
        try:
            await sleep_forever()
        except BaseException as error:
            seen.append(isinstance(error, get_cancelled_exc_class()))
            raise

    await enclosing(tick, look)
    assert seen == [True]


@rule("C1")
async def test_a_cancellation_is_no_ordinary_exception() -> None:
    assert not issubclass(get_cancelled_exc_class(), Exception)


@rule("C1")
@in_every_scope
async def test_clean_up_inside_shield_is_done_whole(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []
    await enclosing(tick, lambda: clean_up(2 * tick, log))
    assert log == ["child"]


@rule("C1")
@in_every_scope
async def test_a_child_that_waits_for_another_is_reached(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def wait_for_the_other() -> None:
        async with task_group() as tg:
            other = tg.create_task(sleep_forever())
            try:
                await other
            finally:
                log.append("waiter")

    await enclosing(tick, wait_for_the_other)
    assert log == ["waiter"]


# C2: leaving a scope leaves no cancellation behind

Way: TypeAlias = Callable[[float], Coroutine[Any, Any, None]]
WAYS_OF_LEAVING: list[Way] = []


def way_of_leaving(way: Way) -> Way:
    WAYS_OF_LEAVING.append(way)
    return way


@way_of_leaving
async def the_body_ends(tick: float) -> None:
    async with deadline(1000 * tick), task_group() as tg:
        tg.create_task(checkpoint())


@way_of_leaving
async def the_body_fails(_: float) -> None:
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(sleep_forever())
            await checkpoint()
            raise OSError("no route")


@way_of_leaving
async def a_child_fails(_: float) -> None:
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(fail(OSError("no route")))
            await sleep_forever()


@way_of_leaving
async def a_child_fails_while_the_body_ends(tick: float) -> None:
    async def fail_later() -> None:
        await sleep(tick)
        raise OSError("no route")

    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(fail_later())
            await sleep(tick)


@way_of_leaving
async def the_body_cancels_and_waits(_: float) -> None:
    async with task_group() as tg:
        tg.cancel()
        await sleep_forever()


@way_of_leaving
async def the_body_cancels_and_ends(_: float) -> None:
    async with task_group() as tg:
        tg.cancel()


@way_of_leaving
async def the_body_cancels_and_ends_while_a_child_runs(_: float) -> None:
    async with task_group() as tg:
        tg.create_task(sleep_forever())
        await checkpoint()
        tg.cancel()


@way_of_leaving
async def the_body_cancels_and_fails(_: float) -> None:
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.cancel()
            raise OSError("no route")


@way_of_leaving
async def the_body_cancels_and_catches_it(_: float) -> None:
    async with task_group() as tg:
        tg.cancel()
        with suppress(get_cancelled_exc_class()):
            await checkpoint()


@way_of_leaving
async def cancelled_before_entry(_: float) -> None:
    tg = task_group()
    tg.cancel()
    async with tg:
        pass


@way_of_leaving
async def a_child_cancels_the_group(_: float) -> None:
    async with task_group() as tg:

        async def child() -> None:
            await checkpoint()
            tg.cancel()

        tg.create_task(child())
        await sleep_forever()


@way_of_leaving
async def a_child_cancels_the_group_while_the_body_ends(tick: float) -> None:
    async with task_group() as tg:

        async def child() -> None:
            await sleep(tick)
            tg.cancel()

        tg.create_task(child())
        await sleep(tick)


@way_of_leaving
async def a_child_cancels_the_group_while_it_waits_for_it(tick: float) -> None:
    async with task_group() as tg:

        async def child() -> None:
            await sleep(tick)
            tg.cancel()

        tg.create_task(child())


@way_of_leaving
async def a_child_is_cancelled(tick: float) -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        await sleep(tick)
        task.cancel()


@way_of_leaving
async def the_time_comes(tick: float) -> None:
    with suppress(TimeoutError):
        async with deadline(tick):
            await sleep_forever()


@way_of_leaving
async def the_time_comes_and_is_suppressed(tick: float) -> None:
    with deadline(tick, suppress=True):
        await sleep_forever()


@way_of_leaving
async def the_time_comes_while_the_block_ends(tick: float) -> None:
    with suppress(TimeoutError):
        async with deadline(tick):
            await sleep(tick)


@way_of_leaving
async def the_time_has_come_at_entry(_: float) -> None:
    async with deadline(0):
        pass


@way_of_leaving
async def the_time_has_come_at_entry_and_the_block_fails(_: float) -> None:
    with suppress(OSError):
        async with deadline(0):
            raise OSError("no route")


@way_of_leaving
async def the_time_comes_while_the_block_computes(tick: float) -> None:
    async with deadline(tick):
        compute(2 * tick)


@way_of_leaving
async def the_time_comes_while_the_block_computes_and_it_asks(tick: float) -> None:
    async with deadline(tick) as limit:
        compute(2 * tick)
        limit.expired()


@way_of_leaving
async def the_time_is_moved_into_the_past(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        limit.reschedule(current_time() - tick)


@way_of_leaving
async def the_time_comes_and_the_block_catches_it(tick: float) -> None:
    async with deadline(tick):
        with suppress(get_cancelled_exc_class()):
            await sleep_forever()


@way_of_leaving
async def the_time_comes_and_the_block_fails(tick: float) -> None:
    with suppress(OSError):
        async with deadline(tick):
            await fail_when_cancelled(OSError("while disconnecting"))


@way_of_leaving
async def the_time_comes_in_a_shield(tick: float) -> None:
    async with deadline(tick):
        await shield(sleep(2 * tick))


@way_of_leaving
async def the_time_comes_in_the_second_of_two_shields(tick: float) -> None:
    async with deadline(2 * tick):
        await shield(sleep(tick))
        await shield(sleep(3 * tick))


@way_of_leaving
async def the_time_comes_in_the_first_of_two_shields(tick: float) -> None:
    async with deadline(tick):
        await shield(sleep(3 * tick))
        await shield(sleep(tick))


@way_of_leaving
async def the_time_of_a_shield_comes(tick: float) -> None:
    with suppress(TimeoutError):
        await shield(sleep_forever(), timeout=tick)


@way_of_leaving
async def the_time_comes_in_a_shield_that_fails(tick: float) -> None:
    async def fail_later() -> None:
        await sleep(3 * tick)
        raise OSError("no route")

    with suppress(OSError):
        async with deadline(tick):
            await shield(fail_later())


@way_of_leaving
async def the_group_is_cancelled_from_inside_a_shield(_: float) -> None:
    async with task_group() as tg:

        async def stop() -> None:
            tg.cancel()

        await shield(stop())


@way_of_leaving
async def errors_of_a_group_win_over_the_time(tick: float) -> None:
    with suppress(ExceptionGroup):
        async with deadline(tick), task_group() as tg:
            tg.create_task(fail_when_cancelled(OSError("while disconnecting")))


@way_of_leaving
async def errors_of_a_group_win_over_the_time_and_are_handled_in_the_block(tick: float) -> None:
    async with deadline(tick):
        with suppress(ExceptionGroup):
            async with task_group() as tg:
                tg.create_task(fail_when_cancelled(OSError("while disconnecting")))


@way_of_leaving
async def errors_of_the_body_of_a_group_win_over_the_time(tick: float) -> None:
    with suppress(ExceptionGroup):
        async with deadline(tick), task_group():
            await fail_when_cancelled(OSError("while disconnecting"))


@way_of_leaving
async def errors_of_a_group_win_over_the_cancellation_of_an_outer_group(tick: float) -> None:
    async with task_group() as outer:

        async def stop() -> None:
            await sleep(tick)
            outer.cancel()

        outer.create_task(stop())
        with suppress(ExceptionGroup):
            async with task_group() as inner:
                inner.create_task(fail_when_cancelled(OSError("while disconnecting")))


@way_of_leaving
async def the_outer_of_two_groups_is_cancelled_and_both_end(_: float) -> None:
    async with task_group() as outer, task_group():
        outer.cancel()


@way_of_leaving
async def the_inner_of_two_groups_is_cancelled_and_both_end(_: float) -> None:
    async with task_group(), task_group() as inner:
        inner.cancel()


@way_of_leaving
async def both_groups_are_cancelled_inner_first_and_both_end(_: float) -> None:
    async with task_group() as outer, task_group() as inner:
        inner.cancel()
        outer.cancel()


@way_of_leaving
async def both_groups_are_cancelled_outer_first_and_both_wait(_: float) -> None:
    async with task_group() as outer, task_group() as inner:
        outer.cancel()
        inner.cancel()
        await sleep_forever()


@way_of_leaving
async def the_times_of_both_deadlines_come_in_clean_up(tick: float) -> None:
    with suppress(TimeoutError):
        async with deadline(2 * tick), deadline(tick):
            await clean_up(3 * tick, [])


@way_of_leaving
async def the_times_of_both_deadlines_have_come_at_entry(_: float) -> None:
    async with deadline(0), deadline(0):
        pass


@way_of_leaving
async def the_times_of_both_deadlines_come_while_the_block_computes(tick: float) -> None:
    async with deadline(tick), deadline(tick):
        compute(2 * tick)


@way_of_leaving
async def the_time_of_the_inner_deadline_comes_and_the_outer_one_is_left_at_once(tick: float) -> None:
    async with deadline(1000 * tick), deadline(tick, suppress=True):
        await sleep_forever()


@way_of_leaving
async def the_block_is_left_by_return(_: float) -> None:
    async with task_group() as tg:
        tg.cancel()
        return


@way_of_leaving
async def the_block_is_left_by_break(_: float) -> None:
    while True:
        with deadline(0):
            break


in_every_way: pytest.MarkDecorator = pytest.mark.parametrize(
    "leave", WAYS_OF_LEAVING, ids=lambda way: way.__name__
)


async def wait_in_all_manners(tick: float) -> None:
    for _ in range(5):
        await checkpoint()
    await sleep(tick)
    async with task_group() as tg:
        assert await tg.create_task(return_after(tick, "result")) == "result"


@rule("C2")
@in_every_way
async def test_after_a_scope_nothing_is_cancelled(leave: Way, tick: float) -> None:
    await leave(tick)
    await wait_in_all_manners(tick)


@rule("C2")
@in_every_way
async def test_after_a_scope_nothing_in_the_scopes_around_it_is_cancelled(leave: Way, tick: float) -> None:
    steps = []
    async with deadline(None), task_group() as tg, deadline(None):
        sibling = tg.create_task(wait_in_all_manners(tick))
        await leave(tick)
        await wait_in_all_manners(tick)
        steps.append("the end of the block")
    assert steps == ["the end of the block"]
    assert not sibling.cancelled()


@rule("C2")
@in_every_way
async def test_after_a_scope_in_a_child_nothing_is_cancelled(leave: Way, tick: float) -> None:
    async def child() -> str:
        await leave(tick)
        await wait_in_all_manners(tick)
        return "the end of the child"

    async with task_group() as tg:
        task = tg.create_task(child())
    assert task.result() == "the end of the child"


@rule("C2")
@in_every_way
async def test_after_a_scope_its_deadline_is_in_force_no_more(leave: Way, tick: float) -> None:
    await leave(tick)
    assert current_deadline() == inf


@rule("C2")
@in_every_way
async def test_after_a_scope_the_one_around_it_still_ends_the_block(leave: Way, tick: float) -> None:
    steps = []
    async with task_group() as tg:
        await leave(tick)
        tg.cancel()
        await checkpoint()
        steps.append("after the checkpoint")
    assert steps == []


@rule("C2", only="asyncio")
@in_every_way
async def test_cancelling_is_zero_after_a_scope(leave: Way, tick: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    await leave(tick)
    assert task.cancelling() == 0


@rule("C2", only="asyncio")
@in_every_way
async def test_cancelling_is_what_it_was_at_entry_if_a_request_was_open(leave: Way, tick: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await checkpoint()
    assert task.cancelling() == 1
    await leave(tick)
    assert task.cancelling() == 1
    await wait_in_all_manners(tick)
    task.uncancel()


@rule("C2", only="asyncio")
async def test_cancelling_of_a_child_is_zero_after_a_scope_in_it(tick: float) -> None:
    seen = []

    async def child() -> None:
        task = asyncio.current_task()
        assert task is not None
        for leave in WAYS_OF_LEAVING:
            await leave(tick)
            seen.append(task.cancelling())

    async with task_group() as tg:
        tg.create_task(child())
    assert seen == [0] * len(WAYS_OF_LEAVING)


@rule("C2", only="asyncio")
@in_every_own_scope
async def test_cancelling_is_zero_after_every_scope_that_was_cancelled(
    enclosing: Enclosing, tick: float
) -> None:
    task = asyncio.current_task()
    assert task is not None
    await enclosing(tick, sleep_forever)
    assert task.cancelling() == 0


@rule("C2", only="asyncio")
async def test_a_request_by_others_stays_when_the_scope_has_its_own(tick: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        async with task_group() as tg:
            tg.cancel()
            task.cancel()
            await sleep_forever()
    assert task.cancelling() == 1
    task.uncancel()
    await wait_in_all_manners(tick)


@rule("C1", only="asyncio")
async def test_a_shield_in_clean_up_repeats_no_cancellation_that_came_before_it(tick: float) -> None:
    log: list[str] = []
    with deadline(tick, suppress=True):
        try:
            await sleep_forever()
        finally:
            await shield(sleep(tick))
            await checkpoint()
            log.append("went on")
    assert log == ["went on"]


# C3: while a cancelled scope waits for clean-up the loop is idle


@contextmanager
def counting_turns() -> Generator[list[str], None, None]:
    """Note what keeps the loop turning: on trio its iterations, on asyncio what is scheduled."""
    turns: list[str] = []
    if current_backend() == "trio":
        import trio

        class Counter(trio.abc.Instrument):
            def before_io_wait(self, timeout: float) -> None:
                turns.append("iteration")

        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        yield turns
        trio.lowlevel.remove_instrument(counter)
        return

    loop = asyncio.get_running_loop()

    def counting(name: str) -> Callable[..., object]:
        schedule = getattr(loop, name)

        def count(*args: Any, **kwargs: Any) -> object:
            turns.append(name)
            assert len(turns) < 1000, "the loop spins"
            return schedule(*args, **kwargs)

        return count

    names = ("call_soon", "call_later", "call_at")
    for name in names:
        setattr(loop, name, counting(name))
    yield turns
    for name in names:
        delattr(loop, name)


@rule("C3")
@in_every_scope
async def test_the_loop_is_idle_while_the_body_cleans_up(enclosing: Enclosing, tick: float) -> None:
    with counting_turns() as turns:
        await enclosing(tick, lambda: clean_up(20 * tick, []))
    assert len(turns) < 50


@rule("C3")
@in_every_scope
async def test_the_loop_is_idle_while_a_child_cleans_up(enclosing: Enclosing, tick: float) -> None:
    async def slow_child() -> None:
        async with task_group() as tg:
            tg.create_task(clean_up(20 * tick, []))

    with counting_turns() as turns:
        await enclosing(tick, slow_child)
    assert len(turns) < 50


@rule("C3")
@in_every_scope
async def test_the_loop_is_idle_while_a_child_absorbs_the_cancellation(
    enclosing: Enclosing, tick: float
) -> None:
    async def absorb() -> None:
        with suppress(get_cancelled_exc_class()):
            await sleep_forever()
        await shield(sleep(20 * tick))

    async def slow_child() -> None:
        async with task_group() as tg:
            tg.create_task(absorb())
            await sleep_forever()

    with counting_turns() as turns:
        await enclosing(tick, slow_child)
    assert len(turns) < 50


@rule("C3")
async def test_the_loop_is_idle_while_a_sibling_of_a_failed_child_cleans_up(tick: float) -> None:
    with counting_turns() as turns, pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(clean_up(20 * tick, []))
            await sleep(tick)
            tg.create_task(fail(OSError("no route")))
    assert len(turns) < 50


@rule("C3")
async def test_the_loop_is_idle_while_a_group_born_cancelled_waits(tick: float) -> None:
    with counting_turns() as turns:
        async with task_group() as outer:
            outer.cancel()
            async with task_group() as tg:
                tg.create_task(clean_up(20 * tick, []))
    assert len(turns) < 50


async def clean_up_in_a_child(seconds: float) -> None:
    async with task_group() as tg:
        tg.create_task(clean_up(seconds, []))


async def clean_up_in_the_body_of_a_group(seconds: float) -> None:
    async with task_group():
        await clean_up(seconds, [])


async def clean_up_in_a_pattern(seconds: float) -> None:
    await gather(clean_up(seconds, []), clean_up(seconds, []))


@rule("C3", "N5")
@pytest.mark.parametrize(
    "wait", [clean_up_in_a_child, clean_up_in_the_body_of_a_group, clean_up_in_a_pattern]
)
@pytest.mark.parametrize("around", ["scope", "child"])
async def test_the_loop_is_idle_while_a_scope_of_anyio_that_is_cancelled_waits_for_ours(
    around: str, wait: Callable[[float], Coroutine[Any, Any, None]], tick: float
) -> None:
    import anyio

    async def cancel(scope: anyio.CancelScope) -> None:
        await sleep(tick)
        scope.cancel()

    with counting_turns() as turns:
        async with task_group() as outer:
            with anyio.CancelScope() as scope:
                outer.create_task(cancel(scope))  # anyio's timers spin where the clock is coarse
                if around == "scope":
                    await wait(20 * tick)
                else:
                    async with anyio.create_task_group() as tg:
                        tg.start_soon(wait, 20 * tick)
    assert scope.cancelled_caught
    assert len(turns) < 60


# C4: shield completes its coroutine; the cancellation is delivered after it


@rule("C4", "C5", only="asyncio")
async def test_a_shield_holds_when_all_tasks_are_cancelled_as_at_the_end_of_asyncio_run(tick: float) -> None:
    log: list[str] = []
    before = asyncio.all_tasks()

    async def commit() -> None:
        await sleep(2 * tick)
        log.append("committed")

    async with task_group() as tg:
        task = tg.create_task(shield(commit()))
        await sleep(tick)
        for each in asyncio.all_tasks() - before:
            each.cancel()
    assert log == ["committed"]
    assert task.done()


@rule("C4")
async def test_shield_gives_the_result(tick: float) -> None:
    assert await shield(return_after(tick, "result")) == "result"


@rule("C4")
async def test_shield_gives_a_result_that_needs_no_waiting() -> None:
    async def answer() -> int:
        return 42

    assert await shield(answer()) == 42


@rule("C4")
async def test_shield_raises_the_error(tick: float) -> None:
    error = OSError("no route")
    with pytest.raises(OSError, match="no route") as caught:
        await shield(fail(error))
    assert caught.value is error


@rule("C4")
@in_every_scope
async def test_shield_completes_whatever_cancels_the_caller(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        log.append(await shield(return_after(3 * tick, "committed")))

    await enclosing(tick, commit)
    assert log == ["committed"]


@rule("C4")
@in_every_scope
async def test_the_cancellation_arrives_at_the_next_checkpoint(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(sleep(3 * tick))
        log.append("code after the shield")
        await checkpoint()
        log.append("code after the checkpoint")

    await enclosing(tick, commit)
    assert log == ["code after the shield"]


@rule("C4")
@in_every_scope
async def test_the_cancellation_arrives_where_the_task_waits_next(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(sleep(3 * tick))
        await note_the_end(log)

    await enclosing(tick, commit)
    assert log == ["child"]


@rule("C4")
@in_every_scope
async def test_the_cancellation_arrives_on_leaving_a_group_next(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        async with task_group():
            await shield(sleep(3 * tick))
        log.append("after the group")

    await enclosing(tick, commit)
    assert log == []


@rule("C4")
@in_every_scope
async def test_shields_in_a_row_all_run(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def close() -> None:
        await shield(note_after(2 * tick, log, "cursor"))
        await shield(note_after(2 * tick, log, "connection"))
        await shield(note_after(2 * tick, log, "pool"))
        await checkpoint()
        log.append("after the checkpoint")

    await enclosing(tick, close)
    assert log == ["cursor", "connection", "pool"]


@rule("C4")
@in_every_scope
async def test_shields_in_a_row_all_run_in_clean_up(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def close() -> None:
        try:
            await sleep_forever()
        finally:
            await shield(note_after(2 * tick, log, "cursor"))
            await shield(note_after(2 * tick, log, "connection"))
            await shield(note_after(2 * tick, log, "pool"))

    await enclosing(tick, close)
    assert log == ["cursor", "connection", "pool"]


@rule("C4")
@in_every_scope
async def test_a_shield_with_nothing_to_wait_for_keeps_the_cancellation(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def close() -> None:
        await shield(sleep(3 * tick))
        for _ in range(3):
            await shield(fail_quietly())
        await checkpoint()
        log.append("after the checkpoint")

    async def fail_quietly() -> None:
        pass

    await enclosing(tick, close)
    assert log == []


@rule("C4")
async def test_shield_begins_in_a_scope_that_is_already_cancelled(tick: float) -> None:
    log = []
    async with task_group() as tg:
        tg.cancel()
        log.append(await shield(return_after(tick, "committed")))
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["committed"]


@rule("C4")
async def test_an_error_out_of_a_shield_does_not_lose_the_cancellation(tick: float) -> None:
    log = []

    async def fail_later() -> None:
        await sleep(3 * tick)
        raise OSError("no route")

    async with deadline(tick, suppress=True):
        with suppress(OSError):
            await shield(fail_later())
        log.append("handled")
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["handled"]


@rule("C4", "C2")
async def test_the_cancellation_is_withdrawn_if_its_scope_is_left(tick: float) -> None:
    async with deadline(tick):
        await shield(sleep(3 * tick))
    await checkpoint()
    await sleep(tick)


@rule("C4", "C2")
async def test_it_is_withdrawn_if_its_scope_is_left_inside_another_one(tick: float) -> None:
    async with deadline(1000 * tick):
        async with deadline(tick):
            await shield(sleep(3 * tick))
        await checkpoint()
        await sleep(tick)


@rule("C4", "C2")
async def test_it_is_withdrawn_if_its_scope_is_left_inside_the_shield(tick: float) -> None:
    async def inside() -> None:
        async with deadline(tick):
            await shield(sleep(3 * tick))
        await checkpoint()

    await shield(inside())
    await checkpoint()


@rule("C4", "C5")
@in_every_scope
async def test_the_outer_one_of_two_is_delivered_after_the_inner_scope_is_left(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def inside() -> None:
        with deadline(tick, suppress=True):
            await shield(sleep(3 * tick))
        log.append("left")
        await checkpoint()
        log.append("passed")

    await enclosing(2 * tick, inside)
    assert log == ["left"]


@rule("C4", "G11")
async def test_what_was_shielded_is_not_kept_once_the_cancellation_was_delivered(tick: float) -> None:
    alive: weakref.WeakSet[Payload] = weakref.WeakSet()

    async def work() -> Payload:
        payload = Payload()
        alive.add(payload)
        await sleep(2 * tick)
        return payload

    with deadline(tick, suppress=True):
        await shield(work())
        await sleep_forever()
    assert count(alive) == 0


@rule("C4")
async def test_only_the_inner_one_of_two_cancelled_scopes_is_withdrawn(tick: float) -> None:
    log = []
    async with deadline(2 * tick, suppress=True):
        async with deadline(tick):
            await shield(sleep(4 * tick))
        log.append("between")
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["between"]


@rule("C4")
async def test_the_timeout_of_a_shield_cancels_the_coroutine_and_raises(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        await shield(note_the_end(log), timeout=tick)
    assert log == ["child"]


@rule("C4")
async def test_the_timeout_of_a_shield_counts_in_a_cancelled_scope(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.cancel()
        try:
            await shield(note_the_end(log), timeout=tick)
        except TimeoutError:
            log.append("timeout")
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["child", "timeout"]


@rule("C4")
async def test_a_shield_waits_for_the_clean_up_of_what_its_timeout_cancelled(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        await shield(clean_up(2 * tick, log), timeout=tick)
    assert log == ["child"]


@rule("C4")
@pytest.mark.parametrize("timeout", [None, inf, 10**6])
async def test_a_timeout_that_does_not_come_changes_nothing(tick: float, timeout: float | None) -> None:
    assert await shield(return_after(tick, "result"), timeout=timeout) == "result"


@rule("C4")
@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_timeout_of_zero_or_less_expires_at_the_first_checkpoint(timeout: float) -> None:
    steps = []

    async def commit() -> None:
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")

    with pytest.raises(TimeoutError):
        await shield(commit(), timeout=timeout)
    assert steps == ["before the checkpoint"]


@rule("C4")
async def test_a_timeout_error_of_the_coroutine_itself_passes_as_it_is(tick: float) -> None:
    error = TimeoutError("of a socket")
    with pytest.raises(TimeoutError) as caught:
        await shield(fail(error), timeout=1000 * tick)
    assert caught.value is error


@rule("C4")
@pytest.mark.parametrize(
    ("timeout", "error"), [(nan, ValueError), ("5", TypeError), (True, TypeError)], ids=["nan", "str", "bool"]
)
async def test_a_bad_timeout_is_refused_and_closes_the_coroutine(
    timeout: Any, error: type[Exception]
) -> None:
    coro = sleep_forever()
    with pytest.raises(error, match="number of seconds"):
        await shield(coro, timeout=timeout)
    assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED


@rule("C4")
async def test_what_is_no_coroutine_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"shield\(\) expects a coroutine object.*call the function"):
        await shield(sleep_forever)  # type: ignore[arg-type]


@rule("C4")
async def test_an_awaitable_is_refused_with_advice() -> None:
    class Answer:
        def __await__(self) -> Generator[Any, None, int]:
            yield from checkpoint().__await__()
            return 42

    with pytest.raises(TypeError, match=r"shield\(\) expects a coroutine object.*wrap the awaitable"):
        await shield(Answer())  # type: ignore[arg-type]


@rule("C4")
@in_every_scope
async def test_the_outer_of_two_nested_shields_holds_too(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def outer() -> None:
        log.append(await shield(return_after(2 * tick, "inner")))
        await sleep(2 * tick)
        log.append("outer")

    await enclosing(tick, lambda: shield(outer()))
    assert log == ["inner", "outer"]


@rule("C4")
async def test_context_variables_set_inside_are_seen_after() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="default")

    async def inside() -> None:
        assert variable.get() == "before"
        variable.set("inside")
        await checkpoint()

    variable.set("before")
    await shield(inside())
    assert variable.get() == "inside"


@rule("C4")
async def test_context_variables_set_inside_are_seen_after_an_error() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="default")

    async def inside() -> None:
        variable.set("inside")
        raise OSError("no route")

    with suppress(OSError):
        await shield(inside())
    assert variable.get() == "inside"


@rule("C4")
@in_every_scope
async def test_a_group_inside_a_shield_is_not_reached(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def inside() -> None:
        async with task_group() as tg:
            first = tg.create_task(return_after(3 * tick, "first"))
            await sleep(3 * tick)
            second = tg.create_task(return_after(tick, "second"))
        log.extend([first.result(), second.result()])

    await enclosing(tick, lambda: shield(inside()))
    assert log == ["first", "second"]


@rule("C4")
async def test_scopes_inside_a_shield_work(tick: float) -> None:
    log: list[str] = []

    async def inside() -> None:
        async with deadline(tick, suppress=True), task_group() as tg:
            tg.create_task(note_the_end(log))
            await sleep_forever()
        async with task_group() as tg:
            tg.cancel()
            await note_the_end(log, "body")

    async with task_group() as outer:
        outer.cancel()
        await shield(inside())
    assert log == ["child", "body"]


@rule("C4")
async def test_scopes_inside_a_shield_leave_the_caller_alone(tick: float) -> None:
    async def inside() -> None:
        async with deadline(0, suppress=True):
            await sleep_forever()
        with suppress(ExceptionGroup):
            async with task_group() as tg:
                tg.create_task(fail(OSError("no route")))

    async with deadline(1000 * tick):
        await shield(inside())
        await wait_in_all_manners(tick)


@rule("C4")
async def test_the_shield_of_one_child_does_not_hold_the_others(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(sleep(3 * tick))
        log.append("committed")

    async with deadline(tick, suppress=True), task_group() as tg:
        tg.create_task(commit())
        tg.create_task(note_the_end(log, "other"))
    assert log == ["other", "committed"]


@rule("C4")
async def test_the_end_of_a_group_waits_for_a_shield_in_a_child(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(sleep(3 * tick))
        log.append("committed")

    async with task_group() as tg:
        tg.create_task(commit())
        tg.cancel()
    assert log == ["committed"]


@rule("C4")
async def test_task_cancel_while_the_task_is_in_a_shield(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(sleep(3 * tick))
        log.append("committed")
        await checkpoint()
        log.append("after the checkpoint")

    async with task_group() as tg:
        task = tg.create_task(commit())
        await sleep(tick)
        task.cancel()
    assert log == ["committed"]
    assert task.cancelled()


def cancelled_natively(
    coro: Coroutine[Any, Any, None], tick: float, *messages: str
) -> Coroutine[Any, Any, asyncio.Task[None]]:
    """Run `coro` in a native task that is cancelled, with each message, a tick apart."""

    async def run() -> asyncio.Task[None]:
        task = asyncio.create_task(coro)
        for message in messages:
            await asyncio.sleep(tick)
            task.cancel(message)
        await asyncio.wait([task])
        return task

    return run()


@rule("C4", "C5", only="asyncio")
async def test_a_native_cancel_of_the_caller_arrives_after_the_shield_with_its_message(tick: float) -> None:
    log: list[object] = []

    async def commit() -> None:
        log.append(await shield(return_after(3 * tick, "committed")))
        try:
            await checkpoint()
        except asyncio.CancelledError as error:
            log.append(error.args)
            raise

    task = await cancelled_natively(commit(), tick, "shutdown")
    assert log == ["committed", ("shutdown",)]
    assert task.cancelled()


@rule("C4", only="asyncio")
async def test_several_native_cancels_of_the_caller_do_not_get_through_a_shield(tick: float) -> None:
    log: list[object] = []

    async def commit() -> None:
        log.append(await shield(return_after(5 * tick, "committed")))
        task = asyncio.current_task()
        assert task is not None
        log.append(task.cancelling())
        await checkpoint()
        log.append("after the checkpoint")

    task = await cancelled_natively(commit(), tick, "first", "second", "third")
    assert log == ["committed", 3]
    assert task.cancelled()


@rule("C4", "C2", only="asyncio")
async def test_a_native_cancel_that_was_taken_back_is_not_delivered(tick: float) -> None:
    log: list[object] = []

    async def commit() -> None:
        task = asyncio.current_task()
        assert task is not None
        await shield(sleep(3 * tick))
        task.uncancel()
        await wait_in_all_manners(tick)
        log.append(task.cancelling())

    await cancelled_natively(commit(), tick, "shutdown")
    assert log == [0]


@rule("C4", only="asyncio")
async def test_a_native_cancel_before_the_first_step_of_a_shield(tick: float) -> None:
    log: list[object] = []

    async def commit() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        log.append(await shield(return_after(tick, "committed")))
        await checkpoint()
        log.append("after the checkpoint")

    task = await cancelled_natively(commit(), tick)
    assert log == ["committed"]
    assert task.cancelled()


# C5: cancellation by the host is an outer cancellation like any other

in_both_orders: pytest.MarkDecorator = pytest.mark.parametrize(
    ("outer", "inner"),
    list(product([in_deadline, in_group, in_task, in_native_timeout, in_native_task], repeat=2)),
    ids=lambda scope: scope.__name__,
)


@rule("C5")
@in_both_orders
async def test_the_outer_scope_is_cancelled(outer: Enclosing, inner: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def between() -> None:
        await inner(50 * tick, lambda: note_the_end(log, "inside"))
        log.append("between")

    await outer(tick, between)
    await wait_in_all_manners(tick)
    assert log == ["inside"]


@rule("C5")
@in_both_orders
async def test_the_inner_scope_is_cancelled(outer: Enclosing, inner: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def between() -> None:
        await inner(tick, lambda: note_the_end(log, "inside"))
        log.append("between")
        await checkpoint()
        log.append("after the checkpoint")

    await outer(6 * tick, between)
    await wait_in_all_manners(tick)
    assert log == ["inside", "between", "after the checkpoint"]


@rule("C5")
@in_both_orders
async def test_the_outer_scope_is_cancelled_while_the_inner_one_cleans_up(
    outer: Enclosing, inner: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def between() -> None:
        await inner(tick, lambda: clean_up(5 * tick, log, "inside"))
        await checkpoint()
        log.append("after the checkpoint")

    await outer(2 * tick, between)
    await wait_in_all_manners(tick)
    assert log == ["inside"]


@rule("C5")
@in_both_orders
async def test_both_scopes_are_cancelled_at_one_time(outer: Enclosing, inner: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def between() -> None:
        await inner(tick, lambda: note_the_end(log, "inside"))
        await sleep_forever()

    await outer(tick, between)
    await wait_in_all_manners(tick)
    assert log == ["inside"]


@rule("C5")
@in_both_orders
async def test_errors_pass_both_scopes(outer: Enclosing, inner: Enclosing, tick: float) -> None:
    async def between() -> None:
        await inner(10 * tick, lambda: fail(OSError("no route")))

    with pytest.raises((OSError, ExceptionGroup)) as caught:
        await outer(20 * tick, between)
    await wait_in_all_manners(tick)
    error: BaseException | None = caught.value
    while isinstance(error, ExceptionGroup):
        [error] = error.exceptions
    assert type(error) is OSError


@rule("C5", "G5", only="asyncio")
@in_every_own_scope
async def test_a_native_cancel_during_clean_up_in_a_cancelled_scope_keeps_its_message(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[Any] = []

    async def work() -> None:
        try:
            await enclosing(tick, lambda: clean_up(3 * tick, log))
        except asyncio.CancelledError as error:
            log.append(str(error))
            raise

    async def interrupted() -> asyncio.Task[None]:
        task = asyncio.create_task(work())
        await asyncio.sleep(2 * tick)
        task.cancel("shutdown")
        await asyncio.wait([task])
        return task

    task = await interrupted()
    assert log == ["child", "shutdown"]
    assert task.cancelled()


@rule("C5", only="asyncio")
async def test_the_end_of_asyncio_run_cancels_what_is_left(host: Any) -> None:
    log: list[str] = []

    async def work() -> None:
        async with deadline(None), task_group() as tg:
            tg.create_task(clean_up(0.01, log))
            await sleep_forever()

    def run_and_leave_a_task() -> None:
        async def main() -> None:
            left.append(asyncio.create_task(work()))
            await asyncio.sleep(0.01)

        left: list[asyncio.Task[None]] = []
        asyncio.run(main())
        assert left[0].cancelled()

    await asyncio.to_thread(run_and_leave_a_task)
    assert log == ["child"]


@rule("C5")
@in_every_scope
async def test_a_cancellation_comes_out_of_a_group_as_it_is(enclosing: Enclosing, tick: float) -> None:
    seen = []

    async def work() -> None:
        try:
            async with task_group() as tg:
                tg.create_task(sleep_forever())
                tg.create_task(sleep_forever())
        except BaseException as error:
            seen.append(type(error))
            raise

    await enclosing(tick, work)
    assert seen == [get_cancelled_exc_class()]


@rule("C5")
async def test_a_cancellation_by_the_host_reaches_children(tick: float) -> None:
    tasks: list[Task[None]] = []

    async def work() -> None:
        async with deadline(None), task_group() as tg:
            tasks.extend(tg.create_task(sleep_forever()) for _ in range(3))

    await in_native_timeout(tick, work)
    assert [task.cancelled() for task in tasks] == [True, True, True]


# C6: cancelling a scope reaches everything inside it at once


async def three_deep(tick: float, log: list[str]) -> None:
    """Three nested groups, each in a child of the one around it, with their bodies in shielded clean-up."""

    async def level(depth: int) -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log, f"child {depth}"))
            if depth < 3:
                tg.create_task(level(depth + 1))
            await shield(sleep(10 * tick))
            log.append("a body")

    await level(1)


@rule("C6")
@in_every_own_scope
async def test_children_three_groups_deep_are_reached_while_the_bodies_clean_up(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []
    await enclosing(tick, lambda: three_deep(tick, log))
    assert sorted(log[:3]) == ["child 1", "child 2", "child 3"]
    assert log[3:] == ["a body"] * 3


@rule("C6")
async def test_a_failure_reaches_children_three_groups_deep(tick: float) -> None:
    log: list[str] = []

    async def fail_later() -> None:
        await sleep(tick)
        raise OSError("no route")

    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(fail_later())
            tg.create_task(three_deep(tick, log))
    assert sorted(log[:3]) == ["child 1", "child 2", "child 3"]
    assert log[3:] == ["a body"] * 3


@rule("C6")
@in_every_own_scope
async def test_nested_groups_in_one_task_are_reached_while_the_body_cleans_up(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def body() -> None:
        async with task_group() as a, deadline(None), task_group() as b, task_group() as c:
            for tg in (a, b, c):
                tg.create_task(note_the_end(log))
            await shield(sleep(10 * tick))
            log.append("the body")

    await enclosing(tick, body)
    assert log == ["child", "child", "child", "the body"]


@rule("C6")
@in_every_own_scope
async def test_children_are_reached_while_the_body_waits_in_a_finally(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def body() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            await clean_up(10 * tick, log, "the body")

    await enclosing(tick, body)
    assert log == ["child", "the body"]


@rule("C6")
@in_every_own_scope
async def test_children_of_a_group_that_is_being_left_are_reached(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def middle() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            tg.create_task(clean_up(10 * tick, log, "slow child"))

    async def body() -> None:
        async with task_group() as tg:
            tg.create_task(middle())

    await enclosing(tick, body)
    assert log == ["child", "slow child"]


@rule("C6")
async def test_what_is_outside_the_scope_is_not_reached(tick: float) -> None:
    async with task_group() as tg:
        sibling = tg.create_task(return_after(3 * tick, "sibling"))
        async with task_group() as inner:
            inner.create_task(sleep_forever())
            await sleep(tick)
            inner.cancel()
        await sleep(tick)
    assert sibling.result() == "sibling"


@rule("C6")
async def test_a_child_of_an_outer_group_that_was_created_inside_is_not_reached(tick: float) -> None:
    async with task_group() as tg:
        async with task_group() as inner:
            child = tg.create_task(return_after(3 * tick, "child"))
            inner.cancel()
            await checkpoint()
        assert await child == "child"


Born: TypeAlias = Callable[[list[str]], Coroutine[Any, Any, None]]


async def open_a_deadline(log: list[str]) -> None:
    async with deadline(None):
        await note_the_end(log)


async def open_a_group(log: list[str]) -> None:
    async with task_group():
        await note_the_end(log)


async def open_a_group_with_a_child(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_task(note_the_end(log))


async def open_groups_in_a_child_of_a_group(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_task(open_a_group_with_a_child(log))


opening_a_scope: pytest.MarkDecorator = pytest.mark.parametrize(
    "open_scope",
    [open_a_deadline, open_a_group, open_a_group_with_a_child, open_groups_in_a_child_of_a_group],
    ids=lambda opened: opened.__name__,
)


@rule("C6", "T4", "G14")
@pytest.mark.parametrize("scope", [task_group, lambda: deadline(1000)], ids=["group", "deadline"])
async def test_what_a_child_opens_that_has_cancelled_itself_in_its_first_step_is_born_cancelled(
    scope: Callable[[], Any],
) -> None:
    log: list[Any] = []

    async def child() -> None:
        tasks[1].cancel()
        async with scope():
            log.append(current_deadline())
            await note_the_end(log)

    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(coro) for coro in (checkpoint(), child())]
    assert tasks[1].cancelled()
    assert log == [-inf, "child"]


@rule("C6")
@in_every_own_scope
@opening_a_scope
async def test_a_scope_opened_in_clean_up_is_born_cancelled(
    open_scope: Born, enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await sleep_forever()
        finally:
            await open_scope(log)

    await enclosing(tick, work)
    assert log == ["child"]


@rule("C6")
@in_every_own_scope
@opening_a_scope
async def test_a_scope_opened_by_a_child_in_clean_up_is_born_cancelled(
    open_scope: Born, enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await sleep_forever()
        finally:
            await open_scope(log)

    async def work() -> None:
        async with task_group() as tg:
            tg.create_task(child())

    await enclosing(tick, work)
    assert log == ["child"]


@rule("C6")
@in_every_own_scope
@opening_a_scope
async def test_a_scope_opened_after_a_shield_is_born_cancelled(
    open_scope: Born, enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def work() -> None:
        await shield(sleep(3 * tick))
        await open_scope(log)

    await enclosing(tick, work)
    assert log == ["child"]


@rule("C6")
@opening_a_scope
async def test_a_scope_opened_right_after_cancel_is_born_cancelled(open_scope: Born) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.cancel()
        await open_scope(log)
    assert log == ["child"]


@rule("C6")
@opening_a_scope
async def test_a_scope_opened_by_a_child_that_was_born_cancelled_is_so_too(open_scope: Born) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.cancel()
        tg.create_task(open_scope(log))
    assert log == ["child"]


@rule("C6")
async def test_a_scope_opened_inside_a_shield_is_not_born_cancelled(tick: float) -> None:
    async def inside() -> list[str]:
        async with deadline(1000 * tick), task_group() as tg:
            task = tg.create_task(return_after(tick, "child"))
            await sleep(tick)
        return [task.result()]

    async with task_group() as tg:
        tg.cancel()
        assert await shield(inside()) == ["child"]


@rule("C6")
async def test_task_cancel_reaches_the_groups_that_the_task_has_opened(tick: float) -> None:
    log: list[str] = []

    async with task_group() as tg:
        task = tg.create_task(three_deep(tick, log))
        await sleep(tick)
        task.cancel()
    assert sorted(log[:3]) == ["child 1", "child 2", "child 3"]


@rule("C6")
async def test_a_group_waits_for_all_that_was_reached(tick: float) -> None:
    log: list[str] = []

    async def middle() -> None:
        async with task_group() as tg:
            tg.create_task(clean_up(3 * tick, log))

    async with deadline(tick, suppress=True), task_group() as tg:
        tg.create_task(middle())
    log.append("after the group")
    assert log == ["child", "after the group"]
