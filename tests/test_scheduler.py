"""The leader of an account: what is due is polled, oldest first, and nobody starves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from fetcher.config import Settings
from fetcher.errors import StoreError, StoreFull, StoreUnavailable, Unauthorized
from fetcher.gate import Gate
from fetcher.models import (
    Chunk,
    Due,
    Failure,
    Known,
    Outcome,
    OutcomeKind,
    Record,
    TargetState,
    Wish,
)
from fetcher.policy.budget import Budget, Quota
from fetcher.policy.digest import digest
from fetcher.refresh import Event, Polled
from fetcher.scheduler import Leader, Pace
from fetcher.shield import Shield
from fetcher.store import Query, WriteStore, open_store
from fetcher.store.sqlite import SqliteStore
from fetcher.targets import parse_target
from fetcher.timetable import Timetable
from tests.clock import StillClock, Working
from tests.world import SILENT

ACCOUNT = "github:anonymous"


class Upstream:
    """A source that does as it is told, target by target, and notes what it was asked."""

    def __init__(self, clock: StillClock) -> None:
        self._clock = clock
        self.asked: list[tuple[float, list[str]]] = []
        self.answers: dict[str, Callable[[Due], Outcome]] = {}
        self.hanging: set[str] = set()
        self.bodies: dict[str, str] = {}
        self.bug: Exception | None = None
        self.refuses = False
        self.reached = 0

    async def reach(self) -> str:
        self.reached += 1
        if self.refuses:
            raise Unauthorized("bad credentials", whole_account=True)
        return "fine"

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        self.asked.append((self._clock.monotonic(), [each.target.key for each in due]))
        if self.bug is not None:
            raise self.bug
        for each in due:
            key = each.target.key
            if key in self.hanging:
                continue
            if key in self.bodies:
                yield Chunk(each.target, "release", (record(key, self.bodies[key]),))
            answer = self.answers.get(key)
            if answer is not None:
                yield answer(each)
            else:
                yield Outcome(each.target, each.target, OutcomeKind.UNCHANGED, cursor={"e": 1})
        if self.hanging.intersection(each.target.key for each in due):
            await asyncio.Event().wait()

    def times(self, key: str) -> list[float]:
        return [at for at, keys in self.asked if key in keys]


def record(key: str, body: str) -> Record:
    content = {"repository_id": 1, "tag": key, "body": body, "published_at": None}
    return Record(f"github:1:{key}", "release", content, "https://x/", digest(content))


def unreachable(due: Due) -> Outcome:
    return Outcome(due.target, due.target, OutcomeKind.UNREACHABLE, Failure("no answer"))


class Watcher:
    """What the leader tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.errors: list[StoreError] = []
        self.closed = 0.0
        self.leading = False
        self.most = 0

    def event(self, account: str, event: Event) -> None:
        self.events.append(event)

    def account(
        self,
        account: str,
        *,
        leading: bool,
        under_way: int = 0,
        closed: float = 0.0,
        quotas: Mapping[str, Quota] = MappingProxyType({}),
    ) -> None:
        self.leading, self.closed = leading, closed
        self.most = max(self.most, under_way)

    def store(self, who: str, error: StoreError | None) -> None:
        if error is not None:
            self.errors.append(error)


class Stage:
    """A store, a source, and a leader between them, on one clock."""

    def __init__(self, store: WriteStore, clock: StillClock) -> None:
        self.inner = store
        self.store = cast("WriteStore", Working(store, clock))
        self.clock = clock
        self.source = Upstream(clock)
        self.watcher = Watcher()
        self.gate = Gate("tests", Budget(10_000, 1.0), clock, in_flight=5)

    def leader(self, **pace: Any) -> Leader:
        service = {"min_interval": "1s", "lease": "1h"}
        settings = Settings.model_validate({"service": service})
        return Leader(
            ACCOUNT,
            self.gate,
            self.source,
            store=self.store,
            shield=Shield(lambda error: None),
            timetable=Timetable(settings, lambda low, high: low),
            clock=self.clock,
            uniform=lambda low, high: high,
            log=SILENT,
            owner="me",
            promised=settings.service.lease,
            observer=self.watcher,
            pace=Pace(**pace),
        )

    @asynccontextmanager
    async def led(self, **pace: Any) -> AsyncIterator[Leader]:
        """While a leader is at work."""
        leader = self.leader(**pace)
        task = asyncio.create_task(leader.run())
        try:
            yield leader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def watch(self, *keys: str, every: float = 60.0) -> None:
        wishes = [Wish(parse_target(k).fold, k, ACCOUNT, every) for k in keys]
        await self.store.wish("file", wishes)

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not wanted():
                await self.clock.sleep(0.1)

    async def passes(self, seconds: float) -> None:
        """Lets the leader's time go by."""
        async with asyncio.timeout(60):
            await self.clock.sleep(seconds)

    def polled(self) -> dict[str, TargetState]:
        return {
            each.state.key: each.state for each in self.watcher.events if isinstance(each, Polled)
        }


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = StillClock()
    async with AsyncExitStack() as stack:
        opening = open_store(f"sqlite:///{tmp_path}/s.db", clock=clock)
        yield Stage(await stack.enter_async_context(await opening), clock)


