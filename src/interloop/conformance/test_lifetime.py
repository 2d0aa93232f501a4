"""The rest of a task's lifetime: limit (G14), background tasks (G15), deferred errors (G16), start (T5)."""

# pyright: reportPossiblyUnboundVariable=false
# since pytest.raises() and suppress() might swallow what comes before a name is bound

from __future__ import annotations

import asyncio
import gc
import logging
import re
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

import pytest

from interloop import (
    Task,
    TaskCancelled,
    TaskFailed,
    TaskGroup,
    TaskNotDone,
    TaskStatus,
    checkpoint,
    current_backend,
    current_deadline,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop._children import MAX_DEFERRED
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Enclosing,
    asyncio_inside_trio,
    clean_up,
    fail,
    fail_when_cancelled,
    in_every_scope,
    leaves,
    native_name,
    note_the_end,
    settle,
    until,
)
from interloop.conformance.test_groups import Loaded, Payload, count
from interloop.testing import Host
from interloop.testing._hosts import _tasks_alive

variable: ContextVar[str] = ContextVar("variable", default="default")


class Abort(BaseException):
    """An error that is no `Exception`, and that no host treats specially."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Without the garbage collector: what is freed is freed by its reference count, at once."""
    gc.disable()
    yield
    gc.enable()


async def note(log: list[Any], what: Any) -> None:
    log.append(what)


async def note_after(seconds: float, log: list[Any], what: Any) -> None:
    await sleep(seconds)
    log.append(what)


async def fail_after(seconds: float, error: BaseException) -> None:
    await sleep(seconds)
    raise error


async def seen() -> str:
    await checkpoint()
    return variable.get()


class Gate:
    """Lets a child run until the test opens it, and tells whether it has started."""

    def __init__(self) -> None:
        self.running: bool = False
        self.opened = False

    async def pass_through(self) -> None:
        self.running = True
        await until(lambda: self.opened)


# G14: limit


@rule("G14")
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_the_limit_is_how_many_children_run_at_once(limit: int, tick: float) -> None:
    running = peak = ended = 0

    async def child() -> None:
        nonlocal running, peak, ended
        running += 1
        peak = max(peak, running)
        await sleep(tick)
        running -= 1
        ended += 1

    async with task_group(limit=limit) as tg:
        for _ in range(12):
            tg.create_task(child())
    assert (peak, ended) == (limit, 12)


@rule("G14")
@pytest.mark.parametrize("limit", [None, 20])
async def test_without_a_limit_or_below_it_nobody_waits(limit: int | None) -> None:
    arrived = 0

    async def child() -> None:
        nonlocal arrived
        arrived += 1
        await until(lambda: arrived == 20)

    async with task_group(limit=limit) as tg:
        for _ in range(20):
            tg.create_task(child())


@rule("G14")
async def test_the_others_wait_in_order_of_creation(tick: float) -> None:
    started: list[int] = []

    async def child(number: int) -> None:
        started.append(number)
        await checkpoint()

    async with task_group(limit=1) as tg:
        for number in range(10):
            tg.create_task(child(number))
        await sleep(tick)
        for number in range(10, 20):
            tg.create_task(child(number))
    assert started == list(range(20))


@rule("G14")
async def test_who_created_a_child_does_not_change_its_turn() -> None:
    started: list[str] = []

    async def creator() -> None:
        started.append("creator")
        tg.create_task(note(started, "by the child"))

    async with task_group(limit=1) as tg:
        tg.create_task(creator())
        tg.create_task(note(started, "by the body"))
        await until(lambda: len(started) == 3)
        tg.create_task(note(started, "by the body again"))
    assert started[0] == "creator"
    assert sorted(started[1:3]) == ["by the body", "by the child"]
    assert started[3:] == ["by the body again"]


@rule("G14")
async def test_creating_a_child_does_not_wait_for_a_slot() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        for _ in range(10):
            tg.create_task(checkpoint())
        await until(lambda: gate.running)
        gate.opened = True


@rule("G14")
async def test_a_child_that_returns_frees_its_slot(tick: float) -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        tg.create_task(note_after(tick, log, "first"))
        second = tg.create_task(note(log, "second"))
        await second
        assert log == ["first", "second"]


@rule("G14")
async def test_a_child_that_is_cancelled_frees_its_slot() -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        first = tg.create_task(sleep_forever())
        second = tg.create_task(note(log, "second"))
        await checkpoint()
        assert log == []
        first.cancel()
        await second
    assert log == ["second"]


@rule("G14", "G16")
async def test_a_child_whose_error_is_deferred_frees_its_slot() -> None:
    log: list[int] = []

    async def child(number: int) -> None:
        await checkpoint()
        log.append(number)
        raise ValueError(number)

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(limit=1, defer_errors=True) as tg:
            for number in range(5):
                tg.create_task(child(number))
    assert log == [0, 1, 2, 3, 4]
    assert len(caught.value.exceptions) == 5


@rule("G14")
async def test_a_cancelled_child_keeps_its_slot_until_its_clean_up_has_ended(tick: float) -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        first = tg.create_task(clean_up(2 * tick, log, "cleaned up"))
        tg.create_task(note(log, "second"))
        await checkpoint()
        first.cancel()
    assert log == ["cleaned up", "second"]


@rule("G14")
async def test_children_of_a_childs_own_group_take_no_slot() -> None:
    arrived = 0

    async def grandchild() -> None:
        nonlocal arrived
        arrived += 1
        await until(lambda: arrived == 3)

    async def child() -> None:
        async with task_group() as inner:
            for _ in range(3):
                inner.create_task(grandchild())

    async with task_group(limit=1) as tg:
        tg.create_task(child())
    assert arrived == 3


@rule("G14")
async def test_limits_of_nested_groups_count_apart(tick: float) -> None:
    running = peak = ended = 0

    async def grandchild() -> None:
        nonlocal running, peak, ended
        running += 1
        peak = max(peak, running)
        await sleep(tick)
        running -= 1
        ended += 1

    async def child() -> None:
        async with task_group(limit=2) as inner:
            for _ in range(4):
                inner.create_task(grandchild())

    async with task_group(limit=3) as tg:
        for _ in range(6):
            tg.create_task(child())
    assert (peak, ended) == (6, 24)


@rule("G14", "G1")
async def test_the_block_waits_for_children_that_wait(tick: float) -> None:
    log: list[int] = []
    async with task_group(limit=1) as tg:
        for number in range(3):
            tg.create_task(note_after(tick, log, number))
    assert log == [0, 1, 2]


@rule("G14", "G2")
async def test_a_child_adds_more_than_the_limit_while_the_block_is_exiting(tick: float) -> None:
    log: list[int] = []

    async def child() -> None:
        await sleep(tick)
        for number in range(3):
            tg.create_task(note_after(tick, log, number))

    async with task_group(limit=1) as tg:
        tg.create_task(child())
    assert log == [0, 1, 2]


@rule("G14")
async def test_a_waiting_child_has_not_ended_and_was_not_cancelled() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(checkpoint())
        await checkpoint()
        assert not waiting.done()
        assert not waiting.cancelled()
        with pytest.raises(TaskNotDone):
            waiting.result()
        with pytest.raises(TaskNotDone):
            waiting.exception()
        gate.opened = True
    assert waiting.done()
    assert not waiting.cancelled()


@rule("G14")
async def test_a_waiting_child_has_no_native_task_yet() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(checkpoint(), name="warm-up")
        with pytest.raises(RuntimeError, match="'warm-up'.* is waiting for a slot of its group's limit"):
            waiting.native
        gate.opened = True
    assert native_name(waiting) == "warm-up"


@rule("G14")
async def test_waiting_children_cost_the_loop_no_task() -> None:
    gate = Gate()
    async with task_group(limit=2) as tg:
        for _ in range(3):
            tg.create_task(gate.pass_through())
        await until(lambda: gate.running)
        before = len(list(_tasks_alive()))
        for _ in range(50):
            tg.create_task(checkpoint())
        await checkpoint()
        assert len(list(_tasks_alive())) == before
        gate.opened = True


@rule("G14")
async def test_the_name_of_a_waiting_child_is_known_from_the_beginning() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(checkpoint(), name="warm-up")
        assert waiting.get_name() == "warm-up"
        assert "'warm-up'" in repr(waiting)
        gate.opened = True
    assert waiting.get_name() == "warm-up"


@rule("G14")
async def test_a_waiting_child_without_a_name_is_called_after_its_coroutine() -> None:
    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        assert tg.create_task(checkpoint()).get_name() == "checkpoint"


@rule("G10", "G14")
async def test_the_name_of_a_child_that_got_its_slot_is_the_native_one_in_its_first_step() -> None:
    tasks: list[Task[None]] = []
    names: list[str] = []

    async def child() -> None:
        names.extend((tasks[1].get_name(), native_name(tasks[1])))

    async with task_group(limit=1) as tg:
        tasks.append(tg.create_task(checkpoint()))
        tasks.append(tg.create_task(child()))
    assert len(set(names)) == 1


@rule("G14", "T2")
async def test_a_waiting_child_that_was_cancelled_is_waited_for_without_suspending() -> None:
    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        task = tg.create_task(checkpoint())
        task.cancel()
        with pytest.raises(TaskCancelled):
            next(task.__await__())


@rule("G14")
async def test_a_waiting_child_is_cancelled_by_itself_and_never_starts() -> None:
    gate = Gate()
    log: list[str] = []
    async with task_group(limit=1) as tg:
        running = tg.create_task(gate.pass_through())
        coro = note(log, "cancelled")
        waiting = tg.create_task(coro)
        tg.create_task(note(log, "next"))
        await checkpoint()
        waiting.cancel()
        assert getcoroutinestate(coro) == CORO_CLOSED
        assert waiting.done()
        assert waiting.cancelled()
        with pytest.raises(TaskCancelled):
            waiting.result()
        with pytest.raises(TaskCancelled):
            waiting.exception()
        with pytest.raises(RuntimeError, match="never started"):
            waiting.native
        assert not running.done()
        gate.opened = True
    assert log == ["next"]
    assert not running.cancelled()


