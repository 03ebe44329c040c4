"""Bounded concurrency between those who yield and the one who takes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from fetcher.fan import bunches, fan_out


async def test_fan_out_yields_everything_in_each_jobs_order() -> None:
    """Nothing is lost or doubled, and a job's own items keep their order."""

    async def work(job: int) -> AsyncGenerator[tuple[int, int], None]:
        for n in range(job % 4):
            await asyncio.sleep(0)
            yield job, n

    got = [item async for item in fan_out(range(50), work, workers=7, ahead=2)]
    assert sorted(got) == [(job, n) for job in range(50) for n in range(job % 4)]
    for job in range(50):
        assert [n for j, n in got if j == job] == list(range(job % 4))


async def test_fan_out_runs_no_more_workers_than_asked() -> None:
    """Concurrency and what waits to be taken are bounded."""
    running = most = 0

    async def work(job: int) -> AsyncGenerator[int, None]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        yield job
        running -= 1

    assert len([item async for item in fan_out(range(40), work, workers=3)]) == 40
    assert most <= 3


async def test_an_error_of_a_job_ends_the_whole() -> None:
    """The consumer gets the job's own exception; other workers end."""
    ended = asyncio.Event()

    async def work(job: int) -> AsyncGenerator[int, None]:
        if job == 1:
            raise ValueError(job)
        try:
            await asyncio.Event().wait()
            yield job
        finally:
            ended.set()

    with pytest.raises(ValueError, match="1"):
        [item async for item in fan_out(range(2), work, workers=2)]
    assert ended.is_set()


async def test_closing_ends_the_workers() -> None:
    """Who stops taking leaves nothing running."""
    before = asyncio.all_tasks()

    async def work(job: int) -> AsyncGenerator[int, None]:
        while True:
            yield job

    async with aclosing(fan_out(range(3), work, workers=3)) as items:
        async for _ in items:
            break
    assert asyncio.all_tasks() == before


async def test_bunches_grow_under_load_and_keep_order() -> None:
    """What came meanwhile comes together, bounded by weight."""

    async def source() -> AsyncGenerator[int, None]:
        for n in range(100):
            yield n

    got: list[list[int]] = []
    async for bunch in bunches(source(), most=10, weigh=lambda item: 1):
        got.append(bunch)
        await asyncio.sleep(0)
    assert [n for bunch in got for n in bunch] == list(range(100))
    assert max(map(len, got)) == 10


async def test_bunches_pass_an_error_on_after_what_came_before() -> None:
    """What was yielded before the error is not lost."""

    async def source() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("late")

    got: list[int] = []

    async def take() -> None:
        async for bunch in bunches(source(), most=10, weigh=lambda item: 1):
            got.extend(bunch)

    with pytest.raises(ValueError, match="late"):
        await take()
    assert got == [1]
