"""The reader library over both stores: what is stored, how fresh it is, and what changed."""

from contextlib import aclosing
from datetime import timedelta

import pytest

from fetcher import Reader
from fetcher.cursors import page_cursor
from fetcher.errors import CursorGone, StoreError, UsageError
from fetcher.models import Wish
from tests.shelf import NOW, PLAIN, Shelf, shelf
from tests.store.build import KEY, T0, batch, release, sequence
from tests.stores import store_url

__all__ = ["shelf", "store_url"]


async def test_releases_by_any_name(shelf: Shelf) -> None:
    """Newest first, drafts and withdrawn ones only when asked for."""
    r = shelf.reader
    for name in ("virtool/virtool", "github:Old/Name"):
        async with aclosing(r.releases(name)) as found:
            assert [each["tag"] async for each in found] == ["v9", "v3", "v2", "v1"]
    async with aclosing(r.releases(KEY, prereleases=False, drafts=True)) as found:
        assert [each["tag"] async for each in found] == ["v3", "v2", "v1", "v8"]
    latest, newest = await r.latest_release(KEY), await r.newest_release(KEY)
    assert latest is not None
    assert newest is not None
    assert (latest.record["tag"], newest["tag"]) == ("v2", "v9")
    assert latest.checked_at == NOW - timedelta(seconds=90)
    assert latest.age == 90.0
    tagged = await r.release("old/name", "v1")
    assert tagged is not None
    assert tagged["_id"] == "github:7:1"
    assert await r.release(KEY, "v77") is None
    assert await r.latest_release("nobody/here") is None
    with pytest.raises(UsageError, match="no repository"):
        await r.latest_release("ncbi:nuccore/AB1")


async def test_pages_of_releases(shelf: Shelf) -> None:
    """Each from its cursor; a cursor of another listing is refused."""
    first = await shelf.reader.releases_page(KEY, limit=3)
    assert first is not None
    assert first.next is not None
    rest = await shelf.reader.releases_page(KEY, limit=3, after=first.next)
    assert rest is not None
    assert [each["tag"] for each in (*first.items, *rest.items)] == ["v9", "v3", "v2", "v1"]
    assert rest.next is None
    for bad in (page_cursor(("_id",), ("x",)), "nonsense", "!", "x" * 10_000, "W10"):
        with pytest.raises(UsageError, match="cursor"):
            await shelf.reader.releases_page(KEY, after=bad)


async def test_sequences_and_their_filters(shelf: Shelf) -> None:
    """Numbers compare as numbers; every filter, alone and with others."""
    versions = [sequence("NC_1", v, status="live") for v in (1, 2, 10)]
    gone = sequence("AB1", status="suppressed", organism="Other", taxid=5)
    later = sequence("AB2", status="live", update_date=T0 + timedelta(days=2))
    await shelf.write(batch(*versions, gone, later, target="ncbi:nuccore?x"))
    r = shelf.reader
    newest = await r.sequence("nc_1")
    assert newest is not None
    assert (newest["version"], newest.checked_at) == (10, None)
    second = await r.sequence("NC_1.2")
    assert second is not None
    assert second["version"] == 2
    assert await r.sequence("NC_1.3") is None
    assert await r.sequence("NC_9") is None

    async def ids(**filters: object) -> list[str]:
        async with aclosing(r.sequences(**filters)) as found:  # type: ignore[arg-type]
            return [each["_id"].removeprefix("nuccore:") async for each in found]

    assert await ids() == ["AB2.1", "NC_1.1", "NC_1.10", "NC_1.2"]
    assert await ids(status="any") == ["AB1.1", "AB2.1", "NC_1.1", "NC_1.10", "NC_1.2"]
    assert await ids(status="suppressed", taxid=5) == ["AB1.1"]
    assert await ids(organism="OTHER", status="any") == ["AB1.1"]
    assert await ids(updated_after=T0) == ["AB2.1"]
    assert await ids(target="ncbi:nuccore?x", taxid=12242) == await ids()
    assert await ids(target="ncbi:nuccore?y") == []
    page = await r.sequences_page("nuccore", limit=1)
    assert "sequence" not in dict(page.items[0].record)
    with pytest.raises(UsageError, match="unknown database"):
        await r.sequence("AB1", database="books")


async def test_changes_from_a_cursor(shelf: Shelf) -> None:
    """What changed since, with what changed of it; each at its latest state."""
    r = shelf.reader
    async with aclosing(r.changes()) as changes:
        first = [each async for each in changes]
    assert [each.change for each in first] == ["added"] * 5
    now = await r.cursor()
    assert [each async for each in r.changes(now)] == []
    assert [each async for each in r.changes(first[-1].cursor)] == []
    assert [each.id async for each in r.changes(first[1].cursor)] == [e.id for e in first[2:]]
    edited = release(1, body="edited", **PLAIN)
    await shelf.write(batch(edited, at=T0 + timedelta(days=1)))
    await shelf.write(batch(withdrawn=("github:7:2",), at=T0 + timedelta(days=1)))
    changed, withdrawn = [each async for each in r.changes(now)]
    assert (changed.change, changed.fields, changed.revision) == ("changed", ("body",), 2)
    assert (withdrawn.change, withdrawn.id) == ("withdrawn", "github:7:2")
    assert [each async for each in r.changes(withdrawn.cursor)] == []


@pytest.mark.parametrize("bad", ["", "x", "!!", "eyJhIjoxfQ", "WyJ4Iix7fV0", "W10" * 4000])
async def test_a_cursor_that_means_nothing_here(shelf: Shelf, bad: str) -> None:
    """Of another store, or none at all."""
    with pytest.raises(CursorGone):
        await anext(shelf.reader.changes(bad))


async def test_states_of_targets(shelf: Shelf) -> None:
    """By any name."""
    found = await shelf.reader.target_state("Old/Name")
    assert found is not None
    assert found.key == "github:virtool/virtool"
    assert await shelf.reader.target_state("nobody/here") is None
    assert [each.key async for each in shelf.reader.targets()] == ["github:virtool/virtool"]


async def test_when_it_is_looked_at_again(shelf: Shelf) -> None:
    """Known of what is watched."""
    known = await shelf.store.target(KEY)
    assert known is not None
    assert known.watch is None
    await shelf.store.wish("hand", [Wish(known.id, known.key, "a", 900.0)])
    latest = await shelf.reader.latest_release(KEY)
    assert latest is not None
    assert latest.next_check == NOW + timedelta(minutes=5)


async def test_a_store_that_does_not_exist(tmp_path: object) -> None:
    """A reader makes none."""
    with pytest.raises(StoreError, match="there is no store"):
        async with Reader.open(f"sqlite:///{tmp_path}/none.db"):
            pass
