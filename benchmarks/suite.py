"""The whole of the measurements, as steps that can be counted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from . import end_to_end, growth, idle, imports
from .floors import TITLES, floor_peer
from .growth import Curve, Flatness
from .loops import Loop
from .measure import Contender, Series, collecting_by_hand, on_one_cpu, paired
from .operations import Line, lines
from .peers import Peer, installed_peers
from .profile import PROFILED, profile
from .results import Results


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        seconds: of each peer for each operation, or until it has its rounds.
        largest: operations whose size is larger are left out.
        idle_seconds: how long a cancelled group waits.
        largest_group: how far the curve of the time for children goes.
        largest_crowd: how far that for open deadlines goes.
        largest_tree: how far that for cancelled tasks goes.
        largest_flow: how far that for items does.
        largest_traced: how far the curves of memory go.
        children_through: how many children go through one group, and how many waiters through one lock.
        request_seconds: of each round of requests.
        request_rounds: how many of them.
        import_rounds: how often the imports are measured, all packages in turns.
        cut: what that leaves out, in words.
    """

    seconds: float
    largest: int
    idle_seconds: float
    largest_group: int
    largest_crowd: int
    largest_tree: int
    largest_flow: int
    largest_traced: int
    children_through: int
    request_seconds: float
    request_rounds: int
    import_rounds: int
    cut: str


EFFORTS = {
    "quick": Effort(
        seconds=0.03,
        largest=10_000,
        idle_seconds=0.3,
        largest_group=10_000,
        largest_crowd=10_000,
        largest_tree=10_000,
        largest_flow=100_000,
        largest_traced=10_000,
        children_through=100_000,
        request_seconds=0.3,
        request_rounds=1,
        import_rounds=1,
        cut="A quick look: few rounds, nothing larger than 10,000 tasks, and idling for 0.3 seconds.",
    ),
    "default": Effort(
        seconds=0.07,
        largest=100_000,
        idle_seconds=1.0,
        largest_group=100_000,
        largest_crowd=100_000,
        largest_tree=10_000,
        largest_flow=1_000_000,
        largest_traced=10_000,
        children_through=100_000,
        request_seconds=0.5,
        request_rounds=3,
        import_rounds=3,
        cut="`--full` goes ten times as far with curves, deep groups and the children through one group, "
        "and takes more rounds.",
    ),
    "full": Effort(
        seconds=0.3,
        largest=1_000_000,
        idle_seconds=1.0,
        largest_group=1_000_000,
        largest_crowd=100_000,
        largest_tree=100_000,
        largest_flow=1_000_000,
        largest_traced=1_000_000,
        children_through=1_000_000,
        request_seconds=2.0,
        request_rounds=5,
        import_rounds=3,
        cut="",
    ),
}

Step = tuple[str, Callable[[], object]]


def operation_steps(
    results: Results, loop: Loop, peers: dict[str, Peer], effort: Effort, only: Collection[str] = ()
) -> Iterator[Step]:
    """One step for each line of the table, of those with one of the words `only` in their title."""

    def measure(line: Line) -> None:
        results.operations.setdefault(loop.name, {})[line.title] = (
            line,
            measured(line, loop, peers, effort.seconds),
        )

    for line in lines(loop):
        if line.size <= effort.largest and (not only or any(words in line.title for words in only)):
            yield f"{loop.name}: {line.title}", partial(measure, line)


def measured(line: Line, loop: Loop, peers: dict[str, Peer], seconds: float) -> Series:
    """The line's operation, with all peers that can do it taking turns."""
    contenders = []
    with on_one_cpu(), collecting_by_hand(), ExitStack() as stack:
        for name, peer in peers.items():
            operation = line.operation(peer, loop)
            if operation is not None:
                surroundings = partial(line.surroundings, peer, loop)
                contenders.append(stack.enter_context(Contender(name, loop.run, operation, surroundings)))
        return paired(contenders, seconds, line.count)


def other_steps(results: Results, loops: dict[str, Loop], effort: Effort) -> Iterator[Step]:
    """Everything but the operations."""
    for loop in loops.values():
        yield from _floor_steps(results, loop, effort)
    for loop in loops.values():
        yield from _idle_steps(results, loop, effort)
    for name in ("asyncio", "trio"):
        if name in loops:
            yield from _growth_steps(results, loops[name], effort)
    for loop in loops.values():
        yield from _end_to_end_steps(results, loop, effort)
    for _ in range(effort.import_rounds):
        for package in imports.installed_packages():
            yield f"import {package}", partial(_measure_import, results, package)


