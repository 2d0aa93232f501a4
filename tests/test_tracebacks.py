"""The traceback of an error begins where the user's code does: no frame of ours that explains nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from platform import python_implementation
from traceback import extract_tb

import pytest

import interloop
from interloop import (
    TaskStatus,
    as_completed,
    checkpoint,
    deadline,
    first,
    gather,
    shield,
    sleep_forever,
    task_group,
)
from interloop.testing import HOSTS, run

OURS = str(Path(interloop.__file__).parent)
hosts = pytest.mark.parametrize("host", [host for host in ("asyncio", "trio") if host in HOSTS])


async def fail() -> None:
    await checkpoint()
    raise ConnectionRefusedError


async def fail_when_cancelled() -> None:
    try:
        await sleep_forever()
    finally:
        await fail_at_once()


async def fail_at_once() -> None:
    raise ConnectionRefusedError


async def answer() -> int:
    await checkpoint()
    return 1


async def in_a_group() -> None:
    async with task_group() as tg:
        tg.create_task(fail())


async def in_a_group_without_a_handle() -> None:
    async with task_group(limit=1) as tg:
        tg.create_background_task(fail())
        await sleep_forever()


async def in_gather() -> None:
    await gather(fail(), answer())


async def in_first() -> None:
    await first(fail(), fail_at_once())


async def in_the_clean_up_of_first() -> None:
    await first(answer(), fail_when_cancelled())


async def in_as_completed() -> None:
    async with as_completed([fail()]) as results:
        async for _ in results:
            pass


Program = Callable[[], Awaitable[None]]
programs = pytest.mark.parametrize(
    "program",
    [
        in_a_group,
        in_a_group_without_a_handle,
        in_gather,
        in_first,
        in_the_clean_up_of_first,
        in_as_completed,
    ],
    ids=lambda program: program.__name__,
)


def frames_of_ours(error: BaseException) -> list[str]:
    return [frame.name for frame in extract_tb(error.__traceback__) if frame.filename.startswith(OURS)]


@hosts
@programs
def test_the_error_of_a_child_shows_no_frame_of_ours(program: Program, host: str) -> None:
    if host == "asyncio" and python_implementation() == "PyPy":
        pytest.skip("tasks of asyncio are written in Python there, and their own frames come first")
    with pytest.raises(ExceptionGroup) as caught:
        run(program, host=host)
    for error in caught.value.exceptions:
        assert isinstance(error, ConnectionRefusedError)
        assert frames_of_ours(error) == []


@hosts
def test_an_error_that_comes_out_of_start_shows_that_call_alone(host: str) -> None:
    async def serve(*, task_status: TaskStatus[None]) -> None:
        await fail()

    async def main() -> None:
        async with task_group() as tg:
            with pytest.raises(ConnectionRefusedError) as caught:
                await tg.start(serve)
            seen.append(frames_of_ours(caught.value))

    seen: list[list[str]] = []
    run(main, host=host)
    assert seen == [["start"]]


@hosts
def test_an_error_that_comes_out_of_a_shield_shows_no_more_than_its_calls(host: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await shield(fail())
        seen.append(frames_of_ours(caught.value))

    seen: list[list[str]] = []
    run(main, host=host)
    assert seen == [["shield", "shield"]]


@hosts
def test_the_error_of_a_block_shows_no_frame_of_the_deadline_around_it(host: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            with deadline(1):
                await fail_at_once()
        seen.append(frames_of_ours(caught.value))

    seen: list[list[str]] = []
    run(main, host=host)
    assert seen == [[]]


@hosts
def test_the_error_of_a_child_shows_all_frames_of_the_user(host: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(in_the_clean_up_of_first, host=host)
    [error] = caught.value.exceptions
    names = [frame.name for frame in extract_tb(error.__traceback__)]
    assert names[-2:] == ["fail_when_cancelled", "fail_at_once"]


@hosts
def test_the_error_of_a_function_that_start_cannot_call_has_a_traceback(host: str) -> None:
    async def without_a_status() -> None:
        raise AssertionError("never called")

    async def main() -> None:
        async with task_group() as tg:
            with pytest.raises(TypeError, match="task_status") as caught:
                await tg.start(without_a_status)  # type: ignore[arg-type, call-arg]
            seen.append([frame.name for frame in extract_tb(caught.value.__traceback__)][-1])

    seen: list[str] = []
    run(main, host=host)
    assert seen == ["_run"]
