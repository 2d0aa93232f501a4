"""For the pytest plugins that people have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._hosts import virtual_clock
from ._virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

__all__ = ["anyio_backends"]


def anyio_backends(*, virtual_time: bool = False) -> list[ParameterSet]:
    """asyncio and trio, as the `params` of a fixture `anyio_backend` for anyio's pytest plugin.

    Args:
        virtual_time: whether sleeping costs nothing in the tests and in their async fixtures.
    """
    import pytest

    asyncio_options: dict[str, Any] = {"loop_factory": VirtualTimeLoop} if virtual_time else {}
    trio_options: dict[str, Any] = {"clock": virtual_clock()} if virtual_time else {}
    return [
        pytest.param(("asyncio", asyncio_options), id="asyncio"),
        pytest.param(("trio", trio_options), id="trio"),
    ]
