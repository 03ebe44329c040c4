"""Accessions: summaries say what changed, and how each record stands."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fetcher.demo import synthetic_genbank
from fetcher.documents import Document, flat_file
from fetcher.policy.window import LAG
from tests.world import World

DAY = timedelta(days=1)
NAMES = [f"AB{n:06}" for n in range(8)]
KEYS = [f"ncbi:nuccore/{name}" for name in NAMES]


@pytest.fixture
def eight(world: World) -> World:
    """Eight records that were modified long ago."""
    for name in NAMES:
        world.upstream.ncbi.add("nuccore", synthetic_genbank(name, length=240))
    return world


def fetched(world: World) -> list[str]:
    """Names that were fetched so far, each time; forgets all requests."""
    answered = [each for each in world.upstream.log if each.status == 200]
    world.upstream.log.clear()
    return [
        name
        for each in answered
        if "efetch" in each.path
        for name in each.form.get("id", "").split(",")
    ]


def edit(world: World, accession: str, keyword: str) -> None:
    """The same version with another keyword, modified today."""
    flat = world.upstream.ncbi.get(accession).flat.decode()
    keywords = flat[flat.index("KEYWORDS") : flat.index("SOURCE  ")]
    world.upstream.ncbi.edit(accession, keywords, f"KEYWORDS    {keyword}.\n")


async def stored(world: World, name: str) -> Document:
    document = await world.store.record("sequence", f"nuccore:{name}")
    assert document is not None
    return document


async def test_only_what_changed_is_fetched(eight: World) -> None:
    """An edit and a new version among eight; the version before says what replaced it."""
    await eight.poll(*KEYS)
    fetched(eight)
    edit(eight, NAMES[2], "Edited")
    eight.upstream.ncbi.bump(NAMES[5])
    polled = await eight.poll(*KEYS)
    assert {key for key, each in polled.items() if each.state.outcome == "changed"} == {
        KEYS[2],
        KEYS[5],
    }
    assert sorted(fetched(eight)) == ["AB000002.1", "AB000005.1", "AB000005.2"]
    old, new = await stored(eight, "AB000005.1"), await stored(eight, "AB000005.2")
    assert (old["status"], old["replaced_by"]) == ("replaced", "AB000005.2")
    assert (new["status"], new["replaced_by"]) == ("live", None)
    # Both stay readable, and both are the target's.
    assert polled[KEYS[5]].state.records == 2


async def test_an_edit_on_the_day_of_the_last_one_is_found_later(eight: World) -> None:
    """Summaries tell the day: what was got on it is got once more when it is over, once."""
    await eight.poll(KEYS[0])
    edit(eight, NAMES[0], "First")
    assert await eight.outcome(KEYS[0]) == "changed"
    edit(eight, NAMES[0], "Second")
    assert await eight.outcome(KEYS[0]) == "unchanged"
    eight.clock.advance(LAG.total_seconds())
    assert await eight.outcome(KEYS[0]) == "changed"
    assert (await stored(eight, "AB000000.1"))["keywords"] == ["Second"]
    fetched(eight)
    for _ in range(3):
        eight.clock.advance(DAY.total_seconds())
        assert await eight.outcome(KEYS[0]) == "unchanged"
    assert fetched(eight) == []


async def test_each_end_of_a_record_is_told_apart(eight: World) -> None:
    """Suppressed, withdrawn, replaced by another, never heard of; and what is stored stays."""
    await eight.poll(*KEYS)
    ncbi = eight.upstream.ncbi
    ncbi.suppress(NAMES[0])
    ncbi.withdraw(NAMES[1])
    ncbi.replace(NAMES[2], NAMES[3])
    ncbi.remove(NAMES[4])
    polled = await eight.poll(*KEYS)
    outcomes = {key.rpartition("/")[2]: str(each.state.outcome) for key, each in polled.items()}
    assert outcomes == {
        "AB000000": "changed",
        "AB000001": "not_found",
        "AB000002": "changed",
        "AB000003": "unchanged",
        "AB000004": "not_found",
        "AB000005": "unchanged",
        "AB000006": "unchanged",
        "AB000007": "unchanged",
    }
    told = {}
    for name in NAMES[:5]:
        document = await stored(eight, f"{name}.1")
        gone = document["withdrawn_at"] is not None
        told[name] = (document["status"], document["replaced_by"], gone)
    assert told == {
        "AB000000": ("suppressed", None, False),
        "AB000001": ("withdrawn", None, True),
        "AB000002": ("replaced", "AB000003.1", False),
        "AB000003": ("live", None, False),
        "AB000004": ("live", None, False),
    }
    withdrawn = polled[KEYS[1]].state.failure
    unknown = polled[KEYS[4]].state.failure
    assert withdrawn is not None
    assert "withdrawn" in withdrawn.message
    assert unknown is not None
    assert "has no record" in unknown.message
    # Nothing of that is news the next time.
    eight.changes()
    await eight.poll(*KEYS)
    assert eight.changes() == []


async def test_one_that_comes_back_is_live_again(eight: World) -> None:
    """Withdrawn, then as it was: not withdrawn, and a revision tells of both."""
    ncbi = eight.upstream.ncbi
    await eight.poll(KEYS[0])
    entry = ncbi.withdraw(NAMES[0])
    assert await eight.outcome(KEYS[0]) == "not_found"
    entry.status, entry.fetchable = "live", True
    assert await eight.outcome(KEYS[0]) == "changed"
    document = await stored(eight, "AB000000.1")
    assert (document["status"], document["withdrawn_at"]) == ("live", None)
    assert document["revision"] == 3
    assert flat_file(document) == entry.flat


async def test_versions_are_numbers(world: World) -> None:
    """Ten comes after nine, whatever the alphabet says."""
    ncbi = world.upstream.ncbi
    for version in range(8, 12):
        ncbi.add("nuccore", synthetic_genbank("AB000001", version, length=60))
    key = "ncbi:nuccore/AB000001"
    await world.poll(key, *(f"{key}.{version}" for version in (8, 9, 10)))
    (document,) = await world.records(key)
    assert document["accession_version"] == "AB000001.11"


async def test_a_hundred_thousand_unchanged_would_take_two_hundred_requests(world: World) -> None:
    """Five hundred in each: a tenth of it here, over and over again."""
    names = world.upstream.ncbi.populate(2_000, length=60)
    keys = [f"ncbi:nuccore/{name}" for name in names]
    await world.poll(*keys, wait=1000)
    fetched(world)
    await world.poll(*keys, wait=1000)
    answered = [each.path for each in world.upstream.log if each.status == 200]
    assert answered == ["/esummary.fcgi"] * 4


async def test_chromosomes_come_with_their_features(world: World) -> None:
    """What ``gb`` gives without sequence is asked for with its parts."""
    whole = synthetic_genbank("CM000001", length=600)
    origin = whole.index("ORIGIN")
    brief = whole[:origin] + "CONTIG      join(AB000001.1:1..600)\n//\n"
    world.upstream.ncbi.add("nuccore", whole, brief=brief)
    key = "ncbi:nuccore/CM000001"
    assert await world.outcome(key) == "changed"
    types = [each.form["rettype"] for each in world.upstream.log if "efetch" in each.path]
    assert types == ["gb", "gbwithparts"]
    document = await stored(world, "CM000001.1")
    assert len(document["sequence"]) == 600
    assert (flat_file(document) or b"").decode() == whole.rstrip() + "\n"


def test_the_day_is_the_upstreams(world: World) -> None:
    """The clock that these tests turn is the one that the local NCBI dates by."""
    now = datetime.fromtimestamp(world.clock.time(), UTC).date()
    assert world.upstream.ncbi.today() == now
    assert isinstance(now, date)
