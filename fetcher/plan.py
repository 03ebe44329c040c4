"""What a watch list costs on its accounts, and how often they can poll it: reckoned, not tried."""

import math
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from fetcher.accounts import Homes, homes_of
from fetcher.config import Settings
from fetcher.gate import DATASETS, GRAPHQL, REST
from fetcher.models import AccountState, Every, TargetState, Watch
from fetcher.policy.budget import RESERVE
from fetcher.policy.capacity import (
    ANONYMOUS_ACCOUNT,
    ANONYMOUS_HOURLY,
    Demand,
    Tariff,
    lateness,
)
from fetcher.policy.rhythm import Rhythm
from fetcher.sources.datasets import Genomes
from fetcher.sources.eutils import SEARCH_REACH, SUMMARY_IDS
from fetcher.sources.github import PER_PAGE
from fetcher.sources.github_batches import CHECKED
from fetcher.sources.ncbi_accessions import IDS_AT_ONCE
from fetcher.sources.summaries import Summaries
from fetcher.sources.taxonomy import Taxonomy
from fetcher.sources.wire_graphql import RELEASES
from fetcher.store.protocol import ReadStore
from fetcher.targets import Target, Upstream
from fetcher.timetable import Timetable

__all__ = ["EUTILS", "Line", "Wanted", "reckon"]

EUTILS: Final = "eutils"
# Points an hour for a token, where GitHub has not told yet how many it gives.
# https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
_POINTS: Final = 5_000
# A page of thirty releases with their assets is reckoned by GitHub at a third of a point.
_RELEASES_POINT: Final = 1 / 3
# A listing is due after seven eighths of the period on average: see `Timetable.overdue`.
_LISTED_AFTER: Final = 7 / 8
_HOUR: Final = 3600.0

# A page of releases comes with the answer that says that something has changed.
_ONE_BY_ONE: Final = Tariff(1, 1.0, page=1.0)
_REPOSITORIES: Final = Tariff(
    CHECKED, 1 / CHECKED + _RELEASES_POINT, page=_RELEASES_POINT, whole=True
)
# Unknown accessions are fetched at once; a summary tells that one has changed.
_ACCESSIONS: Final = Tariff(
    SUMMARY_IDS, 1 / SUMMARY_IDS + 1 / IDS_AT_ONCE, page=1 / IDS_AT_ONCE, whole=True
)
# How many records a query finds nobody knows before.
_QUERIES: Final = Tariff(1, 2.0, page=1.0)

Wanted = Mapping[Target, Every]


@dataclass(frozen=True, slots=True)
class Line:
    """One quota of one account: what its targets want of it, and what it gives.

    `hourly` and `limit` are units an hour: points of GraphQL, requests elsewhere; `usable` of
    the limit is left for the schedule. `every` is the shortest and the longest interval that is
    wanted, in seconds; polls come `late` by so many seconds at the best (infinite: the listings
    alone are too much). `unpolled` targets were never polled; that takes `first` units, over
    `first_seconds`.
    """

    account: str
    upstream: Upstream
    quota: str
    targets: int
    every: tuple[float, float]
    hourly: float
    limit: float
    late: float
    unpolled: int
    first: float
    first_seconds: float

    @property
    def usable(self) -> float:
        """Units an hour that the schedule may take."""
        return self.limit * (1.0 - RESERVE)

    @property
    def unit(self) -> str:
        """What is counted."""
        return "points" if self.quota == GRAPHQL else "requests"

    @property
    def accounts(self) -> int:
        """How many accounts like this one would give what is wanted."""
        return max(1, math.ceil(self.hourly / self.usable))


@dataclass(slots=True)
class _Tally:
    """The targets of one quota."""

    upstream: Upstream
    limit: float
    window: float
    demands: dict[tuple[str, ...], Demand] = field(default_factory=dict)
    targets: int = 0
    unpolled: int = 0
    first: float = 0.0
    shortest: float = math.inf
    longest: float = 0.0

    def line(self, account: str, quota: str) -> Line:
        usable = self.limit * (1.0 - RESERVE)
        # What one window gives comes at once, all beyond it a window later each time.
        windows = math.ceil(self.first / (usable * self.window / _HOUR)) - 1
        return Line(
            account,
            self.upstream,
            quota,
            self.targets,
            (self.shortest, self.longest),
            sum(demand.hourly() for demand in self.demands.values()),
            self.limit,
            lateness(self.demands.values(), usable),
            self.unpolled,
            self.first,
            max(0, windows) * self.window,
        )


