"""The public functions: each checks its arguments and hands over to the backend that is running."""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _dispatch
from ._checks import (
    FUTURE,
    PAST,
    PLAIN_NUMBERS,
    check_positive,
    is_coroutine,
    not_a_coroutine,
    refuse,
    safe_repr,
    seconds,
)
from ._dispatch import current_backend as _backend
from .abc import Deadline, TaskGroup

if TYPE_CHECKING:
    from .abc import SuppressingDeadline

T = TypeVar("T")


def task_group(*, limit: int | None = None, defer_errors: bool = False) -> TaskGroup:
    """A scope that owns tasks, used as `async with task_group() as tg:`.

    The block is left when every child has ended (G1). The first failure cancels the body and all other
    children, and all errors are raised together in one `ExceptionGroup` (G3) that never holds a cancellation
    (G4). A cancellation from outside passes on as it came (G5). Leaving the block is a checkpoint (G13).

    Args:
        limit: at most that many children run at once; the others wait in order of creation (G14).
        defer_errors: a failing child does not cancel its siblings; the errors are raised together when the
            last child has ended (G16).

    Raises:
        TypeError, ValueError: `limit` is not an integer, or is below 1.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    if limit is not None:
        check_positive(limit, "task_group(limit=)")
    return _backend("task_group()").TaskGroup(limit, defer_errors)


# A `suppress` that is not known until run time may swallow. To mypy the first overload, a case of the second,
# promises less than that.
@overload
def deadline(  # type: ignore[overload-overlap]
    delay: float | None = None, *, at: float | None = None, suppress: Literal[False] = False
) -> Deadline: ...
@overload
def deadline(
    delay: float | None = None, *, at: float | None = None, suppress: bool
) -> SuppressingDeadline: ...
def deadline(delay: float | None = None, *, at: float | None = None, suppress: bool = False) -> Deadline:
    """A scope that is cancelled when its time comes, used as `with deadline(6):`, or `async with`.

    On expiry the block is cancelled, and when that cancellation reaches the end of the block it becomes a
    `TimeoutError` (L1). A block that ends or fails by itself keeps its own outcome (L2), and of nested
    deadlines the outermost that has expired raises (L3).

    Args:
        delay: seconds from entering the block (L9); zero or less expires at the first checkpoint (L4);
            `None` or `inf`: no limit.
        at: the absolute time instead, in seconds on the `current_time()` clock.
        suppress: just leave the block instead of raising `TimeoutError`; `expired()` tells.

    Raises:
        TimeoutError: on leaving the block, if the deadline cut it short.
        TypeError: `delay` or `at` is not a number, or both are given.
        ValueError: `delay` or `at` is NaN.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    if at is not None:
        if delay is not None:
            raise TypeError(
                "deadline() takes `delay` or `at`, not both; "
                f"got delay={safe_repr(delay)} and at={safe_repr(at)}"
            )
        at = _finite(at, "deadline(at=)")
    elif delay is not None and not (type(delay) in PLAIN_NUMBERS and PAST < delay < FUTURE):
        delay = _finite(delay, "deadline(delay)")
    return _backend("deadline()").Deadline(delay, at, suppress)


def _finite(value: float, argument: str) -> float | None:
    return None if seconds(value, argument) == inf else value


def current_deadline() -> float:
    """The earliest deadline in force around this task, to be handed on to a database or a remote call.

    Seconds on the `current_time()` clock; `inf` if there is none, `-inf` once a scope around the task is
    cancelled. Sees through task groups: a child has the deadlines around its group (L7).

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    return _backend("current_deadline()").current_deadline()


async def shield(coro: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
    """Run `coro` to completion whatever cancels the caller, and give its result (C4).

    A cancellation that came meanwhile is delivered at the next checkpoint after it.

    Args:
        coro: a coroutine object, `f(x)`.
        timeout: seconds after which `coro` is cancelled and `TimeoutError` raised; `None`: no limit.

    Raises:
        TimeoutError: the `timeout` came.
        TypeError, ValueError: `coro` is not a coroutine object, or `timeout` not a number; `coro` is closed.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    if not is_coroutine(coro):
        raise not_a_coroutine(coro, "shield()")
    try:
        if timeout is not None:
            seconds(timeout, "shield(timeout=)")
        backend = _backend("shield()")
    except BaseException as error:
        refuse(error, [coro])
    if timeout is None:
        return await backend.shield(coro)
    try:
        return await backend.shield(_within(timeout, coro))
    except BaseException as error:
        if getattr(coro, "cr_frame", None) is not None:  # C7: not begun, as of a task factory that failed
            refuse(error, [coro])
        raise


async def _within(delay: float, coro: Coroutine[Any, Any, T]) -> T:
    with deadline(delay):
        return await coro


async def sleep(delay: float) -> None:
    """Sleep for `delay` seconds; 0 is a checkpoint, `inf` never ends (W1).

    Raises:
        TypeError, ValueError: `delay` is not a number, is negative, or NaN (W2).
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    if seconds(delay, "sleep()") < 0:
        raise ValueError(f"sleep() expects a number of seconds that is not negative, got {safe_repr(delay)}")
    await _backend("sleep()").sleep(delay)


async def sleep_until(when: float) -> None:
    """Sleep until the `current_time()` clock shows `when`; a time that is past is a checkpoint (W1).

    Raises:
        TypeError, ValueError: `when` is not a number, or NaN (W2).
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    seconds(when, "sleep_until()")
    backend = _backend("sleep_until()")
    await backend.sleep(max(0, when - backend.current_time()))


async def sleep_forever() -> None:
    """Sleep until cancelled.

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    await _backend("sleep_forever()").sleep_forever()


async def checkpoint() -> None:
    """Let other tasks run, and be cancelled here if that is due (W1).

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    await _backend("checkpoint()").checkpoint()


def current_time() -> float:
    """The clock of the loop that is running, in seconds; it never goes back (W3).

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    return _backend("current_time()").current_time()


def get_cancelled_exc_class() -> type[BaseException]:
    """What a cancellation is raised as here: `asyncio.CancelledError` or `trio.Cancelled`.

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    return _backend("get_cancelled_exc_class()").get_cancelled_exc_class()


def current_backend() -> str:
    """The name of the backend that serves calls here: `"asyncio"`, `"trio"`, ...

    Raises:
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    _backend("current_backend()")
    return _dispatch.current_backend_name("current_backend()")
