"""Records by accession or UID: summaries say what changed, and only that is fetched.

Five hundred summaries come in one request, with version, day of update and status; names that
NCBI's summaries do not tell (records without a GI, secondary accessions, unknown ones) are
fetched instead. Every name that was asked for ends as got, unknown, or given up.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from fetcher.errors import NotFound
from fetcher.models import Chunk, Due, Known, Outcome, OutcomeKind, Record
from fetcher.policy.window import is_over
from fetcher.sources.eutils import SUMMARY_IDS, Answer, Eutils
from fetcher.sources.outcomes import canonical, ended_by
from fetcher.sources.wire_ncbi import Summary

__all__ = ["Accessions", "Group", "groups_of"]

IDS_AT_ONCE: Final = 200
# How often in a row an answer may bring nothing new before it is given up.
FRUITLESS: Final = 3

Item = Chunk | Outcome
Waiting = dict[str, list[Due]]


@dataclass(slots=True)
class Group:
    """Accessions asked for together: the targets that wait, by the name that is asked for.

    `versioned` names are accession.versions, for which nothing else may answer. `told` are
    summaries by accession.version, heard on `day`; `again` counts fruitless answers; `confirmed`
    says that NCBI has already left these names out once.
    """

    database: str
    waiting: Waiting
    versioned: bool = False
    told: Mapping[str, Summary] = field(default_factory=dict)
    day: date = date.min
    again: int = 0
    confirmed: bool = False

    def dues(self) -> list[Due]:
        """All targets that wait."""
        return [due for dues in self.waiting.values() for due in dues]


class Accessions:
    """Polls accessions on one account; `today` is the day now, in UTC."""

    def __init__(self, eutils: Eutils, today: Callable[[], date]) -> None:
        self._eutils = eutils
        self._today = today

    async def poll(self, group: Group, known: Known) -> AsyncGenerator[Item, None]:
        """Yields an outcome for each target; raises `UpstreamError` where nothing more comes."""
        day = self._today()
        summaries = await self._eutils.summaries(group.database, list(group.waiting))
        by_name = _by_name(summaries, versioned=group.versioned)
        # Another record may answer to the name by now: how does the one stand that did before?
        before = {
            str(due.state.facts["newest"]): name
            for name, dues in group.waiting.items()
            for due in dues
            if name not in by_name and due.state is not None and "newest" in due.state.facts
        }
        if before:
            old = await self._eutils.summaries(group.database, list(before))
            found = {before[s.accession_version]: s for s in old if s.accession_version in before}
            by_name = {**by_name, **found}
            summaries = [*summaries, *old]
        told = {each.accession_version: each for each in summaries}
        exact: Waiting = {}
        former: dict[str, Due] = {}
        for name, dues in list(group.waiting.items()):
            summary = by_name.get(name)
            if summary is None:
                continue
            del group.waiting[name]
            for due in dues:
                cursor = due.state.cursor if due.state is not None and not due.full else None
                if due.state is not None and _stands(cursor, summary, day):
                    facts = due.state.facts
                    yield Outcome(
                        due.target,
                        canonical(due),
                        OutcomeKind.UNCHANGED,
                        cursor=cursor,
                        facts=facts,
                        reconciled=True,
                    )
                    continue
                exact.setdefault(summary.accession_version, []).append(due)
                newest = due.state.facts.get("newest") if due.state is not None else None
                if newest not in (None, summary.accession_version):
                    former[str(newest)] = due
        async for chunk in self._former(group.database, former):
            yield chunk
        parts = [
            *_cut(Group(group.database, exact, True, told, day)),
            *_cut(Group(group.database, group.waiting, group.versioned, told, day)),
        ]
        for part in parts:
            async with aclosing(self._fetched(part)) as items:
                async for item in items:
                    yield item

    async def _former(
        self, database: str, former: Mapping[str, Due]
    ) -> AsyncGenerator[Chunk, None]:
        """Versions that have been replaced are told so."""
        names = list(former)
        for at in range(0, len(names), IDS_AT_ONCE):
            part = names[at : at + IDS_AT_ONCE]
            told = {
                each.accession_version: each
                for each in await self._eutils.summaries(database, part)
            }
            try:
                asked = {"id": ",".join(part)}
                bunches = self._eutils.fetch(database, asked, Answer(), told)
                async with aclosing(bunches):
                    async for records in bunches:
                        for record in records:
                            due = former.get(record.content["accession_version"])
                            if due is not None:
                                yield _chunk(due, record)
            except NotFound:
                continue  # the newest version says enough

    async def _fetched(self, whole: Group) -> AsyncGenerator[Item, None]:
        """Fetches accessions until each is got, unknown, or given up."""
        groups = [whole]
        while groups:
            group = groups.pop()
            if not group.waiting:
                continue
            answer = Answer()
            before = len(group.waiting)
            refused = False
            ids = {"id": ",".join(group.waiting)}
            fetch = self._eutils.fetch(group.database, ids, answer, group.told)
            try:
                async with aclosing(fetch) as bunches:
                    async for records in bunches:
                        for item in _answered(group, records):
                            yield item
            except NotFound:
                refused = True
            if group.waiting:
                for item in _left(group, answer, before, refused, groups):
                    yield item


def groups_of(due: Iterable[Due]) -> Iterator[Group]:
    """Accessions by what may answer for them, in groups of one request of summaries.

    Names with a version, names without, and UIDs do not share a group: ``AB1.1`` must not answer
    for ``AB1``, whose newest version may be another, nor for a secondary accession of it.
    """
    by_sort: dict[tuple[str, bool, bool], Waiting] = {}
    for each in due:
        name = each.target.name
        sort = (each.target.database, "." in name, name.isdecimal())
        by_sort.setdefault(sort, {}).setdefault(name, []).append(each)
    for (database, versioned, _), names in by_sort.items():
        listed = list(names.items())
        for at in range(0, len(listed), SUMMARY_IDS):
            yield Group(database, dict(listed[at : at + SUMMARY_IDS]), versioned)


def _cut(group: Group) -> Iterator[Group]:
    listed = list(group.waiting.items())
    for at in range(0, len(listed), IDS_AT_ONCE):
        yield replace(group, waiting=dict(listed[at : at + IDS_AT_ONCE]))


def _by_name(summaries: Sequence[Summary], *, versioned: bool) -> Mapping[str, Summary]:
    found: dict[str, Summary] = {}
    for each in summaries:
        found[each.uid] = found[each.accession_version] = each
        if not versioned:
            newest = found.get(each.accession)
            if newest is None or _version(newest) <= _version(each):
                found[each.accession] = each
    return found


def _version(summary: Summary) -> int:
    number = summary.accession_version.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _stands(cursor: Mapping[str, Any] | None, summary: Summary, day: date) -> bool:
    """Whether what was fetched under that cursor is what the summary tells of.

    Summaries tell the day of an update. What was fetched before that day was over may have
    changed since: it is fetched once more.
    """
    if cursor is None or (cursor.get("open", True) and is_over(_day(summary), day)):
        return False
    return {**cursor, "open": None} == {**_cursor(summary, day), "open": None}


def _day(summary: Summary) -> date:
    try:
        return date.fromisoformat(summary.updated.replace("/", "-"))
    except ValueError:
        return date.min


def _cursor(summary: Summary, day: date) -> Mapping[str, Any]:
    return {
        "version": summary.accession_version,
        "updated": summary.updated,
        "status": summary.status,
        "replaced_by": summary.replaced_by,
        "open": not is_over(_day(summary), day),
    }


def _chunk(due: Due, record: Record) -> Chunk:
    return Chunk(canonical(due), "sequence", (record,), asked=due.target)


def _answered(group: Group, records: Sequence[Record]) -> Iterator[Item]:
    """The targets that these records answer; each of them ends here."""
    for record in records:
        content = record.content
        name = content["accession_version"]
        if "error" in content:
            for each in (name, content["accession"]):
                yield from (_chunk(due, record) for due in group.waiting.get(each, ()))
            continue
        summary = group.told.get(name)
        names = (name, content["accession"], *content["secondary_accessions"], *_uid(record))
        for each in names[:1] if group.versioned else names:
            for due in group.waiting.pop(each, ()):
                yield _chunk(due, record)
                yield Outcome(
                    due.target,
                    canonical(due),
                    OutcomeKind.UNCHANGED,
                    cursor=_cursor(summary, group.day) if summary is not None else None,
                    facts={"newest": name},
                    reconciled=True,
                )


def _uid(record: Record) -> Sequence[str]:
    uid = record.extra.get("uid")
    return (uid,) if uid else ()


def _left(
    group: Group, answer: Answer, before: int, refused: bool, groups: list[Group]
) -> Iterator[Item]:
    """Decides about the names that an answer left out: ask again, or how they end."""
    fruitful = len(group.waiting) < before
    clean = answer.whole and not answer.unreadable
    # Alone, an unknown accession is refused with 400; nothing at all is no answer then.
    silent = clean and not answer.noise and (before > 1 or group.confirmed)
    if refused or silent:
        if not group.confirmed and not (refused and len(group.waiting) == 1):
            groups.append(replace(group, confirmed=True))
            return
        for name, dues in group.waiting.items():
            for due in dues:
                yield from _unknown(due, group, name)
    elif clean and answer.noise and len(group.waiting) > 1:
        # An error text stands for some of them: find out for which.
        names = list(group.waiting)
        groups.extend(
            replace(group, waiting={name: group.waiting[name] for name in half})
            for half in (names[: len(names) // 2], names[len(names) // 2 :])
        )
    elif clean and answer.not_understood:
        for name, dues in group.waiting.items():
            for due in dues:
                yield from _unknown(due, group, name)
    elif fruitful or group.again < FRUITLESS - 1:
        groups.append(replace(group, again=0 if fruitful else group.again + 1))
    else:
        for name, dues in group.waiting.items():
            unreadable = [e for e in answer.unreadable if e.name and _same(e.name, name)]
            error = unreadable[0] if unreadable else answer.error(name)
            for due in dues:
                yield replace(ended_by(error, due), missing=(due.target.name,))


def _unknown(due: Due, group: Group, name: str) -> Iterator[Item]:
    """A record that NCBI gives nothing of: withdrawn, if it says so, otherwise never heard of."""
    summary = group.told.get(name)
    text = f"NCBI {group.database} has no record {due.target.name}"
    if summary is not None:
        text = f"{text} any more: it is {summary.status}"
        if summary.status == "withdrawn":
            ids = (f"{group.database}:{name}",)
            yield Chunk(canonical(due), "sequence", withdrawn=ids, asked=due.target)
    yield ended_by(NotFound(text), due)


def _same(name: str, asked: str) -> bool:
    return asked in (name, name.partition(".")[0])
