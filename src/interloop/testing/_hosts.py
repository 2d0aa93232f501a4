"""The hosts: every way of running a loop that the contract is proved on."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, TypeVarTuple

from .. import get_cancelled_exc_class
from .._checks import check_function, safe_repr
from .._dispatch import current_backend_name
from .._error_groups import every_leaf, is_a
from ._virtual_time import VirtualTimeLoop
from ._waiting import Deadlock

if TYPE_CHECKING:
    from outcome import Outcome
    from trio.testing import MockClock

__all__ = ["HOSTS", "Host", "LoopReportedError", "TasksLeftAlive", "find_host", "run", "virtual_clock"]

T = TypeVar("T")
Args = TypeVarTuple("Args")
Main: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class TasksLeftAlive(RuntimeError):
    """The function of a run returned while tasks that it had started were still alive."""


class LoopReportedError(RuntimeError):
    """An error reached nobody but asyncio's exception handler during a run."""


@dataclass(frozen=True)
class Host:
    """A way of running a loop.

    Attributes:
        name: what `--host` calls it.
        runner: runs an async function to its end; in virtual time with the argument `virtual_time=True`.
        virtual: whether it has that argument.
        real_tick: the unit of time of tests where time is real, in seconds.
        packages: what must be installed, by import name.
        python: the oldest Python that has it.
        deviations: rules that do not hold there, each with the reason.
        collect: whether garbage is collected after each run: asyncio reports the error of a task that nobody
            awaited when the task is freed.
    """

    name: str
    runner: Callable[..., object] = field(repr=False)
    virtual: bool = False
    real_tick: float = 0.05
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    deviations: Mapping[str, str] = field(default_factory=dict[str, str])
    collect: bool = True

    @property
    def tick(self) -> float:
        """The unit of time of tests, in seconds."""
        return 1.0 if self.virtual else self.real_tick

    def missing(self) -> str | None:
        """Why the host cannot run here, or `None` if it can."""
        if sys.version_info < self.python:
            return f"needs Python {'.'.join(map(str, self.python))}"
        for package in set(self.packages) - set(sys.modules):
            try:
                with warnings.catch_warnings(action="ignore"):
                    import_module(package)
            except ModuleNotFoundError as error:
                return f"{error.name} is not installed"
            except Exception as error:
                return f"{package} cannot be imported: {safe_repr(error)}"
        return None

    def run(
        self, async_fn: Callable[[*Args], Awaitable[T]], *args: *Args, virtual_time: bool | None = None
    ) -> T:
        """Run `async_fn(*args)` on a fresh loop, and give its result or raise its error.

        Args:
            async_fn: an async function.
            virtual_time: whether sleeping costs nothing; where the host can do it, if not given.

        Raises:
            TypeError: `async_fn` cannot be called; a coroutine object is closed.
            ValueError: virtual time is asked of a host that has none.
            RuntimeError: the host cannot run here; the reason is that of `missing()`.
            TasksLeftAlive: it returned while tasks that it had started were still alive.
            LoopReportedError: asyncio's exception handler was told of an error.
            Deadlock: in virtual time, nothing can ever happen again.
        """
        __tracebackhide__ = True  # pytest then shows the caller's frames alone; so below
        check_function(async_fn, "run()")
        runner = self.runner
        if virtual_time or (virtual_time is None and self.virtual):
            if not self.virtual:
                able = ", ".join(host.name for host in HOSTS.values() if host.virtual)
                raise ValueError(f"the host {self.name!r} has no virtual time; those that have: {able}")
            runner = partial(runner, virtual_time=True)
        if missing := self.missing():
            raise RuntimeError(f"the host {self.name!r} cannot run here: {missing}")
        watched = _Watched(partial(async_fn, *args))
        try:
            runner(watched.main)
        except (KeyboardInterrupt, SystemExit):
            raise  # G12: whatever asyncio reports beside these is part of how it ends
        except BaseException as error:
            watched.error = error
        if self.collect:
            gc.collect()
        return watched.outcome()

    @property
    def backend(self) -> str:
        """The name that sniffio has for the async library inside."""
        return self._inside[0]

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of each distribution that the host is made of."""
        distributions = metadata.packages_distributions()
        return {
            name: metadata.version(name)
            for package in self._inside[1]
            for name in distributions.get(package, ())
        }

    @cached_property
    def _inside(self) -> tuple[str, tuple[str, ...]]:
        async def look() -> tuple[str, tuple[str, ...]]:
            library = current_backend_name("run()")
            packages = {*self.packages, library}
            if library == "asyncio":
                packages.add(type(asyncio.get_running_loop()).__module__.partition(".")[0])
            return library, tuple(sorted(packages - {"interloop"}))

        return self.run(look)


class _Watched(Generic[T]):
    """One run of an async function: its outcome, and what it left behind."""

    def __init__(self, async_fn: Callable[[], Awaitable[T]]) -> None:
        self.async_fn = async_fn
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.left: list[str] = []
        self.reports: list[dict[str, Any]] = []

    async def main(self) -> None:
        __tracebackhide__ = True
        # Errors do not pass through the host: a task group around this function would wrap them.
        if current_backend_name("run()") == "asyncio":
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.reports.append(context))
        hosts_own = set(_tasks_alive())
        try:
            self.results.append(await self.async_fn())
        except GeneratorExit:  # the host has given the run up, and no loop is running any more
            raise
        except BaseException as error:
            self.error = error
            self.left = _names_of_others(hosts_own)
            if is_a(error, (KeyboardInterrupt, SystemExit, get_cancelled_exc_class())):
                raise
        else:
            self.left = _names_of_others(hosts_own)

    def outcome(self) -> T:
        __tracebackhide__ = True
        error, self.error = self.error, None
        try:
            if error is not None:
                error = _bare_deadlock(error)
            if error is not None and is_a(error, Deadlock):
                raise error from None
            if self.left:
                raise TasksLeftAlive(f"still alive at the end of the run: {', '.join(self.left)}") from error
            if self.reports:
                reports = "; ".join(_describe(report) for report in self.reports)
                raise LoopReportedError(reports) from self.reports[0].get("exception") or error
            if error is not None:
                raise error
        finally:
            del error
        if not self.results:
            raise RuntimeError("the host returned before the async function had ended")
        return self.results[0]


def _bare_deadlock(error: BaseException) -> BaseException:
    """The `Deadlock` by itself, where task groups have wrapped it and nothing else went wrong."""
    leaves = list(every_leaf(error))
    return leaves[0] if all(is_a(leaf, Deadlock) for leaf in leaves) else error


def _describe(report: dict[str, Any]) -> str:
    details = ", ".join(f"{key}={safe_repr(value)}" for key, value in report.items() if key != "message")
    return f"{report['message']} ({details})"


def _names_of_others(known: set[object]) -> list[str]:
    return [safe_repr(task) for task in _tasks_alive() if task not in known and not _closes_a_generator(task)]


def _tasks_alive() -> Iterator[object]:
    library = current_backend_name("run()")
    if library == "asyncio":
        yield from asyncio.all_tasks()
    elif library == "trio":
        from trio.lowlevel import current_root_task

        tasks = [current_root_task()]
        while tasks:
            task = tasks.pop()
            if task is not None:
                yield task
                tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _closes_a_generator(task: Any) -> bool:
    """Whether it is the loop's own: it closes async generators that were left before their end."""
    coro = task.get_coro() if isinstance(task, asyncio.Task) else getattr(task, "coro", None)
    return (
        type(coro).__name__ == "async_generator_athrow"
        or getattr(coro, "__qualname__", "") == "AsyncGenerators._finalize_one"
    )


