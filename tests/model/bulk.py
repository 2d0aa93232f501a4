"""Any number of random programs, on all cores: `nox -s model -- --programs 100000 --seed 1`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import HealthCheck, given, seed, settings
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .programs import FOREIGN, Block, programs
from .runs import HOSTS_TO_COMPARE, Differs, check

PROGRAMS_PER_SEED = 500


def check_programs(first_seed: int, count: int, foreign: tuple[str, ...] = ()) -> str | None:
    """Check `count` programs; give the report of the smallest that differs."""

    @seed(first_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs(foreign=foreign))
    def check_one(program: Block) -> None:
        check(program)

    try:
        check_one()
    except Differs as difference:
        return str(difference)
    return None


def seeds(first: int, count: int) -> Iterator[tuple[int, int]]:
    while count > 0:
        yield first, min(count, PROGRAMS_PER_SEED)
        first += 1
        count -= PROGRAMS_PER_SEED


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s model --", description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="that of the first 500")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores)")
    parser.add_argument("--foreign", action="store_true", help="with constructs of the host and of anyio")
    parser.add_argument(
        "--without", nargs="+", choices=FOREIGN, default=[], help="with --foreign: leave some of these out"
    )
    arguments = parser.parse_args()
    foreign = tuple(kind for kind in FOREIGN if arguments.foreign and kind not in arguments.without)
    chunks = list(seeds(arguments.seed, arguments.programs))
    print(
        f"Python {sys.version.split()[0]}, {', '.join(host.name for host in HOSTS_TO_COMPARE)}: "
        f"{arguments.programs} programs, seeds {chunks[0][0]} to {chunks[-1][0]}, {PROGRAMS_PER_SEED} each"
    )
    differ = 0
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    spawn = multiprocessing.get_context("spawn")
    with (
        Progress(TextColumn("programs"), *columns) as progress,
        ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool,
    ):
        bar = progress.add_task("programs", total=arguments.programs)
        running = {pool.submit(check_programs, *chunk, foreign): chunk for chunk in chunks}
        for future in as_completed(running):
            first_seed, count = running[future]
            progress.advance(bar, count)
            if report := future.result():
                differ += 1
                found = f"seed {first_seed}: {report}"
                progress.console.print(found, markup=False, highlight=False, soft_wrap=True)
    print(f"seeds with a program that differs: {differ} of {len(chunks)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
