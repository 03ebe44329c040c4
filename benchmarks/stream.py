"""Many readers of the event stream while records change all the time: who misses what, how late.

Usage: ``python benchmarks/stream.py [--readers N] [--rate R] [--seconds S] [--store URL]``

The API with the writer, and the readers, are processes of their own. A delay is from the time that
a change bears (when its poll began to be written) to its arrival at a reader.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from statistics import quantiles

import structlog

from fetcher.clock import SystemClock
from fetcher.metrics import Metrics
from fetcher.models import Batch, Record
from fetcher.policy.digest import digest
from fetcher.reader import Reader
from fetcher.store import open_store
from fetcher.web.access import Access
from fetcher.web.api import Api
from fetcher.web.app import serve
from fetcher.web.stream import Hub

TARGET = "github:many/releases"
RECORDS = 1_000


class Well:
    """Always ready."""

    def ready(self) -> list[str]:
        """Nothing is wrong."""
        return []


@dataclass(slots=True)
class Heard:
    """What all readers took together."""

    revisions: list[dict[str, int]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)


def release(number: int, edition: int) -> Record:
    """A release with other notes in each edition."""
    content = {
        "repository_id": 1,
        "release_id": number,
        "repository": "many/releases",
        "tag": f"v{number}",
        "body": f"edition {edition}",
        "draft": False,
        "prerelease": False,
        "private": False,
        "published_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Record(f"github:1:{number}", "release", content, "https://x/", digest(content))


async def serving(url: str, rate: int, seconds: float, there: Connection) -> None:
    """The API, and who writes; tells the port, and at the end what was written and the memory."""
    clock = SystemClock()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    log = structlog.wrap_logger(None, wrapper_class=quiet)
    access = Access([], clock, lambda: None)
    async with await open_store(url, clock=clock) as store:
        lease = await store.acquire("github:benchmark", "me", 3600.0)
        if lease is None:
            raise RuntimeError("somebody else writes there")
        reader = Reader(store, clock)
        hub = Hub(reader, clock, log)
        api = Api(reader, access, require_token=False, hub=hub)
        async with serve(
            ("127.0.0.1", 0), Well(), Metrics(), access=access, require_token=False, log=log,
            api=api, hub=hub,
        ) as port:  # fmt: skip
            there.send(port)
            await asyncio.to_thread(there.recv)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            written: Counter[str] = Counter()
            begun = time.perf_counter()
            for n in range(round(rate * seconds)):
                record = release(n % RECORDS, n)
                now = await store.now()
                await store.write(lease, [Batch("release", TARGET, now, (record,))])
                await store.publish(lease)
                written[record.id] += 1
                await asyncio.sleep(max(0.0, begun + (n + 1) / rate - time.perf_counter()))
            took = time.perf_counter() - begun
            await asyncio.sleep(2.0)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            there.send((dict(written), took, before, after))
            await asyncio.to_thread(there.recv)


def server(url: str, rate: int, seconds: float, there: Connection) -> None:
    """A process."""
    asyncio.run(serving(url, rate, seconds, there))


async def listen(port: int, heard: Heard, ready: asyncio.Semaphore) -> None:
    """One reader, until the stream ends."""
    revisions: dict[str, int] = {}
    heard.revisions.append(revisions)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /v1/changes?after=now HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    )
    await reader.readuntil(b": here")
    ready.release()
    while line := await reader.readline():
        if line.startswith(b"data: "):
            now = time.time()
            change = json.loads(line[6:])
            at = datetime.fromisoformat(change["changed_at"]).timestamp()
            revisions[change["_id"]] = change["revision"]
            heard.delays.append(now - at)


async def hearing(port: int, readers: int, here: Connection) -> Heard:
    """All of them; the writer begins when they listen."""
    heard, ready = Heard(), asyncio.Semaphore(0)
    tasks = [asyncio.create_task(listen(port, heard, ready)) for _ in range(readers)]
    for _ in tasks:
        await ready.acquire()
    here.send("all listen")
    written, took, before, after = await asyncio.to_thread(here.recv)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    here.send("enough")
    missed = sum(each != written for each in heard.revisions)
    changes = sum(written.values())
    cuts = quantiles(heard.delays, n=100)
    print(
        f"{readers:,} readers, {changes:,} changes in {took:.1f} s "
        f"({changes / took:.0f} a second): {missed} readers without the latest state of "
        f"everything; {len(heard.delays):,} events ({len(heard.delays) / took:,.0f} a second); "
        f"delay p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s; memory of the server "
        f"{before / 1024:.0f} MB before, {after / 1024:.0f} MB at most"
    )
    return heard


def main() -> None:
    """Runs it and prints a sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--store", help="an empty store; default: SQLite in a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as folder:
        url = arguments.store or f"sqlite:///{folder}/s.db"
        here, there = multiprocessing.Pipe()
        made = multiprocessing.get_context("spawn").Process(
            target=server, args=(url, arguments.rate, arguments.seconds, there)
        )
        made.start()
        asyncio.run(hearing(here.recv(), arguments.readers, here))
        made.join()


if __name__ == "__main__":
    main()
