"""Every sequence of acts of one length, one after the other in one loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .acts import (
    ASK,
    CANCEL,
    CHECKPOINT,
    HAS_ANYIO,
    LEAVE_WITH_CHILD,
    RAISE,
    SHIELD,
    TAKE_BACK,
    TURN,
    WAIT,
    WAKE,
    YIELD,
    Alphabet,
    Run,
)
from .reference import ANYIO, Kind

# Each to a length of its own: all acts together do not get as far as the longest sequences that matter.
# An older asyncio.timeout lets CancelledError out if a request that it did not make is counted.
TIMEOUT = (Kind.TIMEOUT,) if sys.version_info >= (3, 11, 3) else ()

ALPHABETS = {
    "everything": Alphabet(
        (Kind.GROUP, Kind.DEADLINE, *TIMEOUT),
        frozenset({ASK, TAKE_BACK, CHECKPOINT, YIELD, WAIT, SHIELD, RAISE}),
        short=4,
        long=5,
    ),
    "shields": Alphabet(
        (Kind.DEADLINE, *TIMEOUT), frozenset({ASK, TAKE_BACK, CHECKPOINT, SHIELD}), short=5, long=6
    ),
    "errors": Alphabet(
        (Kind.GROUP, Kind.DEADLINE), frozenset({ASK, TAKE_BACK, CHECKPOINT, RAISE}), short=4, long=6
    ),
    "errors in clean-up": Alphabet(
        (Kind.GROUP,), frozenset({ASK, CHECKPOINT, RAISE}), short=5, long=7, depth=2
    ),
    "children": Alphabet(
        (Kind.GROUP, Kind.DEADLINE),
        frozenset({ASK, TAKE_BACK, CHECKPOINT, RAISE, LEAVE_WITH_CHILD}),
        short=4,
        long=6,
    ),
    "hand-over": Alphabet(
        (Kind.GROUP, Kind.DEADLINE), frozenset({ASK, CHECKPOINT, WAIT, YIELD}), depth=2, short=5, long=6
    ),
    "anyio": Alphabet(
        (Kind.DEADLINE, Kind.ANYIO, Kind.ANYIO_SHIELD),
        frozenset({ASK, CHECKPOINT, WAIT, SHIELD}),
        short=4,
        long=5,
    ),
    "anyio, errors": Alphabet(
        (Kind.GROUP, Kind.ANYIO, Kind.ANYIO_SHIELD),
        frozenset({ASK, TAKE_BACK, CHECKPOINT, RAISE}),
        short=4,
        long=6,
    ),
    "held back before a shield of anyio": Alphabet(
        (Kind.DEADLINE, Kind.GROUP),
        frozenset({ASK, CHECKPOINT, WAIT, SHIELD, RAISE}),
        short=4,
        long=5,
        begins=(
            Kind.DEADLINE.value,
            SHIELD,
            f"{CANCEL} deadline_1",
            TURN,
            WAKE,
            Kind.ANYIO_SHIELD.value,
        ),
    ),
    "clean-up in a shield of anyio": Alphabet(
        (Kind.DEADLINE, Kind.GROUP),
        frozenset({ASK, CHECKPOINT, SHIELD, RAISE}),
        short=4,
        long=5,
        begins=(Kind.DEADLINE.value, f"{CANCEL} deadline_1", CHECKPOINT, Kind.ANYIO_SHIELD.value),
    ),
}

Path = tuple[int, ...]


@dataclass
class Found:
    sequences: int
    difference: str | None  # the first


class Chooser:
    """Follows a path, and takes the first act that there is from its end on."""

    def __init__(self, path: Path, length: int) -> None:
        self._length = length
        self._chosen = list(path)
        self._options: list[int] = []

    def choose(self, options: Sequence[str]) -> str | None:
        at = len(self._options)
        if at == self._length or not options:
            return None
        if at == len(self._chosen):
            self._chosen.append(0)
        self._options.append(len(options))
        return options[self._chosen[at]]

    def path(self) -> Path:
        return tuple(self._chosen[: len(self._options)])

    def next_path(self, fixed: int) -> Path | None:
        """The next one whose first `fixed` choices are the same."""
        path = list(self.path())
        while len(path) > fixed:
            last = path.pop()
            if last + 1 < self._options[len(path)]:
                return (*path, last + 1)
        return None


def missing(name: str) -> str | None:
    """Why an alphabet cannot be tried here."""
    if ANYIO.intersection(ALPHABETS[name].scopes) and not HAS_ANYIO:
        return "anyio is not installed"
    return None


def beginnings(name: str, length: int) -> list[Path]:
    found: list[Path] = []
    explore(name, length, seen=found.append)
    return found


def explore(
    name: str, length: int, beginning: Path = (), seen: Callable[[Path], object] = lambda _: None
) -> Found:
    """Run every sequence of `length` acts that begins like `beginning`, up to the first that differs."""
    return asyncio.run(_explore(ALPHABETS[name], length, beginning, seen))


async def _explore(alphabet: Alphabet, length: int, beginning: Path, seen: Callable[[Path], object]) -> Found:
    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(repr(context)))
    sequences = 0
    path: Path | None = beginning
    while path is not None:
        chooser = Chooser(path, length)
        run = Run(alphabet, chooser.choose)
        task = loop.create_task(run.main())
        await asyncio.wait([task], timeout=10)
        sequences += 1
        if not task.done():
            return Found(sequences, "\n".join([*run.trace, "!! it hangs"]))
        task.result()
        if reported:
            return Found(sequences, "\n".join([*run.trace, f"!! the loop reported {reported[0]}"]))
        if run.difference is not None:
            return Found(sequences, run.difference)
        seen(chooser.path())
        path = chooser.next_path(len(beginning))
    return Found(sequences, None)
