"""The pytest plugin that runs the suite: every test on every host, with a guard against hanging loops."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from inspect import iscoroutinefunction, signature
from math import inf
from pathlib import Path
from time import monotonic
from typing import cast

import pytest

from ..testing import HOSTS, Host
from ._hosts import host_of
from ._rules import RULES

_HOSTS = pytest.StashKey[list[Host]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("interloop")
    group.addoption("--host", action="append", help="a host to run on (default: all that are installed)")
    group.addoption("--rule", action="append", choices=list(RULES), help="a rule to test (default: all)")
    group.addoption("--timeout", type=float, default=30, help="when a test hangs, in seconds (default: 30)")
    group.addoption("--tick", type=float, help="the unit of time of hosts with real time, in seconds")
    group.addoption("--part", metavar="K/N", default="1/1", help="run the K-th of N parts of the tests")
    group.addoption("--after", metavar="TEST", help="begin after this test")
    group.addoption("--events", action="store_true", help="print what happens as lines of JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(*ids, ...): the rules that a test proves")
    if config.getoption("tbstyle", "auto") == "auto":
        config.option.tbstyle = "short"
    config.pluginmanager.register(_HangGuard(cast(float, config.getoption("--timeout"))))
    if config.getoption("--events"):
        config.pluginmanager.register(_Events())
    config.stash[_HOSTS] = _hosts(
        cast("list[str] | None", config.getoption("--host")),
        cast("float | None", config.getoption("--tick")),
    )


def _hosts(names: list[str] | None, tick: float | None) -> list[Host]:
    """One of each for all tests: looking at what a host is made of takes longer than most tests do."""
    try:
        hosts = [host_of(name) for name in names or HOSTS]
    except LookupError as error:
        raise pytest.UsageError(str(error)) from None
    # on PyPy a collection looks at every object there is, which takes as long
    collect = sys.implementation.name == "cpython"
    return [
        replace(host, collect=collect, real_tick=tick or host.real_tick)
        for host in hosts
        if not host.missing()
    ]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    wanted = config.getoption("--rule")
    if not wanted or collection_path.suffix != ".py":
        return None
    # importing a chapter takes longer than most of its rules do
    text = collection_path.read_text(encoding="utf-8")
    return None if any(f'"{rule_id}"' in text for rule_id in wanted) else True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    hosts = metafunc.config.stash[_HOSTS]
    metafunc.parametrize("host", hosts, ids=[host.name for host in hosts])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unmarked = [item.nodeid for item in items if not rules_of(item)]
    if unmarked:
        raise pytest.UsageError(f"without a @rule: {', '.join(unmarked)}")
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:  # another process would not find the test again
        raise pytest.UsageError(f"with an address in the id, give `ids`: {', '.join(unstable)}")
    wanted = set(config.getoption("--rule") or RULES)
    part, parts = map(int, str(config.getoption("--part")).split("/"))
    items[:] = [item for item in items if wanted & set(rules_of(item))][part - 1 :: parts]
    if after := config.getoption("--after"):
        del items[: [item.nodeid for item in items].index(after) + 1]


def rules_of(item: pytest.Item) -> tuple[str, ...]:
    return tuple(rule for mark in item.iter_markers("rule") for rule in mark.args)


def about_alone(item: pytest.Item) -> tuple[str | None, str | None]:
    """The backend and the host that the test is about, if it is about one alone."""
    marks = [mark.kwargs for mark in item.iter_markers("rule")]
    only, host = ([mark[key] for mark in marks if mark[key]] for key in ("only", "host"))
    return next(iter(only), None), next(iter(host), None)


def needs_real_time(item: pytest.Item) -> bool:
    """Whether the test waits for real time, on whatever host it runs."""
    return any(mark.kwargs["real_time"] for mark in item.iter_markers("rule"))


@pytest.fixture
def tick(host: Host) -> float:
    """The unit of time of the host that the test runs on, in seconds."""
    return host.tick


@pytest.fixture(autouse=True)
def _about_this_host(
    request: pytest.FixtureRequest, host: Host, record_property: Callable[[str, object], None]
) -> None:
    record_property("backend", host.backend)
    record_property("versions", host.versions)
    only_backend, only_host = about_alone(request.node)
    if only_backend not in (None, host.backend) or only_host not in (None, host.name):
        pytest.skip(f"about {only_host or only_backend} alone")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if hasattr(gc, "freeze"):  # then the collections below look at this test's own objects alone
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    __tracebackhide__ = True
    arguments = {name: pyfuncitem.funcargs[name] for name in signature(pyfuncitem.obj).parameters}
    if iscoroutinefunction(pyfuncitem.obj):
        cast(Host, pyfuncitem.funcargs["host"]).run(lambda: pyfuncitem.obj(**arguments))
    else:
        pyfuncitem.obj(**arguments)
    return True


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Function) -> None:
    if not iscoroutinefunction(item.obj):  # `Host.run` has done it for these
        gc.collect()  # what is reported when an object is deleted belongs to this test


class _HangGuard:
    """Ends the process when a test takes too long, with the stacks on standard error; likewise for a crash.

    It is C code that does this, since nothing says that a stranger's loop ever lets Python code run again.
    The command runs the tests in processes of their own, and goes on with another one.
    """

    REARM_AFTER = 1.0  # seconds; arming starts a thread, which takes longer than most tests do

    def __init__(self, seconds: float) -> None:
        self._stacks = os.fdopen(os.dup(2), "w")  # pytest captures the original
        self._seconds = seconds
        self._armed = -inf
        faulthandler.enable(self._stacks)

    def pytest_runtest_logstart(self) -> None:
        if monotonic() - self._armed > self.REARM_AFTER:
            self._armed = monotonic()
            seconds = self._seconds + self.REARM_AFTER
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._stacks)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
        self._stacks.close()


class _Events:
    """Tells the command what happens: what there is to run, each start of a test, and each report on one."""

    def __init__(self) -> None:
        self._stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")  # pytest captures the original

    def _tell(self, **event: object) -> None:
        print(json.dumps(event), file=self._stdout, flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(when="broken", what=f"{report.nodeid}\n{report.longreprtext}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tell(
            when="collected",
            tests=[
                {
                    "id": item.nodeid,
                    "rules": rules_of(item),
                    "only": any(about_alone(item)),
                    "real_time": needs_real_time(item),
                }
                for item in session.items
            ],
        )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(test=nodeid, when="start")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell(
            test=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            seconds=report.duration,
            properties=dict(report.user_properties),
            message=_message(report),
            details=str(report.longrepr or ""),
        )

    def pytest_unconfigure(self) -> None:
        self._stdout.close()


def _message(report: pytest.TestReport) -> str:
    """One line that says why a test failed or was skipped."""
    if report.longrepr is None:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).strip().partition("\n")[0]
