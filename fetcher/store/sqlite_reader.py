"""The read side of the embedded store; it needs no more than a connection that may read."""

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Self

import aiosqlite

from fetcher.documents import Document, Kind
from fetcher.errors import StoreUnavailable
from fetcher.models import Clock, TargetState
from fetcher.store.protocol import COLLECTIONS, Query
from fetcher.store.spill import restore
from fetcher.store.sqlite_schema import columns, from_row, mapped, read_time
from fetcher.store.states import state_from

__all__ = ["SqliteReader", "marks", "some"]

# SQLite takes 32,766 parameters in one statement, older builds 999.
_PARAMETERS: Final = 500
_STATE_TIMES: Final = ("last_attempt", "last_success", "last_change", "reconciled_at", "next_due")


class SqliteReader:
    """Implements `ReadStore`."""

    def __init__(self, path: str, clock: Clock, reader: aiosqlite.Connection) -> None:
        self._path = path
        self._clock = clock
        self._reader = reader

    async def close(self) -> None:
        """Closes the connection."""
        await self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def now(self) -> datetime:
        """The machine's time: all processes that share the file run there."""
        return datetime.fromtimestamp(round(self._clock.time(), 3), UTC)

    async def target(self, name: str) -> TargetState | None:
        """See `ReadStore`."""
        return (await self.targets_by_name([name])).get(name)

    async def targets_by_name(self, names: Sequence[str]) -> Mapping[str, TargetState]:
        """See `ReadStore`."""
        found: dict[str, TargetState] = {}
        for part in some(names):
            rows = await self._rows(
                f"SELECT name, document FROM target_names JOIN targets USING (_id) "
                f"WHERE name IN ({marks(part)})",
                part,
            )
            found.update((name, _state(text)) for name, text in rows)
        return found

    async def targets(self) -> AsyncGenerator[TargetState, None]:
        """See `ReadStore`."""
        rows = self._stream("SELECT document FROM targets ORDER BY _id", ())
        async with aclosing(rows):
            async for (text,) in rows:
                yield _state(text)

    async def record(self, kind: Kind, id_: str) -> Document | None:
        """See `ReadStore`."""
        rows = await self._rows(
            f"SELECT document, flat FROM {COLLECTIONS[kind]} WHERE _id = ?", (id_,)
        )
        return await self._whole(from_row(*rows[0])) if rows else None

    async def records(self, query: Query, *, whole: bool = True) -> AsyncGenerator[Document, None]:
        """See `ReadStore`."""
        tail, values = _where(query)
        order = "published_at DESC, _id" if query.newest_first else "_id"
        limit = "" if query.limit is None else f" LIMIT {query.limit:d}"
        sql = f"SELECT document, flat FROM {tail} ORDER BY {order}{limit}"
        async with aclosing(self._stream(sql, values)) as rows:
            async for text, flat in rows:
                document = from_row(text, flat)
                yield await self._whole(document) if whole else document

    async def count(self, query: Query) -> int:
        """See `ReadStore`."""
        tail, values = _where(query)
        ((found,),) = await self._rows(f"SELECT count(*) FROM {tail}", values)
        return int(found)

    async def counts(self, kind: Kind, targets: Sequence[str]) -> Mapping[str, int]:
        """See `ReadStore`."""
        found: dict[str, int] = {}
        for part in some(targets):
            rows = await self._rows(
                f"SELECT target, count(*) FROM record_targets JOIN {COLLECTIONS[kind]} USING (_id) "
                f"WHERE kind = ? AND target IN ({marks(part)}) AND NOT withdrawn GROUP BY target",
                (kind, *part),
            )
            found.update((target, int(number)) for target, number in rows)
        return found

    async def digests(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """See `ReadStore`."""
        found: dict[str, str] = {}
        for part in some(ids):
            rows = await self._rows(
                f"SELECT _id, json_extract(document, '$.digest') FROM {COLLECTIONS[kind]} "
                f"WHERE _id IN ({marks(part)}) AND NOT withdrawn",
                part,
            )
            found.update((str(id_), str(digest)) for id_, digest in rows)
        return found

    async def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        sql = (
            f"SELECT _id FROM record_targets JOIN {COLLECTIONS[kind]} USING (_id) "
            "WHERE target = ? AND kind = ? AND NOT withdrawn ORDER BY _id"
        )
        async with aclosing(self._stream(sql, (target, kind))) as rows:
            async for (id_,) in rows:
                yield id_

    async def _whole(self, document: Document) -> Document:
        if "blobs" not in document:
            return document
        blobs: dict[str, bytes] = {}
        for blob in document["blobs"].values():
            parts = self._stream(
                "SELECT data FROM blobs WHERE digest = ? ORDER BY part", (blob["digest"],)
            )
            blobs[blob["digest"]] = b"".join([data async for (data,) in parts])
            if len(blobs[blob["digest"]]) != blob["length"]:
                raise StoreUnavailable(f"the store {self._path} lacks a part of {document['_id']}")
        return restore(document, blobs)

    async def _rows(self, sql: str, values: Sequence[object]) -> list[Any]:
        with mapped(self._path):
            return list(await self._reader.execute_fetchall(sql, tuple(values)))

    async def _stream(self, sql: str, values: Sequence[object]) -> AsyncGenerator[Any, None]:
        with mapped(self._path):
            async with self._reader.execute(sql, tuple(values)) as cursor:
                async for row in cursor:
                    yield row


def _where(query: Query) -> tuple[str, list[object]]:
    """The FROM and WHERE of a query, with its values."""
    table = COLLECTIONS[query.kind]
    values: list[object] = []
    conditions: list[str] = []
    if query.target is not None:
        table = f"record_targets JOIN {table} USING (_id)"
        conditions += ["target = ?", "kind = ?"]
        values += [query.target, query.kind]
    for name, value in query.where.items():
        if name not in columns(query.kind):
            raise ValueError(f"{query.kind} has no index on {name}")
        conditions.append(f"{name} IS ?")
        values.append(value)
    if query.withdrawn is not None:
        conditions.append("withdrawn" if query.withdrawn else "NOT withdrawn")
    return f"{table} WHERE {' AND '.join(conditions or ['1'])}", values


def _state(text: str) -> TargetState:
    document = json.loads(text)
    for name in _STATE_TIMES:
        document[name] = read_time(document[name])
    if document["failure"] is not None:
        document["failure"]["retry_at"] = read_time(document["failure"]["retry_at"])
    return state_from(document)


def some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + _PARAMETERS] for at in range(0, len(values), _PARAMETERS))


def marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
