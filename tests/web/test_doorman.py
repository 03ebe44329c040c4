"""Connections that do nothing, or are too many, over a real loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fetcher.web.doorman import Doorman

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


class Server(asyncio.Protocol):
    """Answers each head with `answer`."""

    answer = b"HTTP/1.1 204 No Content\r\n\r\n"

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.paused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n") and self.transport is not None:
            self.transport.write(self.answer)

    def pause_writing(self) -> None:
        self.paused += 1


class Large(Server):
    """More than what lies between two sockets."""

    answer = bytes(32 << 20)


class House:
    """Doors on free ports, and how many were refused."""

    def __init__(self) -> None:
        self.refused = 0

    @asynccontextmanager
    async def open(
        self,
        server: type[Server] = Server,
        most: int = 10,
        headers: float = 60.0,
        stalled: float = 60.0,
    ) -> AsyncIterator[int]:
        def refuse() -> None:
            self.refused += 1

        door = Doorman(server, most, refuse, headers=headers, stalled=stalled)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(door, "127.0.0.1", 0)
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            listening.close()


@pytest.fixture
def house() -> House:
    return House()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the connection is closed from the other side."""
    got = b""
    async with asyncio.timeout(20):
        try:
            while chunk := await reader.read(1 << 16):
                got += chunk
        except ConnectionError:
            pass
    return got


async def test_a_head_that_never_ends_is_not_waited_for(house: House) -> None:
    """A byte now and then does not keep it open; one that came whole does, however it is cut."""
    async with house.open(headers=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        assert await ended(reader) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in (HEAD, b"\r", b"\n"):
            writer.write(part)
            await asyncio.sleep(0.01)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.5)
        assert (await reader.read(100)).startswith(b"HTTP/1.1 204")
        writer.write(b"\r\n\r\n")
        assert (await reader.read(100)).startswith(b"HTTP/1.1 204")
        writer.close()


async def test_one_more_than_may_is_closed_and_counted(house: House) -> None:
    """Until one of those inside leaves."""
    async with house.open(most=2) as port:
        inside = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(reader) == b""
        writer.close()
        assert house.refused == 1
        inside[0][1].close()
        await inside[0][1].wait_closed()
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        assert (await reader.read(100)).startswith(b"HTTP/1.1 204")
        assert house.refused == 1
        for each in (writer, inside[1][1]):
            each.close()


async def test_who_does_not_read_is_cut_off(house: House) -> None:
    """Half an answer is all that he gets."""
    async with house.open(Large, stalled=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await asyncio.sleep(1.0)
        assert len(await ended(reader)) < len(Large.answer)
        writer.close()


async def test_who_reads_slowly_gets_everything(house: House) -> None:
    """It takes several times as long as nothing at all would be waited for."""
    async with house.open(Large, stalled=0.5) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        got = 0
        async with asyncio.timeout(60):
            while got < len(Large.answer):
                got += len(await reader.readexactly(1 << 20))
                await asyncio.sleep(0.05)
        writer.close()
    assert got == len(Large.answer)
