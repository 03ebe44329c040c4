"""What is found and in which order, the same over every store."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from fetcher.documents import Kind
from fetcher.models import Batch, Record
from fetcher.policy.digest import digest
from fetcher.store import Query, WriteStore
from fetcher.store.protocol import INDEXED, Scalar
from tests.store.build import KEY, T0, batch, release, sequence, state, take


async def ids_of(store: WriteStore, query: Query) -> list[str]:
    async with aclosing(store.records(query)) as documents:
        return [document["_id"] async for document in documents]


async def test_queries_find_and_order(store: WriteStore) -> None:
    """Every indexed condition, the order of both kinds, and the limit."""
    lease = await take(store)
    draft = release(9, published_at=None)
    await store.write(lease, [batch(*(release(n) for n in range(1, 6)), draft)])
    await store.write(
        lease,
        [
            batch(
                sequence("NC_1", 1),
                sequence("NC_1", 10),
                sequence("NC_1", 2),
                sequence("AB1", taxid=1, organism="Other virus"),
                target="t",
            )
        ],
    )

    newest = Query("release", target=KEY, newest_first=True)
    assert await ids_of(store, newest) == [f"github:7:{n}" for n in (5, 4, 3, 2, 1, 9)]
    assert await ids_of(store, replace(newest, limit=2)) == ["github:7:5", "github:7:4"]
    assert await ids_of(store, Query("release", where={"repository_id": 7, "tag": "v3"})) == [
        "github:7:3"
    ]
    assert await ids_of(store, Query("sequence", where={"database": "nuccore", "taxid": 1})) == [
        "nuccore:AB1.1"
    ]
    by_name = Query("sequence", where={"database": "nuccore", "organism": "other VIRUS"})
    assert await ids_of(store, by_name) == ["nuccore:AB1.1"]
    assert await store.count(by_name) == 1
    versions = Query("sequence", where={"database": "nuccore", "accession": "NC_1"})
    assert await store.count(versions) == 3
    assert await store.count(replace(versions, withdrawn=True)) == 0
    assert await store.count(replace(versions, withdrawn=False)) == 3
    assert await store.count(replace(newest, except_token=lease.token)) == 0
    await store.release(lease, {})
    later = await take(store)
    await store.write(later, [batch(release(4, body="edited"))])
    kept = replace(newest, except_token=later.token)
    assert await ids_of(store, kept) == [f"github:7:{n}" for n in (5, 3, 2, 1, 9)]
    with pytest.raises(ValueError, match="no index"):
        await store.count(Query("release", where={"body": "x"}))


@pytest.mark.parametrize(
    ("kind", "index"), [(kind, index) for kind, all_ in INDEXED.items() for index in all_]
)
async def test_every_index_finds_what_it_names(
    store: WriteStore, kind: Kind, index: tuple[str, ...]
) -> None:
    """The record that has all values, and none that differs in one."""
    values: dict[str, tuple[Scalar, Scalar]] = {
        "database": ("nuccore", "protein"),
        "accession": ("NC_1", "NC_2"),
        "version": (2, 10),
        "organism": ("Tobacco", "Tomato"),
        "update_date": (T0, T0 + timedelta(milliseconds=1)),
        "taxid": (2**40, 7),
        "repository_id": (7, 70),
        "tag": ("v1", "V1"),
        "published_at": (T0, T0 + timedelta(milliseconds=5)),
        "name": ("1/x", "1/X"),
    }
    lease = await take(store)
    wanted = {name: values[name][0] for name in index}
    contents = [wanted, *({**wanted, name: values[name][1]} for name in index), {}]
    records = tuple(
        Record(f"id{number}", kind, content, "https://x/", digest(content))
        for number, content in enumerate(contents)
    )
    await store.write(lease, [Batch(kind, "t", T0, records)])
    assert await ids_of(store, Query(kind, where=wanted)) == ["id0"]
    assert await ids_of(store, Query(kind, "t", wanted, withdrawn=False)) == ["id0"]
    assert await ids_of(store, Query(kind, "u", wanted)) == []
    assert await store.count(Query(kind, "t", wanted)) == 1
    document = await store.record(kind, "id0")
    assert document is not None
    assert {name: document[name] for name in index} == wanted


async def test_an_organism_is_found_whatever_its_case(store: WriteStore) -> None:
    """Letters beyond ASCII included; an accent makes another name."""
    lease = await take(store)
    await store.write(lease, [batch(sequence(organism="Équine virus 3"), target="t")])

    async def found(organism: str) -> int:
        where = {"database": "nuccore", "organism": organism}
        assert len(await ids_of(store, Query("sequence", where=where))) == await store.count(
            Query("sequence", where=where)
        )
        return await store.count(Query("sequence", where=where))

    assert await found("éQUINE VIRUS 3") == 1
    assert await found("equine virus 3") == 0
    document = await store.record("sequence", "nuccore:NC_1.1")
    assert document is not None
    assert document["organism"] == "Équine virus 3"


async def test_many_come_in_order_each_once(store: WriteStore) -> None:
    """More than any page: equal times, fractions of a second and unpublished ones among them."""
    lease = await take(store)
    times = [None, *(T0 + timedelta(milliseconds=m) for m in (0, 1, 999, 1000, 1001))]
    records = [release(n, published_at=times[n % 6]) for n in range(400)]
    records += [release(900 + n, published_at=None) for n in range(5)]
    await store.write(lease, [batch(*records)])

    def newest(record: Record) -> tuple[bool, float, str]:
        time = record.content["published_at"]
        return time is None, -time.timestamp() if time else 0.0, record.id

    expected = [record.id for record in sorted(records, key=newest)]
    for query in (
        Query("release", newest_first=True),
        Query("release", KEY, newest_first=True, withdrawn=False),
        Query("release", where={"repository_id": 7}, newest_first=True),
    ):
        assert await ids_of(store, query) == expected
        for limit in (0, 1, 17, 335, 340, 1000):
            assert await ids_of(store, replace(query, limit=limit)) == expected[:limit]
    assert await ids_of(store, Query("release", KEY)) == sorted(expected)
    assert [id_ async for id_ in store.ids("release", KEY)] == sorted(expected)
    # Nothing to sort by but the id.
    await store.write(lease, [batch(sequence("B"), sequence("A"), target="t")])
    assert await ids_of(store, Query("sequence", newest_first=True)) == [
        "nuccore:A.1",
        "nuccore:B.1",
    ]


async def test_pages_of_ids_meet(store: WriteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a page, nothing is lost or doubled where two meet."""
    lease = await take(store)
    times = [None, T0, T0, T0 + timedelta(days=1)]
    await store.write(
        lease, [batch(*(release(n, published_at=times[n % 4]) for n in range(10, 30)))]
    )
    whole = await ids_of(store, Query("release", newest_first=True))
    assert len(set(whole)) == 20
    for size in (1, 2, 3, 5, 20):
        monkeypatch.setattr("fetcher.store.sqlite_reader._IDS", size)
        monkeypatch.setattr("fetcher.store.sqlite_reader._FIRST", size)
        assert await ids_of(store, Query("release", newest_first=True)) == whole
        assert await ids_of(store, Query("release", KEY)) == sorted(whole)


