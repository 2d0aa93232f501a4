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

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cache, partial
from typing import Any, ClassVar, TypeAlias

from hypothesis import strategies as st

from interloop import TaskCancelled, TaskFailed

from .foreign import WAIT_FOR_MAKES_A_TASK


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


@dataclass(frozen=True, slots=True)
class NativeTimeout(Statement):
    """`asyncio.timeout` or `trio.move_on_after`, quiet."""

    seconds: float
    body: Block


@dataclass(frozen=True, slots=True)
class WaitFor(Statement):
    """`asyncio.wait_for`, which raises `TimeoutError`."""

    seconds: float
    body: Block


@dataclass(frozen=True, slots=True)
class NativeTask(Statement):
    """A task of asyncio's that is waited for, behind `asyncio.shield` or not; `fails`: with its error."""

    shielded: bool
    fails: bool
    body: Block


@dataclass(frozen=True, slots=True)
class NativeGroup(Statement):
    """`asyncio.TaskGroup` or a nursery; `fails`: errors come out of the body and the children."""

    fails: bool
    body: Block


@dataclass(frozen=True, slots=True)
class AnyioGroup(Statement):
    """`anyio.create_task_group()`; `fails`: errors come out of the body and the children."""

    fails: bool
    body: Block


@dataclass(frozen=True, slots=True)
class NativeChild(Statement):
    """A child of a `NativeGroup` or an `AnyioGroup`."""

    group: int
    fails: bool
    body: Block


@dataclass(frozen=True, slots=True)
class AnyioTimeout(Statement):
    """`anyio.fail_after` or `anyio.move_on_after`, with `shield=True` or without."""

    seconds: float
    raises: bool
    shield: bool
    body: Block


@dataclass(frozen=True, slots=True)
class AnyioShield(Statement):
    """`anyio.CancelScope(shield=True)`."""

    body: Block


@dataclass(frozen=True, slots=True)
class CancelNatively(Statement):
    """`Task.cancel()` of the native task of an interloop child."""

    task: int


@dataclass(frozen=True, slots=True)
class CancelNativeTask(Statement):
    task: int


@dataclass(frozen=True, slots=True)
class CancelAnyio(Statement):
    """`cancel()` of a scope of anyio's."""

    scope: int


@dataclass(frozen=True, slots=True)
class LeftToTheEnd(Statement):
    """The whole program: a native task that runs beside it, and is left to the end of `asyncio.run`."""

    beside: Block
    body: Block


FOREIGN = (
    "timeout",
    "wait_for",
    "native-task",
    "asyncio.shield",
    "native-cancel",
    "native-group",
    "anyio-timeout",
    "anyio-shield",
    "anyio-group",
    "left-to-the-end",
)


def is_foreign(statement: Statement) -> bool:
    return isinstance(
        statement,
        (
            NativeTimeout,
            WaitFor,
            NativeTask,
            NativeGroup,
            AnyioGroup,
            AnyioTimeout,
            AnyioShield,
            CancelNatively,
            LeftToTheEnd,
        ),
    )


# Before 3.13 an asyncio.TaskGroup that raises errors leaves a request for cancellation behind, or loses one.
NATIVE_GROUPS_FAIL = sys.version_info >= (3, 13)
# PyPy raises AssertionError if the handler of an `except*` is cancelled.
EXCEPT_STAR_CAN_WAIT = sys.implementation.name != "pypy"
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
        closed: groups in which no task is created from here.
        far: scopes and tasks that are outside of the native task around this place.
        native_groups: the groups of others around it in its own task, in which it may create children.
        anyio_scopes: those around it that can be cancelled.
        native: whether asyncio's own cancellation may arrive here.
        anyio: whether one of anyio's scopes around is in the same task, and no shield between.
        left: whether it belongs to what is left to the end of `asyncio.run`, and no shield is between.
        no_native_tasks: whether the end of `asyncio.run` would cancel them inside a shield.
        hidden: whether scopes are around that are not interloop's, and no shield between.
        native_in_anyio: whether a scope of asyncio's is inside one of anyio's in its task, no shield between.
        innermost_foreign: of the scopes around it in its own task, and no shield between.
        unwinding: groups whose children asyncio cancels when their body has unwound, if this is in that body.
        unwinding_further: likewise, this place being in a task that the body waits for.
        prompt: whether an error and a cancellation must not meet: everything here, in every task, ends at the
            instant at which it is cancelled, without an error; errors are raised at instants of their own.
        depth: how many blocks there may be inside it.
    """

    groups: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()
    far: tuple[int, ...] = ()
    native_groups: tuple[int, ...] = ()
    anyio_scopes: tuple[int, ...] = ()
    deadlines: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    cleanup: bool = False
    caught: bool = False
    silent: bool = False
    must_end: bool = False
    native: bool = False
    anyio: bool = False
    left: bool = False
    no_native_tasks: bool = False
    hidden: bool = False
    native_in_anyio: bool = False
    innermost_foreign: int = 0
    unwinding: tuple[int, ...] = ()
    unwinding_further: tuple[int, ...] = ()
    prompt: bool = False
    depth: int = DEPTH

    @property
    def foreign(self) -> bool:
        """Whether a cancellation may arrive here that is not interloop's."""
        return self.native or self.anyio

    @property
    def all_unwinding(self) -> tuple[int, ...]:
        return self.unwinding + self.unwinding_further

    def inside(self, **changes: Any) -> Place:
        return replace(self, depth=self.depth - 1, **changes)

    def in_other_task(self) -> dict[str, Any]:
        return {"unwinding": (), "unwinding_further": self.all_unwinding}

    def in_native_task(self, **changes: Any) -> Place:
        """In a task that interloop did not create."""
        return self.inside(
            far=(*self.far, *self.groups, *self.deadlines, *self.tasks, *self.anyio_scopes),
            native_groups=(),
            hidden=True,
            native_in_anyio=False,
            innermost_foreign=0,
            cleanup=False,
            silent=False,
            **self.in_other_task(),
            **{"native": True, "anyio": False, "caught": True, **changes},
        )


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

