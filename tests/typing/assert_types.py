"""What a type checker makes of every public call. Checked by `nox -s typing`, never run."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any, assert_type

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


async def deadlines() -> None:
    assert_type(deadline(), Deadline)
    assert_type(deadline(None), Deadline)
    assert_type(deadline(at=1.5, suppress=True), Deadline)
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


async def a_block_may_be_left_by_suppression() -> str:
    with deadline(1, suppress=True):
        return "in time"
    return "too late"


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
    deadline("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with task_group():  # type: ignore[attr-defined]  # pyright: ignore
        pass
