"""Happy eyeballs on three event loops, against real sockets: `python examples/happy_eyeballs.py`.

A host has several addresses, and some of them may not answer. The next one is tried when the last is late or
has failed; the first connection wins, and every other one is closed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from select import select
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

import trio
from rich import box
from rich.console import Console
from rich.table import Table

from interloop import current_backend, deadline, task_group

Address = tuple[str, int]


async def happy_eyeballs(addresses: Sequence[Address], late: float) -> socket.socket:
    """A connection to the address that answers first; an attempt is late after that many seconds."""
    opened: list[socket.socket] = []
    answered: list[socket.socket] = []
    failures: list[Exception] = []
    winner: socket.socket | None = None

    async def attempt(address: Address) -> None:
        sock = socket.socket()
        opened.append(sock)
        try:
            await connect(sock, address)
        except OSError as error:
            failures.append(error)
        else:
            answered.append(sock)
            tg.cancel()

    try:
        async with task_group() as tg:
            for address in addresses:
                with deadline(late, suppress=True):
                    await tg.create_task(attempt(address))
        if not answered:
            raise ExceptionGroup("no address answers", failures)
        winner = answered[0]
        return winner
    finally:
        for sock in opened:
            if sock is not winner:
                sock.close()


async def connect(sock: socket.socket, address: Address) -> bytes:
    """Connect and wait for the server's greeting, with the calls that each loop has for it."""
    sock.setblocking(False)
    if current_backend() == "trio":
        trio_sock = trio.socket.from_stdlib_socket(sock)
        await trio_sock.connect(address)
        return await trio_sock.recv(100)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, address)
    return await loop.sock_recv(sock, 100)


# Servers to try it on


class Server(ThreadingTCPServer):
    """Greets whoever connects, after some seconds, and notes what became of the connection."""

    daemon_threads = True

    def __init__(self, answers_after: float) -> None:
        super().__init__(("127.0.0.1", 0), Greeter)
        self.answers_after = answers_after
        self.visits = 0
        self.greeted = Event()
        self.left = Event()

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.server_address[1]


class Greeter(BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.visits += 1
        left_early, _, _ = select([self.request], [], [], server.answers_after)
        if not left_early:
            self.request.sendall(b"hello\n")
            server.greeted.set()
        self.request.recv(1)
        server.left.set()


@contextmanager
def serving(*answers_after: float) -> Generator[list[Server], None, None]:
    """Servers that greet after so many seconds."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(seconds)) for seconds in answers_after]
        for server in servers:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
        yield servers


def nobody_listens() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1", server.getsockname()[1]


# The same call on each loop


def runners() -> dict[str, Callable[[Callable[[], Any]], Any]]:
    """How to run an async function on each loop that is installed."""
    try:
        import uvloop
    except ImportError:
        on_uvloop = {}
    else:
        on_uvloop = {"uvloop": lambda main: uvloop.run(main())}
    return {"asyncio": lambda main: asyncio.run(main()), **on_uvloop, "trio": trio.run}


NEVER = 3600.0


def main() -> None:
    columns = []
    for run in runners().values():
        with serving(NEVER, 10.0, 0.0) as servers:
            addresses = [nobody_listens(), *[server.address for server in servers]]
            began = time.perf_counter()
            with run(partial(happy_eyeballs, addresses, 0.2)) as winner:
                took = time.perf_counter() - began
                won = winner.getpeername()
                fates = ["refused", *[fate(server, server.address == won) for server in servers]]
        columns.append([*fates, f"{took:.1f} s"])
    rows = ["nobody listens", "accepts and never answers", "answers after 10 s", "answers at once", "took"]
    table = Table("tried in this order", *runners(), box=box.SIMPLE_HEAD)
    for row, *cells in zip(rows, *columns, strict=True):
        table.add_row(row, *cells)
    Console().print(table)


def fate(server: Server, won: bool) -> str:
    if won:
        return "won"
    return "closed" if server.left.wait(10) else "left open"


if __name__ == "__main__":
    main()
