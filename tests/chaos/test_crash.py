"""A short storm; `benchmarks/crash.py` makes long ones, and docs/crashes.md has their figures."""

from pathlib import Path

import pytest

from tests.chaos.harness import Plan, storm
from tests.stores import store_url

__all__ = ["store_url"]


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("replicas", "graphql"), [(1, False), (2, True)])
async def test_killed_at_random_nothing_is_lost(
    tmp_path: Path, store_url: str, replicas: int, graphql: bool
) -> None:
    """Alone, and with a replica that takes over; then one is also paused beyond its lease."""
    plan = Plan(
        store_url,
        kills=5,
        seed=3,
        replicas=replicas,
        stop_every=3 if replicas == 2 else 0,
        drain_every=4,
        plain=True,
        graphql=graphql,
    )
    report = await storm(tmp_path, plan)
    assert not report.violations, "\n".join(report.lines())
    assert report.kills == 5
    assert report.polls > 20
    assert report.read > 20
    assert report.heard > 20
