"""How the conformance suite runs marimba: `python -m interloop.conformance --host marimba_host:run`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import marimba

from interloop.testing import VirtualTimeLoop


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    marimba.run(main, loop_factory=VirtualTimeLoop)  # so that a tick costs nothing
