"""What is due, who watches it, and what is asked of a leader: the same over every store."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from fetcher.errors import LeaseLost
from fetcher.models import Failure, PollRequest, PollResult, TargetState, Watch, Wish
from fetcher.store import WriteStore
from tests.clock import FakeClock
from tests.store.build import KEY, state, take

MINUTE = timedelta(minutes=1)


async def watch(store: WriteStore, *keys: str, account: str = "a", every: float = 60.0) -> None:
    await store.wish("file", [Wish(key, key, account, every) for key in keys])


async def keys_due(store: WriteStore, account: str = "a", **more: object) -> list[str]:
    options = {"queries": False, "limit": 100, **more}
    now = await store.now() + timedelta(seconds=1)
    return [each.key for each in await store.due(account, now, **options)]  # type: ignore[arg-type]


async def read(store: WriteStore, name: str) -> TargetState:
    found = await store.target(name)
    assert found is not None
    return found


async def test_what_is_watched_is_due_at_once(store: WriteStore) -> None:
    """A new target has no state but its watch; accounts and queries have queues of their own."""
    await watch(store, "x", "y")
    await watch(store, "z", account="b")
    await watch(store, "ncbi:nuccore?virus")
    assert sorted(await keys_due(store)) == ["x", "y"]
    assert await keys_due(store, "b") == ["z"]
    assert await keys_due(store, queries=True) == ["ncbi:nuccore?virus"]
    found = await read(store, "x")
    assert (found.outcome, found.last_attempt, found.watch) == (None, None, Watch("a", 60.0))
    assert len(await keys_due(store, limit=1)) == 1
    assert await keys_due(store, skip=["x"]) == ["y"]


async def test_the_oldest_is_due_first(store: WriteStore) -> None:
    """However they were saved; what is not due yet is not given."""
    lease = await take(store)
    now = await store.now()
    keys = ["d", "a", "c", "b", "e"]
    await watch(store, *keys)
    states = [
        replace(await read(store, key), last_attempt=now, next_due=now - number * MINUTE)
        for number, key in enumerate(keys, -1)
    ]
    assert not await store.save_targets(lease, states)
    assert await keys_due(store) == ["e", "b", "c", "a"]


async def test_a_poll_leaves_the_watch_as_it_is(store: WriteStore) -> None:
    """A state of which the watch has changed since it was read is not saved, and said so."""
    lease = await take(store)
    await watch(store, "x")
    before = await read(store, "x")
    now = await store.now()
    assert not await store.save_targets(lease, [replace(before, last_attempt=now, records=1)])
    await watch(store, "x", every=5.0)
    late = replace(before, last_attempt=now, records=2)
    assert await store.save_targets(lease, [late, state(id="n", key="n", names=("n",))]) == ["x"]
    after = await read(store, "x")
    assert (after.records, after.watch) == (1, Watch("a", 5.0))
    assert (await read(store, "n")).records == 3
    assert not await store.save_targets(lease, [replace(after, records=2)])
    assert (await read(store, "x")).watch == Watch("a", 5.0)


async def test_both_sides_watch_on_their_own(store: WriteStore) -> None:
    """A watch by hand goes first; where neither watches any more nothing is due."""
    await watch(store, "x", every=60.0)
    await store.wish("hand", [Wish("x", "x", "a", "auto")])
    found = (await read(store, "x")).watch
    assert found == Watch("a", 60.0, "auto")
    assert found.every == "auto"
    await store.wish("file", [Wish("x", "x", "a", None)])
    assert (await read(store, "x")).watch == Watch("a", None, "auto")
    assert await keys_due(store) == ["x"]
    assert [each.id async for each in store.watched()] == ["x"]
    await store.wish("hand", [Wish("x", "x", "a", None), Wish("nobody", "nobody", "a", None)])
    assert (await read(store, "x")).watch is None
    assert await keys_due(store) == []
    assert [each async for each in store.watched()] == []
    assert await store.target("nobody") is None


async def test_a_wish_moves_a_due_time_up_and_never_back(store: WriteStore) -> None:
    """And a target can move to another account."""
    lease = await take(store)
    now = await store.now()
    known = state(id="x", key="x", names=("x",), last_attempt=now, next_due=now + 60 * MINUTE)
    await store.save_targets(lease, [known])
    await store.wish("file", [Wish("x", "x", "a", 60.0, due=now + 90 * MINUTE)])
    assert (await read(store, "x")).next_due == now + 60 * MINUTE
    await store.wish("file", [Wish("x", "x", "b", 60.0, due=now + 5 * MINUTE)])
    found = await read(store, "x")
    assert found.next_due == now + 5 * MINUTE
    assert found.records == 3
    assert await keys_due(store, "a") == []
    later = now + 6 * MINUTE
    assert [s.id for s in await store.due("b", later, queries=False, limit=9)] == ["x"]


async def test_a_target_that_turned_out_to_be_another_goes(store: WriteStore) -> None:
    """With its names; the one that stays answers to them."""
    lease = await take(store)
    await watch(store, "old", "new")
    kept = replace(await read(store, "new"), names=("new", "old"), last_attempt=await store.now())
    assert not await store.save_targets(lease, [kept], ["old"])
    assert (await read(store, "old")).id == "new"
    assert [each.id async for each in store.targets()] == ["new"]


async def test_many_targets_at_once(store: WriteStore) -> None:
    """More than fit into one command."""
    lease = await take(store)
    keys = [f"github:a/r{n}" for n in range(1_300)]
    await watch(store, *keys)
    found = list((await store.targets_by_name(keys)).values())
    assert len(found) == 1_300
    now = await store.now()
    later = [replace(each, last_attempt=now, next_due=now + MINUTE) for each in found]
    assert not await store.save_targets(lease, later)
    assert await keys_due(store, limit=2_000) == []
    assert sum([1 async for _ in store.watched()]) == 1_300


async def test_a_request_is_answered_once(store: WriteStore) -> None:
    """Oldest first, by account; the answer is there until the asker takes it away."""
    now = await store.now()
    first = PollRequest("1", "a", ("github:A/B.c", "ncbi:nuccore?x"), True, now, now + MINUTE)
    second = replace(first, id="2", asked_at=now + timedelta(seconds=1))
    other = replace(first, id="3", account="b")
    for each in (second, first, other):
        await store.ask(each)
    assert await store.asked("a") == [first, second]
    results = {"github:A/B.c": PollResult("github:a/b.c", 7)}
    await store.answer(first, results)
    assert await store.asked("a") == [second]
    assert await store.request("1") == replace(first, results=results)
    await store.unask(first)
    assert await store.request("1") is None
    await store.answer(first, results)
    assert await store.request("1") is None


async def test_who_asks_anew_asks_in_the_place_of_before(store: WriteStore) -> None:
    """For everything if either did; an answer to what was asked before is none to that."""
    now = await store.now()
    first = PollRequest("1", "a", ("x",), True, now, now + MINUTE, awaited=False)
    later = now + timedelta(seconds=1)
    again = PollRequest("1", "b", ("x",), False, later, later + MINUTE, not_before=later + MINUTE)
    await store.ask(first)
    await store.ask(again)
    assert not await store.asked("a")
    (asked,) = await store.asked("b")
    assert asked == replace(again, full=True)
    await store.answer(first, {})
    await store.unask(first)
    assert await store.asked("b") == [asked]
    refusal = Failure("limited", retry_at=later)
    await store.answer(asked, {}, refusal)
    assert not await store.asked("b")
    assert await store.request("1") == replace(asked, results={}, refusal=refusal)
    newer = replace(again, asked_at=later + timedelta(seconds=1))
    await store.ask(newer)
    assert await store.asked("b") == [replace(newer, full=True)], "and is open again"


async def test_many_ask_for_the_same_at_once(store: WriteStore) -> None:
    """There is one request in the end."""
    now = await store.now()
    asking = [
        store.ask(PollRequest("1", "a", ("x",), n == 3, now, now + MINUTE)) for n in range(20)
    ]
    await asyncio.gather(*asking)
    assert [each.full for each in await store.asked("a")] == [True]


async def test_a_request_that_nobody_waits_for_is_dropped(
    store: WriteStore, clock: FakeClock
) -> None:
    """A leader that comes later does not work for who has gone."""
    now = await store.now()
    await store.ask(PollRequest("1", "a", ("x",), False, now, now - timedelta(seconds=1)))
    assert not await store.asked("a")
    assert await store.request("1") is None


async def test_requests_to_an_account_that_nobody_leads_are_dropped(store: WriteStore) -> None:
    """By whoever asks next, of whichever account."""
    now = await store.now()
    await store.ask(PollRequest("1", "a", ("x",), False, now, now + MINUTE))
    later = now + timedelta(hours=1)
    await store.ask(PollRequest("2", "b", ("x",), False, later, later + MINUTE))
    assert await store.request("1") is None
    assert await store.request("2") is not None


async def test_what_is_due_next(store: WriteStore) -> None:
    """The earliest of an account's own, queries aside; nothing where nothing is watched."""
    lease = await take(store)
    now = await store.now()
    dues = {"github:a/a": 1, "github:b/b": 5, "github:c/c": 9, "ncbi:nuccore?x": 7}
    states = [
        state(id=key, key=key, names=(key,), next_due=now + minutes * MINUTE)
        for key, minutes in dues.items()
    ]
    await store.save_targets(lease, states)
    assert await store.upcoming("a", now) is None
    await store.wish("file", [Wish(key, key, "a", 60.0) for key in dues])
    assert await store.upcoming("a", now) == now + MINUTE
    assert await store.upcoming("a", now + MINUTE) == now + 5 * MINUTE
    assert await store.upcoming("a", now + 5 * MINUTE) == now + 9 * MINUTE
    assert await store.upcoming("b", now) is None


