"""SQLite: transactions that nobody can tear, and the leases that they check."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import aiosqlite

from fetcher.documents import from_json, json_bytes
from fetcher.errors import LeaseLost
from fetcher.models import Clock, Lease
from fetcher.shield import Shield
from fetcher.store.sqlite_reader import SqliteReader
from fetcher.store.sqlite_schema import mapped

__all__ = ["SqliteLeases"]

T = TypeVar("T")

# Seconds by which a clock may be put right without anybody taking note.
_SLEWED: Final = 5.0


class SqliteLeases(SqliteReader):
    """The leases of `WriteStore`.

    What is committed is visible at once, and whoever writes checks its lease in the same
    transaction: so the watermark is the last stamp given out, and nobody writes late.
    """

    def __init__(
        self, path: str, clock: Clock, reader: aiosqlite.Connection, writer: aiosqlite.Connection
    ) -> None:
        super().__init__(path, clock, reader)
        self._writer = writer
        self._writing = asyncio.Lock()
        self._shield = Shield(lambda error: None)

    async def close(self) -> None:
        """Closes after what is under way."""
        async with self._writing:
            await super().close()
            await self._writer.close()

    async def acquire(self, account: str, owner: str, ttl: float) -> Lease | None:
        """See `WriteStore`."""

        async def body() -> Lease | None:
            now = self._clock.time()
            held = await self._lease_row(account)
            if held is not None and held["owner"] is not None:
                left = held["expires_at"] - now
                # More than it was ever given: the machine's clock has been set back.
                if 0 < left <= held["kept"] + _SLEWED:
                    return None
            cursor = await self._writer.execute("INSERT INTO tokens DEFAULT VALUES")
            token = cursor.lastrowid
            assert token is not None  # noqa: S101 - an INSERT has one
            await self._writer.execute("DELETE FROM tokens WHERE token < ?", (token,))
            await self._writer.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, '{}', 0, ?) ON CONFLICT (account) DO "
                "UPDATE SET owner = excluded.owner, token = excluded.token, "
                "expires_at = excluded.expires_at, n = 0, kept = excluded.kept",
                (account, owner, token, now + ttl, ttl),
            )
            budget = from_json(held["budget"]) if held is not None else {}
            clean = held is None or held["owner"] is None
            return Lease(account, owner, token, _time(now + ttl), budget, clean)

        return await self._transaction(body)

    async def lease(self, account: str) -> Lease | None:
        """See `WriteStore`."""
        rows = await self._rows(
            "SELECT owner, token, expires_at, budget FROM leases "
            "WHERE account = ? AND owner IS NOT NULL AND expires_at > ?",
            (account, self._clock.time()),
        )
        for owner, token, expires_at, budget in rows:
            return Lease(account, owner, token, _time(expires_at), from_json(budget))
        return None

    async def renew(self, lease: Lease, ttl: float, budget: Mapping[str, Any]) -> Lease:
        """See `WriteStore`."""

        async def body() -> Lease:
            await self._check(lease)
            expires_at = self._clock.time() + ttl
            await self._writer.execute(
                "UPDATE leases SET expires_at = ?, budget = ?, kept = ? WHERE account = ?",
                (expires_at, json_bytes(budget).decode(), ttl, lease.account),
            )
            return Lease(lease.account, lease.owner, lease.token, _time(expires_at), budget)

        return await self._transaction(body)

    async def release(self, lease: Lease, budget: Mapping[str, Any]) -> None:
        """See `WriteStore`."""

        async def body() -> None:
            await self._writer.execute(
                "UPDATE leases SET owner = NULL, expires_at = 0, budget = ? "
                "WHERE account = ? AND owner = ? AND token = ?",
                (json_bytes(budget).decode(), lease.account, lease.owner, lease.token),
            )

        await self._transaction(body)

    async def publish(self, lease: Lease) -> int:
        """See `WriteStore`."""
        rows = await self._rows(
            "SELECT n FROM leases WHERE account = ? AND owner = ? AND token = ?",
            (lease.account, lease.owner, lease.token),
        )
        for (n,) in rows:
            return int(n)
        raise _lost(lease)

    async def _lease_row(self, account: str) -> Mapping[str, Any] | None:
        names = ("owner", "token", "expires_at", "budget", "n", "kept")
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
            raise _lost(lease)
        return row

    async def _statement(self, sql: str, values: Sequence[object]) -> int:
        """A transaction that is one statement, hence one way to the thread and back.

        Gives the number of rows that it changed.
        """

        async def whole() -> int:
            async with self._writing:
                with mapped(self._path):
                    return (await self._writer.execute(sql, values)).rowcount

        return await self._shield.run(whole())

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


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"somebody else polls the account {lease.account} now")


def _time(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
