"""What a store can do: the read side that others build on, and the write side of the leader.

One contract, two backends, one test suite over both. All methods raise `StoreError`s only.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

from fetcher.documents import Blob, Document, Kind
from fetcher.errors import StoreUnavailable
from fetcher.models import (
    AccountState,
    Batch,
    Failure,
    Lease,
    PollRequest,
    PollResult,
    Stamp,
    TargetState,
    Watched,
    Wish,
    Written,
)

__all__ = [
    "COLLECTIONS",
    "FILLING_SECONDS",
    "INDEXED",
    "SCHEMA_VERSION",
    "Filler",
    "Position",
    "Query",
    "ReadStore",
    "Side",
    "WriteStore",
    "after_prefix",
    "filling_already",
    "half_filled",
]

SCHEMA_VERSION = 5

COLLECTIONS: Mapping[Kind, str] = {
    "release": "releases",
    "tag": "tags",
    "sequence": "sequences",
    "taxon": "taxa",
    "genome": "genomes",
    "summary": "summaries",
}

INDEXED: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "release": (("repository_id", "tag"), ("repository_id", "published_at")),
    "tag": (("repository_id", "name"),),
    "sequence": (
        ("database", "accession", "version"),
        ("database", "taxid"),
        ("database", "organism"),
        ("database", "update_date"),
    ),
    "taxon": (("taxid",),),
    "genome": (),
    "summary": (),
}
"""Indexes of each collection, beside those on `_id`, `targets` and the stamp."""

Side: TypeAlias = Literal["file", "hand"]
"""Who wishes a target watched: the settings file, or somebody by hand."""

Position: TypeAlias = Mapping[str, tuple[int, int]]
"""How far a reader of changes has come: (token, n) by account."""

Scalar: TypeAlias = str | int | bool | datetime | None


@dataclass(frozen=True, slots=True)
class Query:
    """Which records of one kind: all conditions together.

    `target` is a canonical key, `where` holds equalities on fields named in `INDEXED`:
    `organism` whatever its case, `accession` in upper case. `match` holds equalities on other
    fields, for which each record found is looked at.
    `withdrawn`: None for all, or only those that are (True) or are not (False).
    `except_token` leaves out what was last changed under that fencing token.
    `updated_after` is for sequences. `after` begins behind a place in the `order`.
    """

    kind: Kind
    target: str | None = None
    where: Mapping[str, Scalar] = field(default_factory=dict)
    withdrawn: bool | None = None
    newest_first: bool = False
    limit: int | None = None
    except_token: int | None = None
    match: Mapping[str, Scalar] = field(default_factory=dict)
    updated_after: datetime | None = None
    after: tuple[Scalar, ...] | None = None

    @property
    def order(self) -> tuple[str, ...]:
        """The fields whose values make a record's place: an index has every order.

        `newest_first` sorts releases by `published_at` descending, unpublished ones last; a
        whole database that is asked for by `updated_after` comes by `update_date`; otherwise,
        and where these are equal, they ascend by `_id`.
        """
        if self.newest_first and self.kind == "release":
            return ("published_at", "_id")
        if self.updated_after is not None and self.target is None and not self._narrow:
            return ("update_date", "_id")
        return ("_id",)

    def place(self, document: Document) -> tuple[Scalar, ...]:
        """Where a record stands in the `order`; `after` it the next one comes."""
        return tuple(document[name] for name in self.order)

    @property
    def _narrow(self) -> bool:
        return bool(self.where.keys() - {"database"})

    @property
    def prefix(self) -> str | None:
        """What all ids of a whole database begin with; None where an index has its order."""
        if self.kind != "sequence" or self.order != ("_id",) or self.target or self._narrow:
            return None
        return f"{self.where['database']}:" if "database" in self.where else None

    def conditions(self) -> dict[str, Scalar]:
        """What `where` demands; raises `ValueError` for a field that has no index."""
        fields = {name for index in INDEXED[self.kind] for name in index}
        for name in self.where:
            if name not in fields:
                raise ValueError(f"{self.kind} has no index on {name}")
        if self.prefix is not None:
            return {}
        return dict(self.where)


def after_prefix(prefix: str) -> str:
    """The first string behind all that begin with this (ASCII) prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def half_filled(where: str) -> StoreUnavailable:
    """What everybody hears who opens a store whose import has not come to its end."""
    return StoreUnavailable(
        f"an import into the store {where} is under way or did not end; where none is, run "
        "`fetcher import` again, which begins anew"
    )


def filling_already(where: str) -> StoreUnavailable:
    """What an import hears that is not alone."""
    return StoreUnavailable(
        f"another import into the store {where} is under way, or was killed within the last "
        "minute; let it end, or try again then"
    )


