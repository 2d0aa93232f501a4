"""Chapter T: tasks."""

# pyright: reportPossiblyUnboundVariable=false
# since pytest.raises() and suppress() might swallow what comes before a name is bound

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any

import pytest

from interloop import (
    Task,
    TaskCancelled,
    TaskFailed,
    TaskGroup,
    TaskNotDone,
    checkpoint,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.conformance import rule
from interloop.conformance._helpers import (
    Enclosing,
    clean_up,
    fail,
    fail_when_cancelled,
    in_every_scope,
    note_the_end,
    settle,
    until,
    wait_behind,
)


async def answer() -> int:
    await checkpoint()
    return 42


async def ended_well() -> Task[int]:
    async with task_group() as tg:
        return tg.create_task(answer(), name="well")


async def ended_cancelled() -> Task[None]:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever(), name="given up")
        task.cancel()
    return task


async def ended_failed(error: BaseException) -> Task[None]:
    with suppress(BaseExceptionGroup):
        async with task_group() as tg:
            task = tg.create_task(fail(error), name="broken")
    return task


# T1: the outcome of a task that has not ended is refused


@rule("T1")
async def test_the_result_of_a_running_task_is_refused() -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever(), name="slow")
        await checkpoint()
        with pytest.raises(TaskNotDone, match="task 'slow' has not ended"):
            task.result()
        tg.cancel()


@rule("T1")
async def test_the_exception_of_a_running_task_is_refused() -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever(), name="slow")
        await checkpoint()
        with pytest.raises(TaskNotDone, match="task 'slow' has not ended"):
            task.exception()
        tg.cancel()


@rule("T1")
async def test_the_refusal_tells_what_to_do() -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        with pytest.raises(
            TaskNotDone, match="wait for it with `await task`, or ask after its group has been left"
        ):
            task.result()
        tg.cancel()


@rule("T1")
def test_the_refusal_is_a_runtime_error() -> None:
    assert issubclass(TaskNotDone, RuntimeError)


@rule("T1")
async def test_a_task_that_has_not_begun_has_no_outcome() -> None:
    async with task_group() as tg:
        task = tg.create_task(answer())
        assert not task.done()
        with pytest.raises(TaskNotDone):
            task.result()


@rule("T1")
async def test_a_task_that_was_asked_to_stop_has_no_outcome_until_it_has() -> None:
    async def child(gate: Task[None]) -> None:
        try:
            await sleep_forever()
        finally:
            await shield(wait_behind(gate))

    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(child(gate))
        task.cancel()
        await settle()
        assert not task.done()
        assert not task.cancelled()
        with pytest.raises(TaskNotDone):
            task.result()
        with pytest.raises(TaskNotDone):
            task.exception()
        gate.cancel()
    assert task.cancelled()


@rule("T1")
async def test_the_repr_of_a_task_tells_whether_it_has_ended() -> None:
    async with task_group() as tg:
        done = tg.create_task(checkpoint(), name="first")
        cancelled = tg.create_task(sleep_forever(), name="second")
        before = repr(done)
        await done
        cancelled.cancel()
    assert before == "<Task 'first' [running]>"
    assert repr(done) == "<Task 'first' [done]>"
    assert repr(cancelled) == "<Task 'second' [cancelled]>"


class Wrapped(Coroutine[Any, Any, int]):
    """A coroutine object that is none of Python's own, and has no name."""

    def __init__(self) -> None:
        self._coro = answer()

    def send(self, value: Any) -> Any:
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, int]:
        return self._coro.__await__()


@rule("T1", "G8")
async def test_a_coroutine_object_of_another_type_is_a_child_like_any_other() -> None:
    async with task_group() as tg:
        task = tg.create_task(Wrapped())
    assert task.result() == 42


@rule("G7")
async def test_a_coroutine_object_of_another_type_begins_in_a_cancelled_group() -> None:
    log: list[str] = []

    class Noted(Wrapped):
        def __await__(self) -> Generator[Any, Any, int]:
            log.append("started")
            return super().__await__()

        def send(self, value: Any) -> Any:
            if not log:
                log.append("started")
            return super().send(value)

    async with task_group() as tg:
        tg.cancel()
        tg.create_task(Noted())
    assert log == ["started"]


@rule("T1", only="trio")
async def test_without_a_name_a_task_is_named_after_its_coroutine() -> None:
    async with task_group() as tg:
        assert tg.create_task(answer()).get_name() == "answer"
        wrapped = Wrapped()
        assert tg.create_task(wrapped).get_name() == repr(wrapped)


# T2: awaiting a task gives its result, TaskFailed or TaskCancelled


