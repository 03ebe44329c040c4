"""What the tests of the stores write."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fetcher.documents import Kind
from fetcher.errors import Evidence
from fetcher.models import Batch, Failure, Lease, OutcomeKind, Record, Spell, TargetState
from fetcher.policy.digest import digest
from fetcher.store import WriteStore

__all__ = ["KEY", "T0", "batch", "release", "sequence", "state", "take"]

T0 = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
KEY = "github:virtool/virtool"


def release(number: int = 1, body: str = "text", **more: Any) -> Record:
    extra = more.pop("extra", {})
    version = more.pop("version", (0, None))
    content = {
        "repository": "virtool/virtool",
        "repository_id": 7,
        "release_id": number,
        "tag": f"v{number}",
        "body": body,
        "published_at": T0 + timedelta(days=number),
        "assets": [],
        **more,
    }
    id_ = f"github:7:{number}"
    return Record(id_, "release", content, "https://x/", digest(content), version, extra)


def sequence(accession: str = "NC_1", version: int = 1, **more: Any) -> Record:
    flat = more.pop("flat", b"flat")
    content = {
        "database": "nuccore",
        "accession": accession,
        "version": version,
        "accession_version": f"{accession}.{version}",
        "organism": "Tobacco mosaic virus",
        "taxid": 12242,
        "update_date": T0,
        "sequence": "ACGT",
        "features": [],
        **more,
    }
    id_ = f"nuccore:{accession}.{version}"
    return Record(id_, "sequence", content, "https://x/", digest(content), (version, T0), {}, flat)


def batch(*records: Record, at: datetime = T0, target: str = KEY, **more: Any) -> Batch:
    kind: Kind = more.pop("kind", records[0].kind if records else "release")
    return Batch(kind, target, at, records, **more)


async def take(store: WriteStore, account: str = "a", owner: str = "me", ttl: float = 30) -> Lease:
    lease = await store.acquire(account, owner, ttl)
    assert lease is not None
    return lease


def state(**more: Any) -> TargetState:
    values: dict[str, Any] = {
        "id": KEY,
        "key": KEY,
        "names": (KEY, "github:old/name"),
        "account": "a",
        "outcome": OutcomeKind.RATE_LIMITED,
        "failure": Failure("later", Evidence(403, "ID", "https://x", "quote"), T0),
        "missing": ("X", "Y"),
        "cursor": {"etag": 'W/"x"', "pages": 1},
        "facts": {"repository_id": 7, "latest": None},
        "records": 3,
        "failures": 2,
        "spells": (Spell(T0 - timedelta(days=1), "good"), Spell(T0, "rate_limited")),
        "last_attempt": T0,
        "next_due": T0 + timedelta(minutes=1),
        **more,
    }
    return TargetState(**values)
