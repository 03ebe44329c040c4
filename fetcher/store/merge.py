"""What a write makes of a stored record: pure, and the same for every store.

The rules are the invariants of docs/architecture.md: the revision grows only when content
changes, history is written with the content, a stamp never goes back within its account, and
an older observation never replaces a newer one.
"""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from fetcher.documents import Document, Kind
from fetcher.models import Batch, Change, ChangeKind, Record, Stamp, Written
from fetcher.policy.digest import digest
from fetcher.store.spill import blob_digest

__all__ = [
    "HISTORY",
    "LONG_VALUE",
    "Merged",
    "Step",
    "merge_all",
    "merge_record",
    "merge_removal",
    "summarised",
]

HISTORY = 20
"""Entries of history that a record keeps."""

LONG_VALUE = 1_000
"""Characters from which on a replaced value is remembered by its digest and length alone."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be done with one record.

    ``changed``: store `document`, whose content changed (`change` says how). ``touched``: store
    it, but nothing that readers follow changed, and its stamp stays. ``same``: nothing to do.
    ``refused``: the store holds a newer observation. `size` is about how many bytes the content
    takes, where that is known.
    """

    action: Literal["changed", "touched", "same", "refused"]
    document: Document | None = None
    change: ChangeKind | None = None
    size: int | None = None


# A repository has one name at a time, whichever it had when a record was written.
_SOLE: Final[Collection[Kind]] = ("release", "tag")
_SAME = Merged("same")
_REFUSED = Merged("refused")


def merge_record(
    old: Document | None, record: Record, batch: Batch, stamp: Stamp, now: datetime
) -> Merged:
    """Merges an observed record into what is stored (None: nothing).

    `now` is the store's time of this write. A field that was moved out into a blob is compared
    by the blob's digest.
    """
    if old is None:
        return Merged("changed", _fresh(record, batch, stamp, now), "added", record.size)
    if "error" in record.content and "error" not in old:
        # What could be read once is worth more than what cannot be read now.
        return _SAME
    if _is_late(old, stamp) or _is_newer(old["observed"], _observed(record, batch), now):
        return _REFUSED
    targets = _targets(old["targets"], batch)
    returned = old.get("withdrawn_at") is not None
    if old["digest"] == record.digest and not returned:
        told = _told(record)
        quiet = {key: value for key, value in told.items() if not _covers(old, key, value)}
        if targets == old["targets"] and not quiet:
            return _SAME
        return Merged("touched", _with(old, {**quiet, "targets": targets}))
    fields: dict[str, Any] = {
        key: _remember(old, key)
        for key, value in record.content.items()
        if not _covers(old, key, value)
    }
    if returned:
        fields["withdrawn_at"] = old["withdrawn_at"]
    document = {**_fresh(record, batch, stamp, now), **_kept(record, old)}
    document["targets"] = targets
    document["revision"] = old["revision"] + 1
    document["history"] = _history(old, document["revision"], now, fields)
    return Merged("changed", document, "changed", record.size)