class ReadStore(Protocol):
    """The read side; a read-only database user is enough for it.

    Who leaves one of its generators before the end closes it (`contextlib.aclosing`).
    """

    async def now(self) -> datetime:
        """The store's own time, in whole milliseconds."""
        ...

    async def identity(self) -> str:
        """What tells this store from every other one; empty in one that nobody has written yet."""
        ...

    async def target(self, name: str) -> TargetState | None:
        """The state of a target by any folded key that it answers to."""
        ...

    def targets(
        self, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[TargetState, None]:
        """Targets, ascending by id, from behind one on, at most so many; all by default."""
        ...

    def watched(self) -> AsyncGenerator[Watched, None]:
        """All targets that are watched, ascending by id."""
        ...

    async def accounts(self) -> Sequence[AccountState]:
        """All accounts that were ever polled on, by name."""
        ...

    async def request(self, id_: str) -> PollRequest | None:
        """A request for a poll, with its results once the leader has answered."""
        ...

    def changes(self, after: Position) -> AsyncGenerator[tuple[Stamp, Document], None]:
        """Records that changed behind a position, each once at its latest state.

        Account by account, ascending by stamp, as far as is visible now; blobs are left out. A
        reader that goes on from the last stamps it saw misses no record that changed.
        """
        ...

    async def recent(self, limit: int) -> Sequence[Document]:
        """The records that changed last, newest first; blobs are left out."""
        ...

    async def record(self, kind: Kind, id_: str, *, whole: bool = True) -> Document | None:
        """One record; its blobs are left out, and named in ``blobs``, unless `whole`."""
        ...

    def blob(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """The bytes of one of a document's ``blobs``, piece by piece, in bounded memory.

        Raises `StoreUnavailable`, at the end, where it is not whole.
        """
        ...

    def records(self, query: Query, *, whole: bool = True) -> AsyncGenerator[Document, None]:
        """Records as they are read, in bounded memory; blobs left out unless `whole`."""
        ...

    async def count(self, query: Query) -> int:
        """How many records a query has."""
        ...

    async def counts(self, kind: Kind, targets: Sequence[str]) -> Mapping[str, int]:
        """How many records each of these targets (canonical keys) has that are not withdrawn."""
        ...

    async def targets_by_name(self, names: Sequence[str]) -> Mapping[str, TargetState]:
        """The states of those of these folded keys that are known, in few round trips."""
        ...

    async def digests(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """Digest by id, of those that are stored and not withdrawn."""
        ...

    def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """Ids of a target's records that are not withdrawn, ascending."""
        ...

    async def members(self, kind: Kind, ids: Sequence[str], target: str) -> Collection[str]:
        """Those of the ids that belong to the target and are not withdrawn."""
        ...

    async def oldest(self, kind: Kind, target: str) -> datetime | None:
        """When the oldest of a target's contents was observed; None where it has no record."""
        ...

    def owned(self, kind: Kind, prefix: str, target: str) -> AsyncGenerator[str, None]:
        """Ids that begin like this, ascending, but for withdrawn ones that `target` has already."""
        ...

    async def close(self) -> None:
        """Closes the client; nothing may be asked of it after."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class WriteStore(ReadStore, Protocol):
    """The write side: everything a leader owns is written under its fencing token."""

    async def acquire(self, account: str, owner: str, ttl: float) -> Lease | None:
        """Takes the lease of an account if it is free or has run out, else None.

        The new lease has a larger fencing token than any before it, on any account, and the
        budget that the last holder left. `ttl` is in seconds, by the store's clock. A holder
        that did not give its lease back is sealed: see `mend`.
        """
        ...

    async def lease(self, account: str) -> Lease | None:
        """Who holds an account now, for those who wait."""
        ...

    async def renew(self, lease: Lease, ttl: float, budget: Mapping[str, Any]) -> Lease:
        """Prolongs a lease and saves its budget; raises `LeaseLost` if somebody else has it.

        After a write of unknown outcome the lease comes back with a new token, so that what may
        still arrive of that write lies beyond a seal.
        """
        ...

    async def release(self, lease: Lease, budget: Mapping[str, Any]) -> None:
        """Gives a lease up and leaves its budget to the next; no error if it is already lost."""
        ...

    async def write(self, lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
        """Writes records, each with the stamp of its change in the same atomic write.

        Several batches (of as many targets, kinds mixed) share one transaction or one bulk
        write for each collection, because hundreds of accessions arrive in one answer, each
        the record of a target of its own; the result has one `Written` for each batch, in
        order. The same id may stand in several batches: a later one sees what an earlier one
        made of it. Idempotent. Raises `LeaseLost` for a late writer; a record of which a newer
        observation is stored is refused, one by one.
        """
        ...

    async def void(self, lease: Lease, ids: Sequence[str]) -> None:
        """Takes the cursors from targets (by id) whose records are about to change.

        A cursor stands for exactly what is stored: neither ahead of it nor behind it, for the
        upstream may come back to what it was when the cursor was made.
        """
        ...

    async def publish(self, lease: Lease) -> int:
        """Moves the account's watermark up to the last stamp below which all is written."""
        ...

    async def mend(self, lease: Lease) -> Sequence[str]:
        """Puts right what late writers left beyond the seals of this account.

        Such records are stamped anew under this lease, and their targets lose their cursors and
        are due at once. Gives the keys of these targets. Cheap when there is nothing.
        """
        ...

    async def save_targets(
        self,
        lease: Lease,
        states: Sequence[TargetState],
        gone: Sequence[str] = (),
        known: Mapping[str, TargetState] = MappingProxyType({}),
    ) -> Sequence[str]:
        """Saves cursors, outcomes and due times, in one transaction or bulk write.

        `known` are the states (by id) that they were made from: of a target that is stored as
        it was then, only what has changed is written, for most polls little more than times.
        Their watches are left as they are; targets that are `gone` are taken away. Gives the ids
        of those that were not saved, because another account polled the target later, or
        because its watch has changed since the state was read: read them again. Raises
        `LeaseLost` if a later token of this account wrote one of them; then nothing of it
        counts as saved.
        """
        ...

    # The schedule

    async def due(
        self, account: str, now: datetime, *, queries: bool, limit: int, skip: Collection[str] = ()
    ) -> Sequence[TargetState]:
        """Watched targets of an account that are due, oldest first, without those to `skip`.

        Either queries, each of which may take long, or all others. It costs what is due, not
        what is watched.
        """
        ...

    async def upcoming(self, account: str, now: datetime) -> datetime | None:
        """When the next target of an account is due, after `now`, queries aside."""
        ...

    async def recall(self, account: str, now: datetime) -> int:
        """Makes due what an account polled at a time that has not come: the clock was set back.

        Gives the number of targets. It looks at all that are watched.
        """
        ...

    async def wish(self, side: Side, wishes: Sequence[Wish]) -> None:
        """Sets what one side wishes of some targets; a target not yet known is due at once."""
        ...

    async def purge(self, id_: str, key: str) -> int:
        """Takes a target away, and the records to which no other one leads.

        Gives how many of them went. The feed of changes does not tell of them: they are not
        withdrawn, they were never here.
        """
        ...

    # Requests to a leader

    async def ask(self, request: PollRequest) -> None:
        """Leaves a request for the leader of its account, in the place of one of the same id.

        It is for everything if either of the two is.
        """
        ...

    async def asked(self, account: str) -> Sequence[PollRequest]:
        """Requests that wait for this account's leader, oldest first; drops expired ones."""
        ...

    async def answer(
        self,
        request: PollRequest,
        results: Mapping[str, PollResult],
        refusal: Failure | None = None,
    ) -> None:
        """The leader's answer; nothing happens where the asker has gone or has asked anew."""
        ...

    async def unask(self, request: PollRequest) -> None:
        """Takes a request away, if it has not been asked anew."""
        ...


FILLING_SECONDS: Final = 60.0
"""So long after its last write an import is taken for alive."""


class Filler(ReadStore, Protocol):
    """A new store that takes over all that another one had.

    Between `begin` and `end` nobody else can open it; whoever is killed in between begins anew.
    Every write renews its claim, and raises `StoreUnavailable` where another import has taken
    over meanwhile.
    """

    async def begin(self, ttl: float = FILLING_SECONDS) -> None:
        """Claims the store, and clears what an import left that did not end.

        Raises `UsageError` if the store is in use, and `StoreUnavailable` while another import
        claims it: for `ttl` seconds after its last write, by the store's clock.
        """
        ...

    async def put_records(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Whole records, with the stamps that they have."""
        ...

    async def put_targets(self, states: Sequence[TargetState]) -> None:
        """States with their watches."""
        ...

    async def put_accounts(self, accounts: Sequence[AccountState], token: int) -> None:
        """Accounts that nobody holds; later fencing tokens are larger than `token`."""
        ...

    async def end(self) -> None:
        """All of it is there: from now on this is a store like any other."""
        ...

    async def clear(self) -> None:
        """Gives the import up: the store is empty again, unless another import has it."""
        ...
