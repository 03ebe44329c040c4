"""SQLite: what is due, who watches it, and what is asked of a leader."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from fetcher.documents import from_json, json_bytes
from fetcher.errors import LeaseLost
from fetcher.models import Failure, Lease, PollRequest, PollResult, TargetState, Wish
from fetcher.store.protocol import COLLECTIONS, Side
from fetcher.store.sqlite_leases import SqliteLeases
from fetcher.store.sqlite_reader import STATE, marks, request_of, some, state_of
from fetcher.store.sqlite_schema import from_milliseconds, milliseconds
from fetcher.store.states import advances, lasting, request_document, under

__all__ = ["ADD", "SqliteSchedule", "row_of"]

# Many rows go in as one JSON text, and come out as one: a statement that steps from row to row
# lets go of the interpreter's lock at each of them, and under load waits for it again for
# milliseconds (https://docs.python.org/3/library/sys.html#sys.setswitchinterval).
_PASSING: Final = (
    "attempted",
    "outcome",
    "records",
    "failures",
    "succeeded",
    "changed",
    "reconciled",
    "rhythm",
)


def _values(count: int) -> str:
    return ", ".join(f"json_extract(value, '$[{n}]') AS v{n}" for n in range(count))


_ADVANCE: Final = (
    "UPDATE targets SET account = ?1, token = ?2, next_due = v6, "
    + ", ".join(f"{name} = v{n}" for n, name in enumerate(_PASSING, 7))
    + f" FROM (SELECT {_values(7 + len(_PASSING))} FROM json_each(?4)) WHERE _id = v0 "
    "AND account = v1 AND token = v2 AND attempted IS v3 AND file IS v4 AND hand IS v5 "
    "AND EXISTS (SELECT 1 FROM leases WHERE account = ?1 AND token = ?2 AND owner = ?3)"
)
_SAVED: Final = ("_id", "document", "query", "account", "token", "next_due", *_PASSING)
_INSERT: Final = (
    f"INTO targets ({', '.join(_SAVED)}) SELECT {_values(len(_SAVED))} FROM json_each(?) WHERE 1"
)
_SAVE: Final = f"INSERT {_INSERT} ON CONFLICT (_id) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _SAVED if name not in ("_id", "query")
)
ADD: Final = f"INSERT OR IGNORE {_INSERT}"
_PARSED: Final = STATE.replace("document", "json(document)").replace("rhythm", "json(rhythm)")


class SqliteSchedule(SqliteLeases):
    """The states, the schedule and the requests of `WriteStore`."""

    async def save_targets(
        self,
        lease: Lease,
        states: Sequence[TargetState],
        gone: Sequence[str] = (),
        known: Mapping[str, TargetState] = MappingProxyType({}),
    ) -> Sequence[str]:
        """See `WriteStore`."""
        last = {state.id: under(lease, state) for state in states}
        quick = [
            (id_, _advance(each, known[id_]))
            for id_, each in last.items()
            if advances(lease, each, known.get(id_))
        ]
        if quick:
            rows = _text([row for _, row in quick])
            held = (lease.account, lease.token, lease.owner)
            number = await self._statement(_ADVANCE, (*held, rows))
            if number == len(quick):
                # Where it is not, all are looked at one by one: once more does no harm.
                for id_, _ in quick:
                    del last[id_]
                if not (last or gone):
                    return ()

        async def body() -> Sequence[str]:
            await self._check(lease)
            stale = await self._replace(lease, last) if last else ()
            for table in ("targets", "target_names") if gone else ():
                await self._writer.executemany(
                    f"DELETE FROM {table} WHERE _id = ?", ((id_,) for id_ in gone)
                )
            return stale

        return await self._transaction(body)

    async def _replace(self, lease: Lease, last: Mapping[str, TargetState]) -> Sequence[str]:
        """Saves states whole, but for those that something stands against: gives their ids."""
        left = dict(last)
        stale: list[str] = []
        named: set[str] = set()
        for part in some(list(last)):
            rows = await self._writer.execute_fetchall(
                f"SELECT _id, account, token, attempted, file, hand, "
                f"json_extract(document, '$.names') FROM targets WHERE _id IN ({marks(part)})",
                part,
            )
            for id_, account, token, attempted, file, hand, names in rows:
                mine = left[id_]
                if account == lease.account and token > lease.token:
                    raise LeaseLost(f"a later leader has polled {mine.key} already")
                later = (attempted or 0) > (milliseconds(mine.last_attempt) or 0)
                if later or _wished(mine) != (file, hand):
                    stale.append(id_)
                    del left[id_]
                elif from_json(names) == list(mine.names):
                    named.add(id_)
        await self._writer.execute(_SAVE, (_text([row_of(each) for each in left.values()]),))
        if renamed := [each for each in left.values() if each.id not in named]:
            await self._names(renamed)
        return stale

    async def _names(self, states: Sequence[TargetState]) -> None:
        await self._writer.executemany(
            "DELETE FROM target_names WHERE _id = ?", ((state.id,) for state in states)
        )
        await self._writer.executemany(
            "INSERT OR IGNORE INTO target_names VALUES (?, ?)",
            ((name, state.id) for state in states for name in state.names),
        )

    async def void(self, lease: Lease, ids: Sequence[str]) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._check(lease)
            await self._writer.executemany(
                "UPDATE targets SET document = json_set(document, '$.cursor', NULL) WHERE _id = ?",
                ((id_,) for id_ in ids),
            )

        await self._transaction(body)

    async def mend(self, lease: Lease) -> Sequence[str]:
        """See `WriteStore`: here nobody writes late."""
        return ()

    async def due(
        self, account: str, now: datetime, *, queries: bool, limit: int, skip: Collection[str] = ()
    ) -> Sequence[TargetState]:
        """See `WriteStore`."""
        ((found,),) = await self._rows(
            f"SELECT json_group_array(json_array({_PARSED})) FROM (SELECT {STATE} FROM targets "
            "WHERE home = ? AND query = ? AND next_due <= ? "
            "AND _id NOT IN (SELECT value FROM json_each(?)) ORDER BY next_due LIMIT ?)",
            (account, queries, milliseconds(now), _text(list(skip)), limit),
        )
        return [state_of(row) for row in from_json(found)]

    async def upcoming(self, account: str, now: datetime) -> datetime | None:
        """See `WriteStore`."""
        ((found,),) = await self._rows(
            "SELECT min(next_due) FROM targets WHERE home = ? AND query = 0 AND next_due > ?",
            (account, milliseconds(now)),
        )
        return from_milliseconds(found)

    async def recall(self, account: str, now: datetime) -> int:
        """See `WriteStore`."""
        at = milliseconds(now)

        async def body() -> int:
            done = await self._writer.execute(
                "UPDATE targets SET next_due = ?1, attempted = iif(attempted IS NULL, NULL, ?1) "
                "WHERE home = ?2 AND ifnull(attempted, next_due) > ?1",
                (at, account),
            )
            return done.rowcount

        return await self._transaction(body)

    async def wish(self, side: Side, wishes: Sequence[Wish]) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            now = await self.now()
            new = [
                TargetState(each.id, each.key, (each.id,), each.account, next_due=now)
                for each in wishes
                if each.every is not None
            ]
            await self._writer.execute(ADD, (_text([row_of(each) for each in new]),))
            await self._writer.executemany(
                "INSERT OR IGNORE INTO target_names SELECT _id, _id FROM targets WHERE _id = ? "
                "AND NOT EXISTS (SELECT 1 FROM target_names AS n WHERE n._id = targets._id)",
                ((each.id,) for each in new),
            )
            await self._writer.executemany(
                f"UPDATE targets SET {side} = ?, home = ?, "
                "next_due = min(next_due, ifnull(?, next_due)) WHERE _id = ?",
                ((w.every, w.account, milliseconds(w.due), w.id) for w in wishes),
            )
            await self._writer.executemany(
                "UPDATE targets SET home = NULL WHERE _id = ? AND file IS NULL AND hand IS NULL",
                ((each.id,) for each in wishes),
            )

        await self._transaction(body)

    async def purge(self, id_: str, key: str) -> int:
        """See `WriteStore`."""

        async def body() -> int:
            purged = 0
            for kind, table in COLLECTIONS.items():
                mine = "SELECT _id FROM record_targets WHERE target = ?1 AND kind = ?2"
                shared = (
                    "SELECT _id FROM record_targets AS mine WHERE target = ?1 AND kind = ?2 AND "
                    "EXISTS (SELECT 1 FROM record_targets AS other WHERE other.kind = ?2 AND "
                    "other._id = mine._id AND other.target <> ?1)"
                )
                await self._writer.execute(
                    f"UPDATE {table} SET document = json_set(document, '$.targets', (SELECT "
                    "json_group_array(value) FROM json_each(document, '$.targets') "
                    f"WHERE value <> ?1)) WHERE _id IN ({shared})",
                    (key, kind),
                )
                gone = await self._writer.execute(
                    f"DELETE FROM {table} WHERE _id IN ({mine}) AND _id NOT IN ({shared})",
                    (key, kind),
                )
                purged += gone.rowcount
                await self._writer.execute(
                    "DELETE FROM record_targets WHERE target = ?1 AND kind = ?2", (key, kind)
                )
            for table in ("targets", "target_names"):
                await self._writer.execute(f"DELETE FROM {table} WHERE _id = ?", (id_,))
            return purged

        return await self._transaction(body)

    # Requests

    async def ask(self, request: PollRequest) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            # Those that no leader is left to drop.
            await self._writer.execute(
                "DELETE FROM requests WHERE expires_at <= ?", (milliseconds(request.asked_at),)
            )
            before = await self._writer.execute_fetchall(
                "SELECT document FROM requests WHERE _id = ?", (request.id,)
            )
            full = request.full or any(request_of(text).full for (text,) in before)
            await self._writer.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, 0, ?)",
                (
                    request.id,
                    request.account,
                    milliseconds(request.asked_at),
                    milliseconds(request.expires_at),
                    _text(request_document(replace(request, full=full))),
                ),
            )

        await self._transaction(body)

    async def asked(self, account: str) -> Sequence[PollRequest]:
        """See `WriteStore`."""
        now = milliseconds(await self.now())
        rows = await self._rows(
            "SELECT document, answered, expires_at <= ? FROM requests WHERE account = ? "
            "ORDER BY asked_at, _id",
            (now, account),
        )
        if any(expired for _, _, expired in rows):

            async def body() -> None:
                await self._writer.execute("DELETE FROM requests WHERE expires_at <= ?", (now,))

            await self._transaction(body)
        return [request_of(text) for text, answered, expired in rows if not (answered or expired)]

    async def answer(
        self,
        request: PollRequest,
        results: Mapping[str, PollResult],
        refusal: Failure | None = None,
    ) -> None:
        """See `WriteStore`."""
        text = _text(request_document(replace(request, results=results, refusal=refusal)))

        async def body() -> None:
            await self._writer.execute(
                "UPDATE requests SET document = ?, answered = 1 WHERE _id = ? AND asked_at = ?",
                (text, request.id, milliseconds(request.asked_at)),
            )

        await self._transaction(body)

    async def unask(self, request: PollRequest) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._writer.execute(
                "DELETE FROM requests WHERE _id = ? AND asked_at = ?",
                (request.id, milliseconds(request.asked_at)),
            )

        await self._transaction(body)


def _text(value: object) -> str:
    return json_bytes(value).decode()


def _wished(state: TargetState) -> tuple[object, object]:
    return (state.watch.file, state.watch.hand) if state.watch is not None else (None, None)


def row_of(state: TargetState) -> tuple[object, ...]:
    """A target's row without its watch, as `ADD` takes it."""
    return (
        state.id,
        _text(lasting(state)),
        "?" in state.key,
        state.account,
        state.token,
        milliseconds(state.next_due),
        *_passing(state),
    )


def _advance(state: TargetState, known: TargetState) -> tuple[object, ...]:
    return (
        state.id,
        known.account,
        known.token,
        milliseconds(known.last_attempt),
        *_wished(state),
        milliseconds(state.next_due),
        *_passing(state),
    )


def _passing(state: TargetState) -> tuple[object, ...]:
    """In the order of `_PASSING`."""
    attempted = milliseconds(state.last_attempt)
    return (
        attempted,
        state.outcome,
        state.records,
        state.failures,
        attempted if state.last_success is state.last_attempt else milliseconds(state.last_success),
        milliseconds(state.last_change),
        milliseconds(state.reconciled_at),
        state.rhythm,
    )
