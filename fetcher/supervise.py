"""Tasks that must not die: what they raise is logged, and they are started again."""

from collections.abc import Awaitable, Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from fetcher.models import Clock

__all__ = ["supervise"]

_FIRST: Final = 1.0
_LONGEST: Final = 60.0
# A task that lived this long, in seconds, has not failed at once: its next failure is a first one.
_HEALTHY: Final = 60.0


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    uniform: Callable[[float, float], float],
    log: FilteringBoundLogger,
    on_restart: Callable[[str], None] = lambda name: None,
) -> None:
    """Runs `work` until it returns; after an exception it is run again, later each time."""
    failures = 0
    while True:
        began = clock.monotonic()
        try:
            await work()
        except Exception:
            failures = 1 if clock.monotonic() - began >= _HEALTHY else failures + 1
            wait = uniform(0.5, 1.0) * min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, 16))
            log.exception("a task failed", task=name, failures=failures, again_in=round(wait, 1))
            on_restart(name)
            await clock.sleep(wait)
        else:
            return
