"""W: waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf, nan

import pytest

from interloop import (
    checkpoint,
    current_deadline,
    current_time,
    deadline,
    sleep,
    sleep_until,
    task_group,
)
from interloop.conformance import rule
from interloop.testing import Host

CHECKPOINTS = {
    "checkpoint": checkpoint,
    "sleep(0)": lambda: sleep(0),
    "sleep_until(past)": lambda: sleep_until(current_time() - 1),
    "sleep_until(-inf)": lambda: sleep_until(-inf),
}
Pause = Callable[[], Awaitable[None]]
at_each_checkpoint: pytest.MarkDecorator = pytest.mark.parametrize(
    "pause", CHECKPOINTS.values(), ids=CHECKPOINTS
)


@rule("W1")
@at_each_checkpoint
async def test_others_run_at_a_checkpoint(pause: Pause) -> None:
    others: list[str] = []

    async def other() -> None:
        for step in range(3):
            others.append(f"step {step}")
            await pause()

    async with task_group() as tg:
        tg.create_task(other())
        for _ in range(20):
            await pause()
        seen = list(others)
    assert seen == ["step 0", "step 1", "step 2"]


@rule("W1")
@at_each_checkpoint
async def test_a_cancellation_arrives_at_a_checkpoint(pause: Pause) -> None:
    passed = []
    async with task_group() as tg:
        tg.cancel()
        await pause()
        passed.append("checkpoint")
    with deadline(0, suppress=True) as expired:
        await pause()
        passed.append("checkpoint")
    assert expired.expired()
    assert passed == []


@rule("W1")
@at_each_checkpoint
async def test_a_checkpoint_takes_no_time(pause: Pause, tick: float) -> None:
    before = current_time()
    await pause()
    assert current_time() == pytest.approx(before, abs=tick / 2)


@rule("W1", "W3")
async def test_sleeping_until_a_time_takes_what_is_left_of_it(tick: float) -> None:
    log: list[str] = []

    async def sleep_for(seconds: float) -> None:
        await sleep(seconds)
        log.append("for")

    async def sleep_till(when: float) -> None:
        await sleep_until(when)
        log.append("until")

    await sleep(4 * tick)  # so that the clock does not show next to nothing
    async with task_group() as tg:
        tg.create_task(sleep_for(4 * tick))
        tg.create_task(sleep_till(current_time() + 2 * tick))
    assert log == ["until", "for"]


@rule("W2")
@pytest.mark.parametrize("seconds", [-1, -0.001, -inf, nan])
async def test_a_negative_or_nan_sleep_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"sleep\(\) expects a number of seconds"):
        await sleep(seconds)


@rule("W2")
async def test_a_sleep_that_no_clock_can_show_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sleep\(\) expects a number of seconds, got an integer"):
        await sleep(10**400)
    with pytest.raises(ValueError, match="too large"):
        await sleep_until(10**400)


@rule("W2")
async def test_sleeping_until_nan_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sleep_until\(\) expects a number of seconds, got NaN"):
        await sleep_until(nan)


@rule("W2")
@pytest.mark.parametrize("value", ["1", None, True, [1]])
async def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(TypeError, match=r"sleep\(\) expects a number of seconds, got "):
        await sleep(value)
    with pytest.raises(TypeError, match=r"sleep_until\(\) expects a number of seconds, got "):
        await sleep_until(value)


@rule("W3")
async def test_the_clock_advances_by_what_was_slept(tick: float) -> None:
    began = current_time()
    await sleep(3 * tick)
    assert current_time() - began > 2.5 * tick
    await sleep_until(began + 5 * tick)
    assert current_time() - began > 4.5 * tick


@rule("W3")
async def test_the_clock_never_goes_back(tick: float) -> None:
    times = [current_time()]
    for pause in (0, tick, 0, tick / 2, 0):
        await sleep(pause)
        times.append(current_time())
    assert times == sorted(times)


@rule("W3")
async def test_all_tasks_and_deadlines_share_the_clock(tick: float) -> None:
    async def child() -> tuple[float, float]:
        return current_time(), current_deadline()

    began = current_time()
    with deadline(at=began + 9 * tick) as limit:
        async with task_group() as tg:
            task = tg.create_task(child())
        assert limit.when() == current_deadline() == began + 9 * tick
    seen_time, seen_deadline = task.result()
    assert seen_time == pytest.approx(began, abs=tick / 2)
    assert seen_deadline == began + 9 * tick


@rule("W3")
async def test_sleeping_for_ever_ends_by_cancellation_alone(tick: float) -> None:
    began = current_time()
    for forever in (sleep, sleep_until):
        with deadline(2 * tick, suppress=True) as limit:
            await forever(inf)
        assert limit.expired()
    assert current_time() - began == pytest.approx(4 * tick, abs=tick)


@rule("W3")
def test_each_run_has_a_clock_of_its_own(host: Host) -> None:
    async def sleep_a_tick() -> float:
        began = current_time()
        await sleep(host.tick)
        return current_time() - began

    assert [host.run(sleep_a_tick) for _ in range(2)] == [pytest.approx(host.tick, abs=host.tick / 2)] * 2
