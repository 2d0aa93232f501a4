"""The ledger of requests, by itself: every short sequence of acts on one task sees what the reference says.

An act asks for a cancellation, takes it back, enters or leaves a scope, holds back (by a shield, or by an
error in a group), or waits while others act; by us, by the host, by anyio. The acts are in `acts.py`, the
reference is in `reference.py`; both say what is left out since asyncio cannot tell it apart. `nox -s ledger`
runs longer sequences.
"""

from __future__ import annotations

import pytest

from interloop._asyncio.requests import Requests
from interloop.conformance import rule

from .exploring import ALPHABETS, explore, missing

pytestmark = rule("C5", host="asyncio")  # the mutants of `requests.py` are judged by these tests too


@pytest.mark.parametrize("name", ALPHABETS)
def test_every_short_sequence_of_acts_sees_what_the_reference_says(name: str) -> None:
    if reason := missing(name):
        pytest.skip(reason)
    for length in range(1, ALPHABETS[name].short + 1):
        found = explore(name, length)
        assert found.difference is None, found.difference
        assert found.sequences > 1


def test_a_difference_is_shown_as_the_shortest_sequence_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Requests, "hold_back", lambda *_, **__: None)
    found = next(found for length in range(1, 5) if (found := explore("errors", length)).difference)
    assert found.difference is not None
    assert found.difference.splitlines() == [
        "task.cancel()",
        "with interloop.task_group() as group_1:",
        "    await checkpoint()",
        "        -> CancelledError",
        "    raise OSError",
        "group_1 is left with OSError",
        "    -> ExceptionGroup",
        "!! I5: something is held back, of which the ledger does not know",
    ]
