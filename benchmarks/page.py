"""The page, from a template, and its plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import budgets, tables
from .end_to_end import CLIENTS
from .growth import FIT_FROM
from .measure import MINIMUM_ROUNDS, ROUND_SECONDS
from .operations import DEADLINE, SPAWN_KEPT
from .plots import growth_plot, operations_plot
from .results import Results


def write_page(results: Results, page: Path) -> None:
    """Write it, and its plots into a folder of its name beside it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # it is Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    plots = page.with_suffix("")
    plots.mkdir(exist_ok=True)
    for loop in results.operations:
        operations_plot(results, loop, plots / f"{loop}.svg")
    growth_plot(results, plots / "growth.svg")
    others = sorted(other.name for other in page.parent.glob("benchmarks*.md") if other != page)
    page.write_text(
        environment.get_template("page.md.jinja").render(
            results=results,
            plots=plots.name,
            others=others,
            budgets=budgets,
            budgets_table=tables.budgets_table(results),
            operations={loop: tables.operations_table(results, loop) for loop in results.operations},
            floors_table=tables.floors_table(results),
            profiles={
                f"{title}, on {loop}": tables.profile_table(results, loop, title)
                for loop, by_title in results.profiles.items()
                for title in by_title
            },
            idle_table=tables.idle_table(results),
            growth_table=tables.growth_table(results),
            memory_table=tables.memory_table(results),
            flatness_table=tables.flatness_table(results),
            end_to_end_table=tables.end_to_end_table(results),
            import_table=tables.import_table(results),
            clients=CLIENTS,
            fit_from=FIT_FROM,
            round_ms=f"{ROUND_SECONDS * 1e3:g}",
            minimum_rounds=MINIMUM_ROUNDS,
        ),
        "utf-8",
    )


def figures(results: Results) -> Iterator[str]:
    """Three that say most, for a reader who reads nothing else."""
    for title, native, says in (
        (SPAWN_KEPT, "`asyncio.TaskGroup`", "spawning and finishing a child"),
        (DEADLINE, "`asyncio.timeout`", "entering and leaving a deadline"),
    ):
        series = results.series("asyncio", title)
        yield (
            f"{says} on asyncio takes {series.ratio('interloop', 'native')} of the time of {native}, "
            f"{series.ratio('interloop', 'anyio')} of anyio's"
        )
    case = "a child that absorbs cancellation"
    found = {each.peer: each for each in results.idle if (each.loop, each.case) == ("asyncio", case)}
    waits = ", ".join(f"{peer} {each.iterations:,} ({each.cpu:.4f} s of CPU)" for peer, each in found.items())
    yield f"turns of the asyncio loop while a cancelled group waits for {case}: {waits}"
