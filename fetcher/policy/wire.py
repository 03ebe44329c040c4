"""What comes over the wire, taken apart and made fit to keep.

aiohttp's own decompression does not notice a gzip stream that ends early inside a body whose
framing is whole (a proxy that gave up midway and told the length of what it had).
https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1
"""

import re
import zlib
from collections.abc import Iterator

__all__ = ["Decoder", "decoder", "header_text", "shown_url"]

# 32 more than the window: zlib reads the header and takes gzip and zlib alike.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_BARE = -zlib.MAX_WBITS
_DEFLATED = 8
# Real bodies have one or a few members; each costs a copy of what follows it.
_MAX_MEMBERS = 1_000
_USER = re.compile(r"\A([^/]*//)?[^/]*@")


class Decoder:
    """One compressed body; `feed` it as it comes and ask at the end whether it was `whole`."""

    def __init__(self, piece: int, *, gzip: bool) -> None:
        self._piece = piece
        self._gzip = gzip
        self._members = 1
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes decode to, in pieces; a little input may give very much.

        Raises `zlib.error` for what cannot be decoded.
        """
        if self._inflate is not None and self._inflate.eof:
            data = self._rest(data)
        while data:
            if self._inflate is None:
                # Some servers send bare deflate without zlib's header, though they should not.
                bare = not self._gzip and data[0] & 0x0F != _DEFLATED
                self._inflate = zlib.decompressobj(_BARE if bare else _GZIP_OR_ZLIB)
            out = self._inflate.decompress(data, self._piece)
            if out:
                yield out
            if self._inflate.eof:
                data = self._rest(self._inflate.unused_data)
            else:
                data = self._inflate.unconsumed_tail
                if not data and len(out) == self._piece:
                    # All input is taken in, and more may be waiting inside.
                    yield from self._drain(self._inflate)

    @property
    def whole(self) -> bool:
        """Whether the stream came to its end; an empty body needs no end."""
        return self._inflate is None or self._inflate.eof

    def _rest(self, data: bytes) -> bytes:
        """What follows a whole stream: with gzip another one, or padding."""
        if data.strip(b"\0") == b"":
            return b""
        if not self._gzip:
            raise zlib.error("data after the end of the stream")
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise zlib.error("too many members")
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        return data

    def _drain(self, inflate: "zlib._Decompress") -> Iterator[bytes]:
        while out := inflate.decompress(b"", self._piece):
            yield out


def decoder(encoding: str, piece: int) -> Decoder | None:
    """For a ``Content-Encoding`` that we ask for; None where there is nothing to decode.

    `piece` bounds the bytes that come out at once. Raises `LookupError` for an encoding that
    nobody asked for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return Decoder(piece, gzip=True)
        case "deflate":
            return Decoder(piece, gzip=False)
    raise LookupError(encoding)


def header_text(value: str) -> str:
    """A header as text that can be stored: bytes that are no UTF-8 come as surrogates."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shown_url(url: str) -> str:
    """A URL for people: without query and credentials, which may be secrets."""
    return _USER.sub(r"\1", url.partition("?")[0])