@rule("T2")
async def test_await_gives_the_result() -> None:
    async with task_group() as tg:
        task = tg.create_task(answer())
        assert await task == 42


@rule("T2")
async def test_await_waits_for_the_end(tick: float) -> None:
    async def slow() -> str:
        await sleep(3 * tick)
        return "result"

    async with task_group() as tg:
        task = tg.create_task(slow())
        assert await task == "result"
        assert task.done()


@rule("T2")
async def test_a_task_that_has_ended_can_be_awaited_again_and_again() -> None:
    task = await ended_well()
    assert await task == 42
    assert await task == 42


@rule("T2")
async def test_the_outcome_of_a_task_that_has_ended_is_there_in_a_cancelled_scope() -> None:
    well, given_up = await ended_well(), await ended_cancelled()
    async with task_group() as tg:
        tg.cancel()
        assert await well == 42
        with pytest.raises(TaskCancelled):
            await given_up


@rule("T2")
@pytest.mark.parametrize("cancelled", [False, True], ids=["", "in-a-cancelled-scope"])
async def test_awaiting_a_task_that_has_ended_suspends_nobody(cancelled: bool) -> None:
    ended: list[tuple[Task[Any], type[Exception]]] = [
        (await ended_well(), StopIteration),
        (await ended_cancelled(), TaskCancelled),
        (await ended_failed(OSError()), TaskFailed),
    ]
    async with task_group() as tg:
        if cancelled:
            tg.cancel()
        for task, outcome in ended:
            with pytest.raises(outcome):
                next(task.__await__())


@rule("T2")
async def test_the_result_can_be_asked_for_after_the_end() -> None:
    task = await ended_well()
    assert task.result() == 42
    assert task.exception() is None
    assert task.done()
    assert not task.cancelled()


@rule("T2")
async def test_several_tasks_can_wait_for_one(tick: float) -> None:
    async def slow() -> str:
        await sleep(tick)
        return "result"

    async def wait() -> str:
        return await task

    async with task_group() as tg:
        task = tg.create_task(slow())
        waiting = [tg.create_task(wait()) for _ in range(3)]
    assert [waiter.result() for waiter in waiting] == ["result"] * 3


@rule("T2")
async def test_a_task_of_another_group_can_be_awaited(tick: float) -> None:
    async def slow() -> str:
        await sleep(tick)
        return "result"

    async with task_group() as outer:
        task = outer.create_task(slow())
        async with task_group():
            assert await task == "result"


@rule("T2")
async def test_the_result_of_a_failed_task_is_refused_with_its_error_as_the_cause() -> None:
    error = OSError("no route")
    task = await ended_failed(error)
    with pytest.raises(TaskFailed) as caught:
        task.result()
    assert caught.value.__cause__ is error


@rule("T2")
async def test_the_refusal_names_the_task_and_the_error() -> None:
    task = await ended_failed(OSError("no route"))
    with pytest.raises(TaskFailed, match=r"task 'broken' failed: OSError\('no route'\)"):
        task.result()


@rule("T2")
async def test_await_of_a_failed_task_raises_task_failed() -> None:
    error = OSError("no route")
    task = await ended_failed(error)
    with pytest.raises(TaskFailed) as caught:
        await task
    assert caught.value.__cause__ is error


@rule("T2")
async def test_those_who_wait_for_a_task_that_fails_each_get_an_error_of_their_own(tick: float) -> None:
    error = OSError("no route")
    caught: list[TaskFailed] = []

    async def late() -> None:
        await sleep(tick)
        raise error

    async def wait() -> None:
        await until(lambda: tasks)
        try:
            await tasks[0]
        except TaskFailed as failure:
            caught.append(failure)

    tasks: list[Task[None]] = []
    async with task_group() as outer:
        outer.create_task(wait())
        outer.create_task(wait())
        with suppress(ExceptionGroup):
            async with task_group() as tg:
                tasks.append(tg.create_task(late()))
    assert [failure.__cause__ for failure in caught] == [error, error]
    assert caught[0] is not caught[1]


@rule("T2")
async def test_the_exception_of_a_failed_task_is_its_error() -> None:
    error = OSError("no route")
    task = await ended_failed(error)
    assert task.exception() is error
    assert task.done()
    assert not task.cancelled()


@rule("T2")
async def test_the_error_of_a_task_may_be_a_group() -> None:
    error = ValueError()

    async def child() -> None:
        async with task_group() as tg:
            tg.create_task(fail(error))

    with suppress(ExceptionGroup):
        async with task_group() as tg:
            task = tg.create_task(child())
    group = task.exception()
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (error,)


