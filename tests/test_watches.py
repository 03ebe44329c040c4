"""The watch list in the store follows the settings file, and what was typed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from fetcher.errors import Evidence
from fetcher.models import Every, Failure, Watch
from fetcher.store import WriteStore, open_store
from fetcher.targets import Target, parse_target
from fetcher.watches import Applied, apply_file, wish_by_hand
from tests.clock import FakeClock
from tests.store.build import state, take
from tests.stores import store_url

__all__ = ["store_url"]

A, B, C = map(parse_target, ("github:A/a", "github:b/b", "ncbi:nuccore/C000001"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[WriteStore]:
    async with await open_store(store_url, clock=FakeClock()) as opened:
        yield opened


async def apply(store: WriteStore, wanted: dict[Target, Every], home: str = "one") -> Applied:
    def interval(state: object) -> float:
        watch = getattr(state, "watch", None)
        assert isinstance(watch, Watch)
        return watch.every if isinstance(watch.every, float) else 900.0

    return await apply_file(store, wanted, lambda target: home, interval)


async def watches(store: WriteStore) -> dict[str, Watch]:
    return {each.key: each.watch async for each in store.watched()}


async def test_the_list_follows_the_file(store: WriteStore) -> None:
    """Added, changed, removed; what is the same is left alone, whatever its spelling."""
    assert await apply(store, {A: 60.0, B: "auto"}) == Applied(2, 0, 0)
    assert await watches(store) == {
        "github:A/a": Watch("one", 60.0),
        "github:b/b": Watch("one", "auto"),
    }
    assert await apply(store, {parse_target("github:a/A"): 60.0, B: "auto"}) == Applied(0, 0, 0)
    assert await apply(store, {A: 30.0, C: 60.0}) == Applied(1, 1, 1)
    assert await watches(store) == {"github:A/a": Watch("one", 30.0), C.key: Watch("one", 60.0)}
    assert await apply(store, {}) == Applied(0, 0, 2)
    assert await watches(store) == {}
    assert await store.target(A.fold) is not None, "what is known of it stays"


async def test_what_is_watched_stays_on_its_account(store: WriteStore) -> None:
    """It may have moved there; a target that is new goes home."""
    await apply(store, {A: 60.0})
    await wish_by_hand(store, [B], 60.0, lambda target: "one", lambda state: 60.0)
    assert await apply(store, {A: 30.0, B: 60.0, C: 60.0}, home="two") == Applied(1, 2, 0)
    accounts = {key: watch.account for key, watch in (await watches(store)).items()}
    assert accounts == {"github:A/a": "one", "github:b/b": "one", C.key: "two"}


async def test_a_watch_by_hand_outlives_the_file(store: WriteStore) -> None:
    """The file does not speak of it."""
    await apply(store, {A: 60.0})
    await wish_by_hand(store, [A, B], "auto", lambda target: "one", lambda state: 60.0)
    await apply(store, {})
    assert set(await watches(store)) == {"github:A/a", "github:b/b"}
    await wish_by_hand(store, [A], None, lambda target: "one", lambda state: 60.0)
    assert set(await watches(store)) == {"github:b/b"}


async def test_a_shorter_interval_counts_from_the_last_poll(store: WriteStore) -> None:
    """But what the server asked for is a lower bound."""
    lease = await take(store)
    now = await store.now()
    known = state(
        id=A.fold, key=A.key, names=(A.fold,), failure=None, last_attempt=now,
        next_due=now + timedelta(days=1),
    )  # fmt: skip
    limited = replace(
        known,
        id=B.fold,
        key=B.key,
        names=(B.fold,),
        failure=Failure("later", Evidence(), now + timedelta(hours=5)),
    )
    await store.save_targets(lease, [known, limited])
    await apply(store, {A: 3600.0, B: 3600.0})
    states = await store.targets_by_name([A.fold, B.fold])
    assert states[A.fold].next_due == now + timedelta(hours=1)
    assert states[B.fold].next_due == now + timedelta(hours=5)


async def test_a_renamed_repository_is_one_target(store: WriteStore) -> None:
    """The file may name it by its old name, its new one, or both."""
    lease = await take(store)
    old, new = parse_target("github:a/old"), parse_target("github:a/new")
    renamed = state(id=old.fold, key=new.key, names=(old.fold, new.fold))
    await store.save_targets(lease, [renamed])
    assert await apply(store, {old: 60.0, new: 60.0}) == Applied(2, 0, 0)
    assert await watches(store) == {new.key: Watch("one", 60.0)}
    assert await apply(store, {old: 60.0, new: 60.0}) == Applied(0, 0, 0)
    assert await apply(store, {new: 60.0}) == Applied(0, 0, 0)
