"""Where an operation spends its bytecodes: they are counted, so every run on one Python finds the same."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .loops import Loop
from .operations import DEADLINE, SPAWN_KEPT, Line
from .peers import Peer

WARM_UP, COUNTED = 10, 20  # repetitions
OWN = __name__.removesuffix("profile")


PROFILED = (SPAWN_KEPT, DEADLINE)
"""The titles of the operations of which the page shows where the bytecodes go."""


@dataclass(frozen=True)
class Share:
    """What one function does in one operation."""

    calls: float
    bytecodes: float


def profile(line: Line, loop: Loop, peer: Peer) -> dict[str, Share]:
    """The functions in Python that take part in one operation.

    What is not done for each operation is left out, such as turns of the loop and entering a group for a
    hundred children; and so is the benchmark.
    """
    operation = line.operation(peer, loop)
    assert operation is not None
    calls: Counter[str] = Counter()
    bytecodes: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        function = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        if event == "call":
            frame.f_trace_opcodes = True
            calls[function] += 1
        elif event == "opcode":
            bytecodes[function] += 1
        return trace

    async def main() -> None:
        async with line.surroundings(peer, loop):
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                await operation(WARM_UP)  # a function's first traced call does not tell its bytecodes
                calls.clear()
                bytecodes.clear()
                sys.settrace(trace)  # CPython 3.12 tells bytecodes from the next call of this on
                await operation(COUNTED)
            finally:
                sys.settrace(before)

    loop.run(main)
    operations = COUNTED * line.per
    return {
        function: Share(calls[function] / operations, count / operations)
        for function, count in bytecodes.items()
        if calls[function] >= operations / 2 and not function.startswith(OWN)
    }
