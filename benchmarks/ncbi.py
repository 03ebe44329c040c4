"""Many NCBI records: time and memory beside a mere download with insertion, and Biopython.

Usage: ``python benchmarks/ncbi.py [--records N] [--length BP] [--large N] [--mongodb URL]``

A local NCBI in a process of its own serves one query without a limit. Each run is a process of
its own, too: "fetcher" polls the query into an empty store, and samples the lag of its event loop;
"mere download and insertion" gets the same bytes by as many requests at once and throws them
away, then inserts the very rows (documents) that the fetcher stored, ready-made, in batches of
500; "Biopython" is ``Entrez.efetch``, ``SeqIO.parse`` and PyMongo's ``insert_many``, with its
pauses between requests taken out.

With ``--large`` there are so many records of five million bases as well, and only the command
itself is run: ``fetcher fetch``, which also prints all records.
"""

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import Request, urlopen

import aiohttp
import structlog
from pymongo import MongoClient

from fetcher.clock import SystemClock
from fetcher.config import load_settings
from fetcher.demo import DemoUpstream
from fetcher.refresh import Event
from fetcher.service import Service, open_transport
from fetcher.sources.ncbi_queries import PAGE, WORKERS
from fetcher.store import open_store
from fetcher.targets import parse_target

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

KEY = "benchmark"
TERM = "all[filter]"
SAMPLE = 0.002
# Rows that share an insertion, as the fetcher's records share a commit.
BATCH = 500

Told = dict[str, float]
T = TypeVar("T")


async def fetched(url: str, eutils: str, folder: Path) -> Told:
    """Fetched, parsed and stored."""
    gc.set_threshold(10_000, *gc.get_threshold()[1:])  # as the command does
    overrides: dict[str, object] = {
        "store.url": url,
        "ncbi.eutils_url": eutils,
        "ncbi.api_key": KEY,
        "ncbi.email": "benchmark@example.org",
        "ncbi.requests_per_second": 100_000.0,
    }
    settings = load_settings(None, {}, folder, overrides)
    clock = SystemClock()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    log = structlog.wrap_logger(None, wrapper_class=quiet)
    lags: list[float] = []

    async def sample() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(SAMPLE)
            lags.append(time.perf_counter() - begun - SAMPLE)

    async def on_event(event: Event) -> None:
        del event

    async with await open_store(url, clock=clock) as store, open_transport(settings, clock) as way:
        service = Service(settings, store, way, clock, log, patience=600.0)
        sampling = asyncio.create_task(sample())
        begun = time.perf_counter()
        target = parse_target(f"ncbi:nuccore?{TERM}")
        await service.poll([target], on_event, full=False, wait=60, on_wait=lambda who, left: None)
        seconds = time.perf_counter() - begun
        sampling.cancel()
        state = await store.target(target.fold)
    if state is None or state.outcome != "changed":
        raise RuntimeError(f"it ended with {state and state.failure}")
    lag = quantiles(lags, n=100)[98]
    return {"seconds": seconds, "records": state.records, "lag": lag, "worst": max(lags)}


async def downloaded(eutils: str) -> Told:
    """The same bytes, thrown away as they come."""
    begun = time.perf_counter()
    size = 0
    form = {"db": "nuccore", "api_key": KEY, "usehistory": "y"}
    async with aiohttp.ClientSession() as session:

        async def search(**more: str) -> dict[str, str]:
            asked = {**form, "term": TERM, "retmode": "json", "idtype": "acc", **more}
            async with session.post(f"{eutils}/esearch.fcgi", data=asked) as answer:
                told: dict[str, str] = (await answer.json(content_type=None))["esearchresult"]
                return told

        async def get(each: tuple[dict[str, str], int]) -> None:
            nonlocal size
            found, start = each
            asked = {**form, "rettype": "gb", "retmode": "text", "WebEnv": found["webenv"]}
            asked |= {"query_key": found["querykey"], "retstart": str(start), "retmax": str(PAGE)}
            async with session.post(f"{eutils}/efetch.fcgi", data=asked) as answer:
                async for data in answer.content.iter_any():
                    size += len(data)

        pages: list[tuple[dict[str, str], int]] = []
        # One search reaches 10,000 records: their days part the others.
        for day in days():
            found = await search(retmax="10000", datetype="mdat", mindate=day, maxdate=day)
            pages += [(found, at) for at in range(0, int(found["count"]), PAGE)]
        await at_once(pages, get)
    return {"seconds": time.perf_counter() - begun, "bytes": size}


