"""What people otherwise write by hand over a task group, written over the facade alone."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from math import inf
from types import TracebackType
from typing import Any, Generic, Never, Self, TypeVar, cast, overload

from ._checks import check_positive, close_all, is_coroutine, name_of, not_a_coroutine, refuse, safe_repr
from ._dispatch import current_backend
from ._error_groups import explains_nothing, hide_frames
from ._errors import TaskCancelled
from ._facade import get_cancelled_exc_class, task_group
from .abc import NativeEvent, Task

__all__ = ["AsCompleted", "as_completed", "first", "gather"]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")

_Coro = Coroutine[Any, Any, T]


def _check_all(coros: tuple[object, ...], call: str) -> None:
    """Refuse what is no coroutine object, and close all that are (P1, P2)."""
    for coro in coros:
        if not is_coroutine(coro):
            if not _is_to_be_unpacked(coro):
                refuse(not_a_coroutine(coro, call), coros)
            values = coro.values() if isinstance(coro, Mapping) else coro
            how = "unpack its values with a `*`" if isinstance(coro, Mapping) else "unpack it with a `*`"
            error = TypeError(f"{call} expects coroutine objects, got {safe_repr(coro)}; {how}")
            refuse(error, [*coros, *values] if isinstance(values, Collection) else coros)


def _is_to_be_unpacked(value: object) -> bool:
    return isinstance(value, (Collection, Iterator)) and not (
        isinstance(value, (str, bytes)) or callable(value)
    )


def _is_cancelled() -> bool:
    """Whether a scope around this task is cancelled."""
    return current_backend("_is_cancelled()").is_cancelled()


@overload
async def gather(c1: _Coro[T1], /, *, limit: int | None = None) -> tuple[T1]: ...
@overload
async def gather(c1: _Coro[T1], c2: _Coro[T2], /, *, limit: int | None = None) -> tuple[T1, T2]: ...
@overload
async def gather(
    c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], /, *, limit: int | None = None
) -> tuple[T1, T2, T3]: ...
@overload
async def gather(
    c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], c4: _Coro[T4], /, *, limit: int | None = None
) -> tuple[T1, T2, T3, T4]: ...
@overload
async def gather(
    c1: _Coro[T1],
    c2: _Coro[T2],
    c3: _Coro[T3],
    c4: _Coro[T4],
    c5: _Coro[T5],
    /,
    *,
    limit: int | None = None,
) -> tuple[T1, T2, T3, T4, T5]: ...
@overload
async def gather(
    c1: _Coro[T1],
    c2: _Coro[T2],
    c3: _Coro[T3],
    c4: _Coro[T4],
    c5: _Coro[T5],
    c6: _Coro[T6],
    /,
    *,
    limit: int | None = None,
) -> tuple[T1, T2, T3, T4, T5, T6]: ...
@overload
async def gather(*coros: _Coro[T], limit: int | None = None) -> tuple[T, ...]: ...
async def gather(*coros: _Coro[Any], limit: int | None = None) -> tuple[Any, ...]:
    """Run all coroutines at once and give their results in order (P1).

    Args:
        coros: coroutine objects, `f(x), g(y)`, or `*[f(x) for x in xs]`.
        limit: at most that many run at once; the others wait in order (G14).

    Raises:
        ExceptionGroup: the first failure cancels the others, and all errors are raised together (G3).
        TaskCancelled: a coroutine ended as cancelled by itself, as one can on asyncio.
        TypeError, ValueError: an argument is not a coroutine object, or `limit` is not a positive integer;
            all coroutines are closed.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2); all coroutines are closed.
    """
    _check_all(coros, "gather()")
    try:
        if limit is not None:
            check_positive(limit, "gather(limit=)")
        current_backend("gather()")
        group = task_group(limit=limit)
    except BaseException as error:
        refuse(error, coros)
    tasks: list[Task[Any]] = []
    try:
        async with group as tg:
            for coro in coros:
                try:
                    tasks.append(tg.create_task(coro))
                except BaseException as error:
                    refuse(error, coros[len(tasks) :])
        return tuple(task.result() for task in tasks)
    finally:
        tasks = []  # G11: the frames of a child that fails at once know this one


@overload
async def first(c1: _Coro[T1], /) -> T1: ...
@overload
async def first(c1: _Coro[T1], c2: _Coro[T2], /) -> T1 | T2: ...
@overload
async def first(c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], /) -> T1 | T2 | T3: ...
@overload
async def first(c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], c4: _Coro[T4], /) -> T1 | T2 | T3 | T4: ...
@overload
async def first(
    c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], c4: _Coro[T4], c5: _Coro[T5], /
) -> T1 | T2 | T3 | T4 | T5: ...
@overload
async def first(
    c1: _Coro[T1], c2: _Coro[T2], c3: _Coro[T3], c4: _Coro[T4], c5: _Coro[T5], c6: _Coro[T6], /
) -> T1 | T2 | T3 | T4 | T5 | T6: ...
@overload
async def first(*coros: _Coro[T]) -> T: ...
async def first(*coros: _Coro[Any]) -> Any:
    """Run all coroutines at once and give the first result; the others are cancelled and waited for (P2).

    A failure only counts if all fail. A result that comes while the others are being cancelled is dropped;
    an error in the clean-up of one of them is not.

    Raises:
        ExceptionGroup: all failed; or one of the others failed while it was being cancelled.
        TaskCancelled: every coroutine ended as cancelled by itself, as one can on asyncio.
        TypeError: no argument, or one that is not a coroutine object; all coroutines are closed.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2); all coroutines are closed.
    """
    if not coros:
        raise TypeError("first() expects at least one coroutine object, got none")
    _check_all(coros, "first()")
    try:
        current_backend("first()")
        group = task_group()
    except BaseException as error:
        refuse(error, coros)
    results: list[Any] = []
    failures: list[Exception] = []
    attempts: list[_Attempt] = []

    @explains_nothing
    async def run(attempt: _Attempt) -> None:
        try:
            result = await attempt
        except Exception as error:
            if (results and not attempt.was_woken) or (not results and _is_cancelled()):
                raise  # an error in clean-up, after a success or a cancellation from outside
            hide_frames(error)
            failures.append(error)
        else:
            if not results:
                results.append(result)
                for other in attempts:
                    other.note_whether_it_is_woken()
                group.cancel()

    async with group:
        for coro in coros:
            attempt = _Attempt(coro)
            try:
                attempt.task = group.create_task(run(attempt), name=name_of(coro))
            except BaseException as error:
                refuse(error, coros[len(attempts) :])
            attempts.append(attempt)
    try:
        if results:
            return results[0]
        if failures:
            raise ExceptionGroup("all attempts failed", failures.copy())
        raise TaskCancelled("every coroutine given to first() ended as cancelled")
    finally:
        failures.clear()  # G11: the functions above and the errors know each other, through tracebacks


class _Attempt:
    """A coroutine given to `first`, and whether it fails by itself after another one has succeeded.

    It does if its next step was due by then: in that step it knows nothing of a cancellation yet.
    """

    __slots__ = ("_steps", "task", "was_woken")

    task: Task[None]

    def __init__(self, coro: _Coro[Any]) -> None:
        self._steps = coro.__await__()
        self.was_woken = True  # to its first step

    def note_whether_it_is_woken(self) -> None:
        self.was_woken = self.task._is_woken()

    def __await__(self) -> Generator[Any, Any, Any]:
        return cast("Generator[Any, Any, Any]", self)

    def __iter__(self) -> Self:
        return self

    @explains_nothing
    def __next__(self) -> object:
        return self._suspended(next(self._steps))

    @explains_nothing
    def send(self, value: object) -> object:
        try:
            return self._suspended(self._steps.send(value))
        finally:
            del value  # G11: on trio it holds the error that is thrown; likewise below

    @explains_nothing
    def throw(self, *error: Any) -> object:  # PyPy passes three arguments
        try:
            return self._suspended(self._steps.throw(*error))
        finally:
            del error

    def close(self) -> None:
        self._steps.close()

    def _suspended(self, waits_for: object) -> object:
        self.was_woken = False
        return waits_for


_END: Any = object()


class AsCompleted(Generic[T]):
    """The results of several coroutines as they come: an async context manager over an async iterator (P3).

    Made by `as_completed`.
    """

    __slots__ = (
        "__weakref__",
        "_change",
        "_entered",
        "_exhausted",
        "_group",
        "_left",
        "_limit",
        "_made_already",
        "_new_event",
        "_one_was_cancelled",
        "_results",
        "_running",
        "_source",
    )

    def __init__(self, coros: Iterable[_Coro[T]] | AsyncIterable[_Coro[T]], limit: int | None) -> None:
        self._new_event = current_backend("as_completed()").Event
        self._group = task_group()
        self._made_already = isinstance(coros, Collection)
        self._source: Iterator[_Coro[T]] | AsyncIterator[_Coro[T]]
        self._source = aiter(coros) if isinstance(coros, AsyncIterable) else iter(coros)
        self._limit = inf if limit is None else limit
        self._results: deque[T] = deque()
        self._running = 0
        self._exhausted = False
        self._one_was_cancelled = False  # by itself, as a coroutine can end on asyncio
        self._entered = False
        self._left = False
        self._change: NativeEvent | None = None  # what those wait for who wait for any change

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._entered = True
        try:
            self._group.create_task(self._feed(), name="as_completed")
        except BaseException as error:  # C7: of a task factory
            await self._close_source()
            await self._group.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        if exc is None and (self._running or not self._exhausted):
            self._group.cancel()
        try:
            return await self._group.__aexit__(exc_type, exc, tb)
        finally:
            self._left = True
            self._changed()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            if not self._entered or self._left:
                if self._made_already and not self._entered:
                    close_all(cast("Iterator[object]", self._source))
                raise RuntimeError(
                    "as_completed() is iterated over inside `async with as_completed(...) as results:`"
                )
            if self._results:
                break
            if self._exhausted and not self._running:
                if self._one_was_cancelled:
                    raise TaskCancelled("a coroutine given to as_completed() ended as cancelled")
                raise StopAsyncIteration
            await self._wait_for_change()
        result = self._results.popleft()
        self._changed()
        return result

    async def _wait_for_change(self) -> None:
        if self._change is None:
            self._change = self._new_event()
        await self._change.wait()

    def _changed(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None

    async def _feed(self) -> None:
        """Take a coroutine from the source whenever fewer than `limit` run or wait with their result."""
        try:
            while True:
                while self._running + len(self._results) >= self._limit:
                    await self._wait_for_change()
                    if _is_cancelled():
                        return  # the block was left before this one woke
                source = self._source
                coro: Any = (
                    await anext(source, _END) if isinstance(source, AsyncIterator) else next(source, _END)
                )
                if coro is _END:
                    break
                if not is_coroutine(coro):
                    raise not_a_coroutine(coro, "as_completed()")
                self._running += 1
                try:
                    self._group.create_task(self._run(coro), name=name_of(coro))
                except BaseException as error:
                    refuse(error, [coro])
        except get_cancelled_exc_class():
            if _is_cancelled():
                raise
            self._one_was_cancelled = True
        finally:
            await self._close_source()
        self._exhausted = True
        self._changed()

    @explains_nothing
    async def _run(self, coro: _Coro[T]) -> None:
        try:
            self._results.append(await coro)
        except get_cancelled_exc_class():
            if _is_cancelled():
                raise
            self._one_was_cancelled = True
        self._running -= 1
        self._changed()

    async def _close_source(self) -> None:
        """Close what is left of it after an early end, so that no coroutine is left un-awaited."""
        source = self._source
        if isinstance(source, AsyncGenerator):
            await source.aclose()
        elif isinstance(source, Generator):
            source.close()
        elif self._made_already and isinstance(source, Iterator):
            close_all(source)


# mypy joins what is in a list, int and str to object, and makes a union of what is in a tuple.
@overload
def as_completed(coros: tuple[_Coro[T1], _Coro[T2]], *, limit: int | None = None) -> AsCompleted[T1 | T2]: ...
@overload
def as_completed(
    coros: tuple[_Coro[T1], _Coro[T2], _Coro[T3]], *, limit: int | None = None
) -> AsCompleted[T1 | T2 | T3]: ...
@overload
def as_completed(
    coros: tuple[_Coro[T1], _Coro[T2], _Coro[T3], _Coro[T4]], *, limit: int | None = None
) -> AsCompleted[T1 | T2 | T3 | T4]: ...
@overload
def as_completed(
    coros: tuple[_Coro[T1], _Coro[T2], _Coro[T3], _Coro[T4], _Coro[T5]], *, limit: int | None = None
) -> AsCompleted[T1 | T2 | T3 | T4 | T5]: ...
@overload
def as_completed(
    coros: tuple[_Coro[T1], _Coro[T2], _Coro[T3], _Coro[T4], _Coro[T5], _Coro[T6]],
    *,
    limit: int | None = None,
) -> AsCompleted[T1 | T2 | T3 | T4 | T5 | T6]: ...
@overload
def as_completed(
    coros: Iterable[_Coro[T]] | AsyncIterable[_Coro[T]], *, limit: int | None = None
) -> AsCompleted[T]: ...
def as_completed(
    coros: Iterable[_Coro[T]] | AsyncIterable[_Coro[T]], *more: Never, limit: int | None = None
) -> AsCompleted[T]:
    """The results of several coroutines as they come (P3).

    Used as `async with as_completed(...) as results: async for result in results:`. Leaving the block early
    cancels the rest and waits for it. The first failure cancels all, and comes out of the block as an
    `ExceptionGroup` (G3); so does a `TaskCancelled` if a coroutine ended as cancelled by itself, as one can
    on asyncio. Iterating outside the block is a `RuntimeError`.

    Args:
        coros: coroutine objects, in an iterable or an async iterable. A generator is only asked for the next
            one when there is a slot for it, so that a million need no million tasks.
        limit: at most that many run, or have a result that was not taken yet.

    Raises:
        TypeError, ValueError: `coros` cannot be iterated over, or `limit` is not a positive integer;
            coroutines in a list are closed.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2); likewise.
    """
    got = cast(object, coros)
    made_already: tuple[object, ...] = ()
    if isinstance(got, Collection):
        made_already = tuple(got.values() if isinstance(got, Mapping) else got)
    try:
        if more:
            raise TypeError(
                f"as_completed() expects one iterable of coroutine objects, got {1 + len(more)} arguments; "
                "put the coroutine objects in a list"
            )
        if isinstance(got, Mapping):
            raise TypeError(
                f"as_completed() expects coroutine objects, got {safe_repr(got)}; pass its values()"
            )
        if not isinstance(got, (Iterable, AsyncIterable)):
            advice = "put it in a list" if is_coroutine(got) else "call the functions and put them in a list"
            raise TypeError(
                f"as_completed() expects an iterable of coroutine objects, got {safe_repr(got)}; {advice}"
            )
        _check_all(made_already, "as_completed()")
        if limit is not None:
            check_positive(limit, "as_completed(limit=)")
        return AsCompleted(cast("tuple[_Coro[T], ...]", made_already) if made_already else coros, limit)
    except BaseException as error:
        refuse(error, [got, *made_already, *more])
