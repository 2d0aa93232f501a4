"""Every example in the README and the docs runs, and what they say about the code is so.

Each python block is executed, and can use what those above it on its page defined; one that defines
`async def main()` then runs it on asyncio and on trio, in virtual time, and each `def test_...():` is run.
`urls` are pages of a local server.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import interloop
import interloop.abc
import interloop.testing

pytest.importorskip("sybil", reason="the group `docs` is not installed")
pytest.importorskip("httpx")
trio = pytest.importorskip("trio")
trio_testing = pytest.importorskip("trio.testing")

from sybil import Document  # noqa: E402
from sybil.example import Example  # noqa: E402
from sybil.parsers.myst import CodeBlockParser  # noqa: E402

from interloop.conformance._rules import RULES  # noqa: E402
from interloop.testing import HOSTS, CancellationFailure, run  # noqa: E402

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
HOWTO = ROOT / "docs" / "howto"
PAGES = {
    path.relative_to(ROOT).as_posix(): list(Document.parse(str(path), CodeBlockParser("python")).examples())
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(HOWTO.glob("*.md"))]
}

Run: TypeAlias = Callable[[Callable[[], Any]], None]
NamespaceAfter: TypeAlias = Callable[[str, int], dict[str, Any]]


def run_on_asyncio(main: Callable[[], Any]) -> None:
    run(main, host="asyncio", virtual_time=True)


def run_on_trio(main: Callable[[], Any]) -> None:
    run(main, host="trio", virtual_time=True)


def as_it_is(main: Callable[[], Any]) -> None:
    pass


def examples() -> Iterator[Any]:
    for page, blocks in PAGES.items():
        for number, block in enumerate(blocks, start=1):
            has_main = "async def main(" in block.parsed
            for run_main in [run_on_asyncio, run_on_trio] if has_main else [as_it_is]:
                yield pytest.param(page, number, run_main, id=f"{page}:{block.line}-{run_main.__name__}")


@pytest.fixture(scope="session")
def urls() -> Iterator[list[str]]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from demo import local_site
    finally:
        sys.path.remove(str(EXAMPLES))
    with local_site() as urls:
        yield urls


@pytest.fixture(scope="session")
def namespace_after(urls: list[str]) -> NamespaceAfter:
    @cache
    def after(page: str, count: int) -> dict[str, Any]:
        if count == 0:
            return {"urls": urls}
        namespace = dict(after(page, count - 1))
        execute(PAGES[page][count - 1], namespace)
        return namespace

    return after


def execute(example: Example, namespace: dict[str, Any]) -> None:
    padding = "\n" * (example.line + example.parsed.line_offset)
    exec(compile(padding + example.parsed, example.path, "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize(("page", "number", "run_main"), list(examples()))
def test_example(page: str, number: int, run_main: Run, namespace_after: NamespaceAfter) -> None:
    namespace = namespace_after(page, number)
    run_main(namespace.get("main"))
    for test in re.findall(r"^def (test_\w+)\(\):", PAGES[page][number - 1].parsed, re.MULTILINE):
        namespace[test]()


@pytest.mark.parametrize("host", ["asyncio", "trio"])
def test_the_bug_in_the_pool_is_found(host: str, namespace_after: NamespaceAfter) -> None:
    page = "docs/testing.md"
    after = next(n for n, block in enumerate(PAGES[page], start=1) if "_is_lost(host" in block.parsed)
    with pytest.raises(CancellationFailure) as caught:
        namespace_after(page, after)["test_no_connection_is_lost"](host)
    message = re.sub(r" at \S+:\d+ in", "\\ntest_pool.py:16 in", str(caught.value)).replace(
        repr(host), "'asyncio'"
    )
    assert message.partition("\n")[2] in (ROOT / page).read_text()


@pytest.mark.parametrize("run_main", [run_on_asyncio, run_on_trio])
@pytest.mark.parametrize("page", sorted(HOWTO.glob("*.md")), ids=lambda page: page.stem)
def test_the_program_of_a_howto_prints_what_the_page_shows(
    page: Path, run_main: Run, namespace_after: NamespaceAfter, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(namespace_after(page.relative_to(ROOT).as_posix(), 1)["main"])
    [shown] = re.findall(r"^```text\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    # which of several tasks is first at one time is up to trio
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(shown.splitlines())


def test_the_readme_shows_the_function_of_the_demo() -> None:
    source = (EXAMPLES / "fetching.py").read_text()
    assert source[source.index("from collections.abc") :] in (ROOT / "README.md").read_text()


def test_the_contract_has_an_anchor_for_every_rule_and_no_other() -> None:
    contract = (ROOT / "docs" / "contract.md").read_text()
    assert re.findall(r"^### ([A-Z]\d+)$", contract, re.MULTILINE) == list(RULES)


def test_the_hosts_are_listed() -> None:
    page = (ROOT / "docs" / "hosts.md").read_text()
    assert re.findall(r"^\| `(\w[\w-]*)` \|", page, re.MULTILINE) == list(HOSTS)


def test_the_hosts_page_certifies_a_loop(tmp_path: Path) -> None:
    (tmp_path / "myhosts.py").write_text("\n".join(block.parsed for block in PAGES["docs/hosts.md"]))
    certify = [sys.executable, "-m", "interloop.conformance", "--host", "myhosts:on_select", "--rule", "W1"]
    certified = subprocess.run(certify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert certified.returncode == 0, certified.stdout + certified.stderr


@pytest.mark.parametrize("module", [interloop, interloop.abc, interloop.testing])
def test_the_api_reference_has_every_public_name(module: Any) -> None:
    reference = (ROOT / "docs" / "api.md").read_text()
    documented = set(
        re.findall(r"^\.\. (?:auto\w+|data):: interloop\.(?:abc\.|testing\.)?(\w+)$", reference, re.MULTILINE)
    )
    assert set(module.__all__) <= documented


def test_the_demo_shows_the_same_on_every_host() -> None:
    pytest.importorskip("rich")
    demo = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py", "--seconds", "0.5"], capture_output=True, text=True, check=True
    )
    hosts = 2 if "uvloop is not installed" in demo.stdout else 3
    for outcome in ["came back", "cut short", "failed"]:
        lines = [line for line in demo.stdout.splitlines() if outcome in line]
        assert [line.count(outcome) for line in lines] == [hosts, hosts]
