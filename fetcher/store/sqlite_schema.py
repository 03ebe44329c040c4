"""SQLite: the tables, how documents become rows, and what its errors mean."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from fetcher.documents import Document, Kind, time_text
from fetcher.errors import StoreError, StoreFull, StoreUnavailable
from fetcher.store.protocol import COLLECTIONS, INDEXED

__all__ = [
    "APPLICATION_ID",
    "SCHEMA",
    "columns",
    "from_row",
    "mapped",
    "read_time",
    "to_row",
]

# "fetc" in a SQLite file's header: https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID: Final = 0x66657463


def columns(kind: Kind) -> tuple[str, ...]:
    """The fields of a kind that have a column of their own, for indexes and conditions."""
    return tuple(dict.fromkeys(field for fields in INDEXED[kind] for field in fields))


def _tables() -> Iterator[str]:
    for kind, collection in COLLECTIONS.items():
        # What has no type keeps the one it comes with; names of organisms have no case.
        fields = "".join(
            f", {name}{' COLLATE NOCASE' if name == 'organism' else ''}" for name in columns(kind)
        )
        yield (
            f"CREATE TABLE {collection} (_id TEXT PRIMARY KEY, document TEXT NOT NULL, flat BLOB, "
            f"withdrawn INTEGER NOT NULL, account TEXT NOT NULL, token INTEGER NOT NULL, "
            f"n INTEGER NOT NULL{fields})"
        )
        yield f"CREATE INDEX {collection}_stamp ON {collection} (account, token, n)"
        for index in INDEXED[kind]:
            name = "_".join((collection, *index))
            yield f"CREATE INDEX {name} ON {collection} ({', '.join((*index, '_id'))})"
    yield (
        "CREATE TABLE record_targets (target TEXT, kind TEXT, _id TEXT, "
        "PRIMARY KEY (target, kind, _id)) WITHOUT ROWID"
    )
    yield "CREATE INDEX record_targets_record ON record_targets (kind, _id)"
    yield (
        "CREATE TABLE targets (_id TEXT PRIMARY KEY, document TEXT NOT NULL, "
        "token INTEGER NOT NULL, next_due TEXT)"
    )
    yield "CREATE INDEX targets_next_due ON targets (next_due)"
    yield "CREATE TABLE target_names (name TEXT PRIMARY KEY, _id TEXT NOT NULL) WITHOUT ROWID"
    yield "CREATE INDEX target_names_target ON target_names (_id)"
    yield (
        "CREATE TABLE leases (account TEXT PRIMARY KEY, owner TEXT, token INTEGER NOT NULL, "
        "expires_at REAL NOT NULL, budget TEXT NOT NULL, n INTEGER NOT NULL, "
        "watermark INTEGER NOT NULL)"
    )
    yield "CREATE TABLE tokens (token INTEGER PRIMARY KEY AUTOINCREMENT)"
    yield (
        "CREATE TABLE blobs (digest TEXT, part INTEGER, data BLOB NOT NULL, "
        "PRIMARY KEY (digest, part)) WITHOUT ROWID"
    )


SCHEMA: Final = tuple(_tables())


def to_row(kind: Kind, document: Document) -> tuple[Any, ...]:
    """A record's row, in the order of its table's columns."""
    stamp = document["stamp"]
    plain = {key: value for key, value in document.items() if key != "flat"}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=time_text)
    return (
        document["_id"],
        text,
        document.get("flat"),
        document["withdrawn_at"] is not None,
        stamp["account"],
        stamp["token"],
        stamp["n"],
        *(_scalar(document.get(name)) for name in columns(kind)),
    )


def _scalar(value: object) -> object:
    return time_text(value) if isinstance(value, datetime) else value


def from_row(text: str, flat: bytes | None) -> Document:
    """A record's document; times are times again wherever a document has them."""
    document: Document = json.loads(text)
    _read_times(document)
    for asset in document.get("assets") or ():
        _read_times(asset)
    for entry in document["history"]:
        _read_times(entry)
        _read_times(entry["fields"])
        assets = entry["fields"].get("assets")
        for asset in assets if isinstance(assets, list) else ():
            _read_times(asset)
    observed = document["observed"]
    observed.update(at=read_time(observed["at"]), updated=read_time(observed["updated"]))
    if flat is not None:
        document["flat"] = flat
    return document


def _read_times(values: Document) -> None:
    for key, value in values.items():
        if isinstance(value, str) and key.endswith(("_at", "_date")):
            values[key] = read_time(value)


def read_time(text: str | None) -> datetime | None:
    """A time as `time_text` wrote it."""
    return datetime.fromisoformat(text) if text is not None else None


_SENTENCES: Final[Sequence[tuple[int, str]]] = (
    (sqlite3.SQLITE_CANTOPEN, "it cannot be opened; does its folder exist, may it be read?"),
    (sqlite3.SQLITE_READONLY, "it cannot be written; it or its folder is read-only"),
    (sqlite3.SQLITE_NOTADB, "it is no SQLite database"),
    (sqlite3.SQLITE_CORRUPT, "it is damaged; restore it from a copy"),
    (sqlite3.SQLITE_BUSY, "another process keeps it locked; try again when that has ended"),
    (sqlite3.SQLITE_LOCKED, "another process keeps it locked; try again when that has ended"),
    (sqlite3.SQLITE_PERM, "it may not be read"),
    (sqlite3.SQLITE_AUTH, "it may not be read"),
)


@contextmanager
def mapped(path: str) -> Iterator[None]:
    """No error of sqlite3's gets past here; told apart by their code, never by their text."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.Error, path: str) -> StoreError:
    # The low byte is the primary code: https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"the store {path} is full: there is no room left on its disk")
    for known, sentence in _SENTENCES:
        if code == known:
            return StoreUnavailable(f"the store {path} does not work: {sentence}")
    return StoreUnavailable(f"the store {path} does not work: {error}")
