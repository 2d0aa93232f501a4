"""Any number of random programs, on all cores: `nox -s coordination -- --programs 100000 --seed 1`."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.progress import Progress

from .runs import HOST_NAMES, Differs, compare

SEEDS_AT_ONCE = 200


def check(seeds: range) -> list[str]:
    """What is to be said of the programs of these seeds."""
    said: list[str] = []
    for seed in seeds:
        try:
            compare(seed)
        except Differs as difference:
            said.append(str(difference))
    return said


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s coordination --", description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="that of the first program")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores)")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.programs)
    print(
        f"Python {sys.version.split()[0]}, {', '.join(HOST_NAMES)}, and anyio's primitives on trio: "
        f"{len(seeds)} programs, seeds from {seeds.start}"
    )
    differ = 0
    spawn = multiprocessing.get_context("spawn")
    # A host collects garbage after each run. Frozen, what the imports made is not searched every time, which
    # took twice as long as the programs. PyPy cannot freeze.
    freeze = getattr(gc, "freeze", None)
    with (
        Progress() as progress,
        ProcessPoolExecutor(arguments.jobs, mp_context=spawn, initializer=freeze) as pool,
    ):
        bar = progress.add_task("programs", total=len(seeds))
        chunks = [seeds[first : first + SEEDS_AT_ONCE] for first in range(0, len(seeds), SEEDS_AT_ONCE)]
        running = {pool.submit(check, chunk): chunk for chunk in chunks}
        for future in as_completed(running):
            progress.advance(bar, len(running[future]))
            for report in future.result():
                differ += 1
                progress.console.print(report, markup=False, highlight=False, soft_wrap=True)
    print(f"programs that differ: {differ} of {len(seeds)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
