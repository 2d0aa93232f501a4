"""`python -m interloop.conformance`: exit codes, options, reports; hosts that fail, hang or are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import interloop.conformance as conformance_suite

CONFORMS, FAILED, USAGE = 0, 1, 2
TESTS_OF_W2 = 10

HOSTS = dedent(
    """
    import asyncio, os, pathlib, time

    def good(async_fn):
        with asyncio.Runner() as runner:
            runner.run(async_fn())

    def forgetful(async_fn):
        pass

    def fails_w2(async_fn):
        import interloop.conformance.test_waiting as suite

        async def lenient(seconds):
            pass

        suite.sleep = lenient
        good(async_fn)

    def declares_w2(async_fn):
        fails_w2(async_fn)

    declares_w2.deviations = {"W2": "it takes any number"}

    def declares_in_vain(async_fn):
        good(async_fn)

    declares_in_vain.deviations = {"W2": "it took any number once", "W1": "not looked at"}

    def declares_no_rule(async_fn):
        good(async_fn)

    declares_no_rule.deviations = {"W2": "it takes any number", "W77": "no such rule"}

    def once(name):
        try:
            pathlib.Path(name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def in_the_test_with_nan():
        return "-nan] (call)" in os.environ["PYTEST_CURRENT_TEST"]

    def hangs(async_fn):
        if in_the_test_with_nan():
            time.sleep(600)
        good(async_fn)

    def hangs_once(async_fn):
        if in_the_test_with_nan() and once("hung"):
            time.sleep(600)
        good(async_fn)

    def is_late_once(async_fn):
        if in_the_test_with_nan() and once("was_late"):
            raise OSError("too much else to do")
        good(async_fn)

    def is_late(async_fn):
        if in_the_test_with_nan():
            raise OSError("too much else to do")
        good(async_fn)

    def dies_once(async_fn):
        if once("died"):
            os._exit(0)
        good(async_fn)

    def always_dies(async_fn):
        os._exit(7)

    no_function = 7
    """
)


# In every process, before anything else.
ON_A_BUSY_MACHINE = """
import sys
from their_hosts import in_the_test_with_nan, once
import interloop.testing._hosts as hosts

class LateOnce(hosts.VirtualTimeLoop):
    def __init__(self):
        if in_the_test_with_nan() and once("was_late"):
            raise OSError("too much else to do")
        super().__init__()

hosts.VirtualTimeLoop = LateOnce
if sys.orig_argv[-1].endswith("program.py") and once("a_process_was_late"):
    sys.exit("too much else to do")
"""


def conformance(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "their_hosts.py").write_text(HOSTS)
    command = [sys.executable, "-m", "interloop.conformance", *options]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory.parent / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of these runs compiles the suite anew
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def report_of(directory: Path, *options: str) -> tuple[int, dict[str, Any]]:
    run = conformance(directory, "--rule", "W2", *options, "--json", "report.json")
    return run.returncode, json.loads((directory / "report.json").read_text())


def test_a_host_that_conforms(tmp_path: Path) -> None:
    run = conformance(tmp_path, "--host", "asyncio", "--rule", "W2")
    assert run.returncode == CONFORMS, run.stderr
    assert run.stdout.splitlines()[-1] == f"{TESTS_OF_W2} passed, 0 failed"


def test_several_hosts_and_rules(tmp_path: Path) -> None:
    options = ["--host", "asyncio", "--host", "their_hosts:good", "--rule", "W1"]
    code, report = report_of(tmp_path, *options)
    assert code == CONFORMS
    assert list(report["hosts"]) == ["asyncio", "their_hosts:good"]
    assert list(report["rules"]) == ["W1", "W2"]
    assert {cell["outcome"] for hosts in report["cells"].values() for cell in hosts.values()} == {"passed"}


def test_a_strangers_host(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:good")
    assert code == CONFORMS
    host = report["hosts"]["their_hosts:good"]
    assert (host["backend"], host["virtual_time"], host["deviations"]) == ("asyncio", False, {})


def test_a_broken_host_fails(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:fails_w2")
    assert code == FAILED
    assert not report["conforms"]
    assert report["cells"]["W2"]["their_hosts:fails_w2"]["outcome"] == "failed"
    test = "test_waiting.py::test_a_negative_or_nan_sleep_is_refused[their_hosts:fails_w2-nan]"
    [failure] = [failure for failure in report["failures"] if failure["test"] == test]
    assert failure["rules"] == ["W2"]
    assert "DID NOT RAISE" in failure["message"]
    assert "await sleep(seconds)" in failure["details"] or "with pytest.raises" in failure["details"]


def test_failures_are_named_with_their_cause(tmp_path: Path) -> None:
    run = conformance(tmp_path, "--host", "their_hosts:fails_w2", "--rule", "W2")
    assert run.returncode == FAILED
    assert f"FAIL {TESTS_OF_W2 - 1}" in run.stdout
    assert "test_sleeping_until_nan_is_refused" not in run.stdout
    assert "test_a_negative_or_nan_sleep_is_refused[their_hosts:fails_w2-nan]  W2" in run.stdout
    assert "DID NOT RAISE" in run.stdout
    assert run.stdout.splitlines()[-1] == f"1 passed, {TESTS_OF_W2 - 1} failed"


def test_a_declared_deviation_is_no_failure(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:declares_w2")
    assert code == CONFORMS
    cell = report["cells"]["W2"]["their_hosts:declares_w2"]
    assert (cell["outcome"], cell["reason"]) == ("deviates", "it takes any number")
    assert cell["failed"] == TESTS_OF_W2 - 1


def test_a_declared_deviation_whose_tests_all_pass_is_warned_of(tmp_path: Path) -> None:
    name = "their_hosts:declares_in_vain"
    run = conformance(
        tmp_path, "--host", name, "--rule", "W2", "--json", "report.json", "--html", "page.html"
    )
    assert run.returncode == CONFORMS
    warning = f"warning: W2 on {name} is declared as a deviation, but every test of it passes"
    assert warning in run.stdout
    assert "warning: W1" not in run.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["needless_deviations"] == [{"host": name, "rule": "W2"}]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("but every test of it passes") == 1


def test_a_host_that_never_runs_the_function(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:forgetful")
    assert code == FAILED
    assert report["cells"]["W2"]["their_hosts:forgetful"]["passed"] == 0
    assert "the host returned before the async function had ended" in report["failures"][0]["message"]


def test_a_test_that_hangs_fails_and_the_others_run(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:hangs", "--timeout", "10")
    assert code == FAILED
    assert report["cells"]["W2"]["their_hosts:hangs"]["passed"] == TESTS_OF_W2 - 1
    [failure] = report["failures"]
    assert failure["message"] == "Timeout (0:00:11)!"
    assert "in hangs" in failure["details"]


def test_a_process_that_dies_is_a_failure_and_the_others_run(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:dies_once")
    assert code == FAILED
    assert report["cells"]["W2"]["their_hosts:dies_once"]["passed"] == TESTS_OF_W2 - 1
    assert [failure["message"] for failure in report["failures"]] == ["the process ended with exit code 0"]


LATE = "test_waiting.py::test_a_negative_or_nan_sleep_is_refused[their_hosts:is_late_once-nan]"


def test_a_test_in_real_time_that_failed_is_run_again_alone(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:is_late_once")
    assert code == CONFORMS
    assert report["cells"]["W2"]["their_hosts:is_late_once"]["passed"] == TESTS_OF_W2
    [again] = report["run_again"]
    assert (again["test"], again["outcome"], again["tick"]) == (LATE, "passed", 0.2)
    assert again["first_failure"] == "OSError: too much else to do"


def test_the_report_says_which_tests_were_run_again(tmp_path: Path) -> None:
    options = ["--host", "their_hosts:is_late_once", "--rule", "W2", "--html", "page.html"]
    run = conformance(tmp_path, *options)
    assert run.returncode == CONFORMS
    how = "passed when run again alone with a tick of 0.2 s; at first: OSError: too much else to do"
    assert f"run again: {LATE}: {how}" in run.stdout
    assert f"<code>{LATE}</code>: {how}" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_test_that_fails_again_is_a_failure(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:is_late")
    assert code == FAILED
    [failure], [again] = report["failures"], report["run_again"]
    assert failure["test"] == again["test"]
    assert again["outcome"] == "failed"


def test_a_test_that_hung_once_is_run_again(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:hangs_once", "--timeout", "10")
    assert code == CONFORMS
    assert [again["first_failure"] for again in report["run_again"]] == ["Timeout (0:00:11)!"]


def test_a_test_in_virtual_time_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_busy_machine(tmp_path, monkeypatch)
    code, report = report_of(tmp_path, "--host", "asyncio")
    assert code == FAILED
    assert [failure["message"] for failure in report["failures"]] == ["OSError: too much else to do"]
    assert report["run_again"] == []


def test_a_test_that_waits_for_a_process_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_busy_machine(tmp_path, monkeypatch)
    run = conformance(tmp_path, "--host", "asyncio", "--rule", "N6", "--json", "report.json")
    assert run.returncode == CONFORMS
    [again] = json.loads((tmp_path / "report.json").read_text())["run_again"]
    assert (again["rules"], again["tick"]) == (["N6"], None)


def on_a_busy_machine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "sitecustomize.py").write_text(ON_A_BUSY_MACHINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(directory), *sys.path]))


def test_the_tick_of_hosts_with_real_time_can_be_set(tmp_path: Path) -> None:
    test = """
        from interloop.conformance import rule

        @rule("W1")
        def test_the_tick(host, tick):
            assert tick == (1.0 if host.virtual else 0.125)
        """
    run = with_plain_pytest(tmp_path, test, "--host=asyncio", "--host=their_hosts:good", "--tick=0.125")
    assert "2 passed" in run.stdout


def test_a_host_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:always_dies", "--rule", "G10")
    assert code == FAILED
    messages = Counter(failure["message"] for failure in report["failures"])
    assert messages.keys() == {"the process ended with exit code 7", "not run: the host had to be given up"}
    assert 10 <= messages["the process ended with exit code 7"] <= 17  # eight processes at once


def test_a_host_that_is_not_installed_is_listed_and_never_passes(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError('not here', name='uvloop')")
    code, report = report_of(tmp_path)
    assert code == CONFORMS
    assert report["hosts"]["uvloop"]["missing"] == "uvloop is not installed"
    assert report["cells"]["W2"]["uvloop"] == {
        "outcome": "not installed",
        "passed": 0,
        "failed": 0,
        "skipped": 0,
        "reason": "uvloop is not installed",
    }


def test_asking_for_a_host_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('built for another Python')")
    run = conformance(tmp_path, "--host", "uvloop")
    assert run.returncode == USAGE
    assert "the host 'uvloop' cannot run here: uvloop cannot be imported: ImportError(" in run.stderr


def test_a_rule_about_the_other_backend_is_not_counted(tmp_path: Path) -> None:
    code, report = report_of(tmp_path, "--host", "their_hosts:good", "--rule", "N4")
    assert code == CONFORMS
    cell = report["cells"]["N4"]["their_hosts:good"]
    assert (cell["outcome"], cell["passed"]) == ("not about this host", 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "twisted"], "no host 'twisted'; there are asyncio, asyncio-debug, "),
        (["--host", "no_such_module:run"], "cannot import the host 'no_such_module:run'"),
        (["--host", "their_hosts:nothing"], "cannot import the host 'their_hosts:nothing'"),
        (["--host", "their_hosts:no_function"], "'their_hosts:no_function' is 7, which cannot be called"),
        (
            ["--host", "their_hosts:declares_no_rule"],
            "'their_hosts:declares_no_rule' declares deviations: no such rule: W77; there are D1, D2, ",
        ),
        (["--rule", "Z9"], "no rule 'Z9'; there are D1, D2, "),
        (["--timeout", "0"], "'0' is not a positive number of seconds"),
        (["--timeout", "soon"], "'soon' is not a positive number of seconds"),
        (["--json", "no/such/directory.json"], "cannot write 'no/such/directory.json'"),
        (["--html", "."], "cannot write '.'"),
    ],
)
def test_bad_usage(tmp_path: Path, options: list[str], message: str) -> None:
    run = conformance(tmp_path, *options)
    assert run.returncode == USAGE
    assert message in run.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    program = """
        import runpy, sys
        sys.modules["rich"] = sys.modules["jinja2"] = None
        runpy.run_module("interloop.conformance", run_name="__main__")
    """
    run = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=False)
    assert run.returncode == USAGE
    assert run.stderr == "not installed: jinja2, rich; pip install 'interloop[conformance]'\n"


def test_the_users_configuration_is_not_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('the conftest of the user')")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    code, _ = report_of(tmp_path, "--host", "asyncio")
    assert code == CONFORMS


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def test_it(): pass", "without a @rule: test_it.py::test_it[asyncio]"),
        (
            """
            import pytest
            from interloop.conformance import rule

            @rule("G1")
            @pytest.mark.parametrize("value", [object()], ids=repr)
            def test_it(value): pass
            """,
            "with an address in the id, give `ids`: test_it.py::test_it[asyncio-<object object at 0x",
        ),
        (
            """
            from interloop.conformance import rule

            @rule("G0")
            def test_it(): pass
            """,
            "ValueError: no such rule: G0; there are D1, ",
        ),
    ],
)
def test_a_test_that_could_not_be_reported_on_is_refused(tmp_path: Path, test: str, message: str) -> None:
    run = with_plain_pytest(tmp_path, test, "--host=asyncio")
    assert run.returncode in (2, 4)
    assert message in run.stdout + run.stderr


def with_plain_pytest(directory: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "their_hosts.py").write_text(HOSTS)
    (directory / "test_it.py").write_text(dedent(test))
    configuration = Path(conformance_suite.__file__).parent / "pytest.ini"
    fixed = [f"--config-file={configuration}", f"--rootdir={directory}"]
    command = [sys.executable, "-m", "pytest", *fixed, *options, "test_it.py"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_the_page(tmp_path: Path) -> None:
    class Page(HTMLParser):
        """What a page refers to, and the text and the class of each cell of the matrix."""

        def __init__(self) -> None:
            super().__init__()
            self.ids: set[str] = set()
            self.links: set[str] = set()
            self.elements: set[str] = set()
            self.cells: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes = dict(attrs)
            self.elements.add(tag)
            self.ids.add(attributes.get("id") or "")
            self.links.add(attributes.get("href") or "")
            if "cell" in (attributes.get("class") or "").split():
                self.cells.append(attributes["title"] or "")

    run = conformance(
        tmp_path,
        *("--host", "asyncio", "--host", "their_hosts:fails_w2", "--host", "their_hosts:declares_w2"),
        *("--rule", "W2", "--html", "page.html"),
    )
    assert run.returncode == FAILED
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.links - {""} == {"#W2-their_hosts:fails_w2"}
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    assert not page.elements & {"link", "script", "img"}
    assert [cell.split("\n")[0] for cell in page.cells] == [
        "W2 on asyncio: passed",
        "W2 on their_hosts:fails_w2: failed",
        "W2 on their_hosts:declares_w2: deviates: it takes any number",
    ]
    assert "W2 on their_hosts:declares_w2: it takes any number" in text
    assert "DID NOT RAISE" in text
