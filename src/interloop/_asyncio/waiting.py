"""Sleeping, checkpoints, and the clock."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Generator
from math import inf
from types import coroutine

from .privates import anyio_scope, current_task, shield_between
from .scopes import Node, tree_of

Event = asyncio.Event


async def sleep(seconds: float) -> None:
    if seconds == 0:
        await checkpoint()
    elif seconds == inf:
        await sleep_forever()
    else:
        await asyncio.sleep(seconds)


async def sleep_forever() -> None:
    await asyncio.get_running_loop().create_future()


async def checkpoint() -> None:
    expire_overdue(_innermost_of_current_task())
    await turn()


@coroutine
def turn() -> Generator[None]:
    """Let others run, as `asyncio.sleep(0)` does."""
    yield


def expire_overdue(node: Node | None) -> None:
    """Expire the deadlines around a task that comes to a checkpoint.

    asyncio runs the steps that are queued before the timers that are due: a deadline whose time came while
    the task computed would not be noticed there (L4).
    """
    while node is not None:
        if node._when is not None:
            node._expire_if_due()
        node = node._parent


def _innermost_of_current_task() -> Node | None:
    loop = asyncio.get_running_loop()
    task = current_task(loop)
    return None if task is None else tree_of(loop).innermost_of(task)


def current_time() -> float:
    return asyncio.get_running_loop().time()


def current_deadline() -> float:
    loop = asyncio.get_running_loop()
    task = current_task(loop)
    if task is None:
        return inf
    earliest = inf
    here = anyio_scope(task)
    node = tree_of(loop).innermost_of(task)
    while node is not None and not shield_between(here, node._anyio):  # C8
        if node._cancelled:
            return -inf
        if node._when is not None:
            earliest = min(earliest, node._when)
        node = node._parent
    return earliest


def is_cancelled() -> bool:
    return current_deadline() == -inf


def get_cancelled_exc_class() -> type[BaseException]:
    return CancelledError
