"""Sleeping, checkpoints, and the clock: trio's own."""

from __future__ import annotations

from math import inf

import trio
from trio import current_time as current_time
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    current_task,
    current_trio_token,
    reschedule,
    wait_task_rescheduled,
)

from .. import abc

Event = trio.Event


async def sleep(seconds: float) -> None:
    await trio.sleep(seconds)


async def sleep_forever() -> None:
    await trio.sleep_forever()


async def checkpoint() -> None:
    await trio.lowlevel.checkpoint()


def current_deadline() -> float:
    return trio.current_effective_deadline()


def is_cancelled() -> bool:
    return trio.current_effective_deadline() == -inf


def get_cancelled_exc_class() -> type[BaseException]:
    return trio.Cancelled


# for Event, Lock and the like


class Waiter(abc.Waiter):
    __slots__ = ("_cancelled", "_task", "woken")

    def __init__(self) -> None:
        self._task = current_task()
        self._cancelled = False
        self.woken = False

    def wake(self) -> bool:
        if self._cancelled or self.woken:
            return False
        self.woken = True
        reschedule(self._task)
        return True

    async def park(self) -> None:
        def abort(_: RaiseCancelT) -> Abort:
            self._cancelled = True
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)


def current_owner() -> trio.lowlevel.Task:
    return current_task()


current_loop = current_trio_token