@rule("T2")
async def test_the_error_of_a_task_may_be_no_exception() -> None:
    class Abort(BaseException):
        pass

    error = Abort()
    task = await ended_failed(error)
    assert task.exception() is error


@rule("T2")
async def test_the_result_of_a_cancelled_task_is_refused() -> None:
    task = await ended_cancelled()
    with pytest.raises(TaskCancelled, match="task 'given up' was cancelled"):
        task.result()
    assert task.done()
    assert task.cancelled()


@rule("T2")
async def test_the_exception_of_a_cancelled_task_is_refused() -> None:
    task = await ended_cancelled()
    with pytest.raises(TaskCancelled, match="task 'given up' was cancelled"):
        task.exception()


@rule("T2")
async def test_await_of_a_cancelled_task_raises_task_cancelled() -> None:
    task = await ended_cancelled()
    with pytest.raises(TaskCancelled):
        await task


@rule("T2")
async def test_those_who_wait_for_a_task_that_is_cancelled_go_on(tick: float) -> None:
    async def wait() -> str:
        try:
            await task
        except TaskCancelled:
            await sleep(tick)
        return "went on"

    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        waiter = tg.create_task(wait())
        await sleep(tick)
        task.cancel()
    assert waiter.result() == "went on"


@rule("T2")
async def test_task_cancelled_is_never_taken_for_a_cancellation() -> None:
    assert issubclass(TaskCancelled, Exception)
    assert not issubclass(TaskCancelled, get_cancelled_exc_class())


@rule("T2", "G3")
async def test_task_cancelled_that_is_not_handled_is_an_error_like_any_other() -> None:
    task = await ended_cancelled()

    async def wait() -> None:
        await task

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            tg.create_task(wait())
    assert [type(error) for error in caught.value.exceptions] == [TaskCancelled]


@rule("T2")
async def test_a_task_that_its_group_cancelled_is_cancelled() -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        tg.cancel()
    assert task.cancelled()


@rule("T2")
@in_every_scope
async def test_a_task_that_was_cancelled_from_outside_is_cancelled(enclosing: Enclosing, tick: float) -> None:
    tasks: list[Task[None]] = []

    async def inside() -> None:
        async with task_group() as tg:
            tasks.append(tg.create_task(sleep_forever()))

    await enclosing(tick, inside)
    with pytest.raises(TaskCancelled):
        tasks[0].result()


@rule("T2")
async def test_a_task_that_fails_when_it_is_cancelled_has_failed() -> None:
    error = OSError("while disconnecting")
    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            task = tg.create_task(fail_when_cancelled(error))
            task.cancel()
    assert not task.cancelled()
    assert task.exception() is error


@rule("T2")
async def test_a_task_that_returns_when_it_is_cancelled_has_a_result() -> None:
    async def child() -> str:
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            return "half of it"
        return "all of it"

    async with task_group() as tg:
        task = tg.create_task(child())
        task.cancel()
    assert not task.cancelled()
    assert task.result() == "half of it"


@rule("T2", "G4")
async def test_a_task_whose_group_raised_errors_when_it_was_cancelled_has_failed() -> None:
    error = OSError()

    async def child() -> None:
        async with task_group() as inner:
            inner.create_task(fail_when_cancelled(error))

    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            task = tg.create_task(child())
            task.cancel()
    group = task.exception()
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (error,)


async def cancellation_in_a_group(*errors: Exception) -> None:
    try:
        await sleep_forever()
    except get_cancelled_exc_class() as cancellation:
        raise BaseExceptionGroup("by hand", [*errors, cancellation]) from None


@rule("T2")
async def test_a_task_that_raises_nothing_but_its_cancellation_in_a_group_is_cancelled() -> None:
    async with task_group() as tg:
        task = tg.create_task(cancellation_in_a_group())
        task.cancel()
    assert task.cancelled()
    with pytest.raises(TaskCancelled):
        task.result()


@rule("T2", "G4")
async def test_the_error_of_a_task_holds_no_cancellation() -> None:
    error = OSError()
    with pytest.raises(ExceptionGroup):
        async with task_group() as tg:
            task = tg.create_task(cancellation_in_a_group(error))
            tg.cancel()
    group = task.exception()
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (error,)


@rule("T2")
async def test_a_body_is_cancelled_by_the_failure_of_the_child_that_it_awaits() -> None:
    steps: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            task = tg.create_task(fail_late(OSError()))
            try:
                await task
            except get_cancelled_exc_class():
                steps.append("cancelled")
                raise
    assert steps == ["cancelled"]
    assert [type(error) for error in caught.value.exceptions] == [OSError]


