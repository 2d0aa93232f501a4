"""`explore_cancellation`: cancel a function at every checkpoint, one run for each.

How a checkpoint is noticed: trio calls an instrument after every step of a task. asyncio schedules every step
with the loop's `call_soon`, so that is what is replaced, on the loop of the run alone; the tasks remain
native ones and their coroutines are not wrapped.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from contextvars import Context
from typing import Any, TypeAlias

from .. import current_backend, get_cancelled_exc_class, task_group
from .._checks import check_function, safe_repr
from .._error_groups import errors_only, is_a
from ._hosts import Host, _tasks_alive, find_host
from ._waiting import where

__all__ = ["CancellationFailure", "explore_cancellation"]

AfterStep: TypeAlias = Callable[[Any], None]


class CancellationFailure(AssertionError):
    """A function that was cancelled at one of its checkpoints did not end as it should."""


def explore_cancellation(
    async_fn: Callable[[], Awaitable[object]],
    *,
    host: str = "asyncio",
    check: Callable[[], object] | None = None,
    checkpoint: int | None = None,
) -> int:
    """Run `async_fn()` once as it is, and then once for each of its checkpoints, cancelling it there.

    A checkpoint is every moment at which a task of the function has been suspended, or has ended, in whatever
    task it comes. There the whole of the function is cancelled, by a scope around it; on asyncio once more,
    by a native `Task.cancel()`. It may then finish or be cut short, but no error may come out, no task may be
    left running, and `check()` must hold. Runs in virtual time, and in the same order each time.

    Args:
        async_fn: does the same each time that it is called, and makes what it works on anew.
        host: one of `HOSTS` that has virtual time.
        check: called after each run; it does not hold if it raises or returns `False`.
        checkpoint: cancel at this one alone, the first being 1.

    Returns:
        How many checkpoints there are.

    Raises:
        CancellationFailure: names the first checkpoint at which something was wrong, the source line where
            the task was suspended, and what was wrong; the error is its cause.
        Exception: what the function raises without being cancelled.
        RuntimeError: the function did not do the same again.
        TypeError: `async_fn` cannot be called; a coroutine object is closed.
        ValueError: the host has no virtual time, or there is no such checkpoint.
    """
    __tracebackhide__ = True
    check_function(async_fn, "explore_cancellation()")
    on = find_host(host)
    with _frozen():
        first = _Run(async_fn, on, check)
        try:
            first.start()
        except BaseException as error:
            with suppress(Exception):  # of the error's own class
                BaseException.add_note(error, "explore_cancellation: this came without any cancellation")
            raise
        places = first.places
        if checkpoint is not None and not 1 <= checkpoint <= len(places):
            raise ValueError(
                f"there is no checkpoint {safe_repr(checkpoint)}: there are {len(places)}, from 1 on"
            )
        for number in range(1, len(places) + 1) if checkpoint is None else [checkpoint]:
            for natively in [False, True] if on.backend == "asyncio" else [False]:
                run = _Run(async_fn, on, check, cancel_at=number, natively=natively)
                problem: Exception | None = None
                try:
                    run.start()
                except Exception as error:
                    problem = error
                task, place = places[number - 1]
                here = run.places[number - 1][1] if len(run.places) == number else "was not reached"
                if here != place:
                    raise RuntimeError(
                        "explore_cancellation: the function must do the same each time, but "
                        f"at checkpoint {number} {task} {place}, and then it {here}"
                    ) from problem
                if problem is not None:
                    raise CancellationFailure(
                        f"cancelled {'by Task.cancel() ' if natively else ''}at checkpoint {number} of "
                        f"{len(places)} on {host}, as {task} {place}\n  {_in_short(problem)}\n"
                        f"repeat it with explore_cancellation(..., host={host!r}, checkpoint={number})"
                    ) from problem
    return len(places)


class _Run:
    """One run, and the places of its checkpoints up to the one at which it is cancelled."""

    def __init__(
        self,
        async_fn: Callable[[], Awaitable[object]],
        host: Host,
        check: Callable[[], object] | None,
        cancel_at: int | None = None,
        natively: bool = False,
    ) -> None:
        self.places: list[tuple[str, str]] = []  # which task, and where it was
        self._async_fn = async_fn
        self._host = host
        self._check = check
        self._cancel_at = cancel_at
        self._natively = natively

    def start(self) -> None:
        __tracebackhide__ = True
        with _orderly_trio() if self._host.backend == "trio" else nullcontext():
            error = self._host.run(self._main, virtual_time=True)
        if error is not None:
            raise error
        if self._check is not None and self._check() is False:
            raise AssertionError("check() returned False")

    async def _main(self) -> BaseException | None:
        __tracebackhide__ = True
        hosts_own = set(_tasks_alive())
        main = _current_task()
        error: BaseException | None = None
        try:
            async with task_group() as scope:

                def after_step(task: Any) -> None:
                    if task in hosts_own and task is not main:
                        return
                    if self._cancel_at is None or len(self.places) < self._cancel_at:
                        self.places.append((_name(task, main), _place(task)))
                        if len(self.places) == self._cancel_at:
                            main.cancel() if self._natively else scope.cancel()

                async with _calling_after_steps(after_step):
                    error = await _error_of(self._async_fn)
        except asyncio.CancelledError:
            if not self._natively:
                raise
            main.uncancel()
        return error


async def _error_of(async_fn: Callable[[], Awaitable[object]]) -> BaseException | None:
    try:
        await async_fn()
    except BaseException as error:
        errors = errors_only(error, get_cancelled_exc_class())
        if errors is None or not is_a(errors, Exception):
            raise
        return errors
    return None


def _in_short(error: Exception) -> str:
    if is_a(error, ExceptionGroup):
        return safe_repr(error)
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # the error's own code
        return safe_repr(error)


def _current_task() -> Any:
    if current_backend() == "trio":
        from trio.lowlevel import current_task

        return current_task()
    return asyncio.current_task()


def _coroutine(task: Any) -> Any:
    return task.get_coro() if isinstance(task, asyncio.Task) else task.coro


def _name(task: Any, main: Any) -> str:
    if task is main:
        return "the main task"
    name = task.get_name() if isinstance(task, asyncio.Task) else task.name
    if re.fullmatch(r"Task-\d+", name):  # counted on through all runs
        name = getattr(_coroutine(task), "__qualname__", name)
    return f"task {name!r}"


def _place(task: Any) -> str:
    coro = _coroutine(task)
    ended = task.done() if isinstance(task, asyncio.Task) else coro.cr_frame is None
    return "had ended" if ended else f"was suspended at {where(coro)}"


def _calling_after_steps(after_step: AfterStep) -> AbstractAsyncContextManager[None]:
    if current_backend() == "trio":
        return _calling_after_steps_on_trio(after_step)
    return _calling_after_steps_on_asyncio(asyncio.get_running_loop(), after_step)


@asynccontextmanager
async def _calling_after_steps_on_trio(after_step: AfterStep) -> AsyncGenerator[None, None]:
    from trio.abc import Instrument
    from trio.lowlevel import Task, add_instrument, remove_instrument

    class AfterSteps(Instrument):
        def after_task_step(self, task: Task) -> None:
            after_step(task)

    instrument = AfterSteps()
    add_instrument(instrument)
    try:
        yield
    finally:
        remove_instrument(instrument)


@asynccontextmanager
async def _calling_after_steps_on_asyncio(loop: Any, after_step: AfterStep) -> AsyncGenerator[None, None]:
    call_soon = loop.call_soon
    watching = True

    def watched(callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        # asyncio itself finds in this way whose step a callback is, to say which one was slow
        task = getattr(callback, "__self__", None)
        if not isinstance(task, asyncio.Task) or hasattr(asyncio.Task, getattr(callback, "__name__", "-")):
            return call_soon(callback, *args, context=context)  # type: ignore[no-any-return]

        def step(*args: Any) -> None:
            callback(*args)
            if watching:
                after_step(task)

        step.__self__ = task  # type: ignore[attr-defined]
        return call_soon(step, *args, context=context)  # type: ignore[no-any-return]

    loop.call_soon = watched
    await asyncio.sleep(0)  # the step that this is was scheduled before
    try:
        yield
    finally:
        watching = False
        del loop.call_soon


@contextmanager
def _orderly_trio() -> Generator[None, None, None]:
    """Let trio run its tasks in the same order each time, which it draws by lot.

    By the means that pytest-trio has for Hypothesis; they have no public name, and `test_exploring.py`
    notices when they go.
    """
    from trio._core import _run

    was, lot = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r
    _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r = True, random.Random(0)  # type: ignore[misc]
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r = was, lot  # type: ignore[misc]


# CPython 3.12 begins with some hundred objects that are frozen
FROZEN_FROM_THE_START = gc.get_freeze_count() if hasattr(gc, "freeze") else 0


@contextmanager
def _frozen() -> Generator[None, None, None]:
    """Let the collection after each run look at that run's own objects alone."""
    if not hasattr(gc, "freeze") or gc.get_freeze_count() > FROZEN_FROM_THE_START:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
