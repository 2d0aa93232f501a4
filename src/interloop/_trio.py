"""The trio backend: the same classes as in `_asyncio.py`, in the same order.

Theory of operation
-------------------
trio has the tree of scopes, and a cancellation that holds until its scope is left, built in: a task group
is a nursery, a deadline is a cancel scope, a shield is a shielded one. What remains to be done is at the
edges.

**Leaving a group.** A nursery raises all that its tasks raised in one group, `Cancelled` among them. Here
the errors alone are raised; a cancellation from outside comes again at the next checkpoint by itself (G4).
Where there is nothing but `Cancelled`, one is raised bare, for trio to catch at the scope that was
cancelled (G5). A nursery that has nothing to raise is no checkpoint, so one follows it (G13).

**Outcomes.** A nursery returns nothing, and cannot cancel one of its tasks. So each child runs in a cancel
scope of its own, inside a coroutine that keeps the outcome for the `Task` handle.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from . import abc
from ._checks import is_coroutine, not_a_coroutine
from ._errors import (
    already_entered,
    errors_only,
    left_in_another_task,
    left_out_of_order,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(abc.Task[T_co]):
    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_coro",
        "_done",
        "_ended",
        "_error_raised",
        "_name",
        "_native",
        "_nursery",
        "_returned",
        "_scope",
    )

    _returned: T_co

    def __init__(
        self, nursery: trio.Nursery, coro: Coroutine[Any, Any, T_co], name: str, context: Context | None
    ) -> None:
        self._nursery = nursery
        self._name = name
        self._coro: Coroutine[Any, Any, None] = self._run(coro, context)
        self._scope = trio.CancelScope()
        self._native: trio.lowlevel.Task | None = None
        self._done = False
        self._cancelled = False
        self._error_raised: BaseException | None = None
        self._ended: trio.Event | None = None  # made by the first who waits

    async def _run(self, coro: Coroutine[Any, Any, T_co], context: Context | None) -> None:
        self._native = trio.lowlevel.current_task()
        try:
            if context is not None:
                # G10: start_soon() gives a task a copy of a context; from its next step on it runs in this
                self._native.context = context
                await trio.lowlevel.cancel_shielded_checkpoint()
            with self._scope:
                self._returned = await coro
            self._cancelled = self._scope.cancelled_caught
        except BaseException as error:
            self._error_raised = errors_only(error, trio.Cancelled)
            self._cancelled = self._error_raised is None
            raise
        finally:
            self._done = True
            if self._ended is not None:
                self._ended.set()
            # G11: no cycle from the handle to its error, through the traceback to this frame, and back
            del self, coro

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def get_name(self) -> str:
        return self._name

    @property
    def native(self) -> trio.lowlevel.Task:
        if self._native is None:  # before its first step
            return next(task for task in self._nursery.child_tasks if task.coro is self._coro)
        return self._native

    def cancel(self) -> None:
        self._scope.cancel()

    async def _wait(self) -> None:
        if self._native is trio.lowlevel.current_task():
            raise RuntimeError(f"{self!r} cannot wait for itself")
        if not self._done:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
            # T2: the end of the task may be what cancels the waiter, who is then cancelled, as on asyncio
            await trio.lowlevel.checkpoint_if_cancelled()

    def _value(self) -> T_co:
        return self._returned

    def _error(self) -> BaseException | None:
        return self._error_raised


class TaskGroup(abc.TaskGroup):
    __slots__ = ("__weakref__", "_cancel_before_entry", "_left", "_manager", "_nursery")

    def __init__(self) -> None:
        self._manager = trio.open_nursery(strict_exception_groups=True)
        self._nursery: trio.Nursery | None = None
        self._cancel_before_entry = False
        self._left = False

    def _state(self) -> str:
        if self._nursery is None:
            return "created"
        if self._left:
            return "finished"
        return "cancelling" if self._nursery.cancel_scope.cancel_called else "entered"

    @property
    def native(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError(f"{self!r} has not been entered, so there is no native group yet")
        return self._nursery

    async def __aenter__(self) -> Self:
        if self._nursery is not None:
            raise already_entered(self)
        self._nursery = await self._manager.__aenter__()
        if self._cancel_before_entry:
            self._nursery.cancel_scope.cancel()
        return self

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Task[T]:
        if not is_coroutine(coro):
            raise not_a_coroutine(coro, "create_task()")
        if self._nursery is None:
            coro.close()
            raise RuntimeError(f"{self!r} has not been entered")
        if name is None:
            name = getattr(coro, "__qualname__", None) or repr(
                coro
            )  # as trio names a task after its function
        task = Task(self._nursery, coro, str(name), context)
        try:
            self._nursery.start_soon(lambda: task._coro, name=task._name)
        except RuntimeError:
            task._coro.close()
            coro.close()
            raise RuntimeError(f"{self!r} is finished") from None
        return task

    def cancel(self) -> None:
        if self._nursery is None:
            self._cancel_before_entry = True
        else:
            self._nursery.cancel_scope.cancel()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        assert nursery is not None
        current = trio.lowlevel.current_task()
        if current is not nursery.parent_task:
            nursery.cancel_scope.cancel()
            raise left_in_another_task(self, nursery.parent_task.name, current.name)
        if current.child_nurseries[-1] is not nursery:
            nursery.cancel_scope.cancel()
            raise left_out_of_order(self, current.child_nurseries[-1])

        combined: BaseException | None = None
        try:
            swallowed = await self._manager.__aexit__(exc_type, exc, tb)
        except BaseExceptionGroup as group:
            combined = group
        finally:
            self._left = True
        try:
            if combined is None:
                await trio.lowlevel.checkpoint_if_cancelled()  # G13
                return swallowed
            errors = errors_only(combined, trio.Cancelled)
            if errors is not None:
                self._raise_errors(errors)
            if isinstance(exc, trio.Cancelled):
                return False  # G5
            while isinstance(combined, BaseExceptionGroup):
                combined = combined.exceptions[0]
            raise combined  # G5
        finally:
            # G11: no cycle from an exception through its traceback to this frame
            del exc, combined

    def _raise_errors(self, errors: BaseException) -> None:
        assert isinstance(errors, BaseExceptionGroup)
        raise BaseExceptionGroup("unhandled errors in a TaskGroup", errors.exceptions) from None


class DeadlineExceeded(TimeoutError, trio.TooSlowError):
    """What a deadline raises under trio: code written for trio's own deadlines catches it too (L1)."""


