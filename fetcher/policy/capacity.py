"""What a watch list costs, and what an account can give it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fetcher.policy.schedule import phase

__all__ = ["ANONYMOUS_ACCOUNT", "ANONYMOUS_HOURLY", "Demand", "Tariff", "lateness", "without_token"]

ANONYMOUS_ACCOUNT: Final = "github:anonymous"
ANONYMOUS_HOURLY: Final = 60
"""Requests an hour for an address without a token; a conditional one that finds nothing counts.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""
_HOUR: Final = 3600.0
# Whoever is later than this is never polled.
_NEVER: Final = 10.0 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Tariff:
    """What polls of one sort of targets cost, in what the upstream counts: requests or points.

    `together` targets that are due in one moment share a unit. `page` is what one page of one
    target's records costs beyond; pages of one moment share requests as well, and where `whole`
    any of them costs a unit at the least. `first` is what the first poll of a target costs at the
    least.
    """

    together: int
    first: float
    page: float = 0.0
    whole: bool = False


@dataclass(slots=True)
class _Moment:
    """Targets that fall due together, and how often a second they want pages, and how many."""

    number: int = 0
    events: float = 0.0
    pages: float = 0.0


class Demand:
    """What targets of one sort cost, told one by one; as large as the intervals are many."""

    def __init__(self, tariff: Tariff) -> None:
        self._tariff = tariff
        self._moments: dict[tuple[float, int], _Moment] = {}

    def add(
        self, key: str, every: float, *, changes: float = 0.0, listings: float = 0.0, pages: int = 1
    ) -> None:
        """One more target, polled `every` so many seconds.

        It changes so often a second, which takes a page each time, and is so often listed anew,
        which takes `pages`.
        """
        moment = self._moments.setdefault((every, phase(key, every)[0]), _Moment())
        moment.number += 1
        moment.events += changes + listings
        moment.pages += changes + listings * pages

    def hourly(self, late: float = 0.0) -> float:
        """Units an hour, where every poll comes so many seconds late.

        Where nobody is late, targets fall due by their phases. What is late waits together, in
        batches that are full.
        """
        tariff, total = self._tariff, 0.0
        for (wanted, _), moment in self._moments.items():
            every = wanted + late
            requests: float = math.ceil(moment.number / tariff.together)
            pages = moment.pages * every * tariff.page
            if late:
                requests = moment.number / tariff.together
            elif tariff.whole:
                # The chance that anything of this moment wants a page.
                pages = max(pages, -math.expm1(-moment.events * every))
            total += (requests + pages) / every
        return total * _HOUR


def lateness(demands: Iterable[Demand], limit: float) -> float:
    """Seconds by which polls come late at least, if `limit` units an hour are all there is.

    Whoever has waited longest goes first, so all are late by the same time. Infinite where
    even that is not enough.
    """
    demands = tuple(demands)

    def fits(late: float) -> bool:
        return sum(demand.hourly(late) for demand in demands) <= limit

    if fits(0.0) or fits(1e-3):  # fuller batches may be all that is wanted
        return 0.0
    if not fits(_NEVER):
        return math.inf
    low, high = 0.0, _NEVER
    while high - low > max(1.0, low / 1_000):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def without_token(repositories: int) -> str:
    """What to say of a watch list that is polled without a token."""
    minutes = repositories * 60.0 / ANONYMOUS_HOURLY
    every = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    number = f"{repositories:,} repositories" if repositories != 1 else "1 repository"
    return (
        f"without a token GitHub gives {ANONYMOUS_HOURLY} requests an hour: {number} watched, "
        f"each every {every} at best; with one (github.token) a hundred take a single request"
    )