async def at_once(pages: list[T], get: Callable[[T], Awaitable[None]]) -> None:
    """As many pages at once as the fetcher gets."""

    async def worker() -> None:
        while pages:
            await get(pages.pop(0))

    await asyncio.gather(*(worker() for _ in range(WORKERS)))


def days() -> list[str]:
    """On which the records were modified."""
    return [f"2024/02/{n:02}" for n in range(1, 29)]


def inserted_sqlite(source: str, folder: Path) -> Told:
    """The rows of a store, into an empty one."""
    copy = folder / "copy.db"
    tables = ("sequences", "record_targets")
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(copy)) as new:
        for (statement,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
            if "sqlite_" not in statement:
                new.execute(statement)
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("PRAGMA synchronous = FULL")
        rows = {table: old.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608
        begun = time.perf_counter()
        for at in range(0, len(rows["sequences"]), BATCH):
            with new:
                for table in tables:
                    part = rows[table][at : at + BATCH]
                    marks = ", ".join("?" * len(part[0]))
                    new.executemany(f"INSERT INTO {table} VALUES ({marks})", part)  # noqa: S608
        return {"seconds": time.perf_counter() - begun}


def inserted_mongodb(url: str) -> Told:
    """The documents of a store, into an empty one."""
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with closing(client):
        old = client.get_default_database()
        new = client[f"{old.name}_copy"]
        documents = list(old["sequences"].find())
        for name, index in old["sequences"].index_information().items():
            if name != "_id_":
                options = {key: index[key] for key in ("collation",) if key in index}
                new["sequences"].create_index(index["key"], name=name, **options)
        begun = time.perf_counter()
        for at in range(0, len(documents), BATCH):
            new["sequences"].insert_many(documents[at : at + BATCH])
        seconds = time.perf_counter() - begun
        client.drop_database(new.name)
    return {"seconds": seconds}


def biopython(url: str, eutils: str) -> Told:
    """``Entrez.efetch``, ``SeqIO.parse``, ``insert_many``."""
    entrez: Any = import_module("Bio.Entrez")
    parse: Any = import_module("Bio.SeqIO").parse

    def elsewhere(request: Request) -> object:
        entrez._open.previous = 0  # noqa: SLF001 - no pause before the next request
        path = request.full_url.rpartition("/")[2]
        return urlopen(Request(f"{eutils}/{path}", data=request.data))  # noqa: S310

    entrez.urlopen = elsewhere
    entrez.email, entrez.api_key, entrez.tool = "benchmark@example.org", KEY, "benchmark"
    begun = time.perf_counter()
    number = 0
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with closing(client):
        name = f"{client.get_default_database().name}_biopython"
        collection = client[name]["sequences"]
        for day in days():
            dates = {"datetype": "mdat", "mindate": day, "maxdate": day}
            found = entrez.read(entrez.esearch("nuccore", TERM, usehistory="y", **dates))
            kept = {"WebEnv": found["WebEnv"], "query_key": found["QueryKey"]}
            for start in range(0, int(found["Count"]), PAGE):
                page = {"retstart": start, "retmax": PAGE, "rettype": "gb", "retmode": "text"}
                with entrez.efetch("nuccore", **page, **kept) as handle:
                    documents = [plain(record) for record in parse(handle, "genbank")]
                collection.insert_many(documents)
                number += len(documents)
        seconds = time.perf_counter() - begun
        client.drop_database(name)
    return {"seconds": seconds, "records": number}


def plain(record: "SeqRecord") -> dict[str, Any]:
    """What people store of a Biopython record."""
    return {
        "_id": record.id,
        "name": record.name,
        "description": record.description,
        "annotations": {
            key: value for key, value in record.annotations.items() if key != "references"
        },
        "features": [
            {"type": each.type, "location": str(each.location), "qualifiers": each.qualifiers}
            for each in record.features
        ],
        "sequence": str(record.seq),
    }


def serve(answer: Connection, records: int, length: int, large: int) -> None:
    """The local NCBI, in a process of its own."""

    async def run() -> None:
        upstream = DemoUpstream()
        upstream.ncbi.api_keys[KEY] = 10**6
        dated = [f"{day[-2:]}-FEB-2024" for day in days()]
        upstream.ncbi.populate(records, length=length, days=dated)
        upstream.ncbi.populate(large, length=5_000_000, prefix="LL", days=dated)
        async with upstream.serve() as urls:
            answer.send(urls.eutils)
            await asyncio.to_thread(answer.recv)

    asyncio.run(run())


@contextmanager
def upstream(records: int, length: int, large: int = 0) -> Iterator[str]:
    """The address of one, as long as it is needed."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, records, length, large)
    )
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("enough")
        process.join()


def child(what: str, *arguments: str) -> Told:
    """One run, as a process of its own."""
    command = [sys.executable, __file__, "--child", what, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    told: Told = json.loads(done.stdout)
    return told


def as_child(what: str, arguments: Sequence[str]) -> None:
    """Runs one, and tells how it went."""
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as name:
        folder = Path(name)
        match what:
            case "fetched":
                url, eutils = arguments
                told = asyncio.run(fetched(url, eutils, folder))
            case "downloaded":
                told = asyncio.run(downloaded(*arguments))
            case "inserted_sqlite":
                (source,) = arguments
                told = inserted_sqlite(source, folder)
            case "inserted_mongodb":
                told = inserted_mongodb(*arguments)
            case _:
                told = biopython(*arguments)
    told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))


def command(records: int, length: int, large: int) -> None:
    """The command itself, and the most memory that it had."""
    environment = {
        **os.environ,
        "NCBI_API_KEY": KEY,
        "NCBI_EMAIL": "benchmark@example.org",
        "FETCHER_NCBI__REQUESTS_PER_SECOND": "100000",
    }
    fetch = Path(sys.executable).with_name("fetcher")
    with upstream(records, length, large) as eutils, tempfile.TemporaryDirectory() as name:
        environment["FETCHER_NCBI__EUTILS_URL"] = eutils
        begun = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            [fetch, "fetch", f"ncbi:nuccore?{TERM}", "--output", "records"],
            cwd=name,
            env=environment,
        )
        most = 0.0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            most = max(most, int(found[1]) / 1024 if found else 0.0)
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        size = (Path(name) / "records").stat().st_size
        number = records + large
        print(
            f"{number:,} records, {size / 1e6:,.0f} MB of ndjson: {seconds:.1f} s, "
            f"{most:.0f} MB resident, exit {process.returncode}"
        )


def run(records: int, length: int, mongodb: str | None) -> None:
    """All runs, one after the other, and their ratios."""
    with upstream(records, length) as eutils, tempfile.TemporaryDirectory() as name:
        database = f"{name}/records.db"
        plain_download = child("downloaded", eutils)
        lines = [("mere download", plain_download)]
        ratios = []
        stores = [("SQLite", f"sqlite:///{database}")]
        if mongodb is not None:
            stores.append(("MongoDB", f"{mongodb.rstrip('/')}/fetcher_benchmark"))
        for store, url in stores:
            if store == "MongoDB":
                drop(url)
            ours = child("fetched", url, eutils)
            lines.append((f"fetcher, {store}", ours))
            made = (
                child("inserted_sqlite", database)
                if store == "SQLite"
                else child("inserted_mongodb", url)
            )
            lines.append((f"mere insertion, {store}", made))
            mere = plain_download["seconds"] + made["seconds"]
            ratio = ours["seconds"] / mere
            ratios.append(f"{store}: {ratio:.2f} times a mere download and insertion")
            if store == "MongoDB":
                peer = child("biopython", url, eutils)
                lines.append(("Biopython and PyMongo", peer))
                ratios.append(f"{peer['seconds'] / ours['seconds']:.1f} times as fast as Biopython")
                drop(url)
    print(f"{records:,} records, {plain_download['bytes'] / 1e6:.1f} MB\n")
    print("| | seconds | records/s | MB resident | lag p99 | worst |")
    print("|---|--:|--:|--:|--:|--:|")
    for what, told in lines:
        lag = [f"{told[key] * 1000:.1f} ms" if key in told else "" for key in ("lag", "worst")]
        rate = f"{records / told['seconds']:,.0f}"
        cells = (what, f"{told['seconds']:.2f}", rate, f"{told['megabytes']:.0f}", *lag)
        print(f"| {' | '.join(cells)} |")
    print("\n" + "\n".join(ratios))


def drop(url: str) -> None:
    """Nothing is left of earlier runs."""
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with closing(client):
        client.drop_database(client.get_default_database().name)


def main() -> None:
    """Prints a table and the ratios."""
    if sys.argv[1:2] == ["--child"]:
        as_child(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=1_200)
    parser.add_argument("--mongodb", help="the address of a server, without a database")
    parser.add_argument("--large", type=int, default=0)
    given = parser.parse_args()
    if given.large:
        command(given.records, given.length, given.large)
        return
    run(given.records, given.length, given.mongodb)


if __name__ == "__main__":
    main()
