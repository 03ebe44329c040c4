"""The two ways in which the upstreams count: a window that resets, and one that slides."""

from collections import deque
from dataclasses import dataclass, field

__all__ = ["ResettingWindow", "SlidingWindow"]


@dataclass(slots=True)
class ResettingWindow:
    """GitHub's primary limit: an hour that begins with the first request in it.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """

    limit: int
    seconds: float = 3600.0
    used: int = 0
    reset_epoch: float = 0.0

    def look(self, now: float) -> int:
        """How many are left."""
        if now >= self.reset_epoch:
            self.used, self.reset_epoch = 0, float(int(now + self.seconds))
        return max(0, self.limit - self.used)

    def spend(self, now: float, cost: int = 1) -> None:
        """Takes some; what is taken beyond the limit does not show."""
        self.look(now)
        self.used = min(self.limit, self.used + cost)


@dataclass(slots=True)
class SlidingWindow:
    """At most `limit` in any span of `seconds`."""

    limit: int
    seconds: float
    spent: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def count(self, now: float) -> int:
        """What was spent in the span that ends now."""
        while self.spent and self.spent[0][0] <= now - self.seconds:
            self.total -= self.spent.popleft()[1]
        return self.total

    def spend(self, now: float, cost: int = 1) -> int:
        """Takes some, and tells the count with it."""
        self.spent.append((now, cost))
        self.total += cost
        return self.count(now)
