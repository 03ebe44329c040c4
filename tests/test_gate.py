"""The door of an account."""

import asyncio

import pytest

from fetcher.errors import RateLimited
from fetcher.gate import Gate
from fetcher.policy.budget import Budget
from tests.clock import FakeClock


async def test_the_impatient_do_not_wait_behind_the_patient() -> None:
    """Who stands in front may wait long; who will not hears so at once."""
    clock = FakeClock()
    budget = Budget(10, 1.0)
    budget.park(1800.0)
    gate = Gate("tests", budget, clock, in_flight=5)
    patient = asyncio.create_task(gate.enter(1, 7200.0))
    await asyncio.sleep(0)
    before = clock.monotonic()
    with pytest.raises(RateLimited):
        await gate.enter(1, 60.0)
    assert clock.monotonic() == before
    gate.leave(await patient)
    assert clock.monotonic() >= 1800.0
