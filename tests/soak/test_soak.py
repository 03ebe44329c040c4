"""Two days of what `benchmarks/soak.py` does for thirty."""

from pathlib import Path

from benchmarks.soak import soak


async def test_two_days_of_faults_lose_nothing(tmp_path: Path) -> None:
    """All is known at the end, and no poll is late or early."""
    report = await soak(2.0, 100, 1, tmp_path)
    assert report.faults >= 3
    assert report.polls > 100 * 2 * 12
    assert not report.wrong
    assert not report.late
    assert not report.early
