"""What is kept ready for a moment: never longer, never past a commit, made once."""

import asyncio

import pytest

from fetcher.web.answers import Answer, Prepared
from fetcher.web.kept import Kept
from tests.clock import FakeClock


class Maker:
    """Makes answers, and counts them; waits where it is told to."""

    def __init__(self) -> None:
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> Prepared:
        self.made += 1
        number = self.made
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Prepared(Answer(str(number).encode()))


@pytest.fixture
def maker() -> Maker:
    return Maker()


async def body(kept: Kept, maker: Maker, key: str = "a") -> bytes:
    return (await kept.get(key, maker)).answer.body


async def test_for_a_moment(maker: Maker) -> None:
    """By a steady clock; and until something is committed."""
    clock = FakeClock()
    kept = Kept(clock.monotonic, hold=1.0)
    assert [await body(kept, maker) for _ in range(3)] == [b"1"] * 3
    assert await body(kept, maker, "b") == b"2"
    await clock.sleep(0.9)
    assert await body(kept, maker) == b"1"
    await clock.sleep(0.2)
    assert await body(kept, maker) == b"3"
    kept.forget()
    assert await body(kept, maker) == b"4"


async def test_made_once_for_all_who_ask(maker: Maker) -> None:
    """Whoever asked first may go away."""
    kept = Kept(FakeClock().monotonic, hold=1.0)
    maker.gate.clear()
    first = asyncio.create_task(body(kept, maker))
    others = [asyncio.create_task(body(kept, maker)) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    maker.gate.set()
    assert set(await asyncio.gather(*others)) == {b"1"}
    assert maker.made == 1


async def test_what_was_read_before_a_commit_is_not_kept(maker: Maker) -> None:
    """Nor given to who asks after it."""
    kept = Kept(FakeClock().monotonic, hold=1.0)
    maker.gate.clear()
    early = asyncio.create_task(body(kept, maker))
    while not maker.made:
        await asyncio.sleep(0)
    kept.forget()
    late = asyncio.create_task(body(kept, maker))
    while maker.made < 2:
        await asyncio.sleep(0)
    maker.gate.set()
    assert (await early, await late) == (b"1", b"2")
    assert await body(kept, maker) == b"2"


async def test_errors_are_told_and_not_kept(maker: Maker) -> None:
    """To all who waited."""
    kept = Kept(FakeClock().monotonic, hold=1.0)
    maker.error = ValueError("bad")
    found = await asyncio.gather(*(body(kept, maker) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [ValueError] * 3
    maker.error = None
    assert await body(kept, maker) == b"2"


async def test_so_many_and_no_more(maker: Maker) -> None:
    """The oldest go; what is large is not kept at all."""
    kept = Kept(FakeClock().monotonic, hold=1.0)
    for number in range(1_500):
        await body(kept, maker, str(number))
    assert await body(kept, maker, "1499") == b"1500"
    assert await body(kept, maker, "0") == b"1501"

    async def large() -> Prepared:
        maker.made += 1
        return Prepared(Answer(b"x" * (2 << 20)))

    before = maker.made
    for _ in range(3):
        await kept.get("large", large)
    assert maker.made == before + 3
