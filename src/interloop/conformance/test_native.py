"""Chapter N: native interplay."""

# What is bound in a `with pytest.raises(...)` block is there after it, though a checker cannot know.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import ContextVar, copy_context
from itertools import product
from math import inf
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal, TypeAlias, cast

import pytest

from interloop import (
    TaskFailed,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Inside,
    compute,
    fail_when_cancelled,
    in_native_timeout,
    leaves,
    note_the_end,
)
from interloop.testing import Host

LONG = 10**6

Around: TypeAlias = Callable[[Inside], Coroutine[Any, Any, None]]


async def take(seconds: float) -> None:
    """Take time, and some checkpoints.

    It does not sleep: anyio's scopes on asyncio keep the loop busy while what they cancelled cleans up, and
    where time is virtual it does not pass while the loop is busy.
    """
    await checkpoint()
    compute(seconds)
    for _ in range(5):
        await checkpoint()


async def clean_up(seconds: float, log: list[str], note: str = "child") -> None:
    """Run until cancelled, and then take some time to stop."""
    try:
        await sleep_forever()
    finally:
        await shield(take(seconds))
        log.append(note)


def only_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        [error] = error.exceptions
    return error


async def wait_in_all_manners(tick: float) -> None:
    for _ in range(5):
        await checkpoint()
    await sleep(tick)


async def nothing_is_cancelled(tick: float) -> None:
    await wait_in_all_manners(tick)
    if current_backend() == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


# Our scopes and the native ones, each around `inside()`.


async def our_group(inside: Inside) -> None:
    async with task_group():
        await inside()


async def our_child(inside: Inside) -> None:
    async with task_group() as tg:
        tg.create_task(inside())


async def our_deadline(inside: Inside) -> None:
    async with deadline(LONG):
        await inside()


async def asyncio_group(inside: Inside) -> None:
    async with asyncio.TaskGroup():
        await inside()


async def asyncio_child(inside: Inside) -> None:
    async with asyncio.TaskGroup() as tg:
        tg.create_task(inside())


async def asyncio_timeout(inside: Inside) -> None:
    async with asyncio.timeout(LONG):
        await inside()


async def asyncio_wait_for(inside: Inside) -> None:
    await asyncio.wait_for(inside(), LONG)


async def trio_nursery(inside: Inside) -> None:
    import trio

    async with trio.open_nursery():
        await inside()


async def trio_child(inside: Inside) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(inside)


async def trio_scope(inside: Inside) -> None:
    import trio

    with trio.fail_after(LONG):
        await inside()


async def anyio_group(inside: Inside) -> None:
    import anyio

    async with anyio.create_task_group():
        await inside()


async def anyio_child(inside: Inside) -> None:
    import anyio

    async with anyio.create_task_group() as tg:
        tg.start_soon(inside)


async def anyio_scope(inside: Inside) -> None:
    import anyio

    with anyio.fail_after(LONG):
        await inside()


OURS: list[Around] = [our_group, our_child, our_deadline]
THEIRS: list[tuple[str, Literal["asyncio", "trio"] | None, list[Around]]] = [
    ("N1", "asyncio", [asyncio_group, asyncio_child]),
    ("N2", "asyncio", [asyncio_timeout, asyncio_wait_for]),
    ("N4", "trio", [trio_nursery, trio_child, trio_scope]),
    ("N5", None, [anyio_group, anyio_child, anyio_scope]),
]


def ours_and_theirs(*but: Around) -> Iterator[Any]:
    for rule_id, only, theirs in THEIRS:
        for outer, inner in [*product(OURS, theirs), *product(theirs, OURS)]:
            if outer in but or inner in but:
                continue
            name = f"{outer.__name__}-{inner.__name__}"
            yield pytest.param(outer, inner, marks=rule(rule_id, only=only), id=name)


in_both_orders: pytest.MarkDecorator = pytest.mark.parametrize(("outer", "inner"), list(ours_and_theirs()))


@in_both_orders
async def test_the_block_ends(outer: Around, inner: Around, tick: float) -> None:
    log = []

    async def work() -> None:
        await sleep(tick)
        log.append("worked")

    await outer(lambda: inner(work))
    await nothing_is_cancelled(tick)
    assert log == ["worked"]


@in_both_orders
async def test_the_block_fails(outer: Around, inner: Around, tick: float) -> None:
    error = OSError("no route")

    async def fail_later() -> None:
        await sleep(
            tick
        )  # before 3.13 asyncio's own group mishandles a child that fails in an eager first step
        raise error

    with pytest.raises((OSError, ExceptionGroup)) as caught:
        await outer(lambda: inner(fail_later))
    await wait_in_all_manners(tick)  # but before 3.13 an asyncio group leaves cancelling() at 1
    assert only_leaf(caught.value) is error


