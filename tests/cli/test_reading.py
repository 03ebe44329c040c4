"""``fetcher run`` read by others while it polls: over HTTP, and by the library."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from fetcher import Reader
from fetcher.demo.server import DemoUpstream
from tests.cli.conftest import Cli
from tests.cli.test_daemon import REPOSITORY, Daemons, polled, stop
from tests.cli.test_webhooks import listening

TOKEN = {"Authorization": "Bearer s3cret"}


@pytest.fixture
async def daemons(cli: Cli, store_url: str) -> AsyncIterator[Daemons]:
    upstream: DemoUpstream = cli.upstream
    async with upstream.serve() as urls:
        yield Daemons(cli, urls, store_url)


async def until(ask: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(20):
        while not wanted(found := await ask()):
            await asyncio.sleep(0.05)
        return found


async def test_what_is_polled_is_read(daemons: Daemons) -> None:
    """Every way tells the same; a refresh brings what is new, and the feed tells of it."""
    base = listening(daemons).partition("/v1/")[0]
    daemons.cli.environment["FETCHER_API__TOKEN"] = "s3cret"
    async with daemons.run() as process, aiohttp.ClientSession(base) as session:
        await daemons.until(polled)

        async def get(path: str) -> Any:
            async with session.get(path) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        listed = await get(f"/v1/github/{REPOSITORY}/releases")
        newest = await get(f"/v1/github/{REPOSITORY}/releases/newest")
        assert listed["items"][0] == newest
        shown = (await daemons.cli("show", newest["_id"], "--format", "json")).json
        assert shown["items"] == [newest]
        target = await get(f"/v1/targets/github:{REPOSITORY}")
        assert target["records"] == len(listed["items"])
        assert target["outcome"] in ("changed", "unchanged")
        end = (await get("/v1/changes?after=now"))["next"]
        daemons.cli.upstream.github.add_release(REPOSITORY, "v9/new", body="new")
        path = f"/v1/targets/github:{REPOSITORY}/refresh"
        async with session.post(path) as answer:
            assert answer.status == 401
        async with session.post(path, headers=TOKEN) as answer:
            assert answer.status == 202
        changes = await until(
            lambda: get(f"/v1/changes?after={end}"), lambda told: bool(told["items"])
        )
        assert [each["change"] for each in changes["items"]] == ["added"]
        release = await get(f"/v1/github/{REPOSITORY}/releases/tags/v9%2Fnew")
        assert release["_id"] == changes["items"][0]["_id"]
        async with Reader.open(daemons.store) as reader:
            found = await reader.release(REPOSITORY, "v9/new")
            assert found is not None
            assert (found["body"], found["digest"]) == ("new", release["digest"])
            assert found.age is not None
            assert found.next_check is not None
            later = [each async for each in reader.changes(end)]
            assert [each.id for each in later] == [release["_id"]]
        await stop(process)


async def test_changes_on_the_command_line(cli: Cli) -> None:
    """From the beginning, from a cursor, and on and on."""
    await cli("fetch", f"github:{REPOSITORY}", "--format", "json")
    everything = await cli("changes", "--format", "json")
    items = everything.json["items"]
    assert {each["change"] for each in items} == {"added"}
    cursor = everything.json["next"]
    assert items[-1]["cursor"] == cursor
    assert (await cli("changes", "--after", cursor, "--format", "ndjson")).out == b""
    follower = await cli.start("changes", "--after", "now", "--follow", "--format", "ndjson")
    try:
        assert follower.stdout is not None
        line = asyncio.create_task(follower.stdout.readline())
        while not line.done():
            cli.upstream.github.add_release(REPOSITORY, f"w{len(cli.upstream.log)}", body="x")
            await cli("fetch", f"github:{REPOSITORY}", "--force", "--format", "json")
        assert json.loads(line.result())["change"] == "added"
    finally:
        follower.terminate()
        await follower.communicate()
    table = await cli("changes", "--after", cursor, "--format", "table")
    assert b"added" in table.out
    assert "--after " in table.err
    for wrong in (["--after", "nonsense"], ["--follow", "--format", "json"]):
        assert (await cli("changes", *wrong)).code == 2


async def test_a_target_is_forgotten(cli: Cli) -> None:
    """No longer watched; with --purge its records go, and nothing of others."""
    other = "github:stellarcarbon/sorocarbon"
    await cli("fetch", f"github:{REPOSITORY}", other, "--format", "json")
    await cli("watch", "add", f"github:{REPOSITORY}")
    assert (await cli("forget", f"github:{REPOSITORY}")).code == 0
    assert (await cli("watch", "list", "--format", "json")).json["items"] == []
    assert (await cli("list", f"github:{REPOSITORY}", "--format", "ndjson")).lines
    gone = await cli("forget", f"github:{REPOSITORY}", "--purge")
    assert re.search(r"\b(1 record|\d+ records) gone$", gone.err, re.MULTILINE)
    kept = (await cli("list", "releases", "--format", "ndjson")).lines
    assert kept
    assert {key for each in kept for key in each["targets"]} == {other}
    again = await cli("forget", f"github:{REPOSITORY}")
    assert (again.code, "is not known" in again.err) == (1, True)
