"""Judge the mutants of the backends, and of the code over them: `nox -s mutation -- _trio/groups.py`.

Every mutant must be killed, or stand in survivors.toml with the reason why it changes nothing. One that
changes something on an older Python alone stands there with the Python that kills it, and is judged on that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TextIO, TypeAlias

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import interloop.conformance
from interloop.testing import HOSTS

from .judge import Judge, Verdict
from .mutants import Mutant, mutants

PACKAGE = Path(interloop.__file__).parent
SUITE = Path(interloop.conformance.__file__).parent
TESTS = Path(__file__).parents[1]
TIMERS = TESTS / "test_timers.py"  # what a timer costs is no matter of the contract
LEDGER = TESTS / "ledger"  # every sequence of acts on one task
OWN_TESTS = [  # what the suite leaves goes through these, which are not for the hosts of strangers
    TESTS / f"test_{name}.py"
    for name in (
        "backends",
        "dropped_handles",
        "open_scopes",
        "open_scopes_on_trio",
        "own_cancellation",
        "refusals",
        "subclasses",
        "tracebacks",
    )
]
LIST = Path(__file__).with_name("survivors.toml")
HARNESS = {SUITE, PACKAGE / "testing"}  # what judges is not judged


def source_files() -> list[str]:
    """The files of the package that have a function, by their path in it."""
    return sorted(
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if HARNESS.isdisjoint(path.parents) and "def " in path.read_text("utf-8")
    )


FILES = source_files()
ON = ["asyncio", "asyncio-eager", "trio"]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

Key: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True)
class Survivor:
    """An entry of the list: a mutant of which it is known that nothing notices it here."""

    file: str
    function: str
    was: str
    now: str
    reason: str
    killed_on: str | None = None

    @property
    def key(self) -> Key:
        return self.file, self.function, self.was, self.now


def path_of(mutant: Mutant) -> str:
    return mutant.file.relative_to(PACKAGE).as_posix()


@cache
def key(mutant: Mutant) -> Key:
    return path_of(mutant), mutant.function, *mutant.change()


class Results:
    """The verdicts, beside what the list says."""

    def __init__(self, listed: dict[Key, Survivor], output: TextIO) -> None:
        self._listed = listed
        self._output = output
        self._verdicts: dict[Mutant, Verdict] = {}  # the last one counts

    def verdicts(self, *outcomes: str) -> list[Verdict]:
        """All, or those with these outcomes."""
        verdicts = self._verdicts.values()
        return [verdict for verdict in verdicts if not outcomes or self.outcome(verdict) in outcomes]

    def add(self, verdict: Verdict) -> None:
        self._verdicts[verdict.mutant] = verdict
        file, function, was, now = key(verdict.mutant)
        record = {
            "file": file,
            "line": verdict.mutant.line,
            "function": function,
            "operator": verdict.mutant.operator,
            "was": was,
            "now": now,
            "outcome": self.outcome(verdict),
            "killed_by": verdict.killed_by,
            "tests_passed": verdict.passed,
            "tests": verdict.tests,
        }
        print(json.dumps(record), file=self._output, flush=True)

    def outcome(self, verdict: Verdict) -> str:
        if verdict.killed_by is not None:
            return "killed"
        entry = self._listed.get(key(verdict.mutant))
        return "left" if entry is None or entry.killed_on == PYTHON else "listed"

    def outdated(self) -> list[Survivor]:
        """What the list says survives, and does not."""
        outcomes: dict[Key, set[str]] = {}
        for verdict in self.verdicts():
            outcomes.setdefault(key(verdict.mutant), set()).add(self.outcome(verdict))
        return [
            entry
            for entry in self._listed.values()
            if entry.killed_on != PYTHON and outcomes.get(entry.key) == {"killed"}
        ]

    def table(self) -> Table:
        by_file: dict[str, Counter[str]] = {}
        for verdict in self.verdicts():
            by_file.setdefault(path_of(verdict.mutant), Counter())[self.outcome(verdict)] += 1
        by_file["all"] = sum(by_file.values(), Counter())
        table = Table("file", "mutants", "killed", "change nothing", "left", "killed, %")
        for name, counts in by_file.items():
            numbers = counts.total(), counts["killed"], counts["listed"], counts["left"]
            table.add_row(name, *map(str, numbers), f"{100 * counts['killed'] / counts.total():.1f}")
        return table


def within(name: str) -> list[str]:
    """The files that an argument names: one, or all of a folder."""
    return [file for file in FILES if file == name or file.startswith(f"{name.rstrip('/')}/")]


def chosen(options: argparse.Namespace, listed: dict[Key, Survivor]) -> list[Mutant]:
    found = [mutant for name in options.files for mutant in mutants(PACKAGE / name)]
    if options.lines:
        first, _, last = options.lines.partition("-")
        found = [mutant for mutant in found if int(first) <= mutant.line <= int(last or first)]
    if options.function:
        found = [mutant for mutant in found if options.function in mutant.function]
    if options.again:
        records = map(json.loads, options.again.read_text("utf-8").splitlines())
        outcomes = {(it["file"], it["function"], it["was"], it["now"]): it["outcome"] for it in records}
        found = [mutant for mutant in found if outcomes.get(key(mutant)) == "left"]
    if options.listed:
        found = [
            mutant for mutant in found if (entry := listed.get(key(mutant))) and entry.killed_on == PYTHON
        ]
    return found


def judge(found: list[Mutant], tests: list[str], model: bool, results: Results, console: Console) -> int:
    columns = TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, auto_refresh=False) as progress:  # a thread does not fork well
        bar = progress.add_task("unchanged", total=len(found))
        progress.refresh()

        def note(verdict: Verdict) -> None:
            results.add(verdict)
            if results.outcome(verdict) == "left":
                file, function, was, now = key(verdict.mutant)
                console.print(f"{file}:{verdict.mutant.line} {function}\n  - {was}\n  + {now}", markup=False)
            progress.update(bar, advance=1, description=path_of(verdict.mutant))
            progress.refresh()

        return pytest.main([*tests, "-pno:terminal", "-s"], plugins=[Judge(found, note, model=model)])


def suite(rules: list[str]) -> list[str]:
    """Arguments for pytest: the conformance suite, and those of our own tests that name their rules."""
    hosts = [f"--host={host}" for host in ON if not HOSTS[host].missing()]
    no_plugins = f"--ignore={SUITE / 'test_plugins.py'}"  # it runs pytest in other processes
    options = [f"--config-file={SUITE / 'pytest.ini'}", f"--rootdir={SUITE}", no_plugins]
    return [*map(str, [SUITE, TIMERS, LEDGER]), *options, *hosts, *[f"--rule={rule}" for rule in rules]]


def own_tests() -> list[str]:
    return [*map(str, OWN_TESTS), f"--config-file={Path(__file__).with_name('own.ini')}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s mutation --", description=__doc__)
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        default=FILES,
        metavar="FILE",
        help="a file of the package, `_asyncio/groups.py`, or a folder (default: all)",
    )
    add("--lines", metavar="A-B", help="only mutants that begin in these lines")
    add("--rule", action="append", default=[], help="only the tests of this rule: a first look, in seconds")
    add("--function", metavar="NAME", help="only mutants of functions with this in their name")
    add(
        "--listed",
        action="store_true",
        help="only those of which survivors.toml says that this Python kills them",
    )
    add("--again", type=Path, metavar="OUTPUT", help="only those that are left in an output")
    add("--output", type=Path, default=Path("build/mutation.jsonl"), help="(default: %(default)s)")
    options = parser.parse_args()
    for name in options.files:
        if not within(name):
            parser.error(f"no such file: {name}; there are {', '.join(FILES)}")
    options.files = [file for name in options.files for file in within(name)]

    console = Console()
    entries = [Survivor(**entry) for entry in tomllib.loads(LIST.read_text("utf-8")).get("survivor", [])]
    listed = {entry.key: entry for entry in entries}
    found = chosen(options, listed)
    if not found:
        console.print("no mutants there")
        return 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as output:
        results = Results(listed, output)
        code = judge(found, suite(options.rule), True, results, console)
        if len(results.verdicts()) == len(found) and (
            left := [verdict.mutant for verdict in results.verdicts("left", "listed")]
        ):
            console.print(f"{len(left)} are left, and go through {len(OWN_TESTS)} files of our own tests")
            code = judge(left, own_tests(), False, results, console)
    if len(results.verdicts()) < len(found):
        return code or 1

    console.print(results.table())
    wrong = [f"killed, but listed in {LIST.name}: {entry.key}" for entry in results.outdated()]
    if options.files == FILES:
        keys = {key(mutant) for name in FILES for mutant in mutants(PACKAGE / name)}
        wrong += [
            f"listed in {LIST.name}, but no such mutant: {entry.key}"
            for entry in entries
            if entry.key not in keys
        ]
    for complaint in wrong:
        console.print(complaint, markup=False)
    return 1 if wrong or results.verdicts("left") else 0


if __name__ == "__main__":
    sys.exit(main())