# What is rare among random statements: scopes that expire, open or end while something is held back.
# Each word stands for what may be written next, as far as the place allows it; END ends a block.
SCOPE = {
    "deadline",
    "native_timeout",
    "wait_for",
    "anyio_timeout",
    "caught(group)",
    "caught(deadline)",
    "group",
    "native_group",
    "anyio_group",
}
EXPIRES = {"deadline", "native_timeout", "wait_for", "anyio_timeout"}
HOLD = {"shield", "anyio_shield", "native_task"}
GROUP = {"group", "native_group", "anyio_group"}
NATIVELY = {"create_task(natively)"}
CHILD = NATIVELY | {"create_task", "native_child"}
CANCEL = {"cancel_group", "cancel_task", "cancel_anyio", "cancel_natively", "cancel_native_task"}
FINALLY = {"finally_"}
LONG = {"sleep(2)", "sleep(4)"}
WAIT = LONG | {"sleep(1)", "sleep_forever", "checkpoint"}
RAISE = {"raise_"}
END: set[str] = set()
PLANS: tuple[tuple[set[str], ...], ...] = (
    (EXPIRES, EXPIRES, HOLD, LONG, END),
    (EXPIRES, EXPIRES, HOLD, LONG, END, END, WAIT),
    (EXPIRES, EXPIRES, FINALLY, WAIT, END, LONG, END),
    (EXPIRES, HOLD, LONG, END, SCOPE, WAIT, END, WAIT),
    (EXPIRES, HOLD, LONG, END, EXPIRES, FINALLY, WAIT, END, LONG, END, END, WAIT),
    (EXPIRES, GROUP, CHILD, FINALLY, WAIT, END, RAISE, WAIT),
    (EXPIRES, HOLD, LONG, END, GROUP, CHILD, FINALLY, WAIT, END, RAISE),
    (CHILD, CANCEL, SCOPE, WAIT, END, WAIT),
    (NATIVELY, {"cancel_natively"}, SCOPE, WAIT, END, WAIT),
    (NATIVELY, {"cancel_natively"}, {"deadline", "caught(deadline)"}, WAIT, END, END, WAIT),
    (NATIVELY, {"cancel_natively"}, {"caught(group)"}, CHILD, FINALLY, WAIT, END, RAISE, END, END, END, WAIT),
    (CHILD, EXPIRES, HOLD, LONG, END, END, WAIT),
)
PLANS_TO_THE_END: tuple[tuple[set[str], ...], ...] = (
    (HOLD, GROUP, CHILD, LONG, LONG),
    (EXPIRES, HOLD, LONG, LONG),
    (GROUP, CHILD, HOLD, LONG, LONG),
)


def _word(choice: Any) -> str:
    """What a plan calls a choice."""
    if not isinstance(choice, partial):
        return getattr(choice, "__name__", "")
    about: object = ""
    if choice.func is Author.sleep:
        about = choice.keywords["coarse"]
    elif choice.func is Author.caught:
        about = choice.keywords["write"].func.__name__
    elif choice.keywords.get("cancelled_natively"):
        about = "natively"
    return choice.func.__name__ if about == "" else f"{choice.func.__name__}({about})"