async def test_only_what_is_as_it_was_known_is_merely_advanced(store: WriteStore) -> None:
    """A state made from an older one is refused or saved whole, never half."""
    lease = await take(store)
    now = await store.now()
    old = state(last_attempt=now, token=lease.token, account="a")
    await store.save_targets(lease, [old])
    new = replace(
        old, last_attempt=now + MINUTE, records=9, rhythm={"changes": 1.1, "seconds": 0.3}
    )
    assert not await store.save_targets(lease, [new], known={old.id: old})
    assert await store.target(KEY) == new
    # Voided meanwhile: the cursor stays away, because the poll said nothing of it.
    await store.void(lease, [KEY])
    newer = replace(new, last_attempt=now + 2 * MINUTE, records=10)
    assert not await store.save_targets(lease, [newer], known={new.id: new})
    assert await store.target(KEY) == replace(newer, cursor=None)
    # Made from a state that is not the stored one: all of it is written.
    other = replace(newer, last_attempt=now + 3 * MINUTE, cursor={"etag": "y"}, records=11)
    known = replace(other, last_attempt=now + MINUTE)
    assert not await store.save_targets(lease, [other], known={other.id: known})
    assert await store.target(KEY) == other
    stranger = await take(store, "b")
    early = replace(other, last_attempt=now, account="b", token=stranger.token)
    assert await store.save_targets(stranger, [early], known={KEY: early}) == [KEY]


