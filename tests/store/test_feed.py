"""The feed of changes across crashes and late writers: nothing missed, nothing that goes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fetcher.errors import StoreError, StoreUnavailable
from fetcher.models import Lease, Stamp, Wish
from fetcher.store import ReadStore, WriteStore, open_store
from fetcher.store.mongodb.writer import MongoStore
from tests.clock import FakeClock
from tests.store.build import KEY, T0, batch, release, sequence, state, take


class Follower:
    """A reader that resumes from its cursor, and checks that no account goes back."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self.position: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, tuple[Stamp, str]] = {}

    async def read(self) -> list[str]:
        """Ids of what is new."""
        ids = []
        async for stamp, document in self._store.changes(dict(self.position)):
            assert (stamp.token, stamp.n) > self.position.get(stamp.account, (0, 0))
            self.position[stamp.account] = (stamp.token, stamp.n)
            self.seen[document["_id"]] = stamp, document["digest"]
            ids.append(document["_id"])
        return ids


@pytest.fixture
async def two(store_url: str, clock: FakeClock) -> AsyncIterator[tuple[WriteStore, WriteStore]]:
    """One store as two processes have it."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(await open_store(store_url, clock=clock))
        other = await stack.enter_async_context(await open_store(store_url, clock=clock))
        yield one, other


def off_its_guard(store: WriteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the lease has just passed; the process is paused behind it."""

    async def passed(lease: Lease) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(store, "_check", passed)


async def test_a_reader_sees_each_change_once(store: WriteStore) -> None:
    """Over kinds and accounts, in the order of their stamps; a record again when it changes."""
    follower = Follower(store)
    assert await follower.read() == []
    a, b = await take(store), await take(store, "b")
    await store.write(a, [batch(release(1), release(2)), batch(sequence())])
    await store.write(b, [batch(release(3))])
    for lease in (a, b):
        await store.publish(lease)
    found = ["github:7:1", "github:7:2", "nuccore:NC_1.1", "github:7:3"]
    assert await follower.read() == found
    assert await follower.read() == []
    at = T0 + timedelta(1)
    await store.write(a, [batch(release(1, "new"), release(2), at=at)])
    await store.publish(a)
    assert await follower.read() == ["github:7:1"]
    everything = Follower(store)
    assert sorted(await everything.read()) == sorted(found)


async def test_a_long_feed_is_read_by_the_page(store: WriteStore) -> None:
    """Several kinds, none of which is through before the others."""
    lease = await take(store)
    for at in range(0, 500, 100):
        await store.write(
            lease,
            [
                batch(*(release(n) for n in range(at, at + 100))),
                batch(*(sequence(f"NC_{n}") for n in range(at, at + 50))),
            ],
        )
    await store.publish(lease)
    follower = Follower(store)
    assert len(set(await follower.read())) == 750


async def test_what_is_not_published_is_not_read(store: WriteStore) -> None:
    """A batch of which one part is written shows nothing to MongoDB's readers."""
    if not isinstance(store, MongoStore):
        pytest.skip("SQLite shows what is committed, whole")
    lease = await take(store)
    await store.write(lease, [batch(release())])
    follower = Follower(store)
    assert await follower.read() == []
    await store.publish(lease)
    assert await follower.read() == ["github:7:1"]


async def test_the_rest_of_a_crashed_batch_comes_to_light(
    two: tuple[WriteStore, WriteStore], clock: FakeClock
) -> None:
    """Written, never published: its successor stamps it anew, and asks for the target again."""
    one, other = two
    follower = Follower(other)
    lease = await take(one, ttl=0.2)
    await one.wish("file", [Wish(KEY, KEY, "a", 60.0)])
    known = state(last_attempt=await one.now(), next_due=T0 + timedelta(days=900))
    found = await one.target(KEY)
    assert found is not None
    await one.save_targets(lease, [replace(known, watch=found.watch)])
    await one.write(lease, [batch(release(1))])
    await asyncio.sleep(0.3)
    clock.advance(1)
    heir = await take(other, owner="you")
    await other.mend(heir)
    await other.publish(heir)
    assert await follower.read() == ["github:7:1"]
    if isinstance(other, MongoStore):
        doubted = await other.target(KEY)
        assert doubted is not None
        assert (doubted.cursor, doubted.reconciled_at) == (None, None)
        due = await other.due("a", await other.now(), queries=False, limit=9)
        assert [each.id for each in due] == [KEY]
    assert await other.mend(heir) in ([], ())


