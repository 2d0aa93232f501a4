"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from typing import Any

project = "interloop"
author = "The interloop authors"
version = release = installed_version("interloop")

# warnings are errors, and every link within the pages is checked; `contract.md#g4` and the like are headings
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "decisions"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"

html_theme = "furo"
html_title = f"interloop {version}"


def link_rules(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make the rule ids in docstrings links into the contract."""
    lines[:] = [re.sub(r"(?<![`\w])[DGTLCWPN]\d+\b", _link, line) for line in lines]


def _link(rule: re.Match[str]) -> str:
    return f"`{rule[0]} <contract.html#{rule[0].lower()}>`__"


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", link_rules)
