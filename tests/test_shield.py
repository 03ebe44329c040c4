"""Writes that a cancelled caller cannot tear."""

import asyncio

import pytest

from fetcher.shield import Shield


class _Write:
    """A write that ends when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_end = asyncio.Event()
        self.ended = False
        self._error = error

    async def run(self) -> str:
        await self.may_end.wait()
        self.ended = True
        if self._error is not None:
            raise self._error
        return "written"


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_write_gives_its_result() -> None:
    """Without a cancellation the shield is not felt."""
    write = _Write()
    write.may_end.set()
    assert await Shield(lambda error: None).run(write.run()) == "written"


async def test_the_cancellation_comes_after_the_write() -> None:
    """However often the caller is cancelled, the write ends first."""
    write, shield = _Write(), Shield(lambda error: None)
    caller = asyncio.create_task(shield.run(write.run()))
    await _settle()
    for _ in range(3):
        caller.cancel()
        await _settle()
        assert not caller.done()
    write.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert write.ended
    assert len(shield) == 0


async def test_the_exception_of_a_write_is_never_lost() -> None:
    """A caller that is gone cannot hear it, so somebody else does."""
    lost: list[BaseException] = []
    error = OSError("disk")
    write, shield = _Write(error), Shield(lost.append)
    caller = asyncio.create_task(shield.run(write.run()))
    await _settle()
    caller.cancel()
    await _settle()
    write.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert lost == [error]


async def test_it_holds_inside_a_timeout() -> None:
    """`asyncio.timeout` ends after the write, as a timeout."""
    write, shield = _Write(), Shield(lambda error: None)

    async def caller() -> None:
        async with asyncio.timeout(0):
            await shield.run(write.run())

    task = asyncio.create_task(caller())
    await _settle()
    await asyncio.sleep(0.001)
    assert not task.done()
    write.may_end.set()
    with pytest.raises(TimeoutError):
        await task
    assert write.ended


async def test_it_holds_inside_a_task_group() -> None:
    """A sibling that fails cancels the caller; the write ends all the same."""
    write, shield = _Write(), Shield(lambda error: None)

    async def fails() -> None:
        await _settle()
        raise ValueError

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(shield.run(write.run()))
            group.create_task(fails())

    task = asyncio.create_task(body())
    for _ in range(5):
        await _settle()
    assert not task.done()
    write.may_end.set()
    with pytest.raises(ExceptionGroup):
        await task
    assert write.ended


async def test_drain_waits_until_its_deadline() -> None:
    """Drain says whether all writes have ended."""
    write, shield = _Write(), Shield(lambda error: None)
    caller = asyncio.create_task(shield.run(write.run()))
    await _settle()
    assert not await shield.drain(0)
    write.may_end.set()
    assert await shield.drain(10)
    assert await caller == "written"
