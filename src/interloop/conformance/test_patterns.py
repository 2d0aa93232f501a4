"""Chapter P: gather, first and as_completed."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

import pytest

from interloop import (
    AsCompleted,
    NoAsyncContext,
    TaskCancelled,
    as_completed,
    checkpoint,
    current_backend,
    current_deadline,
    deadline,
    first,
    gather,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.abc import NativeEvent
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Enclosing,
    clean_up,
    fail,
    fail_when_cancelled,
    in_every_scope,
    leaves,
    note_the_end,
    settle,
    until,
)
from interloop.conformance.test_groups import count

variable: ContextVar[str] = ContextVar("variable", default="default")

Pattern = Callable[..., Coroutine[Any, Any, Any]]


class Abort(BaseException):
    """An error that is no `Exception`, and that no host treats specially."""


async def answer(value: Any, seconds: float = 0) -> Any:
    await sleep(seconds)
    return value


async def fail_after(seconds: float, error: BaseException) -> None:
    await sleep(seconds)
    raise error


async def answer_at_once(value: Any) -> Any:
    return value


async def note(log: list[Any], what: Any) -> Any:
    log.append(what)
    await checkpoint()
    return what


def closed(coros: Iterable[Coroutine[Any, Any, Any]]) -> bool:
    return all(getcoroutinestate(coro) == CORO_CLOSED for coro in coros)


async def collect(*coros: Coroutine[Any, Any, Any], limit: int | None = None) -> list[Any]:
    """`as_completed` as a pattern like the two others."""
    async with as_completed(coros, limit=limit) as results:
        return [result async for result in results]


NAMES: dict[Any, str] = {gather: "gather", first: "first", collect: "as_completed"}
each_pattern: pytest.MarkDecorator = pytest.mark.parametrize("pattern", NAMES, ids=NAMES.get)
each_with_a_limit: pytest.MarkDecorator = pytest.mark.parametrize("pattern", [gather, collect], ids=NAMES.get)


# What the three have in common


@rule("P1", "P2", "P3")
@each_pattern
async def test_all_run_at_once(pattern: Pattern) -> None:
    arrived = 0

    async def meet() -> None:
        nonlocal arrived
        arrived += 1
        await until(lambda: arrived == 5)

    await pattern(*[meet() for _ in range(5)])
    assert arrived == 5


@rule("P1", "P2", "P3")
@each_pattern
@in_every_scope
async def test_a_cancellation_from_outside_cancels_all_and_waits_for_them(
    enclosing: Enclosing, pattern: Pattern, tick: float
) -> None:
    log: list[str] = []

    async def inside() -> None:
        try:
            await pattern(*[clean_up(2 * tick, log) for _ in range(3)])
        except get_cancelled_exc_class():
            log.append("pattern")
            raise

    await enclosing(tick, inside)
    assert log == ["child", "child", "child", "pattern"]


@rule("P1", "P2", "P3")
@each_pattern
@in_every_scope
async def test_errors_in_clean_up_win_over_a_cancellation_from_outside(
    enclosing: Enclosing, pattern: Pattern, tick: float
) -> None:
    errors = ValueError(), OSError()
    found: list[BaseException] = []

    async def inside() -> None:
        try:
            await pattern(*map(fail_when_cancelled, errors), sleep_forever())
        except ExceptionGroup as group:
            found.extend(leaves(group))
        await checkpoint()
        found.append(AssertionError("the cancellation is not delivered"))

    await enclosing(tick, inside)
    assert set(found) == set(errors)
    assert len(found) == 2


@rule("P1", "P2", "P3")
@each_pattern
@pytest.mark.parametrize("ticks", [1, 3, 5, 7, 9])
async def test_cancelled_in_any_phase_all_that_started_has_ended(
    pattern: Pattern, ticks: int, tick: float
) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def child(number: int) -> int:
        begun.append(number)
        try:
            await sleep(2 * number * tick)
        finally:
            await shield(sleep(2 * tick))
            ended.append(number)
        return number

    with deadline(ticks * tick, suppress=True):
        await pattern(*[child(number) for number in range(1, 4)])
    assert sorted(begun) == sorted(ended) == [1, 2, 3]


@rule("P1", "P2", "P3")
@each_pattern
async def test_what_is_no_exception_cancels_the_rest(pattern: Pattern) -> None:
    abort, in_clean_up = Abort(), ValueError()
    log: list[str] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        await pattern(note_the_end(log), fail_when_cancelled(in_clean_up), fail_after(0, abort))
    assert set(leaves(caught.value)) == {abort, in_clean_up}
    assert log == ["child"]


@rule("P1", "P2", "P3")
@each_pattern
async def test_each_coroutine_runs_in_a_copy_of_the_callers_context(pattern: Pattern) -> None:
    async def child() -> str:
        before = variable.get()
        variable.set("set by the child")
        await checkpoint()
        return before

    variable.set("set by the caller")
    assert await pattern(child()) in ("set by the caller", ("set by the caller",), ["set by the caller"])
    assert variable.get() == "set by the caller"


@rule("P1", "P2", "P3", "L7")
@each_pattern
async def test_each_coroutine_sees_the_deadlines_around_the_call(pattern: Pattern) -> None:
    limits: list[float] = []

    async def child() -> None:
        limits.append(current_deadline())

    with deadline(1000) as around:
        await pattern(child())
    assert limits == [around.when()]


@rule("P1", "P2", "P3")
@each_pattern
async def test_afterwards_nothing_is_cancelled(pattern: Pattern, tick: float) -> None:
    await pattern(answer(1), answer(2, tick))
    with deadline(tick, suppress=True):
        await pattern(sleep_forever(), sleep_forever())
    await checkpoint()
    await sleep(tick)


@rule("P1", "P2", "P3")
@each_pattern
@pytest.mark.parametrize("wrong", [None, 5, sleep_forever], ids=["None", "5", "function"])
async def test_what_is_no_coroutine_is_refused_and_all_coroutines_are_closed(
    pattern: Pattern, wrong: Any
) -> None:
    coros = [answer(1), answer(2)]
    with pytest.raises(TypeError) as caught:
        await pattern(coros[0], wrong, coros[1])
    assert f"{NAMES[pattern]}() expects a coroutine object, got {wrong!r}" in str(caught.value)
    assert closed(coros)


class Unshowable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@rule("P1", "P2", "P3")
@each_pattern
async def test_what_cannot_be_shown_is_refused_all_the_same(pattern: Pattern) -> None:
    coros = [answer(1), answer(2)]
    with pytest.raises(TypeError, match=r"expects a coroutine object, got <.*Unshowable object at 0x"):
        await pattern(coros[0], Unshowable(), coros[1])
    assert closed(coros)


@rule("P1", "P2")
@pytest.mark.parametrize("pattern", [gather, first], ids=NAMES.get)
async def test_an_iterable_that_was_not_unpacked_is_refused_and_all_coroutines_are_closed(
    pattern: Pattern,
) -> None:
    made: list[Coroutine[Any, Any, int]] = []

    def make() -> Coroutine[Any, Any, int]:
        made.append(answer(1))
        return made[-1]

    beside = make()
    for given in (
        [make(), make()],
        (make(),),
        {make()},
        deque([make()]),
        {"key": make()}.values(),
        (make() for _ in range(2)),
        map(answer, [1, 2]),
    ):
        with pytest.raises(TypeError) as caught:
            await pattern(beside, given)
        assert f"{NAMES[pattern]}() expects coroutine objects, got {given!r}; unpack it with a `*`" in str(
            caught.value
        )
    assert closed(made)


@rule("P1", "P2")
@pytest.mark.parametrize("pattern", [gather, first], ids=NAMES.get)
@pytest.mark.parametrize("wrong", ["text", b"bytes", list], ids=["str", "bytes", "class"])
async def test_what_should_not_be_unpacked_is_not_said_to_be(pattern: Pattern, wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        await pattern(wrong)
    assert "unpack" not in str(caught.value)


@rule("P1", "P2", "P3", "D2")
@each_pattern
def test_outside_any_loop_the_call_is_refused_and_all_coroutines_are_closed(pattern: Pattern) -> None:
    coros = [answer(1), answer(2)]
    with pytest.raises(NoAsyncContext) as caught:
        pattern(*coros).send(None)
    assert closed(coros)
    assert f"{NAMES[pattern]}() was called outside of any async context" in str(caught.value)


@rule("P1", "P3", "G14")
@each_with_a_limit
@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (True, TypeError)]
)
async def test_what_is_no_limit_is_refused_and_all_coroutines_are_closed(
    pattern: Pattern, limit: Any, error: type[Exception]
) -> None:
    coros = [answer(1), answer(2)]
    with pytest.raises(error) as caught:
        await pattern(*coros, limit=limit)
    assert f"{NAMES[pattern]}(limit=) expects" in str(caught.value)
    assert f"got {limit!r}" in str(caught.value)
    assert closed(coros)


@rule("P1", "P3", "G14")
@each_with_a_limit
@pytest.mark.parametrize("limit", [1, 3])
async def test_at_most_the_limit_run_at_once_in_order(pattern: Pattern, limit: int, tick: float) -> None:
    running = peak = 0
    started: list[int] = []

    async def child(number: int) -> int:
        nonlocal running, peak
        started.append(number)
        running += 1
        peak = max(peak, running)
        await sleep(tick)
        running -= 1
        return number

    results = await pattern(*[child(number) for number in range(7)], limit=limit)
    assert sorted(results) == list(range(7))
    assert peak == limit
    if limit == 1:
        assert started == list(range(7))


@rule("P1", "P3", "G14")
@each_with_a_limit
@in_every_scope
async def test_cancelled_from_outside_those_that_had_no_slot_are_closed(
    enclosing: Enclosing, pattern: Pattern, tick: float
) -> None:
    log: list[str] = []
    coros = [note_the_end(log), note_the_end(log), note(log, "started"), note(log, "started")]

    async def inside() -> None:
        await pattern(*coros, limit=2)

    await enclosing(tick, inside)
    assert log == ["child", "child"]
    assert closed(coros)


@rule("P1", "P3")
@each_with_a_limit
async def test_a_failure_closes_those_that_had_no_slot(pattern: Pattern) -> None:
    error = ValueError()
    log: list[str] = []
    coros = [note_the_end(log), fail_after(0, error), note(log, "started"), note(log, "started")]
    with pytest.raises(ExceptionGroup) as caught:
        await pattern(*coros, limit=2)
    assert leaves(caught.value) == [error]
    assert log == ["child"]
    assert closed(coros)


@rule("P1", "P2", "P3", "G7")
@each_pattern
async def test_in_a_cancelled_scope_each_coroutine_runs_to_its_first_checkpoint(pattern: Pattern) -> None:
    log: list[str] = []

    async def child() -> None:
        log.append("started")
        await note_the_end(log, "ended")

    async with task_group() as tg:
        tg.cancel()
        await pattern(child(), child())
    assert sorted(log) == ["ended", "ended", "started", "started"]


@rule("P1", "P2", "P3", "G11")
@each_pattern
async def test_nothing_is_kept_after_a_failure(pattern: Pattern) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Loaded(Exception):
        pass

    async def child() -> None:
        error = Loaded()
        alive.add(error)
        try:
            raise error
        finally:
            del error

    async def run() -> None:
        try:
            await pattern(child(), child())
        except* Loaded:
            assert len(alive) > 0

    await run()  # in a frame of its own, which may keep the error on PyPy
    await checkpoint()  # likewise the loop, on PyPy, with the step that ended the child
    gc.collect()
    assert count(alive) == 0


# P1: gather


@rule("P1")
async def test_gather_gives_all_results_in_order(tick: float) -> None:
    results = await gather(answer("slow", 3 * tick), answer("quick", tick), answer("middle", 2 * tick))
    assert results == ("slow", "quick", "middle")


@rule("P1")
async def test_gather_of_nothing_is_empty() -> None:
    assert await gather() == ()


@rule("P1")
async def test_gather_takes_an_unpacked_sequence(tick: float) -> None:
    results = await gather(*[answer(number, (10 - number) * tick / 10) for number in range(10)])
    assert results == tuple(range(10))


@rule("P1")
async def test_the_first_failure_cancels_the_others_and_waits_for_them(tick: float) -> None:
    error = ValueError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await gather(clean_up(2 * tick, log), answer(1), fail_after(tick, error), note_the_end(log, "second"))
    assert caught.value.exceptions == (error,)
    assert log == ["second", "child"]


@rule("P1")
async def test_errors_in_the_clean_up_of_the_others_are_raised_too() -> None:
    errors = {ValueError(), OSError()}
    failure, in_clean_up = errors
    with pytest.raises(ExceptionGroup) as caught:
        await gather(fail_when_cancelled(in_clean_up), fail(failure))
    assert set(caught.value.exceptions) == errors


@rule("P1")
async def test_gather_inside_gather(tick: float) -> None:
    assert await gather(gather(answer(1, tick), answer(2)), gather(answer(3), answer(4))) == ((1, 2), (3, 4))


@rule("P1")
async def test_the_failure_inside_gather_does_not_reach_the_caller_s_group() -> None:
    async with task_group() as tg:
        sibling = tg.create_task(checkpoint())
        with pytest.raises(ExceptionGroup):
            await gather(fail(ValueError()), sleep_forever())
        await checkpoint()
    assert not sibling.cancelled()


@rule("P1", "L1")
async def test_a_deadline_around_gather(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            await gather(answer("quick", tick), note_the_end(log))
    assert log == ["child"]


@rule("P1")
async def test_gather_of_ten_thousand_with_a_limit() -> None:
    results = await gather(*[answer(number) for number in range(10_000)], limit=50)
    assert results == tuple(range(10_000))


# P2: first


@rule("P2")
async def test_first_gives_the_first_result(tick: float) -> None:
    log: list[str] = []
    result = await first(answer("slow", 5 * tick), answer("quick", tick), note_the_end(log))
    assert result == "quick"
    assert log == ["child"]


@rule("P2")
async def test_first_of_one() -> None:
    assert await first(answer(None)) is None


@rule("P2")
async def test_first_waits_for_the_clean_up_of_the_others(tick: float) -> None:
    log: list[str] = []
    assert await first(answer("quick"), clean_up(3 * tick, log)) == "quick"
    assert log == ["child"]


@rule("P2")
async def test_first_that_succeeds_at_once_still_runs_the_others_to_their_first_checkpoint() -> None:
    log: list[str] = []

    async def at_once() -> str:
        return "at once"

    async def other() -> None:
        log.append("started")
        await note_the_end(log, "ended")

    assert await first(at_once(), other()) == "at once"
    assert log == ["started", "ended"]


@rule("P2")
async def test_a_failure_on_the_way_does_not_count(tick: float) -> None:
    log: list[str] = []
    failing = fail(ValueError()), fail_after(tick, OSError())
    assert await first(*failing, answer("late", 2 * tick), note_the_end(log)) == "late"
    assert log == ["child"]


@rule("P2")
async def test_if_all_fail_their_errors_are_raised_together(tick: float) -> None:
    errors = [ValueError(), OSError(), ExceptionGroup("", [KeyError()])]
    with pytest.raises(ExceptionGroup) as caught:
        await first(*[fail_after(number * tick, error) for number, error in enumerate(errors)])
    assert list(caught.value.exceptions) == errors


@rule("P2")
async def test_if_the_only_one_fails_its_error_is_raised_in_a_group() -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        await first(fail(error))
    assert caught.value.exceptions == (error,)


@rule("P2")
async def test_a_result_that_comes_while_the_others_are_being_cancelled_is_dropped(tick: float) -> None:
    log: list[str] = []

    async def loser() -> str:
        try:
            await sleep_forever()
        except BaseException:
            await shield(sleep(tick))
            log.append("loser")
        return "too late"

    assert await first(loser(), answer("quick"), loser()) == "quick"
    assert log == ["loser", "loser"]


@rule("P2")
async def test_of_two_that_succeed_at_once_one_wins() -> None:
    async def at_once(value: int) -> int:
        return value

    assert await first(at_once(1), at_once(2), at_once(3)) in (1, 2, 3)


def native_event() -> NativeEvent:
    """What is set wakes all who wait in one turn of the loop."""
    if current_backend() == "trio":
        import trio

        return trio.Event()
    return asyncio.Event()


async def fail_on(event: NativeEvent, error: BaseException) -> None:
    await event.wait()
    raise error


async def fail_at_once(_: NativeEvent, error: BaseException) -> None:
    raise error


async def fail_on_with_a_timeout_behind(event: NativeEvent, error: BaseException) -> None:
    try:
        with deadline(0):
            await sleep_forever()
    except TimeoutError:
        await event.wait()
        raise error


each_failure_in_the_same_turn: pytest.MarkDecorator = pytest.mark.parametrize(
    "attempt_to_fail",
    [fail_on, fail_at_once, fail_on_with_a_timeout_behind],
    ids=lambda attempt: attempt.__name__,
)


@rule("P2")
@pytest.mark.parametrize("order", ["success-first", "failure-first", "failures-around"])
@each_failure_in_the_same_turn
async def test_a_success_wins_over_failures_in_the_same_turn(
    attempt_to_fail: Callable[[NativeEvent, BaseException], Coroutine[Any, Any, None]], order: str
) -> None:
    for _ in range(20):  # trio draws lots
        event = native_event()

        async def succeed(event: NativeEvent = event) -> str:
            await event.wait()
            return "success"

        async def fail(event: NativeEvent = event) -> None:
            await attempt_to_fail(event, OSError())

        attempts: dict[str, list[Callable[[], Coroutine[Any, Any, Any]]]]
        attempts = {
            "success-first": [succeed, fail],
            "failure-first": [fail, succeed],
            "failures-around": [fail, succeed, fail],
        }
        async with task_group() as tg:
            task = tg.create_task(first(*[attempt() for attempt in attempts[order]]))
            await settle()
            event.set()
        assert task.result() == "success"


@rule("P2")
async def test_a_success_at_once_wins_over_a_failure_at_once() -> None:
    error = ValueError()
    for _ in range(20):
        assert await first(answer_at_once("success"), fail(error)) == "success"
        assert await first(fail(error), answer_at_once("success"), fail(error)) == "success"


@rule("P2")
async def test_a_timeout_in_the_clean_up_of_a_loser_is_raised() -> None:
    async def loser() -> None:
        try:
            await sleep_forever()
        finally:
            await shield(sleep_forever(), timeout=0)

    for _ in range(20):
        with pytest.raises(ExceptionGroup) as caught:
            await first(answer("quick"), loser())
        assert [isinstance(error, TimeoutError) for error in leaves(caught.value)] == [True]


@rule("P2")
@pytest.mark.parametrize("in_a_group", [False, True])
async def test_an_error_in_clean_up_that_is_raised_at_once_is_raised(in_a_group: bool) -> None:
    error = OSError()

    async def loser() -> None:
        if in_a_group:
            async with task_group() as tg:
                tg.create_task(fail_when_cancelled(error))
        else:
            await fail_when_cancelled(error)

    for _ in range(20):
        with pytest.raises(ExceptionGroup) as caught:
            await first(answer("quick"), loser())
        assert leaves(caught.value) == [error]
        assert await first(answer("quick"), sleep_forever()) == "quick"


@rule("P2")
async def test_an_error_in_the_clean_up_of_a_loser_is_raised(tick: float) -> None:
    error = ValueError()

    async def loser() -> None:
        try:
            await sleep_forever()
        finally:
            await shield(sleep(tick))
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        await first(answer("quick"), loser())
    assert caught.value.exceptions == (error,)


@rule("P2")
async def test_an_error_in_clean_up_is_raised_without_the_failures_on_the_way(tick: float) -> None:
    in_clean_up = OSError()
    with pytest.raises(ExceptionGroup) as caught:
        await first(fail(ValueError()), fail_when_cancelled(in_clean_up), answer("quick", tick))
    assert caught.value.exceptions == (in_clean_up,)


@rule("P2")
@in_every_scope
async def test_a_failure_on_the_way_does_not_win_over_a_cancellation_from_outside(
    enclosing: Enclosing, tick: float
) -> None:
    caught: list[type[BaseException]] = []

    async def inside() -> None:
        try:
            await first(fail(ValueError()), sleep_forever())
        except BaseException as error:
            caught.append(type(error))
            raise

    await enclosing(tick, inside)
    assert caught == [get_cancelled_exc_class()]


@rule("P2", "L1")
async def test_a_deadline_around_first(tick: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await first(sleep_forever(), sleep_forever())


@rule("P2")
async def test_first_inside_first(tick: float) -> None:
    assert await first(first(answer(1, 3 * tick), fail(OSError())), first(answer(2, tick))) == 2


@rule("P2")
async def test_first_of_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match=r"first\(\) expects at least one coroutine object, got none"):
        await first()


# trio has no way to cancel one task but a scope, so these are about asyncio alone


async def given_up() -> None:
    """End as cancelled, although no scope was cancelled."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@rule("P1", only="asyncio")
