"""Which backend serves a call: the one for the async library that sniffio finds running (D1)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import sniffio

from ._errors import NoAsyncContext, UnsupportedBackend

if TYPE_CHECKING:
    from .abc import Backend

ENTRY_POINT_GROUP = "interloop.backends"

_SHIPPED = {"asyncio": "interloop._asyncio", "trio": "interloop._trio"}
_loaded: dict[str, Backend] = {}


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
    name = current_backend_name(call)
    try:
        return _loaded[name]
    except KeyError:
        backend = _loaded[name] = _load(name, call)
        return backend


def _load(name: str, call: str) -> Backend:
    if name in _SHIPPED:
        return cast("Backend", import_module(_SHIPPED[name]))

    from importlib.metadata import entry_points  # only an unknown library pays for this slow import

    installed = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in installed:
        return cast("Backend", installed[name].load())
    raise UnsupportedBackend(
        f"{call} was called under the async library {name!r}, for which there is no backend; "
        f"there are backends for {', '.join(sorted({*_SHIPPED, *installed}))}. A package can add one with "
        f"an entry point named {name!r} in the group {ENTRY_POINT_GROUP!r}"
    )
