"""Runs a program over interloop's public names alone, and notes what each part of it saw, and when."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from math import inf
from typing import Any, TypeAlias

import interloop
from interloop import TaskFailed

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

    def __init__(self) -> None:
        self.notes: Notes = defaultdict(list)
        self._groups: dict[int, interloop.TaskGroup] = {}
        self._deadlines: dict[int, interloop.Deadline] = {}
        self._tasks: dict[int, interloop.Task[Any]] = {}
        self._statuses: dict[int, interloop.TaskStatus[int]] = {}

    def note(self, where: object, what: str) -> None:
        self.notes[str(where)].append((interloop.current_time(), what))

    async def run(self, program: p.Block) -> Notes:
        try:
            with interloop.deadline(p.THE_END, suppress=True):
                await self._block(program)
        except Exception as error:
            self.note("program", tree(error))
        await interloop.checkpoint()  # where a cancellation that was left would arrive
        self.note("program", "ends")
        for number, task in self._tasks.items():
            self.note(f"task {number}", _outcome(task))
        return dict(self.notes)

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
        if interloop.current_backend() == "asyncio" and interloop.current_deadline() > -inf:
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


def _outcome(task: interloop.Task[Any]) -> str:
    if not task.done():
        return "is still running"
    try:
        return f"result: {task.result()}"
    except Exception as error:
        return f"result: {tree(error)}"
