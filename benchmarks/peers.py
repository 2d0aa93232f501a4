"""The peers: for each library, its own words for what is measured. What it has no word for is `None`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import interloop

Coro = Coroutine[Any, Any, Any]
Setter: TypeAlias = Callable[[], object]
Wait: TypeAlias = Callable[[], Awaitable[object]]
Send: TypeAlias = Callable[[Any], Awaitable[object]]


class Stop(Exception):
    """Raised in a group that cannot be cancelled: what the documentation of `asyncio.TaskGroup` advises."""


def _stop(_: object) -> None:
    raise Stop


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How a library says what is measured.

    Attributes:
        structured: it has task groups and deadlines of its own; else these are the loop's.
        group: opens a task group.
        spawns_functions: children are made by `start_soon(fn)`, not by `create_task(fn())`.
        returns_handles: spawning gives something that knows the outcome.
        awaits_handles: and can be awaited.
        cancel: cancels a group, from its body.
        deadline: opens a deadline of so many seconds.
        plain: it is entered by `with`.
        asynchronous: it is entered by `async with`.
        expiry: what a deadline raises.
        reschedules: a deadline is moved by `reschedule(when)`, not by its attribute `deadline`.
        shield: shields a coroutine object, or
        shield_scope: opens a block that is shielded.
        move_on: opens a deadline that raises nothing, if there is one.
        lock, semaphore, limiter: make one that one task at a time can have.
        acquire, release: how the methods of these three are called; the first is awaited.
        event: makes one, and gives what sets it and what waits for it.
        channel: opens one of that capacity, or the smallest there is, and gives what sends and what receives.
    """

    structured: bool = True
    group: Callable[[], Any]
    spawns_functions: bool = False
    returns_handles: bool = True
    awaits_handles: bool = True
    cancel: Callable[[Any], object] = _stop
    deadline: Callable[[float], Any]
    plain: bool = True
    asynchronous: bool = False
    expiry: type[Exception] = TimeoutError
    reschedules: bool = False
    shield: Callable[[Coro], Awaitable[object]] | None = None
    shield_scope: Callable[[], Any] | None = None
    current_time: Callable[[], float] | None = None
    current_deadline: Callable[[], float] | None = None
    gather: Callable[[Sequence[Coro]], Awaitable[object]] | None = None
    first: Callable[[Sequence[Coro]], Awaitable[object]] | None = None
    as_completed: Callable[[Sequence[Coro]], Awaitable[object]] | None = None
    move_on: Callable[[float], Any] | None = None
    lock: Callable[[], Any] | None = None
    semaphore: Callable[[], Any] | None = None
    limiter: Callable[[], Any] | None = None
    acquire: str = "acquire"
    release: str = "release"
    event: Callable[[], tuple[Setter, Wait]] | None = None
    channel: Callable[[int], AbstractContextManager[tuple[Send, Wait]]] | None = None

    def spawn(self, group: Any, fn: Callable[..., Coro], *args: object) -> object:
        """Spawn `fn(*args)`, for what is not measured."""
        if self.spawns_functions:
            return group.start_soon(fn, *args)
        return group.create_task(fn(*args))

    @asynccontextmanager
    async def inside_deadline(self, seconds: float) -> AsyncGenerator[Any]:
        """Open a deadline, for what is not measured."""
        if self.plain:
            with self.deadline(seconds) as scope:
                yield scope
        else:
            async with self.deadline(seconds) as scope:
                yield scope


def _interloop() -> Peer:
    def event() -> tuple[Setter, Wait]:
        event = interloop.Event()
        return event.set, event.wait

    @contextmanager
    def channel(capacity: int) -> Generator[tuple[Send, Wait]]:
        sender, receiver = interloop.channel[Any](capacity)
        with sender, receiver:
            yield sender.send, receiver.receive

    async def as_completed(coros: Sequence[Coro]) -> None:
        async with interloop.as_completed(coros) as results:
            async for _ in results:
                pass

    return Peer(
        group=interloop.task_group,
        cancel=lambda group: group.cancel(),
        deadline=interloop.deadline,
        asynchronous=True,
        reschedules=True,
        shield=interloop.shield,
        current_time=interloop.current_time,
        current_deadline=interloop.current_deadline,
        gather=lambda coros: interloop.gather(*coros),
        first=lambda coros: interloop.first(*coros),
        as_completed=as_completed,
        move_on=partial(interloop.deadline, suppress=True),
        lock=interloop.Lock,
        semaphore=partial(interloop.Semaphore, 1),
        limiter=partial(interloop.Limiter, 1),
        event=event,
        channel=channel,
    )


