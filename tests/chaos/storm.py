"""Daemons that are killed at random while their upstreams change, and what must hold then."""

import asyncio
import json
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from fetcher.clock import SystemClock
from fetcher.demo import DemoUpstream, GithubUser, Urls, synthetic_genbank
from fetcher.documents import Document, flat_file
from fetcher.models import Stamp, TargetState
from fetcher.store import Query, WriteStore, open_store

__all__ = ["Report", "Storm", "storm"]

COMMAND: Final = Path(sys.executable).with_name("fetcher")
TOKEN: Final = "storm-token"
REPOSITORIES: Final = tuple(f"storm/r{n}" for n in range(5))
ACCESSIONS: Final = tuple(f"AB{n:06}" for n in range(1, 5))
QUERY: Final = '"Storm virus"[Organism]'
LEASE: Final = 1.0
NCBI_RATE: Final = 3


@dataclass(slots=True)
class Report:
    """What a storm did, and what it found."""

    kills: int = 0
    stops: int = 0
    mutations: int = 0
    requests: int = 0
    changes: int = 0
    revisions: int = 0
    recoveries: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        times = sorted(self.recoveries)
        recovery = (
            f"p50 {statistics.median(times):.2f} s, max {times[-1]:.2f} s" if times else "none"
        )
        return [
            f"{self.kills} kills, {self.stops} stops, {self.mutations} changes upstream",
            f"{self.requests} requests, {len(self.violations)} violations",
            f"{self.revisions} revisions stored, {self.changes} changes read from the feed",
            f"from a kill to the next leader of its account: {recovery}",
            *self.violations[:20],
        ]


class Follower:
    """A reader of the feed that resumes from its cursor all through the storm."""

    def __init__(self, store: WriteStore, report: Report) -> None:
        self._store = store
        self._report = report
        self._position: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, str] = {}

    async def read(self) -> None:
        async for stamp, document in self._store.changes(dict(self._position)):
            before = self._position.get(stamp.account, (0, 0))
            if (stamp.token, stamp.n) <= before:
                self._report.violations.append(f"the feed went back from {before} to {stamp}")
            self._position[stamp.account] = (stamp.token, stamp.n)
            self.seen[document["_id"]] = document["digest"]
            self._report.changes += 1


