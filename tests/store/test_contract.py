"""What every store does: the same suite over SQLite and MongoDB."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fetcher.models import Lease
from fetcher.store import Query, WriteStore, open_store
from fetcher.store.merge import HISTORY
from tests.clock import FakeClock
from tests.store.build import KEY, T0, batch, release, sequence, take


async def test_a_record_is_added_once(store: WriteStore) -> None:
    """The first write adds, the same again does nothing, and nothing doubles."""
    lease = await take(store)
    (first,) = await store.write(lease, [batch(release())])
    assert [change.change for change in first.changes] == ["added"]
    (again,) = await store.write(lease, [batch(release())])
    assert (again.changes, again.unchanged) == ((), 1)
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["revision"] == 1
    assert document["targets"] == [KEY]
    assert document["published_at"] == T0 + timedelta(days=1)
    assert await store.count(Query("release")) == 1


async def test_a_change_makes_a_revision_and_remembers(store: WriteStore) -> None:
    """The revision grows with content alone; the old values stand in the history."""
    lease = await take(store)
    await store.write(lease, [batch(release())])
    (changed,) = await store.write(lease, [batch(release(body="new", tag="v1a"))])
    assert [change.change for change in changed.changes] == ["changed"]
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["revision"] == 2
    (entry,) = document["history"]
    assert entry["fields"] == {"body": "text", "tag": "v1"}
    assert entry["revision"] == 2
    assert entry["changed_at"] == document["changed_at"]


async def test_history_is_bounded_and_long_values_are_named(store: WriteStore) -> None:
    """Twenty entries stay; a long old value is remembered by digest and length."""
    lease = await take(store)
    for number in range(HISTORY + 5):
        await store.write(lease, [batch(release(body="x" * (2000 + number)))])
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["revision"] == HISTORY + 5
    assert len(document["history"]) == HISTORY
    old = document["history"][-1]["fields"]["body"]
    assert old["length"] == 2000 + HISTORY + 3
    assert old["digest"].startswith("sha256:")


async def test_what_is_told_beside_the_content_changes_no_revision(store: WriteStore) -> None:
    """An asset's label comes and goes with the way of asking."""
    lease = await take(store)
    asset = {"name": "a.gz", "size": 1}
    told = {"assets": [{**asset, "label": "A"}]}
    await store.write(lease, [batch(release(assets=[asset]))])
    (written,) = await store.write(lease, [batch(release(assets=[asset], extra=told))])
    assert written.changes == ()
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert (document["assets"], document["revision"]) == (told["assets"], 1)
    (written,) = await store.write(lease, [batch(release(assets=[asset]))])
    assert (written.changes, written.unchanged) == ((), 1)
    await store.write(lease, [batch(release(assets=[asset], body="new"))])
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert list(document["history"][0]["fields"]) == ["body"]


async def test_withdrawn_is_marked_and_comes_back(store: WriteStore) -> None:
    """What is gone upstream keeps its content; what returns loses the mark."""
    lease = await take(store)
    await store.write(lease, [batch(release())])
    (gone,) = await store.write(lease, [batch(withdrawn=("github:7:1", "github:7:404"))])
    assert [change.change for change in gone.changes] == ["withdrawn"]
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["withdrawn_at"] is not None
    assert (document["revision"], document["body"]) == (2, "text")
    assert [i async for i in store.ids("release", KEY)] == []
    assert await store.digests("release", ["github:7:1"]) == {}
    assert await store.counts("release", [KEY]) == {}
    (back,) = await store.write(lease, [batch(release())])
    assert [change.change for change in back.changes] == ["changed"]
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert (document["withdrawn_at"], document["revision"]) == (None, 3)


async def test_targets_share_and_leave_a_record(store: WriteStore) -> None:
    """A record names all targets that lead to it; leaving one is no withdrawal."""
    lease = await take(store)
    first, second = "ncbi:nuccore/NC_1", "ncbi:nuccore?virus"
    record = sequence()
    one, two = await store.write(lease, [batch(record, target=first), batch(record, target=second)])
    assert (len(one.changes), len(two.changes), two.unchanged) == (1, 0, 1)
    assert await store.counts("sequence", [first, second, "x"]) == {first: 1, second: 1}
    await store.write(lease, [batch(kind="sequence", target=first, detached=(record.id,))])
    document = await store.record("sequence", record.id)
    assert document is not None
    assert (document["targets"], document["withdrawn_at"]) == ([second], None)
    assert [i async for i in store.ids("sequence", first)] == []
    assert [i async for i in store.ids("sequence", second)] == [record.id]


async def test_a_rename_moves_records(store: WriteStore) -> None:
    """The new key takes the place of any old one."""
    lease = await take(store)
    await store.write(lease, [batch(release(), target="github:old/name")])
    await store.write(lease, [batch(release())])
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["targets"] == [KEY]


