"""Runs a program over interloop's public names alone, and notes what each part of it saw, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, TypeAlias

import anyio

import interloop
from interloop import TaskFailed

from . import foreign
from . import programs as p

# By statement, or task: what happened there, with the time.
Notes: TypeAlias = dict[str, list[tuple[float, str]]]


def tree(error: BaseException) -> str:
    """What the hosts agree on of an error: not the order in a group, nor the words of a message."""
    if isinstance(error, interloop.get_cancelled_exc_class()):
        return "cancelled"
    if isinstance(error, BaseExceptionGroup):
        return f"[{', '.join(sorted(map(tree, error.exceptions)))}]"
    if isinstance(error, TaskFailed):
        assert error.__cause__ is not None
        return f"TaskFailed({tree(error.__cause__)})"
    if isinstance(error, TimeoutError):
        return "TimeoutError"  # on trio of a class of its own
    return repr(error) if isinstance(error, (ValueError, KeyError)) else type(error).__name__


class Interpreter:
    """One run of a program."""

    def __init__(self, notes: Notes | None = None, mixed: bool = False) -> None:
        self.notes: Notes = {} if notes is None else notes
        self._mixed = mixed
        self._groups: dict[int, interloop.TaskGroup] = {}
        self._deadlines: dict[int, interloop.Deadline] = {}
        self._tasks: dict[int, interloop.Task[Any]] = {}
        self._statuses: dict[int, interloop.TaskStatus[int]] = {}
        self._begun: set[int] = set()
        self._create_native: dict[int, Callable[[foreign.AsyncFn], object]] = {}
        self._cancel_native: dict[int, Callable[[], object]] = {}
        self._cancel_anyio: dict[int, Callable[[], object]] = {}

    def note(self, where: object, what: str) -> None:
        self.notes.setdefault(str(where), []).append((interloop.current_time(), what))

    async def run(self, program: p.Block) -> Notes:
        if isinstance(program[0], p.LeftToTheEnd):
            whole = program[0]
            await foreign.left_to_the_end(
                partial(self._native, whole, whole.beside), partial(self._run, whole.body)
            )
        else:
            await self._run(program)
        return self.notes

    async def _run(self, program: p.Block) -> None:
        try:
            with interloop.deadline(p.THE_END, suppress=True):
                await self._block(program)
        except Exception as error:
            self.note("program", tree(error))
        await interloop.checkpoint()  # where a cancellation that was left would arrive
        self.note("program", "ends")
        for number, task in self._tasks.items():
            self.note(f"task {number}", _outcome(task))

    async def _block(self, block: p.Block) -> None:
        for statement in block:
            await self._statement(statement)

    async def _statement(self, statement: p.Statement) -> None:
        self.note(statement.id, "begins")
        try:
            seen = await getattr(self, type(statement).__name__)(statement)
        except BaseException as error:
            self.note(statement.id, tree(error))
            if not isinstance(error, statement.handles):
                raise
        else:
            self.note(statement.id, "ends" if seen is None else f"ends: {seen}")
        finally:
            if isinstance(statement, (p.Group, p.Deadline)):
                self._note_leftovers(statement)

    def _note_leftovers(self, scope: p.Statement) -> None:
        """C2: outside cancelled scopes no request for cancellation is left."""
        if (
            not self._mixed
            and interloop.current_backend() == "asyncio"
            and interloop.current_deadline() > -inf
        ):
            task = asyncio.current_task()
            assert task is not None
            if task.cancelling():
                self.note(scope.id, f"cancelling() == {task.cancelling()}")

    async def Sleep(self, sleep: p.Sleep) -> None:
        waiting = interloop.sleep(sleep.seconds)
        await (interloop.shield(waiting) if sleep.shielded else waiting)

    async def SleepForever(self, _: p.SleepForever) -> None:
        await interloop.sleep_forever()

    async def Checkpoint(self, _: p.Checkpoint) -> None:
        await interloop.checkpoint()

    async def CurrentDeadline(self, _: p.CurrentDeadline) -> float:
        return interloop.current_deadline()

    async def Raise(self, raising: p.Raise) -> None:
        raise raising.error(raising.id)

    async def CancelGroup(self, cancel: p.CancelGroup) -> None:
        self._groups[cancel.group].cancel()

    async def CancelTask(self, cancel: p.CancelTask) -> None:
        if cancel.task in self._tasks:
            self._tasks[cancel.task].cancel()

    async def Wait(self, wait: p.Wait) -> Any:
        if wait.task in self._tasks:
            return await self._tasks[wait.task]
        return None

    async def Reschedule(self, move: p.Reschedule) -> None:
        when = None if move.seconds is None else interloop.current_time() + move.seconds
        self._deadlines[move.deadline].reschedule(when)

    async def CreateTask(self, task: p.CreateTask) -> None:
        group = self._groups[task.group]
        create = group.create_background_task if task.background else group.create_task
        self._tasks[task.id] = create(self._task(task))

    async def Start(self, start: p.Start) -> Any:
        return await self._groups[start.group].start(self._task, start)

    async def Started(self, started: p.Started) -> None:
        self._statuses[started.task].started(started.id)

    async def _task(
        self, task: p.CreateTask | p.Start, *, task_status: interloop.TaskStatus[int] | None = None
    ) -> int:
        if task_status is not None:
            self._statuses[task.id] = task_status
        self._begun.add(task.id)
        self.note(f"task {task.id}", "begins")
        try:
            await self._block(task.body)
        except BaseException as error:
            self.note(f"task {task.id}", tree(error))
            raise
        self.note(f"task {task.id}", "ends")
        return task.id

    async def Group(self, group: p.Group) -> None:
        scope = interloop.task_group(limit=group.limit, defer_errors=group.defer_errors)
        async with scope as self._groups[group.id]:
            await self._block(group.body)

    async def Deadline(self, deadline: p.Deadline) -> None:
        scope = interloop.deadline(deadline.seconds, suppress=deadline.suppress)
        try:
            async with scope as self._deadlines[deadline.id]:
                await self._block(deadline.body)
        finally:
            self.note(deadline.id, f"expired() is {scope.expired()}, when() is {scope.when()}")

    async def Shield(self, shield: p.Shield) -> None:
        await interloop.shield(self._block(shield.body), timeout=shield.timeout)

    async def Finally(self, statement: p.Finally) -> None:
        try:
            await self._block(statement.body)
        finally:
            await self._block(statement.cleanup)

    async def ExceptStar(self, statement: p.ExceptStar) -> None:
        try:
            await self._block(statement.body)
        except* statement.error as group:
            self.note(statement.id, f"caught {tree(group)}")
            await self._block(statement.handler)

    async def _native(self, statement: p.Statement, body: p.Block) -> None:
        """A body in a task, perhaps, that interloop did not create."""
        self.note(f"native {statement.id}", "begins")
        try:
            await self._block(body)
        except BaseException as error:
            self.note(f"native {statement.id}", tree(error))
            raise
        self.note(f"native {statement.id}", "ends")

    async def NativeTimeout(self, timeout: p.NativeTimeout) -> None:
        async with foreign.native_timeout(timeout.seconds):
            await self._block(timeout.body)

    async def WaitFor(self, timeout: p.WaitFor) -> None:
        await foreign.native_wait_for(timeout.seconds, partial(self._native, timeout, timeout.body))

    async def NativeTask(self, task: p.NativeTask) -> None:
        started = partial(self._cancel_native.__setitem__, task.id)
        try:
            await foreign.native_task(
                partial(self._native, task, task.body),
                shielded=task.shielded,
                fails=task.fails,
                started=started,
            )
        finally:
            del self._cancel_native[task.id]

    async def NativeGroup(self, group: p.NativeGroup) -> None:
        async with foreign.native_group() as create:
            self._create_native[group.id] = create
            body = partial(self._block, group.body)
            await (body() if group.fails else foreign.contained(body))

    async def AnyioGroup(self, group: p.AnyioGroup) -> None:
        async with foreign.anyio_group() as native:
            self._create_native[group.id] = native.start_soon
            self._cancel_anyio[group.id] = native.cancel_scope.cancel
            body = partial(self._block, group.body)
            await (body() if group.fails else foreign.contained(body))

    async def NativeChild(self, child: p.NativeChild) -> None:
        body = partial(self._native, child, child.body)
        self._create_native[child.group](body if child.fails else partial(foreign.contained, body))

    async def AnyioTimeout(self, timeout: p.AnyioTimeout) -> None:
        open_scope = anyio.fail_after if timeout.raises else anyio.move_on_after
        with open_scope(timeout.seconds, shield=timeout.shield) as scope:
            self._cancel_anyio[timeout.id] = scope.cancel
            await self._block(timeout.body)

    async def AnyioShield(self, shield: p.AnyioShield) -> None:
        with anyio.CancelScope(shield=True):
            await self._block(shield.body)

    async def CancelNatively(self, cancel: p.CancelNatively) -> None:
        if cancel.task in self._begun and not self._tasks[cancel.task].done():
            foreign.cancel_natively(self._tasks[cancel.task])

    async def CancelNativeTask(self, cancel: p.CancelNativeTask) -> None:
        if cancel.task in self._cancel_native:
            self._cancel_native[cancel.task]()

    async def CancelAnyio(self, cancel: p.CancelAnyio) -> None:
        self._cancel_anyio[cancel.scope]()


def _outcome(task: interloop.Task[Any]) -> str:
    if not task.done():
        return "is still running"
    try:
        return f"result: {task.result()}"
    except Exception as error:
        return f"result: {tree(error)}"
