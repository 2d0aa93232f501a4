"""Which backend serves a call: the one for the async library that sniffio finds running (D1)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from sys import modules
from typing import TYPE_CHECKING, cast

import sniffio
from sniffio import current_async_library_cvar, thread_local

from ._errors import NoAsyncContext, UnsupportedBackend

if TYPE_CHECKING:
    from .abc import Backend

ENTRY_POINT_GROUP = "interloop.backends"

_SHIPPED = {"asyncio": "interloop._asyncio", "trio": "interloop._trio"}
_loaded: dict[str, Backend] = {}


def _no_task() -> object:
    return None


_current_asyncio_task: Callable[[], object] = _no_task  # asyncio's, once its backend is loaded


def current_backend_name(call: str) -> str:
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        raise NoAsyncContext(
            f"{call} was called outside of any async context: call it in a coroutine that asyncio.run(), "
            "trio.run() or the like is running"
        ) from None


def current_backend(call: str) -> Backend:
    """The backend for the library that is running; `call` is what the user called, for the errors (D2)."""
    # As sniffio does it, but for a task of asyncio: there it goes through an import at every call.
    name = thread_local.name
    if name is None:
        name = current_async_library_cvar.get()
    if name is None:
        try:
            name = "asyncio" if _current_asyncio_task() is not None else current_backend_name(call)
        except RuntimeError:  # no loop runs in this thread
            name = current_backend_name(call)
    try:
        return _loaded[name]
    except KeyError:
        backend = _loaded[name] = _load(name, call)
        return backend


def _load(name: str, call: str) -> Backend:
    global _current_asyncio_task
    if name in _SHIPPED:
        backend = import_module(_SHIPPED[name])
        if name == "asyncio":
            _current_asyncio_task = modules["asyncio"].current_task
        return cast("Backend", backend)

    from importlib.metadata import entry_points  # only an unknown library pays for this slow import

    installed = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in installed:
        return cast("Backend", installed[name].load())
    raise UnsupportedBackend(
        f"{call} was called under the async library {name!r}, for which there is no backend; "
        f"there are backends for {', '.join(sorted({*_SHIPPED, *installed}))}. A package can add one with "
        f"an entry point named {name!r} in the group {ENTRY_POINT_GROUP!r}"
    )
