"""The results as tables, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .budgets import RATIOS, ratio_met, verdicts
from .imports import BASELINE
from .loops import LOOP_BACKENDS
from .measure import Series
from .operations import Line
from .peers import installed_peers
from .results import Results

NONE = "–"


@dataclass(frozen=True)
class Table:
    """Rows of cells in Markdown.

    Attributes:
        words: how many of the first columns hold words, not numbers.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    words: int = 1

    def markdown(self) -> str:
        rule = ["---" if column < self.words else "--:" for column in range(len(self.header))]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.header, rule, *self.rows))


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            return (
                f"{seconds / size:.3g} {unit}" if seconds < 999.5 * size else f"{seconds / size:,.0f} {unit}"
            )
    raise AssertionError


def size(count: float) -> str:
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_each:
            return f"{count / bytes_each:.3g} {unit}"
    return f"{count:.0f} bytes"


def verdict(met: bool | None) -> str:
    return {True: "met", False: "**not met**", None: NONE}[met]


def operations_table(results: Results, loop: str) -> Table:
    backend = LOOP_BACKENDS[loop]
    peers = list(installed_peers(backend))
    header = [loop, *peers, "÷ native", "÷ anyio", "budget"]
    rows = [
        _operation(results, loop, line, series, peers) for line, series in results.operations[loop].values()
    ]
    return Table(f"Operations on {loop}", header, rows)


def _operation(results: Results, loop: str, line: Line, series: Series, peers: list[str]) -> list[str]:
    def time(peer: str) -> str:
        seconds = series.seconds(peer)
        return duration(None if seconds is None else seconds / line.per)

    def ratio(against: str) -> str:
        found = series.ratio("interloop", against)
        return NONE if found is None else str(found)

    budget = "; ".join(
        f"≤ {limit:.2f} {against}: {verdict(ratio_met(results, loop, line.title, against, limit))}"
        for against, limit in RATIOS[loop].get(line.title, {}).items()
    )
    return [line.title, *map(time, peers), ratio("native"), ratio("anyio"), budget]


def budgets_table(results: Results) -> Table:
    rows = [
        [each.what, each.loop, each.against, each.budget, each.measured or NONE, verdict(each.met)]
        for each in verdicts(results)
    ]
    return Table("Budgets", ["what", "on", "against", "budget", "measured", ""], rows, words=6)


def floors_table(results: Results) -> Table:
    rows = []
    for loop, found in results.floors.items():
        for title, series in found.items():
            row = [title, loop]
            for against in ("native", "anyio"):
                limit = RATIOS[loop].get(title, {}).get(against)
                own, floor = (series.ratio(each, against) for each in ("interloop", "floor"))
                budget = NONE if limit is None else f"≤ {limit:.2f}"
                if limit is not None and floor is not None and limit < floor.median:
                    budget += ", the floor is above it"
                row += [str(own or NONE), str(floor or NONE), budget]
            rows.append(row)
    header = ["what", "on"]
    for against in ("native", "anyio"):
        header += [f"interloop ÷ {against}", f"floor ÷ {against}", "budget"]
    return Table("Floors", header, rows, words=2)


def profile_table(results: Results, loop: str, title: str) -> Table:
    by_library = results.profiles[loop][title]

    def bytecodes(library: str, function: str) -> float:
        share = by_library[library].get(function)
        return 0.0 if share is None else share.bytecodes

    def cell(library: str, function: str) -> str:
        share = by_library[library].get(function)
        return NONE if share is None else f"{share.bytecodes:.0f} in {share.calls:.0f}"

    functions = {function for found in by_library.values() for function in found}
    rows = [
        [f"`{function}`", *(cell(library, function) for library in by_library)]
        for function in sorted(
            functions, key=lambda each: (-max(bytecodes(library, each) for library in by_library), each)
        )
    ]
    totals = (sum(share.bytecodes for share in found.values()) for found in by_library.values())
    rows.append(["together", *(f"{total:.0f}" for total in totals)])
    return Table(f"Bytecodes on {loop}: {title}", ["function", *by_library], rows)


def idle_table(results: Results) -> Table:
    rows = [
        [
            each.case,
            each.loop,
            each.peer,
            "the loop does not tell" if each.iterations is None else f"{each.iterations:,}",
            f"{each.cpu:.4f} s",
        ]
        for each in sorted(results.idle, key=lambda each: (each.loop, each.case))
    ]
    header = ["the group waits for", "on", "library", "loop iterations", "CPU time"]
    return Table("Idle while cancelled", header, rows, words=3)


def growth_table(results: Results) -> Table:
    def value(amount: float, unit: str) -> str:
        return duration(amount) if unit == "s" else size(amount)

    rows = []
    for each in results.curves:
        smallest, largest = min(each.values), max(each.values)
        exponent = NONE if each.exponent is None else f"{each.exponent:.2f}"
        ends = [f"{value(each.values[end], each.unit)} for {end:,}" for end in (smallest, largest)]
        rows.append([f"{_quantity(each.unit)}: {each.title}", each.loop, each.peer, *ends, exponent])
    return Table("Growth", ["what", "on", "library", "smallest", "largest", "exponent"], rows, words=3)


def _quantity(unit: str) -> str:
    return "time" if unit == "s" else "memory"


def memory_table(results: Results) -> Table:
    rows = [
        [loop, peer, f"{taken:,.0f} bytes", f"{taken - of['native']:+,.0f} bytes" if peer != "native" else ""]
        for loop, of in results.child_bytes.items()
        for peer, taken in of.items()
    ]
    return Table("Memory of a live child", ["on", "library", "a child", "against native"], rows, words=2)


def flatness_table(results: Results) -> Table:
    marks = sorted({mark for each in results.flatness for mark in each.blocks})
    rows = [
        [
            each.title,
            each.loop,
            *(f"{each.blocks[mark]:,}" if mark in each.blocks else NONE for mark in marks),
        ]
        for each in results.flatness
    ]
    header = ["memory blocks after so many", "on", *(f"{mark:,}" for mark in marks)]
    return Table("Through one and the same", header, rows, words=2)


def end_to_end_table(results: Results) -> Table:
    native = {each.loop: each for each in results.end_to_end if each.peer == "native"}
    rows = [
        [
            each.loop,
            each.peer,
            f"{each.throughput:,.0f}",
            f"{each.throughput / native[each.loop].throughput:.2f}",
            duration(each.p99),
            f"{each.p99 / native[each.loop].p99:.2f}",
        ]
        for each in results.end_to_end
    ]
    header = ["on", "library", "requests per second", "÷ native", "99th percentile", "÷ native"]
    return Table("End to end", header, rows, words=2)


def import_table(results: Results) -> Table:
    baseline = results.imports[BASELINE].median()
    rows = [
        [
            f"`import {package}`",
            duration(found.median()),
            f"{(found.median() - baseline) * 1e3:+.1f} ms",
            duration(found.median_abs_dev()),
        ]
        for package, found in results.imports.items()
    ]
    header = ["", "start, import, end", f"over `import {BASELINE}`", "median deviation"]
    return Table("Import", header, rows)


def tables(results: Results) -> Iterator[Table]:
    """All of which there is something to show."""
    for loop in results.operations:
        yield operations_table(results, loop)
    for found, table in (
        (results.floors, floors_table),
        (results.idle, idle_table),
        (results.curves, growth_table),
        (results.child_bytes, memory_table),
        (results.flatness, flatness_table),
        (results.end_to_end, end_to_end_table),
        (results.imports, import_table),
    ):
        if found:
            yield table(results)
    yield budgets_table(results)
