"""The shield."""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

from .._checks import refuse
from .._errors import left_open, outside_of_tasks
from .groups import TaskGroup
from .privates import current_task, in_peace, unregister_task
from .requests import outwards
from .scopes import Tree, tree_of
from .tasks import accepts, clear_finished_frames, make_task, wait_for_end
from .waiting import callers

T = TypeVar("T")

# C4: before any other task has a turn; Python 3.11 has no such tasks
AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    loop = asyncio._get_running_loop()
    if loop is None or (caller := current_task(loop)) is None:
        refuse(outside_of_tasks("shield()"), [coro])
    tree = tree_of(loop)
    context = copy_context()
    # A task of its own, in no group: no scope and no cancellation of the caller reaches into it.
    callers[id(coro)] = caller  # S5
    try:
        task = _start(coro, loop, f"shield in {caller.get_name()}", context)
    except BaseException as error:
        del callers[id(coro)]
        refuse(error, [coro])
    callers[task] = caller  # a task factory may have wrapped `coro` in another one
    try:
        if task.done():
            clear_finished_frames(task)
        else:
            await _wait_until_done(task, caller, tree)
        for variable, value in context.items():  # as if it had run in the caller
            if variable.get(context) is not value:
                variable.set(value)
        if task in tree.innermost:
            await _close_what_is_open(task, tree)
        return task.result()
    finally:
        del callers[id(coro)], callers[task]
        del task, caller  # G11: no cycle from an error through its traceback to this frame


def _start(
    coro: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[T]:
    if loop.get_task_factory() is not None and accepts(loop, coro, context=context):
        return make_task(loop, coro, name, context)
    return asyncio.Task(coro, loop=loop, name=name, context=context, **AT_ONCE)


async def _wait_until_done(task: asyncio.Task[Any], caller: asyncio.Task[Any], tree: Tree) -> None:
    settled = tree.requests.settled(caller)
    came: list[CancelledError] = []
    _hide(task, tree)
    try:
        while not task.done():
            try:
                with in_peace(came):
                    await wait_for_end(task)
            except CancelledError as cancellation:
                came.append(cancellation)
        if came:
            tree.requests.hold_back(caller, settled, came, tree.requests.nodes_in_force(caller))
    finally:
        tree.in_shields.discard(task)
        del task, caller, came  # G11


async def _close_what_is_open(task: asyncio.Task[Any], tree: Tree) -> None:
    """G9: what the inside of a shield has left open goes with it; it is in no group that would wait for that.

    Raises:
        ExceptionGroup: whose scopes these were, the errors of their children, and that of `task`.
    """
    left = [*outwards(tree.innermost.pop(task))]
    async with TaskGroup(None, False) as group:
        if not task.cancelled() and (error := task.exception()) is not None:
            group._failed(error)
        for scope in left:
            group._failed(left_open(scope, task.get_name()))
            scope._abandon(group)


def _hide(task: asyncio.Task[Any], tree: Tree) -> None:
    """C5: at its end `asyncio.run` cancels all tasks that it knows; it must not know those inside of shields.

    A task that began at once may have children already.
    """
    unregister_task(task)
    tree.in_shields.add(task)
    for node in outwards(tree.innermost.get(task)):
        for child in node._children():
            _hide(child, tree)
