"""Runs a program on each host, and tells where the hosts differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from interloop import current_backend
from interloop.testing import HOSTS, Host

from . import programs as p
from .interpreter import Interpreter, Notes
from .printer import as_script, everything

# In virtual time, on every Python that has them.
HOSTS_TO_COMPARE = [HOSTS[name] for name in ("trio", "asyncio", "asyncio-eager") if not HOSTS[name].missing()]


# `asyncio.run` says this of each task that fails at its end, though the group of that task raises the error.
SHUTDOWN = "unhandled exception during asyncio.run() shutdown"


class Differs(AssertionError):
    """The hosts did not agree on what a program did."""


def check(program: p.Block) -> None:
    """Run `program` on every host.

    Raises:
        Differs: a part of it saw something else, or at another time, than on trio, or something was left.
    """
    first, *others = HOSTS_TO_COMPARE
    expected = run(first, program)
    for host in others:
        notes = run(host, program)
        if notes != expected:
            raise Differs(_report(program, {first.name: expected, host.name: notes}))


def run(host: Host, program: p.Block) -> Notes:
    notes: Notes = {}
    mixed = any(map(p.is_foreign, everything(program)))
    left_to_the_end = isinstance(program[0], p.LeftToTheEnd)

    async def main() -> None:
        look_for_leftovers = (
            _watch_asyncio(notes, left_to_the_end) if current_backend() == "asyncio" else None
        )
        await Interpreter(notes, mixed).run(program)
        if look_for_leftovers is not None:  # trio has no place for any
            look_for_leftovers()

    try:
        host.runner(main, virtual_time=True)
    except (Exception, asyncio.CancelledError) as error:
        notes["run"] = [(0, repr(error))]
    return notes


def _watch_asyncio(notes: Notes, left_to_the_end: bool) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None

    def report(_: object, context: dict[str, Any]) -> None:
        if context["message"] == SHUTDOWN:
            return
        notes.setdefault("reported", []).append((loop.time(), repr(context)))

    def look_for_leftovers() -> None:
        if not left_to_the_end and (left := [repr(task) for task in asyncio.all_tasks() if task is not main]):
            notes["tasks left"] = [(loop.time(), ", ".join(left))]
        if main.cancelling():
            notes["requests left"] = [(loop.time(), f"{main.cancelling()}")]

    loop.set_exception_handler(report)
    return look_for_leftovers


def _report(program: p.Block, notes: dict[str, Notes]) -> str:
    one, other = notes
    everywhere = {**notes[one], **notes[other]}
    differing = [where for where in everywhere if notes[one].get(where) != notes[other].get(where)]
    lines = [
        f"{where} on {host}: " + "; ".join(f"{what} at {time}" for time, what in notes[host].get(where, []))
        for where in differing
        for host in (one, other)
    ]
    return "\n".join(["the hosts differ:", *lines, "", as_script(program, differing)])
