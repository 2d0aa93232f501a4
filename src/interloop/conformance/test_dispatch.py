"""Chapter D: dispatch."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import copy_context
from inspect import CORO_CLOSED, getcoroutinestate
from math import inf
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import pytest
import sniffio

from interloop import (
    NoAsyncContext,
    UnsupportedBackend,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import asyncio_inside_trio, until
from interloop.testing import Host

T = TypeVar("T")


@contextmanager
def sniffio_says(library: str | None) -> Generator[None]:
    """Have sniffio find `library` running; no checkpoint inside, since hosts set this themselves."""
    found = sniffio.thread_local.name
    sniffio.thread_local.name = library
    try:
        yield
    finally:
        sniffio.thread_local.name = found


def step(coro: Coroutine[Any, Any, None]) -> None:
    """Take the first step of `coro`, without a loop."""
    try:
        coro.send(None)
    finally:
        coro.close()


CALLS: dict[str, Callable[[], object]] = {
    "task_group()": task_group,
    "deadline()": lambda: deadline(1),
    "current_deadline()": current_deadline,
    "current_time()": current_time,
    "get_cancelled_exc_class()": get_cancelled_exc_class,
    "current_backend()": current_backend,
    "sleep()": lambda: step(sleep(1)),
    "sleep_until()": lambda: step(sleep_until(1)),
    "sleep_forever()": lambda: step(sleep_forever()),
    "checkpoint()": lambda: step(checkpoint()),
    "shield()": lambda: step(shield(checkpoint())),
}
each_call: pytest.MarkDecorator = pytest.mark.parametrize("call", CALLS)
each_plain_call: pytest.MarkDecorator = pytest.mark.parametrize("call", list(CALLS)[:6])
each_that_a_thread_inherits: pytest.MarkDecorator = pytest.mark.parametrize("inherited", ["asyncio", "trio"])


def in_thread(call: Callable[[], T]) -> T:
    """Give what `call()` gives in another thread."""
    results: list[T] = []
    thread = Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    [result] = results
    return result


def with_inherited(library: str, call: Callable[[], T]) -> T:
    """Give what `call()` gives in a context in which sniffio's variable has been set."""

    def set_and_call() -> T:
        sniffio.current_async_library_cvar.set(library)
        return call()

    return copy_context().run(set_and_call)


# Ways to have something called by a loop of asyncio, in no task. Each returns what undoes it.


def soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    return loop.call_soon(call).cancel


def later(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    return loop.call_later(0, call).cancel


def from_a_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    in_thread(lambda: loop.call_soon_threadsafe(call))
    return lambda: None


def when_a_future_is_done(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    future: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(lambda _: call())
    future.set_result(None)
    return future.cancel


def skip_where_trio_calls_readers() -> None:
    if asyncio_inside_trio():
        pytest.skip("trio-asyncio calls readers and protocols in a task of trio, and tells sniffio so")


def on_input(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    skip_where_trio_calls_readers()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"x")

    def read() -> None:
        ours.recv(1)
        call()

    loop.add_reader(ours, read)

    def undo() -> None:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    return undo


def on_a_signal(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], object]:
    if not hasattr(signal, "SIGUSR1"):
        pytest.skip("this system has no SIGUSR1")
    loop.add_signal_handler(signal.SIGUSR1, call)
    os.kill(os.getpid(), signal.SIGUSR1)
    return lambda: loop.remove_signal_handler(signal.SIGUSR1)


# D1: the backend is found through sniffio when a call needs it


@rule("D1")
async def test_the_backend_is_the_one_for_the_library_that_runs(host: Host) -> None:
    assert current_backend() == host.backend == sniffio.current_async_library()


@rule("D1")
async def test_every_call_asks_sniffio_anew(host: Host) -> None:
    assert current_backend() == host.backend
    with sniffio_says("curio"), pytest.raises(UnsupportedBackend):
        current_backend()
    assert current_backend() == host.backend


@rule("D1", host="asyncio")  # hosts that are made of two libraries tell sniffio which one runs
async def test_sniffio_may_be_told_of_another_library_in_a_task_of_asyncio() -> None:
    token = sniffio.current_async_library_cvar.set("curio")
    try:
        with pytest.raises(UnsupportedBackend, match="'curio'"):
            current_backend()
    finally:
        sniffio.current_async_library_cvar.reset(token)


@rule("D1")
@each_plain_call
async def test_calls_that_do_not_wait_work_in_a_callback_of_the_loop(host: Host, call: str) -> None:
    results: list[object] = []

    def callback() -> None:
        try:
            results.append((current_backend(), CALLS[call]()))
        except BaseException as error:
            results.append(error)

    if host.backend == "trio":
        from trio.lowlevel import current_trio_token

        current_trio_token().run_sync_soon(callback)
    else:
        asyncio.get_running_loop().call_soon(callback)
    await until(lambda: results)
    assert isinstance(results[0], tuple), results
    assert results[0][0] == host.backend


@rule("D1", only="asyncio")
@pytest.mark.parametrize(
    "schedule",
    [soon, later, from_a_thread, when_a_future_is_done, on_input, on_a_signal],
    ids=lambda schedule: schedule.__name__,
)
async def test_the_backend_is_found_in_every_kind_of_callback(
    schedule: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Callable[[], object]],
) -> None:
    results: list[object] = []

    def callback() -> None:
        try:
            results.append((current_backend(), current_deadline(), current_time() >= 0))
        except BaseException as error:
            results.append(error)

    undo = schedule(asyncio.get_running_loop(), callback)
    try:
        await until(lambda: results)
    finally:
        undo()
    assert results == [("asyncio", inf, True)]


