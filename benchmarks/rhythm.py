"""What ``every = "auto"`` gains: delay from a change to its detection, at an equal number of polls.

Usage: ``python benchmarks/rhythm.py [--targets N] [--days N] [--seed N]``

Histories are simulated and polled (a) as the policy says, learning from nothing, and (b) all at
one fixed interval, chosen so that as many polls are made. Ratios below 1 mean that auto is faster.
"""

import argparse
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fetcher.policy.rhythm import Rhythm
from fetcher.policy.schedule import spread

__all__ = ["HISTORIES", "MIXED", "Comparison", "compare"]

HOUR = 3600.0
DAY = 24 * HOUR
YEAR = 365 * DAY
MIN_INTERVAL = 60.0
MAX_INTERVAL = 7 * DAY
START = datetime(2026, 1, 1, tzinfo=UTC)

History = Callable[[random.Random, float], list[float]]
"""(random source, length in seconds) to the times of changes, ascending, in seconds."""


def poisson(chance: random.Random, mean: float, begin: float, end: float) -> list[float]:
    """Changes at random, `mean` seconds apart."""
    times = []
    at = begin + chance.expovariate(1 / mean)
    while at < end:
        times.append(at)
        at += chance.expovariate(1 / mean)
    return times


def spread_paces(chance: random.Random, length: float) -> list[float]:
    """Random changes, from hourly to yearly: the paces are log-normal, their middle is 4 days."""
    middle, width = math.log(math.sqrt(HOUR * YEAR)), math.log(YEAR / HOUR) / 4
    mean = min(max(math.exp(chance.gauss(middle, width)), HOUR), YEAR)
    return poisson(chance, mean, 0.0, length)


def bursts(chance: random.Random, length: float) -> list[float]:
    """A few changes within hours, then a quarter of silence."""
    times = []
    at = chance.uniform(0.0, 90 * DAY)
    while at < length:
        times.append(at)
        rest = chance.random() < 0.25
        at += chance.expovariate(1 / (90 * DAY if rest else 3 * HOUR))
    return times


def monthly(chance: random.Random, length: float) -> list[float]:
    """One change a month, give or take three days."""
    first = chance.uniform(0.0, 30 * DAY)
    count = max(0, math.ceil((length - first) / (30 * DAY)))
    times = (first + n * 30 * DAY + chance.uniform(-3, 3) * DAY for n in range(count))
    return sorted(time for time in times if 0.0 <= time < length)


def other_pace(chance: random.Random, length: float) -> list[float]:
    """Random changes, two days apart in one half of the time and two months in the other."""
    paces = [2 * DAY, 60 * DAY]
    chance.shuffle(paces)
    half = length / 2
    return poisson(chance, paces[0], 0.0, half) + poisson(chance, paces[1], half, length)


HISTORIES: Mapping[str, History] = {
    "random, hourly to yearly": spread_paces,
    "bursts, then silence": bursts,
    "regular, monthly": monthly,
    "pace changes in between": other_pace,
}
MIXED = "all of them, mixed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Delays in seconds, by auto and by the fixed interval that needs as many polls."""

    polls: int
    changes: int
    every: float
    auto_mean: float
    fixed_mean: float
    auto_p90: float
    fixed_p90: float

    @property
    def mean(self) -> float:
        """Auto's mean delay as a part of the fixed interval's."""
        return self.auto_mean / self.fixed_mean

    @property
    def p90(self) -> float:
        """The same of the delay that nine in ten changes stay below."""
        return self.auto_p90 / self.fixed_p90


def compare(name: str, *, targets: int, length: float, seed: int) -> Comparison:
    """Both ways over the same histories; a name of `HISTORIES`, or `MIXED`."""
    chance = random.Random(seed)
    kinds = [HISTORIES[name]] if name in HISTORIES else list(HISTORIES.values())
    histories = [kinds[n % len(kinds)](chance, length) for n in range(targets)]
    polls = 0
    auto: list[float] = []
    for number, changes in enumerate(histories):
        made, delays = _auto(f"target {number}", changes, length)
        polls += made
        auto += delays
    every = targets * length / polls
    fixed = [
        delay for changes in histories for delay in _fixed(chance.uniform(0, every), changes, every)
    ]
    return Comparison(
        polls,
        len(auto),
        every,
        sum(auto) / len(auto),
        sum(fixed) / len(fixed),
        _ninetieth(auto),
        _ninetieth(fixed),
    )


def _auto(key: str, changes: Sequence[float], length: float) -> tuple[int, list[float]]:
    """Polls and delays; the first poll is at 0, and the last change is waited for."""
    rhythm = Rhythm()
    polls, seen, last = 1, 0, 0.0
    delays: list[float] = []
    while last < length or seen < len(changes):
        every = rhythm.interval(MIN_INTERVAL, MAX_INTERVAL)
        now = (spread(key, START + timedelta(seconds=last), every) - START).total_seconds()
        polls += 1
        before = seen
        while seen < len(changes) and changes[seen] <= now:
            delays.append(now - changes[seen])
            seen += 1
        rhythm = rhythm.seen(now - last, changed=seen > before)
        last = now
    return polls, delays


def _fixed(phase: float, changes: Sequence[float], every: float) -> list[float]:
    return [(phase - change) % every for change in changes]


def _ninetieth(delays: Sequence[float]) -> float:
    return sorted(delays)[int(0.9 * len(delays))]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=40)
    parser.add_argument("--days", type=float, default=730.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| History | Changes | Polls | Fixed | Auto | Mean | p90 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in (*HISTORIES, MIXED):
        found = compare(name, targets=given.targets, length=given.days * DAY, seed=given.seed)
        print(
            f"| {name} | {found.changes:,} | {found.polls:,}"
            f" | {found.fixed_mean / 60:.0f} min | {found.auto_mean / 60:.0f} min"
            f" | {found.mean:.2f} | {found.p90:.2f} |"
        )


if __name__ == "__main__":
    main()
