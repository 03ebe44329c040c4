"""The read side of the embedded store; it needs no more than a connection that may read.

What is long is read page by page, each page a statement of its own that begins behind the last
row of the one before. A statement that stayed open would hold its snapshot, and every other read
of this connection with it, in the past (https://www.sqlite.org/isolation.html), and keep the
write-ahead log from being cut.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final, Self

import aiosqlite

from fetcher.documents import Blob, Document, Kind, from_json
from fetcher.errors import StoreUnavailable
from fetcher.models import (
    AccountState,
    Clock,
    OutcomeKind,
    PollRequest,
    Spell,
    Stamp,
    TargetState,
    Watch,
    Watched,
)
from fetcher.store.feed import latest, visible
from fetcher.store.protocol import COLLECTIONS, Position, Query, after_prefix
from fetcher.store.spill import restore
from fetcher.store.sqlite_schema import from_milliseconds, from_row, mapped, scalar
from fetcher.store.states import bearer, failure_from, request_from, watch_from
from fetcher.store.times import read_time

__all__ = ["STATE", "SqliteReader", "marks", "request_of", "some", "state_of"]

# SQLite takes 32,766 parameters in one statement, older builds 999.
_PARAMETERS: Final = 500
# Ids of a page; documents read at once, first and at most, and about how many bytes of them.
_IDS: Final = 5_000
_BEHIND_ALL: Final = "\U0010ffff"
_FIRST: Final = 16
_ROWS: Final = 64
_PAGE_BYTES: Final = 4 << 20
_KINDS: Final[Mapping[str | None, OutcomeKind | None]] = {
    None: None,
    **{str(kind): kind for kind in OutcomeKind},
}
STATE: Final = (
    "_id, document, account, token, attempted, next_due, home, file, hand, outcome, records, "
    "failures, succeeded, changed, reconciled, rhythm"
)


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

    async def identity(self) -> str:
        """See `ReadStore`."""
        ((value,),) = await self._rows("SELECT value FROM meta WHERE name = 'store'", ())
        return str(value)

    async def target(self, name: str) -> TargetState | None:
        """See `ReadStore`."""
        return (await self.targets_by_name([name])).get(name)

    async def targets_by_name(self, names: Sequence[str]) -> Mapping[str, TargetState]:
        """See `ReadStore`."""
        claims: dict[str, list[TargetState]] = {}
        for part in some(names):
            rows = await self._rows(
                f"SELECT name, {STATE} FROM target_names JOIN targets USING (_id) "
                f"WHERE name IN ({marks(part)})",
                part,
            )
            for name, *row in rows:
                claims.setdefault(name, []).append(state_of(row))
        return {name: bearer(name, states) for name, states in claims.items()}

    async def targets(
        self, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[TargetState, None]:
        """See `ReadStore`."""
        place = (after,) if after is not None else None
        async with aclosing(
            self._paged(("_id",), "targets WHERE 1", (), limit, beside=f", {STATE}", after=place)
        ) as pages:
            async for page in pages:
                for _, *row in page:
                    yield state_of(row)

    async def watched(self) -> AsyncGenerator[Watched, None]:
        """See `ReadStore`."""
        beside = ", home, file, hand, json_extract(document, '$.key', '$.names')"
        async with aclosing(
            self._paged(("_id",), "targets WHERE home IS NOT NULL", (), beside=beside)
        ) as pages:
            async for page in pages:
                for id_, home, file, hand, told in page:
                    key, names = from_json(told)
                    yield Watched(id_, key, tuple(names), Watch(home, file, hand))

    async def accounts(self) -> Sequence[AccountState]:
        """See `ReadStore`."""
        now = self._clock.time()
        rows = await self._rows(
            "SELECT account, owner, token, expires_at, budget, n FROM leases ORDER BY account", ()
        )
        return [
            AccountState(
                account,
                owner if expires_at > now else None,
                token,
                datetime.fromtimestamp(expires_at, UTC),
                from_json(budget),
                n,
            )
            for account, owner, token, expires_at, budget, n in rows
        ]

    async def request(self, id_: str) -> PollRequest | None:
        """See `ReadStore`."""
        rows = await self._rows("SELECT document FROM requests WHERE _id = ?", (id_,))
        return request_of(rows[0][0]) if rows else None

    async def changes(self, after: Position) -> AsyncGenerator[tuple[Stamp, Document], None]:
        """See `ReadStore`."""
        for account in await self.accounts():
            name = account.account

            async def page(
                kind: Kind, begin: tuple[int, int], size: int, name: str = name
            ) -> list[tuple[Stamp, Document]]:
                rows = await self._rows(
                    f"SELECT token, n, document, flat FROM {COLLECTIONS[kind]} WHERE account = ? "
                    f"AND (token, n) > (?, ?) ORDER BY token, n LIMIT {size:d}",
                    (name, *begin),
                )
                return [(Stamp(name, t, n), from_row(text, flat)) for t, n, text, flat in rows]

            async with aclosing(visible(account, after.get(name, (0, 0)), page)) as changes:
                async for change in changes:
                    yield change

    async def recent(self, limit: int) -> Sequence[Document]:
        """See `ReadStore`."""
        found: list[Document] = []
        for (name,), table in product(
            await self._rows("SELECT account FROM leases", ()), COLLECTIONS.values()
        ):
            rows = await self._rows(
                f"SELECT document, flat FROM {table} WHERE account = ? "
                "ORDER BY token DESC, n DESC LIMIT ?",
                (name, limit),
            )
            found += [from_row(text, flat) for text, flat in rows]
        return latest(found, limit)

    async def record(self, kind: Kind, id_: str, *, whole: bool = True) -> Document | None:
        """See `ReadStore`."""
        rows = await self._rows(
            f"SELECT document, flat FROM {COLLECTIONS[kind]} WHERE _id = ?", (id_,)
        )
        document = from_row(*rows[0]) if rows else None
        return await self._whole(document) if document is not None and whole else document

    async def blob(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """See `ReadStore`."""
        came = part = 0
        while came < blob["length"]:
            sql = "SELECT data FROM blobs WHERE digest = ? AND part = ?"
            rows = await self._rows(sql, (blob["digest"], part))
            if not rows:
                raise StoreUnavailable(f"the store lacks a part of {blob['digest']}")
            part, came = part + 1, came + len(rows[0][0])
            yield rows[0][0]

    async def records(self, query: Query, *, whole: bool = True) -> AsyncGenerator[Document, None]:
        """See `ReadStore`."""
        size = _FIRST
        async with aclosing(self._found(query)) as pages:
            async for ids in pages:
                while ids:
                    # As many at once as fit into some megabytes, by the size of those before.
                    part, ids = ids[:size], ids[size:]
                    rows = await self._rows(
                        f"SELECT _id, document, flat FROM {COLLECTIONS[query.kind]} "
                        f"WHERE _id IN ({marks(part)})",
                        part,
                    )
                    weight = sum(len(text) + len(flat or b"") for _, text, flat in rows)
                    size = max(1, min(_ROWS, _PAGE_BYTES * len(rows) // max(weight, 1)))
                    by_id = {id_: (text, flat) for id_, text, flat in rows}
                    for found in (by_id.pop(id_) for id_ in part if id_ in by_id):
                        document = from_row(*found)
                        yield await self._whole(document) if whole else document

    async def count(self, query: Query) -> int:
        """See `ReadStore`."""
        source, values = _where(query)
        ((found,),) = await self._rows(f"SELECT count(*) FROM {source}", values)
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
                f"SELECT _id, digest FROM {COLLECTIONS[kind]} "
                f"WHERE _id IN ({marks(part)}) AND NOT withdrawn",
                part,
            )
            found.update((str(id_), str(digest)) for id_, digest in rows)
        return found

    async def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        async with aclosing(self._found(Query(kind, target, withdrawn=False))) as pages:
            async for page in pages:
                for id_ in page:
                    yield id_

    async def members(self, kind: Kind, ids: Sequence[str], target: str) -> set[str]:
        """See `ReadStore`."""
        found: set[str] = set()
        for part in some(ids):
            rows = await self._rows(
                f"SELECT _id FROM record_targets AS r WHERE target = ? AND kind = ? AND _id IN "
                f"({marks(part)}) AND NOT (SELECT withdrawn FROM {COLLECTIONS[kind]} AS d "
                "WHERE d._id = r._id)",
                (target, kind, *part),
            )
            found.update(str(id_) for (id_,) in rows)
        return found

    async def oldest(self, kind: Kind, target: str) -> datetime | None:
        """See `ReadStore`."""
        ((found,),) = await self._rows(
            "SELECT min(json_extract(document, '$.observed.at')) FROM record_targets AS r JOIN "
            f"{COLLECTIONS[kind]} AS d ON d._id = r._id WHERE target = ? AND kind = ?",
            (target, kind),
        )
        return read_time(found)

    async def owned(self, kind: Kind, prefix: str, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        table = COLLECTIONS[kind]
        source = (
            f"{table} WHERE _id >= ? AND _id < ? AND NOT (withdrawn AND EXISTS (SELECT 1 FROM "
            f"record_targets AS r WHERE r.target = ? AND r.kind = ? AND r._id = {table}._id))"
        )
        values = (prefix, after_prefix(prefix), target, kind)
        async with aclosing(self._paged(("_id",), source, values)) as pages:
            async for page in pages:
                for (id_,) in page:
                    yield id_

    async def _found(self, query: Query) -> AsyncGenerator[list[str], None]:
        """The ids that a query finds, in its order, by the page."""
        source, values = _where(query, lower=False)
        after = _first(query)
        if query.after is not None:
            places = zip(query.order, query.after, strict=True)
            after = [scalar(name, value) for name, value in places]
        async with aclosing(
            self._paged(query.order, source, values, query.limit, after=after)
        ) as pages:
            async for page in pages:
                yield [row[-1] for row in page]

    async def _whole(self, document: Document) -> Document:
        blobs: dict[str, bytes] = {}
        for digest in {blob["digest"] for blob in document.get("blobs", {}).values()}:
            sql = "SELECT data FROM blobs WHERE digest = ? ORDER BY part"
            blobs[digest] = b"".join(data for (data,) in await self._rows(sql, (digest,)))
        return restore(document, blobs)

    async def _rows(self, sql: str, values: Sequence[object]) -> list[Any]:
        with mapped(self._path):
            return list(await self._reader.execute_fetchall(sql, tuple(values)))

    async def _paged(
        self,
        order: Sequence[str],
        source: str,
        values: Sequence[object],
        limit: int | None = None,
        beside: str = "",
        after: Sequence[object] | None = None,
    ) -> AsyncGenerator[list[Any], None]:
        """Pages of what a source has: the columns of the order, and those `beside` them.

        The last column of the order is the `_id`, ascending; `published_at` before it descends,
        and those without a value come last, in a page of their own because they compare with
        nothing.
        """
        left = limit
        newest = order[0] == "published_at"
        while left is None or left > 0:
            size = _IDS if left is None else min(_IDS, left)
            behind, keys = _behind(order, after)
            page = await self._rows(
                f"SELECT {', '.join(order)}{beside} FROM {source}{behind} "
                f"ORDER BY {(' DESC, ' if newest else ', ').join(order)} LIMIT {size:d}",
                (*values, *keys),
            )
            yield page
            left = left - len(page) if left is not None else None
            if len(page) == size:
                after = page[-1][: len(order)]
            elif newest and (after is None or after[0] is not None):
                after = (None, "")
            else:
                return


def _first(query: Query) -> Sequence[object] | None:
    """The place before the first record, where a query has a lower bound in its own order.

    As a condition beside that of a page it would be the one by which SQLite enters the index, and
    each page would go over all those before it.
    """
    if query.prefix is not None:
        return (query.prefix,)
    if query.updated_after is not None and query.order[0] == "update_date":
        return scalar("update_date", query.updated_after), _BEHIND_ALL
    return None


def _where(query: Query, *, lower: bool = True) -> tuple[str, list[object]]:
    """The FROM and WHERE of a query, with its values; `lower` is with the bound of `_first`."""
    lower = lower or _first(query) is None
    table = COLLECTIONS[query.kind]
    values: list[object] = []
    conditions: list[str] = []
    if query.target is not None:
        table = f"record_targets JOIN {table} USING (_id)"
        conditions += ["target = ?", "kind = ?"]
        values += [query.target, query.kind]
    for name, value in query.conditions().items():
        conditions.append(f"{name} IS ?")
        values.append(scalar(name, value))
    if query.withdrawn is not None:
        conditions.append("withdrawn" if query.withdrawn else "NOT withdrawn")
    if query.except_token is not None:
        conditions.append("token <> ?")
        values.append(query.except_token)
    for name, value in query.match.items():
        conditions.append("json_extract(document, ?) IS ?")
        values += [f"$.{name}", value]
    if query.updated_after is not None and lower:
        conditions.append("update_date > ?")
        values.append(scalar("update_date", query.updated_after))
    if query.prefix is not None:
        conditions.append(f"{table}._id < ?")
        values.append(after_prefix(query.prefix))
        if lower:
            conditions.append(f"{table}._id > ?")
            values.append(query.prefix)
    return f"{table} WHERE {' AND '.join(conditions or ['1'])}", values


def _behind(order: Sequence[str], after: Sequence[object] | None) -> tuple[str, Sequence[object]]:
    """The condition for what comes after a row in this order, and its values."""
    first = order[0]
    match after:
        case None if len(order) == 1:
            return "", ()
        case None:
            return (f" AND {first} IS NOT NULL" if first == "published_at" else ""), ()
        case (id_,):
            return " AND _id > ?", (id_,)
        case (None, id_):
            return f" AND {first} IS NULL AND _id > ?", (id_,)
        case (value, id_) if first == "update_date":
            return f" AND {first} >= ? AND ({first} > ? OR _id > ?)", (value, value, id_)
        case (value, id_):
            # The first half lets the index find the place.
            return f" AND {first} <= ? AND ({first} < ? OR _id > ?)", (value, value, id_)
    raise AssertionError(after)


def state_of(row: Sequence[Any]) -> TargetState:
    """The state in a row of `STATE`, whose JSON may have been read already."""
    (id_, lasting, account, token, attempted, next_due, home, file, hand, *rest) = row
    outcome, records, failures, succeeded, changed, reconciled, rhythm = rest
    if isinstance(lasting, str):
        lasting, rhythm = from_json(lasting), from_json(rhythm)
    last_attempt = from_milliseconds(attempted)
    failure = lasting["failure"]
    if failure is not None:
        failure = failure_from({**failure, "retry_at": read_time(failure["retry_at"])})
    return TargetState(
        id=id_,
        key=lasting["key"],
        names=tuple(lasting["names"]),
        account=account,
        outcome=_KINDS[outcome],
        failure=failure,
        missing=tuple(lasting["missing"]),
        cursor=lasting["cursor"],
        facts=lasting["facts"],
        records=records,
        failures=failures,
        last_attempt=last_attempt,
        last_success=last_attempt if succeeded == attempted else from_milliseconds(succeeded),
        last_change=from_milliseconds(changed),
        reconciled_at=from_milliseconds(reconciled),
        next_due=from_milliseconds(next_due),
        rhythm=rhythm,
        spells=tuple(
            [
                Spell(datetime.fromisoformat(each["since"]), each["outcome"])
                for each in lasting.get("spells", ())
            ]
        ),
        token=token,
        watch=watch_from(home, file, hand),
    )


def request_of(text: str) -> PollRequest:
    """The request in a row."""
    document = from_json(text)
    for name in ("asked_at", "expires_at", "not_before"):
        document[name] = read_time(document.get(name))
    if (refusal := document.get("refusal")) is not None:
        refusal["retry_at"] = read_time(refusal["retry_at"])
    return request_from(document)


def some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + _PARAMETERS] for at in range(0, len(values), _PARAMETERS))


def marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
