"""Prints a program as plain Python that can be pasted and run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from textwrap import indent

from . import programs as p

_PRELUDE = """\
from contextlib import contextmanager, suppress

from interloop import *
from interloop.testing import run


@contextmanager
def note(where):
    print(f"{where} begins at {current_time()}")
    try:
        yield print
    except BaseException as error:
        print(f"{where} raises {error!r} at {current_time()}")
        raise
    print(f"{where} ends at {current_time()}")


"""

# With `tests` on the path; what is printed then says which functions stand for the host's constructs.
_FOREIGN = """\
from functools import partial
from operator import setitem

import anyio

from model.foreign import *
"""

_RUNS = """

for host in "asyncio", "trio":
    print(host)
    with suppress(Exception):
        run(main, host=host, virtual_time=True)
"""


def as_script(program: p.Block, watched: Collection[str] = ()) -> str:
    """A script that runs the program on both backends, and shows what happens where `watched` says."""
    mixed = any(map(p.is_foreign, everything(program)))
    return (_FOREIGN if mixed else "") + _PRELUDE + as_function(program, watched) + _RUNS


def as_function(program: p.Block, watched: Collection[str] = (), natively: set[int] | None = None) -> str:
    """`async def main()`, over the names in `interloop`, `suppress` and `note`.

    Args:
        program: what `programs()` gave.
        watched: the statements, and tasks, that are put into a `with note(...)`; by the names in `Notes`.
    """
    natively = {s.task for s in everything(program) if isinstance(s, p.CancelNatively)} | (natively or set())
    whole = program[0]
    if isinstance(whole, p.LeftToTheEnd):
        printer = _Printer(watched, natively)
        background = printer._native(whole, whole.beside)  # pyright: ignore[reportPrivateUsage]
        inner = as_function(whole.body, watched, natively).replace("main()", "beside()", 1)
        inner = "\n".join(
            line for line in inner.split("\n") if not line.startswith(("    tasks = ", "    tasks, "))
        )
        names = "tasks, begun, cancels = {}, set(), {}\n"
        code = names + background + inner + f"await left_to_the_end(native{whole.id}, beside)\n"
        return _under("async def main():", code)
    mixed = any(map(p.is_foreign, everything(program)))
    names = "tasks, begun, cancels = {}, set(), {}" if mixed else "tasks = {}"
    body = indent(_Printer(watched, natively).block(program), "        ")
    return (
        "async def main():\n"
        f"    {names}\n"
        f"    with deadline({p.THE_END!r}, suppress=True):  # ends what waits for ever\n"
        f"{body}"
        "    await checkpoint()\n"
    )


class _Printer:
    def __init__(self, watched: Collection[str], natively: Collection[int]) -> None:
        self._watched = watched
        self._natively = natively

    def block(self, block: p.Block) -> str:
        return "".join(self._statement(statement) for statement in block) or "pass\n"

    def _statement(self, statement: p.Statement) -> str:
        printed: str | tuple[str, str] = getattr(self, type(statement).__name__)(statement)
        function, code = printed if isinstance(printed, tuple) else ("", printed)
        managers = []
        if statement.handles:
            managers.append(f"suppress({', '.join(error.__name__ for error in statement.handles)})")
        if str(statement.id) in self._watched:
            managers.append(f"note({statement.id})")
        return function + (_under(f"with {', '.join(managers)}:", code) if managers else code)

    def Sleep(self, sleep: p.Sleep) -> str:
        waiting = f"sleep({sleep.seconds!r})"
        return f"await shield({waiting})\n" if sleep.shielded else f"await {waiting}\n"

    def SleepForever(self, _: p.SleepForever) -> str:
        return "await sleep_forever()\n"

    def Checkpoint(self, _: p.Checkpoint) -> str:
        return "await checkpoint()\n"

    def CurrentDeadline(self, look: p.CurrentDeadline) -> str:
        return "print(current_deadline())\n" if str(look.id) in self._watched else "current_deadline()\n"

    def Raise(self, raising: p.Raise) -> str:
        return f"raise {raising.error.__name__}({raising.id})\n"

    def CancelGroup(self, cancel: p.CancelGroup) -> str:
        return f"group{cancel.group}.cancel()\n"

    def CancelTask(self, cancel: p.CancelTask) -> str:
        return _under(f"if {cancel.task} in tasks:", f"tasks[{cancel.task}].cancel()\n")

    def Wait(self, wait: p.Wait) -> str:
        return _under(f"if {wait.task} in tasks:", f"await tasks[{wait.task}]\n")

    def Reschedule(self, move: p.Reschedule) -> str:
        later = f" + {move.seconds!r}" if move.seconds else ""
        when = "None" if move.seconds is None else f"current_time(){later}"
        return f"deadline{move.deadline}.reschedule({when})\n"

    def CreateTask(self, task: p.CreateTask) -> tuple[str, str]:
        create = "create_background_task" if task.background else "create_task"
        function = self._function(f"task{task.id}()", task, f"return {task.id}\n")
        return function, f"tasks[{task.id}] = group{task.group}.{create}(task{task.id}())\n"

    def Start(self, start: p.Start) -> tuple[str, str]:
        function = self._function(f"task{start.id}(*, task_status)", start)
        return function, f"await group{start.group}.start(task{start.id})\n"

    def _function(self, signature: str, task: p.CreateTask | p.Start, end: str = "") -> str:
        body = f"begun.add({task.id})\n" * (task.id in self._natively) + self.block(task.body) + end
        if f"task {task.id}" in self._watched:
            body = _under(f'with note("task {task.id}"):', body)
        return _under(f"async def {signature}:", body)

    def Started(self, started: p.Started) -> str:
        return f"task_status.started({started.id})\n"

    def Group(self, group: p.Group) -> str:
        given = [] if group.limit is None else [f"limit={group.limit}"]
        given += ["defer_errors=True"] * group.defer_errors
        opened = f"async with task_group({', '.join(given)}) as group{group.id}:"
        return _under(opened, self.block(group.body))

    def Deadline(self, deadline: p.Deadline) -> str:
        suppress = ", suppress=True" * deadline.suppress
        opened = f"async with deadline({deadline.seconds!r}{suppress}) as deadline{deadline.id}:"
        return _under(opened, self.block(deadline.body))

    def Shield(self, shield: p.Shield) -> tuple[str, str]:
        function = _under(f"async def shielded{shield.id}():", self.block(shield.body))
        timeout = "" if shield.timeout is None else f", timeout={shield.timeout!r}"
        return function, f"await shield(shielded{shield.id}(){timeout})\n"

    def Finally(self, statement: p.Finally) -> str:
        return _under("try:", self.block(statement.body)) + _under("finally:", self.block(statement.cleanup))

    def ExceptStar(self, statement: p.ExceptStar) -> str:
        handler = _under(f"except* {statement.error.__name__}:", self.block(statement.handler))
        return _under("try:", self.block(statement.body)) + handler

    def NativeTimeout(self, timeout: p.NativeTimeout) -> str:
        return _under(f"async with native_timeout({timeout.seconds!r}):", self.block(timeout.body))

    def WaitFor(self, timeout: p.WaitFor) -> tuple[str, str]:
        function = self._native(timeout, timeout.body)
        return function, f"await native_wait_for({timeout.seconds!r}, native{timeout.id})\n"

    def NativeTask(self, task: p.NativeTask) -> tuple[str, str]:
        given = "shielded=True" if task.shielded else f"started=partial(setitem, cancels, {task.id})"
        given += ", fails=True" * task.fails
        code = f"await native_task(native{task.id}, {given})\n"
        if not task.shielded:
            code = _under("try:", code) + _under("finally:", f"del cancels[{task.id}]\n")
        return self._native(task, task.body), code

    def NativeGroup(self, group: p.NativeGroup) -> str:
        head = f"async with native_group() as create{group.id}:"
        return _under(head, self.block(group.body) if group.fails else self._contained(group.body))

    def AnyioGroup(self, group: p.AnyioGroup) -> str:
        head = f"async with anyio_group() as anyio{group.id}:"
        names = f"cancels[{group.id}] = anyio{group.id}.cancel_scope.cancel\n"
        names += f"create{group.id} = anyio{group.id}.start_soon\n"
        body = self.block(group.body) if group.fails else self._contained(group.body)
        return _under(head, names + body)

    def _contained(self, body: p.Block) -> str:
        return _under("with suppress(Exception):", self.block(body))

    def NativeChild(self, child: p.NativeChild) -> tuple[str, str]:
        fn = f"native{child.id}" if child.fails else f"partial(contained, native{child.id})"
        return self._native(child, child.body), f"create{child.group}({fn})\n"

    def AnyioTimeout(self, timeout: p.AnyioTimeout) -> str:
        name = "fail_after" if timeout.raises else "move_on_after"
        shield = ", shield=True" * timeout.shield
        head = f"with anyio.{name}({timeout.seconds!r}{shield}) as anyio{timeout.id}:"
        return _under(head, f"cancels[{timeout.id}] = anyio{timeout.id}.cancel\n" + self.block(timeout.body))

    def AnyioShield(self, shield: p.AnyioShield) -> str:
        return _under("with anyio.CancelScope(shield=True):", self.block(shield.body))

    def CancelNatively(self, cancel: p.CancelNatively) -> str:
        return _under(
            f"if {cancel.task} in begun and not tasks[{cancel.task}].done():",
            f"cancel_natively(tasks[{cancel.task}])\n",
        )

    def CancelNativeTask(self, cancel: p.CancelNativeTask) -> str:
        return _under(f"if {cancel.task} in cancels:", f"cancels[{cancel.task}]()\n")

    def CancelAnyio(self, cancel: p.CancelAnyio) -> str:
        return f"cancels[{cancel.scope}]()\n"

    def _native(self, statement: p.Statement, body: p.Block) -> str:
        code = self.block(body)
        if f"native {statement.id}" in self._watched:
            code = _under(f'with note("native {statement.id}"):', code)
        return _under(f"async def native{statement.id}():", code)


def _under(head: str, body: str) -> str:
    return f"{head}\n{indent(body, '    ')}"


def everything(block: p.Block) -> Iterator[p.Statement]:
    """All statements of a program."""
    for statement in block:
        yield statement
        for part in ("beside", "body", "cleanup", "handler"):
            yield from everything(getattr(statement, part, ()))