@in_both_orders
async def test_a_deadline_around_both_expires(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await outer(lambda: inner(lambda: note_the_end(log)))
    await nothing_is_cancelled(tick)
    assert log == ["child"]


@in_both_orders
async def test_a_group_around_both_is_cancelled(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.create_task(outer(lambda: inner(lambda: note_the_end(log))))
        await sleep(tick)
        tg.cancel()
    await nothing_is_cancelled(tick)
    assert log == ["child"]


@in_both_orders
async def test_a_native_timeout_around_both_expires(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []
    await in_native_timeout(tick, lambda: outer(lambda: inner(lambda: note_the_end(log))))
    await nothing_is_cancelled(tick)
    assert log == ["child"]


@in_both_orders
async def test_a_deadline_between_the_two_expires(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []

    async def between() -> None:
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await inner(lambda: note_the_end(log))
        await nothing_is_cancelled(tick)
        log.append("after the deadline")

    await outer(between)
    await nothing_is_cancelled(tick)
    assert log == ["child", "after the deadline"]


@in_both_orders
async def test_a_deadline_inside_both_expires(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []

    async def inside() -> None:
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await note_the_end(log)
        await nothing_is_cancelled(tick)
        log.append("after the deadline")

    await outer(lambda: inner(inside))
    await nothing_is_cancelled(tick)
    assert log == ["child", "after the deadline"]


@in_both_orders
async def test_clean_up_in_a_shield_is_done_whole(outer: Around, inner: Around, tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await outer(lambda: inner(lambda: clean_up(2 * tick, log)))
    await nothing_is_cancelled(tick)
    assert log == ["child"]


@in_both_orders
async def test_a_block_that_ends_in_a_shield_after_expiry(outer: Around, inner: Around, tick: float) -> None:
    log = []
    with suppress(TimeoutError):  # leaving a group inside is a checkpoint, leaving a deadline is none
        async with deadline(tick):

            async def work() -> None:
                await shield(take(3 * tick))
                log.append("worked")

            await outer(lambda: inner(work))
    await nothing_is_cancelled(tick)
    assert log == ["worked"]


# Before 3.12 wait_for drops the error of what it cancelled. On asyncio an anyio group that is left with
# errors waits once, is told of the cancellation there, and drops the errors.
@pytest.mark.parametrize(("outer", "inner"), list(ours_and_theirs(asyncio_wait_for, anyio_group)))
async def test_an_error_in_clean_up_wins(outer: Around, inner: Around, tick: float) -> None:
    with pytest.raises((OSError, ExceptionGroup)) as caught:
        async with deadline(tick), task_group():
            await outer(lambda: inner(lambda: fail_when_cancelled(OSError("while disconnecting"))))
    await nothing_is_cancelled(tick)
    assert type(only_leaf(caught.value)) is OSError


# N1: asyncio.TaskGroup


async def fail_after(seconds: float) -> None:
    await sleep(seconds)
    raise OSError("no route")


async def our_work(log: list[str]) -> None:
    """A group in a deadline, whose child notes its end."""
    async with deadline(LONG), task_group() as tg:
        tg.create_task(note_the_end(log))


@rule("N1", only="asyncio")
async def test_a_failing_sibling_in_an_asyncio_group_cancels_our_group(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tg:
            ours = tg.create_task(our_work(log))
            tg.create_task(fail_after(tick))
    assert type(only_leaf(caught.value)) is OSError
    assert log == ["child"]
    assert ours.cancelled()


@rule("N1", only="asyncio")
async def test_our_failing_group_cancels_its_siblings_in_an_asyncio_group(tick: float) -> None:
    async def our_failing_group() -> None:
        async with task_group() as ours:
            ours.create_task(fail_after(tick))

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tg:
            sibling = tg.create_task(asyncio.sleep(LONG))
            tg.create_task(our_failing_group())
    assert type(only_leaf(caught.value)) is OSError
    assert sibling.cancelled()


@rule("N1", only="asyncio")
async def test_a_failing_sibling_in_our_group_cancels_an_asyncio_group(tick: float) -> None:
    native: list[asyncio.Task[None]] = []

    async def their_group() -> None:
        async with asyncio.TaskGroup() as tg:
            native.append(tg.create_task(sleep_forever()))

    with pytest.raises(ExceptionGroup):
        async with task_group() as ours:
            theirs = ours.create_task(their_group())
            ours.create_task(fail_after(tick))
    assert theirs.cancelled()
    assert native[0].cancelled()


@rule("N1", only="asyncio")
async def test_a_cancelled_task_of_an_asyncio_group_ends_our_group_in_it_alone(tick: float) -> None:
    log: list[str] = []
    async with asyncio.TaskGroup() as tg:
        ours = tg.create_task(our_work(log))
        sibling = tg.create_task(asyncio.sleep(2 * tick, "sibling"))
        await asyncio.sleep(tick)
        ours.cancel()
    assert log == ["child"]
    assert sibling.result() == "sibling"


@rule("N1", only="asyncio")
async def test_our_group_in_an_asyncio_group_cancels_itself_alone(tick: float) -> None:
    async with asyncio.TaskGroup() as tg:
        sibling = tg.create_task(asyncio.sleep(2 * tick, "sibling"))
        async with task_group() as ours:
            ours.create_task(sleep_forever())
            await asyncio.sleep(tick)
            ours.cancel()
        await nothing_is_cancelled(tick)
    assert sibling.result() == "sibling"


@rule("N1", only="asyncio")
async def test_a_cancelled_group_keeps_an_asyncio_group_waiting_for_slow_tasks(tick: float) -> None:
    log: list[str] = []
    async with task_group() as ours:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(clean_up(3 * tick, log, "native child"))
            await asyncio.sleep(tick)
            ours.cancel()
        log.append("after the asyncio group")
    assert log[0] == "native child"


@rule("N1", only="asyncio")
async def test_an_asyncio_group_fails_while_our_expired_deadline_in_it_cleans_up(tick: float) -> None:
    caught = []
    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(fail_after(2 * tick))
            try:
                async with deadline(tick):
                    await clean_up(4 * tick, [])
            except TimeoutError:
                caught.append("inner")
    assert type(only_leaf(failure.value)) is OSError
    assert caught == []


@rule("N1", only="asyncio")
async def test_an_asyncio_group_fails_while_our_cancelled_group_in_it_cleans_up(tick: float) -> None:
    log = []
    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(fail_after(2 * tick))
            async with task_group() as ours:
                ours.create_task(clean_up(4 * tick, []))
                await sleep(tick)
                ours.cancel()
            log.append("after our group")
    assert type(only_leaf(failure.value)) is OSError
    assert log == []


@rule("N1", "G4", only="asyncio")
@pytest.mark.parametrize("canceller", ["deadline", "group", "task"])
async def test_a_request_that_an_asyncio_group_repeats_cancels_no_task_that_ends_before_its_next_checkpoint(
    canceller: str, tick: float
) -> None:
    async def work() -> str:
        with suppress(ExceptionGroup):
            async with task_group():
                async with asyncio.TaskGroup():
                    try:
                        await sleep_forever()
                    finally:
                        raise OSError
        return "result"

    with deadline(tick if canceller == "deadline" else None, suppress=True):
        async with task_group() as tg:
            task = tg.create_task(work())
            await sleep(tick)
            if canceller == "group":
                tg.cancel()
            elif canceller == "task":
                task.cancel()
    assert task.result() == "result"


# N2: asyncio.timeout and asyncio.wait_for


@rule("N2", only="asyncio")
async def test_asyncio_timeout_around_our_group_expires(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick) as timeout:
            await our_work(log)
    assert timeout.expired()
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_timeout_inside_our_deadline_expires_first(tick: float) -> None:
    async with deadline(LONG) as ours:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(tick):
                await sleep_forever()
        await nothing_is_cancelled(tick)
    assert not ours.expired()


@rule("N2", only="asyncio")
async def test_our_deadline_around_asyncio_timeout_expires_first(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            try:
                async with asyncio.timeout(LONG):
                    await sleep_forever()
            except TimeoutError:
                caught.append("inner")
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_timeout_around_our_deadline_expires_first(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick):
            try:
                async with deadline(LONG):
                    await sleep_forever()
            except TimeoutError:
                caught.append("inner")
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_our_deadline_inside_asyncio_timeout_expires_first(tick: float) -> None:
    async with asyncio.timeout(LONG) as theirs:
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await sleep_forever()
        await nothing_is_cancelled(tick)
    assert not theirs.expired()


@rule("N2", only="asyncio")
async def test_asyncio_timeout_expires_during_clean_up_in_our_expired_deadline(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * tick):
            try:
                async with deadline(tick):
                    await clean_up(4 * tick, [])
            except TimeoutError:
                caught.append("inner")
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_our_deadline_expires_during_clean_up_in_an_expired_asyncio_timeout(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            try:
                async with asyncio.timeout(tick):
                    await clean_up(4 * tick, [])
            except TimeoutError:
                caught.append("inner")
            await checkpoint()
            caught.append("after the checkpoint")
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_our_deadline_inside_expires_during_clean_up_in_an_expired_asyncio_timeout(tick: float) -> None:
    caught = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick):
            try:
                async with deadline(2 * tick):
                    await clean_up(4 * tick, [])
            except TimeoutError:
                caught.append("inner")
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_timeout_is_not_lost_to_errors_handled_in_it(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick):
            try:
                async with task_group() as tg:
                    tg.create_task(fail_when_cancelled(OSError("while disconnecting")))
            except ExceptionGroup as group:
                log.append(repr(only_leaf(group)))
            await checkpoint()
            log.append("after the checkpoint")
    assert log == ["OSError('while disconnecting')"]
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_timeout_that_is_left_withdraws_what_a_group_held_back(tick: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(tick):
            with suppress(ExceptionGroup):
                async with task_group() as tg:
                    tg.create_task(fail_when_cancelled(OSError("while disconnecting")))
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_timeout_that_is_left_withdraws_what_a_shield_held_back(tick: float) -> None:
    async with asyncio.timeout(tick):
        await shield(take(3 * tick))
    await nothing_is_cancelled(tick)


@rule("N2", "C2", only="asyncio")
async def test_what_a_shield_held_back_is_withdrawn_beside_a_request_that_stays(tick: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    async with task_group():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # nobody takes this request back
        async with asyncio.timeout(tick):
            await shield(sleep(2 * tick))
        await checkpoint()
    assert task.uncancel() == 0


@rule("N2", "C1", only="asyncio")
async def test_what_a_shield_held_back_comes_once_if_a_scope_that_is_left_raises_it(tick: float) -> None:
    log: list[str] = []

    async def inside() -> None:
        with deadline(tick):
            try:
                await sleep_forever()
            finally:
                await shield(sleep(2 * tick))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * tick):
            try:
                await inside()
            finally:
                await sleep(tick)
                log.append("not cancelled again")
    assert log == ["not cancelled again"]


@rule("N2", only="asyncio")
async def test_asyncio_timeout_arrives_at_the_next_checkpoint_after_our_shield(tick: float) -> None:
    log = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick):
            await shield(take(3 * tick))
            log.append("after the shield")
            await checkpoint()
            log.append("after the checkpoint")
    assert log == ["after the shield"]


@rule("N2", only="asyncio")
async def test_our_group_that_cancelled_itself_leaves_asyncio_timeout_alone(tick: float) -> None:
    async with asyncio.timeout(LONG) as theirs:
        async with task_group() as tg:
            tg.cancel()
        await nothing_is_cancelled(tick)
    assert not theirs.expired()


@rule("N2", only="asyncio")
async def test_asyncio_timeout_in_a_cancelled_group_ends_with_the_group(tick: float) -> None:
    log = []
    async with task_group() as tg:
        tg.cancel()
        async with asyncio.timeout(tick):
            await sleep_forever()
        log.append("after the timeout")
    assert log == []
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_wait_for_expires_around_our_work(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(our_work(log), tick)
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N2", only="asyncio")
async def test_asyncio_wait_for_waits_for_our_shielded_clean_up(tick: float) -> None:
    log: list[str] = []

    async def work() -> None:
        async with task_group() as tg:
            tg.create_task(clean_up(3 * tick, log))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), tick)
    assert log == ["child"]


@rule("N2", only="asyncio")
async def test_asyncio_wait_for_gives_the_result_of_our_work(tick: float) -> None:
    async def work() -> str:
        async with deadline(LONG), task_group() as tg:
            task = tg.create_task(asyncio.sleep(tick, "result"))
        return task.result()

    assert await asyncio.wait_for(work(), LONG) == "result"


@rule("N2", only="asyncio")
async def test_asyncio_wait_for_expires_inside_our_deadline(tick: float) -> None:
    async with deadline(LONG), task_group() as tg:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep_forever(), tick)
        sibling = tg.create_task(asyncio.sleep(tick, "sibling"))
        await nothing_is_cancelled(tick)
    assert sibling.result() == "sibling"


@rule("N2", only="asyncio")
async def test_our_deadline_expires_around_asyncio_wait_for(tick: float) -> None:
    log: list[str] = []
    caught = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            try:
                await asyncio.wait_for(note_the_end(log), LONG)
            except TimeoutError:
                caught.append("inner")
    assert log == ["child"]
    assert caught == []
    await nothing_is_cancelled(tick)


# N3: asyncio.shield


@rule("N3", only="asyncio")
async def test_our_deadline_leaves_what_asyncio_shield_holds_running(tick: float) -> None:
    held = asyncio.create_task(asyncio.sleep(3 * tick, "result"))
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await asyncio.shield(held)
    assert not held.cancelled()
    assert await held == "result"
    await nothing_is_cancelled(tick)


@rule("N3", only="asyncio")
async def test_our_group_leaves_what_asyncio_shield_holds_running(tick: float) -> None:
    held = asyncio.create_task(asyncio.sleep(3 * tick, "result"))

    async def wait() -> str:
        return await asyncio.shield(held)

    async with task_group() as tg:
        waiter = tg.create_task(wait())
        await sleep(tick)
        tg.cancel()
    assert waiter.cancelled()
    assert await held == "result"


@rule("N3", only="asyncio")
async def test_asyncio_shield_gives_a_result_and_an_error_inside_our_scopes(tick: float) -> None:
    async with deadline(LONG), task_group():
        assert await asyncio.shield(asyncio.sleep(tick, "result")) == "result"
        with pytest.raises(OSError, match="no route"):
            await asyncio.shield(fail_after(tick))


@rule("N3", only="asyncio")
async def test_our_scopes_inside_asyncio_shield_are_not_reached_from_outside(tick: float) -> None:
    log: list[str] = []

    async def work() -> None:
        async with deadline(LONG), task_group() as tg:
            tg.create_task(sleep(3 * tick))
        log.append("worked")

    held = asyncio.create_task(work())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(tick):
            await asyncio.shield(held)
    with pytest.raises(TimeoutError):
        async with deadline(0):
            await asyncio.shield(held)
    await held
    assert log == ["worked"]


@rule("N3", only="asyncio")
async def test_our_scopes_inside_asyncio_shield_end_as_they_do_elsewhere(tick: float) -> None:
    log: list[str] = []

    async def work() -> None:
        async with deadline(tick, suppress=True), task_group() as tg:
            tg.create_task(note_the_end(log))
        with suppress(ExceptionGroup):
            async with task_group() as tg:
                tg.create_task(fail_after(tick))
                tg.create_task(note_the_end(log, "sibling"))

    await asyncio.shield(work())
    assert log == ["child", "sibling"]


@rule("N3", only="asyncio")
async def test_our_shield_around_asyncio_shield_waits_for_it(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        log.append(await asyncio.shield(asyncio.sleep(3 * tick, "committed")))

    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await shield(commit())
            await checkpoint()
            log.append("after the checkpoint")
    assert log == ["committed"]


@rule("N3", only="asyncio")
async def test_our_shield_inside_asyncio_shield_completes(tick: float) -> None:
    log: list[str] = []

    async def commit() -> None:
        await shield(asyncio.sleep(3 * tick))
        log.append("committed")

    held = asyncio.create_task(commit())
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            await asyncio.shield(held)
    held.cancel()
    await asyncio.wait([held])
    assert log == ["committed"]


# N4: trio's nurseries and cancel scopes


@rule("N4", only="trio")
async def test_a_trio_scope_around_our_work_is_cancelled(tick: float) -> None:
    import trio

    log: list[str] = []
    with trio.move_on_after(tick) as scope:
        await our_work(log)
    assert scope.cancelled_caught
    assert log == ["child"]


@rule("N4", only="trio")
async def test_the_cancellation_by_a_trio_scope_comes_out_of_our_group_bare(tick: float) -> None:
    import trio

    seen = []
    with trio.move_on_after(tick):
        try:
            async with task_group() as tg:
                tg.create_task(sleep_forever())
                tg.create_task(sleep_forever())
        except BaseException as error:
            seen.append(type(error))
            raise
    assert seen == [trio.Cancelled]


@rule("N4", only="trio")
async def test_a_trio_deadline_around_our_work_raises(tick: float) -> None:
    import trio

    log: list[str] = []
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(tick):
            await our_work(log)
    assert log == ["child"]


@rule("N4", only="trio")
async def test_a_trio_deadline_inside_ours_expires_first(tick: float) -> None:
    import trio

    async with deadline(LONG) as ours:
        with trio.move_on_after(tick) as theirs:
            await sleep_forever()
        await nothing_is_cancelled(tick)
    assert theirs.cancelled_caught
    assert not ours.expired()


@rule("N4", only="trio")
async def test_our_deadline_around_a_trio_deadline_expires_first(tick: float) -> None:
    import trio

    with pytest.raises(TimeoutError):
        async with deadline(tick):
            with trio.move_on_after(LONG) as theirs:
                await sleep_forever()
    assert not theirs.cancelled_caught


@rule("N4", only="trio")
async def test_our_deadline_inside_a_trio_deadline_expires_first(tick: float) -> None:
    import trio

    with trio.move_on_after(LONG) as theirs:
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await sleep_forever()
        await nothing_is_cancelled(tick)
    assert not theirs.cancelled_caught


@rule("N4", only="trio")
async def test_a_trio_deadline_expires_during_clean_up_in_our_expired_deadline(tick: float) -> None:
    import trio

    caught = []
    with trio.move_on_after(2 * tick) as theirs:
        try:
            async with deadline(tick):
                await clean_up(4 * tick, [])
        except TimeoutError:
            caught.append("inner")
    assert theirs.cancelled_caught
    assert caught == []


@rule("N4", only="trio")
async def test_our_deadline_expires_during_clean_up_in_an_expired_trio_deadline(tick: float) -> None:
    import trio

    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            with trio.move_on_after(tick):
                await clean_up(4 * tick, [])
            pytest.fail("the outer deadline had expired")


@rule("N4", only="trio")
async def test_a_trio_scope_is_not_lost_to_errors_handled_in_it(tick: float) -> None:
    import trio

    log: list[str] = []
    with trio.move_on_after(tick) as scope:
        try:
            async with task_group() as tg:
                tg.create_task(fail_when_cancelled(OSError("while disconnecting")))
                tg.create_task(sleep_forever())
        except ExceptionGroup as group:
            log.append(repr(only_leaf(group)))
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["OSError('while disconnecting')"]
    assert scope.cancelled_caught


@rule("N4", only="trio")
async def test_a_shielded_trio_scope_holds_against_our_deadline(tick: float) -> None:
    import trio

    log = []
    with pytest.raises(TimeoutError):
        async with deadline(tick):
            with trio.CancelScope(shield=True):
                await sleep(3 * tick)
                log.append("worked")
                assert current_deadline() == inf
            await checkpoint()
            log.append("after the checkpoint")
    assert log == ["worked"]


@rule("N4", only="trio")
async def test_our_shield_holds_against_a_trio_scope(tick: float) -> None:
    import trio

    log = []
    with trio.move_on_after(tick) as scope:
        await shield(take(3 * tick))
        log.append("worked")
        await checkpoint()
        log.append("after the checkpoint")
    assert scope.cancelled_caught
    assert log == ["worked"]


@rule("N4", only="trio")
async def test_current_deadline_sees_the_deadlines_of_trio(tick: float) -> None:
    import trio

    with trio.CancelScope(deadline=current_time() + 500 * tick) as theirs:
        async with deadline(1000 * tick), task_group() as tg:

            async def child() -> float:
                return current_deadline()

            assert await tg.create_task(child()) == theirs.deadline


@rule("N4", only="trio")
async def test_a_failing_sibling_in_a_nursery_cancels_our_group(tick: float) -> None:
    import trio

    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(our_work, log)
            nursery.start_soon(fail_after, tick)
    assert type(only_leaf(caught.value)) is OSError
    assert log == ["child"]


@rule("N4", only="trio")
async def test_a_failing_sibling_in_our_group_cancels_a_nursery(tick: float) -> None:
    import trio

    log: list[str] = []

    async def their_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note_the_end, log)

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as ours:
            theirs = ours.create_task(their_nursery())
            ours.create_task(fail_after(tick))
    assert type(only_leaf(caught.value)) is OSError
    assert log == ["child"]
    assert theirs.cancelled()


@rule("N4", only="trio")
async def test_our_group_waits_for_the_tasks_of_its_native_nursery(tick: float) -> None:
    log = []

    async def child() -> None:
        await sleep(tick)
        log.append("child")

    async with task_group() as tg:
        tg.native.start_soon(child)
    assert log == ["child"]


@rule("N4", "G3", only="trio")
@pytest.mark.parametrize("fails", [1, 2])
async def test_the_errors_of_tasks_of_its_native_nursery_are_errors_of_our_group(fails: int) -> None:
    errors = [OSError(str(number)) for number in range(fails)]

    async def child(error: OSError) -> None:
        try:
            await sleep_forever()
        finally:
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            for error in errors:
                tg.native.start_soon(child, error)
            await checkpoint()
            tg.cancel()
    assert set(caught.value.exceptions) == set(errors)


@rule("N4", only="trio")
async def test_errors_and_cancellations_of_a_nursery_come_out_of_our_group_as_errors(tick: float) -> None:
    import trio

    with pytest.raises(ExceptionGroup) as caught:
        async with deadline(tick), task_group(), trio.open_nursery() as nursery:
            nursery.start_soon(sleep_forever)
            nursery.start_soon(fail_when_cancelled, OSError("while disconnecting"))
    assert type(only_leaf(caught.value)) is OSError


@rule("N4", only="trio")
async def test_our_scopes_in_a_task_that_a_nursery_starts(tick: float) -> None:
    import trio

    log: list[str] = []

    async def service(task_status: trio.TaskStatus[str]) -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            task_status.started("ready")

    async with trio.open_nursery() as nursery:
        assert await nursery.start(service) == "ready"
        nursery.cancel_scope.cancel()
    assert log == ["child"]


# N5: anyio's task groups and cancel scopes


@rule("N5")
async def test_an_anyio_scope_around_our_work_is_cancelled(tick: float) -> None:
    import anyio

    log: list[str] = []
    with anyio.move_on_after(tick) as scope:
        await our_work(log)
    assert scope.cancelled_caught
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_an_anyio_deadline_around_our_work_raises(tick: float) -> None:
    import anyio

    log: list[str] = []
    with pytest.raises(TimeoutError):
        with anyio.fail_after(tick):
            await our_work(log)
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_an_anyio_group_around_our_work_is_cancelled(tick: float) -> None:
    import anyio

    log: list[str] = []
    async with anyio.create_task_group() as tg:
        tg.start_soon(our_work, log)
        await sleep(tick)
        tg.cancel_scope.cancel()
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_our_child_cancels_the_anyio_scope_around_it(tick: float) -> None:
    import anyio

    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with task_group() as tg:

            async def stop() -> None:
                await sleep(tick)
                scope.cancel()

            tg.create_task(stop())
            tg.create_task(note_the_end(log))
        log.append("after the group")
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_an_anyio_deadline_inside_ours_expires_first(tick: float) -> None:
    import anyio

    async with deadline(LONG) as ours:
        with anyio.move_on_after(tick) as theirs:
            await sleep_forever()
        await nothing_is_cancelled(tick)
    assert theirs.cancelled_caught
    assert not ours.expired()


@rule("N5")
async def test_our_deadline_around_an_anyio_deadline_expires_first(tick: float) -> None:
    import anyio

    with pytest.raises(TimeoutError):
        async with deadline(tick):
            with anyio.move_on_after(LONG) as theirs:
                await sleep_forever()
    assert not theirs.cancelled_caught
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_our_deadline_inside_an_anyio_deadline_expires_first(tick: float) -> None:
    import anyio

    with anyio.move_on_after(LONG) as theirs:
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await sleep_forever()
        await nothing_is_cancelled(tick)
    assert not theirs.cancelled_caught


@rule("N5")
async def test_an_anyio_deadline_expires_during_clean_up_in_our_expired_deadline(tick: float) -> None:
    import anyio

    caught = []
    with anyio.move_on_after(2 * tick) as theirs:
        try:
            async with deadline(tick):
                await clean_up(4 * tick, [])
        except TimeoutError:
            caught.append("inner")
    assert theirs.cancelled_caught
    assert caught == []
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_our_deadline_expires_during_clean_up_in_an_expired_anyio_deadline(tick: float) -> None:
    import anyio

    log = []
    with pytest.raises(TimeoutError):
        async with deadline(2 * tick):
            with anyio.move_on_after(tick):
                await clean_up(4 * tick, [])
            await checkpoint()
            log.append("after the checkpoint")
    assert log == []
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_an_anyio_scope_is_not_lost_to_errors_handled_in_it(tick: float) -> None:
    import anyio

    log: list[str] = []
    with anyio.move_on_after(tick) as scope:
        try:
            async with task_group() as tg:
                tg.create_task(fail_when_cancelled(OSError("while disconnecting")))
                tg.create_task(sleep_forever())
        except ExceptionGroup as group:
            log.append(repr(only_leaf(group)))
        await checkpoint()
        log.append("after the checkpoint")
    assert log == ["OSError('while disconnecting')"]
    assert scope.cancelled_caught
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_our_shield_holds_against_an_anyio_scope(tick: float) -> None:
    import anyio

    log = []
    with anyio.move_on_after(tick) as scope:
        await shield(take(2 * tick))
        await shield(take(2 * tick))
        log.append("worked")
        await checkpoint()
        log.append("after the checkpoint")
    assert scope.cancelled_caught
    assert log == ["worked"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_an_anyio_scope_that_is_left_withdraws_what_our_shield_held_back(tick: float) -> None:
    import anyio

    with anyio.move_on_after(tick):
        await shield(take(3 * tick))
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_our_group_that_cancelled_itself_leaves_an_anyio_scope_alone(tick: float) -> None:
    import anyio

    with anyio.CancelScope() as scope:
        async with task_group() as tg:
            tg.create_task(sleep_forever())
            tg.cancel()
        async with deadline(0):
            pass
        await nothing_is_cancelled(tick)
    assert not scope.cancel_called


@rule("N5")
async def test_a_failing_sibling_in_an_anyio_group_cancels_our_group(tick: float) -> None:
    import anyio

    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tg:
            tg.start_soon(our_work, log)
            tg.start_soon(fail_after, tick)
    assert type(only_leaf(caught.value)) is OSError
    assert log == ["child"]
    await nothing_is_cancelled(tick)


@rule("N5")
async def test_a_failing_sibling_in_our_group_cancels_an_anyio_group(tick: float) -> None:
    import anyio

    log: list[str] = []

    async def their_group() -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(note_the_end, log)

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as ours:
            theirs = ours.create_task(their_group())
            ours.create_task(fail_after(tick))
    assert type(only_leaf(caught.value)) is OSError
    assert log == ["child"]
    assert theirs.cancelled()


@rule("N5")
async def test_an_error_out_of_anyio_code_in_a_child_is_the_error_of_the_child(tick: float) -> None:
    import anyio

    async def their_code() -> None:
        with anyio.fail_after(tick):
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            task = tg.create_task(their_code())
    assert type(only_leaf(caught.value)) is TimeoutError
    with pytest.raises(TaskFailed):
        task.result()


@rule("N5")
async def test_our_scopes_cancel_what_waits_in_anyios_own_primitives(tick: float) -> None:
    import anyio

    log: list[str] = []
    event = anyio.Event()
    send, receive = anyio.create_memory_object_stream[int](0)

    async def wait(awaiting: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            await awaiting()
        except get_cancelled_exc_class():
            log.append("cancelled")
            raise

    with send, receive:
        async with deadline(tick, suppress=True), task_group() as tg:
            tg.create_task(wait(event.wait))
            tg.create_task(wait(receive.receive))
            tg.create_task(wait(anyio.sleep_forever))
    assert log == ["cancelled"] * 3


@rule("N5")
async def test_our_scopes_in_a_task_that_an_anyio_group_starts(tick: float) -> None:
    import anyio
    from anyio.abc import TaskStatus

    log: list[str] = []

    async def service(task_status: TaskStatus[str]) -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log))
            task_status.started("ready")

    async with anyio.create_task_group() as theirs:
        assert await theirs.start(service) == "ready"
        await sleep(tick)
        theirs.cancel_scope.cancel()
    assert log == ["child"]


@rule("N5")
async def test_a_computation_past_an_anyio_deadline_is_told_inside_our_group(tick: float) -> None:
    import anyio

    log: list[str] = []
    with anyio.move_on_after(tick):
        async with deadline(LONG), task_group():
            compute(2 * tick)
            await note_the_end(log)
    assert log == ["child"]


async def fail_later(error: Exception, tick: float) -> None:
    await sleep(tick)
    raise error


@rule("N5", "C4")
async def test_an_error_of_an_anyio_group_is_not_lost_when_its_body_shields_its_clean_up(tick: float) -> None:
    anyio = pytest.importorskip("anyio")
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tg:
            tg.start_soon(fail_later, error, tick)
            await clean_up(tick, [])
    assert leaves(caught.value) == [error]


@rule("N5", "G4")
async def test_an_error_of_an_anyio_group_is_not_lost_when_our_group_in_it_fails_in_clean_up(
    tick: float,
) -> None:
    anyio = pytest.importorskip("anyio")
    errors = [ValueError(), KeyError()]
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tg:
            tg.start_soon(fail_later, errors[0], tick)
            async with task_group() as ours:
                ours.create_task(fail_when_cancelled(errors[1]))
    assert sorted(map(repr, leaves(caught.value))) == sorted(map(repr, errors))


# N6: asyncio.run being interrupted

PROGRAM = """
import asyncio
import gc
import signal

from interloop import *

# where a shell has put the tests into the background it is ignored
signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt():
    asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)


async def clean_up(what):
    try:
        await sleep_forever()
    finally:
        await shield(sleep(0.01))
        print(what, "cleaned up")


async def fail_when_cancelled():
    try:
        await sleep_forever()
    finally:
        raise OSError("while disconnecting")


{main}

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
for _ in range(5):  # asyncio reports the error of a task that nobody awaited when the task is freed;
    gc.collect()  # PyPy frees what hangs on something with a finalizer one collection later
"""


def run_in_a_process(main: str, directory: Path, reported: str = "") -> list[str]:
    """What a program with that `main()` prints; nothing is to come on stderr but what is `reported`."""
    program = directory / "program.py"
    program.write_text(PROGRAM.format(main=dedent(main)), encoding="utf-8")
    ended = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=25)
    assert ended.stderr.partition("\n")[0] == reported
    assert ended.returncode == 0
    return ended.stdout.splitlines()


@rule("N6", host="asyncio", real_time=True)
def test_an_interrupt_is_a_cancellation_from_outside(host: Host, tmp_path: Path) -> None:
    main = """
        async def main():
            async with deadline(60):
                async with task_group() as tg:
                    tg.create_task(clean_up("child"))
                    interrupt()
                    await clean_up("body")
        """
    printed = run_in_a_process(main, tmp_path)
    assert sorted(printed[:2]) == ["body cleaned up", "child cleaned up"]
    assert printed[2:] == ["interrupted"]


@rule("N6", host="asyncio", real_time=True)
def test_an_interrupt_waits_for_a_shield(host: Host, tmp_path: Path) -> None:
    main = """
        async def commit():
            await sleep(0.1)
            print("committed")

        async def main():
            interrupt()
            await shield(commit())
            await checkpoint()
            print("after the checkpoint")
        """
    assert run_in_a_process(main, tmp_path) == ["committed", "interrupted"]


@rule("N6", host="asyncio", real_time=True)
def test_an_interrupt_reaches_groups_in_other_tasks(host: Host, tmp_path: Path) -> None:
    main = """
        async def work():
            async with task_group() as tg:
                tg.create_task(clean_up("child"))

        async def main():
            task = asyncio.create_task(work())
            interrupt()
            await sleep_forever()
        """
    assert run_in_a_process(main, tmp_path) == ["child cleaned up", "interrupted"]


@rule("N6", host="asyncio", real_time=True)
def test_an_interrupt_of_a_group_that_is_being_left(host: Host, tmp_path: Path) -> None:
    main = """
        async def main():
            async with task_group() as tg:
                tg.create_task(clean_up("child"))
                interrupt()
        """
    assert run_in_a_process(main, tmp_path) == ["child cleaned up", "interrupted"]


@rule("N6", host="asyncio", real_time=True)
def test_an_error_in_the_clean_up_after_an_interrupt_is_not_lost(host: Host, tmp_path: Path) -> None:
    main = """
        async def main():
            try:
                async with task_group() as tg:
                    tg.create_task(fail_when_cancelled())
                    interrupt()
            except* OSError as errors:
                print(repr(errors.exceptions[0]))
            await checkpoint()
            print("after the checkpoint")
        """
    assert run_in_a_process(main, tmp_path) == ["OSError('while disconnecting')", "interrupted"]


@rule("N6", host="asyncio", real_time=True)
def test_an_interrupt_raised_in_a_child_lets_all_others_clean_up(host: Host, tmp_path: Path) -> None:
    main = """
        async def interrupted_child():
            await sleep(0.01)
            raise KeyboardInterrupt

        async def main():
            async with task_group() as tg:
                tg.create_task(clean_up("child"))
                tg.create_task(interrupted_child())
        """
    # asyncio reports it of a task of its own group too
    printed = run_in_a_process(main, tmp_path, reported="Task exception was never retrieved")
    assert printed == ["child cleaned up", "interrupted"]


# The way out: what is behind a group, a task and a deadline


@rule("N1", only="asyncio")
async def test_the_native_group_is_one_of_asyncio_that_has_been_entered() -> None:
    tg = task_group()
    with pytest.raises(RuntimeError, match="has not been entered"):
        tg.native
    async with tg:
        native = tg.native
        assert isinstance(native, asyncio.TaskGroup)
        assert native is tg.native
        assert repr(native) == repr(tg)
        assert vars(native).keys() >= vars(asyncio.TaskGroup()).keys()  # for who looks into it
        with pytest.raises(RuntimeError, match="has already been entered"):
            await native.__aenter__()
        task = native.create_task(asyncio.sleep(0, "result"), name="child")
        assert task.get_name() == "child"
        variable: ContextVar[str] = ContextVar("variable")
        context = copy_context()
        context.run(variable.set, "set")
        assert await native.create_task(value_of(variable), context=context) == "set"
        with pytest.raises(TypeError, match="expects a coroutine object"):
            native.create_task(cast(Any, None))
    assert task.result() == "result"
    with pytest.raises(RuntimeError, match="is finished"):
        native.create_task(asyncio.sleep(0))


@rule("N2", only="asyncio")
async def test_the_native_timeout_is_one_of_asyncio_that_has_been_entered() -> None:
    limit = deadline(5, suppress=True)
    async with limit:
        native = limit.native
        assert isinstance(native, asyncio.Timeout)
        assert native is limit.native
        assert repr(native) == repr(limit)
        assert vars(native).keys() >= vars(asyncio.timeout(None)).keys()
        assert native.when() == limit.when()
        assert not native.expired()
        with pytest.raises(RuntimeError, match="has already been entered"):
            await native.__aenter__()
        native.reschedule(current_time())
        await sleep_forever()
    assert native.expired()


@rule("N3", only="asyncio")
async def test_the_task_behind_a_shield_is_named_after_the_caller() -> None:
    async def name() -> str:
        await checkpoint()
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async def shielded() -> str:
        await checkpoint()  # an eager loop before 3.14 names a task after its first step
        return await shield(name())

    async with task_group() as tg:
        task = tg.create_task(shielded(), name="Alice")
    assert task.result() == "shield in Alice"


@rule("N2", only="asyncio")
async def test_the_native_timeout_moves_the_deadline(tick: float) -> None:
    began = current_time()
    async with deadline(LONG, suppress=True) as limit:
        limit.native.reschedule(began + tick)
        await sleep_forever()
    assert limit.expired()
    assert current_time() < began + LONG


@rule("N4", only="trio")
async def test_the_native_group_is_a_nursery_and_the_native_deadline_a_cancel_scope() -> None:
    import trio

    tg = task_group()
    with pytest.raises(RuntimeError, match="has not been entered"):
        tg.native
    async with tg, deadline(5, suppress=True) as limit:
        assert isinstance(tg.native, trio.Nursery)
        assert isinstance(limit.native, trio.CancelScope)
        assert limit.native.deadline == limit.when()
        limit.native.cancel()
        await sleep_forever()


@rule("N4", only="trio")
async def test_a_deadline_cancelled_through_its_native_scope_has_not_expired() -> None:
    async with deadline(LONG) as limit:
        limit.native.cancel()
        await sleep_forever()
    assert not limit.expired()


@rule("N4", "L9", only="trio")
async def test_the_native_scope_of_a_deadline_is_there_before_entry_and_counts_from_it(tick: float) -> None:
    limit = deadline(5)
    native = limit.native
    assert native.deadline == inf
    await sleep(tick)
    earliest = current_time() + 5
    async with limit:
        assert limit.native is native
        assert earliest <= native.deadline <= current_time() + 5
    assert deadline(at=earliest).native.deadline == earliest


async def value_of(variable: ContextVar[str]) -> str:
    return variable.get()
