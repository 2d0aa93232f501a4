"""Programs, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

HELD = ("lock", "semaphore", "limiter")
EVENTS = 2
CAPACITIES = (0, 1, 3)
END = 1000.0  # when whatever still waits is cancelled


@dataclass(frozen=True)
class Step:
    """One act of a task, after which it sleeps for `pause` seconds.

    Attributes:
        act: its name; see `acts.py`.
        of: which of the primitives of that kind, or which task.
        seconds: of a deadline, or for which something is held.
        count: of those that are notified.
        suppress: of a deadline.
        inside: the steps of a block; of a group, those of each child.
    """

    act: str
    pause: float
    of: str = ""
    seconds: float = 0
    count: int = 0
    suppress: bool = True
    inside: tuple[tuple[Step, ...], ...] = ()

    def lines(self, indent: str = "") -> list[str]:
        shown = replace(self, inside=())
        return [
            f"{indent}{shown}",
            *(
                line
                for number, block in enumerate(self.inside)
                for line in [
                    f"{indent}  {number}:",
                    *(line for step in block for line in step.lines(f"{indent}    ")),
                ]
            ),
        ]


@dataclass(frozen=True)
class Program:
    """
    Attributes:
        holds_on: whoever notifies holds the lock of the condition for a while after it.
    """

    capacities: tuple[int, ...]
    holds_on: bool
    tasks: tuple[tuple[Step, ...], ...]

    def __str__(self) -> str:
        lines = [f"channels of {self.capacities}"]
        for number, steps in enumerate(self.tasks):
            lines.append(f"task {number}:")
            lines += [line for step in steps for line in step.lines("  ")]
        return "\n".join(lines)


class Author:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._tasks = self._random.randint(2, 6)
        self._channels = self._random.randint(1, 2)
        self._holds_on = self._random.random() < 0.5

    def program(self) -> Program:
        return Program(
            capacities=tuple(self._random.choice(CAPACITIES) for _ in range(self._channels)),
            holds_on=self._holds_on,
            tasks=tuple(self._steps(depth=0) for _ in range(self._tasks)),
        )

    def _time(self) -> float:
        """Of which no other is the sum of some: no two acts are at one instant."""
        return self._random.uniform(0.1, 3)

    def _steps(self, depth: int) -> tuple[Step, ...]:
        return tuple(self._step(depth) for _ in range(self._random.randint(1, 5 if depth == 0 else 3)))

    def _step(self, depth: int) -> Step:
        acts = ["hold", "try", "condition", "notify", "event", "set", "send", "receive", "send_nowait"]
        acts += ["hold", "send", "receive", "receive_nowait", "cancel", "close"]
        if depth < 3:
            acts += ["deadline", "deadline", "shield", "group", "held"]
        act = self._random.choice(acts)
        step = Step(act, pause=self._time(), seconds=self._time())
        match act:
            case "hold" | "try":
                return replace(step, of=self._random.choice(HELD))
            case "held":
                return replace(step, of=self._random.choice(HELD), inside=(self._steps(depth + 1),))
            case "event" | "set":
                return replace(step, of=str(self._random.randrange(EVENTS)))
            case "notify":
                return replace(step, count=self._random.choice([0, 1, 1, 2, 10]))
            case "send" | "receive" | "send_nowait" | "receive_nowait" | "close":
                return replace(step, of=str(self._random.randrange(self._channels)))
            case "cancel":
                return replace(step, of=str(self._random.randrange(self._tasks)))
            case "deadline":
                suppress = self._random.random() < 0.5
                return replace(step, suppress=suppress, inside=(self._steps(depth + 1),))
            case "shield":
                return replace(step, inside=(self._steps(depth + 1),))
            case "group":
                children = self._random.randint(1, 3)
                return replace(step, inside=tuple(self._steps(depth + 1) for _ in range(children)))
            case _:
                return step
