"""Misuse hurts nobody else: the wrong task (G9, L6), the wrong thread or loop (D5)."""

# pyright: reportPossiblyUnboundVariable=false
# since pytest.raises() and suppress() might swallow what comes before a name is bound

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from inspect import CORO_CLOSED, getcoroutinestate
from math import inf
from typing import Any, TypeAlias

import pytest

from interloop import (
    Deadline,
    Task,
    TaskGroup,
    TaskStatus,
    as_completed,
    checkpoint,
    current_backend,
    current_deadline,
    current_time,
    deadline,
    first,
    gather,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    clean_up,
    fail,
    fail_when_cancelled,
    leaves,
    note_the_end,
    settle,
    until,
)
from interloop.testing import Deadlock, Host


async def note_after(seconds: float, log: list[str], what: str) -> None:
    await sleep(seconds)
    log.append(what)


# G9, L6: a scope that another task tries to leave stays open and works for its owner


async def leave(scope: Any, refusals: list[str], error: BaseException | None = None) -> None:
    try:
        await scope.__aexit__(None if error is None else type(error), error, None)
    except RuntimeError as refusal:
        refusals.append(str(refusal))
    else:
        refusals.append("not refused")


@rule("G9")
@pytest.mark.parametrize("error", [None, ValueError()], ids=["quietly", "with-an-error"])
async def test_a_group_that_another_task_tries_to_leave_works_on_for_its_owner(
    error: BaseException | None, tick: float
) -> None:
    log: list[str] = []
    refusals: list[str] = []

    async def own() -> None:
        async with group:
            group.create_task(note_after(2 * tick, log, "before"))
            await until(lambda: refusals)
            task = group.create_task(note_after(tick, log, "after"))
            group.create_background_task(note_the_end(log, "background"))
            await task
        log.append("left")

    async with task_group() as outer:
        group = task_group()
        owner = outer.create_task(own(), name="the-owner")
        await settle()
        await outer.create_task(leave(group, refusals, error), name="the-intruder")
        await owner
    assert "was entered in task 'the-owner' but is being left in task 'the-intruder'" in refusals[0]
    assert log == ["after", "before", "background", "left"]
    await checkpoint()


@rule("G9")
async def test_a_group_that_its_own_child_tries_to_leave_works_on(tick: float) -> None:
    refusals: list[str] = []
    log: list[str] = []
    async with task_group() as tg:
        tg.create_task(leave(tg, refusals), name="child")
        await sleep(tick)
        tg.create_task(note_after(tick, log, "ended"))
    assert "'child'" in refusals[0]
    assert log == ["ended"]


@rule("G9", "G3", "G6")
@pytest.mark.parametrize("how", ["cancel", "failure"])
async def test_a_group_that_another_task_tried_to_leave_can_still_be_cancelled(how: str) -> None:
    refusals: list[str] = []
    log: list[str] = []

    async def own() -> None:
        async with task_group() as group:
            groups.append(group)
            group.create_task(note_the_end(log))
            await until(lambda: refusals)
            if how == "failure":
                group.create_task(fail_at_once())
            else:
                group.cancel()
            await sleep_forever()

    async def fail_at_once() -> None:
        raise OSError

    groups: list[TaskGroup] = []
    errors: list[BaseException] = []
    try:
        async with task_group() as outer:
            owner = outer.create_task(own())
            await until(lambda: groups)
            await settle()
            await leave(groups[0], refusals)
            with suppress(Exception):
                await owner
    except ExceptionGroup as caught:
        errors += leaves(caught)
    assert log == ["child"]
    assert [type(error) for error in errors] == ([OSError] if how == "failure" else [])


@rule("L6")
async def test_a_deadline_that_another_task_tries_to_leave_expires_for_its_owner(tick: float) -> None:
    limit = deadline(2 * tick)
    refusals: list[str] = []
    with pytest.raises(TimeoutError):
        with limit:
            async with task_group() as tg:
                tg.create_task(leave(limit, refusals), name="the-intruder")
            assert current_deadline() == limit.when()
            await sleep(5 * tick)
    assert limit.expired()
    assert "the-intruder" in refusals[0]
    assert current_deadline() == inf


@rule("L6", "L5")
async def test_a_deadline_that_another_task_tried_to_leave_can_be_moved_and_left(tick: float) -> None:
    limit = deadline(tick)
    refusals: list[str] = []
    async with limit:
        async with task_group() as tg:
            tg.create_task(leave(limit, refusals))
        limit.reschedule(current_time() + 5 * tick)
        await sleep(2 * tick)
    assert not limit.expired()
    assert len(refusals) == 1
    await sleep(5 * tick)


@rule("G9")
async def test_an_async_generator_closed_by_a_child_leaves_no_cancellation_behind(
    host: Host, tick: float
) -> None:
    async def ticker() -> AsyncGenerator[int, None]:
        async with task_group():
            yield 1

    async def own() -> None:
        generator = ticker()
        await anext(generator)
        with pytest.raises(ExceptionGroup) as caught:
            async with task_group() as tg:
                tg.create_task(_close(generator))
        assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
        await sleep(tick)
        log.append("went on")

    log: list[str] = []
    with suppress(ExceptionGroup):  # it ends with the generator's group open
        async with task_group() as outer:
            outer.create_task(own())
    assert log == ["went on"]


@rule("G9", "C2", only="asyncio")  # trio ends a main task that has a nursery open with an error of its own
async def test_the_same_in_the_main_task_leaves_no_cancellation_behind(tick: float) -> None:
    async def ticker() -> AsyncGenerator[int, None]:
        async with task_group():
            yield 1

    generator = ticker()
    await anext(generator)
    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            tg.create_task(_close(generator))
    await sleep(tick)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def _close(generator: AsyncGenerator[int, None]) -> None:
    await generator.aclose()


@rule("G9")
@pytest.mark.parametrize("part", ["pytest-asyncio", "IsolatedAsyncioTestCase", "notebook", "async generator"])
async def test_the_refusal_names_the_usual_causes(part: str) -> None:
    for scope in (task_group(), deadline(None)):
        refusals: list[str] = []
        async with scope, task_group() as tg:
            tg.create_task(leave(scope, refusals))
        assert part in refusals[0]


