"""SQLite: the tables, how documents become rows, and what its errors mean."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from fetcher.documents import Document, Kind, from_json, json_bytes
from fetcher.errors import StoreError, StoreFull, StoreUnavailable
from fetcher.store.protocol import COLLECTIONS, INDEXED
from fetcher.store.times import read_document

__all__ = [
    "APPLICATION_ID",
    "SCHEMA",
    "STEPS",
    "columns",
    "from_milliseconds",
    "from_row",
    "mapped",
    "milliseconds",
    "scalar",
    "to_row",
]

# "fetc" in a SQLite file's header: https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID: Final = 0x66657463
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@cache
def columns(kind: Kind) -> tuple[str, ...]:
    """The fields of a kind that have a column of their own, for indexes and conditions."""
    return tuple(dict.fromkeys(field for fields in INDEXED[kind] for field in fields))


# `home` is the account that polls a target when it is due; NULL where nobody watches it. Times are
# milliseconds since the epoch, which sort as numbers.
# What changes with every poll has columns of its own; `document` holds what lasts.
TARGETS: Final = (
    "CREATE TABLE targets (_id TEXT PRIMARY KEY, document TEXT NOT NULL, account TEXT NOT NULL, "
    "token INTEGER NOT NULL, attempted INTEGER, next_due INTEGER, home TEXT, file, hand, "
    "query INTEGER NOT NULL, outcome TEXT, records INTEGER NOT NULL DEFAULT 0, "
    "failures INTEGER NOT NULL DEFAULT 0, succeeded INTEGER, changed INTEGER, "
    "reconciled INTEGER, rhythm TEXT NOT NULL DEFAULT '{}')"
)
TARGETS_DUE: Final = "CREATE INDEX targets_due ON targets (home, query, next_due)"
REQUESTS: Final = (
    "CREATE TABLE requests (_id TEXT PRIMARY KEY, account TEXT NOT NULL, asked_at INTEGER NOT "
    "NULL, expires_at INTEGER NOT NULL, answered INTEGER NOT NULL, document TEXT NOT NULL)"
)
META: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('store', lower(hex(randomblob(8))))",
)


def _tables() -> Iterator[str]:
    for kind, collection in COLLECTIONS.items():
        # What has no type keeps the one it comes with.
        fields = "".join(f", {name}" for name in columns(kind))
        yield (
            f"CREATE TABLE {collection} (_id TEXT PRIMARY KEY, document TEXT NOT NULL, flat BLOB, "
            f"withdrawn INTEGER NOT NULL, account TEXT NOT NULL, token INTEGER NOT NULL, "
            f"n INTEGER NOT NULL, digest TEXT NOT NULL{fields})"
        )
        yield f"CREATE INDEX {collection}_stamp ON {collection} (account, token, n)"
        for index in INDEXED[kind]:
            name = "_".join((collection, *index))
            yield f"CREATE INDEX {name} ON {collection} ({', '.join((*index, '_id'))})"
        if "published_at" in columns(kind):
            yield f"CREATE INDEX {collection}_newest ON {collection} (published_at DESC, _id)"
    yield (
        "CREATE TABLE record_targets (target TEXT, kind TEXT, _id TEXT, "
        "PRIMARY KEY (target, kind, _id)) WITHOUT ROWID"
    )
    yield "CREATE INDEX record_targets_record ON record_targets (kind, _id)"
    yield TARGETS
    yield TARGETS_DUE
    yield "CREATE TABLE target_names (name TEXT, _id TEXT, PRIMARY KEY (name, _id)) WITHOUT ROWID"
    yield "CREATE INDEX target_names_target ON target_names (_id)"
    yield (
        "CREATE TABLE leases (account TEXT PRIMARY KEY, owner TEXT, token INTEGER NOT NULL, "
        "expires_at REAL NOT NULL, budget TEXT NOT NULL, n INTEGER NOT NULL, "
        "kept REAL NOT NULL DEFAULT 0)"
    )
    yield REQUESTS
    yield "CREATE TABLE tokens (token INTEGER PRIMARY KEY AUTOINCREMENT)"
    yield (
        "CREATE TABLE blobs (digest TEXT, part INTEGER, data BLOB NOT NULL, "
        "PRIMARY KEY (digest, part)) WITHOUT ROWID"
    )
    yield from META


SCHEMA: Final = tuple(_tables())

_MS: Final = "CAST(round((julianday({}) - 2440587.5) * 86400000) AS INTEGER)"

_MOVED_TIMES: Final = (
    ("last_success", "succeeded"),
    ("last_change", "changed"),
    ("reconciled_at", "reconciled"),
)

# From each version to the next.
STEPS: Final[Mapping[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE targets RENAME TO targets_1",
        "DROP INDEX targets_next_due",
        (
            "CREATE TABLE targets (_id TEXT PRIMARY KEY, document TEXT NOT NULL, account TEXT NOT "
            "NULL, token INTEGER NOT NULL, attempted INTEGER, next_due INTEGER, home TEXT, file, "
            "hand, query INTEGER NOT NULL)"
        ),
        "INSERT INTO targets SELECT _id, document, json_extract(document, '$.account'), token, "
        + _MS.format("json_extract(document, '$.last_attempt')")
        + ", "
        + _MS.format("json_extract(document, '$.next_due')")
        + ", NULL, NULL, NULL, instr(_id, '?') > 0 FROM targets_1",
        "DROP TABLE targets_1",
        "CREATE INDEX targets_due ON targets (home, query, next_due, _id)",
        "ALTER TABLE leases DROP COLUMN watermark",
        "ALTER TABLE leases ADD COLUMN kept REAL NOT NULL DEFAULT 0",
        REQUESTS,
    ),
    2: (
        "DROP INDEX targets_due",
        TARGETS_DUE,
        "ALTER TABLE targets ADD COLUMN outcome TEXT",
        "ALTER TABLE targets ADD COLUMN records INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE targets ADD COLUMN failures INTEGER NOT NULL DEFAULT 0",
        *(f"ALTER TABLE targets ADD COLUMN {name} INTEGER" for _, name in _MOVED_TIMES),
        "ALTER TABLE targets ADD COLUMN rhythm TEXT NOT NULL DEFAULT '{}'",
        "UPDATE targets SET outcome = json_extract(document, '$.outcome'), "
        "records = ifnull(json_extract(document, '$.records'), 0), "
        "failures = ifnull(json_extract(document, '$.failures'), 0), "
        "rhythm = ifnull(json_extract(document, '$.rhythm'), '{}')"
        + "".join(
            f", {name} = " + _MS.format(f"json_extract(document, '$.{field}')")
            for field, name in _MOVED_TIMES
        ),
        (
            "UPDATE targets SET document = json_remove(document, '$._id', '$.account', '$.token', "
            "'$.outcome', '$.records', '$.failures', '$.last_attempt', '$.last_success', "
            "'$.last_change', '$.reconciled_at', '$.next_due', '$.rhythm')"
        ),
    ),
    3: (
        (
            "CREATE TABLE summaries (_id TEXT PRIMARY KEY, document TEXT NOT NULL, flat BLOB, "
            "withdrawn INTEGER NOT NULL, account TEXT NOT NULL, token INTEGER NOT NULL, "
            "n INTEGER NOT NULL, digest TEXT NOT NULL)"
        ),
        "CREATE INDEX summaries_stamp ON summaries (account, token, n)",
    ),
    4: META,
}


def to_row(kind: Kind, document: Document) -> tuple[Any, ...]:
    """A record's row, in the order of its table's columns."""
    stamp = document["stamp"]
    plain = {key: value for key, value in document.items() if key != "flat"}
    text = json_bytes(plain).decode()
    return (
        document["_id"],
        text,
        document.get("flat"),
        document["withdrawn_at"] is not None,
        stamp["account"],
        stamp["token"],
        stamp["n"],
        document["digest"],
        *(scalar(name, document.get(name)) for name in columns(kind)),
    )


def milliseconds(time: datetime | None) -> int | None:
    """A time as columns of the schedule have it."""
    return round(time.timestamp() * 1000) if time is not None else None


def from_milliseconds(value: int | None) -> datetime | None:
    """The time of such a column."""
    return datetime.fromtimestamp(value / 1000, UTC) if value is not None else None


def scalar(name: str, value: object) -> object:
    """A field's value as its column has it: what is equal there counts as equal."""
    match value:
        case datetime():
            # All of one length, so that they sort as text.
            return value.astimezone(UTC).isoformat(timespec="milliseconds")
        case str():
            text = value.encode("utf-8", "replace").decode() if _SURROGATE.search(value) else value
            return text.casefold() if name == "organism" else text
        case _:
            return value


