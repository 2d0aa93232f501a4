"""The example `happy_eyeballs.py`: on each loop the first connection wins, and every other one is closed.

That a socket is closed shows at the server, and in that pytest reports no ResourceWarning.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

pytest.importorskip("trio")
pytest.importorskip("rich")

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
try:
    import happy_eyeballs as example
finally:
    sys.path.remove(str(EXAMPLES))

from interloop import sleep, task_group  # noqa: E402

Run: TypeAlias = Callable[[Callable[[], Any]], Any]

NEVER = example.NEVER
AT_ONCE = 0.0
A_LONG_TIME = 120.0  # to be told apart from what is quick, on the slowest machine


@pytest.fixture(params=list(example.runners().values()), ids=list(example.runners()))
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = request.param
    return runner


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < A_LONG_TIME / 2


def test_the_first_connection_wins_and_every_other_one_is_closed(run: Run) -> None:
    with example.serving(NEVER, A_LONG_TIME, AT_ONCE) as servers:
        silent, slow, quick = servers
        addresses = [example.nobody_listens(), *[server.address for server in servers]]
        with run(partial(example.happy_eyeballs, addresses, 0.1)) as winner:
            assert winner.getpeername() == quick.address
            assert silent.left.wait(A_LONG_TIME)
            assert slow.left.wait(A_LONG_TIME)
            assert not silent.greeted.is_set()
            assert not slow.greeted.is_set()
            assert not quick.left.is_set()
        assert [server.visits for server in servers] == [1, 1, 1]


def test_an_address_that_answers_in_time_is_the_only_one_tried(run: Run) -> None:
    with example.serving(AT_ONCE, AT_ONCE) as (quick, spare):
        with run(partial(example.happy_eyeballs, [quick.address, spare.address], A_LONG_TIME)) as winner:
            assert winner.getpeername() == quick.address
        assert spare.visits == 0


def test_the_next_attempt_starts_at_once_when_the_last_has_failed(run: Run) -> None:
    with example.serving(AT_ONCE) as [server]:
        addresses = [example.nobody_listens(), example.nobody_listens(), server.address]
        with run(partial(example.happy_eyeballs, addresses, A_LONG_TIME)) as winner:
            assert winner.getpeername() == server.address


def test_an_attempt_that_is_late_may_still_win(run: Run) -> None:
    with example.serving(0.5, NEVER) as (late, silent):
        with run(partial(example.happy_eyeballs, [late.address, silent.address], 0.1)) as winner:
            assert winner.getpeername() == late.address
            assert silent.left.wait(A_LONG_TIME)


def test_if_all_fail_every_error_is_raised(run: Run) -> None:
    addresses = [example.nobody_listens() for _ in range(3)]
    with pytest.raises(ExceptionGroup) as caught:
        run(partial(example.happy_eyeballs, addresses, A_LONG_TIME))
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 3


def test_cancelled_from_outside_every_connection_is_closed(run: Run) -> None:
    with example.serving(NEVER, NEVER) as servers:

        async def cancel_when_both_wait() -> None:
            async with task_group() as tg:
                tg.create_task(example.happy_eyeballs([server.address for server in servers], 0.1))
                while not all(server.visits for server in servers):
                    await sleep(0.01)
                tg.cancel()

        run(cancel_when_both_wait)
        assert [server.left.wait(A_LONG_TIME) for server in servers] == [True, True]


def test_it_takes_at_most_forty_lines() -> None:
    assert len(inspect.getsource(example.happy_eyeballs).splitlines()) <= 40


def test_the_example_shows_the_same_on_every_loop(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    shown = capsys.readouterr().out
    loops = len(example.runners())
    assert shown.count("refused") == loops
    assert shown.count("closed") == 2 * loops
    assert shown.count("won") == loops
