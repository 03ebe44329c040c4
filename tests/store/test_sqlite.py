"""What is SQLite's own: the file, its errors, and several processes on it."""

import asyncio
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fetcher.clock import SystemClock
from fetcher.errors import SchemaTooNew, StoreFull, StoreUnavailable, UsageError
from fetcher.store import Query, open_store
from fetcher.store.protocol import SCHEMA_VERSION
from fetcher.store.sqlite import SqliteStore
from tests.clock import FakeClock
from tests.store.build import T0, batch, release, take


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def refused(file: Path, clock: FakeClock, *, create: bool = True) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(f"sqlite:///{file}", clock=clock, create=create)
    assert str(file) in str(caught.value)
    return str(caught.value)


async def test_what_is_no_store_is_refused_with_a_sentence(
    tmp_path: Path, file: Path, clock: FakeClock
) -> None:
    """Each says what is wrong; what was there stays as it was, and nothing new appears."""
    assert "folder does not exist" in await refused(tmp_path / "no" / "x.db", clock)
    assert "it is a folder" in await refused(tmp_path, clock)
    assert "there is no store" in await refused(file, clock, create=False)
    assert not file.exists()
    file.write_text("shopping list, quite long\n" * 100)
    for create in (True, False):
        assert "no SQLite database" in await refused(file, clock, create=create)
    assert file.read_text() == "shopping list, quite long\n" * 100
    file.unlink()
    file.touch()
    assert "empty" in await refused(file, clock, create=False)


async def test_a_database_of_another_program_is_left_alone(file: Path, clock: FakeClock) -> None:
    """Whatever version it has of its own."""
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE bookmarks (url)")
        other.execute("PRAGMA user_version = 77")
    other.close()
    for create in (True, False):
        assert "another program" in await refused(file, clock, create=create)


async def test_a_newer_store_is_refused(file: Path, clock: FakeClock) -> None:
    """It names both versions; nothing is changed."""
    await (await open_store(f"sqlite:///{file}", clock=clock)).close()
    with sqlite3.connect(file) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    other.close()
    for create in (True, False):
        with pytest.raises(SchemaTooNew, match=rf"schema {SCHEMA_VERSION + 1}"):
            await open_store(f"sqlite:///{file}", clock=clock, create=create)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:x.db", "sqlite://host/x.db", "sqlite:///:memory:"]
)
async def test_an_address_without_a_file_is_bad_usage(url: str, clock: FakeClock) -> None:
    """Before anything is made."""
    with pytest.raises(UsageError, match="names no file"):
        await open_store(url, clock=clock)


async def test_an_unknown_scheme_is_bad_usage(clock: FakeClock) -> None:
    """The sentence names those that are known."""
    with pytest.raises(UsageError, match="sqlite:///FILE or mongodb://"):
        await open_store("postgres://x/y", clock=clock)


async def test_names_that_mean_something_in_an_address(tmp_path: Path, clock: FakeClock) -> None:
    """A file's name is taken as it is."""
    file = tmp_path / "a b?mode=ro#c%20é.db"
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        await take(store)
    assert file.exists()


async def test_a_full_disk_is_said_and_survived(file: Path, clock: FakeClock) -> None:
    """Nothing of the write is there; once there is room, the next one works."""
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        assert isinstance(store, SqliteStore)
        lease = await take(store)
        await store.write(lease, [batch(release())])
        ((pages,),) = await store._writer.execute_fetchall("PRAGMA page_count")
        await store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
        many = [release(n, body="x" * 5000) for n in range(1, 200)]
        with pytest.raises(StoreFull):
            await store.write(lease, [batch(*many)])
        assert await store.count(Query("release")) == 1
        await store._writer.execute("PRAGMA max_page_count = 1000000")
        await store.write(lease, [batch(*many)])
        assert await store.count(Query("release")) == 199
        ((check,),) = await store._writer.execute_fetchall("PRAGMA integrity_check")
        assert check == "ok"


