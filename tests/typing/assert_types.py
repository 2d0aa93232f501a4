"""What a type checker makes of every public call. Checked by `nox -s typing`, never run.

What must be refused says so, to mypy by `type: ignore`, to pyright by `pyright: ignore`.
To both, a comment that is not needed is an error.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, assert_type

import interloop
from interloop import (
    Deadline,
    NoAsyncContext,
    Task,
    TaskCancelled,
    TaskFailed,
    TaskGroup,
    TaskNotDone,
    UnsupportedBackend,
    deadline,
    shield,
    task_group,
)
from interloop.abc import Backend

if TYPE_CHECKING:
    from interloop.abc import SuppressingDeadline


async def answer() -> int:
    return 42


async def maybe(name: str) -> str | None:
    return name or None


async def task_groups() -> None:
    group = task_group()
    assert_type(group, TaskGroup)
    async with group as tg:
        assert_type(tg, TaskGroup)
        task = tg.create_task(answer())
        assert_type(task, Task[int])
        assert_type(tg.create_task(maybe("x"), name="maybe", context=copy_context()), Task[str | None])
        assert_type(tg.create_task(asyncio.sleep(1, "later")), Task[str])
        assert_type(tg.cancel(), None)
        assert_type(tg.native, Any)

        assert_type(await task, int)
        assert_type(task.result(), int)
        assert_type(task.exception(), BaseException | None)
        assert_type(task.done(), bool)
        assert_type(task.cancelled(), bool)
        assert_type(task.cancel(), None)
        assert_type(task.get_name(), str)
        assert_type(task.native, Any)


async def results_are_covariant() -> Task[object]:
    async with task_group() as tg:
        return tg.create_task(answer())


async def deadlines(unknown: bool) -> None:
    assert_type(deadline(), Deadline)
    assert_type(deadline(None), Deadline)
    assert_type(deadline(1.5, suppress=False), Deadline)
    assert_type(deadline(1.5, suppress=True), SuppressingDeadline)
    assert_type(deadline(at=1.5, suppress=True), SuppressingDeadline)
    assert_type(deadline(1.5, suppress=unknown), SuppressingDeadline)
    every_kind: list[Deadline] = [deadline(1), deadline(1, suppress=True), deadline(1, suppress=unknown)]
    assert_type(every_kind[0].expired(), bool)
    with deadline(6) as plain:
        assert_type(plain, Deadline)
    async with deadline(0.5) as limit:
        assert_type(limit, Deadline)
    assert_type(limit.when(), float | None)
    assert_type(limit.expired(), bool)
    assert_type(limit.reschedule(None), None)
    assert_type(limit.reschedule(interloop.current_time() + 1), None)
    assert_type(limit.native, Any)
    assert_type(interloop.current_deadline(), float)


# Where a block can swallow, the end of the function after it can be reached, and a checker misses a `return`.
async def a_deadline_does_not_swallow() -> int:
    with deadline(1):
        return await answer()


async def a_deadline_does_not_swallow_in_an_async_with() -> int:
    async with deadline(1) as limit:
        assert_type(limit, Deadline)
        return await answer()


async def a_deadline_that_shall_not_suppress_does_not_swallow() -> int:
    with deadline(1, suppress=False):
        return await answer()


async def a_deadline_of_somebody_else_does_not_swallow(limit: Deadline) -> int:
    with limit:
        return await answer()


async def suppression_swallows() -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    with deadline(1, suppress=True):
        return await answer()


async def suppression_swallows_in_an_async_with() -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    async with deadline(at=1, suppress=True) as limit:
        assert_type(limit, SuppressingDeadline)
        return await answer()


async def a_suppression_that_is_not_known_may_swallow(suppress: bool) -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    with deadline(1, suppress=suppress):
        return await answer()


async def a_suppression_inside_a_deadline_swallows() -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    with deadline(2), deadline(1, suppress=True):
        return await answer()


async def what_comes_after_a_suppression_is_reached() -> str:
    with deadline(1, suppress=True):
        return "in time"
    return "too late"


async def what_comes_after_a_suppression_is_checked() -> str:
    with deadline(1, suppress=True):
        return "in time"
    return 0  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def a_group_does_not_swallow() -> int:  # decision 0015
    async with task_group():
        return await answer()


async def other_calls() -> None:
    assert_type(await shield(answer()), int)
    assert_type(await shield(maybe("x"), timeout=1.5), str | None)
    assert_type(await interloop.sleep(1), None)
    assert_type(await interloop.sleep_until(1), None)
    assert_type(await interloop.checkpoint(), None)
    assert_type(interloop.current_time(), float)
    assert_type(interloop.current_backend(), str)
    assert_type(interloop.get_cancelled_exc_class(), type[BaseException])


def errors() -> list[type[Exception]]:
    return [NoAsyncContext, TaskCancelled, TaskFailed, TaskNotDone, UnsupportedBackend]


def shipped_backends() -> list[Backend]:
    import interloop._asyncio
    import interloop._trio

    return [interloop._asyncio, interloop._trio]


async def mistakes() -> None:
    async with task_group() as tg:
        tg.create_task(answer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        tg.create_task(answer(), name=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    deadline("5")  # type: ignore[call-overload]  # pyright: ignore
    deadline(5, suppress="no")  # type: ignore[call-overload]  # pyright: ignore
    deadline(5, suppress=None)  # type: ignore[call-overload]  # pyright: ignore
    with task_group():  # type: ignore[attr-defined]  # pyright: ignore
        pass
