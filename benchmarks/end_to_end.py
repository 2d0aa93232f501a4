"""A server and its clients over real sockets.

Every request is answered in a task of its own, with a deadline at either end. The sockets are the loop's own
in every run; the task groups and deadlines are the library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Any, Protocol

import interloop

from .loops import Loop

LIBRARIES = ("interloop", "native", "anyio")
CLIENTS = 20
REQUEST = b"?" * 64
RESPONSE = b"!" * 64
LIMIT = 5.0  # seconds for a request, at either end; never reached


class Stream(Protocol):
    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes:
        """One message; empty at the end."""
        ...


Handler = Callable[[Stream], Awaitable[None]]


@dataclass(frozen=True)
class Structure:
    """Task groups and deadlines of one library.

    Attributes:
        group: opens a task group.
        spawn: runs a function with its argument in it.
        within: the same function, under a deadline of `LIMIT`.
    """

    group: Callable[[], AbstractAsyncContextManager[Any]]
    spawn: Callable[[Any, Handler, Stream], object]
    within: Callable[[Handler, Stream], Awaitable[None]]


@dataclass
class EndToEnd:
    """What the rounds of one library on one loop came to."""

    loop: str
    peer: str
    requests_per_second: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        return median(self.requests_per_second)

    @property
    def p99(self) -> float:
        return quantiles(self.latencies, n=100)[98]


async def _exchange_forever(
    stream: Stream, structure: Structure, until: float, latencies: list[float]
) -> None:
    async def exchange(stream: Stream) -> None:
        await stream.send(REQUEST)
        await stream.receive()

    while (began := perf_counter()) < until:
        await structure.within(exchange, stream)
        latencies.append(perf_counter() - began)


async def _serve(stream: Stream, structure: Structure) -> None:
    async def respond(stream: Stream) -> None:
        await stream.send(RESPONSE)

    async def respond_in_time(stream: Stream) -> None:
        await structure.within(respond, stream)

    async with structure.group() as tg:
        while await stream.receive():
            structure.spawn(tg, respond_in_time, stream)


def run_once(loop: Loop, structure: Structure, seconds: float, result: EndToEnd) -> None:
    """One round: so many seconds of requests."""
    network = _asyncio_network if loop.backend == "asyncio" else _trio_network

    async def main() -> None:
        latencies: list[float] = []

        async def client(stream: Stream) -> None:
            await _exchange_forever(stream, structure, until, latencies)

        async def server(stream: Stream) -> None:
            await _serve(stream, structure)

        async with network(server) as connect:
            streams = [await connect() for _ in range(CLIENTS)]
            began = perf_counter()
            until = began + seconds
            async with structure.group() as tg:
                for stream in streams:
                    structure.spawn(tg, client, stream)
            took = perf_counter() - began
        result.requests_per_second.append(len(latencies) / took)
        result.latencies += latencies

    loop.run(main)


class _AsyncioStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> bytes:
        try:
            return await self.reader.readexactly(len(REQUEST))
        except asyncio.IncompleteReadError:
            return b""


@asynccontextmanager
async def _asyncio_network(handle: Handler) -> AsyncGenerator[Callable[[], Awaitable[Stream]]]:
    opened: list[_AsyncioStream] = []
    handlers: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        await handle(_AsyncioStream(reader, writer))
        writer.close()
        await writer.wait_closed()

    async def connect() -> Stream:
        opened.append(_AsyncioStream(*await asyncio.open_connection("127.0.0.1", port)))
        return opened[-1]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield connect
    for stream in opened:
        stream.writer.close()
        await stream.writer.wait_closed()
    await asyncio.gather(*filter(None, handlers))  # before 3.12 the server does not wait for them
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def _trio_network(handle: Handler) -> AsyncGenerator[Callable[[], Awaitable[Stream]]]:
    import trio

    class TrioStream:
        def __init__(self, stream: trio.SocketStream) -> None:
            self.stream = stream

        async def send(self, data: bytes) -> None:
            await self.stream.send_all(data)

        async def receive(self) -> bytes:
            data = await self.stream.receive_some(len(REQUEST))
            while 0 < len(data) < len(REQUEST):
                data += await self.stream.receive_some(len(REQUEST) - len(data))
            return bytes(data)

    opened: list[trio.SocketStream] = []

    async def serve(stream: trio.SocketStream) -> None:
        await handle(TrioStream(stream))
        await stream.aclose()

    async def connect() -> Stream:
        opened.append(await trio.open_tcp_stream("127.0.0.1", port))
        return TrioStream(opened[-1])

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield connect
        for stream in opened:
            await stream.aclose()
        nursery.cancel_scope.cancel()


def structures(loop: Loop) -> dict[str, Structure]:
    """The libraries' structures, of those that are installed."""
    found = {"interloop": _interloop(), "native": _asyncio() if loop.backend == "asyncio" else _trio()}
    with suppress(ImportError):
        found["anyio"] = _anyio()
    return found


def _interloop() -> Structure:
    async def within(fn: Handler, stream: Stream) -> None:
        async with interloop.deadline(LIMIT):
            await fn(stream)

    return Structure(interloop.task_group, lambda tg, fn, stream: tg.create_task(fn(stream)), within)


def _asyncio() -> Structure:
    async def within(fn: Handler, stream: Stream) -> None:
        async with asyncio.timeout(LIMIT):
            await fn(stream)

    return Structure(asyncio.TaskGroup, lambda tg, fn, stream: tg.create_task(fn(stream)), within)


def _trio() -> Structure:
    import trio

    async def within(fn: Handler, stream: Stream) -> None:
        with trio.fail_after(LIMIT):
            await fn(stream)

    return Structure(trio.open_nursery, lambda nursery, fn, stream: nursery.start_soon(fn, stream), within)


def _anyio() -> Structure:
    import anyio

    async def within(fn: Handler, stream: Stream) -> None:
        with anyio.fail_after(LIMIT):
            await fn(stream)

    return Structure(anyio.create_task_group, lambda tg, fn, stream: tg.start_soon(fn, stream), within)
