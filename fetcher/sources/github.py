"""GitHub releases by conditional REST requests.

https://docs.github.com/en/rest/releases/releases and
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlsplit

from fetcher.documents import Kind
from fetcher.errors import Evidence, Malformed, NotFound, UpstreamError
from fetcher.fan import fan_out
from fetcher.gate import Gate
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Record
from fetcher.policy.verdict import Accept, Reply, Retry, Verdict, judge_github
from fetcher.policy.wire import shown_url
from fetcher.sources.credentials import Anonymous, Credentials, shown
from fetcher.sources.outcomes import AccountStop, ended_by
from fetcher.sources.wire_github import (
    Repository,
    WireRelease,
    parse_assets,
    parse_limits,
    parse_release,
    parse_releases,
    parse_repository,
    parse_tags,
    release_record,
    tag_record,
)
from fetcher.targets import Target
from fetcher.transport import Request, Response, Transport

__all__ = ["MOST_PAGES", "GithubSource", "gone", "next_page", "owned_prefix"]

T = TypeVar("T")

API_VERSION: Final = "2022-11-28"
PER_PAGE: Final = 100
# "Only the first 10000 results are available": what lies beyond was not seen, so it is not gone.
LISTED_AT_MOST: Final = 10_000

MOST_PAGES: Final = 1_000
"""Pages of one listing that are followed: a hundred thousand tags."""

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """A judged answer; `value` is None for 304."""

    value: T | None
    etag: str | None
    next_url: str | None
    moved: bool
    url: str


class _Trail:
    """The pages of one listing: none of them twice, and not without end."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def after(self, page: _Answer[Any]) -> str | None:
        """Where it goes on; raises `Malformed` for a listing that leads in circles."""
        url = page.next_url
        if url is not None:
            if url in self._seen or len(self._seen) == MOST_PAGES:
                raise Malformed("GitHub's listing has no end", Evidence(url=url))
            self._seen.add(url)
        return url


@dataclass(slots=True)
class _Poll:
    """What is found out about one repository while it is polled."""

    due: Due
    known: Known
    repository: Repository
    target: Target
    facts: dict[str, Any]
    identified: bool = False

    def chunk(
        self,
        kind: Kind,
        records: tuple[Record, ...] = (),
        *,
        withdrawn: tuple[str, ...] = (),
        detached: tuple[str, ...] = (),
    ) -> Chunk:
        """Some of the repository's records."""
        return Chunk(self.target, kind, records, withdrawn, detached, asked=self.due.target)