@rule("G9", "L6")
async def test_the_refusal_names_a_task_to_which_nobody_gave_a_name() -> None:
    for scope in (task_group(), deadline(None)):
        refusals: list[str] = []
        async with scope, task_group() as tg:
            tg.create_task(leave(scope, refusals))
        assert re.search(r"is being left in task '[^']+'", refusals[0])


@rule("G9")
def test_a_group_that_is_left_in_another_task_does_not_end_the_run(host: Host) -> None:
    @asynccontextmanager
    async def holder() -> AsyncGenerator[None]:
        async with task_group() as tg:
            tg.create_task(checkpoint())
            yield

    async def main() -> None:
        async with AsyncExitStack() as stack, task_group() as tg:
            tg.create_task(stack.enter_async_context(holder()))

    for _ in range(20):  # trio decides by chance who runs first
        with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
            host.run(main)
        told = leaves(caught.value) if isinstance(caught.value, ExceptionGroup) else [caught.value]
        assert {type(error) for error in told} == {RuntimeError}


# G9, L6: a task that ends with a scope of its own open

Open: TypeAlias = Callable[[list[str]], Coroutine[Any, Any, None]]
keep: list[Any] = []  # what nobody leaves


@pytest.fixture(autouse=True)
def _keep_nothing() -> Any:
    yield
    keep.clear()


async def enter(scope: Any) -> Any:
    keep.append(scope)
    return await scope.__aenter__()


async def a_deadline(log: list[str]) -> None:
    await enter(deadline(1000))


async def a_deadline_that_has_expired(log: list[str]) -> None:
    await enter(deadline(0))


async def an_empty_group(log: list[str]) -> None:
    await enter(task_group())


async def a_group_with_children(log: list[str]) -> None:
    group = await enter(task_group())
    group.create_task(note_the_end(log))
    group.create_task(note_the_end(log))
    await settle()


async def a_group_with_a_background_task(log: list[str]) -> None:
    group = await enter(task_group())
    group.create_background_task(note_the_end(log))
    await settle()


async def a_group_with_children_that_wait(log: list[str]) -> None:
    group = await enter(task_group(limit=1))
    group.create_task(note_the_end(log))
    coros = [checkpoint(), checkpoint()]
    for coro in coros:
        group.create_task(coro)
    keep.extend(coros)
    await settle()


async def a_group_in_a_deadline_in_a_group(log: list[str]) -> None:
    outer = await enter(task_group())
    outer.create_task(note_the_end(log, "outer"))
    await enter(deadline(1000))
    inner = await enter(task_group())
    inner.create_task(note_the_end(log, "inner"))
    await settle()


async def a_deadline_in_a_group(log: list[str]) -> None:
    group = await enter(task_group())
    group.create_task(note_the_end(log))
    await enter(deadline(1000))
    await settle()


OPEN: dict[Open, list[str]] = {
    a_deadline: [],
    a_deadline_that_has_expired: [],
    an_empty_group: [],
    a_group_with_children: ["child", "child"],
    a_group_with_a_background_task: ["child"],
    a_group_with_children_that_wait: ["child"],
    a_group_in_a_deadline_in_a_group: ["inner", "outer"],
    a_deadline_in_a_group: ["child"],
}
open_scopes: pytest.MarkDecorator = pytest.mark.parametrize(
    ("open_them", "children"), OPEN.items(), ids=[open_them.__name__ for open_them in OPEN]
)


def about_the_owner(errors: list[BaseException], name: str = "the-owner") -> list[BaseException]:
    return [error for error in errors if type(error) is RuntimeError and name in str(error)]


@rule("G9", "L6", "G1")
@open_scopes
async def test_a_task_that_ends_with_a_scope_open_is_an_error_of_its_group(
    open_them: Open, children: list[str], tick: float
) -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(open_them(log), name="the-owner")
            sibling = tg.create_task(sleep_forever())
    errors = leaves(caught.value)
    assert about_the_owner(errors) == errors  # and no other, of trio's own say
    assert all("TaskGroup" in str(error) or "Deadline" in str(error) for error in errors)
    assert sorted(log) == children
    assert sibling.cancelled()
    assert all(getcoroutinestate(kept) == CORO_CLOSED for kept in keep if hasattr(kept, "cr_frame"))
    for group in [tg, *(kept for kept in keep if isinstance(kept, TaskGroup))]:
        with pytest.raises(RuntimeError, match="finished"):
            group.create_task(checkpoint())
    await sleep(tick)  # C2: nothing is left


@rule("G9", "L6")
@open_scopes
async def test_one_that_fails_with_a_scope_open_keeps_its_own_error(
    open_them: Open, children: list[str], tick: float
) -> None:
    log: list[str] = []

    async def own() -> None:
        await open_them(log)
        raise OSError("own")

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(own(), name="the-owner")
    errors = leaves(caught.value)
    assert [error for error in errors if type(error) is OSError]
    assert about_the_owner(errors)
    assert sorted(log) == children


@rule("G9", "L6", "T4")
@open_scopes
async def test_one_that_is_cancelled_with_a_scope_open_leaves_nothing_running(
    open_them: Open, children: list[str], tick: float
) -> None:
    log: list[str] = []

    async def own() -> None:
        await open_them(log)
        await sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            owner = tg.create_task(own(), name="the-owner")
            await sleep(tick)
            owner.cancel()
            await sleep_forever()
    assert about_the_owner(leaves(caught.value))
    assert sorted(log) == children
    await sleep(tick)


@rule("G9", "G1")
async def test_the_children_of_an_open_scope_are_waited_for_and_their_errors_kept(tick: float) -> None:
    log: list[str] = []
    error = OSError("in clean-up")

    async def own() -> None:
        group = await enter(task_group())
        group.create_task(clean_up(2 * tick, log))
        group.create_task(fail_when_cancelled(error))
        await settle()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(own(), name="the-owner")
    assert log == ["child"]
    errors = leaves(caught.value)
    assert error in errors
    assert about_the_owner(errors)


@rule("G9", "G3")
async def test_an_open_group_that_had_failed_keeps_its_error_and_its_children_are_cancelled_once(
    tick: float,
) -> None:
    requests: list[int] = []
    error = OSError("before")

    async def child() -> None:
        try:
            await sleep_forever()
        finally:
            await shield(sleep(2 * tick))
            task: Any = asyncio.current_task() if current_backend() == "asyncio" else None
            requests.append(1 if task is None else task.cancelling())

    async def own() -> None:
        group = await enter(task_group())
        group.create_task(child())
        await settle()
        group.create_task(fail(error))
        await sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(own(), name="the-owner")
    assert requests == [1]
    errors = leaves(caught.value)
    assert error in errors
    assert about_the_owner(errors)