async def test_a_reader_in_the_middle_holds_nobody_in_the_past(store: WriteStore) -> None:
    """While one walks through many records, all other reads see what was written meanwhile."""
    lease = await take(store)
    await store.write(lease, [batch(*(release(n) for n in range(1000, 1300)))])
    async with aclosing(store.records(Query("release"))) as documents:
        await anext(documents)
        await store.write(lease, [batch(release(1), release(1299, body="new"))])
        found = await store.record("release", "github:7:1299")
        assert found is not None
        assert found["body"] == "new"
        assert await store.count(Query("release")) == 301
        rest = [document["_id"] async for document in documents]
    assert len(rest) == len(set(rest)) >= 299


async def test_reading_goes_on_while_records_change(store: WriteStore) -> None:
    """What is there all the time comes exactly once, however much is written beside it."""
    lease = await take(store)
    await store.write(lease, [batch(*(release(n) for n in range(1000, 1500)))])

    async def writing() -> None:
        for turn in range(5):
            at = T0 + timedelta(minutes=turn)
            more = [release(n, body=f"b{turn}") for n in range(1000, 1500, 7)]
            await store.write(lease, [batch(*more, release(5000 + turn), at=at)])

    task = asyncio.create_task(writing())
    for _ in range(5):
        found = await ids_of(store, Query("release"))
        assert len(found) == len(set(found)) >= 500
    await task


async def test_digests_of_many(store: WriteStore) -> None:
    """More than fit into one command; unknown and withdrawn ones are not among them."""
    lease = await take(store)
    records = [release(n) for n in range(1200)]
    await store.write(lease, [batch(*records)])
    await store.write(lease, [batch(withdrawn=(records[3].id,))])
    found = await store.digests("release", [*(record.id for record in records), "no"])
    assert found == {record.id: record.digest for record in records if record is not records[3]}
    assert await store.digests("release", []) == {}
    assert await store.counts("release", [KEY, "no"]) == {KEY: 1199}
    assert await store.counts("sequence", [KEY]) == {}
    assert await store.count(Query("release", withdrawn=True)) == 1


async def test_members_of_a_target(store: WriteStore) -> None:
    """Those of many ids that belong to it, and since when the oldest is known."""
    lease = await take(store)
    assert await store.oldest("release", KEY) is None
    records = [release(n) for n in range(1200)]
    await store.write(lease, [batch(*records[5:]), batch(*records[:5], target="github:o/r")])
    await store.write(lease, [batch(withdrawn=(records[7].id,))])
    asked = [*(record.id for record in records[:1000]), "no"]
    found = await store.members("release", asked, KEY)
    assert set(found) == {record.id for record in records[5:1000] if record is not records[7]}
    assert await store.members("release", [], KEY) == set()
    assert await store.members("sequence", asked, KEY) == set()
    assert await store.oldest("release", KEY) == T0


