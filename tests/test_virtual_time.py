"""Virtual time, the same on every host that has it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest

from interloop import (
    TaskGroup,
    checkpoint,
    current_backend,
    current_time,
    deadline,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from interloop.testing import HOSTS, Deadlock, Host, TasksLeftAlive, run, virtual_clock

trio = pytest.importorskip("trio")

A_LONG_TIME = 50.0  # seconds that no machine is late by, and less than what the tests sleep
VIRTUAL = [host for host in HOSTS.values() if host.virtual and not host.missing()]
each_host = pytest.mark.parametrize("host", VIRTUAL, ids=[host.name for host in VIRTUAL])
both = pytest.mark.parametrize("host", ["asyncio", "trio"])
# In guest mode the other loop may act at any time, so that nobody knows when nothing can happen any more.
each_host_that_knows_all = pytest.mark.parametrize(
    "host",
    known := [host for host in VIRTUAL if host.name != "trio-guest"],
    ids=[host.name for host in known],
)


async def in_thread(fn: Callable[..., object], *args: object) -> None:
    if current_backend() == "trio":
        await trio.to_thread.run_sync(fn, *args)
    else:
        await asyncio.to_thread(fn, *args)


def an_event() -> Any:
    return trio.Event() if current_backend() == "trio" else asyncio.Event()


# run()


@both
def test_a_run_passes_arguments_and_gives_the_result(host: str) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    assert run(add, 1, 2, host=host) == 3


@both
def test_time_is_real_if_not_said_otherwise(host: str) -> None:
    began = time.monotonic()
    run(sleep, 0.05, host=host)
    assert time.monotonic() - began >= 0.05


def test_a_host_without_virtual_time_refuses_it() -> None:
    with pytest.raises(ValueError, match=r"'uvloop' has no virtual time; those that have: asyncio, .*trio"):
        run(sleep, 1, host="uvloop", virtual_time=True)


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LookupError, match="no host 'tokio'; there are asyncio"):
        run(sleep, 1, host="tokio")


def test_a_host_that_cannot_run_here_says_why() -> None:
    host = Host("sometime", HOSTS["asyncio"].runner, packages=("no_such_package",))
    with pytest.raises(RuntimeError, match="'sometime' cannot run here: no_such_package is not installed"):
        host.run(checkpoint)


@pytest.mark.parametrize("virtual_time", [False, True])
def test_a_task_left_alive_fails_the_run(virtual_time: bool) -> None:
    async def main() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(1), name="left behind"))

    kept: list[asyncio.Task[None]] = []
    with pytest.raises(TasksLeftAlive, match="left behind"):
        run(main, virtual_time=virtual_time)


# The clock


@each_host
def test_a_day_of_sleeps(host: Host) -> None:
    async def main() -> None:
        for _ in range(24 * 60):
            await sleep(60)

    began = time.monotonic()
    host.run(main)
    assert time.monotonic() - began < A_LONG_TIME


@each_host
def test_the_clock_jumps_exactly_to_the_next_deadline(host: Host) -> None:
    async def main() -> None:
        assert current_time() == 0
        when = 1e-12
        async with task_group() as tg:
            tg.create_task(sleep(0))  # in a turn of its own asyncio takes a nanosecond for nothing
            await sleep_until(when)
            assert current_time() == when
        for n in range(1, 1000):  # a sum of differences is off by a rounding error in some of them
            when += 0.1 * n
            await sleep_until(when)
            assert current_time() == when
        when = nextafter(when, 1e9)
        await sleep_until(when)
        assert current_time() == when

    if host.name == "trio-asyncio":
        pytest.skip("it adds up its own clock's differences")
    host.run(main)


def test_a_jump_on_trio_is_exact_where_sums_are_not() -> None:
    async def main() -> None:
        for when in (2**-53, 1 + 2**-52):  # their difference is rounded, and so is the sum
            await trio.sleep_until(when)
            assert trio.current_time() == when

    run(main, host="trio", virtual_time=True)


@each_host
def test_what_runs_at_which_time(host: Host) -> None:
    async def main() -> None:
        seen: list[tuple[str, float]] = []

        async def note(name: str, *delays: float) -> None:
            for delay in delays:
                await sleep(delay)
                seen.append((name, current_time()))

        with deadline(7.5, suppress=True):
            async with task_group() as tg:
                tg.create_task(note("a", 1, 2.5, 1000))
                tg.create_task(note("b", 0.5, 1, 5.5, 3))
        assert seen == [("b", 0.5), ("a", 1), ("b", 1.5), ("a", 3.5), ("b", 7)]
        assert current_time() == 7.5

    host.run(main)


@each_host
def test_the_clock_stands_still_while_a_task_can_run(host: Host) -> None:
    async def main() -> None:
        with deadline(1) as limit:
            for _ in range(1000):
                await checkpoint()
        assert not limit.expired()
        assert current_time() == 0

    host.run(main)


@pytest.mark.parametrize("seconds", [1, inf])
def test_the_clock_moves_on_while_anyio_cancels_what_does_not_end(seconds: float) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        with anyio.move_on_after(1):
            await shield(sleep(seconds + 1))
        assert current_time() == seconds + 1

    if seconds == inf:
        with pytest.raises(Deadlock):
            HOSTS["anyio-asyncio"].run(main)
    else:
        HOSTS["anyio-asyncio"].run(main)


def test_the_clock_moves_on_while_a_shield_of_anyio_holds_and_anyio_cancels_what_does_not_end() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        with deadline(2, suppress=True), anyio.move_on_after(1, shield=True):
            await shield(sleep(3))
        assert current_time() == 3

    HOSTS["anyio-asyncio"].run(main)


def test_a_task_that_goes_on_is_none_of_anyios_spinning() -> None:
    anyio = pytest.importorskip("anyio")

    async def busy() -> None:
        for _ in range(1000):
            await checkpoint()
        assert current_time() == 1

    async def main() -> None:
        async with task_group() as tg:
            with anyio.move_on_after(1):
                await shield(cleaning_up(tg))
            assert current_time() == 5

    async def cleaning_up(tg: TaskGroup) -> None:
        await sleep(1)
        tg.create_task(busy())
        await sleep(4)

    HOSTS["anyio-asyncio"].run(main)


# What is under way outside


@each_host
def test_a_thread_of_the_pool_is_waited_for(host: Host) -> None:
    async def main() -> None:
        async with deadline(1):
            await in_thread(time.sleep, 0.05)
        assert current_time() == 0
        await sleep(100)
        assert current_time() == 100

    host.run(main)


@each_host
def test_an_idle_thread_of_the_pool_is_not_waited_for(host: Host) -> None:
    async def main() -> None:
        await in_thread(int)
        await sleep(24 * 60 * 60)

    began = time.monotonic()
    host.run(main)
    assert time.monotonic() - began < A_LONG_TIME


@each_host
def test_a_deadline_comes_while_a_thread_runs(host: Host) -> None:
    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(in_thread(time.sleep, 0.2))
            with deadline(0.05, suppress=True) as limit:
                await sleep_forever()
            assert limit.expired()
            assert current_time() == 0.05

    host.run(main)


@both
def test_a_thread_that_was_started_during_the_run_is_waited_for(host: str) -> None:
    async def main() -> None:
        woken = an_event()
        if current_backend() == "trio":
            wake = trio.lowlevel.current_trio_token().run_sync_soon
        else:
            wake = asyncio.get_running_loop().call_soon_threadsafe
        threading.Timer(0.05, wake, (woken.set,)).start()
        async with deadline(A_LONG_TIME):
            await woken.wait()
        assert current_time() == 0

    run(main, host=host, virtual_time=True)


def test_a_job_in_a_pool_that_was_there_before_is_waited_for() -> None:
    async def main() -> None:
        async with deadline(A_LONG_TIME):
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.05)
        assert current_time() == 0

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        run(main, virtual_time=True)


def test_a_thread_of_anyio_is_waited_for() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async with deadline(A_LONG_TIME):
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        assert current_time() == 0
        await sleep(24 * 60 * 60)

    HOSTS["anyio-asyncio"].run(main)


@both
def test_io_is_waited_for(host: str) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            threading.Timer(0.05, theirs.send, (b"x",)).start()
            async with deadline(A_LONG_TIME):
                if current_backend() == "trio":
                    await trio.lowlevel.wait_readable(ours)
                else:
                    await asyncio.get_running_loop().sock_recv(ours, 1)
            assert current_time() == 0

    run(main, host=host, virtual_time=True)


@both
def test_a_process_is_waited_for(host: str) -> None:
    async def main() -> None:
        async with deadline(A_LONG_TIME):
            if current_backend() == "trio":
                await trio.run_process(["sleep", "0.05"])
            else:
                process = await asyncio.create_subprocess_exec("sleep", "0.05")
                await process.wait()
        assert current_time() == 0
        await sleep(1000)

    run(main, host=host, virtual_time=True)


# Deadlocks


async def wait_for_ever() -> None:
    await an_event().wait()  # here it waits


HERE = re.escape(
    f"{Path(__file__)}:{wait_for_ever.__code__.co_firstlineno + 1} in wait_for_ever: await an_event"
)


@each_host_that_knows_all
def test_a_deadlock_fails_at_once_and_says_who_waits_where(host: Host) -> None:
    async def main() -> None:
        await sleep(1)
        async with task_group() as tg:
            tg.create_task(wait_for_ever(), name="the waiter")

    with pytest.raises(Deadlock, match=f"'the waiter' waits at {HERE}"):
        HOSTS["trio" if host.name == "trio-asyncio" else host.name].run(main)


@each_host_that_knows_all
def test_a_deadlock_unwinds_the_tasks(host: Host) -> None:
    async def main() -> None:
        try:
            await wait_for_ever()
        finally:
            await shield(sleep(1))
            log.append("cleaned up")

    log: list[str] = []
    with pytest.raises(Deadlock):
        host.run(main)
    assert log == ["cleaned up"]


@each_host_that_knows_all
def test_a_deadlock_in_the_clean_up_after_a_deadlock(host: Host) -> None:
    if host.name == "trio-asyncio":
        pytest.skip("it waits for the tasks of its loop, whatever is raised there")

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(shield(wait_for_ever()))

    with pytest.raises(Deadlock):
        host.run(main)


@both
def test_a_deadlock_after_a_thread(host: str) -> None:
    async def main() -> None:
        await in_thread(int)
        await wait_for_ever()

    with pytest.raises(Deadlock):
        run(main, host=host, virtual_time=True)


@both
def test_where_a_task_waits_in_generators_and_awaitables(host: str) -> None:
    async def values() -> AsyncIterator[int]:
        yield 1
        await wait_for_ever()

    class Thing:
        def __await__(self) -> Any:
            return self.get().__await__()

        async def get(self) -> None:
            async for _ in values():
                pass

    async def main() -> None:
        await Thing()

    with pytest.raises(Deadlock, match=HERE):
        run(main, host=host, virtual_time=True)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
@both
def test_one_who_waits_for_a_signal_waits(host: str) -> None:
    kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))

    async def main() -> None:
        if current_backend() == "trio":
            with trio.open_signal_receiver(signal.SIGUSR1) as arrived:
                await anext(arrived)
        else:
            loop = asyncio.get_running_loop()
            arrived = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, arrived.set)
            await arrived.wait()
            loop.remove_signal_handler(signal.SIGUSR1)

    kill.start()  # before the run, so that it is no thread of it
    run(main, host=host, virtual_time=True)


def test_a_deadlock_in_a_run_of_trios_own() -> None:
    with pytest.raises(Deadlock, match=HERE):
        trio.run(wait_for_ever, clock=virtual_clock())


def test_a_clock_starts_again_with_each_run() -> None:
    async def main() -> None:
        assert current_time() == 0
        await sleep(5)

    clock = virtual_clock()
    for _ in range(2):
        trio.run(main, clock=clock)


def test_a_deadlock_under_asyncios_own_runner() -> None:
    from interloop.testing import VirtualTimeLoop

    with pytest.raises(Deadlock, match=HERE), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(wait_for_ever())


# The private names that virtual time stands on


def test_trio_calls_what_stands_in_for_the_jump() -> None:
    clock = virtual_clock()
    assert isinstance(clock, trio.testing.MockClock)
    assert callable(type(clock)._autojump)
    assert callable(trio.lowlevel.Task._attempt_abort)