@rule("G9", "G16")
async def test_with_deferred_errors_the_siblings_of_an_owner_that_ends_go_on(tick: float) -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(limit=2, defer_errors=True) as tg:
            tg.create_task(a_group_with_children(log), name="the-owner")
            sibling = tg.create_task(sleep(3 * tick))
            waiting = tg.create_task(checkpoint())
    assert about_the_owner(leaves(caught.value))
    assert log == ["child", "child"]
    assert not sibling.cancelled()
    assert not waiting.cancelled()


@rule("G9", "P1")
async def test_the_orphans_of_several_owners_do_not_run_on(tick: float) -> None:
    log: list[str] = []

    async def connect() -> None:
        group = await enter(task_group())
        group.create_task(note_after(10 * tick, log, "ran on"))

    with pytest.raises(ExceptionGroup) as caught:
        with deadline(tick):
            await gather(connect(), connect())
            await sleep_forever()
    assert {type(error) for error in leaves(caught.value)} == {RuntimeError}
    await sleep(20 * tick)
    assert log == []


@rule("G9")
async def test_the_children_of_a_group_whose_generator_another_task_closed_are_stopped(tick: float) -> None:
    log: list[str] = []
    refusals: list[str] = []

    async def values() -> AsyncGenerator[int, None]:
        async with task_group() as group:
            group.create_task(note_the_end(log))
            yield 1

    async def own() -> None:
        await anext(generator)
        await until(lambda: refusals)
        assert log == []  # the group is still open

    async def close() -> None:
        await settle()
        try:
            await generator.aclose()
        except RuntimeError as error:
            refusals.append(str(error))

    generator = values()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=True) as tg:
            tg.create_task(own(), name="the-owner")
            tg.create_task(close(), name="the-closer")
    assert "the-closer" in refusals[0]
    assert about_the_owner(leaves(caught.value)) == leaves(caught.value)
    assert log == ["child"]


# G9, L6: an outer scope that is left first


@rule("G9", "G1")
@pytest.mark.parametrize("between", [False, True], ids=["group", "group-in-deadline"])
async def test_the_children_of_an_inner_group_are_waited_for_when_the_outer_one_is_left_first(
    between: bool, tick: float
) -> None:
    log: list[str] = []

    async def own() -> None:
        outer, limit, inner = task_group(), deadline(1000), task_group()
        await outer.__aenter__()
        outer.create_task(clean_up(tick, log, "outer"))
        if between:
            limit.__enter__()
        await inner.__aenter__()
        inner.create_task(clean_up(2 * tick, log, "inner"))
        await settle()
        with pytest.raises(RuntimeError, match=r"while .*TaskGroup.* is still open"):  # the innermost
            await outer.__aexit__(None, None, None)
        assert sorted(log) == ["inner", "outer"]
        with suppress(RuntimeError):
            await inner.__aexit__(None, None, None)
        if between:
            with suppress(RuntimeError):
                limit.__exit__(None, None, None)
        assert current_deadline() == inf
        await sleep(tick)
        log.append("went on")

    async with task_group() as tg:
        tg.create_task(own())
    assert log[-1] == "went on"


@rule("G9", "C7", only="trio")
async def test_a_group_left_before_a_nursery_inside_it_keeps_the_errors_of_its_children() -> None:
    import trio

    causes: list[BaseException | None] = []

    async def own() -> None:
        outer = task_group()
        await outer.__aenter__()
        await trio.open_nursery().__aenter__()
        outer.create_task(fail(OSError()))
        try:
            await sleep_forever()
        except trio.Cancelled:
            with pytest.raises(RuntimeError, match="still open") as caught:
                await outer.__aexit__(None, None, None)
            causes.append(caught.value.__cause__)
            raise

    with suppress(ExceptionGroup):  # trio cannot go on in a task with a nursery that was never left
        async with task_group() as tg:
            tg.create_task(own())
    assert isinstance(causes[0], ExceptionGroup)
    assert [type(error) for error in causes[0].exceptions] == [OSError]


@rule("G9", "G1", only="trio")
@pytest.mark.parametrize("children", [["child"], ["background"], ["child", "background"]], ids="-".join)
async def test_a_group_left_before_a_nursery_inside_it_cancels_its_children_and_waits_for_them(
    children: list[str], tick: float
) -> None:
    import trio

    log: list[str] = []

    async def own() -> None:
        outer = task_group()
        await outer.__aenter__()
        for n, kind in enumerate(children, 1):
            create = outer.create_task if kind == "child" else outer.create_background_task
            create(clean_up(n * tick, log, kind))
        await settle()
        await trio.open_nursery().__aenter__()
        with pytest.raises(RuntimeError, match="a nursery of trio's own, entered inside it, is still open"):
            await outer.__aexit__(None, None, None)
        log.append("left")

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(own())
    assert log == [*children, "left"]
    # trio cannot go on in a task with a nursery that was never left, and says that in its own words
    assert Deadlock not in {type(error) for error in leaves(caught.value)}


@rule("G9", "C7")
async def test_the_errors_of_an_inner_group_are_kept_when_the_outer_one_is_left_first() -> None:
    error = OSError("in clean-up")
    outer, inner = task_group(), task_group()
    await outer.__aenter__()
    await inner.__aenter__()
    inner.create_task(fail_when_cancelled(error))
    await settle()
    with pytest.raises(RuntimeError, match="still open") as caught:
        await outer.__aexit__(None, None, None)
    cause: Any = caught.value.__cause__
    assert leaves(cause) == [error]
    await inner.__aexit__(None, None, None)


