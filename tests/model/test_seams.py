"""Kinds of programs that random ones find, each as one: asyncio differed in them before the ledger was."""

from __future__ import annotations

import pytest

from .programs import (
    AnyioShield,
    AnyioTimeout,
    Block,
    CancelGroup,
    CancelNatively,
    CreateTask,
    Deadline,
    ExceptStar,
    Finally,
    Group,
    LeftToTheEnd,
    NativeTimeout,
    Raise,
    Shield,
    Sleep,
    SleepForever,
    Statement,
)
from .runs import check


def _group(*body: Statement) -> Block:
    return (Group(1, None, False, body),)


def _shielded(seconds: float) -> Shield:
    return Shield(10, None, (Sleep(11, seconds, False),))


def _task(*body: Statement) -> CreateTask:
    return CreateTask(2, 1, False, body)


def _fails_in_cleanup() -> Group:
    child = Finally(20, (Sleep(21, 1.25, False),), (Raise(22, ValueError),))
    return Group(23, None, False, (CreateTask(24, 23, False, (child,)),))


LATER = Sleep(30, 4, False)
LAST = Sleep(31, 1 / 16, False)

PROGRAMS = {
    "two timeouts that are held back": _group(
        NativeTimeout(3, 2.25, (NativeTimeout(4, 1.5, (_shielded(3.125),)), LATER))
    ),
    "a timeout and a native cancel that are held back": _group(
        _task(NativeTimeout(3, 1.5, (_shielded(3.125),)), LATER),
        Sleep(4, 2.25, False),
        CancelNatively(5, 2),
        LAST,
    ),
    "an anyio scope and ours that are held back": _group(
        _task(AnyioTimeout(3, 2.25, False, False, (_shielded(3.125),)), LATER),
        Sleep(4, 1.5, False),
        CancelGroup(5, 1),
    ),
    "a deadline that is entered while a timeout is held back": _group(
        NativeTimeout(
            3,
            1.5,
            (
                _shielded(2.25),
                Deadline(4, 2.125, True, (Finally(5, (LATER,), (Sleep(6, 3.0625, True),)),)),
                LAST,
            ),
        )
    ),
    "a deadline that has expired, entered while a timeout is held back": _group(
        NativeTimeout(3, 1.5, (_shielded(2.25), Deadline(4, 0, True, (SleepForever(5),)), LATER))
    ),
    "a deadline that is entered while a native cancel is pending": _group(
        _task(Sleep(3, 1.5, False), CancelNatively(4, 2), Deadline(5, 0, True, (SleepForever(6),)), LATER),
        LAST,
    ),
    "a group that fails, entered while a native cancel is pending": _group(
        _task(
            Sleep(3, 1.5, False),
            CancelNatively(4, 2),
            ExceptStar(5, ValueError, (_fails_in_cleanup(),), ()),
            LATER,
        ),
        LAST,
    ),
    "a group in a shield at the end of asyncio.run": (
        LeftToTheEnd(
            40,
            (
                Shield(
                    41,
                    None,
                    (Group(42, None, False, (CreateTask(43, 42, False, (Sleep(44, 3.5, False),)),)),),
                ),
            ),
            _group(Sleep(45, 1.25, False)),
        ),
    ),
    "a deadline around a shield of anyio": _group(
        Deadline(3, 1.5, True, (AnyioShield(4, (Sleep(5, 2.25, False),)), LATER))
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_was_lost_at_a_seam_is_seen_on_every_host(name: str) -> None:
    check(PROGRAMS[name])
