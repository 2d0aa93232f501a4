"""The hosts, and the loop with virtual time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from math import inf
from typing import Any

import pytest
import sniffio

from interloop import checkpoint, current_backend, current_time, sleep, task_group
from interloop.testing import (
    HOSTS,
    Host,
    LoopReportedError,
    TasksLeftAlive,
    VirtualTimeLoop,
    explore_cancellation,
    find_host,
    run,
)

INSTALLED = [host for host in HOSTS.values() if not host.missing()]
each_host = pytest.mark.parametrize("host", INSTALLED, ids=[host.name for host in INSTALLED])
each_asyncio_host = pytest.mark.parametrize(
    "host", hosts := [host for host in INSTALLED if "asyncio" in host.name], ids=[host.name for host in hosts]
)


class Interrupted(BaseException):
    pass


class CannotBeSplit(ExceptionGroup[Exception]):
    def split(self, *_: Any) -> Any:
        raise ValueError


class SplitsIntoNothing(ExceptionGroup[Exception]):
    def split(self, *_: Any) -> Any:
        return None, None


class HidesItsClass(Exception):
    @property
    def __class__(self) -> Any:
        raise ValueError


class PretendsToBeAGroup(Exception):
    __class__ = ExceptionGroup  # type: ignore[assignment]


@each_host
def test_a_run_gives_the_result(host: Host) -> None:
    async def main() -> str:
        return current_backend()

    assert host.run(main) == host.backend


@each_host
@pytest.mark.parametrize(
    "make",
    [
        ValueError,
        lambda: ExceptionGroup("", [ValueError()]),
        Interrupted,
        lambda: CannotBeSplit("", [OSError()]),
        lambda: SplitsIntoNothing("", [OSError()]),
        HidesItsClass,
        PretendsToBeAGroup,
    ],
)
def test_a_run_raises_the_very_error(host: Host, make: Callable[[], BaseException]) -> None:
    async def main() -> None:
        raise error

    error, caught = make(), None
    try:
        host.run(main)
    except BaseException as raised:
        caught = raised
    assert caught is error


@each_host
def test_time_is_virtual_where_the_host_says_so(host: Host) -> None:
    async def main() -> float:
        began = current_time()
        await sleep(50 * host.tick)
        return current_time() - began

    began = time.monotonic()
    slept = host.run(main)
    took = time.monotonic() - began
    assert slept >= 49.5 * host.tick  # longer where time is real and the machine busy
    assert (took < slept) is host.virtual


@each_asyncio_host
def test_a_task_left_alive_fails_the_run(host: Host) -> None:
    async def main() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(1), name="left behind"))

    kept: list[asyncio.Task[None]] = []
    with pytest.raises(TasksLeftAlive, match="left behind"):
        host.run(main)


@each_asyncio_host
def test_a_task_left_alive_is_told_of_beside_the_error(host: Host) -> None:
    async def main() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(1)))
        raise ValueError

    kept: list[asyncio.Task[None]] = []
    with pytest.raises(TasksLeftAlive) as caught:
        host.run(main)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_trio_system_task_left_alive_fails_the_run() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left behind")

    with pytest.raises(TasksLeftAlive, match="left behind"):
        HOSTS["trio"].run(main)


@each_host
@pytest.mark.parametrize("clean_up_takes", [0, 3])
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio's, about this very thing
def test_the_loop_s_own_closing_of_an_async_generator_is_no_task_left_alive(
    host: Host, clean_up_takes: int
) -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                yield number
        finally:
            if clean_up_takes:
                await sleep(clean_up_takes * host.tick)

    async def main(turns: int) -> str:
        async with task_group():
            async for _ in numbers():
                break
        for _ in range(turns):
            await checkpoint()
        return "ended"

    for turns in range(5):
        assert host.run(main, turns) == "ended"


@each_host
def test_a_run_in_a_thread_that_inherited_the_context_of_another_loop(host: Host) -> None:
    async def main() -> str:
        async with task_group() as tg:
            tg.create_task(sleep(0))
        return current_backend()

    def run_here() -> str:
        if "anyio" not in host.packages:  # which refuses to run where the variable is set
            sniffio.current_async_library_cvar.set("trio" if host.backend == "asyncio" else "asyncio")
        return host.run(main)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert threads.submit(contextvars.copy_context().run, run_here).result(timeout=20) == host.backend


@each_asyncio_host
def test_an_error_that_nobody_retrieved_fails_the_run(host: Host) -> None:
    async def fail() -> None:
        raise ValueError("nobody hears this")

    async def main() -> None:
        asyncio.ensure_future(fail())  # noqa: RUF006
        await asyncio.sleep(1)

    with pytest.raises(LoopReportedError, match=r"never retrieved.*nobody hears this") as caught:
        host.run(main)
    assert isinstance(caught.value.__cause__, ValueError)


@each_asyncio_host
def test_an_error_in_a_callback_fails_the_run(host: Host) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(LoopReportedError) as caught:
        host.run(main)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@each_host
def test_runs_do_not_disturb_each_other(host: Host) -> None:
    async def main() -> float:
        async with task_group() as tg:
            tg.create_task(sleep(host.tick))
        return current_time()

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for run in [threads.submit(host.run, main) for _ in range(4)]:
            assert run.result() > 0


def test_a_stranger_is_found_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(async_fn: Callable[[], Awaitable[None]]) -> None:
        with asyncio.Runner() as runner:
            runner.run(async_fn())  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules[__name__], "run", run, raising=False)
    host = find_host(f"{__name__}:run")
    assert (host.backend, host.virtual, host.missing()) == ("asyncio", False, None)


def test_what_the_hosts_are_made_of() -> None:
    trio = pytest.importorskip("trio")
    assert HOSTS["asyncio"].versions == {}
    assert HOSTS["trio"].versions == {"trio": trio.__version__}


# Virtual time

A_LONG_TIME = 50.0  # seconds that no machine is late by, and less than what the tests below sleep


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> float:
    """Run it; the seconds that it really took."""

    async def whole() -> None:
        await main()

    began = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(whole())
    return time.monotonic() - began


def test_the_clock_jumps_exactly_to_the_next_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.time() == 0
        for when in (0.1, 0.3, 0.7, 1e6 / 3, 1e9):  # a sum of differences would be off by a rounding error
            reached = loop.create_future()
            loop.call_at(when, reached.set_result, None)
            await reached
            assert loop.time() == when

    assert in_virtual_time(main) < A_LONG_TIME


def test_timers_run_in_the_order_of_their_times() -> None:
    async def main() -> None:
        order: list[float] = []

        async def note(delay: float) -> None:
            await asyncio.sleep(delay)
            order.append(delay)

        await asyncio.gather(*(note(delay) for delay in (30, 1e5, 10, 0.001, 20)))
        assert order == [0.001, 10, 20, 30, 1e5]

    assert in_virtual_time(main) < A_LONG_TIME


def test_the_clock_stands_still_while_anything_can_run() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == 0

    in_virtual_time(main)


def test_io_that_is_ready_comes_before_a_jump() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        try:
            readable = loop.create_future()
            loop.add_reader(reader, lambda: readable.set_result((loop.time(), os.read(reader, 1))))
            loop.call_later(5, lambda: None)
            os.write(writer, b"x")
            assert await readable == (0, b"x")
        finally:
            loop.remove_reader(reader)
            os.close(reader)
            os.close(writer)

    in_virtual_time(main)


def test_a_job_in_an_executor_is_waited_for_before_a_jump() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(A_LONG_TIME):
            await asyncio.to_thread(time.sleep, 0.05)
        assert loop.time() == 0
        await asyncio.sleep(100)
        assert loop.time() == 100

    assert 0.05 <= in_virtual_time(main) < A_LONG_TIME


def test_a_job_that_waits_for_a_timer_of_the_loop_gets_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def job() -> None:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()

        await asyncio.to_thread(job)

    assert 0.05 <= in_virtual_time(main) < A_LONG_TIME


def test_without_timers_the_loop_waits_for_a_thread() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        threading.Timer(0.05, loop.call_soon_threadsafe, (done.set,)).start()
        await done.wait()
        assert loop.time() == 0

    in_virtual_time(main)


def test_a_timer_at_infinity_is_never_reached() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        never = loop.call_at(inf, lambda: None)
        woken = asyncio.Event()
        threading.Timer(0.05, loop.call_soon_threadsafe, (woken.set,)).start()
        await woken.wait()
        never.cancel()
        assert loop.time() == 0

    in_virtual_time(main)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
def test_without_timers_the_loop_waits_for_a_signal() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        await arrived.wait()
        assert loop.time() == 0
        loop.remove_signal_handler(signal.SIGUSR1)

    in_virtual_time(main)


async def nothing() -> None:
    pass


@pytest.mark.parametrize("refuse", [run, HOSTS["trio"].run, explore_cancellation])
def test_a_coroutine_in_the_place_of_a_function_is_refused_and_closed(
    refuse: Callable[[Any], object],
) -> None:
    coro = nothing()
    with pytest.raises(
        TypeError, match=r"got <coroutine object .*; pass the function itself, not a call of it"
    ):
        refuse(coro)
    assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