@rule("G9", "G1", only="trio")
@pytest.mark.parametrize("ends", ["group", "task"])
async def test_a_scope_of_trio_that_is_open_in_a_deadline_keeps_no_group_around_from_being_left(
    ends: str, tick: float
) -> None:
    import trio

    log: list[str] = []

    async def own() -> None:
        group = task_group()
        await group.__aenter__()
        group.create_task(clean_up(tick, log, "child"))
        await settle()
        deadline(1000).__enter__()
        trio.CancelScope().__enter__()
        if ends == "group":
            with pytest.raises(RuntimeError, match="still open"):
                await group.__aexit__(None, None, None)
            log.append("left")
            await sleep(tick)
            log.append("went on")

    with pytest.raises(ExceptionGroup) if ends == "task" else nullcontext() as caught:
        async with task_group() as tg:
            tg.create_task(own())
    log.append("all left")
    if caught is not None:
        assert all(type(error) is RuntimeError for error in caught.value.exceptions)
        said = [str(error) for error in caught.value.exceptions]
        assert sum("deadline" in text.lower() and "is being left while" in text for text in said) == 1
    assert log == (["child", "all left"] if ends == "task" else ["child", "left", "went on", "all left"])


@rule("L6", "G3", only="trio")
@pytest.mark.parametrize("inner", ["group", "deadline"])
async def test_a_deadline_that_was_left_too_early_tells_once(inner: str) -> None:
    import trio

    early = deadline(1000)
    early.__enter__()
    native = trio.CancelScope()
    native.__enter__()
    group, limit = task_group(), deadline(1000)
    if inner == "group":
        await group.__aenter__()
        group.create_task(fail(OSError()))
    else:
        limit.__enter__()
    with pytest.raises(RuntimeError, match="still open"):
        early.__exit__(None, None, None)
    if inner == "group":
        with pytest.raises(ExceptionGroup) as caught:
            await group.__aexit__(None, None, None)
        assert [type(error) for error in caught.value.exceptions] == [OSError]
    else:
        limit.__exit__(None, None, None)
    with suppress(RuntimeError):  # trio has given it up
        native.__exit__(None, None, None)
    await checkpoint()


@rule("L6", "C2")
@pytest.mark.parametrize("expires", [False, True])
async def test_a_deadline_that_was_left_first_is_over_and_those_inside_work_on(
    expires: bool, tick: float
) -> None:
    around, outer = deadline(1000), deadline(tick if expires else 3 * tick)
    inside = [deadline(tick * 500), deadline(tick * 100), deadline(tick * 200)]
    with around:
        for scope in (outer, *inside):
            scope.__enter__()
        if expires:
            with suppress(get_cancelled_exc_class()):
                await sleep_forever()
        innermost = re.escape(repr(inside[-1]))
        with pytest.raises(RuntimeError, match=rf"while {innermost}, .*, is still open"):
            outer.__exit__(None, None, None)
        with pytest.raises(RuntimeError, match="left already"):
            outer.__exit__(None, None, None)
        if not expires:
            await sleep(5 * tick)
            assert not outer.expired()
            assert current_deadline() == inside[1].when()
        for scope in reversed(inside):
            scope.__exit__(None, None, None)
        assert current_deadline() == around.when()
        await sleep(5 * tick)
    assert current_deadline() == inf
    assert outer.expired() == expires
    if current_backend() == "asyncio":
        task: Any = asyncio.current_task()
        assert task.cancelling() == 0


@rule("L6")
async def test_a_deadline_that_was_closed_with_a_group_around_it_may_still_be_left() -> None:
    outer, inner = task_group(), deadline(1000)
    await outer.__aenter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="still open"):
        await outer.__aexit__(None, None, None)
    inner.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="left already"):
        inner.__exit__(None, None, None)


@rule("L6", only="trio")
async def test_a_deadline_left_before_a_scope_of_trio_inside_it_says_so() -> None:
    import trio

    early, native = deadline(1000), trio.CancelScope()
    early.__enter__()
    native.__enter__()
    with pytest.raises(RuntimeError, match="is being left while another scope") as caught:
        early.__exit__(None, None, None)
    assert "Cancel scope stack corrupted" in str(caught.value.__cause__)
    native.__exit__(None, None, None)  # trio has given it up
    await checkpoint()


@rule("L6", "N4", only="trio")
async def test_a_deadline_whose_native_scope_is_in_use_is_not_half_entered(tick: float) -> None:
    early = deadline(1000)
    early.native.__enter__()
    with pytest.raises(RuntimeError, match="only be used"):
        early.__enter__()
    early.native.__exit__(None, None, None)
    assert "finished" in repr(early)
    with pytest.raises(RuntimeError, match="cannot be left"):
        early.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="finished"):
        early.reschedule(current_time() + tick)
    assert not early.expired()


@rule("G9", only="trio")
@pytest.mark.parametrize("defers", [False, True])
async def test_a_scope_of_trio_that_a_child_leaves_open_is_an_error_like_any_other(
    defers: bool, tick: float
) -> None:
    import trio

    async def leave_open() -> None:
        trio.CancelScope().__enter__()

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group(defer_errors=defers) as tg:
            sibling = tg.create_task(sleep(tick))
            task = tg.create_task(leave_open())
    assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
    assert "Cancel scope stack corrupted" in str(caught.value.exceptions[0])
    assert task.done() and not task.cancelled()
    assert sibling.cancelled() is not defers


LEFT_FIRST: dict[str, Callable[[float], Any]] = {"group": lambda _: task_group(), "deadline": deadline}


@rule("L6", "G9")
@pytest.mark.parametrize("outer", LEFT_FIRST)
async def test_a_scope_that_is_left_too_early_names_the_innermost_and_does_not_expire(
    outer: str, tick: float
) -> None:
    early = LEFT_FIRST[outer](tick)
    inside = [deadline(1000), deadline(2000)]
    for scope in (early, *inside):
        await scope.__aenter__()
    still_open = repr(inside[-1])
    with pytest.raises(RuntimeError) as caught:
        await early.__aexit__(None, None, None)
    assert f"is being left while {still_open}, entered inside it" in str(caught.value)
    await sleep(3 * tick)
    for limit in reversed(inside):
        limit.__exit__(None, None, None)
    assert current_deadline() == inf


@rule("L6")
async def test_a_deadline_inside_a_group_that_is_left_first_is_over(tick: float) -> None:
    early, inner = task_group(), deadline(tick)
    await early.__aenter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="still open"):
        await early.__aexit__(None, None, None)
    assert "finished" in repr(inner)
    with pytest.raises(RuntimeError, match="finished"):
        inner.reschedule(current_time() + tick)
    await sleep(3 * tick)
    assert not inner.expired()
    inner.__exit__(None, None, None)
    assert current_deadline() == inf


