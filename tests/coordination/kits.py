"""The primitives that a program is run with: ours, or anyio's."""

from __future__ import annotations

from typing import Any, Protocol

import interloop


class Kit(Protocol):
    """Whatever these functions return has the methods of ours."""

    def lock(self) -> Any: ...
    def semaphore(self, value: int) -> Any: ...
    def limiter(self, total: int) -> Any: ...
    def condition(self) -> Any: ...
    def event(self) -> Any: ...
    def channel(self, capacity: int) -> tuple[Any, Any]: ...
    def buffered(self, sender: Any) -> int: ...
    def free(self, held: Any) -> float: ...

    errors: dict[type[Exception], str]


class Ours:
    def __init__(self) -> None:
        self.errors: dict[type[Exception], str] = {
            interloop.WouldBlock: "WouldBlock",
            interloop.EndOfChannel: "EndOfChannel",
            interloop.BrokenChannel: "BrokenChannel",
            interloop.ClosedChannel: "ClosedChannel",
            RuntimeError: "RuntimeError",
        }

    def lock(self) -> Any:
        return interloop.Lock()

    def semaphore(self, value: int) -> Any:
        return interloop.Semaphore(value)

    def limiter(self, total: int) -> Any:
        return interloop.Limiter(total)

    def condition(self) -> Any:
        return interloop.Condition()

    def event(self) -> Any:
        return interloop.Event()

    def channel(self, capacity: int) -> tuple[Any, Any]:
        return interloop.channel[int](capacity)

    def buffered(self, sender: Any) -> int:
        buffered: int = sender.statistics().buffered
        return buffered

    def free(self, held: Any) -> float:
        if isinstance(held, interloop.Limiter):
            return held.available
        return held.value if isinstance(held, interloop.Semaphore) else not held.locked()


class Anyios:
    def __init__(self) -> None:
        import anyio

        self._anyio = anyio
        self.errors: dict[type[Exception], str] = {
            anyio.WouldBlock: "WouldBlock",
            anyio.EndOfStream: "EndOfChannel",
            anyio.BrokenResourceError: "BrokenChannel",
            anyio.ClosedResourceError: "ClosedChannel",
            RuntimeError: "RuntimeError",
        }

    def lock(self) -> Any:
        return self._anyio.Lock(fast_acquire=True)

    def semaphore(self, value: int) -> Any:
        return self._anyio.Semaphore(value, fast_acquire=True)

    def limiter(self, total: int) -> Any:
        return self._anyio.CapacityLimiter(total)

    def condition(self) -> Any:
        return self._anyio.Condition(self._anyio.Lock(fast_acquire=True))

    def event(self) -> Any:
        return self._anyio.Event()

    def channel(self, capacity: int) -> tuple[Any, Any]:
        return self._anyio.create_memory_object_stream[int](capacity)

    def buffered(self, sender: Any) -> int:
        buffered: int = sender.statistics().current_buffer_used
        return buffered

    def free(self, held: Any) -> float:
        if isinstance(held, self._anyio.CapacityLimiter):
            return held.available_tokens
        return held.value if isinstance(held, self._anyio.Semaphore) else not held.locked()