async def test_new_targets_are_polled_at_once_and_spread_then(stage: Stage) -> None:
    """Together at first; then each on its phase, one of sixteen, never late, never too soon."""
    keys = [f"github:a/r{n}" for n in range(40)]
    await stage.watch(*keys, every=300.0)
    async with stage.led():
        await stage.until(lambda: len(stage.polled()) == 40)
        assert len(stage.source.asked) == 1
        await stage.passes(3000)
    for key in keys:
        times = stage.source.times(key)
        gaps = [after - before for before, after in pairwise(times)]
        assert 9 <= len(times) <= 12
        assert all(149.0 <= gap <= 302.0 for gap in gaps), gaps
        assert all(gap >= 298.0 for gap in gaps[3:]), gaps
    starts = {round(stage.source.times(key)[-1]) for key in keys}
    assert 8 < len(starts) <= 16, "they do not come back all together"


async def test_what_falls_due_together_is_asked_together(stage: Stage) -> None:
    """In the long run a source is asked a few times in an interval, however many targets it has."""
    keys = [f"github:a/r{n}" for n in range(100)]
    await stage.watch(*keys[:60], every=60.0)
    await stage.watch(*keys[60:], every=120.0)
    async with stage.led():
        await stage.passes(600)
        stage.source.asked.clear()
        await stage.passes(1200)
    polls = sum(len(keys) for _, keys in stage.source.asked)
    assert 1580 <= polls <= 1620
    # A minute has four phases and two minutes have eight, fifteen seconds apart, all shared.
    assert len(stage.source.asked) <= 82


async def test_a_successor_repeats_nothing(stage: Stage) -> None:
    """The due times are in the store; the overdue are worked off, oldest first."""
    keys = [f"github:a/r{n}" for n in range(30)]
    await stage.watch(*keys, every=3600.0)
    async with stage.led():
        await stage.until(lambda: len(stage.polled()) == 30)
    stage.source.asked.clear()
    async with stage.led(targets=10):
        await stage.until(lambda: stage.watcher.leading)
        await stage.passes(100)
        assert not stage.source.asked
    stage.clock.jump(7200)
    due = {
        key: state.next_due
        for key in keys
        if (state := await stage.store.target(parse_target(key).fold)) and state.next_due
    }
    async with stage.led(targets=10):
        await stage.until(lambda: sum(len(keys) for _, keys in stage.source.asked) >= 30)
    order = [key for _, keys in stage.source.asked for key in keys]
    assert sorted(order) == sorted(keys)
    assert [due[key] for key in order] == sorted(due.values())
    assert max(len(keys) for _, keys in stage.source.asked) == 5


async def test_nobody_starves_behind_a_slow_target(stage: Stage) -> None:
    """One that never ends keeps its own place, and no other's."""
    keys = [f"github:a/r{n}" for n in range(20)]
    stage.source.hanging.add(keys[3])
    await stage.watch(*keys, every=60.0)
    async with stage.led(targets=8):
        await stage.passes(600)
        for key in keys:
            if key not in stage.source.hanging:
                assert len(stage.source.times(key)) >= 7, key
        assert len(stage.source.times(keys[3])) == 1
        assert stage.watcher.most <= 8
    assert (await target(stage, keys[3])).outcome is None


async def target(stage: Stage, key: str) -> TargetState:
    found = await stage.store.target(parse_target(key).fold)
    assert found is not None
    return found


async def test_queries_have_places_of_their_own(stage: Stage) -> None:
    """However many of them hang, accessions go on."""
    queries = [f"ncbi:nuccore?q{n}" for n in range(9)]
    stage.source.hanging.update(queries)
    await stage.watch("ncbi:nuccore/AB000001", *queries, every=10.0)
    async with stage.led(queries=3):
        await stage.passes(60)
    assert len(stage.source.times("ncbi:nuccore/AB000001")) >= 5
    assert sum(bool(stage.source.times(query)) for query in queries) == 3