@rule("G9")
async def test_a_group_that_was_closed_with_one_around_it_may_still_be_left() -> None:
    outer, inner = task_group(), task_group()
    await outer.__aenter__()
    await inner.__aenter__()
    with pytest.raises(RuntimeError, match="still open"):
        await outer.__aexit__(None, None, None)
    await inner.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="left already"):
        await inner.__aexit__(None, None, None)


@rule("G9", "G4", "C5")
async def test_the_error_of_leaving_the_outer_one_first_does_not_end_a_cancellation(tick: float) -> None:
    log: list[str] = []
    with deadline(tick, suppress=True):
        outer, inner = task_group(), task_group()
        await outer.__aenter__()
        await inner.__aenter__()
        try:
            await sleep_forever()
        except BaseException as cancellation:  # of either library
            with pytest.raises(RuntimeError, match="still open"):
                await outer.__aexit__(type(cancellation), cancellation, cancellation.__traceback__)
        await checkpoint()
        log.append("passed")
    assert log == []


@rule("L6", "G1")
async def test_the_children_of_an_inner_group_are_stopped_when_a_deadline_is_left_first(tick: float) -> None:
    log: list[str] = []

    async def own() -> None:
        limit, inner = deadline(tick), task_group()
        limit.__enter__()
        await inner.__aenter__()
        inner.create_task(clean_up(2 * tick, log, "inner"))
        await settle()
        with pytest.raises(RuntimeError, match="still open"):
            limit.__exit__(None, None, None)
        with suppress(RuntimeError):
            await inner.__aexit__(None, None, None)
        assert log == ["inner"]
        assert current_deadline() == inf
        await sleep(3 * tick)
        log.append("went on")

    async with task_group() as tg:
        tg.create_task(own())
    assert log[-1] == "went on"


@rule("L6")
async def test_an_inner_deadline_does_not_expire_after_a_group_was_left_first(tick: float) -> None:
    async def own() -> None:
        group, limit = task_group(), deadline(2 * tick)
        await group.__aenter__()
        limit.__enter__()
        with pytest.raises(RuntimeError, match="still open"):
            await group.__aexit__(None, None, None)
        with suppress(RuntimeError):
            limit.__exit__(None, None, None)
        await sleep(5 * tick)
        log.append("went on")

    log: list[str] = []
    async with task_group() as tg:
        tg.create_task(own())
    assert log == ["went on"]


# D5: another thread, another loop


class Scene:
    """A group with a child that runs and one that waits, in a deadline, and what is to be seen of them."""

    def __init__(self, tg: TaskGroup, limit: Deadline) -> None:
        self.tg = tg
        self.limit = limit
        self.log: list[str] = []
        self.running: Task[None] = tg.create_task(sleep_forever(), name="running")
        self.waiting: Task[None] = tg.create_task(checkpoint(), name="waiting")
        self.when: float | None = limit.when()
        self.coros: list[Any] = []
        self.unharmed: bool = False

    def coro(self) -> Any:
        self.coros.append(note_after(0, self.log, "ran"))
        return self.coros[-1]

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        self.log.append("served")
        task_status.started()

    async def assert_unharmed(self) -> None:
        await settle()
        assert self.log == []
        assert not self.running.done()
        assert not self.waiting.done()
        assert self.limit.when() == self.when
        assert current_deadline() == self.when  # nothing is cancelled
        assert [getcoroutinestate(coro) for coro in self.coros] == [CORO_CLOSED] * len(self.coros)
        self.unharmed = True


SYNC: dict[str, Callable[[Scene], object]] = {
    "create_task": lambda scene: scene.tg.create_task(scene.coro()),
    "create_background_task": lambda scene: scene.tg.create_background_task(scene.coro()),
    "cancel": lambda scene: scene.tg.cancel(),
    "cancel-child": lambda scene: scene.running.cancel(),
    "cancel-waiting-child": lambda scene: scene.waiting.cancel(),
    "reschedule": lambda scene: scene.limit.reschedule(scene.limit.when() or 0),
    "reschedule-to-none": lambda scene: scene.limit.reschedule(None),
    "leave-deadline": lambda scene: scene.limit.__exit__(None, None, None),
}
ASYNC: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "start": lambda scene: scene.tg.start(scene.serve),
    "await": lambda scene: _wait_for(scene.running),
    "await-waiting-child": lambda scene: _wait_for(scene.waiting),
    "leave-group": lambda scene: scene.tg.__aexit__(None, None, None),
}


async def _wait_for(task: Task[Any]) -> None:
    await task


