"""What other services import: the stored records, each with how fresh it is.

::

    from fetcher import Reader

    async with Reader.open("mongodb://reader@host/fetcher") as reader:
        release = await reader.latest_release("virtool/virtool")
        if release is not None:
            print(release["tag"], release.checked_at)

It only reads: a database user that may do no more is enough, and no upstream is ever asked.
Everything raises `StoreError` where the store cannot be read, and `UsageError` for a name that
cannot be one.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, cast

from fetcher.clock import SystemClock
from fetcher.cursors import feed_cursor, feed_position, page_cursor, page_place, reaches
from fetcher.databases import SUMMARY_DATABASES
from fetcher.documents import Blob, Document, Kind, Release, Sequence, Summary, Tag, Taxon
from fetcher.errors import UsageError
from fetcher.models import AccountState, ChangeKind, Clock, TargetState
from fetcher.store import Query, ReadStore, open_store
from fetcher.store.protocol import COLLECTIONS
from fetcher.targets import Target, parse_target

if TYPE_CHECKING:
    from fetcher.store.protocol import Scalar

__all__ = ["Changed", "Fresh", "Page", "Reader", "Status"]

R = TypeVar("R")

Status: TypeAlias = Literal["live", "replaced", "suppressed", "withdrawn", "any"]

_LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class Fresh(Generic[R]):
    """A record as it is stored, and how fresh it is.

    `checked_at` is when a poll last found it to be so, `age` how many seconds ago that was when
    it was read, `next_check` when it is looked at again; None where nothing is known of that.
    ``fresh["tag"]`` is ``fresh.record["tag"]``.
    """

    record: R
    checked_at: datetime | None
    age: float | None
    next_check: datetime | None

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - as the document has it
        return cast("Mapping[str, Any]", self.record)[name]


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """A part of a listing; `next` is the cursor of the part after it, None at the end."""

    items: tuple[Fresh[R], ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A record that changed: its latest state, and the fields of its last revision.

    `cursor` is where a reader that has taken this one goes on.
    """

    cursor: str
    id: str
    kind: Kind
    change: ChangeKind
    fields: tuple[str, ...]
    revision: int
    changed_at: datetime
    record: Document

    def document(self) -> Document:
        """The change without the record, as the API and the command have it."""
        return {
            "cursor": self.cursor,
            "_id": self.id,
            "kind": self.kind,
            "change": self.change,
            "fields": list(self.fields),
            "revision": self.revision,
            "changed_at": self.changed_at,
        }


