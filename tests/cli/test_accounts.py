"""Several accounts, daemons on them, and one-shots beside these: whoever can poll does."""

from collections.abc import AsyncIterator

import pytest

from fetcher.demo import GithubUser
from fetcher.demo.server import DemoUpstream
from tests.cli.conftest import Cli
from tests.cli.test_daemon import Daemons, polled

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


def configure(daemons: Daemons, accounts: dict[str, str]) -> None:
    entries = (
        f'[[github.accounts]]\nname = "{name}"\ntoken = "{token}"\n'
        for name, token in accounts.items()
    )
    daemons.configure(*(f"github:{name}" for name in NAMES), more="".join(entries))


def limit(daemons: Daemons, login: str) -> None:
    daemons.cli.upstream.github.exhaust(login, 1800, "core")
    daemons.cli.upstream.github.exhaust(login, 1800, "graphql")


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
