"""`explore_cancellation` and `wait_all_tasks_blocked`."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from interloop import (
    checkpoint,
    current_backend,
    current_time,
    deadline,
    get_cancelled_exc_class,
    shield,
    sleep,
    sleep_forever,
    task_group,
)
from interloop.testing import (
    HOSTS,
    CancellationFailure,
    explore_cancellation,
    run,
    wait_all_tasks_blocked,
)

trio = pytest.importorskip("trio")

VIRTUAL = [host for host in HOSTS.values() if host.virtual and not host.missing()]
each_host = pytest.mark.parametrize("host", [host.name for host in VIRTUAL])
both = pytest.mark.parametrize("host", ["asyncio", "trio"])


def line_of(text: str) -> str:
    """What names the one source line of this file that ends with `# text`."""
    source = Path(__file__).read_text().splitlines()
    return next(f"{__file__}:{n}" for n, line in enumerate(source, start=1) if line.endswith(f"# {text}"))


# explore_cancellation


@each_host
def test_each_checkpoint_is_cancelled_once(host: str) -> None:
    async def main() -> None:
        reached.append(0)
        for n in range(1, 4):
            await sleep(1)
            reached.append(n)

    reached: list[int] = []
    assert explore_cancellation(main, host=host) == 3
    if HOSTS[host].backend == "asyncio":  # by a scope and by Task.cancel()
        assert reached == [0, 1, 2, 3, 0, 0, 0, 1, 0, 1, 0, 1, 2, 0, 1, 2]
    else:
        assert reached == [0, 1, 2, 3, 0, 0, 1, 0, 1, 2]


@both
def test_a_function_without_checkpoints(host: str) -> None:
    async def main() -> None:
        pass

    assert explore_cancellation(main, host=host) == 0


@each_host
def test_a_checkpoint_in_any_task(host: str) -> None:
    async def child() -> None:
        await sleep(1)  # in the child

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(child(), name="the child")

    def check() -> None:
        runs.append(len(runs))
        assert len(runs) < 2

    runs: list[int] = []
    seen = set()
    for number in range(1, explore_cancellation(main, host=host) + 1):
        runs.clear()
        with pytest.raises(CancellationFailure) as caught:
            explore_cancellation(main, host=host, check=check, checkpoint=number)
        seen.add(str(caught.value).splitlines()[0].partition(", ")[2])
    in_the_child = f"as task 'the child' was suspended at {line_of('in the child')} in "
    if host != "asyncio-eager":  # there the first step of a task is part of that of its creator
        assert any(place.startswith(in_the_child) for place in seen)
    assert "as task 'the child' had ended" in seen
    assert any(place.startswith("as the main task was suspended at ") for place in seen)


async def wrong_error() -> None:
    try:
        await sleep(1)
    except get_cancelled_exc_class():
        raise OSError("lost") from None


async def swallowed_in_a_group() -> None:
    async with task_group() as tg:
        tg.create_task(wrong_error())


@both
@pytest.mark.parametrize("main", [wrong_error, swallowed_in_a_group])
def test_an_error_in_the_place_of_the_cancellation(host: str, main: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(CancellationFailure, match=r"OSError.*lost") as caught:
        explore_cancellation(main, host=host)
    assert caught.value.__cause__ is not None


@both
def test_a_failure_says_where_and_how_to_repeat_it(host: str) -> None:
    async def main() -> None:
        state.clear()
        await sleep(1)
        state.append("taken")
        await sleep(1)  # holding it
        state.clear()

    state: list[str] = []
    with pytest.raises(CancellationFailure) as caught:
        explore_cancellation(main, host=host, check=lambda: not state)
    message = str(caught.value)
    assert message.startswith(
        f"cancelled at checkpoint 2 of 2 on {host}, "
        f"as the main task was suspended at {line_of('holding it')} in "
    )
    assert "check() returned False" in message
    assert message.endswith(f"explore_cancellation(..., host={host!r}, checkpoint=2)")
    with pytest.raises(CancellationFailure, match="checkpoint 2 of 2"):
        explore_cancellation(main, host=host, check=lambda: not state, checkpoint=2)
    explore_cancellation(main, host=host, check=lambda: not state, checkpoint=1)


def test_a_task_that_is_left_running() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(5), name="forgotten")
        await sleep(1)
        await task

    with pytest.raises(CancellationFailure, match=r"TasksLeftAlive.*forgotten"):
        explore_cancellation(main)


def test_an_error_that_only_asyncio_hears_of() -> None:
    async def fail() -> None:
        raise OSError("unheard")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        with pytest.raises(OSError, match="unheard"):
            await task

    with pytest.raises(CancellationFailure, match=r"LoopReportedError.*unheard"):
        explore_cancellation(main)


def test_a_function_that_hangs_when_it_is_cancelled() -> None:
    async def main() -> None:
        try:
            await sleep(1)
        except get_cancelled_exc_class():
            await sleep_forever()

    with pytest.raises(CancellationFailure, match=r"Deadlock(.|\n)*sleep_forever"):
        explore_cancellation(main)


@both
def test_an_item_that_is_lost_as_it_is_handed_over(host: str) -> None:
    async def put(box: list[str], full: Any) -> None:
        await sleep(1)
        box.append(store.pop())
        full.set()

    async def main() -> None:
        store[:] = ["item"]
        box: list[str] = []
        full = trio.Event() if current_backend() == "trio" else asyncio.Event()
        async with task_group() as tg:
            tg.create_task(put(box, full), name="the giver")
            await full.wait()
            store.append(box.pop())

    store: list[str] = []
    found = None
    try:
        explore_cancellation(main, host=host, check=lambda: store == ["item"])
    except CancellationFailure as failure:
        found = str(failure)
    if host == "trio":  # where one who was woken can no longer be cancelled
        assert found is None
    else:
        assert found is not None
        assert re.match(r"cancelled by Task.cancel\(\) at .*, as task 'the giver' had ended\n", found)


@both
def test_leaving_takes_a_native_cancellation_back(host: str) -> None:
    async def main() -> None:
        await shield(sleep(1))
        task = asyncio.current_task() if current_backend() == "asyncio" else None
        if task is not None:
            requests.append(task.cancelling())

    requests: list[int] = []
    explore_cancellation(main, host=host)
    assert requests[-1:] == ([1] if host == "asyncio" else [])


@both
def test_the_order_is_the_same_each_time(host: str) -> None:
    async def main() -> None:
        async def note(n: int) -> None:
            for _ in range(3):
                await checkpoint()
                order.append(n)

        order.clear()
        async with task_group() as tg:
            for n in range(5):
                tg.create_task(note(n))

    order: list[int] = []
    counts = {explore_cancellation(main, host=host) for _ in range(2)}
    assert len(counts) == 1


@both
def test_a_function_that_does_not_do_the_same_again(host: str) -> None:
    async def main() -> None:
        runs.append(1)
        if len(runs) == 1:
            await sleep(1)

    runs: list[int] = []
    with pytest.raises(RuntimeError, match=r"must do the same each time.*then it was not reached"):
        explore_cancellation(main, host=host)


@both
def test_an_error_without_a_cancellation_is_the_functions_own(host: str) -> None:
    async def main() -> None:
        raise OSError("no route")

    with pytest.raises(OSError, match="no route") as caught:
        explore_cancellation(main, host=host)
    assert "without any cancellation" in caught.value.__notes__[0]


class TakesNoNote(OSError):
    def __setattr__(self, name: str, value: object) -> None:
        if name == "__notes__":
            raise ValueError
        super().__setattr__(name, value)


@both
def test_an_error_that_takes_no_note_is_the_functions_own(host: str) -> None:
    async def main() -> None:
        raise TakesNoNote

    with pytest.raises(TakesNoNote):
        explore_cancellation(main, host=host)


@both
def test_a_check_that_never_holds(host: str) -> None:
    with pytest.raises(AssertionError, match="returned False") as caught:
        explore_cancellation(checkpoint, host=host, check=lambda: False)
    assert not isinstance(caught.value, CancellationFailure)


def test_a_checkpoint_that_is_not_there() -> None:
    for number in (0, 2):
        with pytest.raises(ValueError, match=f"no checkpoint {number}: there are 1, from 1 on"):
            explore_cancellation(checkpoint, checkpoint=number)


@pytest.mark.skipif(
    not hasattr(gc, "freeze"), reason="this Python's collector cannot be told to look at less"
)
def test_each_run_collects_its_own_objects_alone() -> None:
    before = gc.get_freeze_count()
    frozen: list[int] = []

    async def main() -> None:
        frozen.append(gc.get_freeze_count())
        await sleep(1)

    explore_cancellation(main, host="asyncio")
    assert min(frozen) > before


def test_a_host_without_virtual_time() -> None:
    pytest.importorskip("uvloop")
    with pytest.raises(ValueError, match="no virtual time"):
        explore_cancellation(checkpoint, host="uvloop")


def test_the_tasks_remain_native() -> None:
    async def child() -> None:
        task = asyncio.current_task()
        assert type(task) is asyncio.Task
        assert task.get_coro() is coros[-1]
        await asyncio.sleep(1)

    async def main() -> None:
        coros.append(child())
        async with asyncio.TaskGroup() as tg:
            tg.create_task(coros[-1])

    coros: list[Any] = []
    assert explore_cancellation(main) >= 3


def test_trio_still_has_what_makes_its_order_the_same() -> None:
    assert trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING in (False, True)
    assert callable(trio._core._run._r.random)


# wait_all_tasks_blocked


@each_host
def test_the_others_run_until_they_wait(host: str) -> None:
    async def busy() -> None:
        for _ in range(100):
            await checkpoint()
        log.append("waits")
        await sleep(1)

    async def main() -> None:
        async with task_group() as tg:
            tg.create_task(busy())
            await wait_all_tasks_blocked()
            assert log == ["waits"]
            assert current_time() == 0
            log.clear()

    log: list[str] = []
    if host == "trio-asyncio":
        with pytest.raises(ExceptionGroup) as caught:
            HOSTS[host].run(main)
        assert isinstance(caught.value.exceptions[0], NotImplementedError)
    else:
        HOSTS[host].run(main)


def test_uvloop_does_not_tell_what_can_run() -> None:
    pytest.importorskip("uvloop")
    with pytest.raises(NotImplementedError, match="cannot see what is to run"):
        run(wait_all_tasks_blocked, host="uvloop")


@both
@pytest.mark.parametrize("virtual_time", [False, True])
def test_nothing_is_waited_for_but_tasks(host: str, virtual_time: bool) -> None:
    async def main() -> None:
        async with task_group() as tg:
            for delay in (0.01, 1000):
                tg.create_task(sleep(delay))
            await wait_all_tasks_blocked()
            tg.cancel()

    run(main, host=host, virtual_time=virtual_time)


@both
def test_two_that_wait_do_not_wait_for_each_other(host: str) -> None:
    async def wait() -> None:
        await wait_all_tasks_blocked()

    async def main() -> None:
        async with deadline(1), task_group() as tg:
            for _ in range(3):
                tg.create_task(wait())

    run(main, host=host, virtual_time=True)


@both
def test_one_that_is_cancelled_is_no_longer_counted(host: str) -> None:
    async def main() -> None:
        async with task_group() as tg:
            task = tg.create_task(wait_all_tasks_blocked())
            await checkpoint()
            task.cancel()
        await wait_all_tasks_blocked()

    run(main, host=host, virtual_time=True)


@both
def test_alone(host: str) -> None:
    run(wait_all_tasks_blocked, host=host)