class Storm:
    """One upstream that changes, one store, and daemons that come and go."""

    def __init__(self, folder: Path, url: str, seed: int) -> None:
        self.folder = folder
        self.url = url
        self.rng = random.Random(seed)
        self.upstream = DemoUpstream()
        self.report = Report()
        self._running: list[asyncio.subprocess.Process] = []
        self._number = 0
        self._calm = asyncio.Event()
        self._calm.set()

    # The upstream

    def begin(self) -> None:
        """What stands upstream before anything happens."""
        github = self.upstream.github
        github.tokens[TOKEN] = GithubUser("storm")
        for name in REPOSITORIES:
            github.add_repository(name)
            for _ in range(3):
                self._publish(name)
        for accession in ACCESSIONS:
            self.upstream.ncbi.add("nuccore", self._genbank(accession))
        for n in range(12):
            self.upstream.ncbi.add("nuccore", self._genbank(f"CD{n:06}", "Storm virus"))
        self.upstream.ncbi.limit_without_key = NCBI_RATE

    def _genbank(self, accession: str, organism: str = "Calm virus") -> str:
        self._number += 1
        return synthetic_genbank(accession, organism=organism, length=120, seed=self._number)

    def _publish(self, name: str) -> None:
        self._number += 1
        assets = [f"a{k}.tar.gz" for k in range(self.rng.randrange(3))]
        draft = self.rng.random() < 0.1
        tag = f"v{self._number}"
        self.upstream.github.add_release(name, tag, body=tag, draft=draft, assets=assets)

    def mutate(self) -> None:
        """One change upstream."""
        self.report.mutations += 1
        self._number += 1
        github, ncbi, rng = self.upstream.github, self.upstream.ncbi, self.rng
        repository = github.repository(rng.choice(REPOSITORIES))
        releases = repository.releases
        # All on the first page, whose ETag the check of cursors goes by.
        match rng.randrange(10) if len(releases) < 60 else 5:
            case 0 | 1 | 2:
                self._publish(repository.full_name)
            case 3 | 4 if releases:
                github.edit_release(repository, rng.choice(releases), body=f"e{self._number}")
            case 5 if len(releases) > 1:
                github.delete_release(repository, rng.choice(releases))
            case 6 if releases:
                github.edit_release(repository, rng.choice(releases), draft=False)
            case 7:
                accession = rng.choice(ACCESSIONS)
                ncbi.bump(accession)
            case 8:
                ncbi.add("nuccore", self._genbank(f"EF{self._number:06}", "Storm virus"))
            case _:
                found = [
                    each.header.accession
                    for each in ncbi.current("nuccore")
                    if each.header.organism == "Storm virus"
                ]
                if len(found) > 6:
                    ncbi.remove(rng.choice(found))

    async def blow(self) -> None:
        """Changes the upstream until it is cancelled."""
        while True:
            await self._calm.wait()
            self.mutate()
            await asyncio.sleep(self.rng.uniform(0.02, 0.3))

    # The daemons

    def configure(self, urls: Urls) -> Path:
        """The settings that all daemons share."""
        targets = [f"github:{name}" for name in REPOSITORIES]
        targets += [f"ncbi:nuccore/{name}" for name in ACCESSIONS]
        targets.append(f"ncbi:nuccore?{QUERY}")
        file = self.folder / "fetcher.toml"
        text = f"""
            [github]
            api_url = "{urls.github}"
            token = "{TOKEN}"
            reconcile = "5s"
            [ncbi]
            eutils_url = "{urls.eutils}"
            email = "storm@example.org"
            requests_per_second = {NCBI_RATE}
            [store]
            url = "{self.url}"
            [service]
            lease = "{LEASE:g}s"
            min_interval = "1s"
            [api]
            listen = ""
            [[watch]]
            targets = [{", ".join(json.dumps(each) for each in targets)}]
            every = "1s"
            """
        file.write_text(text, "utf-8")
        return file

    async def start(self) -> asyncio.subprocess.Process:
        """One more daemon."""
        with self.folder.joinpath("daemons.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                COMMAND,
                "run",
                "--config",
                str(self.folder / "fetcher.toml"),
                "--log-format",
                "json",
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        self._running.append(process)
        return process

    async def at_work(self) -> None:
        """Until the upstream hears of somebody."""
        asked = len(self.upstream.log)
        end = time.monotonic() + 20 * LEASE
        while len(self.upstream.log) == asked and time.monotonic() < end:
            await asyncio.sleep(0.005)

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """SIGKILL."""
        process.kill()
        await process.wait()
        self._running.remove(process)

    async def end_all(self) -> None:
        for process in list(self._running):
            await self.end(process)

    # What must hold

    async def check_cursors(self, store: WriteStore, urls: Urls) -> None:
        """Whatever a saved cursor hides from the next poll must be stored."""
        self._calm.clear()
        try:
            headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "storm"}
            async with aiohttp.ClientSession(headers=headers) as session:
                for name in REPOSITORIES:
                    state = await store.target(f"github:{name}")
                    etag = (state.cursor or {}).get("etag") if state is not None else None
                    if etag is None:
                        continue
                    url = f"{urls.github}/repos/{name}/releases?per_page=100"
                    async with session.get(url, headers={"If-None-Match": etag}) as answer:
                        unchanged = answer.status == 304
                    if unchanged and (wrong := await self.wrong(store, name)):
                        text = f"{name}: the cursor is ahead of its records: {wrong}"
                        self.report.violations.append(text)
        finally:
            self._calm.set()

    async def wrong(self, store: WriteStore, name: str) -> str | None:
        """How what is stored of a repository differs from what it has."""
        repository = self.upstream.github.repository(name)
        truth = {
            each.id: (each.tag, each.body, tuple(sorted(asset.name for asset in each.assets)))
            for each in repository.releases
            if not each.draft
        }
        stored: dict[int, Any] = {}
        async for document in store.records(Query("release", target=f"github:{name}")):
            if document["withdrawn_at"] is not None:
                continue
            assets = tuple(asset["name"] for asset in document["assets"])
            stored[document["release_id"]] = (document["tag"], document["body"], assets)
        if stored == truth:
            return None
        lacking = {key: value for key, value in truth.items() if stored.get(key) != value}
        surplus = {key: value for key, value in stored.items() if key not in truth}
        return f"lacking {lacking}, surplus {surplus}"

    async def settled(self, store: WriteStore, since: float) -> bool:
        """Whether every target had a good poll that began after that moment."""
        count = 0
        async for state in store.targets():
            if state.watch is None:
                continue
            count += 1
            done = state.last_success.timestamp() if state.last_success is not None else 0.0
            failed = str(state.outcome) == "not_found" and state.last_attempt is not None
            if failed and state.last_attempt is not None:
                done = state.last_attempt.timestamp()
            reconciled = state.reconciled_at
            if state.key.startswith("github:"):
                done = reconciled.timestamp() if reconciled is not None else 0.0
            if done < since:
                return False
        return count == len(REPOSITORIES) + len(ACCESSIONS) + 1

    async def check_truth(self, store: WriteStore) -> None:
        """Store and upstream agree; histories are whole; every record is there once."""
        say = self.report.violations.append
        for name in REPOSITORIES:
            if wrong := await self.wrong(store, name):
                say(f"{name}: {wrong}")
        current = {each.accession_version: each for each in self.upstream.ncbi.current("nuccore")}
        found = {key for key, each in current.items() if each.header.organism == "Storm virus"}
        held = set()
        async for document in store.records(Query("sequence", target=f"ncbi:nuccore?{QUERY}")):
            held.add(document["accession_version"])
            entry = current.get(document["accession_version"])
            if entry is not None and flat_file(document) != entry.flat:
                say(f"{document['_id']}: its flat file is not what is served")
        if held != found:
            say(f"the query lacks {found - held}, and has {held - found} too many")
        for accession in ACCESSIONS:
            entry = self.upstream.ncbi.get(accession)
            record = await store.record("sequence", f"nuccore:{entry.accession_version}")
            if record is None or flat_file(record) != entry.flat:
                say(f"{entry.accession_version} is not stored as it is served")
        for kind in ("release", "sequence"):
            async for document in store.records(Query(kind)):
                self._check_history(document)
        async for state in store.targets():
            await self._check_count(store, state)

    def _check_history(self, document: Document) -> None:
        revisions = [entry["revision"] for entry in document["history"]]
        last = document["revision"]
        self.report.revisions += last
        if revisions != list(range(last - len(revisions) + 1, last + 1)):
            self.report.violations.append(f"{document['_id']}: revisions {revisions} of {last}")
        if any(not entry["fields"] for entry in document["history"]):
            self.report.violations.append(f"{document['_id']}: a revision without a change")

    async def _check_count(self, store: WriteStore, state: TargetState) -> None:
        kind: Any = "release" if state.key.startswith("github:") else "sequence"
        count = await store.count(Query(kind, target=state.key, withdrawn=False))
        if count != state.records:
            text = f"{state.key} counts {state.records} records and has {count}"
            self.report.violations.append(text)

    def check_upstream(self) -> None:
        """What the upstreams saw: no limit passed by all processes together."""
        self.report.requests = len(self.upstream.log)
        refused = Counter(each.status for each in self.upstream.log if each.status in (403, 429))
        if refused:
            self.report.violations.append(f"limits were passed: {dict(refused)}")
        if self.upstream.ncbi.violations:
            number = len(self.upstream.ncbi.violations)
            self.report.violations.append(f"NCBI saw {number} requests too many in a second")


