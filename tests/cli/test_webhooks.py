"""Webhooks to ``fetcher run`` as a process: polled now, whichever replica leads."""

import asyncio
import hmac
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fetcher.demo.server import DemoUpstream
from tests.cli.conftest import Cli
from tests.cli.test_daemon import REPOSITORY, Daemons, polled, stop

SECRET = "c4n4ry It's a Secret to Everybody"
OTHER = "stellarcarbon/sorocarbon"


@pytest.fixture
async def daemons(cli: Cli, store_url: str) -> AsyncIterator[Daemons]:
    """Each of them listens elsewhere: `listening` says where the next one does."""
    upstream: DemoUpstream = cli.upstream
    async with upstream.serve() as urls:
        yield Daemons(cli, urls, store_url)


def listening(daemons: Daemons, every: str = "1h") -> str:
    """Settings with a secret and an address of their own; gives where webhooks go."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        daemons.listen = f"127.0.0.1:{probe.getsockname()[1]}"
    daemons.configure(f"github:{REPOSITORY}", f"github:{OTHER}", every=every)
    daemons.cli.environment["FETCHER_GITHUB__WEBHOOK_SECRET"] = SECRET
    return f"http://{daemons.listen}/v1/webhooks/github"


class Github:
    """Sends what the local GitHub would."""

    def __init__(self, session: aiohttp.ClientSession, cli: Cli) -> None:
        self._session = session
        self._state = cli.upstream.github
        self._number = 0

    async def tell(
        self, url: str, action: str, event: str = "release", name: str = REPOSITORY, **more: Any
    ) -> str:
        """The result of a signed delivery."""
        repository = self._state.repository(name)
        told = {"id": repository.id, "full_name": repository.full_name, "secret": "c4n4ry"}
        body = json.dumps({"action": action, "repository": told, **more}).encode()
        self._number += 1
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"72d3162e-{self._number}",
            "X-Hub-Signature-256": "sha256="
            + hmac.new(SECRET.encode(), body, "sha256").hexdigest(),
        }
        async with self._session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["result"])


@pytest.fixture
async def github(daemons: Daemons) -> AsyncIterator[Github]:
    async with aiohttp.ClientSession() as session:
        yield Github(session, daemons.cli)


def records(status: Any, key: str = f"github:{REPOSITORY}") -> int:
    return int(next((each["records"] for each in status["items"] if each["key"] == key), -1))


def asked(daemons: Daemons, name: str = REPOSITORY) -> int:
    """How often a repository's releases were listed."""
    path = f"/repos/{name}/releases"
    return sum(each.path == path for each in daemons.cli.upstream.log)


async def test_it_is_polled_now(daemons: Daemons, github: Github) -> None:
    """A release is there within moments, though it is due in an hour; and so is what is gone."""
    url = listening(daemons)
    upstream = daemons.cli.upstream.github
    async with daemons.run() as process:
        before = records(await daemons.until(polled))
        release = upstream.add_release(REPOSITORY, "v9", body="new")
        assert await github.tell(url, "published") == "accepted"
        await daemons.until(lambda status: records(status) == before + 1)
        upstream.delete_release(REPOSITORY, release)
        assert await github.tell(url, "deleted") == "accepted"
        await daemons.until(lambda status: records(status) == before)
        assert asked(daemons, OTHER) == 1
        upstream.add_repository("nobody/watches")
        assert await github.tell(url, "published", name="nobody/watches") == "unwatched"
        async with aiohttp.ClientSession() as session:
            base = url.partition("/v1/")[0]
            async with session.get(f"{base}/metrics") as answer:
                text = await answer.text()
        line = 'fetcher_webhooks_total{event="release",result="accepted"} 2.0'
        assert line in text
        process.terminate()
        out, err = await process.communicate()
        assert b"c4n4ry" not in out + err
        assert b"Traceback" not in err
        assert process.returncode == 0


async def test_a_burst_costs_two_polls(daemons: Daemons, github: Github) -> None:
    """Fifty deliveries at once; what they tell of is found."""
    url = listening(daemons)
    async with daemons.run() as process:
        before = records(await daemons.until(polled))
        count = asked(daemons)
        daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
        told = await asyncio.gather(*(github.tell(url, "created") for _ in range(50)))
        assert set(told) == {"accepted"}
        await daemons.until(lambda status: records(status) == before + 1)
        await asyncio.sleep(2)
        # A poll that overlaps the burst, one after it; where the machine is slow, one more.
        assert 1 <= asked(daemons) - count <= 3
        await stop(process)


async def test_a_rename(daemons: Daemons, github: Github) -> None:
    """Found by the id that it has always had, and known by both names after."""
    url = listening(daemons)
    async with daemons.run() as process:
        await daemons.until(polled)
        daemons.cli.upstream.github.rename(REPOSITORY, "octocat/Salut-Monde")
        told = await github.tell(url, "renamed", "repository", "octocat/Salut-Monde")
        assert told == "accepted"
        status = await daemons.until(
            lambda status: any("Salut-Monde" in each["key"] for each in status["items"])
        )
        assert len(status["items"]) == 2
        await stop(process)


async def test_the_one_that_hears_of_it_need_not_lead(daemons: Daemons, github: Github) -> None:
    """Two replicas: the one that does not lead is told, and the one that does polls."""
    listening(daemons)
    async with daemons.run() as one:
        status = await daemons.until(polled)
        before = records(status)
        leader = status["accounts"][0]["leader"]
        url = listening(daemons)
        async with daemons.run() as two:
            await _serves(url)
            daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
            assert await github.tell(url, "published") == "accepted"
            status = await daemons.until(lambda status: records(status) == before + 1)
            assert {each["leader"] for each in status["accounts"]} <= {leader, None}
            await stop(two)
        await stop(one)


async def test_what_was_promised_outlives_who_promised_it(daemons: Daemons, github: Github) -> None:
    """Told to a replica that is killed at once, while nobody leads: the next leader polls."""
    listening(daemons)
    async with daemons.run() as one:
        before = records(await daemons.until(polled))
        url = listening(daemons)
        async with daemons.run() as two:
            await _serves(url)
            one.kill()
            await one.wait()
            daemons.cli.upstream.github.add_release(REPOSITORY, "v9", body="new")
            assert await github.tell(url, "published") == "accepted"
            two.kill()
            await two.wait()
    assert records(await daemons.status()) == before
    listening(daemons)
    async with daemons.run() as three:
        await daemons.until(lambda status: records(status) == before + 1)
        await stop(three)


async def _serves(url: str) -> None:
    base = url.partition("/v1/")[0]
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            try:
                async with session.get(f"{base}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
