"""Run everything at once in real time, for as long as is asked for, and show that nothing piles up.

On each loop a hundred workers play scenes in random order, in rounds: groups, deadlines that expire and that
do not, cancellations, shields, `start`, limits, background tasks, deferred errors. Each scene sees to its own
outcome. Between the rounds nothing runs, so that what is left over can be counted: no task may be alive, no
request for cancellation counted, no scope open.

The memory that Python has allocated (tracemalloc, after a collection) is taken at these moments too, and a
straight line laid through it, over the scenes played; the first rounds do not count, while Python fills its
own free lists. It is flat if that line rises by less than `FLAT` bytes with each scene: a task takes a
kilobyte or so, and one that is kept of a hundred scenes would show. The resident memory is shown beside it,
and not judged: the allocator decides on that.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import linear_regression
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from interloop import (
    Task,
    TaskCancelled,
    TaskStatus,
    as_completed,
    checkpoint,
    current_backend,
    current_deadline,
    deadline,
    first,
    gather,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.testing import HOSTS

from .plots import soak_plot

LOOPS = ("asyncio", "uvloop", "trio")
WORKERS = 100
ROUND = 2.0  # seconds
SHORT = 0.01  # seconds; the longest wait in a scene
WARM_UP = 0.3  # of the rounds
FLAT = 8  # bytes with each scene
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Soak:
    """What was seen on one loop, after each round."""

    loop: str
    scenes: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])
    allocated: list[int] = field(default_factory=list[int])
    resident: list[int] = field(default_factory=list[int])

    def growth(self) -> float:
        """By how many bytes the memory allocated rises with each scene."""
        first_round = int(WARM_UP * len(self.scenes))
        return linear_regression(self.scenes[first_round:], self.allocated[first_round:]).slope


async def child(random: Random) -> int:
    await sleep(random.uniform(0, SHORT))
    return 42


async def failing(random: Random) -> None:
    await sleep(random.uniform(0, SHORT))
    raise ValueError


async def cleaning_up(random: Random) -> None:
    try:
        await sleep_forever()
    finally:
        await shield(sleep(random.uniform(0, SHORT)))


async def server(random: Random, *, task_status: TaskStatus[int]) -> None:
    await sleep(random.uniform(0, SHORT))
    task_status.started(42)
    await sleep_forever()


async def a_group(random: Random) -> None:
    async with task_group() as tg:
        tasks = [tg.create_task(child(random)) for _ in range(random.randint(0, 10))]
    assert all(task.result() == 42 for task in tasks)


async def a_group_that_fails(random: Random) -> None:
    try:
        async with task_group() as tg:
            tg.create_task(cleaning_up(random))
            tg.create_task(failing(random))
            await sleep_forever()
    except* ValueError:
        pass
    else:
        raise AssertionError("the error is lost")


async def a_deadline_that_expires(random: Random) -> None:
    try:
        async with deadline(random.uniform(0, SHORT)), task_group() as tg:
            tg.create_task(cleaning_up(random))
            await sleep_forever()
    except TimeoutError:
        pass
    else:
        raise AssertionError("the deadline has not raised")


async def deadlines_that_do_not_expire(random: Random) -> None:
    with deadline(60) as outer, deadline(50) as inner:
        inner.reschedule(outer.when())
        await child(random)
    assert not outer.expired()
    assert not inner.expired()


async def nested_deadlines(random: Random) -> None:
    inner = deadline(random.uniform(0, SHORT), suppress=True)
    with deadline(random.uniform(0, SHORT), suppress=True) as outer:
        with inner:
            await sleep_forever()
        await sleep_forever()
    assert outer.expired()
    assert inner.expired() or inner.when() is not None


async def a_group_that_is_cancelled(random: Random) -> None:
    async def middle() -> None:
        async with task_group() as inner:
            inner.create_task(cleaning_up(random))
            await cleaning_up(random)

    async with task_group() as tg:
        tg.create_task(middle())
        await sleep(random.uniform(0, SHORT))
        tg.cancel()


async def a_task_that_is_cancelled(random: Random) -> None:
    async with task_group() as tg:
        task = tg.create_task(cleaning_up(random))
        other = tg.create_task(child(random))
        await checkpoint()
        task.cancel()
        try:
            await task
        except TaskCancelled:
            assert await other == 42
        else:
            raise AssertionError("the task was not cancelled")


async def a_shield_that_times_out(random: Random) -> None:
    with deadline(0, suppress=True):
        try:
            await shield(sleep_forever(), timeout=random.uniform(0, SHORT))
        except TimeoutError:
            await checkpoint()
    assert current_deadline() > 0


async def a_start(random: Random) -> None:
    async with task_group() as tg:
        assert await tg.start(server, random) == 42
        with deadline(random.uniform(0, SHORT), suppress=True):
            await tg.start(server, random)
        tg.cancel()


async def a_limit(random: Random) -> None:
    async with task_group(limit=3) as tg:
        tasks = [tg.create_task(child(random)) for _ in range(10)]
        tasks[-1].cancel()
        if random.random() < 0.3:
            await sleep(SHORT / 2)
            tg.cancel()
    assert tasks[-1].cancelled()


async def a_background_task(random: Random) -> None:
    async with task_group() as tg:
        heartbeat = tg.create_background_task(cleaning_up(random))
        tg.create_task(child(random))
    assert heartbeat.cancelled()


async def deferred_errors(random: Random) -> None:
    tasks: list[Task[int]] = []
    errors: list[Exception] = []
    try:
        async with task_group(defer_errors=True) as tg:
            tg.create_task(failing(random))
            tasks.append(tg.create_task(child(random)))
            tg.create_task(failing(random))
    except ExceptionGroup as group:
        errors.extend(group.exceptions)
    assert [type(error) for error in errors] == [ValueError, ValueError]
    assert [task.result() for task in tasks] == [42]


async def patterns(random: Random) -> None:
    assert await gather(child(random), child(random)) == (42, 42)
    assert await first(child(random), sleep_forever()) == 42
    async with as_completed([child(random) for _ in range(5)], limit=2) as results:
        async for result in results:
            assert result == 42
            break


SCENES: list[Callable[[Random], Coroutine[Any, Any, None]]] = [
    a_group,
    a_group_that_fails,
    a_deadline_that_expires,
    deadlines_that_do_not_expire,
    nested_deadlines,
    a_group_that_is_cancelled,
    a_task_that_is_cancelled,
    a_shield_that_times_out,
    a_start,
    a_limit,
    a_background_task,
    deferred_errors,
    patterns,
]


async def soak(seconds: float, seed: int, seen: Soak, after_round: Callable[[], None]) -> None:
    random = Random(seed)
    played = 0

    async def worker(until: float) -> None:
        nonlocal played
        while monotonic() < until:
            await random.choice(SCENES)(random)
            assert_nothing_pending()
            played += 1

    before = what_is_left()
    began = monotonic()
    while monotonic() < began + seconds:
        until = monotonic() + min(ROUND, seconds / 10)
        async with task_group() as tg:
            for _ in range(WORKERS):
                tg.create_task(worker(until))
        left = what_is_left()
        assert left == before, f"left over after {played} scenes: {left}, before them {before}"
        gc.collect()
        seen.scenes.append(played)
        seen.seconds.append(monotonic() - began)
        seen.allocated.append(tracemalloc.get_traced_memory()[0])
        seen.resident.append(resident_memory())
        after_round()


def assert_nothing_pending() -> None:
    """A worker is in no scope but its group, and nobody has asked it to stop."""
    assert current_deadline() == float("inf")
    if current_backend() == "asyncio":
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


def what_is_left() -> dict[str, int]:
    """How many tasks are alive; and on asyncio, where interloop keeps the open scopes, how many of those."""
    if current_backend() == "trio":
        import trio

        statistics = trio.lowlevel.current_statistics()
        return {"tasks": statistics.tasks_living, "runnable": statistics.tasks_runnable}
    from interloop._asyncio.scopes import tree_of

    tree = tree_of(asyncio.get_running_loop())
    assert_nothing_pending()
    return {
        "tasks": len(asyncio.all_tasks()),
        "scopes": len(tree.innermost),
        "held back": len(tree.requests._held),
    }


def resident_memory() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    except FileNotFoundError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, which has no /proc
        return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def shown_progress(seen: Soak, seconds: float, console: Console) -> Generator[Callable[[], None], None, None]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[scenes]:,} scenes")
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task(f"{seen.loop:8}", total=seconds, scenes=0)
        yield lambda: progress.update(bar, completed=seen.seconds[-1], scenes=seen.scenes[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=1, help="in all, shared by the loops (default: 1)")
    parser.add_argument("--loop", action="append", choices=LOOPS, help="a loop to run on (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of what is played when (default: 0)")
    parser.add_argument("--plot", type=Path, default=Path("build/soak.svg"), help="(default: %(default)s)")
    options = parser.parse_args()
    loops = [loop for loop in options.loop or LOOPS if not HOSTS[loop].missing()]
    seconds = options.minutes * 60 / len(loops)

    console = Console()
    soaks: list[Soak] = []
    tracemalloc.start()
    for loop in loops:
        seen = Soak(loop)
        with shown_progress(seen, seconds, console) as after_round:
            HOSTS[loop].run(soak, seconds, options.seed, seen, after_round, virtual_time=False)
        soaks.append(seen)
        verdict = "flat" if seen.growth() < FLAT else "NOT FLAT"
        console.print(
            f"{loop:8} {seen.scenes[-1]:,} scenes in {seen.seconds[-1]:.0f} s, nothing left over; "
            f"{seen.growth():+.2f} bytes allocated with each scene ({verdict}), "
            f"resident {seen.resident[0] / 2**20:.1f} to {seen.resident[-1] / 2**20:.1f} MiB",
            highlight=False,
            soft_wrap=True,
        )
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    soak_plot(soaks, options.plot)
    console.print(f"plot: {options.plot}")
    return 0 if all(seen.growth() < FLAT for seen in soaks) else 1


if __name__ == "__main__":
    sys.exit(main())
