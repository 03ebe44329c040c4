"""Polls that webhooks ask for: found by id, never lost, and never many at once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from fetcher.errors import StoreUnavailable
from fetcher.models import (
    Chunk,
    Due,
    Failure,
    Known,
    Outcome,
    OutcomeKind,
    Wish,
)
from fetcher.nudge import Nudger
from fetcher.shield import Shield
from fetcher.store import WriteStore, open_store
from fetcher.targets import Target, parse_target
from tests.clock import StillClock, Working
from tests.store.build import batch, release, state, take
from tests.stores import store_url
from tests.test_scheduler import ACCOUNT, Stage, Upstream, record
from tests.world import SILENT

__all__ = ["store_url"]

A, B, OLD = map(parse_target, ("github:virtool/virtool", "github:b/b", "github:old/name"))
# What the states and records of `tests.store.build` say.
ID = 7


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def store(store_url: str, clock: StillClock) -> AsyncIterator[WriteStore]:
    async with await open_store(store_url, clock=clock) as opened:
        yield cast("WriteStore", Working(opened, clock))


class Post:
    """A nudger, and whom it woke."""

    def __init__(self, store: WriteStore) -> None:
        self.woken: list[str] = []
        shield = Shield(lambda error: None)
        self.nudger = Nudger(store, shield, SILENT, self.woken.append)

    async def tell(self, *names: Target, id_: int = ID, full: bool = False) -> bool:
        return await self.nudger.poll_now(id_, names, full=full)


@pytest.fixture
def post(store: WriteStore) -> Post:
    return Post(store)


async def watch(store: WriteStore, *targets: Target, account: str = "a") -> None:
    await store.wish("file", [Wish(each.fold, each.key, account, 900.0) for each in targets])


async def known(store: WriteStore, *targets: Target, **more: Any) -> None:
    """They were polled under these names; the first one's are the facts."""
    lease = await take(store)
    names = tuple(each.fold for each in targets)
    first = await store.target(names[0])
    made = state(id=names[0], key=targets[0].key, names=names, **more)
    await store.save_targets(lease, [replace(made, watch=first.watch if first else None)])
    await store.release(lease, {})


async def test_a_request_for_the_leader_of_its_account(store: WriteStore, post: Post) -> None:
    """Whoever leads finds it there, and who leads in this process is woken."""
    await watch(store, A, account="b")
    assert await post.tell(A)
    (request,) = await store.asked("b")
    assert (request.targets, request.full) == ((A.key,), False)
    assert (request.expires_at - request.asked_at).total_seconds() == 86_400
    assert post.woken == ["b"]


async def test_what_nobody_watches_is_left_alone(store: WriteStore, post: Post) -> None:
    """Unknown, or known and no longer watched."""
    assert not await post.tell(A)
    await watch(store, A)
    await store.wish("file", [Wish(A.fold, A.key, "a", None)])
    assert not await post.tell(A)
    assert not await store.asked("a")
    assert not post.woken


async def test_found_by_its_former_name(store: WriteStore, post: Post) -> None:
    """A repository is renamed; the event tells both names, or an old one leads to it."""
    await watch(store, OLD)
    assert await post.tell(A, OLD, full=True)
    (request,) = await store.asked("a")
    assert (request.targets, request.full) == ((OLD.key,), True)


async def test_found_by_its_id_alone(store: WriteStore, post: Post) -> None:
    """Renamed unseen: today's name is unknown here, and its records know the repository's id."""
    await watch(store, OLD)
    await known(store, OLD, facts={"repository_id": ID})
    lease = await take(store)
    await store.write(lease, [batch(release(1), target=OLD.key)])
    assert await post.tell(A)
    assert [each.targets for each in await store.asked("a")] == [(OLD.key,)]


async def test_the_id_goes_before_the_name(store: WriteStore, post: Post) -> None:
    """Somebody else has taken the name that another watched repository once had."""
    await watch(store, A, B)
    await known(store, A, facts={"repository_id": 99})
    await known(store, B, A, facts={"repository_id": ID})
    lease = await take(store)
    await store.write(lease, [batch(release(1), target=B.key)])
    assert await post.tell(A, id_=ID)
    assert [each.targets for each in await store.asked("a")] == [(B.key,)]


async def test_a_name_that_changed_hands_is_polled_in_full(store: WriteStore, post: Post) -> None:
    """Deleted and made anew: what the cursor stands for was another repository's."""
    await watch(store, A)
    await known(store, A, facts={"repository_id": 99})
    assert await post.tell(A)
    assert [each.full for each in await store.asked("a")] == [True]


async def test_a_burst_leaves_one_request(store: WriteStore, post: Post) -> None:
    """Fifty at once, one after another, and one of them for everything: it is not forgotten."""
    await watch(store, A, B)
    told = [post.tell(A, full=number == 3) for number in range(50)]
    assert all(await asyncio.gather(*told, post.tell(B, id_=8)))
    for _ in range(5):
        await post.tell(A)
    requests = await store.asked("a")
    assert sorted((each.targets[0], each.full) for each in requests) == [
        (B.key, False),
        (A.key, True),
    ]
    assert len(post.woken) < 12, "most of them shared a write"


async def test_however_many_replicas_hear_of_it(store: WriteStore) -> None:
    """One request between them: the last of them asks, and in full if one of them did."""
    await watch(store, A)
    posts = [Post(store) for _ in range(5)]
    told = [post.tell(A, full=number == 1) for number, post in enumerate(posts) for _ in range(4)]
    assert all(await asyncio.gather(*told))
    (request,) = await store.asked("a")
    assert (request.targets, request.full) == ((A.key,), True)


