"""Each private name of trio that this backend uses, why, and the test that fails when it goes.

They are read; none is written.

`Task._next_send_fn`
    Whether a task is among those that run next (P2). `test_patterns.py`.
"""

from __future__ import annotations

from trio.lowlevel import Task

__all__ = ["is_woken"]


def is_woken(task: Task) -> bool:
    """Whether what `task` waited for has come, and its next step is due."""
    return task._next_send_fn is not None
