"""A lease that many share: taken once, given back once, and not waited for again and again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from fetcher.leases import AccountBusy, Seat, Tenure
from fetcher.models import Lease
from fetcher.shield import Shield
from tests.clock import FakeClock


class Book:
    """What was asked of the store."""

    def __init__(self) -> None:
        self.busy = False
        self.waits: list[float] = []
        self.held = 0
        self.taken = 0

    @asynccontextmanager
    async def holding(self, wait: float) -> AsyncIterator[Tenure]:
        self.waits.append(wait)
        await asyncio.sleep(0)
        if self.busy:
            raise AccountBusy("account", "somebody", wait)
        self.held += 1
        try:
            lease = Lease("account", "me", 1, datetime.now(UTC), {})
            yield Tenure(lease, FakeClock(), 1e9)
        finally:
            await asyncio.sleep(0)
            self.held -= 1

    async def note(self, tenure: Tenure) -> None:
        self.taken += 1

    def seat(self) -> Seat:
        return Seat(self.holding, Shield(lambda error: None), wait=60.0, on_taken=self.note)


@pytest.fixture
def book() -> Book:
    return Book()


async def test_many_share_one_lease(book: Book) -> None:
    """The last gives it back; who comes later takes it anew."""
    seat = book.seat()

    async def use() -> None:
        async with seat():
            assert book.held == 1
            await asyncio.sleep(0.01)

    for _ in range(2):
        await asyncio.gather(*(use() for _ in range(10)))
        assert book.held == 0
    assert (book.taken, len(book.waits)) == (2, 2)


async def test_cancelled_users_give_it_back(book: Book) -> None:
    """However many there are, and wherever they stand."""
    seat = book.seat()

    async def use() -> None:
        async with seat():
            await asyncio.sleep(60)

    for turns in range(8):
        tasks = [asyncio.create_task(use()) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert book.held == 0
    async with seat():
        assert book.held == 1


async def test_who_waited_once_does_not_wait_again(book: Book) -> None:
    """Until somebody got it."""
    seat = book.seat()
    book.busy = True
    for _ in range(3):
        with pytest.raises(AccountBusy):
            async with seat():
                pass
    book.busy = False
    async with seat():
        pass
    async with seat():
        pass
    assert book.waits == [60.0, 0.0, 0.0, 0.0, 60.0]
