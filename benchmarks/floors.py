"""Floors: interloop's hot paths with the parts that take time in the usual case alone, each in one piece.

They show how much of a ratio is due to what interloop does, and how much to how it is written. They are of no
use: they do not look whether this *is* the usual case, without errors, cancellation, limits, misuse.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError, get_running_loop
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sniffio import current_async_library_cvar, thread_local

from .operations import AS_COMPLETED, AWAIT, CANCEL, DEADLINE, FIRES, GATHER, SPAWN_KEPT
from .peers import Peer

if sys.version_info >= (3, 12):
    from asyncio import current_task
else:  # as interloop does, for one loop
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


TITLES = {
    "asyncio": (SPAWN_KEPT, DEADLINE, FIRES, CANCEL, AWAIT, GATHER, AS_COMPLETED),
    "trio": (SPAWN_KEPT, DEADLINE),
}
"""The operations that have a floor, by backend; `page.md.jinja` says what is in each."""


def floor_peer(backend: str) -> Peer:
    return {"asyncio": _on_asyncio, "trio": _on_trio}[backend]()


class _State:
    """What either scope of asyncio has to remember."""

    __slots__ = ("cancelled", "expired", "loop", "parent", "requests", "task", "timer", "when")


class _Handle:
    __slots__ = ("asked", "cancelled", "native", "parent")

    native: asyncio.Task[Any]

    def __init__(self, parent: object) -> None:
        self.parent = parent
        self.cancelled = False
        self.asked = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        waiter = get_running_loop().create_future()  # T3

        def wake(_: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        self.native.add_done_callback(wake)
        yield from waiter
        self.native.remove_done_callback(wake)
        return self.native.result()


def _on_asyncio() -> Peer:
    innermost: dict[object, object] = {}
    open_deadlines: list[object] = []

    class Group:
        async def __aenter__(self) -> Self:
            self._loop = get_running_loop()
            self._tasks: set[asyncio.Task[Any]] = set()
            self._last_child_ended: asyncio.Future[None] | None = None
            return self

        def create_task(self, coro: Coroutine[Any, Any, Any]) -> _Handle:
            handle = _Handle(self)
            handle.native = native = self._loop.create_task(coro)
            self._tasks.add(native)
            innermost[native] = handle
            native.add_done_callback(self._child_ended)
            return handle

        def _child_ended(self, native: asyncio.Task[Any]) -> None:
            self._tasks.discard(native)
            del innermost[native]
            if not native.cancelled():
                assert native.exception() is None
            else:
                with suppress(CancelledError):  # G11
                    native.exception()
            if self._last_child_ended is not None and not self._tasks:
                self._last_child_ended.set_result(None)

        def cancel(self) -> None:
            due = []
            for native in self._tasks:
                handle: Any = innermost[native]
                handle.cancelled = True  # C6
                due.append(handle)
            for handle in due:
                native = handle.native
                if not native._fut_waiter.done():  # C1
                    handle.asked += 1
                    native.cancel()

        async def __aexit__(self, *_: object) -> None:
            if self._tasks:
                self._last_child_ended = self._loop.create_future()
                await self._last_child_ended

    class Deadline(_State):
        __slots__ = ("delay",)

        def __init__(self, delay: float) -> None:
            self.delay = delay
            self.cancelled = False
            self.expired = False

        async def __aenter__(self) -> Self:
            self.loop = loop = get_running_loop()
            self.task = task = current_task(loop)
            assert task is not None
            self.parent = innermost.get(task)
            innermost[task] = self
            self.requests = task.cancelling()
            self.when = loop.time() + self.delay
            if self.delay > 0:
                self.timer = open_deadlines
                open_deadlines.append(self)
            else:
                self.expired = True
                self.cancelled = True
                loop.call_soon(task.cancel)
            return self

        async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
            loop, task = self.loop, self.task
            assert current_task(loop) is task
            if not self.expired:
                assert exc is None
                self.expired = self.when <= loop.time()
                assert open_deadlines.pop() is self
            assert innermost[task] is self
            if self.parent is None:
                del innermost[task]
            else:
                innermost[task] = self.parent
            if self.cancelled:
                task.uncancel()
                assert isinstance(exc, CancelledError)
                if task.cancelling() <= self.requests:
                    raise TimeoutError(f"deadline of {self.delay:g} s") from exc

    def deadline(delay: float) -> Deadline:
        name = thread_local.name or current_async_library_cvar.get()
        if name is None:  # it is not where trio-asyncio has taken the place of asyncio's loop
            assert asyncio.current_task() is not None
        return Deadline(delay)

    async def gather(coros: Sequence[Coroutine[Any, Any, Any]]) -> tuple[Any, ...]:
        async with Group() as group:
            tasks = [group.create_task(coro) for coro in coros]
        return tuple(task.native.result() for task in tasks)

    async def as_completed(coros: Sequence[Coroutine[Any, Any, Any]]) -> None:
        results: list[Any] = []
        change = asyncio.Event()

        async def run(coro: Coroutine[Any, Any, Any]) -> None:
            results.append(await coro)
            change.set()

        async with Group() as group:
            for coro in coros:
                group.create_task(run(coro))
            for _ in coros:
                if not results:
                    change.clear()
                    await change.wait()
                results.pop()

    return Peer(
        group=Group,
        cancel=lambda group: group.cancel(),
        deadline=deadline,
        plain=False,
        asynchronous=True,
        gather=gather,
        as_completed=as_completed,
    )


def _on_trio() -> Peer:
    import trio
    from trio import CancelScope, current_time
    from trio.lowlevel import current_task

    async def child(coro: Coroutine[Any, Any, Any]) -> None:
        with CancelScope():
            await coro

    class Group:
        async def __aenter__(self) -> Self:
            self._manager = trio.open_nursery()
            self._start_soon: Callable[..., None] = (await self._manager.__aenter__()).start_soon
            return self

        def create_task(self, coro: Coroutine[Any, Any, Any]) -> None:
            self._start_soon(child, coro)

        async def __aexit__(self, *exc: Any) -> None:
            await self._manager.__aexit__(*exc)

    class Deadline:
        __slots__ = ("delay", "expired", "scope", "task")

        def __init__(self, delay: float) -> None:
            self.delay = delay

        def __enter__(self) -> Self:
            self.task = current_task()
            self.scope = CancelScope(deadline=current_time() + self.delay)
            self.scope.__enter__()
            return self

        def __exit__(
            self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
        ) -> bool | None:
            assert current_task() is self.task
            self.expired = self.scope.deadline <= current_time()
            return self.scope.__exit__(exc_type, exc, tb)

    def deadline(delay: float) -> Deadline:
        assert thread_local.name == "trio"
        return Deadline(delay)

    return Peer(group=Group, deadline=deadline)