async def test_gather_tells_that_a_coroutine_ended_as_cancelled(tick: float) -> None:
    log: list[str] = []

    async def slow() -> None:
        await sleep(tick)
        log.append("slow")

    with pytest.raises(TaskCancelled):
        await gather(given_up(), slow())
    assert log == ["slow"]


@rule("P2", only="asyncio")
async def test_an_attempt_that_ended_as_cancelled_has_not_succeeded() -> None:
    error = ValueError()
    assert await first(given_up(), answer(1)) == 1
    with pytest.raises(ExceptionGroup) as caught:
        await first(given_up(), fail(error))
    assert caught.value.exceptions == (error,)
    with pytest.raises(TaskCancelled):
        await first(given_up())


@rule("P3", only="asyncio")
async def test_as_completed_tells_that_a_coroutine_ended_as_cancelled(tick: float) -> None:
    log: list[int] = []
    coros: list[Coroutine[Any, Any, Any]] = [given_up(), answer(1, tick)]
    with pytest.raises(ExceptionGroup) as caught:
        with deadline(10 * tick):
            async with as_completed(coros) as results:
                log.append(await anext(results))
                await anext(results)
    assert log == [1]
    assert [type(error) for error in caught.value.exceptions] == [TaskCancelled]


@rule("P3", only="asyncio")
async def test_as_completed_tells_that_an_async_source_ended_as_cancelled(tick: float) -> None:
    async def source() -> AsyncGenerator[Coroutine[Any, Any, int], None]:
        yield answer(1)
        await given_up()

    with pytest.raises(ExceptionGroup) as caught:
        with deadline(10 * tick):
            async with as_completed(source()) as results:
                assert await anext(results) == 1
                await anext(results)
    assert [type(error) for error in caught.value.exceptions] == [TaskCancelled]


