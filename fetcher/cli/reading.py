"""Opening the store for a command that only reads."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from fetcher.cli.common import Common
from fetcher.clock import SystemClock
from fetcher.config import load_settings
from fetcher.store import open_store
from fetcher.store.protocol import ReadStore

__all__ = ["reading"]


async def reading(common: Common, command: Callable[[ReadStore], Awaitable[int]]) -> int:
    """Runs a command on the configured store, which must exist."""
    overrides = {"store.url": common.store} if common.store else {}
    settings = load_settings(common.config, os.environ, Path.cwd(), overrides)
    async with await open_store(settings.store.url, clock=SystemClock(), create=False) as store:
        return await command(store)
