"""GitHub releases by GraphQL: a hundred repositories a query, and in full what has changed.

A cheap *check* of all that is due tells by a fingerprint what changed; *pages* of that are asked
for, of many repositories at once, until nothing new comes. Whatever an answer leaves open about a
single repository is asked of REST, whose errors say more.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from fetcher.errors import Malformed, NotFound, Unfinished, UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind
from fetcher.policy.batches import BatchSize, halves
from fetcher.sources.github import GithubSource
from fetcher.sources.github_pages import Listing, Pages
from fetcher.sources.graphql import Answer, Graphql, NoGraphql, Said, is_too_much
from fetcher.sources.outcomes import AccountStop, ended_by
from fetcher.sources.wire_graphql import (
    check_document,
    fingerprint,
    parse_repository,
)
from fetcher.targets import Target

__all__ = ["BatchedGithubSource"]

CHECKED: Final = 100
"""Repositories of one check: what GitHub counts as one point."""
WORKERS: Final = 10


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
        self._identity = identity
        self._checked = BatchSize(CHECKED)
        self._absent = False
        self._pages = Pages(graphql, api_url=api_url, identity=identity)

    async def reach(self) -> str:
        """See `GithubSource`."""
        return await self._rest.reach()

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Chunk | Outcome, None]:
        """Checks all that is due, and completes what has changed; each ends in its outcome."""
        if self._absent:
            async with aclosing(self._by_rest(due, known)) as items:
                async for item in items:
                    yield item
            return
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
        changed: list[Listing] = []
        while parts:
            part = parts.popleft()
            if len(part) > self._checked.size:  # somebody has met with less since
                parts.extendleft(reversed(halves(part)))
                continue
            if stop.error is not None:
                for due in part:
                    yield ended_by(stop.error, due)
                continue
            try:
                answer = await self._check(part)
            except Unfinished as error:
                if self._checked.too_much(len(part)):
                    stop.unfinished(error)
                if len(part) == 1:
                    yield ended_by(error, part[0])
                else:
                    parts.extendleft(reversed(halves(part)))
                continue
            except NoGraphql:
                self._absent = True
                async with aclosing(self._by_rest(part, known)) as items:
                    async for item in items:
                        yield item
                continue
            except UpstreamError as error:
                stop.learn(error)
                for due in part:
                    yield ended_by(error, due)
                continue
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
        async with aclosing(self._pages.complete(changed, known, stop)) as items:
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
    ) -> Outcome | Listing | None:
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
        return Listing(due, everything=not valid)

    def _refused(self, due: Due, said: Said, answer: Answer, left: list[Due]) -> Outcome | None:
        if said.type == "NOT_FOUND":
            text = "GitHub knows no such repository; a private one looks the same to this account"
            return ended_by(NotFound(text, answer.evidence), due)
        left.append(due)  # REST's status says what is the matter: 451, 403, a fault
        return None

    async def _by_rest(
        self, left: Sequence[Due], known: Known
    ) -> AsyncGenerator[Chunk | Outcome, None]:
        if left:
            async with aclosing(self._rest.poll(left, known)) as items:
                async for item in items:
                    yield item
