"""What a backend provides, and the contract of each part.

A backend is one module with the names of `Backend` below. It is found by the name that sniffio has for
the async library that is running: `asyncio` and `trio` come with interloop, others are installed
packages with an entry point in the group `interloop.backends` whose value is that module.

The rule ids (`G4`, `L2`, ...) are those of the contract, `docs/contract.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, Self, TypeVar, overload

from ._checks import safe_repr, seconds
from ._errors import TaskCancelled, TaskFailed, TaskNotDone
from ._registry import load
from ._status import NativeEvent, Startable0, Startable1, Startable2, Startable3, Startable4, TaskStatus

__all__ = ["Backend", "Deadline", "NativeEvent", "Task", "TaskGroup", "TaskStatus", "Waiter", "backend"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


class Task(ABC, Generic[T_co]):
    """One child of a task group, as a handle for its outcome. Made by `TaskGroup.create_task`.

    The methods are named as in `asyncio.Task`. A task belongs to its group, not to who holds the handle:
    dropping the handle changes nothing.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<Task {self.get_name()!r} [{state}]>"

    def result(self) -> T_co:
        """What the coroutine returned.

        Raises:
            TaskNotDone: the task has not ended (T1).
            TaskFailed: it ended with an error, which is the cause of this one (T2).
            TaskCancelled: it was cancelled (T2).
        """
        error = self.exception()
        if error is not None:
            raise TaskFailed(f"task {self.get_name()!r} failed: {safe_repr(error)}") from error
        return self._value()

    def exception(self) -> BaseException | None:
        """The error that the task ended with, or `None` if it returned.

        Raises:
            TaskNotDone: the task has not ended (T1).
            TaskCancelled: it was cancelled (T2).
        """
        if not self.done():
            raise TaskNotDone(
                f"task {self.get_name()!r} has not ended; wait for it with `await task`, "
                "or ask after its group has been left"
            )
        if self.cancelled():
            raise TaskCancelled(f"task {self.get_name()!r} was cancelled")
        return self._error()

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the end of the task and give its `result()`; the same errors (T2).

        Waiting does not own: cancelling the waiter leaves the task alone (T3). Returns without
        suspending if the task has ended.
        """
        yield from self._wait().__await__()
        return self.result()

    @abstractmethod
    def done(self) -> bool:
        """Whether the task has ended: returned, failed or cancelled."""

    @abstractmethod
    def cancelled(self) -> bool:
        """Whether the task ended by a cancellation."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel this task and all scopes inside it; its group and its siblings go on (T4).

        Asking again changes nothing. The task still runs to its first checkpoint if it has not (G7), but one
        that waits for a slot of its group's limit never starts, and its coroutine is closed (G14).
        """

    @abstractmethod
    def get_name(self) -> str:
        """The name of the native task (G10)."""

    @property
    @abstractmethod
    def native(self) -> Any:
        """The `asyncio.Task` or `trio.lowlevel.Task` behind this one, for a call that wants it.

        Raises:
            RuntimeError: the task waits for a slot of its group's limit, so that there is none yet (G14).
        """

    @abstractmethod
    def _is_woken(self) -> bool:
        """Whether its next step is due: it has not begun, or what it waits for has come."""

    @abstractmethod
    async def _out_of_queue(self) -> None:
        """Wait until the task has got a slot of its group's limit, or was cancelled before (G14)."""

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until the task has ended, whatever its outcome."""

    @abstractmethod
    def _value(self) -> T_co:
        """What a task that has ended without an error returned."""

    @abstractmethod
    def _error(self) -> BaseException | None:
        """The error that a task that has ended, and was not cancelled, raised."""


class TaskGroup(ABC):
    """A scope that owns tasks: the `async with` block is left only when all of them have ended (G1).

    Made by `interloop.task_group`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<TaskGroup [{self._state()}]>"

    @abstractmethod
    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> Task[T]:
        """Start `coro` as a child of this group.

        May be called by the body, by children, and while the block waits for its children (G2). The child
        runs at least to its first checkpoint; in a group that is being cancelled it is cancelled there (G7).

        Args:
            coro: a coroutine object, `f(x)`.
            name: the name of the native task; the library's own choice if not given (G10).
            context: the context to run in; a copy of the caller's if not given (G10).

        Raises:
            TypeError: `coro` is not a coroutine object, or `context` not a context; `coro` is closed (G8).
            RuntimeError: the group was not entered, or is finished; `coro` is closed (G8).
        """

    @abstractmethod
    def create_background_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> Task[T]:
        """Start `coro` as a child that is cancelled once the body and every ordinary child have ended (G15).

        For a heartbeat, a reader loop. It takes no slot of the group's limit; its failure cancels the group.
        The arguments and errors are those of `create_task`.
        """

    @overload
    async def start(self, fn: Startable0[T], /, *, name: str | None = None) -> T: ...
    @overload
    async def start(self, fn: Startable1[A, T], a: A, /, *, name: str | None = None) -> T: ...
    @overload
    async def start(self, fn: Startable2[A, B, T], a: A, b: B, /, *, name: str | None = None) -> T: ...
    @overload
    async def start(
        self, fn: Startable3[A, B, C, T], a: A, b: B, c: C, /, *, name: str | None = None
    ) -> T: ...
    @overload
    async def start(
        self, fn: Startable4[A, B, C, D, T], a: A, b: B, c: C, d: D, /, *, name: str | None = None
    ) -> T: ...
    @overload
    async def start(
        self,
        fn: Callable[Concatenate[A, B, C, D, E, ...], Coroutine[Any, Any, object]],
        a: A,
        b: B,
        c: C,
        d: D,
        e: E,
        /,
        *args: Any,
        name: str | None = None,
    ) -> Any: ...
    @abstractmethod
    async def start(
        self, fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any, name: str | None = None
    ) -> Any:
        """Start `fn(*args, task_status=...)` as a child, and wait until it says that it is ready (T5).

        Gives the `value` of its call `task_status.started(value)`. If this call is cancelled before, the
        child is cancelled and waited for. A deadline around this call covers the starting only: the child
        belongs to the group.

        Args:
            fn: an async function that takes a keyword argument `task_status: TaskStatus[V]`.
            name: the name of the native task.

        Raises:
            TypeError: `fn` is not an async function.
            RuntimeError: `fn` returned without calling `started()`; or the group was not entered, or is
                finished (G8).
            TaskCancelled: the child was cancelled before it called `started()`, with its group say.
            TaskFailed: likewise, and its clean-up failed; the error is the group's as well.
            Exception: what `fn` raised before it called `started()`; the group lives on.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Cancel the body and every child; the block is then left without an exception (G6).

        May be called before the block is entered, from anywhere inside it, twice, and after it was left.
        """

    @property
    @abstractmethod
    def native(self) -> Any:
        """The `asyncio.TaskGroup` or `trio.Nursery` behind this one, for a call that wants it.

        Raises:
            RuntimeError: the group has not been entered.
        """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None: ...

    @abstractmethod
    def _state(self) -> str:
        """For the `repr`, which tells the state in the words of asyncio's."""


