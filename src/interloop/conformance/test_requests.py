"""Chapter C: requests of others are never lost, and anyio's shields hold."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext, suppress
from inspect import CORO_CLOSED, getcoroutinestate
from itertools import product
from math import inf
from typing import Any, TypeAlias

import pytest

from interloop import (
    as_completed,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    first,
    gather,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Enclosing,
    Inside,
    anyio_is_here,
    asyncio_inside_trio,
    clean_up,
    fail,
    fail_when_cancelled,
    in_deadline,
    in_group,
    in_native_task,
    in_native_timeout,
    in_outer_group,
    in_task,
    needs_anyio,
    note_the_end,
    settle,
)
from interloop.conformance.test_cancellation import (
    WAYS_OF_LEAVING,
    Way,
    counting_turns,
    in_every_own_scope,
    return_after,
    the_body_cancels_and_catches_it,
    the_time_comes_and_the_block_catches_it,
    the_time_comes_and_the_block_fails,
    wait_in_all_manners,
)

# Scopes of others that cancel themselves after a tick, beside those of `_helpers`


async def in_anyio_scope(tick: float, inside: Inside) -> None:
    import anyio

    with anyio.move_on_after(tick):
        await inside()


async def in_anyio_group(tick: float, inside: Inside) -> None:
    import anyio

    async def stop() -> None:
        await sleep(tick)
        tg.cancel_scope.cancel()

    async with anyio.create_task_group() as tg:
        tg.start_soon(stop)
        await inside()


async def in_asyncio_group(tick: float, inside: Inside) -> None:
    async def stop() -> None:
        await asyncio.sleep(tick)
        raise KeyError("the end")

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as tg:
            tg.create_task(stop())
            await inside()


async def in_native_cancel_of_a_child(tick: float, inside: Inside) -> None:
    async with task_group() as tg:
        task = tg.create_task(inside())
        await sleep(tick)
        task.native.cancel()


OURS: list[Enclosing] = [in_deadline, in_group, in_outer_group, in_task]
THEIRS: list[Enclosing] = [in_native_timeout, in_native_task]
ANYIOS: list[Enclosing] = [in_anyio_scope, in_anyio_group]
ASYNCIOS: list[Enclosing] = [
    in_native_cancel_of_a_child,
    # before 3.13 asyncio's own group leaves behind a request that nobody made
    *([in_asyncio_group] if sys.version_info >= (3, 13) else []),
]


def scopes() -> list[Enclosing]:
    """All that there are on this host."""
    found = OURS + THEIRS
    if anyio_can_be_held_back():
        found += ANYIOS
    return found if current_backend() == "trio" else found + ASYNCIOS


def pairs() -> list[tuple[Enclosing, Enclosing]]:
    """Pairs of an outer and an inner one.

    With anyio's not all, since they keep the loop busy: a few of each kind. And without those that end
    wrongly by themselves: an `asyncio.TaskGroup` that cancelled its task inside a scope of anyio.
    """
    with_anyio = [in_deadline, in_task, in_native_timeout, in_anyio_scope]
    return [
        (outer, inner)
        for outer, inner in product(scopes(), scopes())
        if (outer not in ANYIOS or inner in with_anyio) and (inner not in ANYIOS or outer in with_anyio)
    ]


def in_times(pair: tuple[Enclosing, Enclosing]) -> list[tuple[int, int]]:
    """When the outer and the inner one cancel themselves."""
    return [(1, 3), (3, 1)] if set(pair) & set(ANYIOS) else [(1, 3), (3, 1), (1, 1)]


def anyio_can_be_held_back() -> bool:
    # its scopes keep asking, and on trio-asyncio virtual time does not pass while the loop is busy
    return anyio_is_here() and not asyncio_inside_trio()


async def nothing_is_left(tick: float) -> None:
    await wait_in_all_manners(tick)
    if current_backend() == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


# What was pending when a scope was entered

Pending: TypeAlias = Callable[[Inside], Coroutine[Any, Any, None]]


async def by_a_group(inside: Inside) -> None:
    async with task_group() as tg:
        tg.cancel()
        await inside()


async def by_a_group_around(inside: Inside) -> None:
    async with task_group() as outer, deadline(None), task_group():
        outer.cancel()
        await inside()


async def by_a_deadline(inside: Inside) -> None:
    with deadline(0, suppress=True):
        await inside()


async def by_its_task(inside: Inside) -> None:
    async def child() -> None:
        await checkpoint()  # an eager loop hands out a task after its first step
        task.cancel()
        await inside()

    async with task_group() as tg:
        task = tg.create_task(child())


async def by_the_host(inside: Inside) -> None:
    if current_backend() == "trio":
        import trio

        with trio.CancelScope() as scope:
            scope.cancel()
            await inside()
        return

    async def cancelled() -> None:
        cancel_this_task()
        await inside()

    await asyncio.wait([asyncio.create_task(cancelled())])


async def by_the_host_twice(inside: Inside) -> None:
    async def twice() -> None:
        if current_backend() == "asyncio":
            cancel_this_task()
        await inside()

    await by_the_host(twice)


async def by_the_host_and_a_group(inside: Inside) -> None:
    async def both() -> None:
        async with task_group() as tg:
            tg.cancel()
            await inside()

    await by_the_host(both)


async def by_a_native_timeout(inside: Inside) -> None:
    if current_backend() == "trio":
        import trio

        with trio.move_on_after(0):
            await inside()
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await inside()


async def by_an_anyio_scope(inside: Inside) -> None:
    import anyio

    with anyio.CancelScope() as scope:
        scope.cancel()
        await inside()


PENDING: list[Any] = [
    by_a_group,
    by_a_group_around,
    by_a_deadline,
    by_its_task,
    by_the_host,
    by_the_host_twice,
    by_the_host_and_a_group,
    by_a_native_timeout,
    pytest.param(by_an_anyio_scope, marks=needs_anyio),
]

SWALLOWING = [
    the_body_cancels_and_catches_it,
    the_time_comes_and_the_block_catches_it,
    the_time_comes_and_the_block_fails,
]


@rule("C5", "G4", "L3")
@pytest.mark.parametrize("pending", PENDING, ids=lambda pending: pending.__name__)
async def test_what_was_pending_when_a_scope_was_entered_arrives_after_it_or_in_it(
    pending: Pending, tick: float
) -> None:
    if pending is by_an_anyio_scope and not anyio_can_be_held_back():
        pytest.skip("virtual time does not pass on trio-asyncio while anyio keeps its loop busy")
    passed: list[str] = []

    def work(leave: Way) -> Inside:
        async def work() -> None:
            await leave(tick)
            await checkpoint()
            passed.append(leave.__name__)

        return work

    for leave in WAYS_OF_LEAVING:
        if leave not in SWALLOWING:
            await pending(work(leave))
            await checkpoint()
    assert passed == []
    await nothing_is_left(tick)


@rule("C5", "G4", "G5", only="asyncio")
@pytest.mark.parametrize("in_clean_up", [False, True])
async def test_what_was_pending_when_a_group_was_entered_keeps_its_message(
    in_clean_up: bool, tick: float
) -> None:
    messages: list[str] = []

    async def work() -> None:
        cancel_this_task("shutdown")
        try:
            with suppress(ExceptionGroup):
                async with task_group() as tg:
                    tg.create_task(fail_when_cancelled(OSError()) if in_clean_up else fail(OSError()))
            await asyncio.sleep(tick)
        except asyncio.CancelledError as error:
            messages.append(str(error))
            raise

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    assert task.cancelled()
    assert messages == ["shutdown"]


@rule("C5", "C2", only="asyncio")
async def test_what_was_pending_at_entry_and_is_taken_back_inside_does_not_arrive(tick: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    async with task_group() as tg:
        tg.create_task(checkpoint())
        with suppress(asyncio.CancelledError):
            await checkpoint()
        task.uncancel()
        await checkpoint()
    await nothing_is_left(tick)


# Several requests that are held back, one of which is taken back

Hold: TypeAlias = Callable[[float], Coroutine[Any, Any, None]]


async def in_a_shield(seconds: float) -> None:
    await shield(sleep(seconds))


async def in_two_shields(seconds: float) -> None:
    await shield(sleep(seconds / 2))
    await shield(sleep(seconds / 2))


async def in_nested_shields(seconds: float) -> None:
    await shield(in_two_shields(seconds))


async def in_a_shield_with_scopes(seconds: float) -> None:
    async def work() -> None:
        async with deadline(seconds, suppress=True), task_group() as tg:
            tg.create_task(sleep_forever())

    await shield(work())


async def in_a_shield_that_times_out(seconds: float) -> None:
    with suppress(TimeoutError):
        await shield(sleep_forever(), timeout=seconds)


async def in_a_group_whose_child_fails(seconds: float) -> None:
    with suppress(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(fail_in_clean_up(seconds))


async def in_a_group_whose_body_fails(seconds: float) -> None:
    with suppress(ExceptionGroup):
        async with task_group():
            await fail_in_clean_up(seconds)


async def in_a_shield_and_a_group_that_fails(seconds: float) -> None:
    await shield(sleep(seconds / 2))
    await in_a_group_whose_child_fails(seconds / 2)


async def fail_in_clean_up(seconds: float) -> None:
    until = current_time() + seconds
    try:
        await sleep_forever()
    finally:
        await shield(sleep(max(0, until - current_time())))
        raise OSError("while disconnecting")


holding_back: pytest.MarkDecorator = pytest.mark.parametrize(
    "hold",
    [
        in_a_shield,
        in_two_shields,
        in_nested_shields,
        in_a_shield_with_scopes,
        in_a_shield_that_times_out,
        in_a_group_whose_child_fails,
        in_a_group_whose_body_fails,
        in_a_shield_and_a_group_that_fails,
    ],
    ids=lambda hold: hold.__name__,
)


async def each_alone(
    complaints: dict[str, Any], cases: dict[str, Callable[[list[str]], Coroutine[Any, Any, None]]], right: Any
) -> None:
    """Run the cases side by side; complain of those that do not note what is right, or are cancelled."""

    async def run(name: str) -> None:
        log: list[str] = []
        complaints[name] = log
        try:
            await cases[name](log)
        except Exception as error:
            log.append(repr(error))
        if right(log):
            del complaints[name]

    async with task_group() as tg:
        for name in cases:
            tg.create_task(run(name), name=name)


def cancelled_during(
    hold: Hold, outer: Enclosing, tick: float, then: Callable[[list[str]], Awaitable[object]]
) -> Callable[[list[str]], Coroutine[Any, Any, None]]:
    """A case: `outer` is cancelled during `hold`, and `then` comes before the next checkpoint."""

    async def run(log: list[str]) -> None:
        async def inside() -> None:
            await hold(2 * tick)
            await then(log)
            await checkpoint()
            log.append("passed")

        await outer(tick, inside)
        log.append("left")
        await nothing_is_left(tick)

    return run


@rule("C5", "C4", "G4")
@holding_back
async def test_of_two_that_were_held_back_the_outer_one_arrives(hold: Hold, tick: float) -> None:
    def case(outer: Enclosing, inner: Enclosing, outer_time: int, inner_time: int) -> Any:
        async def run(log: list[str]) -> None:
            async def between() -> None:
                await inner(inner_time * tick, lambda: hold(4 * tick))
                await checkpoint()
                log.append("passed")

            await outer(outer_time * tick, between)
            log.append("left")
            await nothing_is_left(tick)

        return run

    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__} ({times[0]}), {inner.__name__} ({times[1]})": case(outer, inner, *times)
        for outer, inner in pairs()
        for times in in_times((outer, inner))
    }
    await each_alone(complaints, cases, lambda log: log == ["left"])
    assert complaints == {}


@rule("C5", "C4", "G4", "C2")
@holding_back
async def test_of_two_that_were_held_back_and_taken_back_none_arrives(hold: Hold, tick: float) -> None:
    def case(outer: Enclosing, inner: Enclosing, outer_time: int, inner_time: int) -> Any:
        async def run(log: list[str]) -> None:
            async def between() -> None:
                await inner(inner_time * tick, lambda: hold(4 * tick))

            await outer(outer_time * tick, between)
            log.append("left")
            await nothing_is_left(tick)

        return run

    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__} ({times[0]}), {inner.__name__} ({times[1]})": case(outer, inner, *times)
        for outer, inner in pairs()
        for times in in_times((outer, inner))
    }
    await each_alone(complaints, cases, lambda log: log == ["left"])
    assert complaints == {}


@rule("C5", "C4", "G4", only="asyncio")
@holding_back
@pytest.mark.parametrize("timeouts", [1, 2, 3])
async def test_a_native_cancel_beside_timeouts_that_were_taken_back_arrives(
    timeouts: int, hold: Hold, tick: float
) -> None:
    log: list[str] = []

    async def work(depth: int) -> None:
        if depth:
            with suppress(TimeoutError):
                async with asyncio.timeout(depth * tick):
                    await work(depth - 1)
        else:
            await hold(5 * tick)

    async def main() -> None:
        await work(timeouts)
        log.append("left")
        await asyncio.sleep(tick)
        log.append("passed")

    task = asyncio.create_task(main())
    await asyncio.sleep(1.5 * tick)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert "passed" not in log


# A scope that is entered while a cancellation is held back


@rule("C5", "C4", "C2")
@needs_anyio
async def test_an_anyio_scope_that_a_shield_cancels_at_once_cancels_nothing_after_it(
    tick: float,
) -> None:
    import anyio

    log: list[str] = []
    with anyio.CancelScope() as scope:

        async def shielded() -> None:
            scope.cancel()
            await sleep(tick)
            log.append("shielded")

        await shield(shielded())
    await checkpoint()
    log.append("passed")
    assert log == ["shielded", "passed"]


@rule("C5", "C4", only="asyncio")
@needs_anyio
async def test_an_anyio_scope_around_a_timeout_that_were_both_held_back_knows_its_own(tick: float) -> None:
    import anyio

    log: list[str] = []
    with anyio.move_on_after(2 * tick):
        async with asyncio.timeout(tick):
            await shield(sleep(3 * tick))
            log.append("held")
            await checkpoint()
            log.append("passed")
    log.append("left")
    await checkpoint()
    assert log == ["held", "left"]


@rule("C5", "C4", "G4", "L3")
@holding_back
async def test_a_scope_entered_while_a_cancellation_is_held_back_does_not_take_it(
    hold: Hold, tick: float
) -> None:
    def case(outer: Enclosing, entered: Enclosing) -> Any:
        return cancelled_during(hold, outer, tick, lambda _: entered(tick, lambda: clean_up(3 * tick, [])))

    def told_apart(outer: Enclosing, entered: Enclosing) -> bool:
        # asyncio counts the requests of others, and at entry the one that is held back is among them
        return current_backend() == "trio" or outer in OURS or entered in OURS

    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__}, {entered.__name__}": case(outer, entered)
        for outer, entered in pairs()
        if told_apart(outer, entered)
    }
    await each_alone(complaints, cases, lambda log: log == ["left"])
    assert complaints == {}


@rule("C5", "C4", "G4")
@holding_back
async def test_a_scope_that_is_entered_and_left_before_the_next_checkpoint_does_not_lose_what_is_held_back(
    hold: Hold, tick: float
) -> None:
    def case(outer: Enclosing, leave: Way) -> Any:
        return cancelled_during(hold, outer, tick, lambda _: leave(tick))

    async def a_deadline(_: float) -> None:
        with deadline(1000 * tick):
            pass

    async def a_deadline_that_has_expired(_: float) -> None:
        with deadline(0, suppress=True):
            pass

    async def a_group(_: float) -> None:
        async with task_group():
            pass

    async def a_group_that_was_cancelled(_: float) -> None:
        async with task_group() as tg:
            tg.cancel()

    async def a_group_that_fails(_: float) -> None:
        with suppress(ExceptionGroup):
            async with task_group():
                raise OSError("no route")

    async def a_native_timeout(tick: float) -> None:
        await in_native_timeout(1000 * tick, nothing)

    async def an_anyio_scope(tick: float) -> None:
        await in_anyio_scope(1000 * tick, nothing)

    ways: list[Way] = [a_deadline, a_deadline_that_has_expired, a_native_timeout]
    ways += [a_group, a_group_that_was_cancelled, a_group_that_fails]
    ways += [an_anyio_scope] if anyio_can_be_held_back() else []
    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__}, {leave.__name__}": case(outer, leave) for outer, leave in product(scopes(), ways)
    }
    await each_alone(complaints, cases, lambda log: log == ["left"])
    assert complaints == {}


@rule("C8", "C5", "C4", "G4")
@needs_anyio
@holding_back
async def test_what_is_held_back_outside_of_a_shield_of_anyio_outlasts_the_scopes_inside_it(
    hold: Hold, tick: float
) -> None:
    import anyio

    def case(outer: Enclosing, leave: Way) -> Any:
        async def leave_in_a_shield(log: list[str]) -> None:
            with anyio.CancelScope(shield=True):
                await leave(tick)
                log.append("shielded")

        return cancelled_during(hold, outer, tick, leave_in_a_shield)

    async def a_deadline_that_expires(tick: float) -> None:
        await in_deadline(tick, sleep_forever)

    async def a_deadline_that_has_expired(_: float) -> None:
        with deadline(0, suppress=True):
            await sleep_forever()

    async def a_group_that_is_cancelled(tick: float) -> None:
        await in_group(tick, sleep_forever)

    async def a_group_that_was_cancelled(_: float) -> None:
        async with task_group() as tg:
            tg.cancel()
            await sleep_forever()

    async def a_group_that_another_task_cancels_in_the_same_turn(_: float) -> None:
        async with task_group() as tg:
            asyncio.get_running_loop().call_soon(tg.cancel)
            await sleep_forever()

    async def one_that_is_held_back_too(tick: float) -> None:
        async def inside() -> None:
            await hold(2 * tick)
            await sleep_forever()

        await in_group(tick, inside)

    async def a_native_timeout(tick: float) -> None:
        await in_native_timeout(tick, sleep_forever)

    async def an_anyio_scope(tick: float) -> None:
        await in_anyio_scope(tick, sleep_forever)

    ways: list[Way] = [a_deadline_that_expires, a_deadline_that_has_expired]
    ways += [a_group_that_is_cancelled, a_group_that_was_cancelled, one_that_is_held_back_too]
    ways += [an_anyio_scope]
    if current_backend() == "trio" or sys.version_info >= (3, 11, 3):
        ways.append(a_native_timeout)  # older ones let CancelledError out if another request is counted
    if current_backend() == "asyncio":
        ways.append(a_group_that_another_task_cancels_in_the_same_turn)
    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__}, {leave.__name__}": case(outer, leave) for outer, leave in product(OURS, ways)
    }
    await each_alone(complaints, cases, lambda log: log == ["shielded", "left"])
    assert complaints == {}


@rule("C8", "C4", "G4")
@needs_anyio
@holding_back
async def test_of_two_that_wait_for_the_end_of_a_shield_of_anyio_the_outer_one_outlasts_the_inner_one(
    hold: Hold, tick: float
) -> None:
    import anyio

    def case(outer: Enclosing) -> Any:
        async def run(log: list[str]) -> None:
            async def inside() -> None:
                with deadline(tick, suppress=True):
                    await hold(2 * tick)
                    with anyio.CancelScope(shield=True):
                        await sleep(tick)
                await checkpoint()
                log.append("passed")

            await outer(tick, inside)
            log.append("left")
            await nothing_is_left(tick)

        return run

    complaints: dict[str, Any] = {}
    await each_alone(complaints, {outer.__name__: case(outer) for outer in OURS}, lambda log: log == ["left"])
    assert complaints == {}


@rule("C8", "C4", "G4")
@needs_anyio
@holding_back
async def test_what_waits_for_the_end_of_a_shield_of_anyio_comes_once_whatever_is_held_back_in_there(
    hold: Hold, tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def hold_back() -> None:
        await hold(2 * tick)
        await sleep_forever()

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            for _ in range(3):
                await in_group(tick, hold_back)
        try:
            await sleep_forever()
        finally:
            log.append("came")
            if current_backend() == "asyncio":  # on trio every checkpoint is cancelled
                await sleep(tick)
            log.append("cleaned up")

    await in_group(tick, inside)
    assert log == ["came", "cleaned up"]


@rule("C8", "G4", "C5")
@needs_anyio
async def test_a_group_that_fails_in_clean_up_in_a_shield_of_anyio_loses_no_cancellation(tick: float) -> None:
    import anyio

    async def fail_in_the_body() -> None:
        async with task_group():
            raise OSError("no route")

    async def fail_in_a_child() -> None:
        async with task_group() as tg:
            tg.create_task(fail(OSError("no route")))

    async def fail_in_a_group_that_is_cancelled() -> None:
        async with task_group() as tg:
            tg.cancel()
            raise OSError("no route")

    def case(outer: Enclosing, clean_up: Callable[[], Awaitable[None]]) -> Any:
        async def run(log: list[str]) -> None:
            async def inside() -> None:
                try:
                    try:
                        await sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            await clean_up()
                except* OSError:
                    log.append("error")
                await sleep(tick)
                log.append("passed")

            await outer(tick, inside)
            log.append("left")
            await nothing_is_left(tick)

        return run

    ways = [fail_in_the_body, fail_in_a_child, fail_in_a_group_that_is_cancelled]
    complaints: dict[str, Any] = {}
    cases = {f"{outer.__name__}, {way.__name__}": case(outer, way) for outer, way in product(OURS, ways)}
    await each_alone(complaints, cases, lambda log: log == ["error", "left"])
    assert complaints == {}


@rule("G9", "C5")
@holding_back
async def test_what_is_held_back_of_a_deadline_survives_that_the_one_around_it_is_left_first(
    hold: Hold, tick: float
) -> None:
    log: list[str] = []

    async def misuse() -> None:
        outer = deadline(2 * tick)
        outer.__enter__()
        with deadline(tick, suppress=True):
            await hold(3 * tick)
            with suppress(RuntimeError):
                outer.__exit__(None, None, None)
            try:
                await sleep(tick)
                log.append("passed")
            finally:
                log.append("came")

    # on trio it comes out of the block, since trio's scopes were left in that order too
    passes_on = [BaseException] if current_backend() == "trio" else []
    with suppress(*passes_on):
        async with task_group() as tg:
            tg.create_task(misuse())
    assert log == ["came"]


@rule("C5", "C8")
@needs_anyio
async def test_an_anyio_scope_does_not_take_a_cancellation_from_outside_for_its_own(
    tick: float,
) -> None:
    import anyio

    def case(outer: Enclosing, inner: Enclosing) -> Any:
        async def run(log: list[str]) -> None:
            async def wait_behind_a_shield() -> None:
                with anyio.CancelScope(shield=True):  # all of them are cancelled in here
                    await sleep(2 * tick)
                async with task_group():
                    await sleep_forever()

            async def inside() -> None:
                with anyio.move_on_after(tick):
                    await inner(tick, wait_behind_a_shield)
                    log.append("inside the scope")
                log.append("after the scope")

            await outer(tick, inside)
            log.append("left")
            await nothing_is_left(tick)

        return run

    complaints: dict[str, Any] = {}
    cases = {
        f"{outer.__name__}, {inner.__name__}": case(outer, inner) for outer, inner in product(OURS, OURS[:2])
    }
    await each_alone(complaints, cases, lambda log: log == ["left"])
    assert complaints == {}


@rule("C4", "C1", only="asyncio")
async def test_a_cancellation_that_comes_first_stands_for_what_is_held_back(tick: float) -> None:
    log: list[str] = []
    loop = asyncio.get_running_loop()

    async def hold_back(outer: Any) -> None:
        await sleep(2 * tick)
        loop.call_soon(loop.call_soon, outer.cancel)  # just before what is held back is delivered

    async with task_group() as outer:
        with deadline(tick, suppress=True):
            await shield(hold_back(outer))
            try:
                await sleep_forever()
            finally:
                await sleep(tick)
                log.append("cleaned up")
    assert log == ["cleaned up"]


@rule("G13", "G4", "C5", only="asyncio")
async def test_a_request_that_an_error_hides_arrives_where_the_cancelled_group_around_is_left() -> None:
    log: list[str] = []

    async def fail_in_clean_up() -> None:
        try:
            await checkpoint()
        finally:
            raise OSError("goodbye")  # Python shows "no route" in its context, and no cancellation

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        async with task_group() as tg:
            tg.cancel()
            with suppress(ExceptionGroup):
                async with task_group():
                    try:
                        raise OSError("no route")
                    finally:
                        await fail_in_clean_up()
            log.append("failed")
        log.append("passed")

    task = asyncio.create_task(main())
    await asyncio.wait([task])
    assert (log, task.cancelled()) == (["failed"], True)


class Given(asyncio.Future[str]):
    """A future whose value is given at the very moment when a task begins to wait for it."""

    def add_done_callback(self, *args: Any, **options: Any) -> None:
        super().add_done_callback(*args, **options)
        if not self.done():
            self.set_result("value")


@rule("C1", "C4", "G4", only="asyncio")
@holding_back
async def test_a_value_that_is_on_its_way_arrives_before_what_was_held_back(hold: Hold, tick: float) -> None:
    async def take(log: list[str]) -> None:
        log.append(await Given())

    complaints: dict[str, Any] = {}
    cases = {outer.__name__: cancelled_during(hold, outer, tick, take) for outer in scopes()}
    await each_alone(complaints, cases, lambda log: log == ["value", "left"])
    assert complaints == {}


# The end of asyncio.run

Work: TypeAlias = Callable[[list[str]], Coroutine[Any, Any, None]]


async def slow(log: list[str]) -> None:
    await sleep(0.02)
    log.append("done")


async def a_group(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_task(slow(log))
        tg.create_task(slow(log))


async def a_group_in_a_group(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_task(a_group(log))


async def a_group_that_creates_late(log: list[str]) -> None:
    async with task_group() as tg, deadline(10):
        await sleep(0.015)
        tg.create_task(slow(log))
        await tg.create_task(slow(log))


async def a_group_that_is_opened_late_in_a_child(log: list[str]) -> None:
    async def open_late() -> None:
        await asyncio.sleep(0)
        await a_group(log)

    async with task_group() as tg:
        await asyncio.sleep(0)  # by now asyncio knows the shield's task no more
        tg.create_task(open_late())


async def a_limited_group(log: list[str]) -> None:
    async with task_group(limit=1) as tg:
        tg.create_task(slow(log))
        tg.create_task(slow(log))


async def a_background_task(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_background_task(sleep_forever())
        tg.create_task(a_group(log))


async def in_gather(log: list[str]) -> None:
    await gather(slow(log), slow(log))


async def in_the_race_of_first(log: list[str]) -> None:
    await first(a_group(log), sleep_forever())


async def in_as_completed(log: list[str]) -> None:
    async with as_completed([slow(log), slow(log)]) as results:
        async for _ in results:
            pass


async def a_shield(log: list[str]) -> None:
    await shield(a_group(log))


async def a_shield_in_a_child(log: list[str]) -> None:
    async with task_group() as tg:
        tg.create_task(shield(a_group(log)))


@rule("C5", "C4", only="asyncio")
@pytest.mark.parametrize(
    "work",
    [
        a_group,
        a_group_in_a_group,
        a_group_that_creates_late,
        a_group_that_is_opened_late_in_a_child,
        a_limited_group,
        a_background_task,
        in_gather,
        in_the_race_of_first,
        in_as_completed,
        a_shield,
        a_shield_in_a_child,
    ],
    ids=lambda work: work.__name__,
)
async def test_the_end_of_asyncio_run_leaves_alone_what_is_in_a_shield(work: Work) -> None:
    log: list[str] = []

    async def server() -> None:
        await shield(work(log))
        log.append("shielded")
        await asyncio.sleep(0)
        log.append("passed")

    def run_and_leave_a_task() -> asyncio.Task[None]:
        async def main() -> asyncio.Task[None]:
            task = asyncio.create_task(server())
            await asyncio.sleep(0.01)
            return task

        return asyncio.run(main())

    task = await asyncio.to_thread(run_and_leave_a_task)
    assert log == ["done", "done", "shielded"]
    assert task.cancelled()


@rule("C5", "C4", only="asyncio")
async def test_asyncio_knows_the_children_that_are_in_no_shield() -> None:
    async with task_group() as tg:
        tg.create_task(shield(sleep(0.02)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        beside = tg.create_task(sleep_forever())
        assert beside.native in asyncio.all_tasks()
        tg.cancel()


@rule("C5", "C4", only="asyncio")
async def test_the_end_of_asyncio_run_reaches_a_group_outside_of_the_shield_in_its_body() -> None:
    log: list[str] = []

    async def server() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            await shield(slow(log))

    def run_and_leave_a_task() -> None:
        async def main() -> None:
            left.append(asyncio.create_task(server()))
            await asyncio.sleep(0.01)

        left: list[asyncio.Task[None]] = []
        asyncio.run(main())

    await asyncio.to_thread(run_and_leave_a_task)
    assert sorted(log) == ["child", "done"]


@rule("C5", "G14", only="asyncio")
@pytest.mark.parametrize("cleans_up", ["nobody", "the body", "the child"])
async def test_the_end_of_asyncio_run_ends_a_limited_group_with_all_who_wait_in_it(cleans_up: str) -> None:
    log: list[str] = []
    waiting = [note_the_end(log) for _ in range(3)]

    async def child() -> None:
        try:
            await sleep_forever()
        finally:
            if cleans_up == "the child":
                await shield(slow(log))

    async def server() -> None:
        async with task_group(limit=1) as tg:
            tg.create_task(child())
            for coro in waiting:
                tg.create_task(coro)
            try:
                await sleep_forever()
            finally:
                if cleans_up == "the body":  # a slot is free, and the group is not yet cancelled
                    await slow(log)

    def run_and_leave_a_task() -> asyncio.Task[None]:
        async def main() -> asyncio.Task[None]:
            task = asyncio.create_task(server())
            await asyncio.sleep(0.01)
            return task

        return asyncio.run(main())

    task = await asyncio.to_thread(run_and_leave_a_task)
    assert task.cancelled()
    assert log == {"nobody": [], "the body": ["done", "child"], "the child": ["done"]}[cleans_up]
    assert {getcoroutinestate(coro) for coro in waiting} == {CORO_CLOSED}


# C8: anyio's shields hold against our cancellations


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_holds(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(2 * tick)
            await anyio.sleep(tick)
            await checkpoint()
            log.append("held")
        log.append("left")
        await checkpoint()
        log.append("passed")

    began = current_time()
    await enclosing(tick, inside)
    assert log == ["held", "left"]
    assert current_time() - began >= 2.9 * tick
    await nothing_is_left(tick)


FirstCheckpoint: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


async def a_native_sleep() -> None:
    if current_backend() == "trio":
        import trio

        await trio.sleep(0)
    else:
        await asyncio.sleep(0)


async def an_anyio_checkpoint() -> None:
    import anyio.lowlevel

    await anyio.lowlevel.checkpoint()


async def the_end_of_a_group() -> None:
    async with task_group():
        pass


async def a_shield_and_a_checkpoint() -> None:
    await shield(checkpoint())
    await checkpoint()


async def an_anyio_shield_and_a_checkpoint() -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        await checkpoint()
    await checkpoint()


@rule("C8")
@needs_anyio
@in_every_own_scope
@pytest.mark.parametrize(
    "first_checkpoint",
    [
        checkpoint,
        sleep_forever,
        a_native_sleep,
        an_anyio_checkpoint,
        the_end_of_a_group,
        a_shield_and_a_checkpoint,
        an_anyio_shield_and_a_checkpoint,
    ],
    ids=lambda first_checkpoint: first_checkpoint.__name__,
)
async def test_the_cancellation_arrives_at_the_first_checkpoint_after_an_anyio_shield(
    first_checkpoint: FirstCheckpoint, enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(2 * tick)
        log.append("left")
        await first_checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["left"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_in_clean_up_holds(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        try:
            await sleep_forever()
        finally:
            with anyio.move_on_after(2 * tick, shield=True):
                async with task_group() as tg:
                    tg.create_task(return_after(tick, "child"))
                log.append("said goodbye")
                await note_the_end(log, "timed out")

    await enclosing(tick, inside)
    assert log == ["said goodbye", "timed out"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_around_our_scope_does_not_hold_against_it(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []
    with anyio.CancelScope(shield=True):
        await enclosing(tick, lambda: note_the_end(log))
        log.append("after")
        await checkpoint()
        log.append("passed")
    assert log == ["child", "after", "passed"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_our_scopes_inside_an_anyio_shield_work(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            await in_deadline(2 * tick, lambda: note_the_end(log, "deadline"))
            await in_group(tick, lambda: note_the_end(log, "group"))
            await in_task(tick, lambda: note_the_end(log, "task"))
            log.append("held")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["deadline", "group", "task", "held"]
    await nothing_is_left(tick)


@rule("C8", "C6")
@needs_anyio
@in_every_own_scope
async def test_groups_inside_an_anyio_shield_are_not_reached(enclosing: Enclosing, tick: float) -> None:
    import anyio

    results: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            async with task_group() as tg:
                before = tg.create_task(return_after(2 * tick, "before"))
                await sleep(2 * tick)
                after = tg.create_task(return_after(tick, "after"))
            results.extend([before.result(), after.result()])
            results.extend(await gather(return_after(tick, "gathered"), return_after(tick, "together")))

    await enclosing(tick, inside)
    assert results == ["before", "after", "gathered", "together"]
    await nothing_is_left(tick)


@rule("C8", "C6")
@needs_anyio
@in_every_own_scope
async def test_the_children_beside_an_anyio_shield_are_reached_at_once(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            with anyio.CancelScope(shield=True):
                await sleep(3 * tick)
                log.append("held")

    await enclosing(tick, inside)
    assert log == ["child", "held"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_the_outer_of_two_nested_anyio_shields_holds_too(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            with anyio.CancelScope(), anyio.CancelScope(shield=True):
                await sleep(2 * tick)
            await sleep(tick)
            log.append("held")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["held"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_holds_inside_scopes_of_anyio_that_hold_nothing(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True), anyio.CancelScope(), anyio.move_on_after(1000 * tick):
            await sleep(3 * tick)
            log.append("held")
        with anyio.CancelScope():
            await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["held"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_both_kinds_of_shield_hold_inside_each_other(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def anyios() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(tick)
        await sleep(tick)
        log.append("ours around theirs")

    async def inside() -> None:
        await shield(anyios())
        with anyio.CancelScope(shield=True):
            await shield(sleep(tick))
            await sleep(tick)
            log.append("theirs around ours")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["ours around theirs", "theirs around ours"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_that_is_put_up_while_the_task_waits_holds(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []
    scope = anyio.CancelScope()

    async def put_up() -> None:
        await sleep(tick)
        scope.shield = True

    async def inside() -> None:
        with scope:
            await sleep(4 * tick)
            log.append("held")
        await checkpoint()
        log.append("passed")

    async with task_group() as tg:
        tg.create_task(put_up())
        await enclosing(2 * tick, inside)
    assert log == ["held"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_shield_that_is_taken_down_while_the_task_waits_holds_until_the_wait_ends_at_most(
    enclosing: Enclosing, tick: float
) -> None:
    """On trio the wait itself is cancelled; asyncio tells nobody that the shield is gone."""
    import anyio

    log: list[str] = []
    scope = anyio.CancelScope(shield=True)

    async def take_down() -> None:
        await sleep(2 * tick)
        scope.shield = False

    async def inside() -> None:
        with scope:
            await sleep(4 * tick)
            await checkpoint()
            log.append("passed")

    async with task_group() as tg:
        tg.create_task(take_down())
        await enclosing(tick, inside)
    assert log == []
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_the_own_cancellation_of_an_anyio_shield_is_its_own(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.CancelScope(shield=True) as scope:
            await sleep(2 * tick)
            scope.cancel()
            await note_the_end(log, "cancelled")
        log.append("left")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["cancelled", "left"]
    await nothing_is_left(tick)


@rule("C8")
@needs_anyio
@in_every_own_scope
async def test_an_anyio_group_that_is_shielded_is_waited_for(enclosing: Enclosing, tick: float) -> None:
    import anyio

    log: list[str] = []

    async def work() -> None:
        await anyio.sleep(2 * tick)
        log.append("worked")

    async def inside() -> None:
        async with anyio.create_task_group() as tg:
            tg.cancel_scope.shield = True
            tg.start_soon(work)
            await checkpoint()
        log.append("left")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["worked", "left"]
    await nothing_is_left(tick)


@rule("C8", "C2")
@needs_anyio
@in_every_own_scope
async def test_a_cancellation_that_an_anyio_shield_holds_is_withdrawn_if_its_scope_is_left(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(2 * tick)

    await enclosing(tick, inside)
    await nothing_is_left(tick)


@rule("C8", "C5")
@needs_anyio
@in_every_own_scope
async def test_of_two_that_an_anyio_shield_holds_the_outer_one_arrives(
    enclosing: Enclosing, tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with deadline(2 * tick, suppress=True), anyio.CancelScope(shield=True):
            await sleep(3 * tick)
        log.append("left")
        await checkpoint()
        log.append("passed")

    await enclosing(tick, inside)
    assert log == ["left"]
    await nothing_is_left(tick)


@rule("C8", "G4")
@needs_anyio
async def test_an_error_out_of_an_anyio_shield_wins_and_the_cancellation_comes_after(
    tick: float,
) -> None:
    import anyio

    log: list[str] = []
    with deadline(tick, suppress=True):
        try:
            async with task_group():
                with anyio.CancelScope(shield=True):
                    await sleep(2 * tick)
                    raise OSError("no route")
        except* OSError:
            log.append("error")
        await checkpoint()
        log.append("passed")
    assert log == ["error"]
    await nothing_is_left(tick)


@rule("C8", "L7")
@needs_anyio
async def test_no_deadline_is_seen_inside_an_anyio_shield(tick: float) -> None:
    import anyio

    seen: list[float] = []
    with deadline(tick, suppress=True):
        with anyio.CancelScope(shield=True):
            seen.append(current_deadline())
            with deadline(1000 * tick):
                seen.append(current_deadline() - current_time())
            with anyio.CancelScope(), anyio.CancelScope():
                await sleep(2 * tick)
                seen.append(current_deadline())
        seen.append(current_deadline())
    assert seen == [inf, pytest.approx(1000 * tick, rel=0.01), inf, -inf]


@rule("C8", "C3")
@needs_anyio
@in_every_own_scope
async def test_the_loop_is_idle_while_an_anyio_shield_holds(enclosing: Enclosing, tick: float) -> None:
    import anyio

    async def inside() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(20 * tick)

    with counting_turns() as turns:
        await enclosing(tick, inside)
    assert len(turns) < 50


@rule("C8")
@needs_anyio
async def test_a_task_that_is_born_cancelled_holds_in_an_anyio_shield(tick: float) -> None:
    import anyio

    log: list[str] = []

    async def child() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(tick)
            log.append("held")
        await checkpoint()
        log.append("passed")

    async with task_group() as tg:
        tg.cancel()
        tg.create_task(child())
        with anyio.CancelScope(shield=True):
            await sleep(2 * tick)
            log.append("held in the body")
        await checkpoint()
        log.append("passed in the body")
    assert log == ["held", "held in the body"]


@rule("C8")
@needs_anyio
@pytest.mark.parametrize("abandon", [False, True])
async def test_a_thread_of_anyio_is_waited_for_unless_it_may_be_abandoned(abandon: bool) -> None:
    import anyio.to_thread

    log: list[str] = []
    began, release, worked = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait()
        log.append("worked")
        worked.set()

    async def call() -> None:
        await anyio.to_thread.run_sync(work, abandon_on_cancel=abandon)
        log.append("waited for")
        await checkpoint()
        log.append("passed")

    async with task_group() as tg:
        group = task_group()

        async def cancelled() -> None:
            async with group:
                await call()

        task = tg.create_task(cancelled())
        await settle()
        assert began.wait(60)  # before it begins it would be dropped; reached only if no thread begins
        group.cancel()
        await settle()
        ended_before_the_thread = task.done()
        release.set()  # before anything can fail: the process would wait for the thread
    assert ended_before_the_thread == abandon
    assert worked.wait(60)  # reached only if the thread hangs
    assert log == (["worked"] if abandon else ["worked", "waited for"])


async def nothing() -> None:
    pass


def cancel_this_task(message: str | None = None) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel(message)


@needs_anyio
@rule("C4", "N5", only="asyncio")
async def test_a_shield_keeps_one_of_the_cancellations_that_anyio_throws_in_every_turn() -> None:
    import anyio

    kept: list[int] = []

    async def work() -> None:
        for _ in range(100):
            await checkpoint()
        kept.append(sum(type(one) is asyncio.CancelledError for one in gc.get_objects()))

    gc.collect()
    before = sum(type(one) is asyncio.CancelledError for one in gc.get_objects())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await shield(work())
    assert kept[0] - before < 10


# A scope of anyio cancels what waits in it in every turn; ours waits on in peace


async def wait_in_a_shield(seconds: float) -> None:
    await shield(sleep(seconds))


async def wait_for_a_child(seconds: float) -> None:
    async with task_group() as tg:
        tg.create_task(wait_in_a_shield(seconds))


@rule("C5", "L3", "N5")
@needs_anyio
@pytest.mark.parametrize("wait", [wait_in_a_shield, wait_for_a_child])
@pytest.mark.parametrize("outer", ["deadline", "group", "anyio"])
async def test_what_expires_around_a_cancelled_scope_of_anyio_in_which_ours_waits_is_not_lost(
    outer: str, wait: Callable[[float], Coroutine[Any, Any, None]], tick: float
) -> None:
    import anyio

    log: list[str] = []

    async def inside() -> None:
        with anyio.move_on_after(tick):
            try:
                await sleep_forever()
            finally:
                await wait(4 * tick)
        log.append("passed")

    if outer == "deadline":
        with pytest.raises(TimeoutError):
            async with deadline(2 * tick):
                await inside()
    elif outer == "group":
        async with task_group() as tg:
            task = tg.create_task(inside())
            await sleep(2 * tick)
            tg.cancel()
        assert task.cancelled()
    else:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(2 * tick):
                await inside()
    assert log == []


@rule("C8", "L1", "N5")
@needs_anyio
async def test_a_cancelled_scope_of_anyio_around_a_shielded_one_is_no_cancellation_in_it(tick: float) -> None:
    import anyio

    timed_out = False
    with anyio.CancelScope() as outer:  # swallows a cancellation that comes out in the place of the timeout
        outer.cancel()
        with anyio.CancelScope(shield=True):
            try:
                async with deadline(tick):
                    await sleep_forever()
            except TimeoutError:
                timed_out = True
    assert timed_out


async def leave_a_group_of_anyio() -> None:
    import anyio

    async with anyio.create_task_group():
        pass


async def wait_in_a_shield_of_anyio() -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        await settle()


async def time_out_in_a_shield_of_anyio() -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        with deadline(0, suppress=True):
            await checkpoint()


async def leave_a_group_that_waits_in_a_shield_of_anyio() -> None:
    import anyio

    async with task_group() as tg:
        tg.cancel()
        with anyio.CancelScope(shield=True):
            await settle()


@rule("C4", "C5", "N5", only="asyncio")
@needs_anyio
@pytest.mark.parametrize(
    "after",
    [
        leave_a_group_of_anyio,
        wait_in_a_shield_of_anyio,
        time_out_in_a_shield_of_anyio,
        leave_a_group_that_waits_in_a_shield_of_anyio,
    ],
)
@pytest.mark.parametrize("between", ["nothing", "deadline"])
async def test_a_scope_of_anyio_knows_its_own_if_a_native_one_inside_of_it_was_held_back_too(
    between: str, after: Callable[[], Coroutine[Any, Any, None]], tick: float
) -> None:
    import anyio

    log: list[str] = []
    around = nullcontext() if between == "nothing" else deadline(1000 * tick)
    with anyio.move_on_after(2 * tick) as scope:
        with around:
            async with asyncio.timeout(tick):
                await shield(sleep(4 * tick))
                await after()
                await checkpoint()
                log.append("passed")
    assert scope.cancelled_caught
    assert log == []
    await checkpoint()


@rule("C4", "C5", "N5", only="asyncio")
@needs_anyio
async def test_a_scope_of_anyio_knows_its_own_if_one_of_ours_in_a_shielded_one_was_held_back_too(
    tick: float,
) -> None:
    import anyio

    log: list[str] = []
    with anyio.move_on_after(tick) as scope:
        async with asyncio.timeout(2 * tick):
            await shield(sleep(4 * tick))
            with anyio.CancelScope(shield=True):
                with deadline(tick, suppress=True):
                    await shield(sleep(2 * tick))
                    await checkpoint()
                    log.append("passed")
    assert scope.cancelled_caught
    assert log == []
    await checkpoint()


@rule("C5", "C1", "N5", only="asyncio")
@needs_anyio
async def test_ours_around_a_scope_of_anyio_is_not_taken_for_that_ones_if_both_come_to_a_bare_yield() -> None:
    import anyio

    log: list[str] = []

    async def work() -> None:
        async with task_group() as tg:
            with anyio.CancelScope() as scope:
                scope.cancel()
                tg.cancel()
                await checkpoint()
                log.append("inside")
            await checkpoint()
            log.append("passed")

    async with task_group() as tg:
        tg.create_task(work())
    assert log == []