def in_a_thread(call: Callable[[], object]) -> BaseException | None:
    """What `call()` raises in a thread, for which the loop of this one waits."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="the-worker")
    thread.start()
    thread.join()
    return raised[0] if raised else None


def on_asyncio(call: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.5):  # reached only if the call hangs
            await call()

    asyncio.run(main())


def on_trio(call: Callable[[], Awaitable[object]]) -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with trio.fail_after(0.5):  # reached only if the call hangs
            await call()

    trio.run(main)


in_another_loop: pytest.MarkDecorator = pytest.mark.parametrize(
    "other_loop", [on_asyncio, on_trio], ids=lambda run: run.__name__
)


def assert_says_what_to_do(error: BaseException | None) -> None:
    assert isinstance(error, RuntimeError)
    said = str(error)
    assert "the-worker" in said
    assert threading.current_thread().name in said
    assert "threadsafe" in said or "from_thread" in said


@rule("D5")
@pytest.mark.parametrize("call", SYNC)
async def test_a_call_from_another_thread_is_refused_and_harms_nobody(call: str) -> None:
    async with deadline(1000) as limit, task_group(limit=1) as tg:
        scene = Scene(tg, limit)
        await settle()
        error = in_a_thread(lambda: SYNC[call](scene))
        await scene.assert_unharmed()
        tg.cancel()
    assert scene.unharmed  # a group that is cancelled is left quietly
    assert_says_what_to_do(error)


@rule("D5")
@in_another_loop
@pytest.mark.parametrize("call", [*SYNC, *ASYNC])
async def test_a_call_from_another_loop_is_refused_and_harms_nobody(
    call: str, other_loop: Callable[[Callable[[], Awaitable[object]]], None]
) -> None:
    async def make_the_call() -> None:
        if call in SYNC:
            SYNC[call](scene)
        else:
            await ASYNC[call](scene)

    async with deadline(1000) as limit, task_group(limit=1) as tg:
        scene = Scene(tg, limit)
        await settle()
        error = in_a_thread(lambda: other_loop(make_the_call))
        await scene.assert_unharmed()
        tg.cancel()
    assert scene.unharmed  # a group that is cancelled is left quietly
    assert_says_what_to_do(error)
    if call.startswith("await"):
        assert "run_coroutine_threadsafe()" in str(error) or "from_thread.run()" in str(error)


@rule("D5", host="trio-guest")
@pytest.mark.parametrize("call", [*SYNC, *ASYNC])
async def test_a_call_from_the_loop_that_trio_is_a_guest_of_is_refused(call: str) -> None:
    refused: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    async def await_the_call() -> None:
        try:
            await ASYNC[call](scene)
        except BaseException as error:
            refused.append(error)

    def make_the_call() -> None:
        if call in ASYNC:
            tasks.append(asyncio.get_running_loop().create_task(await_the_call()))
            return
        try:
            SYNC[call](scene)
        except BaseException as error:
            refused.append(error)

    async with deadline(1000) as limit, task_group(limit=1) as tg:
        scene = Scene(tg, limit)
        await settle()
        asyncio.get_running_loop().call_soon(make_the_call)
        await until(lambda: refused)
        await scene.assert_unharmed()
        tg.cancel()
    assert scene.unharmed
    assert "that trio is a guest of" in str(refused[0])
    assert "run_sync_soon()" in str(refused[0])


async def in_a_thread_of_the_host(call: Callable[[], object]) -> BaseException | None:
    """What `call()` raises in a thread of the host's own pool, which gets the context of its caller."""

    def outcome() -> BaseException | None:
        try:
            call()
        except BaseException as error:
            return error
        return None

    if current_backend() == "trio":
        import trio

        return await trio.to_thread.run_sync(outcome)
    return await asyncio.to_thread(outcome)


@rule("D5")
@pytest.mark.parametrize("call", SYNC)
async def test_a_call_from_a_thread_of_the_host_is_refused_and_harms_nobody(call: str) -> None:
    async with deadline(1000) as limit, task_group(limit=1) as tg:
        scene = Scene(tg, limit)
        await settle()
        error = await in_a_thread_of_the_host(lambda: SYNC[call](scene))
        await scene.assert_unharmed()
        tg.cancel()
    assert scene.unharmed
    assert isinstance(error, RuntimeError)
    assert "thread" in str(error)


@rule("D5", "G15")
async def test_what_a_thread_was_refused_does_not_count_as_a_child(tick: float) -> None:
    async with deadline(5 * tick) as limit:
        async with task_group(limit=1) as tg:
            background = tg.create_background_task(sleep_forever())
            for create in (tg.create_task, tg.create_background_task):
                error = await in_a_thread_of_the_host(lambda: create(checkpoint()))
                assert isinstance(error, RuntimeError)
            await tg.create_task(checkpoint())  # the slot is free
    assert background.cancelled()
    assert not limit.expired()


@rule("D5")
async def test_a_scope_that_a_thread_without_a_loop_tries_to_enter_can_still_be_entered(tick: float) -> None:
    group, limit = task_group(), deadline(tick, suppress=True)

    def enter_group() -> None:
        entering = group.__aenter__()
        try:
            entering.send(None)
        finally:
            entering.close()

    assert isinstance(in_a_thread(enter_group), RuntimeError)
    assert isinstance(in_a_thread(limit.__enter__), RuntimeError)
    async with limit, group as tg:
        tg.create_task(sleep_forever())
    assert limit.expired()


@rule("D5")
def test_what_was_made_in_one_loop_can_be_entered_in_another(host: Host, tick: float) -> None:
    async def make() -> None:
        made.extend([task_group(), deadline(tick, suppress=True)])

    async def use() -> None:
        group, limit = made
        async with limit, group as tg:
            tg.create_task(sleep_forever())
        assert limit.expired()

    made: list[Any] = []
    host.run(make)
    host.run(use)


@rule("D5")
@pytest.mark.parametrize("make", [task_group, lambda: deadline(1000)], ids=["group", "deadline"])
async def test_what_was_made_under_one_library_cannot_be_entered_under_another(
    make: Callable[[], Any],
) -> None:
    pytest.importorskip("trio")
    scope = make()
    here = current_backend()
    there, run = ("asyncio", on_asyncio) if here == "trio" else ("trio", on_trio)
    error = in_a_thread(lambda: run(scope.__aenter__))
    assert isinstance(error, RuntimeError)
    if here in ("asyncio", "trio"):  # a further backend may take the scopes of one, which say whose they are
        assert here in str(error)
    assert there in str(error)
    async with scope:
        await checkpoint()


@rule("D5", "G9")
@in_another_loop
async def test_a_scope_that_is_open_cannot_be_entered_in_another_loop(
    other_loop: Callable[[Callable[[], Awaitable[object]]], None], tick: float
) -> None:
    log: list[str] = []
    async with deadline(1000) as limit, task_group() as tg:
        for scope in (limit, tg):
            error = in_a_thread(lambda: other_loop(scope.__aenter__))  # runs at once
            assert isinstance(error, RuntimeError)
        tg.create_task(note_after(tick, log, "ended"))
    assert log == ["ended"]


# D5: callbacks of the scope's own loop


def soon(callback: Callable[[], None]) -> None:
    """Have the loop call it, outside of all tasks of the program."""
    if current_backend() == "trio":
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(callback)
    else:
        asyncio.get_running_loop().call_soon(callback)


async def called_back(callback: Callable[[], object], schedule: Callable[[Any], object] = soon) -> Any:
    """What `callback()` gives, called by the loop."""
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(callback())
        except BaseException as error:
            outcomes.append(error)

    schedule(run)
    await until(lambda: outcomes)
    if isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    return outcomes[0]


@rule("D5", "W3")
async def test_the_time_can_be_asked_in_a_callback() -> None:
    before = current_time()
    assert before <= await called_back(current_time) <= current_time()