def merge_removal(
    old: Document | None,
    batch: Batch,
    stamp: Stamp,
    now: datetime,
    *,
    withdrawn: bool,
) -> Merged:
    """Marks a record withdrawn, or takes the batch's target from it; the content stays."""
    if old is None:
        return _SAME
    if _is_late(old, stamp) or batch.observed_at < old["observed"]["at"] <= now:
        return _REFUSED
    if not withdrawn:
        targets = [key for key in old["targets"] if key != batch.target]
        if targets == old["targets"]:
            return _SAME
        return Merged("touched", _with(old, {"targets": targets}))
    # A record that went before its repository was renamed moves with it, too.
    targets = [batch.target] if batch.kind in _SOLE else old["targets"]
    if old.get("withdrawn_at") is not None:
        moved = targets != old["targets"]
        return Merged("touched", _with(old, {"targets": targets})) if moved else _SAME
    revision = old["revision"] + 1
    changes = {
        "withdrawn_at": now,
        "changed_at": now,
        "targets": targets,
        "revision": revision,
        "history": _history(old, revision, now, {"withdrawn_at": None}),
        "stamp": stamp.document(),
        "observed": {**old["observed"], "at": batch.observed_at},
    }
    if "status" in old:
        # The digest stays that of the content that was last seen.
        changes["status"] = "withdrawn"
        changes["history"][-1]["fields"]["status"] = old["status"]
    return Merged("changed", _with(old, changes), "withdrawn")


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one record of one batch (by its place in the write)."""

    batch: int
    kind: Kind
    id: str
    merged: Merged


def merge_all(
    stored: dict[tuple[Kind, str], Document],
    batches: Sequence[Batch],
    stamps: Iterator[Stamp],
    now: datetime,
    only: Container[tuple[Kind, str]] | None = None,
) -> list[Step]:
    """Merges batches, in order, into what is `stored`, which is brought forward on the way.

    `only` leaves out all other records: for those that another writer came in between of.
    """
    steps: list[Step] = []

    def take(place: int, kind: Kind, id_: str, merge: Callable[[Document | None], Merged]) -> None:
        if only is not None and (kind, id_) not in only:
            return
        merged = merge(stored.get((kind, id_)))
        if merged.document is not None:
            stored[kind, id_] = merged.document
        steps.append(Step(place, kind, id_, merged))

    for place, batch in enumerate(batches):
        for record in batch.records:
            take(
                place,
                batch.kind,
                record.id,
                partial(merge_record, record=record, batch=batch, stamp=next(stamps), now=now),
            )
        for withdrawn, ids in ((True, batch.withdrawn), (False, batch.detached)):
            for id_ in ids:
                removal = partial(
                    merge_removal, batch=batch, stamp=next(stamps), now=now, withdrawn=withdrawn
                )
                take(place, batch.kind, id_, removal)
    return steps


def summarised(steps: Iterable[Step], batches: Sequence[Batch]) -> tuple[Written, ...]:
    """What the write did, batch by batch."""
    of: list[list[Step]] = [[] for _ in batches]
    for step in steps:
        of[step.batch].append(step)
    return tuple(
        Written(
            tuple(
                Change(step.id, step.kind, step.merged.change, step.merged.document)
                for step in mine
                if step.merged.change is not None and step.merged.document is not None
            ),
            sum(step.merged.action in ("same", "touched") for step in mine),
            sum(step.merged.action == "touched" for step in mine),
            tuple(step.id for step in mine if step.merged.action == "refused"),
        )
        for mine in of
    )


def _fresh(record: Record, batch: Batch, stamp: Stamp, now: datetime) -> Document:
    return {
        "_id": record.id,
        "kind": record.kind,
        "targets": [batch.target],
        **record.content,
        **dict.fromkeys(key for key in record.extra if key not in record.content),
        **_told(record),
        "withdrawn_at": None,
        "digest": record.digest,
        "revision": 1,
        "history": [],
        "fetched_at": now,
        "changed_at": now,
        "source_url": record.source_url,
        "stamp": stamp.document(),
        "observed": _observed(record, batch),
    }


def _told(record: Record) -> dict[str, Any]:
    """What is told beside the content; None is not told."""
    extra = {key: value for key, value in record.extra.items() if value is not None}
    return extra if record.flat is None else {**extra, "flat": record.flat}


def _kept(record: Record, old: Document) -> dict[str, Any]:
    """What is known of the things that this way of asking does not tell."""
    keys = {
        key
        for key, value in record.extra.items()
        if value is None and key in old and key not in record.content
    }
    blobs = {key: blob for key, blob in old.get("blobs", {}).items() if key in keys}
    return {**{key: old[key] for key in keys}, **({"blobs": blobs} if blobs else {})}


def _with(old: Document, changes: Document) -> Document:
    """A stored document with some fields replaced; a blob of a replaced field is let go."""
    blobs = {key: blob for key, blob in old.get("blobs", {}).items() if key not in changes}
    document = {**old, **changes}
    document.pop("blobs", None)
    return {**document, "blobs": blobs} if blobs else document


def _observed(record: Record, batch: Batch) -> Document:
    version, updated = record.upstream_version
    return {"version": version, "updated": updated, "at": batch.observed_at}


def _is_late(old: Document, stamp: Stamp) -> bool:
    """Whether the stored change is of a later lease (or write) of the same account."""
    mine = old["stamp"]
    return bool(mine["account"] == stamp.account) and (mine["token"], mine["n"]) > (
        stamp.token,
        stamp.n,
    )


def _is_newer(stored: Mapping[str, Any], seen: Mapping[str, Any], now: datetime) -> bool:
    """Whether what is stored is a newer observation: by the upstream's word, then by time.

    A time that has not come yet tells nothing: the clock has been set back.
    """
    if stored["version"] != seen["version"]:
        return bool(stored["version"] > seen["version"])
    known = stored["updated"] is not None and seen["updated"] is not None
    if known and stored["updated"] != seen["updated"]:
        return bool(stored["updated"] > seen["updated"])
    return bool(seen["at"] < stored["at"] <= now)


def _targets(old: Sequence[str], batch: Batch) -> list[str]:
    if batch.kind in _SOLE:
        return [batch.target]
    return [*old] if batch.target in old else [*old, batch.target]


def _covers(old: Document, key: str, value: object) -> bool:
    """Whether the stored field says what `value` says."""
    blob = old.get("blobs", {}).get(key)
    if blob is not None:
        return bool(blob["digest"] == blob_digest(value))
    if key not in old:
        return False
    # A stored asset may say more: id, label and state, where REST told them.
    return _says(old[key], value) if key == "assets" else bool(old[key] == value)


def _says(stored: object, value: object) -> bool:
    if isinstance(value, Mapping) and isinstance(stored, Mapping):
        return all(k in stored and _says(stored[k], v) for k, v in value.items())
    if isinstance(value, list | tuple) and isinstance(stored, list | tuple):
        return len(value) == len(stored) and all(map(_says, stored, value))
    return stored == value


def _remember(old: Document, key: str) -> object:
    blob = old.get("blobs", {}).get(key)
    if blob is not None:
        return {"digest": blob["digest"], "length": blob["length"]}
    value = old.get(key)
    if isinstance(value, str) and len(value) <= LONG_VALUE:
        return value
    if isinstance(value, str | list | dict):
        length = len(value) if isinstance(value, str) else len(str(value))
        if length > LONG_VALUE:
            return {"digest": digest({key: value}), "length": len(value)}
    return value


def _history(old: Document, revision: int, now: datetime, fields: Document) -> list[Document]:
    entry = {"revision": revision, "changed_at": now, "fields": fields}
    return [*old["history"], entry][-HISTORY:]
