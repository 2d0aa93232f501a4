"""Which backend serves a call (chapter D): errors, two loops at once, a backend from another package."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sniffio
import trio

import interloop
from interloop import (
    NoAsyncContext,
    UnsupportedBackend,
    _dispatch,
    current_backend,
    deadline,
    sleep_forever,
    task_group,
)
from wheels import build_wheel, install

Run = Callable[[Callable[[], Coroutine[Any, Any, str]]], str]

CALLS: dict[str, Callable[[], object]] = {
    "checkpoint()": interloop.checkpoint,
    "current_backend()": interloop.current_backend,
    "current_deadline()": interloop.current_deadline,
    "current_time()": interloop.current_time,
    "deadline()": interloop.deadline,
    "get_cancelled_exc_class()": interloop.get_cancelled_exc_class,
    "shield()": lambda: interloop.shield(interloop.checkpoint()),
    "sleep()": lambda: interloop.sleep(1),
    "sleep_forever()": interloop.sleep_forever,
    "sleep_until()": lambda: interloop.sleep_until(1),
    "task_group()": interloop.task_group,
}
EVERY_CALL = pytest.mark.parametrize(("name", "call"), CALLS.items(), ids=CALLS)


def perform(call: Callable[[], object]) -> None:
    started = call()
    if isinstance(started, Coroutine):
        started.send(None)


@EVERY_CALL
def test_d2_outside_of_any_loop(name: str, call: Callable[[], object]) -> None:
    with pytest.raises(NoAsyncContext) as caught:
        perform(call)
    assert str(caught.value).startswith(f"{name} was called outside of any async context: call it in")


@pytest.fixture
def unknown_library() -> Iterator[None]:
    sniffio.thread_local.name = "kazoo"
    yield
    sniffio.thread_local.name = None


@EVERY_CALL
@pytest.mark.usefixtures("unknown_library")
def test_d2_under_a_library_without_a_backend(name: str, call: Callable[[], object]) -> None:
    with pytest.raises(UnsupportedBackend) as caught:
        perform(call)
    message = str(caught.value)
    assert message.startswith(f"{name} was called under the async library 'kazoo'")
    assert "there are backends for asyncio, trio" in message


def on_asyncio(main: Callable[[], Coroutine[Any, Any, str]]) -> str:
    return asyncio.run(main())


@pytest.mark.parametrize(
    "runners",
    [(on_asyncio, on_asyncio), (on_asyncio, trio.run), (trio.run, trio.run)],
    ids=["asyncio-asyncio", "asyncio-trio", "trio-trio"],
)
def test_d4_two_loops_in_two_threads_do_not_see_each_other(runners: tuple[Run, Run]) -> None:
    together = Barrier(2, timeout=60)

    async def serve(cancels: bool) -> str:
        async with task_group() as tg:
            with deadline(3600) as limit:
                waiting = tg.create_task(sleep_forever())
                together.wait()  # both have a group and a deadline open, and block each other's loop
                if cancels:
                    tg.cancel()
                together.wait()
                assert interloop.current_deadline() == (float("-inf") if cancels else limit.when())
                assert not waiting.done()
                tg.cancel()
        assert waiting.cancelled()
        return current_backend()

    with ThreadPoolExecutor(2) as threads:
        served = [threads.submit(run, lambda i=i: serve(i == 0)) for i, run in enumerate(runners)]  # type: ignore[misc]
        names = [thread.result() for thread in served]
    assert names == ["asyncio" if run is on_asyncio else "trio" for run in runners]


PROGRAM = """
import marimba
from interloop import current_backend, deadline, sleep, sleep_forever, task_group

async def double(number):
    await sleep(0)
    return 2 * number, current_backend()

async def main():
    async with deadline(60) as limit, task_group() as tg:
        task = tg.create_task(double(21))
    with deadline(0, suppress=True) as expired:
        await sleep_forever()
    print(type(limit).__module__, type(tg).__module__, *task.result(), expired.expired())

marimba.run(main)
"""


def test_d3_a_backend_from_an_installed_package(tmp_path: Path) -> None:
    package = Path(__file__).with_name("backend_package")
    install(build_wheel(package, tmp_path / "wheels"), tmp_path / "site")

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["interloop_marimba", "interloop_marimba", "42", "marimba", "True"]


NAMES = [None, "asyncio", "trio"]


@pytest.mark.parametrize("by_context", NAMES)
@pytest.mark.parametrize("by_thread", NAMES)
def test_d1_dispatch_agrees_with_sniffio(by_thread: str | None, by_context: str | None) -> None:
    def agree() -> None:
        found = sniffio.thread_local.name
        sniffio.thread_local.name = by_thread
        reset = sniffio.current_async_library_cvar.set(by_context)
        try:
            try:
                expected = sniffio.current_async_library()
            except sniffio.AsyncLibraryNotFoundError:
                with pytest.raises(NoAsyncContext):
                    _dispatch.current_backend("deadline()")
            else:
                backend: Any = _dispatch.current_backend("deadline()")
                assert backend.__name__ == f"interloop._{expected}"
        finally:
            sniffio.current_async_library_cvar.reset(reset)
            sniffio.thread_local.name = found

    async def in_a_task() -> None:
        agree()

    async def in_a_callback() -> None:
        called = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                agree()
            except BaseException as error:
                called.set_exception(error)
            else:
                called.set_result(None)

        asyncio.get_running_loop().call_soon(call)
        await called

    agree()
    trio.run(in_a_task)
    asyncio.run(in_a_task())
    asyncio.run(in_a_callback())
    agree()
