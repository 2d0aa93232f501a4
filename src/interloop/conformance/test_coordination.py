"""Chapter S: events, locks, semaphores, limiters and conditions."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from math import inf, nan
from typing import Any, TypeAlias

import pytest

from interloop import (
    Condition,
    Event,
    Limiter,
    Lock,
    NoAsyncContext,
    Semaphore,
    Task,
    WouldBlock,
    checkpoint,
    current_backend,
    deadline,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.abc import Waiter, backend
from interloop.conformance import rule
from interloop.conformance._helpers import needs_anyio, settle, skip_if_deadlocks_are_not_named
from interloop.conformance.test_groups import count
from interloop.conformance.test_handover import soon
from interloop.testing import Deadlock, Host

Acquirable: TypeAlias = Lock | Semaphore | Limiter | Condition
MAKE: dict[str, Callable[[], Acquirable]] = {
    "lock": Lock,
    "semaphore": lambda: Semaphore(1),
    "limiter": lambda: Limiter(1),
    "condition": Condition,
}
each: pytest.MarkDecorator = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
of_tasks: pytest.MarkDecorator = pytest.mark.parametrize(
    "make", [Lock, MAKE["limiter"], Condition], ids=["lock", "limiter", "condition"]
)


async def turns_of_the_loop(call: Callable[[], Awaitable[object]]) -> int:
    """How often others had a turn while `call` ran."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with task_group() as tg:
        tg.create_background_task(count())
        await settle()
        before = turns
        await call()
        return turns - before
    raise AssertionError("the block returns")


# S1: made anywhere, and used by one loop after another


