"""What one tick of the leader costs, by how much is watched; and memory for each target.

Usage: ``python benchmarks/tick.py [--store sqlite|mongodb://HOST/] [--watched N ...]``

A tick asks the store for the time, for requests, and for what is due, with nothing due and with a
hundred targets due. "Memory" is what the process holds more, for each target watched, after it has
led all of them for some seconds. Medians of many ticks, and the slowest in a hundred.
"""

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from benchmarks.leading import ACCOUNT, Looker, leader_of, new_store, resident, states, watch
from benchmarks.scheduler import apart
from fetcher.clock import SystemClock
from fetcher.store import WriteStore

__all__ = ["Ticks", "measure"]

HOUR: Final = 3600.0
DUE: Final = 100
AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class Ticks:
    """Milliseconds; bytes."""

    idle: float
    idle_p99: float
    busy: float
    busy_p99: float
    memory: float


async def measure(kind: str, watched: int, ticks: int) -> Ticks:
    """Targets are due in an hour and later, a hundred of them (by the time asked for) now."""
    clock = SystemClock()
    async with new_store(kind, clock) as (store, _):
        now = await store.now()
        first = now + timedelta(hours=1)
        before = 0
        for at in range(0, watched, AT_ONCE):
            made = states(min(AT_ONCE, watched - at), now, _Dues(first, at).of, begin=at)
            await watch(store, made, HOUR)
            del made
            # What the first part needs is needed once.
            before = before or resident()
        idle = sorted([await _tick(store, now) for _ in range(ticks)])
        soon = first + timedelta(seconds=DUE - 1)
        busy = sorted([await _tick(store, soon, DUE) for _ in range(ticks)])
        leader = leader_of(store, clock, Looker())
        running = asyncio.create_task(leader.run())
        await asyncio.sleep(5.0)
        memory = (resident() - before) / watched
        leader.stop()
        await running
    return Ticks(
        statistics.median(idle),
        idle[int(0.99 * ticks)],
        statistics.median(busy),
        busy[int(0.99 * ticks)],
        memory,
    )


class _Dues:
    """One target a second."""

    def __init__(self, first: datetime, begin: int) -> None:
        self._first = first
        self._next = begin

    def of(self, id_: str) -> datetime:
        """One second after the last one given."""
        due = self._first + timedelta(seconds=self._next)
        self._next += 1
        return due


async def _tick(store: WriteStore, now: datetime, due: int = 0) -> float:
    """Milliseconds; `now` stands in for the time that the store tells."""
    begun = time.perf_counter()
    await store.asked(ACCOUNT)
    await store.now()
    others = await store.due(ACCOUNT, now, queries=False, limit=500)
    queries = await store.due(ACCOUNT, now, queries=True, limit=4)
    took = 1000 * (time.perf_counter() - begun)
    if len(others) + len(queries) != due:
        raise RuntimeError(f"{len(others) + len(queries)} were due")
    return took


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", default="sqlite", help="sqlite, or a server's mongodb://HOST/")
    parser.add_argument("--watched", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--ticks", type=int, default=300)
    given = parser.parse_args()
    print(f"Ticks over {given.store.partition(':')[0]}\n")
    print(f"| Watched | nothing due | p99 | {DUE} due | p99 | memory for each |")
    print("|--:|--:|--:|--:|--:|--:|")
    for watched in given.watched:
        found = apart(measure, given.store, watched, given.ticks)
        print(
            f"| {watched:,} | {found.idle:.2f} ms | {found.idle_p99:.2f} ms"
            f" | {found.busy:.2f} ms | {found.busy_p99:.2f} ms | {found.memory:,.0f} B |",
            flush=True,
        )


if __name__ == "__main__":
    main()
