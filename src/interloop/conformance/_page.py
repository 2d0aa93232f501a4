"""The report as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from ._report import Report
from ._rules import CHAPTERS, RULES


def page(report: Report) -> str:
    environment = Environment(
        loader=PackageLoader("interloop", "conformance"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.jinja")
    return template.render(report=report, chapters=CHAPTERS, rules=RULES)
