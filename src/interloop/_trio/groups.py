"""The task group: a nursery."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from threading import get_ident
from types import CoroutineType, TracebackType
from typing import Any, Self, TypeVar
from weakref import ref

import trio
from sniffio import thread_local
from trio import CancelScope
from trio.lowlevel import checkpoint_if_cancelled

from .._checks import name_of, refuse, safe_repr
from .._error_groups import errors_only, exceptions_in, first_leaf, is_a, same_errors
from .._errors import finished, left_out_of_order, not_entered
from .scopes import close_all, scopes_within
from .tasks import Owner, Task, run

T = TypeVar("T")


def _same(started: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """A function for `start_soon()` to call. Making one for each child would take 1.5 % of its time."""
    return started


class TaskGroup(Owner):
    __slots__ = (
        *Owner.SLOTS,
        "_cancelled",
        "_cancelled_before_start",
        "_last_child_ended",
        "_left",
        "_manager",
        "_nursery",
        "_queue_watch",
    )

    def __init__(self, limit: int | None, defer_errors: bool) -> None:
        super().__init__(limit, defer_errors)
        self._manager = trio.open_nursery(strict_exception_groups=True)
        self._nursery: trio.Nursery | None = None
        self._task = None
        self._entered = False
        self._cancelled = False
        self._left = False  # closed natively
        self._cancelled_before_start: set[Task[Any]] = set()
        self._queue_watch: CancelScope | None = None
        self._last_child_ended: trio.Event | None = None  # only if trio cannot be asked to wait

    def _state(self) -> str:
        if self._nursery is None:
            return "created"
        if self._left:
            return "finished"
        return "cancelling" if self._cancelled else "entered"

    @property
    def native(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError(f"{self!r} has not been entered, so there is no native group yet")
        return self._nursery

    async def __aenter__(self) -> Self:
        task = self._check_enter()
        self._nursery = await self._manager.__aenter__()
        self._opened(task)
        if self._cancelled:
            self._nursery.cancel_scope.cancel()
        return self

    # children

    def _new_task(self, coro: Coroutine[Any, Any, T], name: str | None, call: str) -> Task[T]:
        if not self._entered or self._left:
            refuse(finished(self) if self._entered else not_entered(self), [coro])
        if get_ident() != self._thread or thread_local.name is None:
            refuse(self._elsewhere(self, call), [coro])  # D5
        if name is None:
            # as trio names a task after its function
            name = coro.__qualname__ if type(coro) is CoroutineType else name_of(coro) or safe_repr(coro)
        return Task(self, name)

    def _spawn(
        self, task: Any, coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
    ) -> None:
        assert self._nursery is not None
        started = task._started = run(ref(task), self, coro, context)
        try:
            self._nursery.start_soon(_same, started, name=task._name)
        except RuntimeError as closed:
            started.close()
            if isinstance(closed, RecursionError):
                raise
            self._check_here(self, "create_task()")
            raise finished(self) from None

    def _finished(self) -> bool:
        return self._left

    def _is_cancelled(self) -> bool:
        return self.native.cancel_scope.cancel_called

    def _cancel(self) -> None:
        self._cancelled = True
        self.native.cancel_scope.cancel()
        self._drop_queue()

    def cancel(self) -> None:
        if not self._entered:
            self._cancelled = True
        elif not self._left:
            self._check_here(self, "cancel()")
            self._cancel()

    def _queue_began(self) -> None:
        """trio tells only tasks that a scope around them is cancelled, so one of them watches (G14)."""
        if self._queue_watch is None:
            self._queue_watch = CancelScope()
            self.native.start_soon(self._watch_queue, self._queue_watch, name="interloop: limit")

    async def _watch_queue(self, watch: CancelScope) -> None:
        with watch:
            try:
                await trio.sleep_forever()
            finally:
                if self._queue_watch is watch:
                    self._drop_queue()

    def _queue_ended(self) -> None:
        if self._queue_watch is not None:
            watch, self._queue_watch = self._queue_watch, None
            watch.cancel()

    # the way out

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        """Wait for the children, then leave.

        | errors | cancelled from outside | the block                                      |
        | ------ | ---------------------- | ---------------------------------------------- |
        | some   |                        | raises them in one group (G3, G4)              |
        | none   | yes                    | raises the cancellation (G5)                   |
        | none   | no                     | is left without an exception (G6), or as its   |
        |        |                        | body ended                                     |

        That it is left while a scope inside it is open is an error like any other, raised by itself from the
        rest (G9).
        """
        task = self._check_owner()
        inside = scopes_within(task, self)
        if inside is None:  # it was closed with a scope around it, which has told
            self._task = None
            return None
        self._in_body = False
        misuse = left_out_of_order(self, inside[0]) if inside else None
        error = None if exc is None else errors_only(exc, trio.Cancelled)
        cancellation = first_leaf(exc) if exc is not None and error is None else None
        if error is not None:
            self._failed_in_body(error)
        if exc is not None or inside:
            self._cancel()
        try:
            for of_inner in await close_all(inside, task):
                self._failed(of_inner)
            self._end_background()
            cancellation = await self._close_natively_when_all_have_ended(task, cancellation)
            if misuse is not None:
                raise misuse from (self._error_to_raise() if self._errors else None)
            if self._errors:
                if same_errors(self._errors, exc) and is_a(self._errors[0], GeneratorExit):
                    return None  # G3: lets an async generator be closed, as on asyncio
                raise self._error_to_raise() from None
            if cancellation is None:
                await checkpoint_if_cancelled()  # G13
                return True
            if cancellation is exc:
                return None  # G5
            raise cancellation  # G5
        finally:
            # G11: no cycle from an exception through its traceback to this frame
            self._task = None
            self._errors = None
            del exc, error, cancellation, misuse

    async def _close_natively_when_all_have_ended(
        self, task: trio.lowlevel.Task, cancellation: BaseException | None = None
    ) -> BaseException | None:
        """Wait for the children, with the cancellation that came out of the body, if one did.

        Returns the cancellation that is not this group's, if one is left.
        """
        try:
            if task.child_nurseries[-1:] != [self.native]:
                await self._wait_without_closing()
                misuse = left_out_of_order(self, "a nursery of trio's own")
                raise misuse from (self._error_to_raise() if self._errors else None)
            try:
                await self._manager.__aexit__(
                    None if cancellation is None else type(cancellation), cancellation, None
                )
            except BaseException as raised:  # also by native children of the nursery, and by trio itself
                error = errors_only(raised, trio.Cancelled)
                if error is None:
                    return first_leaf(raised)
                self._failed_in_body(*(exceptions_in(error) if is_a(error, BaseExceptionGroup) else [error]))
            return None
        finally:
            self._left = True
            self._closed(task)

    async def _wait_without_closing(self) -> None:
        """Cancel the children and wait for them (G1), where trio cannot close the nursery (G9)."""
        self._cancel()
        self._last_child_ended = trio.Event()
        if self._ordinary or self._background:
            with CancelScope(shield=True):
                await self._last_child_ended.wait()

    def _failed_in_body(self, *errors: BaseException) -> None:
        if self._errors is None:
            self._errors = []
        self._errors += errors

    def _abandon(self) -> None:
        self._cancel()

    async def _close_abandoned(self, task: trio.lowlevel.Task) -> list[BaseException]:
        await self._close_natively_when_all_have_ended(task)
        errors, self._errors = self._errors or [], None
        return errors
