"""What a type checker makes of the calls for a task's lifetime, and of the patterns. Never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any, assert_type

from interloop import AsCompleted, Task, TaskGroup, TaskStatus, as_completed, first, gather, task_group


async def number() -> int:
    return 42


async def text() -> str:
    return "text"


async def raw() -> bytes:
    return b"raw"


async def maybe() -> str | None:
    return None


async def ratio() -> float:
    return 0.5


async def pair() -> tuple[int, str]:
    return 1, "one"


async def ready(*, task_status: TaskStatus[None]) -> None:
    task_status.started()


async def listen(port: int, *, task_status: TaskStatus[int]) -> None:
    task_status.started(port)


async def connect(host: str, port: int, *, task_status: TaskStatus[tuple[str, int]]) -> None:
    task_status.started((host, port))


async def three(a: int, b: str, c: bytes, *, task_status: TaskStatus[bytes]) -> int:
    task_status.started(c)
    return a


async def four(a: int, b: str, c: bytes, d: float, *, task_status: TaskStatus[float]) -> None:
    task_status.started(d)


async def five(a: int, b: str, c: bytes, d: float, e: bool, *, task_status: TaskStatus[bool]) -> None:
    task_status.started(e)


async def with_default(port: int = 80, *, task_status: TaskStatus[int]) -> None:
    task_status.started(port)


class Server:
    async def serve(self, port: int, *, task_status: TaskStatus[str]) -> None:
        task_status.started(f"port {port}")

    async def __call__(self, *, task_status: TaskStatus[float]) -> None:
        task_status.started(1.5)


async def start(tg: TaskGroup) -> None:
    assert_type(await tg.start(ready), None)
    assert_type(await tg.start(listen, 80), int)
    assert_type(await tg.start(connect, "localhost", 80, name="client"), tuple[str, int])
    assert_type(await tg.start(three, 1, "two", b"three"), bytes)
    assert_type(await tg.start(four, 1, "two", b"three", 4.0), float)
    assert_type(await tg.start(five, 1, "two", b"three", 4.0, True), Any)
    assert_type(await tg.start(with_default), int)
    assert_type(await tg.start(with_default, 443), int)
    assert_type(await tg.start(Server().serve, 80), str)
    assert_type(await tg.start(Server()), float)
    of_a_partial: int = await tg.start(partial(listen, 80))
    print(of_a_partial)


async def ready_may_be_later_than_the_value_is_known(*, task_status: TaskStatus[str]) -> None:
    assert_type(task_status, TaskStatus[str])
    assert_type(task_status.started("ready"), None)


async def task_groups() -> None:
    assert_type(task_group(limit=3), TaskGroup)
    assert_type(task_group(limit=None, defer_errors=True), TaskGroup)
    async with task_group(limit=1, defer_errors=False) as tg:
        assert_type(tg, TaskGroup)
        task = tg.create_background_task(number())
        assert_type(task, Task[int])
        assert_type(await task, int)
        named = tg.create_background_task(maybe(), name="heartbeat", context=copy_context())
        assert_type(named, Task[str | None])


async def gathers(several: list[Coroutine[Any, Any, int]]) -> None:
    assert_type(await gather(number()), tuple[int])
    assert_type(await gather(number(), text()), tuple[int, str])
    assert_type(await gather(number(), text(), raw()), tuple[int, str, bytes])
    assert_type(await gather(number(), text(), raw(), maybe()), tuple[int, str, bytes, str | None])
    assert_type(
        await gather(number(), text(), raw(), maybe(), ratio()), tuple[int, str, bytes, str | None, float]
    )
    assert_type(
        await gather(number(), text(), raw(), maybe(), ratio(), pair(), limit=2),
        tuple[int, str, bytes, str | None, float, tuple[int, str]],
    )
    assert_type(
        await gather(number(), number(), number(), number(), number(), number(), number()), tuple[int, ...]
    )
    assert_type(await gather(*several), tuple[int, ...])
    assert_type(await gather(*[text() for _ in range(3)], limit=2), tuple[str, ...])
    assert_type(await gather(*(text() for _ in range(3))), tuple[str, ...])
    one, two = await gather(number(), gather(text(), raw()))
    assert_type(one, int)
    assert_type(two, tuple[str, bytes])


async def firsts(several: list[Coroutine[Any, Any, str]]) -> None:
    assert_type(await first(number()), int)
    assert_type(await first(number(), number()), int)
    assert_type(await first(*several), str)
    either: int | str = await first(number(), text())
    print(either)


def generated() -> Iterator[Coroutine[Any, Any, int]]:
    yield number()


async def generated_asynchronously() -> AsyncIterator[Coroutine[Any, Any, str]]:
    yield text()


async def as_they_come() -> None:
    results = as_completed([number(), number()])
    assert_type(results, AsCompleted[int])
    async with results as entered:
        assert_type(entered, AsCompleted[int])
        async for a_number in entered:
            assert_type(a_number, int)
        assert_type(await anext(entered), int)
        assert_type([result async for result in entered], list[int])
    async with as_completed((text() for _ in range(3)), limit=2) as texts:
        async for a_text in texts:
            assert_type(a_text, str)
    async with as_completed(generated(), limit=None) as numbers:
        assert_type(await anext(numbers), int)
    async with as_completed(generated_asynchronously()) as texts:
        assert_type(await anext(texts), str)
    async with as_completed((number(), number())) as numbers, as_completed({text()}) as texts:
        assert_type(await anext(numbers), int)
        assert_type(await anext(texts), str)


async def mistakes(tg: TaskGroup) -> None:
    task_group(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    task_group(limit="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tg.create_background_task(number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await tg.start(number())  # type: ignore[call-overload]  # pyright: ignore
    await gather(number)  # type: ignore[call-overload]  # pyright: ignore
    await gather([number()])  # type: ignore[call-overload]  # pyright: ignore
    await first(number)  # type: ignore[arg-type]  # pyright: ignore
    as_completed(number())  # type: ignore[arg-type]  # pyright: ignore


async def a_status_refuses_another_value(*, task_status: TaskStatus[int]) -> None:
    task_status.started("no number")  # type: ignore[arg-type]  # pyright: ignore
    task_status.started()  # type: ignore[call-arg]  # pyright: ignore
