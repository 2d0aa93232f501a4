"""For tests of code that runs on several loops: the hosts to run it on, and virtual time."""

from ._hosts import HOSTS, Host, LoopReportedError, TasksLeftAlive, find_host, run, virtual_clock
from ._virtual_time import VirtualTimeLoop
from ._waiting import Deadlock

__all__ = [
    "HOSTS",
    "Deadlock",
    "Host",
    "LoopReportedError",
    "TasksLeftAlive",
    "VirtualTimeLoop",
    "find_host",
    "run",
    "virtual_clock",
]
