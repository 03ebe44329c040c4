"""The values that flow from an upstream to the store: all frozen, none does any I/O.

Times are timezone-aware UTC, durations seconds unless their name says otherwise.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, dataclass_transform

from fetcher.documents import Content, Document, Kind
from fetcher.errors import Evidence
from fetcher.targets import Target

__all__ = [
    "AccountState",
    "Batch",
    "Change",
    "ChangeKind",
    "Chunk",
    "Clock",
    "Due",
    "Every",
    "Expected",
    "Failure",
    "Known",
    "Lease",
    "Outcome",
    "OutcomeKind",
    "PollRequest",
    "PollResult",
    "ReachableSource",
    "Record",
    "Source",
    "Spell",
    "Stamp",
    "TargetState",
    "Watch",
    "Watched",
    "Wish",
    "Written",
    "value",
]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass that is frozen to the type checker alone, for what each poll makes anew.

    To make one takes a quarter of the time: a frozen one sets its fields one by one, in a call
    of its own each.
    """
    return dataclass(slots=True)(cls)


class Clock(Protocol):
    """Time, handed in so that tests run on a time of their own."""

    def time(self) -> float:
        """Seconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Lets the event loop run for that long."""
        ...


class OutcomeKind(StrEnum):
    """How a poll of one target ended; the first three are good."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    PARTIAL = "partial"
    NOT_FOUND = "not_found"
    BLOCKED = "blocked"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    FAILED = "failed"

    good: bool
    """Whether the target is as it should be."""

    def __init__(self, value: str) -> None:
        self.good = value in ("changed", "unchanged", "empty")


@dataclass(frozen=True, slots=True)
class Record:
    """What an upstream said of one thing.

    `content` is what the digest covers; `extra` is told beside it where the way it was got
    tells it (an asset's label), takes its place in the document and changes no digest. `flat` is
    the GenBank flat file exactly as served, compressed by zlib.
    `upstream_version` orders observations by the upstream's own word: (version, update time).
    `size` is about how many bytes all of it takes, where that is known.
    """

    id: str
    kind: Kind
    content: Content
    source_url: str
    digest: str
    upstream_version: tuple[int, datetime | None] = (0, None)
    extra: Content = field(default_factory=dict)
    flat: bytes | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the records of one target, yielded as they come.

    `withdrawn` are ids that the upstream no longer has, `detached` ids that exist but no longer
    belong to this target. `asked` is the due target, where it has another name by now.
    """

    target: Target
    kind: Kind
    records: tuple[Record, ...] = ()
    withdrawn: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()
    asked: Target | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """So many more records of a target are on their way; fewer, where they are there already."""

    target: Target
    records: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a poll ended badly: a sentence, the evidence, and the earliest next try.

    `whole_account`: the account's credentials were refused, whatever is asked for with them.
    """

    message: str
    evidence: Evidence = field(default_factory=Evidence)
    retry_at: datetime | None = None
    log_id: str | None = None
    whole_account: bool = False


@value
class Outcome:
    """The end of one poll of one target, after its last chunk.

    A source says `UNCHANGED` for any poll that reached everything: whether something changed is
    found where it is written. `target` is canonical, `asked` the due one. `cursor` makes the
    next poll cheap; None keeps none. `facts` are state of the target itself (repository id,
    which release is latest).
    """

    asked: Target
    target: Target
    kind: OutcomeKind
    failure: Failure | None = None
    missing: tuple[str, ...] = ()
    cursor: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reconciled: bool = False


Every: TypeAlias = float | Literal["auto"]
"""How often a target is polled: every so many seconds, or by its own rhythm of change."""


@value
class Watch:
    """That a target is kept current, and by which account.

    `file` is what the settings file says, `hand` what somebody typed, which goes first.
    """

    account: str
    file: Every | None = None
    hand: Every | None = None

    @property
    def every(self) -> Every | None:
        """What holds; None where nobody watches any more."""
        return self.hand if self.hand is not None else self.file


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched target, as far as its watch is concerned."""

    id: str
    key: str
    names: tuple[str, ...]
    watch: Watch


@dataclass(frozen=True, slots=True)
class Wish:
    """What one side wishes for a target: `every` None no longer watches it.

    `id` is the target's where the store knows it, otherwise its folded key. `due` is the latest
    time at which it is to be polled next; None leaves that as it is.
    """

    id: str
    key: str
    account: str
    every: Every | None
    due: datetime | None = None


@value
class Spell:
    """From `since` on polls ended like this: ``good``, or the kind of failure."""

    since: datetime
    outcome: str


@value
class TargetState:
    """What the store remembers of a target.

    `id` never changes; `key` is canonical; `names` are the folded keys that it answers to, old
    ones included. `account` polled it last, `failures` counts bad outcomes in a row, `rhythm` is
    what is known of its pace of change, `spells` are how polls ended lately, oldest first. `token`
    is the fencing token under which it was last written. `watch` is not the poller's to write.
    """

    id: str
    key: str
    names: tuple[str, ...]
    account: str
    outcome: OutcomeKind | None = None
    failure: Failure | None = None
    missing: tuple[str, ...] = ()
    cursor: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    records: int = 0
    failures: int = 0
    last_attempt: datetime | None = None
    last_success: datetime | None = None
    last_change: datetime | None = None
    reconciled_at: datetime | None = None
    next_due: datetime | None = None
    rhythm: Mapping[str, float] = field(default_factory=dict)
    spells: tuple[Spell, ...] = ()
    token: int = 0
    watch: Watch | None = None


@value
class Due:
    """A target to poll now; `full` ignores the cursor and reconciles everything."""

    target: Target
    state: TargetState | None = None
    full: bool = False

    @property
    def id(self) -> str:
        """The target's, which it has before it was ever polled."""
        return self.state.id if self.state is not None else self.target.fold


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to poll on one upstream account, until `expires_at` by the store's clock.

    `token` grows with every change of leader and is never used twice. `budget` is what earlier
    holders spent, as they left it; `clean` says that the last of them gave it back itself.
    """

    account: str
    owner: str
    token: int
    expires_at: datetime
    budget: Mapping[str, Any] = field(default_factory=dict)
    clean: bool = True


@dataclass(frozen=True, slots=True)
class AccountState:
    """An upstream account as the store knows it; `owner` None: nobody polls on it.

    Changes up to (`token`, `watermark`) are visible to readers, but for those beyond the seals
    (token to n) of leaders that ended without giving their lease back.
    """

    account: str
    owner: str | None
    token: int
    expires_at: datetime
    budget: Mapping[str, Any] = field(default_factory=dict)
    watermark: int = 0
    seals: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PollResult:
    """How a poll that somebody asked for ended: the target's id, and how many records changed."""

    id: str
    changed: int


@dataclass(frozen=True, slots=True)
class PollRequest:
    """A poll that somebody asks of the leader of an account, through the store.

    `targets` are keys as asked; `results` (by those keys) are None until the leader has answered,
    which a `refusal` tells to have polled nothing. Where nobody waits for the answer (`awaited` is
    False) the leader takes the request away in its place. `not_before` is the time of a repeat.
    Who asks again under the same id asks in the place of the one before.
    """

    id: str
    account: str
    targets: tuple[str, ...]
    full: bool
    asked_at: datetime
    expires_at: datetime
    results: Mapping[str, PollResult] | None = None
    refusal: Failure | None = None
    awaited: bool = True
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """The sequence number of a record's last change: (token, n) grows within an account."""

    account: str
    token: int
    n: int

    def document(self) -> Document:
        """As it stands in the record."""
        return {"account": self.account, "token": self.token, "n": self.n}


@dataclass(frozen=True, slots=True)
class Batch:
    """One write: records of one kind for one target.

    `observed_at` is the store's time before the request was sent: an observation is as old as
    its question. `target` is a canonical key.
    """

    kind: Kind
    target: str
    observed_at: datetime
    records: tuple[Record, ...] = ()
    withdrawn: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()


ChangeKind: TypeAlias = Literal["added", "changed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Change:
    """A record that a write added, changed or withdrew, with its document as stored."""

    id: str
    kind: Kind
    change: ChangeKind
    document: Document


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did; `refused` are ids of which the store holds a newer observation.

    `unchanged` counts records whose content stayed, `touched` those of them that were written
    all the same, because they came to the target or left it.
    """

    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    touched: int = 0
    refused: tuple[str, ...] = ()


class Known(Protocol):
    """What is already stored, for sources that compare before they fetch."""

    async def digests(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """Digest by id, of those that are stored and not withdrawn."""
        ...

    def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """Ids that belong to a target (its canonical key) and are not withdrawn, ascending."""
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


class Source(Protocol):
    """One upstream: handed everything that is due at once, so that it may batch.

    Yields chunks of records as they come (and how many are expected, where there are many), and
    exactly one outcome for each due target, after the last of its chunks. Raises nothing of the
    upstream's doing.
    """

    def poll(
        self, due: Sequence[Due], known: Known
    ) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
        """Polls all targets that are due."""
        ...


class ReachableSource(Source, Protocol):
    """A source that can also say whether its upstream answers."""

    async def reach(self) -> str:
        """What the upstream says of the account's limits; raises `UpstreamError`."""
        ...
