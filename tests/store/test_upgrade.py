"""Stores of earlier versions are brought forward, and lose nothing."""

import asyncio
import gzip
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fetcher.errors import StoreUnavailable
from fetcher.models import OutcomeKind, Watch
from fetcher.store import Query, open_store
from fetcher.store.protocol import SCHEMA_VERSION
from tests.clock import FakeClock

SAMPLES = Path(__file__).parent.parent / "samples" / "stores"


def sample(folder: Path, version: int) -> str:
    """A store of an earlier version: what its `fetcher fetch` and `fetcher watch` left."""
    file = folder / f"v{version}.db"
    file.write_bytes(gzip.decompress((SAMPLES / f"v{version}.db.gz").read_bytes()))
    return f"sqlite:///{file}"


@pytest.fixture(params=range(1, SCHEMA_VERSION))
def old(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A store of each earlier version."""
    return sample(tmp_path, request.param)


async def test_a_store_of_version_1_is_brought_forward(tmp_path: Path) -> None:
    """By several processes at once, too."""
    clock, old = FakeClock(), sample(tmp_path, 1)
    opened = await asyncio.gather(*(open_store(old, clock=clock) for _ in range(3)))
    try:
        store = opened[0]
        states = {state.key: state async for state in store.targets()}
        assert len(states) == 6
        hello = states["github:Codertocat/Hello-World"]
        assert (hello.records, hello.watch, hello.rhythm) == (4, None, {})
        assert hello.cursor is not None
        assert hello.last_success is not None
        assert hello.next_due is not None
        assert await store.target("github:codertocat/hello-world") == hello
        assert await store.count(Query("release")) == 8
        assert await store.count(Query("sequence")) == 5
        lease = await store.acquire(hello.account, "me", 30.0)
        assert lease is not None
        assert not await store.save_targets(lease, [hello])
        seen = [document["_id"] async for _, document in store.changes({})]
        assert len(seen) == 13
    finally:
        for each in opened:
            await each.close()
    with sqlite3.connect(old.removeprefix("sqlite:///")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_a_store_of_version_2_is_brought_forward(tmp_path: Path) -> None:
    """What changes with every poll has columns of its own now."""
    async with await open_store(sample(tmp_path, 2), clock=FakeClock()) as store:
        states = {state.key: state async for state in store.targets()}
        hello = states["github:Codertocat/Hello-World"]
        assert hello.watch == Watch("github:anonymous", hand=900)
        assert (hello.records, hello.failures, hello.outcome) == (4, 0, OutcomeKind.UNCHANGED)
        assert hello.last_attempt == hello.last_success == hello.reconciled_at
        assert hello.last_attempt is not None
        assert hello.last_change is not None
        assert 0 < (hello.last_attempt - hello.last_change).total_seconds() < 60
        assert hello.rhythm["seconds"] > 43_200
        assert (hello.cursor or {})["pages"] == 1
        assert hello.facts["latest"] == 17372800
        missing = states["ncbi:nuccore/NC_001367"]
        assert (missing.outcome, missing.failures) == (OutcomeKind.NOT_FOUND, 2)
        assert missing.missing == ("NC_001367",)
        assert missing.last_success is None
        assert missing.watch == Watch("ncbi:anonymous", hand="auto")
        lost = states["github:nobody/nothing"]
        assert lost.failure is not None
        assert lost.failure.evidence.status == 404
        lease = await store.acquire(hello.account, "me", 30.0)
        assert lease is not None
        later = replace(hello, failures=1, last_attempt=hello.last_attempt + timedelta(days=1))
        assert not await store.save_targets(lease, [later], known={hello.id: hello})
        found = await store.target(hello.id)
        assert found == replace(later, token=lease.token)


async def test_a_reader_does_not_bring_it_forward(old: str) -> None:
    """It says who does."""
    with pytest.raises(StoreUnavailable, match="brings it forward"):
        await open_store(old, clock=FakeClock(), create=False)


async def test_a_new_store_and_one_brought_forward_are_alike(old: str, tmp_path: Path) -> None:
    """The same tables, columns and indexes."""
    new = f"sqlite:///{tmp_path}/new.db"
    shapes = []
    for url in (old, new):
        async with await open_store(url, clock=FakeClock()):
            pass
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master")]
            shapes.append(
                {
                    name: sorted(
                        str(row[1:3]) for row in file.execute(f"PRAGMA table_info({name})")
                    )
                    for name in tables
                    if not name.startswith("sqlite_")
                }
            )
    assert shapes[0] == shapes[1]
