"""How an answer goes out: compressed as the client allows, and damaged as a fault demands."""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import Final, TypeAlias

from aiohttp import web

from fetcher.demo.exchange import Answer
from fetcher.demo.faults import Fault, cut

__all__ = ["Sleep", "Wire"]

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

_PIECE: Final = 64 * 1024
_BLOCK: Final = 1 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS


class Wire:
    """Sends answers; `sleep` is the clock's, `closing` ends what hangs."""

    def __init__(self, now: Callable[[], float], sleep: Sleep, closing: asyncio.Event) -> None:
        self._now = now
        self._sleep = sleep
        self._closing = closing

    async def send(
        self, request: web.Request, answer: Answer, fault: Fault | None
    ) -> web.StreamResponse:
        """Sends all of it, or what the fault leaves."""
        if answer.delay:
            await self._sleep(answer.delay)
        match fault.kind if fault is not None else "":
            case "reset":
                return self._dropped(request)
            case "hang" if fault is not None:
                return await self._hanging(request, answer, fault)
            case "delay" if fault is not None:
                await self._sleep(fault.delay)
            case "truncate" if fault is not None and not fault.clean:
                return await self._truncated(request, answer, fault)
            case "slow" if fault is not None:
                return await self._trickling(request, answer, fault)
            case "bomb" if fault is not None:
                return await self._bomb(request, answer, fault)
        return await self._whole(request, answer)

    def _response(self, answer: Answer, status: int | None = None) -> web.StreamResponse:
        # The date is the clock's: clients reckon with the server's idea of now.
        headers = {"Date": formatdate(self._now(), usegmt=True), **answer.headers}
        return web.StreamResponse(status=status or answer.status, headers=headers)

    async def _whole(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = self._response(answer)
        body = answer.body
        if answer.status in (204, 304) or request.method == "HEAD":
            body = b""
        elif _gzips(request, answer):
            response.headers["Content-Encoding"] = "gzip"
            if len(body) > _PIECE:
                return await _write(request, response, _compressed(_pieces(body, _PIECE)))
            body = b"".join(_compressed(iter((body,))))
        if answer.status not in (204, 304):
            response.content_length = len(body)
        return await _write(request, response, _pieces(body, _PIECE))

    async def _truncated(
        self, request: web.Request, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        response = self._response(answer)
        body, sent = answer.body, cut(fault, answer.body)
        if _gzips(request, answer):
            response.headers["Content-Encoding"] = "gzip"
            # Flushed, so that the client can decode all that was sent.
            deflate = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
            sent = deflate.compress(sent) + deflate.flush(zlib.Z_SYNC_FLUSH)
        if not fault.chunked:
            response.content_length = len(sent) + max(1, len(body) - len(cut(fault, body)))
        await response.prepare(request)
        if sent:
            await response.write(sent)
        if request.transport is not None:
            request.transport.close()
        return response

    async def _hanging(
        self, request: web.Request, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        if fault.after is not None:
            response = self._response(answer)
            response.content_length = len(answer.body)
            await response.prepare(request)
            await response.write(cut(fault, answer.body))
        await self._closing.wait()
        return self._dropped(request)

    async def _trickling(
        self, request: web.Request, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        response = self._response(answer)
        body = answer.body
        response.content_length = len(body)
        await response.prepare(request)
        for piece in _pieces(body, fault.chunk):
            await self._sleep(fault.delay)
            await response.write(piece)
        await response.write_eof()
        return response

    async def _bomb(self, request: web.Request, answer: Answer, fault: Fault) -> web.StreamResponse:
        response = self._response(answer, 200)
        response.headers["Content-Encoding"] = "gzip"
        return await _write(request, response, _bomb(fault.size))

    def _dropped(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


async def _write(
    request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes]
) -> web.StreamResponse:
    with contextlib.suppress(ConnectionResetError):  # who asked has gone
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    return response


def _gzips(request: web.Request, answer: Answer) -> bool:
    accepted = request.headers.get("Accept-Encoding", "").lower()
    return "gzip" in accepted and not answer.encoded and bool(answer.body)


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if data := deflate.compress(piece):
            yield data
    yield deflate.flush()


def _bomb(size: int) -> Iterator[bytes]:
    """A valid gzip stream of `size` blanks, a block at a time.

    A block that ends in a full flush refers to nothing before it, so it can be sent again and
    again. https://www.rfc-editor.org/rfc/rfc1952
    """
    block = b" " * _BLOCK
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    checksum = 0
    for _ in range(size // _BLOCK):
        checksum = zlib.crc32(block, checksum)
        yield deflated
    rest = block[: size % _BLOCK]
    checksum = zlib.crc32(rest, checksum)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    yield end.compress(rest) + end.flush()
    yield checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
