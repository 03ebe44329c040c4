"""`fetcher download` as a process: kills, interrupts, exit codes and what is said."""

import asyncio
import io
import random
import signal
from pathlib import Path

import pytest

from fetcher.assets import Asset
from fetcher.cli.transfers import make_transfers
from fetcher.demo import Fault
from fetcher.gate import Wait
from tests.cli.conftest import Cli

REPO = "acme/tool"
BYTES = random.Random(7).randbytes(4_000_000)


@pytest.fixture(autouse=True)
def release(cli: Cli) -> None:
    """A repository whose newest release has three assets, and an older one."""
    github = cli.upstream.github
    github.add_repository(REPO)
    old = [{"name": "tool.tar", "content": b"old"}]
    github.add_release(REPO, "v1", published_at="2026-01-01T00:00:00Z", assets=old)
    new = [
        {"name": "tool.tar", "content": BYTES},
        {"name": "tool.zip", "content": b"zip"},
        {"name": "notes.txt", "content": b"notes"},
    ]
    github.add_release(REPO, "v2", published_at="2026-02-01T00:00:00Z", assets=new)


async def test_the_latest_release_comes_whole(cli: Cli, store_url: str) -> None:
    """Polled first where the store does not know it; the second time nothing is fetched."""
    store = ["--store", store_url]
    done = await cli("download", "github:acme/tool", "--to", "made/here", *store)
    assert done.code == 0, done.err
    folder = cli.folder / "made" / "here"
    assert (folder / "tool.tar").read_bytes() == BYTES
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "tool.tar", "tool.zip"]
    lines = {line["name"]: line for line in done.lines}
    assert lines["notes.txt"] == {
        "kind": "download",
        "repository": REPO,
        "tag": "v2",
        "name": "notes.txt",
        "outcome": "downloaded",
        "path": "made/here/notes.txt",
        "size": 5,
        "digest": lines["notes.txt"]["expected_digest"],
        "expected_digest": lines["notes.txt"]["digest"],
        "resumed_from": 0,
        "error": None,
    }
    assert "acme/tool v2: 3 downloaded; in made/here" in done.err
    cli.upstream.log.clear()
    again = await cli("download", "github:acme/tool", "--to", "made/here", *store)
    assert (again.code, {line["outcome"] for line in again.lines}) == (0, {"present"})
    assert "--force" in again.err
    assert cli.upstream.log == []


async def test_tags_and_globs_choose(cli: Cli) -> None:
    """Several globs, an older release, as JSON; what is not there is named with what is."""
    done = await cli(
        "download", REPO, "--asset", "*.zip", "--asset", "n*", "--format", "json", "-D", "new"
    )
    assert done.code == 0, done.err
    assert [each["name"] for each in done.json["items"]] == ["notes.txt", "tool.zip"]
    done = await cli("download", REPO, "--tag", "v1", "--format", "table")
    assert (done.code, cli.folder.joinpath("tool.tar").read_bytes()) == (0, b"old")
    assert b"tool.tar" in done.out
    done = await cli("download", REPO, "--tag", "v9")
    assert (done.code, done.out) == (1, b"")
    assert "v1, v2" in done.err or "v2, v1" in done.err
    done = await cli("download", REPO, "--asset", "*.exe")
    assert done.code == 1
    assert "tool.zip" in done.err


async def test_a_tag_that_came_since_is_asked_for(cli: Cli) -> None:
    """And --force asks before it looks."""
    assert (await cli("download", REPO, "--asset", "n*", "--quiet")).err == ""
    github = cli.upstream.github
    github.add_release(REPO, "v3", published_at="2026-03-01T00:00:00Z", assets=["new.txt"])
    done = await cli("download", REPO, "--tag", "v3")
    assert [line["name"] for line in done.lines] == ["new.txt"]
    github.add_release(REPO, "v4", published_at="2026-04-01T00:00:00Z", assets=["newer.txt"])
    assert [line["tag"] for line in (await cli("download", REPO)).lines] == ["v3"]
    assert [line["tag"] for line in (await cli("download", REPO, "--force")).lines] == ["v4"]


