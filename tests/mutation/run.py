"""Judge the mutants of the backends, and of the code over them, by the conformance suite.

Every mutant must be killed, or stand in survivors.toml with the reason why it changes nothing. What a mutant
does only on older Pythons stands there with the Python that kills it, and is judged by running this on it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from judge import Judge, Verdict
from mutants import Mutant, mutants
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import interloop.conformance
from interloop.testing import HOSTS

PACKAGE = Path(interloop.__file__).parent
SUITE = Path(interloop.conformance.__file__).parent
LIST = Path(__file__).with_name("survivors.toml")
FILES = [
    "_dispatch.py",
    "_checks.py",
    "_errors.py",
    "_error_list.py",
    "_facade.py",
    "abc.py",
    "_starting.py",
    "_patterns.py",
    "_timers.py",
    "_trio.py",
    "_asyncio.py",
]
JUDGES = ["asyncio", "asyncio-eager", "trio"]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GOAL = 0.95


@dataclass(frozen=True)
class Survivor:
    """An entry of the list: a mutant that is known to survive here."""

    file: str
    function: str
    was: str
    now: str
    reason: str
    killed_on: str | None = None

    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.function, self.was, self.now


def key(mutant: Mutant) -> tuple[str, str, str, str]:
    return mutant.file.name, mutant.function, *mutant.change()


def chosen(options: argparse.Namespace, listed: dict[tuple[str, ...], Survivor]) -> list[Mutant]:
    found = [mutant for name in options.files for mutant in mutants(PACKAGE / name)]
    if options.lines:
        first, _, last = options.lines.partition("-")
        found = [mutant for mutant in found if int(first) <= mutant.line <= int(last or first)]
    if options.function:
        found = [mutant for mutant in found if options.function in mutant.function]
    if options.listed:
        older = {entry.key() for entry in listed.values() if entry.killed_on == PYTHON}
        found = [mutant for mutant in found if key(mutant) in older]
    return found


def judge(found: list[Mutant], console: Console) -> tuple[list[Verdict], int]:
    verdicts: list[Verdict] = []
    columns = "{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]} left")
    with Progress(*columns, TimeRemainingColumn(), console=console, auto_refresh=False) as progress:
        bar = progress.add_task("the suite, unchanged", total=len(found), left=0)

        def note(verdict: Verdict) -> None:
            verdicts.append(verdict)
            left = sum(1 for verdict in verdicts if verdict.killed_by is None)
            progress.update(bar, advance=1, left=left, description=f"{verdict.mutant.file.name:15}")
            progress.refresh()

        progress.refresh()
        hosts = [f"--host={host}" for host in JUDGES if not HOSTS[host].missing()]
        suite = [
            str(SUITE),
            f"--config-file={SUITE / 'pytest.ini'}",
            f"--rootdir={SUITE}",
            "-pno:terminal",
            "-s",
        ]
        suite.append(f"--ignore={SUITE / 'test_plugins.py'}")  # it runs pytest in other processes
        code = pytest.main([*suite, *hosts], plugins=[Judge(found, note)])
    return verdicts, code


def table(verdicts: list[Verdict], listed: dict[tuple[str, ...], Survivor]) -> Table:
    shown = Table("file", "mutants", "killed", "listed", "left", "killed, %")
    by_file: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        by_file.setdefault(verdict.mutant.file.name, Counter())[outcome(verdict, listed)] += 1
    by_file["all"] = sum(by_file.values(), Counter())
    for name, counts in by_file.items():
        total = counts.total()
        numbers = total, counts["killed"], counts["listed"], counts["left"]
        shown.add_row(name, *map(str, numbers), f"{100 * counts['killed'] / total:.1f}", end_section=False)
    return shown


def outcome(verdict: Verdict, listed: dict[tuple[str, ...], Survivor]) -> str:
    if verdict.killed_by is not None:
        return "killed"
    return "listed" if key(verdict.mutant) in listed else "left"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files", nargs="*", default=FILES, metavar="FILE", help=f"of {', '.join(FILES)} (default: all)"
    )
    parser.add_argument("--lines", metavar="A-B", help="only mutants that begin in these lines")
    parser.add_argument(
        "--function", metavar="NAME", help="only mutants of functions with this in their name"
    )
    parser.add_argument(
        "--listed", action="store_true", help="only those that survivors.toml says are killed here"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/mutation.json"), help="(default: %(default)s)"
    )
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)

    entries = [Survivor(**entry) for entry in tomllib.loads(LIST.read_text("utf-8")).get("survivor", [])]
    listed = {entry.key(): entry for entry in entries}
    found = chosen(options, listed)
    if not found:
        console.print("no mutants there")
        return 0
    verdicts, code = judge(found, console)
    if len(verdicts) < len(found):
        return code or 1

    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        json.dumps([record(verdict, listed) for verdict in verdicts], indent=1), "utf-8"
    )
    console.print(table(verdicts, listed))

    killed = {key(verdict.mutant) for verdict in verdicts if verdict.killed_by is not None}
    left = [verdict.mutant for verdict in verdicts if outcome(verdict, listed) == "left"]
    if options.listed:
        left = [verdict.mutant for verdict in verdicts if verdict.killed_by is None]
    for mutant in left:
        was, now = mutant.change()
        console.print(f"[bold]{mutant.file.name}:{mutant.line}[/] {mutant.function}", highlight=False)
        console.print(f"  - {was}\n  + {now}", style="red", markup=False, highlight=False)
    survived = {key(verdict.mutant) for verdict in verdicts if verdict.killed_by is None}
    wrong = [] if options.listed else [entry for entry in entries if entry.key() in killed - survived]
    for entry in wrong:
        console.print(f"listed in {LIST.name}, but killed: {entry.key()}", markup=False)
    if not (options.lines or options.function or options.listed):
        stale = [
            entry for entry in entries if entry.file in options.files and entry.key() not in killed | survived
        ]
        for entry in stale:
            console.print(f"listed in {LIST.name}, but there is no such mutant: {entry.key()}", markup=False)
        wrong += stale
        share = sum(verdict.killed_by is not None for verdict in verdicts) / len(verdicts)
        if share < GOAL:
            console.print(f"{share:.1%} are killed, {GOAL:.0%} are wanted")
            return 1
    return 1 if left or wrong else 0


def record(verdict: Verdict, listed: dict[tuple[str, ...], Survivor]) -> dict[str, object]:
    mutant = verdict.mutant
    was, now = mutant.change()
    return {
        "file": mutant.file.name,
        "line": mutant.line,
        "function": mutant.function,
        "operator": mutant.operator,
        "was": was,
        "now": now,
        "outcome": outcome(verdict, listed),
        "killed_by": verdict.killed_by,
        "passed": verdict.passed,
        "tests": verdict.tests,
    }


if __name__ == "__main__":
    sys.exit(main())
