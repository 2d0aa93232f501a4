"""Any number of rounds on every host with virtual time: `nox -s handover -- --rounds 10000 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys

from interloop.testing import HOSTS

from .rounds import play

REPORTS = 5  # of one host


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s handover --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="on each host (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="that of the first round")
    parser.add_argument("--host", action="append", choices=list(HOSTS), help="a host (default: all that can)")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    print(f"Python {sys.version.split()[0]}: {len(seeds)} rounds on each host, seeds from {seeds.start}")
    all_wrong = 0
    for host in HOSTS.values():
        if host.missing() or not host.virtual or (arguments.host and host.name not in arguments.host):
            continue
        given = received = wrong = 0
        for seed in seeds:
            try:
                count = play(host, seed)
            except Exception as error:
                complaint: str | None = repr(error)
            else:
                complaint = count.complaint()
                given += count.given
                received += len(count.received)
            if complaint:
                wrong += 1
                if wrong <= REPORTS:
                    print(f"{host.name}, seed {seed}: {complaint}")
        print(f"{host.name}: {given} items given, {received} received, {wrong} rounds went wrong")
        all_wrong += wrong
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
