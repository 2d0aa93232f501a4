"""The deadline."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from sys import modules
from types import TracebackType
from typing import Any, Self
from weakref import ref

from .. import abc
from .._dispatch import current_backend_name
from .._error_groups import (
    context_of,
    contexts_of,
    errors_only,
    exceptions_in,
    is_a,
    set_cause,
    set_context,
)
from .._errors import (
    already_entered,
    entered_under_another_library,
    left_out_of_order,
    outside_of_tasks,
    timed_out,
)
from .privates import ANYIO, anyio_scope, current_task
from .scopes import Scope, Tree, open_nodes, tree_of
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
        self._native: ref[NativeTimeout] | None = None  # G11: the view knows the deadline

    @property
    def native(self) -> asyncio.Timeout:
        native = None if self._native is None else self._native()
        if native is None:
            native = NativeTimeout(self)
            self._native = ref(native)
        return native

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
        # In one piece, as leaving is: every call that is not made is some percent of a deadline (decision
        # 0012). As far as `when`, this is `Scope._enter`.
        if self._entered:
            raise already_entered(self)
        loop = asyncio._get_running_loop()
        if loop is None:
            raise entered_under_another_library(self, "asyncio", current_backend_name("entering a scope"))
        task = current_task(loop)
        if task is None:
            raise outside_of_tasks(self)
        try:
            tree: Tree = loop._interloop_tree  # type: ignore[attr-defined]
        except AttributeError:
            tree = tree_of(loop)
        if type(tree) is not Tree:  # some loops answer to any name
            tree = tree_of(loop)
        parent = tree.innermost.get(task)
        if parent is None and tree.starting is not None:
            parent = tree.innermost_of(task)
        self._task = task
        self._tree = tree
        self._parent = parent
        self._anyio = anyio_scope(task) if ANYIO in modules else None
        self._settled = tree.requests.settled(task) if task.cancelling() else 0
        self._asked = 0
        self._entered = True
        self._in_body = True
        tree.innermost[task] = self
        if parent is None:
            if len(tree.innermost) > tree.many:
                tree.forget_what_ended()
        elif parent._cancelled:
            self._be_born_cancelled(parent)
        try:
            delay = self._delay
            if delay is not None:
                self._when = when = loop.time() + delay  # L9
                if delay > 0:
                    timers = tree.timers
                    if when < timers.set_for or not (timers.checking or timers.timer_stands()):
                        self._start_timer(when)
                    else:  # as `Timers.add` does
                        self._timer = new = timers.new
                        new.append(self)
                else:
                    self._ring()  # L4
            elif self._when is not None:
                self._start_timer(self._when)
        except BaseException:  # L10: it is not left half entered
            self._close(task)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        task = self._task
        loop = asyncio._get_running_loop()
        if loop is None and exc_type is GeneratorExit:
            return None  # the coroutine is thrown away, after its loop
        if task is None or loop is None or current_task(loop) is not task:
            del task  # G11
            self._refuse_to_leave()
        own_cancellation = self._expired
        timer = self._timer
        if timer is not None:
            assert self._when is not None
            self._expired = self._when <= loop.time()  # L8
            timers = self._tree.timers
            if timer is timers.new and timers.new[-1] is self:  # as `Timers.remove` does
                timers.new.pop()
                self._timer = None
                if (timers.dead or not timer) and not timers.checking:
                    timers.check_soon()  # L10
            else:
                timers.remove(self)
        innermost = self._tree.innermost
        if not own_cancellation and not self._asked and innermost.get(task) is self:  # as `_close` does
            if self._parent is None:
                del innermost[task]
            else:
                innermost[task] = self._parent
            self._in_body = False
            self._task = self._parent = None  # G11
            return None
        errors = other = None
        try:
            if innermost.get(task) is self:
                self._close(task)
            else:
                self._leave_out_of_order(task)
            if not own_cancellation or exc is None:
                return None
            requests = self._tree.requests
            if requests.in_force(task, self._settled):
                if is_a(exc, CancelledError) and (other := requests.as_others_know_it(task, exc)) is not None:
                    raise other  # G5
                return None
            errors = None if exc_type is CancelledError else errors_only(exc, CancelledError)
            if errors is None:
                if self._suppress:
                    return True
                raise TimeoutError(timed_out(self._delay, self._when)) from exc  # L1
            _mention_timeout(errors, timed_out(self._delay, self._when))
            if errors is not exc:
                raise errors  # L2: `except*` joins the cancellation of its handler to the errors that it left
            return None
        finally:
            del task, exc, errors, other  # G11

    def _leave_out_of_order(self, task: asyncio.Task[Any]) -> None:
        """G9: the scopes that are open inside stay so for their owner."""
        inside = open_nodes(task, self, self._tree)[1:]
        if not inside:  # a scope around this one was left before, and has told
            self._close(task)
            return
        inside[0]._parent = self._parent
        self._tree.requests.take_back(self, task)
        for scope in inside:
            if isinstance(scope, abc.TaskGroup):
                scope.cancel()
        self._in_body = False
        self._task = self._parent = None
        raise left_out_of_order(self, inside[-1])

    def _abandon(self, adopter: object) -> None:
        self._stop_timer()
        self._in_body = False

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
        if not self._expired and self._is_due():
            self._stop_timer()
            self._ring()

    def _ring(self) -> None:
        self._expired = True
        self._cancel()


def _mention_timeout(error: BaseException, said: str) -> None:
    """Show in the context of an error that came out of a block after expiry that there was a timeout.

    As asyncio does from 3.13 on: what the error came up in was this cancellation, and that is the deadline's.
    """
    for leaf in (error, *(exceptions_in(error) if is_a(error, BaseExceptionGroup) else ())):
        for one in contexts_of(leaf):
            context = context_of(one)
            if context is not None and is_a(context, CancelledError):
                timeout = TimeoutError(said)
                set_context(timeout, context)
                set_cause(timeout, context)
                set_context(one, timeout)
                break
