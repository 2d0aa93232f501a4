"""The language of the random programs, and the strategy that writes them.

Two acts of different tasks never fall on one instant, since nobody promises their order. This holds by
construction:

- Every duration has a bit of its own behind the binary point. The time of an event is a sum of durations, so
  the bits in its fraction tell which ones, and two timers never end together.
- What else happens at an instant, one timer has set off: tasks are cancelled, created, or told of an end.
  None of them acts upon others at that instant: an act has a sleep of its own before it (`Moment`). And one
  that concerns other tasks than those around and inside its scope, has one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cache, partial
from typing import Any, ClassVar, TypeAlias

from hypothesis import strategies as st

from interloop import TaskCancelled, TaskFailed


@dataclass(frozen=True, slots=True)
class Statement:
    """A part of a program; `id` is what the notes of a run and the printed program call it."""

    handles: ClassVar[tuple[type[Exception], ...]] = ()  # errors that go no further

    id: int


Block: TypeAlias = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Sleep(Statement):
    seconds: float
    shielded: bool


@dataclass(frozen=True, slots=True)
class SleepForever(Statement):
    pass


@dataclass(frozen=True, slots=True)
class Checkpoint(Statement):
    pass


@dataclass(frozen=True, slots=True)
class CurrentDeadline(Statement):
    pass


@dataclass(frozen=True, slots=True)
class Raise(Statement):
    error: type[Exception]


@dataclass(frozen=True, slots=True)
class CancelGroup(Statement):
    group: int


@dataclass(frozen=True, slots=True)
class CancelTask(Statement):
    task: int


@dataclass(frozen=True, slots=True)
class Wait(Statement):
    handles = (TaskFailed, TaskCancelled)

    task: int


@dataclass(frozen=True, slots=True)
class Reschedule(Statement):
    handles = (RuntimeError,)

    deadline: int
    seconds: float | None  # from now; None: no limit


@dataclass(frozen=True, slots=True)
class CreateTask(Statement):
    group: int
    background: bool
    body: Block


@dataclass(frozen=True, slots=True)
class Start(Statement):
    handles = (Exception,)

    group: int
    body: Block


@dataclass(frozen=True, slots=True)
class Started(Statement):
    """`task_status.started(id)`, in the body of a `Start`."""

    task: int


@dataclass(frozen=True, slots=True)
class Group(Statement):
    limit: int | None
    defer_errors: bool
    body: Block


@dataclass(frozen=True, slots=True)
class Deadline(Statement):
    seconds: float
    suppress: bool
    body: Block


@dataclass(frozen=True, slots=True)
class Shield(Statement):
    timeout: float | None
    body: Block


@dataclass(frozen=True, slots=True)
class Finally(Statement):
    body: Block
    cleanup: Block


@dataclass(frozen=True, slots=True)
class ExceptStar(Statement):
    error: type[Exception]
    body: Block
    handler: Block


DEPTH = 6


@dataclass(frozen=True)
class Place:
    """Where in a program a statement stands.

    Attributes:
        groups: those around it, in its own task and in the tasks around that.
        deadlines: likewise.
        tasks: its own one, and those around that.
        cleanup: whether a cancellation may have arrived, so that awaits are shielded (C1).
        caught: whether an `except*` catches what is raised here, and no group or shield is between.
        silent: whether an error here would end in that `except*` in the place of a cancellation (C1).
        must_end: whether it is in a shield without a timeout, where no cancellation ends a wait.
        depth: how many blocks there may be inside it.
    """

    groups: tuple[int, ...] = ()
    deadlines: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    cleanup: bool = False
    caught: bool = False
    silent: bool = False
    must_end: bool = False
    depth: int = DEPTH

    def inside(self, **changes: Any) -> Place:
        return replace(self, depth=self.depth - 1, **changes)


class Moment(Enum):
    """What may happen elsewhere at the instant at which a statement begins."""

    ALONE = auto()  # nothing: the task has slept until an instant that is its own
    JOINED = auto()  # what ended the statement before ends others too
    FRESH = auto()  # the task was created, and its creator goes on


# As many bits behind the point, and 9 before it (`THE_END`), are well within a float: sums are exact.
MOST_TIMES = 40
ROOM_TO_END = 16  # what the blocks that are open may still need
# Ends what waits for ever.
THE_END = 256 + 2.0**-MOST_TIMES


def ends_block(statement: Statement) -> bool:
    return isinstance(statement, (Raise, SleepForever))


Write: TypeAlias = "Callable[[Author, Place], Iterable[Statement]]"


class Author:
    """Writes one program, asking `draw` for each decision."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._ids = 0
        self._times = 0
        self._moment = Moment.ALONE
        self._group_bodies: dict[int, Place] = {}
        self._limits: dict[int, int | None] = {}
        self._group_of_task: dict[int, int] = {}

    def block(self, place: Place) -> Block:
        statements: list[Statement] = []
        while self._times < MOST_TIMES - ROOM_TO_END:
            has_tasks = any(group in place.groups for group in self._group_of_task.values())
            waits = not (place.cleanup or place.must_end)
            write = self._pick(
                _choices(
                    tasks=has_tasks,
                    deadlines=place.deadlines != (),
                    cleanup=place.cleanup,
                    silent=place.silent,
                    waits=waits,
                    deep=place.depth > 0,
                    outermost=place.depth == DEPTH - 1,
                )
            )
            if write is None:
                break
            statements += write(self, place)
            if ends_block(statements[-1]):
                break
        return tuple(statements)

    def _pick(self, choices: tuple[Any, ...]) -> Any:
        return choices[0] if len(choices) == 1 else choices[self._draw(_below(len(choices)))]

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _seconds(self, coarse: int) -> float:
        self._times += 1
        assert self._times < MOST_TIMES
        return coarse + 2.0**-self._times

    def _alone(self, place: Place) -> list[Statement]:
        return [] if self._moment is Moment.ALONE else self.sleep(place)

    def _not_fresh(self, place: Place) -> list[Statement]:
        return self.sleep(place) if self._moment is Moment.FRESH else []

    def _joined(self) -> None:
        if self._moment is Moment.ALONE:
            self._moment = Moment.JOINED

    def sleep(self, place: Place, coarse: int = 0) -> list[Statement]:
        self._moment = Moment.ALONE
        return [Sleep(self._new_id(), self._seconds(coarse), place.cleanup)]

    def sleep_forever(self, _: Place) -> list[Statement]:
        return [SleepForever(self._new_id())]

    def checkpoint(self, place: Place) -> list[Statement]:
        return [*self._not_fresh(place), Checkpoint(self._new_id())]

    def current_deadline(self, place: Place) -> list[Statement]:
        return [*self._not_fresh(place), CurrentDeadline(self._new_id())]

    def raise_(self, place: Place, error: type[Exception]) -> list[Statement]:
        return [*self._not_fresh(place), Raise(self._new_id(), error)]

    def cancel_group(self, place: Place) -> list[Statement]:
        act = [*self._alone(place), CancelGroup(self._new_id(), self._pick(place.groups[::-1]))]
        self._joined()
        return act

    def cancel_task(self, place: Place) -> list[Statement]:
        task = self._pick_task(place)
        act = [*self._alone(place), CancelTask(self._new_id(), task)]
        if task not in place.tasks:
            return [*act, *self.sleep(place)]
        self._joined()
        return act

    def wait(self, place: Place) -> list[Statement]:
        task = self._pick_task(place)
        if task in place.tasks:  # it would wait for itself
            return self.sleep(place)
        return [*self._alone(place), Wait(self._new_id(), task), *self.sleep(place)]

    def _pick_task(self, place: Place) -> int:
        tasks = [task for task, group in self._group_of_task.items() if group in place.groups]
        task: int = self._pick(tuple(reversed(tasks)))
        return task

    def reschedule(self, place: Place, coarse: int | None) -> list[Statement]:
        seconds = None if coarse is None else self._seconds(coarse)
        return self._reschedule(place, seconds)

    def reschedule_to_now(self, place: Place) -> list[Statement]:
        act = self._reschedule(place, 0.0)
        self._joined()
        return act

    def _reschedule(self, place: Place, seconds: float | None) -> list[Statement]:
        deadline = self._pick(place.deadlines[::-1])
        return [*self._alone(place), Reschedule(self._new_id(), deadline, seconds)]

    def create_task(self, place: Place, background: bool) -> list[Statement]:
        group = self._pick(place.groups[::-1])
        orderly = background or self._limits[group] is not None
        before = self._alone(place) if orderly else self._not_fresh(place)
        task = self._new_id()
        self._group_of_task[task] = group
        return [*before, CreateTask(task, group, background, self._body_of_task(task, group, place.depth))]

    def start(self, place: Place, calls_started: bool) -> list[Statement]:
        before = self._alone(place)
        task, group = self._new_id(), self._pick(place.groups[::-1])
        body = self._body_of_task(task, group, place.depth, calls_started)
        return [*before, Start(task, group, body), *self.sleep(place)]

    def _body_of_task(self, task: int, group: int, depth: int, calls_started: bool = False) -> Block:
        moment_of_creator, self._moment = self._moment, Moment.FRESH
        in_group = self._group_bodies[group]
        place = replace(in_group, tasks=(*in_group.tasks, task), depth=depth - 1)
        body = self.block(place)
        if calls_started and not (body and ends_block(body[-1])):
            body += (*self._alone(place), Started(self._new_id(), task), *self.sleep(place))
            body += self.block(place)
        if not (body and ends_block(body[-1])):
            body += tuple(self._not_fresh(place))
        self._moment = moment_of_creator
        return body

    def group(self, place: Place, limit: int | None, defer_errors: bool) -> list[Statement]:
        group = self._new_id()
        inside = place.inside(groups=(*place.groups, group), cleanup=False, caught=False, silent=False)
        self._group_bodies[group] = inside
        self._limits[group] = limit
        body = self.block(inside)
        body += tuple(self._not_fresh(inside))  # to leave it is a checkpoint
        self._joined()
        return [Group(group, limit, defer_errors, body)]

    def deadline(self, place: Place, coarse: int | None, suppress: bool) -> list[Statement]:
        before = self._alone(place) if coarse is None else []  # to expire at once is an act
        deadline = self._new_id()
        if coarse is None:
            self._joined()
            seconds = 0.0
        else:
            seconds = self._seconds(coarse)
        body = self.block(place.inside(deadlines=(*place.deadlines, deadline), cleanup=False))
        self._joined()
        return [*before, Deadline(deadline, seconds, suppress, body)]

    def shield(self, place: Place, coarse: int | None) -> list[Statement]:
        shield = self._new_id()
        timeout = None if coarse is None else self._seconds(coarse)
        body = self.block(place.inside(cleanup=False, caught=False, must_end=timeout is None))
        self._joined()
        return [Shield(shield, timeout, body)]

    def finally_(self, place: Place) -> list[Statement]:
        statement = self._new_id()
        body = self.block(place.inside())
        self._joined()
        cleanup = self.block(place.inside(cleanup=True, silent=place.caught))
        self._joined()
        return [Finally(statement, body, cleanup)]

    def except_star(self, place: Place, error: type[Exception]) -> list[Statement]:
        return self.caught(place, Author.block, error)

    def caught(self, place: Place, write: Write, error: type[Exception]) -> list[Statement]:
        """What `write` writes, in an `except*`."""
        statement = self._new_id()
        body = tuple(write(self, place.inside(caught=True)))
        self._joined()
        moment = self._moment
        handler = self.block(place.inside())
        self._moment = moment  # if nothing was caught
        return [ExceptStar(statement, error, body, handler)]


@cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@cache
def _choices(
    *, tasks: bool, deadlines: bool, cleanup: bool, silent: bool, waits: bool, deep: bool, outermost: bool
) -> tuple[Write | None, ...]:
    """What may stand at a place, the simplest first, as often as its share; `None` ends the block."""
    choices: list[Write] = []
    choices += [partial(Author.sleep, coarse=coarse) for coarse in (0, 1, 2, 4)] * 2
    if not silent:
        raising = [partial(Author.raise_, error=error) for error in (ValueError, KeyError)]
        choices += raising * (10 if cleanup else 3)
    choices += [Author.current_deadline] * 2
    if not cleanup:
        choices += [Author.checkpoint] * 4
    if waits:
        choices += [Author.sleep_forever] * 6
    choices += [Author.cancel_group] * 4
    if tasks:
        choices += [Author.cancel_task] * 4
    if tasks and waits:
        choices += [Author.wait] * 4
    if deadlines:
        choices += [partial(Author.reschedule, coarse=coarse) for coarse in (0, 2, None)]
        choices += [Author.reschedule_to_now] * 2
    if deep:
        choices += [partial(Author.create_task, background=False)] * 8
        choices += [partial(Author.create_task, background=True)] * 3
    if deep and waits:
        choices += [partial(Author.start, calls_started=calls) for calls in (True, True, False)]
    if deep:
        groups_to_open = [
            partial(Author.group, limit=limit, defer_errors=defer)
            for defer in (False, True)
            for limit in (None, 1, 2)
        ]
        deadlines_to_open = [
            partial(Author.deadline, coarse=coarse, suppress=suppress)
            for suppress in (False, True)
            for coarse in (0, 1, 3, None)
        ]
        choices += groups_to_open * 2
        choices += deadlines_to_open
        choices += [Author.finally_] * 6
        choices += [
            partial(Author.except_star, error=error)
            for error in (Exception, ValueError, KeyError, TimeoutError)
        ]
        choices += [
            partial(Author.caught, write=write, error=error)
            for write, error in (
                *((group, error) for group in groups_to_open for error in (Exception, ValueError)),
                *((deadline, TimeoutError) for deadline in deadlines_to_open[:4]),
            )
        ]
    if deep and not silent:
        choices += [partial(Author.shield, coarse=coarse) for coarse in (None, None, 0, 2)]
    return (*[None] * (len(choices) // (6 if outermost else 2)), *choices)


@st.composite
def programs(draw: st.DrawFn) -> Block:
    return tuple(Author(draw).group(Place(), limit=None, defer_errors=False))
