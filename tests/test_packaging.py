"""What is in the wheel, and what importing it brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

from wheels import build_wheel

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    with ZipFile(build_wheel(ROOT, tmp_path)) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licenses = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    package = ROOT / "src" / "interloop"
    source = {path.relative_to(package.parent) for path in package.rglob("*") if path.is_file()}
    caches = {path for path in source if any(part.startswith((".", "__pycache__")) for part in path.parts)}
    assert packed == {path.as_posix() for path in source - caches}
    assert "interloop/py.typed" in packed
    assert len(licenses) == 1


def test_the_installed_version_is_that_of_the_project() -> None:
    assert version("interloop") == PROJECT["version"]


def test_sniffio_is_the_only_dependency_at_run_time() -> None:
    assert [dependency.partition(">")[0] for dependency in PROJECT["dependencies"]] == ["sniffio"]


def test_d1_importing_interloop_imports_no_async_library() -> None:
    program = "import sys, interloop; print({'asyncio', 'trio'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_module_is_reached_by_import_statements() -> None:
    """Or an application that was packed, by PyInstaller say, lacks it."""

    def module(path: Path) -> str:
        return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")

    # not the suite, which a test runner imports
    paths = [path for path in (ROOT / "src").rglob("*.py") if "conformance" not in path.parts]
    sources = {module(path): path for path in paths}

    def imported_by(name: str) -> Iterator[str]:
        is_package = sources[name].name == "__init__.py"
        for node in ast.walk(ast.parse(sources[name].read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                parents = (
                    name.split(".")[: (1 if is_package else 0) - node.level or None] if node.level else []
                )
                origin = ".".join([*parents, *([node.module] if node.module else [])])
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names)

    reached: set[str] = set()
    pending = ["interloop", "interloop.testing"]
    while pending:
        name = pending.pop()
        if name in sources and name not in reached:
            reached.add(name)
            pending += [*imported_by(name), name.rpartition(".")[0]]
    assert reached == set(sources)
