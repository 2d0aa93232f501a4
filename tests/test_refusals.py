"""What refuses an argument, whatever the argument's own code does; and what the errors are called."""

from __future__ import annotations

import asyncio
import gc
import pickle
import re
from collections.abc import Callable, Coroutine, Generator
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any, NoReturn

import pytest
import trio

import interloop
import interloop.testing
from interloop import NoAsyncContext, TaskFailed, checkpoint, deadline, gather, shield, sleep, task_group

each_backend = pytest.mark.parametrize(
    "run", [lambda main: asyncio.run(main()), trio.run], ids=["asyncio", "trio"]
)
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class Unshowable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class UnshowableNumber(float):
    __repr__ = Unshowable.__repr__


class UnshowableError(Exception):
    __repr__ = __str__ = Unshowable.__repr__


class Unclosable(Coroutine[Any, Any, None]):
    def send(self, value: object, /) -> NoReturn:
        raise StopIteration

    def throw(self, *_: Any) -> NoReturn:
        raise StopIteration

    def close(self) -> None:
        raise OSError("cannot be closed")

    def __await__(self) -> Generator[Any, Any, None]:
        raise AssertionError("is never awaited")


@each_backend
def test_what_cannot_be_shown_is_refused_all_the_same(run: Run) -> None:
    wrong: Any = Unshowable()

    async def main() -> None:
        async with task_group() as tg:
            for call, error in (
                (lambda: tg.create_task(wrong), TypeError),
                (lambda: tg.create_background_task(wrong), TypeError),
                (lambda: tg.create_task(checkpoint(), context=wrong), TypeError),
                (lambda: task_group(limit=wrong), TypeError),
                (lambda: deadline(wrong), TypeError),
                (lambda: deadline(wrong, at=wrong), TypeError),
                (lambda: interloop.as_completed(wrong), TypeError),
                (lambda: interloop.testing.run(wrong), TypeError),
                (lambda: sleep(wrong).send(None), TypeError),
                (lambda: sleep(UnshowableNumber(-1)).send(None), ValueError),
                (lambda: shield(wrong).send(None), TypeError),
                (lambda: gather(wrong).send(None), TypeError),
            ):
                with pytest.raises(error, match=r"<.*Unshowable.* object at 0x"):
                    call()

    run(main)


# on asyncio alone: trio itself shows a nursery's errors, in the reason of a cancellation
def test_t2_a_failure_that_cannot_be_shown_is_told_all_the_same() -> None:
    async def fail() -> None:
        raise UnshowableError

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with task_group() as tg:
                task = tg.create_task(fail())
        with pytest.raises(TaskFailed, match=r"failed: <.*UnshowableError object at 0x") as caught:
            task.result()
        assert isinstance(caught.value.__cause__, UnshowableError)

    asyncio.run(main())


def test_one_that_cannot_be_closed_keeps_no_other_open() -> None:
    no_coroutine: Any = 5
    for coros, error in (([no_coroutine], TypeError), ([], NoAsyncContext)):
        good = [checkpoint(), checkpoint()]
        with pytest.raises(error) as caught:
            gather(good[0], Unclosable(), *coros, good[1]).send(None)
        assert [getcoroutinestate(coro) for coro in good] == [CORO_CLOSED] * 2
        assert isinstance(caught.value.__context__, ExceptionGroup)
        assert [str(failure) for failure in caught.value.__context__.exceptions] == ["cannot be closed"]
    with pytest.raises(NoAsyncContext) as refused:
        shield(Unclosable()).send(None)
    assert isinstance(refused.value.__context__, ExceptionGroup)


def said(call: Callable[[], object]) -> str:
    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


def test_d5_a_call_from_elsewhere_is_told_where_it_belongs_and_where_it_came_from() -> None:
    async def main() -> None:
        async def in_another_loop() -> tuple[str, str]:
            return said(tg.cancel), repr(asyncio.get_running_loop())

        belongs = f": it belongs to {asyncio.get_running_loop()!r} in thread 'MainThread'; call it there"
        async with task_group() as tg:
            without_a_loop = await asyncio.to_thread(said, tg.cancel)
            in_another, other = await asyncio.to_thread(asyncio.run, in_another_loop())
        assert re.search(
            r" from thread '[^']+', where no event loop runs" + re.escape(belongs), without_a_loop
        )
        assert re.search(re.escape(f" from {other} in thread ") + "'[^']+'" + re.escape(belongs), in_another)

    asyncio.run(main())


def test_d5_what_belongs_to_a_loop_that_is_gone_is_told_so() -> None:
    async def never_started() -> interloop.Task[None]:
        async with task_group(limit=1) as tg:
            first = tg.create_task(checkpoint())
            waiting = tg.create_task(checkpoint())
            waiting.cancel()
            await first
        return waiting

    async def in_another_loop() -> str:
        return said(step)

    def step() -> None:
        task.__await__().send(None)

    task = asyncio.run(never_started())
    for _ in range(3):
        gc.collect()
    for told in (said(step), asyncio.run(in_another_loop())):
        assert "it belongs to a loop that is gone in thread 'MainThread'" in told


PUBLIC = {
    f"{module.__name__}.{name}": thing
    for module in (interloop, interloop.testing)
    for name in module.__all__
    if isinstance(thing := getattr(module, name), type)
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_class_calls_itself_by_a_public_name(name: str) -> None:
    public = PUBLIC[name]
    own = f"{public.__module__}.{public.__qualname__}"
    assert own in (name, name.replace("interloop.", "interloop.abc."))
    assert pickle.loads(pickle.dumps(public)) is public


@pytest.mark.parametrize("name", [name for name in PUBLIC if issubclass(PUBLIC[name], BaseException)])
def test_an_error_can_be_pickled(name: str) -> None:
    error = pickle.loads(pickle.dumps(PUBLIC[name]("what happened")))
    assert type(error) is PUBLIC[name]
    assert error.args == ("what happened",)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_shield_of_a_backend_that_does_not_run_closes_the_coroutine(name: str) -> None:
    coro = checkpoint()
    with pytest.raises(RuntimeError):
        interloop.abc.backend(name).shield(coro).send(None)
    assert getcoroutinestate(coro) == CORO_CLOSED
