"""Structured concurrency for libraries that run on whatever event loop their user has."""

from ._errors import NoAsyncContext, TaskCancelled, TaskFailed, TaskNotDone, UnsupportedBackend
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
from .abc import Deadline, Task, TaskGroup

__all__ = [
    "Deadline",
    "NoAsyncContext",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskGroup",
    "TaskNotDone",
    "UnsupportedBackend",
    "checkpoint",
    "current_backend",
    "current_deadline",
    "current_time",
    "deadline",
    "get_cancelled_exc_class",
    "shield",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "task_group",
]
