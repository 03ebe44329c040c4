"""Polls committed a second, memory and lateness of the leader, beside APScheduler and the driver.

Usage: ``python benchmarks/scheduler.py [--targets N] [--store sqlite|mongodb://HOST/]``

The leader runs with a source that answers at once and has nothing new, so what is measured is its
own work and the store's. "Driver" is what a store could do at best: it updates as many documents
of the same size, made beforehand, in commits as large, under the same promises. APScheduler keeps
its jobs in memory and forgets them with its process; for the comparison: ``pip install
apscheduler==3.11.*``. Each part runs in a process of its own, one after the other.
"""

import argparse
import asyncio
import gc
import importlib
import logging
import multiprocessing
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiosqlite
from pymongo import UpdateOne

from benchmarks.leading import Looker, leader_of, new_store, resident, states, watch
from fetcher.clock import SystemClock
from fetcher.documents import json_bytes
from fetcher.refresh import Polled
from fetcher.store.mongo import client_of, database_of
from fetcher.store.sqlite_schema import milliseconds
from fetcher.store.states import state_document

__all__ = ["Steady", "Throughput", "driver", "lead", "steady"]

HOUR = 3600.0
EVERY = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Throughput:
    """Polls, jobs or updates a second; bytes of memory for each target, at the end."""

    rate: float
    memory: float = 0.0


