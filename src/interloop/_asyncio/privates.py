"""Each private name of asyncio and anyio that this backend uses, why, and the test that fails when it goes.

All of them are read; none is written.

`Task._fut_waiter`, `Task._must_cancel`, `Task._cancel_message`
    Whether a cancellation now would take a value away from a task, or come to one that is running (C1, C5). A
    task class without them is cancelled from a callback instead, as nothing can be known.
    `test_handover.py`, `test_requests.py`.
`Future._cancel_message`
    Whether anyio has cancelled what a task waits for, as it does in every turn (N5). `test_requests.py`.
`_GatheringFuture._children`
    Cancelling what `asyncio.gather` waits with cancels these. `test_handover.py`.
`asyncio._unregister_task`
    `asyncio.run` cancels all registered tasks at its end, the inside of a shield too (C5).
    `test_requests.py`.
`asyncio.tasks._current_tasks`
    On 3.11 alone, where `current_task` is Python code around it: 7 % of a deadline (decision 0012). Every
    test.
`anyio._backends._asyncio._task_states`, `TaskState.cancel_scope`, `CancelScope._parent_scope`,
`_cancel_called`,
`_cancel_reason`, `_host_task`, `_pending_uncancellations`
    Which scopes of anyio are around a task, which of them is shielded (C8) or cancelled, how many requests
    they have out, and the message by which they know their own cancellation (N5). `test_requests.py`,
    `test_native.py`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from sys import modules
from typing import Any
from weakref import ref

__all__ = [
    "ANYIO",
    "AnyioScope",
    "anyio_cancellation",
    "anyio_delivered",
    "anyio_requests",
    "anyio_scope",
    "can_cancel_now",
    "current_task",
    "has_undelivered_request",
    "in_peace",
    "is_anyio_cancellation",
    "shield_between",
    "undelivered_message",
    "unregister_task",
]

if sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]

unregister_task = asyncio._unregister_task


def has_undelivered_request(task: asyncio.Task[Any]) -> bool:
    """Whether a request came while `task`, which is running, could not be told of it.

    That of a scope of anyio, which has noted it, is none of the host's.
    """
    return bool(getattr(task, "_must_cancel", False)) and not _is_of_anyio(undelivered_message(task))


def undelivered_message(task: asyncio.Task[Any]) -> Any:
    """The message of the request that `task` will be told of when it next runs, if there is one."""
    return getattr(task, "_cancel_message", None) if getattr(task, "_must_cancel", False) else None


def can_cancel_now(task: asyncio.Task[Any], *, after_a_turn: bool) -> bool:
    """Whether `Task.cancel()` now takes nothing away (C1): it is suspended and has no value on its way.

    Not so if it is running or has not begun; if what it waits for is done; or if it waits for another task of
    which one of these is true.

    Args:
        after_a_turn: this is called from a callback, and `task` was there a turn of the loop before: whoever
            cannot be looked into has begun by now, and does not run.
    """
    waiter = getattr(task, "_fut_waiter", None)
    if type(waiter) is asyncio.Future and not waiter.done():
        return True  # the usual case
    try:
        return _can_cancel_chain([task], after_a_turn)
    except Exception:  # C7: a future of another class
        return after_a_turn


def _can_cancel_chain(tasks: list[asyncio.Task[Any]], after_a_turn: bool) -> bool:
    """Whether this is so for all `tasks`, and for those that these wait for: chains can be long."""
    seen = set(tasks)
    for task in tasks:
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is None:  # it runs, has not begun, or stands at a bare yield
            suspended = getattr(task.get_coro(), "cr_suspended", None)
            if not (after_a_turn if suspended is None else suspended):
                return False
        elif waiter.done():
            # anyio has just cancelled it, and will in every turn: the two make one
            if not (waiter.cancelled() and _is_of_anyio(getattr(waiter, "_cancel_message", None))):
                return False
        else:
            waited_for = _tasks_under(waiter)
            if waited_for is None:
                return False
            tasks += waited_for - seen
            seen |= waited_for
    return True


def _tasks_under(waiter: Any) -> set[asyncio.Task[Any]] | None:
    """The tasks that `waiter.cancel()` cancels; `None` if that does nothing, as all of them have ended."""
    tasks: set[asyncio.Task[Any]] = set()
    waiters = [waiter]
    for waiter in waiters:
        if isinstance(waiter, asyncio.Task):
            tasks.add(waiter)
        elif (children := getattr(waiter, "_children", None)) is not None:  # of asyncio.gather()
            pending = [child for child in children if not child.done()]
            if not pending:
                return None
            waiters += pending
    return tasks


# anyio: nothing of this is looked at unless its backend for asyncio has been imported

ANYIO = "anyio._backends._asyncio"
AnyioScope = Any


def anyio_scope(task: asyncio.Task[Any]) -> AnyioScope | None:
    """The innermost cancel scope of anyio around the point at which `task` is."""
    states = _anyio_states or _find_anyio_states()
    state = states.get(ref(task)) if states else None
    return None if state is None else state.cancel_scope


# The dictionary inside anyio's weak one: a lookup there takes half as long.
_anyio_states: dict[ref[asyncio.Task[Any]], Any] = {}


def _find_anyio_states() -> dict[ref[asyncio.Task[Any]], Any]:
    """While another thread imports anyio, its module is there and has nothing in it."""
    global _anyio_states
    states = getattr(modules.get(ANYIO), "_task_states", None)
    if states is not None:
        _anyio_states = states.data
    return _anyio_states


def _scopes(innermost: AnyioScope | None) -> Iterator[AnyioScope]:
    while innermost is not None:
        yield innermost
        innermost = innermost._parent_scope


def _protects(scope: AnyioScope) -> bool:
    return bool(scope.shield) and scope not in _peaceful


def shield_between(inner: AnyioScope | None, outer: AnyioScope | None) -> bool:
    """Whether a shielded scope of anyio is around `inner` (itself included) and inside `outer` (C8)."""
    if inner is None:
        return False
    for scope in _scopes(inner):
        if scope is outer:
            return False
        if _protects(scope):
            return True
    return False


def anyio_cancellation(innermost: AnyioScope | None) -> str | None:
    """The message of the cancellation of anyio that is in force in the scope `innermost`, if there is one."""
    for scope in _scopes(innermost):
        if scope._cancel_called:
            return str(getattr(scope, "_cancel_reason", f"Cancelled by cancel scope {id(scope):x}"))
        if _protects(scope):
            return None
    return None


def anyio_delivered(task: asyncio.Task[Any], innermost: AnyioScope | None) -> str | None:
    """The message of a cancellation that anyio has already asked of `task`, even if a shield hides it here.

    Args:
        innermost: the scope to begin with, on the way outwards.
    """
    for scope in _scopes(innermost):
        if scope._host_task is task and getattr(scope, "_pending_uncancellations", False):
            return anyio_cancellation(scope)
    return None


def anyio_requests(task: asyncio.Task[Any]) -> int:
    """How many of the requests on `task` are of anyio's scopes, and will be taken back by them."""
    here = anyio_scope(task)
    if here is None:
        return 0
    return sum(
        getattr(scope, "_pending_uncancellations", 0) for scope in _scopes(here) if scope._host_task is task
    )


def in_peace(came: Sequence[BaseException]) -> AbstractContextManager[object]:
    """Where one waits on in spite of a cancellation: anyio would come again in every turn (C3).

    Cancellations of ours still come, as they do without it: anyio's scopes look at how many there were.

    Args:
        came: the cancellations that were swallowed so far.
    """
    return _InPeace() if came and any(map(is_anyio_cancellation, came)) else _AS_IT_IS


_AS_IT_IS = nullcontext()
_peaceful: set[AnyioScope] = set()


class _InPeace:
    def __enter__(self) -> None:
        self._scope: AnyioScope = modules["anyio"].CancelScope(shield=True)
        self._scope.__enter__()
        _peaceful.add(self._scope)

    def __exit__(self, *error: Any) -> None:
        _peaceful.remove(self._scope)
        self._scope.__exit__(*error)


def is_anyio_cancellation(error: BaseException) -> bool:
    return _is_of_anyio(error.args[0] if error.args else None)


def _is_of_anyio(message: object) -> bool:
    # `by` before anyio 4.11
    return isinstance(message, str) and message.startswith(
        ("Cancelled via cancel scope ", "Cancelled by cancel scope ")
    )
