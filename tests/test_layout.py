"""The modules of the package import each other without a circle, imports for the type checker included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import interloop

PACKAGE = Path(interloop.__file__).parent
# Backends are loaded when they are first needed, and are built upon what loads them.
LOADS_BACKENDS = {
    ("interloop._registry", "load", "interloop._asyncio"),
    ("interloop._registry", "load", "interloop._trio"),
}


def name_of(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST, function: str = "") -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Every import under `tree`, and the innermost function that it is in, if any."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, function
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from imports(node, node.name)
        else:
            yield from imports(node, function)


def imported_names(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    parts = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
    base = ".".join([*parts, *([statement.module] if statement.module else [])])
    yield from (f"{base}.{alias.name}" for alias in statement.names)


def import_graph(root: Path) -> dict[str, set[str]]:
    """For each module of the package in `root`, those modules of it that it names in its imports."""
    files = {name_of(file, root): file for file in root.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, file in files.items():
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        graph[module] = set()
        for statement, function in imports(ast.parse(file.read_text("utf-8"))):
            for name in imported_names(statement, package):
                target = name if name in files else name.rpartition(".")[0]
                if target in files and (module, function, target) not in LOADS_BACKENDS:
                    graph[module].add(target)
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_there_is_no_import_circle() -> None:
    graph = import_graph(PACKAGE)
    assert graph["interloop._dispatch"] >= {"interloop._errors", "interloop.abc"}  # the latter for its types
    assert circle(graph) == []


def test_a_circle_is_found_wherever_its_imports_are(tmp_path: Path) -> None:
    root = tmp_path / "house"
    (root / "wing").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "a.py").write_text("if TYPE_CHECKING:\n    from .wing import room\n")
    (root / "wing" / "__init__.py").write_text("")
    (root / "wing" / "room.py").write_text("def late():\n    from ..b import door\n")
    (root / "b.py").write_text("import house.a\n")
    assert sorted(set(circle(import_graph(root)))) == ["house.a", "house.b", "house.wing.room"]
