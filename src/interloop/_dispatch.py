"""Which backend serves a call: the one for the async library that is running in this thread (D1).

sniffio knows, with two exceptions. Its context variable is inherited by threads, which are outside of any
loop (D2). And it finds asyncio by the current task, of which there is none in a callback of the loop. So
what it says about the libraries that come with interloop counts only if they run here: trio notes that for
each thread, and asyncio is asked.
"""

from __future__ import annotations

from sys import modules
from typing import TYPE_CHECKING, Any, cast

import sniffio
from sniffio import current_async_library_cvar, thread_local

from ._errors import NoAsyncContext, UnsupportedBackend

if TYPE_CHECKING:
    from .abc import Backend

ENTRY_POINT_GROUP = "interloop.backends"
SHIPPED = frozenset({"asyncio", "trio"})

_loaded: dict[str, Backend] = {}


class _NotImported:
    @staticmethod
    def _get_running_loop() -> None: ...


# The module, once its backend is loaded; not its function, which trio-asyncio replaces when it is imported.
_imported_asyncio: Any = _NotImported


def current_backend_name(call: str) -> str:
    """The name of the library that is running; `call` is what the user called, for the errors (D2)."""
    name = thread_local.name
    if name is not None:
        return name
    name = current_async_library_cvar.get()
    if name is not None and name not in SHIPPED:
        return name
    if "asyncio" in modules:
        import asyncio

        if asyncio._get_running_loop() is not None:
            return "asyncio"
    if name is None:
        try:
            return sniffio.current_async_library()  # it knows curio by other means
        except sniffio.AsyncLibraryNotFoundError:
            pass  # not raised from here: D2's error shows no other
    raise NoAsyncContext(
        f"{call} was called outside of any async context: call it in a coroutine that asyncio.run(), "
        "trio.run() or the like is running"
    )


def current_backend(call: str) -> Backend:
    """The backend for the library that is running; `call` is what the user called, for the errors (D2)."""
    # As above; written out as far as it is hot, so that it takes no further call under asyncio.
    name = thread_local.name
    if name is None:
        name = current_async_library_cvar.get()
        if name is None or name in SHIPPED:
            name = (
                "asyncio" if _imported_asyncio._get_running_loop() is not None else current_backend_name(call)
            )
    try:
        return _loaded[name]
    except KeyError:
        pass  # likewise
    backend = _loaded[name] = _load(name, call)
    return backend


def _load(name: str, call: str) -> Backend:
    global _imported_asyncio
    # import statements, since what packs an application finds nothing else
    if name == "asyncio":
        import asyncio

        from . import _asyncio

        _imported_asyncio = asyncio
        return cast("Backend", _asyncio)
    if name == "trio":
        from . import _trio

        return cast("Backend", _trio)

    from importlib.metadata import entry_points  # only an unknown library pays for this slow import

    installed = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in installed:
        return cast("Backend", installed[name].load())
    raise UnsupportedBackend(
        f"{call} was called under the async library {name!r}, for which there is no backend; "
        f"there are backends for {', '.join(sorted(SHIPPED | installed.keys()))}. A package can add one with "
        f"an entry point named {name!r} in the group {ENTRY_POINT_GROUP!r}"
    )
