"""What a run of the suite found: the outcome of each test, and from that the matrix rule × host."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypeAlias

from ..testing import Host
from ._rules import CHAPTERS, RULES

NOT_RUN = "not run: the host had to be given up"

TestOutcome: TypeAlias = Literal["passed", "failed", "skipped", "waiting"]
CellOutcome: TypeAlias = Literal[
    "passed", "failed", "deviates", "skipped", "not about this host", "no test", "not installed"
]


@dataclass(frozen=True)
class Again:
    """A test that failed waited for real time, so it was run again when no other ran.

    Attributes:
        tick: the unit of time of the second run, in seconds; `None` where time was virtual.
        first: the message of the first failure.
    """

    tick: float | None
    first: str

    def __str__(self) -> str:
        return "run again alone" + (f" with a tick of {self.tick:g} s" if self.tick else "")


@dataclass
class TestRun:
    """One test on one host."""

    id: str
    host: str
    rules: tuple[str, ...]
    only: bool  # about one backend, or one host, alone
    real_time: bool  # on hosts with virtual time too
    outcome: TestOutcome = "waiting"
    message: str = ""
    details: str = ""
    seconds: float = 0
    crashed: bool = False
    again: Again | None = None

    @property
    def name(self) -> str:
        """The name of the function, the same on every host."""
        return self.id.rpartition("::")[2].partition("[")[0]

    def fail(self, message: str, details: str) -> None:
        if self.outcome != "failed":  # an error in the teardown usually follows from the first one
            self.outcome, self.message, self.details = "failed", message, details


@dataclass(frozen=True)
class Cell:
    """What the tests of one rule say about one host."""

    outcome: CellOutcome
    tests: list[TestRun] = field(default_factory=list[TestRun])
    reason: str = ""

    def count(self, outcome: TestOutcome) -> int:
        return sum(test.outcome == outcome for test in self.tests)


@dataclass
class HostRun:
    """One host in this run.

    `backend` and `versions` are known once a test has run there; `deaths` is how many processes were lost.
    """

    host: Host
    missing: str | None
    backend: str | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])
    tests: dict[str, TestRun] = field(default_factory=dict[str, TestRun])
    deaths: int = 0

    def count(self, outcome: TestOutcome) -> int:
        return sum(test.outcome == outcome for test in self.tests.values())


class Report:
    """The outcome of a run, kept up to date while it goes on."""

    def __init__(self, hosts: list[Host], rules: list[str]) -> None:
        self.hosts = {host.name: HostRun(host, host.missing()) for host in hosts}
        self.rules = rules
        self.started = datetime.now(UTC)

    @property
    def tests(self) -> list[TestRun]:
        return [test for run in self.hosts.values() for test in run.tests.values()]

    @property
    def failures(self) -> list[TestRun]:
        """The failed tests, without those whose rules all deviate by declaration."""
        return [
            test
            for test in self.tests
            if test.outcome == "failed" and not set(test.rules) <= set(self.deviations_of(test.host))
        ]

    @property
    def failure_groups(self) -> list[list[TestRun]]:
        """The failures, those that failed in the same way together."""
        groups: dict[str, list[TestRun]] = {}
        for test in self.failures:
            groups.setdefault(test.details or test.message, []).append(test)
        return list(groups.values())

    def count(self, outcome: TestOutcome) -> int:
        return sum(host.count(outcome) for host in self.hosts.values())

    def deviations_of(self, host: str) -> dict[str, str]:
        return dict(self.hosts[host].host.deviations)

    def cell(self, rule: str, host: str) -> Cell:
        run = self.hosts[host]
        if run.missing:
            return Cell("not installed", reason=run.missing)
        tests = [test for test in run.tests.values() if rule in test.rules]
        outcomes = {test.outcome for test in tests}
        if not tests:
            return Cell("no test")
        if outcomes & {"failed", "waiting"}:
            declared = self.deviations_of(host).get(rule)
            return Cell("deviates", tests, declared) if declared else Cell("failed", tests)
        if "passed" in outcomes:
            return Cell("passed", tests)
        missed = [test for test in tests if not test.only]
        reasons = "; ".join(dict.fromkeys(test.message for test in missed or tests))
        return Cell("skipped" if missed else "not about this host", tests, reasons)

    def test_names(self, rule: str) -> list[str]:
        return list(dict.fromkeys(test.name for test in self.tests if rule in test.rules))

    def skipped(self) -> list[TestRun]:
        """The tests that could not be run where they should have been."""
        return [test for test in self.tests if test.outcome == "skipped" and not test.only]

    def saved(self) -> list[tuple[TestRun, str]]:
        """The tests that failed and passed when they were run again, with how, and how they had failed."""
        return [
            (test, f"passed when {test.again}; at first: {test.again.first}")
            for test in self.tests
            if test.again and test.outcome == "passed"
        ]

    def needless_deviations(self) -> list[tuple[str, str]]:
        """What the hosts declare although every test of it passes: host, rule."""
        return [
            (host, rule)
            for host, rule, _ in self.deviations()
            if rule in self.rules and self.cell(rule, host).outcome == "passed"
        ]

    def deviations(self) -> list[tuple[str, str, str]]:
        """What the hosts declare: host, rule, reason."""
        return [(name, *item) for name in self.hosts for item in self.deviations_of(name).items()]

    def chapters(self) -> dict[str, list[str]]:
        """The rules of this run by the letter of their chapter."""
        return {
            letter: rules
            for letter in CHAPTERS
            if (rules := [rule for rule in self.rules if rule.startswith(letter)])
        }

    def environment(self) -> dict[str, str]:
        return {
            "Python": f"{platform.python_version()} ({platform.python_implementation()})",
            "platform": platform.platform(),
            **{name: _version_of(name) for name in ("interloop", "sniffio", "pytest")},
        }

    def as_json(self) -> dict[str, Any]:
        """The whole report; the cells are by rule, then by host."""
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "environment": self.environment(),
            "conforms": not self.failures,
            "hosts": {
                name: {
                    "missing": run.missing,
                    "backend": run.backend,
                    "virtual_time": run.host.virtual,
                    "versions": run.versions,
                    "deviations": self.deviations_of(name),
                }
                for name, run in self.hosts.items()
            },
            "rules": {rule: RULES[rule] for rule in self.rules},
            "cells": {
                rule: {
                    host: {
                        "outcome": cell.outcome,
                        "passed": cell.count("passed"),
                        "failed": cell.count("failed"),
                        "skipped": cell.count("skipped"),
                        "reason": cell.reason,
                    }
                    for host in self.hosts
                    for cell in [self.cell(rule, host)]
                }
                for rule in self.rules
            },
            "needless_deviations": [
                {"host": host, "rule": rule} for host, rule in self.needless_deviations()
            ],
            "run_again": [
                {
                    "test": test.id,
                    "host": test.host,
                    "rules": list(test.rules),
                    "outcome": test.outcome,
                    "tick": test.again.tick,
                    "first_failure": test.again.first,
                }
                for test in self.tests
                if test.again
            ],
            "failures": [
                {
                    "test": test.id,
                    "host": test.host,
                    "rules": list(test.rules),
                    "message": test.message,
                    "details": test.details,
                }
                for test in self.failures
            ],
        }


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "from a source tree"