@asynccontextmanager
async def storm(folder: Path, url: str, seed: int) -> AsyncIterator[tuple[Storm, Urls, WriteStore]]:
    """A storm about to begin; every daemon ends with it."""
    made = Storm(folder, url, seed)
    made.begin()
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(made.upstream.serve())
        made.configure(urls)
        store = await stack.enter_async_context(await open_store(url, clock=SystemClock()))
        stack.push_async_callback(made.end_all)
        yield made, urls, store


async def rage(
    folder: Path,
    url: str,
    *,
    kills: int,
    seed: int,
    replicas: int = 1,
    stop_every: int = 0,
    at_work: bool = False,
    on_kill: Any = None,
) -> Report:
    """Kills daemons at random instants, lets the storm settle, and compares store and truth.

    Many of these instants lie before the first poll: start-up, and the wait for the lease of the
    one before. With `at_work` each daemon has begun to poll.
    """
    async with storm(folder, url, seed) as (made, urls, store):
        report, rng = made.report, made.rng
        follower = Follower(store, report)
        stop = asyncio.Event()

        async def follow() -> None:
            while not stop.is_set():
                await follower.read()
                await asyncio.sleep(0.1)

        following = asyncio.create_task(follow())
        blowing = asyncio.create_task(made.blow())
        try:
            running = [await made.start() for _ in range(replicas)]
            while report.kills < kills:
                if at_work:
                    await made.at_work()
                    await asyncio.sleep(rng.uniform(0.0, 0.6))
                else:
                    await asyncio.sleep(rng.uniform(0.4, 3.0))
                if following.done():
                    following.result()
                made.upstream.github.forget_limits()
                victim = rng.randrange(replicas)
                if stop_every and rng.randrange(stop_every) == 0:
                    running[victim].send_signal(signal.SIGSTOP)
                    await asyncio.sleep(rng.uniform(0.5, 2.5) * LEASE)
                    running[victim].send_signal(signal.SIGCONT)
                    report.stops += 1
                    continue
                before = await _tokens(store)
                at = time.monotonic()
                await made.end(running[victim])
                report.kills += 1
                if replicas == 1:
                    await made.check_cursors(store, urls)
                running[victim] = await made.start()
                if replicas > 1:
                    report.recoveries += await _recovery(store, before, at)
                if on_kill is not None:
                    on_kill(report)
            blowing.cancel()
            await asyncio.gather(blowing, return_exceptions=True)
            since = (await store.now()).timestamp()
            async with asyncio.timeout(90):
                while not await made.settled(store, since):
                    await asyncio.sleep(0.2)
            await asyncio.sleep(2.0)
            await made.end_all()
            await made.check_truth(store)
            stop.set()
            await following
            await _last_word(store)
            await follower.read()
            await _check_feed(store, follower, report)
            made.check_upstream()
        finally:
            blowing.cancel()
            stop.set()
            await asyncio.gather(blowing, following, return_exceptions=True)
        return report