def _asyncio() -> Peer:
    def event() -> tuple[Setter, Wait]:
        event = asyncio.Event()
        return event.set, event.wait

    def channel(capacity: int) -> AbstractContextManager[tuple[Send, Wait]]:
        queue = asyncio.Queue[Any](max(1, capacity))  # 0 would be no limit
        return nullcontext((queue.put, queue.get))

    async def first(coros: Sequence[Coro]) -> object:
        tasks = [asyncio.create_task(coro) for coro in coros]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return done.pop().result()

    async def as_completed(coros: Sequence[Coro]) -> None:
        for result in asyncio.as_completed(coros):
            await result

    return Peer(
        group=asyncio.TaskGroup,
        deadline=asyncio.timeout,
        plain=False,
        asynchronous=True,
        reschedules=True,
        shield=asyncio.shield,
        current_time=lambda: asyncio.get_running_loop().time(),
        gather=lambda coros: asyncio.gather(*coros),
        first=first,
        as_completed=as_completed,
        move_on=asyncio.timeout,
        lock=asyncio.Lock,
        semaphore=partial(asyncio.Semaphore, 1),
        limiter=partial(asyncio.Semaphore, 1),  # it has no limiter
        event=event,
        channel=channel,
    )


def _trio() -> Peer:
    import trio

    def event() -> tuple[Setter, Wait]:
        event = trio.Event()
        return event.set, event.wait

    @contextmanager
    def channel(capacity: int) -> Generator[tuple[Send, Wait]]:
        sender, receiver = trio.open_memory_channel[Any](capacity)
        with sender, receiver:
            yield sender.send, receiver.receive

    async def gather(coros: Sequence[Coro]) -> list[object]:
        results: list[object] = [None] * len(coros)

        async def run(index: int, coro: Coro) -> None:
            results[index] = await coro

        async with trio.open_nursery() as nursery:
            for index, coro in enumerate(coros):
                nursery.start_soon(run, index, coro)
        return results

    async def first(coros: Sequence[Coro]) -> object:
        result: object = None

        async def run(coro: Coro) -> None:
            nonlocal result
            result = await coro
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for coro in coros:
                nursery.start_soon(run, coro)
        return result

    async def as_completed(coros: Sequence[Coro]) -> None:
        sending, receiving = trio.open_memory_channel[object](len(coros))

        async def run(coro: Coro, sending: trio.MemorySendChannel[object]) -> None:
            with sending:
                await sending.send(await coro)

        async with trio.open_nursery() as nursery:
            with sending:
                for coro in coros:
                    nursery.start_soon(run, coro, sending.clone())
            async for _ in receiving:
                pass

    return Peer(
        group=trio.open_nursery,
        spawns_functions=True,
        returns_handles=False,
        awaits_handles=False,
        cancel=lambda nursery: nursery.cancel_scope.cancel(),
        deadline=trio.fail_after,
        expiry=trio.TooSlowError,
        shield_scope=lambda: trio.CancelScope(shield=True),
        current_time=trio.current_time,
        current_deadline=trio.current_effective_deadline,
        gather=gather,
        first=first,
        as_completed=as_completed,
        move_on=trio.move_on_after,
        lock=trio.Lock,
        semaphore=partial(trio.Semaphore, 1),
        limiter=partial(trio.CapacityLimiter, 1),
        event=event,
        channel=channel,
    )


