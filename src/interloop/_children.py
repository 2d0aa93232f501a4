"""Which child of a task group may run, and what becomes of its error: once, for every backend.

A child takes a slot of the group's `limit` when it starts. One that finds no slot is a handle and a coroutine
in a queue, and no native task (G14). Background tasks take no slot, and are cancelled when they are all that
is left (G15). The first error of a child cancels the group, unless the group defers errors (G3, G16). `start`
is a child with an event (T5).

A backend says how a child is spawned (`_spawn`), what a cancelled group is (`_cancel`, `_is_cancelled`) and
what its handles do; it calls `_child_ended` when a child has ended.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from . import abc
from ._checks import check_child, check_function, is_coroutine, name_of, refuse, safe_repr
from ._dispatch import current_backend
from ._error_groups import errors_only, explains_nothing, hide_frames, is_a, new_group
from ._errors import TaskCancelled
from ._status import TaskStatus

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# What a child that waits for a slot is started with: its coroutine, name and context.
Waiting: TypeAlias = tuple[Coroutine[Any, Any, Any], str | None, Context | None]

# A group that defers errors and serves for days keeps no more of them (G16).
MAX_DEFERRED = 100


class Child(abc.Task[T_co]):
    """A handle, as the queue of its group knows it."""

    __slots__ = ()

    @abstractmethod
    def _queue(self, coro: Coroutine[Any, Any, T_co], name: str | None) -> None:
        """From now on it waits for a slot."""

    @abstractmethod
    def _leave_queue(self, coro: Coroutine[Any, Any, T_co]) -> None:
        """It has a slot, and is started next: whoever waits in `_out_of_queue` goes on."""

    @abstractmethod
    def _drop(self, error: BaseException | None = None) -> None:
        """It ends without having started: cancelled, or with the error of starting it (G14)."""


class Children(abc.TaskGroup):
    """The part of a task group that knows which child may run."""

    # A class can inherit slots from one base only, and a backend's group has others. So it declares these
    # itself, by `__slots__ = (*Children.SLOTS, ...)`: with a dict in their place a spawn takes 5 % longer.
    if not TYPE_CHECKING:
        __slots__ = ()
    SLOTS = ("_background", "_defer_errors", "_errors", "_limit", "_only_logged", "_ordinary", "_queue")

    _background: set[Child[Any]] | None
    _defer_errors: bool
    _errors: list[BaseException] | None
    _limit: int | None
    _only_logged: int
    _ordinary: int
    _in_body: bool  # whether the `async with` block runs

    def __init__(self, limit: int | None, defer_errors: bool) -> None:
        self._limit = limit
        self._defer_errors = defer_errors
        self._ordinary = 0  # how many children run that are no background tasks
        # few groups need these, which are made when they do
        self._background: set[Child[Any]] | None = None
        self._queue: OrderedDict[Child[Any], Waiting] | None = None
        self._errors: list[BaseException] | None = None
        self._only_logged = 0

    @abstractmethod
    def _finished(self) -> bool:
        """Whether the block has been left, so that nobody raises an error of this group any more."""

    @abstractmethod
    def _new_task(self, coro: Coroutine[Any, Any, T], name: str | None, call: str) -> Child[T]:
        """A handle for a child that has not started.

        Raises:
            RuntimeError: the group takes no children now, or not from here (G8, D5); `coro` is closed.
        """

    @abstractmethod
    def _spawn(
        self, task: Child[T], coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
    ) -> None:
        """Start `coro` as a native task; `context=None` for a copy of the current one.

        Raises:
            Exception: what the library raised, such as the error of a task factory.
        """

    @abstractmethod
    def _cancel(self) -> None:
        """Cancel the body and all children."""

    @abstractmethod
    def _is_cancelled(self) -> bool:
        """Whether this group, or a scope around it, is cancelled."""

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Child[T]:
        if type(coro) is not CoroutineType or context is not None or name is not None:
            check_child(coro, context, name, "create_task()")
        task = self._new_task(coro, name, "create_task()")
        try:
            if self._limit is None or self._ordinary < self._limit:
                self._start(task, coro, name, context)
            else:
                self._enqueue(task, coro, name, context)
            return task
        finally:
            del task  # G11: the frames of a child that fails at once know this one; likewise below

    def create_background_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> Child[T]:
        check_child(coro, context, name, "create_background_task()")
        task = self._new_task(coro, name, "create_background_task()")
        try:
            self._spawn(task, coro, name, context)
        except BaseException as error:
            refuse(error, [coro])
        if self._background is None:
            self._background = set()
        self._background.add(task)
        self._end_background()
        try:
            return task
        finally:
            del task

    def _start(
        self, task: Child[T], coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
    ) -> None:
        self._ordinary += 1
        try:
            self._spawn(task, coro, name, context)
        except BaseException as error:
            self._ordinary -= 1
            refuse(error, [coro])
        finally:
            del task

    def _child_ended(self, task: Child[Any] | None, error: BaseException | None) -> None:
        """Settle the books of a child that has ended; `error` holds no cancellation.

        `task` may be `None` for an ordinary child whose handle is gone.
        """
        if self._background and task in self._background:
            self._background.remove(task)
        else:
            self._ordinary -= 1
        if error is not None:
            hide_frames(error)
            self._failed(error)
        if self._queue:
            self._start_queued()
        if self._background:
            self._end_background()

    def _failed(self, error: BaseException) -> None:
        """An error is the group's, and cancels it unless it is deferred (G3, G16)."""
        if self._errors is None:
            self._errors = []
        if not (self._defer_errors and is_a(error, Exception)):
            self._errors.append(error)
            self._cancel()
        elif len(self._errors) < MAX_DEFERRED:
            self._errors.append(error)
        else:
            self._log(error)

    def _log(self, error: BaseException) -> None:
        import logging  # only a group that is full pays for this import

        self._only_logged += 1
        try:
            logging.getLogger("interloop").error(
                "A task group has deferred %d errors and keeps no more; this one is only logged",
                MAX_DEFERRED,
                exc_info=error,
            )
        except Exception as failure:  # C7: of a handler or a filter, which is the user's
            assert self._errors is not None
            self._errors += [error, failure]
            self._cancel()

    def _error_to_raise(self) -> BaseException:
        """All errors in one group (G3)."""
        assert self._errors
        group = new_group("unhandled errors in a TaskGroup", self._errors)
        if self._only_logged:
            group.add_note(
                f"{self._only_logged} more errors of this group were logged, and are not kept here"
            )
        return group

    # children that wait for a slot

    def _queue_began(self) -> None:
        """A child waits: for a backend that has to watch for the cancellation of a scope around."""

    def _queue_ended(self) -> None:
        """No child waits any more."""

    def _enqueue(
        self, task: Child[T], coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
    ) -> None:
        if self._queue is None:
            self._queue = OrderedDict()
        task._queue(coro, name)
        self._queue[task] = coro, name, copy_context() if context is None else context
        if self._is_cancelled():
            self._drop(task)  # G7: born cancelled
        else:
            self._queue_began()

    def _start_queued(self) -> None:
        assert self._limit is not None
        while self._queue and self._ordinary < self._limit:
            self._start_next(*self._queue.popitem(last=False))
        if not self._queue:
            self._queue_ended()

    def _start_next(self, task: Child[Any], waiting: Waiting) -> None:
        coro, name, context = waiting
        task._leave_queue(coro)
        try:
            self._start(task, coro, name, context)
        except Exception as failure:  # C7: of a task factory; nobody else is here to be told
            task._drop(failure)
            self._failed(failure)
        finally:
            del task

    def _drop(self, task: Child[Any]) -> None:
        """Let a child that waits for a slot end as cancelled (G14)."""
        assert self._queue is not None
        coro, *_ = self._queue.pop(task)
        task._drop()
        try:
            coro.close()
        except Exception as failure:  # C7: the next one is closed all the same
            self._failed(failure)
        if not self._queue:
            self._queue_ended()

    def _drop_queue(self) -> None:
        while self._queue:
            self._drop(next(iter(self._queue)))

    # background tasks

    def _end_background(self) -> None:
        """Cancel the background tasks once they are all that is left (G15)."""
        if not self._in_body and self._ordinary == 0 and self._background:
            for task in list(self._background):
                task.cancel()

    # start()

    async def start(
        self, fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any, name: str | None = None
    ) -> Any:
        check_function(fn, "start()")
        backend = current_backend("start()")
        status: TaskStatus[Any] = TaskStatus(backend.Event())
        coro: Any = _run(status, fn, args, backend)
        coro.__qualname__ = name_of(fn) or safe_repr(fn)  # trio names the task after it
        task = self.create_task(coro, name=name)
        try:
            await task._out_of_queue()
            if not task.done():
                await status._ready_or_ended.wait()
            if not status._started:
                # Its end may be what cancels this task: by SystemExit, or as the last ordinary child while
                # this is a background task (G15).
                await (backend.checkpoint() if task.done() else task._wait())
        except BaseException:
            # T5: no child is left behind that nobody has a value of
            task.cancel()
            await backend.shield(task._wait())
            if status._error is not None:  # it came before the cancellation, but this call did not see it
                if self._finished():
                    raise status._error from None
                self._failed(status._error)
            del task, status, coro  # G11
            raise
        if status._started:
            return status._value
        if status._error is not None:
            try:
                raise status._error
            finally:
                status._error = None  # no cycle from the error through its traceback to the status
        if task.cancelled():
            raise TaskCancelled(
                f"task {task.get_name()!r} was cancelled before it called task_status.started()"
            )
        task.result()
        raise RuntimeError(f"{safe_repr(fn)} returned without calling task_status.started()")


for method in (Children.create_task, Children.create_background_task, Children.start):
    method.__qualname__ = f"TaskGroup.{method.__name__}"  # as Python's own errors call it


@explains_nothing
async def _run(
    status: TaskStatus[Any], fn: Callable[..., Any], args: tuple[Any, ...], backend: abc.Backend
) -> object:
    try:
        coro = fn(*args, task_status=status)
        if not is_coroutine(coro):
            raise TypeError(
                f"start() expects an async function, but {safe_repr(fn)} returned {safe_repr(coro)}"
            )
        return await coro
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if status._started or backend.is_cancelled():
            raise  # an error of the group, as any other child's
        status._error = errors_only(error, backend.get_cancelled_exc_class())
        if status._error is None:
            raise
        hide_frames(status._error)
        return None
    finally:
        status._ready_or_ended.set()
