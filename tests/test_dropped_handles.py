"""Children whose handle nobody keeps: on trio they run without a cancel scope of their own (`_trio`)."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
import trio

from interloop import sleep, sleep_forever, task_group
from interloop.testing import HOSTS

ON_BOTH = pytest.mark.parametrize("host", ["asyncio", "trio"])


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="without reference counts a handle lives until a collection"
)
def test_only_a_child_whose_handle_is_kept_has_a_scope_on_trio() -> None:
    scopes: dict[str, int] = {}

    async def child(name: str) -> None:
        scopes[name] = sum(type(it) is trio.CancelScope for it in gc.get_objects())

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(child("dropped"))
        async with task_group() as tg:
            kept = tg.create_task(child("kept"))
        assert kept.done()

    gc.collect()
    HOSTS["trio"].run(main)
    assert scopes["kept"] == scopes["dropped"] + 1


@ON_BOTH
def test_a_handle_that_is_dropped_after_cancel_cancels_all_the_same(host: str) -> None:
    steps: list[str] = []

    async def child() -> None:
        steps.append("started")
        await sleep_forever()

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(child()).cancel()
            gc.collect()

    HOSTS[host].run(main)
    assert steps == ["started"]


@ON_BOTH
def test_a_cancelled_handle_is_released_when_its_child_has_ended(host: str) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    async def main() -> None:
        async with task_group() as tg:
            for _ in range(3):
                task = tg.create_task(sleep_forever())
                alive.add(task)
                task.cancel()
                del task
            await sleep(1)
            gc.collect()
            assert not alive

    HOSTS[host].run(main)


@ON_BOTH
def test_a_handle_that_is_dropped_while_the_child_runs_changes_nothing(host: str) -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        await sleep(number)
        ended.append(number)

    async def main() -> None:
        async with task_group() as tg:
            tasks = [tg.create_task(child(number)) for number in range(3)]
            await sleep(0.5)
            del tasks
            gc.collect()

    HOSTS[host].run(main)
    assert ended == [0, 1, 2]


@ON_BOTH
def test_the_error_of_a_dropped_child_is_the_groups(host: str) -> None:
    async def fail() -> None:
        raise OSError("no route")

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(fail())
            await sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        HOSTS[host].run(main)
    assert [str(error) for error in caught.value.exceptions] == ["no route"]
