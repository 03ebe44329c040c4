"""Leases and fencing, the same over every store: one leader an account, and late ones refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from fetcher.errors import LeaseLost
from fetcher.models import Lease, TargetState
from fetcher.store import WriteStore, open_store
from tests.clock import FakeClock
from tests.store.build import KEY, T0, batch, release, state, take


@pytest.fixture
async def stores(store_url: str, clock: FakeClock) -> AsyncIterator[list[WriteStore]]:
    """Four connections to one store, as four processes have them."""
    async with AsyncExitStack() as stack:
        opening = [asyncio.create_task(open_store(store_url, clock=clock)) for _ in range(4)]
        await asyncio.wait(opening)
        yield [await stack.enter_async_context(task.result()) for task in opening]


async def test_a_lease_has_one_holder_and_a_growing_token(
    store: WriteStore, clock: FakeClock
) -> None:
    """Free, taken, given back with its budget, taken again."""
    lease = await take(store)
    assert await store.acquire("a", "you", 30) is None
    held = await store.lease("a")
    assert held is not None
    assert held.owner == "me"
    other = await take(store, "b", "you")
    assert other.token > lease.token
    renewed = await store.renew(lease, 60, {"sent": [1]})
    assert renewed.token == lease.token
    await store.release(renewed, {"sent": [1, 2]})
    assert await store.lease("a") is None
    again = await take(store, owner="you")
    assert again.token > other.token
    assert again.budget == {"sent": [1, 2]}
    with pytest.raises(LeaseLost):
        await store.renew(lease, 30, {})
    await store.release(lease, {})
    held = await store.lease("a")
    assert held is not None
    assert held.owner == "you"


async def test_a_lease_runs_out(store: WriteStore, clock: FakeClock) -> None:
    """A dead holder's lease is free after its time, and not before."""
    await take(store, ttl=0.3)
    assert await store.acquire("a", "you", 30) is None
    clock.advance(0.4)
    async with asyncio.timeout(5):
        while (lease := await store.acquire("a", "you", 30)) is None:
            await asyncio.sleep(0.02)
    assert lease.owner == "you"


async def test_one_of_many_gets_a_lease(stores: list[WriteStore]) -> None:
    """However many ask at once, for a new account, a free one, and one that ran out."""
    tokens = []
    for number in range(15):
        for _ in range(2):
            taken = await asyncio.gather(
                *(each.acquire(f"a{number}", f"o{n}", 30) for n, each in enumerate(stores * 2))
            )
            (lease,) = [lease for lease in taken if lease is not None]
            held = await stores[0].lease(f"a{number}")
            assert held is not None
            assert (held.owner, held.token) == (lease.owner, lease.token)
            tokens.append(lease.token)
            await stores[1].release(lease, {"round": number})
    assert tokens == sorted(set(tokens))


async def test_a_lease_that_ran_out_has_one_heir(
    stores: list[WriteStore], clock: FakeClock
) -> None:
    """Many wait for a dead leader; one follows, with the budget that was left."""
    lease = await take(stores[0], ttl=30)
    await stores[0].renew(lease, 0.05, {"spent": 3})
    await asyncio.sleep(0.1)
    clock.advance(1)
    taken = await asyncio.gather(
        *(each.acquire("a", f"o{n}", 30) for n, each in enumerate(stores * 3))
    )
    (heir,) = [each for each in taken if each is not None]
    assert heir.token > lease.token
    assert heir.budget == {"spent": 3}
    with pytest.raises(LeaseLost):
        await stores[0].renew(lease, 30, {})
    with pytest.raises(LeaseLost):
        await stores[0].write(lease, [batch(release())])


async def test_a_lease_that_ran_out_and_that_nobody_took_is_still_held(
    store: WriteStore, clock: FakeClock
) -> None:
    """A leader that was slow renews what nobody has taken meanwhile, under its own token."""
    lease = await take(store, ttl=0.05)
    await asyncio.sleep(0.1)
    clock.advance(1)
    assert await store.lease("a") is None
    renewed = await store.renew(lease, 30, {})
    assert renewed.token == lease.token
    assert await store.acquire("a", "you", 30) is None


