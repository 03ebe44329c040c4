"""Which answers may be an asset's bytes."""

import pytest

from fetcher.assets import Asset, begins, continues, judge_asset
from fetcher.errors import Malformed, Mismatch, NotFound, Unauthorized, Unreachable
from fetcher.policy.verdict import Accept, Fail, Limited, Reply, Retry

ASSET = Asset("acme/tool", 1, "v1", "tool.bin", 100, None, "application/octet-stream", "2026")
API = "https://api.github.com/repos/acme/tool/releases/assets/1"
BYTES = "https://objects.example.org/1?sig=x"
GOOD = {"content-range": "bytes 10-99/100", "etag": '"a"'}


@pytest.mark.parametrize(
    ("status", "headers", "fine"),
    [
        (206, GOOD, True),
        (206, GOOD | {"content-range": "bytes 10-99/*"}, True),
        (206, {"content-range": "bytes 10-99/100"}, True),
        (206, GOOD | {"content-range": "bytes 10-49/100"}, True),
        (206, GOOD | {"etag": '"b"'}, False),
        (206, GOOD | {"content-range": "bytes 0-99/100"}, False),
        (206, GOOD | {"content-range": "bytes 11-99/100"}, False),
        (206, GOOD | {"content-range": "bytes 10-100/101"}, False),
        (206, GOOD | {"content-range": "bytes 10-9/100"}, False),
        (206, GOOD | {"content-range": "bytes */100"}, False),
        (206, GOOD | {"content-range": "items 10-99/100"}, False),
        (206, {"content-type": "multipart/byteranges"}, False),
        (206, GOOD | {"content-encoding": "gzip"}, False),
        (200, GOOD, False),
        (416, {"content-range": "bytes */100"}, False),
    ],
)
def test_what_continues_a_part(status: int, headers: dict[str, str], fine: bool) -> None:
    """Exactly behind what there is, of the same version."""
    assert continues(ASSET, 10, '"a"', status, headers) is fine


def test_the_head_of_a_whole_answer() -> None:
    """Its length is the asset's; only a strong ETag of plain bytes vouches for a range."""
    assert begins(ASSET, 200, {"content-length": "100", "etag": '"a"'}) == '"a"'
    assert begins(ASSET, 200, {"etag": 'W/"a"'}) is None
    assert begins(ASSET, 200, {"content-encoding": "gzip", "content-length": "7"}) is None
    assert begins(ASSET, 200, {}) is None
    with pytest.raises(Mismatch, match="expected 100 bytes, came 99"):
        begins(ASSET, 200, {"content-length": "99"})
    for status in (206, 416):
        with pytest.raises(Malformed):
            begins(ASSET, status, {})


@pytest.mark.parametrize(
    ("status", "url", "verdict", "error"),
    [
        (200, BYTES, Accept, None),
        (206, BYTES, Accept, None),
        (416, BYTES, Accept, None),
        (204, BYTES, Retry, Unreachable),
        (403, BYTES, Retry, Unreachable),
        (404, BYTES, Retry, Unreachable),
        (503, BYTES, Retry, Unreachable),
        (204, API, Retry, Malformed),
        (401, API, Fail, Unauthorized),
        (404, API, Fail, NotFound),
        (429, API, Limited, None),
        (503, "https://api.github.com:443/x", Retry, Unreachable),
    ],
)
def test_verdicts(
    status: int, url: str, verdict: type[object], error: type[Exception] | None
) -> None:
    """What the other host refuses is asked for again; what the API refuses is the account's."""
    judged = judge_asset(ASSET, API)(Reply(status, {"retry-after": "7"}, url, b""), 0.0)
    assert isinstance(judged, verdict)
    if error is not None:
        assert isinstance(judged, Retry | Fail)
        assert isinstance(judged.error, error)
    if isinstance(judged, Retry) and status == 503:
        assert judged.after == 7.0


@pytest.mark.parametrize(
    ("name", "kind", "status", "header", "body", "page"),
    [
        ("x.bin", "application/zip", 200, "text/html; charset=utf-8", b"", True),
        ("x.bin", "application/zip", 200, "application/octet-stream", b"<!DOCTYPE html>", True),
        ("x.bin", "application/zip", 206, "application/octet-stream", b"<html>", False),
        ("x.bin", "application/zip", 206, "text/html", b"PK", True),
        ("x.html", "application/octet-stream", 200, "text/html", b"<html>", False),
        ("x", "text/html", 200, "text/html", b"<html>", False),
    ],
)
def test_pages(name: str, kind: str, status: int, header: str, body: bytes, page: bool) -> None:
    """A page in place of a file is refused, a file that is a page is not."""
    asset = Asset("acme/tool", 1, "v1", name, 100, None, kind, "2026")
    judged = judge_asset(asset, API)(Reply(status, {"content-type": header}, BYTES, body), 0.0)
    assert isinstance(judged, Retry) is page
