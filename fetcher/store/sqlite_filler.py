"""SQLite: a new store that takes over all that another one had."""

import asyncio
from collections.abc import Sequence
from typing import Final

from fetcher.documents import Document, Kind, json_bytes
from fetcher.errors import UsageError
from fetcher.models import AccountState, TargetState
from fetcher.store.protocol import COLLECTIONS
from fetcher.store.spill import spill
from fetcher.store.sqlite import SqliteStore
from fetcher.store.sqlite_schedule import ADD, row_of
from fetcher.store.sqlite_schema import to_row

__all__ = ["SqliteFiller"]

_FILLED: Final = (*COLLECTIONS.values(), "targets", "leases")
_BESIDE: Final = ("record_targets", "target_names", "requests", "blobs")


class SqliteFiller(SqliteStore):
    """Implements `Filler`; open it with `open_filler`."""

    async def begin(self) -> None:
        """See `Filler`."""

        async def body() -> None:
            marked = await self._writer.execute_fetchall(
                "SELECT 1 FROM meta WHERE name = 'filling'"
            )
            if list(marked):
                await self._empty()
            for table in _FILLED:
                if list(await self._writer.execute_fetchall(f"SELECT 1 FROM {table} LIMIT 1")):
                    raise UsageError(
                        f"the store {self._path} is not empty: it has {table}; import into a new "
                        "one, which --store names"
                    )
            await self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('filling', '')")

        await self._transaction(body)

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
        await self._transaction(lambda: self._put({kind: pairs}, blobs))

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

        await self._transaction(body)

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

        await self._transaction(body)

    async def end(self) -> None:
        """See `Filler`."""
        await self._statement("DELETE FROM meta WHERE name = 'filling'", ())

    async def clear(self) -> None:
        """See `Filler`."""

        async def body() -> None:
            await self._empty()
            await self._writer.execute("DELETE FROM meta WHERE name = 'filling'")

        await self._transaction(body)

    async def _empty(self) -> None:
        for table in (*_FILLED, *_BESIDE):
            await self._writer.execute(f"DELETE FROM {table}")
