"""Event, Lock, Semaphore, Limiter and Condition: once, for every backend.

Whoever has to wait is in the queue of a primitive with a `Waiter` of its backend. Whoever releases hands over
to the first in the queue, before that one runs: what is handed over is never free in between, so nobody can
overtake (S2). A waiter that was cancelled says so when it is to be woken, and the next one is (S4). A
backend's `park()` returns if the waiter was woken, even if it was cancelled after that; so only a coroutine
that is closed while it waits has to pass on what it was handed.

Invariants, whenever no code of this file runs:

- Somebody waits only while there is nothing to be had: an event is not set, a lock is held, a semaphore is at
  0, all tokens of a limiter are borrowed.
- `_home` is the loop of those who hold or wait. At rest, when nobody does, it means nothing (S1). A lock is
  in use while tasks wait in a condition under it, even if it is free; so a condition has no home of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any, TypeVar

from ._checks import safe_repr
from ._dispatch import current_backend as _backend
from ._errors import WouldBlock, in_use_elsewhere
from .abc import Backend, Waiter

T = TypeVar("T")


class _Shared(ABC):
    """What can be made anywhere, and used by one loop after another (S1)."""

    __slots__ = ("__weakref__", "_backend", "_home", "_waiting")

    _backend: Backend  # of `_home`

    def __init__(self) -> None:
        self._home: object = None
        self._waiting: OrderedDict[Waiter, Any] = OrderedDict()

    def _check_home(self, backend: Backend) -> None:
        """
        Raises:
            RuntimeError: tasks of another loop hold this or wait for it.
        """
        here = backend.current_loop()
        if self._home is not here:
            if self._in_use():
                raise in_use_elsewhere(self, self._home, here)
            self._home, self._backend = here, backend

    def _in_use(self) -> bool:
        """Whether somebody holds it, or waits for it."""
        return bool(self._waiting)

    async def _wait_for_turn(self, backend: Backend, owner: Any) -> None:
        """Wait until it is handed over; `owner` is whom it is for."""
        waiter = backend.Waiter()
        self._waiting[waiter] = owner
        try:
            await waiter.park()
        except BaseException:
            if waiter.woken:  # its coroutine is closed
                self._give_back(owner)
            else:
                self._waiting.pop(waiter, None)
            raise

    def _wake_next(self) -> Any:
        """Wake the first who still waits.

        Returns:
            For whom that is, in a tuple; an empty one if nobody waits.
        """
        while self._waiting:
            waiter, owner = self._waiting.popitem(last=False)
            if waiter.wake():
                return (owner,)
        return ()

    def _current_owner(self, call: str) -> Any:
        """The current task, as a holder of this is known."""
        try:
            return self._backend.current_owner()
        except (AttributeError, RuntimeError):
            pass  # nobody has held it; or another library runs here, or none
        return _backend(call).current_owner()

    def _give_back(self, owner: Any) -> None:  # noqa: B027  an event has nothing to give back
        """What `owner` holds is free, or the next one's."""

    @abstractmethod
    def _state(self) -> str: ...

    def __repr__(self) -> str:
        waiting = f", {len(self._waiting)} waiting" if self._waiting else ""
        return f"<{type(self).__name__} [{self._state()}{waiting}]>"


def _name(task: Any) -> str:
    return repr(task.get_name() if hasattr(task, "get_name") else task.name)


class _Acquirable(_Shared):
    """What is used as `async with`."""

    __slots__ = ()

    @abstractmethod
    async def acquire(self) -> None: ...

    @abstractmethod
    def release(self) -> None: ...

    __aenter__ = acquire  # again in each class, for the price of a coroutine

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is GeneratorExit:
            self._close()
        else:
            self.release()

    @abstractmethod
    def _close(self) -> None:
        """Release it as its block is closed, which any task can do, and which is done after its loop too."""


