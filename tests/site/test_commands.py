"""Every command that a page has its reader type works, and shows what the page shows."""

import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from fetcher.demo import DemoUpstream, Urls
from tests.site.console import Command, Program, Settings, Shell, commands
from tests.site.reference import DOCS, ROOT

PAGES: Final = (
    ROOT / "README.md",
    DOCS / "tutorial.md",
    DOCS / "reading.md",
    DOCS / "operations.md",
    *sorted((DOCS / "how-to").glob("*.md")),
)

# Where Python is whole; elsewhere it needs a MongoDB, or code of the reader's.
PROGRAMS: Final = (ROOT / "README.md",)

# What cannot be run here, and why; all else is.
NOT_RUN: Final[Mapping[str, str]] = {
    "make test": "it is what runs this",
    "python3 -m venv /opt/fetcher": "it writes to /opt; .ci/package installs likewise",
    "/opt/fetcher/bin/pip": "likewise",
    "docker build": "there may be no engine; tests/test_image.py builds it where there is one",
    "docker run": "likewise",
    "openssl rand": "it writes to /etc",
}
# What does not end by itself: it is left running until the page has been read.
STAYING: Final = ("make demo", "fetcher demo", "fetcher run", "curl -N", "fetcher changes --follow")
# What is to fail, and with which exit code: 22 is curl's for a status from 400 on.
FAILING: Final[Mapping[str, int]] = {"curl 'localhost:8080/v1/ncbi/nuccore?taxid=banana'": 22}


def begins(command: Command, with_: Mapping[str, str] | tuple[str, ...]) -> bool:
    return any(command.text == each or command.text.startswith(f"{each} ") for each in with_)


def typed(page: Path) -> Iterator[Command]:
    return (each for each in commands(page.read_text("utf-8")) if isinstance(each, Command))


@pytest.fixture
async def upstreams() -> AsyncIterator[Urls]:
    """What a reader finds at the real ones: what is bundled, and a repository that is asked for."""
    upstream = DemoUpstream()
    upstream.load_bundled()
    state = upstream.github
    repository = state.add_repository("virtool/virtool", created_at="2015-01-01T00:00:00Z")
    for number in (0, 1):
        at = f"2026-0{number + 1}-01T10:00:00Z"
        asset = {"name": "virtool.tar.gz", "content": f"bytes {number}".encode()}
        state.add_release(
            repository, f"v1.{number}.0", published_at=at, created_at=at, assets=[asset]
        )
    async with upstream.serve() as urls:
        yield urls


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
async def shell(tmp_path: Path, upstreams: Urls) -> AsyncIterator[Shell]:
    """In a folder that looks like a clone to make, with nothing else in it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "tmp").mkdir()
    (home / ".curlrc").write_text("fail-with-body\nsilent\n", "utf-8")
    ports = {f"localhost:{port}": f"127.0.0.1:{free_port()}" for port in (8080, 8081)}
    replaced = ports | {old.replace("localhost", "127.0.0.1"): new for old, new in ports.items()}
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(tmp_path / "tmp"),
        "LANG": "C.UTF-8",
    }
    # The demo has upstreams of its own, which its settings name.
    real = {
        "FETCHER_GITHUB__API_URL": upstreams.github,
        "FETCHER_NCBI__EUTILS_URL": upstreams.eutils,
        "FETCHER_NCBI__DATASETS_URL": upstreams.datasets,
        "FETCHER_NCBI__EMAIL": "tests@example.org",
        "FETCHER_API__LISTEN": replaced["localhost:8080"],
    }
    made = Shell(tmp_path, environment, real, replaced)
    yield made
    made.kill()


@pytest.mark.timeout(300)  # dozens of processes, on a machine that may be busy
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
async def test_what_a_page_has_its_reader_type(page: Path, shell: Shell) -> None:
    """One after the other, from nothing, as it stands there."""
    assert shutil.which("curl") is not None, "the pages ask by curl"
    for each in commands(page.read_text("utf-8")):
        if isinstance(each, Settings):
            shell.settings(each.text)
        elif isinstance(each, Program):
            if page in PROGRAMS:
                await shell.program(each)
        elif begins(each, NOT_RUN):
            continue
        elif begins(each, STAYING):
            await shell.leave(each)
        else:
            await shell.run(each, code=FAILING.get(each.text, 0))
    await shell.interrupt()


def test_what_is_not_run_is_there() -> None:
    """A marker that nothing bears is one too many."""
    lines = [each.text for page in PAGES for each in typed(page)]
    for name in (*NOT_RUN, *STAYING, *FAILING):
        assert any(line == name or line.startswith(f"{name} ") for line in lines), name
