"""The example `connection_pool.py`: no connection and no slot is lost, whatever becomes of a request.

Tests that take `run` use real sockets on each loop; the others use connections in memory, in virtual time.
"""

from __future__ import annotations

import ast
import io
import socket
import struct
import sys
import tokenize
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import pytest

pytest.importorskip("trio")
pytest.importorskip("rich")
pytest.importorskip("h11")

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
try:
    import connection_pool as example
finally:
    sys.path.remove(str(EXAMPLES))

from interloop import Event, checkpoint, current_time, deadline, sleep, sleep_forever, task_group  # noqa: E402
from interloop.testing import HOSTS, explore_cancellation  # noqa: E402
from interloop.testing import run as run_on  # noqa: E402

Run: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, None]]], Any]

NEVER = 3600.0
HANGS = 60.0  # no machine is that slow
IN_MEMORY = "http://in.memory"
PATIENT = example.Timeouts(pool=NEVER, connect=NEVER, write=NEVER, read=NEVER)
Pool = partial(example.Pool, timeouts=PATIENT)

each_host = pytest.mark.parametrize(
    "host", [host for host in ["asyncio", "asyncio-eager", "trio"] if not HOSTS[host].missing()]
)


@pytest.fixture(params=list(example.runners().values()), ids=list(example.runners()))
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = request.param

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> Any:
        with warnings.catch_warnings():  # of uvloop's close(), which hangs if it must raise one
            warnings.simplefilter("default", ResourceWarning)
            return runner(main)

    return run


# What is tested against


