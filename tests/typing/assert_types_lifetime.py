"""What a type checker makes of the calls for a task's lifetime, and of the patterns. Never run.

For the form of what must be refused see `assert_types.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, assert_type, cast

from interloop import AsCompleted, Task, TaskGroup, TaskStatus, as_completed, first, gather, task_group

T = TypeVar("T")

IGNORED: TaskStatus[Any] = cast(Any, None)


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


async def five_or_six(
    a: int, b: str, c: bytes, d: float, e: bool, f: int = 6, *, task_status: TaskStatus[bool]
) -> None:
    task_status.started(e)


async def with_an_option(port: int, *, backlog: int = 5, task_status: TaskStatus[str]) -> None:
    task_status.started(f"port {port}, {backlog}")


async def with_a_demand(port: int, *, backlog: int, task_status: TaskStatus[str]) -> None:
    task_status.started(f"port {port}, {backlog}")


async def with_any_options(port: int, *, task_status: TaskStatus[str], **options: int) -> None:
    task_status.started(f"port {port}, {options}")


async def several(*hosts: str, task_status: TaskStatus[int]) -> None:
    task_status.started(len(hosts))


async def status_without_a_star(port: int, task_status: TaskStatus[str]) -> None:
    task_status.started(f"port {port}")


async def status_with_a_default(port: int, *, task_status: TaskStatus[str] = IGNORED) -> None:
    task_status.started(f"port {port}")


async def generic(item: T, *, task_status: TaskStatus[list[T]]) -> None:
    task_status.started([item])


async def any_status(port: int, *, task_status: Any) -> None:
    task_status.started(port)


async def without_status(port: int) -> None: ...


def no_coroutine(port: int, *, task_status: TaskStatus[int]) -> None:
    task_status.started(port)


class Server:
    async def serve(self, port: int, *, task_status: TaskStatus[str]) -> None:
        task_status.started(f"port {port}")

    @classmethod
    async def of_class(cls, port: int, *, task_status: TaskStatus[str]) -> None:
        task_status.started(f"port {port}")

    @staticmethod
    async def static(port: int, *, task_status: TaskStatus[str]) -> None:
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
    assert_type(await tg.start(Server().of_class, 80), str)
    assert_type(await tg.start(Server.static, 80), str)
    assert_type(await tg.start(with_an_option, 80), str)
    assert_type(await tg.start(with_any_options, 80), str)
    assert_type(await tg.start(status_without_a_star, 80), str)
    assert_type(await tg.start(status_with_a_default, 80), str)
    assert_type(await tg.start(generic, 80), list[int])
    assert_type(await tg.start(five_or_six, 1, "two", b"three", 4.0, True), Any)
    assert_type(await tg.start(five_or_six, 1, "two", b"three", 4.0, True, 6, name="six"), Any)


async def start_with_a_star(tg: TaskGroup, hosts: list[str], address: tuple[str, int]) -> None:
    assert_type(await tg.start(several), int)
    assert_type(await tg.start(several, "a"), int)
    assert_type(await tg.start(several, "a", "b", "c", "d"), int)
    assert_type(await tg.start(several, "a", "b", "c", "d", "e", "f"), Any)
    assert_type(await tg.start(several, *hosts), Any)
    assert_type(await tg.start(connect, *address), tuple[str, int])


async def start_what_is_less_known(
    tg: TaskGroup, function: Callable[..., Coroutine[Any, Any, None]], anything: Any, args: tuple[Any, ...]
) -> None:
    of_partials: list[str] = [
        await tg.start(partial(with_an_option, 80)),
        await tg.start(partial(with_an_option, backlog=3), 80),
        await tg.start(partial(with_a_demand, backlog=3), 80),
        await tg.start(partial(Server().serve, 80)),
    ]
    of_others: list[int] = [
        await tg.start(any_status, 80),
        await tg.start(function),
        await tg.start(function, 1, "two"),
        await tg.start(function, 1, 2, 3, 4, 5, 6),
        await tg.start(function, *args),
        await tg.start(anything, 1),
    ]
    print(of_partials, of_others)


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
    assert_type(
        await gather(text(), text(), text(), text(), text(), text(), text(), text(), limit=2), tuple[str, ...]
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
    assert_type(await first(number(), text()), int | str)
    assert_type(await first(number(), text(), maybe()), int | str | None)
    assert_type(await first(number(), text(), number(), raw()), int | str | bytes)
    assert_type(await first(number(), text(), raw(), maybe(), text()), int | str | bytes | None)
    assert_type(
        await first(number(), text(), raw(), maybe(), number(), pair()),
        int | str | bytes | None | tuple[int, str],
    )
    assert_type(await first(text(), text(), text(), text(), text(), text(), text()), str)
    assert_type(await first(*several), str)
    assert_type(await first(text(), *several), str)
    assert_type(await first(*[number() for _ in range(3)]), int)
    assert_type(await first(*(number() for _ in range(3))), int)


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


async def as_they_come_mixed(either: list[Coroutine[Any, Any, int] | Coroutine[Any, Any, str]]) -> None:
    assert_type(as_completed((number(), text())), AsCompleted[int | str])
    assert_type(as_completed((number(), text(), maybe()), limit=2), AsCompleted[int | str | None])
    assert_type(as_completed((number(), text(), number(), raw())), AsCompleted[int | str | bytes])
    assert_type(
        as_completed((number(), text(), maybe(), raw(), text())), AsCompleted[int | str | bytes | None]
    )
    assert_type(
        as_completed((number(), text(), maybe(), raw(), text(), pair())),
        AsCompleted[int | str | bytes | None | tuple[int, str]],
    )
    assert_type(
        as_completed((number(), number(), number(), number(), number(), number(), number())), AsCompleted[int]
    )
    # mypy infers `object` for a list of int and str coroutines, unless the variable is annotated
    assert_type(as_completed([number(), text()]), AsCompleted[int | str])  # type: ignore[assert-type]
    assert_type(as_completed(either), AsCompleted[int | str])  # type: ignore[assert-type]
    wanted: AsCompleted[int | str] = as_completed([number(), text()])
    async with wanted as results:
        assert_type(await anext(results), int | str)


async def mistakes(tg: TaskGroup) -> None:
    task_group(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    task_group(limit="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tg.create_background_task(number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await tg.start(number())  # type: ignore[call-overload]  # pyright: ignore
    await tg.start(ready, 1)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(listen)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(listen, "eighty")  # type: ignore[misc]  # pyright: ignore
    await tg.start(listen, 80, 81)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(listen, 1, 2, 3, 4, 5)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(listen, port=80)  # type: ignore[call-overload]  # pyright: ignore
    await tg.start(listen, 80, name=1)  # type: ignore[call-overload]  # pyright: ignore
    await tg.start(connect, "localhost")  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(connect, 80, "localhost")  # type: ignore[misc]  # pyright: ignore
    await tg.start(connect, "localhost", 80, 81)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(three, 1, "two", 3)  # type: ignore[misc]  # pyright: ignore
    await tg.start(three, 1, "two")  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(three, 1, "two", b"three", 4)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(four, 1, "two", b"three", "4")  # type: ignore[misc]  # pyright: ignore
    await tg.start(four, 1, "two", b"three", 4.0, 5)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(five, 1, "two", b"three", 4.0)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(five, 1, "two", b"three", 4.0, "5")  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(with_default, "eighty")  # type: ignore[misc]  # pyright: ignore
    await tg.start(with_default, 80, 81)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(with_an_option, 80, 5)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(with_a_demand, 80)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(several, 1)  # type: ignore[misc]  # pyright: ignore
    await tg.start(status_with_a_default, "eighty")  # type: ignore[misc]  # pyright: ignore
    await tg.start(Server().serve, "eighty")  # type: ignore[misc]  # pyright: ignore
    await tg.start(Server().serve)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(Server(), 1)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(without_status, 80)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(no_coroutine, 80)  # type: ignore[arg-type]  # pyright: ignore
    await tg.start(partial(listen, "eighty"))  # type: ignore[arg-type]  # pyright: ignore
    an_int: int = await tg.start(Server().serve, 80)  # type: ignore[arg-type]  # pyright: ignore
    print(an_int)
    await gather(number)  # type: ignore[call-overload]  # pyright: ignore
    await gather([number()])  # type: ignore[call-overload]  # pyright: ignore
    await first(number)  # type: ignore[call-overload]  # pyright: ignore
    as_completed(number())  # type: ignore[call-overload]  # pyright: ignore
    as_completed((number(), 1))  # type: ignore[arg-type]  # pyright: ignore
    an_int = await first(number(), text())  # type: ignore[arg-type]  # pyright: ignore


async def a_status_refuses_another_value(*, task_status: TaskStatus[int]) -> None:
    task_status.started("no number")  # type: ignore[arg-type]  # pyright: ignore
    task_status.started()  # type: ignore[call-arg]  # pyright: ignore
