"""The shield: a shielded cancel scope."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from trio import CancelScope

T = TypeVar("T")


async def shield(coro: Coroutine[Any, Any, T]) -> T:
    with CancelScope(shield=True):
        return await coro
    raise AssertionError("a scope that nobody cancels swallows nothing")
