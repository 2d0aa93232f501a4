"""N7: the rules hold under the test plugins of anyio, trio and asyncio.

Each plugin runs the suite below in a process of its own, where no other plugin is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import pytest

pytest_plugins = ["pytester"]

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
    assert current_backend() in {backends}


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


IN_VIRTUAL_TIME = """
import pytest

from interloop import current_time, deadline, sleep, sleep_forever

{mark}
{virtual_time}

DAY = 24 * 60 * 60


@pytest.fixture
async def a_day_later():
    await sleep(DAY)
    yield current_time()
    await sleep(DAY)


async def test_a_day(autojump_clock):
    assert current_time() == 0
    await sleep(DAY)
    assert current_time() == DAY


async def test_a_day_of_a_fixture(autojump_clock, a_day_later):
    assert a_day_later == DAY
    with deadline(DAY, suppress=True):
        await sleep_forever()
    assert current_time() == 2 * DAY


async def test_what_waits_for_ever(autojump_clock, a_day_later):
    await sleep_forever()


async def test_one_more_day(autojump_clock):
    assert current_time() == 0
    await sleep(DAY)
"""

NO_CLOCK = """
@pytest.fixture
def autojump_clock():
    pass  # pytest-trio's name for it; the other plugins need none
"""


@dataclass
class Plugin:
    name: str
    module: str
    ini: str = ""
    mark: str = ""
    virtual_time: str = ""  # what makes time virtual, as docs/testing.md has it
    conftest: str = ""
    backends: tuple[str, ...] = ("asyncio",)

    def run(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, suite: str) -> pytest.RunResult:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{self.ini}\n")
        pytester.makeconftest(self.conftest)
        pytester.makepyfile(
            suite.format(mark=self.mark, backends=self.backends, virtual_time=self.virtual_time)
        )
        return pytester.runpytest_subprocess("-p", self.module, "-p", "no:cacheprovider")


PLUGINS = [
    Plugin(
        "anyio",
        "anyio.pytest_plugin",
        mark="pytestmark = pytest.mark.anyio",
        virtual_time="""
from interloop.testing import anyio_backends

@pytest.fixture(params=anyio_backends(virtual_time=True))
def anyio_backend(request):
    return request.param
"""
        + NO_CLOCK,
        backends=("asyncio", "trio"),
    ),
    Plugin(
        "pytest-trio",
        "pytest_trio.plugin",
        ini="trio_mode = true",
        virtual_time="""
from interloop.testing import virtual_clock

@pytest.fixture
def autojump_clock():
    return virtual_clock()
""",
        backends=("trio",),
    ),
    Plugin(
        "pytest-asyncio",
        "pytest_asyncio.plugin",
        ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function",
        virtual_time=NO_CLOCK,
        conftest="""
from interloop.testing import VirtualTimeLoop

def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualTimeLoop}
""",
    ),
]


@pytest.fixture(params=PLUGINS, ids=lambda plugin: plugin.name)
def plugin(request: pytest.FixtureRequest) -> Plugin:
    plugin: Plugin = request.param
    if find_spec(plugin.module.partition(".")[0]) is None:
        pytest.skip(f"{plugin.name} is not installed")
    return plugin


def test_scopes_in_tests_and_in_fixtures(
    plugin: Plugin, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.run(pytester, monkeypatch, SUITE).assert_outcomes(passed=10 * len(plugin.backends))


def test_a_failing_test_shows_what_the_contract_says(
    plugin: Plugin, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = plugin.run(pytester, monkeypatch, FAILING)
    result.assert_outcomes(failed=2 * len(plugin.backends))
    result.stdout.fnmatch_lines_random(
        ["*ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)*", "*OSError: no route*"]
    )
    assert "TimeoutError" in result.stdout.str() or "DeadlineExceeded" in result.stdout.str()


def test_a_scope_around_the_yield_of_a_fixture(
    plugin: Plugin, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = plugin.run(pytester, monkeypatch, AROUND_A_FIXTURE)
    if plugin.name == "pytest-asyncio":  # it leaves a fixture in another task than it entered it in (G9, L6)
        assert "was entered in task" in result.stdout.str()
        assert "is being left in task" in result.stdout.str()
        assert result.parseoutcomes()["errors"] >= 2
    else:
        result.assert_outcomes(passed=3 * len(plugin.backends))


def test_virtual_time(plugin: Plugin, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = plugin.run(pytester, monkeypatch, IN_VIRTUAL_TIME)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (3 * len(plugin.backends), len(plugin.backends))
    result.stdout.fnmatch_lines(
        ["*nothing can happen any more*", "*in test_what_waits_for_ever: await sleep_forever()*"]
    )
