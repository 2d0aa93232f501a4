"""The report in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from threading import Lock
from types import TracebackType
from typing import Self

from rich import box, progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._report import Cell, Report, TestRun
from ._rules import RULES

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "deviates": "yellow",
    "skipped": "yellow",
    "not about this host": "dim",
    "no test": "dim",
}
LEGEND = (
    "ok 3: three tests passed; FAIL 1: one failed; dev 1: one failed, as declared; "
    "skip: not tested; -: not about this host; .: no test"
)
WIDTH_WITH_TITLES = 120
TESTS_NAMED = 10  # of those that failed in the same way


class Progress:
    """A bar for each host while the tests run; called with each test that has ended."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[failed]}", style="bold red"),
            transient=True,
        )
        self._lock = Lock()  # a host in real time is tested by several threads
        self._bars_of: dict[str, progress.TaskID] = {}
        self._ended: dict[str, set[str]] = {}  # the ids of the tests, by host
        self._failed: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, test: TestRun) -> None:
        with self._lock:
            if test.host not in self._bars_of:
                self._bars_of[test.host] = self._bars.add_task(test.host, failed="")
                self._ended[test.host], self._failed[test.host] = set(), set()
            ended, failed = self._ended[test.host], self._failed[test.host]
            ended.add(test.id)
            if test.outcome == "failed":
                failed.add(test.id)
            else:
                failed.discard(test.id)  # it was run again
            self._bars.update(
                self._bars_of[test.host],
                total=len(self._report.hosts[test.host].tests),
                completed=len(ended),
                failed=f"{len(failed)} failed" if failed else "",
            )


def print_report(report: Report) -> None:
    console = Console(highlight=False)
    console.print(_matrix(report, titles=console.width >= WIDTH_WITH_TITLES))
    console.print(LEGEND, style="dim")
    console.print()
    console.print(_hosts(report))
    for line in _remarks(report):
        console.print(line, markup=False, soft_wrap=True)  # the host in brackets is no markup
    for tests in report.failure_groups:
        console.print()
        for test in tests[:TESTS_NAMED]:
            again = f", {test.again}" if test.again else ""
            name = Text.assemble((test.id, "bold red"), f"  {', '.join(test.rules)}{again}")
            console.print(name, soft_wrap=True)
        if len(tests) > TESTS_NAMED:
            console.print(f"... and {len(tests) - TESTS_NAMED} more")
        console.print(Text(indent(tests[0].details or tests[0].message, "    ")), soft_wrap=True)
    console.print()
    console.print(_verdict(report))


def _matrix(report: Report, titles: bool) -> Table:
    hosts = [name for name, run in report.hosts.items() if not run.missing]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rule", no_wrap=True)
    for host in hosts:
        table.add_column(host.replace("-", "\n").replace(":", ":\n"), no_wrap=True, vertical="bottom")
    if titles:
        table.add_column("", style="dim")
    for rules in report.chapters().values():
        for rule in rules:
            cells = [_mark(report.cell(rule, host)) for host in hosts]
            if titles:
                cells.append(Text(RULES[rule], no_wrap=True, overflow="ellipsis"))
            table.add_row(rule, *cells, end_section=rule == rules[-1])
    return table


def _mark(cell: Cell) -> Text:
    text = {
        "passed": f"ok {cell.count('passed')}",
        "failed": f"FAIL {cell.count('failed')}",
        "deviates": f"dev {cell.count('failed')}",
        "skipped": "skip",
        "not about this host": "-",
        "no test": ".",
        "not installed": "",
    }[cell.outcome]
    return Text(text, STYLES.get(cell.outcome, ""))


def _hosts(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("host", "backend", "time", "passed", "failed", "made of"):
        table.add_column(heading, justify="right" if heading in ("passed", "failed") else "left")
    failures = report.failures
    for name, run in report.hosts.items():
        if run.missing:
            table.add_row(name, Text("not installed", "yellow"), "", "", "", Text(run.missing, "yellow"))
            continue
        failed = sum(test.host == name for test in failures)
        table.add_row(
            name,
            run.backend or "?",
            "virtual" if run.host.virtual else "real",
            str(run.count("passed")),
            Text(str(failed), "bold red" if failed else ""),
            ", ".join(f"{package} {version}" for package, version in run.versions.items()),
        )
    return table


def _remarks(report: Report) -> Iterator[str]:
    for test in report.skipped():
        yield f"not tested: {test.id}: {test.message}"
    for test, how in report.saved():
        yield f"run again: {test.id}: {how}"
    for host, rule, reason in report.deviations():
        yield f"declared deviation: {rule} on {host}: {reason}"
    for host, rule in report.needless_deviations():
        yield f"warning: {rule} on {host} is declared as a deviation, but every test of it passes"


def _verdict(report: Report) -> Text:
    failures = len(report.failures)
    style = "bold red" if failures else "bold green"
    return Text(f"{report.count('passed')} passed, {failures} failed", style)
