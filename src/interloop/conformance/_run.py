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

from ._report import NOT_RUN, HostRun, Report, TestRun

HERE = Path(__file__).parent
MAX_DEATHS = 10
MACHINERY = tuple(f"{os.sep}{package}{os.sep}" for package in ("_pytest", "pluggy"))
USERS_OWN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
ENDED = (0, 1, 5)  # pytest's exit codes when all passed, some failed, or there was none


class SuiteError(Exception):
    """The suite itself could not be run; the text is what pytest said."""


def run_suite(report: Report, timeout: float, on_end: Callable[[TestRun], None]) -> None:
    """Run the tests of the report's rules on its hosts, and fill in the report.

    Each host has a process of its own, which can be lost, and in which it can do as it likes: importing
    trio-asyncio, say, changes asyncio.

    Args:
        timeout: seconds after which a test counts as hanging.
        on_end: called with each test that has ended, from several threads.
    """
    for variable in USERS_OWN:
        os.environ.pop(variable, None)
    suite = [str(HERE), f"--config-file={HERE / 'pytest.ini'}", f"--rootdir={HERE}", f"--timeout={timeout}"]
    suite += [f"--rule={rule}" for rule in report.rules]
    hosts = [host for host in report.hosts.values() if not host.missing]
    # Real time is mostly waiting: what takes it begins first, and the others run beside it.
    processes = [_Process(host, suite, on_end) for host in sorted(hosts, key=lambda host: host.host.virtual)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            for ended in [threads.submit(process.run) for process in processes]:
                ended.result()
        finally:
            for process in processes:
                process.stop()


class _Process:
    """Runs one host's tests in a process, and in another one if that dies."""

    def __init__(self, host: HostRun, suite: list[str], on_end: Callable[[TestRun], None]) -> None:
        self.host = host
        self._command = [sys.executable, "-m", "pytest", *suite, "-pno:terminal", "--events"]
        self._command.append(f"--host={host.host.name}")
        self._on_end = on_end
        self._last: TestRun | None = None
        self._process: Popen[str] | None = None
        self._stopped = False

    def run(self) -> None:
        deaths = 0
        while deaths < MAX_DEATHS and not self._stopped:
            if self._run_process() == "ended":
                return
            deaths += 1
        for test in self.host.waiting():
            test.fail(NOT_RUN, "")

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

        if code in ENDED and not self.host.waiting():
            return "ended"
        if self._last is None or self._last is begun_before:
            raise SuiteError(f"pytest ended with exit code {code} on {self.host.host.name}\n{said}")
        stacks = [line for line in said.splitlines() if not any(part in line for part in MACHINERY)]
        cause = stacks[0] if stacks else f"the process ended with exit code {code}"
        self._last.fail(cause, "\n".join(stacks))
        self._on_end(self._last)
        return "died"

    def _note(self, when: str, **event: Any) -> None:
        if when == "broken":
            raise SuiteError(event["what"])
        if when == "collected":
            for test in event["tests"]:
                self.host.tests.setdefault(test["id"], TestRun(host=self.host.host.name, **test))
            return
        self._last = run = self.host.tests[event["test"]]
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
        run.repeated = properties.get("repeated", False)
        if when == "teardown":
            self._on_end(run)
