"""What is inside an error: its leaves, without the cancellations, whatever the user's classes do (C7).

The classes of errors are the user's. Their `split`, `derive`, `exceptions`, `__class__`, `__eq__`, `__repr__`
and `__setattr__` can be overridden, and can raise. So nothing here asks an error about itself: its type is
`type(error)`, and its parts are read through the descriptors of the builtin classes. `split` alone is called,
since a class that overrides `derive` wants to be kept; what it returns is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import is_
from types import CodeType, FunctionType, TracebackType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

# Read through these, an attribute is what the interpreter stored, not what a subclass shows.
exceptions_in: Callable[[BaseException], tuple[BaseException, ...]] = vars(BaseExceptionGroup)[
    "exceptions"
].__get__
_message_of: Callable[[BaseException], str] = vars(BaseExceptionGroup)["message"].__get__
_context = cast(Any, BaseException.__context__)
_traceback = cast(Any, BaseException.__traceback__)
_cause = cast(Any, BaseException.__cause__)

Kind = type[BaseException] | tuple[type[BaseException], ...]


def is_a(error: BaseException, kind: Kind) -> bool:
    """`isinstance`, which does not look at `__class__`."""
    return issubclass(type(error), kind)


def same_errors(errors: list[BaseException], error: BaseException | None) -> bool:
    """Whether `error` is all that there is; `==` would call the user's `__eq__`."""
    return len(errors) == 1 and errors[0] is error


def context_of(error: BaseException) -> BaseException | None:
    context: BaseException | None = _context.__get__(error)
    return context


def set_context(error: BaseException, context: BaseException | None) -> None:
    """Works on frozen classes too, whose `__setattr__` refuses."""
    _context.__set__(error, context)


def set_cause(error: BaseException, cause: BaseException) -> None:
    _cause.__set__(error, cause)


_explain_nothing: set[CodeType] = set()


def explains_nothing(fn: F) -> F:
    """Leave the frames of `fn`, in which a child begins, out of tracebacks."""
    _explain_nothing.add(cast(FunctionType, fn).__code__)
    return fn


def traceback_of(error: BaseException) -> TracebackType | None:
    """`error.__traceback__`, which its class may have hidden."""
    return cast("TracebackType | None", _traceback.__get__(error))


def hide_frames(error: BaseException) -> None:
    """Let the traceback begin with the first frame that is not ours; as the library outcome does."""
    traceback = traceback_of(error)
    while traceback is not None and traceback.tb_next and traceback.tb_frame.f_code in _explain_nothing:
        traceback = traceback.tb_next
    _traceback.__set__(error, traceback)


def contexts_of(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it came up in, and so on; a chain that runs in a circle ends where it closes."""
    seen: set[int] = set()
    while id(error) not in seen:
        yield error
        seen.add(id(error))
        context = context_of(error)
        if context is None:
            return
        error = context


def new_group(message: str, errors: list[BaseException]) -> BaseExceptionGroup[BaseException]:
    """A group of `errors`, none of which is or contains a cancellation."""
    group = BaseExceptionGroup(message, errors)
    group._interloop_holds_errors_only = True  # type: ignore[attr-defined]
    return group


def _holds_errors_only(group: BaseException) -> bool:
    """Whether `new_group` made it: then a chain of groups is looked through once, and not at every level."""
    return type(group) in (ExceptionGroup, BaseExceptionGroup) and hasattr(
        group, "_interloop_holds_errors_only"
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in `error`, in order; a group of errors alone counts as one."""
    pending = [error]
    while pending:
        error = pending.pop()
        if is_a(error, BaseExceptionGroup) and not _holds_errors_only(error):
            pending += reversed(exceptions_in(error))
        else:
            yield error


def every_leaf(error: BaseException) -> Iterator[BaseException]:
    """Likewise, but a group never counts as one."""
    pending = [error]
    while pending:
        error = pending.pop()
        if is_a(error, BaseExceptionGroup):
            pending += reversed(exceptions_in(error))
        else:
            yield error


def first_leaf(error: BaseException) -> BaseException:
    return next(_leaves(error))


def first_leaf_of(error: BaseException, kind: Kind) -> BaseException | None:
    return next((leaf for leaf in _leaves(error) if is_a(leaf, kind)), None)


def is_of_full_stack(error: BaseException | None) -> bool:
    return error is not None and first_leaf_of(error, RecursionError) is not None


def errors_only(error: BaseException, cancelled: type[BaseException]) -> BaseException | None:
    """`error` without the cancellations in it, or `None` if it holds nothing else (G4)."""
    if not is_a(error, BaseExceptionGroup):
        return None if is_a(error, cancelled) else error
    leaves = list(_leaves(error))
    errors = [leaf for leaf in leaves if not is_a(leaf, cancelled)]
    if len(errors) == len(leaves):
        return error
    if not errors:
        return None
    failure: BaseException
    try:
        rest = cast("BaseExceptionGroup[BaseException]", error).split(cancelled)[1]
        if rest is not None and _same_leaves(rest, errors):
            return rest
        failure = RuntimeError(f"{type(error).__qualname__}.split() lost an error or kept a cancellation")
    except RecursionError:  # groups that are nested too deeply for it; nothing of the user's went wrong
        return new_group(_message_of(error), errors)
    except BaseException as raised:
        failure = raised
    return new_group(_message_of(error), [*errors, failure])


def _same_leaves(group: BaseException, expected: list[BaseException]) -> bool:
    found = list(_leaves(group))
    return len(found) == len(expected) and all(map(is_, found, expected))