@rule("D1", only="asyncio")
async def test_the_backend_is_found_in_a_protocol() -> None:
    skip_where_trio_calls_readers()
    results: list[object] = []

    class Protocol(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            try:
                results.append((current_backend(), data))
            except BaseException as error:
                results.append(error)

    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(Protocol, sock=ours)
        theirs.send(b"x")
        await until(lambda: results)
        transport.close()
        await asyncio.sleep(0)
    assert results == [("asyncio", b"x")]


@rule("D1")
def test_one_process_runs_one_loop_after_another(host: Host) -> None:
    async def use() -> str:
        async with task_group() as tg:
            tg.create_task(checkpoint())
        return current_backend()

    async def on_asyncio() -> str:
        return await use()

    assert host.run(use) == host.backend
    assert asyncio.run(on_asyncio()) == "asyncio"
    assert host.run(use) == host.backend


# D2: a call that no backend can serve says so


@rule("D2")
@each_call
def test_outside_any_loop_the_error_names_the_call(call: str) -> None:
    with pytest.raises(NoAsyncContext) as caught:
        CALLS[call]()
    assert str(caught.value).startswith(f"{call} was called outside of any async context")


@rule("D2")
def test_outside_any_loop_the_error_tells_what_to_do() -> None:
    with pytest.raises(NoAsyncContext, match=r"call it in a coroutine that asyncio\.run\(\), trio\.run\(\)"):
        task_group()


@rule("D2")
def test_after_a_loop_has_ended_there_is_no_async_context(host: Host) -> None:
    host.run(checkpoint)
    with pytest.raises(NoAsyncContext):
        current_time()


@rule("D2")
async def test_a_thread_of_its_own_is_no_async_context() -> None:
    def call() -> str:
        with pytest.raises(NoAsyncContext) as caught:
            current_time()
        return str(caught.value)

    assert in_thread(call).startswith("current_time()")


@rule("D2")
@each_call
@each_that_a_thread_inherits
async def test_a_thread_that_inherited_the_context_is_no_async_context(call: str, inherited: str) -> None:
    def perform() -> str:
        with pytest.raises(NoAsyncContext) as caught:
            with_inherited(inherited, CALLS[call])
        return str(caught.value)

    assert in_thread(perform).startswith(f"{call} was called outside of any async context")


@rule("D2")
async def test_a_worker_thread_of_the_host_is_no_async_context(host: Host) -> None:
    def call() -> str:
        with pytest.raises(NoAsyncContext):
            current_time()
        with pytest.raises(NoAsyncContext) as caught:
            task_group()
        return str(caught.value)

    if host.backend == "trio":
        from trio.to_thread import run_sync

        said = await run_sync(call)
    else:
        said = await asyncio.to_thread(call)
    assert said.startswith("task_group()")


@rule("D2")
@pytest.mark.parametrize(("library", "error"), [(None, NoAsyncContext), ("curio", UnsupportedBackend)])
def test_the_error_shows_no_error_of_the_search(library: str | None, error: type[Exception]) -> None:
    with sniffio_says(library):
        for call in CALLS.values():
            with pytest.raises(error) as caught:
                call()
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None


@rule("D2")
@each_call
async def test_under_an_unknown_library_the_error_names_the_call_and_the_library(call: str) -> None:
    with sniffio_says("curio"), pytest.raises(UnsupportedBackend) as caught:
        CALLS[call]()
    assert str(caught.value).startswith(f"{call} was called under the async library 'curio'")


@rule("D2")
async def test_under_an_unknown_library_the_error_names_the_backends_there_are() -> None:
    with (
        sniffio_says("curio"),
        pytest.raises(UnsupportedBackend, match="there are backends for .*asyncio.*trio"),
    ):
        task_group()


@rule("D2")
async def test_under_an_unknown_library_the_error_tells_how_to_add_a_backend() -> None:
    with (
        sniffio_says("curio"),
        pytest.raises(UnsupportedBackend, match=r"'curio' in the group 'interloop\.backends'"),
    ):
        task_group()


@rule("D2")
def test_both_errors_are_runtime_errors() -> None:
    assert issubclass(NoAsyncContext, RuntimeError)
    assert issubclass(UnsupportedBackend, RuntimeError)


@rule("D2")
@pytest.mark.parametrize("library", [None, "curio"])
def test_a_shield_that_no_backend_serves_closes_its_coroutine(library: str | None) -> None:
    coro = checkpoint()
    with sniffio_says(library), pytest.raises((NoAsyncContext, UnsupportedBackend)):
        step(shield(coro))
    assert getcoroutinestate(coro) == CORO_CLOSED


# D3: a further backend is an installed package with an entry point


@rule("D3")
async def test_a_package_with_an_entry_point_adds_a_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = f"library_of_{tmp_path.name}"
    package = tmp_path / f"{library}_backend.py"
    package.write_text("def current_time():\n    return 42.0\n")
    metadata = tmp_path / f"{library}-1.0.dist-info"
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 1.0\n")
    metadata.joinpath("entry_points.txt").write_text(f"[interloop.backends]\n{library} = {package.stem}\n")
    monkeypatch.syspath_prepend(tmp_path)

    with sniffio_says(library):
        assert current_backend() == library
        assert current_time() == 42.0
    del sys.modules[package.stem]


@rule("D3")
async def test_the_error_under_an_unknown_library_names_added_backends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "added-1.0.dist-info"
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    metadata.joinpath("entry_points.txt").write_text("[interloop.backends]\nadded_library = added\n")
    monkeypatch.syspath_prepend(tmp_path)

    with sniffio_says("curio"), pytest.raises(UnsupportedBackend, match="added_library"):
        task_group()


# D4: two loops in two threads do not see each other


@rule("D4")
async def test_a_loop_in_another_thread_has_no_deadline_of_this_one(host: Host, tick: float) -> None:
    async def other() -> float:
        return current_deadline()

    with deadline(1000 * tick):
        assert in_thread(lambda: host.run(other)) == inf
        assert current_deadline() < inf


@rule("D4")
async def test_a_cancelled_group_does_not_reach_a_loop_in_another_thread(host: Host) -> None:
    async def other() -> str:
        async with task_group() as tg:
            tg.create_task(checkpoint())
            await checkpoint()
        return "undisturbed"

    async with task_group() as tg:
        tg.cancel()
        assert in_thread(lambda: host.run(other)) == "undisturbed"


@rule("D4")
async def test_a_loop_in_another_thread_leaves_the_scopes_of_this_one(host: Host, tick: float) -> None:
    ended: list[str] = []

    async def other() -> None:
        async with task_group() as tg:
            tg.create_task(sleep_forever())
            tg.cancel()

    async def child() -> None:
        await sleep(tick)
        ended.append("child")

    async with task_group() as tg:
        tg.create_task(child())
        in_thread(lambda: host.run(other))
    assert ended == ["child"]


@rule("D4")
async def test_another_library_may_run_in_another_thread(host: Host) -> None:
    async def other() -> str:
        await checkpoint()
        return current_backend()

    assert in_thread(lambda: asyncio.run(other())) == "asyncio"
    assert current_backend() == host.backend


@rule("D4")
@each_that_a_thread_inherits
async def test_a_loop_in_a_thread_that_inherited_the_context_is_found(host: Host, inherited: str) -> None:
    runs: dict[str, Callable[[Callable[[], Coroutine[Any, Any, str]]], str]]
    runs = {"asyncio": lambda main: asyncio.run(main())}
    if host.backend == "trio" or inherited == "trio":
        runs["trio"] = pytest.importorskip("trio").run

    async def other() -> str:
        async with task_group() as tg:
            tg.create_task(checkpoint())
        return current_backend()

    for library, run in runs.items():
        assert in_thread(lambda run=run: with_inherited(inherited, lambda: run(other))) == library  # type: ignore[misc]
    assert current_backend() == host.backend
