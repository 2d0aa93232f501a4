"""Sleeping, checkpoints, and the clock: trio's own."""

from __future__ import annotations

from math import inf

import trio
from trio import current_time as current_time

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
