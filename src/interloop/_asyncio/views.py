"""The way out: an open scope as asyncio's own type, for a call that wants that."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Self, TypeVar

from .. import abc
from .._checks import check_child
from .._children import Children
from .._errors import already_entered

T = TypeVar("T")


class NativeTaskGroup(asyncio.TaskGroup):
    def __init__(self, group: Children) -> None:
        super().__init__()
        self._group = group

    def __repr__(self) -> str:
        return repr(self._group)

    def create_task(  # type: ignore[override, unused-ignore]  # typeshed admits generators, which asyncio refuses
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        check_child(coro, context, None, "create_task()")
        task = self._group._new_task(coro, name, "create_task()")
        self._group._start(task, coro, name, context)  # as a nursery, it knows no limit
        native: asyncio.Task[T] = task.native
        return native

    def cancel(self) -> None:  # asyncio's from 3.15 on
        self._group.cancel()

    async def __aenter__(self) -> Self:
        raise already_entered(self)


class NativeTimeout(asyncio.Timeout):  # type: ignore[misc]  # final for type checkers only
    def __init__(self, deadline: abc.Deadline) -> None:
        super().__init__(None)
        self._deadline = deadline

    def __repr__(self) -> str:
        return repr(self._deadline)

    def when(self) -> float | None:
        return self._deadline.when()

    def expired(self) -> bool:
        return self._deadline.expired()

    def reschedule(self, when: float | None) -> None:
        self._deadline.reschedule(when)

    async def __aenter__(self) -> Self:
        raise already_entered(self)
