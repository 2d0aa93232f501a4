"""Which backend serves a call (chapter D): errors, two loops at once, a backend from another package."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sniffio
import trio

import interloop
from interloop import (
    NoAsyncContext,
    Task,
    TaskCancelled,
    UnsupportedBackend,
    _dispatch,
    checkpoint,
    current_backend,
    deadline,
    sleep_forever,
    task_group,
)
from interloop._asyncio import tasks
from interloop.abc import backend
from interloop.testing import HOSTS
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


@pytest.mark.parametrize("ended", ["task", "waiter"])
def test_t3_asyncio_is_told_who_waits_for_a_task(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: set[object] = set()  # as asyncio itself keeps them, from 3.14 on
    monkeypatch.setattr(tasks, "awaited_by", lambda *pair: waiting.add(pair))
    monkeypatch.setattr(tasks, "no_longer_awaited_by", lambda *pair: waiting.remove(pair))

    async def wait_for(task: Task[None]) -> None:
        with suppress(TaskCancelled):
            await task

    async def main() -> None:
        async with task_group() as tg:
            task = tg.create_task(sleep_forever())
            waiter = tg.create_task(wait_for(task))
            for _ in range(3):
                await checkpoint()
            assert waiting == {(task.native, waiter.native)}
            (task if ended == "task" else waiter).cancel()
            for _ in range(3):
                await checkpoint()
            assert not waiting
            tg.cancel()

    asyncio.run(main())


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
    print(*task.result(), limit.expired(), expired.expired())

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
    assert done.stdout.split() == ["42", "marimba", "False", "True"]


@pytest.mark.parametrize(("name", "run"), [("asyncio", on_asyncio), ("trio", trio.run)])
def test_d3_a_backend_by_its_name(name: str, run: Run) -> None:
    async def main() -> str:
        assert type(task_group()) is backend(name).TaskGroup
        assert type(deadline()) is backend(name).Deadline
        return current_backend()

    assert backend(name) is backend(name)  # outside of any loop too
    assert run(main) == name


def test_d3_there_is_no_backend_of_that_name() -> None:
    with pytest.raises(UnsupportedBackend) as caught:
        backend("kazoo")
    message = str(caught.value)
    assert message.startswith(
        "backend() was called for the async library 'kazoo', for which there is no backend"
    )
    assert "there are backends for asyncio, trio" in message


NAMES = [None, "asyncio", "trio", "kazoo"]


@pytest.mark.parametrize("by_context", NAMES)
@pytest.mark.parametrize("by_thread", NAMES)
def test_d1_dispatch_agrees_with_sniffio_but_asks_whether_asyncio_runs(
    by_thread: str | None, by_context: str | None
) -> None:
    def agree(running: str | None, sniffio_agrees: bool) -> None:
        found = sniffio.thread_local.name
        sniffio.thread_local.name = by_thread
        reset = sniffio.current_async_library_cvar.set(by_context)
        try:
            expected = by_thread or ("kazoo" if by_context == "kazoo" else running)
            if sniffio_agrees and (by_thread or by_context not in ("asyncio", "trio")):
                assert sniffio_says() == expected
            if expected is None:
                for ask in (_dispatch.current_backend_name, _dispatch.current_backend):
                    with pytest.raises(NoAsyncContext):
                        ask("deadline()")
            else:
                assert _dispatch.current_backend_name("deadline()") == expected
                if expected == "kazoo":
                    with pytest.raises(UnsupportedBackend):
                        _dispatch.current_backend("deadline()")
                else:
                    backend: Any = _dispatch.current_backend("deadline()")
                    assert backend.__name__ == f"interloop._{expected}"
        finally:
            sniffio.current_async_library_cvar.reset(reset)
            sniffio.thread_local.name = found

    def sniffio_says() -> str | None:
        try:
            return sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return None

    async def in_a_task_of_trio() -> None:
        agree(None, True)  # since trio is known by the thread's variable alone

    async def in_a_task_of_asyncio() -> None:
        agree("asyncio", True)

    async def in_a_callback_of_asyncio() -> None:
        called = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                agree("asyncio", False)  # sniffio looks for a task
            except BaseException as error:
                called.set_exception(error)
            else:
                called.set_result(None)

        asyncio.get_running_loop().call_soon(call)
        await called

    agree(None, True)
    trio.run(in_a_task_of_trio)
    asyncio.run(in_a_task_of_asyncio())
    asyncio.run(in_a_callback_of_asyncio())
    agree(None, True)


def run_program(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )


IN_A_THREAD = """
import asyncio, sniffio, threading, trio
from interloop import NoAsyncContext, current_backend, current_time

