"""``fetcher run`` as a process: signals, reload, replicas, and a one-shot beside it."""

import asyncio
import json
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fetcher.clock import SystemClock
from fetcher.demo import Fault, Urls
from fetcher.demo.server import DemoUpstream
from fetcher.store import open_store
from tests.cli.conftest import Cli
from tests.proxy import Proxy
from tests.test_timetable import moments

REPOSITORY = "Codertocat/Hello-World"
TARGETS = (f"github:{REPOSITORY}", "ncbi:nuccore/NC_003355.1")


class Daemons:
    """Daemons on one store, with the settings that they share."""

    def __init__(self, cli: Cli, urls: Urls, store: str) -> None:
        self.cli = cli
        self.urls = urls
        self.store = self.direct = store
        self.listen = ""
        self.configure()

    def configure(
        self, *targets: str, every: str = "1h", lease: str = "2s", more: str = ""
    ) -> None:
        listed = ", ".join(json.dumps(each) for each in targets or TARGETS)
        text = f"""
            [github]
            api_url = "{self.urls.github}"
            [ncbi]
            eutils_url = "{self.urls.eutils}"
            email = "tests@example.org"
            [store]
            url = "{self.store}"
            [service]
            lease = "{lease}"
            min_interval = "1s"
            drain = "5s"
            [api]
            listen = "{self.listen}"
            [[watch]]
            targets = [{listed}]
            every = "{every}"
            {more}
            """
        self.cli.folder.joinpath("fetcher.toml").write_text(text, "utf-8")

    @asynccontextmanager
    async def run(self, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A daemon that is killed at the end, if it still runs."""
        process = await self.cli.start("run", "--log-format", "json", env=env)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def status(self) -> Any:
        return (await self.cli("status", "--format", "json")).json

    async def until(self, wanted: Callable[[Any], bool], seconds: float = 20.0) -> Any:
        """The status as soon as it is as wanted."""
        status: Any = None
        async with asyncio.timeout(seconds):
            while True:
                done = await self.cli("status", "--format", "json")
                status = done.json if done.code == 0 else None
                if status is not None and wanted(status):
                    return status
                await asyncio.sleep(0.1)


@pytest.fixture
async def daemons(cli: Cli, store_url: str, tmp_path: Path) -> AsyncIterator[Daemons]:
    upstream: DemoUpstream = cli.upstream
    async with upstream.serve() as urls:
        yield Daemons(cli, urls, store_url)


def polled(status: Any) -> bool:
    """Every target has had a good poll."""
    return bool(status["items"]) and all(each["last_success"] for each in status["items"])


def logged(err: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines() if line.startswith(b"{")]


async def stop(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> list[Any]:
    process.send_signal(number)
    _, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return logged(err)


async def test_it_polls_what_is_watched_and_drains(daemons: Daemons) -> None:
    """Never-polled targets at once; after SIGTERM it ends with 0, and its leases are free."""
    async with daemons.run() as process:
        status = await daemons.until(polled)
        assert {each["key"] for each in status["items"]} == set(TARGETS)
        assert all(each["leader"] for each in status["accounts"])
        assert {each["outcome"] for each in status["items"]} == {"changed"}
        lines = await stop(process)
        assert process.returncode == 0
    assert [each["event"] for each in lines][-2:] == ["draining", "drained"]
    assert not any(each["leader"] for each in (await daemons.status())["accounts"])
    listed = await daemons.cli("list", "--format", "ndjson")
    assert len(listed.lines) == 5


async def test_its_targets_share_the_moments_of_the_store(daemons: Daemons) -> None:
    """All daemons of one store name the same ones, those of another store others."""
    names = daemons.cli.upstream.github.populate(20, 1)
    daemons.configure(*(f"github:{name}" for name in names))
    async with daemons.run(GITHUB_TOKEN="demo-token") as process:
        status = await daemons.until(polled)
        await stop(process)
    async with await open_store(daemons.direct, clock=SystemClock(), create=False) as store:
        identity = await store.identity()
    dues = [datetime.fromisoformat(each["next_due"]) for each in status["items"]]
    assert moments(identity, dues) >= 14


async def test_a_restart_repeats_nothing(daemons: Daemons) -> None:
    """The due times are in the store: a new process polls what is due, and that is nothing."""
    async with daemons.run() as process:
        await daemons.until(polled)
        await stop(process)
    asked = len(daemons.cli.upstream.log)
    async with daemons.run() as process:
        await daemons.until(lambda status: all(each["leader"] for each in status["accounts"]))
        await asyncio.sleep(1.5)
        await stop(process)
    assert len(daemons.cli.upstream.log) == asked


async def test_a_watch_comes_and_goes_with_the_file(daemons: Daemons) -> None:
    """SIGHUP reads it again; a bad file is refused with its mistakes, and the old one stays."""
    async with daemons.run() as process:
        await daemons.until(polled)
        daemons.configure("github:stellarcarbon/sorocarbon", TARGETS[0])
        process.send_signal(signal.SIGHUP)
        status = await daemons.until(lambda status: polled(status) and len(status["items"]) == 3)
        watched = {each["key"]: each["watched"] for each in status["items"]}
        assert watched == {
            "github:stellarcarbon/sorocarbon": True,
            TARGETS[0]: True,
            TARGETS[1]: False,
        }
        daemons.configure("github:a/b/c", every="nonsense")
        process.send_signal(signal.SIGHUP)
        await asyncio.sleep(1)
        lines = await stop(process)
        assert process.returncode == 0
    refused = [each for each in lines if each["event"] == "settings not taken over"]
    assert len(refused) == 2
    assert all("fetcher.toml" in each["place"] for each in refused)


async def test_a_second_signal_hastens(daemons: Daemons) -> None:
    """A poll that hangs is not waited for, and the exit code tells."""
    daemons.cli.upstream.faults.append(Fault("/repos/", "hang"))
    async with daemons.run() as process:
        await asyncio.sleep(2.5)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert process.returncode is None
        await stop(process, signal.SIGINT)
        assert process.returncode == 130


async def test_a_successor_takes_over(daemons: Daemons) -> None:
    """SIGKILL one of two: the other leads, repeats nothing, and polls what is due.

    How soon is measured by `benchmarks/crash.py`; a machine under load says nothing of it.
    """
    daemons.configure(every="1h", lease="4s")
    async with daemons.run() as one:
        status = await daemons.until(polled)
        leader = status["accounts"][0]["leader"]
        async with daemons.run():
            await asyncio.sleep(1.0)
            asked = len(daemons.cli.upstream.log)
            one.kill()
            await daemons.until(
                lambda status: all(
                    each["leader"] not in (None, leader) for each in status["accounts"]
                ),
            )
            assert len(daemons.cli.upstream.log) == asked
            daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
            done = await daemons.cli("fetch", REPOSITORY, "--changed", "--format", "ndjson")
            assert [each["tag"] for each in done.lines] == ["v9"]


async def test_a_paused_leader_writes_nothing_late(daemons: Daemons) -> None:
    """SIGSTOP, take-over, SIGCONT: it notices, and both go on with one leader an account."""
    daemons.configure(every="1s", lease="2s")
    async with daemons.run() as one:
        status = await daemons.until(polled)
        paused = status["accounts"][0]["leader"]
        async with daemons.run() as two:
            one.send_signal(signal.SIGSTOP)
            await daemons.until(
                lambda status: all(
                    each["leader"] not in (None, paused) for each in status["accounts"]
                )
            )
            daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
            one.send_signal(signal.SIGCONT)
            await asyncio.sleep(2.5)
            lines = await stop(two)
            assert not [each for each in lines if each["event"] == "lease lost"]
            # Now the first one leads again.
            await daemons.until(
                lambda status: all(each["leader"] == paused for each in status["accounts"])
            )
            lines = await stop(one)
            assert [each for each in lines if each["event"] == "lease lost"]
    shown = await daemons.cli("show", f"{REPOSITORY}@v9", "--format", "ndjson")
    assert shown.lines[0]["revision"] == 1


async def test_a_one_shot_asks_the_leader(daemons: Daemons) -> None:
    """Watched or not; what it prints is what it would have polled itself."""
    async with daemons.run():
        await daemons.until(polled)
        daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
        done = await daemons.cli(
            "fetch", REPOSITORY, "NC_010316.1", "XX_000001", "--format", "json"
        )
        assert done.code == 1
        rows = {each["asked"]: each for each in done.json["targets"]}
        assert rows[REPOSITORY]["outcome"] == "changed"
        assert rows[REPOSITORY]["changed"] == 1
        assert rows["NC_010316.1"]["outcome"] == "changed"
        assert rows["XX_000001"]["outcome"] == "not_found"
        assert rows["XX_000001"]["missing"] == ["XX_000001"]
        assert len(done.json["records"]) == rows[REPOSITORY]["records"] + 1


async def test_a_leader_that_does_not_answer_is_named(daemons: Daemons) -> None:
    """A time limit, and a clear sentence."""
    daemons.configure(lease="1h")
    async with daemons.run() as process:
        status = await daemons.until(polled)
        process.send_signal(signal.SIGSTOP)
        done = await daemons.cli("fetch", REPOSITORY, "--wait", "1s", "--format", "json")
        assert done.code == 1
        assert status["accounts"][0]["leader"] in done.err
        assert "--wait" in done.err


async def test_health_readiness_and_metrics(daemons: Daemons) -> None:
    """What an orchestrator and a Prometheus ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        daemons.listen = f"127.0.0.1:{probe.getsockname()[1]}"
    daemons.configure()
    async with daemons.run() as process, aiohttp.ClientSession() as session:
        await daemons.until(polled)
        base = f"http://{daemons.listen}"
        for path in ("/healthz", "/readyz"):
            async with session.get(base + path) as answer:
                assert answer.status == 200
        async with session.get(f"{base}/metrics") as answer:
            text = await answer.text()
        assert 'fetcher_polls_total{outcome="changed",upstream="github"} 1.0' in text
        assert "fetcher_store_up 1.0" in text
        second = await daemons.cli("run")
        assert second.code == 2
        assert "api.listen" in second.err
        await stop(process)
        assert process.returncode == 0


async def test_it_notifies_the_service_manager(daemons: Daemons, tmp_path: Path) -> None:
    """READY, signs of life, RELOADING and READY again, STOPPING."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        told: list[str] = []

        async def hear(wanted: str) -> None:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(15):
                while not told or not told[-1].startswith(wanted):
                    told.append((await loop.sock_recv(manager, 4096)).decode())

        async with daemons.run(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000") as process:
            await hear("READY=1")
            await hear("WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            await hear("RELOADING=1\nMONOTONIC_USEC=")
            await hear("READY=1")
            process.send_signal(signal.SIGTERM)
            await hear("STOPPING=1")
            await process.communicate()
            assert process.returncode == 0


async def test_watches_by_hand(daemons: Daemons) -> None:
    """Added and removed beside a running daemon, listed, and bad ones refused."""
    cli = daemons.cli
    async with daemons.run():
        await daemons.until(polled)
        assert (await cli("watch", "add", "NC_010316.1", "--every", "30m")).code == 0
        await daemons.until(lambda status: polled(status) and len(status["items"]) == 3)
        listed = {each["target"]: each for each in (await cli("watch", "list")).lines}
        assert listed["ncbi:nuccore/NC_010316.1"]["every"] == 1800
        assert listed["ncbi:nuccore/NC_010316.1"]["by"] == "hand"
        assert listed[TARGETS[0]]["by"] == "file"
        assert (await cli("watch", "remove", "NC_010316.1")).code == 0
        assert len((await cli("watch", "list")).lines) == 2
        again = await cli("watch", "remove", "NC_010316.1")
        assert (again.code, "not watched by hand" in again.err) == (1, True)
        bad = await cli("watch", "add", "a/b/c", "--every", "soon")
        assert bad.code == 2


async def test_a_database_that_dies_under_load_comes_back(daemons: Daemons) -> None:
    """Readiness says no, polling pauses, nothing is lost, and it goes on by itself."""
    if not daemons.store.startswith("mongodb"):
        pytest.skip("MongoDB's alone")
    proxy = Proxy(daemons.store)
    await proxy.open()
    daemons.store = proxy.url
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        daemons.listen = f"127.0.0.1:{probe.getsockname()[1]}"
    daemons.configure(every="1s")
    github = daemons.cli.upstream.github
    ready = f"http://{daemons.listen}/readyz"
    async with daemons.run() as process, aiohttp.ClientSession() as session:
        await daemons.until(polled)
        for round_ in range(3):
            github.add_release(REPOSITORY, f"v9.{round_}", body="new")
            await asyncio.sleep(0.3 * round_)
            await proxy.cut()
            github.add_release(REPOSITORY, f"v10.{round_}", body="new")
            async with asyncio.timeout(20):
                while True:
                    async with session.get(ready) as answer:
                        if answer.status == 503:
                            assert "the store" in await answer.text()
                            break
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            asked = len(daemons.cli.upstream.log)
            await asyncio.sleep(1.5)
            assert len(daemons.cli.upstream.log) == asked
            await proxy.open()
            await daemons.until(
                lambda status, number=6 + 2 * round_: any(  # type: ignore[misc]
                    each["key"] == TARGETS[0] and each["records"] == number
                    for each in status["items"]
                ),
                seconds=40,
            )
        async with asyncio.timeout(20):
            while True:
                async with session.get(ready) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.1)
        lines = await stop(process)
        assert process.returncode == 0
    await proxy.cut()
    events = {each["event"] for each in lines}
    assert events & {"the store works again", "the lease is renewed again"}
    listed = (await daemons.cli("list", "releases", "--store", daemons.direct)).lines
    mine = [each for each in listed if each["repository"] == REPOSITORY]
    assert {each["revision"] for each in mine} == {1}


async def test_a_locked_file_pauses_polling_and_loses_nothing(daemons: Daemons) -> None:
    """Somebody else holds SQLite's write lock for longer than anybody waits for it."""
    if not daemons.store.startswith("sqlite"):
        pytest.skip("SQLite's alone")
    daemons.configure(every="1s")
    async with daemons.run() as process:
        await daemons.until(polled)
        with sqlite3.connect(daemons.store.removeprefix("sqlite:///")) as other:
            other.execute("BEGIN IMMEDIATE")
            daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
            await asyncio.sleep(3)
            asked = len(daemons.cli.upstream.log)
            await asyncio.sleep(9)
            assert len(daemons.cli.upstream.log) == asked
            other.rollback()
        await daemons.until(
            lambda status: any(
                each["key"] == TARGETS[0] and each["records"] == 5 for each in status["items"]
            )
        )
        lines = await stop(process)
        assert process.returncode == 0
    # Writes wait for the lock one after the other: which of them gives up first is not said.
    events = {each["event"] for each in lines}
    assert events & {"the lease cannot be renewed", "the store fails"}
    assert events & {"the lease is renewed again", "the store works again"}
