"""What is open in the tasks of a loop of asyncio (`scopes.py`): how long it is known, who is asked twice."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from interloop import checkpoint, deadline, sleep_forever, task_group
from interloop._asyncio import privates
from interloop._asyncio.privates import can_cancel_now
from interloop._asyncio.scopes import FEW, tree_of
from interloop.testing import HOSTS


@pytest.mark.parametrize("scope", [task_group, lambda: deadline(None)], ids=["group", "deadline"])
@pytest.mark.parametrize(("living", "most_dead"), [(0, FEW), (FEW + 50, FEW + 52)])
def test_what_native_tasks_left_open_is_forgotten_when_there_are_twice_as_many(
    living: int, most_dead: int, scope: Callable[[], Any]
) -> None:
    async def stay_open() -> None:
        async with scope():
            await sleep_forever()

    async def leave_open() -> None:
        await scope().__aenter__()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(stay_open()) for _ in range(living)]
        await checkpoint()
        known = []
        for _ in range(10 * FEW):
            await loop.create_task(leave_open())
            known.append(len(tree_of(loop).innermost))
        assert max(known) == living + most_dead
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_a_loop_in_which_a_scope_was_left_open_is_freed_with_it() -> None:
    async def leave_open() -> weakref.ref[asyncio.AbstractEventLoop]:
        await task_group().__aenter__()
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(leave_open())
    for _ in range(3):
        gc.collect()
    assert loop() is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param(
            {"eager_start": True},
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has no eager tasks"),
        ),
    ],
    ids=["later", "at once"],
)
def test_what_is_held_back_of_a_task_that_has_ended_is_forgotten(options: dict[str, Any]) -> None:
    async def end_at_once(held: dict[Any, Any]) -> int:
        with suppress(ExceptionGroup), deadline(0):
            async with task_group():
                raise OSError("no route")
        return len(held)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        held = tree_of(loop).requests._held
        assert await asyncio.Task(end_at_once(held), loop=loop, **options) == 1
        await asyncio.sleep(0)
        assert held == {}

    asyncio.run(main())


def test_a_circle_of_native_tasks_is_looked_through_once() -> None:
    async def wait_for(index: int) -> None:
        await tasks[index]

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    tasks += [loop.create_task(wait_for(index)) for index in (1, 2, 1)]
    loop.run_until_complete(asyncio.sleep(0))
    assert can_cancel_now(tasks[0], after_a_turn=False)
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio cannot cancel them
    loop.close()


def test_the_first_scope_after_anyio_is_imported_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with anyio.CancelScope() as scope:
            monkeypatch.setattr(privates, "_anyio_states", {})
            assert privates.anyio_scope(task) is scope

    asyncio.run(main())


@pytest.mark.parametrize(
    "opens", [None, task_group, lambda: deadline(None)], ids=["nothing", "group", "deadline"]
)
@pytest.mark.parametrize("first", ["child", "inner", "outer"])
def test_a_child_that_is_cancelled_already_is_not_asked_again(
    first: str, opens: Callable[[], Any] | None
) -> None:
    asked: list[int] = []

    async def clean_up_at_the_end() -> None:
        try:
            await sleep_forever()
        finally:
            await asyncio.sleep(3)
            task = asyncio.current_task()
            assert task is not None
            asked.append(task.cancelling())

    async def child() -> None:
        if opens is None:
            await clean_up_at_the_end()
        else:
            async with opens():
                await clean_up_at_the_end()

    async def main() -> None:
        async with task_group() as outer, task_group() as inner:
            task = inner.create_task(child())
            scopes: dict[str, Any] = {"child": task, "inner": inner, "outer": outer}
            loop = asyncio.get_running_loop()
            loop.call_later(1, scopes[first].cancel)
            for scope in scopes.values():
                loop.call_later(2, scope.cancel)
            await sleep_forever()
        assert task.cancelled()

    HOSTS["asyncio"].run(main, virtual_time=True)
    assert asked == [1]
