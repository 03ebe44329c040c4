"""Due times of one store: the same for whoever polls, and other than those of other stores."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.accounts import homes_of
from fetcher.config import Settings
from fetcher.models import OutcomeKind, TargetState, Watch, Wish
from fetcher.policy.rhythm import Rhythm
from fetcher.policy.schedule import share
from fetcher.targets import parse_target
from fetcher.timetable import Timetable
from tests.stores import store_url
from tests.world import World, open_world

__all__ = ["moments", "store_url"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
KEYS = [f"github:a/r{number}" for number in range(20)]


@pytest.fixture
async def world(tmp_path: Path, store_url: str) -> AsyncIterator[World]:
    async with open_world(tmp_path, store_url) as opened:
        yield opened


def dues(identity: str) -> list[datetime]:
    timetable = Timetable(Settings(), lambda low, high: low, identity)
    watch = Watch("github:anonymous", 3600.0)
    states = [TargetState(key, key, (key,), "github:anonymous", watch=watch) for key in KEYS]
    return [
        timetable.next_due(state, OutcomeKind.UNCHANGED, 0, None, Rhythm(), NOW) for state in states
    ]


def test_each_store_has_moments_of_its_own() -> None:
    """Not every fetcher of the world asks in one second; all of one store know the same moments."""
    first, second = dues("5f1c6f2d0a1b4c3e"), dues("8d7f6a5b4c3d2e1f")
    assert not set(first) & set(second)
    assert dues("5f1c6f2d0a1b4c3e") == first
    assert len(set(first)) <= 16, "and they are few"


def moments(identity: str, dues: Sequence[datetime]) -> int:
    """How many of these are moments that targets polled each hour share in this store."""
    origin = timedelta(milliseconds=round(share(identity) * 86_400_000))
    sixteenth = timedelta(hours=1) / 16
    return sum(not (due - EPOCH + origin) % sixteenth for due in dues)


async def test_a_one_shot_keeps_watched_targets_on_their_moments(world: World) -> None:
    """The daemon names the same ones: see tests/cli/test_daemon.py."""
    targets = [parse_target(f"github:{name}") for name in world.upstream.github.populate(20, 1)]
    home = homes_of(world.settings).of(targets[0])
    await world.store.wish("hand", [Wish(each.fold, each.key, home, 3600.0) for each in targets])
    polled = await world.poll(*(each.key for each in targets))
    dues = [each.state.next_due for each in polled.values() if each.state.next_due]
    # All but those whose phase was just ahead, which go half way to the moment after it.
    assert moments(await world.store.identity(), dues) >= 14
    assert moments("another", dues) < 7
