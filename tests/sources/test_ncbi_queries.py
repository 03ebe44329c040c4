"""Queries kept current: what changed is found for a request, and nothing is believed too early."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fetcher.demo import Fault, synthetic_genbank
from fetcher.documents import flat_file
from fetcher.models import Expected
from fetcher.policy.window import LAG
from fetcher.sources.ncbi_queries import MOST_MISSING
from tests.world import World

QUERY = "ncbi:nuccore?txid12242[Organism:exp]"
ALL = "ncbi:nuccore?all[filter]"
DAY = timedelta(days=1)


def today(world: World) -> date:
    return datetime.fromtimestamp(world.clock.time(), UTC).date()


def add(world: World, accession: str, *, ago: int = 100) -> None:
    """A record that was modified that many days ago."""
    text = synthetic_genbank(accession, length=240)
    world.upstream.ncbi.add("nuccore", text, mdat=today(world) - ago * DAY)


def edit(world: World, accession: str, keyword: str) -> None:
    """The same version with another keyword, modified today."""
    flat = world.upstream.ncbi.get(accession).flat.decode()
    keywords = flat[flat.index("KEYWORDS") : flat.index("SOURCE  ")]
    world.upstream.ncbi.edit(accession, keywords, f"KEYWORDS    {keyword}.\n")


@pytest.fixture
def thirty(world: World) -> World:
    """Thirty records, the last five of them modified on the days around now."""
    for n in range(25):
        add(world, f"AB{n:06}")
    for n in range(5):
        add(world, f"CD{n:06}", ago=n)
    return world


def fetched(world: World) -> list[str]:
    """Names that were fetched by name so far, each time; forgets all requests."""
    names = [
        name
        for each in world.upstream.log
        if "efetch" in each.path and each.status == 200
        for name in each.form.get("id", "").split(",")
        if name
    ]
    world.upstream.log.clear()
    return names


async def test_nothing_new_takes_one_request(thirty: World) -> None:
    """A search for what was modified lately, and it is all known."""
    assert await thirty.outcome(QUERY) == "changed"
    thirty.asked()
    for _ in range(3):
        assert await thirty.outcome(QUERY) == "unchanged"
        assert thirty.asked() == ["POST /esearch.fcgi"]


async def test_only_what_is_new_is_fetched(thirty: World) -> None:
    """A new record, a new version, an edited one: two requests, and just these."""
    await thirty.poll(QUERY)
    fetched(thirty)
    ncbi = thirty.upstream.ncbi
    add(thirty, "EF000001", ago=0)
    ncbi.bump("AB000003")
    edit(thirty, "AB000004", "Edited")
    polled = (await thirty.poll(QUERY))[QUERY]
    assert polled.state.outcome == "changed"
    assert (
        {"EF000001.1", "AB000003.2"}
        <= set(fetched(thirty))
        <= {
            "EF000001.1",
            "AB000003.2",
            "AB000004.1",
        }
    )
    assert await thirty.outcome(QUERY) == "unchanged"
    assert thirty.asked() == ["POST /esearch.fcgi"]


async def test_a_second_edit_on_one_day_is_found_when_the_day_is_over(thirty: World) -> None:
    """Entrez tells the day only: so what was modified is got once more, once."""
    await thirty.poll(QUERY)
    for word in ("First state", "Second state"):
        edit(thirty, "AB000001", word)
        await thirty.poll(QUERY)
    document = await thirty.store.record("sequence", "nuccore:AB000001.1")
    assert document is not None
    assert document["keywords"] == ["First state"]
    fetched(thirty)
    thirty.clock.advance((LAG + DAY).total_seconds())
    assert await thirty.outcome(QUERY) == "changed"
    assert "AB000001.1" in fetched(thirty)
    document = await thirty.store.record("sequence", "nuccore:AB000001.1")
    assert document is not None
    assert document["keywords"] == ["Second state"]
    thirty.clock.advance(DAY.total_seconds())
    assert await thirty.outcome(QUERY) == "unchanged"
    assert fetched(thirty) == []


async def test_a_long_absence_is_made_up_for(thirty: World) -> None:
    """Whatever was modified meanwhile is got, and nothing else."""
    await thirty.poll(QUERY)
    fetched(thirty)
    for n in range(3):
        thirty.clock.advance(20 * DAY.total_seconds())
        add(thirty, f"EF{n:06}", ago=0)
    polled = (await thirty.poll(QUERY))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 33)
    again = {f"CD{n:06}.1" for n in range(3)}
    assert (
        {f"EF{n:06}.1" for n in range(3)}
        <= set(fetched(thirty))
        <= again | {f"EF{n:06}.1" for n in range(3)}
    )


async def test_an_interrupted_first_poll_goes_on_where_it_stopped(world: World) -> None:
    """What is stored is not asked for again."""
    world.upstream.ncbi.populate(1800)
    world.upstream.faults.append(Fault("retstart=1500", "status", times=None, status=500))
    polled = (await world.poll(ALL))[ALL]
    assert (polled.state.outcome, polled.state.records) == ("partial", 1500)
    world.upstream.faults.clear()
    fetched(world)
    polled = (await world.poll(ALL, full=True))[ALL]
    assert (polled.state.outcome, polled.state.records) == ("changed", 1800)
    pages = [each.form.get("retstart") for each in world.upstream.log if "efetch" in each.path]
    assert set(pages) == {"1500"}
    told = [event.records for event in world.events if isinstance(event, Expected)]
    assert sum(told) == 1800 + 300


async def test_a_killed_first_poll_goes_on_where_it_stopped(world: World) -> None:
    """The same where no end was ever written: nothing is known but the records."""
    world.upstream.ncbi.populate(900)
    world.upstream.faults.append(Fault("retstart=500", "status", times=None, status=500))
    await world.poll(ALL)
    world.upstream.faults.clear()
    state = await world.store.target(ALL)
    assert state is not None
    # As it is after SIGKILL in the middle: records, and no state.
    fetched(world)
    polled = (await world.poll(ALL))[ALL]
    assert (polled.state.outcome, polled.state.records) == ("changed", 900)
    assert len(fetched(world)) == 400


async def test_beyond_the_reach_of_one_search_all_is_got(world: World) -> None:
    """Cut by the day of modification, each record once, and the count adds up."""
    days = [f"{n:02}-FEB-2024" for n in range(1, 21)]
    world.upstream.ncbi.populate(12_000, length=60, days=days)
    polled = (await world.poll(ALL))[ALL]
    assert (polled.state.outcome, polled.state.records) == ("changed", 12_000)
    searches = [each for each in world.upstream.log if "esearch" in each.path]
    assert 3 <= sum(each.status == 200 for each in searches) <= 14
    world.upstream.log.clear()
    assert await world.outcome(ALL) == "unchanged"
    assert world.asked() == ["POST /esearch.fcgi"]


async def test_a_day_beyond_reach_is_cut_by_length(world: World) -> None:
    """All on one day: the lengths part them."""
    world.upstream.ncbi.populate(6_000, length=60)
    world.upstream.ncbi.populate(6_000, length=90, prefix="YY")
    polled = (await world.poll(ALL))[ALL]
    assert (polled.state.outcome, polled.state.records) == ("changed", 12_000)


async def test_a_count_that_does_not_add_up_is_no_success(thirty: World) -> None:
    """The search says more than it lists: partial, and nothing is let go of."""
    await thirty.poll(QUERY)
    body = (
        '{"header":{},"esearchresult":{"count":"31","retmax":"2","retstart":"0","querykey":"1",'
        '"webenv":"MCID_x","idlist":["AB000001.1","AB000002.1"]}}'
    )
    headers = {"Content-Type": "application/json"}
    thirty.upstream.faults.append(
        Fault("esearch", "status", times=None, status=200, headers=headers, body=body)
    )
    polled = (await thirty.poll(QUERY, full=True))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("partial", 30)
    assert polled.state.failure is not None
    assert "31" in polled.state.failure.message


async def test_what_failed_is_asked_for_again_though_the_window_goes_on(thirty: World) -> None:
    """Others are not fetched again for its sake; when it comes, all is well."""
    await thirty.poll(QUERY)
    ncbi = thirty.upstream.ncbi
    ncbi.bump("AB000001")
    ncbi.bump("AB000002")
    fault = Fault("efetch", "drop", times=None, accessions=("AB000001",))
    thirty.upstream.faults.append(fault)
    for _ in range(2):
        polled = (await thirty.poll(QUERY))[QUERY]
        assert polled.state.outcome == "partial"
        assert polled.state.missing == ("AB000001.2",)
    assert "AB000002.2" in fetched(thirty)
    await thirty.poll(QUERY)
    assert set(fetched(thirty)) == {"AB000001.2"}
    # Days go by: the watermark does, too, but never past this one.
    thirty.clock.advance(30 * DAY.total_seconds())
    await thirty.poll(QUERY)
    thirty.upstream.faults.clear()
    fetched(thirty)
    assert await thirty.outcome(QUERY) == "changed"
    assert fetched(thirty) == ["AB000001.2"]
    assert await thirty.store.record("sequence", "nuccore:AB000001.2") is not None
    assert await thirty.outcome(QUERY) == "unchanged"


async def test_what_failed_is_got_by_a_full_listing_too(thirty: World) -> None:
    """It is a member in an older state, which must not be taken for the one that is wanted."""
    await thirty.poll(QUERY)
    edit(thirty, "AB000001", "Newer")
    fault = Fault("efetch", "drop", times=None, accessions=("AB000001",))
    thirty.upstream.faults.append(fault)
    assert await thirty.outcome(QUERY) == "partial"
    thirty.clock.advance(30 * DAY.total_seconds())
    assert await thirty.outcome(QUERY) == "partial"
    thirty.upstream.faults.clear()
    assert await thirty.outcome(QUERY, full=True) == "changed"
    document = await thirty.store.record("sequence", "nuccore:AB000001.1")
    assert document is not None
    assert document["keywords"] == ["Newer"]


async def test_too_many_failures_hold_the_window(world: World) -> None:
    """Nothing is remembered of them: next time all is listed, and only they are fetched."""
    world.upstream.ncbi.populate(2 * MOST_MISSING)
    lost = tuple(f"ZZ{n:06}" for n in range(1, MOST_MISSING + 50))
    world.upstream.faults.append(Fault("efetch", "drop", times=None, accessions=lost))
    polled = (await world.poll(ALL, wait=1000))[ALL]
    assert polled.state.outcome == "partial"
    assert polled.state.cursor is None
    world.upstream.faults.clear()
    fetched(world)
    assert await world.outcome(ALL) == "changed"
    pages = {each.form.get("retstart") for each in world.upstream.log if "efetch" in each.path}
    assert pages == {"500", None}
    assert sorted(fetched(world)) == [f"{name}.1" for name in lost[MOST_MISSING:]]


async def test_what_leaves_a_query_says_how_it_stands(thirty: World) -> None:
    """Suppressed, withdrawn, replaced, or just found no more: four different things."""
    await thirty.poll(QUERY)
    ncbi = thirty.upstream.ncbi
    ncbi.suppress("AB000001")
    ncbi.withdraw("AB000002")
    ncbi.replace("AB000003", "AB000004")
    ncbi.bump("AB000005")
    flat = ncbi.get("AB000006").flat
    ncbi.remove("AB000006")
    ncbi.add("nuccore", flat.replace(b"taxon:12242", b"taxon:4").replace(b"12242", b"4"))
    polled = (await thirty.poll(QUERY, full=True))[QUERY]
    assert polled.state.outcome == "changed"
    told = {}
    for name in ("AB000001.1", "AB000002.1", "AB000003.1", "AB000005.1"):
        document = await thirty.store.record("sequence", f"nuccore:{name}")
        assert document is not None
        assert document["targets"] == []
        gone = document["withdrawn_at"] is not None
        told[name] = (document["status"], document["replaced_by"], gone)
    assert told == {
        "AB000001.1": ("suppressed", None, False),
        "AB000002.1": ("withdrawn", None, True),
        "AB000003.1": ("replaced", "AB000004.1", False),
        "AB000005.1": ("replaced", "AB000005.2", False),
    }
    assert polled.state.records == 26


async def test_every_document_is_what_is_served(thirty: World) -> None:
    """After many changes and some days: each record of the query, byte for byte."""
    await thirty.poll(QUERY)
    ncbi = thirty.upstream.ncbi
    for n in range(12):
        ncbi.bump(f"AB{n:06}")
        if n % 3 == 0:
            add(thirty, f"EF{n:06}", ago=0)
        if n % 4 == 0:
            thirty.clock.advance(1.5 * DAY.total_seconds())
        await thirty.poll(QUERY, full=n == 7)
    thirty.clock.advance((LAG + DAY).total_seconds())
    await thirty.poll(QUERY, full=True)
    stored = {each["accession_version"]: flat_file(each) for each in await thirty.records(QUERY)}
    current = {each.accession_version: each.flat for each in ncbi.current("nuccore")}
    assert stored == current
