"""The command: measures, shows a table for each loop, and writes the page."""

from __future__ import annotations

import argparse

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .loops import Loop, installed_loops
from .measure import Contender, Series, paired
from .operations import Line, lines
from .peers import installed_peers
from contextlib import ExitStack, nullcontext
from functools import partial


def measured(line: Line, loop: Loop, names: list[str], seconds: float) -> Series:
    contenders = []
    with ExitStack() as stack:
        for name, peer in installed_peers(loop.backend).items():
            operation = line.operation(peer, loop)
            if operation is not None and (not names or name in names or name == "interloop"):
                around = partial(line.surroundings, peer, loop) if line.surroundings else nullcontext
                contender = Contender(name, loop.run, operation, around)
                contenders.append(stack.enter_context(contender))
        return paired(contenders, seconds, line.count)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="lines whose title has one of these")
    parser.add_argument("--loop", action="append", default=[])
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=0.2, help="for each line and peer")
    arguments = parser.parse_args()
    console = Console()
    for name, loop in installed_loops().items():
        if arguments.loop and name not in arguments.loop:
            continue
        chosen = [
            line
            for line in lines(loop)
            if not arguments.only or any(words in line.title for words in arguments.only)
        ]
        table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD)
        peers = [peer for peer in installed_peers(loop.backend) if not arguments.peer or peer in ("interloop", *arguments.peer)]
        table.add_column("")
        for peer in peers:
            table.add_column(peer, justify="right")
        for peer in peers[1:3]:
            table.add_column(f"÷ {peer}")
        with Progress(console=console, auto_refresh=False, transient=True) as progress:
            for line in progress.track(list(chosen), description=name):
                progress.refresh()
                series = measured(line, loop, arguments.peer, arguments.seconds)
                cells = []
                for peer in peers:
                    seconds = series.seconds(peer)
                    cells.append(duration(None if seconds is None else seconds / line.per))
                for peer in peers[1:3]:
                    ratio = series.ratio("interloop", peer)
                    cells.append("–" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
                table.add_row(line.title, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
