"""asyncio's call graph shows what a task waits for (S9)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from interloop import Event, Lock, channel, task_group
from interloop.testing import run, wait_all_tasks_blocked


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio has no call graph before 3.14")
@pytest.mark.parametrize("call", ["Event.wait", "Lock.acquire", "ReceiveChannel.receive"])
def test_the_call_graph_shows_what_a_task_waits_for(call: str) -> None:
    async def main() -> None:
        event, lock = Event(), Lock()
        sender, receiver = channel[int](0)
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "Event.wait": event.wait,
            "Lock.acquire": lock.acquire,
            "ReceiveChannel.receive": receiver.receive,
        }

        async def wait() -> None:
            await waits[call]()

        async with lock, sender, receiver, task_group() as tg:
            task = tg.create_task(wait())
            await wait_all_tasks_blocked()
            graph = asyncio.format_call_graph(task.native)  # type: ignore[attr-defined,unused-ignore]
            tg.cancel()
        assert call in graph

    run(main, host="asyncio")