async def test_an_account_that_lost_the_target_loses_its_request(store: WriteStore) -> None:
    """What is told after a move goes to the account that polls it now."""
    await watch(store, A)
    assert await Post(store).tell(A)
    await watch(store, A, account="b")
    assert await Post(store).tell(A)
    assert (len(await store.asked("a")), len(await store.asked("b"))) == (0, 1)


async def test_a_store_that_fails_is_told_of(tmp_path: Path, clock: StillClock) -> None:
    """Nobody is told that it will be seen to; when the store works again, all goes on."""

    down = False

    def fails(name: str) -> None:
        if down and name in ("ask", "request"):
            raise StoreUnavailable("gone", "tests")

    async with await open_store(f"sqlite:///{tmp_path}/s.db", clock=clock) as inner:
        post = Post(cast("WriteStore", Working(inner, clock, fails)))
        await watch(inner, A)
        await post.tell(A)
        down = True
        with pytest.raises(StoreUnavailable):
            await post.tell(A)
        down = False
        assert await post.tell(A)
        assert len(await inner.asked("a")) == 1


# With a leader


class Doors(Upstream):
    """Polls that wait to be let through, and how much of the target they are to look at."""

    def __init__(self, clock: StillClock) -> None:
        super().__init__(clock)
        self.open = asyncio.Event()
        self.open.set()
        self.full: list[bool] = []
        self.body: str | None = None

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        self.asked.append((self._clock.monotonic(), [each.target.key for each in due]))
        self.full += [each.full for each in due]
        await self.open.wait()
        for each in due:
            if self.body is not None:
                yield Chunk(each.target, "release", (record(each.target.key, self.body),))
            if each.target.key in self.answers:
                yield self.answers[each.target.key](each)
                continue
            yield Outcome(
                each.target,
                each.target,
                OutcomeKind.UNCHANGED,
                cursor={"e": 1},
                facts={"repository_id": ID},
            )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = StillClock()
    async with AsyncExitStack() as stack:
        opening = open_store(f"sqlite:///{tmp_path}/s.db", clock=clock)
        made = Stage(await stack.enter_async_context(await opening), clock)
        made.source = Doors(clock)
        yield made


async def test_what_is_told_during_a_poll_leads_to_another(stage: Stage) -> None:
    """Fifty times while one is under way: one more after it, in full if one of them was."""
    source = cast("Doors", stage.source)
    source.open.clear()
    await stage.watch(A.key, every=86_400.0)
    post = Post(stage.store)
    async with stage.led() as leader:
        await stage.until(lambda: len(source.asked) == 1)
        for number in range(50):
            assert await post.tell(A, full=number == 7)
            leader.wake()
        await stage.passes(5)
        assert len(source.asked) == 1
        source.open.set()
        await stage.until(lambda: len(source.asked) == 2)
        await stage.passes(5)
        assert source.full == [False, True]
        await stage.passes(60)
        assert source.full == [False, True, True], "once more, for it found nothing"
        first, second = source.asked[1:]
        assert 9 <= second[0] - first[0] <= 14
        assert not await stage.store.asked(ACCOUNT)


async def test_what_found_something_is_not_repeated(stage: Stage) -> None:
    """GitHub lists already what it told of."""
    source = cast("Doors", stage.source)
    source.body = "one"
    await stage.watch(A.key, every=86_400.0)
    async with stage.led() as leader:
        await stage.until(lambda: bool(stage.polled()))
        source.body = "two"
        await Post(stage.store).tell(A)
        leader.wake()
        await stage.until(lambda: len(source.asked) == 2)
        await stage.passes(60)
        assert len(source.asked) == 2
        assert not await stage.store.asked(ACCOUNT)


async def test_the_repeat_outlives_who_was_to_make_it(stage: Stage) -> None:
    """It lies in the store: whoever leads next makes it, and makes it once."""
    source = cast("Doors", stage.source)
    await stage.watch(A.key, every=86_400.0)
    async with stage.led() as leader:
        await stage.until(lambda: bool(stage.polled()))
        await Post(stage.store).tell(A, full=True)
        leader.wake()
        await stage.until(lambda: len(source.asked) == 2)
        await stage.passes(1)
    async with stage.led():
        await stage.passes(60)
    assert source.full == [False, True, True]
    async with stage.led():
        await stage.passes(60)
    assert len(source.asked) == 3


async def test_the_repeat_waits_for_a_limit(stage: Stage) -> None:
    """What could not be polled is asked for again when GitHub wants to be asked."""
    source = cast("Doors", stage.source)
    await stage.watch(A.key, every=86_400.0)
    async with stage.led() as leader:
        await stage.until(lambda: bool(stage.polled()))
        later = await stage.store.now() + timedelta(seconds=300)

        def refuse(due: Due) -> Outcome:
            failure = Failure("later", retry_at=later)
            return Outcome(due.target, due.target, OutcomeKind.RATE_LIMITED, failure)

        source.answers[A.key] = refuse
        await Post(stage.store).tell(A)
        leader.wake()
        await stage.until(lambda: len(source.asked) == 2)
        source.answers.clear()
        await stage.until(lambda: len(source.asked) == 3)
        assert 280 <= source.asked[2][0] - source.asked[1][0] <= 320


async def test_what_a_dead_process_promised_is_kept(stage: Stage) -> None:
    """It is polled by whoever leads next, however it comes to be."""
    source = cast("Doors", stage.source)
    await stage.watch(A.key, every=86_400.0)
    async with stage.led():
        await stage.until(lambda: bool(stage.polled()))
    assert await Post(stage.store).tell(A, full=True)
    async with stage.led():
        await stage.until(lambda: len(source.asked) == 2)
    assert source.full == [False, True]
