"""Structured concurrency for libraries that run on whatever event loop their user has."""

from ._errors import (
    NoAsyncContext,
    TaskCancelled,
    TaskFailed,
    TaskNotDone,
    UnsupportedBackend,
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
from .abc import Deadline, Task, TaskGroup, TaskStatus

__all__ = [
    "AsCompleted",
    "Deadline",
    "NoAsyncContext",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskGroup",
    "TaskNotDone",
    "TaskStatus",
    "UnsupportedBackend",
    "as_completed",
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