# not new_event_loop(): libraries, trio-asyncio for one, put another loop there
_EventLoop: type[asyncio.AbstractEventLoop] = getattr(asyncio, "EventLoop", asyncio.SelectorEventLoop)  # 3.13


def _run_on_asyncio(
    main: Main, *, virtual_time: bool = False, debug: bool | None = None, eager: bool = False
) -> None:
    def make_loop() -> asyncio.AbstractEventLoop:
        loop = VirtualTimeLoop() if virtual_time else _EventLoop()
        if eager:
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        return loop

    with asyncio.Runner(loop_factory=make_loop, debug=debug) as runner:
        runner.run(main())


def _run_on_uvloop(main: Main) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def virtual_clock() -> MockClock:
    """A clock for `trio.run(..., clock=virtual_clock())` with which sleeping costs nothing.

    It is trio's own `MockClock`, and jumps to the next deadline, exactly, when no task can run. While a
    thread runs or a task waits for I/O, waiting takes real time. When nothing can ever happen again, a
    `Deadlock` is raised where the main task waits. Each run starts it from 0.
    """
    from ._trio_clock import make_clock

    return make_clock(other_loop=False)


def _run_on_trio(main: Main, *, virtual_time: bool = False) -> None:
    import trio

    trio.run(main, clock=virtual_clock() if virtual_time else None)


