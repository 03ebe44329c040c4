"""``fetcher plan``: what it writes, and that it asks nobody."""

import re
from pathlib import Path

from tests.cli.conftest import Cli


async def test_a_plan_needs_neither_store_nor_upstream(cli: Cli) -> None:
    """Before anything was ever fetched, from a file of names."""
    names = [f"acme/r{n}" for n in range(200)]
    (cli.folder / "names").write_text("\n".join(names))
    done = await cli("plan", "--from-file", "names", "--every", "15m", "--format", "table")
    assert done.code == 0, done.err
    table, said = done.out.decode().strip().split("\n\n")
    heads, line = table.splitlines()
    assert heads.split("  ")[0] == "ACCOUNT"
    account, targets, every, hourly, share, best = re.split(r"  +", line.strip())
    assert (account, targets, every, share) == ("github:anonymous", "200", "15m", "1333%")
    assert (hourly, best) == ("800 of 60 requests", "3h31m")
    assert "with a token (github.token)" in said
    assert "200 targets never polled yet: that takes 200 requests or more, over 3h" in said
    assert not cli.upstream.log
    assert not list(cli.folder.glob("*.db*")), "it makes no store"


async def test_with_a_token_it_fits(cli: Cli) -> None:
    """As JSON, for programs."""
    done = await cli(
        "plan", "a/b", "NC_003355.1", "--every", "1d", "--format", "json", env={"GITHUB_TOKEN": "x"}
    )
    github, ncbi = done.json["items"]
    assert (github["unit"], github["limit"], github["fits"], github["accounts"]) == (
        "points",
        5000.0,
        True,
        1,
    )
    assert github["every"] == {"shortest": 86400.0, "longest": 86400.0}
    assert (ncbi["account"], ncbi["unpolled"]) == ("ncbi:anonymous", 1)


async def test_the_watch_list_is_the_settings_and_what_was_typed(cli: Cli) -> None:
    """And nothing watched is said, not shown as an empty table."""
    nothing = await cli("plan", "--format", "table")
    assert (nothing.code, nothing.out) == (0, b"")
    assert "nothing is watched" in nothing.err
    settings = cli.folder / "fetcher.toml"
    settings.write_text(
        settings.read_text() + '\n[[watch]]\ntargets = ["a/b"]\nevery = "1h"\n', encoding="utf-8"
    )
    assert (await cli("watch", "add", "NC_003355.1", "--every", "6h")).code == 0
    lines = (await cli("plan")).lines
    assert [(line["account"], line["every"]["longest"]) for line in lines] == [
        ("github:anonymous", 3600.0),
        ("ncbi:anonymous", 21600.0),
    ]


async def test_bad_usage_is_told_with_its_place(cli: Cli, tmp_path: Path) -> None:
    """As everywhere: exit code 2."""
    short = await cli("plan", "a/b", "--every", "1s")
    assert (short.code, "--every: '1s' is below service.min_interval" in short.err) == (2, True)
    wrong = await cli("plan", "a/b/c")
    assert (wrong.code, "is no target" in wrong.err) == (2, True)
    none = await cli("plan", "--from-file", str(tmp_path / "nowhere"))
    assert none.code == 2