async def test_a_limited_account_waits_for_its_reset(stage: Stage) -> None:
    """Nothing is claimed before; then it goes on by itself."""
    await stage.watch("github:a/a", every=10.0)
    async with stage.led():
        await stage.until(lambda: bool(stage.polled()))
        begin = stage.clock.monotonic()
        stage.gate.limited(600.0, named=True)
        asked = len(stage.source.asked)
        await stage.passes(590)
        assert len(stage.source.asked) == asked
        assert stage.watcher.closed > 0
        await stage.until(lambda: len(stage.source.asked) > asked)
        assert stage.clock.monotonic() >= begin + 597


async def test_what_the_server_asks_for_is_a_lower_bound(stage: Stage) -> None:
    """A target's own Retry-After, far beyond its interval."""
    later = datetime.fromtimestamp(stage.clock.time(), UTC) + timedelta(minutes=30)

    def refuse(due: Due) -> Outcome:
        failure = Failure("later", retry_at=later)
        return Outcome(due.target, due.target, OutcomeKind.RATE_LIMITED, failure)

    stage.source.answers["github:a/a"] = refuse
    await stage.watch("github:a/a", "github:b/b", every=60.0)
    async with stage.led():
        await stage.passes(1700)
        assert len(stage.source.times("github:a/a")) == 1
        assert len(stage.source.times("github:b/b")) > 25
        await stage.passes(200)
        assert 1799 <= stage.source.times("github:a/a")[1] < 1850


async def test_an_upstream_that_is_down_sees_one_probe_at_a_time(stage: Stage) -> None:
    """With backoff and a cap; what is stored stays, and all goes on when it answers again."""
    keys = [f"github:a/r{n}" for n in range(50)]
    stage.source.bodies = dict.fromkeys(keys, "text")
    await stage.watch(*keys, every=60.0)
    async with stage.led(targets=10):
        await stage.until(lambda: len(stage.polled()) == 50)
        stage.source.answers = dict.fromkeys(keys, unreachable)
        await stage.passes(600)
        stage.source.asked.clear()
        await stage.passes(3600)
        probes = stage.source.asked
        assert all(len(keys) == 1 for _, keys in probes)
        assert 10 <= len(probes) <= 15, "every five minutes or so, not every minute"
        assert await stage.store.count(Query("release", withdrawn=False)) == 50
        stage.source.answers.clear()
        stage.watcher.events.clear()
        await stage.until(lambda: len([s for s in stage.polled().values() if not s.failures]) == 50)


async def test_a_source_with_a_bug_fails_its_targets_and_goes_on(stage: Stage) -> None:
    """They end as failed, with a log id, and are tried again, later each time."""
    await stage.watch("github:a/a", every=3600.0)
    stage.source.bug = KeyError("a bug")
    async with stage.led():
        await stage.passes(600)
        state = stage.polled()["github:a/a"]
        assert (state.outcome, state.failures > 3) == (OutcomeKind.FAILED, True)
        assert state.failure is not None
        assert state.failure.log_id is not None
        times = stage.source.times("github:a/a")
        assert len(times) < 15
        stage.source.bug = None
        await stage.until(lambda: stage.polled()["github:a/a"].failures == 0)


