"""The errors of interloop, and what the backends share in raising them."""

from __future__ import annotations

from typing import Any

__all__ = [
    "BrokenChannel",
    "ClosedChannel",
    "EndOfChannel",
    "NoAsyncContext",
    "TaskCancelled",
    "TaskFailed",
    "TaskNotDone",
    "UnsupportedBackend",
    "WouldBlock",
]


class NoAsyncContext(RuntimeError):
    """A call that needs an event loop was made outside of any (D2)."""


class UnsupportedBackend(RuntimeError):
    """The async library that is running has no interloop backend (D2)."""


class TaskNotDone(RuntimeError):
    """The outcome of a task was asked for before the task ended (T1)."""


class TaskFailed(Exception):
    """The task whose result was asked for ended with an error, which is the `__cause__` of this one (T2)."""


class TaskCancelled(Exception):
    """The task whose result was asked for was cancelled (T2).

    An ordinary exception, so that a cancelled task is never mistaken for a cancellation of whoever
    waits for it.
    """


class WouldBlock(Exception):
    """A call that never waits, such as `Lock.acquire_nowait()`, would have to (S3)."""


class EndOfChannel(Exception):
    """Nothing will come any more: every sender of the channel is closed, and all items are received (S7)."""


class BrokenChannel(Exception):
    """Nobody will receive what is sent: every receiver of the channel is closed (S7)."""


class ClosedChannel(Exception):
    """This end of the channel was closed, before the call or while it waited (S7)."""


def name_classes_after(package: str, public: dict[str, Any]) -> None:
    """Let the public classes of `package` say where they are imported from, in tracebacks and in pickles.

    Not the functions: nothing shows where they are from, and `typing.get_overloads` finds theirs by it.
    """
    for thing in public.values():
        if isinstance(thing, type) and thing.__module__.startswith(f"{package}._"):
            thing.__module__ = package


def already_entered(scope: object) -> RuntimeError:
    return RuntimeError(f"{scope!r} has already been entered; a scope is used once, make a new one")


def entered_under_another_library(scope: object, made_under: str, here: str) -> RuntimeError:
    return RuntimeError(
        f"{scope!r} was made under {made_under} and cannot be entered under {here}; make it where it is used"
    )


def not_entered(group: object) -> RuntimeError:
    return RuntimeError(f"{group!r} has not been entered; create tasks inside its `async with` block")


def finished(group: object) -> RuntimeError:
    return RuntimeError(f"{group!r} is finished; create tasks while its block runs, or in another group")


def not_open(scope: object) -> RuntimeError:
    return RuntimeError(f"{scope!r} cannot be left: it was not entered, or has been left already")


def outside_of_tasks(scope: object) -> RuntimeError:
    return RuntimeError(f"{scope!r} must be used inside a task, and cannot determine the parent task")


def left_in_another_task(scope: object, entered_in: str, left_in: str) -> RuntimeError:
    return RuntimeError(
        f"{scope!r} was entered in task {entered_in!r} but is being left in task {left_in!r}. "
        "The usual cause is an async generator, or an exit stack, that yields inside the scope "
        "and is then closed by another task, such as a fixture of pytest-asyncio, asyncSetUp() and a test of "
        "IsolatedAsyncioTestCase, or two cells of a notebook; enter and leave a scope in one task, and hand "
        "values out through a channel or a queue instead"
    )


def left_out_of_order(scope: object, still_open: object = "another scope") -> RuntimeError:
    return RuntimeError(
        f"{scope!r} is being left while {still_open}, entered inside it, is still open; "
        "scopes are left in the reverse order of entering (the usual cause is an exit stack or an "
        "async generator that holds one of them)"
    )


def left_open(scope: object, task: str) -> RuntimeError:
    return RuntimeError(
        f"task {task!r} ended while {scope!r}, which it had entered, was still open; what is entered in a "
        "task is left in that task"
    )


def used_from_elsewhere(call: str, owner: object, belongs_to: str, here: str, instead: str) -> RuntimeError:
    return RuntimeError(
        f"{call} on {owner!r} from {here}: it belongs to {belongs_to}; call it there, through {instead}"
    )


def in_use_elsewhere(primitive: object, home: object, here: object) -> RuntimeError:
    return RuntimeError(
        f"{primitive!r} was used in {_shown(here)} while tasks of {_shown(home)} hold it or wait for it; it "
        "may serve one loop after another, but not two at once: make one for each"
    )


def _shown(loop: object) -> str:
    """trio's token stands for a run of trio, and shows its insides."""
    return "another trio.run()" if type(loop).__name__ == "TrioToken" else repr(loop)


def timed_out(delay: float | None, when: float | None) -> str:
    """What a `TimeoutError` says (L1)."""
    return f"deadline of {delay:g} s" if delay is not None else f"deadline at {when:g} s"