class _Reckoning:
    """Targets come one by one, and none is kept."""

    def __init__(self, settings: Settings, accounts: Mapping[str, AccountState]) -> None:
        self._settings = settings
        self._accounts = accounts
        # Chance plays a part in due times after failures alone.
        self._timetable = Timetable(settings, lambda low, high: low)
        self._rates = {f"ncbi:{each.identity}": each.rate for each in settings.ncbi.all_accounts}
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def add(self, state: TargetState, account: str) -> None:
        """One more watched target."""
        target = Target.of(state.key)
        rhythm = Rhythm.of(state.rhythm)
        every = max(self._timetable.every(state, rhythm), self._settings.service.min_interval)
        quota, sort, tariff = _sort(target, account)
        tally = self._tallies.get((account, quota))
        if tally is None:
            limit, window = self._limit(account, quota)
            tally = self._tallies[account, quota] = _Tally(target.upstream, limit, window)
        demand = tally.demands.setdefault(sort, Demand(tariff))
        records = state.records
        if target.upstream == "github" and quota == GRAPHQL:
            listings = 1 / (self._settings.github.reconcile * _LISTED_AFTER)
            pages = max(1, math.ceil(records / RELEASES))
            demand.add(state.id, every, changes=rhythm.rate, listings=listings, pages=pages)
        elif target.upstream == "github":
            listings = 1 / (self._settings.github.reconcile * _LISTED_AFTER)
            demand.add(state.id, every, listings=listings, pages=max(0, (records - 1) // PER_PAGE))
        elif target.is_query:
            listings = 1 / (self._settings.ncbi.reconcile * _LISTED_AFTER)
            pages = 2 + records // SEARCH_REACH
            demand.add(state.id, every, changes=rhythm.rate, listings=listings, pages=pages)
        else:
            demand.add(state.id, every, changes=rhythm.rate)
        tally.targets += 1
        tally.shortest = min(tally.shortest, every)
        tally.longest = max(tally.longest, every)
        if state.last_attempt is None:
            tally.unpolled += 1
            tally.first += tariff.first

    def lines(self) -> Iterator[Line]:
        """One for each quota that anything is wanted of."""
        for (account, quota), tally in sorted(self._tallies.items()):
            yield tally.line(account, quota)

    def _limit(self, account: str, quota: str) -> tuple[float, float]:
        """Units an hour, and the seconds of the window in which they are counted."""
        if account in self._rates:
            return self._rates[account] * _HOUR, 1.0
        known = self._accounts.get(account)
        budget = known.budget if known is not None else {}
        part = budget if quota == GRAPHQL or REST not in budget else budget[REST]
        usual = _POINTS if quota == GRAPHQL else ANONYMOUS_HOURLY
        return float(part.get("limit") or usual), _HOUR


async def reckon(
    settings: Settings,
    store: ReadStore | None,
    targets: Wanted | None = None,
    *,
    every: Every | None = None,
) -> list[Line]:
    """What watched targets cost, a line for each quota of each account.

    `targets` with their intervals, or, where there is None, what is watched: by the settings file
    and by hand; without a settings file by whatever the store says. `every` takes the place of
    all intervals. What the store knows of a target (its pace, how many records it has, who polls
    it) is used; what was never polled is reckoned to change once a day.
    """
    homes = homes_of(settings)
    accounts = {each.account: each for each in await store.accounts()} if store else {}
    reckoning = _Reckoning(settings, accounts)
    listed = {target: watch.every for watch in settings.watches for target in watch.targets}
    wanted = {
        target.fold: (target, value)
        for target, value in (listed if targets is None else targets).items()
    }

    def add(state: TargetState, account: str, watched: Every) -> None:
        watch = Watch(account, file=every if every is not None else watched)
        reckoning.add(replace(state, watch=watch), account)

    if store is not None:
        async with aclosing(store.targets()) as states:
            async for state in states:
                named = [wanted.pop(name)[1] for name in state.names if name in wanted]
                watch = state.watch or Watch("")
                found: Every | None = named[0] if named else None
                if targets is None:
                    by_file = watch.file if settings.source is None else None
                    found = watch.hand or found or by_file
                if found is not None:
                    add(state, _home(homes, Target.of(state.key), watch.account), found)
    for target, value in wanted.values():
        account = homes.of(target)
        add(TargetState(target.fold, target.key, (target.fold,), account), account, value)
    return list(reckoning.lines())


def _home(homes: Homes, target: Target, account: str) -> str:
    """Who polls a target: it may have moved, but not to an account that is not configured."""
    return account if account in homes else homes.of(target)


def _sort(target: Target, account: str) -> tuple[str, tuple[str, ...], Tariff]:
    """The quota that a target takes of, what shares requests with it, and what they cost."""
    if target.upstream == "github":
        if account == ANONYMOUS_ACCOUNT:
            return REST, (), _ONE_BY_ONE
        return GRAPHQL, (), _REPOSITORIES
    database, name = target.database, target.name
    if target.is_query:
        return EUTILS, ("queries",), _QUERIES
    if database == "genome":
        return DATASETS, (database,), _named(Genomes.at_once)
    if database in ("nuccore", "protein"):
        # What may answer for what: see `fetcher.sources.ncbi_accessions.groups_of`.
        return EUTILS, (database, str("." in name), str(name.isdecimal())), _ACCESSIONS
    return (
        EUTILS,
        (database,),
        _named(Taxonomy.at_once if database == "taxonomy" else Summaries.at_once),
    )


def _named(at_once: int) -> Tariff:
    return Tariff(at_once, 1 / at_once)