def use_all(things: list[Any]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def main() -> None:
        event, *locks = things
        async with task_group() as tg:
            for lock in locks:
                tg.create_task(use(lock))
                tg.create_task(use(lock))
            if not event.is_set():
                tg.create_task(event.wait())
                await settle()
                event.set()

    async def use(lock: Acquirable) -> None:
        async with lock:
            await checkpoint()

    return main


@rule("S1")
def test_what_is_made_outside_of_any_loop_serves_one_loop_after_another(host: Host) -> None:
    things = [Event(), *(make() for make in MAKE.values())]
    for _ in range(2):
        host.run(use_all(things))


@rule("S1")
@pytest.mark.parametrize("waits", [False, True], ids=["held", "waited-for"])
@each
async def test_a_second_loop_is_refused_and_the_first_is_unharmed(
    make: Callable[[], Acquirable], waits: bool
) -> None:
    refusals: list[str] = []
    thing = make()

    async def intrude() -> None:
        for call in (thing.acquire, thing.acquire):
            with pytest.raises(RuntimeError) as refusal:
                await call()
            refusals.append(str(refusal.value))
        with pytest.raises((RuntimeError, WouldBlock)):
            thing.acquire_nowait()

    async with task_group() as tg:
        async with thing:
            if waits:
                tg.create_task(hold(thing))
                await settle()
            before = repr(thing)
            await shield(in_another_loop(intrude))
            assert repr(thing) == before
        await settle()
    assert not thing.locked()
    for said in refusals:
        assert "was used in" in said
        assert "not two at once" in said


@rule("S1")
async def test_an_event_that_is_waited_for_is_not_set_in_another_loop() -> None:
    event = Event()

    async def intrude() -> None:
        with pytest.raises(RuntimeError, match="not two at once"):
            event.set()
        with pytest.raises(RuntimeError, match="not two at once"):
            await event.wait()

    async with task_group() as tg:
        task = tg.create_task(event.wait())
        await settle()
        await in_another_loop(intrude)
        await settle()
        assert not task.done()
        assert not event.is_set()
        event.set()


async def in_another_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A loop of asyncio's, in a thread; this one waits meanwhile."""
    in_a_thread(lambda: asyncio.run(main()))


def in_a_thread(function: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def hold(thing: Acquirable, log: list[Any] | None = None, name: object = None) -> None:
    async with thing:
        if log is not None:
            log.append(name)
        await checkpoint()


@rule("S1", "S4")
@each
async def test_after_a_wait_that_was_cancelled_it_belongs_to_no_loop(
    make: Callable[[], Acquirable], tick: float
) -> None:
    thing = make()
    async with thing:
        with deadline(tick, suppress=True):
            async with task_group() as tg:
                tg.create_task(hold(thing))

    async def main() -> None:
        await hold(thing)

    await in_another_loop(main)


@rule("S1")
@pytest.mark.parametrize("make", [lambda: Semaphore(2), lambda: Limiter(2)], ids=["semaphore", "limiter"])
async def test_a_second_loop_is_refused_until_the_last_one_has_given_back(
    make: Callable[[], Semaphore | Limiter],
) -> None:
    thing = make()

    async def intrude() -> None:
        for call in (thing.acquire_nowait, thing.release):
            with pytest.raises(RuntimeError):
                call()

    async with task_group() as tg:
        async with thing:
            tg.create_task(hold(thing))
            await settle()
            if isinstance(thing, Limiter):
                await in_another_loop(intrude)
            with pytest.raises(RuntimeError, match="not two at once"):
                await in_another_loop(lambda: hold(thing))
    await in_another_loop(lambda: hold(thing))


@rule("S1")
@each
async def test_what_was_acquired_without_waiting_belongs_to_the_loop_too(
    make: Callable[[], Acquirable],
) -> None:
    thing = make()
    thing.acquire_nowait()
    with pytest.raises(RuntimeError, match="not two at once") as refusal:
        await in_another_loop(lambda: hold(thing))
    assert "tasks of None" not in str(refusal.value)
    thing.release()
    await in_another_loop(lambda: hold(thing))
    thing.acquire_nowait()
    thing.release()


@rule("S1")
async def test_a_semaphore_that_is_waited_for_is_not_released_in_another_loop() -> None:
    semaphore = Semaphore(0)

    async def intrude() -> None:
        for call in (semaphore.release, semaphore.acquire_nowait):
            with pytest.raises(RuntimeError, match="not two at once"):
                call()

    async with task_group() as tg:
        task = tg.create_task(semaphore.acquire())
        await settle()
        await in_another_loop(intrude)
        with pytest.raises(NoAsyncContext):
            in_a_thread(semaphore.release)
        await settle()
        assert not task.done()
        semaphore.release()


@rule("S1")
async def test_the_total_of_a_limiter_that_is_waited_for_is_not_moved_in_another_loop() -> None:
    limiter = Limiter(1)

    async def intrude() -> None:
        with pytest.raises(RuntimeError, match="not two at once"):
            limiter.total = 2

    async with task_group() as tg:
        async with limiter:
            task = tg.create_task(hold(limiter))
            await settle()
            await in_another_loop(intrude)
            await settle()
            assert not task.done()
            assert limiter.total == 1


@rule("S1")
async def test_a_condition_that_is_waited_for_is_not_used_in_another_loop() -> None:
    lock = Lock()
    condition = Condition(lock)

    async def intrude() -> None:
        for thing in (condition, lock):
            with pytest.raises(RuntimeError, match="not two at once"):
                await thing.acquire()
            with pytest.raises(RuntimeError, match="not two at once"):
                thing.acquire_nowait()

    async def wait() -> None:
        async with condition:
            await condition.wait()

    async with task_group() as tg:
        task = tg.create_task(wait())
        await settle()
        await in_another_loop(intrude)
        await settle()
        assert not task.done()
        async with condition:
            condition.notify()

    async def use() -> None:
        async with condition:
            condition.notify()

    await in_another_loop(use)


@rule("S1")
@of_tasks
async def test_what_is_held_is_not_released_outside_of_any_loop(
    make: Callable[[], Lock | Limiter | Condition],
) -> None:
    thing = make()
    async with thing:
        with pytest.raises(NoAsyncContext):
            in_a_thread(thing.release)
        assert thing.locked()


@rule("S1", only="asyncio")
@pytest.mark.parametrize("in_another", [False, True], ids=["outside", "in-another-loop"])
@each
async def test_what_tasks_that_are_thrown_away_with_their_loop_held_is_free(
    make: Callable[[], Acquirable], in_another: bool
) -> None:
    thing = make()
    coros: list[Coroutine[Any, Any, None]] = []

    async def main() -> None:
        coros.extend([hold_for_ever(), hold_for_ever()])
        for coro in coros:
            task = asyncio.create_task(coro)
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    async def hold_for_ever() -> None:
        async with thing:
            await sleep_forever()

    def run_and_leave() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        if not in_another:
            coros[0].close()

    in_a_thread(run_and_leave)
    if in_another:
        coros[0].close()
    assert not thing.locked()
    assert "waiting" not in repr(thing)
    if isinstance(thing, Semaphore):
        assert thing.value == 1
    async with task_group() as tg:
        for _ in range(2):
            tg.create_task(hold(thing))
    coros[1].close()
    assert not thing.locked()
    await hold(thing)


@rule("S1", only="asyncio")
async def test_a_condition_is_free_of_tasks_that_are_thrown_away_with_their_loop() -> None:
    condition = Condition()
    coros: list[Coroutine[Any, Any, None]] = []

    async def wait() -> None:
        async with condition:
            await condition.wait()

    async def hold_for_ever() -> None:
        async with condition:
            await sleep_forever()

    async def main() -> None:
        coros.extend([wait(), hold_for_ever()])
        for coro in coros:
            task = asyncio.create_task(coro)
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    def run_and_leave() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()

    in_a_thread(run_and_leave)
    for coro in coros:
        coro.close()
    assert "unlocked]" in repr(condition)
    async with condition:
        condition.notify_all()


@rule("S1", "S2", only="asyncio")
@each
async def test_a_block_that_is_closed_between_two_runs_of_its_loop_hands_over(
    make: Callable[[], Acquirable],
) -> None:
    thing = make()
    log: list[str] = []

    async def hold_for_ever() -> None:
        async with thing:
            await sleep_forever()

    def run_twice() -> None:
        loop = asyncio.new_event_loop()
        coro = hold_for_ever()
        holder = loop.create_task(coro)
        holder._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.run_until_complete(asyncio.sleep(0))
        waiter = loop.create_task(hold(thing, log, "next"))
        loop.run_until_complete(asyncio.sleep(0))
        coro.close()
        loop.run_until_complete(waiter)
        loop.close()

    in_a_thread(run_twice)
    assert log == ["next"]
    assert not thing.locked()


# S2: first come, first served


@rule("S2")
@each
async def test_those_who_wait_are_served_in_the_order_of_their_coming(
    make: Callable[[], Acquirable],
) -> None:
    thing = make()
    log: list[int] = []
    async with task_group() as tg:
        async with thing:
            for number in range(5):
                tg.create_task(hold(thing, log, number))
                await settle()
    assert log == [0, 1, 2, 3, 4]


@rule("S2")
@each
async def test_what_is_released_is_handed_over_and_nobody_overtakes(make: Callable[[], Acquirable]) -> None:
    thing = make()
    log: list[str] = []
    async with task_group() as tg:
        await thing.acquire()
        tg.create_task(hold(thing, log, "waited"))
        await settle()
        thing.release()
        assert thing.locked()
        with pytest.raises(WouldBlock):
            thing.acquire_nowait()
        await hold(thing, log, "came later")
    assert log == ["waited", "came later"]


@rule("S2", "S4")
@each
async def test_the_one_who_left_the_queue_is_passed_over(make: Callable[[], Acquirable]) -> None:
    thing = make()
    log: list[int] = []
    async with task_group() as tg:
        tasks: list[Task[None]] = []
        async with thing:
            for number in range(5):
                tasks.append(tg.create_task(hold(thing, log, number)))
                await settle()
            tasks[0].cancel()
            tasks[2].cancel()
    assert log == [1, 3, 4]
    assert not thing.locked()


@rule("S2")
async def test_all_who_wait_for_an_event_go_on() -> None:
    event = Event()
    log: list[int] = []

    async def wait(number: int) -> None:
        await event.wait()
        log.append(number)

    async with task_group() as tg:
        for number in range(3):
            tg.create_task(wait(number))
            await settle()
        assert log == []
        event.set()
        assert log == []
    assert sorted(log) == [0, 1, 2]


# S3: what need not wait does not suspend


@rule("S3")
@each
async def test_what_is_free_is_acquired_without_suspending(make: Callable[[], Acquirable]) -> None:
    thing = make()

    async def use() -> None:
        async with thing:
            pass
        await thing.acquire()
        thing.release()
        thing.acquire_nowait()
        thing.release()

    assert await turns_of_the_loop(use) == 0
    assert not thing.locked()


@rule("S3")
async def test_an_event_that_is_set_is_not_waited_for() -> None:
    event = Event()
    event.set()
    event.set()
    assert await turns_of_the_loop(event.wait) == 0
    assert event.is_set()


@rule("S3")
@each
async def test_what_is_held_is_not_acquired_without_waiting(make: Callable[[], Acquirable]) -> None:
    thing = make()

    async def other() -> None:
        with pytest.raises(
            WouldBlock, match=type(thing).__name__ if type(thing) is not Condition else "Lock"
        ):
            thing.acquire_nowait()

    async with task_group() as tg:
        async with thing:
            await tg.create_task(other())
    assert not thing.locked()


@rule("S3")
async def test_what_never_waits_works_in_callbacks() -> None:
    event, semaphore = Event(), Semaphore(0)
    async with task_group() as tg:
        tasks = [tg.create_task(event.wait()), tg.create_task(semaphore.acquire())]
        await settle()
        soon(event.set)
        soon(semaphore.release)
        for task in tasks:
            await task
    soon(semaphore.release)
    soon(semaphore.acquire_nowait)
    await settle()
    assert semaphore.value == 0


@rule("S3", "S5")
@of_tasks
async def test_what_is_owned_by_tasks_is_refused_in_callbacks_of_asyncio(
    make: Callable[[], Lock | Limiter | Condition],
) -> None:
    thing = make()
    refusals: list[RuntimeError] = []

    def call(function: Callable[[], object]) -> None:
        try:
            function()
        except RuntimeError as refusal:
            refusals.append(refusal)

    async with thing:
        soon(lambda: call(thing.release))
        await settle()
    assert len(refusals) == 1
    if current_backend() == "asyncio":  # on trio a callback is called in a task
        soon(lambda: call(thing.acquire_nowait))
        await settle()
        assert len(refusals) == 2
    assert not thing.locked()


@rule("S3", "D2", only="asyncio")
async def test_nobody_waits_in_a_callback_of_asyncio() -> None:
    event = Event()
    refusals: list[str] = []

    def call() -> None:
        coro = event.wait()
        try:
            coro.send(None)
        except RuntimeError as refusal:
            refusals.append(str(refusal))

    soon(call)
    await settle()
    assert len(refusals) == 1
    assert "waiting" not in repr(event)


@rule("S4", "G11", only="asyncio")
async def test_a_native_task_whose_wait_was_cancelled_is_freed() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    event = Event()
    gc.disable()
    try:
        task = asyncio.create_task(event.wait())
        alive.add(task)
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        del task
        await settle()
        assert count(alive) == 0
    finally:
        gc.enable()


@rule("S4")
async def test_a_waiter_is_woken_once() -> None:
    waiters: list[Waiter] = []

    async def wait() -> None:
        waiters.append(backend(current_backend()).Waiter())
        await waiters[0].park()

    async with task_group() as tg:
        task = tg.create_task(wait())
        await settle()
        assert not waiters[0].woken
        assert waiters[0].wake()
        assert waiters[0].woken
        assert not waiters[0].wake()
        await task


# S4: a cancelled waiter loses nothing and keeps nothing; test_handover.py has the races with our scopes

Cancel: TypeAlias = Callable[[Task[Any]], object]


def natively(task: Task[Any]) -> None:
    task.native.cancel()


FOREIGN: list[Any] = [pytest.param(natively, marks=rule("S4", only="asyncio"), id="natively")]


@pytest.mark.parametrize("cancel", FOREIGN)
@pytest.mark.parametrize("order", ["release-cancel", "cancel-release"])
@each
async def test_a_native_cancellation_in_the_very_turn_of_the_hand_over(
    make: Callable[[], Acquirable], order: str, cancel: Cancel
) -> None:
    thing = make()
    log: list[str] = []
    async with task_group() as tg:
        await thing.acquire()
        first = tg.create_task(hold(thing, log, "first"))
        await settle()
        tg.create_task(hold(thing, log, "second"))
        await settle()
        for act in order.split("-"):
            if act == "release":
                thing.release()
            else:
                cancel(first)
    assert first.cancelled()
    assert log == (["first", "second"] if order == "release-cancel" else ["second"])
    assert not thing.locked()
    thing.acquire_nowait()
    thing.release()


@rule("S4", only="asyncio")
@pytest.mark.parametrize("what", ["timeout", "wait_for"])
async def test_a_native_timeout_in_the_very_turn_of_the_hand_over_leaves_no_request(what: str) -> None:
    if what == "wait_for" and sys.version_info < (3, 12):
        pytest.skip("before 3.12 wait_for runs what it is given in a task of its own, which owns the lock")
    lock = Lock()
    outcomes: list[str] = []

    async def wait() -> None:
        try:
            if what == "timeout":
                async with asyncio.timeout(None) as limit:
                    limits.append(limit)
                    await lock.acquire()
            else:
                await asyncio.wait_for(lock.acquire(), None)
        except TimeoutError:
            outcomes.append("timed out")
        else:
            outcomes.append("acquired")
            lock.release()
        await checkpoint()
        outcomes.append("went on")

    limits: list[Any] = []
    async with task_group() as tg:
        await lock.acquire()
        tg.create_task(wait())
        await settle()
        lock.release()
        if limits:
            limits[0].reschedule(-1)
    assert outcomes == ["acquired", "went on"]
    assert not lock.locked()


@rule("S4", only="asyncio")
@each
async def test_a_coroutine_that_is_closed_after_the_hand_over_passes_it_on(
    make: Callable[[], Acquirable],
) -> None:
    thing = make()
    log: list[str] = []
    begun: list[Coroutine[Any, Any, None]] = []

    async def begin() -> None:
        begun.append(thing.acquire())
        begun[0].send(None)  # as a task does

    async with task_group() as tg:
        await thing.acquire()
        await tg.create_task(begin())
        tg.create_task(hold(thing, log, "next"))
        await settle()
        thing.release()
        assert log == []
        begun[0].close()
    assert log == ["next"]
    assert not thing.locked()


@rule("S4")
@needs_anyio
@each
async def test_a_scope_of_anyio_that_is_cancelled_in_the_very_turn_of_the_hand_over(
    make: Callable[[], Acquirable],
) -> None:
    import anyio

    for order in ("release-cancel", "cancel-release"):
        thing = make()
        log: list[str] = []
        scope = anyio.CancelScope()

        async def first(thing: Acquirable = thing, scope: Any = scope) -> None:
            with scope:
                await hold(thing)

        async with task_group() as tg:
            await thing.acquire()
            tg.create_task(first())
            await settle()
            tg.create_task(hold(thing, log, "second"))
            await settle()
            for act in order.split("-"):
                if act == "release":
                    thing.release()
                else:
                    scope.cancel()
        assert log == ["second"]
        assert not thing.locked()


# S5: owned by tasks


@rule("S5")
@of_tasks
async def test_acquiring_twice_is_refused(make: Callable[[], Lock | Limiter | Condition]) -> None:
    thing = make()
    async with thing:
        before = repr(thing)
        with pytest.raises(RuntimeError, match="this task already"):
            thing.acquire_nowait()
        for again in (thing.acquire(), shield(thing.acquire())):
            with pytest.raises(RuntimeError, match="this task already"):
                await again
        assert repr(thing) == before
    assert not thing.locked()


@rule("S5")
@of_tasks
async def test_releasing_what_another_task_holds_is_refused(
    make: Callable[[], Lock | Limiter | Condition],
) -> None:
    thing = make()

    async def meddle() -> None:
        with pytest.raises(RuntimeError, match="cannot be released: this task"):
            thing.release()

    await meddle()
    async with thing, task_group() as tg:
        tg.create_task(meddle())
        tg.create_task(shield(meddle()))
        await shield(meddle_in_a_child(meddle))
    assert not thing.locked()


async def meddle_in_a_child(meddle: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with task_group() as tg:
        tg.create_task(meddle())


@rule("S5")
@of_tasks
async def test_the_owner_is_the_same_in_a_shield(
    make: Callable[[], Lock | Limiter | Condition], tick: float
) -> None:
    thing = make()

    async def close() -> None:
        await sleep(tick)
        thing.release()

    async def swap() -> None:
        await shield(close())
        await checkpoint()
        await thing.acquire()

    for work in (close, swap):
        await thing.acquire()
        await shield(work())
        if work is swap:
            assert thing.locked()
            thing.release()
        assert not thing.locked()


@rule("S5")
async def test_the_total_of_a_limiter_can_be_moved() -> None:
    limiter = Limiter(3)
    running: list[int] = []

    async def work(number: int) -> None:
        async with limiter:
            running.append(number)
            await gates[number].wait()

    gates = [Event() for _ in range(6)]
    async with task_group() as tg:
        for number in range(6):
            tg.create_task(work(number))
            await settle()
        assert (running, limiter.borrowed, limiter.available) == ([0, 1, 2], 3, 0)
        limiter.total = 1
        assert (limiter.total, limiter.borrowed, limiter.available) == (1, 3, 0)
        gates[0].set()
        gates[1].set()
        await settle()
        assert running == [0, 1, 2]
        gates[2].set()
        await settle()
        assert running == [0, 1, 2, 3]
        limiter.total = inf
        await settle()
        assert sorted(running) == [0, 1, 2, 3, 4, 5]
        assert limiter.available == inf
        for gate in gates:
            gate.set()
    assert limiter.borrowed == 0


@rule("S5")
async def test_a_semaphore_has_no_owner() -> None:
    semaphore = Semaphore(1, max_value=1)
    await semaphore.acquire()

    async def release() -> None:
        semaphore.release()

    async with task_group() as tg:
        tg.create_task(release())
    assert semaphore.value == 1


# S6: conditions


async def buy(condition: Condition, log: list[Any], name: object, stock: list[Any] | None = None) -> None:
    async with condition:
        if stock is None:
            await condition.wait()
            log.append(name)
        else:
            log.append(await condition.wait_for(lambda: stock and stock.pop()))


@rule("S6", "S2")
async def test_so_many_are_notified_in_the_order_of_their_coming() -> None:
    condition = Condition()
    log: list[int] = []
    async with task_group() as tg:
        for number in range(6):
            tg.create_task(buy(condition, log, number))
            await settle()
        assert not condition.locked()
        async with condition:
            condition.notify()
        await settle()
        assert log == [0]
        async with condition:
            condition.notify(2)
            condition.notify(0)
        await settle()
        assert log == [0, 1, 2]
        async with condition:
            condition.notify_all()
        await settle()
    assert log == [0, 1, 2, 3, 4, 5]


@rule("S6")
async def test_wait_for_asks_now_and_after_each_notification_and_returns_the_answer() -> None:
    condition = Condition()
    log: list[str] = []
    stock = ["tea"]
    async with task_group() as tg:
        await buy(condition, log, None, stock)
        assert log == ["tea"]
        tg.create_task(buy(condition, log, None, stock))
        await settle()
        async with condition:
            condition.notify()
        await settle()
        assert log == ["tea"]
        async with condition:
            stock.append("cake")
            condition.notify_all()
    assert log == ["tea", "cake"]


@rule("S6")
@pytest.mark.parametrize("how", ["task", "deadline", "while-it-waits-for-the-lock"])
async def test_the_lock_is_held_again_when_a_wait_was_cancelled(how: str, tick: float) -> None:
    condition = Condition(lock := Lock())
    log: list[str] = []

    async def wait() -> None:
        with deadline(tick if how == "deadline" else None, suppress=True):
            async with condition:
                try:
                    await condition.wait()
                finally:
                    with pytest.raises(RuntimeError, match="this task already"):
                        lock.acquire_nowait()
                    log.append("held")

    async with task_group() as tg:
        task = tg.create_task(wait())
        await settle()
        async with lock:
            if how == "while-it-waits-for-the-lock":
                condition.notify()
                await settle()
            if how != "deadline":
                task.cancel()
            await sleep(2 * tick)
            assert log == []
    assert log == ["held"]
    assert not lock.locked()


@rule("S6", "S4")
@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("first", ["cancel", "notify"])
async def test_a_notification_is_not_lost_to_one_who_is_cancelled_before_it_has_the_lock(
    first: str, turns: int
) -> None:
    condition = Condition()
    log: list[int] = []
    async with task_group() as tg:
        tasks: list[Task[None]] = []
        for number in range(2):
            tasks.append(tg.create_task(buy(condition, log, number)))
            await settle()
        async with condition:
            acts: list[Callable[[], object]] = [tasks[0].cancel, condition.notify]
            if first == "notify":
                acts.reverse()
            acts[0]()
            for _ in range(turns):
                await checkpoint()
            acts[1]()
            await settle()
            assert log == []
    assert log == [1]
    assert not condition.locked()


@rule("S6", "S4")
@pytest.mark.parametrize("count", [1, 2])
async def test_one_who_is_cancelled_with_the_notification_passes_it_on_once_though_the_lock_is_free(
    count: int,
) -> None:
    condition = Condition()
    log: list[int] = []
    async with task_group() as tg:
        tasks: list[Task[None]] = []
        for number in range(4):
            tasks.append(tg.create_task(buy(condition, log, number)))
            await settle()
        async with condition:
            condition.notify(count)
            for task in tasks[:count]:
                task.cancel()
        await settle()
        assert log == [1, 2, 3][count - 1 : 2 * count - 1]
        assert not condition.locked()
        tg.cancel()


@rule("S4")
@each
async def test_one_who_is_cancelled_has_left_the_queue(make: Callable[[], Acquirable], tick: float) -> None:
    thing = make()
    async with task_group() as tg:
        async with thing:
            task = tg.create_task(hold(thing))
            await settle()
            assert "1 waiting" in repr(thing) or "1 waiting" in repr(getattr(thing, "_lock", None))
            task.cancel()
            await settle()
            assert "waiting" not in repr(getattr(thing, "_lock", thing))


@rule("S2")
@each
async def test_an_asynchronous_generator_that_is_closed_hands_over(make: Callable[[], Acquirable]) -> None:
    thing = make()
    log: list[str] = []

    async def numbers() -> AsyncGenerator[int]:
        async with thing:
            yield 1

    async with task_group() as tg:
        generator = numbers()
        assert await anext(generator) == 1
        tg.create_task(hold(thing, log, "next"))
        await settle()
        await generator.aclose()
        assert thing.locked()
        await settle()
        assert log == ["next"]
    assert not thing.locked()


@rule("S2")
async def test_an_asynchronous_generator_that_another_task_closes_leaves_its_lock_free() -> None:
    lock = Lock()
    log: list[str] = []

    async def numbers() -> AsyncGenerator[int]:
        async with lock:
            yield 1

    async with task_group() as tg:
        generator = numbers()
        assert await anext(generator) == 1
        tg.create_task(hold(lock, log, "next"))
        await settle()
        tg.create_task(generator.aclose())
    assert log == ["next"]
    assert not lock.locked()


@rule("S5", "S6", only="asyncio")
async def test_the_owner_is_the_same_in_a_shield_if_a_task_factory_wraps_what_runs() -> None:
    async def wrapped(coro: Any) -> Any:
        return await coro

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        kwargs.pop("eager_start", None)
        return asyncio.Task(wrapped(coro), loop=loop, **kwargs)

    async def close() -> None:
        await checkpoint()
        lock.release()

    async def wait() -> None:
        async with condition:
            await condition.wait()

    lock, condition = Lock(), Condition()
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        await lock.acquire()
        await shield(close())
        assert not lock.locked()
        async with task_group() as tg:
            task = tg.create_task(wait())
            await settle()
            async with condition:
                task.cancel()
                await settle()
    finally:
        loop.set_task_factory(before)
    assert task.cancelled()
    assert not condition.locked()


@rule("S1", "S6")
async def test_a_lock_stays_in_its_loop_while_a_notification_is_passed_on() -> None:
    lock = Lock()
    condition = Condition(lock)
    log: list[int] = []
    async with task_group() as tg:
        tasks: list[Task[None]] = []
        for number in range(2):
            tasks.append(tg.create_task(buy(condition, log, number)))
            await settle()
        async with condition:
            condition.notify()
            tasks[0].cancel()
        assert not lock.locked()
        with pytest.raises(RuntimeError, match="not two at once"):
            await in_another_loop(lambda: hold(lock))
    assert log == [1]
    await in_another_loop(lambda: hold(lock))


@rule("S6", "S4", only="asyncio")
@pytest.mark.parametrize("moment", ["waits", "is notified", "has the lock"])
async def test_a_wait_that_is_closed_passes_the_notification_on(moment: str) -> None:
    condition = Condition()
    log: list[int] = []
    begun: list[Coroutine[Any, Any, None]] = []

    async def wait() -> None:
        await condition.wait()
        log.append(0)

    async def begin() -> None:
        await condition.acquire()
        begun.append(wait())
        begun[0].send(None)  # as a task does

    async with task_group() as tg:
        await tg.create_task(begin())
        tg.create_task(buy(condition, log, 1))
        await settle()
        if moment == "waits":
            begun[0].close()
            async with condition:
                condition.notify()
        else:
            async with condition:
                condition.notify()
                if moment == "is notified":
                    begun[0].close()
            begun[0].close()
        await settle()
        assert log == [1]
    assert not condition.locked()


@rule("S6")
async def test_a_condition_may_share_the_lock_of_another() -> None:
    lock = Lock()
    empty, full = Condition(lock), Condition(lock)
    log: list[str] = []
    async with task_group() as tg:
        tg.create_task(buy(empty, log, "empty"))
        tg.create_task(buy(full, log, "full"))
        await settle()
        async with lock:
            full.notify_all()
        await settle()
        assert log == ["full"]
        async with empty:
            empty.notify_all()
    assert log == ["full", "empty"]


@rule("S6", "S5")
async def test_a_condition_is_used_under_its_lock() -> None:
    condition = Condition()

    async def other() -> None:
        for call in (condition.notify, condition.notify_all):
            with pytest.raises(RuntimeError, match="does not hold its lock"):
                call()
        for wait in (condition.wait(), condition.wait_for(lambda: True)):
            with pytest.raises(RuntimeError, match="does not hold its lock"):
                await wait

    await other()
    async with condition, task_group() as tg:
        tg.create_task(other())
    assert not condition.locked()


# S8: bad arguments


@rule("S8")
@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Semaphore(-1), ValueError, "Semaphore(value) expects at least 0, got -1"),
        (lambda: Semaphore("1"), TypeError, "Semaphore(value) expects an integer, got '1'"),  # type: ignore[arg-type]
        (lambda: Semaphore(True), TypeError, "Semaphore(value) expects an integer, got True"),
        (lambda: Semaphore(2, max_value=1), ValueError, "max_value=) expects at least 2, got 1"),
        (lambda: Semaphore(2, max_value=2.5), TypeError, "expects an integer, got 2.5"),  # type: ignore[arg-type]
        (lambda: Limiter(0), ValueError, "Limiter(total) expects at least 1, got 0"),
        (lambda: Limiter(nan), TypeError, "Limiter(total) expects an integer, or math.inf, got nan"),
        (lambda: Limiter(1.5), TypeError, "Limiter(total) expects an integer, or math.inf, got 1.5"),
        (lambda: Limiter("1"), TypeError, "Limiter(total) expects an integer, or math.inf, got '1'"),  # type: ignore[arg-type]
        (lambda: Condition(Semaphore(1)), TypeError, "Condition(lock) expects an interloop.Lock"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_made_is_refused(
    call: Callable[[], object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as refusal:
        call()
    assert said in str(refusal.value)


@rule("S8")
async def test_one_release_too_many_is_refused() -> None:
    semaphore = Semaphore(1, max_value=2)
    semaphore.release()
    with pytest.raises(ValueError, match="released more often than it was acquired"):
        semaphore.release()
    assert (semaphore.value, semaphore.max_value) == (2, 2)
    unlimited = Semaphore(1)
    unlimited.release()
    assert (unlimited.value, unlimited.max_value) == (2, None)


@rule("S8")
async def test_a_bad_total_and_a_bad_count_change_nothing() -> None:
    limiter, condition = Limiter(2), Condition()
    for total, error in ((0, ValueError), ("2", TypeError), (-inf, TypeError)):
        with pytest.raises(error):
            limiter.total = total  # type: ignore[assignment]
    assert limiter.total == 2
    async with condition:
        for count, error in ((-1, ValueError), ("1", TypeError)):
            with pytest.raises(error):
                condition.notify(count)  # type: ignore[arg-type]


@rule("S8", "D2")
@pytest.mark.parametrize("make", [Event, *MAKE.values()])
def test_outside_of_any_loop_what_needs_one_says_so(make: Callable[[], Any], host: Host) -> None:
    thing = make()
    calls = [thing.wait] if isinstance(thing, Event) else [thing.acquire]
    for call in calls:
        coro = call()
        with pytest.raises(NoAsyncContext):
            coro.send(None)
    if not isinstance(thing, Event):
        with pytest.raises(NoAsyncContext):
            thing.acquire_nowait()
        assert not thing.locked()


# S9: tools


@rule("S9")
@pytest.mark.parametrize("what", ["lock", "semaphore", "limiter", "event", "condition"])
def test_a_deadlock_names_what_is_waited_for_and_who_holds_it(what: str, host: Host) -> None:
    async def main() -> None:
        lock, semaphore, limiter, event = Lock(), Semaphore(0), Limiter(1), Event()

        async def holder() -> None:
            async with lock, limiter:
                await sleep_forever()

        async def waiter() -> None:
            if what == "condition":
                async with condition:
                    await condition.wait()
            elif what == "event":
                await event.wait()
            else:
                async with {"lock": lock, "semaphore": semaphore, "limiter": limiter}[what]:
                    pass

        condition = Condition()
        async with task_group() as tg:
            tg.create_task(holder(), name="the holder")
            await settle()
            tg.create_task(waiter(), name="the waiter")

    skip_if_deadlocks_are_not_named(host)
    with pytest.raises(Deadlock) as deadlock:
        host.run(main)
    [line] = [line for line in str(deadlock.value).splitlines() if "'the waiter'" in line]
    shown = {
        "lock": "for <Lock [held by 'the holder', 1 waiting]> ",
        "semaphore": "for <Semaphore [value=0, 1 waiting]> ",
        "limiter": "for <Limiter [1 of 1 borrowed, 1 waiting]> ",
        "event": "for <Event [not set, 1 waiting]> ",
        "condition": "for <Condition [unlocked, 1 waiting]> ",
    }
    assert shown[what] in line
