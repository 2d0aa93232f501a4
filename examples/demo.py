"""One library function, three event loops, the same behaviour: `python examples/demo.py [URL ...]`."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import trio
from fetching import Answer, fetch_all
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interloop import Task, TaskCancelled, TaskFailed, task_group

Fetch = Callable[[Sequence[str]], Coroutine[Any, Any, Sequence[Answer]]]
Run = Callable[[Fetch, Sequence[str]], Sequence[Answer]]


async def all_or_nothing(urls: Sequence[str]) -> Sequence[Answer]:
    """A task group as it is: the first failure cancels the requests that are still under way."""

    async def fetch(url: str) -> httpx.Response:
        return (await client.get(url)).raise_for_status()

    def outcome(task: Task[httpx.Response]) -> Answer:
        try:
            return task.result()
        except (TaskFailed, TaskCancelled) as error:
            return error

    tasks = []
    try:
        async with httpx.AsyncClient(timeout=None) as client, task_group() as tg:
            tasks += [tg.create_task(fetch(url)) for url in urls]
    except* httpx.HTTPError:
        pass
    return [outcome(task) for task in tasks]


def runners() -> dict[str, Run]:
    """How to run an async function on each loop that is installed."""
    try:
        import uvloop
    except ImportError:
        on_uvloop: dict[str, Run] = {}
    else:
        on_uvloop = {"uvloop": lambda fetch, urls: uvloop.run(fetch(urls))}
    return {
        "asyncio": lambda fetch, urls: asyncio.run(fetch(urls)),
        **on_uvloop,
        "trio": lambda fetch, urls: trio.run(fetch, urls),
    }


def described(answer: Answer) -> Text:
    match answer:
        case httpx.Response():
            size = f"{len(answer.content)} bytes"
            return Text.assemble(("came back", "green"), f"\n{answer.status_code}, {size}")
        case TimeoutError() | TaskCancelled():
            return Text.assemble(("cut short", "yellow"), f"\n{type(answer).__name__}")
        case _:
            cause = f"\nfrom {error_name(answer.__cause__)}" if isinstance(answer, TaskFailed) else ""
            return Text.assemble(("failed", "red"), f"\n{error_name(answer)}{cause}")


def error_name(error: BaseException | None) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__


def side_by_side(title: str, fetch: Fetch, urls: Sequence[str]) -> Table:
    columns = []
    for run in runners().values():
        began = time.perf_counter()
        answers = run(fetch, urls)
        took = time.perf_counter() - began
        columns.append([*map(described, answers), Text(f"{took:.1f} s")])
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column(overflow="fold")
    for host in runners():
        table.add_column(host)
    for row, *cells in zip([*urls, "took"], *columns, strict=True):
        table.add_row(row, *cells)
    return table


class Site(BaseHTTPRequestHandler):
    """`/ok` answers at once, `/fails` with an error after 0.2 s, `/slow` after a minute."""

    def do_GET(self) -> None:
        status, delay = {"/ok": (200, 0.0), "/fails": (503, 0.2), "/slow": (200, 60.0)}[self.path]
        time.sleep(delay)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def local_site() -> Iterator[list[str]]:
    """A real HTTP server on this machine; gives the URLs of its pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield [f"http://127.0.0.1:{server.server_port}/{page}" for page in ("ok", "slow", "fails")]
        finally:
            server.shutdown()


def show(urls: Sequence[str], seconds: float) -> None:
    async def within(urls: Sequence[str]) -> Sequence[Answer]:
        return await fetch_all(urls, seconds)

    # the first client loads the certificates, which is not to count for the first loop
    asyncio.run(within([]))
    console = Console()
    if "uvloop" not in runners():
        console.print("uvloop is not installed: shown on asyncio and trio only")
    console.print(side_by_side(f"fetch_all(urls, seconds={seconds:g})", within, urls))
    console.print(side_by_side("all_or_nothing(urls): the first failure ends it", all_or_nothing, urls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="*", metavar="URL", help="fetched instead of a local server's pages")
    parser.add_argument("--seconds", type=float, default=1.0, help="the deadline (default: 1)")
    arguments = parser.parse_args()
    if arguments.urls:
        show(arguments.urls, arguments.seconds)
    else:
        with local_site() as urls:
            show(urls, arguments.seconds)


if __name__ == "__main__":
    main()
