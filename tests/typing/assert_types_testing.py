"""What `interloop.testing` gives back, for mypy and pyright."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import assert_type

from trio.testing import MockClock

from interloop.testing import (
    HOSTS,
    VirtualTimeLoop,
    explore_cancellation,
    run,
    virtual_clock,
    wait_all_tasks_blocked,
)


async def add(a: int, b: int) -> int:
    return a + b


def later(name: str) -> Awaitable[bytes]:
    raise NotImplementedError


async def nothing() -> None: ...


def running() -> None:
    assert_type(run(add, 1, 2), int)
    assert_type(run(add, 1, 2, host="trio", virtual_time=True), int)
    assert_type(run(later, "x"), bytes)
    assert_type(HOSTS["trio"].run(add, 1, 2, virtual_time=False), int)
    run(add, 1, "2")  # type: ignore[arg-type]  # pyright: ignore
    run(add, 1)  # type: ignore[arg-type]  # pyright: ignore
    run(print)  # type: ignore[arg-type]  # pyright: ignore
    assert_type(explore_cancellation(nothing, host="trio", check=lambda: True), int)
    assert_type(virtual_clock(), MockClock)


async def waiting() -> None:
    assert_type(await wait_all_tasks_blocked(), None)


loop: asyncio.AbstractEventLoop = VirtualTimeLoop()
