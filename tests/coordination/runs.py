"""Running a program, and what its tasks note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeAlias

from interloop import Task, current_time, deadline, get_cancelled_exc_class, shield, sleep, task_group
from interloop.testing import HOSTS, Host

from .kits import Anyios, Kit, Ours
from .programs import END, EVENTS, Author, Program, Step

Note: TypeAlias = tuple[str, str, float]
Notes: TypeAlias = dict[str, list[Note]]
Steps: TypeAlias = tuple[Step, ...]

HOST_NAMES = ("trio", "asyncio", "asyncio-eager")


class Differs(AssertionError):
    """Two hosts saw a program differently, or it left something behind."""


class Run:
    """One run of a program.

    Attributes:
        notes: what each task saw, and when.
        left: what was not as it had been at the beginning.
        at_once: whether several tasks were cancelled at one instant. They give up what they hold and wait for
            in an order that is the host's own.
    """

    def __init__(self, program: Program, kit: Kit) -> None:
        self.notes: Notes = {}
        self.left: list[str] = []
        self.at_once = False
        self._cancelled_at: dict[float, str] = {}
        self._program = program
        self._kit = kit
        self._held = {"lock": kit.lock(), "semaphore": kit.semaphore(2), "limiter": kit.limiter(2)}
        self._at_rest = {name: kit.free(held) for name, held in self._held.items()}
        self._condition = kit.condition()
        self._channels = [kit.channel(capacity) for capacity in program.capacities]
        self._items = count()
        self._sent: Counter[int] = Counter()
        self._received: Counter[int] = Counter()
        self._tasks: dict[str, Task[None]] = {}

    async def main(self) -> None:
        self._begun = current_time()
        self._events = [self._kit.event() for _ in range(EVENTS)]
        with deadline(END, suppress=True):
            async with task_group() as tg:
                for number, steps in enumerate(self._program.tasks):
                    name = str(number)
                    self._tasks[name] = tg.create_task(self._take(name, steps, 0.001 * number), name=name)
        self._look_what_is_left()

    def _look_what_is_left(self) -> None:
        for name, held in self._held.items():
            if self._kit.free(held) != self._at_rest[name]:
                self.left.append(f"{name}: {self._kit.free(held)} free of {self._at_rest[name]}")
        if self._condition.locked():
            self.left.append("the condition is locked")
        for sender, receiver in self._channels:
            while self._kit.buffered(sender):
                self._received[receiver.receive_nowait()] += 1
            sender.close()
            receiver.close()
        if self._sent != self._received:
            self.left.append(
                f"sent {sorted(self._sent)}, received or left {sorted(self._received.elements())}"
            )

    def _now(self) -> float:
        return round(current_time() - self._begun, 6)

    def _note(self, name: str, what: str) -> None:
        now = self._now()
        if now < END:
            self.notes.setdefault(name, []).append((name, what, now))

    def _note_cancellation(self, name: str) -> None:
        """A task outlasts the children of its groups, and a block what is in it: those come in order."""
        now = self._now()
        before = self._cancelled_at.setdefault(now, name)
        if now < END and not before.startswith(name):
            self.at_once = True

    async def _take(self, name: str, steps: Steps, first_pause: float = 0) -> None:
        await sleep(first_pause)
        for number, step in enumerate(steps):
            at = f"{name}.{number}"
            act: Callable[[str, Step], Awaitable[object]] = getattr(self, f"_do_{step.act}")
            try:
                seen = await act(at, step)
            except tuple(self._kit.errors) as error:
                seen = next(said for kind, said in self._kit.errors.items() if isinstance(error, kind))
            except TimeoutError:
                seen = "TimeoutError"
            except get_cancelled_exc_class():
                self._note_cancellation(name)
                raise
            self._note(at, f"{step.act} {step.of}: {seen}")
            await sleep(step.pause)

    async def _do_hold(self, at: str, step: Step) -> None:
        held = self._held[step.of]
        async with held:
            self._note(at, "got it")
            await sleep(step.seconds)

    async def _do_held(self, at: str, step: Step) -> None:
        async with self._held[step.of]:
            self._note(at, "got it")
            await sleep(step.seconds)
            await self._take(at, step.inside[0])

    async def _do_try(self, at: str, step: Step) -> None:
        held = self._held[step.of]
        held.acquire_nowait()
        try:
            self._note(at, "got it")
            await sleep(step.seconds)
        finally:
            held.release()

    async def _do_event(self, _: str, step: Step) -> None:
        await self._events[int(step.of)].wait()

    async def _do_set(self, _: str, step: Step) -> None:
        self._events[int(step.of)].set()

    async def _do_condition(self, _: str, __: Step) -> None:
        async with self._condition:
            await self._condition.wait()

    async def _do_notify(self, at: str, step: Step) -> None:
        async with self._condition:
            self._condition.notify(step.count)
            self._note(at, "notified")
            if self._program.holds_on:
                await sleep(step.seconds)

    async def _do_send(self, _: str, step: Step) -> None:
        item = next(self._items)
        await self._channels[int(step.of)][0].send(item)
        self._sent[item] += 1

    async def _do_send_nowait(self, _: str, step: Step) -> None:
        item = next(self._items)
        self._channels[int(step.of)][0].send_nowait(item)
        self._sent[item] += 1

    async def _do_receive(self, _: str, step: Step) -> int:
        item: int = await self._channels[int(step.of)][1].receive()
        self._received[item] += 1
        return item

    async def _do_receive_nowait(self, _: str, step: Step) -> int:
        item: int = self._channels[int(step.of)][1].receive_nowait()
        self._received[item] += 1
        return item

    async def _do_close(self, at: str, step: Step) -> None:
        """A receiver of its own, which it closes while it waits."""
        _, receiver = self._channels[int(step.of)]
        clone = receiver.clone()
        with clone:
            async with task_group() as tg:
                tg.create_task(self._receive_at(at, clone))
                await sleep(step.seconds)
                clone.close()

    async def _receive_at(self, at: str, receiver: Any) -> None:
        try:
            item = await receiver.receive()
        except tuple(self._kit.errors) as error:
            said = next(said for kind, said in self._kit.errors.items() if isinstance(error, kind))
            self._note(f"{at} inside", said)
        else:
            self._received[item] += 1
            self._note(f"{at} inside", str(item))

    async def _do_cancel(self, _: str, step: Step) -> None:
        self._tasks[step.of].cancel()

    async def _do_deadline(self, at: str, step: Step) -> bool:
        with deadline(step.seconds, suppress=step.suppress) as limit:
            await self._take(at, step.inside[0])
        return limit.expired()

    async def _do_shield(self, at: str, step: Step) -> None:
        await shield(self._take(at, step.inside[0]), timeout=10 * step.seconds)

    async def _do_group(self, at: str, step: Step) -> None:
        async with task_group() as tg:
            for number, steps in enumerate(step.inside):
                tg.create_task(self._take(f"{at}/{number}", steps, step.seconds * (number + 1) / 1000))


def compare(seed: int) -> None:
    """Run the program of this seed on every host, and with anyio's primitives.

    Raises:
        Differs: with the program, and what was seen.
    """
    program = Author(seed).program()
    runs: dict[str, Run] = {}
    for host in [HOSTS[name] for name in HOST_NAMES]:
        if not host.missing():
            runs[host.name] = _run(host, program, Ours())
    # One who is cancelled between the notification and the lock passes it on with ours, and keeps it with
    # anyio's: so whoever notifies releases the lock at once.
    if "trio" in runs and not program.holds_on and not runs["trio"].at_once:
        runs["anyio's on trio"] = _run(HOSTS["trio"], program, Anyios())
    first, *others = runs
    for name, run in runs.items():
        if run.left:
            raise Differs(f"seed {seed}: {name} left {run.left}\n{program}")
    for name in others:
        if runs[name].notes != runs[first].notes:
            raise Differs(f"seed {seed}\n{program}\n{_differences(first, name, runs)}")


def _run(host: Host, program: Program, kit: Kit) -> Run:
    run = Run(program, kit)
    host.run(run.main)
    return run


def _differences(one: str, other: str, runs: dict[str, Run]) -> str:
    notes, other_notes = runs[one].notes, runs[other].notes
    lines: list[str] = []
    for name in sorted({*notes, *other_notes}):
        if notes.get(name) != other_notes.get(name):
            lines += [f"{one}: {notes.get(name)}", f"{other}: {other_notes.get(name)}"]
    return "\n".join(lines)
