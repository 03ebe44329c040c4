"""Daemons that are killed at random while their upstreams change, and what must hold then."""

import asyncio
import random
import signal
import statistics
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fetcher.clock import SystemClock
from fetcher.store import WriteStore, open_store
from tests.chaos.checks import (
    Complaints,
    Follower,
    Watcher,
    check_cursors,
    check_requests,
    check_truth,
    mended_at,
    states_of,
)
from tests.chaos.daemons import EVERY, TARGETS, Daemons, Plan
from tests.chaos.subscriber import Subscriber
from tests.chaos.weather import Book, Weather

__all__ = ["Plan", "Report", "storm"]

_LOOK: Final = 0.1
_SETTLE: Final = 60.0
_HEARD: Final = 10.0
_BEAT: Final = 0.02
# Seconds after which requests that came meanwhile cannot be told from ones that come at once: half
# of what a budget allows a request for its way.
_ASLEEP: Final = 0.25


@dataclass(slots=True)
class Report:
    """What a storm did, and what it found."""

    kills: int = 0
    stops: int = 0
    drains: int = 0
    at: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    polls: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    read: int = 0
    heard: int = 0
    connections: int = 0
    recoveries: list[float] = field(default_factory=list)
    cut_short: int = 0
    settled: float = 0.0
    seconds: float = 0.0
    violations: Complaints = field(default_factory=Complaints)

    def lines(self) -> list[str]:
        """For people."""
        times = sorted(self.recoveries)
        recovery = (
            f"p50 {statistics.median(times):.2f} s, max {times[-1]:.2f} s" if times else "none"
        )
        return [
            f"{self.kills} kills ({_counts(self.at)})",
            f"{self.stops} stops, {self.drains} drains, in {self.seconds:.0f} s",
            (
                f"{self.changes} changes upstream, {self.polls} polls committed, "
                f"{self.read} changes read from the feed"
            ),
            f"{self.heard} events heard from the API, over {self.connections} connections",
            f"requests: {_counts(self.requests)}",
            (
                f"from a kill to the next commit: {recovery} ({len(times)} kills; another kill "
                f"came before it {self.cut_short} times); settled within {self.settled:.1f} s"
            ),
            f"{len(self.violations)} violations",
            *self.violations.lines(),
        ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))


