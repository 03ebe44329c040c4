"""How often a target changes, and how often it is worth asking: ``every = "auto"``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

__all__ = ["Rhythm"]

# The prior of the rate: Gamma with this shape (changes) and exposure (seconds). One half is
# Jeffreys' shape for a Poisson rate, which says least; half a day of exposure makes it proper
# and lets a target that nobody knows begin as one that changes daily, so that a thousand new
# ones are no flood. It fades like all that was seen: a fixed one would slow the busy for ever.
# https://en.wikipedia.org/wiki/Jeffreys_prior
_PRIOR_CHANGES = 0.5
_PRIOR_SECONDS = 43_200.0
# Each change, seen or expected, takes this part of what is known: about ten changes are kept.
_FORGET = 1 / 20
# No history is longer, in changes or in seconds (thirty thousand years), or so much shorter.
_LEAST, _MOST = 1e-9, 1e12


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What is known of one target: so many `changes` in so many `seconds`, old ones fading.

    Both hold the share of the prior that has not faded yet; zero is no knowledge.

    The rate of change is the posterior mean of a Gamma-Poisson model. The expected delays sum
    up to rate * interval / 2 over all targets; for a given number of polls, the sum of
    1 / interval, that is least where each interval is proportional to 1 / sqrt(rate). The sum
    is linear in the rate, so the posterior mean is what stands in the place of an unknown one.

    - Sia, Cho, Cho: Efficient monitoring algorithm for fast news alerts, TKDE 2007, who minimise
      the same delay, https://docslib.org/doc/924565/efficient-monitoring-algorithm-for-fast-news-alerts
    - Cho, Garcia-Molina: Estimating frequency of change, ACM TOIT 2003, on what is not seen
      between two polls, https://doi.org/10.1145/857166.857170
    """

    changes: float = 0.0
    seconds: float = 0.0

    def seen(self, seconds: float, *, changed: bool) -> "Rhythm":
        """With one more span: from a good poll to the next, which found a change or did not.

        A target's first poll ends no span. A span that cannot be (a clock that was set back)
        counts as no time.
        """
        if not 0.0 <= seconds <= _MOST:
            seconds = 0.0
        expected = seconds * self.rate
        # Several changes between two polls look like one. Counting one would hardly matter from
        # poll to poll (3 % of the interval at hourly changes and a minute), but after a pause of
        # days a busy target would look like a quiet one. So a change counts as the number to
        # be expected where there is one at least: x / (1 - exp(-x)), which is 1 for a small x.
        count = (expected / -math.expm1(-expected) if expected else 1.0) if changed else 0.0
        # Forgetting goes by the target's own time, not by the calendar: by changes seen, so that
        # a faster pace is learned, and by changes that stayed away, so that a slower one is. One
        # span, however long, does not wipe out everything.
        keep = math.exp(-_FORGET * changed - min(_FORGET * expected, 1.0))
        before = self._known
        return Rhythm(before.changes * keep + count, before.seconds * keep + seconds)

    def interval(self, min_interval: float, max_interval: float) -> float:
        """Seconds from one poll to the next, from `min_interval` to `max_interval`.

        The geometric mean of `min_interval` and the mean time between two changes, rounded to
        `min_interval` times a power of two: so it rarely moves, and targets of different paces
        fall due together (see `fetcher.policy.schedule.spread`). The rounding costs 2 % of the
        delay on average, 6 % at most.
        """
        best = math.sqrt(min_interval / self.rate)
        doublings = round(math.log2(max(best / min_interval, 1.0)))
        return max(min_interval, min(min_interval * 2.0**doublings, max_interval))

    @property
    def rate(self) -> float:
        """Changes a second: the posterior mean."""
        known = self._known
        return known.changes / known.seconds

    def document(self) -> dict[str, float]:
        """As it is stored; `of` reads it."""
        return {"changes": self.changes, "seconds": self.seconds}

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> "Rhythm":
        """From what was stored; what makes no sense is no knowledge, and learned anew."""
        if document is None:
            return cls()
        changes, seconds = document.get("changes"), document.get("seconds")
        if not _sensible(changes) or not _sensible(seconds):
            return cls()
        return cls(float(changes), float(seconds))

    @property
    def _known(self) -> "Rhythm":
        """The prior, where nothing is known."""
        known = self.changes > 0.0 and self.seconds > 0.0
        return self if known else Rhythm(_PRIOR_CHANGES, _PRIOR_SECONDS)


def _sensible(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return _LEAST <= value <= _MOST
