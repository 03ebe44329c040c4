"""The one path from due targets to committed outcomes, over both stores."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fetcher.errors import LeaseLost, StoreUnavailable
from fetcher.leases import AccountBusy, Tenure, hold
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Record, TargetState
from fetcher.policy.digest import digest
from fetcher.refresh import Event, Polled, Refresher, Stored
from fetcher.shield import Shield
from fetcher.store import Query, WriteStore, open_store
from fetcher.targets import Target, parse_target
from tests.clock import FakeClock
from tests.stores import store_url
from tests.world import SILENT

__all__ = ["store_url"]

A, B = parse_target("github:a/a"), parse_target("github:b/b")
Item = Chunk | Outcome


def record(number: int, body: str = "x", updated: datetime | None = None) -> Record:
    content = {"repository_id": 1, "tag": f"v{number}", "body": body, "published_at": None}
    id_ = f"github:1:{number}"
    return Record(id_, "release", content, "https://x/", digest(content), (0, updated))


def good(target: Target, **more: Any) -> Outcome:
    return Outcome(target, target, OutcomeKind.UNCHANGED, **more)


class Script:
    """A source that yields what it is told to."""

    def __init__(self, *items: Item | BaseException | Callable[[], None]) -> None:
        self._items = items

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Item, None]:
        for item in self._items:
            await asyncio.sleep(0)
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Chunk | Outcome):
                yield item
            else:
                item()


class Bench:
    """A store, a lease and a refresher."""

    def __init__(self, store: WriteStore, tenure: Tenure, shield: Shield) -> None:
        self.store = store
        self.tenure = tenure
        self.shield = shield

        def next_due(state: TargetState, *rest: Any) -> datetime:
            now: datetime = rest[-1]
            return now + timedelta(minutes=1)

        self.refresher = Refresher(store, shield, next_due, SILENT)

    async def refresh(self, script: Script, *targets: Target) -> list[Event]:
        due = [Due(each, await self.store.target(each.fold)) for each in targets]
        return [each async for each in self.refresher.refresh(self.tenure, script, due)]


@pytest.fixture
async def bench(store_url: str) -> AsyncGenerator[Bench, None]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(await open_store(store_url, clock=clock))
        lease = await store.acquire("a", "me", 3600)
        assert lease is not None
        yield Bench(store, Tenure(lease, clock, 3600), Shield(lambda error: None))


async def test_records_come_before_the_outcome(bench: Bench) -> None:
    """Counts, kinds and the state as it is stored."""
    script = Script(
        Chunk(A, "release", (record(1), record(2))),
        Chunk(A, "release", (record(3),)),
        good(A, cursor={"etag": "x"}, facts={"latest": 3}),
        Outcome(B, B, OutcomeKind.EMPTY),
    )
    events = await bench.refresh(script, A, B)
    polled = {each.asked: each for each in events if isinstance(each, Polled)}
    assert (polled[A].state.outcome, polled[A].changed) == ("changed", 3)
    assert polled[A].state.records == 3
    assert polled[B].state.outcome == "empty"
    assert await bench.store.target(A.fold) == polled[A].state
    assert polled[A].state.cursor == {"etag": "x"}
    again = await bench.refresh(Script(Chunk(A, "release", (record(1),)), good(A)), A)
    assert [each.state.outcome for each in again if isinstance(each, Polled)] == ["unchanged"]


async def test_a_source_that_raises_fails_what_it_left(bench: Bench) -> None:
    """Whoever was answered before keeps the answer; the others get a log id."""
    script = Script(Chunk(A, "release", (record(1),)), good(A), KeyError("a bug"))
    polled = [each for each in await bench.refresh(script, A, B) if isinstance(each, Polled)]
    assert [str(each.state.outcome) for each in polled] == ["changed", "failed"]
    failure = polled[1].state.failure
    assert failure is not None
    assert failure.log_id is not None
    assert failure.log_id in failure.message
    assert polled[1].state.next_due is not None


async def test_a_target_that_is_forgotten_fails(bench: Bench) -> None:
    """Every due target ends in an outcome with a due time."""
    polled = [each for each in await bench.refresh(Script(), A, B) if isinstance(each, Polled)]
    assert [str(each.state.outcome) for each in polled] == ["failed", "failed"]


async def test_a_bad_poll_keeps_the_good_cursor_and_data(bench: Bench) -> None:
    """An error is stored beside the data, never in its place."""
    await bench.refresh(Script(Chunk(A, "release", (record(1),)), good(A, cursor={"e": 1})), A)
    bad = Outcome(A, A, OutcomeKind.UNREACHABLE)
    (polled,) = [e for e in await bench.refresh(Script(bad), A) if isinstance(e, Polled)]
    assert polled.state.cursor == {"e": 1}
    assert (polled.state.records, polled.state.failures) == (1, 1)
    assert polled.state.last_success is not None


async def test_spells_begin_where_polls_end_otherwise(bench: Bench) -> None:
    """However often they end alike; and only so many are remembered."""
    good_, gone, down = (
        Script(Outcome(A, A, kind))
        for kind in (OutcomeKind.UNCHANGED, OutcomeKind.NOT_FOUND, OutcomeKind.UNREACHABLE)
    )
    for script in (good_, Script(Outcome(A, A, OutcomeKind.EMPTY)), down, down, gone, good_, good_):
        await bench.refresh(script, A)
    state = await bench.store.target(A.fold)
    assert state is not None
    assert [each.outcome for each in state.spells] == ["good", "unreachable", "not_found", "good"]
    for _ in range(50):
        await bench.refresh(down, A)
        await bench.refresh(good_, A)
    state = await bench.store.target(A.fold)
    assert state is not None
    assert len(state.spells) == 90
    assert state.spells[-1].outcome == "good"


async def test_a_cursor_does_not_outlive_what_it_stands_for(bench: Bench) -> None:
    """A poll that changes something and ends badly leaves none: the upstream may come back."""
    await bench.refresh(Script(Chunk(A, "release", (record(1),)), good(A, cursor={"e": 1})), A)
    news = Chunk(parse_target("github:a/new"), "release", (record(2),), asked=A)
    script = Script(news, Outcome(A, A, OutcomeKind.UNREACHABLE))
    due = [Due(A, await bench.store.target(A.fold))]
    cursors: list[object] = []
    async for event in bench.refresher.refresh(bench.tenure, script, due):
        state = await bench.store.target(A.fold)
        cursors.append((type(event), state and state.cursor))
    assert cursors == [(Stored, None), (Polled, None)]


async def test_a_count_that_a_crash_left_behind_is_made_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records were written, the state was not: to the next leader they are no news, but counted."""
    chunks = [Chunk(A, "release", tuple(record(n) for n in range(3)))]
    await bench.refresh(Script(*chunks, good(A)), A)
    with monkeypatch.context() as patched:

        async def dies(*arguments: Any) -> Any:
            raise StoreUnavailable("killed")

        patched.setattr(bench.store, "save_targets", dies)
        more = Chunk(A, "release", (record(7),))
        with pytest.raises(StoreUnavailable):
            await bench.refresh(Script(more, good(A)), A)
    await bench.store.release(bench.tenure.check(), {})
    heir = await bench.store.acquire("a", "heir", 3600)
    assert heir is not None
    bench.tenure.renewed(heir, 3600)
    events = await bench.refresh(Script(Chunk(A, "release", (record(7),)), good(A)), A)
    (polled,) = [each for each in events if isinstance(each, Polled)]
    assert (polled.state.outcome, polled.state.records) == ("unchanged", 4)