class Pages(example.Pages):
    """A page for each way in which a response can end."""

    def do_GET(self) -> None:
        match self.path:
            case "/half":
                self.answer_half()
                self.site.gate.wait()
            case "/half-and-leaves":
                self.answer_half()
                self.close_connection = True
            case "/leaves":
                self.close_connection = True
            case "/resets":
                self.reset()
            case "/nonsense":
                self.wfile.write(b"nonsense\r\n\r\n")
            case "/last":
                self.answer(b"/last", ("Connection", "close"))
            case "/answers-and-leaves":
                super().do_GET()
                self.close_connection = True
            case "/answers-and-resets":
                super().do_GET()
                self.site.gate.wait()
                self.reset()
            case _:
                super().do_GET()

    def do_POST(self) -> None:
        if self.path == "/unread":
            self.site.gate.wait()
            self.close_connection = True
        else:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer_half(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        self.close_connection = True


serving = partial(example.serving, Pages)


async def arrived(server: Any, requests: int) -> None:
    with deadline(HANGS):
        while len(server.requests) < requests:
            await sleep(0.001)


async def all_left(server: Any) -> None:
    with deadline(HANGS):
        while server.open:
            await sleep(0.001)


class Memory:
    """Connections in memory. Each step takes a second, and closing takes one too."""

    def __init__(self, stuck_when: str = "") -> None:
        self.open: set[Any] = set()
        self.opened = 0
        self.most = 0
        self.cut_short: list[str] = []
        self._ended: set[Any] = set()
        self.stuck_when = stuck_when

    async def step(self, name: str) -> None:
        try:
            await sleep(NEVER if name == self.stuck_when else 1)
        except BaseException:
            self.cut_short.append(name)
            raise

    async def connect(self, host: str, port: int) -> Any:
        await self.step("connecting")
        arriving: list[bytes] = []

        async def send(data: bytes) -> None:
            await self.step("sending")
            arriving.extend(response_to(data))
            if data.startswith(b"GET /answers-and-leaves"):
                self._ended.add(stream)

        async def receive() -> bytes:
            await self.step("reading")
            if not arriving:
                await sleep_forever()
            return arriving.pop(0)

        async def close() -> None:
            await self.step("closing")
            self.open.remove(stream)

        stream = example.Stream(send, receive, close, lambda: stream in self._ended)
        self.open.add(stream)
        self.opened += 1
        self.most = max(self.most, len(self.open))
        return stream


def response_to(request: bytes) -> list[bytes]:
    """What arrives, one after another."""
    path = request.split()[1]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(path)
    match path:
        case b"/half":
            return [head + b"\r\n" + path[:2]]
        case b"/last":
            return [head + b"Connection: close\r\n\r\n", path]
        case b"/too-much":
            return [head + b"\r\n" + path + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"]
        case _:
            return [head + b"\r\n", path]


def slots(pool: Any) -> list[int]:
    return [host.slots.value for host in pool.hosts.values()]


def idle(pool: Any) -> set[Any]:
    return {connection.stream for host in pool.hosts.values() for connection in host.idle}


async def assert_nothing_lost(pool: Any, memory: Memory) -> None:
    """A pool of one slot has that slot, every open connection is idle, and it works."""
    assert slots(pool) == [1]
    assert memory.open == idle(pool)
    assert memory.most <= 1
    memory.stuck_when = ""
    assert (await pool.request("GET", f"{IN_MEMORY}/next")).body == b"/next"


# Requests that go well


def test_a_connection_is_used_again(run: Run) -> None:
    async def main() -> None:
        async with Pool() as pool:
            for number in range(5):
                response = await pool.request("GET", f"{server.url}/{number}?query")
                assert (response.status, response.body) == (200, b"/%d?query" % number)
                assert (b"content-length", b"8") in response.headers
            assert (await pool.request("POST", server.url, body=b"sent")).body == b"sent"

    with serving() as server:
        run(main)
        assert server.opened == 1
        assert server.wait_until_all_left(HANGS)


def test_there_are_never_more_connections_than_allowed(run: Run) -> None:
    async def main() -> None:
        async with Pool(per_host=3) as pool, task_group() as tg:
            for _ in range(9):
                tg.create_task(pool.request("GET", f"{server.url}/held"))
            await arrived(server, 3)
            server.gate.set()

    with serving() as server:
        run(main)
        assert (len(server.requests), server.opened, server.most) == (9, 3, 3)


def test_each_host_has_its_own_limit(run: Run) -> None:
    async def main() -> None:
        async with Pool(per_host=1) as pool, task_group() as tg:
            tg.create_task(pool.request("GET", f"{busy.url}/held"))
            await arrived(busy, 1)
            await pool.request("GET", free.url)
            busy.gate.set()

    with serving() as busy, serving() as free:
        run(main)


def test_requests_are_served_in_the_order_of_asking(run: Run) -> None:
    async def main() -> None:
        async with Pool(per_host=1) as pool, task_group() as tg:
            for path in paths:
                tg.create_task(pool.request("GET", server.url + path))
                await checkpoint()
            await arrived(server, 1)
            server.gate.set()

    paths = ["/held", *[f"/{number}" for number in range(10)]]
    with serving() as server:
        run(main)
        assert server.requests == paths
        assert server.opened == 1


# Connections that cannot be used again


def test_a_connection_that_the_server_ends_is_closed(run: Run) -> None:
    async def main() -> None:
        async with Pool() as pool:
            for _ in range(2):
                assert (await pool.request("GET", f"{server.url}/last")).body == b"/last"
                assert idle(pool) == set()
            await all_left(server)

    with serving() as server:
        run(main)
        assert server.opened == 2


@pytest.mark.parametrize("page", ["/answers-and-leaves", "/answers-and-resets"])
def test_an_idle_connection_that_the_server_has_ended_is_not_used(run: Run, page: str) -> None:
    async def main() -> None:
        async with Pool() as pool:
            await pool.request("GET", server.url + page)
            server.gate.set()
            [stream] = idle(pool)
            with deadline(HANGS):
                while not stream.has_ended():
                    await sleep(0.001)
            assert (await pool.request("GET", f"{server.url}/next")).body == b"/next"

    with serving() as server:
        run(main)
        assert server.opened == 2


@pytest.mark.parametrize("page", ["/half-and-leaves", "/leaves", "/resets", "/nonsense"])
def test_a_server_that_breaks_off_is_the_same_error_on_each_loop(run: Run, page: str) -> None:
    async def main() -> None:
        async with Pool(per_host=1) as pool:
            with pytest.raises(ConnectionError, match=r"no complete response from 127\.0\.0\.1:\d+"):
                await pool.request("GET", server.url + page)
            assert slots(pool) == [1]
            assert idle(pool) == set()
            await all_left(server)

    with serving() as server:
        run(main)


@each_host
def test_what_comes_after_a_response_is_not_taken_for_the_next_one(host: str) -> None:
    async def main() -> None:
        memory = Memory()
        pool = Pool(per_host=1, connect=memory.connect)
        assert (await pool.request("GET", f"{IN_MEMORY}/too-much")).body == b"/too-much"
        await assert_nothing_lost(pool, memory)
        assert memory.opened == 2

    run_on(main, host=host, virtual_time=True)


def test_a_host_that_cannot_be_reached(run: Run) -> None:
    async def main() -> None:
        async with Pool(per_host=1) as pool:
            with pytest.raises(OSError, match=r"(?i)connect"):  # the loops have no more in common
                await pool.request("GET", url)
            assert slots(pool) == [1]

    with serving() as server:
        url = server.url
    run(main)


# Time limits


def test_a_request_that_waits_too_long_for_a_connection(run: Run) -> None:
    async def main() -> None:
        timeouts = replace(PATIENT, pool=0.01)
        async with Pool(per_host=1, timeouts=timeouts) as pool, task_group() as tg:
            held = tg.create_task(pool.request("GET", f"{server.url}/held"))
            await arrived(server, 1)
            with pytest.raises(
                example.PoolTimeout, match=r"waiting for a connection to .* took longer than 0\.01 s"
            ):
                await pool.request("GET", f"{server.url}/late")
            server.gate.set()
            assert (await held).body == b"/held"
            assert slots(pool) == [1]
            await pool.request("GET", f"{server.url}/next")

    with serving() as server:
        run(main)
        assert server.requests == ["/held", "/next"]
        assert server.opened == 1


@pytest.mark.parametrize("page", ["/held", "/half"])
def test_a_server_that_does_not_answer_in_time(run: Run, page: str) -> None:
    async def main() -> None:
        pool = Pool(per_host=1, timeouts=replace(PATIENT, read=0.01))
        with pytest.raises(example.ReadTimeout, match=r"reading from .* took longer than 0\.01 s"):
            await pool.request("GET", server.url + page)
        assert slots(pool) == [1]
        assert idle(pool) == set()
        server.gate.set()
        await all_left(server)

    with serving() as server:
        run(main)


def test_a_server_that_does_not_take_the_request_in_time(run: Run) -> None:
    async def connect(host: str, port: int) -> Any:
        async def close() -> None:
            with deadline(HANGS):  # nothing else could end a closing that waits for the server
                await stream.close()

        stream = await example.open_tcp(host, port)
        return replace(stream, close=close)

    async def main() -> None:
        pool = Pool(per_host=1, timeouts=replace(PATIENT, write=0.01), connect=connect)
        with pytest.raises(example.WriteTimeout, match=r"sending to .* took longer than 0\.01 s"):
            await pool.request("POST", f"{server.url}/unread", body=more_than_fits_into_buffers)
        assert slots(pool) == [1]
        assert idle(pool) == set()
        server.gate.set()
        await all_left(server)

    more_than_fits_into_buffers = bytes(2**26)
    with serving() as server:
        run(main)


@each_host
@pytest.mark.parametrize(
    ("stuck_when", "error", "after"),
    [
        ("connecting", example.ConnectTimeout, 20),
        ("sending", example.WriteTimeout, 1 + 30 + 1),
        ("reading", example.ReadTimeout, 2 + 40 + 1),
    ],
)
def test_each_phase_has_its_own_time_limit(
    host: str, stuck_when: str, error: type[Exception], after: float
) -> None:
    async def main() -> None:
        memory = Memory(stuck_when)
        timeouts = example.Timeouts(pool=10, connect=20, write=30, read=40)
        pool = Pool(per_host=1, timeouts=timeouts, connect=memory.connect)
        began = current_time()
        with pytest.raises(error, match=r"in\.memory:80 took longer than"):
            await pool.request("GET", IN_MEMORY)
        assert current_time() - began == after
        assert memory.cut_short == [stuck_when]
        await assert_nothing_lost(pool, memory)

    run_on(main, host=host, virtual_time=True)


# Requests that are cancelled


def test_cancelled_in_the_middle_of_a_response(run: Run) -> None:
    async def connect(host: str, port: int) -> Any:
        async def receive() -> bytes:
            data = await stream.receive()
            half_is_here.set()
            return bytes(data)

        stream = await example.open_tcp(host, port)
        return replace(stream, receive=receive)

    async def main() -> None:
        pool = Pool(per_host=1, connect=connect)
        async with task_group() as tg:
            tg.create_task(pool.request("GET", f"{server.url}/half"))
            await half_is_here.wait()
            tg.cancel()
        assert slots(pool) == [1]
        assert idle(pool) == set()
        server.gate.set()
        await all_left(server)
        async with pool:
            assert (await pool.request("GET", f"{server.url}/next")).body == b"/next"

    half_is_here = Event()
    with serving() as server:
        run(main)
        assert server.opened == 2


@each_host
@pytest.mark.parametrize(
    ("phase", "seconds"),
    [("connecting", 0.5), ("sending", 1.5), ("reading", 2.5), ("reading", 3.5), ("closing", 4.5)],
)
def test_cancelled_in_each_phase(host: str, phase: str, seconds: float) -> None:
    async def main() -> None:
        memory = Memory()
        pool = Pool(per_host=1, connect=memory.connect)
        with deadline(seconds, suppress=True):
            await pool.request("GET", f"{IN_MEMORY}/last")
        assert memory.cut_short == ([] if phase == "closing" else [phase])
        await assert_nothing_lost(pool, memory)

    run_on(main, host=host, virtual_time=True)


@each_host
@pytest.mark.parametrize("seconds", [3, 4, 5])  # before the other request is done, at that moment, and after
@pytest.mark.parametrize("by", ["deadline", "pool timeout"])
def test_cancelled_while_waiting_for_a_connection(host: str, by: str, seconds: float) -> None:
    async def main() -> None:
        async def wait() -> None:
            with suppress(example.PoolTimeout), deadline(limits["deadline"], suppress=True):
                await pool.request("GET", f"{IN_MEMORY}/second")

        memory = Memory()
        timeouts = replace(PATIENT, pool=limits["pool timeout"])
        pool = Pool(per_host=1, timeouts=timeouts, connect=memory.connect)
        async with task_group() as tg:
            tg.create_task(pool.request("GET", f"{IN_MEMORY}/first"))
            await checkpoint()
            tg.create_task(wait())
        await assert_nothing_lost(pool, memory)

    limits = {"deadline": NEVER, "pool timeout": NEVER, by: seconds}
    run_on(main, host=host, virtual_time=True)


@each_host
@pytest.mark.parametrize("leave", [True, False], ids=["the pool is left", "the pool is not left"])
def test_cancelled_at_each_checkpoint(host: str, leave: bool) -> None:
    async def main() -> None:
        memory = Memory()
        timeouts = example.Timeouts(pool=9, connect=2, write=2, read=2)
        pool = Pool(per_host=2, timeouts=timeouts, connect=memory.connect)
        runs.append((pool, memory))
        if leave:
            async with pool:
                await requests_of_each_kind(pool)
        else:
            await requests_of_each_kind(pool)

    async def requests_of_each_kind(pool: Any) -> None:
        async with task_group() as tg:
            for path in ["/one", "/half", "/last", "/answers-and-leaves", "/two", "/half"]:
                tg.create_task(get(pool, path))
        await get(pool, "/three")  # its connection is idle when the pool is left

    async def get(pool: Any, path: str) -> None:
        with suppress(example.PoolTimeout, example.ReadTimeout):
            await pool.request("GET", IN_MEMORY + path)

    def check() -> None:
        pool, memory = runs[-1]
        assert slots(pool) == [2]
        assert memory.open == (set() if leave else idle(pool))
        assert memory.most <= 2
        phases.update(memory.cut_short)

    runs: list[tuple[Any, Memory]] = []
    phases: set[str] = set()
    explore_cancellation(main, host=host, check=check)
    assert phases == {"connecting", "sending", "reading"}


# Leaving the pool


def test_leaving_the_pool_closes_its_connections(run: Run) -> None:
    async def main() -> None:
        async with task_group() as tg:
            async with Pool() as pool:
                held = tg.create_task(pool.request("GET", f"{server.url}/held"))
                await arrived(server, 1)
                await pool.request("GET", f"{server.url}/idle")
                assert server.open == 2
            with deadline(HANGS):
                while server.open == 2:
                    await sleep(0.001)
            server.gate.set()
            assert (await held).body == b"/held"
            await all_left(server)

    with serving() as server:
        run(main)


@each_host
def test_a_pool_that_was_left_makes_no_more_requests(host: str) -> None:
    async def main() -> None:
        memory = Memory()
        async with task_group() as tg:
            async with Pool(per_host=1, connect=memory.connect) as pool:
                tg.create_task(pool.request("GET", IN_MEMORY))
                await checkpoint()
                tg.create_task(refused(pool))
                await checkpoint()
            await refused(pool)
        assert memory.open == set()
        assert memory.opened == 1

    async def refused(pool: Any) -> None:
        with pytest.raises(RuntimeError, match="the pool is closed"):
            await pool.request("GET", IN_MEMORY)

    run_on(main, host=host, virtual_time=True)


# The rest


@pytest.mark.parametrize("url", ["https://example.org/", "/path", "http:///path"])
def test_a_url_that_is_not_http(run: Run, url: str) -> None:
    async def main() -> None:
        async with Pool() as pool:
            with pytest.raises(ValueError, match="expected http://host/path"):
                await pool.request("GET", url)

    run(main)


def test_it_takes_at_most_half_of_the_lines_of_httpcore() -> None:
    """All of ours, sockets and HTTP as well, against httpcore's pool and what that has for its two loops."""
    spec = find_spec("httpcore")
    assert spec is not None
    assert spec.origin is not None
    httpcore = Path(spec.origin).parent
    pool = (httpcore / "_async" / "connection_pool.py").read_text()
    both = (httpcore / "_synchronization.py").read_text()
    for_async, for_threads, _ = both.partition("# Our thread-based synchronization primitives")
    assert for_threads
    ours, server, _ = (EXAMPLES / "connection_pool.py").read_text().partition("# A server to try it on")
    assert server
    assert code_lines(ours) <= (code_lines(pool) + code_lines(for_async)) / 2


def code_lines(source: str) -> int:
    """How many lines have code on them: no blank lines, comments and docstrings."""
    no_code = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in no_code:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                lines.difference_update(range(first, last + 1))
    return len(lines)


def test_the_example_shows_the_same_on_every_loop(capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    loops = len(example.runners())
    assert ["requests", "answered", *["40"] * loops] in rows
    assert ["connections", "opened", *["4"] * loops] in rows
    assert ["most", "at", "once", *["4"] * loops] in rows
    assert ["left", "open", *["0"] * loops] in rows
