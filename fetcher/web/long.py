"""Answers that are too long to be held: chromosomes, as JSON, FASTA and flat file.

What a document names in ``blobs`` goes from the store to the reader piece by piece, at the pace at
which the reader takes it; only the piece under way is in memory. Its ETag is of the document and
the digests of its blobs, so that nothing has to be read to say that it is the same.
"""

import codecs
import sys
import zlib
from asyncio import to_thread
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiohttp import hdrs, web
from isal import isal_zlib

from fetcher.documents import Blob, json_bytes, to_json
from fetcher.errors import StoreError
from fetcher.reader import Fresh, Reader
from fetcher.web.answers import JSON, Answer, Freshness, Prepared, describe, part_of

__all__ = ["Long", "long_fasta", "long_flat", "long_json", "send_long"]

_WIDTH: Final = 70
# Bytes that are worked on at a time, however much a few compressed ones may grow to.
_PIECE: Final = 1 << 16
_GZIP: Final = 16 + zlib.MAX_WBITS

Pieces = AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Long:
    """`pieces` makes the body anew each time; `length` is in bytes, None where it is not known.

    `answer` is what there is to say of it, with what stands for its body as a body.
    """

    answer: Answer
    pieces: Callable[[], Pieces]
    length: int | None = None

    @property
    def size(self) -> int:
        """More than what is kept ready: see `fetcher.web.kept`."""
        return sys.maxsize


# --- what is sent ---------------------------------------------------------------------------


def long_json(reader: Reader, found: Fresh[Any]) -> Long:
    """The document; its fields in their order, those that are blobs from the store."""
    document, blobs = found.record, found.record["blobs"]

    async def pieces() -> Pieces:
        waiting = b"{"
        for name, value in document.items():
            blob = blobs.get(name)
            if name == "blobs" or isinstance(value, bytes) or (blob and _is_bytes(blob)):
                continue
            waiting += b"" if waiting == b"{" else b","
            waiting += json_bytes(name) + b":"
            if blob is None:
                waiting += json_bytes(value)
                continue
            async with aclosing(_as_json(reader, blob)) as made:
                async for piece in made:
                    yield waiting + piece
                    waiting = b""
        yield waiting + b"}"

    return Long(_answer(found, JSON, "json"), pieces)


def long_fasta(reader: Reader, found: Fresh[Any], media_type: str) -> Long | None:
    """As `fetcher.documents.to_fasta` has it; None where the sequence is not what is long."""
    document = found.record
    blob: Blob | None = document["blobs"].get("sequence")
    if blob is None:
        return None
    heading = f">{document['accession_version']} {document['definition']}\n".encode()

    async def pieces() -> Pieces:
        yield heading
        rest = b""
        async with aclosing(_small(reader.blob(blob))) as residues:
            async for piece in residues:
                rest += piece
                whole = len(rest) // _WIDTH * _WIDTH
                lines = [rest[at : at + _WIDTH] for at in range(0, whole, _WIDTH)]
                rest = rest[whole:]
                if lines:
                    yield b"\n".join([*lines, b""])
        if rest:
            yield rest + b"\n"

    length = len(heading) + blob["length"] + -(-blob["length"] // _WIDTH)
    return Long(_answer(found, media_type, "fasta", ranges=True), pieces, length)


def long_flat(reader: Reader, found: Fresh[Any], media_type: str) -> Long | None:
    """As it was served; None where the compressed flat file is not what is long."""
    blob: Blob | None = found.record["blobs"].get("flat")
    if blob is None:
        return None

    async def pieces() -> Pieces:
        unpack = zlib.decompressobj()
        async with aclosing(_small(reader.blob(blob))) as packed:
            async for piece in packed:
                left = piece
                while left:
                    yield await to_thread(unpack.decompress, left, _PIECE)
                    left = unpack.unconsumed_tail
        yield unpack.flush()

    return Long(_answer(found, media_type, "genbank"), pieces)


def _is_bytes(blob: Blob) -> bool:
    return blob["encoding"] == "bytes"


async def _as_json(reader: Reader, blob: Blob) -> Pieces:
    async with aclosing(_small(reader.blob(blob))) as pieces:
        if blob["encoding"] == "json":
            async for piece in pieces:
                yield piece
            return
        # A piece may end within a character.
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        yield b'"'
        async for piece in pieces:
            yield json_bytes(decoder.decode(piece))[1:-1]
        yield b'"'


def _answer(found: Fresh[Any], media_type: str, how: str, *, ranges: bool = False) -> Answer:
    # `to_json` has what `blobs` says, digests and all.
    name = f"{how} {to_json(found.record)}".encode()
    return Answer(name, media_type, Freshness.of([found]), ranges=ranges)


async def _small(pieces: Pieces) -> Pieces:
    """The same in pieces of which nothing that is made of one takes long, or much."""
    async with aclosing(pieces):
        async for piece in pieces:
            for at in range(0, len(piece), _PIECE):
                yield piece[at : at + _PIECE]


# --- sending it -----------------------------------------------------------------------------


async def send_long(request: web.Request, long: Long, now: datetime) -> web.StreamResponse:
    """The response: 200, 206, 304 or 416; cut off where the store fails in its middle.

    Raises `StoreError` where it fails before anything was sent.
    """
    prepared = Prepared(long.answer)
    ranged = long.length is not None and hdrs.RANGE in request.headers
    headers, compressed, same = describe(request, prepared, now, long=True)
    if same:
        return web.Response(status=304, headers=headers)
    start, end, status = 0, long.length, 200
    if ranged and long.length is not None:
        part = part_of(request, long.length, headers[hdrs.ETAG])
        if isinstance(part, web.Response):
            return part
        if part is not None:
            start, end = part
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{long.length}"
            status = 206
    response = web.StreamResponse(status=status, headers=headers)
    if compressed:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    elif end is not None:
        response.content_length = end - start
    if request.method == hdrs.METH_HEAD:
        await response.prepare(request)
        return response
    made = _packed(long.pieces()) if compressed else _between(long.pieces(), start, end)
    async with aclosing(made) as body:
        first = await anext(body, b"")
        await response.prepare(request)
        try:
            await response.write(first)
            async for piece in body:
                await response.write(piece)
        except (StoreError, zlib.error):
            # The head says that all is well: only a broken connection can still say otherwise.
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the reader has gone
        else:
            await response.write_eof()
    return response


async def _between(pieces: Pieces, start: int, end: int | None) -> Pieces:
    """From one byte to another; what comes before is read, and thrown away."""
    at = 0
    async with aclosing(pieces):
        async for piece in pieces:
            begin, at = at, at + len(piece)
            if at > start:
                wanted = piece[max(0, start - begin) : None if end is None else end - begin]
                if wanted:
                    yield wanted
            if end is not None and at >= end:
                return


async def _packed(pieces: Pieces) -> Pieces:
    packer = isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP)
    async with aclosing(pieces):
        async for piece in pieces:
            if packed := await to_thread(packer.compress, piece):
                yield packed
    yield packer.flush()
