"""The shield: a shielded cancel scope."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from trio import Cancelled, CancelScope
from trio.lowlevel import Task, current_task

from .._checks import refuse
from .._error_groups import errors_only, new_group
from .._errors import left_open
from .scopes import Scope, close_all, innermost, scopes_within

T = TypeVar("T")


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    try:
        task = current_task()
    except RuntimeError as error:
        refuse(error, [coro])
    around = innermost.get(task)
    with CancelScope(shield=True):
        try:
            returned = await coro
        except BaseException as error:
            if innermost.get(task) is not around:
                await _close_what_is_open(task, around, error)
            raise
        if innermost.get(task) is not around:
            await _close_what_is_open(task, around)
        return returned
    raise AssertionError("a scope that nobody cancels swallows nothing")


async def _close_what_is_open(task: Task, around: Scope | None, error: BaseException | None = None) -> None:
    """G9: what the inside of a shield has left open goes with it.

    Raises:
        ExceptionGroup: whose scopes these were, the errors of their children, and `error`.
    """
    scopes = scopes_within(task, around)
    if scopes is None:
        return  # a scope around the shield was left inside it, which has told
    other = None if error is None else errors_only(error, Cancelled)
    errors = [] if other is None else [other]
    errors += [left_open(scope, task.name) for scope in scopes]
    errors += await close_all(scopes, task)
    raise new_group("unhandled errors in a shield", errors) from None
