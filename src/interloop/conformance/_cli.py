"""The command: its options, and its exit codes."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from math import inf, nan
from pathlib import Path

from ..testing import HOSTS, Host
from ._hosts import host_of
from ._page import page
from ._report import Report
from ._rules import RULES
from ._run import SuiteError, run_suite
from ._terminal import Progress, print_report

CONFORMS, FAILED, INTERRUPTED = 0, 1, 130  # 2, bad usage, is argparse's


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m interloop.conformance",
        description="Prove the rules of interloop's contract on the hosts that are installed.",
        epilog="Exit codes: 0 the hosts conform, 1 a test failed or hung, 2 nothing was run.",
    )
    parser.add_argument(
        "--host",
        action="append",
        type=_host,
        metavar="NAME",
        help=f"a host to run on: {', '.join(HOSTS)}, or package.module:callable, which takes an async "
        "function and runs it on a loop of its own (default: all that are installed)",
    )
    parser.add_argument(
        "--rule", action="append", type=_rule, metavar="ID", help="a rule to prove, G4 say (default: all)"
    )
    parser.add_argument("--json", type=_file, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--html", type=_file, metavar="FILE", help="write the report as one HTML page")
    parser.add_argument(
        "--timeout", type=_seconds, default=30, metavar="SECONDS", help="when a test hangs (default: 30)"
    )
    options = parser.parse_args(arguments)
    for host in options.host or ():
        if reason := host.missing():
            parser.error(f"the host {host.name!r} cannot run here: {reason}")

    chosen = [rule for rule in RULES if not options.rule or rule in options.rule]
    report = Report(options.host or list(HOSTS.values()), chosen)
    try:
        with Progress(report) as progress:
            run_suite(report, options.timeout, progress)
    except SuiteError as error:
        parser.error(f"the suite could not be run\n{error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    if not report.count("passed") + report.count("failed"):
        parser.error(f"no test of {', '.join(chosen)} on {', '.join(report.hosts)}")

    print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(page(report), encoding="utf-8")
    return FAILED if report.failures else CONFORMS


def _host(name: str) -> Host:
    try:
        return host_of(name)
    except LookupError as error:
        raise ArgumentTypeError(str(error)) from None


def _rule(name: str) -> str:
    if name not in RULES:
        raise ArgumentTypeError(f"no rule {name!r}; there are {', '.join(RULES)}")
    return name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if not 0 < seconds < inf:
        raise ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def _file(name: str) -> Path:
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise ArgumentTypeError(f"cannot write {name!r}: give a file in a directory that exists")
    return path
