"""Answers that are asked for again and again, kept ready for a moment.

What this process commits is seen at once: each commit forgets all of them. What another replica
commits is seen a moment later, `hold` at most.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeAlias

from fetcher.web.answers import Prepared
from fetcher.web.long import Long

__all__ = ["Kept", "Ready"]

Ready: TypeAlias = Prepared | Long

_HOLD: Final = 0.1
_ENTRIES: Final = 1_024
_BYTES: Final = 32 << 20
_LARGEST: Final = 1 << 20


class Kept:
    """Prepared answers by key; `now` is a steady clock, in seconds."""

    def __init__(self, now: Callable[[], float], hold: float = _HOLD) -> None:
        self._now = now
        self._hold = hold
        self._entries: OrderedDict[Hashable, tuple[float, Ready]] = OrderedDict()
        self._bytes = 0
        self._made: dict[Hashable, asyncio.Future[Ready]] = {}
        self._generation = 0

    def forget(self) -> None:
        """Something was committed: nothing that is kept holds any more."""
        self._generation += 1
        self._entries.clear()
        self._made.clear()  # what is being made may have been read before
        self._bytes = 0

    def find(self, key: Hashable) -> Ready | None:
        """What is kept."""
        found = self._entries.get(key)
        if found is not None and self._now() - found[0] <= self._hold:
            return found[1]
        return None

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Ready]]) -> Ready:
        """What is kept, or else what `make` gives: made once, however many ask at a time.

        Raises what `make` raises, to all who wait for it.
        """
        if (found := self.find(key)) is not None:
            return found
        if (waiting := self._made.get(key)) is not None:
            return await asyncio.shield(waiting)
        task = asyncio.ensure_future(self._make(key, make))
        # Nobody may be left to be told of an error.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._made[key] = task
        # Whoever asked first may go away; the others still want it.
        return await asyncio.shield(task)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Ready]]) -> Ready:
        generation, begun = self._generation, self._now()
        task = asyncio.current_task()
        try:
            made = await make()
        finally:
            if self._made.get(key) is task:
                del self._made[key]
        if generation == self._generation and self._hold > 0 and made.size <= _LARGEST:
            self._put(key, begun, made)
        return made

    def _put(self, key: Hashable, begun: float, made: Ready) -> None:
        if (old := self._entries.pop(key, None)) is not None:
            self._bytes -= old[1].size
        self._entries[key] = (begun, made)
        self._bytes += made.size
        while len(self._entries) > _ENTRIES or self._bytes > _BYTES:
            _, (_, gone) = self._entries.popitem(last=False)
            self._bytes -= gone.size
