"""Subclasses of a backend's scopes, such as a further backend may have (D3), are scopes like any other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import CORO_CLOSED, getcoroutinestate
from itertools import product
from typing import Any

import pytest

from interloop import checkpoint, current_deadline, current_time, sleep, sleep_forever
from interloop.abc import backend
from interloop.testing import HOSTS

THREE_KINDS = list(product(range(3), repeat=3))
Main = Callable[[], Coroutine[Any, Any, None]]


class Kinds:
    """A backend's own classes, classes derived from these, and classes derived from those."""

    def __init__(self, name: str) -> None:
        native: Any = backend(name)

        class Group(native.TaskGroup):  # type: ignore[misc]
            __slots__ = ()

        class NamedGroup(Group):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.name = "a group with an attribute more"

            def __eq__(self, other: object) -> bool:  # so it has no hash
                return isinstance(other, NamedGroup) and self.name == other.name

        class Deadline(native.Deadline):  # type: ignore[misc]
            __slots__ = ()

        class NamedDeadline(Deadline):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.name = "a deadline with an attribute more"

            def __eq__(self, other: object) -> bool:
                return isinstance(other, NamedDeadline) and self.name == other.name

        self.groups: list[Any] = [native.TaskGroup, Group, NamedGroup]
        self.deadlines: list[Any] = [native.Deadline, Deadline, NamedDeadline]


