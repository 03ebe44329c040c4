"""Several accounts, daemons on them, and one-shots beside these: whoever can poll does."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fetcher.demo import GithubUser
from fetcher.demo.server import DemoUpstream
from tests.cli.conftest import Cli
from tests.cli.test_daemon import REPOSITORY, Daemons, polled, stop

NAMES = [f"acme/r{number}" for number in range(6)]


@pytest.fixture
async def daemons(cli: Cli, store_url: str) -> AsyncIterator[Daemons]:
    upstream: DemoUpstream = cli.upstream
    github = upstream.github
    github.tokens = {"t1": GithubUser("one"), "t2": GithubUser("two")}
    for name in NAMES:
        github.add_release(github.add_repository(name).full_name, "v1")
    async with upstream.serve() as urls:
        yield Daemons(cli, urls, store_url)


def configure(daemons: Daemons, accounts: dict[str, str], *more: str) -> None:
    entries = (
        f'[[github.accounts]]\nname = "{name}"\ntoken = "{token}"\n'
        for name, token in accounts.items()
    )
    daemons.configure(*(f"github:{name}" for name in (*NAMES, *more)), more="".join(entries))


def limit(daemons: Daemons, login: str) -> None:
    daemons.cli.upstream.github.exhaust(login, 1800, "core")
    daemons.cli.upstream.github.exhaust(login, 1800, "graphql")


def watched(status: Any) -> int:
    return sum(each["watched"] for each in status["items"])


def good(status: Any) -> bool:
    return all(each["last_success"] for each in status["items"] if each["watched"])


async def homes(daemons: Daemons) -> dict[str, str]:
    lines = (await daemons.cli("watch", "list", "--format", "ndjson")).lines
    return {each["target"]: each["account"] for each in lines}


async def test_a_limited_leader_says_so_at_once(daemons: Daemons) -> None:
    """In place of polling in vain: the reason, until when, and no request."""
    configure(daemons, {"one": "t1"})
    async with daemons.run():
        await daemons.until(polled)
        limit(daemons, "one")
        first = await daemons.cli("fetch", NAMES[0], "--wait", "20s", "--format", "json")
        assert first.json["targets"][0]["outcome"] == "rate_limited"
        asked = len(daemons.cli.upstream.log)
        done = await daemons.cli("fetch", NAMES[0], "--wait", "20s", "--format", "json")
        assert (done.code, len(daemons.cli.upstream.log)) == (1, asked)
        (row,) = done.json["targets"]
        assert (row["outcome"], row["records"]) == ("rate_limited", 1)
        assert "is limited until" in row["error"]
        assert "is limited until" in done.err


async def test_what_a_limited_account_has_goes_elsewhere_and_stays_there(
    daemons: Daemons,
) -> None:
    """For a one-shot at once, for the daemons soon; a reload or a restart of any keeps it."""
    accounts = {"one": "t1", "two": "t2"}
    configure(daemons, accounts)
    async with daemons.run() as first, daemons.run() as second:
        await daemons.until(polled)
        before = await homes(daemons)
        assert len(set(before.values())) == 2
        limit(daemons, "one")
        done = await daemons.cli("fetch", *NAMES, "--wait", "20s", "--format", "json")
        assert done.code == 0, done.err
        assert {row["outcome"] for row in done.json["targets"]} == {"unchanged"}
        assert "polled on GitHub account two, because GitHub account one cannot: " in done.err
        async with asyncio.timeout(30):
            while len(set((moved := await homes(daemons)).values())) == 2:
                await asyncio.sleep(0.2)
        added = [f"acme/new{number}" for number in range(5)]
        assert (await daemons.cli("watch", "add", NAMES[0], *added)).code == 0
        assert set((await homes(daemons)).values()) == set(moved.values())
        assert (await daemons.cli("watch", "remove", NAMES[0], *added)).code == 0
        configure(daemons, accounts, REPOSITORY)
        for process in (first, second):
            process.send_signal(signal.SIGHUP)
            await daemons.until(lambda status: watched(status) == 7 and good(status))
            await asyncio.sleep(1.0)
            assert set((await homes(daemons)).values()) == set(moved.values())
        for process in (first, second):
            await stop(process)
    async with daemons.run():
        await daemons.until(lambda status: all(each["leader"] for each in status["accounts"]))
        assert set((await homes(daemons)).values()) == set(moved.values())
    # The one answer that told of the limit, by either way of asking.
    assert len(daemons.cli.upstream.github.violations) <= 2
