"""Entrez queries, kept current: all at first, then what was modified, now and then all again.

The whole is listed by names, ten thousand in a request, and only what does not belong to the
target yet is fetched: so a poll that was interrupted goes on where it stopped. Afterwards a
search for what was modified lately is enough (`fetcher.policy.window`); what leaves a query
without being modified is found when everything is listed again.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from fetcher.errors import Malformed, NotFound, UnreadableRecord, UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Expected, Failure, Known, Outcome, OutcomeKind
from fetcher.policy.window import LAG, Ledger, Window
from fetcher.sources.eutils import SEARCH_REACH, SUMMARY_IDS, Answer, Eutils
from fetcher.sources.ncbi_slices import LAST_DAY, Slice, slices
from fetcher.sources.outcomes import AccountStop, canonical, ended_by
from fetcher.sources.wire_ncbi import Found
from fetcher.targets import Target

__all__ = ["Queries"]

PAGE: Final = 500
"""Records that are fetched together."""
WORKERS: Final = 8
# How often in a row an answer may bring nothing new before it is given up.
FRUITLESS: Final = 3
MOST_MISSING: Final = 500
"""So many records that did not come are remembered; of more, none is, and all is listed again."""
_DAY: Final = timedelta(days=1)

Item = Chunk | Expected | Outcome


@dataclass(slots=True)
class _Page:
    """Names to be got; where they stand in a search that is kept, as long as none is missing."""

    names: Sequence[str]
    found: Found | None = None
    start: int = 0


@dataclass(slots=True)
class _Pass:
    """One poll of a query: what was listed and got, and what did not come."""

    due: Due
    target: Target
    known: Known
    stop: AccountStop
    listed: Ledger = field(default_factory=Ledger)
    got: Ledger = field(default_factory=Ledger)
    missing: dict[str, UpstreamError] = field(default_factory=dict)
    unreached: int = 0
    # UIDs that were listed, whose names are listed, too.
    doubles: int = 0
    some: bool = False

    @property
    def number(self) -> int:
        """How many records were listed."""
        return len(self.listed) - self.doubles

    @property
    def has(self) -> bool:
        """Whether the target had any record before."""
        return self.due.state is not None and self.due.state.records > 0


class Queries:
    """Polls queries on one account; `today` is the day now, in UTC."""

    def __init__(self, eutils: Eutils, today: Callable[[], date]) -> None:
        self._eutils = eutils
        self._today = today

    async def poll(self, due: Due, known: Known, stop: AccountStop) -> AsyncGenerator[Item, None]:
        """Ends with an outcome, whatever happens upstream."""
        work = _Pass(due, canonical(due), known, stop)
        window = None
        if due.state is not None and not due.full:
            window = Window.of(due.state.cursor)
        steps = self._whole(work) if window is None else self._lately(work, window)
        try:
            async with aclosing(steps):
                async for item in steps:
                    work.some = work.some or isinstance(item, Chunk)
                    yield item
        except UpstreamError as error:
            stop.learn(error)
            yield ended_by(error, due, some=work.some)

    # Everything

    async def _whole(self, work: _Pass) -> AsyncGenerator[Item, None]:
        """Lists all, gets what the target lacks or was modified since, and lets go of the rest."""
        settled = self._today() - LAG
        since = await self._since(work)
        whole = Slice(work.target.name)
        total = 0

        async def pages() -> AsyncIterator[_Page | int]:
            nonlocal total
            async with aclosing(self._listed(work, whole)) as found:
                async for part, each in found:
                    if part == whole:
                        total = each.count
                        yield total
                    for page in _pages(each):
                        yield page

        async with aclosing(self._got(work, pages(), members=since is not None)) as items:
            async for item in items:
                yield item
        lately = Ledger()
        if total:
            if since is not None and since < settled:
                again = Slice(work.target.name, (since + _DAY, settled))
                async with aclosing(self._modified(work, again, Ledger())) as items:
                    async for item in items:
                        yield item
            open_days = Slice(work.target.name, (settled + _DAY, LAST_DAY))
            async with aclosing(self._modified(work, open_days, lately)) as items:
                async for item in items:
                    yield item
        if not work.missing and not work.unreached and work.number < total:
            # It may have become less meanwhile; what is more will be found next time.
            total = (await self._eutils.search(work.target.database, whole.term, names=0)).count
        listed = not work.unreached and work.number >= total
        if listed:
            async with aclosing(self._left(work)) as chunks:
                async for chunk in chunks:
                    yield chunk
        yield self._ended(work, total, Window.after(settled, lately) if listed else None)

    async def _since(self, work: _Pass) -> date | None:
        """The day up to which what the target has is known to be current; None: it has nothing."""
        state = work.due.state
        try:
            return date.fromisoformat(state.facts["settled"] if state is not None else "")
        except (KeyError, TypeError, ValueError):
            oldest = await work.known.oldest("sequence", work.target.key)
            return None if oldest is None else oldest.date() - LAG

    async def _left(self, work: _Pass) -> AsyncGenerator[Chunk, None]:
        """What the target has and the query does not find any more: how it stands, and let go."""
        mine = work.known.ids("sequence", work.target.key)
        left = [id_ async for id_ in mine if id_.partition(":")[2] not in work.listed]
        for at in range(0, len(left), SUMMARY_IDS):
            ids = left[at : at + SUMMARY_IDS]
            async with aclosing(self._fate(work, [id_.partition(":")[2] for id_ in ids])) as chunks:
                async for chunk in chunks:
                    yield chunk
            yield Chunk(work.target, "sequence", detached=tuple(ids))

    async def _fate(self, work: _Pass, names: Sequence[str]) -> AsyncGenerator[Chunk, None]:
        """Those that were replaced, suppressed or withdrawn are told so; the others live on."""
        database = work.target.database
        summaries = await self._eutils.summaries(database, names)
        told = {s.accession_version: s for s in summaries if s.status != "live"}
        gone = {name for name in names if name in told}
        if not gone:
            return
        try:
            asked = {"id": ",".join(sorted(gone))}
            bunches = self._eutils.fetch(database, asked, Answer(), told)
            async with aclosing(bunches):
                async for records in bunches:
                    gone -= {record.content["accession_version"] for record in records}
                    yield Chunk(work.target, "sequence", tuple(records))
        except NotFound:
            pass  # what is withdrawn is not given out any more
        if ids := tuple(f"{database}:{n}" for n in gone if told[n].status == "withdrawn"):
            yield Chunk(work.target, "sequence", withdrawn=ids)

    # What was modified lately

    async def _lately(self, work: _Pass, window: Window) -> AsyncGenerator[Item, None]:
        """Gets what was modified since; when a day is over, what was modified on it once more."""
        settled = max(window.settled, self._today() - LAG)
        seen = Ledger()
        open_days = Slice(work.target.name, (window.settled + _DAY, LAST_DAY))
        found = [each async for each in self._listed(work, open_days)]
        number = found[0][1].count
        names = [name for _, each in found for name in each.ids]
        if number and settled > window.settled:
            over = Slice(work.target.name, (window.settled + _DAY, settled))
            finished = [each async for each in self._listed(work, over)]
            again = Ledger(name for _, each in finished for name in each.ids)
            seen.add(name for name in names if name not in again)
            wanted = [name for name in names if name in again]
            wanted += window.news((n for n in names if n not in again), -1)
        else:
            seen.add(names)
            wanted = window.news(names, number)
        wanted = list(dict.fromkeys([*_missing(work.due), *wanted]))
        pages: list[_Page | int] = [len(wanted), *_cut(wanted)] if wanted else []
        async with aclosing(self._got(work, pages, members=False)) as items:
            async for item in items:
                yield item
        yield self._ended(work, None, Window.after(settled, seen))

    async def _modified(self, work: _Pass, part: Slice, into: Ledger) -> AsyncGenerator[Item, None]:
        """Gets what was modified on some days, but for what this poll has got already."""

        async def pages() -> AsyncIterator[_Page | int]:
            async with aclosing(self._listed(work, part)) as found:
                async for _, each in found:
                    into.add(each.ids)
                    names = [name for name in each.ids if name not in work.got]
                    yield len(names)
                    for page in _cut(names):
                        yield page

        async with aclosing(self._got(work, pages(), members=False)) as items:
            async for item in items:
                yield item

    # Listing and getting

    async def _listed(self, work: _Pass, whole: Slice) -> AsyncGenerator[tuple[Slice, Found], None]:
        """Searches and their names, UIDs among them by the accession that they stand for."""
        parts = slices(self._eutils, work.target.database, whole, self._today())
        async with aclosing(parts):
            async for part, found in parts:
                work.listed.add(found.ids)
                if found.ids and found.count > len(found.ids):
                    work.unreached += found.count - len(found.ids)
                yield part, found

    async def _got(
        self,
        work: _Pass,
        pages: Iterable[_Page | int] | AsyncIterator[_Page | int],
        *,
        members: bool,
    ) -> AsyncGenerator[Item, None]:
        """Several pages at once; with `members` those that the target has already are let be.

        A number among the pages says how many records are to come.
        """

        again = set(_missing(work.due))

        async def get(page: _Page | int) -> AsyncGenerator[Item, None]:
            if isinstance(page, int):
                yield Expected(work.target, page)
                return
            if members:
                ids = [f"{work.target.database}:{name}" for name in page.names]
                there = await work.known.members("sequence", ids, work.target.key)
                lacking = {n for n, id_ in zip(page.names, ids, strict=True) if id_ not in there}
                lacking |= again.intersection(page.names)
                if len(lacking) < len(page.names):
                    yield Expected(work.target, len(lacking) - len(page.names))
                    page = _Page([name for name in page.names if name in lacking])
            try:
                async with aclosing(self._page(work, page)) as chunks:
                    async for chunk in chunks:
                        work.stop.heard()
                        yield chunk
            except UpstreamError as error:
                work.stop.learn(error)
                if work.stop.error is not None:
                    raise
                rest = (name for name in page.names if name not in work.got)
                work.missing.update(dict.fromkeys(rest, error))

        async with aclosing(fan_out(pages, get, workers=WORKERS, ahead=1)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _page(self, work: _Pass, page: _Page) -> AsyncGenerator[Chunk, None]:
        """One page, whole: what an answer lacks is asked for by name."""
        wanted = dict.fromkeys(page.names)
        answer = Answer()
        fruitless = 0
        asked = {"id": ",".join(wanted)}
        if page.found is not None and page.found.webenv:
            asked = {
                "WebEnv": page.found.webenv,
                "query_key": page.found.query_key,
                "retstart": str(page.start),
                "retmax": str(len(wanted)),
            }
        while wanted and fruitless < FRUITLESS:
            if work.stop.error is not None:
                raise work.stop.error
            before, answer = len(wanted), Answer()
            bunches = self._eutils.fetch(work.target.database, asked, answer)
            try:
                async with aclosing(bunches):
                    async for records in bunches:
                        readable = [each for each in records if "error" not in each.content]
                        names = [record.content["accession_version"] for record in readable]
                        for name, record in zip(names, readable, strict=True):
                            wanted.pop(name, None)
                            if wanted.pop(str(record.extra.get("uid")), False) is None:
                                work.doubles += 1
                        work.got.add(names)
                        work.listed.add(names)
                        yield Chunk(work.target, "sequence", tuple(records))
            except NotFound as error:
                if "id" in asked:
                    work.missing.update(dict.fromkeys(wanted, error))
                    return
            fruitless = 0 if len(wanted) < before else fruitless + 1
            asked = {"id": ",".join(wanted)}
        for name in wanted:
            work.missing[name] = answer.error(name)

    def _ended(self, work: _Pass, total: int | None, window: Window | None) -> Outcome:
        """How the poll ended; `total` is None where not everything was listed."""
        due, target = work.due, work.target
        listed = work.number
        failure = None
        missing = tuple(work.missing)
        cursor: Mapping[str, Any] | None = None
        facts: Mapping[str, Any] = {}
        if window is not None and not work.unreached and len(missing) <= MOST_MISSING:
            cursor = window.cursor()
            # These outlive the cursor, which goes before its records change.
            facts = {"settled": window.settled.isoformat(), "missing": list(missing)}
        if work.missing:
            name, error = next(iter(work.missing.items()))
            text = f"{len(work.missing):,} records did not come: {name}: {error}"
            retry_at = getattr(error, "retry_at", None)
            # One record that is wrong is one thing, an upstream that does not answer another.
            its_own = isinstance(error, NotFound | Malformed | UnreadableRecord)
            if not (work.some or (its_own and work.has) or isinstance(error, NotFound)):
                return ended_by(error, due)
            failure = Failure(text, error.evidence, retry_at)
        elif work.unreached:
            failure = Failure(
                f"the search finds {total or listed:,} records, of which {work.unreached:,} are "
                f"beyond reach: NCBI shows no more than {SEARCH_REACH:,} of one day and one "
                "length; narrow the query"
            )
        elif total is not None and listed < total:
            failure = Failure(f"the search finds {total:,} records, and lists {listed:,} of them")
        kind = OutcomeKind.UNCHANGED
        if failure is not None:
            kind = OutcomeKind.PARTIAL
        elif not work.some and (total == 0 or (total is None and not work.has)):
            kind = OutcomeKind.EMPTY
        whole = total is not None and cursor is not None
        return Outcome(due.target, target, kind, failure, missing, cursor, facts, whole)


def _missing(due: Due) -> Sequence[str]:
    """What did not come last time, though the window went on."""
    return due.state.facts.get("missing", ()) if due.state is not None else ()


def _cut(names: Sequence[str]) -> list[_Page]:
    return [_Page(names[at : at + PAGE]) for at in range(0, len(names), PAGE)]


def _pages(found: Found) -> list[_Page]:
    return [_Page(found.ids[at : at + PAGE], found, at) for at in range(0, len(found.ids), PAGE)]
