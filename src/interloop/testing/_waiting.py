"""Which tasks wait, and where: for the errors that name them."""

from __future__ import annotations

import gc
import linecache
from collections.abc import Iterable, Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, TypeAlias

from .._checks import safe_repr

__all__ = ["Deadlock", "deadlock_of", "where"]

Suspended: TypeAlias = (
    "CoroutineType[Any, Any, Any] | GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]"
)

# What lies between the line that waits and the loop, and is not what the reader is looking for.
MACHINERY = {"anyio", "asyncio", "contextlib", "interloop", "outcome", "trio", "trio_asyncio"}
COORDINATION = {"interloop._channel", "interloop._sync"}
# What the interpreter wraps a coroutine in, without an attribute that leads to it.
WRAPPERS = {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}


class Deadlock(RuntimeError):
    """In virtual time: every task waits, and nothing can ever happen that would wake one."""


def deadlock_of(waiting: Iterable[tuple[str, object]]) -> Deadlock:
    """The error for tasks that wait for ever, each given by its name and its coroutine."""
    lines = [f"task {name!r} waits {_for_what(coro)}at {where(coro)}" for name, coro in waiting]
    return Deadlock(
        "nothing can happen any more: no task can run, no timer is left, and no thread, no I/O and no signal "
        "is known of that could wake one\n  " + "\n  ".join(sorted(lines))
    )


def _for_what(coro: object) -> str:
    """The lock, the channel or the like that it waits for, whose `repr` says who holds it (S9)."""
    for frame in _frames(coro):
        if frame.f_globals.get("__name__") in COORDINATION:
            return f"for {safe_repr(frame.f_locals['self'])} "
    return ""


def where(coro: object) -> str:
    """The source line at which the task that runs `coro` is suspended; the user's own, if there is one."""
    frames = list(_frames(coro))
    if not frames:
        return f"a place inside {type(coro).__qualname__} that Python does not show"
    own = [frame for frame in frames if not _is_machinery(frame)]
    frame = (own or frames)[-1]
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}: {source or '(no source)'}"


def _is_machinery(frame: FrameType) -> bool:
    package, _, rest = str(frame.f_globals.get("__name__", "")).partition(".")
    return package in MACHINERY and not rest.startswith("conformance")


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of what a coroutine awaits, outermost first."""
    while awaited is not None:
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, GeneratorType):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        elif isinstance(awaited, AsyncGeneratorType):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        else:
            awaited = _inside_wrapper(awaited)
            continue
        if frame is not None:
            yield frame


def _inside_wrapper(awaited: object) -> Suspended | None:
    if type(awaited).__name__ not in WRAPPERS:
        return None
    suspended = (CoroutineType, GeneratorType, AsyncGeneratorType)
    return next((inner for inner in gc.get_referents(awaited) if isinstance(inner, suspended)), None)
