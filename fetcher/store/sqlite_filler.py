"""SQLite: a new store that takes over all that another one had."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4

from fetcher.documents import Document, Kind, from_json, json_bytes
from fetcher.errors import UsageError
from fetcher.models import AccountState, TargetState
from fetcher.store.protocol import COLLECTIONS, FILLING_SECONDS, filling_already
from fetcher.store.spill import spill
from fetcher.store.sqlite import SqliteStore
from fetcher.store.sqlite_schedule import ADD, row_of
from fetcher.store.sqlite_schema import to_row

__all__ = ["SqliteFiller"]

_FILLED: Final = (*COLLECTIONS.values(), "targets", "leases")
_BESIDE: Final = ("record_targets", "target_names", "requests", "blobs")


class SqliteFiller(SqliteStore):
    """Implements `Filler`; open it with `open_filler`."""

    _owner = ""
    _ttl = FILLING_SECONDS

    async def begin(self, ttl: float = FILLING_SECONDS) -> None:
        """See `Filler`."""
        self._owner, self._ttl = uuid4().hex, ttl

        async def body() -> None:
            mark = await self._mark()
            if mark is not None:
                if mark.get("until", 0.0) > self._clock.time():
                    raise filling_already(self._path)
                await self._empty()
            for table in _FILLED:
                if list(await self._writer.execute_fetchall(f"SELECT 1 FROM {table} LIMIT 1")):
                    raise UsageError(
                        f"the store {self._path} is not empty: it has {table}; import into a new "
                        "one, which --store names"
                    )
            await self._claim()

        await self._transaction(body)

    async def _mark(self) -> Document | None:
        """Who imports, and until when that is believed; one of an earlier version says neither."""
        for (text,) in await self._writer.execute_fetchall(
            "SELECT value FROM meta WHERE name = 'filling'"
        ):
            return from_json(text) if text else {}
        return None

    async def _mine(self) -> bool:
        return ((await self._mark()) or {}).get("owner") == self._owner

    async def _claim(self) -> None:
        mark = {"owner": self._owner, "until": self._clock.time() + self._ttl}
        await self._writer.execute(
            "INSERT OR REPLACE INTO meta VALUES ('filling', ?)", (json_bytes(mark).decode(),)
        )

    async def _renewing(self, body: Callable[[], Awaitable[None]]) -> None:
        """A transaction that finds the claim still there, and renews it."""

        async def whole() -> None:
            if not await self._mine():
                raise filling_already(self._path)
            await body()
            await self._claim()

        await self._transaction(whole)

    async def put_records(self, kind: Kind, documents: Sequence[Document]) -> None:
        """See `Filler`."""

        def rows() -> tuple[list[tuple[Sequence[object], Sequence[str]]], dict[str, bytes]]:
            pairs: list[tuple[Sequence[object], Sequence[str]]] = []
            blobs: dict[str, bytes] = {}
            for document in documents:
                small, large = spill(document)
                blobs |= large
                pairs.append((to_row(kind, small), small["targets"]))
            return pairs, blobs

        pairs, blobs = await asyncio.to_thread(rows)
        await self._renewing(lambda: self._put({kind: pairs}, blobs))

    async def put_targets(self, states: Sequence[TargetState]) -> None:
        """See `Filler`."""

        async def body() -> None:
            rows = json_bytes([row_of(state) for state in states]).decode()
            await self._writer.execute(ADD, (rows,))
            await self._names(states)
            await self._writer.executemany(
                "UPDATE targets SET home = ?, file = ?, hand = ? WHERE _id = ?",
                (
                    (each.watch.account, each.watch.file, each.watch.hand, each.id)
                    for each in states
                    if each.watch is not None
                ),
            )

        await self._renewing(body)

    async def put_accounts(self, accounts: Sequence[AccountState], token: int) -> None:
        """See `Filler`."""

        async def body() -> None:
            await self._writer.executemany(
                "INSERT INTO leases VALUES (?, NULL, ?, 0, ?, ?, 0)",
                (
                    (each.account, each.token, json_bytes(each.budget).decode(), each.watermark)
                    for each in accounts
                ),
            )
            await self._writer.execute("DELETE FROM tokens")
            await self._writer.execute("INSERT INTO tokens VALUES (?)", (token,))

        await self._renewing(body)

    async def end(self) -> None:
        """See `Filler`."""

        async def body() -> None:
            if not await self._mine():
                raise filling_already(self._path)
            await self._writer.execute("DELETE FROM meta WHERE name = 'filling'")

        await self._transaction(body)

    async def clear(self) -> None:
        """See `Filler`."""

        async def body() -> None:
            if await self._mine():
                await self._empty()
                await self._writer.execute("DELETE FROM meta WHERE name = 'filling'")

        await self._transaction(body)

    async def _empty(self) -> None:
        for table in (*_FILLED, *_BESIDE):
            await self._writer.execute(f"DELETE FROM {table}")
