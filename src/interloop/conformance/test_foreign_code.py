"""Chapter C, rule C7: foreign code that interloop calls may fail."""

# pyright: reportPossiblyUnboundVariable=false
# since pytest.raises() and suppress() might swallow what comes before a name is bound

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import CORO_CLOSED, getcoroutinestate
from math import inf
from types import coroutine
from typing import Any, ClassVar, NoReturn, TypeAlias
from weakref import WeakSet

import pytest

from interloop import (
    TaskFailed,
    TaskStatus,
    as_completed,
    checkpoint,
    current_deadline,
    current_time,
    deadline,
    first,
    gather,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    asyncio_inside_trio,
    clean_up,
    fail,
    leaves,
    needs_anyio,
    note_the_end,
    settle,
    until,
)


class Misbehaved(Exception):
    """What foreign code raises in these tests."""


def misbehave(*_: object, **__: object) -> NoReturn:
    raise Misbehaved


# what a subclass puts in their place may misbehave
_MEMBERS: Any = BaseExceptionGroup.exceptions
_CAUSE: Any = BaseException.__cause__
_CONTEXT: Any = BaseException.__context__


def nodes(error: BaseException) -> list[BaseException]:
    """The error, and if it is a group all groups and errors in it, at any depth."""
    found = [error]
    for node in found:
        if issubclass(type(node), BaseExceptionGroup):
            found += _MEMBERS.__get__(node)
    return found


def chain(error: BaseException) -> list[BaseException]:
    """The error, what is in it, and what it was raised from or in the place of, at any depth."""
    found = {id(error): error}
    pending = [error]
    while pending:
        link = pending.pop()
        for other in [*nodes(link), _CAUSE.__get__(link), _CONTEXT.__get__(link)]:
            if other is not None and id(other) not in found:
                found[id(other)] = other
                pending.append(other)
    return list(found.values())


def is_told(error: BaseException, caught: BaseException) -> bool:
    """Whether no error in `error` is lost: it is in what was caught, or the failure of its code is."""
    told = nodes(caught)
    if any(type(node) in (Misbehaved, TypeError) for node in told):
        return True
    errors = [node for node in nodes(error) if not issubclass(type(node), BaseExceptionGroup)]
    errors = [leaf for leaf in errors if not issubclass(type(leaf), get_cancelled_exc_class())]
    return all(any(error is node for node in told) for error in errors)


