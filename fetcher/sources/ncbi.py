"""NCBI sequence records by accession and by query, every id accounted for.

NCBI leaves unknown ids out without a word, puts error documents between records, and cuts long
answers short. So every answer is reconciled: what was asked for and did not come is asked for
again, and what does not come then is missing, by name.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from fetcher.errors import Malformed, NotFound, UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Failure, Known, Outcome, OutcomeKind, Record
from fetcher.sources.eutils import SEARCH_REACH, Answer, Eutils, Found
from fetcher.sources.outcomes import AccountStop, canonical, ended_by

__all__ = ["NcbiSource"]

IDS_AT_ONCE: Final = 200
PAGE: Final = 500
# How often in a row an answer may bring nothing new before it is given up.
FRUITLESS: Final = 3

Item = Chunk | Outcome


@dataclass(slots=True)
class _Group:
    """Accessions asked for together: the targets that still wait, by the name asked for.

    `again` counts fruitless answers; `confirmed` says that NCBI has already left these names
    out once.
    """

    database: str
    waiting: dict[str, list[Due]]
    again: int = 0
    confirmed: bool = False


@dataclass(slots=True)
class _Set:
    """A query's result while it is fetched."""

    due: Due
    found: Found
    seen: set[str] = field(default_factory=set)
    missing: dict[str, UpstreamError] = field(default_factory=dict)
    searches: int = 1


