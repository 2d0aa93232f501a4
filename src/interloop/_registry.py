"""Which backends there are: those that come with interloop, and those of installed packages (D3)."""

from __future__ import annotations

from typing import Any

from ._errors import UnsupportedBackend

ENTRY_POINT_GROUP = "interloop.backends"
SHIPPED = frozenset({"asyncio", "trio"})


def load(name: str, request: str) -> Any:
    """The module that is the backend for the async library `name`.

    Args:
        name: the name that sniffio has for the library.
        request: what the user did, for the error: "deadline() was called under".

    Raises:
        UnsupportedBackend: there is none.
    """
    # import statements, since what packs an application finds nothing else
    if name == "asyncio":
        from . import _asyncio

        return _asyncio
    if name == "trio":
        from . import _trio

        return _trio

    from importlib.metadata import entry_points  # only an unknown library pays for this slow import

    installed = {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in installed:
        return installed[name].load()
    raise UnsupportedBackend(
        f"{request} the async library {name!r}, for which there is no backend; "
        f"there are backends for {', '.join(sorted(SHIPPED | installed.keys()))}. A package can add one with "
        f"an entry point named {name!r} in the group {ENTRY_POINT_GROUP!r}"
    )