def told_plainly(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Have the test fail with a text: pytest shows what is in an error, and fails itself at odd ones."""

    @wraps(test)
    async def told(*args: Any, **kwargs: Any) -> None:
        said: list[str] = []
        try:
            await test(*args, **kwargs)
        except (GeneratorExit, get_cancelled_exc_class()):
            raise
        except BaseException as error:
            said = [
                f"{type(node).__name__}: {str(node) if type(node) is AssertionError else ''}"
                for node in nodes(error)
            ]
        assert not said, "\n".join(said)

    return told


async def caught_from(call: Awaitable[Any]) -> BaseException:
    try:
        await call
    except BaseException as error:
        return error
    raise AssertionError("no error came out")


@asynccontextmanager
async def innocents(tick: float) -> AsyncGenerator[None]:
    """Others beside the block, who wait for their deadlines to expire."""

    async def expire() -> bool:
        with deadline(tick, suppress=True) as limit:
            await sleep_forever()
        return limit.expired()

    async with task_group() as others:
        tasks = [others.create_task(expire()) for _ in range(2)]
        yield
        tasks.append(others.create_task(expire()))
    assert [task.result() for task in tasks] == [True] * 3


# Errors


def odd_error(**hooks: Any) -> Callable[[BaseException | None], BaseException]:
    cls = type("OddError", (Exception,), hooks)

    def make(_: BaseException | None) -> BaseException:
        error: BaseException = cls("odd")
        return error

    return make


def odd_group(**hooks: Any) -> Callable[[BaseException | None], BaseException]:
    """A group of an error and, where there is one, of the cancellation in whose place it is raised."""
    errors_only: type[Any] = type("OddGroup", (ExceptionGroup,), hooks)
    any_kind: type[Any] = type("OddBaseGroup", (BaseExceptionGroup,), hooks)

    def make(cancellation: BaseException | None) -> BaseException:
        error: BaseException
        if cancellation is None:
            error = errors_only("odd", [OSError()])
        else:
            error = any_kind("odd", [OSError(), cancellation])
        return error

    return make


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


def in_a_cycle(_: BaseException | None) -> BaseException:
    error, other = ValueError(), OSError()
    error.__context__, other.__context__ = other, error
    return error


def at_the_end_of_a_cycle(_: BaseException | None) -> BaseException:
    error = ValueError()
    error.__context__ = in_a_cycle(None)
    return error


DEPTH = 1500


def deep(cancellation: BaseException | None) -> BaseException:
    error: BaseException = OSError()
    if cancellation is not None:
        error = BaseExceptionGroup("", [error, cancellation])
    for _ in range(DEPTH):
        error = BaseExceptionGroup("", [error])
    return error


def equal(code: int) -> Any:
    def eq(self: Any, other: Any) -> bool:
        return bool(self.code == other.code)

    return odd_error(__eq__=eq, __hash__=None, code=code)


ODD: dict[str, Callable[[BaseException | None], BaseException]] = {
    "eq": odd_error(__eq__=misbehave, __ne__=misbehave, __hash__=misbehave),
    "eq-of-its-kind": equal(404),
    "repr": odd_error(__repr__=misbehave, __str__=misbehave),
    "class": odd_error(__class__=property(misbehave)),
    "context": odd_error(__context__=property(misbehave, misbehave)),
    "setattr": odd_error(__setattr__=misbehave),
    "bool": odd_error(__bool__=misbehave),
    "false": odd_error(__bool__=lambda self: False),
    "frozen": lambda _: Frozen(7),
    "cycle": in_a_cycle,
    "end-of-cycle": at_the_end_of_a_cycle,
    "group-split": odd_group(split=misbehave, subgroup=misbehave),
    "group-split-junk": odd_group(split=lambda self, condition: None),
    "group-derive": odd_group(derive=misbehave),
    "group-exceptions": odd_group(exceptions=property(misbehave)),
    "group-no-exceptions": odd_group(exceptions=()),
    "group-eq": odd_group(__eq__=misbehave, __hash__=misbehave),
    "group-class": odd_group(__class__=property(misbehave)),
    "group-false": odd_group(__bool__=lambda self: False),
    "deep": deep,
}
if sys.implementation.name == "pypy":
    # asyncio's tasks are written in Python there: they ask an error for its class, and hang if that fails
    del ODD["class"], ODD["group-class"]

Fail: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Fails with an odd error; where it stands it may wait for a cancellation first."""


async def in_a_child(fail: Fail, tick: float) -> None:
    async with task_group() as tg:
        tg.create_task(fail())
        tg.create_task(sleep_forever())
        await sleep_forever()


async def in_the_body(fail: Fail, tick: float) -> None:
    async with task_group() as tg:
        tg.create_task(sleep_forever())
        await checkpoint()
        await fail()


async def in_a_nested_group(fail: Fail, tick: float) -> None:
    async def child() -> None:
        async with task_group(), task_group() as inner:
            inner.create_task(fail())

    async with task_group() as tg:
        tg.create_task(child())
        tg.create_task(sleep_forever())


async def in_a_background_task(fail: Fail, tick: float) -> None:
    async with task_group() as tg:
        tg.create_background_task(fail())
        await sleep_forever()


async def deferred(fail: Fail, tick: float) -> None:
    ended: list[str] = []

    async def child(name: str) -> None:
        await checkpoint()
        ended.append(name)

    try:
        async with task_group(limit=1, defer_errors=True) as tg:
            tg.create_task(child("before"))
            tg.create_task(fail())
            tg.create_task(child("after"))
    except ExceptionGroup:
        assert ended == ["before", "after"]  # the slot was given back
        raise


async def awaited(fail: Fail, tick: float) -> None:
    async with task_group() as outer:
        inner = task_group(defer_errors=True)

        async def wait() -> None:
            with pytest.raises(TaskFailed) as caught:
                await task
            assert caught.value.__cause__ is task.exception()

        async with inner:
            task = inner.create_task(fail())
            outer.create_task(wait())
        await sleep_forever()


async def in_a_gather(fail: Fail, tick: float) -> None:
    await gather(sleep_forever(), fail(), sleep_forever(), limit=2)


async def in_as_completed(fail: Fail, tick: float) -> None:
    async with as_completed([fail(), sleep_forever()]) as results:
        async for _ in results:
            pass


async def of_all_in_first(fail: Fail, tick: float) -> None:
    await first(fail(), fail())


everywhere: pytest.MarkDecorator = pytest.mark.parametrize(
    "place",
    [
        in_a_child,
        in_the_body,
        in_a_nested_group,
        in_a_background_task,
        deferred,
        awaited,
        in_a_gather,
        in_as_completed,
        of_all_in_first,
    ],
    ids=lambda place: place.__name__,
)
with_every_odd_error: pytest.MarkDecorator = pytest.mark.parametrize("kind", ODD)


@rule("C7")
@everywhere
@with_every_odd_error
@told_plainly
async def test_an_odd_error_is_not_lost(
    kind: str, place: Callable[[Fail, float], Awaitable[None]], tick: float
) -> None:
    raised: list[BaseException] = []

    async def fail() -> None:
        await checkpoint()
        raised.append(ODD[kind](None))
        raise raised[-1]

    async with innocents(tick):
        caught = await caught_from(place(fail, tick))
        assert issubclass(type(caught), BaseExceptionGroup)
        for error in raised:
            assert is_told(error, caught)


# The same where it is raised in the place of a cancellation. Groups hold that as well.


async def when_the_group_is_cancelled(fail: Fail, tick: float) -> None:
    async with task_group() as tg:
        tg.create_task(fail())
        tg.create_task(sleep_forever())
        await sleep(tick)
        tg.cancel()


async def when_the_child_is_cancelled(fail: Fail, tick: float) -> None:
    async with task_group() as tg:
        task = tg.create_task(fail())
        await sleep(tick)
        task.cancel()
        await sleep_forever()


async def when_the_body_is_cancelled(fail: Fail, tick: float) -> None:
    async with task_group() as tg:

        async def cancel() -> None:
            await sleep(tick)
            tg.cancel()

        tg.create_task(cancel())
        await fail()


async def in_a_group_when_a_deadline_expires(fail: Fail, tick: float) -> None:
    with deadline(tick):
        async with task_group() as tg:
            tg.create_task(fail())


async def in_a_body_when_a_deadline_expires(fail: Fail, tick: float) -> None:
    with deadline(tick):
        async with task_group():
            await fail()


async def when_a_sibling_fails(fail: Fail, tick: float) -> None:
    async def sibling() -> None:
        await sleep(tick)
        raise ValueError

    async with task_group() as tg:
        tg.create_task(fail())
        tg.create_task(sibling())


async def in_a_deadline(fail: Fail, tick: float) -> None:
    with deadline(tick):
        await fail()


async def in_a_deadline_in_a_deadline(fail: Fail, tick: float) -> None:
    with deadline(tick), deadline(2 * tick), deadline(tick):
        await fail()


@rule("C7", "G4", "L2")
@with_every_odd_error
@pytest.mark.parametrize(
    "place",
    [
        when_the_group_is_cancelled,
        when_the_child_is_cancelled,
        when_the_body_is_cancelled,
        when_a_sibling_fails,
        in_a_group_when_a_deadline_expires,
        in_a_body_when_a_deadline_expires,
        in_a_deadline,
        in_a_deadline_in_a_deadline,
    ],
    ids=lambda place: place.__name__,
)
@told_plainly
async def test_an_odd_error_in_clean_up_is_not_lost(
    kind: str, place: Callable[[Fail, float], Awaitable[None]], tick: float
) -> None:
    raised: list[BaseException] = []

    async def fail() -> None:
        try:
            await sleep_forever()
        except get_cancelled_exc_class() as cancellation:
            raised.append(ODD[kind](cancellation))
            raise raised[-1]

    async with innocents(2 * tick):
        caught = await caught_from(place(fail, tick))
        [error] = raised
        assert is_told(error, caught)
        await sleep(tick)  # C2: nothing is left


@rule("C7", "G4")
@told_plainly
async def test_a_frozen_error_and_one_in_a_cycle_come_out_as_they_are(tick: float) -> None:
    async def fail(error: BaseException) -> None:
        with suppress(get_cancelled_exc_class()):
            await sleep_forever()
        raise error

    for error in [Frozen(7), in_a_cycle(None), at_the_end_of_a_cycle(None)]:
        with pytest.raises(type(error)) as bare:
            with deadline(tick):
                await fail(error)
        assert bare.value is error
        with pytest.raises(ExceptionGroup) as grouped:
            async with deadline(tick), task_group() as tg:
                tg.create_task(fail(error))
        assert grouped.value.exceptions == (error,)


@rule("C7", "T5")
@with_every_odd_error
@told_plainly
async def test_an_odd_error_comes_out_of_start(kind: str, tick: float) -> None:
    error = ODD[kind](None)

    async def child(*, task_status: TaskStatus[None]) -> None:
        await checkpoint()
        raise error

    async with innocents(tick), task_group(limit=1) as tg:
        caught = await caught_from(tg.start(child))
        assert is_told(error, caught)
        await tg.create_task(checkpoint())  # the slot was given back


@rule("C7", "T2")
@with_every_odd_error
@told_plainly
async def test_the_result_of_a_task_that_failed_with_an_odd_error_is_a_task_failed(kind: str) -> None:
    error = ODD[kind](None)
    with suppress(ExceptionGroup):
        async with task_group(defer_errors=True) as tg:
            task = tg.create_task(fail(error))
    with pytest.raises(TaskFailed) as caught:
        task.result()
    cause = caught.value.__cause__
    assert cause is not None
    assert cause is task.exception()
    assert is_told(error, cause)


class Counted(BaseExceptionGroup[BaseException]):
    """Counts how often its code is called."""

    calls: ClassVar[int] = 0

    @property
    def exceptions(self) -> Any:
        Counted.calls += 1
        return _MEMBERS.__get__(self)

    def split(self, condition: Any, /) -> Any:
        Counted.calls += 1
        return super().split(condition)

    def subgroup(self, condition: Any, /) -> Any:
        Counted.calls += 1
        return super().subgroup(condition)

    def derive(self, errors: Any, /) -> Any:
        Counted.calls += 1
        return Counted(self.message, errors)


@rule("C7")
@pytest.mark.parametrize("when_cancelled", [False, True])
@told_plainly
async def test_the_work_for_a_deep_group_grows_with_its_depth_and_not_with_the_square(
    when_cancelled: bool,
) -> None:
    async def child() -> None:
        error: BaseException = OSError()
        try:
            if when_cancelled:
                await sleep_forever()
        except get_cancelled_exc_class() as cancellation:
            error = BaseExceptionGroup("", [error, cancellation])
        for _ in range(depth):
            error = Counted("", [error])
        raise error

    calls: list[int] = []
    for depth in (50, 200):
        Counted.calls = 0
        with suppress(BaseExceptionGroup):
            async with task_group() as tg:
                tg.create_task(child())
                await settle()
                tg.cancel()
        calls.append(Counted.calls)
    assert calls[1] <= 5 * calls[0] + 50


class SplitsWrongly(BaseExceptionGroup[BaseException]):
    how = ""

    def split(self, matches: Any, /) -> Any:
        errors = [error for error in self.exceptions if not isinstance(error, asyncio.CancelledError)]
        match self.how:
            case "loses-one":
                return None, ExceptionGroup(self.message, errors[1:])  # type: ignore[type-var]
            case "loses-the-last":
                return None, ExceptionGroup(self.message, errors[:-1])  # type: ignore[type-var]
            case "keeps-the-cancellation":
                return None, self
            case "returns-others":
                return None, ExceptionGroup(self.message, [ValueError() for _ in errors])
            case "loses-all":
                return self, None
            case "is-nested-too-deeply":
                raise RecursionError
            case _:
                raise Misbehaved


@rule("C7", "G4", only="asyncio")
@pytest.mark.parametrize(
    ("how", "failure"),
    [
        ("loses-one", RuntimeError),
        ("loses-the-last", RuntimeError),
        ("keeps-the-cancellation", RuntimeError),
        ("returns-others", RuntimeError),
        ("loses-all", RuntimeError),
        ("raises", Misbehaved),
        ("is-nested-too-deeply", None),
    ],
)
async def test_a_group_that_splits_wrongly_loses_no_error_and_the_failure_is_told(
    how: str, failure: type[Exception] | None
) -> None:
    errors = [LookupError(), OSError()]
    group = SplitsWrongly("odd", [asyncio.CancelledError(), *errors])
    group.how = how
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(fail(group))
    found = leaves(caught.value)
    assert found[:2] == errors
    assert [type(error) for error in found[2:]] == ([] if failure is None else [failure])


class AnsweringToAnyName(BaseExceptionGroup[BaseException]):
    def __getattr__(self, name: str) -> None:
        return None


@rule("C7", "G4")
async def test_a_group_that_answers_to_any_name_is_looked_into() -> None:
    error = OSError("no route")

    async def fail_when_cancelled_with_both() -> None:
        try:
            await sleep_forever()
        except get_cancelled_exc_class() as cancellation:
            raise AnsweringToAnyName("both", [cancellation, error]) from None

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(fail_when_cancelled_with_both())
            await settle()
            tg.cancel()
    assert leaves(caught.value) == [error]


class SplitEndsTheProgram(BaseExceptionGroup[BaseException]):
    def split(self, condition: Any) -> NoReturn:
        raise SystemExit("split")


@rule("C7", "G12")
async def test_what_ends_the_program_in_a_split_is_an_error_beside_the_others() -> None:
    async def fail_when_cancelled_with_both() -> None:
        try:
            await sleep_forever()
        except get_cancelled_exc_class() as cancellation:
            raise SplitEndsTheProgram("both", [cancellation, OSError()]) from None

    with pytest.raises(BaseExceptionGroup) as caught:
        async with task_group() as tg:
            tg.cancel()
            await fail_when_cancelled_with_both()
    assert [type(error) for error in leaves(caught.value)] == [OSError, SystemExit]


@rule("G3", "C7")
async def test_a_child_that_raises_what_closes_generators_is_an_error_like_any_other() -> None:
    error = GeneratorExit()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(fail(error))
    assert caught.value.exceptions == (error,)


# Coroutines


class OddCoroutine(Coroutine[Any, Any, None]):
    """A coroutine object of another class, which cannot be closed."""

    def send(self, value: object, /) -> NoReturn:
        raise StopIteration

    def throw(self, *_: Any) -> NoReturn:
        raise Misbehaved("thrown into")

    def close(self) -> None:
        raise Misbehaved("closed")

    def __await__(self) -> Generator[Any, Any, None]:
        raise AssertionError("never awaited")


@coroutine
def _bare_yield() -> Generator[None]:
    yield


def stubborn() -> Coroutine[Any, Any, None]:
    """A coroutine that was begun, and ignores that it is closed, once."""

    async def ignore() -> None:
        with suppress(GeneratorExit):
            await _bare_yield()
        await _bare_yield()

    coro = ignore()
    coro.send(None)
    return coro


def is_about_closing(error: BaseException) -> bool:
    return type(error) is Misbehaved or "ignored GeneratorExit" in str(error)


that_cannot_be_closed: pytest.MarkDecorator = pytest.mark.parametrize(
    "odd", [OddCoroutine, stubborn], ids=["close-raises", "ignores-close"]
)
MakeOdd: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@rule("C7", "G8")
@that_cannot_be_closed
async def test_a_coroutine_that_cannot_be_closed_is_refused_with_the_reason(odd: MakeOdd) -> None:
    group = task_group()
    for create in (group.create_task, group.create_background_task):
        with pytest.raises(RuntimeError, match="has not been entered") as caught:
            create(odd())
        assert any(is_about_closing(link) for link in chain(caught.value))
    async with group:
        context: Any = "no context"
        with pytest.raises(TypeError, match="no context") as refused:
            group.create_task(odd(), context=context)
        assert any(is_about_closing(link) for link in chain(refused.value))
    with pytest.raises(RuntimeError, match="is finished") as finished:
        group.create_task(odd())
    assert any(is_about_closing(link) for link in chain(finished.value))


@rule("C7", "P1")
@that_cannot_be_closed
async def test_one_that_cannot_be_closed_keeps_no_other_from_being_closed(odd: MakeOdd) -> None:
    no_coroutine: Any = 5
    for call in (gather, first, lambda *coros: as_completed([*coros])):
        good = [checkpoint(), checkpoint()]
        with pytest.raises(TypeError, match="got 5"):
            refused: Any = call(good[0], odd(), no_coroutine, good[1])
            await refused
        assert [getcoroutinestate(coro) for coro in good] == [CORO_CLOSED] * 2


@rule("C7", "G14")
@that_cannot_be_closed
@pytest.mark.parametrize("how", ["group", "child", "failure", "deadline"])
async def test_a_waiting_child_that_cannot_be_closed_is_an_error_of_the_group(
    how: str, odd: MakeOdd, tick: float
) -> None:
    log: list[str] = []

    async def run() -> None:
        async with task_group() as outer:

            async def wait_for_it() -> None:
                with suppress(Exception):
                    await waiting[0]
                log.append("told")

            with deadline(tick if how == "deadline" else None, suppress=True):
                async with task_group(limit=1) as tg:
                    running = tg.create_task(clean_up(tick, log, "running"))
                    waiting = [tg.create_task(odd())]
                    good = checkpoint()
                    waiting.append(tg.create_task(good))
                    outer.create_task(wait_for_it())
                    await settle()
                    if how == "group":
                        tg.cancel()
                    elif how == "child":
                        for task in [*waiting, running]:
                            task.cancel()
                    elif how == "failure":
                        raise ValueError
                    await sleep_forever()
            log.append("left quietly")
        assert getcoroutinestate(good) == CORO_CLOSED
        assert all(task.done() for task in waiting)

    async with innocents(2 * tick):
        caught = await caught_from(run())
    assert any(is_about_closing(node) for node in nodes(caught))
    assert sorted(log) == ["running", "told"]


@rule("C7", "G14", "T4")
@that_cannot_be_closed
async def test_the_queue_goes_on_after_one_that_cannot_be_closed(odd: MakeOdd, tick: float) -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        await checkpoint()
        ended.append(number)

    async def run() -> None:
        async with task_group(limit=1, defer_errors=True) as tg:
            tg.create_task(child(1))
            dropped = tg.create_task(odd())
            tg.create_task(child(2))
            try:
                dropped.cancel()
            except Exception as error:
                told.append(error)
            tg.create_task(child(3))

    told: list[BaseException] = []
    try:
        await run()
    except ExceptionGroup as group:
        told.append(group)
    assert any(is_about_closing(node) for error in told for node in nodes(error))
    assert ended == [1, 2, 3]


@rule("C7", "P3")
@that_cannot_be_closed
async def test_what_as_completed_leaves_over_is_closed_although_one_cannot_be(odd: MakeOdd) -> None:
    async def run() -> None:
        async with as_completed([checkpoint(), odd(), *good], limit=1) as results:
            async for _ in results:
                break

    async def fail_first() -> None:
        async with as_completed([fail(ValueError()), odd(), *good], limit=1) as results:
            async for _ in results:
                pass

    for call in (run, fail_first):
        good = [checkpoint(), checkpoint()]
        caught = await caught_from(call())
        assert any(is_about_closing(node) for node in nodes(caught))
        assert [getcoroutinestate(coro) for coro in good] == [CORO_CLOSED] * 2


@rule("C7", "G14")
async def test_one_coroutine_given_three_times_hurts_nobody_else(tick: float) -> None:
    async def fetch() -> None:
        try:
            await sleep_forever()
        finally:
            await checkpoint()

    async def run() -> None:
        async with deadline(tick), task_group(limit=1) as tg:
            for coro in [fetch()] * 3:
                tg.create_task(coro)

    async with innocents(2 * tick):
        await caught_from(run())
        async with deadline(tick, suppress=True):
            await sleep_forever()


# Task factories. Every form that asyncio ever admitted works, with what it admits.

variable: ContextVar[str] = ContextVar("variable", default="default")


def two_arguments(loop: Any, coro: Any) -> Any:
    return asyncio.Task(coro, loop=loop)


def and_a_context(loop: Any, coro: Any, context: Any = None) -> Any:
    return asyncio.Task(coro, loop=loop, context=context)


def and_all_others(loop: Any, coro: Any, **kwargs: Any) -> Any:
    return asyncio.Task(coro, loop=loop, **kwargs)


class Compiled:
    """A factory that does not tell its arguments, as one from C need not."""

    __name__ = "compiled"

    @property
    def __signature__(self) -> NoReturn:
        raise ValueError("no signature found")

    def __call__(self, loop: Any, coro: Any) -> Any:
        return asyncio.Task(coro, loop=loop)


@contextmanager
def task_factory(factory: Any) -> Generator[None]:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def skip_unless_the_loop_admits(factory: Any) -> None:
    coro = checkpoint()
    with task_factory(factory):
        try:
            await asyncio.get_running_loop().create_task(coro)
        except TypeError:  # uvloop passes every argument that a task has, whatever it was given
            coro.close()
            pytest.skip("this loop passes more to every task factory than this one takes")


@rule("C7", only="asyncio")
@pytest.mark.parametrize(
    "factory", [two_arguments, and_a_context, and_all_others, Compiled()], ids=lambda f: f.__name__
)
async def test_a_task_factory_gets_what_was_given_and_no_more(factory: Any, tick: float) -> None:
    seen: list[str] = []

    async def child() -> int:
        seen.append(variable.get())
        await sleep(tick)
        return 42

    async def ready(*, task_status: TaskStatus[int]) -> None:
        task_status.started(await child())

    await skip_unless_the_loop_admits(factory)
    variable.set("set by the caller")
    with task_factory(factory):
        async with task_group(limit=1) as tg:
            tasks = [tg.create_task(child()) for _ in range(3)]
            tg.create_background_task(sleep_forever())
            assert await tg.start(ready) == 42
        assert [task.result() for task in tasks] == [42] * 3
        assert await gather(child(), child(), limit=1) == (42, 42)
        assert await first(child(), sleep_forever()) == 42
        assert await shield(child()) == 42
        async with as_completed([child(), child()], limit=1) as results:
            assert [result async for result in results] == [42, 42]
    assert set(seen) == {"set by the caller"}


@rule("C7", "G10", only="asyncio")
@pytest.mark.parametrize("factory", [two_arguments, and_a_context], ids=lambda f: f.__name__)
async def test_what_a_shield_sets_is_carried_back_from_the_task_of_any_factory(factory: Any) -> None:
    async def set_it() -> None:
        await checkpoint()
        variable.set("set in the shield")

    await skip_unless_the_loop_admits(factory)
    with task_factory(factory):
        await shield(set_it())
    assert variable.get() == "set in the shield"


class FailingFactory:
    """Makes tasks, except in the calls with these numbers, counted from 1."""

    def __init__(self, *fails_at: int) -> None:
        self.fails_at = fails_at
        self.calls: int = 0

    def __call__(self, loop: Any, coro: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls in self.fails_at:
            raise Misbehaved
        return asyncio.Task(coro, loop=loop, **kwargs)


@rule("C7", only="asyncio")
@pytest.mark.parametrize("make", [checkpoint, OddCoroutine, stubborn], ids=["plain", "odd", "stubborn"])
async def test_a_factory_that_raises_in_create_task_leaves_nothing_behind(make: MakeOdd) -> None:
    before: set[asyncio.Task[Any]] = asyncio.all_tasks()
    async with task_group(limit=1) as tg:
        tg.create_background_task(sleep_forever())
        with task_factory(FailingFactory(1, 2, 3)):
            for create in (tg.create_task, tg.create_background_task, shield):
                coro = make()
                with pytest.raises(Misbehaved):
                    created: Any = create(coro)
                    await created
                if make is checkpoint:
                    assert getcoroutinestate(coro) == CORO_CLOSED
        await tg.create_task(checkpoint())  # the slot is free
    assert asyncio.all_tasks() == before


@rule("C7", only="asyncio")
async def test_a_factory_that_returns_one_task_for_two_children_keeps_no_group_open() -> None:
    made: list[asyncio.Task[Any]] = []

    def the_first_again(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if made:
            coro.close()
        else:
            made.append(asyncio.Task(coro, loop=loop, **options))
        return made[0]

    async with task_group() as tg:
        with task_factory(the_first_again):
            children = [tg.create_task(checkpoint()) for _ in range(2)]
    assert [child.result() for child in children] == [None, None]


@rule("C7", "P1", "P2", "P3", only="asyncio")
@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
@pytest.mark.parametrize("pattern", ["gather", "first", "as_completed"])
async def test_a_factory_that_raises_in_a_pattern_leaves_no_coroutine_behind(
    pattern: str, fails_at: int
) -> None:
    async def as_they_come() -> None:
        async with as_completed(coros) as results:
            async for _ in results:
                pass

    coros = [sleep_forever() for _ in range(4)]
    with task_factory(FailingFactory(fails_at)), pytest.raises(ExceptionGroup) as caught:
        if pattern == "gather":
            await gather(*coros)
        elif pattern == "first":
            await first(*coros)
        else:
            await as_they_come()
    assert isinstance(leaves(caught.value)[0], Misbehaved)
    assert all(getcoroutinestate(coro) == CORO_CLOSED for coro in coros)


def traced_and_eager(loop: Any, coro: Any, **kwargs: Any) -> Any:
    """Puts the coroutine into one of its own, as tracers do, and takes its first step at once."""

    async def traced() -> Any:
        return await coro

    options: dict[str, Any] = {**kwargs, "eager_start": True}
    return asyncio.Task(traced(), loop=loop, **options)


@rule("C7", "C6", "G6", only="asyncio")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="no task is eager")
@pytest.mark.parametrize("when", [1, 3], ids=["with-a-scope-open", "with-none-left-open"])
@pytest.mark.parametrize("how", ["its-group", "itself", "a-deadline"])
async def test_a_child_whose_coroutine_an_eager_factory_wraps_can_be_cancelled(
    how: str, when: int, tick: float
) -> None:
    if asyncio_inside_trio():
        pytest.skip("trio-asyncio's tasks take no step at once")
    ended: list[str] = []

    async def child() -> None:
        with deadline(20 * tick):
            async with task_group() as inner:
                inner.create_task(note_the_end(ended, "grandchild"))
                await sleep(2 * tick)
                inner.cancel()
        await note_the_end(ended)

    with task_factory(traced_and_eager), deadline(10 * tick, suppress=True) as limit:
        async with task_group() as tg:
            task = tg.create_task(child())
            await sleep(when * tick)
            if how == "its-group":
                tg.cancel()
            elif how == "itself":
                task.cancel()
            else:
                limit.reschedule(current_time())
    assert task.cancelled()
    assert ended == (["grandchild"] if when == 1 else ["grandchild", "child"])
    assert limit.expired() == (how == "a-deadline")


class Nameless(Coroutine[Any, Any, int]):
    """A coroutine object without a name, and without a `repr`."""

    def __init__(self) -> None:
        self._coro = answer()

    def send(self, value: Any) -> Any:
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, int]:
        return self._coro.__await__()

    def __repr__(self) -> str:
        raise Misbehaved


class Opaque(Nameless):
    """A coroutine object of which nobody can tell whether it runs, as those of Cython once were."""

    def __init__(self, coro: Coroutine[Any, Any, int]) -> None:
        self._coro = coro


@rule("C7", "C6", only="asyncio")
async def test_a_coroutine_that_cannot_be_looked_into_is_cancelled_in_a_few_turns() -> None:
    steps = 0

    async def work() -> int:
        nonlocal steps
        while True:
            await checkpoint()
            steps += 1

    async with task_group() as tg:
        task = tg.create_task(Opaque(work()))
        await settle()
        begun = steps
        task.cancel()
        await until(task.done)
    assert task.cancelled()
    assert steps - begun < 5


@rule("C7", "P2", only="asyncio")
async def test_first_in_tasks_that_cannot_be_looked_into() -> None:
    async def succeed() -> int:
        return 42

    with task_factory(lambda loop, coro, **kw: asyncio.Task(Opaque(coro), loop=loop, **kw)):
        assert await first(succeed(), fail(OSError())) == 42


class HidesItsTraceback(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise Misbehaved


@rule("C7", "G14", only="asyncio")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="no task is eager")
async def test_a_queued_child_whose_coroutine_an_eager_factory_wraps_can_be_looked_at_in_its_first_step() -> (
    None
):
    names: list[str] = []

    async def look() -> None:
        names.append(task.get_name())
        assert "running" in repr(task)
        with pytest.raises(RuntimeError, match="task factory"):
            task.cancel()

    with task_factory(traced_and_eager):
        async with task_group(limit=1) as tg:
            tg.create_task(checkpoint())
            task = tg.create_task(look(), name="looks")
    assert names == ["looks"]
    assert not task.cancelled()


@rule("C7")
@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="asyncio's futures are written in Python there, and ask for it"
)
async def test_an_error_that_hides_its_traceback_is_raised_all_the_same() -> None:
    error = HidesItsTraceback()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(fail(error))
    assert leaves(caught.value) == [error]


