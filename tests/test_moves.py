"""Targets leave an account that cannot poll, and come back to it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from fetcher.accounts import Homes
from fetcher.errors import StoreUnavailable
from fetcher.gate import Gate
from fetcher.models import Every, Failure, OutcomeKind, Wish
from fetcher.moves import Mover
from fetcher.policy.budget import github_budget
from fetcher.standing import Standing
from fetcher.store import WriteStore, open_store
from fetcher.targets import Target
from fetcher.watches import apply_file, wish_by_hand
from tests.clock import FakeClock
from tests.store.build import state, take
from tests.stores import store_url
from tests.world import SILENT

__all__ = ["store_url"]

NAMES = [f"github:a/r{n}" for n in range(40)]
KEYS = ("github:one", "github:two", "github:three")


class Stage:
    """Three accounts and forty watched repositories, one of them private."""

    def __init__(self, store: WriteStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.homes = Homes({"github": KEYS, "ncbi": ()})
        self.woken: list[str] = []
        self.mover = self.replica()

    def replica(self, *keys: str) -> Mover:
        """The mover of a process, by default with the accounts of all others."""
        homes = Homes({"github": keys or KEYS, "ncbi": ()})
        return Mover(self.store, homes, self.clock, SILENT, self.woken.append)

    async def limit(self, account: str, seconds: float, *, refused: bool = False) -> Standing:
        """Its leader learns so, and leaves word of it with the lease."""
        gate = Gate(account, github_budget(), self.clock, in_flight=1)
        standing = Standing(gate, self.clock, lambda low, high: high, SILENT)
        if refused:
            standing.learn(state(failure=Failure("bad credentials", whole_account=True)))
        else:
            gate.limited(seconds, named=True)
        await self.tell(account, standing)
        return standing

    async def tell(self, account: str, standing: Standing) -> None:
        lease = await take(self.store, account)
        await self.store.release(lease, standing.dump())

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
    await stage.limit(limited, 60.0)
    await stage.mover.look()
    assert await stage.where() == before, "a short limit is waited out"
    await stage.limit(limited, 1800.0)
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


async def test_refused_credentials_move_and_come_back(stage: Stage) -> None:
    """For as long as the account's leader says so; and not for ever without a leader."""
    before = await stage.where()
    refused = before[NAMES[1]]
    standing = await stage.limit(refused, 0.0, refused=True)
    await stage.mover.look()
    assert list((await stage.where()).values()).count(refused) <= 1
    standing.learn(state(outcome=OutcomeKind.UNCHANGED, failure=None))
    await stage.tell(refused, standing)
    await stage.mover.look()
    assert await stage.where() == before
    await stage.limit(refused, 0.0, refused=True)
    await stage.mover.look()
    stage.clock.advance(1801.0)
    await stage.mover.look()
    assert await stage.where() == before


async def test_no_replica_takes_back_what_another_has_moved(stage: Stage) -> None:
    """A restart and a reload, of whoever does not lead the account, find it as it is."""
    before = await stage.where()
    limited = before[NAMES[0]]
    await stage.limit(limited, 1800.0)
    await stage.mover.look()
    moved = await stage.where()
    assert moved != before
    other = stage.replica()
    await reload(stage, other)
    assert await stage.where() == moved
    stage.woken.clear()
    await other.look()
    assert (await stage.where(), stage.woken) == (moved, [])
    stage.clock.advance(1801.0)
    await other.look()
    assert await stage.where() == before, "whichever replica sees it first"


async def test_what_is_typed_leaves_a_target_where_it_was_moved_to(stage: Stage) -> None:
    """Beside the daemon."""
    limited = (await stage.where())[NAMES[1]]
    await stage.limit(limited, 1800.0)
    await stage.mover.look()
    moved = await stage.where()
    target = Target.of(NAMES[1])
    await wish_by_hand(stage.store, [target], 30.0, stage.homes.of, lambda state: 30.0)
    assert await stage.where() == moved


async def test_accounts_come_and_go_with_the_settings(stage: Stage) -> None:
    """A private repository stays as long as its account is there."""
    before = await stage.where()
    gone = before[NAMES[0]]
    left = [key for key in KEYS if key != gone]
    fewer = stage.replica(*left)
    await reload(stage, fewer)
    moved = await stage.where()
    assert gone not in moved.values()
    assert all(moved[name] == before[name] for name in NAMES if before[name] != gone)
    await reload(stage, stage.mover)
    again = await stage.where()
    assert again[NAMES[0]] == moved[NAMES[0]] != gone
    assert {name: again[name] for name in NAMES[1:]} == {n: before[n] for n in NAMES[1:]}


async def reload(stage: Stage, mover: Mover) -> None:
    """As the daemon does it at a start and on SIGHUP."""
    await mover.learn()
    wanted: dict[Target, Every] = {Target.of(name): 60.0 for name in NAMES[:20]}
    await apply_file(stage.store, wanted, mover.home, lambda state: 60.0)
    await mover.settle()


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
    await stage.store.release(lease, {})
    await stage.limit(refused, 0.0, refused=True)
    await stage.mover.look()
    found = await stage.store.target(name)
    assert found is not None
    assert found.next_due is not None
    assert found.next_due <= await stage.store.now() < late


async def test_where_all_are_away_nothing_moves(stage: Stage) -> None:
    """There is nowhere to go."""
    before = await stage.where()
    for account in KEYS:
        await stage.limit(account, 1800.0)
    await stage.mover.look()
    assert await stage.where() == before


class _Ailing:
    """A store that fails once when it is asked for the accounts."""

    def __init__(self, store: WriteStore) -> None:
        self._store = store
        self.failed = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def accounts(self) -> object:
        if not self.failed:
            self.failed += 1
            raise StoreUnavailable("no server answers")
        return await self._store.accounts()


async def test_an_outage_of_the_store_ends_no_look(stage: Stage) -> None:
    """It goes on looking: what was to be moved is moved when the store is back."""
    await stage.limit(KEYS[0], 3600)
    ailing = _Ailing(stage.store)
    homes = Homes({"github": KEYS, "ncbi": ()})
    mover = Mover(cast("WriteStore", ailing), homes, stage.clock, SILENT, stage.woken.append)
    looking = asyncio.create_task(mover.run())
    while not stage.woken:
        await asyncio.sleep(0)
    assert ailing.failed == 1
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
