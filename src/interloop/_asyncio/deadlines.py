"""The deadline."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from types import TracebackType
from typing import Any, Self

from .. import abc
from .._error_groups import context_of, contexts_of, errors_only, exceptions_in, is_a, set_cause, set_context
from .._errors import left_out_of_order, timed_out
from .scopes import Scope, open_nodes
from .timers import Entry, Timed
from .views import NativeTimeout


class Deadline(Scope, abc.Deadline):
    __slots__ = ("_delay", "_expired", "_native", "_suppress", "_timer", "_when")

    _timer: list[Timed] | Entry | None  # its place in the loop's `Timers`

    def __init__(self, delay: float | None, at: float | None, suppress: bool) -> None:
        self._entered = False
        self._in_body = False
        self._cancelled = False
        self._delay = delay
        self._when = at
        self._suppress = suppress
        self._expired = False
        self._task = None
        self._timer = None
        self._native: NativeTimeout | None = None

    @property
    def native(self) -> asyncio.Timeout:
        if self._native is None:
            self._native = NativeTimeout(self)
        return self._native

    def when(self) -> float | None:
        return self._when

    def expired(self) -> bool:
        if self._in_body and asyncio._get_running_loop() is self._tree.loop():
            self._expire_if_due()
        return self._expired

    def _move(self, when: float | None) -> None:
        self._tree.check_here(self, "reschedule()")
        self._stop_timer()
        self._when = when
        self._delay = None
        if when is not None:
            self._start_timer(when)

    def __enter__(self) -> Self:
        self._enter()
        if self._delay is not None:
            self._when = asyncio.get_running_loop().time() + self._delay  # L9
        if self._when is not None:
            try:
                self._start_timer(self._when)
            except BaseException:
                self._close(self._task)
                raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        task = self._check_owner()
        requests = self._tree.requests
        own_cancellation = self._expired
        if self._timer is not None:
            self._expired = self._is_due()  # L8
            self._stop_timer()
        try:
            self._leave(task)
            if not own_cancellation or exc is None:
                return None
            if requests.in_force(task, self._settled):
                if is_a(exc, CancelledError) and (other := requests.as_others_know_it(task, exc)) is not None:
                    raise other  # G5
                return None
            errors = errors_only(exc, CancelledError)
            if errors is None:
                if self._suppress:
                    return True
                raise TimeoutError(timed_out(self._delay, self._when)) from exc  # L1
            _mention_timeout(errors, TimeoutError(timed_out(self._delay, self._when)))
            if errors is not exc:
                raise errors  # L2: `except*` joins the cancellation of its handler to the errors that it left
            return None
        finally:
            del task, exc  # G11

    def _leave(self, task: asyncio.Task[Any]) -> None:
        inside = open_nodes(task, self, self._tree)[1:]
        if inside:  # G9: they stay open for their owner
            inside[0]._parent = self._parent
            self._tree.requests.take_back(self, task)
            for scope in inside:
                if isinstance(scope, abc.TaskGroup):
                    scope.cancel()
            self._in_body = False
            self._task = self._parent = None
            raise left_out_of_order(self, inside[-1])
        self._close(task)

    def _abandon(self, adopter: object) -> None:
        self._stop_timer()

    def _start_timer(self, when: float) -> None:
        if self._is_due():
            self._ring()  # L4
        else:
            self._tree.timers.add(self, when)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._tree.timers.remove(self)

    def _is_due(self) -> bool:
        return self._when is not None and self._when <= asyncio.get_running_loop().time()

    def _expire_if_due(self) -> None:
        if self._in_body and not self._expired and self._is_due():
            self._stop_timer()
            self._ring()

    def _ring(self) -> None:
        self._timer = None
        self._expired = True
        self._cancel()


def _mention_timeout(error: BaseException, timeout: TimeoutError) -> None:
    """Show in the context of an error that came out of a block after expiry that there was a timeout.

    As asyncio does from 3.13 on: what the error came up in was this cancellation, and that is the deadline's.
    """
    for leaf in (error, *(exceptions_in(error) if is_a(error, BaseExceptionGroup) else ())):
        for one in contexts_of(leaf):
            context = context_of(one)
            if context is not None and is_a(context, CancelledError):
                set_context(timeout, context)
                set_cause(timeout, context)
                set_context(one, timeout)
                break
