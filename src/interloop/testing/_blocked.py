"""`wait_all_tasks_blocked`: let the others run until none of them can."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from .. import current_backend
from .._checks import safe_repr

__all__ = ["wait_all_tasks_blocked"]

_waiters: Counter[asyncio.AbstractEventLoop] = Counter()


async def wait_all_tasks_blocked() -> None:
    """Wait until every other task waits for something: a timer, I/O, a thread, another task.

    The clock does not move meanwhile. Several tasks that wait with this do not wait for each other.

    Raises:
        NotImplementedError: under a loop that has no view of what can run: uvloop, trio-asyncio.
        NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
    """
    if current_backend() == "trio":
        from trio.testing import wait_all_tasks_blocked as trios

        await trios()
    else:
        await _on_asyncio(asyncio.get_running_loop())


async def _on_asyncio(loop: asyncio.AbstractEventLoop) -> None:
    ready: object = getattr(loop, "_ready", None)  # asyncio's queue, which has no public view
    if not isinstance(ready, deque):
        raise NotImplementedError(
            f"wait_all_tasks_blocked() cannot see what is to run on {safe_repr(loop)}; "
            "use one of asyncio's own loops"
        )
    _waiters[loop] += 1
    try:
        # Each who waits here has one callback in the queue. A second round, since the first may have let in
        # timers that were due and I/O.
        quiet = 0
        while quiet < 2:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(ready) < _waiters[loop] else 0
    finally:
        _waiters[loop] -= 1
        if not _waiters[loop]:
            del _waiters[loop]
