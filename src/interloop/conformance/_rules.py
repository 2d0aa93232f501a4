"""The rules of the contract by id, and the mark that ties a test to those that it proves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest import MarkDecorator

__all__ = ["CHAPTERS", "RULES", "check_rules", "rule"]

CHAPTERS = {
    "D": "Dispatch",
    "G": "Task groups",
    "T": "Tasks",
    "L": "Deadlines",
    "C": "Cancellation",
    "W": "Waiting",
    "P": "Patterns",
    "S": "Coordination",
    "N": "Native interplay",
}

RULES = {
    "D1": "The backend is found through sniffio when a call needs it, never at import",
    "D2": "Without an async context, or under a library with no backend, an error says so",
    "D3": "An installed package adds a backend through an entry point",
    "D4": "Two loops in two threads do not see each other",
    "D5": "Calls from another thread or loop are refused; those from callbacks of the own loop work",
    "G1": "The block is left only when every child has finished",
    "G2": "Children may be added by the body, by children, and while the block is exiting",
    "G3": "The first failure cancels the rest, and all errors are raised in one group",
    "G4": "Errors win over cancellation, which is delivered at the next checkpoint",
    "G5": "Without errors, a cancellation from outside passes on as it came",
    "G6": "cancel() leaves the block without an exception",
    "G7": "Every created task runs at least to its first checkpoint",
    "G8": "A refused create_task says why and closes the coroutine",
    "G9": "A group is entered once, and left in the task that entered it",
    "G10": "A child carries its name, and runs in a copy of the caller's context or a given one",
    "G11": "A finished child is released at once, and a group keeps nothing alive",
    "G12": "KeyboardInterrupt and SystemExit follow the host",
    "G13": "Leaving a group is a checkpoint",
    "G14": "limit: at most that many children run at once, the others wait in order of creation",
    "G15": "A background task is cancelled once the body and every ordinary child have ended",
    "G16": "defer_errors: a failing child leaves its siblings alone, and all errors are raised at the end",
    "T1": "The outcome of a task that has not ended is refused",
    "T2": "Awaiting a task gives its result, TaskFailed or TaskCancelled",
    "T3": "Cancelling the waiter leaves the task alone",
    "T4": "Cancelling a task cancels that child alone and does not fail the group",
    "T5": "start waits until the child says that it is ready, and raises what it raised before",
    "L1": "On expiry the block is cancelled, and that cancellation becomes a TimeoutError",
    "L2": "A block that ends or fails by itself after expiry keeps its outcome",
    "L3": "Of nested deadlines the outermost that has expired raises",
    "L4": "A deadline already past expires at the first checkpoint; bad arguments are refused",
    "L5": "reschedule moves a running deadline, later or earlier",
    "L6": "A deadline is entered once, and left in the task that entered it",
    "L7": "current_deadline() sees the deadlines around the group that owns a task",
    "L8": "expired() tells that the time came while the block ran, whatever the outcome",
    "L9": "delay counts from entry",
    "L10": "Deadlines leave no timer in the loop, and no loop's timer can kill one",
    "C1": "A cancellation arrives at a checkpoint, at least once; what is handed over is not lost to it",
    "C2": "Leaving a scope leaves no cancellation behind",
    "C3": "While a cancelled scope waits for clean-up the loop is idle",
    "C4": "shield begins its coroutine at once and completes it; the cancellation is delivered after it",
    "C5": "A cancellation by the host is an outer cancellation like any other, and never lost",
    "C6": "Cancelling a scope reaches everything inside it at once",
    "C7": "Foreign code that fails loses no error, child, slot or deadline",
    "C8": "anyio's shields hold against interloop's cancellations",
    "W1": "sleep(0) and checkpoint() are checkpoints",
    "W2": "A negative or NaN sleep is refused",
    "W3": "There is one monotonic clock for each loop",
    "P1": "gather gives all results in order; the first failure cancels the rest",
    "P2": "first gives the first success; the others are cancelled and waited for",
    "P3": "as_completed gives results as they come; leaving early cancels the rest",
    "S1": "Primitives are made anywhere, and serve one loop after another",
    "S2": "First come, first served, and handed over",
    "S3": "What need not wait does not suspend; what never waits works in callbacks",
    "S4": "A cancelled waiter loses nothing and keeps nothing",
    "S5": "Locks and tokens are owned by tasks, also inside their shields",
    "S6": "Condition.wait holds the lock again before it returns or raises",
    "S7": "A channel keeps the order of each sender, and ends when one side has left",
    "S8": "Bad arguments are errors by name, and change nothing",
    "S9": "They work in virtual time and under explore_cancellation; a deadlock on them is named",
    "N1": "The rules hold inside and around asyncio.TaskGroup",
    "N2": "The rules hold inside and around asyncio.timeout and asyncio.wait_for",
    "N3": "The rules hold inside and around asyncio.shield",
    "N4": "The rules hold inside and around trio's nurseries and cancel scopes",
    "N5": "The rules hold inside and around anyio's task groups and cancel scopes",
    "N6": "Ctrl-C in asyncio.run lets clean-up run and comes out as KeyboardInterrupt",
    "N7": "The rules hold under the test plugins of anyio, trio and asyncio",
}


def check_rules(ids: Iterable[str]) -> None:
    """Raise a `ValueError` if one of `ids` is not in the contract."""
    unknown = [rule_id for rule_id in ids if rule_id not in RULES]
    if unknown:
        raise ValueError(f"no such rule: {', '.join(unknown)}; there are {', '.join(RULES)}")


def rule(
    *ids: str,
    only: Literal["asyncio", "trio"] | None = None,
    host: str | None = None,
    real_time: bool = False,
) -> MarkDecorator:
    """Mark a test with the rules of the contract that it proves.

    Args:
        ids: the rules, `"G4"`, ...
        only: the backend that these rules are about, if they are about one alone.
        host: the only host to run it on, for a test that runs a loop of its own in a process.
        real_time: whether the test waits for real time on hosts with virtual time too, for a process or a
            thread say: if it fails, the machine may have been too busy, and it is run again, alone.
    """
    import pytest  # not above: `python -m interloop.conformance` reports that it is missing

    if not ids:
        raise ValueError(f"no rule given; there are {', '.join(RULES)}")
    check_rules(ids)
    return pytest.mark.rule(*ids, only=only, host=host, real_time=real_time)