class GithubSource:
    """All releases of repositories, or their tags where there is no release.

    `credentials` go to its host and nowhere else; `identity` names them without telling them
    (ETags differ by token, so an ETag is only sent with the token that got it). `patience` is
    how long, in seconds, one request may wait for a limit.
    """

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        *,
        api_url: str,
        credentials: Credentials,
        identity: str,
        patience: float,
        workers: int = 8,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._api_url = api_url
        self._credentials = credentials
        self._identity = identity
        self._patience = patience
        self._workers = workers

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        """Polls repositories side by side; each ends in an outcome of its own."""
        stop = AccountStop()

        async def work(each: Due) -> AsyncGenerator[Chunk | Outcome, None]:
            if stop.error is not None:
                yield ended_by(stop.error, each)
                return
            some = False
            try:
                async with aclosing(self._repository(each, known)) as items:
                    async for item in items:
                        stop.heard()
                        some = True
                        yield item
            except UpstreamError as error:
                stop.learn(error)
                yield ended_by(error, each, some=some)

        async with aclosing(fan_out(due, work, workers=self._workers)) as items:
            async for item in items:
                yield item

    async def reach(self) -> str:
        """What GitHub says of the account's limit; asking costs nothing.

        https://docs.github.com/en/rest/rate-limit/rate-limit
        """
        try:
            answer = await self._get(f"{self._api_url}/rate_limit", parse_limits)
        except NotFound:
            # GitHub Enterprise Server with its limits off.
            return f"{self._api_url}: reachable, no rate limit"
        core = _there(answer).resources.core
        bare = "; no token is set" if isinstance(self._credentials, Anonymous) else ""
        return (
            f"{self._api_url}: {core.remaining:,} of {core.limit:,} requests an hour left, "
            f"new ones at {core.reset:%H:%M} UTC{bare}"
        )

    @property
    def api_url(self) -> str:
        """Where the API is."""
        return self._api_url

    async def asset_request(self, repository: str, asset_id: int) -> Request:
        """Asks for the bytes of an asset, or for the way to them.

        https://docs.github.com/en/rest/releases/assets#get-a-release-asset
        """
        url = f"{self._api_url}/repos/{quote(repository)}/releases/assets/{asset_id}"
        secret = await self._credentials.headers()
        return self._request(url, {"Accept": "application/octet-stream"}, secret)

    async def asset_ids(self, repository: str, release_id: int) -> Mapping[str, int]:
        """The ids of a release's assets by name, for records that were got without them."""
        found: dict[str, int] = {}
        base = f"{self._api_url}/repos/{quote(repository)}/releases/{release_id}/assets"
        url: str | None = f"{base}?per_page={PER_PAGE}"
        trail = _Trail()
        while url is not None:
            page = await self._get(url, parse_assets)
            found.update((wire.name, wire.id) for wire in _there(page))
            url = trail.after(page)
        return found

    async def _repository(self, due: Due, known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        state = due.state
        facts = dict(state.facts) if state is not None else {}
        cursor = dict(state.cursor or {}) if state is not None and not due.full else {}
        if cursor.get("identity") != self._identity:
            cursor = {}
        if "repository_id" in facts and not due.full:
            repository = Repository(
                id=facts["repository_id"],
                full_name=facts["repository"],
                private=facts["private"],
                archived=facts["archived"],
            )
            poll = _Poll(due, known, repository, _target(repository), facts)
        else:
            poll = await self._identify(due, known, facts)
        first = await self._get(
            _releases_url(self._api_url, poll), parse_releases, cursor.get("etag")
        )
        if first.moved:
            # The old name redirects to /repositories/ID: learn today's name, and list in full,
            # because the name stands in every record.
            poll, cursor = await self._identify(due, known, facts), {}
            first = await self._get(_releases_url(self._api_url, poll), parse_releases)
        if first.value:
            steps = self._releases(poll, first, everything=poll.identified or not cursor)
        elif first.value is not None or cursor.get("tags"):
            etag = first.etag if first.value is not None else cursor["etag"]
            steps = self._tags(poll, etag, cursor)
        else:
            yield self._done(poll, cursor, reconciled=cursor.get("pages") == 1)
            return
        async with aclosing(steps):
            async for item in steps:
                yield item

    async def _identify(self, due: Due, known: Known, facts: Mapping[str, Any]) -> _Poll:
        """Asks who answers to the name now."""
        answer = await self._get(f"{self._api_url}/repos/{due.target.name}", parse_repository)
        repository = _there(answer)
        target = _target(repository)
        another = facts.get("repository_id", repository.id) != repository.id
        return _Poll(
            due,
            known,
            repository,
            target,
            {
                "repository_id": repository.id,
                "repository": repository.full_name,
                "private": repository.private,
                "archived": repository.archived,
                "latest": None if another else facts.get("latest"),
            },
            identified=True,
        )

    async def _releases(
        self, poll: _Poll, page: _Answer[Sequence[WireRelease]], *, everything: bool
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Lists pages until one brings nothing new; a whole listing finds what is gone.

        Without a cursor `everything` is looked at: an earlier poll may have ended half way.
        """
        etag, pages, changed = page.etag, 0, False
        published = False
        seen: set[str] = set()
        trail = _Trail()
        while True:
            pages += 1
            releases = _there(page)
            records, news = await self._news(poll, releases)
            if news and not poll.identified:
                # Something changed, so make sure of whom we speak before it is stored.
                before, poll = (
                    poll.repository,
                    await self._identify(poll.due, poll.known, poll.facts),
                )
                if poll.repository != before:
                    everything = True
                    records, news = await self._news(poll, releases)
            changed = changed or bool(news)
            published = published or any(not (r.draft or r.prerelease) for r in releases)
            seen.update(record.id for record in records)
            if everything or news:
                wanted = tuple(records if everything else news)
                yield poll.chunk("release", wanted)
            url = trail.after(page) if everything or news else None
            if url is None:
                break
            page = await self._get(url, parse_releases)
        whole = page.next_url is None and len(seen) < LISTED_AT_MOST
        if whole:
            async for chunk in self._gone(poll, "release", seen, sure=pages == 1):
                changed = True
                yield chunk
            # Tags stand in only where there is no release.
            tags = tuple([id_ async for id_ in poll.known.ids("tag", poll.target.key)])
            if tags:
                yield poll.chunk("tag", detached=tags)
        if changed or everything:
            poll.facts["latest"] = await self._latest(poll) if published or not whole else None
        cursor = {"identity": self._identity, "etag": etag, "pages": pages if whole else 2}
        yield self._done(poll, cursor, reconciled=whole)

    async def _tags(
        self, poll: _Poll, etag: str | None, cursor: Mapping[str, Any]
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Lists the tags of a repository that has no release."""
        url = f"{self._api_url}/repos/{poll.repository.full_name}/tags?per_page={PER_PAGE}"
        page = await self._get(url, parse_tags, cursor.get("tags_etag"))
        mark: dict[str, Any] = {"identity": self._identity, "etag": etag, "pages": 1, "tags": True}
        async for chunk in self._gone(poll, "release", set(), sure=True):
            yield chunk
        poll.facts["latest"] = None
        if page.value is None:
            mark |= {"tags_etag": cursor["tags_etag"], "empty": cursor["empty"]}
            yield self._done(poll, mark, reconciled=False)
            return
        mark["tags_etag"] = page.etag if page.next_url is None else None
        seen: set[str] = set()
        trail = _Trail()
        while True:
            records = tuple(tag_record(wire, poll.repository, page.url) for wire in _there(page))
            seen.update(record.id for record in records)
            if records:
                yield poll.chunk("tag", records)
            if (more := trail.after(page)) is None:
                break
            page = await self._get(more, parse_tags)
        async for chunk in self._gone(poll, "tag", seen, sure=True):
            yield chunk
        yield self._done(poll, {**mark, "empty": not seen}, reconciled=True)

    async def _news(
        self, poll: _Poll, releases: Sequence[WireRelease]
    ) -> tuple[list[Record], list[Record]]:
        """The records of a page, and those of them that are not stored like that."""
        records = [release_record(wire, poll.repository) for wire in releases]
        known = await poll.known.digests("release", [record.id for record in records])
        return records, [each for each in records if known.get(each.id) != each.digest]

    async def _gone(
        self, poll: _Poll, kind: Literal["release", "tag"], seen: set[str], *, sure: bool
    ) -> AsyncGenerator[Chunk, None]:
        """Marks what a whole listing lacks as withdrawn.

        A deletion while pages are listed moves a release to a page already read; so after
        several pages (not `sure`) only what a second listing lacks as well is gone.
        """
        id_, key = poll.repository.id, poll.target.key
        mine, theirs = await gone(poll.known, kind, id_, key, seen)
        if mine and not sure:
            listed: set[str] = set()
            url: str | None = _releases_url(self._api_url, poll)
            trail = _Trail()
            while url is not None:
                page = await self._get(url, parse_releases)
                listed.update(f"{owned_prefix(id_)}{wire.id}" for wire in _there(page))
                url = trail.after(page)
            mine = tuple(each for each in mine if each not in listed)
        if mine:
            yield poll.chunk(kind, withdrawn=mine)
        if theirs:
            yield poll.chunk(kind, detached=theirs)

    async def _latest(self, poll: _Poll) -> int | None:
        """The release that GitHub marks latest: neither draft nor pre-release."""
        url = f"{self._api_url}/repos/{poll.repository.full_name}/releases/latest"
        try:
            return _there(await self._get(url, parse_release)).id
        except NotFound:
            return None

    def _done(self, poll: _Poll, cursor: Mapping[str, Any], *, reconciled: bool) -> Outcome:
        kind = OutcomeKind.EMPTY if cursor.get("empty") else OutcomeKind.UNCHANGED
        return Outcome(
            asked=poll.due.target,
            target=poll.target,
            kind=kind,
            cursor=cursor,
            facts=poll.facts,
            reconciled=reconciled,
        )

    async def _get(
        self, url: str, parse: Callable[[bytes, Evidence], T], etag: str | None = None
    ) -> _Answer[T]:
        """One GET; an answer that makes no sense is asked for again like any other fault."""
        parsed: list[T] = []

        def judge(reply: Reply, now: float) -> Verdict:
            verdict = judge_github(reply, now)
            if isinstance(verdict, Accept) and reply.status != 304:
                try:
                    parsed[:] = [parse(reply.body, reply.evidence())]
                except Malformed as error:
                    return Retry(error, None)
            return verdict

        headers = {"Accept": "application/vnd.github+json"}
        if etag is not None:
            headers["If-None-Match"] = etag
        # A next page is named by the answer: the token goes to the configured host alone.
        if _origin(url) != _origin(self._api_url):
            raise Malformed(
                "GitHub names a page on another host, which is not followed",
                Evidence(url=shown_url(url)),
            )

        async def send(secret: Mapping[str, str]) -> Response:
            request = self._request(url, headers, secret)
            return await self._transport.send(request, judge, patience=self._patience)

        response = await shown(self._credentials, send)
        return _Answer(
            value=parsed[0] if response.status != 304 else None,
            etag=response.headers.get("etag"),
            next_url=next_page(response.headers.get("link", "")),
            moved=bool(response.hops),
            url=url,
        )

    def _request(self, url: str, headers: Mapping[str, str], secret: Mapping[str, str]) -> Request:
        """A GET with the credentials, which go to the host of `url` alone."""
        headers = {**headers, "X-GitHub-Api-Version": API_VERSION}
        return Request("GET", url, self._gate, headers=headers, secret_headers=secret)


def next_page(link: str) -> str | None:
    """The next page that a ``Link`` header names: https://www.rfc-editor.org/rfc/rfc8288"""
    found = _NEXT.search(link)
    return found[1] if found is not None else None


def _origin(url: str) -> tuple[str, str] | None:
    """None for what is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.scheme, parts.netloc


def _target(repository: Repository) -> Target:
    return Target("github", "", repository.full_name)


def _releases_url(api_url: str, poll: _Poll) -> str:
    return f"{api_url}/repos/{poll.repository.full_name}/releases?per_page={PER_PAGE}"


def _there(answer: _Answer[T]) -> T:
    """The value of an answer to an unconditional request."""
    if answer.value is None:
        raise Malformed(f"GitHub answered 304 to an unconditional request for {answer.url}")
    return answer.value


def owned_prefix(repository_id: int) -> str:
    """How the ids of a repository's records begin, whatever its name."""
    return f"github:{repository_id}:"


async def gone(
    known: Known, kind: Kind, repository_id: int, key: str, seen: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a whole listing lacks: records of this repository, and those of another one.

    The latter had the name (`key`) before, so they are this target's no longer.
    """
    prefix = owned_prefix(repository_id)
    owned, held = known.owned(kind, prefix, key), known.ids(kind, key)
    mine = tuple([id_ async for id_ in owned if id_ not in seen])
    return mine, tuple([id_ async for id_ in held if not id_.startswith(prefix)])
