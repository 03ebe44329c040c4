"""A store, opened and closed."""

from collections.abc import AsyncIterator

import pytest

from fetcher.store import WriteStore, open_store
from tests.clock import FakeClock
from tests.stores import store_url

__all__ = ["store_url"]


@pytest.fixture
def clock() -> FakeClock:
    # Later than what the tests observe: a time that has not come would tell nothing.
    return FakeClock(start=1_900_000_000.0)


@pytest.fixture
async def store(store_url: str, clock: FakeClock) -> AsyncIterator[WriteStore]:
    async with await open_store(store_url, clock=clock) as opened:
        yield opened