class NcbiSource:
    """Records of nuccore and protein."""

    def __init__(self, eutils: Eutils, *, workers: int = 4) -> None:
        self._eutils = eutils
        self._workers = workers

    async def reach(self) -> str:
        """Whether NCBI answers; raises `UpstreamError`."""
        return await self._eutils.reach()

    async def poll(self, due: Sequence[Due], known: Known) -> AsyncGenerator[Item, None]:
        """Accessions of all targets share requests; each query is a job of its own."""
        stop = AccountStop()

        async def work(job: _Group | Due) -> AsyncGenerator[Item, None]:
            left = _targets(job)
            some = False
            if stop.error is None:
                steps = self._group(job) if isinstance(job, _Group) else self._query(job, known)
                try:
                    async with aclosing(steps):
                        async for item in steps:
                            stop.heard()
                            if isinstance(item, Outcome):
                                left.pop(item.asked, None)
                            some = isinstance(job, Due)
                            yield item
                except UpstreamError as error:
                    stop.learn(error)
                    for each in left.values():
                        yield ended_by(error, each, some=some)
                return
            for each in left.values():
                yield ended_by(stop.error, each)

        async with aclosing(fan_out(_jobs(due), work, workers=self._workers)) as items:
            async for item in items:
                yield item

    async def _group(self, whole: _Group) -> AsyncGenerator[Item, None]:
        """Fetches accessions until each is got, unknown, or given up."""
        uids = [name for name in whole.waiting if name.isdecimal()]
        named = await self._eutils.accessions(whole.database, uids) if uids else {}
        for uid in uids:
            dues = whole.waiting.pop(uid)
            if uid in named:
                whole.waiting.setdefault(named[uid], []).extend(dues)
            else:
                for due in dues:
                    yield _unknown(due, whole.database)
        uid_of = {name: uid for uid, name in named.items()}
        groups = [whole]
        while groups:
            group = groups.pop()
            if not group.waiting:
                continue
            answer = Answer()
            before = len(group.waiting)
            refused = False
            ids = {"id": ",".join(group.waiting)}
            try:
                async with aclosing(self._eutils.fetch(group.database, ids, answer)) as bunches:
                    async for records in bunches:
                        for item in _answered(group, records, uid_of):
                            yield item
            except NotFound:
                refused = True
            if not group.waiting:
                continue
            for item in self._left(group, answer, before, refused, groups):
                yield item

    def _left(
        self,
        group: _Group,
        answer: Answer,
        before: int,
        refused: bool,
        groups: list[_Group],
    ) -> Iterator[Outcome]:
        """Decides about the names that an answer left out: ask again, or how they end."""
        fruitful = len(group.waiting) < before
        clean = answer.whole and not answer.unreadable
        # Alone, an unknown accession is refused with 400; nothing at all is no answer then.
        silent = clean and not answer.noise and (before > 1 or group.confirmed)
        if refused or silent:
            if not group.confirmed and not (refused and len(group.waiting) == 1):
                groups.append(replace(group, confirmed=True))
                return
            yield from (_unknown(due, group.database) for due in _all(group))
        elif clean and answer.noise and len(group.waiting) > 1:
            # An error text stands for some of them: find out for which.
            names = list(group.waiting)
            groups.extend(
                replace(group, waiting={name: group.waiting[name] for name in half})
                for half in (names[: len(names) // 2], names[len(names) // 2 :])
            )
        elif clean and answer.not_understood:
            yield from (_unknown(due, group.database) for due in _all(group))
        elif fruitful or group.again < FRUITLESS - 1:
            groups.append(replace(group, again=0 if fruitful else group.again + 1))
        else:
            for name, dues in group.waiting.items():
                unreadable = [e for e in answer.unreadable if e.name and _same(e.name, name)]
                error = unreadable[0] if unreadable else answer.error(name)
                for due in dues:
                    yield replace(ended_by(error, due), missing=(due.target.name,))

    async def _query(self, due: Due, known: Known) -> AsyncGenerator[Item, None]:
        """Fetches everything that a query finds, page by page from the history server."""
        target = canonical(due)
        found = await self._eutils.search(target.database, target.name)
        result = _Set(due, found)
        start = 0
        while start < (reach := min(result.found.count, SEARCH_REACH)):
            size = min(PAGE, reach - start)
            async with aclosing(self._page(result, start, size)) as chunks:
                async for chunk in chunks:
                    yield chunk
            start += size
        if not result.missing and len(result.seen) >= result.found.count:
            left = [
                id_
                async for id_ in known.ids("sequence", target.key)
                if id_.partition(":")[2] not in result.seen
            ]
            if left:
                yield Chunk(target, "sequence", detached=tuple(left))
        yield _queried(result)

    async def _page(self, result: _Set, start: int, size: int) -> AsyncGenerator[Chunk, None]:
        """One page of a query's result, whole: what it lacks is found out and asked for."""
        got: set[str] = set()
        fruitless = 0
        answer = Answer()
        while len(got) < size and fruitless < FRUITLESS:
            # Records come in the order of the set, so after a break the page goes on behind
            # the last whole record.
            at = len(got)
            answer = Answer()
            asked = {
                "WebEnv": result.found.webenv,
                "query_key": result.found.query_key,
                "retstart": str(start + at),
                "retmax": str(size - at),
            }
            async with aclosing(self._take(result, asked, answer, got)) as chunks:
                async for chunk in chunks:
                    yield chunk
            if answer.expired:
                await self._search_again(result)
            elif answer.whole and not answer.noise and len(got) > at:
                break
            fruitless = 0 if len(got) > at else fruitless + 1
        if len(got) < size:
            async with aclosing(self._absent(result, start, size, answer)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _search_again(self, result: _Set) -> None:
        """Runs an expired search anew; what it finds must be what it found before."""
        result.searches += 1
        target = canonical(result.due)
        found = await self._eutils.search(target.database, target.name)
        if found.count != result.found.count or result.searches > FRUITLESS + 1:
            raise Malformed(
                f"NCBI forgot the search while it was fetched, and it now finds {found.count} "
                f"records where it found {result.found.count}; what came is stored"
            )
        result.found = found

    async def _take(
        self, result: _Set, asked: dict[str, str], answer: Answer, got: set[str]
    ) -> AsyncGenerator[Chunk, None]:
        target = canonical(result.due)
        async with aclosing(self._eutils.fetch(target.database, asked, answer)) as bunches:
            async for records in bunches:
                names = {record.content["accession_version"] for record in records}
                got |= names
                result.seen |= names
                yield Chunk(target, "sequence", tuple(records))

    async def _absent(
        self, result: _Set, start: int, size: int, answer: Answer
    ) -> AsyncGenerator[Chunk, None]:
        """Finds out by name what a page lacks, asks for that, and notes what does not come."""
        target = canonical(result.due)
        names = await self._eutils.found_ids(target.database, result.found, start, size)
        uids = [name for name in names if name.isdecimal()]
        named = await self._eutils.accessions(target.database, uids) if uids else {}
        wanted = dict.fromkeys(named.get(name, name.upper()) for name in names)
        for _ in range(FRUITLESS):
            absent = [name for name in wanted if name not in result.seen]
            if not absent:
                return
            answer = Answer()
            try:
                ids = {"id": ",".join(absent)}
                async with aclosing(self._take(result, ids, answer, set())) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except NotFound as error:
                result.missing.update(dict.fromkeys(absent, error))
                return
        for name in wanted:
            if name not in result.seen:
                result.missing[name] = answer.error(name)


def _jobs(due: Sequence[Due]) -> Iterator[_Group | Due]:
    """Groups of accessions, and queries.

    Names with a version, names without, and UIDs do not share a group: ``AB1.1`` must not answer
    for ``AB1``, whose newest version may be another, nor for a secondary accession of it.
    """
    by_sort: dict[tuple[str, bool, bool], dict[str, list[Due]]] = {}
    for each in due:
        if not each.target.is_query:
            name = each.target.name
            sort = (each.target.database, "." in name, name.isdecimal())
            by_sort.setdefault(sort, {}).setdefault(name, []).append(each)
    for (database, _, _), names in by_sort.items():
        listed = list(names.items())
        for at in range(0, len(listed), IDS_AT_ONCE):
            yield _Group(database, dict(listed[at : at + IDS_AT_ONCE]))
    yield from (each for each in due if each.target.is_query)


def _all(group: _Group) -> list[Due]:
    return [due for dues in group.waiting.values() for due in dues]


def _targets(job: "_Group | Due") -> dict[object, Due]:
    return {each.target: each for each in (_all(job) if isinstance(job, _Group) else [job])}


def _same(name: str, asked: str) -> bool:
    return asked in (name, name.partition(".")[0])


def _answered(group: _Group, records: Sequence[Record], uid_of: dict[str, str]) -> Iterator[Item]:
    """The targets that these records answer; each of them ends here."""
    for record in records:
        content = record.content
        names = (content["accession_version"], content["accession"])
        uid = uid_of.get(content["accession_version"], record.extra.get("uid"))
        told = replace(record, extra={**record.extra, "uid": uid})
        for name in (*names, *content["secondary_accessions"]):
            for due in group.waiting.pop(name, ()):
                target = canonical(due)
                yield Chunk(target, "sequence", (told,))
                yield Outcome(due.target, target, OutcomeKind.UNCHANGED, reconciled=True)


def _unknown(due: Due, database: str) -> Outcome:
    return ended_by(NotFound(f"NCBI {database} has no record {due.target.name}"), due)


def _queried(result: _Set) -> Outcome:
    """How a query that was fetched to its end has ended."""
    due, target, count = result.due, canonical(result.due), result.found.count
    if result.missing:
        name, error = next(iter(result.missing.items()))
        message = f"{len(result.missing)} of {count} records did not come: {name}: {error}"
        failure = Failure(message, error.evidence)
        return Outcome(due.target, target, OutcomeKind.PARTIAL, failure, tuple(result.missing))
    if count > SEARCH_REACH:
        message = (
            f"the search finds {count:,} records, and NCBI lets no more than the first "
            f"{SEARCH_REACH:,} be reached; split the query, by date or by taxon"
        )
        return Outcome(due.target, target, OutcomeKind.PARTIAL, Failure(message))
    if len(result.seen) < count:
        message = f"the search finds {count} records, and {len(result.seen)} came"
        return Outcome(due.target, target, OutcomeKind.PARTIAL, Failure(message))
    kind = OutcomeKind.UNCHANGED if count else OutcomeKind.EMPTY
    return Outcome(due.target, target, kind, reconciled=True)
