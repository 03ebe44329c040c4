"""``fetcher demo`` as a user sees it: everything comes up, lives, and ends."""

import asyncio
import re
import resource
import signal
from pathlib import Path

import aiohttp
import pytest

from fetcher.cli.run import open_many_files
from fetcher.demo import DemoUpstream, Publisher
from fetcher.web.app import connections
from tests.cli.conftest import Cli


class Screen:
    """What a process has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        self._stream = process.stderr
        self.text = ""

    async def shows(self, pattern: str) -> re.Match[str]:
        """Reads on until it is there."""
        async with asyncio.timeout(60):
            while (found := re.search(pattern, self.text)) is None:
                line = await self._stream.readline()
                assert line, self.text
                self.text += line.decode()
        return found


async def test_everything_comes_up_and_lives(cli: Cli) -> None:
    """The addresses that it prints work, what is published arrives, and Ctrl-C ends it."""
    process = await cli.start("demo", "--format", "ndjson")
    try:
        screen = Screen(process)
        base = (await screen.shows(r"Status page +(http://127\.0\.0\.1:\d+)/")).group(1)
        settings = (await screen.shows(r"status --config (\S+)")).group(1)
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/docs", "/v1/ncbi/nuccore/NC_003355"):
                async with session.get(base + path) as answer:
                    assert answer.status == 200, path
            events = {"Accept": "text/event-stream"}
            async with (
                asyncio.timeout(60),
                session.get(f"{base}/v1/changes", headers=events) as stream,
            ):
                assert stream.status == 200
                heard = ""
                while "nuccore:ZZ000001" not in heard:
                    heard += (await stream.content.readany()).decode()
            listed = f"{base}/v1/github/Codertocat/Hello-World/releases"
            async with asyncio.timeout(60):
                text = ""
                while "v1.1.0" not in text:
                    await asyncio.sleep(0.2)
                    async with session.get(listed) as answer:
                        text = await answer.text()
        status = await cli("status", "--config", settings, "--format", "json")
        assert status.code == 0, status.err
        assert all(each["watched"] for each in status.json["items"])
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert b"NC_003355.1" in out
    assert "Everything lies in sqlite:///" in err.decode()
    assert Path(settings).with_name("fetcher.db").exists()


async def test_an_address_that_cannot_be_taken(cli: Cli) -> None:
    """A sentence and exit code 2, as of the daemon."""
    done = await cli("demo", "--listen", "nonsense")
    assert done.code == 2
    assert "api.listen" in done.err


def test_as_many_files_as_may_be_open() -> None:
    """Whatever the shell that it was started from allows by itself."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        few = connections()
        open_many_files()
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised == min(hard, 65_536) or hard == resource.RLIM_INFINITY
        assert few < connections() <= 4_096
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@pytest.mark.parametrize("rounds", [1, 20])
def test_what_is_published_is_bounded(rounds: int) -> None:
    """Every act works in turn, and says what it did."""
    upstream = DemoUpstream()
    upstream.load_bundled()
    before = len(upstream.github.repository("Codertocat/Hello-World").releases)
    records = len(upstream.ncbi.current("nuccore"))
    publisher = Publisher(upstream)
    said = [publisher.publish() for _ in range(6 * rounds)]
    assert len(set(said)) > 3 * rounds
    assert len(upstream.github.repository("Codertocat/Hello-World").releases) <= before + 3
    assert len(upstream.ncbi.current("nuccore")) <= records + 3
