"""The clock of the machine; tests bring one of their own."""

import asyncio
import time

__all__ = ["SystemClock"]


class SystemClock:
    """Implements `fetcher.models.Clock`."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Lets the event loop run for that long."""
        await asyncio.sleep(seconds)