class Event(_Shared):
    """Something that happens once: tasks wait for it, and go on when it has.

    There is no way to unset it; make a new one (S3). May be made anywhere (S1).
    """

    __slots__ = ("_set",)

    def __init__(self) -> None:
        super().__init__()
        self._set = False

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def set(self) -> None:
        """Let all who wait go on; from now on nobody waits.

        Never suspends (S3). Calling it again does nothing.

        Raises:
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        if self._waiting:
            self._check_home(_backend("Event.set()"))
        self._set = True
        while self._wake_next():
            pass

    async def wait(self) -> None:
        """Wait until it is set; returns without suspending if it is (S3).

        Raises:
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        if not self._set:
            backend = _backend("Event.wait()")
            self._check_home(backend)
            await self._wait_for_turn(backend, None)

    def _state(self) -> str:
        return "set" if self._set else "not set"


class Lock(_Acquirable):
    """One task at a time: `async with lock:`.

    Owned by the task that acquired it, also inside its shields (S5). Handed over in the order of asking (S2).
    """

    __slots__ = ("_away", "_owner")

    def __init__(self) -> None:
        super().__init__()
        self._owner: Any = None
        self._away = 0  # how many tasks wait under it in conditions, and will want it again

    def locked(self) -> bool:
        """Whether a task holds it."""
        return self._owner is not None

    async def acquire(self) -> None:
        """Hold the lock; wait for it if another task does, else return without suspending (S3).

        Raises:
            RuntimeError: this task holds it already (S5), or tasks of another loop do (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Lock.acquire()")
        if self._home is not backend.current_loop():
            self._check_home(backend)
        task = backend.current_owner()
        if self._owner is None:
            self._owner = task
        else:
            self._check_not_owner(task)
            await self._wait_for_turn(backend, task)

    __aenter__ = acquire

    def acquire_nowait(self) -> None:
        """Hold the lock, if no task does.

        Raises:
            WouldBlock: a task does.
            RuntimeError: this task does (S5), or tasks of another loop do (S1); or no task runs here.
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Lock.acquire_nowait()")
        self._check_home(backend)
        task = backend.current_owner()
        if self._owner is not None:
            self._check_not_owner(task)
            raise WouldBlock(f"{self!r} is held")
        self._owner = task

    def release(self) -> None:
        """Hand the lock over to the task that has waited longest, or leave it free; never suspends (S3).

        Raises:
            RuntimeError: this task does not hold it (S5).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        owner = self._owner
        if self._current_owner("Lock.release()") is not owner:
            raise RuntimeError(f"{self!r} cannot be released: this task does not hold it")
        if self._waiting:
            self._give_back(owner)
        else:
            self._owner = None

    def _check_not_owner(self, task: Any) -> None:
        if task is self._owner:
            raise RuntimeError(f"{self!r} is held by this task already; it would wait for itself")

    def _give_back(self, owner: Any) -> None:
        (self._owner,) = self._wake_next() or (None,)

    def _add(self, waiter: Waiter, owner: Any) -> None:
        """Of a condition, which has notified `waiter`."""
        if self._owner is not None:
            self._waiting[waiter] = owner
        elif waiter.wake():
            self._owner = owner

    def _close(self) -> None:
        self._give_back(self._owner)

    def _in_use(self) -> bool:
        return self._owner is not None or self._away > 0

    def _state(self) -> str:
        return "unlocked" if self._owner is None else f"held by {_name(self._owner)}"


class Semaphore(_Acquirable):
    """So many at a time: `async with semaphore:`. No task owns what it acquires; any can release.

    Args:
        value: how many can be acquired before somebody has to wait.
        max_value: releasing beyond that is an error; `None`: no limit.
    """

    __slots__ = ("_initial", "_max_value", "_value")

    def __init__(self, value: int, *, max_value: int | None = None) -> None:
        _check_int(value, "Semaphore(value)", 0)
        if max_value is not None:
            _check_int(max_value, "Semaphore(max_value=)", value)
        super().__init__()
        self._value = self._initial = value
        self._max_value = max_value

    @property
    def value(self) -> int:
        """How many can be acquired without waiting."""
        return self._value

    @property
    def max_value(self) -> int | None:
        return self._max_value

    def locked(self) -> bool:
        """Whether `acquire()` would wait."""
        return self._value == 0

    async def acquire(self) -> None:
        """Take 1 from the value; wait while that is 0, else return without suspending (S3).

        Raises:
            RuntimeError: tasks of another loop hold some or wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Semaphore.acquire()")
        if self._home is not backend.current_loop():
            self._check_home(backend)
        if self._value > 0:
            self._value -= 1
        else:
            await self._wait_for_turn(backend, None)

    __aenter__ = acquire

    def acquire_nowait(self) -> None:
        """Take 1 from the value, if that is not 0.

        Raises:
            WouldBlock: it is 0.
            RuntimeError: tasks of another loop hold some or wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Semaphore.acquire_nowait()")
        self._check_home(backend)
        if self._value == 0:
            raise WouldBlock(f"{self!r} has none left")
        self._value -= 1

    def release(self) -> None:
        """Wake the task that has waited longest, or add 1 to the value; never suspends (S3).

        Raises:
            ValueError: there would be more than `max_value`.
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        if self._waiting:
            self._check_home(_backend("Semaphore.release()"))
        if self._value == self._max_value:
            raise ValueError(f"{self!r} was released more often than it was acquired")
        self._give_back(None)

    def _give_back(self, owner: Any) -> None:
        if not self._wake_next():
            self._value += 1

    def _in_use(self) -> bool:
        return self._value < self._initial or bool(self._waiting)

    def _close(self) -> None:
        self._give_back(None)

    def _state(self) -> str:
        return f"value={self._value}"


