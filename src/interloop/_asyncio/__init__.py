"""The asyncio backend.

Theory of operation
-------------------
asyncio has one means of cancellation: `Task.cancel()` throws a `CancelledError` into a task, once, where it
is suspended, and counts the request; whoever asked takes the request back with `Task.uncancel()` when the
`CancelledError` has reached them. Everything here is that and nothing else. What this package adds is to know
*whom* to cancel, to do it at a moment when nothing is lost, and to recognise at the end of a block whose
cancellation it is that arrives.

**The tree** (`scopes.py`). Every scope (task group or deadline) knows the scope around it, `_parent`, and
`Tree.innermost` holds the innermost one of each task. The outermost node in a child is its `Task` handle,
whose parent is the group that owns it. So from a scope upwards one follows `_parent`; downwards, `open_nodes`
tells what a task has opened inside the scope, and each group there knows its children. A task that asyncio or
somebody else made, and the inside of a `shield`, is the root of a tree of its own. `Scope._check_owner` keeps
a scope open if another task tries to leave it (G9). What a task leaves open when it ends, or leaves a group,
is adopted by that group: `TaskGroup._abandon`.

**How a cancellation travels.** `scopes.cancel` marks the scope and everything inside it `_cancelled`, at once
(C6), and hands each task to `Requests.deliver`. A task that is suspended, and for which nothing has come yet,
is cancelled now: whoever would hand it something sees the cancelled future (C1). One that runs, has not
begun, or has something on its way is looked at again after its next step (`privates.can_cancel_now`). So no
task carries a request to an await that has nothing to do with it, and each child takes its first step (G7),
on an eager loop too, where that step is over before `create_task` returns. What is opened or created inside a
scope that is already cancelled is cancelled at birth, in the same way.

**The ledger** (`requests.py`) knows which of the requests that asyncio counts are whose. When a scope is left
it takes back its own, and then asks whether a cancellation from outside is in force: of a scope around it, of
anyio's, or of the host. If so the `CancelledError` passes on as it came (G5, L3), else it was this scope's
own and ends here.

**What is held back.** A group that raises errors while it is cancelled from outside swallows that
`CancelledError` (G4), and so does a shield, for as long as it runs (C4). `Requests.hold_back` delivers it
again at the next checkpoint, unless whoever asked has taken the request back by then (C2), or is a scope of
anyio, which asks again by itself (N5). If a scope is left before, with a `CancelledError` of its own in
flight, it raises the one that was held back instead: by the message on it others, anyio's scopes for one,
know their own (`Requests.as_others_know_it`). What is inside a shield runs in a task that is not among all
tasks of the loop, since `asyncio.run` cancels those at its end (`shields._hide`). Its context is carried back
into the caller, as if it had run there.

A group or a shield that has swallowed a cancellation of anyio's waits on in a shielded scope of anyio, or the
next one would come in every turn of the loop (`privates.in_peace`, C3, decision 0021).

**A native task in between.** `Task.cancel()` cancels the task that is waited for in the place of its waiter.
If that ends otherwise, the waiter is cancelled once more (`Requests._ask_again_if_ended_otherwise`, decision
0022).

**Shields of anyio** hide what is around them (C8): nothing is delivered to a task inside one. The delivery
waits for what the task waits for, and looks again after that step (`Requests._deliver_after_shield`). What
was held back before the task went into such a shield waits in the same way.

**Deadlines** share one timer of the loop (`timers.py`), which goes when the last of them has (L10). asyncio
runs the steps that are due before the timers that are due, so a checkpoint of interloop expires the deadlines
around its task itself (`waiting.expire_overdue`), and so does `expired()`.

**Children** are counted, and queued for a slot of the group's `limit`, by `_children.py`; a queued one is a
handle and a coroutine, and `tasks.Queued` stands for the native task that it lacks. Errors, the user's
classes, are looked into by `_error_groups.py` alone (C7). `KeyboardInterrupt` and `SystemExit` leave the loop
at once, as asyncio has it; when the group is left they come first (`TaskGroup._error_to_raise`).

**The way out.** `native` makes an `asyncio.TaskGroup` or `asyncio.Timeout` whose methods act on the scope
(`views.py`).

**park and unpark** (`waiting.Waiter`). A waiter is a future, which whoever wakes it completes. A cancellation
that comes between that and the next step of the task would take away what was handed over. Ours does not come
there (C1), and `park` holds one of the host's back and returns (S4). What is held back is delivered when the
task begins its next `park`, at the latest: nothing is on its way to it there. The inside of a shield is a
task of its own; `waiting.callers` says whose, so the owner of a lock is the same inside and outside (S5).

Which function keeps which rule:

    G1   groups.TaskGroup.__aexit__
    G2   groups.TaskGroup._new_task, children.Children.create_task
    G3   children.Children._failed, children.Children._error_to_raise
    G4   groups.TaskGroup.__aexit__, requests.Requests.hold_back, error_groups.errors_only
    G5   groups.TaskGroup.__aexit__, requests.Requests.in_force, requests.Requests.as_others_know_it
    G6   groups.TaskGroup.cancel, scopes.cancel
    G7   groups.TaskGroup._spawn, privates.can_cancel_now
    G8   groups.TaskGroup._new_task, checks.check_child
    G9   scopes.Scope._check_owner, groups.TaskGroup._adopt_what_is_open, shields._close_what_is_open
    G10  groups.TaskGroup._spawn, tasks.make_task
    G11  groups.TaskGroup._native_ended, tasks.clear_finished_frames
    G12  groups.TaskGroup._error_to_raise
    G13  groups.TaskGroup.__aexit__, waiting.turn
    G14  children.Children._start_queued, children.Children._drop, tasks.Queued
    G15  children.Children._end_background
    G16  children.Children._failed, children.Children._log
    T1   tasks.Task.done, abc.Task.result
    T2   abc.Task.__await__, tasks.Task._wait
    T3   tasks.wait_for_end
    T4   tasks.Task.cancel, scopes.cancel
    T5   children.Children.start
    L1   deadlines.Deadline.__exit__
    L2   deadlines.Deadline.__exit__
    L3   deadlines.Deadline.__exit__, requests.Requests.in_force
    L4   deadlines.Deadline._ring, waiting.expire_overdue
    L5   abc.Deadline.reschedule, deadlines.Deadline._move
    L6   deadlines.Deadline.__enter__, deadlines.Deadline._leave_out_of_order, scopes.Scope._check_owner
    L7   waiting.current_deadline
    L8   deadlines.Deadline.__exit__, deadlines.Deadline.expired
    L9   deadlines.Deadline.__enter__
    L10  timers.Timers.check_soon, timers.Timers.set_timer
    C1   privates.can_cancel_now, requests.Requests.deliver
    C2   requests.Requests.take_back
    C3   requests.Requests.deliver, privates.in_peace
    C4   shields.shield, requests.Requests.hold_back
    C5   requests.Requests.settled, shields._hide
    C6   scopes.cancel, scopes.Scope._be_born_cancelled
    C7   error_groups.errors_only, checks.refuse, scopes.Node._could_not_cancel
    C8   privates.shield_between, requests.Requests._deliver_after_shield
    S1   waiting.current_loop, sync._Shared._check_home
    S2   sync._Shared._wake_next, channel._Channel.put, channel._Channel.take
    S3   sync.Lock.acquire, channel.SendChannel._try, channel.ReceiveChannel._try
    S4   waiting.Waiter.wake, waiting.Waiter.park, sync._Shared._wait_for_turn
    S5   waiting.current_owner, sync.Lock.release, sync.Limiter.acquire
    S6   sync.Condition.wait
    S7   channel._Queue.refuse, channel.ReceiveChannel.close, channel.SendChannel.close
    S8   sync._check_int, channel._check_capacity
    S9   testing._waiting.deadlock_of
"""

from .deadlines import Deadline
from .groups import TaskGroup
from .shields import shield
from .waiting import (
    Event,
    Waiter,
    checkpoint,
    current_deadline,
    current_loop,
    current_owner,
    current_time,
    get_cancelled_exc_class,
    is_cancelled,
    sleep,
    sleep_forever,
)

__all__ = [
    "Deadline",
    "Event",
    "TaskGroup",
    "Waiter",
    "checkpoint",
    "current_deadline",
    "current_loop",
    "current_owner",
    "current_time",
    "get_cancelled_exc_class",
    "is_cancelled",
    "shield",
    "sleep",
    "sleep_forever",
]
