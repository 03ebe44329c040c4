"""Where records, target states and leases are kept: SQLite or MongoDB, one contract."""

from fetcher.errors import UsageError
from fetcher.models import Clock
from fetcher.store.protocol import Query, ReadStore, WriteStore

__all__ = ["Query", "ReadStore", "WriteStore", "open_store"]


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
    raise UsageError(f"unknown store {scheme!r}; write sqlite:///FILE or mongodb://HOST/DATABASE")
