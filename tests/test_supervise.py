"""Tasks that must not die."""

import asyncio

import pytest

from fetcher.supervise import supervise
from tests.clock import FakeClock
from tests.world import SILENT


async def test_what_raises_is_started_again_later_each_time() -> None:
    """With backoff and a cap; a task that lived for long begins anew."""
    clock = FakeClock()
    starts: list[float] = []
    restarts: list[str] = []

    async def work() -> None:
        starts.append(clock.monotonic())
        if len(starts) == 12:
            await clock.sleep(100)
        if len(starts) < 14:
            raise KeyError("a bug")

    await supervise(
        "tests",
        work,
        clock=clock,
        uniform=lambda low, high: high,
        log=SILENT,
        on_restart=restarts.append,
    )
    gaps = [b - a for a, b in zip(starts, starts[1:], strict=False)]  # noqa: RUF007
    assert gaps[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert gaps[11] == 101
    assert gaps[12] == 2
    assert restarts == ["tests"] * 13


async def test_a_cancelled_task_stays_cancelled() -> None:
    """That is how it is ended."""
    clock = FakeClock()

    async def work() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(
        supervise("tests", work, clock=clock, uniform=lambda low, high: high, log=SILENT)
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
