"""Whether the upstream of one account can be reached, as seen from how polls end."""

from fetcher.policy.retry import Uniform

__all__ = ["Breaker"]

# 2.0 to this power is beyond every sensible cap, and no overflow.
_MOST_DOUBLINGS = 32


class Breaker:
    """Closed (all poll), open (nobody does) or half-open (one does, as a probe).

    It opens after `after` failures in a row with no answer between them. Then nobody polls for
    `first` seconds, less a jitter of up to a half; then one target may. Each probe that fails
    doubles the wait, up to `cap` seconds; any answer closes it. Times are monotonic seconds.
    https://learn.microsoft.com/en-us/azure/architecture/patterns/circuit-breaker
    """

    def __init__(
        self, uniform: Uniform, *, after: int = 3, first: float = 5.0, cap: float = 300.0
    ) -> None:
        self._uniform = uniform
        self._after = after
        self._first = first
        self._cap = cap
        self._failures = 0
        self._failed_since: float | None = None
        self._waits = 0
        self._retry_at = float("-inf")

    @property
    def probing(self) -> bool:
        """True while open or half-open: only one target at a time may be polled, as a probe."""
        return self._waits > 0

    @property
    def down_since(self) -> float | None:
        """The time of the first failure of those that opened it; None while it is closed."""
        return self._failed_since if self.probing else None

    def delay(self, now: float) -> float:
        """Seconds until polling may go on, with a probe if `probing`; 0.0 means now."""
        return max(0.0, self._retry_at - now)

    def failed(self, now: float) -> None:
        """A poll ended without an answer of the upstream's."""
        if self._failed_since is None:
            self._failed_since = now
        self._failures += 1
        # Polls that were under way when it opened say nothing new: only a probe, which nobody
        # sends before the wait is over, makes it longer.
        if self._failures < self._after or now < self._retry_at:
            return
        ceiling = min(self._cap, self._first * 2.0 ** min(self._waits, _MOST_DOUBLINGS))
        self._waits += 1
        self._retry_at = now + self._uniform(ceiling / 2, ceiling)

    def answered(self, now: float) -> None:
        """A poll ended with an answer, be it an error of the upstream's: it can be reached."""
        self._failures = 0
        self._failed_since = None
        self._waits = 0
        self._retry_at = float("-inf")