# P3: as_completed


@rule("P3")
async def test_results_come_as_they_are_ready(tick: float) -> None:
    coros = [answer("slow", 5 * tick), answer("quick", tick), answer("middle", 3 * tick)]
    async with as_completed(coros) as results:
        assert [result async for result in results] == ["quick", "middle", "slow"]


@rule("P3")
async def test_results_that_were_not_taken_stay_in_the_order_of_their_coming(tick: float) -> None:
    coros = [answer("slow", 5 * tick), answer("quick", tick), answer("middle", 3 * tick)]
    async with as_completed(coros) as results:
        await sleep(7 * tick)
        assert [result async for result in results] == ["quick", "middle", "slow"]


@rule("P3")
async def test_a_result_is_given_while_others_still_run(tick: float) -> None:
    log: list[str] = []
    coros: list[Coroutine[Any, Any, Any]] = [answer("quick", tick), note_the_end(log)]
    async with as_completed(coros) as results:
        assert await anext(results) == "quick"
        assert log == []
    assert log == ["child"]


@rule("P3")
async def test_no_coroutines_no_results() -> None:
    nothing: list[Coroutine[Any, Any, int]] = []
    async with as_completed(nothing) as results:
        assert [result async for result in results] == []


@rule("P3")
async def test_after_the_last_result_the_iteration_is_over_for_good() -> None:
    async with as_completed([answer(1)]) as results:
        assert [result async for result in results] == [1]
        assert [result async for result in results] == []
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@rule("P3")
async def test_none_is_a_result_like_any_other() -> None:
    async with as_completed([answer(None), answer(None)]) as results:
        assert [result async for result in results] == [None, None]


