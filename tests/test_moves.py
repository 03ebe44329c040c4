"""Targets leave an account that cannot poll, and come back to it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from fetcher.accounts import Account, Homes
from fetcher.errors import Unauthorized
from fetcher.gate import Gate
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Wish
from fetcher.moves import Mover
from fetcher.policy.budget import github_budget
from fetcher.store import WriteStore, open_store
from fetcher.targets import Target
from tests.clock import FakeClock
from tests.store.build import state, take
from tests.stores import store_url
from tests.world import SILENT

__all__ = ["store_url"]

NAMES = [f"github:a/r{n}" for n in range(40)]
KEYS = ("github:one", "github:two", "github:three")


class Reachable:
    """A source that says whether its credentials are good."""

    def __init__(self) -> None:
        self.refused = False
        self.asked = 0

    async def reach(self) -> str:
        self.asked += 1
        if self.refused:
            raise Unauthorized("bad credentials", whole_account=True)
        return "fine"

    def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        raise NotImplementedError


class Stage:
    """Three accounts and forty watched repositories, one of them private."""

    def __init__(self, store: WriteStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.sources = {key: Reachable() for key in KEYS}
        self.gates = {key: Gate(key, github_budget(), clock, in_flight=1) for key in KEYS}
        accounts = {key: Account(key, "github", self.gates[key], self.sources[key]) for key in KEYS}
        self.homes = Homes({"github": KEYS, "ncbi": ()})
        self.woken: list[str] = []
        self.mover = Mover(store, self.homes, accounts, clock, SILENT, self.woken.append)

    async def watch(self) -> None:
        lease = await take(self.store, "github:x")
        now = await self.store.now()
        states = [
            state(
                id=name,
                key=name,
                names=(name,),
                outcome=OutcomeKind.UNCHANGED,
                failure=None,
                facts={"private": name == NAMES[0]},
                last_attempt=now,
            )
            for name in NAMES
        ]
        await self.store.save_targets(lease, states)
        for side, some in (("file", NAMES[:20]), ("hand", NAMES[20:])):
            wishes = [Wish(name, name, self.homes.of(Target.of(name)), 60.0) for name in some]
            await self.store.wish(side, wishes)  # type: ignore[arg-type]

    async def where(self) -> dict[str, str]:
        return {each.key: each.watch.account async for each in self.store.watched()}


@pytest.fixture
async def stage(store_url: str) -> AsyncIterator[Stage]:
    clock = FakeClock()
    async with await open_store(store_url, clock=clock) as store:
        made = Stage(store, clock)
        await made.watch()
        yield made


async def test_a_limited_account_loses_its_targets_until_it_is_free(stage: Stage) -> None:
    """Spread over the others; the private one stays, and nobody else's move."""
    before = await stage.where()
    limited = before[NAMES[0]]
    stage.gates[limited].limited(60.0, named=True)
    await stage.mover.look()
    assert await stage.where() == before, "a short limit is waited out"
    stage.gates[limited].limited(1800.0, named=True)
    await stage.mover.look()
    moved = await stage.where()
    for name in NAMES:
        if before[name] != limited or name == NAMES[0]:
            assert moved[name] == before[name]
        else:
            assert moved[name] != limited
            assert stage.mover.home(Target.of(name)) == moved[name]
    assert len({moved[name] for name in NAMES if before[name] == limited}) == 3
    watches = {each.key: each.watch async for each in stage.store.watched()}
    assert all((watches[n].file, watches[n].hand) == (60.0, None) for n in NAMES[:20])
    assert all((watches[n].file, watches[n].hand) == (None, 60.0) for n in NAMES[20:])
    assert set(stage.woken) == set(KEYS) - {limited}
    stage.clock.advance(1801.0)
    await stage.mover.look()
    assert await stage.where() == before


async def test_refused_credentials_are_tried_again(stage: Stage) -> None:
    """By a question that costs nothing, now and then."""
    before = await stage.where()
    refused = before[NAMES[1]]
    stage.sources[refused].refused = True
    stage.mover.refused(refused)
    await stage.mover.look()
    assert list((await stage.where()).values()).count(refused) <= 1
    for _ in range(20):
        stage.clock.advance(60.0)
        await stage.mover.look()
    assert 1 <= stage.sources[refused].asked <= 3
    stage.sources[refused].refused = False
    stage.clock.advance(601.0)
    await stage.mover.look()
    assert await stage.where() == before


async def test_what_waits_for_the_account_alone_is_due_at_once(stage: Stage) -> None:
    """The other account owes nobody a wait."""
    before = await stage.where()
    refused = before[NAMES[1]]
    lease = await take(stage.store, refused)
    name = NAMES[1]
    old = await stage.store.target(name)
    assert old is not None
    now = await stage.store.now()
    late = now + timedelta(hours=10)
    failed = replace(old, outcome=OutcomeKind.UNAUTHORIZED, last_attempt=now, next_due=late)
    assert not await stage.store.save_targets(lease, [failed])
    stage.mover.refused(refused)
    await stage.mover.look()
    found = await stage.store.target(name)
    assert found is not None
    assert found.next_due is not None
    assert found.next_due <= await stage.store.now() < late


async def test_where_all_are_away_nothing_moves(stage: Stage) -> None:
    """There is nowhere to go."""
    before = await stage.where()
    for gate in stage.gates.values():
        gate.limited(1800.0, named=True)
    await stage.mover.look()
    assert await stage.where() == before
