"""Whatever an upstream quotes of what it was sent: no log and no store repeats a secret."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from fetcher.config import load_settings
from fetcher.log import set_up_log
from fetcher.refresh import Event, Polled
from fetcher.service import Service, open_transport
from fetcher.store import open_store
from fetcher.targets import parse_target
from tests.canary.echo import ANSWERS, Echo
from tests.canary.planted import Canaries, bytes_of, files_under, settings_tree
from tests.clock import FakeClock
from tests.stores import store_url

__all__ = ["store_url"]

TARGETS = (
    *(f"github:acme/r{number}" for number in range(6)),
    "ncbi:nuccore/NC_000001,NC_000003.1",
    "ncbi:nuccore?txid1[Organism]",
    "ncbi:protein/NP_000001",
    "ncbi:taxonomy/12235",
    "ncbi:genome/GCF_000001405.40",
    "ncbi:bioproject/PRJNA1",
)


# How the log is written, and how far what is quoted lies behind the beginning. Each answer comes
# in one way over one store, and in the other over the other.
_WAYS = (("console", 0), ("json", 180))


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@asynccontextmanager
async def opened(echo: Echo, store: str, canaries: Canaries, folder: Path) -> AsyncIterator[Any]:
    """A function that polls everything once, and gives all states that come of it."""
    tree = settings_tree(canaries)
    tree["github"]["api_url"] = f"{echo.url}/github"
    tree["ncbi"] |= {"eutils_url": f"{echo.url}/eutils", "datasets_url": f"{echo.url}/datasets"}
    overrides = {f"{a}.{b}": value for a, table in tree.items() for b, value in table.items()}
    settings = load_settings(None, {}, folder, {**overrides, "http.max_attempts": 1})
    clock = FakeClock()
    targets = [parse_target(each) for text in TARGETS for each in _split(text)]

    async with await open_store(store, clock=clock) as opened_store:

        async def poll(how: str) -> list[Polled]:
            found: list[Polled] = []

            async def take(event: Event) -> None:
                if isinstance(event, Polled):
                    found.append(event)

            log = set_up_log(how, "debug")
            async with open_transport(settings, clock) as transport:
                service = Service(settings, opened_store, transport, clock, log, patience=9.0)
                busy = await service.poll(
                    targets, take, full=True, wait=9.0, on_wait=lambda owner, seconds: None
                )
            assert len(found) + len(busy) == len(targets)
            return found

        yield poll


def _split(text: str) -> list[str]:
    head, _, names = text.partition("/")
    return [text] if "?" in head or "github" in head else [f"{head}/{n}" for n in names.split(",")]


async def test_no_answer_brings_a_secret_into_a_log_or_a_store(
    store_url: str,
    tmp_path: Path,
    canaries: Canaries,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Each kind of answer in turn, what it quotes lying whole in it or across the end of a cut."""
    echo = Echo()
    token = canaries.new("installation token")
    leaks: list[str] = []
    sqlite = store_url.startswith("sqlite")
    async with echo.serve():
        for number, answer in enumerate(ANSWERS):
            echo.answer = answer
            folder = tmp_path / str(number)
            folder.mkdir()
            url = f"sqlite:///{folder}/x.db" if sqlite else store_url
            async with opened(echo, url, canaries, tmp_path) as poll:
                how, padding = _WAYS[(number + sqlite) % 2]
                echo.padding = padding
                # An App is refused itself, or what it was given is.
                echo.granted = token if how == "console" else ""
                polled = await poll(how)
                for headers in echo.headers:
                    canaries.watch_authorization(headers)
                out, err = capfd.readouterr()
                for each in polled:
                    leaks += canaries.found_in(f"{answer}: {each.state.key}", repr(each))
                leaks += canaries.found_in(f"{answer}: output", out)
                leaks += canaries.found_in(f"{answer}: log", err)
                stored = files_under(folder) if sqlite else bytes_of(store_url)
                for where, data in stored:
                    leaks += canaries.found_in(f"{answer}: {where}", data)
    assert not leaks, "\n".join(dict.fromkeys(leaks))
    assert len(canaries.values) > 30
