"""Deadlines leave nothing in the loop (L10), odd loops and tasks serve as well (D1), no cycles (G11)."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar, copy_context
from math import inf
from typing import Any, TypeAlias

import pytest

from interloop import (
    Deadline,
    Task,
    TaskGroup,
    TaskStatus,
    as_completed,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    first,
    gather,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import asyncio_inside_trio, leaves, note_the_end, settle, until
from interloop.testing import Host, VirtualTimeLoop

DAY = 86_400.0
Main: TypeAlias = Callable[[], Awaitable[None]]
Callback: TypeAlias = Callable[..., object]


def run(main: Main, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def watched() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        await main()
        assert reports == []

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(watched())


def uvloop_loop(base: str = "Loop") -> Any:
    uvloop = pytest.importorskip("uvloop")
    return uvloop.Loop if base == "Loop" else uvloop.loop.Loop


# L10: deadlines leave nothing in the loop


class Watching:
    """Mixed into a loop: knows which of its timers are to come, and how many callbacks were scheduled."""

    def __init__(self) -> None:
        self.timers: list[asyncio.TimerHandle] = []
        self.rung: set[int] = set()
        self.soon: int = 0
        super().__init__()

    def watched(self, schedule: Any, when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        number = len(self.timers)

        def ring() -> None:
            self.rung.add(number)
            callback(*args)

        timer = schedule(when, ring, **kwargs)
        self.timers.append(timer)
        return timer

    def call_soon(self, *args: Any, **kwargs: Any) -> Any:
        self.soon += 1
        return super().call_soon(*args, **kwargs)  # type: ignore[misc]

    def left(self) -> list[asyncio.TimerHandle]:
        return [
            timer
            for number, timer in enumerate(self.timers)
            if number not in self.rung and not timer.cancelled()
        ]


class WatchingLoop(Watching, VirtualTimeLoop):  # type: ignore[misc]
    # asyncio's call_later() calls this too
    def call_at(self, when: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return self.watched(super().call_at, when, callback, *args, **kwargs)


def watching_uvloop() -> Any:
    class WatchingUvloop(Watching, uvloop_loop()):  # type: ignore[misc]
        # uvloop's call_at() calls this too
        def call_later(self, *args: Any, **kwargs: Any) -> Any:
            return self.watched(super().call_later, *args, **kwargs)

    return WatchingUvloop()


async def one_that_is_left_in_time() -> None:
    with deadline(1000):
        await checkpoint()


async def one_without_a_checkpoint() -> None:
    with deadline(1000):
        pass


async def one_after_another() -> None:
    for delay in (0.5, 3600, 10):
        async with deadline(delay):
            await checkpoint()


async def nested_ones() -> None:
    with deadline(1000), deadline(2000), deadline(500), deadline(3000):
        await checkpoint()


async def those_of_several_tasks() -> None:
    async def child(number: int) -> None:
        with deadline(1000 - number):
            for _ in range(number):
                await checkpoint()

    async with task_group() as tg:
        for number in range(20):
            tg.create_task(child(number))


async def one_that_expired() -> None:
    with deadline(0.01, suppress=True):
        await sleep_forever()


async def one_that_expired_inside_another() -> None:
    with deadline(1000), deadline(0.01, suppress=True):
        await sleep_forever()


async def one_that_was_moved() -> None:
    with deadline(1000) as limit:
        for delay in (2000, 500):
            limit.reschedule(current_time() + delay)
            await checkpoint()


async def one_without_a_time_any_more() -> None:
    with deadline(1000) as limit:
        limit.reschedule(None)
        await checkpoint()


async def one_whose_task_fails() -> None:
    with suppress(OSError), deadline(1000):
        raise OSError


async def those_of_cancelled_children() -> None:
    async def child() -> None:
        with deadline(1000):
            await sleep_forever()

    async with task_group() as tg:
        for _ in range(3):
            tg.create_task(child())
        await checkpoint()
        tg.cancel()


async def a_shield_with_a_timeout() -> None:
    await shield(checkpoint(), timeout=1000)


async def ones_left_out_of_order() -> None:
    outer, inner = deadline(1000), deadline(500)
    outer.__enter__()
    inner.__enter__()
    with suppress(RuntimeError):
        outer.__exit__(None, None, None)
    with suppress(RuntimeError):
        inner.__exit__(None, None, None)


@rule("L10", host="asyncio")
@pytest.mark.parametrize("make_loop", [WatchingLoop, watching_uvloop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "use",
    [
        one_that_is_left_in_time,
        one_without_a_checkpoint,
        one_after_another,
        nested_ones,
        those_of_several_tasks,
        one_that_expired,
        one_that_expired_inside_another,
        one_that_was_moved,
        one_without_a_time_any_more,
        one_whose_task_fails,
        those_of_cancelled_children,
        a_shield_with_a_timeout,
        ones_left_out_of_order,
    ],
    ids=lambda use: use.__name__,
)
def test_when_the_last_deadline_was_left_no_timer_is(use: Main, make_loop: Callable[[], Any]) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for _ in range(2):
            await use()
            for _ in range(3):
                await asyncio.sleep(0)
            assert loop.left() == []

    run(main, make_loop)


@rule("L10", host="asyncio")
def test_the_loop_comes_to_rest_when_the_last_deadline_was_left() -> None:
    async def main() -> None:
        with deadline(3600):
            await checkpoint()
        began = current_time()
        waiter = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(1, waiter.set_result, None)
        await waiter
        assert current_time() - began == 1
        scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert all(timer.cancelled() for timer in scheduled)

    run(main, VirtualTimeLoop)


@rule("L10", host="asyncio")
def test_looking_for_what_is_left_costs_no_callback_for_each_deadline() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WatchingLoop)
        before = loop.soon
        for _ in range(1000):
            with deadline(1000):
                pass
        assert loop.soon - before <= 5
        assert len(loop.timers) <= 5

    run(main, WatchingLoop)


@rule("L10", host="asyncio")
@pytest.mark.parametrize("later", [0.5, 3.0], ids=["an-earlier-one", "a-later-one"])
@pytest.mark.parametrize("others_open", [False, True])
@pytest.mark.parametrize("by_time", [False, True])
def test_a_timer_that_somebody_else_cancels_kills_no_deadline(
    by_time: bool, later: float, others_open: bool
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WatchingLoop)
        with deadline(2, suppress=True) as before:
            if not others_open:
                before.reschedule(None)
            for timer in loop.timers:
                timer.cancel()
            with deadline(at=later, suppress=True) if by_time else deadline(later, suppress=True) as limit:
                await asyncio.sleep(10)
            assert limit.expired() or before.expired()
        assert current_time() == (min(2, later) if others_open else later)
        began = current_time()
        with deadline(1, suppress=True) as after:
            await asyncio.sleep(10)
        assert after.expired()
        assert current_time() - began == 1

    run(main, WatchingLoop)


@rule("L10", host="asyncio")
@pytest.mark.parametrize("later", [0.5, 3.0, 7.0])
def test_a_timer_that_is_cancelled_in_the_turn_of_the_last_deadline_kills_no_next_one(later: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WatchingLoop)
        with deadline(2):
            pass
        for timer in loop.timers:
            timer.cancel()
        began = current_time()
        with deadline(later, suppress=True) as limit:
            await asyncio.sleep(10)
        assert limit.expired()
        assert current_time() - began == later

    run(main, WatchingLoop)


class StrictAboutThePast(VirtualTimeLoop):
    """Refuses times in the past, as Pyodide's loop does; its clock goes on whenever it is read."""

    def time(self) -> float:
        self._now += 1e-6
        return self._now

    def call_at(self, when: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if when < self.time():
            raise ValueError("in the past")
        return super().call_at(when, callback, *args, **kwargs)

    def call_later(self, delay: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if delay < 0:
            raise ValueError("in the past")
        return super().call_at(self.time() + delay, callback, *args, **kwargs)


@rule("L10", host="asyncio")
def test_deadlines_microseconds_apart_all_expire_on_a_loop_that_refuses_the_past() -> None:
    async def limited(delay: float) -> None:
        with deadline(delay, suppress=True) as limit:
            await sleep(3)
        assert limit.expired()

    async def main() -> None:
        for _ in range(3):
            began = current_time()
            async with task_group() as tg:
                for number in range(50):
                    tg.create_task(limited(0.1 + number * 1e-6))
            assert current_time() - began < 1
        for delay in (1e-9, 1e-6, 2e-6, 5e-6):
            await limited(delay)
        with deadline(at=current_time() + 1e-6, suppress=True) as limit:
            await sleep(1)
        assert limit.expired()
        with deadline(1, suppress=True) as limit:
            limit.reschedule(current_time() + 1e-6)
            await sleep(1)
        assert limit.expired()
        async with task_group():
            pass
        assert current_deadline() == inf

    run(main, StrictAboutThePast)


def near_only(error: type[Exception]) -> type[VirtualTimeLoop]:
    class NearOnly(VirtualTimeLoop):
        """Refuses times that are too far away, as Qt's loops do: milliseconds in 32 bits."""

        def call_at(self, when: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            if not when - self.time() < 2**31 / 1000:
                raise error("too far")
            return super().call_at(when, callback, *args, **kwargs)

        def call_later(self, delay: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            return self.call_at(self.time() + delay, callback, *args, **kwargs)

    return NearOnly


near_loops: pytest.MarkDecorator = pytest.mark.parametrize(
    "make_loop", [near_only(OverflowError), near_only(ValueError)], ids=["OverflowError", "ValueError"]
)


@rule("L10", host="asyncio")
@near_loops
@pytest.mark.parametrize("delay", [30 * DAY, 1e12, 1e300], ids=["30-days", "ages", "beyond"])
def test_a_time_that_is_too_far_away_for_the_loop_harms_nobody(delay: float, make_loop: Any) -> None:
    async def expire(seconds: float) -> None:
        began = current_time()
        with deadline(seconds, suppress=True):
            await sleep_forever()
        assert current_time() - began == pytest.approx(seconds)

    async def main() -> None:
        with deadline(delay) as far:
            await expire(1)
            far.reschedule(current_time() + delay)
            async with task_group() as tg:
                tg.create_task(expire(2))
                tg.create_task(expire(1))
        assert not far.expired()
        assert current_deadline() == inf
        with deadline(5) as limit:
            limit.reschedule(current_time() + delay)
            await expire(1)
            limit.reschedule(current_time() + 5)
            await expire(1)
        await expire(1)

    run(main, make_loop)


@rule("L10", host="asyncio")
@near_loops
def test_a_deadline_that_is_too_far_away_for_the_loop_expires_all_the_same(make_loop: Any) -> None:
    async def main() -> None:
        with deadline(60 * DAY, suppress=True) as limit:
            for _ in range(100):
                await asyncio.sleep(DAY)
        assert limit.expired()
        assert current_time() == pytest.approx(60 * DAY)

    run(main, make_loop)


class Timeless(VirtualTimeLoop):
    """Refuses every timer, or does not tell the time, as long as `refuses` says so."""

    refuses: str | None = None

    def call_at(self, when: float, callback: Callback, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if self.refuses == "timers":
            raise NotImplementedError("no timers")
        return super().call_at(when, callback, *args, **kwargs)

    def time(self) -> float:
        if self.refuses == "the time":
            raise NotImplementedError("no clock")
        return super().time()


@rule("L10", "L6", host="asyncio")
@pytest.mark.parametrize("refused", ["timers", "the time"])
@pytest.mark.parametrize("limit", [lambda: deadline(1), lambda: deadline(at=1000)])
def test_a_deadline_for_which_there_is_no_timer_is_not_half_entered(
    limit: Callable[[], Deadline], refused: str
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Timeless)
        async with task_group():  # which is not left while another scope is open in it
            loop.refuses = refused
            with suppress(NotImplementedError), limit():
                pass
            loop.refuses = None
        assert current_deadline() == inf
        async with task_group() as tg:
            task = tg.create_task(sleep(1))
            with deadline(0.5, suppress=True) as next_limit:
                await sleep_forever()
        assert next_limit.expired()
        assert task.done()
        assert current_deadline() == inf
        await sleep(3)

    run(main, Timeless)


@rule("L10", "L8", host="asyncio")
@pytest.mark.parametrize("refused", ["timers", "the time"])
def test_a_deadline_that_cannot_be_moved_is_left_as_any_other(refused: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Timeless)
        with pytest.raises(NotImplementedError):
            with deadline(1) as limit:
                loop.refuses = refused
                try:
                    limit.reschedule(0.5)
                finally:
                    loop.refuses = None
        assert current_deadline() == inf
        await sleep(3)

    run(main, Timeless)


# D1: loops and tasks of another class


class RefusingAttributes(VirtualTimeLoop):
    """Has the attributes that it was made with, and no others, as a class in C."""

    _complete = False

    def __init__(self) -> None:
        super().__init__()
        self._complete = True

    def __setattr__(self, name: str, value: object) -> None:
        if self._complete and not hasattr(self, name) and name != "_old_agen_hooks":  # asyncio's own
            raise AttributeError(f"no attribute {name!r}")
        super().__setattr__(name, value)


class AnsweringToAll(VirtualTimeLoop):
    """Has every attribute that it is asked for, as a proxy or a mock does."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


class ForgettingAttributes(RefusingAttributes):
    """Takes every attribute and keeps none but its own, as a stub does."""

    def __setattr__(self, name: str, value: object) -> None:
        with suppress(AttributeError):
            super().__setattr__(name, value)


class OtherTask(asyncio.Task[Any]):
    """A task of another class, which takes more of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.of_its_own = True


_PyTask: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]


def with_tasks_of(cls: Any) -> Callable[[], asyncio.AbstractEventLoop]:
    def make_loop() -> asyncio.AbstractEventLoop:
        loop = VirtualTimeLoop()
        loop.set_task_factory(lambda loop, coro, **kwargs: cls(coro, loop=loop, **kwargs))
        return loop

    return make_loop


def with_eager_tasks_of(cls: Any) -> Callable[[], asyncio.AbstractEventLoop]:
    def make_loop() -> asyncio.AbstractEventLoop:
        if sys.version_info < (3, 12):
            pytest.skip("eager tasks need Python 3.12")
        loop = VirtualTimeLoop()
        loop.set_task_factory(asyncio.create_eager_task_factory(cls))
        return loop

    return make_loop


ODD_LOOPS: dict[str, Callable[[], Any]] = {
    "uvloop-in-c": lambda: uvloop_loop("loop.Loop")(),
    "refusing-attributes": RefusingAttributes,
    "forgetting-attributes": ForgettingAttributes,
    "answering-to-all": AnsweringToAll,
    "strict-about-the-past": StrictAboutThePast,
    "near-only": near_only(OverflowError),
    "other-tasks": with_tasks_of(OtherTask),
    "python-tasks": with_tasks_of(_PyTask),
    "eager-other-tasks": with_eager_tasks_of(OtherTask),
    "eager-python-tasks": with_eager_tasks_of(_PyTask),
}


@rule("D1", host="asyncio")
@pytest.mark.parametrize("loop", ODD_LOOPS)
@pytest.mark.parametrize("opened_first", [task_group, lambda: deadline(10)], ids=["group", "deadline"])
def test_everything_works_on_a_loop_of_another_kind(opened_first: Callable[[], Any], loop: str) -> None:
    if loop.endswith("python-tasks") and sys.version_info >= (3, 14) and sys.implementation.name == "cpython":
        pytest.skip("asyncio itself does not know of a task written in Python that it is the current one")

    async def give(value: int) -> int:
        await sleep(0.01)
        return value

    async def ready(*, task_status: TaskStatus[int]) -> None:
        task_status.started(await give(1))
        await sleep_forever()

    async def main() -> None:
        log: list[str] = []
        async with opened_first():
            pass
        async with task_group(limit=2) as tg:
            tasks = [tg.create_task(give(number)) for number in range(4)]
            tg.create_background_task(note_the_end(log, "background"))
            tasks[3].cancel()
        assert [task.result() for task in tasks[:3]] == [0, 1, 2]
        assert tasks[3].cancelled()
        async with task_group() as tg:
            assert await tg.start(ready) == 1
            assert await tg.create_task(give(2)) == 2
            tg.create_task(note_the_end(log, "child"))
            await settle()
            tg.cancel()
        with pytest.raises(ExceptionGroup):
            async with deadline(10), task_group() as tg:
                tg.create_task(note_the_end(log, "sibling"))
                tg.create_task(_fail())
        assert log == ["background", "child", "sibling"]
        for outer, inner in ((0.01, 10), (10, 0.01)):
            with pytest.raises(TimeoutError):
                async with deadline(outer) as around, deadline(inner) as inside:
                    assert current_deadline() == min(around.when() or 0, inside.when() or 0)
                    await shield(sleep(0.02))
                    await sleep_forever()
        assert await gather(give(1), give(2), limit=1) == (1, 2)
        assert await first(give(1), sleep_forever()) == 1
        async with as_completed([give(1), give(2)], limit=1) as results:
            assert [result async for result in results] == [1, 2]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main, ODD_LOOPS[loop])


async def _fail() -> None:
    await checkpoint()
    raise OSError


class NamingLoop(VirtualTimeLoop):
    """Notes what a task is to be made with, and gives tasks names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Any] = {}

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        self.given = kwargs
        task = super().create_task(coro, **kwargs)
        task.set_name("named by the loop")
        return task


def plain_task(loop: Any, coro: Any) -> Any:
    return asyncio.Task(coro, loop=loop)


def task_in_a_context(loop: Any, coro: Any, context: Any = None) -> Any:
    return asyncio.Task(coro, loop=loop, context=context)


def task_with_a_name(loop: Any, coro: Any, name: Any = None) -> Any:
    return asyncio.Task(coro, loop=loop, name=name)


def task_with_all(loop: Any, coro: Any, **kwargs: Any) -> Any:
    return asyncio.Task(coro, loop=loop, **kwargs)


@rule("C7", "G10", host="asyncio")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("in_context", [False, True])
@pytest.mark.parametrize(
    ("factory", "takes"),
    [
        (plain_task, set()),
        (task_in_a_context, {"context"}),
        (task_with_a_name, {"name"}),
        (task_with_all, {"context", "name"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_loop_with_a_task_factory_is_given_what_that_takes_and_the_rest_is_done_without_it(
    factory: Any, takes: set[str], named: bool, in_context: bool
) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="of the caller")

    async def child() -> str:
        return variable.get()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NamingLoop)
        options: dict[str, Any] = {"name": "given"} if named else {}
        if in_context:
            options["context"] = context = copy_context()
            context.run(variable.set, "given")
        async with task_group() as tg:
            loop.set_task_factory(factory)
            task = tg.create_task(child(), **options)
            loop.set_task_factory(None)
            assert loop.given == {name: value for name, value in options.items() if name in takes}
            assert task.get_name() == ("given" if named and "name" not in takes else "named by the loop")
        assert task.result() == ("given" if in_context else "of the caller")

    run(main, NamingLoop)


@rule("D4", host="asyncio")
@pytest.mark.parametrize("loop", ["uvloop-in-c", "refusing-attributes", "forgetting-attributes"])
def test_a_loop_that_takes_no_attributes_shares_nothing_with_the_next_one(loop: str) -> None:
    async def main() -> None:
        assert current_deadline() == inf
        deadline(0.01).__enter__()  # and never left
        await checkpoint()

    for _ in range(5):
        run(main, ODD_LOOPS[loop])


# G11: no reference cycles


class Payload:
    """Something that can be watched."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Without the garbage collector: what is freed is freed by its reference count, at once."""
    gc.disable()
    yield
    gc.enable()


def count(alive: weakref.WeakSet[Any]) -> int:
    # see the function of that name in test_groups.py
    if sys.implementation.name != "cpython" or asyncio_inside_trio():
        for _ in range(20):
            gc.collect()
    return len(alive)


def watched(alive: weakref.WeakSet[Any]) -> Payload:
    payload = Payload()
    alive.add(payload)
    return payload


@rule("G11", "L1")
@pytest.mark.usefixtures("no_collection")
async def test_handlers_that_timed_out_are_freed(tick: float) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def handle(payload: Payload) -> None:
        with deadline(tick):
            await sleep_forever()

    errors: list[int] = []
    try:
        async with task_group(defer_errors=True) as tg:
            for _ in range(10):
                tg.create_task(handle(watched(alive)))
    except* TimeoutError as group:
        errors.append(len(group.exceptions))
    await checkpoint()
    assert errors == [10]
    assert count(alive) == 0


@rule("G11", "L1")
@pytest.mark.usefixtures("no_collection")
async def test_a_handler_that_caught_its_own_timeout_is_freed(tick: float) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def handle(payload: Payload) -> None:
        with suppress(TimeoutError):
            async with deadline(tick):
                await sleep_forever()

    async with task_group() as tg:
        for _ in range(10):
            tg.create_task(handle(watched(alive)))
        await sleep(2 * tick)
        assert count(alive) == 0


async def run_natively(f: Callable[[], Awaitable[None]]) -> None:
    """In a task that is a child of nobody's here."""
    if current_backend() == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(f)
    else:

        async def native() -> None:
            await f()

        await asyncio.get_running_loop().create_task(native())


@rule("L6", "G11")
async def test_native_tasks_that_end_with_a_deadline_open_do_not_pile_up() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def end_with_a_deadline_open() -> None:
        limit = deadline(None)
        alive.add(limit)
        limit.__enter__()

    for _ in range(1000):
        await run_natively(end_with_a_deadline_open)
    gc.collect()
    assert len(alive) <= 300  # more than a few are looked through when they have doubled


@rule("G9", "G1", "C4")
@pytest.mark.parametrize("owner", ["child", "shield"])
async def test_what_has_just_ended_with_a_group_open_is_told_although_many_scopes_are_open(
    owner: str,
) -> None:
    log: list[str] = []

    async def end_with_a_group_open() -> None:
        inner = task_group()
        await inner.__aenter__()
        inner.create_task(note_the_end(log))
        await until(lambda: many)
        log.append("ended")

    async def enter_others() -> None:
        await until(lambda: log)
        for _ in range(5):
            async with deadline(None):
                await checkpoint()

    many: list[Task[None]] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(run_natively(enter_others))
            ending = end_with_a_group_open()
            tg.create_task(ending if owner == "child" else shield(ending))
            await settle()
            many += [tg.create_task(sleep_forever()) for _ in range(200)]
    assert [type(error) for error in leaves(caught.value)] == [RuntimeError]
    assert log == ["ended", "child"]


@rule("G11", "L6")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("kept", ["deadline", "group"])
async def test_a_scope_that_is_kept_after_it_was_left_keeps_none_of_those_around_it(kept: str) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    inner: Any = deadline(1000) if kept == "deadline" else task_group()

    async def use() -> None:
        limit = deadline(1000)
        alive.add(limit)
        with limit:
            async with task_group() as tg:
                alive.add(tg)
                async with inner:
                    await checkpoint()

    await use()
    await checkpoint()
    assert count(alive) == 0


async def fail_later() -> None:
    await checkpoint()  # the frames of an eager step know all that called it
    raise OSError


@rule("G11", "G9")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("inside", ["group", "deadline"])
async def test_a_block_that_was_left_out_of_order_is_freed(inside: str) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def misuse(payload: Payload) -> None:
        outer: TaskGroup = task_group()
        inner: Any = deadline(1000) if inside == "deadline" else task_group()
        await outer.__aenter__()
        await inner.__aenter__()
        await outer.__aexit__(None, None, None)

    with suppress(RuntimeError):
        await misuse(watched(alive))
    assert count(alive) == 0


@rule("G9", "G11", only="asyncio")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("left_open", [False, True])
async def test_a_group_that_failed_in_a_task_that_goes_on_is_freed(left_open: bool) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def use() -> None:
        outer, inner = task_group(), task_group(defer_errors=True)
        alive.add(inner)
        await outer.__aenter__()
        await inner.__aenter__()
        inner.create_task(fail_later())
        await settle()
        for scope in (outer,) if left_open else (inner, outer):
            with suppress(RuntimeError, ExceptionGroup):
                await scope.__aexit__(None, None, None)

    await use()
    assert count(alive) == 0


@rule("G11", "T4")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("how", ["group", "child", "deadline"])
async def test_a_cancelled_child_whose_handle_is_kept_is_freed(how: str, tick: float) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    handles: list[Task[None]] = []

    async def child(payload: Payload) -> None:
        await sleep_forever()

    with deadline(tick if how == "deadline" else None, suppress=True):
        async with task_group() as tg:
            handles += [tg.create_task(child(watched(alive))) for _ in range(3)]
            await settle()
            if how == "child":
                for handle in handles:
                    handle.cancel()
            elif how == "group":
                tg.cancel()
    assert all(handle.cancelled() for handle in handles)
    assert count(alive) == 0


async def in_a_group(*coros: Any) -> None:
    async with task_group() as tg:
        for coro in coros:
            tg.create_task(coro)


async def in_a_group_that_defers_errors(*coros: Any) -> None:
    async with task_group(limit=1, defer_errors=True) as tg:
        for coro in coros:
            tg.create_task(coro)


async def in_as_completed(*coros: Any) -> None:
    async with as_completed([*coros]) as results:
        async for _ in results:
            pass


@rule("G11", "G3")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "call",
    [in_a_group, in_a_group_that_defers_errors, gather, first, in_as_completed],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "later"])
async def test_children_that_fail_are_freed(call: Any, at_once: bool) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def child(payload: Payload) -> None:
        if not at_once:
            await checkpoint()
        raise OSError

    for _ in range(3):
        with suppress(ExceptionGroup):
            await call(child(watched(alive)), child(watched(alive)))
    await checkpoint()
    assert count(alive) == 0


@rule("G11", host="asyncio")
@pytest.mark.usefixtures("no_collection")
@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="without reference counts nothing goes at once"
)
@pytest.mark.parametrize("eager", [False, True])
def test_the_loop_goes_without_the_collector(eager: bool) -> None:
    if eager and sys.version_info < (3, 12):
        pytest.skip("eager tasks need Python 3.12")
    loops: list[weakref.ref[Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if eager:
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        loops.append(weakref.ref(loop))
        del loop
        async with task_group(limit=1) as tg:
            tg.create_task(sleep(0))
            tg.create_task(sleep(0))
            tg.create_background_task(sleep_forever())
        with deadline(1000):
            await shield(sleep(0))
        with deadline(0, suppress=True):
            await sleep_forever()
        await gather(sleep(0), sleep(0))

    asyncio.run(main())
    assert loops[0]() is None


@rule("G9", "L6", host="asyncio")
def test_what_is_thrown_away_with_its_loop_leaves_its_scopes_quietly() -> None:
    async def in_a_deadline() -> None:
        with deadline(1000):
            await sleep_forever()

    async def in_a_group() -> None:
        async with task_group():
            await sleep_forever()

    async def in_a_shield() -> None:
        await shield(in_a_deadline())

    loop = asyncio.new_event_loop()
    coros = [in_a_deadline(), in_a_group(), in_a_shield()]
    tasks = [loop.create_task(coro) for coro in coros]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for coro in coros:
        coro.close()  # raises what is raised inside
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


# C1: what an eager loop does as others do


@rule("C1", "G7")
async def test_a_checkpoint_after_the_group_was_cancelled_is_where_a_child_is_cancelled() -> None:
    steps: list[str] = []

    async def child(name: str) -> None:
        steps.append(name)
        await checkpoint()
        steps.append(f"{name} passed")

    async with task_group() as tg:
        tg.create_task(child("before"))
        tg.cancel()
        tg.create_task(child("after"))
    assert sorted(steps) == ["after", "before"]


@rule("C1", "T4")
async def test_a_checkpoint_after_its_own_cancellation_is_where_a_child_is_cancelled() -> None:
    steps: list[str] = []

    async def child() -> None:
        steps.append("started")
        await checkpoint()
        steps.append("passed")

    async with task_group() as tg:
        tg.create_task(child()).cancel()
    assert steps == ["started"]


# T5: a start that is cancelled leaves nothing behind


@rule("T5", "C2")
@pytest.mark.parametrize("delay", [0, 1], ids=["at-once", "in-the-same-turn"])
def test_a_start_that_is_cancelled_gives_the_value_or_leaves_no_child(
    delay: int, host: Host, tick: float
) -> None:
    async def main() -> None:
        log: list[str] = []

        async def serve(*, task_status: TaskStatus[str]) -> None:
            try:
                if delay:
                    await sleep(delay * tick)
                task_status.started("address")
                await sleep(3 * tick)
                log.append("ran on")
            except BaseException:
                log.append("cancelled")
                raise

        async with task_group() as tg:
            with deadline(delay * tick, suppress=True):
                try:
                    log.append(await tg.start(serve))
                finally:
                    log.append("start ended")
        assert log in (["cancelled", "start ended"], ["address", "start ended", "ran on"])

    for _ in range(20 if host.virtual else 3):  # trio decides by chance who runs first
        host.run(main)