def _run_on_trio_as_guest(main: Main, *, virtual_time: bool = False) -> None:
    from trio.lowlevel import start_guest_run

    from ._trio_clock import make_clock

    async def on_asyncio() -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome[None]] = loop.create_future()
        start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
            clock=make_clock(other_loop=True) if virtual_time else None,
        )
        (await done).unwrap()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(on_asyncio())


def _run_on_asyncio_in_trio(main: Main, *, virtual_time: bool = False) -> None:
    from trio_asyncio import aio_as_trio, open_loop

    async def on_trio() -> None:
        async with open_loop():
            await aio_as_trio(main)()

    _run_on_trio(on_trio, virtual_time=virtual_time)


def _run_under_anyio(main: Main, backend: str, options: dict[str, Any]) -> None:
    import anyio

    async def scoped() -> None:
        with anyio.CancelScope():
            await main()

    async def in_task_group() -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(scoped)

    anyio.run(in_task_group, backend=backend, backend_options=options)


def _run_under_anyio_on_asyncio(main: Main, *, virtual_time: bool = False) -> None:
    _run_under_anyio(main, "asyncio", {"loop_factory": VirtualTimeLoop} if virtual_time else {})


def _run_under_anyio_on_trio(main: Main, *, virtual_time: bool = False) -> None:
    _run_under_anyio(main, "trio", {"clock": virtual_clock()} if virtual_time else {})


_SHIPPED = [
    Host("asyncio", _run_on_asyncio, virtual=True),
    Host("asyncio-debug", partial(_run_on_asyncio, debug=True), virtual=True),
    Host("asyncio-eager", partial(_run_on_asyncio, eager=True), virtual=True, python=(3, 12)),
    Host("uvloop", _run_on_uvloop, virtual=False, packages=("uvloop",)),
    Host("trio", _run_on_trio, virtual=True, packages=("trio",)),
    Host("trio-guest", _run_on_trio_as_guest, virtual=True, packages=("trio",)),
    Host("trio-asyncio", _run_on_asyncio_in_trio, virtual=True, packages=("trio", "trio_asyncio")),
    Host("anyio-asyncio", _run_under_anyio_on_asyncio, virtual=True, packages=("anyio",)),
    Host("anyio-trio", _run_under_anyio_on_trio, virtual=True, packages=("anyio", "trio")),
]
HOSTS: Mapping[str, Host] = {host.name: host for host in _SHIPPED}


def find_host(name: str) -> Host:
    """The host with that name, or, for `package.module:callable`, a stranger's.

    The callable takes an async function and runs it on a fresh loop; what it returns is ignored. It may have
    an attribute `deviations`, a dict of rule ids and reasons.

    Raises:
        LookupError: there is no such host, module or callable.
    """
    if name in HOSTS:
        return HOSTS[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise LookupError(f"no host {name!r}; there are {', '.join(HOSTS)}, or package.module:callable")
    try:
        runner = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"cannot import the host {name!r}: {error}") from error
    if not callable(runner):
        raise LookupError(
            f"the host {name!r} is {safe_repr(runner)}, which cannot be called with an async function"
        )
    return Host(name, runner, deviations=getattr(runner, "deviations", {}))


def run(
    async_fn: Callable[[*Args], Awaitable[T]],
    *args: *Args,
    host: str = "asyncio",
    virtual_time: bool = False,
) -> T:
    """Run `async_fn(*args)` on a fresh loop, and give its result or raise its error.

    Args:
        async_fn: an async function.
        host: one of `HOSTS`, or `package.module:callable`, as for `find_host`.
        virtual_time: whether sleeping costs nothing. The clock jumps to the next timer, exactly, when nothing
            can run, and a run in which nothing can ever happen again fails at once.

    Raises:
        TasksLeftAlive: it returned while tasks that it had started were still alive.
        LoopReportedError: an error reached nobody but asyncio's exception handler.
        Deadlock: in virtual time, every task waits for what cannot happen.
        LookupError: there is no such host.
        TypeError: `async_fn` cannot be called; a coroutine object is closed.
        RuntimeError: the host cannot run here, since a package or a newer Python is needed.
        ValueError: virtual time is asked of a host that has none, as uvloop.
    """
    __tracebackhide__ = True
    return find_host(host).run(async_fn, *args, virtual_time=virtual_time)
