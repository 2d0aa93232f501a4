"""The model test: what a random program sees is the same on every host.

A program nests task groups (with `limit` and `defer_errors`), deadlines (raising and suppressing), shields
(with and without `timeout`), `finally` and `except*`. It creates tasks, ordinary and background ones, in its
own and in outer groups; starts, cancels and waits for tasks, moves deadlines and looks at
`current_deadline()`. It runs in virtual time on trio, on asyncio and on asyncio with eager tasks. What each
statement and task saw (its beginning and end, the tree of errors, the value, whether it expired), and when,
must be equal, and nothing may be left.

What is left out, since nobody promises it:

- Two acts at one instant; `programs.py` says how they are avoided.
- Waiting for a task from outside its group (decision 0004): its failure would reach the waiter through the
  groups between, at the instant of its end.
- Waiting for oneself, or for a task that one is inside of: it never ends.
- Unshielded awaits in clean-up, other than in a scope that is opened there ("Where hosts still differ").
- Swallowing a cancellation (C1): an error that clean-up raises in the place of one is not caught by an
  `except*` unless there is a group between, which delivers the cancellation again (G4), or a shield.
- In a shield without a timeout, what might never end.
- What the contract says differs: `KeyboardInterrupt` and `SystemExit`, the
  order and the names; and computing past a deadline, since virtual time stands still meanwhile.
- The patterns, `gather` and so on: they are written over all this.

The programs with foreign constructs nest all this with what `foreign.py` holds: `asyncio.timeout`,
`wait_for`, `TaskGroup`, `shield`, native tasks and `Task.cancel()`, what trio has in their place, anyio's
scopes, shields and groups, and a task that is left to the end of `asyncio.run`. What is rare among them is
planned (`PLANS`). Left out besides, where a cancellation that is not interloop's may arrive
(`Place.foreign`), since asyncio delivers such a one once and to one task:

- In scopes that are opened in clean-up, unshielded awaits, and so the children of a group and its good end
  ("A scope opened after a cancellation by the host"). No native tasks and groups are opened there.
- What delays the end of a group's body once the group has children ("A cancellation by the host",
  `Place.unwinding`): shields, clean-up that waits, inner groups whose children do. And starting a task in
  such a group if it has a `limit`: the start that is cancelled frees the slot before the group is.
- `current_deadline()` ("Deadlines of the host"), and going on at the instant of an act upon scopes outside
  the native task: a sleep follows. No waiting there for tasks of an outer group, nor starting any in it.
- A scope of asyncio's or anyio's whose own cancellation meets one of theirs that was held back when it was
  entered: `Task.cancelling()` tells it of one at most. There is a checkpoint before, or first in it.
- Leaving such a scope in the clean-up that cancels a scope of ours around it, before the task is told.
- Waiting in clean-up inside a scope of asyncio's that is inside one of anyio's (`Place.native_in_anyio`):
  asyncio's, seeing a second request, lets its own cancellation pass, and anyio's knows its own by the
  message only.
- A native cancellation around anyio's shields: it goes through those. Nor a foreign scope around an anyio
  group whose children take their time to end (`Place.prompt`): once it is cancelled that group is shielded,
  so a scope of ours that is cancelled meanwhile is not noticed before the foreign scope has been left.
- Errors that meet a cancellation in native tasks that are waited for and in anyio's groups: they lose it
  (`Place.prompt`). Errors out of `asyncio.TaskGroup` before 3.13: it leaves a request behind.
- Before 3.12, `wait_for` around what delays its end or inside anyio's scopes: cancelled a second time it
  leaves its task alone.
- Native tasks in shields of what is left to the end of `asyncio.run`, and `asyncio.shield` there: it
  cancels them.
- Groups with a `limit` in what is left to the end of `asyncio.run`: a slot may be free before the group
  knows that it is cancelled (`test_requests.py` has those).
- A task that returns with a native cancellation pending: asyncio calls it cancelled.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import interloop
from interloop import current_time
from interloop.testing import HOSTS

from .interpreter import Notes, tree
from .printer import as_function, everything
from .programs import Block, programs
from .runs import Differs, check, run

# PyPy compiles as it goes, and has hardly begun to when CPython is done: 2,000 programs would take minutes.
PROGRAMS = 2_000 if platform.python_implementation() == "CPython" else 300

REPEATABLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(600)  # to shrink a program that differs
@settings(REPEATABLE, max_examples=PROGRAMS)
@given(programs())
def test_every_program_sees_the_same_on_every_host(program: Block) -> None:
    check(program)


@pytest.mark.timeout(600)
@settings(REPEATABLE, max_examples=PROGRAMS)
@given(programs(foreign=True))
def test_every_program_with_foreign_constructs_sees_the_same_on_every_host(program: Block) -> None:
    check(program)


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 4), reason="its compiler crashes on 20 nested blocks (gh-113297)"
)
@settings(REPEATABLE, max_examples=50, phases=[Phase.generate])
@given(programs())
@pytest.mark.parametrize("host", ["asyncio", "trio"])
def test_a_printed_program_sees_what_the_program_saw(host: str, program: Block) -> None:
    expected = run(HOSTS[host], program)
    everywhere = {str(statement.id) for statement in everything(program)}
    everywhere |= {where for where in expected if where.startswith("task")}
    seen: Notes = {}

    @contextmanager
    def note(where: object) -> Iterator[None]:
        notes = seen.setdefault(str(where), [])
        notes.append((current_time(), "begins"))
        try:
            yield
        except BaseException as error:
            notes.append((current_time(), tree(error)))
            raise
        notes.append((current_time(), "ends"))

    names: dict[str, Any] = {**vars(interloop), "note": note, "suppress": suppress, "print": lambda _: None}
    exec(as_function(program, everywhere), names)
    with suppress(Exception):
        HOSTS[host].runner(names["main"], virtual_time=True)

    assert seen == {
        where: [(time, what.partition(":")[0]) for time, what in notes if _is_printed(what)]
        for where, notes in expected.items()
        if where != "program"
    }


def _is_printed(what: str) -> bool:
    return not what.startswith(("expired()", "caught", "result"))


def test_a_difference_is_shrunk_and_printed_as_a_script_that_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("interloop._asyncio.current_deadline", lambda: -inf)

    @settings(REPEATABLE, max_examples=200)
    @given(programs())
    def check_one(program: Block) -> None:
        check(program)

    with pytest.raises(Differs, match="the hosts differ") as caught:
        check_one()
    report = str(caught.value)
    script = report[report.index("from contextlib") :]
    assert len(script.splitlines()) < 50

    exec(script, {})
    output = capsys.readouterr().out
    on_asyncio, on_trio = output.removeprefix("asyncio\n").split("trio\n")
    assert "-inf" in on_asyncio
    assert "-inf" not in on_trio
