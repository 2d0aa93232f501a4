"""Run CPython's own tests of task groups and timeouts with interloop in the place of the native names.

Where the contract departs from asyncio, a test fails: departures.toml lists it with the rule. A failure that
is not listed there is an error, and so is a listed test that passes.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import tomllib
import unittest
from importlib import import_module
from pathlib import Path
from types import ModuleType

from interloop import Deadline, deadline, task_group

DEPARTURES = tomllib.loads(Path(__file__).with_name("departures.toml").read_text("utf-8"))["departure"]
MODULES = ("test_taskgroups", "test_timeouts")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def timeout_at(when: float | None) -> Deadline:
    return deadline(at=when)


def asyncio_with_interloop() -> ModuleType:
    """A copy of the package for the tests alone: interloop itself goes on with the real one."""
    taskgroups = ModuleType("asyncio.taskgroups")
    vars(taskgroups).update(vars(asyncio.taskgroups), TaskGroup=task_group)
    package = ModuleType("asyncio")
    vars(package).update(
        vars(asyncio), taskgroups=taskgroups, TaskGroup=task_group, timeout=deadline, timeout_at=timeout_at
    )
    return package


def run(modules: list[ModuleType]) -> tuple[set[str], dict[str, str]]:
    """The tests of `modules` by name, and the traces of those that failed."""
    package = asyncio_with_interloop()
    suite = unittest.TestSuite()
    for module in modules:
        vars(module)["asyncio"] = package
        if hasattr(module, "taskgroups"):
            vars(module)["taskgroups"] = package.taskgroups
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    names = {short_name(test) for test in flat(suite)}
    result = unittest.TestResult()
    suite.run(result)
    return names, {short_name(test): trace for test, trace in (*result.failures, *result.errors)}


def flat(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    return [
        test for item in suite for test in (flat(item) if isinstance(item, unittest.TestSuite) else [item])
    ]


def short_name(test: unittest.TestCase) -> str:
    return test.id().removeprefix("test.test_asyncio.")


def main() -> int:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        modules = [import_module(f"test.test_asyncio.{name}") for name in MODULES]
    except ModuleNotFoundError as error:
        print(f"{python} does not carry its own tests ({error}): nothing to run")
        return 0

    names, failed = run(modules)
    departing: set[str] = set()
    for departure in DEPARTURES:
        if PYTHON in departure.get("pythons", [PYTHON]) and (here := names.intersection(departure["tests"])):
            departing |= here
            print(f"{departure['rule']}: {departure['reason']}", *sorted(here), sep="\n    ")

    unlisted = failed.keys() - departing
    for name in sorted(unlisted):
        print(f"\nFAILED {name}\n{failed[name]}")
    outdated = departing - failed.keys()
    for name in sorted(outdated):
        print(f"\nPASSED {name}, which departures.toml lists for {PYTHON}")

    wrong = len(unlisted | outdated)
    print(f"{python}: {len(departing)} of its {len(names)} tests depart by a rule; of the others:")
    print(f"{len(names - departing - unlisted)} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
