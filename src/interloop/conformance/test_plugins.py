"""Chapter N, test plugins: each runs a small suite in a process where no other plugin is loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from interloop.conformance import rule

SUITE = """
import pytest

from interloop import (
    checkpoint, current_backend, deadline, get_cancelled_exc_class, shield, sleep, sleep_forever, task_group,
)

{mark}


async def answer():
    await sleep(0.01)
    return 42


async def fail():
    raise OSError("no route")


async def test_a_group_waits_for_its_children():
    async with task_group() as tg:
        task = tg.create_task(answer())
    assert task.result() == 42


async def test_errors_come_in_one_group():
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(fail())
            waiting = tg.create_task(sleep_forever())
    assert [type(error) for error in caught.value.exceptions] == [OSError]
    assert waiting.cancelled()


async def test_a_group_is_cancelled():
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        tg.cancel()
    assert task.cancelled()
    await checkpoint()


async def test_a_deadline_expires():
    with pytest.raises(TimeoutError):
        async with deadline(0.01):
            await sleep_forever()
    await checkpoint()


async def test_a_deadline_that_nobody_was_told_of_leaves_nothing():
    async with deadline(0) as limit:
        pass
    assert limit.expired()
    await checkpoint()


async def test_a_shield_completes():
    results = []
    with deadline(0, suppress=True):
        results.append(await shield(answer()))
        await checkpoint()
        results.append("not reached")
    assert results == [42]


async def test_clean_up_is_done_whole():
    steps = []
    with deadline(0.01, suppress=True):
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            steps.append(await shield(answer()))
            raise
    assert steps == [42]


async def test_the_backend():
    assert current_backend() == {backend!r}


# Scopes that are opened and left in one part of a fixture.


@pytest.fixture
async def resource():
    async with deadline(60), task_group() as tg:
        task = tg.create_task(answer())
    yield task.result()
    with deadline(0.01, suppress=True):
        await sleep_forever()
    await checkpoint()


async def test_scopes_in_a_fixture(resource):
    assert resource == 42


@pytest.fixture
async def result():
    async with deadline(60), task_group() as tg:
        return await tg.create_task(answer())


async def test_scopes_in_a_fixture_that_returns(result):
    assert result == 42
"""

AROUND_A_FIXTURE = """
import pytest

from interloop import deadline, sleep, sleep_forever, task_group

{mark}


async def answer():
    await sleep(0.01)
    return 42


@pytest.fixture
async def group():
    async with task_group() as tg:
        tg.create_task(sleep_forever())
        yield tg
        tg.cancel()


@pytest.fixture
async def limit():
    async with deadline(60) as limit:
        yield limit


async def test_a_group_around_a_fixture(group):
    assert await group.create_task(answer()) == 42


async def test_a_deadline_around_a_fixture(limit):
    await sleep(0.01)
    assert not limit.expired()


async def test_both(group, limit):
    assert await group.create_task(answer()) == 42
"""

FAILING = """
import pytest

from interloop import deadline, sleep_forever, task_group

{mark}


async def fail():
    raise OSError("no route")


async def test_an_error():
    async with task_group() as tg:
        tg.create_task(fail())


async def test_a_timeout():
    async with deadline(0.01):
        await sleep_forever()
"""


@dataclass(frozen=True)
class Plugin:
    name: str
    module: str
    backend: str
    ini: str = ""
    mark: str = ""

    def run(self, directory: Path, suite: str) -> subprocess.CompletedProcess[str]:
        """What pytest says of `suite` under this plugin."""
        if find_spec(self.module.partition(".")[0]) is None:
            pytest.skip(f"{self.name} is not installed")
        (directory / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{self.ini}\n", "utf-8")
        (directory / "test_it.py").write_text(suite.format(mark=self.mark, backend=self.backend), "utf-8")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", self.module, "-p", "no:cacheprovider"],
            cwd=directory,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )


def counts(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many tests ended how, from pytest's last line."""
    last_line = run.stdout.rstrip().rpartition("\n")[2]
    return {outcome: int(count) for count, outcome in re.findall(r"(\d+) (passed|failed|error)", last_line)}


def anyio_plugin(backend: str) -> Plugin:
    mark = f"""
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return {backend!r}
"""
    return Plugin(f"anyio on {backend}", "anyio.pytest_plugin", backend, mark=mark)


PYTEST_TRIO = Plugin("pytest-trio", "pytest_trio.plugin", "trio", ini="trio_mode = true")
PYTEST_ASYNCIO = Plugin(
    "pytest-asyncio",
    "pytest_asyncio.plugin",
    "asyncio",
    ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function",
)
PLUGINS = [anyio_plugin("asyncio"), anyio_plugin("trio"), PYTEST_ASYNCIO, PYTEST_TRIO]

each_plugin: pytest.MarkDecorator = pytest.mark.parametrize(
    "plugin",
    [
        pytest.param(plugin, id=plugin.name, marks=rule("N7", host=plugin.backend, real_time=True))
        for plugin in PLUGINS
    ],
)


@each_plugin
def test_scopes_in_tests_and_in_fixtures(plugin: Plugin, tmp_path: Path) -> None:
    run = plugin.run(tmp_path, SUITE)
    assert counts(run) == {"passed": 10}, run.stdout


@each_plugin
def test_a_failing_test_shows_what_the_contract_says(plugin: Plugin, tmp_path: Path) -> None:
    run = plugin.run(tmp_path, FAILING)
    assert counts(run) == {"failed": 2}, run.stdout
    assert "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)" in run.stdout
    assert "OSError: no route" in run.stdout
    assert "TimeoutError" in run.stdout or "DeadlineExceeded" in run.stdout


@each_plugin
def test_a_scope_around_the_yield_of_a_fixture(plugin: Plugin, tmp_path: Path) -> None:
    run = plugin.run(tmp_path, AROUND_A_FIXTURE)
    if plugin is PYTEST_ASYNCIO:  # it leaves a fixture in another task than it entered it in (G9, L6)
        assert "was entered in task" in run.stdout
        assert "is being left in task" in run.stdout
        assert counts(run)["error"] >= 2
    else:
        assert counts(run) == {"passed": 3}, run.stdout
