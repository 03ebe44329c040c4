"""What a store takes on the disk, for each record, and how long it takes to fill.

Usage: ``python benchmarks/sizes.py [--records N] [--store URL] [--length BP]``

Releases are as fetched from GitHub: 1,700 bytes of notes, four assets, thirty of them in a
repository with a state of its own. Sequences are as read from GenBank's flat files, whose
compressed text lies beside them. Each sort is written by 500 and then measured: the data alone,
what indexes take (of SQLite also the table that leads from targets to records), and a document as
BSON, which is what MongoDB compresses. Name a store that is new.
"""

import argparse
import asyncio
import os
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import bson
from isal import isal_zlib
from pymongo import MongoClient

from fetcher.clock import SystemClock
from fetcher.demo.synthetic import synthetic_genbank
from fetcher.models import Batch, Lease, Record, TargetState
from fetcher.policy.digest import measured
from fetcher.sources.genbank import read_record
from fetcher.store import Query, WriteStore, open_store
from fetcher.store.protocol import COLLECTIONS

if TYPE_CHECKING:
    from fetcher.documents import Kind

AT = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 500
OF_A_REPOSITORY = 30
WORDS = [
    "the",
    "of",
    "to",
    "and",
    "in",
    "for",
    "a",
    "fix",
    "add",
    "update",
    "remove",
    "support",
    "bug",
    "release",
    "version",
    "test",
    "build",
    "docs",
    "dependency",
    "error",
    "parser",
    "config",
    "option",
    "default",
    "command",
    "output",
    "improve",
    "change",
    "performance",
]


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes on the disk."""

    data: int
    indexes: int


def releases(records: int) -> Iterator[tuple[str, Record]]:
    """Each with the target that leads to it."""
    rng = random.Random(7)
    for number in range(records):
        repository = number // OF_A_REPOSITORY
        name, tag = f"acme-{repository}/tool-{repository}", f"v1.{number % OF_A_REPOSITORY}.0"
        page = f"https://git.example/{name}/releases"
        assets = [
            {
                "name": f"tool-{tag}-{platform}.tar.gz",
                "content_type": "application/gzip",
                "size": rng.randrange(10**6, 10**8),
                "digest": f"sha256:{rng.randbytes(32).hex()}",
                "download_url": f"{page}/download/{tag}/tool-{tag}-{platform}.tar.gz",
                "created_at": AT,
                "updated_at": AT,
            }
            for platform in ("linux-amd64", "linux-arm64", "darwin-arm64", "windows-amd64")
        ]
        content: dict[str, Any] = {
            "repository": name,
            "repository_id": repository,
            "release_id": number,
            "tag": tag,
            "name": f"Tool {tag}",
            "body": " ".join(rng.choices(WORDS, k=250)),
            "draft": False,
            "prerelease": False,
            "immutable": False,
            "private": False,
            "html_url": f"{page}/tag/{tag}",
            "created_at": AT + timedelta(minutes=number),
            "published_at": AT + timedelta(minutes=number),
            "updated_at": AT + timedelta(minutes=number),
            "assets": assets,
        }
        digest, size = measured(content)
        key = f"github:{repository}:{number}"
        yield (
            f"github:{name}",
            Record(key, "release", content, page, digest, (0, AT), {"author": "bot"}, size=size),
        )


def sequences(records: int, length: int) -> Iterator[tuple[str, Record]]:
    """All of them from one query."""
    for number in range(records):
        flat = synthetic_genbank(f"ZZ{number:08d}", length=length).encode()
        content: dict[str, Any] = dict(read_record(flat, "nuccore"))
        del content["uid"]
        digest, size = measured(content)
        packed = isal_zlib.compress(flat, 1)
        id_ = f"nuccore:{content['accession_version']}"
        version = (1, content["update_date"])
        record = Record(
            id_, "sequence", content, "https://x/", digest, version, {}, packed, size + len(packed)
        )
        yield "ncbi:nuccore?txid12242[organism:exp]", record


async def fill(store: WriteStore, lease: Lease, made: Iterator[tuple[str, Record]]) -> float:
    """Writes them, and the states of their targets; gives the seconds that the store took."""
    seconds = 0.0
    while some := list(islice(made, BATCH)):
        batches: dict[str, list[Record]] = {}
        for key, record in some:
            batches.setdefault(key, []).append(record)
        kind = some[0][1].kind
        began = time.perf_counter()
        await store.write(
            lease, [Batch(kind, key, AT, tuple(records)) for key, records in batches.items()]
        )
        cursor = {"etag": "f" * 64, "ids": [record.id for _, record in some[:10]]}
        states = [
            TargetState(key, key, (key.lower(),), lease.account, cursor=cursor, last_attempt=AT)
            for key in batches
        ]
        await store.save_targets(lease, states)
        seconds += time.perf_counter() - began
    await store.publish(lease)
    return seconds


def taken(url: str) -> Mapping[str, Taken]:
    """By table or collection."""
    if not url.startswith("sqlite"):
        with MongoClient[dict[str, Any]](url) as client:
            database = client.get_default_database()
            stats = [
                database.command("collStats", name) for name in database.list_collection_names()
            ]
        return {
            each["ns"].partition(".")[2]: Taken(
                int(each["storageSize"]), int(each["totalIndexSize"])
            )
            for each in stats
        }
    found: dict[str, Taken] = {}
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = dict(file.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        for name, table in file.execute("SELECT name, tbl_name FROM sqlite_master"):
            before = found.get(table, Taken(0, 0))
            size = pages.get(name, 0)
            data = 0 if table.startswith(("record_targets", "target_names")) else size
            if name == table:
                found[table] = Taken(before.data + data, before.indexes + size - data)
            else:
                found[table] = Taken(before.data, before.indexes + size)
    return found


async def measure(url: str, records: int, length: int) -> None:
    """Prints a line for each sort."""
    print(f"{records:,} of each, by {BATCH}; bytes for each record")
    titles = ("BSON", "data", "indexes", "all", "a second", "MiB resident")
    print(" " * 10 + "".join(f"{title:>14}" for title in titles))
    async with await open_store(url, clock=SystemClock()) as store:
        lease = await store.acquire("benchmark", "me", 36_000.0)
        if lease is None:
            raise RuntimeError("somebody else writes there")
        before = taken(url)
        sorts: tuple[tuple[Kind, Iterator[tuple[str, Record]]], ...] = (
            ("release", releases(records)),
            ("sequence", sequences(records, length)),
        )
        for kind, made in sorts:
            name = COLLECTIONS[kind]
            seconds = await fill(store, lease, made)
            after = taken(url)
            query = Query(kind, limit=100)
            documents = store.records(query, whole=False)
            sizes = [len(bson.encode(document)) async for document in documents]
            beside = [name, "record_targets"]
            data = sum(after[each].data - before[each].data for each in beside if each in after)
            indexes = sum(
                after[each].indexes - before[each].indexes for each in beside if each in after
            )
            before = after
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            told = (
                sum(sizes) / len(sizes),
                data / records,
                indexes / records,
                (data + indexes) / records,
                records / seconds,
                resident,
            )
            print(f"{name:<10}" + "".join(f"{value:>14,.0f}" for value in told))
        states = after["targets"].data + after["targets"].indexes
        states += after.get("target_names", Taken(0, 0)).indexes
        targets = -(-records // OF_A_REPOSITORY) + 1
        print(f"a target's state: {states / targets:,.0f}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--length", type=int, default=1_200)
    parser.add_argument("--store")
    told = parser.parse_args()
    if told.store:
        asyncio.run(measure(told.store, told.records, told.length))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(f"sqlite:///{os.path.join(folder, 'x.db')}", told.records, told.length))


if __name__ == "__main__":
    main()
