"""Sleeping, checkpoints, and the clock."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Generator
from math import inf
from types import coroutine
from typing import Any

from .. import abc
from .._errors import outside_of_tasks
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


# for Event, Lock and the like


class Waiter(abc.Waiter):
    __slots__ = ("_future", "woken")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.woken = False

    def wake(self) -> bool:
        if self._future.done() or self._future.get_loop().is_closed():
            return False
        self.woken = True
        self._future.set_result(None)
        return True

    async def park(self) -> None:
        loop = asyncio.get_running_loop()
        task = current_task(loop)
        if task is None:
            raise outside_of_tasks(self)
        requests = tree_of(loop).requests
        settled = requests.settled(task)
        requests.deliver_held(task)
        try:
            await self._future
        except CancelledError as cancellation:
            if not self.woken:
                raise
            # S4: somebody else's, that came between the waking and this step
            requests.hold_back(task, settled, [cancellation], requests.nodes_in_force(task))
        finally:
            del task  # G11


# S5: who waits for a shield, by the task in it; and by the `id` of its coroutine, which need not be hashable,
# for the step that a task takes before it is known
callers: dict[object, asyncio.Task[Any]] = {}


def current_owner() -> asyncio.Task[Any]:
    task: asyncio.Task[Any] | None = current_task(asyncio.get_running_loop())
    if task is None:
        raise RuntimeError("no task runs here that could own it: call this in a task, not in a callback")
    if callers:
        while (caller := callers.get(task, callers.get(id(task.get_coro())))) is not None:
            task = caller
    return task


def current_loop() -> object:
    return asyncio.get_running_loop()  # looked up here: trio-asyncio replaces it, when it is imported