def _anyio() -> Peer:
    import anyio

    def event() -> tuple[Setter, Wait]:
        event = anyio.Event()
        return event.set, event.wait

    @contextmanager
    def channel(capacity: int) -> Generator[tuple[Send, Wait]]:
        sender, receiver = anyio.create_memory_object_stream[Any](capacity)
        with sender, receiver:
            yield sender.send, receiver.receive

    async def first(coros: Sequence[Coro]) -> object:
        async with anyio.as_completed(*coros) as finished:
            async for task in finished:
                return task.return_value
        raise AssertionError("no coroutine ended")

    async def as_completed(coros: Sequence[Coro]) -> None:
        async with anyio.as_completed(*coros) as finished:
            async for _ in finished:
                pass

    peer = Peer(
        group=anyio.create_task_group,
        spawns_functions=True,
        cancel=lambda group: group.cancel_scope.cancel(),
        deadline=anyio.fail_after,
        shield_scope=lambda: anyio.CancelScope(shield=True),
        current_time=anyio.current_time,
        current_deadline=anyio.current_effective_deadline,
        gather=lambda coros: anyio.gather(*coros),
        first=first,
        as_completed=as_completed,
        move_on=anyio.move_on_after,
        # `fast_acquire`, since interloop's do not suspend either when they are free; without it each takes a
        # turn of the loop, and that is what would be measured
        lock=partial(anyio.Lock, fast_acquire=True),
        semaphore=partial(anyio.Semaphore, 1, fast_acquire=True),
        limiter=partial(anyio.CapacityLimiter, 1),  # it has no such choice
        event=event,
        channel=channel,
    )
    if not hasattr(anyio, "as_completed"):  # in the lowest version that interloop is tested with
        return replace(peer, gather=None, first=None, as_completed=None)
    return peer


def _quattro() -> Peer:
    import quattro

    return Peer(
        group=quattro.TaskGroup,
        deadline=quattro.fail_after,
        current_deadline=quattro.get_current_effective_deadline,
        gather=lambda coros: quattro.gather(*coros),
    )


def _aiotools() -> Peer:
    import aiotools

    async def as_completed(coros: Sequence[Coro]) -> None:
        async with aclosing(aiotools.as_completed_safe(coros)) as finished:
            async for result in finished:
                await result

    return Peer(
        group=aiotools.TaskGroup,
        deadline=aiotools.timeout,
        plain=False,
        asynchronous=True,
        reschedules=True,
        shield_scope=aiotools.ShieldScope,
        gather=aiotools.gather_safe,
        first=aiotools.race,
        as_completed=as_completed,
    )


def _aiologic(native: Callable[[], Peer]) -> Peer:
    # by its name, so that mypy needs no more peers than the benchmarks do
    aiologic: Any = import_module("aiologic")

    def event() -> tuple[Setter, Wait]:
        event = aiologic.Event()
        return event.set, lambda: event

    def channel(capacity: int) -> AbstractContextManager[tuple[Send, Wait]]:
        queue = aiologic.Queue(max(1, capacity))
        return nullcontext((queue.async_put, queue.async_get))

    return replace(
        native(),
        structured=False,
        lock=aiologic.Lock,
        semaphore=partial(aiologic.Semaphore, 1),
        limiter=partial(aiologic.CapacityLimiter, 1),
        acquire="async_acquire",
        release="async_release",
        event=event,
        channel=channel,
    )


_PEERS: dict[str, dict[str, Callable[[], Peer]]] = {
    "asyncio": {
        "interloop": _interloop,
        "native": _asyncio,
        "anyio": _anyio,
        "quattro": _quattro,
        "aiotools": _aiotools,
        "aiologic": partial(_aiologic, _asyncio),
    },
    "trio": {
        "interloop": _interloop,
        "native": _trio,
        "anyio": _anyio,
        "aiologic": partial(_aiologic, _trio),
    },
}


def installed_peers(backend: str) -> dict[str, Peer]:
    """The peers that are installed, of those that run on `backend`; interloop is the first."""
    peers = {}
    for name, describe in _PEERS[backend].items():
        try:
            peers[name] = describe()
        except ImportError:
            continue
    return peers
