"""The embedded store: one SQLite file, safe with several processes on one machine.

One connection writes, another reads, so that readers do not wait for the writer (WAL,
https://www.sqlite.org/wal.html). aiosqlite runs a call in a thread and goes on with it when its
awaiter is cancelled; so every transaction is one tracked task that a cancelled caller cannot
tear.
"""

import asyncio
import json
import sqlite3
from collections.abc import (
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiosqlite

from fetcher.documents import Document, Kind, time_text
from fetcher.errors import LeaseLost, SchemaTooNew, StoreUnavailable, UsageError
from fetcher.models import Batch, Clock, Lease, TargetState, Written
from fetcher.shield import Shield
from fetcher.store.merge import Stamp, Step, merge_all, summarised
from fetcher.store.protocol import COLLECTIONS, SCHEMA_VERSION
from fetcher.store.spill import spill
from fetcher.store.sqlite_reader import SqliteReader, marks, some
from fetcher.store.sqlite_schema import (
    APPLICATION_ID,
    SCHEMA,
    columns,
    from_row,
    mapped,
    to_row,
    to_text,
)
from fetcher.store.states import state_document

__all__ = ["SqliteStore"]

T = TypeVar("T")

_PREFIX: Final = "sqlite:///"
_BLOB_PART: Final = 1 << 20
_BUSY_MILLISECONDS: Final = 10_000
_RETRY_SECONDS: Final = 0.02


class SqliteStore(SqliteReader):
    """Implements `WriteStore`; open it with `open_store`."""

    def __init__(
        self, path: str, clock: Clock, reader: aiosqlite.Connection, writer: aiosqlite.Connection
    ) -> None:
        super().__init__(path, clock, reader)
        self._writer = writer
        self._writing = asyncio.Lock()
        self._shield = Shield(lambda error: None)

    @classmethod
    async def open(cls, url: str, clock: Clock, *, create: bool) -> "SqliteStore":
        """Raises `StoreUnavailable` or `SchemaTooNew`."""
        path = _path(url)
        file = Path(path)
        if not create and not file.exists():  # noqa: ASYNC240 - once, before anything runs
            raise StoreUnavailable(f"there is no store at {path} yet; `fetcher fetch` makes one")
        if create and not file.parent.is_dir():
            raise StoreUnavailable(f"the store {path} cannot be made: its folder does not exist")
        if file.is_dir():  # noqa: ASYNC240
            raise StoreUnavailable(f"the store {path} cannot be opened: it is a folder")
        with mapped(path):
            writer = await _connect(path, create=create)
            try:
                await _prepare(writer, path, clock, create=create)
                reader = await _connect(path, create=False)
                await reader.execute("PRAGMA query_only = ON")
            except BaseException:
                await writer.close()
                raise
        return cls(path, clock, reader, writer)

    async def close(self) -> None:
        """Closes after what is under way."""
        async with self._writing:
            await super().close()
            await self._writer.close()

    # Leases

    async def acquire(self, account: str, owner: str, ttl: float) -> Lease | None:
        """See `WriteStore`."""

        async def body() -> Lease | None:
            now = self._clock.time()
            held = await self._lease_row(account)
            if held is not None and held["owner"] is not None and held["expires_at"] > now:
                return None
            cursor = await self._writer.execute("INSERT INTO tokens DEFAULT VALUES")
            token = cursor.lastrowid
            assert token is not None  # noqa: S101 - an INSERT has one
            await self._writer.execute("DELETE FROM tokens WHERE token < ?", (token,))
            await self._writer.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, '{}', 0, 0) ON CONFLICT (account) DO "
                "UPDATE SET owner = excluded.owner, token = excluded.token, "
                "expires_at = excluded.expires_at, n = 0, watermark = 0",
                (account, owner, token, now + ttl),
            )
            budget = json.loads(held["budget"]) if held is not None else {}
            return Lease(account, owner, token, _time(now + ttl), budget)

        return await self._transaction(body)

    async def lease(self, account: str) -> Lease | None:
        """See `WriteStore`."""
        rows = await self._rows(
            "SELECT owner, token, expires_at, budget FROM leases "
            "WHERE account = ? AND owner IS NOT NULL AND expires_at > ?",
            (account, self._clock.time()),
        )
        for owner, token, expires_at, budget in rows:
            return Lease(account, owner, token, _time(expires_at), json.loads(budget))
        return None

    async def renew(self, lease: Lease, ttl: float, budget: Mapping[str, Any]) -> Lease:
        """See `WriteStore`."""

        async def body() -> Lease:
            await self._check(lease)
            expires_at = self._clock.time() + ttl
            await self._writer.execute(
                "UPDATE leases SET expires_at = ?, budget = ? WHERE account = ?",
                (expires_at, json.dumps(budget), lease.account),
            )
            return Lease(lease.account, lease.owner, lease.token, _time(expires_at), budget)

        return await self._transaction(body)

    async def release(self, lease: Lease, budget: Mapping[str, Any]) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._writer.execute(
                "UPDATE leases SET owner = NULL, expires_at = 0, budget = ? "
                "WHERE account = ? AND owner = ? AND token = ?",
                (json.dumps(budget), lease.account, lease.owner, lease.token),
            )

        await self._transaction(body)

    async def _lease_row(self, account: str) -> Mapping[str, Any] | None:
        names = ("owner", "token", "expires_at", "budget", "n", "watermark")
        rows = await self._writer.execute_fetchall(
            f"SELECT {', '.join(names)} FROM leases WHERE account = ?", (account,)
        )
        for row in rows:
            return dict(zip(names, row, strict=True))
        return None

    async def _check(self, lease: Lease) -> Mapping[str, Any]:
        """The lease as it stands, in the transaction that is about to write under it."""
        row = await self._lease_row(lease.account)
        if row is None or (row["owner"], row["token"]) != (lease.owner, lease.token):
            raise LeaseLost(f"somebody else polls the account {lease.account} now")
        return row

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

    async def publish(self, lease: Lease) -> int:
        """See `WriteStore`: what is committed is visible, so the watermark is the last stamp."""

        async def body() -> int:
            row = await self._check(lease)
            await self._writer.execute(
                "UPDATE leases SET watermark = n WHERE account = ?", (lease.account,)
            )
            return int(row["n"])

        return await self._transaction(body)

    async def save_targets(self, lease: Lease, states: Sequence[TargetState]) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._check(lease)
            last = {state.id: state for state in states}
            for part in some(list(last)):
                later = await self._writer.execute_fetchall(
                    f"SELECT _id FROM targets WHERE _id IN ({marks(part)}) AND token > ?",
                    (*part, lease.token),
                )
                for (id_,) in later:
                    raise LeaseLost(f"a later leader has polled {last[id_].key} already")
            await self._writer.executemany(
                "INSERT OR REPLACE INTO targets VALUES (?, ?, ?, ?)",
                (_state_row(replace(state, token=lease.token)) for state in last.values()),
            )
            await self._writer.executemany(
                "DELETE FROM target_names WHERE _id = ?", ((id_,) for id_ in last)
            )
            await self._writer.executemany(
                "INSERT OR IGNORE INTO target_names VALUES (?, ?)",
                ((name, state.id) for state in last.values() for name in state.names),
            )

        await self._transaction(body)

    async def _transaction(self, body: Callable[[], Awaitable[T]]) -> T:
        """Runs a body between BEGIN and COMMIT; it ends whole or not at all."""

        async def whole() -> T:
            async with self._writing:
                with mapped(self._path):
                    try:
                        # IMMEDIATE takes the write lock first, so that what is read stays true.
                        await self._writer.execute("BEGIN IMMEDIATE")
                        result = await body()
                        await self._writer.execute("COMMIT")
                    except BaseException:
                        # Cancelled by the end of the loop, a call may still be under way in the
                        # thread; this one comes after it, and does nothing where all is over.
                        await self._writer.rollback()
                        raise
                    return result

        return await self._shield.run(whole())