class OddFunction:
    """An async function without a name that could be shown."""

    def __init__(self) -> None:
        self.__qualname__: Any = 5

    def __call__(self, *, task_status: TaskStatus[int]) -> Coroutine[Any, Any, None]:
        async def serve() -> None:
            task_status.started(42)

        return serve()

    def __repr__(self) -> str:
        raise Misbehaved


async def answer() -> int:
    await checkpoint()
    return 42


@rule("C7", "G10", "G14", "T5")
async def test_functions_and_coroutines_that_cannot_be_named_run_as_any_others() -> None:
    async with task_group(limit=1) as tg:
        tasks = [tg.create_task(Nameless()) for _ in range(2)]
        assert all(isinstance(task.get_name(), str) for task in tasks)
        assert await tg.start(OddFunction()) == 42
    assert [task.result() for task in tasks] == [42, 42]
    assert await gather(Nameless(), Nameless()) == (42, 42)
    assert await first(Nameless()) == 42
    async with as_completed([Nameless()]) as results:
        assert [result async for result in results] == [42]


@rule("C7", "G14", only="asyncio")
@pytest.mark.parametrize("defer_errors", [False, True])
@pytest.mark.parametrize("odd", [OddCoroutine, stubborn, checkpoint], ids=["odd", "stubborn", "plain"])
async def test_a_factory_that_raises_for_a_waiting_child_is_an_error_of_the_group(
    odd: MakeOdd, defer_errors: bool, tick: float
) -> None:
    events: list[str] = []

    async def child(number: int) -> None:
        events.append(f"{number} begins")
        await checkpoint()
        events.append(f"{number} ends")

    async def run() -> None:
        async with task_group(limit=1, defer_errors=defer_errors) as tg:
            tg.create_task(child(1))
            failed.append(tg.create_task(odd()))
            for number in (2, 3):
                tg.create_task(child(number))
            with suppress(Exception):
                await failed[0]

    failed: list[Any] = []
    async with innocents(tick):
        with task_factory(FailingFactory(2)):
            caught = await caught_from(run())
    assert issubclass(type(caught), ExceptionGroup)
    assert any(type(node) is Misbehaved for node in nodes(caught))
    assert failed[0].done()
    ran = (1, 2, 3) if defer_errors else (1,)  # one at a time: the slot was given back, once
    assert events == [f"{number} {what}" for number in ran for what in ("begins", "ends")]


