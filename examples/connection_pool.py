"""A pool of HTTP/1.1 connections on three event loops: `python examples/connection_pool.py`.

Each host has a limit of connections, requests are served in the order of asking, each phase of a request has
a time limit, and a request that fails or is cancelled loses no connection. All of this is written once, on
interloop. h11 speaks HTTP, and `open_tcp` makes the calls that each loop has for sockets.

What is left out: TLS, proxies, HTTP/2, a limit for all hosts together, an age limit for idle connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11
import trio
from rich import box
from rich.console import Console
from rich.table import Table

from interloop import Semaphore, current_backend, deadline, gather, shield


class PoolTimeout(TimeoutError):
    """No connection was free in time. Nothing was sent."""


class ConnectTimeout(TimeoutError):
    """The server did not accept a connection in time. Nothing was sent."""


class WriteTimeout(TimeoutError):
    """The server did not take the request in time."""


class ReadTimeout(TimeoutError):
    """The server sent nothing for too long."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds for each phase of a request. `read` begins anew when data has arrived."""

    pool: float = 30.0
    connect: float = 30.0
    write: float = 30.0
    read: float = 30.0


@contextmanager
def time_limit(seconds: float, error: type[TimeoutError], what: str) -> Generator[None, None, None]:
    with deadline(seconds, suppress=True):
        yield
        return
    raise error(f"{what} took longer than {seconds:g} s") from None


@dataclass(frozen=True)
class Stream:
    """What a connection needs of its event loop."""

    send: Callable[[bytes], Coroutine[Any, Any, None]]
    receive: Callable[[], Coroutine[Any, Any, bytes]]  # b"" at the end
    close: Callable[[], Coroutine[Any, Any, None]]  # neither waits for the server nor fails
    has_ended: Callable[[], bool]  # of an idle one: whether the server has closed it


