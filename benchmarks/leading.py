"""What benchmarks of the leader share: a store of their own, watched targets, a prompt source."""

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from uuid import uuid4

import structlog
from pymongo import MongoClient

from fetcher.config import Settings
from fetcher.errors import StoreError
from fetcher.gate import Gate
from fetcher.models import (
    Chunk,
    Clock,
    Due,
    Known,
    Outcome,
    OutcomeKind,
    ReachableSource,
    TargetState,
    Wish,
)
from fetcher.policy.budget import Budget, Quota
from fetcher.policy.rhythm import Rhythm
from fetcher.refresh import Event, Polled
from fetcher.scheduler import Leader, Pace
from fetcher.shield import Shield
from fetcher.store import WriteStore, open_store
from fetcher.timetable import Timetable

__all__ = ["ACCOUNT", "Looker", "Prompt", "leader_of", "new_store", "resident", "states", "watch"]

ACCOUNT = "github:benchmark"
# Of a poll that went well: what a state of GitHub's holds, so that documents have their real size.
CURSOR = {"etag": 'W/"5f1c6f2d0a1b4c3e8d7f6a5b4c3d2e1f5f1c6f2d0a1b4c3e8d7f6a5b4c3d2e1f"', "head": 1}
FACTS = {"repository_id": 123_456_789, "latest": "v1.2.3", "archived": False}
SILENT = structlog.wrap_logger(
    None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
).bind()


class Prompt:
    """A source that answers at once, and has nothing new."""

    async def reach(self) -> str:
        return "nobody is there"

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        for each in due:
            yield Outcome(
                each.target, each.target, OutcomeKind.UNCHANGED, cursor=CURSOR, facts=FACTS
            )


class Looker:
    """Counts polls, and how late they were, in seconds."""

    def __init__(self, on_polled: Callable[[Polled], None] = lambda polled: None) -> None:
        self.polls = 0
        self.failures = 0
        self._on_polled = on_polled

    def event(self, account: str, event: Event) -> None:
        if isinstance(event, Polled):
            self.polls += 1
            self._on_polled(event)

    def account(
        self,
        account: str,
        *,
        leading: bool,
        under_way: int = 0,
        closed: float = 0.0,
        quotas: Mapping[str, Quota] = MappingProxyType({}),
    ) -> None:
        pass

    def store(self, what: str, error: StoreError | None) -> None:
        self.failures += error is not None


@asynccontextmanager
async def new_store(kind: str, clock: Clock) -> AsyncIterator[tuple[WriteStore, str]]:
    """An empty store and its url, gone afterwards: ``sqlite``, or a server's ``mongodb://…``."""
    if kind == "sqlite":
        with TemporaryDirectory(prefix="fetcher-benchmark-") as folder:
            url = f"sqlite:///{Path(folder)}/store.db"
            async with await open_store(url, clock=clock) as store:
                yield store, url
        return
    name = f"fetcher_benchmark_{uuid4().hex[:12]}"
    url = f"{kind.rstrip('/')}/{name}"
    try:
        async with await open_store(url, clock=clock) as store:
            yield store, url
    finally:
        with MongoClient[dict[str, object]](kind) as client:
            client.drop_database(name)


def states(
    count: int, now: datetime, due: Callable[[str], datetime], *, begin: int = 0
) -> list[TargetState]:
    """States of repositories that were polled before; `due` gives a target's due time by id."""
    state = TargetState(
        "",
        "",
        (),
        ACCOUNT,
        outcome=OutcomeKind.UNCHANGED,
        cursor=CURSOR,
        facts=FACTS,
        records=12,
        last_attempt=now,
        last_success=now,
        last_change=now,
        reconciled_at=now,
        rhythm=Rhythm(1.5, 1e6).document(),
    )
    names = [f"github:owner-{n % 1000}/repository-{n}" for n in range(begin, begin + count)]
    return [replace(state, id=name, key=name, names=(name,), next_due=due(name)) for name in names]


async def watch(
    store: WriteStore, targets: Sequence[TargetState], every: float, *, at_once: int = 2_000
) -> None:
    """Saves targets and watches them."""
    lease = await store.acquire(ACCOUNT, "benchmark", 3600.0)
    if lease is None:
        raise RuntimeError("the account is taken")
    for at in range(0, len(targets), at_once):
        part = targets[at : at + at_once]
        await store.save_targets(lease, part)
        await store.wish("file", [Wish(each.id, each.key, ACCOUNT, every) for each in part])
    await store.release(lease, {})


def leader_of(
    store: WriteStore,
    clock: Clock,
    looker: Looker,
    *,
    source: ReachableSource | None = None,
    settings: Settings | None = None,
    pace: Pace = Pace(),  # noqa: B008 - frozen
    owner: str = "benchmark",
    chance: random.Random | None = None,
) -> Leader:
    """A leader without an upstream."""
    settings = settings if settings is not None else Settings()
    uniform = (chance or random.Random(1)).uniform
    return Leader(
        ACCOUNT,
        Gate("benchmark", Budget(1, 1.0), clock, in_flight=1),
        source if source is not None else Prompt(),
        store=store,
        shield=Shield(lambda error: None),
        timetable=Timetable(settings, uniform),
        clock=clock,
        uniform=uniform,
        log=SILENT,
        owner=owner,
        promised=settings.service.lease,
        observer=looker,
        pace=pace,
    )


def resident() -> int:
    """Bytes of memory that this process has now."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])
