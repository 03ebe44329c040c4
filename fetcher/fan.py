"""Bounded concurrency between those who yield and the one who takes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["bunches", "fan_out"]

Job = TypeVar("Job")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A worker's last word."""

    error: BaseException | None = None


async def fan_out(
    jobs: Iterable[Job] | AsyncIterator[Job],
    work: Callable[[Job], AsyncGenerator[Item, None]],
    *,
    workers: int,
    ahead: int = 8,
) -> AsyncGenerator[Item, None]:
    """Runs `workers` over many jobs and yields their items as they come.

    Jobs are taken when a worker is free for one.

    At most `ahead` items wait to be taken; the items of one job keep their order. An exception
    of a job ends the whole with that exception. Close the generator (`contextlib.aclosing`):
    the workers end with it.
    """
    pending = jobs if isinstance(jobs, AsyncIterator) else _one_by_one(jobs)
    turn = asyncio.Lock()  # nobody may ask an asynchronous generator that is being asked
    queue: asyncio.Queue[Item | _Ended] = asyncio.Queue(maxsize=ahead)

    async def next_job() -> Job | _Ended:
        async with turn:
            async for job in pending:
                return job
            return _Ended()

    async def worker() -> None:
        while not isinstance(job := await next_job(), _Ended):
            async with aclosing(work(job)) as items:
                async for item in items:
                    await queue.put(item)

    tasks = [asyncio.create_task(_report(worker(), queue)) for _ in range(workers)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                running -= 1
            else:
                yield item
    finally:
        await _end(tasks)


async def _one_by_one(jobs: Iterable[Job]) -> AsyncIterator[Job]:
    for job in jobs:
        yield job


async def bunches(
    items: AsyncGenerator[Item, None], *, most: int, weigh: Callable[[Item], int]
) -> AsyncGenerator[list[Item], None]:
    """Yields together what has come while the last bunch was worked on.

    A bunch is closed once its items weigh `most` or more; nothing more is taken from the source
    until that has been yielded. Under load bunches grow and save round trips; without it nothing
    waits.
    """
    waiting: list[Item] = []
    weight = 0
    came, taken = asyncio.Event(), asyncio.Event()

    async def pump() -> None:
        nonlocal weight
        async with aclosing(items):
            async for item in items:
                waiting.append(item)
                weight += weigh(item)
                came.set()
                if weight >= most or len(waiting) >= most:
                    taken.clear()
                    await taken.wait()

    task = asyncio.create_task(pump())
    task.add_done_callback(lambda ended: came.set())
    try:
        while waiting or not task.done():
            await came.wait()
            came.clear()
            if waiting:
                bunch, waiting, weight = waiting, [], 0
                taken.set()
                yield bunch
        task.result()
    finally:
        await _end([task])


async def _report(work: Coroutine[Any, Any, None], queue: "asyncio.Queue[Any]") -> None:
    """Runs a worker and queues how it ended, behind all that it yielded."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - raised again by the consumer
        await queue.put(_Ended(error))
    else:
        await queue.put(_Ended())


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
