"""Requests a second for one hot record, beside a bare handler and one that asks MongoDB each time.

Usage: ``python benchmarks/reading.py [--seconds S] [--mongodb URL]``

Servers and load are processes of their own. "bare" is an aiohttp handler that returns the very
same bytes with the same headers; "straightforward" asks MongoDB through motor and serialises with
the standard library.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient

from fetcher.clock import SystemClock
from fetcher.metrics import Metrics
from fetcher.models import Batch, Record
from fetcher.policy.digest import digest
from fetcher.reader import Reader
from fetcher.store import open_store
from fetcher.web.access import Access
from fetcher.web.api import Api
from fetcher.web.app import serve
from fetcher.web.kept import Kept

CONNECTIONS = 16
SEQUENCE = "/v1/ncbi/nuccore/NC_1.1"
PATHS = {"a 30 kB sequence": SEQUENCE}
AT = datetime(2026, 11, 24, tzinfo=UTC)


class Well:
    """Always ready."""

    def ready(self) -> list[str]:
        """Nothing is wrong."""
        return []


@dataclass(frozen=True, slots=True)
class Told:
    """How a load went: requests a second, and the 99th percentile in milliseconds."""

    rate: float
    p99: float


def record() -> Record:
    """A sequence record of 30 kB."""
    content: dict[str, Any] = {
        "database": "nuccore",
        "accession": "NC_1",
        "version": 1,
        "accession_version": "NC_1.1",
        "organism": "Tobacco mosaic virus",
        "taxid": 12242,
        "update_date": AT,
        "sequence": "ACGT" * 6_000,
        "features": [
            {"type": "CDS", "location": f"{n}..{n + 90}", "qualifiers": {"product": ["protein"]}}
            for n in range(60)
        ],
        "status": "live",
    }
    return Record("nuccore:NC_1.1", "sequence", content, "https://x/", digest(content))


async def fill(url: str) -> None:
    """Stores the record."""
    clock = SystemClock()
    async with await open_store(url, clock=clock) as store:
        lease = await store.acquire("ncbi:benchmark", "me", 30.0)
        if lease is None:
            raise RuntimeError("somebody else writes there")
        now = await store.now()
        await store.write(lease, [Batch("sequence", "ncbi:nuccore/NC_1.1", now, (record(),))])
        await store.publish(lease)


async def api(url: str, there: Connection) -> None:
    """The API itself."""
    clock = SystemClock()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    log = structlog.wrap_logger(None, wrapper_class=quiet)
    access = Access([], clock, lambda: None)
    async with await open_store(url, clock=clock) as store:
        kept = Kept(clock.monotonic)
        served = Api(Reader(store, clock), access, require_token=False, kept=kept)
        async with serve(
            ("127.0.0.1", 0), Well(), Metrics(), access=access, require_token=False, log=log,
            api=served,
        ) as port:  # fmt: skip
            there.send(port)
            await asyncio.to_thread(there.recv)


async def bare(body: bytes, headers: dict[str, str], there: Connection) -> None:
    """The same bytes from a handler that does nothing else."""

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    await plainly(handler, there)


async def straightforward(url: str, there: Connection) -> None:
    """What one writes first."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url)
    collection = client.get_default_database()["sequences"]

    async def handler(request: web.Request) -> web.Response:
        document = await collection.find_one({"_id": "nuccore:NC_1.1"})
        return web.Response(text=json.dumps(document, default=str), content_type="application/json")

    await plainly(handler, there)


async def plainly(
    handler: Callable[[web.Request], Awaitable[web.Response]], there: Connection
) -> None:
    """Serves one handler until it is told that it is enough."""
    app = web.Application()
    for path in PATHS.values():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there.send(runner.addresses[0][1])
    await asyncio.to_thread(there.recv)
    await runner.cleanup()


def process(make: Callable[[Connection], Any], there: Connection) -> None:
    """Runs a server to its end."""
    asyncio.run(make(there))


@contextmanager
def server(make: Callable[[Connection], Any]) -> Iterator[int]:
    """The port of a server in a process of its own."""
    here, there = multiprocessing.Pipe()
    made = multiprocessing.get_context("spawn").Process(target=process, args=(make, there))
    made.start()
    try:
        yield here.recv()
    finally:
        here.send("enough")
        made.join()


async def ask(port: int, path: str, etag: str | None = None) -> tuple[dict[str, str], bytes]:
    """One answer: its headers and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(path, etag))
    headers, body = await answer(reader)
    writer.close()
    return headers, body


def request(path: str, etag: str | None) -> bytes:
    """A request as bytes."""
    condition = f"If-None-Match: {etag}\r\n" if etag is not None else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{condition}\r\n".encode()


async def answer(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    """Reads one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    names = {name.lower(): value for name, value in headers.items()}
    length = 0 if " 304 " in head[0] else int(names["content-length"])
    return names, await reader.readexactly(length)


async def load(port: int, path: str, seconds: float, etag: str | None) -> Told:
    """As many requests as there can be on so many connections."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = request(path, etag)
        while (begun := time.perf_counter()) < until:
            writer.write(asked)
            await answer(reader)
            times.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return Told(len(times) / seconds, quantiles(times, n=100)[98] * 1000)


def loaded(port: int, seconds: float, etag: str | None) -> Told:
    """The load, after a warm-up."""
    asyncio.run(load(port, SEQUENCE, 0.5, etag))
    return asyncio.run(load(port, SEQUENCE, seconds, etag))


def compare(name: str, url: str, seconds: float) -> None:
    """One store beside a bare handler."""
    asyncio.run(fill(url))
    with server(partial(api, url)) as port:
        headers, body = asyncio.run(ask(port, SEQUENCE))
        ours = loaded(port, seconds, None)
        ours_304 = loaded(port, seconds, headers["etag"])
    kept = ("etag", "vary", "cache-control", "last-modified", "content-type")
    same = {each.title(): headers[each] for each in kept if each in headers}
    same["ETag"] = same.pop("Etag")
    with server(partial(bare, body, same)) as port:
        its = loaded(port, seconds, None)
        its_304 = loaded(port, seconds, headers["etag"])
    for what, one, other in (("whole", ours, its), ("304", ours_304, its_304)):
        print(
            f"| {name}, {what}, {len(body) if what == 'whole' else 0:,} bytes "
            f"| {one.rate:,.0f} | {one.p99:.1f} | {other.rate:,.0f} | {other.p99:.1f} "
            f"| {one.rate / other.rate:.2f} | {one.p99 / other.p99:.1f} |"
        )
    if url.startswith("mongodb"):
        with server(partial(straightforward, url)) as port:
            plain = loaded(port, seconds, None)
        times = ours.rate / plain.rate
        print(f"Straightforward: {plain.rate:,.0f} a second; ours {times:.1f} times")


def main() -> None:
    """Runs all and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--mongodb", help="a server on which a database may be made and dropped")
    arguments = parser.parse_args()
    print(
        "| | ours a second | p99 ms | bare | p99 ms | rate | p99 |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as folder:
        compare("SQLite", f"sqlite:///{urlsplit(folder).path}/r.db", arguments.seconds)
    if arguments.mongodb:
        name = f"fetcher_benchmark_{time.time_ns()}"
        url = f"{arguments.mongodb.rstrip('/')}/{name}"
        compare("MongoDB", url, arguments.seconds)
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url)
        asyncio.run(drop(client, name))


async def drop(client: "AsyncIOMotorClient[dict[str, Any]]", name: str) -> None:
    """Leaves nothing behind."""
    await client.drop_database(name)


if __name__ == "__main__":
    main()
