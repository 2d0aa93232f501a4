"""Each backend's theory of operation ends with a map from the rules to the functions that keep them.

A line of the map, in the docstring of the backend's package:

    G4   groups.TaskGroup.__aexit__, errors.errors_only
    C3   the host's own: asyncio

A function is named by its module, in the package of the backend or else in `interloop`, and within that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("trio")

CONTRACT = (Path(__file__).parent.parent / "docs" / "contract.md").read_text("utf-8")
RULES = re.findall(r"^### ([GTLCS]\d+)$", CONTRACT, re.MULTILINE)
BACKENDS = ["interloop._asyncio", "interloop._trio"]
each_backend = pytest.mark.parametrize("backend", BACKENDS)

LINE_OF_THE_MAP = re.compile(r"^ *([A-Z]\d+) {2,}(\S.*)$", re.MULTILINE)
THE_HOSTS_OWN = "the host's own: "


def theory_map(backend: str) -> list[tuple[str, str]]:
    """The lines of the map: a rule, and what keeps it."""
    return LINE_OF_THE_MAP.findall(import_module(backend).__doc__ or "")


def functions(backend: str) -> Iterator[tuple[str, str]]:
    """The functions that the map names, each with its rule."""
    for rule, kept_by in theory_map(backend):
        if not kept_by.startswith(THE_HOSTS_OWN):
            for name in kept_by.split(","):
                yield rule, name.strip()


def module_of(backend: str, name: str) -> ModuleType | None:
    for package in (backend, "interloop"):
        # the shared modules, and they alone, begin with an underscore that the map leaves out
        for module in (f"{package}.{name}", f"{package}._{name}"):
            if find_spec(module) is not None:
                return import_module(module)
    return None


def exists(backend: str, name: str) -> bool:
    module, _, attributes = name.partition(".")
    found: object = module_of(backend, module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute, None)
    return callable(found)


@each_backend
def test_every_rule_stands_in_the_map_once(backend: str) -> None:
    assert sorted(rule for rule, _ in theory_map(backend)) == sorted(RULES)


@each_backend
def test_every_function_of_the_map_exists(backend: str) -> None:
    assert [line for line in functions(backend) if not exists(backend, line[1])] == []