@rule("P3")
async def test_a_result_is_waited_for_under_a_deadline_of_its_own(tick: float) -> None:
    async with as_completed([answer("slow", 3 * tick), answer("quick", tick)]) as results:
        assert await anext(results) == "quick"
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await anext(results)
        assert await anext(results) == "slow"


@rule("P3")
async def test_two_tasks_share_the_results(tick: float) -> None:
    taken: list[int] = []

    async def take() -> None:
        async for result in results:
            taken.append(result)
            await sleep(tick)

    async with as_completed([answer(number) for number in range(10)]) as results:
        async with task_group() as tg:
            tg.create_task(take())
            tg.create_task(take())
    assert sorted(taken) == list(range(10))


@rule("P3")
async def test_leaving_early_cancels_the_rest_and_waits_for_it(tick: float) -> None:
    log: list[str] = []
    async with as_completed([answer("quick", tick), clean_up(2 * tick, log), clean_up(tick, log)]) as results:
        async for result in results:
            assert result == "quick"
            break
    assert log == ["child", "child"]


@rule("P3")
async def test_returning_from_the_block_cancels_the_rest(tick: float) -> None:
    log: list[str] = []

    async def quickest() -> str:
        async with as_completed([answer("quick", tick), note_the_end(log)]) as results:
            async for result in results:
                return str(result)
        return "nothing"

    assert await quickest() == "quick"
    assert log == ["child"]


