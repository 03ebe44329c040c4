"""A short storm; `benchmarks/crash.py` makes long ones, and docs/crashes.md has their figures."""

from pathlib import Path

import pytest

from tests.chaos.storm import rage
from tests.stores import store_url

__all__ = ["store_url"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("replicas", [1, 2])
async def test_killed_at_random_nothing_is_lost(
    tmp_path: Path, store_url: str, replicas: int
) -> None:
    """Alone, and with a replica that takes over; one is also paused beyond its lease."""
    stop_every = 3 if replicas == 2 else 0
    report = await rage(
        tmp_path, store_url, kills=4, seed=3, replicas=replicas, stop_every=stop_every
    )
    log = (tmp_path / "daemons.log").read_text(encoding="utf-8")
    assert not report.violations, "\n".join([*report.lines(), log[-5000:]])
    assert report.kills == 4
    # What changed twice between two looks is read once, at its latest.
    assert report.revisions > 20
    assert report.changes > 20
    assert "Traceback" not in log