async def test_a_refused_record_voids_the_cursor(bench: Bench) -> None:
    """What the cursor would stand for was not stored, so the next poll asks without it."""
    late = datetime(2026, 1, 2, tzinfo=UTC)
    new = Chunk(A, "release", (record(1, "new", late),))
    await bench.refresh(Script(new, good(A, cursor={"e": 1})), A)
    old = Chunk(A, "release", (record(1, "old", late - timedelta(days=1)),))
    (polled,) = [
        each
        for each in await bench.refresh(Script(old, good(A, cursor={"e": 2})), A)
        if isinstance(each, Polled)
    ]
    assert polled.state.cursor is None
    stored = await bench.store.record("release", "github:1:1")
    assert stored is not None
    assert stored["body"] == "new"


async def test_two_that_become_one_in_commits_of_their_own(bench: Bench) -> None:
    """The second commit knows what the first has made: no name is forgotten again."""
    await bench.refresh(Script(good(A), good(B)), A, B)
    became = Outcome(A, B, OutcomeKind.UNCHANGED)
    pause = [lambda: None] * 20
    news = good(B, facts={"latest": 1})
    for script in (Script(became, *pause, news), Script(news, *pause, became)):
        await bench.refresh(script, A, B)
        for name in (A, B):
            state = await bench.store.target(name.fold)
            assert state is not None
            assert state.key == B.key


