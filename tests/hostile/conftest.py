"""A world over each store, with a witness of what it was given to keep."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fetcher.demo import GithubUser
from fetcher.documents import time_text
from fetcher.models import Batch, Lease, OutcomeKind, Record, Written
from fetcher.refresh import Polled
from tests.stores import store_url
from tests.world import World, open_world

__all__ = ["TOKEN", "Witness", "store_url"]

TOKEN = "ghp_0123456789"


class Witness:
    """Remembers the records that were written, and compares what is stored with them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: dict[tuple[str, str], Record] = {}
        write = world.store.write

        async def witnessed(lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
            for batch in batches:
                self.records.update({(batch.kind, each.id): each for each in batch.records})
            return await write(lease, batches)

        world.store.write = witnessed  # type: ignore[method-assign]

    async def poll(self, *targets: str) -> Mapping[str, Polled]:
        """Polls; every target ends, by no fault of the fetcher's own, and what came is kept."""
        polled = await self.world.poll(*targets, wait=10**9)
        for name, each in polled.items():
            failure = each.state.failure
            assert failure is None or failure.log_id is None, f"{name}: {failure}"
            assert each.state.outcome != OutcomeKind.FAILED, f"{name}: {failure}"
        for (kind, id_), record in self.records.items():
            document = await self.world.store.record(record.kind, id_)
            assert document is not None, f"{kind} {id_!r} is not stored"
            for key, value in record.content.items():
                assert _text(_without_told(key, document[key])) == _text(value), (id_, key)
        return polled


def _without_told(key: str, value: Any) -> Any:
    """Assets as their content has them: how they came may tell more."""
    if key != "assets":
        return value
    told = ("id", "label", "state")
    return [{name: v for name, v in each.items() if name not in told} for each in value]


def _text(value: Any) -> str:
    """Exactly what a value says, NaN and half pairs included."""

    def plain(other: Any) -> Any:
        return dict(other) if isinstance(other, Mapping) else time_text(other)

    return json.dumps(value, default=plain, sort_keys=True)


@pytest.fixture
async def world(tmp_path: Path, store_url: str) -> AsyncIterator[World]:
    async with open_world(tmp_path, store_url) as opened:
        opened.upstream.github.tokens = {TOKEN: GithubUser("me")}
        # What makes no sense will make none when it is asked for again.
        opened.overrides |= {"github.token": TOKEN, "http.max_attempts": 2}
        yield opened


@pytest.fixture
def witness(world: World) -> Witness:
    return Witness(world)
