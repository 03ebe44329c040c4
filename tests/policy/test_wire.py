"""What comes over the wire: compressed bodies cut up in any way, headers and URLs."""

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.wire import decoder, header_text, shown_url

PIECE = 64


def decode(encoding: str, body: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    decoding = decoder(encoding, PIECE)
    assert decoding is not None
    out = []
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        for piece in decoding.feed(body[start:end]):
            assert 0 < len(piece) <= PIECE
            out.append(piece)
    return b"".join(out), decoding.whole


def bare(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


BODIES = st.binary(max_size=300) | st.integers(0, 5000).map(bytes)
CUTS = st.lists(st.integers(0, 10_000), max_size=5)


@given(BODIES, BODIES, CUTS, st.integers(0, 9))
def test_gzip_comes_out_as_it_went_in(one: bytes, two: bytes, cuts: list[int], pad: int) -> None:
    """Also with several members one after another, and padded with zeros."""
    body = gzip.compress(one) + gzip.compress(two) + bytes(pad)
    assert decode("gzip", body, cuts) == (one + two, True)


@given(BODIES, CUTS)
def test_deflate_comes_out_as_it_went_in(data: bytes, cuts: list[int]) -> None:
    """With zlib's header, as it should be, and without, as some send it."""
    assert decode("deflate", zlib.compress(data), cuts) == (data, True)
    if bare(data)[0] & 0x0F != 8:
        assert decode("deflate", bare(data), cuts) == (data, True)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 10_000), CUTS)
def test_a_cut_body_is_never_whole(data: bytes, at: int, cuts: list[int]) -> None:
    """Wherever the cut is, and what came before it is right."""
    for encoding, body in (("gzip", gzip.compress(data)), ("deflate", zlib.compress(data))):
        got, whole = decode(encoding, body[: 1 + at % (len(body) - 1)], cuts)
        assert not whole
        assert data.startswith(got)


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=200), CUTS)
def test_no_body_surprises(encoding: str, body: bytes, cuts: list[int]) -> None:
    """Anything decodes, or is a `zlib.error`, and never loops."""
    try:
        decode(encoding, body, cuts)
    except zlib.error:
        return


def test_what_follows_the_end_is_not_ignored() -> None:
    """Junk behind a whole stream says that something is wrong."""
    for encoding, body in (("gzip", gzip.compress(b"a")), ("deflate", zlib.compress(b"a"))):
        with pytest.raises(zlib.error):
            decode(encoding, body + b"junk", [])


def test_members_without_end_are_refused() -> None:
    """Empty ones cost work and never reach a cap of the output."""
    with pytest.raises(zlib.error):
        decode("gzip", gzip.compress(b"") * 1_001, [])


def test_encodings() -> None:
    """Nothing to do, and one that nobody asked for."""
    assert decoder("", PIECE) is None
    assert decoder("Identity", PIECE) is None
    assert decode("X-GZIP", b"", []) == (b"", True)
    for encoding in ("br", "zstd", "gzip, gzip"):
        with pytest.raises(LookupError):
            decoder(encoding, PIECE)


@given(st.binary(max_size=50))
def test_a_header_can_be_stored(value: bytes) -> None:
    """Whatever its bytes; text stays as it is."""
    header_text(value.decode("utf-8", "surrogateescape")).encode()
    assert header_text('W/"é"') == 'W/"é"'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x/a/b?api_key=K", "https://x/a/b"),
        ("https://u:K@x:8/a?b", "https://x:8/a"),
        ("https://u:K@x", "https://x"),
        ("u:K@x/a", "x/a"),
        ("https://x/~a@b/c?email=a@b", "https://x/~a@b/c"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    """Neither query nor credentials."""
    assert shown_url(url) == shown