def from_row(text: str, flat: bytes | None) -> Document:
    """A record's document; times are times again wherever a document has them."""
    document: Document = from_json(text)
    read_document(document)
    if flat is not None:
        document["flat"] = flat
    return document


_SENTENCES: Final[Sequence[tuple[int, str]]] = (
    (sqlite3.SQLITE_CANTOPEN, "it cannot be opened; may it and its folder be read and written?"),
    (sqlite3.SQLITE_READONLY, "it cannot be written; it or its folder is read-only"),
    (sqlite3.SQLITE_NOTADB, "it is no SQLite database"),
    (sqlite3.SQLITE_CORRUPT, "it is damaged; restore it from a copy"),
    (sqlite3.SQLITE_BUSY, "another process keeps it locked; try again when that has ended"),
    (sqlite3.SQLITE_LOCKED, "another process keeps it locked; try again when that has ended"),
    (sqlite3.SQLITE_IOERR, "its disk cannot be read or written"),
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
    except OverflowError as error:
        raise StoreUnavailable(f"the store {path} cannot hold a number that large") from error


def _translate(error: sqlite3.Error, path: str) -> StoreError:
    # The low byte is the primary code: https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"the store {path} is full: there is no room left on its disk")
    for known, sentence in _SENTENCES:
        if code == known:
            return StoreUnavailable(f"the store {path} does not work: {sentence}")
    return StoreUnavailable(f"the store {path} does not work: {error}")
