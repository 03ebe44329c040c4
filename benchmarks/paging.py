"""What the first page of a long listing costs, and one deep in it.

Usage: ``python benchmarks/paging.py [--records N] [--store URL]``

Milliseconds are medians of many requests by turns in one run, as `fetcher.reader` has them.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from statistics import median

from fetcher.clock import SystemClock
from fetcher.models import Batch, Record
from fetcher.policy.digest import digest
from fetcher.reader import Reader
from fetcher.store import WriteStore, open_store

LIMIT = 100
ROUNDS = 200
AT = datetime(2020, 1, 1, tzinfo=UTC)
TAXID = 12242


def record(number: int) -> Record:
    """One of many sequences of an organism."""
    content = {
        "database": "nuccore",
        "accession": f"ZZ{number:08d}",
        "version": 1,
        "accession_version": f"ZZ{number:08d}.1",
        "organism": "Tobacco mosaic virus",
        "taxid": TAXID,
        "update_date": AT + timedelta(minutes=number),
        "status": "live",
    }
    return Record(f"nuccore:ZZ{number:08d}.1", "sequence", content, "https://x/", digest(content))


async def fill(store: WriteStore, records: int) -> None:
    """Stores them."""
    lease = await store.acquire("ncbi:benchmark", "me", 3600.0)
    if lease is None:
        raise RuntimeError("somebody else writes there")
    now = await store.now()
    for first in range(0, records, 1_000):
        some = tuple(record(n) for n in range(first, min(first + 1_000, records)))
        await store.write(lease, [Batch("sequence", "ncbi:nuccore?all", now, some)])
    await store.publish(lease)


async def pages(reader: Reader, records: int) -> None:
    """Walks to the end once for the cursors, then asks for both pages by turns."""
    orders: dict[str, dict[str, int | datetime]] = {
        "all of a database": {},
        "of a taxid": {"taxid": TAXID},
        "updated after": {"updated_after": AT},
    }
    for name, where in orders.items():
        after: str | None = None
        number = 1
        while True:
            page = await reader.sequences_page("nuccore", limit=1_000, after=after, **where)  # type: ignore[arg-type]
            if page.next is None:
                break
            after, number = page.next, number + 10
        times: dict[str | None, list[float]] = {None: [], after: []}
        for _ in range(ROUNDS):
            for each, taken in times.items():
                begun = time.perf_counter()
                page = await reader.sequences_page("nuccore", limit=LIMIT, after=each, **where)  # type: ignore[arg-type]
                taken.append(time.perf_counter() - begun)
                if len(page.items) != LIMIT:
                    raise RuntimeError("a short page")
        first, deep = (median(each) * 1000 for each in times.values())
        print(
            f"| {name} | {first:.2f} | {number:,} | {deep:.2f} | {deep / first:.2f} |", flush=True
        )


async def run(url: str, records: int) -> None:
    """Fills and asks."""
    clock = SystemClock()
    async with await open_store(url, clock=clock) as store:
        begun = time.perf_counter()
        await fill(store, records)
        print(f"{records:,} records in {time.perf_counter() - begun:.0f} s\n")
        print("| Listing | first page, ms | page | ms | ratio |\n|---|--:|--:|--:|--:|")
        await pages(Reader(store, clock), records)


def main() -> None:
    """Runs it and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--store", help="an empty store; default: SQLite in a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as folder:
        asyncio.run(run(arguments.store or f"sqlite:///{folder}/p.db", arguments.records))


if __name__ == "__main__":
    main()
