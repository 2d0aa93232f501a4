"""The trio backend, in files of the same names as those of the asyncio backend.

Theory of operation
-------------------
trio has the tree of scopes, and a cancellation that holds until its scope is left, built in: a task group
is a nursery, a deadline is a cancel scope, a shield is a shielded one. What remains to be done is at the
edges.

**Leaving a group.** A nursery raises all that its body and its tasks raised in one group, `Cancelled` among
them. Here neither the body nor a child raises an error into it: `TaskGroup._failed` collects the errors and
cancels the nursery. So trio never splits an error of the user's (C7), and does not collect a `Cancelled` of
each child (decision 0014). Only a cancellation that came out of the body goes through the nursery, which
knows whether it was its own (G5, G6); one from outside comes again at the next checkpoint by itself (G4). A
nursery that has nothing to raise is no checkpoint, so one follows it (G13), at which a cancellation that
reached children alone comes out too.

**Outcomes.** A nursery returns nothing, and cannot cancel one of its tasks. So each child runs in a cancel
scope of its own, inside a coroutine, `tasks.run`, that keeps the outcome for the `Task` handle. A scope costs
as much as a task, so a child whose handle is gone when it takes its first step has none: nobody can cancel it
or ask for its outcome. The coroutine holds the handle weakly until then.

**Scopes left in the wrong task or order.** trio takes these for a corrupted stack. `scopes.innermost` knows
which scopes of ours are open in each task, so that trio is never asked for what it cannot do. A scope that
another task tries to leave stays open. When a task ends or leaves a group while scopes inside are open,
`scopes.close_all` cancels their children and waits for them there, in the only task in which trio can close
these scopes (G9). Where a nursery of trio's own is open inside, trio can close none around it: the group
waits for its children without that (`TaskGroup._wait_without_closing`). A deadline cannot wait: it is closed
when the last scope inside it is (L6).

**Children that wait for a slot** of the group's `limit` are a handle and a coroutine in a queue, and no
task (G14). trio tells only tasks that a scope around them is cancelled, so while the queue is not empty one
task watches for it, `TaskGroup._watch_queue`.

**`first`** raises an error from an attempt's clean-up, but drops an attempt that failed by itself. To tell
them apart it asks whether the attempt was about to run when another one succeeded: `privates.is_woken`.

**park and unpark** (`waiting.Waiter`). trio cancels no task that has been rescheduled, so a waiter that was
woken has what it was handed (S4).

Which function keeps which rule:

    G1   groups.TaskGroup.__aexit__
    G2   groups.TaskGroup._new_task, children.Children.create_task
    G3   children.Children._failed, children.Children._error_to_raise
    G4   groups.TaskGroup.__aexit__, error_groups.errors_only
    G5   groups.TaskGroup._close_natively_when_all_have_ended
    G6   groups.TaskGroup.cancel
    G7   tasks.Task.cancel, groups.TaskGroup._spawn
    G8   groups.TaskGroup._new_task, checks.check_child
    G9   scopes.Scope._check_owner, scopes.close_all, tasks.run, shields._close_what_is_open
    G10  tasks.run
    G11  tasks.run, scopes.Scope._closed
    G12  the host's own: a nursery raises them in a group
    G13  groups.TaskGroup.__aexit__
    G14  children.Children._start_queued, children.Children._drop, groups.TaskGroup._watch_queue
    G15  children.Children._end_background
    G16  children.Children._failed, children.Children._log
    T1   tasks.Task.done, abc.Task.result
    T2   abc.Task.__await__, tasks.Task._wait
    T3   tasks.Task._wait
    T4   tasks.Task.cancel
    T5   children.Children.start
    L1   deadlines.Deadline.__exit__
    L2   deadlines.Deadline.__exit__
    L3   the host's own: cancel scopes
    L4   the host's own: cancel scopes
    L5   abc.Deadline.reschedule, deadlines.Deadline._move
    L6   deadlines.Deadline._leave_too_early, scopes.Scope._check_owner
    L7   waiting.current_deadline
    L8   deadlines.Deadline.__exit__, deadlines.Deadline.expired
    L9   deadlines.Deadline.__enter__
    L10  the host's own: the deadlines of its scopes
    C1   the host's own: a task is aborted or gets its value
    C2   the host's own: cancel scopes
    C3   the host's own: cancel scopes
    C4   shields.shield
    C5   the host's own: cancel scopes
    C6   the host's own: cancel scopes
    C7   tasks.run, deadlines.Deadline.__exit__, error_groups.errors_only
    C8   the host's own: anyio's scopes are trio's
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

from .deadlines import Deadline, DeadlineExceeded
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
    "DeadlineExceeded",
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