async def test_a_target_is_found_by_all_its_names(store: WriteStore) -> None:
    """State comes back as it was saved, under every name."""
    lease = await take(store)
    saved = state(token=lease.token)
    await store.save_targets(lease, [saved, replace(saved, id="x", key="x", names=("x",))])
    assert await store.target("github:old/name") == saved
    assert await store.target(KEY) == saved
    assert await store.target("github:no/body") is None
    found = await store.targets_by_name([KEY, "x", "y"])
    assert set(found) == {KEY, "x"}
    assert [each.id async for each in store.targets()] == [KEY, "x"]
    await store.save_targets(lease, [replace(saved, records=4)])
    again = await store.target(KEY)
    assert again is not None
    assert again.records == 4


async def test_a_name_means_who_bears_it_now(store: WriteStore) -> None:
    """A renamed repository answers to its old name until somebody else takes that."""
    lease = await take(store)
    old, new = "github:a/old", "github:a/new"
    renamed = state(id=old, key="github:A/New", names=(old, new), token=lease.token)
    await store.save_targets(lease, [renamed])
    assert await store.target(old) == renamed
    other = state(id="2", key="github:A/Old", names=(old,), token=lease.token)
    await store.save_targets(lease, [other])
    assert await store.target(old) == other
    await store.save_targets(lease, [renamed])
    assert await store.targets_by_name([old, new]) == {old: other, new: renamed}
    await store.save_targets(lease, [replace(other, names=("github:a/third",))])
    assert await store.target(old) == renamed


async def test_thousands_of_targets(store: WriteStore) -> None:
    """All of them, ascending, and by name in a few commands."""
    lease = await take(store)
    states = [
        state(id=f"t{n:05}", key=f"t{n:05}", names=(f"t{n:05}", f"o{n}"), token=lease.token)
        for n in range(1500)
    ]
    await store.save_targets(lease, states)
    assert [each async for each in store.targets()] == states
    found = await store.targets_by_name([f"o{n}" for n in range(1500)])
    assert list(found) == list(dict.fromkeys(found))
    assert {each.id for each in found.values()} == {each.id for each in states}


async def paged(store: WriteStore, query: Query, size: int) -> list[str]:
    """All ids, page by page, each page a query of its own behind the last."""
    found: list[str] = []
    after: tuple[Scalar, ...] | None = None
    while True:
        part = replace(query, after=after, limit=size)
        async with aclosing(store.records(part, whole=False)) as records:
            page = [document async for document in records]
        found += [document["_id"] for document in page]
        if len(page) < size:
            return found
        after = query.place(page[-1])


async def test_pages_behind_a_place_are_the_whole(store: WriteStore) -> None:
    """In every order, at every size, those without a time and those of equal times too."""
    lease = await take(store)
    drafts = [release(n, published_at=None) for n in (20, 21)]
    twins = [release(n, published_at=T0) for n in (30, 31, 32)]
    await store.write(lease, [batch(*(release(n) for n in range(1, 4)), *drafts, *twins)])
    sequences = [
        sequence(f"AB{n}", taxid=n % 2, update_date=T0 + timedelta(days=n // 3), status=status)
        for n, status in enumerate(["live", "suppressed"] * 4)
    ]
    other = sequence("P1", database="protein")
    protein = replace(other, id="protein:P1.1")
    await store.write(lease, [batch(*sequences, protein, target="t")])
    whole = {"database": "nuccore"}
    queries = [
        (Query("release", KEY, newest_first=True), 8),
        (Query("release", where={"repository_id": 7}, newest_first=True), 8),
        (Query("sequence", where=whole), 8),
        (Query("sequence", where=whole, match={"status": "live"}), 4),
        (Query("sequence", where={**whole, "taxid": 1}), 4),
        (Query("sequence", where={**whole, "organism": "tobacco MOSAIC virus"}), 8),
        (Query("sequence", where=whole, updated_after=T0), 5),
        (Query("sequence", where=whole, updated_after=T0, match={"status": "live"}), 2),
        (Query("sequence", where={**whole, "taxid": 0}, updated_after=T0), 2),
        (Query("sequence", "t", where=whole), 8),
    ]
    for query, number in queries:
        ids = await ids_of(store, query)
        assert len(ids) == number == await store.count(query)
        for size in (1, 2, 3, 20):
            assert await paged(store, query, size) == ids


async def test_a_store_is_told_from_every_other_one(store: WriteStore) -> None:
    """And stays the same."""
    name = await store.identity()
    assert len(name) == 16
    assert await store.identity() == name
