"""The budgets of the design, each with the measurement that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .growth import CANCELLED_TASKS, CANCELLED_WAITER, Curve
from .imports import BASELINE
from .operations import (
    AS_COMPLETED,
    AWAIT,
    CANCEL,
    CANCEL_MANY,
    DEADLINE,
    FIRES,
    GATHER,
    HAND_OVER,
    ITEM,
    ITEM_IN_TIME,
    PLAIN_DEADLINE,
    SET_EVENT,
    SPAWN_DROPPED,
    SPAWN_KEPT,
    UNCONTENDED,
)
from .results import Results

_COORDINATION = {
    **{title: {"native": 1.0} for titles in UNCONTENDED.values() for title in titles},
    SET_EVENT: {"native": 1.0},
    **{title: {"native": 1.2} for title in HAND_OVER.values()},
    # of items per second at least 0.9 and twice as many
    **{
        title: {"native": 1 / 0.9, "anyio": 1 / 2}
        for title in (ITEM[0], ITEM[100], ITEM_IN_TIME[0], ITEM_IN_TIME[100])
    },
}
_ON_ASYNCIO = {
    SPAWN_KEPT: {"native": 1.10, "anyio": 0.25},
    DEADLINE: {"native": 0.70, "anyio": 0.25},
    PLAIN_DEADLINE: {"native": 0.60},
    FIRES: {"native": 1.10},
    CANCEL: {"native": 1.15},
    CANCEL_MANY: {"native": 1.15},
    AWAIT: {"native": 1.40},
    GATHER: {"native": 1.15},
    AS_COMPLETED: {"native": 1.30},
    **_COORDINATION,
}

RATIOS: dict[str, dict[str, dict[str, float]]] = {
    "asyncio": _ON_ASYNCIO,
    "uvloop": {**_ON_ASYNCIO, SPAWN_KEPT: {"native": 1.15, "anyio": 0.25}},
    "trio": {
        SPAWN_KEPT: {"native": 2.1, "anyio": 0.6},
        SPAWN_DROPPED: {"native": 1.25, "anyio": 0.6},
        DEADLINE: {"native": 0.95},
        **_COORDINATION,
    },
}
"""By loop, operation and peer: the highest ratio of interloop's time to the peer's."""

IMPORT_SECONDS = 0.005
CHILD_BYTES = 200
SAME_ORDER = 10  # times as many loop iterations as native
LINEAR = 1.1  # the highest exponent that passes for linear
NOT_LINEAR = 0.5  # and for not even that
FLAT = 0.01  # of the memory blocks that there were


@dataclass(frozen=True)
class Verdict:
    """One budget and what was measured; `met` is `None` if it was not."""

    what: str
    loop: str
    against: str
    budget: str
    measured: str | None
    met: bool | None


def verdicts(results: Results) -> Iterator[Verdict]:
    """Every budget, in the order of the design."""
    for loop, budgets in RATIOS.items():
        for title, limits in budgets.items():
            for against, limit in limits.items():
                yield _ratio(results, loop, title, against, limit)
    yield _idle(results)
    yield _import(results)
    yield _memory(results)
    for curve in results.curves:
        if curve.peer == "interloop" and curve.unit == "s" and curve.title != CANCELLED_TASKS:
            yield _exponent(curve)
    yield from _flat(results)


def ratio_met(results: Results, loop: str, title: str, against: str, limit: float) -> bool | None:
    ratio = results.series(loop, title).ratio("interloop", against)
    return None if ratio is None else ratio.median <= limit


def _ratio(results: Results, loop: str, title: str, against: str, limit: float) -> Verdict:
    ratio = results.series(loop, title).ratio("interloop", against)
    met = ratio_met(results, loop, title, against, limit)
    return Verdict(title, loop, against, f"≤ {limit:.2f}", None if ratio is None else str(ratio), met)


def _idle(results: Results) -> Verdict:
    what, case = "loop iterations while a cancelled group waits", "a child that absorbs cancellation"
    found = {
        each.peer: each.iterations for each in results.idle if (each.loop, each.case) == ("asyncio", case)
    }
    own, native = found.get("interloop"), found.get("native")
    if own is None or native is None:
        return Verdict(what, "asyncio", "native", "the same order", None, None)
    return Verdict(
        what, "asyncio", "native", "the same order", f"{own} to {native}", own <= SAME_ORDER * native
    )


def _import(results: Results) -> Verdict:
    what, budget = f"`import interloop` over `import {BASELINE}`", f"≤ {IMPORT_SECONDS * 1e3:g} ms"
    if not {"interloop", BASELINE} <= set(results.imports):
        return Verdict(what, "", "", budget, None, None)
    over = results.imports["interloop"].median() - results.imports[BASELINE].median()
    return Verdict(what, "", "", budget, f"{over * 1e3:.1f} ms", over <= IMPORT_SECONDS)


def _memory(results: Results) -> Verdict:
    what, budget = "memory of a live child", f"≤ +{CHILD_BYTES} bytes"
    taken = results.child_bytes.get("asyncio", {})
    if not {"interloop", "native"} <= set(taken):
        return Verdict(what, "asyncio", "native", budget, None, None)
    more = taken["interloop"] - taken["native"]
    return Verdict(what, "asyncio", "native", budget, f"{more:+.0f} bytes", more <= CHILD_BYTES)


def _exponent(curve: Curve) -> Verdict:
    what = f"time for {max(curve.values):,} {curve.title}"
    budget, highest = (
        ("not linear", NOT_LINEAR) if curve.title in CANCELLED_WAITER.values() else ("linear", LINEAR)
    )
    if curve.exponent is None:
        return Verdict(what, curve.loop, "", budget, None, None)
    return Verdict(what, curve.loop, "", budget, f"exponent {curve.exponent:.2f}", curve.exponent <= highest)


def _flat(results: Results) -> Iterator[Verdict]:
    for each in results.flatness:
        first, *_, last = each.blocks.items()
        grown = (last[1] - first[1]) / first[1]
        what = f"memory after {last[0]:,} {each.title}"
        yield Verdict(what, each.loop, "", "flat", f"{grown:+.2%} blocks since {first[0]:,}", grown <= FLAT)
