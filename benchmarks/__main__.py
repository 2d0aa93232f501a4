"""Measure interloop beside its peers, show tables, and write a page with plots."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich import table as rich_table
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .loops import installed_loops
from .page import figures, write_page
from .peers import installed_peers
from .results import Results
from .suite import EFFORTS, Step, operation_steps, other_steps
from .tables import Table, tables

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    arguments = parsed_arguments()
    loops = {name: loop for name, loop in installed_loops().items() if name in (arguments.loop or [name])}
    effort = EFFORTS[arguments.effort]
    if arguments.seconds is not None:
        effort = replace(effort, seconds=arguments.seconds)
    results = Results(command=command(), cut=effort.cut)
    partial_run = bool(arguments.only or arguments.loop or arguments.peer)

    steps: list[Step] = []
    for loop in loops.values():
        peers = {
            name: peer
            for name, peer in installed_peers(loop.backend).items()
            if name in (arguments.peer or [name]) or name == "interloop"
        }
        steps += operation_steps(results, loop, peers, effort, arguments.only)
    if not partial_run:
        steps += other_steps(results, loops, effort)
    if not steps:
        sys.exit(f"no operation has {' or '.join(map(repr, arguments.only))} in its title")

    console = Console()
    run(steps, console)
    for table in tables(results):
        if table.rows and not (partial_run and table.title == "Budgets"):
            show(table, console)
    if not partial_run:
        write_page(results, arguments.page)
        console.print(f"written: {arguments.page}")
        console.print("for the README:", *figures(results), sep="\n- ")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    effort = parser.add_mutually_exclusive_group()
    for name, says in (("quick", "a minute's look"), ("full", "to a million children, with more rounds")):
        effort.add_argument(f"--{name}", dest="effort", action="store_const", const=name, help=says)
    part = parser.add_argument_group("a part of the operations, and no page")
    part.add_argument("--only", nargs="+", metavar="WORDS", help="those with one of these in their title")
    part.add_argument("--loop", action="append", choices=installed_loops(), help="on this loop")
    part.add_argument("--peer", action="append", choices=installed_peers("asyncio"), help="beside this one")
    parser.add_argument("--seconds", type=float, help="of each peer for each operation")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="where to write the page (default: %(default)s)"
    )
    parser.set_defaults(effort="default", only=[])
    arguments = parser.parse_args()
    if arguments.page.suffix != ".md" or not arguments.page.parent.is_dir():
        parser.error(f"--page expects a Markdown file in a directory that exists, got {arguments.page}")
    return arguments


def command() -> str:
    return shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])


def run(steps: Sequence[Step], console: Console) -> None:
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # drawn between the steps only: a thread that draws would take time from what is measured
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(steps))
        for description, step in steps:
            progress.update(task, description=description, refresh=True)
            step()
            progress.advance(task)


def show(table: Table, console: Console) -> None:
    shown = rich_table.Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for column, heading in enumerate(table.header):
        shown.add_column(heading, justify="left" if column < table.words else "right")
    for cells in table.rows:
        shown.add_row(*(Markdown(cell) if "*" in cell else cell for cell in cells))
    console.print(shown)


if __name__ == "__main__":
    main()