async def refused_when_it_got_its_slot(make: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, Exception]:
    """Create a child whose task factory fails; return the child and the error."""
    with task_factory(FailingFactory(2)), pytest.raises(ExceptionGroup) as caught:
        async with task_group(limit=1) as tg:
            tg.create_task(checkpoint())
            task = tg.create_task(make())
    [error] = caught.value.exceptions
    assert type(error) is Misbehaved
    return task, error


@rule("C7", "G14", only="asyncio")
async def test_a_waiting_child_that_could_not_be_started_has_failed() -> None:
    task, error = await refused_when_it_got_its_slot(checkpoint)
    for _ in range(2):
        assert task.done()
        assert not task.cancelled()
        assert task.exception() is error
        with pytest.raises(TaskFailed):
            await task
        with pytest.raises(RuntimeError, match="never started"):
            task.native
        task.cancel()


@rule("C7", "G11", "G14", only="asyncio")
async def test_a_waiting_child_that_could_not_be_started_lets_go_of_its_coroutine() -> None:
    alive: WeakSet[Any] = WeakSet()

    def make() -> Coroutine[Any, Any, None]:
        coro = checkpoint()
        alive.add(coro)
        return coro

    task, error = await refused_when_it_got_its_slot(make)
    error.__traceback__ = None  # whose frames know it
    for _ in range(20):  # PyPy may need several
        if alive:
            gc.collect()
    assert not alive
    assert task.done()


