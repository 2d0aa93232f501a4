"""What the trio backend keeps of the scopes that are open in each task (`_trio.scopes`), and what it says."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from inspect import CORO_CLOSED, getcoroutinestate
from queue import SimpleQueue
from types import CoroutineType
from typing import Any

import pytest
import sniffio

from interloop import Deadline, TaskGroup, deadline, sleep_forever, task_group
from interloop.testing import wait_all_tasks_blocked

trio = pytest.importorskip("trio")

from interloop._trio import scopes  # noqa: E402  # where trio is missing this cannot be imported

OVER_100_TASKS = 1000


class Watched(Coroutine[Any, Any, None]):
    """A coroutine that counts how often somebody looks whether it has ended."""

    looks = 0

    def __init__(self, coro: CoroutineType[Any, Any, None]) -> None:
        self._coro = coro

    @property
    def cr_frame(self) -> object:
        Watched.looks += 1
        return self._coro.cr_frame

    def send(self, value: Any, /) -> Any:
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coro.__await__()


@pytest.fixture
def _as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "_many", scopes.FEW)
    scopes._forget_what_ended()


async def keep_a_deadline_open() -> None:
    with deadline(1000):
        await sleep_forever()


async def end_with_a_deadline_open() -> None:
    deadline(1000).__enter__()


@pytest.mark.usefixtures("_as_at_first")
def test_the_tasks_with_a_scope_open_are_not_looked_through_at_each_entry() -> None:
    looks: list[int] = []

    async def main(tasks: int) -> None:
        before = Watched.looks
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(lambda: Watched(keep_a_deadline_open()))
            await wait_all_tasks_blocked()
            looks.append(Watched.looks - before)
            nursery.cancel_scope.cancel()

    trio.run(main, scopes.FEW // 2)
    trio.run(main, OVER_100_TASKS)
    by_trio = looks[0] / (scopes.FEW // 2)
    assert looks[1] - by_trio * OVER_100_TASKS <= 3 * OVER_100_TASKS  # when they have doubled


@pytest.mark.usefixtures("_as_at_first")
def test_of_tasks_that_ended_with_a_scope_open_no_more_are_kept_than_there_are_others() -> None:
    alive = 150
    most = 0

    async def main() -> None:
        nonlocal most
        async with trio.open_nursery() as nursery:
            for _ in range(alive):
                nursery.start_soon(keep_a_deadline_open)
            await wait_all_tasks_blocked()
            for _ in range(OVER_100_TASKS):
                async with trio.open_nursery() as short:
                    short.start_soon(end_with_a_deadline_open)
                most = max(most, len(scopes.innermost))
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert alive < most <= 2 * (alive + 2)


def in_a_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, name="the-worker")
    thread.start()
    thread.join()


def refusal(limit: Deadline) -> str:
    try:
        if not limit.expired():
            limit.reschedule(None)
    except RuntimeError as error:
        return str(error)
    return "not refused"


async def from_a_thread(limit: Deadline) -> str:
    said: list[str] = []
    in_a_thread(lambda: said.append(refusal(limit)))
    return said[0]


async def from_another_run(limit: Deadline) -> str:
    async def main() -> None:
        said.append(refusal(limit))

    said: list[str] = []
    in_a_thread(lambda: trio.run(main))
    return said[0]


HOST: SimpleQueue[Callable[[], object]] = SimpleQueue()  # the simplest loop that trio can be a guest of


def run_as_guest(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    outcomes: list[Any] = []
    trio.lowlevel.start_guest_run(main, run_sync_soon_threadsafe=HOST.put, done_callback=outcomes.append)
    while not outcomes:
        HOST.get()()
    outcomes[0].unwrap()


async def from_the_loop_of_a_guest(limit: Deadline) -> str:
    said: list[str] = []
    called = trio.Event()

    def call() -> None:
        token.run_sync_soon(called.set)
        said.append(refusal(limit))

    token = trio.lowlevel.current_trio_token()
    HOST.put(call)
    await called.wait()
    return said[0]


@pytest.mark.parametrize(
    ("call", "here", "instead"),
    [
        (from_a_thread, "thread 'the-worker', where trio does not run", "trio.from_thread.run_sync()"),
        (from_another_run, "another run of trio in thread 'the-worker'", "trio.from_thread.run_sync()"),
        (
            from_the_loop_of_a_guest,
            f"the loop in thread {threading.main_thread().name!r} that trio is a guest of",
            "TrioToken.run_sync_soon()",
        ),
    ],
    ids=["thread", "run", "guest"],
)
def test_d5_a_call_from_elsewhere_is_told_where_it_comes_from(call: Any, here: str, instead: str) -> None:
    async def main() -> None:
        with deadline(1000) as limit:
            said = await call(limit)
            assert said == (
                f"reschedule() on {limit!r} from {here}: it belongs to a run of trio in thread "
                f"{threading.main_thread().name!r}; call it there, through {instead}"
            )

    run = run_as_guest if call is from_the_loop_of_a_guest else trio.run
    run(main)


def test_d5_a_child_cannot_be_created_from_the_loop_of_a_guest() -> None:
    async def main() -> None:
        called = trio.Event()
        said: list[str] = []

        def call() -> None:
            token.run_sync_soon(called.set)
            with pytest.raises(RuntimeError, match="that trio is a guest of") as caught:
                tg.create_task(trio.lowlevel.checkpoint())
            said.append(str(caught.value))

        token = trio.lowlevel.current_trio_token()
        async with task_group() as tg:
            HOST.put(call)
            await called.wait()
        assert said

    run_as_guest(main)


class Latecomer(trio.abc.Instrument):
    """Creates a child when the last one has ended, and the block that waited for it has not gone on yet."""

    def __init__(self, group: TaskGroup, last: trio.lowlevel.Task) -> None:
        self.group = group
        self.last = last
        self.coro = trio.lowlevel.checkpoint()
        self.said = ""

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if task is self.last:
            try:
                self.group.create_task(self.coro)
            except RuntimeError as refused:
                self.said = str(refused)


def test_g8_a_child_that_comes_when_the_last_one_has_ended_is_refused() -> None:
    async def main() -> None:
        async with task_group() as tg:
            last = tg.create_task(trio.lowlevel.checkpoint())
            late = Latecomer(tg, last.native)
            trio.lowlevel.add_instrument(late)
        assert "is finished" in late.said
        assert getcoroutinestate(late.coro) == CORO_CLOSED

    trio.run(main)


def test_g10_a_child_is_named_after_its_coroutine_of_whatever_class() -> None:
    async def main() -> None:
        coro = Watched(trio.lowlevel.checkpoint())
        coro.__qualname__ = "the name"  # type: ignore[attr-defined]
        async with task_group() as tg:
            child = tg.create_task(coro)
        assert child.get_name() == "the name"

    trio.run(main)


@contextmanager
def under(library: str | None) -> Iterator[None]:
    sniffio.thread_local.name = library
    yield
    sniffio.thread_local.name = None


@pytest.mark.parametrize("library", [None, "kazoo"])
@pytest.mark.parametrize("thread", ["the-worker", threading.main_thread().name])
def test_d5_a_call_after_the_run_is_told_so(thread: str, library: str | None) -> None:
    left_open: list[Deadline] = []

    async def leave_it_open() -> None:
        left_open.append(deadline(1000).__enter__())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_it_open)

    if thread == "the-worker":
        in_a_thread(lambda: trio.run(main))
        belongs_to = "a run of trio that is over"
    else:
        trio.run(main)
        belongs_to = f"a run of trio in thread {thread!r}"
    with under(library):
        said = refusal(left_open[0])
    assert "where trio does not run" in said
    assert f"it belongs to {belongs_to}; call" in said


@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="the recursion limit says nothing of the depth of its stack"
)
def test_c7_a_stack_that_is_full_where_a_deadline_is_left_is_told_as_such() -> None:
    outcomes: list[type[BaseException] | None] = []

    def leave_at(depth: int, limit: Deadline) -> None:
        if depth:
            leave_at(depth - 1, limit)
        else:
            limit.__exit__(None, None, None)

    async def main() -> None:
        for depth in range(sys.getrecursionlimit()):
            limit = deadline(1000)
            limit.__enter__()
            try:
                leave_at(depth, limit)
            except BaseException as error:
                outcomes.append(type(error))
                with suppress(RuntimeError):  # trio may have left it
                    limit.native.__exit__(None, None, None)
            else:
                outcomes.append(None)

    trio.run(main)
    assert outcomes[0] is None
    assert set(outcomes) == {None, RecursionError}
