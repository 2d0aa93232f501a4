"""The shield."""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, ClassVar, TypeVar

from .._errors import outside_of_tasks
from .privates import anyio_scope, current_task, unregister_task
from .scopes import Node, Tree, tree_of
from .tasks import wait_for_end

T = TypeVar("T")


class Shield(Node):
    """In the tree, a task that waits for what it shields."""

    __slots__ = ("_owes",)

    _is_shield: ClassVar[bool] = True

    def __init__(self, task: asyncio.Task[Any], parent: Node | None) -> None:
        self._parent = parent
        self._anyio = anyio_scope(task)
        self._asked = False
        self._cancelled = False
        self._owes = False  # a cancellation of ours that came meanwhile


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    caller = current_task(loop)
    if caller is None:
        coro.close()
        raise outside_of_tasks("shield()")
    tree = tree_of(loop)
    context = copy_context()
    # A task of its own, in no group: no scope and no cancellation of the caller reaches into it.
    task = _start(coro, loop, f"shield in {caller.get_name()}", context)
    try:
        if not task.done():
            await _wait_until_done(task, caller, tree)
        for variable, value in context.items():  # as if it had run in the caller
            if variable.get(context) is not value:
                variable.set(value)
        return task.result()
    finally:
        del task  # G11: no cycle from an error through its traceback to this frame


def _start(
    coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[T]:
    if sys.version_info >= (3, 12):  # C4: at once, before any other task has a turn
        return asyncio.Task(coro, loop=loop, name=name, context=context, eager_start=True)
    return asyncio.Task(coro, loop=loop, name=name, context=context)


async def _wait_until_done(task: asyncio.Task[Any], caller: asyncio.Task[Any], tree: Tree) -> None:
    settled = tree.requests.settled(caller)
    came: list[CancelledError] = []
    node = Shield(caller, tree.innermost_of(caller))
    _hide(task, tree)
    tree.innermost[caller] = node
    try:
        while not task.done():
            try:
                await wait_for_end(task)
            except CancelledError as cancellation:
                came.append(cancellation)
    finally:
        tree.in_shields.discard(task)
        if node._parent is None:
            del tree.innermost[caller]
        else:
            tree.innermost[caller] = node._parent
        tree.requests.hold_back(caller, settled, came, ours=node._owes)
        del task, caller, came, node  # G11


def _hide(task: asyncio.Task[Any], tree: Tree) -> None:
    """C5: `asyncio.run` cancels every task that is registered at its end; it must not know those inside of shields.

    A task that began at once may have children already.
    """
    unregister_task(task)
    tree.in_shields.add(task)
    node = tree.innermost.get(task)
    while node is not None:
        for child in node._children():
            _hide(child, tree)
        node = None if node._is_task else node._parent
