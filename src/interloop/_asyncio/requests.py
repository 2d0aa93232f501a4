"""The ledger: what is known of the requests to cancel a task, and their delivery.

asyncio counts the requests on a task, `Task.cancelling()`, and throws a `CancelledError`; it keeps no record
of who asked. This module is the only one that compares counts. Its words are those of the design: a request
is *asked*, *delivered* (thrown into the task), *held back* (swallowed for now by a shield or by a group that
raises errors), or *taken back* by whoever asked.

Invariants, at every moment at which the task does not run code of this package:

I1. `node._asked` is how many of the requests that `task.cancelling()` counts are that node's. A node is what
    the tree has open in the task: a scope, or the handle of the task itself.
I2. The host's requests are the others: `cancelling()` less those of I1, less those that scopes of anyio have
    noted.
I3. `settled` is how many of the host's requests had been delivered, and not held back, at a certain moment:
    when a scope was entered, or when the holding back began. Of the host's requests more than that are still
    to be reckoned with.
I4. A request of ours that is held back stays counted, for the scopes of asyncio and anyio that are left
    meanwhile. Its delivery asks once more, for those that were entered meanwhile and took the first for an
    old one.
I5. `_held` has an entry for a task from the moment at which something is held back until it is delivered, or
    taken back, or waits behind a shield of anyio. The entry has a callback in the loop.
I6. A node in `_behind_shields` waits for its task to leave a shield of anyio (C8), with one callback, however
    often it is to be delivered. What was held back of it waits there too, and no longer in `_held`, once the
    task is found inside such a shield.

A cancellation is delivered at once where that takes nothing away: the task is suspended and its wait is not
over. A task that runs, has not begun, or has a value on its way is looked at again after its next step (C1).
This is the program that would lose its item otherwise:

    with deadline(0):
        item = await queue.get()    # woken in the turn in which the deadline expires

Tasks that wake each other in every turn are never seen at a wait that is open. After `PATIENCE` turns they
are cancelled as `Task.cancel()` does it.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from functools import partial
from sys import modules
from typing import Any, ClassVar, Protocol

from .privates import (
    ANYIO,
    AnyioScope,
    anyio_cancellation,
    anyio_delivered,
    anyio_requests,
    anyio_scope,
    can_cancel_now,
    has_undelivered_request,
    is_anyio_cancellation,
    shield_between,
    undelivered_message,
)

PATIENCE = 100  # turns of the loop


class Node(Protocol):
    """What the ledger knows of a node of the tree."""

    _anyio: AnyioScope | None  # the innermost scope of anyio around the node
    _asked: int  # I1
    _cancelled: bool
    _is_task: ClassVar[bool]  # the handle of a task, and so the outermost node in it
    _parent: Any

    def _task_to_cancel(self) -> asyncio.Task[Any] | None:
        """The task that a cancellation of this node is to be delivered to, if there still is one."""

    def _could_not_cancel(self, failure: Exception) -> None:
        """`Task.cancel()` raised (C7)."""


class _Held:
    """What is held back of the requests on one task."""

    __slots__ = ("cancellation", "delivery", "ours", "settled", "turns")

    delivery: asyncio.Handle  # I5

    def __init__(self, settled: int, ours: list[Node]) -> None:
        self.settled = settled
        self.ours = ours  # the nodes whose cancellations may be held back
        self.turns = 0  # in which the task was found at no open wait
        self.cancellation: CancelledError | None = None  # the last that came of the host's, if any came

    def as_anyio_knows_it(self, task: asyncio.Task[Any], around: AnyioScope | None) -> CancelledError | None:
        """The cancellation that came of the host's, with the message that scopes of anyio look for (N5).

        A scope of anyio lets a cancellation pass that does not carry its message. It may have asked already,
        and it does not ask again while the task is inside a shield:

            with anyio.move_on_after(2):
                async with asyncio.timeout(1):
                    await shield(sleep(3))              # holds both back
                    with anyio.CancelScope(shield=True):
                        await checkpoint()              # both arrive here, as one

        Args:
            around: the innermost scope of anyio to consider.
        """
        message = anyio_delivered(task, around)
        return self.cancellation if message is None else CancelledError(message)


def _is_behind_shield(node: Node, task: asyncio.Task[Any]) -> bool:
    """Whether `task` is inside a shield of anyio that `node` is around (C8)."""
    return ANYIO in modules and shield_between(anyio_scope(task), node._anyio)


def outwards(node: Any) -> Iterator[Any]:
    """`node` and what is around it in the same task, whose handle, if it has one, is the last."""
    while node is not None:
        yield node
        node = None if node._is_task else node._parent


class Requests:
    """The requests on the tasks of one loop."""

    __slots__ = ("_behind_shields", "_held", "_innermost")

    def __init__(self, innermost: dict[asyncio.Task[Any], Any]) -> None:
        self._innermost = innermost  # the tree's: the innermost node of each task
        self._held: dict[asyncio.Task[Any], _Held] = {}
        self._behind_shields: set[int] = set()  # by `id`: a subclass of a group need not be hashable

    # whose they are

    def _nodes(self, task: asyncio.Task[Any]) -> Iterator[Node]:
        return outwards(self._innermost.get(task))

    def _of_host(self, task: asyncio.Task[Any]) -> int:
        count = task.cancelling()
        if not count:
            return 0
        for node in self._nodes(task):
            count -= node._asked
        return count - anyio_requests(task)

    def settled(self, task: asyncio.Task[Any]) -> int:
        """How many of the host's requests on `task`, which is running, were delivered before now (I3).

        One that was asked and not delivered is still to come, so it is from outside for a scope that is
        entered now:

            asyncio.current_task().cancel()
            async with deadline(0, suppress=True):
                await sleep_forever()           # both arrive here
            await sleep_forever()               # and this one is cancelled
        """
        if not task.cancelling():
            return 0
        settled = self._of_host(task) - has_undelivered_request(task)
        held = self._held.get(task)
        return settled if held is None else min(settled, held.settled)

    def cancelled_nodes(self, task: asyncio.Task[Any]) -> list[Node]:
        """Our nodes in `task` that are cancelled, the outermost last."""
        return [node for node in self._nodes(task) if node._cancelled]

    def nodes_in_force(self, task: asyncio.Task[Any]) -> list[Node]:
        """Those that are not behind a shield of anyio (C8)."""
        return [node for node in self.cancelled_nodes(task) if not _is_behind_shield(node, task)]

    def in_force(self, task: asyncio.Task[Any], settled: int) -> bool:
        """Whether a cancellation is in force where `task` is: of ours, of anyio's, or of the host."""
        return (
            (task in self._innermost and self.nodes_in_force(task) != [])
            or self._of_host(task) > settled
            or (ANYIO in modules and anyio_cancellation(anyio_scope(task)) is not None)
        )

    def one_of_ours_is_repeated(self, task: asyncio.Task[Any], settled: int) -> bool:
        """Whether `task`, which is running, was asked again for what a scope of ours had asked for.

        An `asyncio.TaskGroup` that raises errors does that, from 3.13 on. A task that ends before its next
        checkpoint would end as cancelled (N1).
        """
        return has_undelivered_request(task) and self._of_host(task) <= settled

    def as_others_know_it(self, task: asyncio.Task[Any], error: BaseException) -> CancelledError | None:
        """The cancellation to raise out of a scope of ours in the place of `error`, if that may not pass.

        A scope of anyio knows its own by the message on it (N5). Those inside of the outermost scope of ours
        that is in force are not asked: they must let it pass.
        """
        held = self._take_held(task)
        ours = self.nodes_in_force(task)
        around = ours[-1]._anyio if ours else anyio_scope(task)
        message = anyio_cancellation(around)
        if message is None:
            return None if held is None else held.as_anyio_knows_it(task, around)
        if error.args[:1] == (message,):
            return None
        return CancelledError(message)

    # taken back

    def take_back(self, node: Node, task: asyncio.Task[Any]) -> None:
        """A scope that is left takes back what it asked (C2)."""
        for _ in range(node._asked):
            task.uncancel()

    def _take_held(self, task: asyncio.Task[Any]) -> _Held | None:
        """End the holding back: what was held back arrives in one with what arrives now.

        Unless it is behind a shield of anyio:

            with deadline(1):
                await shield(sleep(2))                  # holds it back
                with anyio.CancelScope(shield=True):
                    with deadline(1, suppress=True):
                        await sleep_forever()           # another one arrives here,
                await sleep_forever()                   # and it arrives here
        """
        held = self._held.pop(task, None)
        if held is not None:
            held.delivery.cancel()
            hidden = self._outermost_held(held, task, behind_shield=True)
            if hidden is not None:
                self._deliver_after_shield(hidden, task)
        return held

    def _outermost_held(self, held: _Held, task: asyncio.Task[Any], *, behind_shield: bool) -> Node | None:
        """The outermost node that is held back and still open, of those behind a shield of anyio or others.

        One that was around it may have been left first (G9).
        """
        ours = set(map(id, held.ours))
        found = None
        for node in self._nodes(task):
            if id(node) in ours and _is_behind_shield(node, task) is behind_shield:
                found = node
        return found

    # delivered

    def deliver(self, nodes: Sequence[Node], turns: int = 0) -> None:
        """Cancel the task of each node, at once or when its next wait begins.

        Args:
            turns: of the loop, in which none of them was found at an open wait.
        """
        later: list[Node] = []
        for node in nodes:
            task = node._task_to_cancel()
            if task is None or task.done():
                continue
            if _is_behind_shield(node, task):
                self._deliver_after_shield(node, task)
            elif turns > PATIENCE or can_cancel_now(task, after_a_turn=turns > 0):
                self._ask(node, task)
            else:
                later.append(node)
        if later:
            asyncio.get_running_loop().call_soon(self.deliver, later, turns + 1)

    def _ask(self, node: Node, task: asyncio.Task[Any]) -> None:
        waits_for = getattr(task, "_fut_waiter", None)
        message = self._message(node, task) if self._held or waits_for is None else ()
        node._asked += 1
        try:
            task.cancel(*message)
            if isinstance(waits_for, asyncio.Task):
                waits_for.add_done_callback(partial(self._ask_again_if_ended_otherwise, node))
        except Exception as failure:  # C7: of a task or a future of another class
            node._could_not_cancel(failure)

    def _message(self, node: Node, task: asyncio.Task[Any]) -> tuple[Any, ...]:
        """The message for the request of `node`: that of the host's request, if the two arrive together."""
        held = self._take_held(task)
        if held is not None:
            of_host = held.as_anyio_knows_it(task, node._anyio)
            return () if of_host is None else of_host.args[:1]
        # one that `task` has not been told of would be replaced
        message = undelivered_message(task)
        return () if message is None or message != anyio_delivered(task, node._anyio) else (message,)

    def _ask_again_if_ended_otherwise(self, node: Node, waited_for: asyncio.Task[Any]) -> None:
        """C1: `Task.cancel()` hands a request on to the task that is waited for, which may swallow it.

        with deadline(1):
            await asyncio.create_task(f())  # `f` has a shield, and returns
            await sleep_forever()
        """
        if not waited_for.cancelled():
            self.deliver([node], 1)

    def _deliver_after_shield(self, node: Node, task: asyncio.Task[Any]) -> None:
        """Look again when `task`, suspended inside a shield of anyio, has gone on: nothing polls (C3)."""
        if id(node) in self._behind_shields:
            return

        def look_again(_: object = None) -> None:
            self._behind_shields.remove(id(node))
            self.deliver([node], 1)

        waiter = getattr(task, "_fut_waiter", None)
        try:
            if waiter is None:
                asyncio.get_running_loop().call_soon(look_again)
            else:
                waiter.add_done_callback(look_again)
        except Exception as failure:  # C7: of a future of another class
            node._could_not_cancel(failure)
        else:
            self._behind_shields.add(id(node))

    # held back

    def hold_back(
        self, task: asyncio.Task[Any], settled: int, came: Sequence[CancelledError], ours: list[Node]
    ) -> None:
        """What was swallowed is delivered again at the next checkpoint of `task`, which is running.

        Unless whoever asked has taken the request back by then (C2).

        Args:
            settled: how many of the host's requests were (I3) when the holding back began.
            came: the cancellations that were swallowed, as far as they are known. The count alone is no proof
                that there was one of the host's: before 3.13 an `asyncio.TaskGroup` in which a child failed
                leaves the task with a request that nobody made (N1).
            ours: the nodes whose cancellations may have been swallowed.
        """
        held = _Held(settled, ours)
        before = self._take_held(task)
        if before is not None:
            held.cancellation = before.cancellation
        if came and self._of_host(task) > held.settled:
            # N5: a scope of anyio, which delivers its own again by itself, may have been quicker than the
            # host
            theirs = [error for error in came if not is_anyio_cancellation(error)]
            held.cancellation = theirs[-1] if theirs else CancelledError()
        if held.cancellation is not None or ours:
            self._held[task] = held
            held.delivery = asyncio.get_running_loop().call_soon(self._release, task)

    def deliver_held(self, task: asyncio.Task[Any]) -> None:
        """Deliver what is held back to `task`, which is about to wait. Nothing is on its way to it yet.

        `_release` looks for a wait that is still open, and would find none here:

            async for item in receiver:     # somebody sends an item in every turn of the loop
                ...
        """
        held = self._held.get(task)
        if held is not None:
            held.delivery.cancel()
            held.turns = PATIENCE + 1
            self._release(task)

    def _release(self, task: asyncio.Task[Any]) -> None:
        held = self._held[task]
        if task.done():
            del self._held[task]
            return
        came = held.cancellation is not None and self._of_host(task) > held.settled
        ours = self._outermost_held(held, task, behind_shield=False)
        if (came or ours) and held.turns <= PATIENCE and not can_cancel_now(task, after_a_turn=True):
            held.turns += 1
            if held.cancellation is None:  # else the one that is held back would count as one that came
                held.settled = self._of_host(task)  # `task` is suspended: all of these come when it goes on
            held.delivery = asyncio.get_running_loop().call_soon(self._release, task)
        elif ours is not None:
            self._ask(ours, task)
        else:
            self._take_held(task)
            of_host = held.as_anyio_knows_it(task, anyio_scope(task))
            if came and of_host is not None:
                task.uncancel()  # the same request once more
                task.cancel(*of_host.args[:1])