@rule("T2")
@pytest.mark.parametrize("turns", range(5))
async def test_a_body_that_awaits_a_child_about_the_time_of_its_failure_is_cancelled(turns: int) -> None:
    error = OSError()
    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as tg:
            task = tg.create_task(fail_late(error))
            for _ in range(turns):
                await checkpoint()
            await task
    assert caught.value.exceptions == (error,)


async def fail_late(error: BaseException) -> None:
    await checkpoint()
    raise error


@rule("T2")
async def test_a_task_cannot_wait_for_itself() -> None:
    tasks: list[Task[None]] = []

    async def child() -> None:
        await until(lambda: tasks)
        with pytest.raises(RuntimeError, match="'narcissus'.* cannot wait for itself"):
            await tasks[0]

    async with task_group() as tg:
        tasks.append(tg.create_task(child(), name="narcissus"))


# T3: cancelling the waiter leaves the task alone


@rule("T3")
async def test_a_deadline_around_the_waiting(tick: float) -> None:
    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(wait_behind(gate))
        with pytest.raises(TimeoutError):
            async with deadline(tick):
                await task
        await settle()
        assert not task.done()
        gate.cancel()
    assert task.result() == 42


@rule("T3")
@in_every_scope
async def test_a_waiter_that_is_cancelled_in_any_scope(enclosing: Enclosing, tick: float) -> None:
    async def inside() -> None:
        await task

    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(wait_behind(gate))
        await enclosing(tick, inside)
        await settle()
        assert not task.done()
        gate.cancel()
    assert task.result() == 42


@rule("T3")
async def test_a_waiter_that_is_cancelled_leaves_the_other_waiters_alone() -> None:
    async def wait() -> int:
        return await task

    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(wait_behind(gate))
        impatient = tg.create_task(wait())
        patient = tg.create_task(wait())
        await settle()
        impatient.cancel()
        await settle()
        gate.cancel()
    assert impatient.cancelled()
    assert patient.result() == 42


@rule("T3")
async def test_one_can_wait_again_after_a_timeout(tick: float) -> None:
    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(wait_behind(gate))
        with deadline(tick, suppress=True):
            await task
        gate.cancel()
        assert await task == 42


@rule("T3")
async def test_a_group_of_waiters_that_is_cancelled_leaves_the_task_alone() -> None:
    async def wait() -> None:
        await task

    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(wait_behind(gate))
        async with task_group() as waiters:
            waiters.create_task(wait())
            waiters.create_task(wait())
            await settle()
            waiters.cancel()
        await settle()
        assert not task.done()
        gate.cancel()
    assert task.result() == 42


# T4: cancelling a task cancels that child alone and does not fail the group


async def answer_after(seconds: float) -> int:
    await sleep(seconds)
    return 42


@rule("T4")
async def test_the_task_is_cancelled_at_its_checkpoint() -> None:
    ended: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(note_the_end(ended))
        await checkpoint()
        task.cancel()
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4")
async def test_the_siblings_go_on() -> None:
    async with task_group() as tg:
        gate = tg.create_task(sleep_forever())
        task = tg.create_task(sleep_forever())
        sibling = tg.create_task(wait_behind(gate))
        task.cancel()
        await settle()
        assert task.done()
        assert not sibling.done()
        gate.cancel()
    assert sibling.result() == 42


@rule("T4")
async def test_the_body_goes_on(tick: float) -> None:
    steps: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        task.cancel()
        await sleep(tick)
        assert task.done()
        steps.append("body")
    await checkpoint()
    assert steps == ["body"]


@rule("T4")
async def test_children_can_still_be_added() -> None:
    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        task.cancel()
        await until(task.done)
        later = tg.create_task(answer())
    assert later.result() == 42


@rule("T4")
async def test_a_group_that_waits_for_that_task_alone_is_left(tick: float) -> None:
    async def stop() -> None:
        await sleep(tick)
        task.cancel()

    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        tg.create_task(stop())


@rule("T4")
async def test_cancelled_by_a_sibling(tick: float) -> None:
    async def stop(other: Task[None]) -> str:
        other.cancel()
        await sleep(tick)
        return "went on"

    async with task_group() as tg:
        task = tg.create_task(sleep_forever())
        sibling = tg.create_task(stop(task))
    assert task.cancelled()
    assert sibling.result() == "went on"


@rule("T4")
async def test_cancelled_by_itself_it_ends_at_its_next_checkpoint() -> None:
    steps: list[str] = []
    tasks: list[Task[None]] = []

    async def child() -> None:
        await until(lambda: tasks)
        tasks[0].cancel()
        steps.append("before the checkpoint")
        await checkpoint()
        steps.append("after the checkpoint")

    async with task_group() as tg:
        tasks.append(tg.create_task(child()))
    assert steps == ["before the checkpoint"]
    assert tasks[0].cancelled()


