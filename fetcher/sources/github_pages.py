"""Pages of releases and tags, of many repositories at once, until each is complete."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from fetcher.documents import Kind
from fetcher.errors import Malformed, Unfinished, UpstreamError
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Record
from fetcher.policy.batches import BatchSize
from fetcher.sources.github import MOST_PAGES, gone, owned_prefix
from fetcher.sources.graphql import Answer, Graphql, UnknownField
from fetcher.sources.outcomes import AccountStop, ended_by
from fetcher.sources.wire_github import Repository
from fetcher.sources.wire_graphql import (
    OPTIONAL,
    RELEASES,
    GraphRelease,
    GraphRepository,
    Page,
    Wanted,
    assets_document,
    fingerprint,
    graph_record,
    graph_tag,
    last_update,
    page_document,
    parse_assets,
    parse_repository,
)
from fetcher.targets import Target

__all__ = ["Listing", "Pages"]

# Seconds after which nothing more happens in a second that is told, whatever the clocks.
_SETTLED: Final = 2.0
COMPLETED: Final = 20
"""Repositories whose pages are asked for together."""


@dataclass(slots=True)
class Listing:
    """One repository while it is completed, page by page, newest first."""

    due: Due
    everything: bool
    mark: str | None = None
    repository: Repository | None = None
    latest: int | None = None
    total: int = -1
    steady: bool = True
    after: str | None = None
    trail: set[str] = field(default_factory=set)
    tags: bool = False
    stored: set[str] | None = None
    seen: set[str] = field(default_factory=set)
    some: bool = False
    ended: bool = False

    @property
    def target(self) -> Target:
        """Today's name of it."""
        assert self.repository is not None  # noqa: S101 - its first page has come
        return Target("github", "", self.repository.full_name)

    def wanted(self) -> Wanted:
        """Its next page."""
        name = self.repository.full_name if self.repository is not None else self.due.target.name
        return Wanted(name, self.after, self.tags)

    def chunk(
        self,
        kind: Kind,
        records: tuple[Record, ...] = (),
        withdrawn: tuple[str, ...] = (),
        detached: tuple[str, ...] = (),
    ) -> Chunk:
        """Some of its records."""
        self.some = True
        return Chunk(self.target, kind, records, withdrawn, detached, asked=self.due.target)


