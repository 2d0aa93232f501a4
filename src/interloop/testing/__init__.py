"""For tests of code that runs on several loops: the hosts to run it on, and virtual time on asyncio."""

from ._hosts import HOSTS, Host, LoopReportedError, TasksLeftAlive, find_host
from ._virtual_time import VirtualTimeLoop

__all__ = ["HOSTS", "Host", "LoopReportedError", "TasksLeftAlive", "VirtualTimeLoop", "find_host"]
