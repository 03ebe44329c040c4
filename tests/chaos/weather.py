"""Upstreams that change all the time, and a book of what they served."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, TypeAlias
from unittest import mock

import aiohttp

from fetcher.demo import DemoUpstream, GithubUser, Urls, synthetic_genbank
from fetcher.demo.exchange import Answer, Call
from fetcher.demo.github import GithubApi
from fetcher.demo.github_models import Release, Repository
from fetcher.demo.ncbi_state import Entry
from fetcher.documents import Document, time_text
from fetcher.errors import Evidence
from fetcher.sources.wire_graphql import check_document, fingerprint, parse_repository

__all__ = [
    "ACCESSIONS",
    "NCBI_RATE",
    "QUERY",
    "REPOSITORIES",
    "STORM",
    "TOKEN",
    "Book",
    "Served",
    "Shape",
    "Weather",
    "shape_of",
    "stored_shape",
]

TOKEN: Final = "storm-token"
REPOSITORIES: Final = tuple(f"storm/r{n}" for n in range(5))
# The last two are found by the query, too.
ACCESSIONS: Final = tuple(f"AB{n:06}" for n in range(1, 6))
STORM: Final = "Storm virus"
CALM: Final = "Calm virus"
QUERY: Final = f'"{STORM}"[Organism]'
NCBI_RATE: Final = 3
# All on the first page, whose ETag is the cursor.
_MOST_RELEASES: Final = 40
_FIRST_DAY: Final = date(2030, 1, 1)

Shape: TypeAlias = tuple[object, ...]
"""What matters of a release, however it is told."""


def shape_of(told: Mapping[str, Any]) -> Shape:
    """The shape of a release as GitHub's JSON tells it."""
    return (
        told["tag_name"],
        told["name"] or None,
        told["body"] or None,
        told["prerelease"],
        told["created_at"],
        told["published_at"],
        told["updated_at"],
        told["html_url"],
        told["author"]["login"],
        tuple(
            sorted(
                (each["name"], each["size"], each["digest"], each["updated_at"])
                for each in told["assets"]
            )
        ),
    )