class Pages:
    """Completes repositories for one account; `identity` goes into the cursors that it makes."""

    def __init__(self, graphql: Graphql, *, api_url: str, identity: str) -> None:
        self._graphql = graphql
        self._api_url = api_url
        self._identity = identity
        self._size = BatchSize(COMPLETED)
        self._without: frozenset[str] = frozenset()

    async def complete(
        self, listings: Sequence[Listing], known: Known, stop: AccountStop
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Page after page of many repositories at once; who is done leaves.

        While some pages are taken in (and stored, by whoever takes these chunks), the next ones
        are on their way: neither side waits for the other.
        """
        waiting = deque(listings)
        asked = self._ask(waiting, stop)
        try:
            while asked is not None:
                part, task = asked
                asked = None
                try:
                    answer = await task
                except Unfinished as error:
                    if self._size.too_much(len(part)):
                        stop.unfinished(error)
                    if len(part) == 1:
                        yield ended_by(error, part[0].due, some=part[0].some)
                    else:
                        waiting.extendleft(reversed(part))
                except UpstreamError as error:
                    stop.learn(error)
                    for each in part:
                        yield ended_by(error, each.due, some=each.some)
                else:
                    stop.heard()
                    self._size.went_well(len(part))
                    asked = self._ask(waiting, stop)
                    async with aclosing(self._taken(part, answer, known, stop)) as items:
                        async for item in items:
                            yield item
                    waiting.extend(each for each in part if not each.ended)
                asked = asked or self._ask(waiting, stop)
            for each in waiting:
                assert stop.error is not None  # noqa: S101 - else it would have been asked for
                yield ended_by(stop.error, each.due, some=each.some)
        finally:
            if asked is not None:
                asked[1].cancel()
                await asyncio.gather(asked[1], return_exceptions=True)

    def _ask(
        self, waiting: deque[Listing], stop: AccountStop
    ) -> tuple[Sequence[Listing], asyncio.Task[Answer]] | None:
        """Asks for the next pages of those that wait longest; None when nobody may be asked for."""
        if not waiting or stop.error is not None:
            return None
        part = [waiting.popleft() for _ in range(min(self._size.size, len(waiting)))]
        return part, asyncio.create_task(self._pages(part))

    async def _taken(
        self, part: Sequence[Listing], answer: Answer, known: Known, stop: AccountStop
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """What an answer says of each repository; those that have their last word are `ended`."""
        pages: list[tuple[Listing, GraphRepository]] = []
        for place, listing in enumerate(part):
            try:
                pages.append((listing, _page_of(answer, f"r{place}")))
            except Malformed as error:
                listing.ended = True
                yield ended_by(error, listing.due, some=listing.some)
        digests = await known.digests("release", _ids(found for _, found in pages))
        for listing, found in pages:
            try:
                async with aclosing(self._page(listing, found, digests, known, answer.at)) as items:
                    async for item in items:
                        listing.ended = listing.ended or isinstance(item, Outcome)
                        yield item
            except UpstreamError as error:
                stop.learn(error)
                listing.ended = True
                yield ended_by(error, listing.due, some=listing.some)

    async def _pages(self, part: Sequence[Listing]) -> Answer:
        points = sum(1 if each.tags else 1 + RELEASES for each in part)
        while True:
            document, variables = page_document([each.wanted() for each in part], self._without)
            try:
                return await self._graphql.ask(document, variables, max(1, round(points / 100)))
            except UnknownField as error:
                lacking = {name for name in OPTIONAL if f"'{name}'" in str(error)} - self._without
                if not lacking:
                    raise
                self._without |= lacking

    async def _page(
        self,
        listing: Listing,
        found: GraphRepository,
        digests: Mapping[str, str],
        known: Known,
        at: float,
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Takes one page in; ends with an outcome when there is nothing more to ask."""
        if listing.repository is None:
            self._identified(listing, found, at)
        steps = (
            self._tag_page(listing, found, known)
            if listing.tags
            else self._release_page(listing, found, digests, known)
        )
        async with aclosing(steps):
            async for item in steps:
                yield item

    def _identified(self, listing: Listing, found: GraphRepository, at: float) -> None:
        # Times are whole seconds: what was updated just now may be so again, and look the same.
        listing.steady = last_update(found) < at - _SETTLED
        listing.repository = found.repository()
        listing.latest = found.latest_release.database_id if found.latest_release else None
        listing.mark = fingerprint(found)
        if found.releases is not None:
            listing.total = found.releases.total_count

    async def _release_page(
        self,
        listing: Listing,
        found: GraphRepository,
        digests: Mapping[str, str],
        known: Known,
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        page, repository = found.releases, listing.repository
        if page is None or repository is None:
            raise Malformed("GitHub's answer lacks the releases that were asked for")
        listing.steady = listing.steady and page.total_count == listing.total
        nodes = [await self._with_assets(node) for node in page.nodes]
        records = [graph_record(node, repository, self._api_url) for node in nodes]
        news = tuple(each for each in records if digests.get(each.id) != each.digest)
        listing.seen.update(record.id for record in records)
        wanted = tuple(records) if listing.everything else news
        if wanted:
            yield listing.chunk("release", wanted)
        if not page.page_info.has_next_page:
            async for item in self._listed(listing, known):
                yield item
            return
        listing.after = _next(page.page_info, listing.trail)
        if listing.everything or not records or (news and news[-1] is records[-1]):
            return
        # The news end on this page: enough, if what is stored is then as much as there is.
        if listing.stored is None:
            ids = known.ids("release", listing.target.key)
            listing.stored = {id_ async for id_ in ids}
        if len(listing.stored | listing.seen) == page.total_count:
            yield self._done(listing, reconciled=False)

    async def _listed(
        self, listing: Listing, known: Known
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """The releases are listed whole: what is missing is gone; or there are tags at best."""
        assert listing.repository is not None  # noqa: S101
        if listing.steady and len(listing.seen) == listing.total:
            mine, theirs = await gone(
                known, "release", listing.repository.id, listing.target.key, listing.seen
            )
            if mine:
                yield listing.chunk("release", withdrawn=mine)
            if theirs:
                yield listing.chunk("release", detached=theirs)
        else:
            listing.steady = False
        if listing.total == 0:
            listing.tags, listing.after = True, None
            listing.trail.clear()
            return
        ids = known.ids("tag", listing.target.key)
        if tags := tuple([id_ async for id_ in ids]):
            yield listing.chunk("tag", detached=tags)
        yield self._done(listing, reconciled=True)

    async def _tag_page(
        self, listing: Listing, found: GraphRepository, known: Known
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        page, repository = found.tags, listing.repository
        if page is None or repository is None:
            raise Malformed("GitHub's answer lacks the tags that were asked for")
        if listing.after is None:
            listing.seen.clear()
            listing.mark = fingerprint(found)
        made = [graph_tag(tag, repository, self._api_url) for tag in page.nodes]
        records = tuple(each for each in made if each is not None)
        listing.seen.update(record.id for record in records)
        if records:
            yield listing.chunk("tag", records)
        if page.page_info.has_next_page:
            listing.after = _next(page.page_info, listing.trail)
            return
        mine, theirs = await gone(known, "tag", repository.id, listing.target.key, listing.seen)
        if mine:
            yield listing.chunk("tag", withdrawn=mine)
        if theirs:
            yield listing.chunk("tag", detached=theirs)
        yield self._done(listing, reconciled=True)

    async def _with_assets(self, node: GraphRelease) -> GraphRelease:
        """A release with all its assets, however many pages they take."""
        page = node.release_assets.page_info
        trail: set[str] = set()
        while page.has_next_page:
            variables = {"id": node.id, "after": _next(page, trail)}
            answer = await self._graphql.ask(assets_document(self._without), variables, 1)
            more = answer.data.get("node")
            if not isinstance(more, Mapping):
                raise Malformed("GitHub's answer lacks the assets that were asked for")
            assets = parse_assets(more.get("releaseAssets"), answer.evidence)
            node.release_assets.nodes.extend(assets.nodes)
            page = assets.page_info
        return node

    def _done(self, listing: Listing, *, reconciled: bool) -> Outcome:
        """Its end; a listing that moved while it was read leaves no cursor."""
        repository = listing.repository
        assert repository is not None  # noqa: S101
        empty = listing.tags and not listing.seen
        cursor = {"identity": self._identity, "mark": listing.mark, "empty": empty}
        facts = {
            "repository_id": repository.id,
            "repository": repository.full_name,
            "private": repository.private,
            "archived": repository.archived,
            "latest": listing.latest,
            "tags": listing.tags,
        }
        return Outcome(
            asked=listing.due.target,
            target=listing.target,
            kind=OutcomeKind.EMPTY if empty else OutcomeKind.UNCHANGED,
            cursor=cursor if listing.steady else None,
            facts=facts,
            reconciled=reconciled and listing.steady,
        )


def _next(page: Page, trail: set[str]) -> str:
    """Where a listing goes on; raises `Malformed` for one that leads in circles."""
    cursor = page.end_cursor
    if cursor is None or cursor in trail or len(trail) == MOST_PAGES:
        raise Malformed("GitHub's listing has no end")
    trail.add(cursor)
    return cursor


def _page_of(answer: Answer, alias: str) -> GraphRepository:
    value, said = answer.data.get(alias), answer.error_of(alias)
    if value is None:
        text = said.message if said is not None else "it left the repository out"
        raise Malformed(f"GitHub's answer lacks a page: {text}", answer.evidence)
    return parse_repository(value, answer.evidence)


def _ids(pages: Iterable[GraphRepository]) -> list[str]:
    return [
        f"{owned_prefix(page.database_id)}{node.database_id}"
        for page in pages
        if page.releases is not None
        for node in page.releases.nodes
    ]
