"""What `TaskGroup.start` takes: `TaskStatus`, and the signatures of the functions it can start (T5)."""

from __future__ import annotations

from collections.abc import Coroutine
from threading import current_thread
from typing import Any, Generic, Protocol, TypeVar, overload

from ._errors import used_from_elsewhere

__all__ = ["NativeEvent", "TaskStatus"]

A_contra = TypeVar("A_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
D_contra = TypeVar("D_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


class NativeEvent(Protocol):
    """What interloop needs of the event of an async library."""

    def set(self) -> object: ...

    async def wait(self) -> object: ...


class TaskStatus(Generic[V_contra]):
    """What a function that is run by `TaskGroup.start` gets as `task_status`, to say that it is ready."""

    __slots__ = ("_error", "_ready_or_ended", "_started", "_thread", "_value")

    def __init__(self, ready_or_ended: NativeEvent) -> None:
        self._ready_or_ended = ready_or_ended
        self._thread = current_thread()
        self._started = False
        self._value: Any = None
        self._error: BaseException | None = None

    @overload
    def started(self: TaskStatus[None]) -> None: ...
    @overload
    def started(self, value: V_contra) -> None: ...
    def started(self, value: Any = None) -> None:
        """Say that the task is ready: `TaskGroup.start` returns `value`, and the task goes on in its group.

        Raises:
            RuntimeError: called a second time (T5), or in another thread (D5).
        """
        here = current_thread()
        if here is not self._thread:
            raise used_from_elsewhere(
                "started()",
                self,
                f"thread {self._thread.name!r}",
                f"thread {here.name!r}",
                "loop.call_soon_threadsafe() or trio.from_thread.run_sync()",
            )
        if self._started:
            raise RuntimeError("task_status.started() was called twice; a task is ready once")
        self._started = True
        self._value = value
        self._ready_or_ended.set()


# A checker infers the value's type from a signature that is spelled out, and not from one with *args.
class Startable0(Protocol[V_co]):
    def __call__(self, /, *, task_status: TaskStatus[V_co]) -> Coroutine[Any, Any, object]: ...


class Startable1(Protocol[A_contra, V_co]):
    def __call__(self, a: A_contra, /, *, task_status: TaskStatus[V_co]) -> Coroutine[Any, Any, object]: ...


class Startable2(Protocol[A_contra, B_contra, V_co]):
    def __call__(
        self, a: A_contra, b: B_contra, /, *, task_status: TaskStatus[V_co]
    ) -> Coroutine[Any, Any, object]: ...


class Startable3(Protocol[A_contra, B_contra, C_contra, V_co]):
    def __call__(
        self, a: A_contra, b: B_contra, c: C_contra, /, *, task_status: TaskStatus[V_co]
    ) -> Coroutine[Any, Any, object]: ...


class Startable4(Protocol[A_contra, B_contra, C_contra, D_contra, V_co]):
    def __call__(
        self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, /, *, task_status: TaskStatus[V_co]
    ) -> Coroutine[Any, Any, object]: ...
