"""The asyncio backend."""

from .deadlines import Deadline
from .groups import TaskGroup
from .shields import shield
from .waiting import (
    Event,
    checkpoint,
    current_deadline,
    current_time,
    get_cancelled_exc_class,
    is_cancelled,
    sleep,
    sleep_forever,
)

__all__ = [
    "Deadline",
    "Event",
    "TaskGroup",
    "checkpoint",
    "current_deadline",
    "current_time",
    "get_cancelled_exc_class",
    "is_cancelled",
    "shield",
    "sleep",
    "sleep_forever",
]
