"""The clock of the machine; tests bring one of their own."""

import asyncio
import time
from typing import Final

__all__ = ["SystemClock"]

# https://man7.org/linux/man-pages/man2/clock_gettime.2.html: CLOCK_MONOTONIC stands still while a
# laptop sleeps, and a limit would seem to last for longer than it does.
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Implements `fetcher.models.Clock`."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only ever grow, those of a machine asleep included where it tells them."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Lets the event loop run for that long."""
        await asyncio.sleep(seconds)