async def test_what_a_repository_owns(store: WriteStore) -> None:
    """By the beginning of the id: whatever is there, or went and has yet to move with a rename."""
    lease = await take(store)
    await store.write(lease, [batch(release(1), release(2)), batch(withdrawn=("github:7:2",))])
    old = batch(release(3), release(4), target="github:old/name")
    gone = batch(withdrawn=("github:7:4",), target="github:old/name")
    others = [replace(release(n), id=id_) for n, id_ in ((5, "github:70:5"), (6, "github:8:6"))]
    await store.write(lease, [old, gone, batch(*others)])
    owned = [id_ async for id_ in store.owned("release", "github:7:", KEY)]
    assert owned == ["github:7:1", "github:7:3", "github:7:4"]


async def test_an_older_observation_is_refused(store: WriteStore) -> None:
    """By the upstream's own update time first, then by the time of asking."""
    mine, theirs = await take(store), await take(store, "b")
    new = release(body="new", version=(0, T0 + timedelta(hours=2)))
    old = release(body="old", version=(0, T0 + timedelta(hours=1)))
    later = T0 + timedelta(minutes=5)
    await store.write(mine, [batch(new)])
    (written,) = await store.write(theirs, [batch(old, at=later)])
    assert (written.refused, written.changes) == (("github:7:1",), ())
    await store.write(mine, [batch(release(2, body="new"), at=later)])
    (written,) = await store.write(theirs, [batch(release(2, body="old"))])
    assert written.refused == ("github:7:2",)
    (written,) = await store.write(theirs, [batch(withdrawn=("github:7:2",))])
    assert written.refused == ("github:7:2",)
    document = await store.record("release", "github:7:2")
    assert document is not None
    assert document["body"] == "new"


async def test_stamps_grow_and_the_watermark_follows(store: WriteStore) -> None:
    """Every change has its own number, and all up to the watermark are visible."""
    lease = await take(store)
    seen = []
    for number in range(5):
        await store.write(lease, [batch(release(1, f"b{number}"), release(2, f"c{number}"))])
        mark = await store.publish(lease)
        for id_ in ("github:7:1", "github:7:2"):
            document = await store.record("release", id_)
            assert document is not None
            stamp = document["stamp"]
            assert (stamp["account"], stamp["token"]) == ("a", lease.token)
            assert stamp["n"] <= mark
            seen.append(stamp["n"])
    assert seen == sorted(set(seen))


async def test_difficult_values_come_back(store: WriteStore) -> None:
    """Names with dots and dollars, NUL, emptiness, large numbers, milliseconds."""
    lease = await take(store)
    difficult: dict[str, Any] = {
        "source": {"a.b": "$x", "$note": ["a\x00b", ""], "flag": True, "taxid": 2**40},
        "features": [{"type": "CDS", "location": "<1..>9", "qualifiers": {"$a.b": None}}],
        "update_date": T0.replace(microsecond=123000),
        "comment": "naïve \U0001f9ec\n",
        "lineage": [],
    }
    record = sequence(flat=b"\x00\xff", **difficult)
    await store.write(lease, [batch(record, target="t")])
    document = await store.record("sequence", record.id)
    assert document is not None
    assert {key: document[key] for key in difficult} == difficult
    assert document["flat"] == b"\x00\xff"


async def test_writers_on_two_accounts_lose_nothing(store_url: str, clock: FakeClock) -> None:
    """Two leaders that reach the same records at once: every target, every change stays."""
    one, two = [await open_store(store_url, clock=clock) for _ in range(2)]
    try:
        leases = [await take(one, "a"), await take(two, "b")]
        records = [sequence(f"AB{n:04}") for n in range(50)]

        async def write(store: WriteStore, lease: Lease, target: str) -> None:
            for at in range(0, 50, 10):
                await store.write(lease, [batch(*records[at : at + 10], target=target)])

        await asyncio.gather(write(one, leases[0], "t1"), write(two, leases[1], "t2"))
        assert await one.counts("sequence", ["t1", "t2"]) == {"t1": 50, "t2": 50}
        async for document in one.records(Query("sequence")):
            assert document["revision"] == 1
    finally:
        await one.close()
        await two.close()


async def test_a_cancelled_write_leaves_the_store_whole(store: WriteStore) -> None:
    """Cancelled at any point, the next write works and nothing is torn."""
    lease = await take(store)
    for number in range(20):
        records = [release(n, body=f"b{number}") for n in range(1, 20)]
        writing = asyncio.create_task(store.write(lease, [batch(*records)]))
        for _ in range(number):
            await asyncio.sleep(0.0005)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        at = T0 + timedelta(seconds=number)
        await store.write(lease, [batch(*records, at=at)])
        bodies = {document["body"] async for document in store.records(Query("release"))}
        assert bodies == {f"b{number}"}