async def test_a_failing_store_pauses_polling_and_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched is committed when it works again; nothing is fetched twice meanwhile."""
    keys = [f"github:a/r{n}" for n in range(5)]
    stage.source.bodies = dict.fromkeys(keys, "one")
    await stage.watch(*keys, every=60.0)
    save = stage.store.save_targets

    async def fails(*arguments: Any) -> Any:
        raise StoreUnavailable("down")

    async with stage.led():
        await stage.until(lambda: len(stage.polled()) == 5)
        stage.source.bodies = dict.fromkeys(keys, "two")
        monkeypatch.setattr(stage.inner, "save_targets", fails)
        await stage.until(lambda: bool(stage.watcher.errors))
        await stage.passes(100)
        asked = len(stage.source.asked)
        await stage.passes(1800)
        assert len(stage.source.asked) == asked, "polling pauses"
        monkeypatch.setattr(stage.inner, "save_targets", save)
        stage.watcher.events.clear()
        await stage.until(lambda: len(stage.polled()) == 5)
    async for document in stage.store.records(Query("release")):
        assert (document["body"], document["revision"]) == ("two", 2)


async def test_a_store_that_fails_on_every_read_is_left_in_peace(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again with backoff, not in a loop."""
    calls = 0
    due = stage.store.due

    async def fails(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        raise StoreUnavailable("down")

    monkeypatch.setattr(stage.inner, "due", fails)
    await stage.watch("github:a/a")
    async with stage.led():
        await stage.passes(600)
        assert 20 < calls < 80
        monkeypatch.setattr(stage.inner, "due", due)
        await stage.until(lambda: bool(stage.polled()))


async def test_a_stopped_leader_lets_its_polls_end(stage: Stage) -> None:
    """And claims nothing more; cancelled, it gives the lease back all the same."""
    stage.source.hanging.add("github:a/a")
    await stage.watch("github:a/a")
    leader = stage.leader()
    task = asyncio.create_task(leader.run())
    await stage.until(lambda: bool(stage.source.asked))
    leader.stop()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await stage.store.lease(ACCOUNT) is None


async def test_doubted_targets_are_polled_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a late writer left makes no cursor of these targets worth anything."""
    fulls: list[bool] = []

    def note(due: Due) -> Outcome:
        fulls.append(due.full)
        return Outcome(due.target, due.target, OutcomeKind.UNCHANGED)

    stage.source.answers["github:a/a"] = note
    await stage.watch("github:a/a", every=86_400.0)
    async with stage.led() as leader:
        await stage.until(lambda: bool(fulls))
        found = [["github:A/a"]]

        async def mend(lease: Any) -> Any:
            return found.pop() if found else ()

        monkeypatch.setattr(stage.inner, "mend", mend)
        leader._mended = None
        leader.wake()
        await stage.until(lambda: len(fulls) == 2)
    assert fulls == [False, True]


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0, -90.0])
async def test_a_clock_that_is_set_does_no_harm(stage: Stage, jump: float) -> None:
    """Back or forth, and back again: targets are polled as often as ever, and data goes on."""
    stage.source.bodies = {"github:a/a": "one"}
    await stage.watch("github:a/a", every=300.0)
    async with stage.led():
        await stage.until(lambda: bool(stage.polled()))
        await stage.passes(1000)
        for body, by in (("two", jump), ("three", -jump)):
            stage.clock.jump(by)
            stage.source.bodies = {"github:a/a": body}
            before = len(stage.source.asked)
            await stage.passes(330)
            assert 1 <= len(stage.source.asked) - before <= 4
            document = await stage.store.record("release", "github:1:github:a/a")
            assert document is not None
            assert document["body"] == body
        before = len(stage.source.asked)
        await stage.passes(1500)
        assert 4 <= len(stage.source.asked) - before <= 7


async def test_a_leader_that_starts_after_the_clock_was_set_back(stage: Stage) -> None:
    """Its predecessor died, with a lease and due times that lie a day ahead."""
    await stage.watch("github:a/a", every=300.0)
    lease = await stage.store.acquire(ACCOUNT, "dead", 30.0)
    assert lease is not None
    async with stage.led():
        stage.clock.jump(-86_400)
        await stage.until(lambda: bool(stage.polled()))


async def test_a_full_disk_is_waited_for(stage: Stage) -> None:
    """It is said once; when there is room again, what was fetched is stored."""
    assert isinstance(stage.inner, SqliteStore)
    stage.source.bodies = {"github:a/a": "one"}
    await stage.watch("github:a/a", every=60.0)
    async with stage.led():
        await stage.until(lambda: bool(stage.polled()))
        ((pages,),) = await stage.inner._writer.execute_fetchall("PRAGMA page_count")
        await stage.inner._writer.execute(f"PRAGMA max_page_count = {pages}")
        stage.source.bodies = {"github:a/a": "two" * 50_000}
        await stage.until(lambda: bool(stage.watcher.errors))
        assert isinstance(stage.watcher.errors[0], StoreFull)
        await stage.passes(300)
        asked = len(stage.source.asked)
        await stage.passes(600)
        assert len(stage.source.asked) == asked
        await stage.inner._writer.execute("PRAGMA max_page_count = 1000000")
        stage.watcher.events.clear()
        await stage.until(lambda: bool(stage.polled()))
    document = await stage.store.record("release", "github:1:github:a/a")
    assert document is not None
    assert document["body"] == "two" * 50_000