def _floor_steps(results: Results, loop: Loop, effort: Effort) -> Iterator[Step]:
    peers = _of(("interloop", "native", "anyio"), loop)

    def measure(line: Line) -> None:
        found = measured(line, loop, {**peers, "floor": floor_peer(loop.backend)}, effort.seconds)
        results.floors.setdefault(loop.name, {})[line.title] = found

    def count(line: Line) -> None:
        results.profiles.setdefault(loop.name, {})[line.title] = {
            name: profile(line, loop, peers[name]) for name in ("interloop", "native")
        }

    for line in lines(loop):
        if line.title in TITLES[loop.backend]:
            yield f"{loop.name}: floor of {line.title}", partial(measure, line)
            if line.title in PROFILED and loop.name == loop.backend:  # our code is the same on uvloop
                yield f"{loop.name}: profile of {line.title}", partial(count, line)


def _idle_steps(results: Results, loop: Loop, effort: Effort) -> Iterator[Step]:
    def measure(case: str, slow: idle.SlowToStop, name: str, peer: Peer) -> None:
        results.idle.append(idle.measure_idle(loop, case, slow, name, peer, effort.idle_seconds))

    for name, peer in _of(idle.LIBRARIES, loop).items():
        for case, slow in idle.cases(loop, name):
            yield f"{loop.name}: idle, {name}, {case}", partial(measure, case, slow, name, peer)


def _growth_steps(results: Results, loop: Loop, effort: Effort) -> Iterator[Step]:
    peers = _of(growth.LIBRARIES, loop)

    def add(title: str, unit: str, size: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            curve = Curve(loop.name, title, unit, name, {})
            found = next((each for each in results.curves if each.names_the_same_as(curve)), None)
            if found is None:
                results.curves.append(curve)
            (found or curve).values[size] = value

    def time(title: str, size: int, line: Line) -> None:
        series = measured(line, loop, peers, effort.seconds / 4)
        add(title, "s", size, {name: series.seconds(name) or 0.0 for name in peers})

    def memory(title: str, size: int, of: Callable[[Loop, Peer, int], int]) -> None:
        add(title, "B", size, {name: float(of(loop, peer, size)) for name, peer in peers.items()})

    def child_bytes() -> None:
        children = 1_000
        results.child_bytes[loop.name] = {
            name: growth.memory_of_children(loop, peer, children) / children
            for name, peer in _of(("interloop", "native", "anyio"), loop).items()
        }

    def flat(title: str, of: Callable[[Loop, Peer, int], dict[int, int]], last: int) -> None:
        blocks = of(loop, peers["interloop"], last)
        results.flatness.append(Flatness(loop.name, title, "interloop", blocks))

    for title, by_size in growth.timed_curves(
        effort.largest_group, effort.largest_crowd, effort.largest_tree, effort.largest_flow
    ):
        for size, line in by_size.items():
            yield f"{loop.name}: time, {size:,} {title}", partial(time, title, size, line)
    traced_crowd = min(effort.largest_traced, effort.largest_crowd)
    for title, of, largest in (
        ("children of a group", growth.memory_of_children, effort.largest_traced),
        ("open deadlines", growth.memory_of_deadlines, traced_crowd),
        ("waiters at a lock", growth.memory_of_waiters, traced_crowd),
    ):
        for size in growth.sizes(1, largest):
            yield f"{loop.name}: memory, {size:,} {title}", partial(memory, title, size, of)
    yield f"{loop.name}: memory of a child", child_bytes
    for title, through, last in (
        ("children through one group", growth.flatness_of_children, effort.children_through),
        ("waiters at one lock", growth.flatness_of_waiters, effort.children_through),
        ("items through one channel", growth.flatness_of_items, effort.largest_flow),
    ):
        yield f"{loop.name}: {last:,} {title}", partial(flat, title, through, last)


def _end_to_end_steps(results: Results, loop: Loop, effort: Effort) -> Iterator[Step]:
    structures = end_to_end.structures(loop)
    found = {name: end_to_end.EndToEnd(loop.name, name) for name in structures}
    results.end_to_end += found.values()
    for _ in range(effort.request_rounds):
        for name, structure in structures.items():
            yield (
                f"{loop.name}: requests, {name}",
                partial(end_to_end.run_once, loop, structure, effort.request_seconds, found[name]),
            )


def _measure_import(results: Results, package: str) -> None:
    found = imports.import_time(package)
    if package in results.imports:
        results.imports[package].add_runs(found)
    else:
        results.imports[package] = found


def _of(names: Collection[str], loop: Loop) -> dict[str, Peer]:
    return {name: peer for name, peer in installed_peers(loop.backend).items() if name in names}