@rule("G14")
async def test_cancelling_a_waiting_child_twice_changes_nothing() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(sleep_forever())
        waiting.cancel()
        waiting.cancel()
        gate.opened = True
    waiting.cancel()
    assert waiting.cancelled()


@rule("G14")
async def test_all_waiting_children_cancelled_by_themselves_leave_the_running_one() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        running = tg.create_task(gate.pass_through())
        for waiting in [tg.create_task(sleep_forever()) for _ in range(5)]:
            waiting.cancel()
        await checkpoint()
        assert not running.done()
        gate.opened = True
    assert not running.cancelled()


@rule("G14", "T4")
async def test_a_child_that_has_waited_is_cancelled_like_any_other(tick: float) -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        second = tg.create_task(note_the_end(log, "second"))
        third = tg.create_task(note(log, "third"))
        await sleep(tick)
        assert log == []
        second.cancel()
        await third
    assert log == ["second", "third"]
    assert second.cancelled()


@rule("G14", "T4")
async def test_a_child_that_has_waited_cancels_itself_in_its_first_step() -> None:
    log: list[str] = []

    async def child() -> None:
        log.append("started")
        tasks[1].cancel()
        await sleep_forever()

    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(checkpoint()), tg.create_task(child()), tg.create_task(note(log, "next"))]
    assert log == ["started", "next"]
    assert tasks[1].cancelled()


@rule("G14")
async def test_a_child_that_has_waited_has_a_native_task_in_its_first_step() -> None:
    natives: list[object] = []

    async def child() -> None:
        natives.append(tasks[1].native)
        assert not tasks[1].done()

    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(checkpoint()), tg.create_task(child())]
    assert natives == [tasks[1].native]


@rule("G14")
async def test_a_child_that_has_waited_cannot_wait_for_itself_in_its_first_step() -> None:
    async def child() -> None:
        with pytest.raises(RuntimeError, match="cannot wait for itself"):
            await tasks[1]

    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(checkpoint()), tg.create_task(child())]
    assert tasks[1].exception() is None


async def cancel_the_group(tg: TaskGroup) -> None:
    tg.cancel()


async def fail_in_the_body(tg: TaskGroup) -> None:
    raise ValueError


async def fail_in_a_child(tg: TaskGroup) -> None:
    tg.create_background_task(fail(ValueError()))
    await sleep_forever()


async def cancel_the_native_group(tg: TaskGroup) -> None:
    if current_backend() == "trio":
        tg.native.cancel_scope.cancel()
    else:
        tg.native.cancel()
    await sleep_forever()


async def fail_in_a_native_task(tg: TaskGroup) -> None:
    spawn_natively(tg, partial(fail, ValueError()))
    await sleep_forever()


def spawn_natively(tg: TaskGroup, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if current_backend() == "trio":
        tg.native.start_soon(async_fn)
    else:
        assert isinstance(tg.native.create_task(async_fn()), asyncio.Task)


@rule("G14")
@pytest.mark.parametrize(
    "end",
    [cancel_the_group, cancel_the_native_group, fail_in_the_body, fail_in_a_child, fail_in_a_native_task],
)
async def test_waiting_children_are_cancelled_with_the_group_and_never_start(
    end: Callable[[TaskGroup], Awaitable[None]],
) -> None:
    log: list[str] = []
    coros = [note(log, "started") for _ in range(3)]
    with suppress(ExceptionGroup):
        async with task_group(limit=1) as tg:
            running = tg.create_task(note_the_end(log, "running"))
            waiting = [tg.create_task(coro) for coro in coros]
            await checkpoint()
            await end(tg)
    assert log == ["running"]
    assert running.cancelled()
    assert [task.cancelled() for task in waiting] == [True, True, True]
    assert [getcoroutinestate(coro) for coro in coros] == [CORO_CLOSED] * 3


@rule("G14", "G3")
async def test_the_failure_of_a_child_with_a_slot_starts_nobody() -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup):
        async with task_group(limit=1) as tg:
            tg.create_task(fail(ValueError()))
            waiting = tg.create_task(note(log, "started"))
    assert log == []
    assert waiting.cancelled()