@pytest.fixture(params=["asyncio", "trio"])
def host(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if (missing := HOSTS[name].missing()) is not None:
        pytest.skip(missing)
    return name


@pytest.fixture
def kinds(host: str) -> Kinds:
    return Kinds(host)


@pytest.fixture
def run(host: str) -> Callable[[Main], None]:
    return lambda main: HOSTS[host].run(main, virtual_time=True)


@pytest.mark.parametrize("nested", THREE_KINDS, ids=str)
def test_a_cancelled_group_cancels_all_that_is_in_groups_inside_it(
    nested: tuple[int, int, int], kinds: Kinds, run: Callable[[Main], None]
) -> None:
    ended: list[str] = []
    queued: list[Any] = []  # behind the limit of 1

    async def wait(name: str) -> None:
        try:
            await sleep_forever()
        finally:
            ended.append(name)

    async def in_a_group(left: list[int]) -> None:
        kind, *left = left
        name = f"level {3 - len(left)}"
        async with kinds.groups[kind](1, False) as tg:
            if left:
                tg.create_task(in_a_group(left))
            else:
                tg.create_task(wait(f"child of {name}"))
            queued.append(tg.create_task(wait("never")))
            tg.create_background_task(wait(f"background of {name}"))
            try:
                await wait(f"body of {name}")
            finally:
                assert current_deadline() == float("-inf")

    async def main() -> None:
        outer = kinds.groups[nested[0]](None, False)
        async with outer:
            outer.create_task(in_a_group(list(nested)))
            await sleep(1)
            assert ended == []
            outer.cancel()

    run(main)
    levels = ["level 1", "level 2", "level 3"]
    expected = [f"{what} of {level}" for level in levels for what in ("body", "background")]
    assert sorted(ended) == sorted([*expected, "child of level 3"])
    assert [task.cancelled() for task in queued] == [True] * 3


@pytest.mark.parametrize("nested", THREE_KINDS, ids=str)
def test_a_deadline_around_a_group_around_a_deadline(
    nested: tuple[int, int, int], kinds: Kinds, run: Callable[[Main], None]
) -> None:
    around, between, inside = nested

    async def child(limit: Any) -> bool:
        with limit:
            await sleep_forever()
        await checkpoint()
        return True

    async def main() -> None:
        for outer_delay, inner_delay in [(2, 5), (5, 2)]:
            began = current_time()
            outer = kinds.deadlines[around](outer_delay, None, True)
            inner = kinds.deadlines[inside](inner_delay, None, True)
            with outer:
                async with kinds.groups[between](None, False) as tg:
                    task = tg.create_task(child(inner))
            assert current_time() - began == 2
            assert outer.expired() == task.cancelled() == (outer_delay == 2)
            assert inner.expired() == (inner_delay == 2)

    run(main)


@pytest.mark.parametrize("inner", range(3))
@pytest.mark.parametrize("outer", range(3))
def test_an_error_in_a_group_inside_comes_out_of_both_and_cancels_both(
    outer: int, inner: int, kinds: Kinds, run: Callable[[Main], None]
) -> None:
    async def fail() -> None:
        await sleep(1)
        raise LookupError

    async def fail_in_a_group() -> None:
        async with kinds.groups[inner](None, False) as tg:
            tg.create_task(fail())
            await sleep_forever()

    async def main() -> None:
        with pytest.RaisesGroup(pytest.RaisesGroup(LookupError)):
            async with kinds.groups[outer](None, False) as tg:
                other = tg.create_task(sleep_forever())
                tg.create_task(fail_in_a_group())
        assert other.cancelled()

    run(main)


@pytest.mark.parametrize("kind", range(3))
def test_a_child_that_ends_with_a_group_open_leaves_no_child_behind(
    kind: int, kinds: Kinds, run: Callable[[Main], None]
) -> None:
    async def main() -> None:
        abandoned = kinds.groups[kind](None, False)
        children = []

        async def leave_it_open() -> None:
            await abandoned.__aenter__()
            children.append(abandoned.create_task(sleep_forever()))

        with pytest.RaisesGroup(RuntimeError):
            async with kinds.groups[kind](None, False) as tg:
                tg.create_task(leave_it_open())
        assert [child.cancelled() for child in children] == [True]

    run(main)


@pytest.mark.parametrize("kind", range(3))
def test_a_task_is_cancelled_with_the_group_that_it_has_open(
    kind: int, kinds: Kinds, run: Callable[[Main], None]
) -> None:
    async def main() -> None:
        children = []

        async def with_a_child() -> None:
            async with kinds.groups[kind](None, False) as inner:
                children.append(inner.create_task(sleep_forever()))

        async with kinds.groups[kind](None, False) as tg:
            task = tg.create_task(with_a_child())
            await sleep(1)
            task.cancel()
        assert task.cancelled()
        assert [child.cancelled() for child in children] == [True]

    run(main)


@pytest.mark.parametrize("kind", range(3))
def test_both_are_cancelled_after_a_shield_of_anyio_inside_them(
    kind: int, kinds: Kinds, run: Callable[[Main], None]
) -> None:
    anyio = pytest.importorskip("anyio")
    steps: list[str] = []

    async def wait_in_a_shield() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(2)
            steps.append("shielded")
        await checkpoint()
        steps.append("not cancelled")

    async def main() -> None:
        async with kinds.groups[kind](None, False) as tg:
            tg.create_task(wait_in_a_shield())
            tg.cancel()
            await wait_in_a_shield()
        with kinds.deadlines[kind](1, None, True):
            await wait_in_a_shield()

    run(main)
    assert steps == ["shielded"] * 3


def test_a_child_that_a_group_fails_to_start_when_a_slot_is_free_has_that_error(
    host: str, run: Callable[[Main], None]
) -> None:
    native: Any = backend(host)
    failure = OSError("no more tasks")

    class Group(native.TaskGroup):  # type: ignore[misc]
        def _spawn(self, task: Any, coro: Any, name: str | None, context: Any) -> None:
            if name == "refused":
                raise failure
            super()._spawn(task, coro, name, context)

    async def main() -> None:
        group = Group(1, True)
        coro = sleep_forever()
        with pytest.RaisesGroup(OSError):
            async with group as tg:
                tg.create_task(sleep(1))
                refused = tg.create_task(coro, name="refused")
                last = tg.create_task(sleep(1))
        assert getcoroutinestate(coro) == CORO_CLOSED
        assert not refused.cancelled()
        assert refused.exception() is failure
        assert last.result() is None

    run(main)
