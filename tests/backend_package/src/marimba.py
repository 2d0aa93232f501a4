"""An async library that sniffio knows by a name of its own, and that runs on asyncio's loop underneath."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import sniffio

T = TypeVar("T")


def run(
    main: Callable[[], Coroutine[Any, Any, T]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    found = sniffio.thread_local.name
    sniffio.thread_local.name = "marimba"
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())
    finally:
        sniffio.thread_local.name = found
