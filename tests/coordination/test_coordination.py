"""Some random programs; `nox -s coordination` runs more."""

from __future__ import annotations

import pytest

from .runs import compare

pytest.importorskip("anyio", reason="its primitives are what ours are compared with")


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_programs_see_the_same_on_every_host_and_with_anyios_primitives(first: int) -> None:
    for seed in range(first, first + 20):
        compare(seed)