def stored_shape(document: Document) -> Shape:
    """The shape of a stored release."""
    return (
        document["tag"],
        document["name"],
        document["body"],
        document["prerelease"],
        *(time_text(document[name]) for name in ("created_at", "published_at", "updated_at")),
        document["html_url"],
        document["author"],
        tuple(
            sorted(
                (each["name"], each["size"], each["digest"], time_text(each["updated_at"]))
                for each in document["assets"]
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class Served:
    """One listing of a repository's releases as it was served, by release id."""

    etag: str
    releases: Mapping[int, Shape]


class Book:
    """Every first page of releases that was served, by repository id, in order."""

    def __init__(self, upstream: DemoUpstream) -> None:
        self.served: dict[int, list[Served]] = {}
        self.news = asyncio.Event()
        self._upstream = upstream

    def note(self, call: Call, answer: Answer) -> None:
        """Takes an answer down."""
        parts = call.path.split("/")[1:]
        if answer.status != 200 or parts[-1] != "releases" or call.query.get("page", "1") != "1":
            return
        github = self._upstream.github
        if parts[0] == "repositories":
            id_ = int(parts[1])
        else:
            id_ = github.repository(f"{parts[1]}/{parts[2]}").id
        releases = {each["id"]: shape_of(each) for each in json.loads(answer.body)}
        self.served.setdefault(id_, []).append(Served(answer.headers["ETag"], releases))
        self.news.set()

    def first(self, id_: int, etag: str) -> int | None:
        """Which listing first had that ETag."""
        listings = self.served.get(id_, ())
        return next((n for n, each in enumerate(listings) if each.etag == etag), None)


@dataclass(slots=True)
class Weather:
    """Both upstreams, and what happens to them; whatever happens comes from `rng`.

    `plain` leaves out what comes back to where it was: renames, and releases that soon go again.
    """

    rng: random.Random
    plain: bool = False
    upstream: DemoUpstream = field(default_factory=DemoUpstream)
    changes: int = 0
    gone: dict[str, Entry] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    graphql_url: str = ""
    _number: int = 0
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _calm: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """What stands upstream before anything happens."""
        self._calm.set()
        github, ncbi = self.upstream.github, self.upstream.ncbi
        # NCBI tells changes by the day: each of these has one of its own, all yet to come.
        ncbi.today = lambda: _FIRST_DAY + timedelta(days=self._number)
        github.tokens[TOKEN] = GithubUser("storm", limit=15_000, graphql_limit=15_000)
        github.limit_anonymous = 15_000
        for name in REPOSITORIES:
            self.names[name] = github.add_repository(name).id
            for _ in range(3):
                self._publish(name)
        for n, accession in enumerate(ACCESSIONS):
            self._add(accession, CALM if n < 3 else STORM)
        for n in range(12):
            self._add(f"CD{n:06}", STORM)
        ncbi.limit_without_key = NCBI_RATE

    @asynccontextmanager
    async def serve(self, book: Book) -> AsyncIterator[Urls]:
        """Serves both; the book has every listing."""

        class Noting(GithubApi):
            def answer(self, call: Call) -> Answer:
                answer = super().answer(call)
                book.note(call, answer)
                return answer

        with mock.patch("fetcher.demo.server.GithubApi", Noting):
            async with self.upstream.serve() as urls:
                self.graphql_url = f"{urls.github}/graphql"
                yield urls

    async def mark(self, repository: Repository) -> str:
        """The fingerprint that a check would find now."""
        document, variables = check_document([repository.full_name], {0})
        headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "storm"}
        body = {"query": document, "variables": variables}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(self.graphql_url, json=body) as answer,
        ):
            told = await answer.json()
        return fingerprint(parse_repository(told["data"]["r0"], Evidence()))

    def repository(self, name: str) -> Repository:
        """By the name it had at first."""
        return self.upstream.github.repository(self.names[name])

    def truth(self, repository: Repository) -> dict[int, Shape]:
        """The releases that everybody sees, by id."""
        return {each.id: _shape(repository, each) for each in repository.releases if not each.draft}

    def found(self) -> dict[str, Entry]:
        """What the query finds, by accession.version."""
        current = self.upstream.ncbi.current("nuccore")
        return {each.accession_version: each for each in current if each.header.organism == STORM}

    async def blow(self) -> None:
        """Changes until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._calm.wait()
            for due, action in list(self._later):
                if due <= loop.time():
                    self._later.remove((due, action))
                    action()
            self.change(loop.time())
            await asyncio.sleep(self.rng.uniform(0.02, 0.35))

    def pause(self) -> None:
        """Nothing changes until `resume`."""
        self._calm.clear()

    def resume(self) -> None:
        """It goes on."""
        self._calm.set()

    def change(self, now: float) -> None:
        """One change upstream."""
        self.changes += 1
        self._number += 1
        if self.rng.random() < 0.65:
            self._github(now)
        else:
            self._ncbi()

    def _github(self, now: float) -> None:
        github, rng = self.upstream.github, self.rng
        first = rng.choice(REPOSITORIES)
        repository = self.repository(first)
        releases = repository.releases
        many = len(releases) >= _MOST_RELEASES
        match 4 if many else rng.randrange(8 if self.plain else 11):
            case 0 | 1:
                self._publish(repository)
            case 2 | 3 if releases:
                github.edit_release(repository, rng.choice(releases), body=f"e{self._number}")
            case 4 | 5 if len(releases) > 1 or (first == REPOSITORIES[-1] and releases):
                # The last one may run out of releases: then its tags stand in.
                github.delete_release(repository, rng.choice(releases))
            case 6 if releases:
                release = rng.choice(releases)
                github.edit_release(repository, release, draft=not release.draft)
            case 7 if releases:
                self._asset(repository, rng.choice(releases))
            case 8:
                name = f"{first}-{self._number}" if repository.full_name == first else first
                github.rename(repository, name)
                self.names[name] = repository.id
            case 9 | 10:
                # There and back: the listing is what it was.
                release = self._publish(repository)
                wait = rng.choice((rng.uniform(0.1, 0.6), rng.uniform(0.5, 3.0)))
                self._later.append((now + wait, lambda: self._unpublish(repository, release)))

    def _unpublish(self, repository: Repository, release: Release) -> None:
        if release in repository.releases:
            self.upstream.github.delete_release(repository, release)

    def _asset(self, repository: Repository, release: Release) -> None:
        content = f"content {self._number}".encode()
        if release.assets:
            name = self.rng.choice(release.assets).name
            self.upstream.github.replace_asset(repository, release, name, content)
        else:
            asset = {"name": "late.tar.gz", "content": content}
            self.upstream.github.add_asset(repository, release, asset)

    def _ncbi(self) -> None:
        ncbi, rng = self.upstream.ncbi, self.rng
        accession = rng.choice([each for each in ACCESSIONS if each not in self.gone])
        entry = ncbi.get(accession)
        mine = [
            each.header.accession
            for each in ncbi.current("nuccore")
            if each.header.accession not in ACCESSIONS
        ]
        match rng.randrange(8):
            case 0:
                ncbi.bump(accession)
            case 1:
                self._edit(entry)
            case 2 if self.gone:
                self._return()
            case 2 | 3 if not self.gone:
                self.gone[accession] = entry
                ncbi.remove(accession)
            case 4:
                self._add(f"EF{self._number:06}", STORM)
            case 5 if len(mine) > 6:
                ncbi.remove(rng.choice(mine))
            case 6:
                # It leaves what the query finds, or comes back to it.
                name = rng.choice(mine)
                was = ncbi.get(name).header.organism
                ncbi.edit(name, was, CALM if was == STORM else STORM)
            case _:
                self._edit(ncbi.get(rng.choice(mine)))

    def _return(self) -> None:
        name, entry = self.gone.popitem()
        ncbi = self.upstream.ncbi
        ncbi.add("nuccore", entry.flat, mdat=ncbi.today())
        assert ncbi.get(name).flat == entry.flat

    def _edit(self, entry: Entry) -> None:
        text = entry.flat.decode()
        at = text.index("State ")
        old = text[at : text.index(".", at) + 1]
        self.upstream.ncbi.edit(entry.header.accession, old, f"State {self._number}.")

    def _add(self, accession: str, organism: str) -> None:
        ncbi = self.upstream.ncbi
        ncbi.add("nuccore", self._genbank(accession, organism), mdat=ncbi.today())

    def _genbank(self, accession: str, organism: str) -> str:
        self._number += 1
        return synthetic_genbank(
            accession,
            organism=organism,
            length=120,
            comment=f"State {self._number}.",
            seed=self._number,
        )

    def _publish(self, repository: Repository | str) -> Release:
        self._number += 1
        assets = [f"a{k}.tar.gz" for k in range(self.rng.randrange(3))]
        tag = f"v{self._number}"
        return self.upstream.github.add_release(repository, tag, body=tag, assets=assets)


def _shape(repository: Repository, release: Release) -> Shape:
    return (
        release.tag,
        release.name or None,
        release.body or None,
        release.prerelease,
        release.created_at,
        release.published_at,
        release.updated_at,
        f"https://github.com/{repository.full_name}/releases/tag/{release.tag}",
        release.author,
        tuple(
            sorted((each.name, each.size, each.digest, each.updated_at) for each in release.assets)
        ),
    )
