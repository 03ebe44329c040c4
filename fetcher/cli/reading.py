"""Opening the store for a command that only reads."""

from collections.abc import Awaitable, Callable

from fetcher.cli.common import Common
from fetcher.cli.settings import told_settings_of
from fetcher.clock import SystemClock
from fetcher.store import open_store
from fetcher.store.protocol import ReadStore

__all__ = ["reading"]


async def reading(common: Common, command: Callable[[ReadStore], Awaitable[int]]) -> int:
    """Runs a command on the configured store, which must exist."""
    settings = told_settings_of(common)
    async with await open_store(settings.store.url, clock=SystemClock(), create=False) as store:
        return await command(store)
