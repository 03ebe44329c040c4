"""A server that looks like the primary of a replica set, before the one that tests have.

The driver sends retryable writes and reads to members of replica sets alone, and these are what it
thinks that it speaks to. What it sends goes to the real server and is done there.
"""

import asyncio
import contextlib
import ssl
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import bson

__all__ = ["Primary"]

_REPLY, _QUERY, _MESSAGE = 1, 2004, 2013
# Where the one document begins in each: header, flags, and what stands before it.
_BEGINS = {_REPLY: 36, _MESSAGE: 21}


class Primary:
    """Passes everything on; `step_down` makes it refuse the next commands of a name, once each."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._to = parts.hostname, parts.port
        self._context = context
        self._writers: set[asyncio.StreamWriter] = set()
        self._refused: dict[str, list[dict[str, Any]]] = {}
        self._cut: Counter[str] = Counter()
        self._held = ""
        self._visit = asyncio.Event()
        self.address = ""
        self.others: tuple[str, ...] = ()

    async def __aenter__(self) -> "Primary":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    def step_down(self, name: str) -> None:
        """Says once to such a command that it is no primary (any more)."""
        told = {"code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary"}
        self._refused.setdefault(name, []).append(told | {"errorLabels": ["RetryableWriteError"]})

    def forbid(self, name: str) -> None:
        """Says once to such a command that its user has no right to it."""
        told = {"code": 13, "codeName": "Unauthorized", "errmsg": "not authorized on db"}
        self._refused.setdefault(name, []).append(told)

    def cut(self, name: str) -> None:
        """Cuts the connection once, when such a command came, before it is done."""
        self._cut[name] += 1

    def hold(self, name: str) -> None:
        """Does no such command before somebody has looked by hand who else is there."""
        self._held = name

    @property
    def visited(self) -> bool:
        """Whether somebody has: with a `hello` that has nothing but its database."""
        return self._visit.is_set()

    @property
    def waiting(self) -> int:
        """How many refusals and cuts nobody has met yet."""
        return sum(map(len, self._refused.values())) + self._cut.total()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when its loop ends, which asyncio would otherwise report.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._to)
            self._writers |= {writer, back}
            try:
                await asyncio.gather(self._ask(reader, back, writer), self._answer(there, writer))
            finally:
                for each in (writer, back):
                    self._writers.discard(each)
                    each.close()

    async def _ask(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            number, kind, data = await _message(reader)
            told = [*_document(kind, data)] if kind == _MESSAGE else [""]
            name = told[0]
            if told == ["hello", "$db"]:
                self._visit.set()
            if name == self._held:
                await self._visit.wait()
            if self._cut[name]:
                self._cut[name] -= 1
                back.close()
                writer.close()
                return
            if self._refused.get(name):
                refusal = {"ok": 0.0, **self._refused[name].pop()}
                body = b"\0" * 5 + bson.encode(refusal)
                writer.write(struct.pack("<iiii", 16 + len(body), 1, number, _MESSAGE) + body)
                continue
            back.write(data)
            await back.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, kind, data = await _message(reader)
            document = _document(kind, data)
            if "maxWireVersion" in document:
                document |= {
                    "setName": "rs0",
                    "setVersion": 1,
                    "hosts": [self.address, *self.others],
                    "primary": self.address,
                    "me": self.address,
                    "secondary": False,
                    "logicalSessionTimeoutMinutes": 30,
                }
                body = data[16 : _BEGINS[kind]] + bson.encode(document)
                data = struct.pack("<i", 16 + len(body)) + data[4:16] + body
            writer.write(data)
            await writer.drain()


async def _message(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(16)
    length, number, _, kind = struct.unpack("<iiii", head)
    return number, kind, head + await reader.readexactly(length - 16)


def _document(kind: int, data: bytes) -> dict[str, Any]:
    begins = _BEGINS[kind]
    size = int.from_bytes(data[begins : begins + 4], "little")
    document: Mapping[str, Any] = bson.decode(data[begins : begins + size])
    return dict(document)
