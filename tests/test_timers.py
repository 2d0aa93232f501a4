"""The one timer of a loop for all its deadlines, on asyncio (`timers.py`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from threading import Thread
from typing import Any

import pytest

from interloop import checkpoint, current_time, deadline, sleep, sleep_forever, task_group
from interloop._asyncio.timers import FEW_DEAD, Timed, Timers
from interloop.conformance import rule
from interloop.testing import VirtualTimeLoop

pytestmark = rule("L1", host="asyncio")  # the mutants of `timers.py` are judged by these tests too

DAY = 86_400.0


class Loop(VirtualTimeLoop):
    """Notes for when it is asked to call back, and may call back too early."""

    def __init__(self, early: float = 0.0) -> None:
        self.soon: int = 0
        super().__init__()
        self.set_for: list[float] = []
        self.early = early

    def call_soon(self, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        self.soon += 1
        return super().call_soon(callback, *args, **kwargs)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        self.set_for.append(when)
        return super().call_at(when - self.early, callback, *args, **kwargs)


def run(main: Callable[[], Any], early: float = 0.0) -> Loop:
    with asyncio.Runner(loop_factory=lambda: Loop(early)) as runner:
        runner.run(main())
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        return loop


def timers() -> Timers:
    found = asyncio.get_running_loop()._interloop_tree.timers  # type: ignore[attr-defined]
    assert isinstance(found, Timers)
    return found


def places() -> int:
    return len(timers().new) + len(timers()._heap)


def test_one_after_another_set_one_timer() -> None:
    async def main() -> None:
        for _ in range(1000):
            async with deadline(DAY):
                pass

    assert len(run(main).set_for) == 1


def test_nested_ones_set_it_for_the_earliest() -> None:
    async def main() -> None:
        for _ in range(1000):
            with deadline(3 * DAY), deadline(2 * DAY), deadline(DAY):
                pass

    assert run(main).set_for == [3 * DAY, 2 * DAY, DAY]


def test_several_for_one_time_set_it_once() -> None:
    async def main() -> None:
        for _ in range(3):
            with deadline(at=5), deadline(at=5) as inner, deadline(at=5):
                inner.reschedule(5)

    assert run(main).set_for == [5]


def test_when_it_has_gone_it_is_set_for_the_next_one_alone() -> None:
    async def main() -> None:
        for delay in [1, 2, 3]:
            with deadline(at=delay):
                pass
            for _ in range(3):
                await checkpoint()
            assert timers().set_for == inf
        with deadline(at=4):
            await asyncio.sleep(1.5)

    assert run(main).set_for == [1, 2, 3, 4, 1.5]


@pytest.mark.parametrize(
    ("another_open", "turns", "callbacks"), [(True, 0, 0), (True, 1, 0), (False, 0, 1), (False, 1, 100)]
)
def test_looking_whether_one_is_left_takes_a_callback_in_a_turn_that_has_seen_none(
    another_open: bool, turns: int, callbacks: int
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        with deadline(DAY) as limit, deadline(2 * DAY if another_open else None):
            before = loop.soon
            for _ in range(100):
                limit.reschedule(None)
                limit.reschedule(3 * DAY)
                for _ in range(turns):
                    await checkpoint()
            assert loop.soon - before - 100 * turns == callbacks

    run(main)


def test_it_rings_once_for_nothing_and_is_then_not_set() -> None:
    async def main() -> None:
        with deadline(1):
            pass
        await sleep(10)

    assert run(main).set_for == [1, 10]


def test_it_is_set_anew_for_what_is_open_when_it_rings() -> None:
    async def main() -> None:
        with deadline(5):
            with deadline(1):
                pass
            with deadline(3):
                await asyncio.get_running_loop().create_task(sleep(2))

    assert run(main).set_for == [5, 1, 2, 3]


@pytest.mark.parametrize("delay", [DAY, 0.5])
def test_dead_places_are_fewer_than_the_living_and_a_few(delay: float) -> None:
    most_dead = 0

    async def use(seconds: float) -> None:
        nonlocal most_dead
        for _ in range(20):
            with deadline(delay):
                await sleep(seconds)
            most_dead = max(most_dead, timers().dead - places() // 2)

    async def main() -> None:
        order = random.Random(1)
        async with task_group() as tg:
            for _ in range(500):
                tg.create_task(use(order.uniform(0.1, 0.4)))
        assert places() <= 2 * FEW_DEAD

    run(main)
    assert most_dead <= FEW_DEAD


@pytest.mark.parametrize("rung", [False, True])
@pytest.mark.parametrize(("living", "most_dead"), [(60, FEW_DEAD), (200, 100)])
def test_it_is_tidied_up_when_more_than_a_few_and_more_than_half_are_dead(
    living: int, most_dead: int, rung: bool
) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            limits = [stack.enter_context(deadline(DAY)) for _ in range(living)]
            if rung:
                with deadline(1, suppress=True):
                    await sleep_forever()
            dead = []
            for limit in limits[: most_dead + 1]:
                limit.reschedule(None)
                dead.append(timers().dead)
            assert dead == [*range(1, most_dead + 1), 0]

    run(main)


def test_a_deadline_that_is_taken_out_and_put_back_does_not_pile_up() -> None:
    async def main() -> None:
        with deadline(DAY) as first, deadline(DAY):
            for _ in range(10_000):
                first.reschedule(None)
                first.reschedule(DAY)
            assert places() <= 2 + 2 * FEW_DEAD
            await sleep(1)
            for _ in range(10_000):
                first.reschedule(2 * DAY)
                first.reschedule(DAY)
            assert places() <= 2 + 2 * FEW_DEAD

    run(main)


def test_a_place_that_is_dead_rings_for_nobody() -> None:
    async def main() -> None:
        with deadline(5, suppress=True) as last:
            for _ in range(100):
                with deadline(1) as moved, deadline(3):
                    moved.reschedule(None)
                    moved.reschedule(4)
                    moved.reschedule(None)
            await sleep_forever()
        assert last.expired()
        assert current_time() == 5

    run(main)


def living() -> set[Timed]:  # one put back has two places
    new, heap = timers().new, timers()._heap
    return {deadline for deadline in new if deadline._timer is new} | {
        entry[2] for entry in heap if entry[2]._timer is entry
    }


def dead_places() -> int:
    return places() - len(living())


def test_every_deadline_keeps_its_time_and_every_dead_place_is_counted() -> None:
    chance = random.Random(2)
    times = [10 + number / 16 for number in range(400)]
    chance.shuffle(times)
    expired: list[tuple[float, float]] = []

    async def wait(when: float) -> None:
        async with deadline(at=when, suppress=True) as limit:
            if when > 3:
                await sleep(chance.choice([2, 4]))  # half of them is open when the timer rings at 3
                if chance.random() < 0.6:
                    return
            for _ in range(chance.randrange(3)):
                limit.reschedule(None)
                limit.reschedule(when)
            await sleep_forever()
        expired.append((when, current_time()))

    async def main() -> None:
        async with task_group() as tg:
            for when in times:
                tg.create_task(wait(when))
            tg.create_task(wait(3))
            for _ in range(400):
                await sleep(0.1)
                assert timers().dead == dead_places()
                earliest = min((deadline._when or inf for deadline in living()), default=inf)
                assert timers().set_for <= earliest
                assert (timers().set_for == inf) == (timers().timer is None)

    run(main)
    assert len(expired) > 100
    assert expired == sorted(expired)
    assert all(when == at for when, at in expired)


def test_the_place_of_one_that_was_found_to_be_overdue_is_counted() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        for _ in range(3):
            with deadline(1, suppress=True) as limit, deadline(DAY):
                loop._now += 2
                assert limit.expired()
                assert timers().dead == dead_places() == 1
            await sleep(1)
            assert timers().dead == dead_places()

    run(main)


@pytest.mark.parametrize("early", [0.0005, 0.5])
def test_a_timer_that_rings_early_expires_what_it_was_set_for(early: float) -> None:
    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with deadline(1):
                    await sleep_forever()

    assert len(run(main, early).set_for) == 3


def test_a_timer_that_rings_late_expires_all_that_are_overdue() -> None:
    expired = []

    async def wait(seconds: float) -> None:
        async with deadline(seconds, suppress=True):
            await sleep_forever()
        expired.append(seconds)

    async def main() -> None:
        async with task_group() as tg:
            for seconds in [3.0, 1.0, 2.0, 5.0]:
                tg.create_task(wait(seconds))
            await checkpoint()
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Loop)
            loop._now = 4.0  # as if this task had computed for so long
            await sleep(0.5)
            assert sorted(expired) == [1.0, 2.0, 3.0]

    run(main)
    assert expired[-1] == 5.0


def test_two_loops_in_two_threads_have_a_timer_each() -> None:
    loops: list[Loop] = []

    async def main() -> None:
        for _ in range(100):
            with pytest.raises(TimeoutError):
                async with deadline(1):
                    await sleep_forever()

    threads = [Thread(target=lambda: loops.append(run(main))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(loop.set_for) for loop in loops] == [100, 100]


def test_a_loop_that_is_closed_while_deadlines_are_open() -> None:
    async def main() -> None:
        await checkpoint()
        deadline(DAY).__enter__()
        deadline(1).__enter__()

    loop = run(main)
    assert loop.is_closed()
