"""The backend for marimba: what `interloop.abc.Backend` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interloop import _asyncio
from interloop._asyncio import (
    Event,
    checkpoint,
    current_deadline,
    current_time,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
)

if TYPE_CHECKING:
    import interloop_marimba

    from interloop.abc import Backend

    _: Backend = interloop_marimba

__all__ = [
    "Deadline",
    "Event",
    "TaskGroup",
    "checkpoint",
    "current_deadline",
    "current_time",
    "get_cancelled_exc_class",
    "shield",
    "sleep",
    "sleep_forever",
]


class TaskGroup(_asyncio.TaskGroup):
    __slots__ = ()


class Deadline(_asyncio.Deadline):
    __slots__ = ()