async def test_a_locked_file_is_said(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the wait for it; when the lock is gone, the next write works."""
    monkeypatch.setattr("fetcher.store.sqlite._BUSY_MILLISECONDS", 100)
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        lease = await take(store)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.write(lease, [batch(release())])
        assert await store.count(Query("release")) == 0
        other.execute("COMMIT")
        other.close()
        await store.write(lease, [batch(release())])


async def test_many_open_a_new_file_at_once(file: Path) -> None:
    """All of them find it ready; nobody is refused."""
    opening = [
        asyncio.create_task(open_store(f"sqlite:///{file}", clock=SystemClock())) for _ in range(8)
    ]
    await asyncio.wait(opening)
    for task in opening:
        await task.result().close()


async def test_a_commit_is_flushed_and_the_log_is_written_ahead(
    file: Path, clock: FakeClock
) -> None:
    """What was acknowledged survives a loss of power; the reader cannot write."""
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        assert isinstance(store, SqliteStore)
        for pragma, value in (("synchronous", 2), ("journal_mode", "wal")):
            ((found,),) = await store._writer.execute_fetchall(f"PRAGMA {pragma}")
            assert found == value
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await store._reader.execute("DELETE FROM releases")


async def test_closing_waits_for_what_is_under_way(file: Path, clock: FakeClock) -> None:
    """Even if its caller has been cancelled meanwhile."""
    store = await open_store(f"sqlite:///{file}", clock=clock)
    lease = await take(store)
    records = [release(n) for n in range(500)]
    writing = asyncio.create_task(store.write(lease, [batch(*records)]))
    await asyncio.sleep(0.005)
    writing.cancel()
    await store.close()
    await asyncio.gather(writing, return_exceptions=True)
    async with await open_store(f"sqlite:///{file}", clock=clock) as again:
        assert await again.count(Query("release")) in (0, 500)


_WRITER = """
import asyncio, sys
from datetime import timedelta
from fetcher.clock import SystemClock
from fetcher.store import open_store
from tests.store.build import T0, batch, sequence, take

async def main(url, account, turns):
    async with await open_store(url, clock=SystemClock()) as store:
        lease = await take(store, account)
        for turn in range(turns):
            at = T0 + timedelta(seconds=turn)
            records = [sequence(f"NC_{n}", definition=f"b{turn}") for n in range(1, 21)]
            await store.write(lease, [batch(*records, at=at, target=account)])
            await store.publish(lease)
            print(turn, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(file: Path, account: str, turns: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, f"sqlite:///{file}", account, str(turns)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


async def test_two_processes_write_one_file(file: Path, clock: FakeClock) -> None:
    """Every record keeps both targets, and its revisions are those of its contents."""
    processes = [writer(file, account, 30) for account in ("a", "b")]
    for process in processes:
        out, _ = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0
        assert out.split() == [str(turn) for turn in range(30)]
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        assert await store.counts("sequence", ["a", "b"]) == {"a": 20, "b": 20}
        async for document in store.records(Query("sequence")):
            assert document["definition"] == "b29"
            assert document["revision"] == 30


@pytest.mark.parametrize("turns", [1, 4, 9])
async def test_a_process_killed_in_the_middle_leaves_whole_writes(
    file: Path, clock: FakeClock, turns: int
) -> None:
    """What it had acknowledged is there, and all records are of one and the same write."""
    process = writer(file, "a", 10_000)
    assert process.stdout is not None
    acknowledged = -1
    for _ in range(turns):
        acknowledged = int(await asyncio.to_thread(process.stdout.readline))
    await asyncio.sleep(0.001 * turns)
    process.kill()
    rest = (await asyncio.to_thread(process.stdout.read)).split()
    process.wait()
    process.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged
    async with await open_store(f"sqlite:///{file}", clock=clock) as store:
        found = {each["definition"] async for each in store.records(Query("sequence"))}
        (definition,) = found
        assert int(definition[1:]) >= acknowledged
        clock.advance(10**9)
        lease = await take(store, "a", "heir")
        later = T0 + timedelta(days=1)
        await store.write(lease, [batch(release(body="mended"), at=later)])


_READER = """
import asyncio, os, sys
import fetcher.store.sqlite
from fetcher.errors import StoreUnavailable
from fetcher.store import Query, open_store
from tests.clock import FakeClock
from tests.store.build import take

async def main(url):
    async with await open_store(url, clock=FakeClock(), create=False) as store:
        print(await store.count(Query("release")))
        try:
            await take(store, "b")
        except StoreUnavailable as error:
            print(error)

if os.getuid() == 0:  # who may write anything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main(sys.argv[1]))
"""


async def test_a_file_that_may_not_be_written(clock: FakeClock) -> None:
    """The first write says so; reading still works."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        async with await open_store(f"sqlite:///{file}", clock=clock) as store:
            await store.write(await take(store), [batch(release())])
        # The log needs a place; the file itself may not be written.
        file.parent.chmod(0o777)
        file.chmod(0o444)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _READER, f"sqlite:///{file}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout.splitlines()[0] == "1", done.stderr
    assert "it or its folder is read-only" in done.stdout