@rule("D5", "G9", "L6")
async def test_a_scope_that_a_callback_tries_to_leave_works_on() -> None:
    def leave_group() -> None:
        leaving: Any = tg.__aexit__(None, None, None)
        leaving.send(None)

    async with task_group() as tg, deadline(1000) as limit:
        for call in (leave_group, lambda: limit.__exit__(None, None, None)):
            with pytest.raises(RuntimeError, match="is being left in task '[^']+'"):
                await called_back(call)
        assert current_deadline() == limit.when()
    for call in (leave_group, lambda: limit.__exit__(None, None, None)):
        with pytest.raises(RuntimeError, match="has been left already"):
            await called_back(call)


@rule("D5", "L5")
async def test_a_deadline_is_moved_in_a_callback(tick: float) -> None:
    with deadline(tick) as limit:
        await called_back(lambda: limit.reschedule(current_time() + 5 * tick))
        await sleep(3 * tick)
    assert not limit.expired()


@rule("D5", "G2")
async def test_tasks_are_created_in_a_callback(tick: float) -> None:
    async def child() -> int:
        await sleep(tick)
        return 42

    async with task_group(limit=1) as tg:
        tasks = [await called_back(lambda: tg.create_task(child())) for _ in range(2)]
        background = await called_back(lambda: tg.create_background_task(sleep_forever()))
    assert [task.result() for task in tasks] == [42, 42]
    assert background.cancelled()


@rule("D5", "G6", "T4")
async def test_a_group_and_a_child_are_cancelled_in_a_callback() -> None:
    async with task_group(limit=1) as tg:
        running = tg.create_task(sleep_forever())
        waiting = tg.create_task(checkpoint())
        await settle()
        await called_back(waiting.cancel)
        assert waiting.cancelled()
        await called_back(running.cancel)
        await until(running.done)
        tg.create_task(sleep_forever())
        await called_back(tg.cancel)
        await sleep_forever()
    assert running.cancelled()


