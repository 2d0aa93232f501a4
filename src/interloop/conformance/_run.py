"""Run the suite: each host's tests in a process of its own, with pytest."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import Any, Literal

from ._report import NOT_RUN, Again, HostRun, Report, TestRun

HERE = Path(__file__).parent
MAX_DEATHS = 10  # of a host's processes; then it is given up
REAL_TIME_PARTS = 8
AGAIN_MAX = 50  # tests of a host; where more fail, it is not the machine that was too busy
AGAIN_TICKS = 4  # a test that is run again has so much more time
MACHINERY = tuple(f"{os.sep}{package}{os.sep}" for package in ("_pytest", "pluggy"))
USERS_OWN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
ENDED = (0, 1, 5)  # pytest's exit codes when all passed, some failed, or there was none


class SuiteError(Exception):
    """The suite itself could not be run; the text is what pytest said."""


def run_suite(report: Report, timeout: float, on_end: Callable[[TestRun], None]) -> None:
    """Run the tests of the report's rules on its hosts, and fill in the report.

    Each host has a process of its own, which can be lost, and in which it can do as it likes: importing
    trio-asyncio, say, changes asyncio. Where time is real it has several: they mostly wait.

    Args:
        timeout: seconds after which a test counts as hanging.
        on_end: called with each test that has ended, from several threads.
    """
    for variable in USERS_OWN:
        os.environ.pop(variable, None)
    suite = [str(HERE), f"--config-file={HERE / 'pytest.ini'}", f"--rootdir={HERE}", f"--timeout={timeout}"]
    suite += [f"--rule={rule}" for rule in report.rules]
    hosts = [host for host in report.hosts.values() if not host.missing]
    in_real_time = [
        _Process(host, [*suite, f"--part={part + 1}/{REAL_TIME_PARTS}"], on_end)
        for host in hosts
        if not host.host.virtual
        for part in range(REAL_TIME_PARTS)
    ]
    busy = [_Process(host, suite, on_end) for host in hosts if host.host.virtual]
    processes = in_real_time + busy
    waiting, computing = ThreadPoolExecutor(REAL_TIME_PARTS), ThreadPoolExecutor(os.cpu_count())
    with waiting, computing:
        try:
            runs = [waiting.submit(process.run) for process in in_real_time]
            runs += [computing.submit(process.run) for process in busy]
            for ended in runs:
                ended.result()
        finally:
            for process in processes:
                process.stop()
    for host in hosts:
        _run_again(report, host, suite[1:], on_end)


def _run_again(report: Report, host: HostRun, options: list[str], on_end: Callable[[TestRun], None]) -> None:
    """Run those tests of a host again that may have failed for want of time, with nothing beside them."""
    failed = [
        test
        for test in report.failures
        if test.host == host.host.name and (test.real_time or not host.host.virtual) and not test.crashed
    ]
    if not failed or len(failed) > AGAIN_MAX or host.deaths >= MAX_DEATHS:
        return
    tick = None if host.host.virtual else AGAIN_TICKS * host.host.real_tick
    if tick is not None:
        options = [*options, f"--tick={tick}"]
    process = _Process(host, [*(str(HERE / test.id) for test in failed), *options], on_end)
    try:
        process.run()
    finally:
        process.stop()
    for test in failed:
        host.tests[test.id].again = Again(tick, test.message)


class _Process:
    """Runs a host's tests, or a part of them, in a process, and in another one if that dies."""

    def __init__(self, host: HostRun, suite: list[str], on_end: Callable[[TestRun], None]) -> None:
        self.host = host
        self._command = [sys.executable, "-m", "pytest", *suite, "-pno:terminal", "--events"]
        self._command.append(f"--host={host.host.name}")
        self._on_end = on_end
        self._tests: dict[str, TestRun] = {}
        self._last: TestRun | None = None
        self._process: Popen[str] | None = None
        self._stopped = False

    def run(self) -> None:
        while self.host.deaths < MAX_DEATHS and not self._stopped:
            if self._run_process() == "ended":
                return
            self.host.deaths += 1
        for test in self._waiting():
            test.fail(NOT_RUN, "")

    def _waiting(self) -> list[TestRun]:
        return [test for test in self._tests.values() if test.outcome == "waiting"]

    def stop(self) -> None:
        self._stopped = True
        if self._process:
            self._process.kill()

    def _run_process(self) -> Literal["ended", "died"]:
        """Run the tests that follow the last one that was begun."""
        begun_before = self._last
        command = [*self._command, *([f"--after={self._last.id}"] if self._last else [])]
        with (
            TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
            Popen(command, stdout=PIPE, stderr=stderr, encoding="utf-8", errors="replace") as process,
        ):
            self._process = process
            assert process.stdout
            for line in process.stdout:
                self._note(**json.loads(line))
            code = process.wait()
            stderr.seek(0)
            said = stderr.read()

        if code in ENDED and not self._waiting():
            return "ended"
        if self._last is None or self._last is begun_before:
            raise SuiteError(f"pytest ended with exit code {code} on {self.host.host.name}\n{said}")
        stacks = [line for line in said.splitlines() if not any(part in line for part in MACHINERY)]
        cause = stacks[0] if stacks else f"the process ended with exit code {code}"
        self._last.fail(cause, "\n".join(stacks))
        self._last.crashed = not cause.startswith("Timeout (")  # the words of faulthandler
        self._on_end(self._last)
        return "died"

    def _note(self, when: str, **event: Any) -> None:
        if when == "broken":
            raise SuiteError(event["what"])
        if when == "collected":
            for test in event["tests"]:
                self._tests.setdefault(test["id"], TestRun(host=self.host.host.name, **test))
            self.host.tests |= self._tests
            return
        self._last = run = self._tests[event["test"]]
        if when == "start":
            return
        run.seconds += event["seconds"]
        if event["outcome"] == "failed":
            run.fail(event["message"], event["details"])
        elif event["outcome"] == "skipped":
            run.outcome, run.message = "skipped", event["message"]
        elif when == "call":
            run.outcome = "passed"
        properties = event["properties"]
        self.host.backend = properties.get("backend", self.host.backend)
        self.host.versions = properties.get("versions", self.host.versions)
        if when == "teardown":
            self._on_end(run)