class Author:
    """Writes one program, asking `draw` for each decision."""

    def __init__(self, draw: st.DrawFn, foreign: frozenset[str] = frozenset()) -> None:
        self._draw = draw
        self._foreign = foreign
        self._ids = 0
        self._times = 0
        self._moment = Moment.ALONE
        self._group_bodies: dict[int, Place] = {}
        self._limits: dict[int, int | None] = {}
        self._group_of_task: dict[int, int] = {}
        self._cancelled_natively: list[int] = []  # tasks that may be
        self._native_tasks: list[int] = []
        self._cancelled_itself = 0  # the last statement that does this
        self._plan: list[set[str]] = []
        self._with_children: set[int] = set()  # groups, asyncio's and anyio's too
        self._delayed: set[int] = (
            set()
        )  # groups whose body may wait for what does not end when it is cancelled

    def block(self, place: Place) -> Block:
        statements: list[Statement] = []
        while self._times < MOST_TIMES - ROOM_TO_END:
            waits = not (place.cleanup or place.must_end)
            prompt = self._must_end_promptly(place)
            open_groups = self._open_groups(place)
            choices = _choices(
                tasks=bool(self._tasks_to_cancel(place)),
                tasks_to_wait_for=bool(self._tasks_to_wait_for(place)),
                groups=place.groups != (),
                open_groups=open_groups != [],
                groups_to_start_in=self._groups_to_start_in(place) != [],
                deadlines=place.deadlines != (),
                cleanup=place.cleanup,
                silent=place.silent,
                waits=waits,
                deep=place.depth > 0,
                outermost=place.depth == DEPTH - 1,
                hidden=place.hidden,
                foreign_here=place.foreign,
                native_here=place.native,
                anyio_here=place.anyio,
                prompt=prompt,
                errors_alone=place.prompt,
                left=place.left,
                native_in_anyio=place.native_in_anyio,
                no_native_tasks=place.no_native_tasks,
                native_groups=self._open_native_groups(place) != [],
                anyio_scopes=place.anyio_scopes != (),
                cancelled_natively=self._cancelled_natively != [],
                native_tasks=self._native_tasks != [],
                foreign=self._foreign,
            )
            write = self._pick(self._planned(choices))
            if write is None:
                break
            statements += write(self, place)
            if statements and ends_block(statements[-1]):
                break
        return tuple(statements)

    def _pick(self, choices: tuple[Any, ...]) -> Any:
        return choices[0] if len(choices) == 1 else choices[self._draw(_below(len(choices)))]

    def _planned(self, choices: tuple[Write | None, ...]) -> tuple[Write | None, ...]:
        if not self._plan:
            return choices
        words = self._plan.pop(0)
        if not words:
            return (None,)
        planned = tuple(choice for choice in choices if _word(choice) in words)
        if not planned:
            self._plan.clear()
        return planned or choices

    def plan(self, _: Place, words: tuple[set[str], ...]) -> list[Statement]:
        self._plan = list(words)
        return []

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

    def _must_end_promptly(self, place: Place) -> bool:
        return place.prompt or not self._with_children.isdisjoint(place.all_unwinding)

    def _open_groups(self, place: Place) -> list[int]:
        closed = {*place.closed, *self._delayed, *(place.all_unwinding if place.cleanup else ())}
        return [group for group in place.groups if group not in closed]

    def _groups_to_start_in(self, place: Place) -> list[int]:
        # a start that is cancelled frees a slot, perhaps before its group is
        full = {group for group in place.all_unwinding if self._limits.get(group) is not None}
        closed = {*place.far, *full}
        return [group for group in self._open_groups(place) if group not in closed]

    def _open_native_groups(self, place: Place) -> list[int]:
        return [group for group in place.native_groups if group not in self._delayed]

    def _delays(self, place: Place) -> None:
        self._delayed.update(place.unwinding_further)

    def _joined(self) -> None:
        if self._moment is Moment.ALONE:
            self._moment = Moment.JOINED

    def sleep(self, place: Place, coarse: int = 0) -> list[Statement]:
        self._moment = Moment.ALONE
        if place.cleanup:
            self._delays(place)
        return [Sleep(self._new_id(), self._seconds(coarse), place.cleanup)]

    def sleep_forever(self, _: Place) -> list[Statement]:
        return [SleepForever(self._new_id())]

    def checkpoint(self, place: Place) -> list[Statement]:
        return [*self._not_fresh(place), Checkpoint(self._new_id())]

    def current_deadline(self, place: Place) -> list[Statement]:
        return [*self._not_fresh(place), CurrentDeadline(self._new_id())]

    def raise_(self, place: Place, error: type[Exception]) -> list[Statement]:
        before = self._alone(place) if place.prompt else self._not_fresh(place)
        return [*before, Raise(self._new_id(), error)]

    def cancel_group(self, place: Place) -> list[Statement]:
        group = self._pick(place.groups[::-1])
        act = [*self._alone(place), CancelGroup(self._new_id(), group)]
        return [*act, *self._after_act(place, group)]

    def _after_act(self, place: Place, scope: int) -> list[Statement]:
        """After the cancellation of a scope around: a sleep where it is not known in the task at once.

        In clean-up a scope of somebody else's inside that one could be left before the task is told: it would
        take the cancellation that is under way for its own alone.
        """
        if scope in place.far or (place.cleanup and scope < place.innermost_foreign):
            return self.sleep(place)
        self._joined()
        return []

    def cancel_task(self, place: Place) -> list[Statement]:
        task: int = self._pick(tuple(self._tasks_to_cancel(place)[::-1]))
        act = [*self._alone(place), CancelTask(self._new_id(), task)]
        if task not in place.tasks:
            return [*act, *self.sleep(place)]
        return [*act, *self._after_act(place, task)]

    def wait(self, place: Place) -> list[Statement]:
        task: int = self._pick(tuple(self._tasks_to_wait_for(place)[::-1]))
        if task in place.tasks:  # it would wait for itself
            return self.sleep(place)
        return [*self._alone(place), Wait(self._new_id(), task), *self.sleep(place)]

    def _tasks_to_cancel(self, place: Place) -> list[int]:
        return [task for task, group in self._group_of_task.items() if group in place.groups]

    def _tasks_to_wait_for(self, place: Place) -> list[int]:
        return [task for task in self._tasks_to_cancel(place) if self._group_of_task[task] not in place.far]

    def reschedule(self, place: Place, coarse: int | None) -> list[Statement]:
        seconds = None if coarse is None else self._seconds(coarse)
        return self._reschedule(place, seconds)

    def reschedule_to_now(self, place: Place) -> list[Statement]:
        act = self._reschedule(place, 0.0)
        return [*act, *self._after_act(place, act[-1].deadline)]  # type: ignore[attr-defined]

    def _reschedule(self, place: Place, seconds: float | None) -> list[Statement]:
        deadline = self._pick(place.deadlines[::-1])
        return [*self._alone(place), Reschedule(self._new_id(), deadline, seconds)]

    def create_task(
        self, place: Place, background: bool, cancelled_natively: bool = False
    ) -> list[Statement]:
        group: int = self._pick(tuple(self._open_groups(place)[::-1]))
        orderly = background or self._limits[group] is not None
        before = self._alone(place) if orderly else self._not_fresh(place)
        task = self._new_id()
        self._group_of_task[task] = group
        self._with_children.add(group)
        if cancelled_natively:
            self._cancelled_natively.append(task)
        body = self._body_of_task(task, group, place, native=cancelled_natively)
        return [*before, CreateTask(task, group, background, body)]

    def start(self, place: Place, calls_started: bool) -> list[Statement]:
        before = self._alone(place)
        task, group = self._new_id(), self._pick(tuple(self._groups_to_start_in(place)[::-1]))
        self._with_children.add(group)
        prompt = place.prompt or place.all_unwinding != ()  # this task waits for that one
        body = self._body_of_task(task, group, place, calls_started, prompt=prompt)
        return [*before, Start(task, group, body), *self.sleep(place)]

    def _body_of_task(
        self,
        task: int,
        group: int,
        creator: Place,
        calls_started: bool = False,
        native: bool = False,
        prompt: bool = False,
    ) -> Block:
        moment_of_creator, self._moment = self._moment, Moment.FRESH
        in_group = self._group_bodies[group]
        place = replace(
            in_group,
            tasks=(*in_group.tasks, task),
            depth=creator.depth - 1,
            native=native or in_group.left,
            hidden=in_group.hidden or native,
            prompt=in_group.prompt or prompt,
        )
        body = self.block(place)
        if calls_started and not (body and ends_block(body[-1])):
            body += (*self._alone(place), Started(self._new_id(), task), *self.sleep(place))
            body += self.block(place)
        if not (body and ends_block(body[-1])):
            body += tuple(self._not_fresh(place))
            if native:  # a task of asyncio's that returns with a cancellation pending has been cancelled
                body += (Checkpoint(self._new_id()),)
        self._moment = moment_of_creator
        return body

    def group(
        self, place: Place, limit: int | None, defer_errors: bool, childless: bool = False
    ) -> list[Statement]:
        group = self._new_id()
        inside = place.inside(groups=(*place.groups, group), cleanup=False, caught=False, silent=False)
        self._group_bodies[group] = replace(
            inside,
            anyio=False,
            native_groups=(),
            native_in_anyio=False,
            innermost_foreign=0,
            **place.in_other_task(),
        )
        self._limits[group] = limit
        if childless:
            inside = replace(inside, closed=(*place.closed, group))
        elif place.foreign:
            inside = replace(inside, unwinding=(*place.unwinding, group))
        body = self.block(inside)
        body += tuple(self._not_fresh(inside))  # to leave it is a checkpoint
        self._joined()
        return [Group(group, limit, defer_errors, body)]

    def deadline(self, place: Place, coarse: int | None, suppress: bool) -> list[Statement]:
        return self._deadline(place, coarse, suppress, cleanup=False)

    def _deadline(self, place: Place, coarse: int | None, suppress: bool, cleanup: bool) -> list[Statement]:
        # to expire at once is an act; right after this task has cancelled itself it meets no other
        before = self._alone(place) if coarse is None and self._ids != self._cancelled_itself else []
        deadline = self._new_id()
        if coarse is None:
            self._joined()
            seconds = 0.0
        else:
            seconds = self._seconds(coarse)
        body = self.block(place.inside(deadlines=(*place.deadlines, deadline), cleanup=cleanup))
        self._joined()
        return [*before, Deadline(deadline, seconds, suppress, body)]

    def shield(self, place: Place, coarse: int | None) -> list[Statement]:
        shield = self._new_id()
        timeout = None if coarse is None else self._seconds(coarse)
        self._delays(place)
        body = self.block(
            place.inside(
                closed=(*place.closed, *place.all_unwinding),
                unwinding=(),
                unwinding_further=(),
                native_in_anyio=False,
                innermost_foreign=0,
                cleanup=False,
                caught=False,
                must_end=timeout is None,
                native=False,
                anyio=False,
                left=False,
                no_native_tasks=place.no_native_tasks or place.left,
                hidden=False,
                native_groups=(),
            )
        )
        self._joined()
        return [Shield(shield, timeout, body)]

    def finally_(self, place: Place) -> list[Statement]:
        before = self._not_fresh(place) if place.prompt or place.all_unwinding else []
        return [*before, *self._finally(place)]

    def _finally(self, place: Place) -> list[Statement]:
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
        handler = self.block(place.inside()) if EXCEPT_STAR_CAN_WAIT else ()
        self._moment = moment  # if nothing was caught
        return [ExceptStar(statement, error, body, handler)]

    def group_in_cleanup(self, place: Place, error: type[Exception]) -> list[Statement]:
        """Without children; its body fails: else to leave it is a checkpoint, where asyncio tells nobody."""
        group = self._new_id()
        inside = place.inside(
            groups=(*place.groups, group), closed=(*place.closed, group), caught=False, silent=False
        )
        self._group_bodies[group] = inside
        self._limits[group] = None
        body = self.block(inside)
        if not (body and ends_block(body[-1])):
            body += tuple(self.raise_(inside, error))
        self._joined()
        return [Group(group, None, False, body)]

    def deadline_in_cleanup(self, place: Place, coarse: int | None, suppress: bool) -> list[Statement]:
        """Whether it is born cancelled shows nowhere: all awaits in it are shielded."""
        return self._deadline(place, coarse, suppress, place.cleanup)

    def _scope(self, place: Place) -> tuple[list[Statement], Block]:
        """What comes before a scope of somebody else's, and first in it.

        Two cancellations of somebody else's must not meet there: one that was held back, and the scope's.
        """
        if not place.foreign or place.cleanup or self._moment is Moment.ALONE:
            return [], ()
        if self._moment is Moment.JOINED and self._draw(_below(2)):
            return [], (Checkpoint(self._new_id()),)
        return self.sleep(place), ()

    def native_timeout(self, place: Place, coarse: int) -> list[Statement]:
        before, first = self._scope(place)
        timeout, seconds = self._new_id(), self._seconds(coarse)
        body = self.block(self._in_native_scope(place, timeout))
        self._joined()
        return [*before, NativeTimeout(timeout, seconds, (*first, *body))]

    def _in_native_scope(self, place: Place, scope: int, **changes: Any) -> Place:
        return place.inside(
            native=True,
            hidden=True,
            native_in_anyio=place.native_in_anyio or place.anyio,
            innermost_foreign=scope,
            **changes,
        )

    def wait_for(self, place: Place, coarse: int) -> list[Statement]:
        before, first = self._scope(place)
        timeout, seconds = self._new_id(), self._seconds(coarse)
        if WAIT_FOR_MAKES_A_TASK:
            before += self._not_fresh(place)
            body = self._fresh_body(place.in_native_task(prompt=True))
        else:
            body = self.block(self._in_native_scope(place, timeout))
        self._joined()
        return [*before, WaitFor(timeout, seconds, (*first, *body))]

    def _fresh_body(self, place: Place) -> Block:
        self._moment = Moment.FRESH
        body = self.block(place)
        if not (body and ends_block(body[-1])):
            body += tuple(self._not_fresh(place))
        return body

    def native_task(self, place: Place, shielded: bool, fails: bool = False) -> list[Statement]:
        before = self._not_fresh(place)
        task = self._new_id()
        inside = place.in_native_task(must_end=place.must_end or shielded)
        if shielded:
            self._delays(place)
            inside = replace(inside, closed=(*place.closed, *place.all_unwinding), unwinding_further=())
        else:
            self._native_tasks.append(task)
        if fails:
            inside = replace(inside, caught=place.caught)
        if fails or place.native_in_anyio:  # the caller waits for it as in clean-up
            inside = replace(inside, prompt=True)
        body = self._fresh_body(inside)
        self._moment = Moment.JOINED
        return [*before, NativeTask(task, shielded, fails, body)]

    def native_group(self, place: Place, fails: bool) -> list[Statement]:
        before, first = self._scope(place)
        group = self._new_id()
        # A native group that raises errors asks once more for the cancellation that it met, without the
        # message by which a scope of anyio around it knows its own: seen without interloop.
        prompt = place.prompt or (fails and place.anyio and place.caught)
        inside = self._in_native_scope(
            place,
            group,
            prompt=prompt,
            caught=not fails,
            silent=False,
            native_groups=(*place.native_groups, group),
            unwinding=(*place.unwinding, group),
        )
        self._group_bodies[group] = replace(place, caught=not fails, prompt=prompt)
        body = self._body_of_native_group(inside)
        return [*before, NativeGroup(group, fails, (*first, *body))]

    def anyio_group(self, place: Place, fails: bool) -> list[Statement]:
        before, first = self._scope(place)
        group = self._new_id()
        inside = place.inside(
            anyio=True,
            hidden=True,
            caught=not fails,
            silent=False,
            innermost_foreign=group,
            native_groups=(*place.native_groups, group),
            anyio_scopes=(*place.anyio_scopes, group),
            unwinding=(*place.unwinding, group),
            prompt=place.prompt or fails,
        )
        self._group_bodies[group] = replace(place, caught=not fails, anyio=True, prompt=inside.prompt)
        body = self._body_of_native_group(inside)
        return [*before, AnyioGroup(group, fails, (*first, *body))]

    def _body_of_native_group(self, inside: Place) -> Block:
        body = self.block(inside)
        body += tuple(self._not_fresh(inside))
        self._joined()
        return body

    def native_child(self, place: Place) -> list[Statement]:
        before = self._alone(place)
        group: int = self._pick(tuple(self._open_native_groups(place)[::-1]))
        self._with_children.add(group)
        around = self._group_bodies[group]
        of_anyio = around.anyio and group in place.anyio_scopes
        scopes = (*around.anyio_scopes, group) if of_anyio else around.anyio_scopes
        inside = replace(around, anyio_scopes=scopes, depth=place.depth).in_native_task(
            native=not of_anyio or around.left, anyio=of_anyio, caught=around.caught
        )
        # a scope of asyncio's inside one of anyio's, around a group that waits for it, lets both pass
        if around.native_in_anyio or (of_anyio and (around.native or around.hidden)):
            inside = replace(inside, prompt=True)
        child = self._new_id()
        body = self._fresh_body(inside)
        # asyncio's groups cancel a child that has not begun, which then never does
        return [*before, NativeChild(child, group, not around.caught, body), *self.sleep(place)]

    def anyio_timeout(self, place: Place, coarse: int, raises: bool, shield: bool = False) -> list[Statement]:
        before, first = self._scope(place)
        scope, seconds = self._new_id(), self._seconds(coarse)
        inside = place.inside(
            anyio=True, hidden=True, innermost_foreign=scope, anyio_scopes=(*place.anyio_scopes, scope)
        )
        if shield:
            inside = self._in_anyio_shield(inside)
        body = self.block(inside)
        self._joined()
        after = self._after_anyio_shield(place) if shield else []
        return [*before, AnyioTimeout(scope, seconds, raises, shield, (*first, *body)), *after]

    def anyio_shield(self, place: Place) -> list[Statement]:
        shield = self._new_id()
        body = self.block(self._in_anyio_shield(place.inside(must_end=True, anyio=False, hidden=True)))
        self._joined()
        return [AnyioShield(shield, body), *self._after_anyio_shield(place)]

    def _after_anyio_shield(self, place: Place) -> list[Statement]:
        """A sleep in clean-up inside a scope of somebody else's, as in `_after_act`.

        What was cancelled further out is not known in the task before.
        """
        return self.sleep(place) if place.cleanup and place.innermost_foreign else []

    def _in_anyio_shield(self, inside: Place) -> Place:
        self._delays(inside)
        return replace(
            inside,
            closed=(*inside.closed, *inside.all_unwinding),
            native_groups=(),
            unwinding=(),
            unwinding_further=(),
            native_in_anyio=False,
        )

    def cancel_natively(self, place: Place) -> list[Statement]:
        task: int = self._pick(tuple(self._cancelled_natively[::-1]))
        act = CancelNatively(self._new_id(), task)
        if place.tasks[-1:] != (task,):  # one that may have been created at this instant, and has not begun
            return [*self.sleep(place), act, *self.sleep(place)]
        before = self._alone(place)
        act = CancelNatively(self._new_id(), task)
        self._cancelled_itself = act.id
        return [*before, act, *self._after_act(place, task)]

    def cancel_native_task(self, place: Place) -> list[Statement]:
        task: int = self._pick(tuple(self._native_tasks[::-1]))
        return [*self._alone(place), CancelNativeTask(self._new_id(), task), *self.sleep(place)]

    def cancel_anyio(self, place: Place) -> list[Statement]:
        scope: int = self._pick(place.anyio_scopes[::-1])
        return [*self._alone(place), CancelAnyio(self._new_id(), scope), *self.sleep(place)]

    def left_to_the_end(self) -> list[Statement]:
        statement = self._new_id()
        place = replace(Place().in_native_task(), left=True)
        self._plan = list(self._pick(((), *PLANS_TO_THE_END)))
        background = self._fresh_body(place)
        self._moment = Moment.FRESH
        inside = self.sleep(Place(), self._pick((0, 0, 1, 2)))
        inside += self.group(Place(depth=DEPTH - 2), limit=None, defer_errors=False)
        return [LeftToTheEnd(statement, background, (*inside, *self.sleep(Place())))]


@cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@cache
def _choices(
    *,
    tasks: bool,
    tasks_to_wait_for: bool,
    groups: bool,
    open_groups: bool,
    groups_to_start_in: bool,
    deadlines: bool,
    cleanup: bool,
    silent: bool,
    waits: bool,
    deep: bool,
    outermost: bool,
    hidden: bool,
    foreign_here: bool,
    native_here: bool,
    anyio_here: bool,
    prompt: bool,
    errors_alone: bool,
    left: bool,
    native_in_anyio: bool,
    no_native_tasks: bool,
    native_groups: bool,
    anyio_scopes: bool,
    cancelled_natively: bool,
    native_tasks: bool,
    foreign: frozenset[str],
) -> tuple[Write | None, ...]:
    """What may stand at a place, the simplest first, as often as its share; `None` ends the block."""
    choices: list[Write] = []
    opens = deep and not (cleanup and foreign_here)
    acts = not (cleanup and (prompt or native_in_anyio))
    if acts:
        choices += [partial(Author.sleep, coarse=coarse) for coarse in (0, 1, 2, 4)] * 2
    may_raise = not silent and not (cleanup and errors_alone)
    if may_raise:
        raising = [partial(Author.raise_, error=error) for error in (ValueError, KeyError)]
        choices += raising * (10 if cleanup else 3)
    if not hidden:
        choices += [Author.current_deadline] * 2
    if not cleanup:
        choices += [Author.checkpoint] * 4
    if waits:
        choices += [Author.sleep_forever] * 6
    if groups and acts:
        choices += [Author.cancel_group] * 4
    if tasks and acts:
        choices += [Author.cancel_task] * 4
    if tasks_to_wait_for and waits:
        choices += [Author.wait] * 4
    if deadlines and acts:
        choices += [partial(Author.reschedule, coarse=coarse) for coarse in (0, 2, None)]
        choices += [Author.reschedule_to_now] * 2
    if deep and open_groups and acts:
        choices += [partial(Author.create_task, background=False)] * 8
        choices += [partial(Author.create_task, background=True)] * 3
        if "native-cancel" in foreign:
            choices += [partial(Author.create_task, background=False, cancelled_natively=True)] * 4
    if deep and groups_to_start_in and waits:
        choices += [partial(Author.start, calls_started=calls) for calls in (True, True, False)]
    if opens:
        # the end of `asyncio.run` cancels children and bodies: a slot may be free before the group knows
        limits = (None,) if left else (None, 1, 2)
        groups_to_open = [
            partial(Author.group, limit=limit, defer_errors=defer)
            for defer in ((False,) if errors_alone else (False, True))
            for limit in limits
        ]
        if foreign_here and not prompt:
            groups_to_open += [partial(Author.group, limit=None, defer_errors=False, childless=True)] * 2
        deadlines_to_open = [
            partial(Author.deadline, coarse=coarse, suppress=suppress)
            for suppress in (False, True)
            for coarse in (0, 1, 3, None)
        ]
        choices += groups_to_open * 2
        choices += deadlines_to_open
        choices += [
            partial(Author.caught, write=write, error=error)
            for write, error in (
                *((group, error) for group in groups_to_open for error in (Exception, ValueError)),
                *((deadline, TimeoutError) for deadline in deadlines_to_open[:4]),
            )
        ]
    if deep and cleanup and foreign_here and acts:
        choices += [
            partial(Author.deadline_in_cleanup, coarse=coarse, suppress=suppress)
            for suppress in (False, True)
            for coarse in (0, 1, None)
        ]
        groups_in_cleanup = [
            partial(Author.group_in_cleanup, error=error) for error in (ValueError, KeyError)
        ]
        choices += [partial(Author.caught, write=group, error=Exception) for group in groups_in_cleanup] * 2
        if may_raise:
            choices += groups_in_cleanup * 2
    if deep:
        choices += [Author.finally_] * 6
        choices += [
            partial(Author.except_star, error=error)
            for error in (Exception, ValueError, KeyError, TimeoutError)
        ]
    if deep and not silent and not prompt and not (cleanup and native_in_anyio):
        choices += [partial(Author.shield, coarse=coarse) for coarse in (None, None, 0, 2)] * (
            6 if foreign else 1
        )
    if foreign:
        choices += _foreign_choices(
            opens=deep and (acts if cleanup else True),
            deep=deep,
            cleanup=cleanup,
            acts=acts,
            waits=waits,
            native_here=native_here,
            anyio_here=anyio_here,
            prompt=prompt,
            errors_alone=errors_alone,
            left=left,
            native_in_anyio=native_in_anyio,
            no_native_tasks=no_native_tasks,
            native_groups=native_groups,
            anyio_scopes=anyio_scopes,
            cancelled_natively=cancelled_natively,
            native_tasks=native_tasks,
            foreign=foreign,
        )
        if deep and not cleanup:
            choices += [partial(Author.plan, words=words) for words in PLANS] * 2
    return (*[None] * max(1, len(choices) // (6 if outermost else 2)), *choices)


def _foreign_choices(
    *,
    opens: bool,
    deep: bool,
    cleanup: bool,
    acts: bool,
    waits: bool,
    native_here: bool,
    anyio_here: bool,
    prompt: bool,
    errors_alone: bool,
    left: bool,
    native_in_anyio: bool,
    no_native_tasks: bool,
    native_groups: bool,
    anyio_scopes: bool,
    cancelled_natively: bool,
    native_tasks: bool,
    foreign: frozenset[str],
) -> list[Write]:
    choices: list[Write] = []
    if acts and cancelled_natively:
        choices += [Author.cancel_natively] * 6
    if acts and native_tasks:
        choices += [Author.cancel_native_task] * 4
    if acts and anyio_scopes:
        choices += [Author.cancel_anyio] * 4
    if deep and native_groups and not cleanup:
        choices += [Author.native_child] * 40
    if not opens:
        return choices
    tasks = not (no_native_tasks or cleanup)
    if "timeout" in foreign:
        choices += [partial(Author.native_timeout, coarse=coarse) for coarse in (0, 1, 2, 3)] * 2
    if "wait_for" in foreign and not (WAIT_FOR_MAKES_A_TASK and (anyio_here or not tasks)):
        choices += [partial(Author.wait_for, coarse=coarse) for coarse in (0, 1, 3)]
    if "native-task" in foreign and tasks:
        choices += [
            partial(Author.native_task, shielded=False, fails=fails) for fails in (False, False, True)
        ]
    if "asyncio.shield" in foreign and tasks and not (prompt or left or native_in_anyio):
        choices += [partial(Author.native_task, shielded=True)] * 2
    if "native-group" in foreign and tasks:
        choices += [partial(Author.native_group, fails=fails) for fails in (False, NATIVE_GROUPS_FAIL)] * 3
    if "anyio-group" in foreign and tasks:
        choices += [partial(Author.anyio_group, fails=fails) for fails in (False, True)] * 3
    if "anyio-timeout" in foreign:
        choices += [
            partial(Author.anyio_timeout, coarse=coarse, raises=raises)
            for coarse in (0, 1, 3)
            for raises in (False, True)
        ]
    if "anyio-shield" in foreign and not (native_here or prompt):
        choices += [Author.anyio_shield] * 3
        choices += [
            partial(Author.anyio_timeout, coarse=coarse, raises=raises, shield=True)
            for coarse, raises in ((0, True), (1, False), (3, True))
        ]
    return choices


@st.composite
def programs(draw: st.DrawFn, foreign: bool | Collection[str] = False) -> Block:
    """Programs of interloop alone, or of what is in `FOREIGN` too (all of it, or some)."""
    kinds = frozenset(FOREIGN if foreign is True else foreign or ())
    author = Author(draw, kinds)
    if "left-to-the-end" in kinds and draw(_below(6)) == 5:
        return tuple(author.left_to_the_end())
    return tuple(author.group(Place(), limit=None, defer_errors=False))