# Task.cancel() of odd tasks


class Unstoppable(asyncio.Task[Any]):
    """A task whose `cancel()` raises."""

    def cancel(self, msg: object = None) -> NoReturn:
        raise Misbehaved


@rule("C7", only="asyncio")
@pytest.mark.parametrize("how", ["group", "child", "failure", "deadline"])
async def test_a_task_that_cannot_be_cancelled_keeps_no_other_from_being(how: str, tick: float) -> None:
    log: list[str] = []

    async def unstoppable() -> None:
        await sleep(3 * tick)
        log.append("unstoppable")

    async def run() -> None:
        with deadline(tick if how == "deadline" else None):
            async with task_group() as tg:
                tg.create_task(note_the_end(log, "one"))
                with task_factory(lambda loop, coro, **kw: Unstoppable(coro, loop=loop, **kw)):
                    odd = tg.create_task(unstoppable())
                tg.create_task(note_the_end(log, "other"))
                await settle()
                if how == "group":
                    tg.cancel()
                elif how == "child":
                    try:
                        odd.cancel()
                    finally:
                        await settle()
                        tg.cancel()
                elif how == "failure":
                    raise ValueError
                await sleep_forever()

    async with innocents(2 * tick):
        caught = await caught_from(run())
        assert any(type(node) is Misbehaved for node in nodes(caught))
        assert sorted(log) == ["one", "other", "unstoppable"]


