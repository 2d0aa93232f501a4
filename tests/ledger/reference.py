"""What should happen: a plain list of the requests on one task, each with its owner and its state.

asyncio counts requests and forgets who asked. Here whoever asks is written down, and what becomes of each
request follows from the rules of the contract. Counts appear only where a scope of asyncio or anyio judges by
them (`Scope.counted_at_entry`), and where the ledger's own is looked at (`Scope.settled`).

What asyncio cannot tell apart is left out, each with its reason, in `cannot_ask`, `can_be_taken_back` and
`leave`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    ASKED = "asked"
    DELIVERED = "delivered"
    HELD_BACK = "held back"
    BEHIND_SHIELD = "held back before the task went into a shield of anyio"
    TAKEN_BACK = "taken back"


class Kind(Enum):
    GROUP = "interloop.task_group()"
    DEADLINE = "interloop.deadline(...)"
    TIMEOUT = "asyncio.timeout(None)"
    ANYIO = "anyio.CancelScope()"
    ANYIO_SHIELD = "anyio.CancelScope(shield=True)"


OURS = {Kind.GROUP, Kind.DEADLINE}
ANYIO = {Kind.ANYIO, Kind.ANYIO_SHIELD}


class Place(Enum):
    """Where the task is."""

    RUNS = "runs"
    YIELD = "stands at a bare yield"
    WAIT = "waits for a future"
    SHIELD = "waits for the end of a shield"
    EXIT = "waits for the children of a group that it leaves"


@dataclass(eq=False)
class Scope:
    kind: Kind
    name: str
    delivered_at_entry: frozenset[Request]
    taken_back_at_entry: int
    counted_at_entry: frozenset[Request]
    settled: int  # I3
    cancelled: bool = False  # by itself, or by a scope around it
    itself: bool = False
    being_left: bool = False  # a group, of which the body has ended
    was_cancelled: bool = False  # by then

    @property
    def ours(self) -> bool:
        return self.kind in OURS


@dataclass(eq=False)
class Request:
    owner: Scope | None  # none: the host's, by `Task.cancel()`
    state: State = State.ASKED
    counted: bool = False  # of ours: asked of asyncio, and not taken back since
    swallowed: bool = False  # by a scope of asyncio that took it for its own
    seems_old: bool = False
    one_of_several: bool = False  # that were not delivered yet when a scope was entered, or a shield began

    @property
    def of_host(self) -> bool:
        return self.owner is None or self.owner.kind is Kind.TIMEOUT


class Outcome(Enum):
    """How a block was left."""

    QUIET = "quietly"
    CANCELLED = "CancelledError"
    TIMEOUT = "TimeoutError"
    ERROR = "OSError"
    ERRORS = "ExceptionGroup"


@dataclass
class Reference:
    requests: list[Request] = field(default_factory=list)
    taken_back: list[Request] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    place: Place = Place.RUNS
    cancellation_on_its_way: bool = False
    value_on_its_way: bool = False
    caught_in_exit: bool = False
    _delivered_before_shield: frozenset[Request] = frozenset()
    _holds_back: bool = False  # or did, and the task has not been suspended since
    _or_anyio: list[Request] = field(default_factory=list)  # one of these or one of anyio arrives

    # what can be seen from where the task is

    def _visible(self, scope: Scope) -> bool:
        """C8: whether no shield of anyio is between the task and `scope`."""
        inside = self.scopes[self.scopes.index(scope) + 1 :]
        return all(one.kind is not Kind.ANYIO_SHIELD for one in inside)

    def _cancelled_around(self, ours: bool) -> bool:
        return any(
            scope.cancelled and self._visible(scope)
            for scope in self.scopes
            if (scope.ours if ours else scope.kind in ANYIO)
        )

    def of_host(self) -> list[Request]:
        return [request for request in self.requests if request.of_host]

    def in_force_around(self, left: Scope) -> bool:
        """Whether somebody other than `left`, which has just been left, wants the task to be cancelled."""
        return (
            self._cancelled_around(ours=True)
            or self._cancelled_around(ours=False)
            or any(request not in left.delivered_at_entry for request in self.of_host())
        )

    def _due(self) -> list[Request]:
        """The requests that arrive at the next checkpoint."""
        return [
            request
            for request in self.requests
            if request.state is not State.DELIVERED
            and (request.of_host or (request.owner is not None and self._visible(request.owner)))
        ]

    def _due_of_ours(self) -> list[Request]:
        return [request for request in self._due() if not request.of_host]

    # asked

    def host_asks(self, owner: Scope | None = None) -> None:
        if owner is not None:
            owner.cancelled = owner.itself = True
        self.requests.append(Request(owner, counted=True))
        self._deliver()

    def scope_is_cancelled(self, scope: Scope) -> None:
        scope.itself = True
        if scope.cancelled:
            return
        scope.cancelled = True
        if scope.being_left:
            return
        if scope.ours:
            for inside in self.scopes[self.scopes.index(scope) + 1 :]:  # C6
                if inside.kind is Kind.ANYIO_SHIELD:
                    break
                if inside.ours:
                    inside.cancelled = True
            self.requests.append(Request(scope))
        self._deliver()

    # delivered

    def suspends(self, place: Place) -> None:
        if place is Place.SHIELD and self.place is Place.RUNS:
            self._merge()
            self._delivered_before_shield = self._delivered()
        self.place = place
        self._deliver()

    def _merge(self) -> None:
        """asyncio tells only whether some are not delivered: of several all but one seem to be old."""
        if self._holds_back:
            return  # then the ledger has known since the holding back began
        undelivered = [request for request in self.of_host() if request.state is State.ASKED]
        for request in undelivered[1:] and undelivered:
            request.one_of_several = True
            request.seems_old = request is not undelivered[-1]

    def _deliver(self) -> None:
        if self.place is Place.RUNS:
            return
        self._wait_for_ends_of_shields()
        if self.place is Place.SHIELD:
            for request in self._due():
                request.state = State.HELD_BACK
            return
        # C1: what has completed is not taken away, so ours waits for the next checkpoint; the host's does not
        due = self._due()
        if self.place is Place.WAIT:
            due = self._which_fit(due)
        if self.place is Place.EXIT and (due or self._cancelled_around(ours=False)):
            self.caught_in_exit = True
        for request in due:
            self._arrives(request)
        self._holds_back = self._anything_is_held_back()
        if self.place is not Place.EXIT and (
            due or (self._cancelled_around(ours=False) and not self.value_on_its_way)
        ):
            self.cancellation_on_its_way = True

    def _arrives(self, request: Request) -> None:
        request.state = State.DELIVERED
        request.counted = True

    def _which_fit(self, due: list[Request]) -> list[Request]:
        """Which of those that are due cancel the future that the task waits for; the others come later."""
        at_once = [request for request in due if request.of_host and request.state is State.ASKED]
        if at_once:
            return at_once
        if self.cancellation_on_its_way or self.value_on_its_way:
            return []
        if due and self._cancelled_around(ours=False):
            self._or_anyio = due
            return []
        held_back = [request for request in due if request.state is not State.ASKED]
        return held_back or due[:1]

    def resumes(self, by_anyio: bool = False) -> bool:
        """Whether a cancellation arrives.

        Args:
            by_anyio: whether it says so. Where one of anyio and another are due at the same time, chance
            decides
                which of the two is the first.
        """
        if not by_anyio:
            for request in self._or_anyio:
                self._arrives(request)
        self._or_anyio = []
        arrives = self.cancellation_on_its_way
        self.place = Place.RUNS
        self.cancellation_on_its_way = self.value_on_its_way = False
        return arrives

    def checkpoint(self) -> bool:
        self.suspends(Place.YIELD)
        return self.resumes()

    # held back

    def shield_ends(self) -> None:
        """What came meanwhile is held back; if there is any, what of ours came before comes once more."""
        if self._anything_is_held_back():
            self._hold_back([one for one in self._of_ours() if self._visible_request(one)])
        self.place = Place.RUNS

    def _anything_is_held_back(self) -> bool:
        return any(request.state is State.HELD_BACK for request in self.requests)

    def _hold_back(self, ours: list[Request]) -> None:
        self._wait_for_ends_of_shields()
        for request in ours:
            if request.state is State.DELIVERED:
                request.state = State.HELD_BACK
        self._holds_back = self._holds_back or self._anything_is_held_back()

    def _wait_for_ends_of_shields(self) -> None:
        for request in self._of_ours():
            if request.state is State.HELD_BACK and not self._visible_request(request):
                request.state = State.BEHIND_SHIELD

    def _of_ours(self) -> list[Request]:
        return [one for one in self.requests if one.owner is not None and one.owner.ours]

    def _visible_request(self, request: Request) -> bool:
        return request.owner is None or self._visible(request.owner)

    def _errors_win(self, left: Scope, cancellation_behind: bool) -> None:
        """G4: a group that raises errors holds back what was delivered inside it, and what they came up in.

        That may have been delivered to clean-up before this went into a shield of anyio.
        """
        self._hold_back(self._of_ours())
        if not cancellation_behind:
            return
        for request in self.of_host():
            if (
                request.state is State.DELIVERED
                and request not in left.delivered_at_entry
                and not request.swallowed
            ):
                request.state = State.HELD_BACK

    # taken back

    def host_takes_back(self) -> None:
        request = self.can_be_taken_back()
        assert request is not None
        self._take_back(request)

    def cannot_ask(self, inside: Scope | None = None) -> bool:
        """Whether the host has taken back a request older than a scope, or a shield, that is still open.

        The next one would make the count what it was then, and asyncio has nothing but the count.

        Args:
            inside: only the scopes inside this one matter.
        """
        scopes = self.scopes[0 if inside is None else self.scopes.index(inside) + 1 :]
        older = set().union(*(scope.delivered_at_entry | scope.counted_at_entry for scope in scopes))
        if self.place is Place.SHIELD:
            older |= self._delivered_before_shield
        return any(request in older for request in self.taken_back if request.of_host)

    def can_be_taken_back(self) -> Request | None:
        """The last request of the host's own, unless asyncio cannot tell what is left then.

        It is on its way (whether it arrives nevertheless depends on the version of Python); it is one of
        several that seemed to be one; or it is older than a scope, or than the holding back, and a later one
        is out.
        """
        own = [request for request in self.requests if request.owner is None]
        if not own or self.cancellation_on_its_way:
            return None
        last = own[-1]
        if last.state is State.ASKED or last.one_of_several:
            return None
        if last.state is State.DELIVERED and any(one.state is State.HELD_BACK for one in self.of_host()):
            return None
        for scope in self.scopes:
            older = scope.delivered_at_entry
            if last in older and any(one not in older for one in self.of_host()):
                return None
        return last

    def _take_back(self, request: Request) -> None:
        request.state = State.TAKEN_BACK
        self.requests.remove(request)
        self.taken_back.append(request)

    # entered and left

    def _delivered(self) -> frozenset[Request]:
        return frozenset(one for one in self.of_host() if one.state is State.DELIVERED)

    def enter(self, kind: Kind, name: str) -> Scope:
        self._merge()
        scope = Scope(
            kind,
            name,
            self._delivered(),
            len(self.taken_back),
            frozenset(one for one in self.requests if one.counted),
            sum(one.state is State.DELIVERED or one.seems_old for one in self.of_host()),
        )
        born_cancelled = scope.ours and self._cancelled_around(ours=True)
        self.scopes.append(scope)
        if born_cancelled:
            scope.cancelled = True
            self.requests.append(Request(scope))
        return scope

    def begins_to_leave(self, scope: Scope) -> None:
        """The body of a group has ended, and a child has not: what arrives meanwhile the group catches."""
        scope.being_left = True
        scope.was_cancelled = scope.cancelled
        self._take_back_of(scope)
        self.caught_in_exit = False
        self.suspends(Place.EXIT)

    def _take_back_of(self, scope: Scope) -> None:
        for request in [request for request in self.requests if request.owner is scope]:  # C2
            self._take_back(request)

    def _outer_of_ours_is_cancelled(self, left: Scope) -> bool:
        return any(
            scope.ours and scope.cancelled and scope is not left and self._visible(scope)
            for scope in self.scopes
        )

    def leave(self, scope: Scope, came: Outcome, cancellation_behind: bool) -> set[Outcome]:
        """How the block is left.

        Args:
            came: how its body ended.
            cancellation_behind: whether a cancellation is in the context of the error that it ended with.
            Where
                an error comes out of a coroutine that was cancelled, into one that handles another error,
                CPython puts that one into the place of the cancellation, which then nobody can see. (The
                count is no proof of it before 3.13, N1.)
        """
        assert self.scopes[-1] is scope
        own = scope.itself or (scope.kind is Kind.GROUP and scope.cancelled)
        if scope.being_left:
            own = scope.was_cancelled
            cancellation_behind = cancellation_behind or self.caught_in_exit
            if came is Outcome.QUIET and (self.caught_in_exit or self._outer_of_ours_is_cancelled(scope)):
                came = Outcome.CANCELLED
            self.place = Place.RUNS
        elif scope.kind is Kind.GROUP and came is Outcome.QUIET and self.checkpoint():  # G13
            came = Outcome.CANCELLED
        self.scopes.pop()
        self._take_back_of(scope)
        if came is Outcome.ERROR:
            if scope.kind is Kind.GROUP:
                self._errors_win(scope, cancellation_behind)
                return {Outcome.ERRORS}
            return {came}
        if came is Outcome.QUIET or not own:
            return {came}
        if scope.ours:
            if self.in_force_around(scope):
                self._stands_for_what_is_held_back()
                return {came}  # G5, L3
        elif self._counted_as_others(scope):
            return {came}
        swallowed = Outcome.QUIET if scope.kind in (Kind.GROUP, *ANYIO) else Outcome.TIMEOUT
        if scope.kind is Kind.TIMEOUT and self._cancelled_around(ours=False):
            # Whether a request of anyio was counted since entry is a matter of chance, and of no consequence:
            # anyio cancels every checkpoint.
            return {swallowed, came}
        since_entry = [*self.requests, *self.taken_back[scope.taken_back_at_entry :]]
        if scope.kind is Kind.ANYIO and self._due_of_ours():
            return {swallowed, came}  # one of ours further out may have been counted when anyio's arrived
        if scope.kind in ANYIO and any(
            request.of_host and request not in scope.delivered_at_entry for request in since_entry
        ):
            # That request is taken back, or was pending at entry, which is old for anyio. If the two arrived
            # as one the message decides, which is of whoever came first.
            return {swallowed, came}
        return {swallowed}

    def left(self, scope: Scope, came: Outcome, outcome: Outcome) -> None:
        """What comes after `leave`, of which the outcome may be one of several."""
        if scope.kind is Kind.ANYIO and scope.itself and came is outcome is Outcome.CANCELLED:
            for request in self._due_of_ours():
                self._arrives(request)
        if not scope.ours and came is Outcome.CANCELLED and outcome is not came:
            for request in self.requests:
                if request.of_host and request not in scope.delivered_at_entry:
                    request.swallowed = True
                if not request.of_host and request.state is State.DELIVERED and not request.counted:
                    request.state = State.HELD_BACK  # asyncio could not know of it

    def _stands_for_what_is_held_back(self) -> None:
        """The cancellation that passes on is as good as any."""
        for request in self.requests:
            if request.state is State.HELD_BACK:
                request.state = State.DELIVERED

    def _counted_as_others(self, scope: Scope) -> bool:
        counted = {request for request in self.requests if request.counted}
        return not counted <= scope.counted_at_entry or (
            scope.kind in ANYIO and self._cancelled_around(ours=False) and scope.kind is not Kind.ANYIO_SHIELD
        )
