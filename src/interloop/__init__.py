"""Structured concurrency for libraries that run on whatever event loop their user has."""

from ._channel import ChannelStatistics, ReceiveChannel, SendChannel, channel
from ._errors import (
    BrokenChannel,
    ClosedChannel,
    EndOfChannel,
    NoAsyncContext,
    TaskCancelled,
    TaskFailed,
    TaskNotDone,
    UnsupportedBackend,
    WouldBlock,
    name_classes_after,
)
from ._facade import (
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    sleep_until,
    task_group,
)
from ._patterns import AsCompleted, as_completed, first, gather
from ._sync import Condition, Event, Limiter, Lock, Semaphore
from .abc import Deadline, Task, TaskGroup, TaskStatus

__all__ = [
    "AsCompleted",
    "BrokenChannel",
    "ChannelStatistics",
    "ClosedChannel",
    "Condition",
    "Deadline",
    "EndOfChannel",
    "Event",
    "Limiter",
    "Lock",
    "NoAsyncContext",
    "ReceiveChannel",
    "Semaphore",
    "SendChannel",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskGroup",
    "TaskNotDone",
    "TaskStatus",
    "UnsupportedBackend",
    "WouldBlock",
    "as_completed",
    "channel",
    "checkpoint",
    "current_backend",
    "current_deadline",
    "current_time",
    "deadline",
    "first",
    "gather",
    "get_cancelled_exc_class",
    "shield",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "task_group",
]

name_classes_after(__name__, globals())
del name_classes_after
