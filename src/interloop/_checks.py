"""What the public calls accept."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextvars import Context
from math import isnan
from types import CoroutineType
from typing import Any, NoReturn, TypeGuard

# Numbers of seconds of these types and between these need no closer look, which is a tenth of a deadline.
PLAIN_NUMBERS = frozenset({float, int})
PAST, FUTURE = -1e15, 1e15


def safe_repr(value: object) -> str:
    """`repr(value)`, or what any object has for it if that fails."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def seconds(value: object, argument: str) -> float:
    """`value`, if it is a number of seconds (L4, W2)."""
    # bool is an int, but deadline(True) is a mistake
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{argument} expects a number of seconds, got {safe_repr(value)}")
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
        raise TypeError(f"{argument} expects an integer or None, got {safe_repr(value)}")
    if value < 1:
        raise ValueError(f"{argument} expects at least 1, got {safe_repr(value)}; None is for no limit")


def is_coroutine(value: object) -> TypeGuard[Coroutine[Any, Any, Any]]:
    # the abstract class alone takes five times as long
    return type(value) is CoroutineType or isinstance(value, Coroutine)


def name_of(value: object) -> str | None:
    """The qualified name of a function or of its coroutine."""
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else None


def not_a_coroutine(value: object, call: str) -> TypeError:
    if callable(value):
        name = name_of(value) or safe_repr(value)
        advice = f"call the function and pass what it returns: {name}(...)"
    elif hasattr(value, "__aiter__"):
        advice = "iterate over it in an async function and pass a call of that"
    elif hasattr(value, "__await__") and hasattr(value, "native"):  # a task of ours
        advice = "it runs already: await it"
    elif hasattr(value, "__await__"):
        advice = "wrap the awaitable in an async function and pass a call of that"
    else:
        advice = "pass a call of an async function"
    return TypeError(f"{call} expects a coroutine object, got {safe_repr(value)}; {advice}")


def close_all(values: Iterable[object]) -> None:
    """Close the coroutine objects among `values`, all of them even if some refuse."""
    failures: list[Exception] = []
    for value in values:
        if is_coroutine(value):
            try:
                value.close()
            except Exception as failure:
                failures.append(failure)
    if failures:
        raise ExceptionGroup("coroutines that could not be closed", failures)


def refuse(error: BaseException, values: Iterable[object]) -> NoReturn:
    """Close the coroutine objects among `values` and raise `error`, whose context is what closing raised."""
    try:
        close_all(values)
    finally:
        try:
            raise error
        finally:
            del error, values  # G11: no cycle from the error through its traceback to this frame


def check_child(coro: object, context: object, name: object, call: str) -> None:
    """Refuse what cannot be a child (G8, G10)."""
    if not is_coroutine(coro):
        refuse(not_a_coroutine(coro, call), coro if isinstance(coro, (list, tuple)) else ())
    if name is not None and not isinstance(name, str):
        refuse(TypeError(f"{call} expects a str, or None, as `name`, got {safe_repr(name)}"), [coro])
    if context is not None and not isinstance(context, Context):
        said = safe_repr(context)
        error = TypeError(f"{call} expects a contextvars.Context, or None, as `context`, got {said}")
        refuse(error, [coro])


def check_function(fn: object, call: str) -> None:
    """Refuse what cannot be called to get a coroutine."""
    if callable(fn):
        return
    error = TypeError(
        f"{call} expects an async function and its arguments, got {safe_repr(fn)}; "
        "pass the function itself, not a call of it"
    )
    refuse(error, [fn])
