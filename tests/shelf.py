"""A store with a repository in it, a writer, and a reader of its own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fetcher import Reader
from fetcher.models import Batch, Lease, OutcomeKind
from fetcher.store import WriteStore, open_store
from tests.clock import FakeClock
from tests.store.build import KEY, batch, release, state, take

__all__ = ["FACTS", "NOW", "PLAIN", "Shelf", "shelf"]

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FACTS = {"repository_id": 7, "repository": "virtool/virtool", "private": False, "latest": 2}
PLAIN: dict[str, Any] = {"draft": False, "prerelease": False, "private": False}


class Shelf:
    """A store that is written, and a reader of it with a connection of its own."""

    def __init__(self, store: WriteStore, lease: Lease, reader: Reader) -> None:
        self.store = store
        self.lease = lease
        self.reader = reader

    async def write(self, *batches: Batch) -> None:
        await self.store.write(self.lease, batches)
        await self.store.publish(self.lease)


@pytest.fixture
async def shelf(store_url: str) -> AsyncIterator[Shelf]:
    clock = FakeClock(start=NOW.timestamp())
    async with await open_store(store_url, clock=clock) as store:
        lease = await take(store, ttl=10**6)
        async with Reader.open(store_url, clock=clock) as reader:
            shelf = Shelf(store, lease, reader)
            five = [release(n, **PLAIN) for n in range(1, 4)]
            draft = release(8, **{**PLAIN, "draft": True}, published_at=None)
            early = release(9, **{**PLAIN, "prerelease": True})
            await shelf.write(batch(*five, draft, early))
            known = replace(
                state(),
                id=KEY,
                key="github:virtool/virtool",
                names=(KEY, "github:old/name"),
                facts=FACTS,
                outcome=OutcomeKind.CHANGED,
                last_success=NOW - timedelta(seconds=90),
                last_attempt=NOW,
                next_due=NOW + timedelta(minutes=5),
                watch=None,
                failure=None,
            )
            await store.save_targets(lease, [known])
            yield shelf