async def test_a_lost_lease_commits_nothing(bench: Bench) -> None:
    """Somebody else has the account: the refresh ends there."""
    bench.tenure.lost = LeaseLost("gone")
    with pytest.raises(LeaseLost):
        await bench.refresh(Script(Chunk(A, "release", (record(1),)), good(A)), A)
    assert await bench.store.count(Query("release")) == 0
    assert await bench.store.target(A.fold) is None


@pytest.mark.parametrize("number", range(25))
async def test_cancelled_anywhere_the_next_poll_repairs(bench: Bench, number: int) -> None:
    """No cursor ahead of its records, nothing lost, nothing doubled."""
    chunks = [Chunk(A, "release", tuple(record(n) for n in range(at, at + 5))) for at in (0, 5, 10)]
    script = Script(*chunks, good(A, cursor={"e": 1}))
    task = asyncio.create_task(bench.refresh(script, A))
    for _ in range(number * 2):
        await asyncio.sleep(0)
    await asyncio.sleep(number * 0.0007)
    task.cancel()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(bench.shield) == 0
    state = await bench.store.target(A.fold)
    if state is not None:
        assert await bench.store.count(Query("release", target=A.key)) == 15
    await bench.refresh(Script(*chunks, good(A, cursor={"e": 1})), A)
    assert await bench.store.count(Query("release", target=A.key)) == 15
    async for document in bench.store.records(Query("release")):
        assert document["revision"] == 1


async def test_hundreds_of_outcomes_share_commits(bench: Bench) -> None:
    """What has come together is committed together."""
    targets = [parse_target(f"github:a/r{n}") for n in range(300)]
    saves = 0
    save = bench.store.save_targets

    async def counted(*arguments: Any) -> Any:
        nonlocal saves
        saves += 1
        return await save(*arguments)

    bench.store.save_targets = counted  # type: ignore[assignment, method-assign]
    events = await bench.refresh(Script(*(good(each) for each in targets)), *targets)
    assert sum(isinstance(each, Polled) for each in events) == 300
    assert sum(isinstance(each, Stored) for each in events) == 0
    assert saves < 150


async def test_a_held_account_is_waited_for_and_given_back(store_url: str) -> None:
    """The budget goes with the lease; who waits too long hears who has it."""
    clock = FakeClock()
    shield = Shield(lambda error: None)
    waits: list[str] = []
    async with await open_store(store_url, clock=clock) as store:

        def holding(owner: str, wait: float, spent: int = 0) -> Any:
            return hold(
                store,
                shield,
                "a",
                owner,
                clock,
                promised=3600,
                wait=wait,
                budget=lambda: {"spent": spent},
                on_wait=lambda name, seconds: waits.append(name),
            )

        async with holding("one", 0, spent=7) as tenure:
            assert tenure.check().owner == "one"
            with pytest.raises(AccountBusy, match="one"):
                async with holding("two", 3):
                    pass
        # The renewals of the first make the clock run: there may be no time left to say it.
        assert set(waits) <= {"one"}
        async with holding("two", 0) as tenure:
            assert tenure.lease.budget == {"spent": 7}


async def test_under_a_lease_that_cannot_be_renewed_nothing_is_sent(store_url: str) -> None:
    """Somebody else may have it; it is ours again when the store says so, or lost for good."""
    clock = FakeClock()
    shield = Shield(lambda error: None)
    async with await open_store(store_url, clock=clock) as store:
        renew = store.renew
        down = True

        async def renewed(lease: Any, ttl: float, budget: Any) -> Any:
            if down:
                raise StoreUnavailable("down")
            return await renew(lease, 3600, budget)

        store.renew = renewed  # type: ignore[method-assign]
        holding = hold(store, shield, "a", "me", clock, promised=3600, wait=0, budget=dict)
        async with holding as tenure, asyncio.timeout(10):
            assert tenure.may_send()
            while tenure.may_send():
                await asyncio.sleep(0.001)
            assert tenure.lost is None
            down = False
            while not tenure.may_send():
                await asyncio.sleep(0.001)
            await store.release(tenure.check(), {})
            assert await store.acquire("a", "you", 3600) is not None
            await tenure.ended.wait()
            assert not tenure.may_send()
            with pytest.raises(LeaseLost):
                tenure.check()
