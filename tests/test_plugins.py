"""Virtual time under the test plugins of anyio, trio and asyncio, by the recipes of docs/testing.md.

Each plugin runs the suite below in a process of its own, where no other plugin is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import pytest

pytest_plugins = ["pytester"]

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


def test_virtual_time(plugin: Plugin, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = plugin.run(pytester, monkeypatch, IN_VIRTUAL_TIME)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (3 * len(plugin.backends), len(plugin.backends))
    result.stdout.fnmatch_lines(
        ["*nothing can happen any more*", "*in test_what_waits_for_ever: await sleep_forever()*"]
    )
