"""Channels: items handed from tasks to tasks, in order.

A channel is a buffer with a queue of senders and a queue of receivers, which its ends share. Whoever has to
wait is in a queue with a `Waiter` of its backend. An item goes to the receiver that has waited longest,
before that one runs; so it is never in the buffer while somebody waits for it, and nobody can overtake (S2).
A backend's `park()` returns if the waiter was woken, even if it was cancelled after that; so an item is lost
to no cancellation (S4), and only a coroutine that is closed while it waits has to put back what it was
handed.

Invariants, whenever no code of this file runs:

- A receiver that can still be woken waits only while the buffer is empty and no sender waits.
- A sender that can still be woken waits only while the buffer is full.
- `home` is the loop of those who wait; if it is `None`, nobody does (S1). Items in the buffer belong to no
  loop.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from math import inf
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ._checks import safe_repr
from ._dispatch import current_backend as _backend
from ._errors import BrokenChannel, ClosedChannel, EndOfChannel, WouldBlock, in_use_elsewhere
from .abc import Backend, Waiter

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class ChannelStatistics(NamedTuple):
    """What `statistics()` of either end returns."""

    buffered: int
    """Items that were sent and wait in the buffer."""
    capacity: float
    open_senders: int
    open_receivers: int
    waiting_senders: int
    waiting_receivers: int


class _Waiting:
    """A sender or receiver in a queue."""

    __slots__ = ("end", "items", "refusal", "waiter")

    end: _End
    waiter: Waiter
    items: list[Any]

    def __init__(self, end: _End, waiter: Waiter, *items: Any) -> None:
        self.end = end
        self.waiter = waiter
        self.items = [*items]  # of a sender: not yet handed over; of a receiver: what it was handed
        self.refusal: Exception | None = None  # what its wait ends with in the place of success


class _Queue:
    """Those who wait at one side, in the order of their coming."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: OrderedDict[_Waiting, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: _Waiting) -> None:
        self._waiting[waiting] = None

    def discard(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting, None)

    def wake_first(self) -> _Waiting | None:
        """The first who could still be woken, which it was."""
        while self._waiting:
            waiting, _ = self._waiting.popitem(last=False)
            if waiting.waiter.wake():
                return waiting
        return None

    def refuse(self, refusal: type[Exception], said: str, end: _End | None = None) -> None:
        """Wake all, or those that wait at `end`, with an error."""
        for waiting in [waiting for waiting in self._waiting if end is None or waiting.end is end]:
            del self._waiting[waiting]
            if waiting.waiter.wake():
                waiting.refusal = refusal(said)


class _Channel:
    """What the ends share."""

    __slots__ = ("buffer", "capacity", "home", "receivers", "senders", "waiting_receivers", "waiting_senders")

    capacity: float
    buffer: deque[Any]
    senders: int  # open ends
    receivers: int
    waiting_senders: _Queue
    waiting_receivers: _Queue
    home: object  # the loop of those who wait

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.buffer = deque()
        self.senders = self.receivers = 0
        self.waiting_senders, self.waiting_receivers = _Queue(), _Queue()
        self.home = None

    def check_home(self, end: _End, backend: Backend) -> None:
        here = backend.current_loop()
        if self.home is not here:
            if self.home is not None:
                raise in_use_elsewhere(end, self.home, here)
            self.home = here

    def rest(self) -> None:
        """Forget the loop if nobody waits. Sending to the buffer then need not look at one."""
        if not self.waiting_senders and not self.waiting_receivers:
            self.home = None

    def put(self, item: Any) -> bool:
        """Hand `item` to a receiver, or put it into the buffer; whether there was one, or room."""
        receiver = self.waiting_receivers.wake_first()
        if receiver is not None:
            receiver.items.append(item)
        elif len(self.buffer) < self.capacity:
            self.buffer.append(item)
        else:
            return False
        return True

    def take(self) -> list[Any]:
        """The oldest item, in a list; an empty one if there is none."""
        if self.buffer:
            taken = [self.buffer.popleft()]
            sender = self.waiting_senders.wake_first()
            if sender is not None:
                self.buffer.append(sender.items.pop())
            return taken
        sender = self.waiting_senders.wake_first()
        return [] if sender is None else [sender.items.pop()]

    def put_back(self, item: Any) -> None:
        """Of a receiver whose coroutine was closed: the item is the next one's."""
        receiver = self.waiting_receivers.wake_first()
        if receiver is None:
            self.buffer.appendleft(item)
        else:
            receiver.items.append(item)

    async def wait(self, queue: _Queue, waiting: _Waiting) -> None:
        queue.add(waiting)
        try:
            await waiting.waiter.park()
        finally:
            queue.discard(waiting)
            self.rest()
        if waiting.refusal is not None:
            try:
                raise waiting.refusal
            finally:
                del waiting  # G11