@rule("C7", only="asyncio")
async def test_a_deadline_in_a_task_that_cannot_be_cancelled_stops_no_other_deadline(tick: float) -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))

    async def limited() -> None:
        with deadline(tick, suppress=True):
            await sleep(2 * tick)

    try:
        async with innocents(tick), task_group(defer_errors=True) as tg:
            with task_factory(lambda loop, coro, **kw: Unstoppable(coro, loop=loop, **kw)):
                tg.create_task(limited())
            tg.create_task(limited())
    except ExceptionGroup as group:
        reports.append(group)
    assert any(type(node) is Misbehaved for report in reports for node in nodes(report))


@rule("C7", only="asyncio")
async def test_that_a_task_which_no_group_owns_cannot_be_cancelled_is_told_to_the_loop(tick: float) -> None:
    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, report: reports.append(report))

    async def limited() -> None:
        with deadline(tick, suppress=True):
            await sleep(2 * tick)

    await Unstoppable(limited(), loop=loop)
    assert [type(report["exception"]) for report in reports] == [Misbehaved]
    assert "Deadline" in reports[0]["message"]


# Handlers and filters of logging


class BadHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> NoReturn:
        raise Misbehaved


def with_a_bad_handler(logger: logging.Logger) -> Callable[[], None]:
    handler = BadHandler()
    logger.addHandler(handler)
    return lambda: logger.removeHandler(handler)