def _state_row(state: TargetState) -> tuple[object, ...]:
    due = time_text(state.next_due) if state.next_due is not None else None
    return state.id, to_text(state_document(state)), state.token, due


def _merged(
    stored: dict[tuple[Kind, str], Document],
    batches: Sequence[Batch],
    stamps: Iterator[Stamp],
    now: datetime,
) -> tuple[list[Step], dict[Kind, list[tuple[Sequence[Any], Sequence[str]]]], dict[str, bytes]]:
    """Runs in a worker thread: merges, and makes rows of what is to be stored."""
    steps = merge_all(stored, batches, stamps, now)
    last = {
        (step.kind, step.id): step.merged.document
        for step in steps
        if step.merged.document is not None
    }
    rows: dict[Kind, list[tuple[Sequence[Any], Sequence[str]]]] = {}
    blobs: dict[str, bytes] = {}
    for (kind, _), document in last.items():
        small, large = spill(document)
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
        return
    await writer.execute("PRAGMA journal_mode = WAL")
    if version == SCHEMA_VERSION:
        return
    await writer.execute("BEGIN IMMEDIATE")
    # Another process may have come first while this one waited for the lock.
    if await _pragma(writer, "user_version") == 0:
        for statement in SCHEMA:
            await writer.execute(statement)
        await writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        await writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    await writer.execute("COMMIT")


async def _pragma(connection: aiosqlite.Connection, name: str) -> int:
    ((value,),) = await connection.execute_fetchall(f"PRAGMA {name}")
    return int(value)


def _path(url: str) -> str:
    path = url[len(_PREFIX) :]
    if not url.lower().startswith(_PREFIX) or not path or path == ":memory:":
        raise UsageError(f"{url!r} names no file; write sqlite:///FILE or sqlite:////ABSOLUTE")
    return path


def _time(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
