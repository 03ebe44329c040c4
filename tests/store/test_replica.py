"""What is asked of a replica set: that most members have it, and again of the next primary."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fetcher.errors import StoreUnavailable
from fetcher.store import WriteStore, open_store
from fetcher.store.mongodb.writer import MongoStore
from fetcher.store.protocol import Query
from fetcher.store.spill import LIMIT
from tests.clock import FakeClock
from tests.ferretdb import Servers, servers
from tests.heard import Heard, heard
from tests.store.build import batch, release, sequence, state, take
from tests.store.replica import Primary

__all__ = ["heard", "servers"]

WRITES = ("insert", "update", "delete", "findAndModify", "createIndexes")
READS = ("find", "aggregate", "count", "distinct")


@pytest.fixture(params=["mongodb"])
def store_url(store_url: str) -> str:
    """Over MongoDB alone."""
    return store_url


@pytest.fixture
async def primary(store_url: str) -> AsyncIterator[Primary]:
    async with Primary(store_url) as primary:
        yield primary


def set_url(primary: Primary, store_url: str, options: str = "") -> str:
    return f"mongodb://{primary.address}/{store_url.rpartition('/')[2]}?replicaSet=rs0{options}"


async def work(store: WriteStore) -> None:
    """A little of everything."""
    lease = await take(store)
    await store.write(lease, [batch(release(), release(2)), batch(sequence(), target="t")])
    await store.publish(lease)
    await store.save_targets(lease, [state()])
    assert await store.count(Query("release")) == 2
    assert [doc["_id"] async for _, doc in store.changes({})]
    assert await store.purge("t", "t") == 1
    await store.release(lease, {})


@pytest.mark.parametrize("more", ["", "&w=1&readConcernLevel=local&readPreference=secondary"])
async def test_most_members_have_what_is_written_and_read(
    primary: Primary, store_url: str, heard: Heard, more: str
) -> None:
    """Whatever store.url says: a watermark that goes back would lose changes for readers."""
    async with await open_store(set_url(primary, store_url, more), clock=FakeClock(1.9e9)) as store:
        await work(store)
        giant = sequence("NC_2", sequence="ACGT" * (LIMIT // 4 + 1))
        await store.write(await take(store), [batch(giant, target="u")])
    mine = [(name, sent) for name, database, sent in heard.commands if database != "admin"]
    assert {name for name, _ in mine} >= {"insert", "update", "delete", "find", "aggregate"}
    for name, sent in mine:
        if name in WRITES:
            assert sent["writeConcern"]["w"] == "majority", name
        if name in READS:
            assert sent["readConcern"] == {"level": "majority"}, name
        assert sent.get("$readPreference", {"mode": "primary"})["mode"] == "primary", name


async def test_writes_are_ones_that_may_be_sent_again(
    primary: Primary, store_url: str, heard: Heard
) -> None:
    """With a session and a number each, but for those of many documents: see `_many`."""
    async with await open_store(set_url(primary, store_url), clock=FakeClock(1.9e9)) as store:
        await work(store)
    single = [sent for name, _, sent in heard.commands if name in WRITES and not _many(sent)]
    assert len(single) > 10
    for sent in single:
        assert "lsid" in sent
        assert "txnNumber" in sent, sent


def _many(sent: Any) -> bool:
    """Of many documents at once, or no write of documents: the driver does not number these."""
    return (
        "createIndexes" in sent
        or any(each.get("multi") for each in sent.get("updates", ()))
        or any(each["limit"] == 0 for each in sent.get("deletes", ()))
    )


@pytest.mark.parametrize("trouble", ["step_down", "cut"])
@pytest.mark.parametrize("name", ["insert", "update", "find", "findAndModify", "aggregate"])
async def test_a_primary_that_steps_down_is_no_outage(
    primary: Primary, store_url: str, name: str, trouble: str
) -> None:
    """What it refused, or had no time for, goes to the next one; the store hears nothing."""
    async with await open_store(set_url(primary, store_url), clock=FakeClock(1.9e9)) as store:
        lease = await take(store, "other")
        getattr(primary, trouble)(name)
        await work(store)
        assert primary.waiting == 0
        await store.publish(lease)
        found = await store.record("release", "github:7:1")
        assert found is not None
        assert found["revision"] == 1


@pytest.mark.parametrize("name", ["insert", "update", "find", "createIndexes"])
async def test_a_user_without_the_right_is_told_so(
    primary: Primary, store_url: str, heard: Heard, name: str
) -> None:
    """And not tried again: the right would still be missing."""
    url = set_url(primary, store_url)
    primary.forbid(name)
    with pytest.raises(StoreUnavailable, match="does not let this user do what is needed"):
        async with await open_store(url, clock=FakeClock(1.9e9)) as store:
            await work(store)
    sent = [each for each, _, _ in heard.commands if each != "endSessions"]
    assert (sent[-1], primary.waiting) == (name, 0)


def options_of(store: WriteStore) -> Any:
    assert isinstance(store, MongoStore)
    return store._client.options


async def test_the_url_says_how_many_connections(primary: Primary, store_url: str) -> None:
    """And the other limits; where it is silent, nothing is waited for longer than half a minute."""
    given = set_url(primary, store_url, "&maxPoolSize=3&waitQueueTimeoutMS=250&appName=other")
    async with await open_store(given, clock=FakeClock(1.9e9)) as store:
        pool = options_of(store).pool_options
        assert (pool.max_pool_size, pool.wait_queue_timeout) == (3, 0.25)
        assert pool.metadata["application"] == {"name": "other"}
    async with await open_store(set_url(primary, store_url), clock=FakeClock(1.9e9)) as store:
        options = options_of(store)
        pool = options.pool_options
        assert pool.metadata["application"] == {"name": "fetcher"}
        assert (pool.connect_timeout, pool.socket_timeout) == (5.0, 30.0)
        assert options.server_selection_timeout == 5.0
        assert (options.retry_writes, options.retry_reads) == (True, True)


async def test_to_close_a_store_holds_nobody_up(
    primary: Primary, store_url: str, heard: Heard
) -> None:
    """The set is told that the sessions are over, by way of a server that runs in this loop."""
    async with await open_store(set_url(primary, store_url), clock=FakeClock(1.9e9)):
        pass
    assert heard.done[-1] == "endSessions"


async def test_another_member_stands_in_for_one_that_is_gone(
    primary: Primary, store_url: str
) -> None:
    """One address of the set that answers is enough."""
    url = set_url(primary, store_url).replace("//", "//127.0.0.1:9,", 1)
    async with await open_store(url, clock=FakeClock(1.9e9)) as store:
        await work(store)


async def test_a_set_of_another_name_is_not_written(primary: Primary, store_url: str) -> None:
    url = set_url(primary, store_url, "&serverSelectionTimeoutMS=500").replace("rs0", "rs1")
    with pytest.raises(StoreUnavailable, match="no server answers"):
        await open_store(url, clock=FakeClock())


async def test_one_member_with_a_good_certificate_is_enough(
    servers: Servers, store_url: str
) -> None:
    """Another one's, which has expired, keeps nobody from a store that takes its time."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(servers.folder / "good.pem")
    async with Primary(store_url, context) as primary:
        url = servers.url(set_url(primary, store_url, "&tls=true&tlsCAFile={ca}"))
        primary.others = (f"127.0.0.1:{servers.expired}",)
        both = url.replace("//", f"//{primary.others[0]},", 1)
        primary.hold("find")
        async with await open_store(both, clock=FakeClock(1.9e9)) as store:
            await work(store)
            assert primary.visited