class Reader:
    """Reads a store; see the module."""

    def __init__(self, store: ReadStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._identity: str | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, clock: Clock | None = None) -> AsyncIterator[Self]:
        """Opens ``sqlite:///FILE`` or ``mongodb://HOST/DATABASE`` for reading alone.

        Raises `StoreError` where there is none, and `UsageError` for another scheme.
        """
        clock = clock if clock is not None else SystemClock()
        async with await open_store(url, clock=clock, create=False) as store:
            yield cls(store, clock)

    # Releases and tags

    async def latest_release(self, repository: str) -> Fresh[Release] | None:
        """What GitHub marks as the latest release, if there is one and it is stored."""
        state = await self._repository(repository)
        if state is None or (latest := state.facts.get(_LATEST)) is None:
            return None
        document = await self._store.record(
            "release", f"github:{state.facts['repository_id']}:{latest}"
        )
        return await self._fresh(document)

    async def newest_release(self, repository: str) -> Fresh[Release] | None:
        """What was published last, prereleases too."""
        page = await self.releases_page(repository, limit=1)
        return page.items[0] if page is not None and page.items else None

    async def releases(
        self,
        repository: str,
        *,
        prereleases: bool = True,
        drafts: bool = False,
        withdrawn: bool = False,
    ) -> AsyncGenerator[Fresh[Release], None]:
        """All releases that are stored, newest published first; any name, old or new."""
        after: str | None = None
        while True:
            page = await self.releases_page(
                repository,
                prereleases=prereleases,
                drafts=drafts,
                withdrawn=withdrawn,
                after=after,
            )
            for each in page.items if page is not None else ():
                yield each
            if page is None or (after := page.next) is None:
                return

    async def releases_page(
        self,
        repository: str,
        *,
        prereleases: bool = True,
        drafts: bool = False,
        withdrawn: bool = False,
        private: bool = True,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Release] | None:
        """A part of `releases`; None for a repository of which nothing is known."""
        state = await self._repository(repository)
        if state is None:
            return None
        match: dict[str, Scalar] = {}
        if not prereleases:
            match["prerelease"] = False
        if not drafts:
            match["draft"] = False
        if not private:
            match["private"] = False
        query = Query(
            "release",
            where={"repository_id": state.facts["repository_id"]},
            withdrawn=None if withdrawn else False,
            newest_first=True,
            match=match,
        )
        return await self._page(query, limit, after)

    async def release(self, repository: str, tag: str) -> Fresh[Release] | None:
        """The release of a tag: one that stands before one that was withdrawn or is a draft."""
        state = await self._repository(repository)
        if state is None:
            return None
        where = {"repository_id": state.facts["repository_id"], "tag": tag}
        found = await self._all(Query("release", where=where))
        found.sort(key=lambda each: (each["withdrawn_at"] is not None, each["draft"]))
        return await self._fresh(found[0] if found else None)

    async def tags_page(
        self,
        repository: str,
        *,
        withdrawn: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Tag] | None:
        """Tags of a repository that has no release; None where nothing is known of it."""
        state = await self._repository(repository)
        if state is None:
            return None
        where = {"repository_id": state.facts["repository_id"]}
        query = Query("tag", where=where, withdrawn=None if withdrawn else False)
        return await self._page(query, limit, after)

    # NCBI

    async def sequence(
        self, accession: str, *, database: str = "nuccore", whole: bool = True
    ) -> Fresh[Sequence] | None:
        """A record by accession, or by a UID that was asked for; without version the newest.

        Unless `whole`, fields that are too large for a document are None, and named in ``blobs``
        (see `fetcher.documents.Blob`): `blob` has their bytes.
        """
        target = _named(database, accession)
        name, _, version = target.name.partition(".")
        if version:
            return await self._fresh(
                await self._store.record("sequence", f"{database}:{target.name}", whole=whole)
            )
        where = {"database": database, "accession": name}
        found = await self._newest(Query("sequence", where=where), whole=whole)
        if found is None and (state := await self._store.target(target.fold)) is not None:
            found = await self._newest(Query("sequence", target=state.key), whole=whole)
        return await self._fresh(found)

    def blob(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """The bytes of a field that a document only names, piece by piece."""
        return self._store.blob(blob)

    async def sequences(
        self,
        database: str = "nuccore",
        *,
        taxid: int | None = None,
        organism: str | None = None,
        updated_after: datetime | None = None,
        status: Status = "live",
        target: str | None = None,
    ) -> AsyncGenerator[Fresh[Sequence], None]:
        """All records of a database that meet every condition, ascending by id.

        `organism` is exact but for its case; `updated_after` is NCBI's date of the last update,
        by which they come where it is the only condition; `target` is one that leads to them.
        """
        after: str | None = None
        while True:
            page = await self.sequences_page(
                database,
                taxid=taxid,
                organism=organism,
                updated_after=updated_after,
                status=status,
                target=target,
                whole=True,
                after=after,
            )
            for each in page.items:
                yield each
            if (after := page.next) is None:
                return

    async def sequences_page(
        self,
        database: str,
        *,
        taxid: int | None = None,
        organism: str | None = None,
        updated_after: datetime | None = None,
        status: Status = "live",
        target: str | None = None,
        whole: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Sequence]:
        """A part of `sequences`; without their `sequence` unless `whole`."""
        where: dict[str, Scalar] = {"database": database}
        if taxid is not None:
            where["taxid"] = taxid
        if organism is not None:
            where["organism"] = organism
        key: str | None = None
        if target is not None:
            wanted = parse_target(target)
            state = await self._store.target(wanted.fold)
            key = state.key if state is not None else wanted.key
        query = Query(
            "sequence",
            key,
            where=where,
            withdrawn=False if status == "live" else None,
            match={} if status == "any" else {"status": status},
            updated_after=updated_after,
        )
        return await self._page(query, limit, after, whole=whole)

    async def taxon(self, taxid: int) -> Fresh[Taxon] | None:
        """A taxon, also by a taxid that was merged into it."""
        return await self._by_name("taxon", "taxonomy", str(taxid), f"taxonomy:{taxid}")

    async def genome(self, accession: str) -> Fresh[Document] | None:
        """A genome report; without version the newest one stored."""
        name = _named("genome", accession).name
        return await self._by_name("genome", "genome", name, f"genome:{name}")

    async def summary(self, database: str, accession: str) -> Fresh[Summary] | None:
        """A record of a database of summaries (see `fetcher.databases`)."""
        name = _named(database, accession).name
        return await self._by_name("summary", database, name, f"{database}:{name}")

    # Anything

    async def record(self, kind: Kind, id_: str) -> Fresh[Document] | None:
        """A record by its `_id`."""
        return await self._fresh(await self._store.record(kind, id_))

    async def target_state(self, target: str) -> TargetState | None:
        """What is known of a target, by any name that it answers to."""
        return await self._store.target(parse_target(target).fold)

    def targets(
        self, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[TargetState, None]:
        """Targets, ascending by id, from behind one on, at most so many; all by default."""
        return self._store.targets(after, limit)

    def now(self) -> datetime:
        """The time by which ages are told: this machine's."""
        return datetime.fromtimestamp(self._clock.time(), UTC)

    # Changes

    async def check(self, cursor: str | None) -> None:
        """Raises `CursorGone` for a cursor that means nothing here."""
        if cursor is not None:
            feed_position(cursor, await self._name())

    async def reaches(self, one: str, other: str) -> bool:
        """Whether a reader at one cursor has come as far as another."""
        return reaches(one, other, await self._name())

    async def beginning(self) -> str:
        """The cursor from which everything is a change."""
        return feed_cursor(await self._name(), {})

    async def cursor(self) -> str:
        """Where the feed of changes ends now: who goes on from there sees what changes later."""
        accounts = await self._store.accounts()
        position = {each.account: (each.token, each.watermark) for each in accounts}
        return feed_cursor(await self._name(), position)

    async def recent(self, limit: int) -> list[Changed]:
        """What changed last, newest first, without cursors."""
        return [_changed("", each) for each in await self._store.recent(limit)]

    async def accounts(self) -> list[AccountState]:
        """The accounts on which targets are polled."""
        return list(await self._store.accounts())

    async def of_target(self, key: str, limit: int) -> list[Document]:
        """The first records of a target (its canonical key), withdrawn ones included."""
        found: list[Document] = []
        for kind in COLLECTIONS:
            query = Query(kind, key, newest_first=True, limit=limit - len(found))
            if len(found) < limit:
                async with aclosing(self._store.records(query, whole=False)) as documents:
                    found += [document async for document in documents]
        return found

    async def changes(self, after: str | None = None) -> AsyncGenerator[Changed, None]:
        """Records that changed since a cursor, each at its latest state, as far as is visible now.

        Without a cursor from the beginning. A reader that goes on from the cursor of the last
        one it took misses no record that changed. Raises `CursorGone`, at the first record, for
        a cursor of another store or an unreadable one.
        """
        name = await self._name()
        position = feed_position(after, name) if after is not None else {}
        async with aclosing(self._store.changes(dict(position))) as changes:
            async for stamp, document in changes:
                position[stamp.account] = (stamp.token, stamp.n)
                yield _changed(feed_cursor(name, position), document)

    async def _name(self) -> str:
        if not self._identity:
            self._identity = await self._store.identity()
        return self._identity

    # How records are found

    async def _repository(self, name: str) -> TargetState | None:
        """The state of a repository that was reached at least once."""
        target = parse_target(name)
        if target.upstream != "github":
            raise UsageError(f"{name!r} is no repository; write OWNER/REPO")
        state = await self._store.target(target.fold)
        return state if state is not None and "repository_id" in state.facts else None

    async def _by_name(self, kind: Kind, database: str, name: str, id_: str) -> Fresh[Any] | None:
        """By its id, or else what the target of that name leads to."""
        document = await self._store.record(kind, id_)
        if document is None:
            state = await self._store.target(_named(database, name).fold)
            if state is not None:
                found = await self._all(Query(kind, target=state.key))
                document = max(found, key=lambda each: each["fetched_at"], default=None)
        return await self._fresh(document)

    async def _newest(self, query: Query, *, whole: bool = True) -> Document | None:
        """Of several versions the highest: they are numbers, 10 comes after 9."""
        newest: Document | None = None
        async with aclosing(self._store.records(query, whole=False)) as documents:
            async for document in documents:
                if newest is None or document["version"] > newest["version"]:
                    newest = document
        if newest is None or "blobs" not in newest or not whole:
            return newest
        return await self._store.record(query.kind, newest["_id"])

    async def _all(self, query: Query) -> list[Document]:
        async with aclosing(self._store.records(query)) as documents:
            return [document async for document in documents]

    async def _page(
        self, query: Query, limit: int, after: str | None, *, whole: bool = True
    ) -> Page[Any]:
        place = page_place(after, query.order) if after is not None else None
        # One more tells whether there is more.
        part = replace(query, limit=limit + 1, after=place)
        async with aclosing(self._store.records(part, whole=whole)) as documents:
            found = [document async for document in documents]
        more = len(found) > limit
        found = found[:limit]
        if not whole:
            for document in found:
                document.pop("sequence", None)
        next_ = page_cursor(query.order, query.place(found[-1])) if more else None
        return Page(tuple(await self._all_fresh(found)), next_)

    # How fresh they are

    async def _fresh(self, document: Document | None) -> Fresh[Any] | None:
        return (await self._all_fresh([document]))[0] if document is not None else None

    async def _all_fresh(self, documents: Iterable[Document]) -> list[Fresh[Any]]:
        documents = list(documents)
        keys = {key for document in documents for key in document["targets"]}
        folds = {key: Target.of(key).fold for key in keys}
        states = await self._store.targets_by_name(sorted(set(folds.values())))
        now = self.now()
        found: list[Fresh[Any]] = []
        for document in documents:
            of = [states[fold] for key in document["targets"] if (fold := folds[key]) in states]
            checked = max((at for each in of if (at := each.last_success)), default=None)
            due = [each.next_due for each in of if each.watch is not None and each.next_due]
            age = max(0.0, (now - checked).total_seconds()) if checked is not None else None
            found.append(Fresh(document, checked, age, min(due, default=None)))
        return found


def _named(database: str, name: str) -> Target:
    known = ("nuccore", "protein", "taxonomy", "genome", *SUMMARY_DATABASES)
    if database not in known:
        raise UsageError(f"unknown database {database!r}; known are {', '.join(known)}")
    return parse_target(f"ncbi:{database}/{name}")


def _changed(cursor: str, document: Document) -> Changed:
    revision = document["revision"]
    last = document["history"][-1] if document["history"] else None
    fields = tuple(last["fields"]) if last is not None and last["revision"] == revision else ()
    change: ChangeKind = "changed"
    if revision == 1:
        change = "added"
    elif document["withdrawn_at"] is not None and "withdrawn_at" in fields:
        change = "withdrawn"
    return Changed(
        cursor=cursor,
        id=document["_id"],
        kind=document["kind"],
        change=change,
        fields=fields,
        revision=revision,
        changed_at=document["changed_at"],
        record=document,
    )
