"""Each private name of trio that this backend uses, why, and the test that fails when it goes.

They are read; none is written.

`Task._next_send_fn`
    Whether a task is among those that run next (P2). `test_patterns.py`.
The name of the task that calls what `TrioToken.run_sync_soon()` is given
    Such a callback is in no task of the user's, and a scope left open in that one ends the run (G9).
    `test_misuse.py`.
"""

from __future__ import annotations

from trio.lowlevel import Task

__all__ = ["is_in_callback", "is_woken"]


def is_woken(task: Task) -> bool:
    """Whether what `task` waited for has come, and its next step is due."""
    return task._next_send_fn is not None


def is_in_callback(task: Task) -> bool:
    """Whether `task`, the current one, is trio's own, which calls callbacks that came from elsewhere."""
    return task.name == "<TrioToken.run_sync_soon task>"