async def _tokens(store: WriteStore) -> dict[str, int]:
    return {each.account: each.token for each in await store.accounts()}


async def _recovery(store: WriteStore, before: dict[str, int], at: float) -> list[float]:
    """Seconds until those accounts whose leader was killed have another one."""
    took = []
    owners = {each.account: each.owner for each in await store.accounts()}
    end = time.monotonic() + 3 * LEASE
    left = set(before)
    while left and time.monotonic() < end:
        for each in await store.accounts():
            if each.account in left and each.token > before[each.account]:
                took.append(time.monotonic() - at)
                left.discard(each.account)
            elif each.account in left and each.owner == owners[each.account] is not None:
                # Its leader may be the one that lives.
                continue
        await asyncio.sleep(0.02)
    return took


async def _last_word(store: WriteStore) -> None:
    """Another leader's first act on every account, as after any crash."""
    for account in await store.accounts():
        async with asyncio.timeout(10):
            while (lease := await store.acquire(account.account, "last", 30.0)) is None:
                await asyncio.sleep(0.1)
        await store.mend(lease)
        await store.publish(lease)
        await store.release(lease, account.budget)


async def _check_feed(store: WriteStore, follower: Follower, report: Report) -> None:
    """The one who followed has seen the latest state of everything."""
    stamps: dict[str, Stamp] = {}
    async for stamp, document in store.changes({}):
        stamps[document["_id"]] = stamp
        if follower.seen.get(document["_id"]) != document["digest"]:
            report.violations.append(f"the feed's reader missed {document['_id']} at {stamp}")
    for kind in ("release", "sequence"):
        async for document in store.records(Query(kind), whole=False):
            if document["_id"] not in stamps:
                report.violations.append(f"{document['_id']} is not in the feed")
