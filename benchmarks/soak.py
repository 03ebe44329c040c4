"""A month of a leader under faults, in simulated time: nothing lost, nothing late, memory flat.

Usage: ``python benchmarks/soak.py [--days N] [--targets N] [--seed N]``

The source raises now and then, cannot be reached for hours, and limits; the store fails for
minutes; the lease is taken by somebody else and comes back.
"""

import argparse
import asyncio
import bisect
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from benchmarks.leading import ACCOUNT, Looker, leader_of, resident, states, watch
from fetcher.config import Settings
from fetcher.config.sections import ServiceSection
from fetcher.errors import StoreUnavailable
from fetcher.models import Chunk, Due, Failure, Known, Outcome, OutcomeKind
from fetcher.refresh import Polled
from fetcher.scheduler import Pace
from fetcher.store import WriteStore, open_store
from tests.clock import StillClock, Working

__all__ = ["EVERY", "Report", "soak"]

DAY: Final = 86_400.0
EVERY: Final = 7_200.0
TICK: Final = 60.0

Span = tuple[float, float]


@dataclass(slots=True)
class Report:
    """What came of it; `wrong`, `late` and `early` are sentences about single polls."""

    polls: int = 0
    faults: int = 0
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


class _Scripted:
    """A source whose targets have a version that grows at times of their own."""

    def __init__(
        self,
        clock: StillClock,
        truth: dict[str, list[float]],
        chance: random.Random,
        down: Sequence[Span],
        limits: Sequence[Span],
        calm: float,
    ) -> None:
        self._clock = clock
        self._truth = truth
        self._chance = chance
        self._down = down
        self._limits = limits
        self._calm = calm

    def version(self, id_: str) -> int:
        """The truth of this moment."""
        return bisect.bisect(self._truth[id_], self._clock.monotonic())

    async def reach(self) -> str:
        return "here"

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        now = self._clock.monotonic()
        for each in due:
            target = each.target
            if now < self._calm and self._chance.random() < 0.002:
                raise RuntimeError("a mistake of the source's")
            if _within(self._down, now):
                yield Outcome(target, target, OutcomeKind.UNREACHABLE, Failure("no answer"))
            elif limit := _within(self._limits, now):
                at = datetime.fromtimestamp(self._clock.time() + limit[1] - now, UTC)
                failure = Failure("limited", retry_at=at)
                yield Outcome(target, target, OutcomeKind.RATE_LIMITED, failure)
            else:
                facts = {"version": self.version(target.fold)}
                yield Outcome(target, target, OutcomeKind.UNCHANGED, cursor=facts, facts=facts)


async def soak(days: float, targets: int, seed: int, folder: Path) -> Report:
    """The last half day is without faults and changes, so that all must be known at its end."""
    chance = random.Random(seed)
    length, calm = days * DAY, (days - 0.5) * DAY
    clock = StillClock()
    report = Report()
    unreachable = _spans(chance, calm, 3 * DAY, 3_600.0, 4 * 3_600.0)
    limits = _spans(chance, calm, DAY, 600.0, 3_600.0)
    outages = _spans(chance, calm, DAY, 60.0, 600.0)
    lost = _spans(chance, calm, 2 * DAY, 30.0, 120.0)
    faults = sorted((*unreachable, *limits, *outages, *lost))
    report.faults = len(faults)
    good: dict[str, float] = {}
    failures: dict[str, int] = {}

    def on_polled(polled: Polled) -> None:
        report.polls += 1
        id_, now = polled.state.id, clock.monotonic()
        begun = polled.begun.timestamp() - clock.time() + now
        last = good.get(id_, 0.0)
        if id_ in good and not failures.get(id_) and begun < last + EVERY / 2 - 1.0:
            report.early.append(f"{id_} after {begun - last:.0f} s at {now:.0f}")
        if polled.state.outcome is None or not polled.state.outcome.good:
            failures[id_] = failures.get(id_, 0) + 1
            return
        allowed = EVERY + 2 * TICK + 10.0
        met = [end - begin for begin, end in faults if begin < now and end + EVERY > last]
        if met or failures.get(id_):
            # A failure waits for half as long again as the interval, at most.
            allowed += sum(met) + 1.5 * EVERY
        if now - last > allowed:
            report.late.append(f"{id_} after {now - last:.0f} s ({allowed:.0f}) at {now:.0f}")
        good[id_] = now
        failures.pop(id_, None)

    def fails(name: str) -> None:
        if _within(outages, clock.monotonic()):
            raise StoreUnavailable("it does not work at the moment")

    async with await open_store(f"sqlite:///{folder}/soak.db", clock=clock) as store:
        begin = await store.now()
        made = states(
            targets, begin, lambda id_: begin + timedelta(seconds=chance.uniform(0.0, EVERY))
        )
        truth = {
            each.id: sorted(chance.uniform(0.0, calm) for _ in range(chance.randrange(40)))
            for each in made
        }
        await watch(store, made, EVERY)
        source = _Scripted(clock, truth, chance, unreachable, limits, calm)
        leader = leader_of(
            cast("WriteStore", Working(store, clock, fails)),
            clock,
            Looker(on_polled),
            source=source,
            settings=Settings(service=ServiceSection.model_validate({"lease": "1h"})),
            pace=Pace(tick=TICK),
            chance=chance,
        )
        leading = asyncio.create_task(leader.run())
        beside = asyncio.create_task(_rob(store, clock, lost))
        while clock.monotonic() < length and not leading.done():
            await clock.sleep(DAY / 4)
            report.memory.append(resident())
        leader.stop()
        await leading
        await beside
        async for state in store.targets():
            if state.facts.get("version") != source.version(state.id) or state.failures:
                report.wrong.append(f"{state.id}: {state.facts}, {state.outcome}")
        if len(good) != targets:
            report.wrong.append(f"{targets - len(good)} were never polled well")
    return report


async def _rob(store: WriteStore, clock: StillClock, spans: Sequence[Span]) -> None:
    """Takes the lease, as if its holder had been paused for too long, and gives it back."""
    for begin, end in spans:
        await clock.sleep(begin - clock.monotonic())
        if (holder := await store.lease(ACCOUNT)) is not None:
            await store.release(holder, {})
        if (lease := await store.acquire(ACCOUNT, "somebody else", DAY)) is not None:
            await clock.sleep(end - clock.monotonic())
            await store.release(lease, {})


def _spans(
    chance: random.Random, until: float, apart: float, least: float, most: float
) -> list[Span]:
    """Times at which something is broken: once in so many seconds on average, none at the end."""
    spans = []
    at = chance.uniform(0.0, apart)
    while at + most < until:
        spans.append((at, at + chance.uniform(least, most)))
        at = spans[-1][1] + chance.uniform(0.2, 1.8) * apart
    return spans


def _within(spans: Sequence[Span], now: float) -> Span | None:
    return next((span for span in spans if span[0] <= now < span[1]), None)


def main() -> None:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--targets", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="fetcher-soak-") as folder:
        found = asyncio.run(soak(given.days, given.targets, given.seed, Path(folder)))
    print(f"{found.polls:,} polls, {found.faults} faults")
    for name in ("wrong", "late", "early"):
        said: list[str] = getattr(found, name)
        print(f"{name}: {len(said)} {said[:5]}")
    part = [size / 2**20 for size in found.memory]
    shown = ", ".join(f"{size:.1f}" for size in part[:: max(1, len(part) // 10)])
    print(f"memory, from begin to end: {shown} MB")


if __name__ == "__main__":
    main()