async def test_accounts_tell_who_leads(store: WriteStore) -> None:
    """And what is left of their budgets."""
    lease = await take(store)
    await store.renew(lease, 30, {"remaining": 7})
    gone = await take(store, "b")
    await store.release(gone, {})
    first, second = await store.accounts()
    assert (first.account, first.owner, first.token) == ("a", "me", lease.token)
    assert first.budget == {"remaining": 7}
    assert (second.account, second.owner) == ("b", None)


@pytest.mark.parametrize("clean", [True, False])
async def test_an_heir_knows_how_its_predecessor_ended(
    store: WriteStore, clock: FakeClock, clean: bool
) -> None:
    """Given back, or run out."""
    lease = await take(store, ttl=0.05)
    if clean:
        await store.release(lease, {})
    else:
        await asyncio.sleep(0.1)
        clock.advance(1)
    assert (await take(store, owner="you")).clean is clean


async def test_what_was_polled_in_the_future_is_due_at_once(store: WriteStore) -> None:
    """After the clock was set back; what another account watches is left alone."""
    lease = await take(store)
    await watch(store, "x", "y", "new")
    await watch(store, "z", account="b")
    now = await store.now()
    ahead = now + timedelta(days=1)
    for key, at in (("x", ahead), ("y", now), ("z", ahead)):
        later = replace(await read(store, key), last_attempt=at, next_due=at + MINUTE)
        assert not await store.save_targets(lease, [later])
    assert await keys_due(store) == ["new"]
    assert await store.recall("a", now) == 1
    assert sorted(await keys_due(store)) == ["new", "x"]
    assert await keys_due(store, "b") == []
    known = replace(await read(store, "x"), last_attempt=now, next_due=now + MINUTE)
    assert not await store.save_targets(lease, [known]), "a poll of today is no older one"


async def test_a_voided_cursor_is_gone_and_all_else_stays(store: WriteStore) -> None:
    """Before the records that it stands for are changed."""
    lease = await take(store)
    states = [
        state(
            id=f"github:{name}",
            key=f"github:{name}",
            names=(f"github:{name}",),
            cursor={"etag": name},
            facts={"x": 1},
        )
        for name in ("a/a", "b/b")
    ]
    await store.save_targets(lease, states)
    await store.void(lease, ["github:a/a", "github:unknown"])
    saved = {each.key: each async for each in store.targets()}
    assert saved["github:b/b"].cursor == {"etag": "b/b"}
    assert saved["github:a/a"] == replace(saved["github:a/a"], cursor=None)
    assert (saved["github:a/a"].cursor, saved["github:a/a"].facts) == (None, {"x": 1})
    await store.release(lease, {})
    await take(store)
    with pytest.raises(LeaseLost):
        await store.void(lease, ["github:b/b"])
