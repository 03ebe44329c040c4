"""Writes that a cancelled caller cannot tear.

motor and aiosqlite run a call in a thread and do not stop it when its awaiter is cancelled, so a
cancelled write has an unknown outcome. `asyncio.shield` alone does not help: the loop holds its
tasks weakly, loop exit cancels the inner task, and its exception is lost
(https://docs.python.org/3/library/asyncio-task.html#asyncio.shield). Here every write is a
tracked task; the caller's cancellation is delivered after the write is known to have ended.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from fetcher.errors import LeaseLost

__all__ = ["Shield", "tell_of"]

T = TypeVar("T")


def tell_of(log: FilteringBoundLogger) -> Callable[[BaseException], None]:
    """Logs what nobody is left to be told; a lost lease is the expected end of a pause."""

    def tell(error: BaseException) -> None:
        if not isinstance(error, LeaseLost):
            log.error("a write failed", error=str(error))

    return tell


class Shield:
    """Runs writes to their end, and knows which are under way.

    `on_lost` is told of the exception of a write whose caller was cancelled meanwhile.
    """

    def __init__(self, on_lost: Callable[[BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_lost = on_lost

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, write: Coroutine[Any, Any, T]) -> T:
        """Awaits a write; however often the caller is cancelled, the write ends first."""
        task = asyncio.create_task(write)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
        if cancelled is None:
            return task.result()
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._on_lost(failure)
        raise cancelled from failure

    async def drain(self, deadline: float) -> bool:
        """Waits at most `deadline` seconds for what is under way; whether all has ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline)
        return not self._tasks