@rule("P3")
async def test_an_error_of_the_block_cancels_the_rest(tick: float) -> None:
    error = ValueError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed([answer(1), note_the_end(log)]) as results:
            await anext(results)
            raise error
    assert caught.value.exceptions == (error,)
    assert log == ["child"]


@rule("P3")
async def test_an_error_in_the_clean_up_of_the_rest_is_raised() -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed([answer(1), fail_when_cancelled(error)]) as results:
            await anext(results)
    assert caught.value.exceptions == (error,)


@rule("P3", "C2")
async def test_after_an_early_end_nothing_is_cancelled(tick: float) -> None:
    async with as_completed([answer(1), sleep_forever()]) as results:
        await anext(results)
    await checkpoint()
    await sleep(tick)


@rule("P3")
async def test_leaving_at_once_runs_each_coroutine_to_its_first_checkpoint() -> None:
    log: list[str] = []
    async with as_completed([note_the_end(log), note_the_end(log)]):
        pass
    assert log == ["child", "child"]


@rule("P3")
async def test_a_failure_cancels_the_rest_and_the_block(tick: float) -> None:
    error = ValueError()
    log: list[str] = []
    coros: list[Coroutine[Any, Any, Any]] = [answer(1), fail_after(tick, error), note_the_end(log)]
    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed(coros) as results:
            try:
                assert await anext(results) == 1
                log.append("result")
                await anext(results)
            finally:
                log.append("block")
    assert caught.value.exceptions == (error,)
    assert log[0] == "result"
    assert sorted(log[1:]) == ["block", "child"]


