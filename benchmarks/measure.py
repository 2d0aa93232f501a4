"""Paired measurement: every peer in a loop of its own, all in one process, taking turns.

A peer's loop runs in a thread that stands still while it is not its turn, so what one peer leaves in its
loop (timers, tasks) is no burden to another. Only one thread ever runs, and all on the same CPU.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from statistics import median, quantiles
from threading import Thread
from typing import Any, Self

from .loops import Main

Round = Callable[[int], Awaitable[float]]
"""Repeats an operation so many times, and gives the seconds that it took."""

Surroundings = Callable[[], AbstractAsyncContextManager[object]]

ROUND_SECONDS = 0.002  # of calibrated rounds: long against the clock's tick, short against a noise's
MINIMUM_ROUNDS = 3


class Contender:
    """One peer's operation, in a loop of its own that waits for its turn."""

    def __init__(
        self,
        name: str,
        run: Callable[[Main], None],
        operation: Round,
        surroundings: Surroundings,
    ) -> None:
        self.name = name
        self.seconds: list[float] = []
        self._turns: SimpleQueue[int | None] = SimpleQueue()
        self._answers: SimpleQueue[float | BaseException] = SimpleQueue()
        self._thread = Thread(target=self._serve, args=(run, operation, surroundings), daemon=True)

    def _serve(self, run: Callable[[Main], None], operation: Round, surroundings: Surroundings) -> None:
        async def main() -> None:
            async with surroundings():
                self._answers.put(0.0)
                while (count := self._turns.get()) is not None:
                    self._answers.put(await operation(count))

        try:
            run(main)
        except BaseException as error:
            self._answers.put(error)

    def __enter__(self) -> Self:
        self._thread.start()
        self._answer()
        return self

    def take(self, count: int) -> float:
        """The seconds of one round of `count` repetitions."""
        self._turns.put(count)
        return self._answer()

    def _answer(self) -> float:
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise RuntimeError(f"the benchmark of {self.name} failed") from answer
        return answer

    def __exit__(self, *_: Any) -> None:
        self._turns.put(None)
        self._thread.join()


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of paired rounds, and the first and the ninth decile as the spread."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        spread = "one pair" if self.pairs == 1 else f"{self.low:.2f} to {self.high:.2f}"
        return f"{self.median:.2f} ({spread})"


@dataclass
class Series:
    """The rounds of one line: for each round and peer the seconds of one repetition."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def seconds(self, peer: str) -> float | None:
        values = [each[peer] for each in self.rounds if peer in each]
        return median(values) if values else None

    def ratio(self, peer: str, against: str) -> Ratio | None:
        ratios = [each[peer] / each[against] for each in self.rounds if peer in each and against in each]
        if not ratios:
            return None
        deciles = quantiles(ratios, n=10, method="inclusive") if len(ratios) > 1 else ratios
        return Ratio(median(ratios), deciles[0], deciles[-1], len(ratios))


@contextmanager
def collecting_by_hand() -> Generator[None]:
    """The garbage collector runs between the rounds, never inside one."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def on_one_cpu() -> Generator[None]:
    """Threads started inside share a CPU: of two, a busy one would slow the same peer in every round."""
    if not hasattr(os, "sched_setaffinity"):  # Linux has it
        yield
        return
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


def calibrated(contender: Contender) -> int:
    """How many repetitions make a round."""
    count = 1
    while (seconds := min(contender.take(count) for _ in range(3))) < ROUND_SECONDS / 2:
        count *= 2
    return max(1, round(count * ROUND_SECONDS / seconds))


def paired(contenders: Sequence[Contender], seconds: float, count: int | None = None) -> Series:
    """Let all take turns, A, B, C, C, B, A, ..., until the first has used so many seconds.

    One that has used them before sits out, so that a slow peer does not take the time of all.
    """
    first, second = contenders[0], contenders[-1] if len(contenders) == 1 else contenders[1]
    series = Series()
    used = dict.fromkeys(contenders, 0.0)
    gc.collect()
    gc.freeze()  # what was set up is not gone through again before each round
    try:
        if count is None:
            count = calibrated(first)
            for contender in contenders:
                contender.take(1)  # warm
        while used[first] < seconds or len(series.rounds) < MINIMUM_ROUNDS:
            playing = [
                contender
                for contender in contenders
                if used[contender] < seconds or contender in (first, second)
            ]
            taken = {}
            for contender in playing if len(series.rounds) % 2 else reversed(playing):
                gc.collect()
                taken[contender.name] = contender.take(count)
                used[contender] += taken[contender.name]
            series.rounds.append({name: took / count for name, took in taken.items()})
    finally:
        gc.unfreeze()
    return series
