"""The example of a stranger's backend (D3): it keeps the contract, on an async library of its own name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wheels import build_wheel, install

PACKAGE = Path(__file__).with_name("backend_package")
HOST = "marimba_host:run"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("marimba")
    install(build_wheel(PACKAGE, folder / "wheels"), folder / "site")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / "site"), *sys.path])}


@pytest.mark.timeout(900)  # the whole suite, on a machine that has other things to do
def test_it_keeps_the_contract(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "interloop.conformance", "--host", HOST, "--json", "report.json"]
    suite = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert suite.returncode == 0, suite.stdout + suite.stderr
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["hosts"][HOST]["backend"] == "marimba"
    cells = {rule: cell[HOST] for rule, cell in report["cells"].items()}
    skipped = {rule: cell["reason"] for rule, cell in cells.items() if cell["outcome"] == "skipped"}
    assert skipped == {
        "C8": "anyio has no backend for marimba",
        "N5": "anyio has no backend for marimba",
        "S9": "in real time nobody knows that nothing will happen",
    }
    # what is about asyncio or trio alone is about no stranger
    of_one_backend = {rule for rule, cell in cells.items() if cell["outcome"] == "not about this host"}
    assert of_one_backend == {"L10", "N1", "N2", "N3", "N4", "N6", "N7"}