async def test_a_late_write_is_sealed_and_put_right(
    two: tuple[WriteStore, WriteStore], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused leader's write arrives after the take-over, at a reader's back."""
    one, other = two
    if not isinstance(one, MongoStore):
        pytest.skip("SQLite checks the lease in the writing transaction")
    follower = Follower(other)
    old = await take(one, ttl=0.2)
    await one.write(old, [batch(release(1, "first"), release(2))])
    await one.publish(old)
    off_its_guard(one, monkeypatch)
    await asyncio.sleep(0.3)
    heir = await take(other, owner="you")
    await other.mend(heir)
    await other.write(heir, [batch(release(2, "newer"), at=T0 + timedelta(1))])
    await other.publish(heir)
    before = await follower.read()
    assert sorted(set(before)) == ["github:7:1", "github:7:2"]
    # The late ones: a change, a new record, and one that the heir has written since.
    late = batch(release(1, "late"), release(3), release(2, "stale"), at=T0 + timedelta(2))
    (written,) = await one.write(old, [late])
    assert written.refused == ("github:7:2",)
    assert await follower.read() == [], "beyond the seal nobody looks"
    assert await other.mend(heir) == [KEY]
    await other.publish(heir)
    assert sorted(await follower.read()) == ["github:7:1", "github:7:3"]
    for id_ in ("github:7:1", "github:7:2", "github:7:3"):
        document = await other.record("release", id_)
        assert document is not None
        assert document["stamp"]["token"] == heir.token
        assert follower.seen[id_][1] == document["digest"]
    assert await other.mend(heir) in ([], ())


async def test_a_write_of_unknown_outcome_does_not_stop_the_feed(
    store: WriteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease goes on under a new token; what arrives of that write later is found."""
    if not isinstance(store, MongoStore):
        pytest.skip("SQLite knows how its transactions end")
    follower = Follower(store)
    lease = await take(store)
    await store.write(lease, [batch(release(1))])
    await store.publish(lease)
    put = store._put

    async def lost(*arguments: Any) -> Any:
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(store, "_put", lost)
    with pytest.raises(StoreError):
        await store.write(lease, [batch(release(2))])
    monkeypatch.setattr(store, "_put", put)
    await store.write(lease, [batch(release(3))])
    await store.publish(lease)
    assert await follower.read() == ["github:7:1"], "the watermark waits"
    renewed = await store.renew(lease, 30, {"spent": 1})
    assert renewed.token > lease.token
    held = await store.lease("a")
    assert held is not None
    assert (held.token, held.budget) == (renewed.token, {"spent": 1})
    await store.mend(renewed)
    await store.publish(renewed)
    assert await follower.read() == ["github:7:3"]
    # Now the lost write lands after all.
    document = await store.record("release", "github:7:3")
    assert document is not None
    stray = {**document, "_id": "github:7:2", "stamp": Stamp("a", lease.token, 2).document()}
    await store._of("release").insert_one(stray)
    assert await follower.read() == []
    await store.mend(renewed)
    await store.publish(renewed)
    assert await follower.read() == ["github:7:2"]
    again = await store.renew(renewed, 30, {})
    assert again.token == renewed.token


async def test_writers_that_die_at_random_leave_nothing_unread(
    store_url: str, clock: FakeClock
) -> None:
    """Many leaders in a row, each cut off somewhere; a follower ends with the latest of all."""
    import random

    rng = random.Random(7)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(await open_store(store_url, clock=clock))
        follower = Follower(reader)
        for round_ in range(25):
            store = await open_store(store_url, clock=clock)
            lease = await store.acquire("a", f"o{round_}", 0.02)
            while lease is None:
                await asyncio.sleep(0.02)
                clock.advance(1)
                lease = await store.acquire("a", f"o{round_}", 0.02)

            async def lead(store: WriteStore, lease: Lease, round_: int) -> None:
                await store.mend(lease)
                for n in range(4):
                    records = [release(rng.randrange(12), f"{round_}.{n}.{k}") for k in range(3)]
                    unique = {each.id: each for each in records}
                    at = T0 + timedelta(minutes=round_ * 10 + n)
                    await store.write(lease, [batch(*unique.values(), at=at)])
                    await store.publish(lease)

            task = asyncio.create_task(lead(store, lease, round_))
            await asyncio.sleep(rng.random() * 0.08)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.close()
            await follower.read()
        last = await take_when_free(reader, clock)
        await reader.mend(last)
        await reader.publish(last)
        await follower.read()
        stored = {document["_id"]: document["digest"] async for _, document in reader.changes({})}
        assert stored
        assert {id_: digest for id_, (_, digest) in follower.seen.items()} == stored
        count = 0
        for n in range(12):
            count += await reader.record("release", f"github:7:{n}") is not None
        assert count == len(stored)


async def take_when_free(store: WriteStore, clock: FakeClock) -> Lease:
    while (lease := await store.acquire("a", "last", 30)) is None:
        await asyncio.sleep(0.02)
        clock.advance(1)
    return lease