class Deadline(abc.Deadline):
    __slots__ = ("__weakref__", "_delay", "_entered", "_expired", "_in_body", "_scope", "_suppress", "_task")

    def __init__(self, delay: float | None, at: float | None, suppress: bool) -> None:
        self._delay = delay
        self._suppress = suppress
        self._scope = trio.CancelScope(deadline=inf if at is None else at)
        self._task: trio.lowlevel.Task | None = None
        self._entered = False
        self._in_body = False
        self._expired = False

    @property
    def native(self) -> trio.CancelScope:
        return self._scope

    def when(self) -> float | None:
        return None if self._scope.deadline == inf else self._scope.deadline

    def expired(self) -> bool:
        if self._in_body and self._scope.deadline <= trio.current_time():
            self._expired = True
        return self._expired

    def _move(self, when: float | None) -> None:
        self._scope.deadline = inf if when is None else when

    def __enter__(self) -> Self:
        if self._entered:
            raise already_entered(self)
        self._task = trio.lowlevel.current_task()
        self._entered = True
        self._in_body = True
        if self._delay is not None:
            self._scope.deadline = trio.current_time() + self._delay  # L9
        self._scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._task is not None
        current = trio.lowlevel.current_task()
        if current is not self._task:
            raise left_in_another_task(self, self._task.name, current.name)
        expired = self.expired()  # L8
        self._in_body = False
        self._task = None
        swallowed = self._scope.__exit__(exc_type, exc, tb)
        if exc is not None and swallowed and expired and not self._suppress:
            raise DeadlineExceeded from exc  # L1
        return swallowed


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    with trio.CancelScope(shield=True):
        return await coro
    raise AssertionError("a scope that nobody cancels swallows nothing")


async def sleep(seconds: float) -> None:
    await trio.sleep(seconds)


async def sleep_forever() -> None:
    await trio.sleep_forever()


async def checkpoint() -> None:
    await trio.lowlevel.checkpoint()


def current_time() -> float:
    return trio.current_time()


def current_deadline() -> float:
    return trio.current_effective_deadline()


def get_cancelled_exc_class() -> type[BaseException]:
    return trio.Cancelled
