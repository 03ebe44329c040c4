"""``fetcher export`` and ``fetcher import`` as commands."""

import asyncio
import contextlib
import gzip
import os
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Cli

TARGETS = ("github:Codertocat/Hello-World", "NC_003355.1", "ncbi:taxonomy/438782")


async def test_a_store_moves_and_the_second_export_is_the_same(
    cli: Cli, store_url: str, tmp_path: Path
) -> None:
    """To another store and on from there; what is read of it is the same, too."""
    assert (await cli("fetch", *TARGETS)).code == 0
    assert (await cli("watch", "add", TARGETS[0], "--every", "6h")).code == 0
    done = await cli("export", "--output", "copy.ndjson.gz")
    assert (done.code, done.out, done.err) == (0, b"", "6 records exported\n")
    done = await cli("import", "copy.ndjson.gz", "--store", store_url)
    assert done.code == 0
    assert done.err == (
        "imported, and verified: 4 releases, 1 sequences, 1 taxa, 3 targets, 2 accounts\n"
    )
    again = await cli("export", "--store", store_url)
    packed = (tmp_path / "copy.ndjson.gz").read_bytes()
    assert again.out == gzip.decompress(packed)
    third = f"sqlite:///{tmp_path}/third.db"
    assert (await cli("import", "-", "--store", third, stdin=again.out)).code == 0
    assert (await cli("export", "--store", third, "-o", "third.ndjson.gz")).code == 0
    assert (tmp_path / "third.ndjson.gz").read_bytes() == packed
    mine = await cli("list", "--format", "ndjson")
    assert (await cli("list", "--format", "ndjson", "--store", store_url)).out == mine.out
    done = await cli("fetch", TARGETS[0], "--format", "json", "--store", store_url)
    assert done.json["targets"][0]["outcome"] == "unchanged", "its cursor came with it"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("export",), 3, "there is no store"),
        (("import", "nowhere"), 2, "nowhere cannot be read: No such file or directory"),
        (("import", "."), 2, ". cannot be read: Is a directory"),
        (("import", "fetcher.toml"), 2, "fetcher.toml, line 1: this is no"),
        (("import", "cut.gz"), 2, "cut.gz cannot be read to its end; it is cut or damaged"),
        (("export", "-o", "no/where", "--store", "sqlite:///a.db"), 3, "there is no store"),
    ],
)
async def test_trouble_is_a_sentence(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """And an exit code."""
    head = b'{"fetcher":{"format":1,"schema":5}}\n'
    (tmp_path / "cut.gz").write_bytes(gzip.compress(head + os.urandom(1000).hex().encode())[:500])
    done = await cli(*arguments)
    assert (done.code, done.out) == (code, b"")
    assert sentence in done.err


async def test_an_import_into_a_store_with_records_is_refused(cli: Cli) -> None:
    assert (await cli("fetch", TARGETS[1])).code == 0
    copy = (await cli("export")).out
    done = await cli("import", "-", stdin=copy)
    assert done.code == 2
    assert "is not empty: it has sequences; import into a new one" in done.err
    assert (await cli("export")).out == copy


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        (".", 2, ". cannot be written: it is a folder"),
        ("/", 2, "/ cannot be written: it is a folder"),
        ("no/where", 2, "no/where cannot be written: No such file or directory"),
        ("/dev/full", 1, "the output cannot be written: No space left on device"),
        ("/dev/null", 0, "1 records exported"),
    ],
)
@pytest.mark.parametrize("command", ["export", "fetch"])
async def test_where_an_output_may_go(
    cli: Cli, command: str, name: str, code: int, sentence: str
) -> None:
    """A device stays a device, and a full one is a sentence; for both commands that write files."""
    assert (await cli("fetch", TARGETS[1])).code == 0
    more = (TARGETS[1], "--format", "ndjson") if command == "fetch" else ()
    done = await cli(command, *more, "--output", name)
    assert (done.code, done.out) == (code, b"")
    assert sentence in done.err or (command, code) == ("fetch", 0)
    for device in ("/dev/null", "/dev/full"):
        assert Path(device).is_char_device()
    assert not list(cli.folder.glob(".*.part"))


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (("export", "-o", "again.ndjson"), "Exporting"),
        (("import", "copy.ndjson.gz", "--store", "sqlite:///new.db"), "Importing"),
    ],
)
async def test_a_terminal_sees_a_bar(
    cli: Cli, arguments: tuple[str, ...], title: str, *, quiet: bool
) -> None:
    """With how many records went by; whoever wants quiet sees nothing at all."""
    assert (await cli("fetch", *TARGETS)).code == 0
    assert (await cli("export", "-o", "copy.ndjson.gz")).code == 0
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        *(("--quiet",) if quiet else ()),
        cwd=cli.folder,
        env=cli.environment | {"TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = await asyncio.to_thread(_all_of, ours)
    assert await process.wait() == 0
    if quiet:
        assert drawn == ""
        return
    assert title in drawn
    assert "6 records" in drawn
    assert "━" in drawn
    assert drawn.rstrip().endswith(("6 records exported", "2 accounts")), "the bar goes away"


def _all_of(terminal: int) -> str:
    """What was written to a terminal until nobody had it open any more."""
    drawn = b""
    with contextlib.closing(os.fdopen(terminal, "rb", 0)) as file, contextlib.suppress(OSError):
        while piece := file.read(65_536):
            drawn += piece
    return drawn.decode()


@pytest.mark.parametrize("arguments", [("export",), ("list",), ("show", "NC_003355.1")])
async def test_a_full_standard_output_is_a_sentence(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert (await cli("fetch", TARGETS[1])).code == 0
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        cwd=cli.folder,
        env=cli.environment,
        stdout=full,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(full)
    _, err = await process.communicate()
    assert err.decode() == "fetcher: the output cannot be written: No space left on device\n"
    assert process.returncode == 1


async def test_an_export_that_cannot_be_written_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    assert (await cli("fetch", TARGETS[1])).code == 0
    done = await cli("export", "-o", "no/where")
    assert done.code == 2
    assert "no/where cannot be written: No such file or directory" in done.err
    assert not list(tmp_path.glob("*.part"))


async def test_of_two_imports_at_once_one_is_refused(cli: Cli, store_url: str) -> None:
    """Two processes, a store that neither has made yet: all of it is there once."""
    assert (await cli("fetch", *TARGETS)).code == 0
    copy = (await cli("export")).out
    both = await asyncio.gather(
        *(cli("import", "-", "--store", store_url, stdin=copy) for _ in range(2))
    )
    won, lost = sorted(both, key=lambda done: done.code)
    assert won.code == 0
    assert lost.code in (2, 3)
    assert "another import" in lost.err or "is not empty" in lost.err
    assert (await cli("export", "--store", store_url)).out == copy