@rule("P3")
async def test_a_failure_reaches_a_block_that_waits_for_something_else(tick: float) -> None:
    with pytest.raises(ExceptionGroup):
        async with as_completed([answer(1), fail_after(tick, ValueError())]) as results:
            async for _ in results:
                await sleep_forever()


@rule("P3")
async def test_a_list_is_taken_in_order_as_slots_become_free() -> None:
    started: list[int] = []
    async with as_completed([note(started, number) for number in range(10)], limit=1) as results:
        async for result in results:
            assert started[: result + 1] == list(range(result + 1))
    assert started == list(range(10))


@rule("P3")
@pytest.mark.parametrize("collection", [list, tuple, set, lambda coros: dict.fromkeys(coros).keys()])
async def test_any_collection_left_early_is_closed(collection: Callable[[Any], Any], tick: float) -> None:
    coros = [answer(number, tick) for number in range(10)]
    async with as_completed(collection(coros), limit=2) as results:
        await anext(results)
    assert closed(coros)


class Source:
    """Makes coroutines on demand, and counts them and how many of them run."""

    def __init__(self, seconds: float, count: int = 100) -> None:
        self.seconds = seconds
        self.count = count
        self.made: int = 0
        self.running: int = 0
        self.peak: int = 0
        self.closed: bool = False

    async def work(self, number: int) -> int:
        self.running += 1
        self.peak = max(self.peak, self.running)
        await sleep(self.seconds)
        self.running -= 1
        return number

    def generator(self) -> Generator[Coroutine[Any, Any, int], None, None]:
        try:
            for number in range(self.count):
                self.made += 1
                yield self.work(number)
        finally:
            self.closed = True

    async def async_generator(self) -> AsyncGenerator[Coroutine[Any, Any, int], None]:
        try:
            for number in range(self.count):
                await checkpoint()
                self.made += 1
                yield self.work(number)
        finally:
            await shield(sleep(self.seconds))
            self.closed = True


each_source: pytest.MarkDecorator = pytest.mark.parametrize(
    "iterate", [Source.generator, Source.async_generator], ids=["generator", "async_generator"]
)
Iterate = Callable[[Source], Any]


@rule("P3")
@each_source
async def test_a_source_is_consumed_to_the_end(iterate: Iterate, tick: float) -> None:
    source = Source(tick)
    async with as_completed(iterate(source)) as results:
        assert sorted([result async for result in results]) == list(range(100))
    assert source.closed


@rule("P3")
@each_source
@pytest.mark.parametrize("limit", [1, 4])
async def test_a_source_is_consumed_as_slots_become_free(iterate: Iterate, limit: int, tick: float) -> None:
    source = Source(tick, count=12)
    taken = 0
    async with as_completed(iterate(source), limit=limit) as results:
        await sleep(4 * tick)
        assert source.made == limit
        async for _ in results:
            taken += 1
            assert source.made <= taken + limit
            assert source.running <= limit
    assert (taken, source.made) == (12, 12)
    assert source.peak == limit