async def open_tcp(host: str, port: int) -> Stream:
    if current_backend() == "trio":
        stream = await trio.open_tcp_stream(host, port)
        return Stream(stream.send_all, stream.receive_some, stream.aclose, stream.socket.is_readable)

    reader, writer = await asyncio.open_connection(host, port)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def close() -> None:
        writer.transport.abort()  # writer.close() would wait for the server to take what was written
        with suppress(OSError):
            await writer.wait_closed()

    return Stream(send, partial(reader.read, 65536), close, lambda: reader.at_eof() or writer.is_closing())


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Response:
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Connection:
    """One stream, for one request after another."""

    def __init__(self, stream: Stream, address: Address, timeouts: Timeouts) -> None:
        self.stream = stream
        self._address = address
        self._timeouts = timeouts
        self._http = h11.Connection(h11.CLIENT)

    async def exchange(self, request: h11.Request, body: bytes) -> Response:
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        try:
            await self._send(request, h11.Data(data=body), h11.EndOfMessage())
            return await self._receive()
        except (ConnectionError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise ConnectionError(f"no complete response from {self._address}") from error

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        with time_limit(self._timeouts.write, WriteTimeout, f"sending to {self._address}"):
            await self.stream.send(data)

    async def _receive(self) -> Response:
        status, headers, body = 0, list[tuple[bytes, bytes]](), bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    with time_limit(self._timeouts.read, ReadTimeout, f"reading from {self._address}"):
                        self._http.receive_data(await self.stream.receive())
                case h11.InformationalResponse():
                    pass
                case h11.Response() as response:
                    status, headers = response.status_code, list(response.headers)
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage():
                    return Response(status, headers, bytes(body))
                case unexpected:
                    raise h11.RemoteProtocolError(f"unexpected {unexpected!r}")

    def is_reusable(self) -> bool:
        """Whether request and response are complete, and nothing came after them."""
        complete = self._http.our_state is self._http.their_state is h11.DONE
        return complete and self._http.trailing_data == (b"", False)


class Host:
    """A slot for each request that may be under way, and the connections that wait for one.

    A request opens a connection only if none is idle, so there are never more connections than slots. The
    slots are a `Semaphore` and not a `Limiter`, as a slot belongs to a connection, whichever task uses that.
    """

    def __init__(self, limit: int) -> None:
        self.slots = Semaphore(limit, max_value=limit)
        self.idle: list[Connection] = []


class Pool:
    """Used as `async with Pool() as pool:`.

    Leaving the block closes what is idle. A connection that is in use is closed when its request has ended.

    Args:
        per_host: how many connections may be open to one host and port.
        timeouts: for the phases of each request.
        connect: opens a stream.
    """

    def __init__(
        self,
        *,
        per_host: int = 10,
        timeouts: Timeouts | None = None,
        connect: Callable[[str, int], Coroutine[Any, Any, Stream]] = open_tcp,
    ) -> None:
        self.hosts: defaultdict[Address, Host] = defaultdict(lambda: Host(per_host))
        self._timeouts = timeouts or Timeouts()
        self._connect = connect
        self._closed = False

    async def request(
        self, method: str, url: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None
    ) -> Response:
        """
        Raises:
            PoolTimeout, ConnectTimeout, WriteTimeout, ReadTimeout: a phase took too long.
            ConnectionError: the server broke off, or sent what is not HTTP.
            OSError: the server could not be reached.
            RuntimeError: the pool is closed.
        """
        address, request = http_request(method, url, headers, body)
        host = self.hosts[address]
        with time_limit(self._timeouts.pool, PoolTimeout, f"waiting for a connection to {address}"):
            await host.slots.acquire()
        try:
            if self._closed:
                raise RuntimeError("the pool is closed")
            connection = await self._take_idle(host) or await self._open(address)
            try:
                return await connection.exchange(request, body or b"")
            finally:
                if connection.is_reusable() and not self._closed:
                    host.idle.append(connection)
                else:
                    await shield(connection.stream.close())
        finally:
            host.slots.release()  # only now that the connection is idle or closed

    async def _take_idle(self, host: Host) -> Connection | None:
        while host.idle:
            connection = host.idle.pop()
            if not connection.stream.has_ended():
                return connection
            await shield(connection.stream.close())
        return None

    async def _open(self, address: Address) -> Connection:
        with time_limit(self._timeouts.connect, ConnectTimeout, f"connecting to {address}"):
            return Connection(await self._connect(*address), address, self._timeouts)

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._closed = True
        await shield(self._close_idle())

    async def _close_idle(self) -> None:
        for host in list(self.hosts.values()):
            while host.idle:
                await host.idle.pop().stream.close()


def http_request(
    method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None
) -> tuple[Address, h11.Request]:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"expected http://host/path, got {url!r}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = ("Host", parts.netloc.rpartition("@")[2])
    length = [] if body is None else [("Content-Length", str(len(body)))]
    request = h11.Request(method=method, target=target, headers=[host, *length, *headers])
    return Address(parts.hostname, parts.port or 80), request


# A server to try it on


class Pages(BaseHTTPRequestHandler):
    """`/held` waits for the server's gate to open; every other page says its own name."""

    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True

    @property
    def site(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        self.site.note_request(self.path)
        if self.path == "/held":
            self.site.gate.wait()
        self.answer(self.path.encode())

    def answer(self, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        for header in [("Content-Length", str(len(body))), *headers]:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Notes its connections and requests."""

    request_queue_size = 100

    def __init__(self, pages: type[Pages]) -> None:
        super().__init__(("127.0.0.1", 0), pages)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.gate = Event()
        self.requests: list[str] = []
        self.opened = self.open = self.most = 0
        self._changed = Condition()

    def note_request(self, path: str) -> None:
        with self._changed:
            self.requests.append(path)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self.opened += 1
            self.open += 1
            self.most = max(self.most, self.open)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self.open -= 1
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no error here."""

    def wait_until_all_left(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.open == 0, seconds)


@contextmanager
def serving(pages: type[Pages] = Pages) -> Generator[Server, None, None]:
    with Server(pages) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.gate.set()
            server.shutdown()


# The same program on each loop


async def forty_requests_and_one(url: str) -> int:
    """Forty requests over four connections, and one that is given up; how many were answered."""
    async with Pool(per_host=4) as pool:
        responses = await gather(*[pool.request("GET", f"{url}/{number}") for number in range(40)])
        with deadline(0.1, suppress=True):
            await pool.request("GET", f"{url}/held")
    return len(responses)


Run = Callable[[Callable[[], Coroutine[Any, Any, int]]], int]


def runners() -> dict[str, Run]:
    """How to run an async function on each loop that is installed."""
    try:
        import uvloop
    except ImportError:
        on_uvloop: dict[str, Run] = {}
    else:
        on_uvloop = {"uvloop": lambda main: uvloop.run(main())}
    return {"asyncio": lambda main: asyncio.run(main()), **on_uvloop, "trio": trio.run}


def main() -> None:
    columns: list[list[str]] = []
    for run in runners().values():
        with serving() as server:
            began = time.perf_counter()
            answered = run(partial(forty_requests_and_one, server.url))
            took = time.perf_counter() - began
            server.gate.set()
            server.wait_until_all_left(60)
            counts = [answered, server.opened, server.most, server.open]
            columns.append([*map(str, counts), f"{took:.2f} s"])
    rows = ["requests answered", "connections opened", "most at once", "left open", "took"]
    table = Table("", *runners(), box=box.SIMPLE_HEAD)
    for row, *cells in zip(rows, *columns, strict=True):
        table.add_row(row, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
