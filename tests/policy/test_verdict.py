"""The verdict on every reply that the upstreams are known to give."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import (
    Blocked,
    Malformed,
    NotFound,
    Refused,
    Unauthorized,
    Unreachable,
    UpstreamError,
)
from fetcher.policy.verdict import (
    Accept,
    Fail,
    Limited,
    Reply,
    Retry,
    asked_wait,
    judge_github,
    judge_ncbi,
)

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC).timestamp()


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, "https://x/?api_key=KEY", data)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (reply(401, {"message": "Bad credentials"}), Unauthorized),
        (reply(403, {"message": "Resource not accessible"}), Unauthorized),
        (reply(403, {"message": "x"}, x_ratelimit_remaining="12"), Unauthorized),
        (reply(404, {"message": "Not Found"}), NotFound),
        (reply(410, {"message": "Gone"}), Refused),
        (reply(400, {"message": "unsupported version"}), Refused),
        (reply(422, {"message": "no"}), Refused),
        (reply(451, {"message": "x", "block": {"reason": "dmca"}}), Blocked),
        (reply(451, b"[]"), Blocked),
    ],
)
def test_github_refusals_are_final(given: Reply, error: type[UpstreamError]) -> None:
    """Each its own error, with the evidence and without the key."""
    verdict = judge_github(given, NOW)
    assert isinstance(verdict, Fail)
    assert type(verdict.error) is error
    assert verdict.error.evidence.status == given.status
    assert "KEY" not in repr(verdict)


@pytest.mark.parametrize(
    ("given", "wait", "named"),
    [
        (reply(403, retry_after="17"), 17, True),
        (reply(429, retry_after="17", x_ratelimit_remaining="0", x_ratelimit_reset="9"), 17, True),
        (reply(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) + 90)), 91, True),
        (reply(429), 60, False),
        (reply(403, {"message": "You have exceeded a secondary rate limit."}), 60, False),
        (reply(429, retry_after="Mon, 23 Nov 2026 10:00:30 GMT"), 30, True),
        (reply(429, retry_after="soon"), 60, False),
    ],
)
def test_github_limits_say_how_long(given: Reply, wait: float, named: bool) -> None:
    """Retry-After first, then the reset and a second, else a minute."""
    verdict = judge_github(given, NOW)
    assert isinstance(verdict, Limited)
    assert (verdict.wait, verdict.named) == (wait, named)


def test_a_reset_is_counted_from_the_servers_time() -> None:
    """Our clock may be an hour wrong."""
    given = reply(
        403,
        x_ratelimit_remaining="0",
        x_ratelimit_reset=str(int(NOW) + 10),
        date="Mon, 23 Nov 2026 10:00:00 GMT",
    )
    verdict = judge_github(given, NOW + 3600)
    assert isinstance(verdict, Limited)
    assert verdict.wait == 11


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_without_a_zone_is_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP's oldest form of a date names none, and this machine's does not count."""
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            for date in ("Mon Nov 23 10:00:30 2026", "Mon, 23 Nov 2026 10:00:30 -0000"):
                assert asked_wait({"retry-after": date}, NOW) == 30
    finally:
        time.tzset()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (reply(500), Unreachable),
        (reply(502, b"<html>Unicorn"), Unreachable),
        (reply(200, b"<!DOCTYPE html><html>", content_type="text/html"), Malformed),
    ],
)
def test_faults_are_tried_again(given: Reply, error: type[UpstreamError]) -> None:
    """By either upstream."""
    for judge in (judge_github, judge_ncbi):
        verdict = judge(given, NOW)
        assert isinstance(verdict, Retry)
        assert type(verdict.error) is error


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (reply(200, b"LOCUS  "), Accept),
        (reply(200, b"Error: F a i l e d  t o  u n d e r s t a n d  i d :  x"), Accept),
        (reply(429, {"error": "API rate limit exceeded"}, retry_after="2"), Limited),
        (reply(200, {"error": "API rate limit exceeded", "count": "4"}), Limited),
        (reply(400, {"error": "API key invalid", "api-key": "x"}), Fail),
        (reply(400, b"Error: F a i l e d  t o  r e t r i e v e  s e q u e n c e :  X"), Fail),
        (reply(400, b"Error%3A+F+a+i+l+e+d++t+o++r+e+t+r+i+e+v+e++s+e+q+u+e+n+c+e"), Fail),
        (reply(403, b"<html><title>NCBI - WWW Error Blocked Diagnostic</title>"), Fail),
        (reply(200, b"<html><title>NCBI - WWW Error Blocked Diagnostic</title>"), Fail),
    ],
)
def test_ncbi_replies(given: Reply, what: type) -> None:
    """As the facts list them."""
    assert type(judge_ncbi(given, NOW)) is what


def test_an_unknown_accession_is_not_found() -> None:
    """Spaced or URL-encoded, it is the same answer."""
    verdict = judge_ncbi(
        reply(400, b"Error: F a i l e d  t o  r e t r i e v e  s e q u e n c e :  X"), NOW
    )
    assert isinstance(verdict, Fail)
    assert isinstance(verdict.error, NotFound)


def test_a_refused_key_is_not_repeated() -> None:
    """NCBI names the key that it does not know; we do not."""
    body = {"error": "API key invalid", "api-key": "SECRETKEY"}
    given = Reply(400, {}, "https://x/", json.dumps(body).encode(), secrets=("SECRETKEY",))
    verdict = judge_ncbi(given, NOW)
    assert isinstance(verdict, Fail)
    assert "SECRETKEY" not in f"{verdict!r} {verdict.error} {verdict.error.evidence}"


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "content-type"]
        ),
        st.text(max_size=30),
    ),
    st.binary(max_size=200),
)
def test_no_reply_surprises(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever comes has a verdict, and a limit asks for a wait that is no nonsense."""
    for judge in (judge_github, judge_ncbi):
        verdict = judge(Reply(status, headers, "https://x/", body), NOW)
        if isinstance(verdict, Limited):
            assert 0 <= verdict.wait <= 86_400
        elif isinstance(verdict, Retry) and verdict.after is not None:
            assert 0 <= verdict.after <= 86_400
