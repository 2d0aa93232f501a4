"""The deadline: a cancel scope."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

import trio
from trio import CancelScope, current_time
from trio.lowlevel import Task

from .. import abc
from .._error_groups import errors_only, first_leaf_of
from .._errors import left_out_of_order, timed_out
from .scopes import Scope, innermost, scopes_within


class DeadlineExceeded(TimeoutError, trio.TooSlowError):
    """What a deadline raises under trio: code written for trio's own deadlines catches it too (L1)."""


class Deadline(Scope, abc.Deadline):
    __slots__ = ("_at", "_delay", "_expired", "_scope", "_suppress")

    def __init__(self, delay: float | None, at: float | None, suppress: bool) -> None:
        self._delay = delay
        self._at = inf if at is None else at
        self._suppress = suppress
        self._scope: CancelScope | None = None
        self._task: Task | None = None
        self._entered = False
        self._in_body = False
        self._expired = False

    @property
    def native(self) -> CancelScope:
        if self._scope is None:
            self._scope = CancelScope(deadline=self._at)
        return self._scope

    def when(self) -> float | None:
        when = self._at if self._scope is None else self._scope.deadline
        return None if when == inf else when

    def expired(self) -> bool:
        if self._in_body and self._is_here() and self.native.deadline <= current_time():
            self._expired = True
        return self._expired

    def _move(self, when: float | None) -> None:
        self._check_here(self, "reschedule()")
        self.native.deadline = inf if when is None else when
        self._delay = None
        if self.expired():
            self.native.cancel()  # L7: at once, as on entry, so that current_deadline() tells

    def __enter__(self) -> Self:
        task = self._check_enter()
        if self._delay is not None:
            self._at = current_time() + self._delay  # L9
        if self._scope is None:
            self._scope = CancelScope(deadline=self._at)
        elif self._delay is not None:  # `native` was asked for before
            self._scope.deadline = self._at
        self._opened(task)
        try:
            self._open_natively()
        except BaseException:  # it is not left half entered
            self._in_body = False
            self._task = None
            self._closed(task)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        task = self._check_owner()
        scope = self._scope
        assert scope is not None
        if scope.deadline <= current_time():
            self._expired = True  # L8
        self._in_body = False
        self._task = None
        if innermost.get(task) is not self:
            self._leave_too_early(task)
            return None
        errors = cancellation = None
        try:
            # C7: trio sees a cancellation alone, and never an error of the user's
            cancellation = None if exc is None else first_leaf_of(exc, trio.Cancelled)
            if not self._close_natively(task, cancellation) or cancellation is None:
                return None
            assert exc is not None
            errors = errors_only(exc, trio.Cancelled)
            if errors is not None:
                raise errors
            if self._expired and not self._suppress:
                raise DeadlineExceeded(timed_out(self._delay, scope.deadline)) from exc  # L1
            return True
        finally:
            del task, exc, errors, cancellation  # G11

    def _open_natively(self) -> None:
        """C7: as deep in the stack as closing; where the stack is full, it is this that fails."""
        assert self._scope is not None
        self._scope.__enter__()

    def _close_natively(self, task: Task, cancellation: BaseException | None = None) -> bool:
        """Returns whether `cancellation` ends here."""
        assert self._scope is not None
        try:
            return self._scope.__exit__(
                None if cancellation is None else type(cancellation), cancellation, None
            )
        except RuntimeError as corrupted:  # trio's own word for a scope of its own that is open inside
            if isinstance(corrupted, RecursionError):
                raise
            raise left_out_of_order(self) from corrupted
        finally:
            self._closed(task)

    def _leave_too_early(self, task: Task) -> None:
        inside = scopes_within(task, self)
        if inside is None:
            return  # it was closed with a scope around it, which has told
        misuse = left_out_of_order(self, inside[0])
        for scope in inside:  # they stay open for their owner
            if isinstance(scope, abc.TaskGroup):
                scope.cancel()
        self._abandon()
        raise misuse

    def _innermost_again(self, task: Task) -> None:
        if self._task is None:  # left too early, which has told
            with suppress(RuntimeError):
                self._close_natively(task)

    def _abandon(self) -> None:
        self._in_body = False
        self.native.deadline = inf

    async def _close_abandoned(self, task: Task) -> list[BaseException]:
        self._close_natively(task)
        return []
