"""The embedded store: one SQLite file, safe with several processes on one machine.

One connection writes, another reads, so that readers do not wait for the writer (WAL,
https://www.sqlite.org/wal.html). aiosqlite runs a call in a thread and goes on with it when its
awaiter is cancelled; so every transaction is one tracked task that a cancelled caller cannot
tear.
"""

import asyncio
import sqlite3
from collections.abc import (
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import aiosqlite

from fetcher.documents import Document, Kind
from fetcher.errors import SchemaTooNew, StoreMissing, StoreUnavailable, UsageError
from fetcher.models import Batch, Clock, Lease, Stamp, Written
from fetcher.store.merge import Step, merge_all, summarised
from fetcher.store.protocol import COLLECTIONS, SCHEMA_VERSION, half_filled
from fetcher.store.spill import spill
from fetcher.store.sqlite_reader import marks, some
from fetcher.store.sqlite_schedule import SqliteSchedule
from fetcher.store.sqlite_schema import (
    APPLICATION_ID,
    SCHEMA,
    STEPS,
    columns,
    from_row,
    mapped,
    to_row,
)

__all__ = ["SqliteStore"]

T = TypeVar("T")

_PREFIX: Final = "sqlite:///"
_BLOB_PART: Final = 1 << 20
_BUSY_MILLISECONDS: Final = 10_000
_RETRY_SECONDS: Final = 0.02


class SqliteStore(SqliteSchedule):
    """Implements `WriteStore`; open it with `open_store`."""

    @classmethod
    async def open(cls, url: str, clock: Clock, *, create: bool, filling: bool = False) -> Self:
        """Raises `StoreUnavailable` or `SchemaTooNew`."""
        path = _path(url)
        file = Path(path)
        if not create and not file.exists():  # noqa: ASYNC240 - once, before anything runs
            raise StoreMissing(f"there is no store at {path} yet; `fetcher fetch` makes one")
        if create and not file.parent.is_dir():
            raise StoreUnavailable(f"the store {path} cannot be made: its folder does not exist")
        if file.is_dir():  # noqa: ASYNC240
            raise StoreUnavailable(f"the store {path} cannot be opened: it is a folder")
        with mapped(path):
            writer = await _connect(path, create=create)
            try:
                await _prepare(writer, path, clock, create=create)
                if not filling:
                    await _refuse_half_filled(writer, path)
                reader = await _connect(path, create=False)
                await reader.execute("PRAGMA query_only = ON")
            except BaseException:
                await writer.close()
                raise
        return cls(path, clock, reader, writer)

    # Writing

    async def write(self, lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
        """See `WriteStore`."""

        async def body() -> tuple[Written, ...]:
            row = await self._check(lease)
            ids: dict[Kind, dict[str, None]] = {}
            for batch in batches:
                named = (*(r.id for r in batch.records), *batch.withdrawn, *batch.detached)
                ids.setdefault(batch.kind, {}).update(dict.fromkeys(named))
            stored: dict[tuple[Kind, str], Document] = {}
            for kind, wanted in ids.items():
                for part in some(list(wanted)):
                    rows = await self._writer.execute_fetchall(
                        f"SELECT document, flat FROM {COLLECTIONS[kind]} "
                        f"WHERE _id IN ({marks(part)})",
                        part,
                    )
                    for text, flat in rows:
                        document = from_row(text, flat)
                        stored[kind, document["_id"]] = document
            now = await self.now()
            last = row["n"]
            stamps = (Stamp(lease.account, lease.token, n) for n in count(last + 1))
            steps, rows_by_kind, blobs = await asyncio.to_thread(
                _merged, stored, batches, stamps, now
            )
            if rows_by_kind:  # else nothing is written, and nothing to be flushed to the disk
                await self._put(rows_by_kind, blobs)
                await self._writer.execute(
                    "UPDATE leases SET n = n + ? WHERE account = ?", (len(steps), lease.account)
                )
            return summarised(steps, batches)

        return await self._transaction(body)

    async def _put(
        self,
        rows: Mapping[Kind, Sequence[tuple[Sequence[Any], Sequence[str]]]],
        blobs: Mapping[str, bytes],
    ) -> None:
        for digest, data in blobs.items():
            parts = (
                (digest, part, data[at : at + _BLOB_PART])
                for part, at in enumerate(range(0, len(data), _BLOB_PART))
            )
            await self._writer.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", parts)
        for kind, pairs in rows.items():
            names = 8 + len(columns(kind))
            await self._writer.executemany(
                f"INSERT OR REPLACE INTO {COLLECTIONS[kind]} VALUES ({marks(range(names))})",
                (row for row, _ in pairs),
            )
            await self._writer.executemany(
                "DELETE FROM record_targets WHERE kind = ? AND _id = ?",
                ((kind, row[0]) for row, _ in pairs),
            )
            await self._writer.executemany(
                "INSERT INTO record_targets (target, kind, _id) VALUES (?, ?, ?)",
                ((target, kind, row[0]) for row, targets in pairs for target in targets),
            )


def _merged(
    stored: dict[tuple[Kind, str], Document],
    batches: Sequence[Batch],
    stamps: Iterator[Stamp],
    now: datetime,
) -> tuple[list[Step], dict[Kind, list[tuple[Sequence[Any], Sequence[str]]]], dict[str, bytes]]:
    """Runs in a worker thread: merges, and makes rows of what is to be stored."""
    steps = merge_all(stored, batches, stamps, now)
    last = {
        (step.kind, step.id): (step.merged.document, step.merged.size)
        for step in steps
        if step.merged.document is not None
    }
    rows: dict[Kind, list[tuple[Sequence[Any], Sequence[str]]]] = {}
    blobs: dict[str, bytes] = {}
    for (kind, _), (document, size) in last.items():
        small, large = spill(document, size=size)
        blobs.update(large)
        rows.setdefault(kind, []).append((to_row(kind, small), small["targets"]))
    return steps, rows, blobs


async def _connect(path: str, *, create: bool) -> aiosqlite.Connection:
    mode = "rwc" if create else "rw"
    connection = await aiosqlite.connect(
        f"file:{quote(path)}?mode={mode}", uri=True, isolation_level=None
    )
    try:
        await connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        # A commit that was acknowledged survives a loss of power.
        await connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        await connection.close()
        raise
    return connection


async def _prepare(writer: aiosqlite.Connection, path: str, clock: Clock, *, create: bool) -> None:
    """Gets a file ready; while others make the same file, SQLite refuses without waiting."""
    until = clock.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            await _make(writer, path, create=create)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or clock.monotonic() >= until:
                raise
            await writer.rollback()
            await clock.sleep(_RETRY_SECONDS)
        else:
            return


async def _make(writer: aiosqlite.Connection, path: str, *, create: bool) -> None:
    """Makes the tables in a new file; refuses files that are not ours or too new."""
    ((tables,),) = await writer.execute_fetchall("SELECT count(*) FROM sqlite_master")
    ours = await _pragma(writer, "application_id") == APPLICATION_ID
    if tables and not ours:
        raise StoreUnavailable(f"{path} is a database of another program")
    version = await _pragma(writer, "user_version")
    if ours and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"the store {path} was written by a newer fetcher (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update the fetcher"
        )
    if not create:
        if not ours:
            raise StoreUnavailable(f"the store {path} is empty; `fetcher fetch` fills it")
        if version < SCHEMA_VERSION:
            raise StoreUnavailable(
                f"the store {path} is of an older fetcher; `fetcher fetch` or `fetcher run` brings "
                "it forward"
            )
        return
    await writer.execute("PRAGMA journal_mode = WAL")
    if version == SCHEMA_VERSION:
        return
    await writer.execute("BEGIN IMMEDIATE")
    # Another process may have come first while this one waited for the lock.
    version = await _pragma(writer, "user_version")
    steps = [SCHEMA] if version == 0 else [STEPS[at] for at in range(version, SCHEMA_VERSION)]
    for step in steps:
        for statement in step:
            await writer.execute(statement)
    await writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    await writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    await writer.execute("COMMIT")


async def _refuse_half_filled(connection: aiosqlite.Connection, path: str) -> None:
    if list(await connection.execute_fetchall("SELECT 1 FROM meta WHERE name = 'filling'")):
        raise half_filled(path)


async def _pragma(connection: aiosqlite.Connection, name: str) -> int:
    ((value,),) = await connection.execute_fetchall(f"PRAGMA {name}")
    return int(value)


def _path(url: str) -> str:
    path = url[len(_PREFIX) :]
    if not url.lower().startswith(_PREFIX) or not path or path == ":memory:":
        raise UsageError(f"{url!r} names no file; write sqlite:///FILE or sqlite:////ABSOLUTE")
    return path
