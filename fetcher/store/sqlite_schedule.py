"""SQLite: what is due, who watches it, and what is asked of a leader."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fetcher.errors import LeaseLost
from fetcher.models import Lease, PollRequest, PollResult, TargetState, Wish
from fetcher.store.protocol import Side
from fetcher.store.sqlite_leases import SqliteLeases
from fetcher.store.sqlite_reader import STATE, marks, request_of, some, state_of
from fetcher.store.sqlite_schema import milliseconds, to_text
from fetcher.store.states import request_document, state_document, under

__all__ = ["SqliteSchedule"]


class SqliteSchedule(SqliteLeases):
    """The states, the schedule and the requests of `WriteStore`."""

    async def save_targets(
        self, lease: Lease, states: Sequence[TargetState], gone: Sequence[str] = ()
    ) -> Sequence[str]:
        """See `WriteStore`."""

        async def body() -> Sequence[str]:
            await self._check(lease)
            last = {state.id: state for state in states}
            stale: list[str] = []
            named: set[str] = set()
            for part in some(list(last)):
                rows = await self._writer.execute_fetchall(
                    f"SELECT _id, account, token, attempted, file, hand, "
                    f"json_extract(document, '$.names') FROM targets "
                    f"WHERE _id IN ({marks(part)})",
                    part,
                )
                for id_, account, token, attempted, file, hand, names in rows:
                    mine = last[id_]
                    watch = mine.watch
                    if account == lease.account and token > lease.token:
                        raise LeaseLost(f"a later leader has polled {mine.key} already")
                    later = (attempted or 0) > (milliseconds(mine.last_attempt) or 0)
                    wished = (watch.file, watch.hand) if watch is not None else (None, None)
                    if later or wished != (file, hand):
                        stale.append(id_)
                        del last[id_]
                    elif json.loads(names) == list(mine.names):
                        named.add(id_)
            await self._writer.executemany(
                "INSERT INTO targets (_id, document, account, token, attempted, next_due, query) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (_id) DO UPDATE SET "
                "document = excluded.document, account = excluded.account, "
                "token = excluded.token, attempted = excluded.attempted, "
                "next_due = excluded.next_due",
                (_row(under(lease, state)) for state in last.values()),
            )
            if renamed := [each for each in last.values() if each.id not in named]:
                await self._names(renamed)
            for table in ("targets", "target_names") if gone else ():
                await self._writer.executemany(
                    f"DELETE FROM {table} WHERE _id = ?", ((id_,) for id_ in gone)
                )
            return stale

        return await self._transaction(body)

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
        rows = await self._rows(
            f"SELECT {STATE} FROM targets WHERE home = ? AND query = ? AND next_due <= ? "
            f"AND _id NOT IN ({marks(skip)}) ORDER BY next_due, _id LIMIT ?",
            (account, queries, milliseconds(now), *skip, limit),
        )
        return [state_of(row) for row in rows]

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
            await self._writer.executemany(
                "INSERT OR IGNORE INTO targets (_id, document, account, token, attempted, "
                "next_due, query) VALUES (?, ?, ?, ?, ?, ?, ?)",
                map(_row, new),
            )
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

    # Requests

    async def ask(self, request: PollRequest) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._writer.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, 0, ?)",
                (
                    request.id,
                    request.account,
                    milliseconds(request.asked_at),
                    milliseconds(request.expires_at),
                    to_text(request_document(request)),
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

    async def answer(self, request: PollRequest, results: Mapping[str, PollResult]) -> None:
        """See `WriteStore`."""
        text = to_text(request_document(replace(request, results=results)))

        async def body() -> None:
            await self._writer.execute(
                "UPDATE requests SET document = ?, answered = 1 WHERE _id = ?", (text, request.id)
            )

        await self._transaction(body)

    async def unask(self, request: PollRequest) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._writer.execute("DELETE FROM requests WHERE _id = ?", (request.id,))

        await self._transaction(body)


def _row(state: TargetState) -> tuple[object, ...]:
    return (
        state.id,
        to_text(state_document(state)),
        state.account,
        state.token,
        milliseconds(state.last_attempt),
        milliseconds(state.next_due),
        "?" in state.key,
    )