class _End(ABC):
    """What the ends have in common."""

    __slots__ = ("__weakref__", "_channel", "_closed", "_made_at")

    _channel: _Channel
    _closed: bool
    _made_at: str

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._closed = False
        frame = sys._getframe(2)  # who called channel() or clone()
        self._made_at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._opened()

    @abstractmethod
    def _opened(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _left(self) -> None:
        """This end is closed now; those who wait for it are told."""

    def _check_close(self) -> None:
        if self._channel.home is not None and not self._closed:
            self._channel.check_home(self, _backend("close()"))

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._left()

    def statistics(self) -> ChannelStatistics:
        """How full the channel is, how many ends are open, and how many tasks wait."""
        channel = self._channel
        return ChannelStatistics(
            buffered=len(channel.buffer),
            capacity=channel.capacity,
            open_senders=channel.senders,
            open_receivers=channel.receivers,
            waiting_senders=len(channel.waiting_senders),
            waiting_receivers=len(channel.waiting_receivers),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc_type is GeneratorExit:
            self._close()  # the coroutine is thrown away, perhaps after its loop
        else:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, tb)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(  # noqa: B028  it may be dropped anywhere
                f"{self!r}, made at {self._made_at}, was dropped without being closed; those at the other "
                "end may wait for ever: close it, with `with`",
                ResourceWarning,
                source=self,
            )

    def __repr__(self) -> str:
        channel = self._channel
        state = "closed" if self._closed else f"{len(channel.buffer)} of {channel.capacity} buffered"
        return f"<{type(self).__name__} [{state}]>"

    def _check_open(self, call: str) -> None:
        if self._closed:
            raise ClosedChannel(f"{call} on {self!r}, which was closed")


class SendChannel(_End, Generic[T_contra]):
    """The end of a channel that is sent to. Made by `channel()`, and by `clone()`."""

    __slots__ = ()

    async def send(self, item: T_contra) -> None:
        """Hand `item` over; wait while the buffer is full, else return without suspending (S3).

        If this is cancelled, `item` was not sent (S4).

        Raises:
            BrokenChannel: every receiver is closed, now or while this waits (S7).
            ClosedChannel: this end is closed, now or while this waits.
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        if not self._try(item, "send()"):
            backend = _backend("send()")
            channel = self._channel
            channel.check_home(self, backend)
            await channel.wait(channel.waiting_senders, _Waiting(self, backend.Waiter(), item))

    def send_nowait(self, item: T_contra) -> None:
        """Hand `item` over, if a receiver waits or there is room in the buffer.

        Raises:
            WouldBlock: there is not.
            BrokenChannel: every receiver is closed (S7).
            ClosedChannel: this end is closed.
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        if not self._try(item, "send_nowait()"):
            raise WouldBlock(f"{self!r} has no room, and nobody waits to receive")

    def clone(self) -> SendChannel[T_contra]:
        """Another sender to the same channel, closed by itself.

        Raises:
            ClosedChannel: this one is closed.
        """
        self._check_open("clone()")
        return SendChannel(self._channel)

    def close(self) -> None:
        """Send no more. Receivers get what is left, and then `EndOfChannel` if this was the last sender (S7).

        Never suspends (S3). Calling it again does nothing.

        Raises:
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        self._check_close()
        self._close()

    def _left(self) -> None:
        channel = self._channel
        channel.senders -= 1
        channel.waiting_senders.refuse(ClosedChannel, f"send() on {self!r}, which was closed", self)
        if channel.senders == 0:
            channel.waiting_receivers.refuse(EndOfChannel, NO_SENDERS)

    def _opened(self) -> None:
        self._channel.senders += 1

    def _try(self, item: Any, call: str) -> bool:
        """Whether it could be handed over without waiting."""
        channel = self._channel
        self._check_open(call)
        if channel.receivers == 0:
            raise BrokenChannel(NO_RECEIVERS)
        if channel.home is None:  # nobody waits
            if len(channel.buffer) >= channel.capacity:
                return False
            channel.buffer.append(item)
            return True
        channel.check_home(self, _backend(call))
        done = channel.put(item)
        channel.rest()
        return done


class ReceiveChannel(_End, Generic[T_co]):
    """The end of a channel that is received from. Made by `channel()`, and by `clone()`.

    `async for item in receiver:` ends when every sender is closed. Each item goes to one receiver.
    """

    __slots__ = ()

    async def receive(self) -> T_co:
        """The oldest item; wait for one if there is none, else return without suspending (S3).

        If this is cancelled, nothing was received (S4).

        Raises:
            EndOfChannel: every sender is closed and nothing is left, now or while this waits (S7).
            ClosedChannel: this end is closed, now or while this waits.
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext, UnsupportedBackend: no backend runs here (D2).
        """
        return (self._try("receive()") or await self._wait()).pop()  # type: ignore[no-any-return]

    def receive_nowait(self) -> T_co:
        """The oldest item.

        Raises:
            WouldBlock: there is none.
            EndOfChannel: there is none, and every sender is closed (S7).
            ClosedChannel: this end is closed.
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        taken = self._try("receive_nowait()")
        if not taken:
            raise WouldBlock(f"{self!r} is empty, and nobody waits to send")
        return taken.pop()  # type: ignore[no-any-return]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        try:
            return (self._try("receive()") or await self._wait()).pop()  # type: ignore[no-any-return]
        except EndOfChannel:
            raise StopAsyncIteration from None

    def clone(self) -> ReceiveChannel[T_co]:
        """Another receiver of the same channel, closed by itself.

        Raises:
            ClosedChannel: this one is closed.
        """
        self._check_open("clone()")
        return ReceiveChannel(self._channel)

    def close(self) -> None:
        """Receive no more.

        If this was the last receiver, sending raises `BrokenChannel`, and what is left is dropped (S7). Never
        suspends (S3). Calling it again does nothing.

        Raises:
            RuntimeError: tasks of another loop wait (S1).
            NoAsyncContext: tasks wait, and no loop runs here.
        """
        self._check_close()
        self._close()

    def _left(self) -> None:
        channel = self._channel
        channel.receivers -= 1
        channel.waiting_receivers.refuse(ClosedChannel, f"receive() on {self!r}, which was closed", self)
        if channel.receivers == 0:
            channel.waiting_senders.refuse(BrokenChannel, NO_RECEIVERS)
            channel.buffer.clear()

    def _opened(self) -> None:
        self._channel.receivers += 1

    def _try(self, call: str) -> list[Any]:
        """The oldest item, in a list; an empty one if there is none yet."""
        channel = self._channel
        self._check_open(call)
        if channel.home is None:  # nobody waits
            if channel.buffer:
                return [channel.buffer.popleft()]
        else:
            channel.check_home(self, _backend(call))
            if taken := channel.take():
                channel.rest()
                return taken
        if channel.senders == 0:
            raise EndOfChannel(NO_SENDERS)
        return []

    async def _wait(self) -> list[Any]:
        backend = _backend("receive()")
        channel = self._channel
        channel.check_home(self, backend)
        waiting = _Waiting(self, backend.Waiter())
        taken = waiting.items
        try:
            await channel.wait(channel.waiting_receivers, waiting)
        except BaseException:
            if taken:  # this coroutine is closed
                channel.put_back(taken.pop())
            raise
        finally:
            del waiting  # G11
        return taken


NO_SENDERS = "every sender of the channel is closed, and nothing is left to receive"
NO_RECEIVERS = "every receiver of the channel is closed, so nobody would get what is sent"


class channel(tuple[SendChannel[T], ReceiveChannel[T]]):  # called as a function, with a type
    """A pair of ends, `sender, receiver = channel[int](10)`.

    Args:
        capacity: how many items are kept that nobody has asked for yet. 0: sending waits until somebody
            receives. `inf`: sending never waits.

    Raises:
        TypeError, ValueError: `capacity` is neither an integer of at least 0 nor `inf` (S8).
    """

    __slots__ = ()

    def __new__(cls, capacity: float) -> channel[T]:
        _check_capacity(capacity)
        shared = _Channel(capacity)
        return super().__new__(cls, (SendChannel(shared), ReceiveChannel(shared)))


def _check_capacity(capacity: object) -> None:
    if capacity == inf:
        return
    if not isinstance(capacity, int) or isinstance(capacity, bool):
        raise TypeError(
            f"channel() expects an integer as its capacity, or math.inf, got {safe_repr(capacity)}"
        )
    if capacity < 0:
        raise ValueError(f"channel() expects a capacity of at least 0, got {capacity}")