@rule("G14")
@in_every_scope
async def test_waiting_children_are_cancelled_from_outside_and_never_start(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []
    tasks: list[Task[None]] = []
    coros = [note(log, "started") for _ in range(3)]

    async def inside() -> None:
        async with task_group(limit=2) as tg:
            tg.create_task(note_the_end(log, "running"))
            tg.create_task(note_the_end(log, "running"))
            tasks.extend(tg.create_task(coro) for coro in coros)

    await enclosing(tick, inside)
    assert log == ["running", "running"]
    assert [task.cancelled() for task in tasks] == [True, True, True]
    assert [getcoroutinestate(coro) for coro in coros] == [CORO_CLOSED] * 3


@rule("G14")
@in_every_scope
async def test_nobody_starts_in_the_clean_up_after_a_cancellation_from_outside(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def inside() -> None:
        async with task_group(limit=2) as tg:
            tg.create_task(clean_up(tick, log, "quick"))
            tg.create_task(clean_up(3 * tick, log, "slow"))
            tg.create_task(note(log, "started"))

    await enclosing(tick, inside)
    assert log == ["quick", "slow"]


@rule("G14", "C6")
async def test_cancel_reaches_waiting_children_at_once() -> None:
    async with task_group(limit=1) as tg:
        tg.create_task(sleep_forever())
        waiting = tg.create_task(sleep_forever())
        tg.cancel()
        assert waiting.cancelled()


@rule("G14", "C6")
@pytest.mark.parametrize("one_has_left_the_queue", [False, True])
async def test_a_scope_around_reaches_waiting_children_although_all_others_are_slow_to_stop(
    tick: float, one_has_left_the_queue: bool
) -> None:
    waiting: list[Task[None]] = []
    log: list[str] = []

    async def inside() -> None:
        async with task_group(limit=1) as tg:
            tg.create_task(clean_up(4 * tick, log))
            gives_up = tg.create_task(checkpoint())
            waiting.append(tg.create_task(checkpoint()))
            if one_has_left_the_queue:
                gives_up.cancel()

    async with task_group() as outer:
        task = outer.create_task(inside())
        await sleep(tick)
        task.cancel()
        await sleep(tick)
        assert log == []
        assert waiting[0].cancelled()


@rule("G14")
async def test_a_child_that_has_waited_spawns_in_its_first_step_although_it_is_the_only_one_left() -> None:
    log: list[str] = []

    async def spawn() -> None:
        tg.create_task(note(log, "spawned"))

    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        tg.create_task(spawn())
    assert log == ["spawned"]


@rule("G14", "G8")
async def test_a_finished_group_with_a_limit_refuses_each_time() -> None:
    async with task_group(limit=1) as tg:
        pass
    for _ in range(2):
        coro = checkpoint()
        with pytest.raises(RuntimeError, match="is finished"):
            tg.create_task(coro)
        assert getcoroutinestate(coro) == CORO_CLOSED


@rule("G14", "C6")
async def test_a_child_that_would_wait_in_a_cancelled_scope_is_cancelled_although_others_are_slow_to_stop(
    tick: float,
) -> None:
    log: list[str] = []
    added: list[Task[None]] = []

    async def child(tg: TaskGroup) -> None:
        try:
            await sleep_forever()
        finally:
            added.append(tg.create_task(note(log, "started")))
            await shield(sleep(4 * tick))
            log.append("cleaned up")

    async def inside() -> None:
        async with task_group(limit=1) as tg:
            tg.create_task(child(tg))

    async with task_group() as outer:
        task = outer.create_task(inside())
        await sleep(tick)
        task.cancel()
        await sleep(tick)
        assert log == []
        assert added[0].cancelled()
    assert log == ["cleaned up"]


@rule("G14", "G7")
async def test_in_a_cancelled_group_a_child_that_gets_a_slot_runs_and_one_that_would_wait_does_not() -> None:
    log: list[str] = []

    async def child(number: int) -> None:
        log.append(f"started {number}")
        await sleep_forever()

    coros = [child(number) for number in range(3)]
    async with task_group(limit=2) as tg:
        tg.cancel()
        tasks = [tg.create_task(coro) for coro in coros]
        assert tasks[2].cancelled()
        assert getcoroutinestate(coros[2]) == CORO_CLOSED
    assert sorted(log) == ["started 0", "started 1"]
    assert [task.cancelled() for task in tasks] == [True, True, True]


@rule("G14")
async def test_in_a_group_cancelled_before_entry_nobody_waits() -> None:
    log: list[int] = []
    group = task_group(limit=1)
    group.cancel()
    async with group as tg:
        tasks = [tg.create_task(note(log, number)) for number in range(2)]
    assert log == [0]
    assert tasks[1].cancelled()


@rule("G14", "C5")
async def test_a_deadline_around_waiting_children(tick: float) -> None:
    started: list[int] = []

    async def child(number: int) -> None:
        started.append(number)
        await sleep(2 * tick)

    with pytest.raises(TimeoutError):
        async with deadline(3 * tick):
            async with task_group(limit=1) as tg:
                tasks = [tg.create_task(child(number)) for number in range(5)]
    assert started == [0, 1]
    assert [task.cancelled() for task in tasks] == [False, True, True, True, True]


@rule("G14", "G4")
async def test_errors_in_clean_up_win_although_children_wait(tick: float) -> None:
    error = OSError()
    with pytest.raises(ExceptionGroup) as caught:
        async with deadline(tick):
            async with task_group(limit=1) as tg:
                tg.create_task(fail_when_cancelled(error))
                waiting = tg.create_task(sleep_forever())
    assert caught.value.exceptions == (error,)
    assert waiting.cancelled()


@rule("G14")
async def test_a_waiting_child_is_waited_for(tick: float) -> None:
    async def answer() -> int:
        await sleep(tick)
        return 42

    async with task_group(limit=1) as tg:
        tg.create_task(sleep(tick))
        assert await tg.create_task(answer()) == 42


@rule("G14", "T2")
async def test_a_waiting_child_that_fails_later_is_waited_for() -> None:
    error = ValueError()
    gate = Gate()

    async def wait() -> None:
        with pytest.raises(TaskFailed) as caught:
            await waiting
        assert caught.value.__cause__ is error

    async with task_group() as outer:
        with pytest.raises(ExceptionGroup):
            async with task_group(limit=1) as tg:
                tg.create_task(gate.pass_through())
                waiting = tg.create_task(fail(error))
                waiter = outer.create_task(wait())
                await checkpoint()
                gate.opened = True
    waiter.result()


@rule("G14", "T2")
async def test_whoever_waits_for_a_waiting_child_learns_that_it_was_cancelled() -> None:
    async def wait() -> None:
        with pytest.raises(TaskCancelled):
            await waiting

    async with task_group() as outer:
        async with task_group(limit=1) as tg:
            tg.create_task(sleep_forever())
            waiting = tg.create_task(sleep_forever())
            by_itself = [outer.create_task(wait()) for _ in range(3)]
            await checkpoint()
            waiting.cancel()
            for waiter in by_itself:
                await waiter

            waiting = tg.create_task(sleep_forever())
            with_the_group = [outer.create_task(wait()) for _ in range(3)]
            await checkpoint()
            tg.cancel()
        with pytest.raises(TaskCancelled):
            await waiting
    for waiter in with_the_group:
        waiter.result()


@rule("G14", "T3")
async def test_giving_up_the_wait_leaves_a_waiting_child_alone(tick: float) -> None:
    log: list[str] = []
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(note(log, "ran"))
        async with deadline(0, suppress=True):
            await waiting
        assert not waiting.done()
        gate.opened = True
    assert log == ["ran"]


@rule("G14", "G10")
async def test_a_waiting_child_sees_the_context_of_its_creation() -> None:
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        variable.set("at creation")
        waiting = tg.create_task(seen())
        variable.set("later")
        await checkpoint()
        gate.opened = True
    assert waiting.result() == "at creation"


@rule("G14", "G10")
async def test_a_waiting_child_sees_its_creators_context_and_not_that_of_the_child_before_it() -> None:
    async def child(value: str) -> str:
        before = await seen()
        variable.set(value)
        return before

    variable.set("by the creator")
    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(child(f"by child {number}")) for number in range(4)]
    assert [task.result() for task in tasks] == ["by the creator"] * 4
    assert variable.get() == "by the creator"


@rule("G14", "G10")
async def test_a_waiting_child_runs_in_a_given_context_from_its_first_step_on() -> None:
    log: list[str] = []

    async def child() -> None:
        log.append(variable.get())
        variable.set("set by the child")

    context = copy_context()
    context.run(variable.set, "given")
    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        tg.create_task(child(), context=context)
    assert log == ["given"]
    assert context[variable] == "set by the child"


@rule("G14", "G10")
async def test_a_waiting_child_runs_in_a_given_empty_context() -> None:
    variable.set("set by the creator")
    context = Context()
    async with task_group(limit=1) as tg:
        tg.create_task(checkpoint())
        waiting = tg.create_task(seen(), context=context)
    assert waiting.result() == "default"


@rule("G14", "L7")
async def test_a_child_that_has_waited_has_the_deadlines_of_the_group() -> None:
    async def limit() -> float:
        return current_deadline()

    async with deadline(1000) as around, task_group(limit=1) as tg:
        with deadline(100):
            tg.create_task(checkpoint())
            waiting = tg.create_task(limit())
            await waiting
    assert waiting.result() == around.when()


@rule("G14", "G9")
async def test_a_group_that_another_task_tries_to_leave_and_its_owner_does_not_starts_nobody() -> None:
    log: list[str] = []
    waiting: list[Task[None]] = []
    group = task_group(limit=1)
    refused: list[bool] = []

    async def enter() -> None:
        await group.__aenter__()
        group.create_task(note_the_end(log, "running"))
        waiting.append(group.create_task(note(log, "started")))
        await until(lambda: refused)

    try:
        async with task_group() as tg:
            tg.create_task(enter())
            await until(lambda: waiting)
            with pytest.raises(RuntimeError, match="is being left in task"):
                await group.__aexit__(None, None, None)
            refused.append(True)
    except* RuntimeError:
        pass  # the owner ends with a group of its own open
    assert log == ["running"]
    assert waiting[0].cancelled()


@rule("G14", "T4")
async def test_a_child_that_has_waited_is_cancelled_in_its_first_step_by_a_child_of_its_own(
    tick: float,
) -> None:
    log: list[str] = []

    async def cancel_the_parent() -> None:
        tasks[1].cancel()

    async def child() -> None:
        async with task_group() as inner:
            inner.create_task(cancel_the_parent())
            await note_the_end(log)

    with deadline(5 * tick):
        async with task_group(limit=1) as tg:
            tasks = [tg.create_task(checkpoint()), tg.create_task(child())]
    assert log == ["child"]
    assert tasks[1].cancelled()


@rule("G14")
async def test_a_task_of_the_native_group_does_not_wait_for_a_slot() -> None:
    log: list[str] = []
    gate = Gate()

    async def native() -> None:
        log.append("native")

    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        tg.create_task(note(log, "waiting"))
        spawn_natively(tg, native)
        await until(lambda: log == ["native"])
        gate.opened = True
    assert log == ["native", "waiting"]


@rule("G14")
async def test_a_hundred_thousand_children_can_wait_and_be_cancelled() -> None:
    log: list[int] = []
    async with task_group(limit=3) as tg:
        tasks = [tg.create_task(note(log, number)) for number in range(100_000)]
        tasks[50_000].cancel()
        tasks[-1].cancel()
        await until(lambda: len(log) >= 3)
        tg.cancel()
        assert tasks[-2].cancelled()
        assert all(task.done() for task in tasks[-50_000:])
    assert len(log) + sum(task.cancelled() for task in tasks) == 100_000


@rule("G14")
async def test_ten_thousand_children_wait_and_run_in_order() -> None:
    log: list[int] = []
    async with task_group(limit=1) as tg:
        for number in range(10_000):
            tg.create_task(note(log, number))
    assert log == list(range(10_000))


@rule("G14", "G11")
@pytest.mark.usefixtures("no_collection")
async def test_what_waited_is_freed_when_it_was_cancelled_and_when_it_has_run() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def child(payload: Payload) -> None:
        await checkpoint()

    def watched() -> Coroutine[Any, Any, None]:
        payload = Payload()
        alive.add(payload)
        return child(payload)

    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        waiting = tg.create_task(watched())
        waiting.cancel()
        assert count(alive) == 0
        runs = tg.create_task(watched())
        await checkpoint()
        gate.opened = True
        await runs
        await until(lambda: count(alive) == 0)
        alive.add(waiting)
        alive.add(runs)
        del waiting, runs
        await until(lambda: count(alive) == 0)


@rule("G14")
@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (0, ValueError, "expects at least 1, got 0"),
        (-3, ValueError, "expects at least 1, got -3"),
        (2.0, TypeError, "expects an integer or None, got 2.0"),
        ("2", TypeError, "expects an integer or None, got '2'"),
        (True, TypeError, "expects an integer or None, got True"),
    ],
)
async def test_what_is_no_limit_is_refused(limit: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        task_group(limit=limit)
    assert "task_group(limit=)" in str(caught.value)
    assert message in str(caught.value)


@rule("G14", "G8")
async def test_a_group_with_a_limit_refuses_what_any_group_refuses() -> None:
    group = task_group(limit=1)
    coros = [checkpoint(), checkpoint()]
    with pytest.raises(RuntimeError, match="has not been entered"):
        group.create_task(coros[0])
    gate = Gate()
    async with group as tg:
        tg.create_task(gate.pass_through())
        with pytest.raises(TypeError, match="expects a coroutine object"):
            tg.create_task(checkpoint)  # type: ignore[arg-type]
        gate.opened = True
    with pytest.raises(RuntimeError, match="is finished"):
        group.create_task(coros[1])
    assert [getcoroutinestate(coro) for coro in coros] == [CORO_CLOSED] * 2


# G15: background tasks


@rule("G15")
async def test_a_background_task_is_cancelled_once_the_body_has_ended() -> None:
    log: list[str] = []
    async with task_group() as tg:
        task = tg.create_background_task(note_the_end(log, "background"))
        await checkpoint()
        log.append("body")
    assert log == ["body", "background"]
    assert task.cancelled()


@rule("G15")
async def test_a_background_task_runs_as_long_as_the_body(tick: float) -> None:
    beats: list[int] = []

    async def heartbeat() -> None:
        while True:
            beats.append(len(beats))
            await sleep(tick)

    async with task_group() as tg:
        tg.create_background_task(heartbeat())
        await until(lambda: beats)
        while len(beats) < 4:
            await sleep(tick)
        count = len(beats)
    assert len(beats) == count


@rule("G15")
async def test_a_background_task_runs_as_long_as_the_last_ordinary_child(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        background = tg.create_background_task(note_the_end(log, "background"))
        tg.create_task(note_after(3 * tick, log, "slow"))
        tg.create_task(note_after(tick, log, "quick"))
    assert log == ["quick", "slow", "background"]
    assert background.cancelled()


@rule("G15")
async def test_a_background_task_runs_although_the_last_child_ended_before_the_body(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        background = tg.create_background_task(note_the_end(log, "background"))
        await tg.create_task(checkpoint())
        await sleep(tick)
        assert not background.done()
        log.append("body")
    assert log == ["body", "background"]


@rule("G15", "G14")
async def test_a_background_task_runs_as_long_as_children_wait_for_a_slot(tick: float) -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        tg.create_background_task(note_the_end(log, "background"))
        for number in range(3):
            tg.create_task(note_after(tick, log, str(number)))
    assert log == ["0", "1", "2", "background"]


@rule("G15", "G2")
async def test_a_background_task_runs_as_long_as_children_that_came_late(tick: float) -> None:
    log: list[str] = []

    async def child() -> None:
        await sleep(tick)
        tg.create_task(note_after(tick, log, "late"))
        log.append("child")

    async with task_group() as tg:
        tg.create_background_task(note_the_end(log, "background"))
        tg.create_task(child())
    assert log == ["child", "late", "background"]


@rule("G15")
async def test_a_cancelled_ordinary_child_counts_until_its_clean_up_has_ended(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.create_background_task(note_the_end(log, "background"))
        child = tg.create_task(clean_up(2 * tick, log, "child"))
        await checkpoint()
        child.cancel()
    assert log == ["child", "background"]


@rule("G15")
async def test_all_background_tasks_are_cancelled(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tasks = [tg.create_background_task(note_the_end(log)) for _ in range(5)]
        tg.create_task(sleep(tick))
    assert log == ["child"] * 5
    assert all(task.cancelled() for task in tasks)


@rule("G15")
async def test_all_background_tasks_are_cancelled_at_once(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        try:
            await sleep_forever()
        finally:
            log.append("cancelled")
            await shield(sleep(tick))
            log.append("ended")

    async with task_group() as tg:
        for _ in range(3):
            tg.create_background_task(background())
        await checkpoint()
    assert log == ["cancelled"] * 3 + ["ended"] * 3


@rule("G15")
async def test_the_block_waits_for_the_clean_up_of_a_background_task(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.create_background_task(clean_up(3 * tick, log, "background"))
        await checkpoint()
    assert log == ["background"]


@rule("G15", "C2")
async def test_after_the_end_of_background_tasks_nothing_is_cancelled(tick: float) -> None:
    async with task_group() as tg:
        tg.create_background_task(sleep_forever())
        tg.create_task(checkpoint())
    await sleep(tick)
    await checkpoint()


@rule("G15", "G7")
async def test_a_background_task_runs_to_its_first_checkpoint_although_the_body_ends_at_once() -> None:
    log: list[str] = []

    async def background() -> None:
        log.append("started")
        try:
            await sleep_forever()
        finally:
            log.append("ended")

    async with task_group() as tg:
        tg.create_background_task(background())
    assert log == ["started", "ended"]


@rule("G15")
async def test_a_background_task_that_returns_keeps_its_result() -> None:
    async def answer() -> int:
        return 42

    async with task_group() as tg:
        task = tg.create_background_task(answer())
        assert await task == 42
    assert task.result() == 42


@rule("G15", "G3")
async def test_the_failure_of_a_background_task_cancels_the_group() -> None:
    error = ValueError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            child = tg.create_task(note_the_end(log))
            other = tg.create_background_task(note_the_end(log, "other"))
            tg.create_background_task(fail_after(0, error))
            try:
                await sleep_forever()
            finally:
                log.append("body")
    assert caught.value.exceptions == (error,)
    assert sorted(log) == ["body", "child", "other"]
    assert child.cancelled()
    assert other.cancelled()


@rule("G15", "G3")
async def test_the_failure_of_a_background_task_while_the_block_is_exiting_cancels_the_children(
    tick: float,
) -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            child = tg.create_task(sleep_forever())
            tg.create_background_task(fail_after(tick, error))
    assert caught.value.exceptions == (error,)
    assert child.cancelled()


@rule("G15")
async def test_an_error_in_the_clean_up_of_a_background_task_is_raised() -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_background_task(fail_when_cancelled(error))
            await checkpoint()
    assert caught.value.exceptions == (error,)


@rule("G15")
async def test_an_error_in_the_clean_up_of_a_background_task_cancels_the_others(tick: float) -> None:
    async def linger() -> None:
        try:
            await sleep_forever()
        finally:
            tg.create_task(note_the_end(log, "created in the clean-up"))
            await shield(sleep(tick))
            raise ValueError

    log: list[str] = []
    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            tg.create_background_task(linger())
            await checkpoint()
    assert log == ["created in the clean-up"]


@rule("G15", "T4")
async def test_a_background_task_is_cancelled_alone() -> None:
    log: list[str] = []
    async with task_group() as tg:
        task = tg.create_background_task(note_the_end(log, "background"))
        other = tg.create_background_task(sleep_forever())
        await checkpoint()
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task
        await checkpoint()
        assert not other.done()
        log.append("body")
    assert log == ["background", "body"]


@rule("G15", "G14")
async def test_a_background_task_takes_no_slot() -> None:
    arrived: set[str] = set()

    async def meet(name: str) -> None:
        arrived.add(name)
        await until(lambda: len(arrived) == 4)

    async with task_group(limit=1) as tg:
        tg.create_background_task(meet("background"))
        tg.create_task(meet("ordinary"))
        late = tg.create_background_task(meet("late background"))
        assert late.native is not None
        tg.create_background_task(meet("last background"))
        await until(lambda: len(arrived) == 4)


@rule("G15", "G14")
async def test_the_end_of_a_background_task_frees_no_slot() -> None:
    gate = Gate()
    log: list[str] = []
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        tg.create_task(note(log, "waiting"))
        await tg.create_background_task(checkpoint())
        cancelled = tg.create_background_task(sleep_forever())
        cancelled.cancel()
        with suppress(TaskCancelled):
            await cancelled
        for _ in range(5):
            await checkpoint()
        assert log == []
        gate.opened = True
    assert log == ["waiting"]


@rule("G15")
async def test_a_background_task_adds_ordinary_children(tick: float) -> None:
    log: list[str] = []
    added: list[Task[None]] = []

    async def background() -> None:
        added.append(tg.create_task(note_after(2 * tick, log, "child")))
        await note_the_end(log, "background")

    async with task_group() as tg:
        tg.create_background_task(background())
        await until(lambda: added)
    assert log == ["child", "background"]


@rule("G15")
async def test_a_background_task_adds_ordinary_children_while_the_block_is_exiting(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        await sleep(tick)
        tg.create_task(note_after(3 * tick, log, "second"))
        await note_the_end(log, "background")

    async with task_group() as tg:
        tg.create_background_task(background())
        tg.create_task(note_after(2 * tick, log, "first"))
    assert log == ["first", "second", "background"]


@rule("G15")
async def test_a_background_task_adds_ordinary_children_in_its_clean_up(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        try:
            await sleep_forever()
        finally:
            tg.create_task(note_after(tick, log, "child"))
            log.append("background")

    async with task_group() as tg:
        tg.create_background_task(background())
        await checkpoint()
    assert log == ["background", "child"]


@rule("G15")
async def test_background_tasks_created_beside_a_late_child_run_until_it_has_ended(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        try:
            await sleep_forever()
        finally:
            tg.create_task(note_after(tick, log, "child"))
            tg.create_background_task(note_the_end(log, "second background"))
            log.append("background")

    async with task_group() as tg:
        tg.create_background_task(background())
        await checkpoint()
    assert log == ["background", "child", "second background"]


@rule("G15", "G7")
async def test_background_tasks_created_when_nothing_else_is_left_run_to_their_first_checkpoint(
    tick: float,
) -> None:
    log: list[str] = []

    async def background(depth: int) -> None:
        log.append(f"started {depth}")
        if depth < 3:
            tg.create_background_task(background(depth + 1))
        try:
            await sleep_forever()
        finally:
            log.append(f"ended {depth}")

    async def starter() -> None:
        try:
            await sleep_forever()
        finally:
            tg.create_background_task(background(1))

    async with task_group() as tg:
        tg.create_background_task(starter())
        await checkpoint()
    assert sorted(log) == ["ended 1", "ended 2", "ended 3", "started 1", "started 2", "started 3"]


@rule("G15")
async def test_a_background_task_created_when_nothing_else_is_left_is_cancelled_at_once(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        try:
            await sleep_forever()
        finally:
            tg.create_background_task(note_the_end(log, "second"))
            await shield(sleep(3 * tick))
            log.append("first")

    async with task_group() as tg:
        tg.create_background_task(background())
        await checkpoint()
    assert log == ["second", "first"]


@rule("G15", "G6")
async def test_background_tasks_are_cancelled_with_the_group() -> None:
    log: list[str] = []
    async with task_group() as tg:
        task = tg.create_background_task(note_the_end(log, "background"))
        await checkpoint()
        tg.cancel()
        with suppress(get_cancelled_exc_class()):
            await sleep_forever()
        born_cancelled = tg.create_background_task(note_the_end(log, "late"))
    assert sorted(log) == ["background", "late"]
    assert task.cancelled()
    assert born_cancelled.cancelled()


@rule("G15", "G5")
@in_every_scope
async def test_background_tasks_are_cancelled_from_outside(enclosing: Enclosing, tick: float) -> None:
    log: list[str] = []

    async def inside() -> None:
        try:
            async with task_group() as tg:
                tg.create_background_task(clean_up(tick, log, "background"))
                tg.create_task(note_the_end(log, "ordinary"))
        finally:
            log.append("block")

    await enclosing(tick, inside)
    assert log == ["ordinary", "background", "block"]


@rule("G15", "G4")
@in_every_scope
async def test_an_error_of_a_background_task_wins_over_a_cancellation_from_outside(
    enclosing: Enclosing, tick: float
) -> None:
    error = OSError()
    found: list[BaseException] = []

    async def inside() -> None:
        try:
            async with task_group() as tg:
                tg.create_background_task(fail_when_cancelled(error))
                await sleep_forever()
        except ExceptionGroup as group:
            found.extend(group.exceptions)
        await checkpoint()
        found.append(AssertionError("the cancellation is not delivered"))

    await enclosing(tick, inside)
    assert found == [error]


@rule("G15", "G13")
async def test_a_cancellation_in_force_after_the_last_background_task_is_raised(tick: float) -> None:
    log: list[str] = []
    with deadline(2 * tick, suppress=True) as limit:
        async with task_group() as tg:
            tg.create_background_task(clean_up(4 * tick, log))
            await sleep(tick)
        log.append("after the block")
    assert log == ["child"]
    assert limit.expired()


@rule("G15", "L7")
async def test_a_background_task_has_the_deadlines_of_the_group() -> None:
    async def limit() -> float:
        return current_deadline()

    async with deadline(1000) as around, task_group() as tg:
        with deadline(100):
            task = tg.create_background_task(limit())
            await task
    assert task.result() == around.when()


@rule("G15", "C6")
async def test_groups_inside_a_background_task_end_with_it(tick: float) -> None:
    log: list[str] = []

    async def background() -> None:
        async with task_group(limit=1) as inner:
            inner.create_background_task(clean_up(tick, log, "inner background"))
            inner.create_task(clean_up(2 * tick, log, "inner child"))
            waiting.append(inner.create_task(note(log, "started")))

    waiting: list[Task[None]] = []
    async with task_group() as tg:
        tg.create_background_task(background())
        tg.create_task(note_after(tick, log, "child"))
    assert log == ["child", "inner background", "inner child"]
    assert waiting[0].cancelled()


@rule("G15", "G10")
async def test_a_background_task_has_a_name_and_a_context() -> None:
    context = copy_context()
    context.run(variable.set, "given")
    async with task_group() as tg:
        named = tg.create_background_task(seen(), name="heartbeat", context=context)
        assert native_name(named) == "heartbeat"
        assert await named == "given"
        variable.set("set by the creator")
        assert await tg.create_background_task(seen()) == "set by the creator"


@rule("G15", "G8")
async def test_a_background_task_is_refused_with_the_coroutine_closed() -> None:
    coros = [checkpoint(), checkpoint()]
    group = task_group()
    with pytest.raises(RuntimeError, match="has not been entered"):
        group.create_background_task(coros[0])
    async with group:
        with pytest.raises(TypeError, match=r"create_background_task\(\) expects a coroutine object"):
            group.create_background_task(checkpoint)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="is finished"):
        group.create_background_task(coros[1])
    assert [getcoroutinestate(coro) for coro in coros] == [CORO_CLOSED] * 2


@rule("G15", "G11")
@pytest.mark.usefixtures("no_collection")
async def test_a_finished_background_task_is_released() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def background(payload: Payload) -> None:
        alive.add(payload)
        await checkpoint()

    async with task_group() as tg:
        alive.add(tg.create_background_task(background(Payload())))
        await until(lambda: count(alive) == 0)


# G16: deferred errors


@rule("G16")
async def test_a_failing_child_leaves_its_siblings_and_the_body_alone(tick: float) -> None:
    error = ValueError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            failing = tg.create_task(fail(error))
            tg.create_task(note_after(3 * tick, log, "sibling"))
            await sleep(tick)
            assert failing.done()
            log.append("body")
    assert log == ["body", "sibling"]
    assert caught.value.exceptions == (error,)


@rule("G16")
async def test_without_it_a_failing_child_cancels_its_siblings() -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup):
        async with task_group(defer_errors=False) as tg:
            tg.create_task(note_the_end(log))
            tg.create_task(fail(ValueError()))
    assert log == ["child"]


@rule("G16")
async def test_all_errors_are_raised_together_when_the_last_child_has_ended(tick: float) -> None:
    errors = [ValueError(number) for number in range(4)]
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        try:
            async with task_group(defer_errors=True) as tg:
                for number, error in enumerate(errors):
                    tg.create_task(fail_after(number * tick, error))
                tg.create_task(note_after(5 * tick, log, "last child"))
        finally:
            log.append("block")
    assert set(caught.value.exceptions) == set(errors)
    assert len(caught.value.exceptions) == 4
    assert log == ["last child", "block"]


@rule("G16")
async def test_without_errors_the_block_ends_quietly(tick: float) -> None:
    async with task_group(defer_errors=True) as tg:
        task = tg.create_task(sleep(tick))
    assert task.exception() is None


@rule("G16", "T2")
async def test_the_handle_of_a_child_tells_its_deferred_error() -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            task = tg.create_task(fail(error))
            with pytest.raises(TaskFailed) as caught:
                await task
            assert caught.value.__cause__ is error
            assert task.exception() is error
            assert not task.cancelled()


@rule("G16", "G2")
async def test_after_a_deferred_error_children_are_added(tick: float) -> None:
    log: list[str] = []

    async def child() -> None:
        await sleep(tick)
        tg.create_task(note(log, "added"))

    with pytest.raises(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            await suppressed(tg.create_task(fail(ValueError())))
            await tg.create_task(note(log, "body"))
            tg.create_task(child())
    assert log == ["body", "added"]


async def suppressed(task: Task[Any]) -> None:
    with suppress(TaskFailed, TaskCancelled):
        await task


@rule("G16")
async def test_an_error_of_the_body_ends_everything() -> None:
    deferred, of_the_body, in_clean_up = ValueError(), KeyError(), OSError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            child = tg.create_task(note_the_end(log))
            tg.create_task(fail_when_cancelled(in_clean_up))
            await suppressed(tg.create_task(fail(deferred)))
            raise of_the_body
    assert log == ["child"]
    assert child.cancelled()
    assert set(caught.value.exceptions) == {deferred, of_the_body, in_clean_up}
    assert len(caught.value.exceptions) == 3


@rule("G16", "G6")
async def test_cancel_ends_everything_and_the_errors_so_far_are_raised() -> None:
    deferred, in_clean_up = ValueError(), OSError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            child = tg.create_task(note_the_end(log))
            tg.create_task(fail_when_cancelled(in_clean_up))
            await suppressed(tg.create_task(fail(deferred)))
            tg.cancel()
    assert log == ["child"]
    assert child.cancelled()
    assert set(caught.value.exceptions) == {deferred, in_clean_up}


@rule("G16", "G6")
async def test_cancel_without_errors_ends_quietly() -> None:
    async with task_group(defer_errors=True) as tg:
        child = tg.create_task(sleep_forever())
        tg.cancel()
    assert child.cancelled()


@rule("G16", "G4")
@in_every_scope
async def test_a_cancellation_from_outside_ends_everything_and_the_errors_so_far_are_raised(
    enclosing: Enclosing, tick: float
) -> None:
    deferred, in_clean_up = ValueError(), OSError()
    log: list[str] = []
    found: list[BaseException] = []

    async def inside() -> None:
        try:
            async with task_group(defer_errors=True) as tg:
                tg.create_task(fail(deferred))
                tg.create_task(fail_when_cancelled(in_clean_up))
                tg.create_task(note_the_end(log))
        except ExceptionGroup as group:
            found.extend(group.exceptions)
        await checkpoint()
        log.append("the cancellation is not delivered")

    await enclosing(tick, inside)
    assert log == ["child"]
    assert set(found) == {deferred, in_clean_up}
    assert len(found) == 2


@rule("G16", "G5")
@in_every_scope
async def test_without_errors_a_cancellation_from_outside_passes_on(
    enclosing: Enclosing, tick: float
) -> None:
    caught: list[BaseException] = []

    async def inside() -> None:
        try:
            async with task_group(defer_errors=True) as tg:
                tg.create_task(sleep_forever())
        except BaseException as error:
            caught.append(error)
            raise

    await enclosing(tick, inside)
    assert [type(error) for error in caught] == [get_cancelled_exc_class()]
    caught.clear()


@rule("G16")
async def test_what_is_no_exception_is_not_deferred() -> None:
    abort, deferred = Abort(), ValueError()
    log: list[str] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            child = tg.create_task(note_the_end(log))
            await suppressed(tg.create_task(fail(deferred)))
            tg.create_task(fail(abort))
            await sleep_forever()
    assert child.cancelled()
    assert log == ["child"]
    assert set(caught.value.exceptions) == {abort, deferred}


@rule("G16")
async def test_a_group_that_holds_what_is_no_exception_is_not_deferred() -> None:
    abort = Abort()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            child = tg.create_task(sleep_forever())
            tg.create_task(fail(BaseExceptionGroup("both", [ValueError(), abort])))
    assert child.cancelled()
    assert abort in leaves(caught.value)


@rule("G16")
async def test_the_errors_of_a_group_inside_are_deferred_as_one(tick: float) -> None:
    errors = ValueError(), OSError()
    log: list[str] = []

    async def child() -> None:
        async with task_group() as inner:
            for error in errors:
                inner.create_task(fail_when_cancelled(error))
            await checkpoint()
            inner.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            tg.create_task(child())
            tg.create_task(note_after(tick, log, "sibling"))
    assert log == ["sibling"]
    [inner_group] = caught.value.exceptions
    assert isinstance(inner_group, ExceptionGroup)
    assert set(inner_group.exceptions) == set(errors)


@rule("G16")
async def test_what_is_deferred_inside_cancels_the_group_around_when_it_is_raised(tick: float) -> None:
    log: list[str] = []
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as outer:
            outer.create_task(note_the_end(log, "uncle"))
            async with task_group(defer_errors=True) as inner:
                inner.create_task(fail(error))
                inner.create_task(note_after(tick, log, "sibling"))
    assert log == ["sibling", "uncle"]
    assert leaves(caught.value) == [error]


@rule("G16", "G15")
async def test_the_error_of_a_background_task_is_deferred_like_any_other(tick: float) -> None:
    error = ValueError()
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            tg.create_background_task(fail(error))
            tg.create_task(note_after(tick, log, "child"))
    assert log == ["child"]
    assert caught.value.exceptions == (error,)


@rule("G16", "L2")
async def test_deferred_errors_win_over_a_deadline_around(tick: float) -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup) as caught:
        async with deadline(tick) as limit:
            async with task_group(defer_errors=True) as tg:
                tg.create_task(fail(error))
                tg.create_task(sleep_forever())
    assert caught.value.exceptions == (error,)
    assert limit.expired()


async def fail_loaded(number: int, alive: weakref.WeakSet[Any]) -> None:
    await checkpoint()
    error = Loaded(f"error {number}")
    alive.add(error)
    try:
        raise error
    finally:
        del error


@rule("G16")
async def test_the_first_hundred_errors_are_kept_and_later_ones_are_logged(
    caplog: pytest.LogCaptureFixture, tick: float
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            for number in range(105):
                await suppressed(tg.create_task(fail(ValueError(number))))
                await checkpoint()
    assert MAX_DEFERRED == 100
    assert [error.args for error in leaves(caught.value)] == [(number,) for number in range(100)]
    for number, record in enumerate(caplog.records, start=100):
        assert (record.name, record.levelno) == ("interloop", logging.ERROR)
        assert record.exc_info is not None
        assert record.exc_info[1] is not None
        assert record.exc_info[1].args == (number,)
        assert record.exc_info[2] is not None
    assert len(caplog.records) == 5
    [note_of_group] = caught.value.__notes__
    assert note_of_group.startswith("5 more errors of this group were logged")


@pytest.fixture
def log_nothing() -> Iterator[None]:
    """What pytest logs, it keeps."""
    logger = logging.getLogger("interloop")

    def refuse(_: logging.LogRecord) -> bool:
        return False

    logger.addFilter(refuse)
    yield
    logger.removeFilter(refuse)


@rule("G16")
@pytest.mark.usefixtures("no_collection", "log_nothing")
async def test_the_memory_held_by_deferred_errors_is_bounded() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    with pytest.raises(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            for number in range(150):
                task = tg.create_task(fail_loaded(number, alive))
                await until(task.done)
            del task
            await until(lambda: len(alive) == MAX_DEFERRED)


@rule("G16")
async def test_a_hundred_errors_are_raised_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            for number in range(100):
                tg.create_task(fail(ValueError(number)))
    assert {error.args[0] for error in leaves(caught.value)} == set(range(100))
    assert len(caught.value.exceptions) == 100
    assert not hasattr(caught.value, "__notes__")
    assert caplog.records == []


@rule("G16")
async def test_an_error_of_the_body_is_kept_although_a_hundred_others_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = OSError()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            for number in range(101):
                tg.create_task(fail(ValueError(number)))
            await until(lambda: caplog.records)
            raise error
    assert error in caught.value.exceptions
    assert len(caught.value.exceptions) == 101
    assert len(caplog.records) == 1


@rule("G16")
async def test_what_is_no_exception_is_kept_although_a_hundred_errors_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    abort = Abort()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            for number in range(101):
                tg.create_task(fail(ValueError(number)))
            await until(lambda: caplog.records)
            tg.create_task(fail(abort))
            await sleep_forever()
    assert abort in caught.value.exceptions
    assert len(caught.value.exceptions) == 101


@rule("G16")
async def test_the_handle_tells_an_error_that_was_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = OSError()
    with pytest.raises(ExceptionGroup):
        async with task_group(defer_errors=True, limit=1) as tg:
            for number in range(100):
                tg.create_task(fail(ValueError(number)))
            task = tg.create_task(fail(error))
            await suppressed(task)
    assert task.exception() is error
    assert len(caplog.records) == 1


@rule("G16", "G11")
@pytest.mark.usefixtures("no_collection")
async def test_deferred_errors_are_not_kept_after_exit() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    try:
        async with task_group(defer_errors=True) as tg:
            tg.create_task(fail_loaded(1, alive))
            tg.create_task(fail_loaded(2, alive))
    except* Loaded:
        assert count(alive) == 2
    assert count(alive) == 0
    del tg


# T5: start


async def serve(seconds: float, log: list[str], *, task_status: TaskStatus[str]) -> None:
    """Get ready in some time, and run as long again."""
    await sleep(seconds)
    log.append("ready")
    task_status.started("address")
    await sleep(seconds)
    log.append("served")


async def never_ready(log: list[str], *, task_status: TaskStatus[None]) -> None:
    log.append("called")
    await note_the_end(log, "ended")


async def ready_at_once(*, task_status: TaskStatus[None]) -> None:
    task_status.started()


@rule("T5")
async def test_start_gives_the_value_of_started() -> None:
    value = object()

    async def child(*, task_status: TaskStatus[object]) -> None:
        task_status.started(value)

    async with task_group() as tg:
        assert await tg.start(child) is value


@rule("T5")
async def test_start_gives_none_if_started_has_no_value() -> None:
    async with task_group() as tg:
        assert await tg.start(ready_at_once) is None  # type: ignore[func-returns-value]


@rule("T5")
async def test_start_waits_until_the_child_is_ready_and_the_group_until_it_has_ended(tick: float) -> None:
    log: list[str] = []
    async with task_group() as tg:
        assert await tg.start(serve, 2 * tick, log) == "address"
        log.append("body")
    assert log == ["ready", "body", "served"]


@rule("T5")
async def test_start_hands_on_its_arguments() -> None:
    async def child(*args: Any, task_status: TaskStatus[tuple[Any, ...]]) -> None:
        task_status.started(args)

    async with task_group() as tg:
        assert await tg.start(child, 1, "two", None, [4], 5, 6) == (1, "two", None, [4], 5, 6)


@rule("T5")
async def test_start_takes_a_partial_and_a_method() -> None:
    class Server:
        async def run(self, port: int, *, task_status: TaskStatus[int]) -> None:
            task_status.started(port)

    async with task_group() as tg:
        assert await tg.start(Server().run, 80) == 80
        assert await tg.start(partial(Server().run, 443)) == 443


def name_of_current_task() -> str:
    if current_backend() == "trio":
        import trio

        return trio.lowlevel.current_task().name
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


@rule("T5", "G10")
async def test_start_names_the_task() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        await checkpoint()  # an eager loop names a task after its first step
        task_status.started(name_of_current_task())

    async with task_group() as tg:
        assert await tg.start(child, name="server") == "server"


@rule("T5", "G10")
async def test_without_a_name_a_started_child_is_named_as_any_other_child() -> None:
    async def child(*, task_status: TaskStatus[None] | None = None) -> None:
        await checkpoint()
        names.append(re.sub(r"\d+", "N", name_of_current_task()))
        if task_status is not None:
            task_status.started()

    names: list[str] = []
    async with task_group() as tg:
        await tg.start(child)
        await tg.create_task(child())
    assert names[0] == names[1]


@rule("T5", "G10")
async def test_a_started_child_runs_in_a_copy_of_the_callers_context() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        value = await seen()
        variable.set("set by the child")
        task_status.started(value)

    variable.set("set by the caller")
    async with task_group() as tg:
        assert await tg.start(child) == "set by the caller"
    assert variable.get() == "set by the caller"


@rule("T5")
async def test_start_may_be_called_by_a_child_and_while_the_block_is_exiting(tick: float) -> None:
    log: list[str] = []

    async def child() -> None:
        await sleep(tick)
        assert await tg.start(serve, tick, log) == "address"
        log.append("child")

    async with task_group() as tg:
        tg.create_task(child())
    assert sorted(log) == ["child", "ready", "served"]
    assert log[0] == "ready"


@rule("T5")
async def test_started_may_be_called_by_another_task(tick: float) -> None:
    log: list[str] = []

    async def say_so(task_status: TaskStatus[str]) -> None:
        await sleep(tick)
        log.append("ready")
        task_status.started("ready")

    async def child(*, task_status: TaskStatus[str]) -> None:
        async with task_group() as inner:
            inner.create_task(say_so(task_status))
            await sleep(3 * tick)
            log.append("ended")

    async with task_group() as tg:
        assert await tg.start(child) == "ready"
        assert log == ["ready"]
    assert log == ["ready", "ended"]


@rule("T5")
async def test_a_child_starts_another_before_it_is_ready(tick: float) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[str]) -> None:
        async with task_group() as inner:
            task_status.started(f"behind {await inner.start(serve, tick, log)}")

    async with task_group() as tg:
        assert await tg.start(child) == "behind address"
    assert log == ["ready", "served"]


@rule("T5")
@pytest.mark.parametrize("ticks", [None, 0, 1])
async def test_the_error_of_a_child_before_it_is_ready_comes_out_of_start(
    ticks: int | None, tick: float
) -> None:
    error = OSError("the port is taken")

    async def child(*, task_status: TaskStatus[None]) -> None:
        if ticks is not None:
            await sleep(ticks * tick)
        raise error

    log: list[str] = []
    async with task_group() as tg:
        tg.create_task(note_after(3 * tick, log, "sibling"))
        with pytest.raises(OSError) as caught:
            await tg.start(child)
        assert caught.value is error
        await checkpoint()
        assert await tg.start(serve, tick, log) == "address"
    assert sorted(log) == ["ready", "served", "sibling"]


@rule("T5")
async def test_a_group_of_errors_before_ready_comes_out_of_start_as_it_is() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        async with task_group() as inner:
            inner.create_task(fail(ValueError()))

    async with task_group() as tg:
        with pytest.raises(ExceptionGroup) as caught:
            await tg.start(child)
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        await checkpoint()


@rule("T5")
async def test_an_error_that_is_no_exception_comes_out_of_start_too() -> None:
    error = Abort()

    async def child(*, task_status: TaskStatus[None]) -> None:
        await checkpoint()
        raise error

    async with task_group() as tg:
        with pytest.raises(Abort) as caught:
            await tg.start(child)
        assert caught.value is error
        await checkpoint()


@rule("T5", "G16")
async def test_the_error_of_a_child_before_it_is_ready_is_not_deferred() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise OSError

    async with task_group(defer_errors=True) as tg:
        with pytest.raises(OSError):
            await tg.start(child)


@rule("T5", "G11")
@pytest.mark.usefixtures("no_collection")
async def test_the_error_that_came_out_of_start_is_not_kept(tick: float) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def child(*, task_status: TaskStatus[None]) -> None:
        await fail_loaded(1, alive)

    async with task_group() as tg:
        with suppress(Loaded):
            await tg.start(child)
        await sleep(tick)
        assert count(alive) == 0


@rule("T5")
@pytest.mark.parametrize("ticks", [None, 0, 1])
async def test_returning_without_being_ready_is_an_error(ticks: int | None, tick: float) -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        if ticks is not None:
            await sleep(ticks * tick)

    async with task_group() as tg:
        sibling = tg.create_task(sleep(2 * tick))
        with pytest.raises(
            RuntimeError, match=r"child at .* returned without calling task_status.started\(\)"
        ):
            await tg.start(child)
        await checkpoint()
    assert not sibling.cancelled()


@rule("T5")
async def test_being_ready_twice_is_an_error_of_the_child() -> None:
    async def child(*, task_status: TaskStatus[int]) -> None:
        task_status.started(1)
        await checkpoint()
        with pytest.raises(RuntimeError, match="was called twice"):
            task_status.started(2)
        task_status.started(3)

    values: list[int] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            values.append(await tg.start(child))
            await sleep_forever()
    assert values == [1]
    [error] = caught.value.exceptions
    assert isinstance(error, RuntimeError)


@rule("T5")
@pytest.mark.parametrize("awaits", [False, True])
async def test_an_error_of_a_child_that_is_ready_is_the_groups(awaits: bool) -> None:
    error = ValueError()

    async def child(*, task_status: TaskStatus[int]) -> None:
        task_status.started(1)
        if awaits:
            await checkpoint()
        raise error

    values: list[int] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            sibling = tg.create_task(sleep_forever())
            values.append(await tg.start(child))
            await sleep_forever()
    assert values == [1]
    assert caught.value.exceptions == (error,)
    assert sibling.cancelled()


@rule("T5")
@in_every_scope
async def test_cancelled_while_starting_the_child_is_cancelled_and_waited_for(
    enclosing: Enclosing, tick: float
) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        await clean_up(2 * tick, log)

    async def inside() -> None:
        try:
            await tg.start(child)
        finally:
            log.append("start")

    async with task_group() as tg:
        sibling = tg.create_task(note_after(5 * tick, log, "sibling"))
        await enclosing(tick, inside)
        assert log == ["child", "start"]
        await checkpoint()
    assert log == ["child", "start", "sibling"]
    assert not sibling.cancelled()


@rule("T5")
async def test_further_cancellations_do_not_cut_the_clean_up_of_a_starting_child_short(tick: float) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        await clean_up(4 * tick, log)

    async with task_group() as tg:
        with pytest.raises(TimeoutError):
            with deadline(3 * tick):
                with deadline(2 * tick), deadline(tick):
                    try:
                        await tg.start(child)
                    finally:
                        log.append("start")
        assert log == ["child", "start"]
        await sleep(tick)  # C2: nothing is left


@rule("T5")
async def test_an_error_in_the_clean_up_of_a_starting_child_is_the_groups(tick: float) -> None:
    error = ValueError()
    log: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        try:
            await sleep_forever()
        finally:
            await shield(sleep(tick))
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            sibling = tg.create_task(sleep_forever())
            with deadline(tick, suppress=True):
                try:
                    await tg.start(child)
                except get_cancelled_exc_class():
                    log.append("start")
                    raise
    assert log == ["start"]
    assert caught.value.exceptions == (error,)
    assert sibling.cancelled()


@rule("T5", "G4")
async def test_an_error_in_clean_up_is_not_lost_when_the_group_is_cancelled_while_starting() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        await fail_when_cancelled(error)

    async def stop(tg: TaskGroup) -> None:
        await checkpoint()
        tg.cancel()

    for _ in range(20):  # trio decides by chance who is cancelled first
        error = ValueError()
        with pytest.raises(ExceptionGroup) as caught:
            async with task_group() as tg:
                tg.create_task(stop(tg))
                await tg.start(child)
        assert caught.value.exceptions == (error,)


@rule("T5", "G4")
async def test_an_error_in_clean_up_is_the_groups_when_group_and_caller_are_cancelled_together() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        await fail_when_cancelled(error)

    async def call(tg: TaskGroup) -> None:
        try:
            await tg.start(child)
        except BaseException as out_of_start:
            told.append(type(out_of_start))
            raise

    for _ in range(20):  # trio decides by chance who is cancelled first
        error = ValueError()
        told: list[type[BaseException]] = []
        errors: list[Exception] = []
        async with task_group() as outer:
            try:
                async with task_group() as tg:
                    outer.create_task(call(tg))
                    await settle()
                    outer.cancel()
            except ExceptionGroup as group:
                errors.extend(group.exceptions)
        assert told == [get_cancelled_exc_class()]
        assert errors == [error]


@rule("T5", "G4")
async def test_an_error_is_not_lost_when_the_caller_of_start_is_cancelled_in_the_same_step() -> None:
    error = ValueError()

    async def child(scope: TaskGroup, *, task_status: TaskStatus[None]) -> None:
        await checkpoint()
        scope.cancel()
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            async with task_group() as scope:
                await tg.start(child, scope)
    assert leaves(caught.value) == [error]


@rule("T5", "G4")
async def test_an_error_is_not_lost_when_start_is_cancelled_and_the_child_was_the_last() -> None:
    error = ValueError()
    gate = Gate()

    async def child(scope: TaskGroup, *, task_status: TaskStatus[None]) -> None:
        gate.opened = True
        for _ in range(5):
            await checkpoint()
        scope.cancel()
        raise error

    async def call() -> None:
        async with task_group() as scope:
            await tg.start(child, scope)

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as outer:
            async with task_group() as tg:
                tg.create_task(gate.pass_through())
                outer.create_task(call())
    assert leaves(caught.value) == [error]


@rule("T5")
@pytest.mark.parametrize("ticks", [1, 3, 5, 7, 9])
async def test_start_is_cancelled_in_every_phase(ticks: int, tick: float) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[str]) -> None:
        log.append("called")
        try:
            await sleep(2 * tick)
            task_status.started("ready")
            await sleep(2 * tick)
            log.append("served")
        finally:
            await shield(sleep(4 * tick))
            log.append("cleaned up")

    async def call() -> None:
        with deadline(ticks * tick):
            log.append(await tg.start(child))
            await note_the_end(log, "deadline")

    async with task_group(limit=1) as tg:
        tg.create_task(sleep(2 * tick))
        with pytest.raises(TimeoutError):
            await call()
        log.append("caller")
    assert (
        log
        == {
            1: ["caller"],
            3: ["called", "cleaned up", "caller"],
            5: ["called", "ready", "deadline", "caller", "served", "cleaned up"],
            7: ["called", "ready", "served", "deadline", "caller", "cleaned up"],
            9: ["called", "ready", "served", "deadline", "caller", "cleaned up"],
        }[ticks]
    )


@rule("T5")
@pytest.mark.parametrize("ready_first", [True, False])
async def test_a_child_lives_on_if_its_value_came_out_of_a_start_that_was_cancelled_and_else_does_not(
    ready_first: bool, tick: float
) -> None:
    async def child(scope: TaskGroup, *, task_status: TaskStatus[str]) -> None:
        await checkpoint()
        if ready_first:
            task_status.started("value")
            scope.cancel()
        else:
            scope.cancel()
            task_status.started("value")
        try:
            await sleep(tick)
            log.append("served")
        except get_cancelled_exc_class():
            await shield(sleep(tick))
            log.append("cleaned up")
            raise

    for _ in range(20):  # trio decides by chance who runs first
        log: list[str] = []
        async with task_group() as tg:
            async with task_group() as scope:
                try:
                    log.append(await tg.start(child, scope))
                finally:
                    log.append("start")
        assert log in (["value", "start", "served"], ["cleaned up", "start"])


@rule("T5")
async def test_being_ready_in_clean_up_comes_too_late(tick: float) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        try:
            await sleep_forever()
        finally:
            task_status.started()
            await shield(sleep(2 * tick))
            log.append("child")

    async with task_group() as tg:
        with deadline(tick, suppress=True) as limit:
            try:
                await tg.start(child)
                log.append("ready")
            finally:
                log.append("start")
    assert log == ["child", "start"]
    assert limit.expired()


@rule("T5")
async def test_a_deadline_around_the_call_covers_the_starting_only(tick: float) -> None:
    log: list[str] = []

    async def child(*, task_status: TaskStatus[str]) -> None:
        task_status.started("ready")
        await note_after(4 * tick, log, "served")

    async with task_group() as tg:
        with deadline(2 * tick, suppress=True):
            assert await tg.start(child) == "ready"
            await sleep_forever()
        log.append("deadline")
    assert log == ["deadline", "served"]


@rule("T5", "L7")
async def test_a_started_child_sees_the_deadlines_of_the_group_from_the_beginning() -> None:
    seen_by_child: list[float] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        seen_by_child.append(current_deadline())
        task_status.started()
        await checkpoint()
        seen_by_child.append(current_deadline())

    async with deadline(1000) as around, task_group() as tg:
        with deadline(100):
            await tg.start(child)
    assert seen_by_child == [around.when()] * 2


@rule("T5")
async def test_a_child_cancelled_by_the_group_while_starting_is_told_to_who_is_outside() -> None:
    log: list[str] = []

    async def call() -> None:
        with pytest.raises(
            TaskCancelled, match=r"'server' was cancelled before it called task_status.started\(\)"
        ):
            await tg.start(never_ready, log, name="server")
        log.append("told")

    async with task_group() as outer:
        async with task_group() as tg:
            outer.create_task(call())
            await until(lambda: log == ["called"])
            tg.cancel()
    assert log == ["called", "ended", "told"]


@rule("T5", "G4")
async def test_an_error_in_the_clean_up_of_a_child_cancelled_by_the_group_is_not_lost() -> None:
    error = ValueError()
    told: list[BaseException] = []
    running: list[str] = []

    async def child(*, task_status: TaskStatus[None]) -> None:
        running.append("child")
        await fail_when_cancelled(error)

    async def call() -> None:
        try:
            await tg.start(child)
        except Exception as caught:
            told.append(caught)

    found: list[BaseException] = []
    async with task_group() as outer:
        try:
            async with task_group() as tg:
                outer.create_task(call())
                await until(lambda: running)
                tg.cancel()
        except ExceptionGroup as group:
            found.extend(group.exceptions)
    assert found == [error]
    assert [type(each) for each in told] == [TaskFailed]
    assert told[0].__cause__ is error


@rule("T5")
async def test_start_gives_the_value_of_a_child_that_is_cancelled_as_soon_as_it_is_ready() -> None:
    async def child(*, task_status: TaskStatus[str]) -> None:
        task_status.started("ready")
        tg.cancel()
        await sleep_forever()

    async def call() -> None:
        values.append(await tg.start(child))

    values: list[str] = []
    for _ in range(20):  # trio decides by chance who runs first
        async with task_group() as outer:
            async with task_group() as tg:
                await outer.create_task(call())
    assert values == ["ready"] * 20


@rule("T5", only="asyncio")
async def test_a_child_that_ends_as_cancelled_by_itself_before_it_is_ready_is_told_as_cancelled() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise asyncio.CancelledError

    async with task_group() as tg:
        with pytest.raises(TaskCancelled):
            await tg.start(child)


@rule("T5", "G12")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_of_a_starting_child_is_no_error_that_comes_out_of_start(
    interruption: type[BaseException], host: Host
) -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        await checkpoint()  # in its first step an eager loop lets it out of create_task
        raise interruption

    async def main() -> None:
        async with task_group() as tg:
            try:
                await tg.start(child)
            except BaseException as error:
                told.append(type(error))
                cancelled.append(get_cancelled_exc_class())
                raise

    async def look() -> bool:
        return asyncio_inside_trio()

    told: list[type[BaseException]] = []
    cancelled: list[type[BaseException]] = []
    if host.run(look):
        pytest.skip("trio-asyncio hangs when a task raises it, with asyncio's own task group, too")
    with pytest.raises(BaseException) as caught:
        host.run(main)
    raised = caught.value
    assert [
        type(each) for each in (leaves(raised) if isinstance(raised, BaseExceptionGroup) else [raised])
    ] == [interruption]
    assert told == cancelled


@rule("T5", "G6")
async def test_starting_in_a_cancelled_group_cancels_the_child_at_its_first_checkpoint() -> None:
    log: list[str] = []
    async with task_group() as tg:
        tg.cancel()
        try:
            await tg.start(never_ready, log)
        finally:
            log.append("start")
    assert log == ["called", "ended", "start"]


@rule("T5", "G14")
async def test_a_starting_child_waits_for_a_slot_and_takes_it(tick: float) -> None:
    log: list[str] = []
    async with task_group(limit=1) as tg:
        tg.create_task(note_after(tick, log, "before"))
        assert await tg.start(serve, tick, log) == "address"
        await tg.create_task(note(log, "after"))
    assert log == ["before", "ready", "served", "after"]


@rule("T5", "G14")
async def test_cancelled_while_it_waits_for_a_slot_the_function_is_never_called() -> None:
    log: list[str] = []
    gate = Gate()
    async with task_group(limit=1) as tg:
        tg.create_task(gate.pass_through())
        with deadline(0, suppress=True) as limit:
            await tg.start(never_ready, log)
        assert limit.expired()
        gate.opened = True
    assert log == []


@rule("T5", "G14")
async def test_the_group_cancelled_while_the_child_waits_for_a_slot_is_told_to_who_is_outside() -> None:
    log: list[str] = []

    async def call() -> None:
        with pytest.raises(TaskCancelled):
            await tg.start(never_ready, log)
        log.append("told")

    async with task_group() as outer:
        async with task_group(limit=1) as tg:
            tg.create_task(sleep_forever())
            outer.create_task(call())
            await checkpoint()
            await checkpoint()
            tg.cancel()
    assert log == ["told"]


@rule("T5", "G14")
async def test_an_error_before_ready_frees_the_slot() -> None:
    async def child(*, task_status: TaskStatus[None]) -> None:
        raise OSError

    log: list[str] = []
    async with task_group(limit=1) as tg:
        with pytest.raises(OSError):
            await tg.start(child)
        await tg.create_task(note(log, "next"))
    assert log == ["next"]


@rule("T5")
@pytest.mark.parametrize("value", [None, 5, "serve"])
async def test_what_is_no_function_is_refused(value: Any) -> None:
    async with task_group() as tg:
        with pytest.raises(TypeError) as caught:
            await tg.start(value)
    assert f"start() expects an async function and its arguments, got {value!r}" in str(caught.value)


@rule("T5")
async def test_a_coroutine_object_is_refused_and_closed() -> None:
    coro = checkpoint()
    async with task_group() as tg:
        with pytest.raises(TypeError, match=r"start\(\) expects an async function.*got <coroutine object"):
            await tg.start(coro)  # type: ignore[call-overload]
    assert getcoroutinestate(coro) == CORO_CLOSED


@rule("T5")
async def test_a_function_that_is_not_async_is_refused() -> None:
    def child(*, task_status: TaskStatus[None]) -> str:
        return "no coroutine"

    async def numbers(*, task_status: TaskStatus[None]) -> AsyncGenerator[int, None]:
        yield 1

    fns: list[Any] = [child, numbers]
    async with task_group() as tg:
        sibling = tg.create_task(checkpoint())
        for fn in fns:
            with pytest.raises(
                TypeError, match=r"start\(\) expects an async function, but <function .* returned"
            ):
                await tg.start(fn)
    assert not sibling.cancelled()


@rule("T5")
async def test_a_function_that_takes_no_task_status_is_refused_and_the_group_lives_on() -> None:
    wrong: Any = sleep
    async with task_group() as tg:
        sibling = tg.create_task(checkpoint())
        with pytest.raises(TypeError, match="task_status"):
            await tg.start(wrong, 1)
    assert not sibling.cancelled()


@rule("T5", "G8")
async def test_a_group_that_was_not_entered_or_is_finished_refuses_to_start() -> None:
    log: list[str] = []
    group = task_group()
    with pytest.raises(RuntimeError, match="has not been entered"):
        await group.start(never_ready, log)
    async with group:
        pass
    with pytest.raises(RuntimeError, match="is finished"):
        await group.start(never_ready, log)
    assert log == []


@rule("T5")
async def test_several_children_start_at_once(tick: float) -> None:
    ready = 0

    async def child(number: int, *, task_status: TaskStatus[int]) -> None:
        nonlocal ready
        ready += 1
        await until(lambda: ready == 5)
        task_status.started(number)

    async with task_group() as tg:
        async with task_group() as starting:
            starts = [starting.create_task(tg.start(child, number)) for number in range(5)]
        assert [task.result() for task in starts] == [0, 1, 2, 3, 4]


@rule("G14", "T2", "L1")
async def test_the_body_that_awaits_a_waiting_child_is_cancelled_with_it(tick: float) -> None:
    with pytest.raises(TimeoutError):
        with deadline(tick):
            async with task_group(limit=1) as tg:
                tg.create_task(sleep_forever())
                await tg.create_task(checkpoint())


@rule("G14", "T2", "G6")
async def test_the_body_that_awaits_a_waiting_child_ends_quietly_when_a_child_cancels_the_group() -> None:
    async def cancel(tg: TaskGroup) -> None:
        await checkpoint()
        tg.cancel()
        await sleep_forever()

    async with task_group(limit=1) as tg:
        tg.create_task(cancel(tg))
        await tg.create_task(checkpoint())


@rule("T5", "G15")
async def test_a_background_task_is_cancelled_when_the_last_child_that_it_starts_ends_without_a_word(
    tick: float,
) -> None:
    async def say_nothing(task_status: TaskStatus[None]) -> None:
        await sleep(2 * tick)

    async def background() -> None:
        try:
            await tg.start(say_nothing)
        except get_cancelled_exc_class():
            log.append("cancelled")
            raise

    log: list[str] = []
    async with task_group() as tg:
        tg.create_background_task(background())
        await sleep(tick)
    assert log == ["cancelled"]


@rule("G14", "T5", "G3")
async def test_a_failure_while_start_waits_for_a_slot_comes_out_alone() -> None:
    error = ValueError()

    async def fail() -> None:
        await checkpoint()
        raise error

    async def ready(*, task_status: TaskStatus[None]) -> None:
        task_status.started()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(limit=1) as tg:
            tg.create_task(fail())
            await tg.start(ready)
    assert caught.value.exceptions == (error,)
