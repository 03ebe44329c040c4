"""What a watch list costs, as it is reckoned and as a leader really spends it."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.accounts import homes_of, open_accounts
from fetcher.demo import GithubUser, synthetic_genbank
from fetcher.models import Every, Wish
from fetcher.plan import Line, reckon
from fetcher.scheduler import Leader, Pace
from fetcher.service import open_transport
from fetcher.shield import Shield
from fetcher.targets import parse_target
from fetcher.timetable import Timetable
from tests.clock import FakeClock
from tests.stores import store_url
from tests.test_scheduler import Watcher
from tests.world import SILENT, World, open_world

__all__ = ["store_url"]

TOKEN = "ghp_0123456789"


@pytest.fixture
async def world(tmp_path: Path, store_url: str) -> AsyncIterator[World]:
    async with open_world(tmp_path, store_url) as opened:
        opened.upstream.github.tokens = {TOKEN: GithubUser("me")}
        yield opened


async def planned(world: World, *targets: str, every: Every = 900.0) -> list[Line]:
    return await reckon(
        world.settings, world.store, {parse_target(each): every for each in targets}
    )


class HandClock(FakeClock):
    """Time moves only by `advance`, whoever sleeps."""

    async def sleep(self, seconds: float) -> None:
        wake = self.monotonic() + seconds
        while self.monotonic() < wake:
            await asyncio.sleep(0.001)


async def spend(world: World, keys: Sequence[str], every: float, intervals: int) -> list[str]:
    """Requests of a leader that has nothing else to do, once every target is on its phase."""
    settings, store, clock = world.settings, world.store, world.clock
    home = homes_of(settings).of(parse_target(keys[0]))
    wishes = [Wish(target.fold, target.key, home, every) for target in map(parse_target, keys)]
    await store.wish("file", wishes)

    async def passes(seconds: float) -> None:
        until = await store.now() + timedelta(seconds=seconds)
        while (now := await store.now()) < until:
            if await store.due(home, now, queries=False, limit=1, skip=[]):
                await asyncio.sleep(0.002)
                clock.advance(0.02)
            else:
                due = await store.upcoming(home, now) or until
                clock.advance((min(due, until) - now).total_seconds() + 0.001)

    async with open_transport(settings, clock, uniform=lambda low, high: high) as way:
        account = open_accounts(settings, way, clock, 60.0)[home]
        leader = Leader(
            home,
            account.gate,
            account.source,
            store=store,
            shield=Shield(lambda error: None),
            timetable=Timetable(settings, lambda low, high: low, await store.identity()),
            clock=clock,
            uniform=lambda low, high: high,
            log=SILENT,
            owner="me",
            promised=86_400.0,
            observer=Watcher(),
            pace=Pace(tick=60.0),
        )
        leading = asyncio.create_task(leader.run())
        try:
            await passes(1.6 * every)
            world.asked()
            await passes(intervals * every)
            return list(world.asked())
        finally:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)


@pytest.mark.parametrize("sort", ["repositories", "accessions"])
async def test_polls_cost_what_is_reckoned(tmp_path: Path, sort: str) -> None:
    """A request for each moment of an interval, a hundred targets of which share one."""
    async with open_world(tmp_path, clock=HandClock()) as world:
        world.upstream.github.tokens = {TOKEN: GithubUser("me")}
        world.overrides["github.token"] = TOKEN
        if sort == "repositories":
            keys = [f"github:{name}" for name in world.upstream.github.populate(120, 2)]
        else:
            names = [f"AB{n:06d}" for n in range(120)]
            for name in names:
                world.upstream.ncbi.add("nuccore", synthetic_genbank(name, length=60))
            keys = [f"ncbi:nuccore/{name}.1" for name in names]
        asked = await spend(world, keys, 240.0, 2)
        (line,) = await planned(world, *keys, every=240.0)
    assert {each.partition("?")[0] for each in asked} <= {
        "POST /graphql",
        "POST /esummary.fcgi",
    }
    # Nothing changes here, of which the plan reckons with some, and lists some anew.
    assert 15 <= len(asked) / 2 <= line.hourly * 240 / 3600 <= 2 * 16
    assert (line.late, line.accounts, line.targets, line.unpolled) == (0.0, 1, 120, 0)


async def test_a_request_is_for_as_many_as_it_is(world: World) -> None:
    """A hundred repositories, five hundred accessions: sixteen moments a quarter of an hour."""
    world.overrides["github.token"] = TOKEN
    (few,) = await planned(world, *(f"github:a/r{n}" for n in range(1_200)))
    (many,) = await planned(world, *(f"ncbi:nuccore/AB{n:06d}.1" for n in range(6_000)))
    # A check in each, and at most one more request for what has changed or is listed anew.
    assert 64.0 <= few.hourly <= 128.0
    assert 64.0 <= many.hourly <= 128.0


async def test_without_a_token_polls_come_late(world: World) -> None:
    """Sixty requests an hour, of which fifty-seven are the schedule's."""
    keys = [f"github:a/r{n}" for n in range(100)]
    (line,) = await planned(world, *keys, every=900.0)
    assert (line.account, line.unit, line.limit) == ("github:anonymous", "requests", 60.0)
    assert line.hourly == pytest.approx(400.0)
    assert 900.0 + line.late == pytest.approx(100 * 3600 / 57, rel=0.01)
    assert line.accounts == math.ceil(400 / 57)
    assert (line.unpolled, line.first, line.first_seconds) == (100, 100.0, 3600.0)


async def test_what_the_store_knows_is_used(world: World) -> None:
    """The limit that GitHub told, the number of records, what was polled; under any name."""
    world.upstream.github.tokens = {TOKEN: GithubUser("me", graphql_limit=12_500)}
    world.overrides["github.token"] = TOKEN
    world.upstream.github.add_repository("acme/many")
    for number in range(70):
        published = datetime(2025, 1, 1, 0, number % 60, number // 60, tzinfo=UTC)
        world.upstream.github.add_release("acme/many", f"v{number}", published_at=published)
    await world.poll("github:acme/many")
    (line,) = await planned(world, "github:ACME/many", "github:acme/never")
    assert (line.targets, line.unpolled, line.limit) == (2, 1, 12_500.0)
    (one,) = await planned(world, "github:acme/never", every=86_400.0)
    (many,) = await planned(world, "github:acme/many", every=86_400.0)
    assert many.hourly > one.hourly, "three pages are listed once a day, not one"


async def test_what_is_watched_by_file_and_by_hand(world: World) -> None:
    """Without targets it is the watch list: the store's, or, with a file, the file's and hand's."""
    await world.store.wish(
        "file", [Wish("github:a/file", "github:a/file", "github:anonymous", 900.0)]
    )
    await world.store.wish(
        "hand", [Wish("ncbi:taxonomy/1", "ncbi:taxonomy/1", "ncbi:anonymous", 3600.0)]
    )
    lines = await reckon(world.settings, world.store)
    assert [(line.account, line.every) for line in lines] == [
        ("github:anonymous", (900.0, 900.0)),
        ("ncbi:anonymous", (3600.0, 3600.0)),
    ]
    every = await reckon(world.settings, world.store, every=60.0)
    assert {line.every for line in every} == {(60.0, 60.0)}


async def test_datasets_and_searches_are_counted_apart(world: World) -> None:
    """A genome takes of another quota than what the E-utilities are asked."""
    lines = await planned(
        world, "ncbi:genome/GCF_000001405.1", "ncbi:nuccore?x", "ncbi:taxonomy/1", every="auto"
    )
    assert [(line.quota, line.targets) for line in lines] == [("datasets", 1), ("eutils", 2)]
