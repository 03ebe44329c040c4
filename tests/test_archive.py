"""A whole store goes out as lines and comes back as the same store, in either of the two."""

import asyncio
import contextlib
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fetcher.archive import dump, fill
from fetcher.errors import StoreError, StoreUnavailable, UsageError
from fetcher.models import OutcomeKind, TargetState, Wish
from fetcher.store import Query, WriteStore, open_filler, open_store
from fetcher.store.spill import LIMIT
from tests.clock import FakeClock
from tests.hostile.values import ANYWHERE, NAMES, TIMES, all_changed, places
from tests.store.build import KEY, T0, batch, release, sequence, state, take
from tests.stores import store_url

__all__ = ["store_url"]

CLOCK = FakeClock(start=1_900_000_000.0)
QUERY = "ncbi:nuccore?tmv[title]"


async def filled(url: str) -> WriteStore:
    """A store with what is hard to carry: giants, history, gaps, watches, budgets."""
    store = await open_store(url, clock=CLOCK)
    lease = await take(store)
    await store.write(lease, [batch(release(1, "first \x1b[31m \U0001f9a0"), release(2))])
    giant = sequence("NC_2", sequence="ACGT" * (LIMIT // 4 + 1), flat=b"\x00\xff" * 1000)
    await store.write(lease, [batch(sequence(), giant, target=QUERY)])
    later = T0 + timedelta(hours=1)
    assets = [{"name": "a.gz", "size": 1, "created_at": T0, "updated_at": None}]
    changed = release(1, "second", assets=assets, updated_at=later)
    await store.write(lease, [batch(changed, at=later, withdrawn=("github:7:2",))])
    saved = state(rhythm={"seconds": 43_200.0, "changes": 2}, reconciled_at=T0)
    polled = TargetState(
        QUERY, QUERY, (QUERY,), "a", OutcomeKind.CHANGED, last_attempt=T0, next_due=later
    )
    assert not await store.save_targets(lease, [saved, polled])
    await store.wish("hand", [Wish(QUERY, QUERY, "a", 900.0)])
    await store.wish("file", [Wish(KEY, KEY, "b", "auto")])
    await store.publish(lease)
    await store.release(lease, {"core": {"left": 42, "reset": 1_800_000_000.5}})
    other = await take(store, "b", ttl=30)
    await store.release(other, {})
    return store


async def lines_of(store: WriteStore) -> list[bytes]:
    async with aclosing(dump(store, lambda records: None)) as lines:
        return [line async for line in lines]


async def imported(url: str, lines: Sequence[bytes]) -> WriteStore:
    async with await open_filler(url, clock=CLOCK) as filler:
        await fill(filler, lines, "file", lambda records: None)
    return await open_store(url, clock=CLOCK)


def told(lines: Sequence[bytes], sort: str) -> list[dict[str, object]]:
    return [value[sort] for value in map(json.loads, lines) if sort in value]


async def test_there_and_back_again_is_the_same_to_the_byte(store_url: str, tmp_path: Path) -> None:
    """From either store to the embedded one and from there to the second, also out of it again."""
    async with await filled(store_url) as first:
        lines = await lines_of(first)
        giant = await first.record("sequence", "nuccore:NC_2.1")
        seen = [(stamp, doc["_id"]) async for stamp, doc in first.changes({})]
    async with await imported(f"sqlite:///{tmp_path}/copy.db", lines) as second:
        assert await lines_of(second) == lines
        assert await second.record("sequence", "nuccore:NC_2.1") == giant
        assert [(stamp, doc["_id"]) async for stamp, doc in second.changes({})] == seen
    counts = told(lines, "end")[0]["counts"]
    assert counts == {
        **dict.fromkeys(("tags", "taxa", "genomes", "summaries"), 0),
        "releases": 2,
        "sequences": 2,
        "targets": 2,
        "accounts": 2,
    }


async def test_what_came_from_the_embedded_store_is_the_same_in_either(
    store_url: str, tmp_path: Path
) -> None:
    """The way that somebody takes who outgrows the embedded store; and that store is alive."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)
        identity = await first.identity()
    async with await imported(store_url, lines) as second:
        assert await lines_of(second) == lines
        assert await second.identity() not in ("", identity), "cursors of readers begin anew"
        lease = await take(second, "a")
        assert lease.clean
        assert lease.budget == {"core": {"left": 42, "reset": 1_800_000_000.5}}
        tokens = [int(str(each["token"])) for each in told(lines, "account")]
        assert lease.token > max(tokens)
        assert not await second.mend(lease)
        (due,) = await second.due("a", T0 + timedelta(days=1), queries=True, limit=9)
        assert (due.key, due.watch and due.watch.hand) == (QUERY, 900.0)
        (written,) = await second.write(lease, [batch(release(3))])
        assert [change.id for change in written.changes] == ["github:7:3"]
        await second.publish(lease)
        before = len(told(lines, "record"))
        assert len([each async for each in second.changes({})]) == before + 1


async def test_a_store_in_use_is_not_filled(store_url: str) -> None:
    """Nothing of it is touched."""
    async with await filled(store_url) as store:
        lines = await lines_of(store)
        with pytest.raises(UsageError, match="is not empty: it has releases"):
            await imported(store_url, lines)
        assert await lines_of(store) == lines


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda lines: lines[:-1], "line 9: the export breaks off here"),
        (lambda lines: [*lines[:3], lines[3][:40]], "line 4: this is no JSON|breaks off"),
        (lambda lines: [*lines[:2], *lines[3:]], "it is not what its last line says"),
        (lambda lines: lines[1:], "line 1: this is no export"),
        (lambda lines: [*lines, b"{}\n"], "line 11: there is something behind the export's end"),
        (lambda lines: [lines[0], b'{"record": {"_id": 1}}\n'], "line 2: this record is not as"),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n"], "line 2: this is no JSON"),
        (lambda lines: [b'{"fetcher":{"format":99,"schema":1}}\n'], "line 1: a newer fetcher"),
        (lambda lines: [], "line 0: the export breaks off"),
    ],
)
async def test_a_damaged_export_leaves_the_store_empty(
    store_url: str, tmp_path: Path, damage: object, sentence: str
) -> None:
    """It says where, and the whole export can be imported after."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)
    assert callable(damage)
    with pytest.raises(UsageError, match=sentence):
        await imported(store_url, damage(lines))
    async with await open_store(store_url, clock=CLOCK) as store:
        assert [await store.count(Query("release")), await store.count(Query("sequence"))] == [0, 0]
    async with await imported(store_url, lines) as store:
        assert await lines_of(store) == lines


async def test_nobody_opens_a_store_whose_import_was_killed(store_url: str, tmp_path: Path) -> None:
    """The next import begins anew."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)
    async with await open_filler(store_url, clock=CLOCK) as filler:
        await filler.begin(ttl=0.0)
        await filler.put_records("release", [dict(release_document(lines))])
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match="did not end; where none is, run `fetcher"):
            await open_store(store_url, clock=CLOCK, create=create)
    async with await imported(store_url, lines) as store:
        assert await lines_of(store) == lines


async def test_of_two_imports_at_once_one_wins_and_the_other_is_refused(
    store_url: str, tmp_path: Path
) -> None:
    """Whoever comes first; each gets its turn after every line, and nothing is lost or mixed."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)

    async def one() -> None:
        async with await open_filler(store_url, clock=CLOCK) as filler:
            await fill(filler, lines, "file", lambda records: None)

    ends = await asyncio.gather(*(one() for _ in range(3)), return_exceptions=True)
    losers = [each for each in ends if each is not None]
    assert len(losers) == 2
    for each in losers:
        assert isinstance(each, StoreUnavailable | UsageError)
        assert re.search("another import into the store .* is under way|is not empty", str(each))
    async with await open_store(store_url, clock=CLOCK) as store:
        assert await lines_of(store) == lines


async def test_an_import_that_is_under_way_is_let_end(store_url: str, tmp_path: Path) -> None:
    """The second one is refused and leaves what the first one put there."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)
    document = dict(release_document(lines))
    async with await open_filler(store_url, clock=CLOCK) as one:
        await one.begin()
        await one.put_records("release", [document])
        with pytest.raises(StoreUnavailable, match="another import into the store"):
            await imported(store_url, lines)
        assert await one.count(Query("release")) == 1
        await one.put_records("release", [{**document, "_id": "github:7:9"}])
        await one.end()
    async with await open_store(store_url, clock=CLOCK) as store:
        assert await store.count(Query("release")) == 2


async def test_an_import_that_was_paused_too_long_is_over(store_url: str, tmp_path: Path) -> None:
    """What it writes late is refused, and it clears nothing that another one has."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as first:
        lines = await lines_of(first)
    document = dict(release_document(lines))
    states = [state()]
    async with await open_filler(store_url, clock=CLOCK) as paused:
        await paused.begin(ttl=0.0)
        async with await imported(store_url, lines) as store:
            for late in (
                paused.put_records("release", [{**document, "_id": "github:7:9"}]),
                paused.put_targets(states),
                paused.put_accounts([], 1),
                paused.end(),
            ):
                with pytest.raises(StoreUnavailable, match="another import into the store"):
                    await late
            await paused.clear()
            assert await lines_of(store) == lines


async def test_what_a_daemon_wrote_is_not_cleared_by_an_import(store_url: str) -> None:
    """One that had opened the empty store before: its records stay, and the import is refused."""
    async with await open_store(store_url, clock=CLOCK) as daemon:
        lease = await take(daemon)
        await daemon.release(lease, {})
        async with await open_filler(store_url, clock=CLOCK) as filler:
            for _ in range(2):
                with pytest.raises(UsageError, match="is not empty: it has leases"):
                    await filler.begin()
        async with await open_store(store_url, clock=CLOCK) as again:
            assert len(await again.accounts()) == 1


def release_document(lines: Sequence[bytes]) -> dict[str, object]:
    from fetcher.store.times import read_document

    document = told(lines, "record")[0]
    read_document(document)
    return document


async def test_what_changes_during_an_export_has_no_cursor_in_it(store_url: str) -> None:
    """A cursor stands for exactly the records that came with it."""
    async with await filled(store_url) as store:
        still = state(id="ncbi:taxonomy/1", key="ncbi:taxonomy/1", names=("ncbi:taxonomy/1",))
        lease = await take(store)
        assert not await store.save_targets(lease, [still])
        kept: list[bytes] = []
        async with aclosing(dump(store, lambda records: None)) as lines:
            async for line in lines:
                kept.append(line)
                if len(kept) == 2:
                    await change(store, lines)
        cursors = {each["key"]: each["cursor"] for each in told(kept, "target")}
        assert cursors[KEY] is None
        assert cursors["ncbi:taxonomy/1"] is not None


async def change(store: WriteStore, lines: AsyncGenerator[bytes, None]) -> None:
    lease = await store.lease("a")
    assert lease is not None
    await store.write(lease, [batch(release(4))])
    now = await store.target(KEY)
    assert now is not None
    after = replace(now, cursor={"etag": "new"}, last_attempt=T0 + timedelta(hours=2))
    assert not await store.save_targets(lease, [after])


async def test_a_take_over_during_an_export_leaves_no_cursor_of_its_account(store_url: str) -> None:
    """The new leader may have found what the one before wrote late."""
    async with await filled(store_url) as store:
        kept: list[bytes] = []
        async with aclosing(dump(store, lambda records: None)) as lines:
            async for line in lines:
                kept.append(line)
                if len(kept) == 2:
                    await take(store, "a")
        assert [each["cursor"] for each in told(kept, "target")] == [None, None]


@pytest.mark.parametrize("sort", ["record", "target", "account"])
async def test_a_line_that_says_something_else_is_refused(
    store_url: str, tmp_path: Path, sort: str
) -> None:
    """Any value in any place, under a digest that fits: a sentence, or a store as it was told."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as store:
        lines = [line for line in await lines_of(store) if len(line) < 100_000]
    line = next(each for each in lines if each.startswith(f'{{"{sort}"'.encode()))
    steps = [place for place in places(json.loads(line)) if len(place) > 1]
    chance = random.Random(1)
    async with await open_filler(store_url, clock=CLOCK) as filler:
        for _ in range(60):
            text = chance.choice([*ANYWHERE.values(), *NAMES.values(), *TIMES.values()])
            changed = all_changed(line, [(chance.choice(steps), text)]) + b"\n"
            told = [changed if each == line else each for each in lines[:-1]]
            end = json.loads(lines[-1])["end"]
            end["counts"]["sequences"] = sum(b'"sequence"' in each for each in told)
            end["sha256"] = hashlib.sha256(b"".join(told)).hexdigest()
            whole = [*told, json.dumps({"end": end}).encode() + b"\n"]
            with contextlib.suppress(StoreError, UsageError):
                await fill(filler, whole, "file", lambda records: None)
                await filler.clear()


@pytest.mark.parametrize("levels", [90, 120, 225, 300, 900])
async def test_an_export_that_is_nested_deeply_is_refused(tmp_path: Path, levels: int) -> None:
    """More levels than can be written safely, and fewer than cannot be read."""
    async with await filled(f"sqlite:///{tmp_path}/first.db") as store:
        lines = [line for line in await lines_of(store) if len(line) < 100_000]
    line = next(each for each in lines if each.startswith(b'{"target"'))
    deep = "[" * levels + "]" * levels
    changed = all_changed(line, [(("target", "cursor"), f'{{"x": {deep}}}')]) + b"\n"
    told = [changed if each == line else each for each in lines[:-1]]
    end = json.loads(lines[-1])["end"]
    end["counts"]["sequences"] = sum(b'"sequence"' in each for each in told)
    end["sha256"] = hashlib.sha256(b"".join(told)).hexdigest()
    whole = [*told, json.dumps({"end": end}).encode() + b"\n"]
    if levels < 100:
        async with await imported(f"sqlite:///{tmp_path}/second.db", whole) as second:
            assert await lines_of(second)
        return
    with pytest.raises(UsageError, match="more than 100 levels"):
        await imported(f"sqlite:///{tmp_path}/second.db", whole)