@dataclass(slots=True)
class Storm:
    """One storm under way."""

    plan: Plan
    rng: random.Random
    weather: Weather
    book: Book
    store: WriteStore
    daemons: Daemons
    follower: Follower
    watcher: Watcher
    subscriber: Subscriber
    report: Report
    killed: list[float] = field(default_factory=list)
    asleep: list[tuple[float, float]] = field(default_factory=list)

    async def keep_time(self) -> None:
        """Notes when this process, which stands for the upstreams, was kept from looking."""
        while True:
            before = time.time()
            await asyncio.sleep(_BEAT)
            if time.time() - before > _BEAT + _ASLEEP:
                self.asleep.append((before, time.time()))

    async def look(self) -> None:
        """Reads feed and states once."""
        await self.follower.read()
        self.watcher.look(await states_of(self.store))

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK)

    async def rage(self, on_kill: Callable[[Report], None]) -> None:
        """Kills (and pauses) until it has killed often enough."""
        report, plan = self.report, self.plan
        running = [await self.daemons.start() for _ in range(plan.replicas)]
        blows = 0
        while report.kills < plan.kills:
            blows += 1
            instant = await self._instant()
            victim = self.rng.randrange(plan.replicas)
            if plan.stop_every and blows % plan.stop_every == 0:
                running[victim].send_signal(signal.SIGSTOP)
                await asyncio.sleep(self.rng.uniform(1.05, 2.0) * plan.lease)
                running[victim].send_signal(signal.SIGCONT)
                report.stops += 1
                continue
            if plan.drain_every and blows % plan.drain_every == 0:
                code = await self.daemons.drain(running[victim])
                # While the interpreter starts nobody handles the signal yet.
                if code not in (0, -signal.SIGTERM):
                    report.violations("a daemon drains", f"it ended with {code}")
                running[victim] = await self.daemons.start()
                report.drains += 1
                continue
            if running[victim].returncode is not None:
                text = f"with {running[victim].returncode}: {self.daemons.logged()[-500:]}"
                report.violations("a daemon ends by a signal only", text)
            await self.daemons.kill(running[victim])
            self.killed.append(time.time())
            report.kills += 1
            report.at[instant] += 1
            self.weather.pause()
            await check_cursors(
                self.store,
                self.weather,
                self.book,
                report.violations,
                still=not self.daemons.running,
            )
            self.weather.resume()
            running[victim] = await self.daemons.start()
            on_kill(report)

    async def _instant(self) -> str:
        """Waits for a random instant: any, at work, when news are on their way, at a commit."""
        kind = self.rng.choice(("anywhere", "at work", "at a change", "at a commit"))
        if kind == "anywhere":
            await asyncio.sleep(self.rng.uniform(0.05, 3.0))
            return kind
        log, asked = self.weather.upstream.log, len(self.weather.upstream.log)
        end = time.monotonic() + 4 * self.plan.lease
        while len(log) == asked and time.monotonic() < end:
            await asyncio.sleep(0.002)
        if kind == "at work":
            await asyncio.sleep(self.rng.uniform(0.0, 1.0))
            return kind
        # A listing that is new begins a commit within milliseconds.
        self.book.news.clear()
        try:
            async with asyncio.timeout(2 * self.plan.lease):
                await self.book.news.wait()
        except TimeoutError:
            return "at work"
        if kind == "at a change":
            await asyncio.sleep(self.rng.uniform(0.0, 0.12))
            return kind
        before = await self._committed()
        end = time.monotonic() + 0.5
        while await self._committed() == before and time.monotonic() < end:
            await asyncio.sleep(0)
        await asyncio.sleep(self.rng.choice((0.0, self.rng.uniform(0.0, 0.01))))
        return kind

    async def _committed(self) -> object:
        """Another value after each commit of records or states."""
        accounts = [(each.token, each.watermark) for each in await self.store.accounts()]
        return accounts, [state.last_attempt async for state in self.store.targets()]

    async def settle(self) -> None:
        """One daemon, left alone, brings everything up to date."""
        await self.daemons.kill_all()
        await check_cursors(self.store, self.weather, self.book, self.report.violations, still=True)
        process = await self.daemons.start()
        begun, since = time.monotonic(), (await self.store.now()).timestamp()
        while waiting := await self._waiting(since):
            if time.monotonic() - begun > _SETTLE:
                self.report.violations("everything settles", f"{waiting} after {_SETTLE:g} s")
                break
            await asyncio.sleep(_LOOK)
        self.report.settled = time.monotonic() - begun
        await self._all_heard()
        code = await self.daemons.drain(process)
        if code != 0:
            self.report.violations("a daemon drains", f"it ended with {code}")

    async def _all_heard(self) -> None:
        """Who listens to the API hears of the latest state of everything."""
        end = time.monotonic() + _HEARD
        while missed := await self.subscriber.missed(self.store):
            if time.monotonic() > end:
                self.report.violations("who listens misses nothing", "; ".join(missed[:5]))
                return
            await asyncio.sleep(_LOOK)

    async def _waiting(self, since: float) -> list[str]:
        """Targets without two polls since: the second of them began after the first."""
        states = await states_of(self.store)
        if len(states) != len(TARGETS):
            return [f"{len(states)} targets"]
        gone = {f"ncbi:nuccore/{name}" for name in self.weather.gone}
        return [
            f"{state.key} ({state.outcome})"
            for state in states
            if self.watcher.after(state.id, since) < 2
            or (state.failures and state.key not in gone)
            or ("?" in state.key and not _since(state.reconciled_at, since))
        ]

    def sum_up(self) -> None:
        """Fills in the report."""
        report, log = self.report, self.weather.upstream.log
        report.changes = self.weather.changes
        report.requests.update(f"{each.upstream} {each.status}" for each in log)
        report.read = self.follower.changes
        report.heard = self.subscriber.events
        report.connections = self.subscriber.connections
        commits = self.watcher.times()
        report.polls = len(commits)
        for n, at in enumerate(self.killed):
            following = self.killed[n + 1] if n + 1 < len(self.killed) else float("inf")
            place = bisect_right(commits, at)
            if place < len(commits) and commits[place] < following:
                report.recoveries.append(commits[place] - at)
            else:
                report.cut_short += 1


@asynccontextmanager
async def _begun(folder: Path, plan: Plan) -> AsyncIterator[Storm]:
    """A storm about to begin; every daemon ends with it."""
    rng = random.Random(plan.seed)
    weather = Weather(random.Random(rng.random()), plan.plain)
    weather.begin()
    book = Book(weather.upstream)
    report = Report()
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(weather.serve(book))
        store = await stack.enter_async_context(await open_store(plan.url, clock=SystemClock()))
        daemons = Daemons(folder, plan, urls)
        stack.push_async_callback(daemons.kill_all)
        follower = Follower(store, report.violations)
        subscriber = Subscriber(daemons.ports, random.Random(plan.seed), report.violations)
        yield Storm(
            plan, rng, weather, book, store, daemons, follower, Watcher(), subscriber, report
        )


async def storm(
    folder: Path, plan: Plan, on_kill: Callable[[Report], None] = lambda report: None
) -> Report:
    """Kills daemons at random instants, lets all settle, and compares store and truth."""
    begun = time.monotonic()
    async with _begun(folder, plan) as made:
        report = made.report
        looking = asyncio.create_task(made.keep_looking())
        blowing = asyncio.create_task(made.weather.blow())
        raging = asyncio.create_task(made.rage(on_kill))
        beating = asyncio.create_task(made.keep_time())
        listening = asyncio.create_task(made.subscriber.run())
        tasks: list[asyncio.Task[Any]] = [looking, blowing, raging, beating, listening]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await _ended(blowing)
            await made.settle()
            await _ended(looking)
            await made.look()
        finally:
            for task in tasks:
                await _ended(task)
        await check_truth(made.store, made.weather, report.violations)
        await made.follower.compare()
        logged = made.daemons.logged()
        check_requests(
            made.weather.upstream.log,
            made.weather,
            made.watcher,
            mended_at(logged),
            made.asleep,
            EVERY,
            report.violations,
        )
        if "Traceback" in logged:
            at = logged.index("Traceback")
            report.violations("no error of our own", logged[max(0, at - 300) : at + 2000])
        made.sum_up()
        report.seconds = time.monotonic() - begun
        return report


def _since(moment: datetime | None, since: float) -> bool:
    return moment is not None and moment.timestamp() > since


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