def with_a_bad_filter(logger: logging.Logger) -> Callable[[], None]:
    logger.addFilter(misbehave)
    return lambda: logger.removeFilter(misbehave)


@rule("C7", "G16")
@pytest.mark.parametrize("break_it", [with_a_bad_handler, with_a_bad_filter], ids=lambda f: f.__name__)
async def test_a_log_that_fails_for_a_deferred_error_is_an_error_of_the_group(
    break_it: Callable[[logging.Logger], Callable[[], None]],
    tick: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    async def last() -> None:
        await checkpoint()
        ended.append("last")

    async def run() -> None:
        async with task_group(limit=2, defer_errors=True) as tg:
            for number in range(105):
                tg.create_task(fail(ValueError(number)))
            tg.create_task(last())

    logger = logging.getLogger("interloop")
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(logger, "propagate", False)
    mend = break_it(logger)
    try:
        async with innocents(tick):
            caught = await caught_from(run())
    finally:
        mend()
    assert any(type(node) is Misbehaved for node in nodes(caught))
    assert {str(node) for node in nodes(caught)} >= {str(number) for number in range(100)}
    assert ended == []  # an error that is not deferred cancels the group


@rule("C7", "G16")
@told_plainly
async def test_an_error_that_cannot_be_shown_is_logged_all_the_same(tick: float) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.format(record)
            records.append(record)

    logger = logging.getLogger("interloop")
    handler = Keep()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with pytest.raises(ExceptionGroup):
            async with task_group(limit=2, defer_errors=True) as tg:
                for _ in range(102):
                    tg.create_task(fail(ODD["repr"](None)))
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    assert len(records) == 2


# What is refused is shown in the error


class Unshowable:
    """What cannot be shown, and can be called."""

    def __repr__(self) -> str:
        raise Misbehaved

    def __call__(self, *, task_status: Any) -> None:
        pass


@rule("C7", "G8", "T5")
async def test_what_cannot_be_shown_is_refused_as_anything_else() -> None:
    odd: Any = Unshowable()
    async with task_group() as tg:
        for call in (tg.create_task, tg.create_background_task, shield, gather, first, tg.start):
            with pytest.raises(TypeError):
                refused: Any = call(odd)
                await refused
        with pytest.raises(TypeError):
            as_completed(odd)
        context: Any = odd
        coro = checkpoint()
        with pytest.raises(TypeError):
            tg.create_task(coro, context=context)
        assert getcoroutinestate(coro) == CORO_CLOSED


@rule("C4", "L6", host="asyncio")
async def test_a_shield_that_is_awaited_outside_of_tasks_closes_its_coroutine() -> None:
    coro = checkpoint()
    raised: list[BaseException] = []

    def callback() -> None:
        try:
            shield(coro).send(None)
        except BaseException as error:
            raised.append(error)

    asyncio.get_running_loop().call_soon(callback)
    while not raised:
        await checkpoint()
    assert isinstance(raised[0], RuntimeError)
    assert getcoroutinestate(coro) == CORO_CLOSED


# A stack that is full


@rule("C7", "L6")
@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="the recursion limit says nothing of the depth of its stack"
)
@pytest.mark.parametrize("depth", range(12))
async def test_a_stack_that_is_full_is_told_as_such_and_leaves_no_deadline_open(
    depth: int, tick: float
) -> None:
    def dive() -> None:
        with deadline(1000 * tick):
            dive()

    def begin(depth: int) -> None:
        if depth:
            begin(depth - 1)
        else:
            dive()

    with pytest.raises(RecursionError):
        begin(depth)
    assert current_deadline() == inf
    with deadline(tick, suppress=True) as limit:
        await sleep_forever()
    assert limit.expired()


