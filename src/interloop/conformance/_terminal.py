"""The report in a terminal."""

from __future__ import annotations

from collections import Counter
from textwrap import indent
from types import TracebackType
from typing import Self

from rich import box, progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._report import NOT_RUN, Cell, Report, TestRun
from ._rules import CHAPTERS, RULES

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
        self._bars_of: dict[str, progress.TaskID] = {}
        self._failed = Counter[str]()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, test: TestRun) -> None:
        if test.host not in self._bars_of:
            total = len(self._report.hosts[test.host].tests)
            self._bars_of[test.host] = self._bars.add_task(test.host, total=total, failed="")
        self._failed[test.host] += test.outcome == "failed"
        failed = f"{self._failed[test.host]} failed" if self._failed[test.host] else ""
        self._bars.update(self._bars_of[test.host], advance=1, failed=failed)


def print_report(report: Report) -> None:
    console = Console(highlight=False)
    console.print(_matrix(report, titles=console.width >= WIDTH_WITH_TITLES))
    console.print(LEGEND, style="dim")
    console.print()
    console.print(_hosts(report))
    for line in _remarks(report):
        console.print(line)
    for test in report.failures:
        if test.message == NOT_RUN:
            continue  # the remarks have their number
        console.print()
        console.print(Text.assemble((test.id, "bold red"), f"  rule {', '.join(test.rules)}"), soft_wrap=True)
        console.print(Text(indent(test.details or test.message, "    ")), soft_wrap=True)
    console.print()
    console.print(_verdict(report))


def _matrix(report: Report, titles: bool) -> Table:
    hosts = [name for name, run in report.hosts.items() if not run.missing]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rule", no_wrap=True)
    for host in hosts:
        table.add_column(host.replace("-", "\n").replace(":", ":\n"), no_wrap=True, vertical="bottom")
    if titles:
        table.add_column("", style="dim", no_wrap=True, overflow="ellipsis")
    for letter, rules in report.chapters().items():
        for rule in rules:
            cells = [_mark(report.cell(rule, host)) for host in hosts]
            table.add_row(rule, *cells, *([RULES[rule]] if titles else []), end_section=rule == rules[-1])
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
    for name, run in report.hosts.items():
        if run.missing:
            table.add_row(name, Text("not installed", "yellow"), "", "", "", Text(run.missing, "yellow"))
            continue
        failed = run.count("failed")
        table.add_row(
            name,
            run.backend or "?",
            "virtual" if run.host.virtual else "real",
            str(run.count("passed")),
            Text(str(failed), "bold red" if failed else ""),
            ", ".join(f"{package} {version}" for package, version in run.versions.items()),
        )
    return table


def _remarks(report: Report) -> list[str]:
    skipped = [f"not tested: {test.id}: {test.message}" for test in report.skipped()]
    declared = [f"declared deviation: {rule} on {host}: {reason}" for host, rule, reason in report.deviations()]
    not_run = Counter(test.host for test in report.failures if test.message == NOT_RUN)
    given_up = [f"{name}: {count} tests {NOT_RUN}" for name, count in not_run.items()]
    return skipped + declared + given_up


def _verdict(report: Report) -> Text:
    ran = [name for name, run in report.hosts.items() if not run.missing]
    extent = f"rules: {len(report.rules)}, hosts: {len(ran)}, tests: {len(report.tests)}, failed: "
    failures = len(report.failures)
    return Text(f"{extent}{failures}", "bold red" if failures else "bold green")