async def test_the_same_owner_is_no_holder_of_an_earlier_lease(store: WriteStore) -> None:
    """A name that comes back has a new token, and the old one counts for nothing."""
    old = await take(store)
    await store.release(old, {})
    new = await take(store)
    with pytest.raises(LeaseLost):
        await store.renew(old, 30, {})
    await store.release(old, {"stale": True})
    held = await store.lease("a")
    assert held is not None
    assert held.token == new.token


async def test_a_late_writer_writes_nothing(store: WriteStore) -> None:
    """Once somebody else has the account, its former leader is refused."""
    old = await take(store)
    await store.write(old, [batch(release(body="old"))])
    await store.release(old, {})
    new = await take(store, owner="you")
    await store.write(new, [batch(release(body="new"))])
    with pytest.raises(LeaseLost):
        await store.write(old, [batch(release(body="late"), at=T0 + timedelta(days=1))])
    with pytest.raises(LeaseLost):
        await store.publish(old)
    with pytest.raises(LeaseLost):
        await store.save_targets(old, [state(token=old.token)])
    document = await store.record("release", "github:7:1")
    assert document is not None
    assert document["body"] == "new"


async def test_what_another_account_saw_later_stands(store: WriteStore) -> None:
    """Whatever the tokens; what it saw earlier is replaced, and each knows who wrote it."""
    early, late = await take(store), await take(store, "b")
    theirs = state(token=late.token, account="b", last_attempt=T0 + timedelta(seconds=1))
    await store.save_targets(late, [theirs])
    mine = replace(theirs, id="x", key="x", names=("x",), records=9)
    assert await store.save_targets(early, [mine, state(records=9)]) == [KEY]
    assert await store.target(KEY) == theirs
    assert await store.target("x") is not None
    again = state(records=9, last_attempt=T0 + timedelta(seconds=2))
    assert not await store.save_targets(early, [again])
    assert await store.target(KEY) == replace(again, token=early.token)


async def test_one_state_that_a_later_leader_wrote_stops_the_save(
    store: WriteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the late writer has passed the check of its lease; what stands is not touched."""
    early = await take(store)
    await store.release(early, {})
    late = await take(store, owner="you")
    theirs = state(token=late.token)
    await store.save_targets(late, [theirs])

    async def passed(lease: Lease) -> dict[str, object]:
        return {}

    monkeypatch.setattr(store, "_check", passed)
    mine = replace(theirs, id="x", key="x", names=("x",), records=9)
    with pytest.raises(LeaseLost):
        await store.save_targets(early, [mine, state(records=9, last_attempt=T0 + timedelta(1))])
    assert await store.target(KEY) == theirs


async def test_a_state_bears_the_token_that_it_was_saved_under(store: WriteStore) -> None:
    """Whatever token the value came with."""
    lease = await take(store)
    await store.save_targets(lease, [state(token=0)])
    saved = await store.target(KEY)
    assert isinstance(saved, TargetState)
    assert saved.token == lease.token


async def test_leaders_change_under_load_and_nothing_goes_back(
    stores: list[WriteStore], clock: FakeClock
) -> None:
    """Leaders follow each other while their predecessors go on writing: stamps only grow."""
    seen: list[tuple[int, int]] = []
    for number in range(12):
        mine, other = stores[number % 4], stores[(number + 1) % 4]
        lease = await take(mine, owner=f"o{number}")
        at = T0 + timedelta(minutes=number)
        late = asyncio.create_task(mine.write(lease, [batch(release(body=f"l{number}"), at=at)]))
        if number % 3:
            await asyncio.sleep(0.002 * (number % 3))
        await other.release(lease, {})
        heir = await take(other, owner=f"h{number}")
        (result,) = await asyncio.gather(late, return_exceptions=True)
        assert isinstance(result, LeaseLost | tuple)
        await other.write(heir, [batch(release(body=f"b{number}"), at=at + timedelta(seconds=1))])
        document = await mine.record("release", "github:7:1")
        assert document is not None
        assert document["body"] == f"b{number}"
        seen.append((document["stamp"]["token"], document["stamp"]["n"]))
        await other.release(heir, {})
    assert seen == sorted(set(seen))