async def test_failures_are_exit_1(cli: Cli) -> None:
    """Unknown, without a release, and one bad asset among good ones."""
    done = await cli("download", "acme/none")
    assert (done.code, done.out) == (1, b"")
    assert "not_found" in done.err
    cli.upstream.github.add_repository("acme/empty")
    done = await cli("download", "acme/empty")
    assert done.code == 1
    assert "no release" in done.err
    cli.upstream.faults.append(Fault("^GET /objects/.*zip", "garbage", times=None))
    cli.folder.joinpath("notes.txt").write_text("mine")
    done = await cli("download", REPO)
    assert done.code == 1
    assert {line["name"]: line["outcome"] for line in done.lines} == {
        "tool.tar": "downloaded",
        "tool.zip": "failed",
        "notes.txt": "failed",
    }
    assert "fetcher: tool.zip: " in done.err
    assert "web page" in done.err
    assert cli.folder.joinpath("notes.txt").read_text() == "mine"
    cli.upstream.faults.clear()
    assert (await cli("download", REPO, "--skip-existing")).code == 0
    assert cli.folder.joinpath("notes.txt").read_text() == "mine"
    assert (await cli("download", REPO, "--clobber")).code == 0
    assert cli.folder.joinpath("notes.txt").read_text() == "notes"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["NC_003355.1"], "assets"),
        (["ncbi:nuccore?x[y]"], "assets"),
        (["github:a/b/c"], "github:a/b/c"),
        ([REPO, "--clobber", "--skip-existing"], "--skip-existing"),
        ([REPO, "--wait", "soon"], "soon"),
        ([REPO, "--format", "fasta"], "fasta"),
        ([REPO, "--to", "file/below"], "file/below"),
        ([REPO, "--to", "file"], "file"),
        ([REPO, "--at-once", "0"], "--at-once"),
        ([], "TARGET"),
    ],
)
async def test_bad_usage_costs_no_request(cli: Cli, arguments: list[str], named: str) -> None:
    """Exit 2, and it says what is wrong."""
    cli.folder.joinpath("file").write_text("a file")
    done = await cli("download", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert named in done.err
    assert cli.upstream.log == []


async def reached(path: Path, size: int) -> None:
    async with asyncio.timeout(20):
        while not (path.exists() and path.stat().st_size >= size):
            await asyncio.sleep(0.01)


async def test_a_killed_download_goes_on(cli: Cli) -> None:
    """kill -9 in the middle: only the rest is fetched by the next run."""
    cli.upstream.faults.append(Fault("^GET /objects/.*tar", "hang", after=3_000_000))
    process = await cli.start("download", REPO, "--asset", "*.tar")
    part = cli.folder / "tool.tar.part"
    await reached(part, 1_000_000)
    process.kill()
    await process.communicate()
    kept = part.stat().st_size
    assert not cli.folder.joinpath("tool.tar").exists()
    done = await cli("download", REPO, "--asset", "*.tar", "--wait", "40s")
    assert done.code == 0, done.err
    assert done.lines[0]["resumed_from"] == kept >= 1_000_000
    assert cli.folder.joinpath("tool.tar").read_bytes() == BYTES
    assert cli.upstream.log[-1].headers["Range"] == f"bytes={kept}-"
    assert not part.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupt_keeps_the_parts(cli: Cli, number: signal.Signals, code: int) -> None:
    """It says so, and the next run continues."""
    cli.upstream.faults.append(Fault("^GET /objects/.*tar", "hang", after=3_000_000))
    process = await cli.start("download", REPO)
    part = cli.folder / "tool.tar.part"
    await reached(part, 1_000_000)
    async with asyncio.timeout(20):
        out = process.stdout
        assert out is not None
        complete = [await out.readline(), await out.readline()]
    assert all(b'"downloaded"' in line for line in complete)
    done = await cli.interrupt(process, number)
    assert done.code == code
    assert "interrupted; 2 of 3 assets are complete" in done.err
    assert "run it again" in done.err
    assert "Traceback" not in done.err
    kept = part.stat().st_size
    done = await cli("download", REPO)
    assert done.code == 0, done.err
    lines = {line["name"]: line for line in done.lines}
    assert lines["tool.tar"]["resumed_from"] == kept > 0
    assert lines["tool.zip"]["outcome"] == "present"
    assert cli.folder.joinpath("tool.tar").read_bytes() == BYTES


async def test_it_works_beside_a_daemon(cli: Cli) -> None:
    """Which polls for it where that is needed."""
    settings = cli.folder / "fetcher.toml"
    settings.write_text(settings.read_text() + '\n[api]\nlisten = ""\n')
    daemon = await cli.start("run")
    try:
        async with asyncio.timeout(30):
            while (await cli("status", "--format", "json")).code or not any(
                each["leader"]
                for each in (await cli("status", "--format", "json")).json["accounts"]
            ):
                await asyncio.sleep(0.1)
        done = await cli("download", REPO, "--wait", "20s")
        assert done.code == 0, done.err
        assert {line["outcome"] for line in done.lines} == {"downloaded"}
    finally:
        await cli.interrupt(daemon, signal.SIGTERM)


async def test_the_token_does_not_show(cli: Cli) -> None:
    """Nor in what lies beside the files."""
    secret = "ghp_SECRETSECRETSECRET"
    await cli("fetch", REPO)
    cut = Fault("^GET /objects/.*tar", "truncate", times=None, after=1_500_000)
    cli.upstream.faults.append(cut)
    environment = {"GITHUB_TOKEN": secret}
    done = await cli("download", REPO, "--log-level", "debug", env=environment)
    assert done.code == 1
    assert secret not in done.err + done.out.decode()
    for path in cli.folder.iterdir():
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


class Terminal(io.StringIO):
    """A terminal of a hundred columns."""

    def isatty(self) -> bool:
        return True


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """File, bytes and rate; a name is no markup, and nothing is drawn in a pipe."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    asset = Asset(REPO, 1, "v1", "[red]x\x1b[2J.tar", 1_000_000, None, "x/y", "2026")
    for terminal, quiet in ((Terminal(), False), (Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", terminal)
        with make_transfers(quiet=quiet) as bars:
            bars.expect([asset, asset])
            bars.came(asset, 500_000)
            bars.came(asset, 0)
            bars.came(asset, 700_000)
            bars.waiting(Wait(5.0, "a limit"))
            bars.account_taken("somebody", 3.0)
            bars.ended(asset)
        drawn = terminal.getvalue()
        assert ("[red]x" in drawn) == (terminal.isatty() and not quiet)
        assert "\x1b[2J" not in drawn