@rule("C7", "G9")
@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="the recursion limit says nothing of the depth of its stack"
)
@pytest.mark.parametrize("what", ["group", "deadline-around-group", "group-around-deadline"])
async def test_a_stack_that_is_full_is_told_as_such_and_leaves_no_group_open(what: str, tick: float) -> None:
    async def dive() -> None:
        if what == "group":
            async with task_group():
                await dive()
        elif what == "deadline-around-group":
            async with deadline(1000), task_group():
                await dive()
        else:
            async with task_group(), deadline(1000):
                await dive()

    with pytest.raises(ExceptionGroup) as caught:
        await dive()
    assert {type(error) for error in leaves(caught.value)} == {RecursionError}
    with deadline(tick, suppress=True) as limit:
        async with task_group() as tg:
            tg.create_task(sleep_forever())
    assert limit.expired()


# What a task of asyncio waits for


class Duck:
    """All that a task of asyncio asks of a future, which is less than a future has."""

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback: Any = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self._callback = callback

    def cancel(self, msg: object = None) -> bool:
        self._loop.call_soon(self._callback, self)
        return True

    def result(self) -> NoReturn:
        raise asyncio.CancelledError

    def __await__(self) -> Generator[Any, Any, None]:
        self._asyncio_future_blocking = True
        yield self
        self.result()


class UndecidedFuture(asyncio.Future[None]):
    def done(self) -> NoReturn:
        raise Misbehaved


async def wait_for_a_duck() -> None:
    await Duck()


async def wait_for_an_undecided_future() -> None:
    await UndecidedFuture()


async def wait_for_a_long_chain() -> None:
    """Longer than the stack is deep."""

    async def link(task: asyncio.Task[None]) -> None:
        await task

    task = asyncio.create_task(sleep_forever())
    for _ in range(600):
        task = asyncio.create_task(link(task))
    await task


that_asks_itself: pytest.MarkDecorator = pytest.mark.skipif(
    sys.implementation.name == "pypy",
    reason="asyncio's futures are written in Python there, and awaiting one calls its done()",
)


@rule("C7", "C6", only="asyncio")
@pytest.mark.parametrize(
    "wait",
    [
        wait_for_a_duck,
        pytest.param(wait_for_an_undecided_future, marks=that_asks_itself),
        wait_for_a_long_chain,
    ],
)
@pytest.mark.parametrize("canceller", ["group", "deadline", "task"])
async def test_an_odd_wait_keeps_nobody_from_being_cancelled(
    canceller: str, wait: Callable[[], Coroutine[Any, Any, None]], tick: float
) -> None:
    log: list[str] = []
    with deadline(tick if canceller == "deadline" else None, suppress=True) as limit:
        async with task_group() as tg:
            tg.create_task(note_the_end(log, "before"))
            odd = tg.create_task(wait())
            tg.create_task(note_the_end(log, "after"))
            await settle()
            if canceller == "task":
                odd.cancel()
                if wait is not wait_for_a_long_chain:  # each link of the chain takes a turn
                    await settle()
                    assert odd.done()
                await until(odd.done)
                assert log == []
            if canceller != "deadline":
                tg.cancel()
    assert limit.expired() == (canceller == "deadline")
    assert odd.cancelled()
    assert sorted(log) == ["after", "before"]


class FutureWithOneCallback(asyncio.Future[None]):
    def add_done_callback(self, *args: Any, **options: Any) -> None:
        if self._callbacks:
            raise Misbehaved
        super().add_done_callback(*args, **options)


@rule("C7", "C8", only="asyncio")
@needs_anyio
async def test_a_wait_in_a_shield_of_anyio_of_which_nobody_else_is_told_the_end_is_an_error_of_the_group(
    tick: float,
) -> None:
    import anyio

    log: list[str] = []
    future = FutureWithOneCallback()

    async def wait() -> None:
        with anyio.CancelScope(shield=True):
            await future
        log.append("shielded")

    async def run() -> None:
        async with task_group() as tg:
            tg.create_task(note_the_end(log, "one"))
            tg.create_task(wait())
            tg.create_task(note_the_end(log, "other"))
            await settle()
            asyncio.get_running_loop().call_later(tick, future.set_result, None)
            tg.cancel()

    async with innocents(2 * tick):
        caught = await caught_from(run())
        assert any(type(node) is Misbehaved for node in nodes(caught))
        assert sorted(log) == ["one", "other", "shielded"]


@rule("C7", "C4", only="asyncio")
async def test_a_factory_that_raises_in_a_shield_with_a_timeout_leaves_no_coroutine_behind() -> None:
    coro = checkpoint()
    with task_factory(FailingFactory(1)), pytest.raises(Misbehaved):
        await shield(coro, timeout=1)
    assert getcoroutinestate(coro) == CORO_CLOSED