class Limiter(_Acquirable):
    """At most `total` tasks at a time: `async with limiter:`. Its tokens are owned by tasks, one each (S5).

    Args:
        total: at least 1, or `inf`. It can be set while tasks hold tokens: those are not taken away.
    """

    __slots__ = ("_owners", "_total")

    def __init__(self, total: float) -> None:
        _check_total(total, "Limiter(total)")
        super().__init__()
        self._total = total
        self._owners: set[Any] = set()

    @property
    def total(self) -> float:
        """How many tokens there are; more may be borrowed for a while, after it was lowered."""
        return self._total

    @total.setter
    def total(self, total: float) -> None:
        _check_total(total, "Limiter.total")
        if self._waiting:
            self._check_home(_backend("Limiter.total"))
        self._total = total
        self._hand_out()

    @property
    def borrowed(self) -> int:
        """How many tasks hold a token."""
        return len(self._owners)

    @property
    def available(self) -> float:
        """How many tokens can be acquired without waiting, not below 0."""
        return max(0, self._total - len(self._owners))

    def locked(self) -> bool:
        """Whether `acquire()` would wait."""
        return len(self._owners) >= self._total

    async def acquire(self) -> None:
        """Borrow a token; wait if there is none, else return without suspending (S3).

        Raises:
            RuntimeError: this task has one already (S5), or tasks of another loop hold some or wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Limiter.acquire()")
        if self._home is not backend.current_loop():
            self._check_home(backend)
        task = backend.current_owner()
        if task in self._owners:
            raise self._lent_already()
        if len(self._owners) < self._total:
            self._owners.add(task)
        else:
            await self._wait_for_turn(backend, task)

    __aenter__ = acquire

    def acquire_nowait(self) -> None:
        """Borrow a token, if there is one.

        Raises:
            WouldBlock: there is none.
            RuntimeError: this task has one already (S5), or tasks of another loop hold some or wait (S1);
                or no task runs here.
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = _backend("Limiter.acquire_nowait()")
        self._check_home(backend)
        task = backend.current_owner()
        if task in self._owners:
            raise self._lent_already()
        if len(self._owners) >= self._total:
            raise WouldBlock(f"{self!r} has no token left")
        self._owners.add(task)

    def release(self) -> None:
        """Hand the token over to the task that has waited longest, or leave it free; never suspends (S3).

        Raises:
            RuntimeError: this task has none (S5).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        task = self._current_owner("Limiter.release()")
        if task not in self._owners:
            raise RuntimeError(f"{self!r} cannot be released: this task has no token of it")
        if self._waiting:
            self._give_back(task)
        else:
            self._owners.remove(task)

    def _lent_already(self) -> RuntimeError:
        return RuntimeError(f"{self!r} has lent a token to this task already; it might wait for itself")

    def _give_back(self, owner: Any) -> None:
        self._owners.remove(owner)
        self._hand_out()

    def _in_use(self) -> bool:
        return bool(self._owners)

    def _close(self) -> None:
        try:
            at_home = self._backend.current_loop() is self._home
        except RuntimeError:
            at_home = False
        if at_home:
            self.release()  # whose the token is that another task closes cannot be known: an error
        else:
            self._give_back(next(iter(self._owners)))  # whosever it is: none of these tasks runs

    def _hand_out(self) -> None:
        while len(self._owners) < self._total and (woken := self._wake_next()):
            self._owners.update(woken)

    def _state(self) -> str:
        return f"{len(self._owners)} of {self._total} borrowed"


class Condition(_Acquirable):
    """A lock, and tasks that wait under it until they are notified.

    `async with condition: await condition.wait_for(lambda: stock)`, and elsewhere, under the same lock,
    `condition.notify()`.

    Args:
        lock: to be shared with others; a new one if not given.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is not None and not isinstance(lock, Lock):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Condition(lock) expects an interloop.Lock, or None, got {safe_repr(lock)}")
        super().__init__()
        self._lock = Lock() if lock is None else lock

    def locked(self) -> bool:
        """Whether a task holds the lock."""
        return self._lock.locked()

    async def acquire(self) -> None:
        """As `Lock.acquire()`."""
        await self._lock.acquire()

    __aenter__ = acquire

    def acquire_nowait(self) -> None:
        """As `Lock.acquire_nowait()`."""
        self._lock.acquire_nowait()

    def release(self) -> None:
        """As `Lock.release()`."""
        self._lock.release()

    async def wait(self) -> None:
        """Release the lock, wait to be notified, and hold the lock again, also if this is cancelled (S6).

        If it is cancelled before it has the lock, it passes the notification on to the next task (S4).

        Raises:
            RuntimeError: this task does not hold the lock.
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        backend = self._check_owner("wait()")
        lock, task, waiter = self._lock, self._lock._owner, backend.Waiter()
        self._waiting[waiter] = task
        lock._away += 1
        lock.release()
        try:
            await waiter.park()
        except GeneratorExit:
            self._gone(waiter)
            if waiter.woken:
                lock._give_back(task)
            raise
        except BaseException:
            self._gone(waiter)
            await (backend.shield(lock.acquire()) if lock.locked() else lock.acquire())
            raise
        finally:
            lock._away -= 1

    def _gone(self, waiter: Waiter) -> None:
        """It waits no more, and has not had what it waited for: if it was notified, another one is (S4)."""
        if waiter in self._waiting:
            del self._waiting[waiter]
        else:
            self._lock._waiting.pop(waiter, None)
            self._notify(1)

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Wait until `predicate()` is true, asking now and after each notification, and return its answer.

        Raises:
            RuntimeError: this task does not hold the lock.
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        self._check_owner("wait_for()")
        while not (result := predicate()):
            await self.wait()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` of those who wait, in the order of their coming; they go on once they have the lock.

        Raises:
            RuntimeError: this task does not hold the lock.
            TypeError, ValueError: `n` is not an integer, or is negative.
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        _check_int(n, "notify()", 0)
        self._check_owner("notify()")
        self._notify(n)

    def _notify(self, n: int) -> None:
        """Let `n` of those who wait wait for the lock; one that was cancelled passes it on (`_gone`)."""
        for _ in range(min(n, len(self._waiting))):
            waiter, task = self._waiting.popitem(last=False)
            self._lock._add(waiter, task)

    def notify_all(self) -> None:
        """Wake all who wait. Raises what `notify()` raises."""
        self.notify(len(self._waiting))

    def _check_owner(self, call: str) -> Backend:
        backend = _backend(f"Condition.{call}")
        if backend.current_owner() is not self._lock._owner:
            raise RuntimeError(f"{call} on {self!r} in a task that does not hold its lock")
        return backend

    def _close(self) -> None:
        self._lock._close()

    def _state(self) -> str:
        return self._lock._state()


def _check_int(value: object, argument: str, least: int, others: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} expects an integer, {others}got {safe_repr(value)}")
    if value < least:
        raise ValueError(f"{argument} expects at least {least}, got {safe_repr(value)}")


def _check_total(value: object, argument: str) -> None:
    if value != inf:
        _check_int(value, argument, 1, "or math.inf, ")