async def main():
    return current_backend()

def outside(names):
    try:
        current_time()
    except NoAsyncContext:
        names.append("none")
    names += [asyncio.run(main()), trio.run(main)]

async def in_a_thread():
    names = []
    thread = threading.Thread(target=outside, args=[names])
    thread.start()
    thread.join()
    return names

for library in [None, "asyncio", "trio"]:
    sniffio.current_async_library_cvar.set(library)
    print(*asyncio.run(in_a_thread()), *trio.run(in_a_thread))
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="threads inherit the context from 3.14 on")
@pytest.mark.parametrize("inherit", [0, 1])
def test_d2_threads_that_inherit_the_context_are_outside_of_any_loop(inherit: int) -> None:
    done = run_program(IN_A_THREAD, "-X", f"thread_inherit_context={inherit}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["none asyncio trio none asyncio trio"] * 3


AFTER_A_FORK = """
import asyncio, os
from interloop import NoAsyncContext, current_time

async def main():
    current_time()
    if child := os.fork():
        print(os.waitpid(child, 0)[1])
        return
    try:
        current_time()
    except NoAsyncContext:
        os._exit(0)
    os._exit(1)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_d2_a_process_that_was_forked_in_a_task_is_outside_of_any_loop() -> None:
    done = run_program(AFTER_A_FORK)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="the recursion limit says nothing of the depth of its stack"
)
def test_d2_where_the_stack_ends_the_error_is_about_the_stack() -> None:
    def at_depth(depth: int) -> object:
        return _dispatch.current_backend("deadline()") if depth == 0 else at_depth(depth - 1)

    async def main() -> None:
        ended = False
        for depth in range(sys.getrecursionlimit()):
            try:
                at_depth(depth)
            except RecursionError:
                ended = True
        assert ended

    asyncio.run(main())


IMPORTED_LATER = """
import asyncio, trio
from interloop import Lock, checkpoint, current_backend, deadline

async def main():
    async with Lock(), deadline(1):
        await checkpoint()
    return current_backend()

async def in_trio_asyncio():
    from trio_asyncio import aio_as_trio, open_loop

    async with open_loop():
        return current_backend(), await aio_as_trio(main)()

print(asyncio.run(main()), *trio.run(in_trio_asyncio), asyncio.run(main()), trio.run(main))
"""


@pytest.mark.skipif(
    HOSTS["trio-asyncio"].missing() is not None, reason="trio-asyncio cannot be imported on this Python"
)
@pytest.mark.parametrize("first", ["import trio_asyncio", ""])
def test_d1_trio_asyncio_may_be_imported_before_or_after_the_first_call(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", first + IMPORTED_LATER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", ["asyncio", "trio", "asyncio", "asyncio", "trio"])


BESIDE_AN_IMPORT = """
import asyncio, sys
from importlib import import_module
from types import ModuleType
from interloop import deadline, sleep

NAME = "anyio._backends._asyncio"

async def main():
    import anyio

    sys.modules[NAME] = ModuleType(NAME)  # as long as another thread imports it
    with deadline(1):
        pass
    del sys.modules[NAME]
    import_module(NAME)
    with deadline(0.01, suppress=True) as limit:
        with anyio.CancelScope(shield=True):
            await sleep(0.03)
            print("shielded")
        await sleep(1)
    print(limit.expired())

asyncio.run(main())
"""


def test_c8_anyio_may_be_imported_by_another_thread_at_any_time() -> None:
    done = run_program(BESIDE_AN_IMPORT)
    assert (done.stdout, done.stderr) == ("shielded\nTrue\n", "")