@rule("P3")
@each_source
async def test_a_result_that_is_not_taken_keeps_its_slot(iterate: Iterate, tick: float) -> None:
    source = Source(0)
    async with as_completed(iterate(source), limit=3) as results:
        await sleep(3 * tick)
        assert (source.made, source.running) == (3, 0)
        await anext(results)
        await sleep(3 * tick)
        assert (source.made, source.running) == (4, 0)


@rule("P3")
@each_source
async def test_while_a_result_is_processed_the_next_is_made_in_its_slot(iterate: Iterate) -> None:
    source = Source(0, count=3)
    async with as_completed(iterate(source), limit=1) as results:
        async for result in results:
            await until(lambda: source.made == min(result + 2, 3))


@rule("P3")
@each_source
async def test_a_source_left_early_is_closed(iterate: Iterate, tick: float) -> None:
    source = Source(tick)
    async with as_completed(iterate(source), limit=2) as results:
        await anext(results)
        assert not source.closed
    assert source.closed
    assert source.running <= 2
    assert source.made <= 4


@rule("P3")
@each_source
async def test_a_source_left_at_once_is_closed(iterate: Iterate, tick: float) -> None:
    source = Source(tick)
    async with as_completed(iterate(source), limit=1):
        pass
    assert source.closed


@rule("P3")
@each_source
async def test_a_source_is_closed_after_a_failure(iterate: Iterate, tick: float) -> None:
    class Failing(Source):
        async def work(self, number: int) -> int:
            raise ValueError(number)

    source = Failing(tick)
    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed(iterate(source), limit=1) as results:
            async for _ in results:
                raise AssertionError
    assert [error.args for error in caught.value.exceptions] == [(0,)]
    assert source.closed
    assert source.made == 1


@rule("P3")
@each_source
@in_every_scope
async def test_a_source_is_closed_after_a_cancellation_from_outside(
    enclosing: Enclosing, iterate: Iterate, tick: float
) -> None:
    source = Source(5 * tick)

    async def inside() -> None:
        try:
            async with as_completed(iterate(source), limit=2) as results:
                async for _ in results:
                    raise AssertionError
        finally:
            assert source.closed

    await enclosing(tick, inside)
    assert source.closed
    assert source.made == 2


@rule("P3")
async def test_an_async_source_that_waits_is_cancelled_where_it_waits(tick: float) -> None:
    log: list[str] = []

    async def source() -> AsyncGenerator[Coroutine[Any, Any, int], None]:
        yield answer(1)
        await note_the_end(log, "source")

    async with as_completed(source()) as results:
        assert await anext(results) == 1
        await sleep(tick)
        assert log == []
    assert log == ["source"]


@rule("P3", "G9")
async def test_an_async_source_that_is_closed_early_leaves_its_scopes(tick: float) -> None:
    log: list[str] = []

    async def source() -> AsyncGenerator[Coroutine[Any, Any, int], None]:
        try:
            async with deadline(1000), task_group() as tg:
                tg.create_background_task(note_the_end(log, "background"))
                for number in range(10):
                    yield answer(number)
        finally:
            log.append("source")

    async with as_completed(source(), limit=1) as results:
        assert await anext(results) == 0
        await sleep(tick)
    assert log == ["background", "source"]


@rule("P3")
async def test_results_come_while_an_async_source_waits(tick: float) -> None:
    async def source() -> AsyncGenerator[Coroutine[Any, Any, str], None]:
        yield answer("first")
        await sleep(3 * tick)
        yield answer("second")

    async with as_completed(source()) as results:
        with deadline(2 * tick):
            assert await anext(results) == "first"
        assert await anext(results) == "second"
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@rule("P3")
@each_source
async def test_an_error_of_the_source_comes_out_of_the_block(iterate: Iterate, tick: float) -> None:
    error = OSError()
    log: list[str] = []

    class Failing(Source):
        def work(self, number: int) -> Any:
            if number == 1:
                raise error
            return note_the_end(log)

    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed(iterate(Failing(tick))) as results:
            async for _ in results:
                raise AssertionError
    assert caught.value.exceptions == (error,)
    assert log == ["child"]


@rule("P3")
@each_source
async def test_what_is_no_coroutine_in_a_source_comes_out_of_the_block(iterate: Iterate, tick: float) -> None:
    class Wrong(Source):
        def work(self, number: int) -> Any:
            return "a string"

    source = Wrong(tick)
    with pytest.raises(ExceptionGroup) as caught:
        async with as_completed(iterate(source)) as results:
            async for _ in results:
                raise AssertionError
    [error] = caught.value.exceptions
    assert isinstance(error, TypeError)
    assert "as_completed() expects a coroutine object, got 'a string'" in str(error)
    assert source.closed