def by_call_soon_threadsafe(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon_threadsafe(callback)


def by_call_later(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(0, callback)


def by_a_reader(callback: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    keep.append(other)

    def read() -> None:
        loop.remove_reader(one)
        one.close()
        other.close()
        callback()

    loop.add_reader(one, read)
    other.send(b"x")


def by_a_signal(callback: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def handle() -> None:
        loop.remove_signal_handler(signal.SIGUSR1)
        callback()

    loop.add_signal_handler(signal.SIGUSR1, handle)
    os.kill(os.getpid(), signal.SIGUSR1)


@rule("D5", only="asyncio")
@pytest.mark.parametrize(
    "schedule",
    [by_call_soon_threadsafe, by_call_later, by_a_reader, by_a_signal],
    ids=lambda way: way.__name__,
)
async def test_every_kind_of_callback_may_act_on_a_scope(
    schedule: Callable[[Any], object], tick: float
) -> None:
    def act() -> None:
        limit.reschedule(current_time() + 5 * tick)
        tasks.append(tg.create_task(sleep(tick)))
        tasks.append(tg.create_task(sleep_forever()))
        tasks[1].cancel()

    tasks: list[Task[None]] = []
    async with deadline(1000) as limit, task_group() as tg:
        try:
            await called_back(act, schedule)
        except NotImplementedError:
            pytest.skip("this loop has no such callbacks")
    assert not tasks[0].cancelled()
    assert tasks[1].cancelled()


# L1: a timeout says what has expired


async def _time_out(limit: Deadline) -> str:
    with pytest.raises(TimeoutError) as caught:
        async with limit:
            await sleep_forever()
    return str(caught.value)


@rule("L1")
@pytest.mark.parametrize(("delay", "said"), [(0.05, "0.05"), (1e-05, "1e-05"), (0, "0"), (-1, "-1")])
async def test_a_timeout_says_what_has_expired(delay: float, said: str) -> None:
    assert f"deadline of {said} s" in await _time_out(deadline(delay))


@rule("L1")
async def test_a_timeout_at_a_given_time_says_that_time(tick: float) -> None:
    when = current_time() + tick
    assert f"deadline at {when:g} s" in await _time_out(deadline(at=when))


@rule("L1", "L5")
async def test_a_timeout_after_reschedule_says_the_time_that_it_was_moved_to(tick: float) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with deadline(1000) as limit:
            when = current_time() + tick
            limit.reschedule(when)
            await sleep_forever()
    assert f"deadline at {when:g} s" in str(caught.value)


# What a beginner passes


@rule("T5", "D5")
async def test_started_from_another_thread_is_refused_and_harms_nobody() -> None:
    refused: list[BaseException] = []

    async def serve(*, task_status: TaskStatus[int]) -> None:
        def say_it_is_ready() -> None:
            try:
                task_status.started(1)
            except RuntimeError as error:
                refused.append(error)

        thread = threading.Thread(target=say_it_is_ready, name="a worker")
        thread.start()
        thread.join()
        await checkpoint()
        task_status.started(2)

    async with task_group() as tg:
        assert await tg.start(serve) == 2
    assert "from thread 'a worker'" in str(refused[0])
    assert f"belongs to thread {threading.current_thread().name!r}" in str(refused[0])
    assert "call_soon_threadsafe" in str(refused[0])


@rule("G9", "L6", only="trio")
@pytest.mark.parametrize(
    "enter", [lambda: deadline(1).__enter__(), lambda: task_group().__aenter__().send(None)]
)
async def test_a_scope_cannot_be_entered_in_a_callback_of_trio(enter: Callable[[], object]) -> None:
    import trio

    refused: list[BaseException] = []

    def callback() -> None:
        try:
            enter()
        except BaseException as error:
            refused.append(error)

    trio.lowlevel.current_trio_token().run_sync_soon(callback)
    await until(lambda: refused)
    assert isinstance(refused[0], RuntimeError)
    assert "must be used inside a task" in str(refused[0])


@rule("G8", "G10")
@pytest.mark.parametrize("create", ["create_task", "create_background_task"])
@pytest.mark.parametrize("limit", [None, 1])
async def test_a_name_that_is_no_string_is_refused_and_the_coroutine_closed(
    limit: int | None, create: str
) -> None:
    coro = sleep_forever()
    async with task_group(limit=limit) as tg:
        if limit:
            tg.create_task(checkpoint())
        with pytest.raises(TypeError, match=rf"{create}\(\) expects a str, or None, as `name`, got 5"):
            getattr(tg, create)(coro, name=5)
    assert getcoroutinestate(coro) == CORO_CLOSED


@rule("G8")
async def test_a_list_of_coroutines_is_no_child_and_is_closed() -> None:
    coros = [checkpoint(), checkpoint()]
    async with task_group() as tg:
        with pytest.raises(TypeError, match="expects a coroutine object, got \\["):
            tg.create_task(coros)  # type: ignore[arg-type]
    assert all(getcoroutinestate(coro) == CORO_CLOSED for coro in coros)


@rule("G8")
async def test_an_async_generator_is_refused_with_the_advice_to_iterate_over_it() -> None:
    async def numbers() -> AsyncGenerator[int]:
        yield 1

    async with task_group() as tg:
        with pytest.raises(TypeError, match="iterate over it in an async function"):
            tg.create_task(numbers())  # type: ignore[arg-type]


@rule("P1", "P2", "P3")
@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda coros: gather(coros).send(None), r"unpack its values with a `\*`"),
        (lambda coros: first(coros).send(None), r"unpack its values with a `\*`"),
        (as_completed, r"pass its values\(\)"),
    ],
    ids=["gather", "first", "as_completed"],
)
async def test_the_coroutines_in_a_dict_are_closed(call: Callable[[Any], object], advice: str) -> None:
    coros = {"one": checkpoint(), "two": checkpoint()}
    with pytest.raises(TypeError, match=advice):
        call(coros)
    assert all(getcoroutinestate(coro) == CORO_CLOSED for coro in coros.values())


@rule("P3")
async def test_iterating_without_the_block_closes_the_coroutines() -> None:
    coro = checkpoint()
    with pytest.raises(RuntimeError, match="inside `async with as_completed"):
        async for _ in as_completed([coro]):
            pass
    assert getcoroutinestate(coro) == CORO_CLOSED


@rule("G8")
async def test_pythons_own_errors_name_the_public_class() -> None:
    coro = checkpoint()
    async with task_group() as tg:
        with pytest.raises(TypeError, match=r"^TaskGroup\.create_task\(\)"):
            tg.create_task(coro, 1)  # type: ignore[call-arg, arg-type]
    coro.close()


# What is left open where no group of ours waits

FAILURES = 150  # more than a group keeps that defers errors


@rule("G9", "C4", "G1")
@pytest.mark.parametrize("how", ["quietly", "with-an-error", "cancelled"])
async def test_what_the_inside_of_a_shield_leaves_open_goes_with_it(how: str, tick: float) -> None:
    log: list[str] = []

    async def leave_open() -> None:
        tg = task_group()
        await tg.__aenter__()
        deadline(1000).__enter__()
        tg.create_task(clean_up(tick, log))
        for _ in range(FAILURES):
            tg.create_task(fail_when_cancelled(OSError()))
        await settle()
        if how == "with-an-error":
            raise LookupError
        if how == "cancelled":
            tg.cancel()
            await sleep_forever()

    with deadline(500) as around:
        async with task_group() as tg:
            waiting = tg.create_task(sleep_forever())
            with pytest.raises(ExceptionGroup) as caught:
                await shield(leave_open())
            assert log == ["child"]
            assert current_deadline() == around.when()
            await checkpoint()
            assert not waiting.done()
            tg.cancel()
    expected = [RuntimeError] * 2 + [OSError] * FAILURES + [LookupError] * (how == "with-an-error")
    assert sorted(type(error).__name__ for error in leaves(caught.value)) == sorted(
        kind.__name__ for kind in expected
    )


@rule("G9", "L6", "C4", only="trio")  # on asyncio the inside of a shield is another task
@pytest.mark.parametrize("how", ["quietly", "with-an-error"])
async def test_a_deadline_that_is_left_inside_a_shield_leaves_those_around_it_alone(
    how: str, tick: float
) -> None:
    async def leave_it() -> None:
        with pytest.raises(RuntimeError, match="still open"):
            limit.__exit__(None, None, None)
        if how == "with-an-error":
            raise LookupError

    with deadline(tick, suppress=True) as around:
        limit = deadline(1000)
        limit.__enter__()
        with pytest.raises(LookupError) if how == "with-an-error" else nullcontext():
            await shield(leave_it())
        assert current_deadline() == around.when()
        await sleep_forever()
    assert around.expired()


@contextmanager
def reports_to_the_loop() -> Generator[list[dict[str, Any]]]:
    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, report: reports.append(report))
    try:
        yield reports
    finally:
        loop.set_exception_handler(handler)


@rule("G9", "C7", only="asyncio")
@pytest.mark.parametrize("defer_errors", [False, True])
@pytest.mark.parametrize("fails", ["before", "after"])
@pytest.mark.parametrize("count", [1, 2])
async def test_errors_of_children_are_reported_if_a_native_task_has_left_its_group_open(
    count: int, fails: str, defer_errors: bool
) -> None:
    errors = [OSError(number) for number in range(count)]

    async def leave_open() -> None:
        tg = task_group(defer_errors=defer_errors)
        await tg.__aenter__()
        for error in errors:
            tg.create_task(fail(error))
        if fails == "before":
            with suppress(asyncio.CancelledError):
                await settle()

    with reports_to_the_loop() as reports:
        await asyncio.create_task(leave_open())
        await settle()
    assert [report["exception"] for report in reports] == errors
    assert all("was left open" in report["message"] for report in reports)


@rule("G9", "C7", only="asyncio")
@pytest.mark.parametrize("wait", [checkpoint, settle])
async def test_errors_of_a_group_that_a_child_or_a_shield_leaves_open_are_raised_and_not_reported(
    wait: Callable[[], Awaitable[None]],
) -> None:
    error = OSError()

    async def leave_open() -> None:
        tg = task_group(defer_errors=True)
        await tg.__aenter__()
        tg.create_task(fail(error))
        await wait()  # at a checkpoint, it fails in the turn in which this task ends

    async def child() -> None:
        async with task_group() as tg:
            tg.create_task(leave_open())

    with reports_to_the_loop() as reports:
        for run in (child(), shield(leave_open())):
            with pytest.raises(ExceptionGroup) as caught:
                await run
            assert error in leaves(caught.value)
        await asyncio.create_task(settle())
    assert reports == []