class Deadline(ABC):
    """A scope that is cancelled when its time comes. Made by `interloop.deadline`.

    `with` and `async with` are the same: entering and leaving is no checkpoint.
    """

    __slots__ = ()

    _entered: bool
    _in_body: bool
    _expired: bool

    def __repr__(self) -> str:
        if not self._in_body:
            return f"<Deadline [{self._state()}]>"
        when = self.when()
        return f"<Deadline [{self._state()}] when={when if when is None else round(when, 3)}>"

    def _state(self) -> str:
        if not self._entered:
            return "created"
        if self._expired:
            return "expiring" if self._in_body else "expired"
        return "active" if self._in_body else "finished"

    @abstractmethod
    def when(self) -> float | None:
        """The absolute time, in seconds on the `current_time()` clock; `None` if there is no limit, or if
        the delay has not begun to count, since the block was not entered (L9)."""

    @abstractmethod
    def expired(self) -> bool:
        """Whether the time came while the block ran, whatever the block's outcome (L8)."""

    def reschedule(self, when: float | None) -> None:
        """Move the deadline, later or earlier (L5).

        Args:
            when: seconds on the `current_time()` clock; `None` or `inf`: no limit.

        Raises:
            RuntimeError: the block was not entered, was left, or the deadline has expired.
            TypeError, ValueError: `when` is not a number, or is NaN.
        """
        if when is not None:
            seconds(when, "reschedule()")
        if not self._entered:
            raise RuntimeError(f"{self!r} has not been entered, so its time cannot be moved yet")
        if self.expired() or not self._in_body:
            raise RuntimeError(f"Cannot change state of {self._state()} Deadline")
        self._move(None if when == inf else when)

    @abstractmethod
    def _move(self, when: float | None) -> None:
        """Put another time in the place of `when()`, while the block runs."""

    @property
    @abstractmethod
    def native(self) -> Any:
        """The `asyncio.Timeout` or `trio.CancelScope` behind this one, for a call that wants it."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None: ...

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return self.__exit__(exc_type, exc, tb)


if TYPE_CHECKING:

    class SuppressingDeadline(Deadline):
        """What `deadline(suppress=True)` returns: the `bool` tells checkers that its block can be cut short.

        There is no such class at run time, where a backend has one `Deadline`.
        """

        def __exit__(
            self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
        ) -> bool: ...

        async def __aexit__(
            self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
        ) -> bool: ...


class Waiter(ABC):
    """One wait of the current task, which somebody else ends. `Event`, `Lock` and the like are made of these.

    Made in the task, right before it waits.
    """

    __slots__ = ()

    woken: bool  # whether `wake()` has ended the wait

    @abstractmethod
    def wake(self) -> bool:
        """End the wait; from the loop of the task, callbacks included.

        Returns:
            Whether this has ended it. If not, it has ended before, or the task is cancelled and on its way
            out, or its loop has ended.
        """

    @abstractmethod
    async def park(self) -> None:
        """Wait until woken, or cancelled if that comes first.

        A cancellation that comes after `wake()` is delivered at the next checkpoint (C1), so whoever was
        woken goes on. `woken` is for those whose coroutine is closed here.
        """


class Backend(Protocol):
    """What the module of a backend holds. Arguments have been checked by the facade."""

    def TaskGroup(self, limit: int | None, defer_errors: bool, /) -> TaskGroup:
        """`limit` is at least 1. Usually a class."""
        ...

    def Event(self) -> NativeEvent:
        """The library's own event."""
        ...

    def Waiter(self) -> Waiter:
        """Usually a class."""
        ...

    def current_owner(self) -> Any:
        """The native task that owns what is acquired here: in a `shield`, that which called it (S5).

        Raises:
            RuntimeError: no task runs here.
        """
        ...

    def current_loop(self) -> object:
        """What stands for the loop that runs here, callbacks included: no other loop has it (S1)."""
        ...

    def Deadline(self, delay: float | None, at: float | None, suppress: bool, /) -> Deadline:
        """At most one of `delay` and `at` is given; neither is NaN or `inf`. Usually a class."""
        ...

    async def shield(self, coro: Coroutine[Any, Any, T], /) -> T:
        """Run `coro` to completion whatever cancels the caller (C4)."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Sleep; `seconds` is not negative and not NaN; 0 is a checkpoint, `inf` never ends."""
        ...

    async def sleep_forever(self) -> None:
        """Sleep until cancelled."""
        ...

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled here if that is due."""
        ...

    def current_time(self) -> float:
        """The loop's clock."""
        ...

    def current_deadline(self) -> float:
        """The earliest deadline around the current task (L7)."""
        ...

    def is_cancelled(self) -> bool:
        """Whether a cancellation of a scope around the current task is in force."""
        ...

    def get_cancelled_exc_class(self) -> type[BaseException]:
        """What a cancellation is raised as."""
        ...


def backend(name: str) -> Backend:
    """The backend that serves the async library `name`, whether that runs or not.

    A backend for a library that is built on asyncio or trio can take from theirs what it does not do itself.

    Args:
        name: the name that sniffio has for the library.

    Raises:
        UnsupportedBackend: there is none.
    """
    found: Backend = load(name, "backend() was called for")
    return found
