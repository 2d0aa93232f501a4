"""What the public calls accept."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from math import isnan
from types import CoroutineType
from typing import Any, TypeGuard

# Numbers of seconds of these types and between these need no closer look, which is a tenth of a deadline.
PLAIN_NUMBERS = frozenset({float, int})
PAST, FUTURE = -1e15, 1e15


def seconds(value: object, argument: str) -> float:
    """`value`, if it is a number of seconds (L4, W2)."""
    # bool is an int, but deadline(True) is a mistake
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{argument} expects a number of seconds, got {value!r}")
    try:
        value = float(value)
    except OverflowError:
        raise ValueError(
            f"{argument} expects a number of seconds, got an integer that is too large"
        ) from None
    if isnan(value):
        raise ValueError(f"{argument} expects a number of seconds, got NaN")
    return value


def check_positive(value: object, argument: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} expects an integer or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{argument} expects at least 1, got {value!r}; None is for no limit")


def is_coroutine(value: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    # the abstract class alone takes five times as long
    return type(value) is CoroutineType or isinstance(value, Coroutine)


def not_a_coroutine(value: object, call: str) -> TypeError:
    if callable(value):
        name = getattr(value, "__qualname__", repr(value))
        advice = f"call the function and pass what it returns: {name}(...)"
    elif hasattr(value, "__await__"):
        advice = "wrap the awaitable in an async function and pass a call of that"
    else:
        advice = "pass a call of an async function"
    return TypeError(f"{call} expects a coroutine object, got {value!r}; {advice}")


def check_child(coro: object, context: object, call: str) -> None:
    """Refuse what cannot be a child (G8, G10)."""
    if not is_coroutine(coro):
        raise not_a_coroutine(coro, call)
    if context is not None and not isinstance(context, Context):
        coro.close()
        raise TypeError(f"{call} expects a contextvars.Context, or None, as `context`, got {context!r}")


def check_function(fn: object, call: str) -> None:
    """Refuse what cannot be called to get a coroutine."""
    if callable(fn):
        return
    if is_coroutine(fn):
        fn.close()
    raise TypeError(
        f"{call} expects an async function and its arguments, got {fn!r}; "
        "pass the function itself, not a call of it"
    )