@rule("P3")
async def test_an_async_iterator_that_cannot_be_closed() -> None:
    class Numbers:
        def __init__(self) -> None:
            self.made: int = 0

        def __aiter__(self) -> AsyncIterator[Coroutine[Any, Any, int]]:
            return self

        async def __anext__(self) -> Coroutine[Any, Any, int]:
            self.made += 1
            if self.made > 5:
                raise StopAsyncIteration
            return answer(self.made)

    async with as_completed(Numbers(), limit=2) as results:
        assert sorted([result async for result in results]) == [1, 2, 3, 4, 5]
    async with as_completed(Numbers(), limit=2) as results:
        await anext(results)


@rule("P3")
async def test_an_iterator_that_cannot_be_closed() -> None:
    made: list[int] = []

    def make(number: int) -> Coroutine[Any, Any, int]:
        made.append(number)
        return answer(number)

    async with as_completed(map(make, range(100)), limit=2) as results:
        await anext(results)
    assert len(made) <= 4


@rule("P3")
async def test_five_thousand_need_no_five_thousand_tasks() -> None:
    source = Source(0, count=5_000)

    async def at_once(number: int) -> int:
        source.running += 1
        source.peak = max(source.peak, source.running)
        source.running -= 1
        return number

    source.work = at_once  # type: ignore[method-assign]
    total = 0
    async with as_completed(source.generator(), limit=10) as results:
        async for result in results:
            total += result
    assert total == sum(range(5_000))
    assert source.peak <= 10


@rule("P3")
async def test_iterating_before_the_block_is_entered_is_refused() -> None:
    coro = answer(1)
    results = as_completed([coro])
    with pytest.raises(RuntimeError, match=r"`async with as_completed\(...\) as results:`"):
        await anext(results)
    coro.close()


@rule("P3")
async def test_iterating_after_the_block_was_left_is_refused() -> None:
    async with as_completed([answer(1), answer(2), sleep_forever()]) as results:
        await anext(results)
    with pytest.raises(RuntimeError):
        await anext(results)


@rule("P3", "G9")
async def test_as_completed_is_entered_once() -> None:
    async with as_completed([answer(1)]) as results:
        with pytest.raises(RuntimeError, match="has already been entered"):
            async with results:
                pass


@rule("P3")
@pytest.mark.parametrize("wrong", [None, 5, checkpoint], ids=["None", "5", "function"])
async def test_what_is_no_iterable_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        as_completed(wrong)
    assert f"as_completed() expects an iterable of coroutine objects, got {wrong!r}" in str(caught.value)


@rule("P3")
async def test_coroutines_that_are_not_in_a_list_are_refused_and_closed() -> None:
    coros = [answer(1), answer(2), answer(3), answer(4)]
    refusing: Any = as_completed
    for given in (coros[:2], [coros[2:3], coros[3]]):
        with pytest.raises(TypeError) as caught:
            refusing(*given)
        assert "as_completed() expects one iterable of coroutine objects, got 2 arguments" in str(
            caught.value
        )
        assert "put the coroutine objects in a list" in str(caught.value)
    assert closed(coros)


@rule("P3")
async def test_a_single_coroutine_is_refused_and_closed() -> None:
    coro = answer(1)
    with pytest.raises(TypeError, match="expects an iterable of coroutine objects, got <coroutine object"):
        as_completed(coro)  # type: ignore[call-overload]
    assert closed([coro])


@rule("P3")
async def test_whoever_still_iterates_when_the_block_is_left_is_told_so(tick: float) -> None:
    async def iterate(results: AsCompleted[Any]) -> None:
        with pytest.raises(RuntimeError, match="inside `async with as_completed"):
            async for _ in results:
                pass

    async with task_group() as tg:
        async with as_completed([answer(1), sleep_forever()]) as results:
            tg.create_task(iterate(results))
            await sleep(tick)


@rule("P1", "P2")
@pytest.mark.parametrize("pattern", [gather, first])
async def test_a_list_in_the_place_of_arguments_is_refused_and_its_coroutines_are_closed(
    pattern: Any,
) -> None:
    coros = [checkpoint(), checkpoint()]
    with pytest.raises(TypeError, match=r"got \[<coroutine .*; unpack it with a `\*`"):
        await pattern(coros)
    assert [getcoroutinestate(coro) for coro in coros] == [CORO_CLOSED] * 2


async def name_of_the_task() -> str:
    await checkpoint()  # an eager loop before 3.14 names a task after its first step
    if current_backend() == "trio":
        import trio

        return trio.lowlevel.current_task().name
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


@rule("P2", "P3")
async def test_the_children_are_named_after_their_coroutines() -> None:
    assert await first(name_of_the_task()) == "name_of_the_task"
    async with as_completed([name_of_the_task()]) as results:
        assert [name async for name in results] == ["name_of_the_task"]


@rule("P3")
async def test_the_child_that_takes_coroutines_from_the_source_is_named_after_the_call() -> None:
    async def source() -> AsyncGenerator[Coroutine[Any, Any, str]]:
        name = await name_of_the_task()
        yield echo(name)

    async def echo(name: str) -> str:
        return name

    async with as_completed(source()) as results:
        assert [name async for name in results] == ["as_completed"]


@rule("P2", "C7")
async def test_all_failures_of_first_can_be_shown_copied_and_pickled() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await first(fail(OSError("no route")))
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert repr(error) == "ExceptionGroup('all attempts failed', [OSError('no route')])"