@dataclass(frozen=True, slots=True)
class Steady:
    """Seconds that polls began after they were due."""

    polls: int
    p50: float
    p99: float

    @classmethod
    def of(cls, late: Sequence[float]) -> "Steady":
        ordered = sorted(late)
        return cls(len(late), ordered[len(late) // 2], ordered[int(0.99 * len(late))])


async def lead(kind: str, targets: int) -> Throughput:
    """All targets are due at once."""
    clock = SystemClock()
    async with new_store(kind, clock) as (store, _):
        now = await store.now()
        await watch(store, states(targets, now, lambda id_: now), HOUR)
        ended: list[float] = []

        def on_polled(polled: Polled) -> None:
            if looker.polls == targets:
                ended.append(time.perf_counter())
                leader.stop()

        looker = Looker(on_polled)
        leader = leader_of(store, clock, looker)
        before = resident()
        begun = time.perf_counter()
        await leader.run()
        return Throughput(targets / (ended[0] - begun), (resident() - before) / targets)


async def steady(kind: str, targets: int, seconds: float) -> Steady:
    """Every target once a minute, each on its own phase."""
    clock = SystemClock()
    async with new_store(kind, clock) as (store, _):
        now = await store.now()
        soon = now + timedelta(seconds=2.0 + targets / 5_000)  # when all are watched
        chance = random.Random(1)
        made = states(
            targets, now, lambda id_: soon + timedelta(seconds=chance.uniform(0.0, EVERY))
        )
        await watch(store, made, EVERY)
        late: list[float] = []

        def on_polled(polled: Polled) -> None:
            if polled.was_due is not None and polled.was_due >= since:
                late.append((polled.begun - polled.was_due).total_seconds())

        leader = leader_of(store, clock, Looker(on_polled))
        since = max(soon, await store.now())
        running = asyncio.create_task(leader.run())
        await clock.sleep((since - await store.now()).total_seconds() + seconds)
        leader.stop()
        await running
        return Steady.of(late)


async def driver(kind: str, targets: int, at_once: int) -> Throughput:
    """Updates documents in place through the driver alone."""
    clock = SystemClock()
    async with new_store(kind, clock) as (store, url):
        now = await store.now()
        made = states(targets, now, lambda id_: now)
        await watch(store, made, HOUR)
        later = now + timedelta(hours=1)
        if kind == "sqlite":
            rows = [
                (
                    json_bytes(state_document(replace(each, token=1, last_attempt=later))).decode(),
                    milliseconds(later),
                    milliseconds(later),
                    each.id,
                )
                for each in made
            ]
            async with aiosqlite.connect(
                url.removeprefix("sqlite:///"), isolation_level=None
            ) as connection:
                await connection.execute("PRAGMA synchronous = FULL")
                begun = time.perf_counter()
                for at in range(0, targets, at_once):
                    await connection.execute("BEGIN IMMEDIATE")
                    await connection.executemany(
                        "UPDATE targets SET document = ?, attempted = ?, next_due = ? "
                        "WHERE _id = ?",
                        rows[at : at + at_once],
                    )
                    await connection.execute("COMMIT")
                return Throughput(targets / (time.perf_counter() - begun))
        writes = []
        for each in made:
            document = state_document(replace(each, last_attempt=later, next_due=later))
            writes.append(UpdateOne({"_id": document.pop("_id")}, {"$set": document}))
        client = client_of(url)
        collection = database_of(client, url)["targets"]
        begun = time.perf_counter()
        for at in range(0, targets, at_once):
            await collection.bulk_write(writes[at : at + at_once], ordered=False)
        rate = targets / (time.perf_counter() - begun)
        client.close()
        return Throughput(rate)


async def jobs(targets: int) -> Throughput | None:
    """APScheduler with as many jobs in memory, all due at once; None where it is missing."""
    scheduler = _apscheduler()
    if scheduler is None:
        return None
    ran = 0
    all_ran = asyncio.Event()

    async def job() -> None:
        nonlocal ran
        ran += 1
        if ran == targets:
            all_ran.set()

    before = resident()
    now = datetime.now(UTC)
    for n in range(targets):
        scheduler.add_job(job, "interval", hours=1, id=str(n), next_run_time=now)
    begun = time.perf_counter()
    scheduler.start()
    await all_ran.wait()
    rate = targets / (time.perf_counter() - begun)
    memory = (resident() - before) / targets
    scheduler.shutdown(wait=False)
    return Throughput(rate, memory)


async def steady_jobs(targets: int, seconds: float) -> Steady | None:
    """APScheduler with each job once a minute, evenly spread."""
    scheduler = _apscheduler()
    if scheduler is None:
        return None
    late: list[float] = []

    async def job(n: int) -> None:
        late.append((time.time() - begin - EVERY * n / targets) % EVERY)

    # Jobs go to the memory store when it starts, which takes its time.
    begin = time.time() + 1.0 + targets / 2_000
    for n in range(targets):
        first = datetime.fromtimestamp(begin + EVERY * n / targets, UTC)
        scheduler.add_job(job, "interval", seconds=EVERY, args=(n,), next_run_time=first)
    scheduler.start()
    await asyncio.sleep(begin - time.time() + seconds)
    scheduler.shutdown(wait=False)
    return Steady.of(late)


def _apscheduler() -> Any:  # noqa: ANN401 - it may be missing
    try:
        module = importlib.import_module("apscheduler.schedulers.asyncio")
    except ImportError:
        return None
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    # Without a limit it drops jobs that are a second late.
    return module.AsyncIOScheduler(job_defaults={"misfire_grace_time": None}, timezone=UTC)


def apart(work: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
    """Runs it in a process of its own, whose memory holds nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, work, *args).result()


def _run(work: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])  # as the command does
    return asyncio.run(work(*args))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--store", default="sqlite", help="sqlite, or a server's mongodb://HOST/")
    parser.add_argument("--commit", type=int, default=500, help="documents in a driver's commit")
    parser.add_argument("--steady", type=int, default=10_000, help="targets polled every minute")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady state")
    given = parser.parse_args()
    led = apart(lead, given.store, given.targets)
    bare = apart(driver, given.store, given.targets, given.commit)
    job = apart(jobs, given.targets)
    print(f"{given.targets:,} due at once, {given.store.partition(':')[0]}\n")
    print("| | a second | leader is | memory for each |")
    print("|---|--:|--:|--:|")
    print(f"| leader | {led.rate:,.0f} | | {led.memory:,.0f} B |")
    print(f"| driver | {bare.rate:,.0f} | {led.rate / bare.rate:.2f} x | |")
    if job is not None:
        times = f"{led.rate / job.rate:.2f} x"
        print(f"| APScheduler, in memory | {job.rate:,.0f} | {times} | {job.memory:,.0f} B |")
    else:
        print("\nWithout APScheduler, which is not installed: pip install 'apscheduler==3.11.*'")
    if given.steady and given.seconds:
        print(f"\n{given.steady:,} every {EVERY:.0f} s, for {given.seconds:.0f} s\n")
        print("| | polls | late, p50 | late, p99 |")
        print("|---|--:|--:|--:|")
        ours = apart(steady, given.store, given.steady, given.seconds)
        print(f"| leader | {ours.polls:,} | {ours.p50:.3f} s | {ours.p99:.3f} s |")
        theirs = apart(steady_jobs, given.steady, given.seconds)
        if theirs is not None:
            print(f"| APScheduler | {theirs.polls:,} | {theirs.p50:.3f} s | {theirs.p99:.3f} s |")


if __name__ == "__main__":
    main()
