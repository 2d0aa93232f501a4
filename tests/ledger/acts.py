"""Performs a sequence of acts on one task, with the real ledger and the real asyncio, beside the reference.

The sequence is not known beforehand. Wherever something can be done, `choose` picks one of the acts that make
sense there; when it picks none the sequence has ended, and the task leaves all that it has open. The task
lets a cancellation pass (C1): what it does while one is under way is clean-up. It catches a `TimeoutError`
and an `ExceptionGroup` right where they come out of a block.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import interloop
from interloop._asyncio.privates import ANYIO as ANYIO_BACKEND
from interloop._asyncio.privates import is_anyio_cancellation
from interloop._asyncio.scopes import Tree, tree_of

from .reference import ANYIO, Kind, Outcome, Place, Reference, Scope, State

HAS_ANYIO = find_spec("anyio") is not None
if HAS_ANYIO:
    import_module(ANYIO_BACKEND)

KINDS = {kind.value for kind in Kind}
SHIELD_BEGINS_AT_ONCE = sys.version_info >= (3, 12)

# The acts of the task, and of a callback meanwhile. Names of scopes are added to those that cancel one.
ASK = "task.cancel()"
TAKE_BACK = "task.uncancel()"
CANCEL = "cancel"
CHECKPOINT = "await checkpoint()"
YIELD = "await checkpoint(), meanwhile:"
WAIT = "await future, meanwhile:"
SHIELD = "await shield(...), meanwhile:"
RAISE = "raise OSError"
LEAVE = "leave"
LEAVE_WITH_CHILD = "leave, and a child goes on meanwhile:"
FAIL = "the child fails"
WAKE = "it is over"
HAND_OVER = "future.set_result(None), and then:"
TURN = "a turn of the loop"

Choose = Callable[[Sequence[str]], "str | None"]


@dataclass(frozen=True)
class Alphabet:
    """Which scopes are opened, which other acts are tried, and how many scopes may be open at once.

    Every sequence has the same acts first, if there are any in `begins`; its length is that of the rest.
    """

    scopes: tuple[Kind, ...]
    acts: frozenset[str]
    short: int  # the length in the ordinary tests
    long: int  # in the long run
    depth: int = 3
    begins: tuple[str, ...] = ()


class Run:
    """One sequence."""

    def __init__(self, alphabet: Alphabet, choose: Choose) -> None:
        self._alphabet = alphabet
        self._choose = choose
        self._reference = Reference()
        self._open: list[tuple[Scope, Any]] = []  # of the reference, and the real one
        self._to_begin_with = list(alphabet.begins)
        self._names = 0
        self._indent = 0
        self._ended = False
        self._section = 0
        self._child = False
        self._expected: set[Outcome] = set()  # of the scope that is being left
        self.trace: list[str] = []
        self.difference: str | None = (
            None  # the sequence up to the first thing that the reference does not know
        )

    async def main(self) -> None:
        """To be run in a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._tree: Tree = tree_of(task.get_loop())
        self._requests = self._tree.requests
        try:
            await self._block()
        except CancelledError:
            self._note("the task lets it pass")
        except OSError:
            pass
        self._note("at the end:")
        for _ in range(2):
            with suppress(CancelledError):
                await self._checkpoint()
        if task in self._tree.innermost or task in self._requests._held:
            self._differ("something of the task is left in the ledger")
        if self._reference._due():
            self._differ("a request was not delivered")
        while task.cancelling():
            task.uncancel()

    # choosing

    def _next(self, options: Sequence[str]) -> str | None:
        if self._to_begin_with:
            return self._to_begin_with.pop(0)
        act = None if self._ended else self._choose(options)
        self._ended = act is None
        return act

    def _options(self, in_task: bool) -> list[str]:
        acts = self._alphabet.acts
        reference = self._reference
        options: list[str] = []
        if ASK in acts and not reference.cannot_ask():
            options.append(ASK)
        if TAKE_BACK in acts and reference.can_be_taken_back() is not None:
            options.append(TAKE_BACK)
        for scope, _ in self._open:
            if scope.itself or (scope.kind is Kind.TIMEOUT and reference.cannot_ask(scope)):
                continue
            if scope.kind is Kind.TIMEOUT and reference.place is Place.RUNS:
                continue  # its timer does not ring while the task runs
            if scope.kind in ANYIO and reference.place is Place.RUNS and not in_task:
                continue  # anyio cancels a task that runs, if it is not the current one, for good
            options.append(f"{CANCEL} {scope.name}")
        if in_task:
            if len(self._open) < self._alphabet.depth:
                options += [kind.value for kind in self._alphabet.scopes]
            if self._open:
                options.append(LEAVE)
            if LEAVE_WITH_CHILD in acts and self._open and self._open[-1][0].kind is Kind.GROUP:
                options.append(LEAVE_WITH_CHILD)
            options += [act for act in (CHECKPOINT, YIELD, WAIT, SHIELD, RAISE) if act in acts]
        return options

    # the acts of the task

    async def _block(self) -> None:
        """Acts until the innermost block is left; after an exception the rest is clean-up."""
        try:
            await self._acts()
        except (CancelledError, OSError):
            await self._block()
            raise

    async def _acts(self) -> None:
        while (act := self._next(self._options(in_task=True))) not in (None, LEAVE):
            assert act is not None
            if act == CHECKPOINT:
                await self._checkpoint()
            elif act == LEAVE_WITH_CHILD:
                self._child = True
                return
            elif act == RAISE:
                self._note(RAISE)
                raise OSError
            elif act == YIELD:
                await self._yield()
            elif act == WAIT:
                await self._wait()
            elif act == SHIELD:
                await self._shield()
            elif act in KINDS:
                await self._enter(Kind(act))
            else:
                self._ask(act)
            self._check()

    async def _checkpoint(self) -> None:
        self._note(CHECKPOINT)
        expected = self._reference.checkpoint()
        await self._arrives(interloop.checkpoint(), expected)

    async def _arrives(self, wait: Any, expected: bool | None = None) -> None:
        """`expected` may depend on what happens meanwhile."""
        came = by_anyio = False
        try:
            await wait
        except CancelledError as cancellation:
            came, by_anyio = True, is_anyio_cancellation(cancellation)
            raise
        finally:
            self._section += 1
            if expected is None:
                expected = self._reference.resumes(by_anyio)
            self._note(f"    -> {'CancelledError' if came else 'goes on'}")
            if came is not expected:
                self._differ(f"expected: {'CancelledError' if expected else 'goes on'}")
            self._check()

    async def _yield(self) -> None:
        self._note(YIELD)
        self._reference.suspends(Place.YIELD)
        asyncio.get_running_loop().call_soon(self._meanwhile, None, self._section)
        await self._arrives(asyncio.sleep(0))

    async def _wait(self) -> None:
        """What is due arrives in the turn in which the wait begins, before anything happens meanwhile."""
        self._note(WAIT)
        self._reference.suspends(Place.WAIT)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(loop.call_soon, self._meanwhile, future, self._section)
        await self._arrives(future)

    def _meanwhile(self, future: asyncio.Future[None] | None, section: int) -> None:
        """What a callback does while the task waits for `future`, or stands at a bare yield."""
        if section != self._section:
            return
        self._indent += 1
        last = False
        while True:
            options = self._options(in_task=False)
            if not last and future is not None and not self._reference.cancellation_on_its_way:
                options.append(HAND_OVER)
                if self.trace[-1].strip() not in (TURN, WAIT):
                    options.append(TURN)
            if self.trace[-1].strip() not in (YIELD, WAIT, HAND_OVER):
                options.append(WAKE)
            act = self._next(options) if options else None
            if act == TURN:
                self._note(TURN)
                asyncio.get_running_loop().call_soon(self._meanwhile, future, section)
                break
            if act is None or act == WAKE:
                self._wake(future)
                break
            if act == HAND_OVER:
                self._note(HAND_OVER)
                self._wake(future)
                last = True
                continue
            self._ask(act)
            if last:
                break
        self._indent -= 1

    def _wake(self, future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)
            self._reference.value_on_its_way = True

    async def _shield(self) -> None:
        self._note(SHIELD)
        if not SHIELD_BEGINS_AT_ONCE:
            self._reference.suspends(Place.SHIELD)
        self._indent += 1
        await interloop.shield(self._shielded())
        self._note("    -> goes on")
        self._reference.shield_ends()
        self._check()

    async def _shielded(self) -> None:
        while (act := self._next([*self._options(in_task=False), TURN, WAKE])) not in (None, WAKE):
            if act == TURN:
                self._note(TURN)
                self._reference.suspends(Place.SHIELD)
                await asyncio.sleep(0)
            else:
                assert act is not None
                self._ask(act)
        self._indent -= 1

    async def _enter(self, kind: Kind) -> None:
        self._names += 1
        name = f"{kind.name.lower()}_{self._names}"
        real: Any = _make(kind)
        self._note(f"with {kind.value} as {name}:")
        scope = self._reference.enter(kind, name)
        came = outcome = Outcome.QUIET
        error: BaseException | None = None
        try:
            async with real if scope.kind not in ANYIO else _InAsyncWith(real):
                self._open.append((scope, real))
                if scope.ours and real._settled != scope.settled:
                    self._differ(f"I3: settled is {real._settled}, expected {scope.settled}")
                self._check()
                self._indent += 1
                came, behind = Outcome.CANCELLED, False
                try:
                    await self._block()
                    came = Outcome.QUIET
                except OSError as raised:
                    came, behind = Outcome.ERROR, _cancellation_behind(raised)
                    raise
                finally:
                    self._indent -= 1
                    self._note(f"{name} is left with {came.value}")
                    if self._child:
                        self._child = False
                        real.create_task(self._child_of(scope, came, behind))
                        self._reference.begins_to_leave(scope)
                    else:
                        self._leave(scope, came, behind)
        except TimeoutError:
            outcome = Outcome.TIMEOUT
        except OSError as raised:
            error, outcome = raised, Outcome.ERROR
        except ExceptionGroup:
            outcome = Outcome.ERRORS
        except CancelledError as raised:
            error, outcome = raised, Outcome.CANCELLED
        self._note(f"    -> {outcome.value}")
        if outcome not in self._expected:
            self._differ(f"expected: {' or '.join(sorted(one.value for one in self._expected))}")
        self._reference.left(scope, came, outcome)
        self._check()
        try:
            if error is not None:
                raise error
        finally:
            del error

    def _leave(self, scope: Scope, came: Outcome, cancellation_behind: bool) -> None:
        self._open.pop()
        self._expected = self._reference.leave(scope, came, cancellation_behind)

    async def _child_of(self, scope: Scope, came: Outcome, behind: bool) -> None:
        """Acts while the task waits for this child. What an act leads to is over before the next one."""
        fails = False

        async def meanwhile() -> None:
            nonlocal fails
            self._indent += 1
            await _some_turns()
            while (act := self._next([*self._options(in_task=False), WAKE, FAIL])) not in (None, WAKE):
                assert act is not None
                if act == FAIL:
                    self._note(FAIL)
                    fails = True
                    break
                self._ask(act)
                await _some_turns()
                self._check()
            self._indent -= 1

        await interloop.shield(meanwhile())
        if fails:
            behind = behind or came is Outcome.CANCELLED
            came = Outcome.ERROR
        self._leave(scope, came, behind)
        if fails:
            raise OSError

    # the acts of anybody

    def _ask(self, act: str) -> None:
        self._note(act)
        if act == ASK:
            self._reference.host_asks()
            self._task.cancel()
        elif act == TAKE_BACK:
            self._reference.host_takes_back()
            self._task.uncancel()
        else:
            scope, real = next(pair for pair in self._open if act == f"{CANCEL} {pair[0].name}")
            if scope.kind is Kind.TIMEOUT:
                self._reference.host_asks(scope)
                real._on_timeout()  # what its timer calls
            else:
                self._reference.scope_is_cancelled(scope)
                if scope.kind is Kind.DEADLINE:
                    real.reschedule(interloop.current_time() - 1)
                else:
                    real.cancel()

    # the invariants

    def _check(self) -> None:
        """The invariants of the ledger, at a moment at which the task runs code of its own."""
        task, reference, requests = self._task, self._reference, self._requests
        of_host = len(reference.of_host())
        if requests._of_host(task) != of_host:
            self._differ(
                f"I1, I2: the ledger knows {requests._of_host(task)} of the host, expected {of_host}"
            )
        out = [request for request in reference.requests if request.state is State.HELD_BACK]
        if out and task not in requests._held:
            self._differ("I5: something is held back, of which the ledger does not know")

    # the report

    def _note(self, what: str) -> None:
        self.trace.append("    " * self._indent + what)

    def _differ(self, why: str) -> None:
        if self.difference is None:
            self.difference = "\n".join([*self.trace, f"!! {why}"])
            self._ended = True


class _InAsyncWith:
    """A scope of anyio, which is entered by a plain `with`."""

    def __init__(self, scope: Any) -> None:
        self._scope = scope

    async def __aenter__(self) -> None:
        self._scope.__enter__()

    async def __aexit__(self, *exception: Any) -> bool | None:
        swallowed: bool | None = self._scope.__exit__(*exception)
        return swallowed


async def _some_turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def _cancellation_behind(error: BaseException) -> bool:
    context = error.__context__
    while context is not None and not isinstance(context, CancelledError):
        context = context.__context__
    return context is not None


def _make(kind: Kind) -> Any:
    match kind:
        case Kind.GROUP:
            return interloop.task_group()
        case Kind.DEADLINE:
            return interloop.deadline(at=None)
        case Kind.TIMEOUT:
            return asyncio.timeout(None)
        case _:
            return import_module("anyio").CancelScope(shield=kind is Kind.ANYIO_SHIELD)
