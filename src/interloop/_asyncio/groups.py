"""The task group."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Coroutine, Iterable
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from weakref import ref

from .._checks import refuse
from .._error_groups import contexts_of, errors_only, first_leaf, is_a, is_of_full_stack, same_errors
from .._errors import finished, left_open, left_out_of_order, not_entered
from .privates import in_peace, shield_between, unregister_task
from .requests import outwards
from .scopes import Node, cancel, handle_of, open_nodes, put_under
from .tasks import Owner, Task, awaited_by, clear_finished_frames, make_task, no_longer_awaited_by
from .views import NativeTaskGroup
from .waiting import expire_overdue, turn

T = TypeVar("T")


class TaskGroup(Owner):
    """Owns tasks."""

    __slots__ = (*Owner.SLOTS, "_adopter", "_last_child_ended", "_native", "_tasks")

    def __init__(self, limit: int | None, defer_errors: bool) -> None:
        super().__init__(limit, defer_errors)
        self._adopter: TaskGroup | None = None
        self._entered = False
        self._in_body = False
        self._cancelled = False
        self._task = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_child_ended: asyncio.Future[None] | None = None
        self._native: ref[NativeTaskGroup] | None = None  # G11: the view knows the group

    def _state(self) -> str:
        if not self._entered:
            return "created"
        if self._finished():
            return "finished"
        return "cancelling" if self._cancelled else "entered"

    @property
    def native(self) -> asyncio.TaskGroup:
        if not self._entered:
            raise RuntimeError(f"{self!r} has not been entered, so there is no native group yet")
        native = None if self._native is None else self._native()
        if native is None:
            native = NativeTaskGroup(self)
            self._native = ref(native)
        return native

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    # children

    def _new_task(self, coro: Coroutine[Any, Any, T], name: str | None, call: str) -> Task[T]:
        if not self._in_body and self._finished():
            refuse(finished(self) if self._entered else not_entered(self), [coro])
        if asyncio._get_running_loop() is not self._tree.loop():
            try:
                self._tree.check_here(self, call)
            except RuntimeError as error:
                refuse(error, [coro])
        return Task(self)

    def _spawn(
        self, task: Any, coro: Coroutine[Any, Any, T], name: str | None, context: Context | None
    ) -> None:
        tree = self._tree
        loop = tree.loop()
        assert loop is not None
        outer_starting = tree.starting
        tree.starting = coro, task, name
        try:
            if name is None and context is None:
                native = loop.create_task(coro)
            else:
                native = make_task(loop, coro, name, context)
        finally:
            tree.starting = outer_starting
        if native.done():
            clear_finished_frames(native)
        task._native = native
        self._tasks.add(native)
        if tree.innermost.setdefault(native, task) is not task:
            put_under(task, tree.innermost[native])
        if tree.in_shields and self._task in tree.in_shields:
            tree.in_shields.add(native)  # C5
            unregister_task(native)
        if awaited_by is not None:
            awaited_by(native, self._task)
        native.add_done_callback(self._native_ended)
        if self._cancelled:  # G7: born cancelled
            cancel(task, native, tree)
        del task, native, outer_starting  # G11: the frames of an eager task know this one

    def _children(self) -> Iterable[asyncio.Task[Any]]:
        return self._tasks

    def _is_cancelled(self) -> bool:
        return self._cancelled

    def _cancelled_now(self) -> None:
        self._drop_queue()

    def _could_not_cancel(self, failure: Exception) -> None:
        self._failed(failure)

    def cancel(self) -> None:
        if not self._entered:
            self._cancelled = True
        elif not self._finished():
            self._tree.check_here(self, "cancel()")
            self._cancel()

    def _finished(self) -> bool:
        return not (self._in_body or self._tasks or self._ordinary)

    def _native_ended(self, native: asyncio.Task[Any]) -> None:
        if self._adopter is not None:
            self._adopter._native_ended(native)
            return
        tree = self._tree
        self._tasks.discard(native)  # G11
        if tree.in_shields:
            tree.in_shields.discard(native)
        task: Any = tree.innermost.pop(native, None)
        left: list[Node] = []
        if task is not None and not task._is_task:
            *left, task = outwards(task)
        if no_longer_awaited_by is not None:
            no_longer_awaited_by(native, self._task)
        error = None
        try:
            if (raised := native.exception()) is not None:
                error = errors_only(raised, CancelledError)
        except CancelledError:
            pass  # G11: the task does not keep it now that it was raised
        while left:
            scope = left.pop()
            self._failed(left_open(scope, native.get_name()))
            scope._abandon(self)
        self._child_ended(task, error)
        if not self._tasks:
            last_child_ended = self._last_child_ended
            if last_child_ended is not None and not last_child_ended.done():
                last_child_ended.set_result(None)

    def _failed(self, error: BaseException) -> None:
        owner, is_first = self._task, self._errors is None
        super()._failed(error)
        if owner is not None:
            if owner.done():
                self._report_if_left_open(owner, [error])
            elif is_first:
                owner.add_done_callback(self._owner_ended)

    def _owner_ended(self, owner: asyncio.Task[Any]) -> None:
        self._report_if_left_open(owner, self._errors or [])

    def _report_if_left_open(self, owner: asyncio.Task[Any], errors: list[BaseException]) -> None:
        """C7: nobody raises them, unless `owner` is a child of ours or in a shield."""
        if handle_of(owner, self._tree) is None and owner not in self._tree.in_shields:
            said = f"{self!r} was left open by its task, and a child of it failed"
            for error in errors:
                asyncio.get_running_loop().call_exception_handler({"message": said, "exception": error})

    def _abandon(self, adopter: TaskGroup) -> None:
        self._cancel_children()
        self._in_body = False
        self._adopter = adopter
        adopter._ordinary += len(self._tasks)
        adopter._tasks |= self._tasks
        self._tasks.clear()
        self._ordinary = 0
        errors, self._errors = self._errors or [], None
        assert self._task is not None
        self._task.remove_done_callback(self._owner_ended)
        for error in errors:
            adopter._failed(error)

    def _cancel_children(self) -> None:
        self._drop_queue()
        for native in list(self._tasks):
            child = handle_of(native, self._tree)
            assert child is not None
            if not child._cancelled:
                cancel(child, native, self._tree)

    # the way out

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        """Wait for the children, then leave.

        | errors | cancelled from outside | cancelled itself | the block                             |
        | ------ | ---------------------- | ---------------- | ------------------------------------- |
        | some   | no                     |                  | raises them in one group (G3)         |
        | some   | yes                    |                  | likewise; the cancellation comes at   |
        |        |                        |                  | the next checkpoint (G4)              |
        | none   | yes                    |                  | raises the cancellation, as it came (G5) |
        | none   | no                     | yes              | is left without an exception (G6)     |
        | none   | no                     | no               | is left as its body ended             |

        That it is left while a scope inside it is open is an error like any other, and raised by itself,
        from the rest (G9).
        """
        if exc_type is GeneratorExit and asyncio._get_running_loop() is None:
            return None  # the coroutine is thrown away, after its loop
        task = self._check_owner()
        requests = self._tree.requests
        self._in_body = False
        own_cancellation = self._cancelled
        came: list[CancelledError] = []  # the cancellations that were caught here
        misuse = self._adopt_what_is_open(task)
        if is_of_full_stack(exc):
            misuse = None  # it kept the scopes inside from being left
        if exc is not None or misuse is not None:
            self._cancel()
        if exc is not None:
            self._body_failed(exc, came)
        self._end_background()
        try:
            must_suspend = exc is None or requests.one_of_ours_is_repeated(task, self._settled)  # G13
            while self._tasks:
                must_suspend = False
                self._last_child_ended = asyncio.get_running_loop().create_future()
                try:
                    with in_peace(came):
                        await self._last_child_ended
                except CancelledError as cancellation:
                    came.append(cancellation)
                    self._cancel()
            parent = self._parent
            if must_suspend or not (came or self._errors or not self._outer_is_cancelled(task)):
                try:
                    expire_overdue(parent)
                    await turn()
                except CancelledError as cancellation:
                    came.append(cancellation)
                if not came and self._outer_is_cancelled(task):
                    came.append(CancelledError())
            del parent

            self._close(task)
            if misuse is not None or self._errors:
                came += _cancellations_behind(exc)
                # the errors may have come up in a shield of anyio, in clean-up for what is around that
                requests.hold_back(task, self._settled, came, requests.cancelled_nodes(task))
            if misuse is not None:
                raise misuse from (self._error_to_raise() if self._errors else None)
            if self._errors:
                if same_errors(self._errors, exc) and is_a(self._errors[0], GeneratorExit):
                    return None  # G3: lets an async generator be closed, as asyncio does from 3.15 on
                raise self._error_to_raise() from None
            if not came:
                return None
            if own_cancellation:
                if not requests.in_force(task, self._settled):
                    return True
                came.append(requests.as_others_know_it(task, came[-1]) or came[-1])
            if came[-1] is exc:
                return None
            raise came[-1]
        finally:
            # G11: no cycle from an exception through its traceback to this frame, and nothing kept after exit
            if self._errors:
                task.remove_done_callback(self._owner_ended)
            self._errors = None
            came.clear()
            del task, exc, misuse

    def _outer_is_cancelled(self, task: asyncio.Task[Any]) -> bool:
        parent = self._parent
        return parent is not None and parent._cancelled and not shield_between(self._anyio, parent._anyio)

    def _adopt_what_is_open(self, task: asyncio.Task[Any]) -> RuntimeError | None:
        if self._tree.innermost.get(task) is self:
            return None
        inside = open_nodes(task, self, self._tree)[1:]
        if not inside:  # it was closed with a scope around it, which has told
            return None
        misuse = left_out_of_order(self, inside[-1])
        for scope in inside:
            scope._abandon(self)
        return misuse

    def _body_failed(self, exc: BaseException, came: list[CancelledError]) -> None:
        error = errors_only(exc, CancelledError)
        if error is None:
            came.append(first_leaf(exc))  # type: ignore[arg-type]
        elif self._errors is None:
            self._errors = [error]
        else:
            self._errors.append(error)

    def _error_to_raise(self) -> BaseException:
        assert self._errors
        for error in self._errors:
            if is_a(error, (KeyboardInterrupt, SystemExit)):
                return error  # G12: as asyncio's own group does
        return super()._error_to_raise()


def _cancellations_behind(error: BaseException | None) -> list[CancelledError]:
    """The cancellation that the body raised `error` in the place of."""
    found = () if error is None else contexts_of(error)
    return cast("list[CancelledError]", [one for one in found if is_a(one, CancelledError)][:1])
