"""Every benchmark runs, for every peer that is installed; how long it takes is not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest

from benchmarks import end_to_end, floors, idle
from benchmarks.loops import Loop, installed_loops
from benchmarks.measure import Round
from benchmarks.operations import Line, lines
from benchmarks.peers import installed_peers
from benchmarks.profile import PROFILED, profile

LOOPS = list(installed_loops().values())
LARGEST = 10_000  # larger ones take long, and are the same code
REPETITIONS = 2  # what one leaves behind meets the next


def operations() -> Iterator[Any]:
    for loop in LOOPS:
        for line in lines(loop):
            if line.size <= LARGEST:
                yield pytest.param(loop, line, id=f"{loop.name}: {line.title}")


@pytest.mark.parametrize(("loop", "line"), list(operations()))
def test_operation(loop: Loop, line: Line) -> None:
    for peer in installed_peers(loop.backend).values():
        operation = line.operation(peer, loop)
        if operation is not None:
            loop.run(partial(repeat, operation, line.surroundings(peer, loop)))


@pytest.mark.parametrize(
    ("loop", "line"),
    [
        pytest.param(loop, line, id=f"{loop.name}: {line.title}")
        for loop in LOOPS
        for line in lines(loop)
        if line.title in floors.TITLES[loop.backend]
    ],
)
def test_floor(loop: Loop, line: Line) -> None:
    peer = floors.floor_peer(loop.backend)
    operation = line.operation(peer, loop)
    assert operation is not None
    loop.run(partial(repeat, operation, line.surroundings(peer, loop)))
    if line.title in PROFILED:
        shares = profile(line, loop, installed_peers(loop.backend)["interloop"])
        assert sum(share.bytecodes for share in shares.values()) > 0


async def repeat(operation: Round, surroundings: AbstractAsyncContextManager[object]) -> None:
    async with surroundings:
        assert await operation(REPETITIONS) > 0


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
@pytest.mark.parametrize("name", idle.LIBRARIES)
def test_idle(loop: Loop, name: str) -> None:
    peers = installed_peers(loop.backend)
    if name not in peers:
        pytest.skip(f"{name} is not installed")
    for case, slow in idle.cases(loop, name):
        measured = idle.measure_idle(loop, case, slow, name, peers[name], seconds=0.01)
        assert measured.iterations is None or measured.iterations > 0


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_requests(loop: Loop) -> None:
    for name, structure in end_to_end.structures(loop).items():
        result = end_to_end.EndToEnd(loop.name, name)
        end_to_end.run_once(loop, structure, seconds=0.2, result=result)
        assert result.throughput > 0


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_growth(loop: Loop) -> None:
    pytest.importorskip("tracemalloc", reason="PyPy does not count what is allocated")
    from benchmarks import growth

    peers = installed_peers(loop.backend)
    for _, by_size in growth.timed_curves(10, growth.FIT_FROM, 10, growth.FIT_FROM):
        for line in by_size.values():
            for name in growth.LIBRARIES:
                operation = line.operation(peers[name], loop)
                assert operation is not None
                loop.run(partial(repeat, operation, line.surroundings(peers[name], loop)))
    for memory in (growth.memory_of_children, growth.memory_of_deadlines, growth.memory_of_waiters):
        assert memory(loop, peers["interloop"], 10) > 0
    for through in (growth.flatness_of_children, growth.flatness_of_waiters, growth.flatness_of_items):
        assert set(through(loop, peers["interloop"], growth.FIT_FROM)) == {growth.FIT_FROM}
