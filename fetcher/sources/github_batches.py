"""GitHub releases by GraphQL: a hundred repositories a query, and in full what has changed.

A cheap *check* of all that is due tells by a fingerprint what changed; *pages* of that are asked
for, of many repositories at once, until nothing new comes. Whatever an answer leaves open about a
single repository is asked of REST, whose errors say more.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from fetcher.documents import Kind
from fetcher.errors import Malformed, NotFound, Unauthorized, UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Record
from fetcher.policy.batches import BatchSize, halves
from fetcher.sources.github import GithubSource, gone, owned_prefix
from fetcher.sources.graphql import Answer, Graphql, Said, TooMuch, UnknownField, is_too_much
from fetcher.sources.outcomes import AccountStop, ended_by
from fetcher.sources.wire_github import Repository
from fetcher.sources.wire_graphql import (
    OPTIONAL,
    RELEASES,
    GraphRelease,
    GraphRepository,
    Wanted,
    assets_document,
    check_document,
    fingerprint,
    graph_record,
    graph_tag,
    page_document,
    parse_assets,
    parse_repository,
)
from fetcher.targets import Target

__all__ = ["BatchedGithubSource"]

CHECKED: Final = 100
"""Repositories of one check: what GitHub counts as one point."""
COMPLETED: Final = 20
"""Repositories whose pages are asked for together."""
WORKERS: Final = 4
# Answers in a row that could not be finished, whatever their size: it is not the size.
_HOPELESS: Final = 8


@dataclass(slots=True)
class _Listing:
    """One repository while it is completed, page by page, newest first."""

    due: Due
    everything: bool
    mark: str | None = None
    repository: Repository | None = None
    latest: int | None = None
    total: int = -1
    steady: bool = True
    after: str | None = None
    tags: bool = False
    stored: set[str] | None = None
    seen: set[str] = field(default_factory=set)
    some: bool = False

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


class BatchedGithubSource:
    """All releases of repositories, or their tags where there is no release, for an account.

    `rest` answers for what GraphQL leaves open, `identity` names the token without telling it: a
    cursor is only as good as the permissions that it was made with.
    """

    def __init__(
        self, graphql: Graphql, rest: GithubSource, *, api_url: str, identity: str
    ) -> None:
        self._graphql = graphql
        self._rest = rest
        self._api_url = api_url
        self._identity = identity
        self._checked = BatchSize(CHECKED)
        self._completed = BatchSize(COMPLETED)
        self._without: frozenset[str] = frozenset()

    async def reach(self) -> str:
        """See `GithubSource`."""
        return await self._rest.reach()

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        """Checks all that is due, and completes what has changed; each ends in its outcome."""
        stop = AccountStop()
        pending = deque(due)

        def batches() -> Iterator[list[Due]]:  # cut as they are taken, in the size of the day
            while pending:
                size = self._checked.size
                yield [pending.popleft() for _ in range(min(size, len(pending)))]

        async def work(batch: list[Due]) -> AsyncGenerator[Chunk | Outcome, None]:
            async with aclosing(self._checks(batch, known, stop)) as items:
                async for item in items:
                    yield item

        async with aclosing(fan_out(batches(), work, workers=WORKERS)) as items:
            async for item in items:
                yield item

    # Checks

    async def _checks(
        self, batch: list[Due], known: Known, stop: AccountStop
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """The check of a batch, in halves where it is too much, and what follows from it."""
        parts = deque([batch])
        changed: list[_Listing] = []
        hopeless = 0
        while parts:
            part = parts.popleft()
            if stop.error is not None:
                for due in part:
                    yield ended_by(stop.error, due)
                continue
            try:
                answer = await self._check(part)
            except TooMuch as error:
                hopeless += 1
                self._checked.too_much(len(part))
                if len(part) == 1 or hopeless >= _HOPELESS:
                    stop.learn(error)
                    for due in part:
                        yield ended_by(error, due)
                else:
                    parts.extend(halves(part))
                continue
            except UpstreamError as error:
                stop.learn(error)
                for due in part:
                    yield ended_by(error, due)
                continue
            hopeless = 0
            stop.heard()
            self._checked.went_well(len(part))
            again: list[Due] = []
            left: list[Due] = []
            for place, due in enumerate(part):
                said = answer.error_of(f"r{place}")
                if said is not None and is_too_much(said):
                    again.append(due)
                    continue
                compared = self._compared(due, answer, f"r{place}", left)
                if isinstance(compared, Outcome):
                    yield compared
                elif compared is not None:
                    changed.append(compared)
            if again and len(part) > 1:
                self._checked.too_much(len(part))
                parts.extend(halves(again))
            else:
                left += again
            async with aclosing(self._by_rest(left, known)) as items:
                async for item in items:
                    yield item
        async with aclosing(self._complete(changed, known, stop)) as items:
            async for item in items:
                yield item

    async def _check(self, part: Sequence[Due]) -> Answer:
        with_tags = {
            place
            for place, due in enumerate(part)
            if due.state is not None and due.state.facts.get("tags")
        }
        document, variables = check_document([each.target.name for each in part], with_tags)
        return await self._graphql.ask(document, variables, max(1, round(len(part) / 100)))

    def _compared(
        self, due: Due, answer: Answer, alias: str, left: list[Due]
    ) -> Outcome | _Listing | None:
        """What the check says of one repository: nothing new, more to ask, or why not."""
        value, said = answer.data.get(alias), answer.error_of(alias)
        if value is None and said is not None:
            return self._refused(due, said, answer, left)
        try:
            found = parse_repository(value, answer.evidence)
        except Malformed:
            left.append(due)  # an answer without this repository, or half of it
            return None
        state = due.state
        cursor = state.cursor if state is not None and not due.full else None
        facts = state.facts if state is not None else {}
        mark = cursor.get("mark") if cursor is not None else None
        valid = (
            mark is not None
            and cursor is not None
            and cursor.get("identity") == self._identity
            and facts.get("repository_id") == found.database_id
            and facts.get("repository") == found.name_with_owner
            and facts.get("private") == found.is_private
        )
        if valid and mark == fingerprint(found):
            kind = OutcomeKind.EMPTY if cursor and cursor.get("empty") else OutcomeKind.UNCHANGED
            target = Target("github", "", found.name_with_owner)
            told = {**facts, "archived": found.is_archived}
            return Outcome(due.target, target, kind, cursor=cursor, facts=told)
        return _Listing(due, everything=not valid)

    def _refused(self, due: Due, said: Said, answer: Answer, left: list[Due]) -> Outcome | None:
        if said.type == "NOT_FOUND":
            text = "GitHub knows no such repository; a private one looks the same to this account"
            return ended_by(NotFound(text, answer.evidence), due)
        if said.type in ("FORBIDDEN", "INSUFFICIENT_SCOPES"):
            text = f"GitHub refuses this account: {said.message}"
            return ended_by(Unauthorized(text, answer.evidence), due)
        left.append(due)  # REST's status says what is the matter: 451, 403, a fault
        return None

    async def _by_rest(
        self, left: Sequence[Due], known: Known
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        if left:
            async with aclosing(self._rest.poll(left, known)) as items:
                async for item in items:
                    yield item

    # Pages

    async def _complete(
        self, listings: Sequence[_Listing], known: Known, stop: AccountStop
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Page after page of many repositories at once; who is done leaves."""
        waiting = deque(listings)
        hopeless = 0
        while waiting:
            size = min(self._completed.size, len(waiting))
            part = [waiting.popleft() for _ in range(size)]
            if stop.error is not None:
                for each in part:
                    yield ended_by(stop.error, each.due, some=each.some)
                continue
            try:
                answer = await self._pages(part)
            except TooMuch as error:
                hopeless += 1
                self._completed.too_much(len(part))
                if len(part) == 1 or hopeless >= _HOPELESS:
                    stop.learn(error)
                    for each in part:
                        yield ended_by(error, each.due, some=each.some)
                else:
                    waiting.extendleft(reversed(part))
                continue
            except UpstreamError as error:
                stop.learn(error)
                for each in part:
                    yield ended_by(error, each.due, some=each.some)
                continue
            hopeless = 0
            stop.heard()
            self._completed.went_well(len(part))
            pages: list[tuple[_Listing, GraphRepository]] = []
            for place, listing in enumerate(part):
                try:
                    pages.append((listing, _page_of(answer, f"r{place}")))
                except Malformed as error:
                    yield ended_by(error, listing.due, some=listing.some)
            digests = await known.digests("release", _ids(found for _, found in pages))
            for listing, found in pages:
                ended = False
                try:
                    async with aclosing(self._page(listing, found, digests, known)) as items:
                        async for item in items:
                            ended = ended or isinstance(item, Outcome)
                            yield item
                except UpstreamError as error:
                    stop.learn(error)
                    yield ended_by(error, listing.due, some=listing.some)
                    continue
                if not ended:
                    waiting.append(listing)

    async def _pages(self, part: Sequence[_Listing]) -> Answer:
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
        listing: _Listing,
        found: GraphRepository,
        digests: Mapping[str, str],
        known: Known,
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        """Takes one page in; ends with an outcome when there is nothing more to ask."""
        if listing.repository is None:
            self._identified(listing, found)
        steps = (
            self._tag_page(listing, found, known)
            if listing.tags
            else self._release_page(listing, found, digests, known)
        )
        async with aclosing(steps):
            async for item in steps:
                yield item

    def _identified(self, listing: _Listing, found: GraphRepository) -> None:
        listing.repository = found.repository()
        listing.latest = found.latest_release.database_id if found.latest_release else None
        listing.mark = fingerprint(found)
        if found.releases is not None:
            listing.total = found.releases.total_count

    async def _release_page(
        self,
        listing: _Listing,
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
        listing.after = page.page_info.end_cursor
        if listing.everything or not records or (news and news[-1] is records[-1]):
            return
        # The news end on this page: enough, if what is stored is then as much as there is.
        if listing.stored is None:
            ids = known.ids("release", listing.target.key)
            listing.stored = {id_ async for id_ in ids}
        if len(listing.stored | listing.seen) == page.total_count:
            yield self._done(listing, reconciled=False)

    async def _listed(
        self, listing: _Listing, known: Known
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
            return
        ids = known.ids("tag", listing.target.key)
        if tags := tuple([id_ async for id_ in ids]):
            yield listing.chunk("tag", detached=tags)
        yield self._done(listing, reconciled=True)

    async def _tag_page(
        self, listing: _Listing, found: GraphRepository, known: Known
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
            listing.after = page.page_info.end_cursor
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
        while page.has_next_page:
            variables = {"id": node.id, "after": page.end_cursor}
            answer = await self._graphql.ask(assets_document(self._without), variables, 1)
            more = answer.data.get("node")
            if not isinstance(more, Mapping):
                raise Malformed("GitHub's answer lacks the assets that were asked for")
            assets = parse_assets(more.get("releaseAssets"), answer.evidence)
            node.release_assets.nodes.extend(assets.nodes)
            page = assets.page_info
        return node

    def _done(self, listing: _Listing, *, reconciled: bool) -> Outcome:
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