@rule("T4")
async def test_a_task_that_cancels_itself_and_returns_keeps_its_value() -> None:
    tasks: list[Task[str]] = []

    async def child() -> str:
        await until(lambda: tasks)
        tasks[0].cancel()
        return "value"

    async with task_group() as tg:
        tasks.append(tg.create_task(child()))
    assert not tasks[0].cancelled()
    assert tasks[0].result() == "value"


@rule("T4")
async def test_cancelled_by_a_child_of_its_own() -> None:
    tasks: list[Task[None]] = []

    async def grandchild() -> None:
        await until(lambda: tasks)
        tasks[0].cancel()

    async def child() -> None:
        async with task_group() as inner:
            inner.create_task(grandchild())
            await sleep_forever()

    async with task_group() as tg:
        tasks.append(tg.create_task(child()))
    assert tasks[0].cancelled()


@rule("T4")
async def test_the_groups_inside_it_are_cancelled() -> None:
    ended: list[str] = []

    async def grandchild() -> None:
        async with task_group() as innermost:
            innermost.create_task(note_the_end(ended, "great-grandchild"))
            await note_the_end(ended, "grandchild")

    async def child() -> None:
        async with task_group() as inner:
            inner.create_task(grandchild())

    async with task_group() as tg:
        task = tg.create_task(child())
        await settle()
        task.cancel()
    assert sorted(ended) == ["grandchild", "great-grandchild"]


@rule("T4", "C6")
async def test_the_groups_inside_it_are_cancelled_at_once_although_it_is_in_a_shield() -> None:
    ended: list[str] = []

    async def child() -> None:
        async with task_group() as inner:
            inner.create_task(note_the_end(ended, "grandchild"))
            await shield(until(lambda: ended))

    async with task_group() as tg:
        task = tg.create_task(child())
        await settle()
        task.cancel()
    assert ended == ["grandchild"]
    assert task.cancelled()


@rule("T4")
async def test_its_clean_up_in_a_shield_is_completed_and_waited_for(tick: float) -> None:
    ended: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(clean_up(3 * tick, ended))
        task.cancel()
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4")
async def test_cancelled_again_in_its_clean_up(tick: float) -> None:
    ended: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(clean_up(3 * tick, ended))
        task.cancel()
        await sleep(tick)
        task.cancel()
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4", only="asyncio")
@pytest.mark.parametrize("by_its_group", [False, True])
async def test_cancelled_again_while_its_clean_up_waits_without_a_shield(by_its_group: bool) -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await sleep_forever()
        finally:
            await settle()
            ended.append("child")

    async with task_group() as tg:
        task = tg.create_task(child())
        await settle()
        if by_its_group:
            tg.cancel()
        else:
            task.cancel()
        await shield(checkpoint())
        task.cancel()
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4")
async def test_cancelled_twice_in_a_row() -> None:
    ended: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(note_the_end(ended))
        task.cancel()
        task.cancel()
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4")
async def test_cancelled_after_its_end_it_keeps_its_outcome() -> None:
    async with task_group() as tg:
        task = tg.create_task(answer())
        await task
        task.cancel()
        assert not task.cancelled()
    task.cancel()
    assert task.result() == 42


@rule("T4")
async def test_cancelled_first_and_then_with_its_group() -> None:
    async def stop(group: TaskGroup) -> None:
        group.cancel()

    ended: list[str] = []
    async with task_group() as tg:
        task = tg.create_task(note_the_end(ended))
        task.cancel()
        tg.create_task(stop(tg))
    assert ended == ["child"]
    assert task.cancelled()


@rule("T4")
async def test_the_scopes_around_the_group_stay_as_they_are(tick: float) -> None:
    async with deadline(1000 * tick) as limit:
        async with task_group() as outer:
            async with task_group() as tg:
                tg.create_task(sleep_forever()).cancel()
            uncle = outer.create_task(answer_after(tick))
            await checkpoint()
    assert uncle.result() == 42
    assert not limit.expired()


@rule("T4")
async def test_a_deadline_inside_it_does_not_time_out(tick: float) -> None:
    raised: list[type[BaseException]] = []

    async def child() -> None:
        try:
            async with deadline(1000 * tick):
                await sleep_forever()
        except BaseException as error:
            raised.append(type(error))
            raise

    async with task_group() as tg:
        task = tg.create_task(child())
        await sleep(tick)
        task.cancel()
    assert raised == [get_cancelled_exc_class()]
    assert task.cancelled()
