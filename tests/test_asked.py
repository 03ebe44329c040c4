"""What is asked of a leader whose account is limited or refused, over a small stage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fetcher.asked import Asked
from fetcher.config import Settings
from fetcher.models import Due, Failure, Outcome, OutcomeKind, PollRequest
from fetcher.policy.budget import github_budget
from fetcher.relay import Inquiry
from fetcher.shield import Shield
from fetcher.store import open_store
from fetcher.targets import parse_target
from fetcher.timetable import Timetable
from tests.clock import StillClock
from tests.test_scheduler import ACCOUNT, Stage

A = parse_target("github:a/a")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = StillClock()
    async with AsyncExitStack() as stack:
        opening = open_store(f"sqlite:///{tmp_path}/s.db", clock=clock)
        yield Stage(await stack.enter_async_context(await opening), clock)


async def ask(stage: Stage, seconds: float) -> PollRequest:
    now = await stage.store.now()
    expires = now + timedelta(seconds=seconds)
    request = PollRequest(f"r{seconds}", ACCOUNT, (A.key,), False, now, expires)
    await stage.store.ask(request)
    return request


async def test_who_would_wait_in_vain_is_told_when_the_limit_ends(stage: Stage) -> None:
    """Within a tick, and without a request; who can wait so long is polled for after it."""
    async with stage.led() as leader:
        await stage.until(lambda: stage.watcher.leading)
        stage.gate.limited(600.0, named=True)
        ends = await stage.store.now() + timedelta(seconds=600)
        short, long = await ask(stage, 60.0), await ask(stage, 3600.0)
        leader.wake()
        await stage.passes(2)
        found = await stage.store.request(short.id)
        assert found is not None
        assert found.results == {}
        assert found.refusal is not None
        assert found.refusal.retry_at is not None
        assert abs(found.refusal.retry_at - ends) < timedelta(seconds=2)
        assert f"limited until {found.refusal.retry_at:%H:%M:%S} UTC" in found.refusal.message
        await stage.passes(500)
        assert (stage.source.asked, stage.gate.spent) == ([], 0)
        await stage.until(lambda: bool(stage.source.asked))
        await stage.passes(2)
        answered = await stage.store.request(long.id)
        assert answered is not None
        assert answered.refusal is None
        assert answered.results
    assert await stage.store.target(A.fold) is not None


async def test_what_is_answered_while_the_store_is_read_is_not_taken_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read began before the answer, and ends after it: the request looks open still."""
    store, timetable = stage.inner, Timetable(Settings(), lambda low, high: low)
    asked = Asked(store, Shield(lambda error: None), ACCOUNT, stage.gate, timetable)
    request = await ask(stage, 60.0)
    ((taken, _),) = await asked.take(())
    assert taken == request
    read = store.asked

    async def slow(account: str) -> Any:
        found = await read(account)
        await asked.answer(request, {})
        asked.leave(request)
        return found

    monkeypatch.setattr(store, "asked", slow)
    assert not await asked.take(())
    monkeypatch.undo()
    assert not await asked.take(())


async def test_the_asker_hears_it(stage: Stage) -> None:
    """And does not wait any longer."""
    inquiry = Inquiry(stage.store, Shield(lambda error: None), ACCOUNT, [Due(A)])
    async with stage.led() as leader:
        await stage.until(lambda: stage.watcher.leading)
        stage.gate.limited(600.0, named=True)
        await inquiry.ask(60.0)
        leader.wake()
        await stage.passes(2)
        assert [each async for each in inquiry.answers()] == []
        assert inquiry.left == []
        assert "limited until" in str(inquiry.refused[A.key])
        assert not await stage.store.asked(ACCOUNT)


async def test_the_reserve_is_for_who_asks(stage: Stage) -> None:
    """What the schedule may not spend, somebody who waits may."""
    stage.gate._budget = github_budget(reserve=0.5)
    headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "20"}
    headers["x-ratelimit-reset"] = str(round(stage.clock.time()) + 1800)
    stage.gate.answered(await stage.gate.enter(1, 10.0), headers)
    async with stage.led() as leader:
        await stage.until(lambda: stage.watcher.leading)
        assert stage.gate.closed_for() > 1000
        request = await ask(stage, 60.0)
        leader.wake()
        await stage.until(lambda: bool(stage.source.asked))
        await stage.passes(2)
        found = await stage.store.request(request.id)
        assert found is not None
        assert found.results


async def test_refused_credentials_are_asked_about(stage: Stage) -> None:
    """Every ten minutes; what the leader knows lies with its lease, also for the next one."""

    def refuse(due: Due) -> Outcome:
        failure = Failure("bad credentials", whole_account=True)
        return Outcome(due.target, due.target, OutcomeKind.UNAUTHORIZED, failure)

    async def away() -> float:
        (account,) = await stage.store.accounts()
        return float(account.budget.get("away_until", 0.0)) - stage.clock.time()

    stage.source.answers[A.key] = refuse
    stage.source.refuses = True
    await stage.watch(A.key, every=86_400.0)
    async with stage.led():
        await stage.until(lambda: bool(stage.polled()))
        stage.source.answers.clear()
        await stage.passes(1300)
        assert stage.source.reached in (1, 2)
        assert await away() > 0
    assert await away() > 600
    asked = stage.source.reached
    async with stage.led():
        await stage.until(lambda: stage.source.reached == asked + 1)
        stage.source.refuses = False
        await stage.passes(700)
        assert stage.source.reached == asked + 2
    assert await away() <= 0


async def test_a_question_that_hangs_holds_nobody_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader goes on, and ends when it is told to."""
    hanging = asyncio.Event()

    async def reach() -> str:
        hanging.set()
        await asyncio.Event().wait()
        return ""

    def refuse(due: Due) -> Outcome:
        failure = Failure("bad credentials", whole_account=True)
        return Outcome(due.target, due.target, OutcomeKind.UNAUTHORIZED, failure)

    monkeypatch.setattr(stage.source, "reach", reach)
    stage.source.answers[A.key] = refuse
    await stage.watch(A.key, every=300.0)
    async with stage.led():
        await stage.until(hanging.is_set)
        asked = len(stage.source.asked)
        await ask(stage, 60.0)
        await stage.until(lambda: len(stage.source.asked) > asked)
    assert await stage.store.lease(ACCOUNT) is None
