"""What is MongoDB's own: its address, its silence, and what it cannot hold."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    DocumentTooLarge,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteError,
    WTimeoutError,
)

from fetcher.errors import SchemaTooNew, StoreError, StoreFull, StoreUnavailable, UsageError
from fetcher.store import Query, WriteStore, open_store
from fetcher.store.mongodb.errors import mapped, shown
from fetcher.store.mongodb.writer import MongoStore
from fetcher.store.protocol import COLLECTIONS, INDEXED, SCHEMA_VERSION
from tests.clock import FakeClock
from tests.store.build import batch, release, sequence, take


@pytest.fixture(params=["mongodb"])
def store_url(store_url: str) -> str:
    """Over MongoDB alone."""
    return store_url


class Proxy:
    """Stands before the server, and can fall silent or cut what is connected."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = parts.hostname, parts.port
        self._path = parts.path
        self._heard = asyncio.Event()
        self._heard.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"mongodb://127.0.0.1:{port}{self._path}?directConnection=true"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._heard.set()
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def silence(self) -> None:
        self._heard.clear()

    def speak(self) -> None:
        self._heard.set()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            self._writers -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                await self._heard.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(store_url) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://h/db", "mongodb://h/db"),
        ("mongodb://u:secret@h1,h2:27018/db?w=1", "mongodb://h1,h2:27018/db"),
        ("mongodb://u:secret@h", "mongodb://h/fetcher"),
        ("mongodb://h?w=1", "mongodb://…"),
        ("mongodb+srv://u:secret@h.example/", "mongodb+srv://h.example/fetcher"),
        ("mongodb://u:se/cret@h/db", "mongodb://…"),
        ("mongodb://u:se@cret@h/db", "mongodb://…"),
        ("mongodb://u:se?cret@h/db", "mongodb://…"),
        ("mongodb://u:s?e/cret@h/db", "mongodb://…"),
        ("mongodb://h/db?tlsCertificateKeyFilePassword=se@cret", "mongodb://…"),
    ],
)
def test_no_address_shows_a_password(url: str, expected: str) -> None:
    """Not even one that somebody forgot to escape."""
    assert shown(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://u:s3cret/x@h/db",
        "mongodb://u:s3cret@x@h/db",
        "mongodb://u:s3cret?x@h/db",
        "mongodb://u:s3cret@h:99999/db",
        "mongodb://u:s3cret@h:port/db",
        "mongodb://",
        "mongodb://h/a b",
    ],
)
async def test_an_address_that_cannot_be_meant_is_bad_usage(url: str, clock: FakeClock) -> None:
    """And the password is in no part of the error."""
    with pytest.raises(UsageError) as caught:
        await open_store(url, clock=clock)
    error: BaseException | None = caught.value
    assert error is not None
    assert "s3cret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("tlsCAFlie=/etc/ca.pem", "Unknown option: tlscaflie"),
        ("maxPoolSize=many", "The value of maxpoolsize must be an integer"),
        ("readPreference=hunter2", "… is not a valid read preference"),
    ],
)
async def test_an_option_that_is_not_understood_is_bad_usage(
    options: str, told: str, clock: FakeClock
) -> None:
    """Not left out, as the driver would: a misspelt one might have been for TLS."""
    with pytest.raises(UsageError) as caught:
        await open_store(f"mongodb://u:hunter2@127.0.0.1:9/f?{options}", clock=clock)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_where_nothing_listens_it_says_so_soon(clock: FakeClock) -> None:
    """Within the few seconds that a server may take to be found."""
    began = time.monotonic()
    url = "mongodb://u:s3cret@127.0.0.1:9/db?serverSelectionTimeoutMS=500"
    with pytest.raises(StoreUnavailable, match="no server answers") as caught:
        await open_store(url, clock=clock)
    assert time.monotonic() - began < 5
    assert "127.0.0.1:9/db" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ServerSelectionTimeoutError("x"), StoreUnavailable, "no server answers"),
        (AutoReconnect("x"), StoreUnavailable, "may or may not be stored"),
        (NetworkTimeout("x"), StoreUnavailable, "may or may not be stored"),
        (NotPrimaryError("x"), StoreUnavailable, "may or may not be stored"),
        (WTimeoutError("x"), StoreUnavailable, "may or may not be stored"),
        (ConfigurationError("x"), StoreUnavailable, "store.url"),
        (DocumentTooLarge("x"), StoreUnavailable, "larger than MongoDB takes"),
        (OperationFailure("x", 18), StoreUnavailable, "does not let this user in"),
        (OperationFailure("x", 8000), StoreUnavailable, "does not let this user in"),
        (OperationFailure("x", 13), StoreUnavailable, "does not let this user do what is needed"),
        (OperationFailure("x", 334), StoreUnavailable, "does not know the authMechanism"),
        (OperationFailure("x", 14031), StoreFull, "is full"),
        (OperationFailure("x", 59), StoreUnavailable, "code 59"),
        (WriteError("x", 121), StoreUnavailable, "code 121"),
        (BulkWriteError({"writeErrors": [{"code": 14031}]}), StoreFull, "is full"),
        (CursorNotFound("x", 43), StoreUnavailable, "code 43"),
        (PyMongoError("x"), StoreUnavailable, "PyMongoError"),
        (OverflowError("x"), StoreUnavailable, "does not take"),
    ],
)
def test_every_error_has_its_sentence(error: Exception, kind: type[StoreError], words: str) -> None:
    """Told by class and code; the driver's error is the cause."""
    with pytest.raises(kind, match=words) as caught, mapped("mongodb://h/db"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


async def test_a_server_that_falls_silent_is_not_waited_for(proxy: Proxy, clock: FakeClock) -> None:
    """The write's outcome is unknown, and said to be; the watermark does not pass it."""
    url = f"{proxy.url}&socketTimeoutMS=700&serverSelectionTimeoutMS=1500"
    async with await open_store(url, clock=clock) as store:
        lease = await take(store)
        await store.write(lease, [batch(release())])
        assert await store.publish(lease) == 1
        proxy.silence()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.write(lease, [batch(release(2))])
        assert time.monotonic() - began < 10
        proxy.speak()
        proxy.cut()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    (written,) = await store.write(lease, [batch(release(2))])
                    break
        assert len(written.changes) + written.unchanged == 1
        assert await store.count(Query("release")) == 2


async def test_an_unknown_outcome_holds_the_watermark(
    store: WriteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may yet appear is never behind it; the next lease begins anew."""
    assert isinstance(store, MongoStore)
    lease = await take(store)
    await store.write(lease, [batch(release(1), release(2))])
    assert await store.publish(lease) == 2

    async def broken(*_: Any) -> Any:
        raise StoreUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_put", broken)
        with pytest.raises(StoreUnavailable):
            await store.write(lease, [batch(release(3))])
    await store.write(lease, [batch(release(4))])
    assert await store.publish(lease) == 2
    await store.release(lease, {})
    heir = await take(store)
    await store.write(heir, [batch(release(5))])
    assert await store.publish(heir) == 1


async def test_what_was_not_sent_holds_nothing_up(
    store: WriteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob that cannot be written fails before any record is."""
    assert isinstance(store, MongoStore)
    lease = await take(store)

    async def broken(*_: Any) -> Any:
        raise StoreUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_upload", broken)
        with pytest.raises(StoreUnavailable):
            await store.write(lease, [batch(sequence(sequence="A" * (13 << 20)), target="t")])
    assert await store.count(Query("sequence")) == 0
    await store.write(lease, [batch(release())])
    assert await store.publish(lease) == 2


async def test_many_open_an_empty_database_at_once(store_url: str, clock: FakeClock) -> None:
    """Indexes and counters are made once, by whoever comes first."""
    opening = [asyncio.create_task(open_store(store_url, clock=clock)) for _ in range(6)]
    await asyncio.wait(opening)
    stores = [task.result() for task in opening]
    tokens = [(await take(each, f"a{n}")).token for n, each in enumerate(stores)]
    assert tokens == sorted(set(tokens))
    for each in stores:
        await each.close()


async def test_every_query_has_its_index(store: WriteStore) -> None:
    """Those of INDEXED, the targets, the stamp, and the order of releases."""
    assert isinstance(store, MongoStore)
    for kind, name in COLLECTIONS.items():
        found = await store._database[name].index_information()
        keys = {tuple(field for field, _ in index["key"]) for index in found.values()}
        assert {("targets", "_id"), ("stamp.account", "stamp.token", "stamp.n")} <= keys
        assert {(*fields, "_id") for fields in INDEXED[kind]} <= keys
        assert (("published_at", "_id") in keys) == (kind == "release")


async def test_a_newer_store_is_refused(
    store: WriteStore, store_url: str, clock: FakeClock
) -> None:
    """For writing and for reading."""
    assert isinstance(store, MongoStore)
    newer = {"$set": {"version": SCHEMA_VERSION + 1}}
    await store._database["meta"].update_one({"_id": "schema"}, newer)
    for create in (True, False):
        with pytest.raises(SchemaTooNew, match=f"schema {SCHEMA_VERSION + 1}"):
            await open_store(store_url, clock=clock, create=create)


@pytest.mark.parametrize("value", [2**64, "\ud800"])
async def test_what_it_cannot_hold_is_an_error_of_the_store(
    store: WriteStore, value: object
) -> None:
    """Numbers beyond 64 bits and halves of characters."""
    lease = await take(store)
    with pytest.raises(StoreUnavailable, match="does not take"):
        await store.write(lease, [batch(release(note=value))])


async def test_many_writers_come_in_between(store_url: str, clock: FakeClock) -> None:
    """Four accounts, each in several tasks, on the same few records: no target is lost."""
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(await open_store(store_url, clock=clock))
            for _ in range(4)
        ]
        leases = [await take(each, f"a{n}") for n, each in enumerate(stores)]
        records = [sequence(f"NC_{n}") for n in range(1, 6)]
        await asyncio.gather(
            *(
                each.write(lease, [batch(*records, target=f"{lease.account}:{n}")])
                for each, lease in zip(stores, leases, strict=True)
                for n in range(3)
            )
        )
        wanted = {f"{lease.account}:{n}" for lease in leases for n in range(3)}
        async for document in stores[0].records(Query("sequence")):
            assert set(document["targets"]) == wanted
            assert document["revision"] == 1
