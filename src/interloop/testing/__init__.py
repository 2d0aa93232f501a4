"""For tests of code that runs on several loops: the hosts to run it on, and virtual time."""

from .._errors import name_classes_after
from ._blocked import wait_all_tasks_blocked
from ._explore import CancellationFailure, explore_cancellation
from ._hosts import HOSTS, Host, LoopReportedError, TasksLeftAlive, find_host, run, virtual_clock
from ._plugins import anyio_backends
from ._virtual_time import VirtualTimeLoop
from ._waiting import Deadlock

__all__ = [
    "HOSTS",
    "CancellationFailure",
    "Deadlock",
    "Host",
    "LoopReportedError",
    "TasksLeftAlive",
    "VirtualTimeLoop",
    "anyio_backends",
    "explore_cancellation",
    "find_host",
    "run",
    "virtual_clock",
    "wait_all_tasks_blocked",
]

name_classes_after(__name__, globals())
del name_classes_after
