"""Chromosomes over HTTP: the same bytes as if they were held whole, and they are not."""

import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import AsyncGenerator

import aiohttp
import pytest

from fetcher.documents import Blob, to_fasta, to_json
from fetcher.errors import StoreUnavailable
from tests.shelf import shelf
from tests.store.build import batch, sequence
from tests.stores import store_url
from tests.web.test_api import Client, client

__all__ = ["client", "shelf", "store_url"]

NAME = "nuccore:BIG1.1"
PATH = "/v1/ncbi/nuccore/BIG1.1"
# More than a document holds, and no whole number of lines.
LENGTH = (13 << 20) + 17
FLAT = random.Random(1).randbytes(LENGTH)


@pytest.fixture
async def big(client: Client) -> Client:
    """With a record whose sequence and flat file are blobs."""
    residues = random.Random(2).randbytes(LENGTH).translate((b"ACGT" * 64)[:256]).decode()
    definition = "A very long “virus”"
    record = sequence(
        "BIG1",
        sequence=residues,
        definition=definition,
        status="live",
        comment='"\\\n',
        flat=zlib.compress(FLAT, 1),
    )
    await client.shelf.write(batch(record, target="ncbi:nuccore/BIG1"))
    return client


async def test_the_same_as_if_it_was_held(big: Client) -> None:
    """In every form, whole and compressed; HEAD and 304 read nothing of it."""
    stored = await big.shelf.store.record("sequence", NAME)
    shell = await big.shelf.store.record("sequence", NAME, whole=False)
    assert stored is not None
    assert shell is not None
    assert set(shell["blobs"]) == {"sequence", "flat"}
    fasta = "".join(to_fasta(stored)).encode()
    answer, body = await big.ask(f"{PATH}?format=fasta")
    assert body == fasta
    assert answer.headers["Content-Length"] == str(len(fasta))
    etag = answer.headers["ETag"]
    answer, body = await big.ask(f"{PATH}?format=fasta", "HEAD")
    assert (answer.headers["Content-Length"], body) == (str(len(fasta)), b"")
    answer, body = await big.ask(f"{PATH}?format=fasta", If_None_Match=etag)
    assert (answer.status, body) == (304, b"")
    answer, body = await big.ask(f"{PATH}?format=fasta", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["ETag"] != etag
    assert gzip.decompress(body) == fasta
    answer, body = await big.ask(f"{PATH}?format=genbank")
    assert body == FLAT
    answer, body = await big.ask(PATH)
    assert json.loads(body) == json.loads(to_json(stored))
    assert list(json.loads(body)) == list(json.loads(to_json(stored)))


async def test_parts_of_it(big: Client) -> None:
    """From the beginning, the middle, the end; outside of it, and of another edition."""
    stored = await big.shelf.store.record("sequence", NAME)
    assert stored is not None
    fasta = "".join(to_fasta(stored)).encode()
    size = len(fasta)
    for asked, start, end in (
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("1048570-1048600", 1_048_570, 1_048_601),
        ("-5", size - 5, size),
        (f"{size - 3}-{size + 10}", size - 3, size),
    ):
        answer, body = await big.ask(f"{PATH}?format=fasta", Range=f"bytes={asked}")
        assert answer.status == 206, asked
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert body == fasta[start:end]
    answer, _ = await big.ask(f"{PATH}?format=fasta", Range=f"bytes={size}-")
    assert answer.status == 416
    answer, body = await big.ask(f"{PATH}?format=fasta", Range="bytes=0-1", If_Range='"old"')
    assert (answer.status, len(body)) == (200, size)


async def test_little_of_it_is_in_memory(big: Client) -> None:
    """Neither as text nor compressed: some pieces of it at a time."""
    for path, more in ((f"{PATH}?format=fasta", {}), (PATH, {"Accept-Encoding": "gzip"})):
        tracemalloc.start()
        try:
            came = 0
            async with big.session.get(big.base + path, headers=more) as answer:
                async for piece in answer.content.iter_any():
                    came += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert came > LENGTH // 5
        assert peak < LENGTH // 2, f"{peak:,} bytes for {path}"


async def test_a_part_that_is_lost(big: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent it is a problem; in the middle the connection breaks."""
    read = big.shelf.reader.blob

    def failing(after: int) -> None:
        async def blob(blob: Blob) -> AsyncGenerator[bytes, None]:
            came = 0
            async for piece in read(blob):
                if came >= after:
                    raise StoreUnavailable("gone")
                came += len(piece)
                yield piece

        monkeypatch.setattr(big.shelf.reader, "blob", blob)

    failing(0)
    assert (await big.problem(f"{PATH}?format=genbank"))[0] == 503
    failing(4 << 20)
    for path in (f"{PATH}?format=fasta", f"{PATH}?format=genbank", PATH):
        with pytest.raises(aiohttp.ClientError):
            await big.ask(path)
    monkeypatch.undo()
    answer, _ = await big.ask(f"{PATH}?format=fasta")
    assert answer.status == 200
