"""Where records, target states and leases are kept: SQLite or MongoDB, one contract."""

from fetcher.errors import UsageError
from fetcher.models import Clock
from fetcher.store.protocol import Filler, Query, ReadStore, WriteStore

__all__ = ["Filler", "Query", "ReadStore", "WriteStore", "open_filler", "open_store"]


async def open_store(url: str, *, clock: Clock, create: bool = True) -> WriteStore:
    """Opens ``sqlite:///FILE`` or ``mongodb://HOST/DATABASE``; close it with ``async with``.

    `create` makes what is missing: the file, tables, indexes. Without it the store must exist,
    and is opened for reading alone. Raises `StoreError`, and `UsageError` for another scheme.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from fetcher.store.sqlite import SqliteStore

        return await SqliteStore.open(url, clock, create=create)
    if scheme in ("mongodb", "mongodb+srv"):
        from fetcher.store.mongodb.writer import MongoStore

        return await MongoStore.open(url, create=create)
    raise _unknown(scheme)


async def open_filler(url: str, *, clock: Clock) -> Filler:
    """Opens a store for an import, and makes it where there is none; raises as `open_store`."""
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        from fetcher.store.sqlite_filler import SqliteFiller

        return await SqliteFiller.open(url, clock, create=True, filling=True)
    if scheme in ("mongodb", "mongodb+srv"):
        from fetcher.store.mongodb.filler import MongoFiller

        return await MongoFiller.open(url, create=True, filling=True)
    raise _unknown(scheme)


def _unknown(scheme: str) -> UsageError:
    return UsageError(f"unknown store {scheme!r}; write sqlite:///FILE or mongodb://HOST/DATABASE")
