"""Which backend serves a call: the one for the async library that is running in this thread (D1).

sniffio knows, with two exceptions. Its context variable is inherited by threads, which are outside of any
loop (D2). And it finds asyncio by the current task, of which there is none in a callback of the loop. So
what it says about the libraries that come with interloop counts only if they run here: trio notes that for
each thread, and asyncio is asked.
"""

from __future__ import annotations

from sys import modules
from typing import TYPE_CHECKING, Any

import sniffio
from sniffio import current_async_library_cvar, thread_local

from ._errors import NoAsyncContext
from ._registry import SHIPPED, load

if TYPE_CHECKING:
    from .abc import Backend

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
    backend: Backend = load(name, f"{call} was called under")
    if name == "asyncio":
        import asyncio

        _imported_asyncio = asyncio
    return backend
