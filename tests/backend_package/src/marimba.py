"""An async library that sniffio knows by a name of its own, and that runs on asyncio's loop underneath."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import sniffio

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    sniffio.thread_local.name = "marimba"
    try:
        return asyncio.run(main())
    finally:
        sniffio.thread_local.name = None
