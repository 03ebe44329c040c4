"""Stores of earlier versions are brought forward, and lose nothing."""

import asyncio
import contextlib
import gzip
import os
import shutil
import signal
import sqlite3
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest

from fetcher.errors import StoreUnavailable
from fetcher.models import OutcomeKind, Watch
from fetcher.reader import Reader
from fetcher.store import Query, open_store
from fetcher.store.protocol import SCHEMA_VERSION
from tests.cli.conftest import Cli, cli
from tests.clock import FakeClock

__all__ = ["cli"]

SAMPLES = Path(__file__).parent.parent / "samples" / "stores"


def sample(folder: Path, version: int) -> str:
    """A store of an earlier version: what its `fetcher fetch` and `fetcher watch` left."""
    folder.mkdir(exist_ok=True)
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


# Runs an upgrade in a process of its own, and does something to it at one of its instants: these
# are counted in steps of SQLite's machine, so they lie within statements as well as between them.
UPGRADE = """
import asyncio, os, signal, sys
from fetcher.clock import SystemClock
from fetcher.store import open_store, sqlite

url, at, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connect, steps = sqlite._connect, 0

def step():
    global steps
    steps += 1
    if steps == at:
        os.kill(os.getpid(), number)
    return 0

async def counted(path, *, create):
    connection = await connect(path, create=create)
    await connection.set_progress_handler(step, 100)
    return connection

async def main():
    async with await open_store(url, clock=SystemClock()):
        print(steps)

sqlite._connect = counted
asyncio.run(main())
"""


async def upgrade(url: str, at: int = 0, number: int = 0) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", UPGRADE, url, str(at), str(number)), stdout=asyncio.subprocess.PIPE
    )


def grown(folder: Path, version: int) -> str:
    """A store of an earlier version with many targets, so that its upgrade goes to the disk."""
    url = sample(folder, version)
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
        names = [row[1] for row in file.execute("PRAGMA table_info(targets)")][1:]
        file.execute(
            "WITH RECURSIVE more (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more LIMIT 1500) "
            f"INSERT INTO targets (_id, {', '.join(names)}) "
            f"SELECT _id || '#' || n, {', '.join(names)} FROM targets, more"
        )
    return url


def content(url: str) -> list[str]:
    """All of it but its identity, which each store gives itself."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return [line for line in file.iterdump() if 'INTO "meta"' not in line]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
async def test_an_upgrade_that_is_killed_is_made_by_the_next_one(
    tmp_path: Path, version: int
) -> None:
    """SIGKILL of a real process, at five instants between its first step and its last one."""
    old = grown(tmp_path, version)
    file = Path(old.removeprefix("sqlite:///"))
    copy = tmp_path / "copy.db"
    whole = f"sqlite:///{copy}"
    shutil.copy(file, copy)
    process = await upgrade(whole)
    out, _ = await process.communicate()
    steps, expected = int(out), content(whole)
    assert process.returncode == 0
    before = content(old)
    found = set()
    for part in (0.0, 0.2, 0.5, 0.8, 1.0):
        for left in tmp_path.glob("copy.db*"):
            left.unlink()
        shutil.copy(file, copy)
        process = await upgrade(whole, 1 + int((steps - 1) * part), signal.SIGKILL)
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
        after = content(whole)
        assert after in (before, expected), "the one or the other, and nothing between"
        found.add(after == before)
        async with await open_store(whole, clock=FakeClock()):
            pass
        assert content(whole) == expected
    assert True in found


async def test_readers_go_on_beside_an_upgrade(tmp_path: Path) -> None:
    """Those that had it open read what was; who opens it is told who brings it forward."""
    old = grown(tmp_path, 2)
    path = old.removeprefix("sqlite:///")
    steps = int((await (await upgrade(grown(tmp_path / "x", 2))).communicate())[0])
    before = content(old)
    with contextlib.closing(sqlite3.connect(path)) as reading:
        reading.execute("PRAGMA journal_mode = WAL")  # as every store is once it was opened
        process = await upgrade(old, steps // 2, signal.SIGSTOP)
        _, status = await asyncio.to_thread(os.waitpid, process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        ((many,),) = reading.execute("SELECT count(*) FROM targets WHERE document != ''")
        assert many > 1500
        assert content(old) == before
        with pytest.raises(StoreUnavailable, match="brings it forward"):
            await open_store(old, clock=FakeClock(), create=False)
        process.send_signal(signal.SIGCONT)
        await process.communicate()
    async with Reader.open(old) as reader:
        state = await reader.target_state("github:Codertocat/Hello-World")
        assert state is not None
        assert state.records == 4


async def test_a_store_of_a_newer_fetcher_is_refused_by_all_commands(
    cli: Cli, store_url: str
) -> None:
    """Over both stores: exit code 3, a sentence, and nothing of it is changed."""
    async with await open_store(store_url, clock=FakeClock()):
        pass
    newer = SCHEMA_VERSION + 1
    if store_url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as file:
            file.execute(f"PRAGMA user_version = {newer}")
    else:
        with pymongo.MongoClient[dict[str, Any]](store_url) as client:
            found = client.get_default_database()["meta"].update_one(
                {"_id": "schema"}, {"$set": {"version": newer}}
            )
            assert found.matched_count == 1, "the store says which version it has"
    for command in (("fetch", "NC_003355.1"), ("list",), ("run",), ("export",), ("import", "-")):
        done = await cli(*command, "--store", store_url)
        assert (done.code, done.out) == (3, b""), command
        assert f"was written by a newer fetcher (schema {newer}" in done.err
