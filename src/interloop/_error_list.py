"""The errors of one task group, until they are raised."""

from __future__ import annotations

# A group that defers errors and serves for days keeps no more of them (G16).
MAX_DEFERRED = 100


class ErrorList(list[BaseException]):
    """Errors in the order in which they came; bounded, if they are deferred."""

    __slots__ = ("_defer", "_only_logged")

    def __init__(self, defer: bool) -> None:
        super().__init__()
        self._defer = defer
        self._only_logged = 0

    def defer(self, error: BaseException) -> bool:
        """Keep the error of a child until the group ends, if that is what the group does with it (G16)."""
        if not self._defer or not isinstance(error, Exception):
            return False
        if len(self) < MAX_DEFERRED:
            self.append(error)
        else:
            import logging  # only a group that is full pays for this import

            self._only_logged += 1
            logging.getLogger("interloop").error(
                "A task group has deferred %d errors and keeps no more; this one is only logged",
                MAX_DEFERRED,
                exc_info=error,
            )
        return True

    def group(self) -> BaseExceptionGroup[BaseException]:
        group = BaseExceptionGroup("unhandled errors in a TaskGroup", list(self))
        if self._only_logged:
            group.add_note(
                f"{self._only_logged} more errors of this group were logged, and are not kept here"
            )
        return group
