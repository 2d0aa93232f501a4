"""The backend for marimba, with the names of `interloop.abc.Backend`.

marimba runs on asyncio's loop, so all of it is asyncio's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interloop.abc import backend

if TYPE_CHECKING:
    import interloop_marimba

    from interloop.abc import Backend

    _: Backend = interloop_marimba

_asyncio = backend("asyncio")

TaskGroup = _asyncio.TaskGroup
Deadline = _asyncio.Deadline
Event = _asyncio.Event
Waiter = _asyncio.Waiter
current_owner = _asyncio.current_owner
current_loop = _asyncio.current_loop
shield = _asyncio.shield
sleep = _asyncio.sleep
sleep_forever = _asyncio.sleep_forever
checkpoint = _asyncio.checkpoint
current_time = _asyncio.current_time
current_deadline = _asyncio.current_deadline
is_cancelled = _asyncio.is_cancelled
get_cancelled_exc_class = _asyncio.get_cancelled_exc_class
