"""Every sequence of acts up to the lengths that take a minute, on all cores: `nox -s ledger`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .exploring import ALPHABETS, beginnings, explore, missing

FIXED = 2  # sequences that begin with the same two acts are run together


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s ledger --", description=__doc__)
    parser.add_argument("--longer", type=int, default=0, help="acts more than usual (default: %(default)s)")
    parser.add_argument("--alphabet", action="append", choices=ALPHABETS, help="this one only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores)")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}")
    differ = False
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    spawn = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        say = progress.console.print
        for name in arguments.alphabet or ALPHABETS:
            if reason := missing(name):
                say(f"{name}: skipped, {reason}")
                continue
            found: list[str] = []
            for length in range(1, ALPHABETS[name].long + arguments.longer + 1):
                parts = beginnings(name, min(length, FIXED))
                bar = progress.add_task(f"{name}, {length} acts", total=len(parts))
                sequences = 0
                running = [pool.submit(explore, name, length, part) for part in parts]
                for future in as_completed(running):
                    one = future.result()
                    sequences += one.sequences
                    found += [one.difference] if one.difference else []
                    progress.advance(bar)
                progress.remove_task(bar)
                say(
                    f"{name}, {length} acts: {sequences} sequences, {len(found)} of {len(parts)} parts differ"
                )
                if found:
                    differ = True
                    say(min(found, key=lambda one: len(one.splitlines())), markup=False, highlight=False)
                    break
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
