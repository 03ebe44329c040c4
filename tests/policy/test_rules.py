"""Digest, backoff and due times."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.models import OutcomeKind
from fetcher.policy.digest import digest
from fetcher.policy.retry import backoff
from fetcher.policy.schedule import next_due

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.randoms())
def test_a_digest_knows_no_order_of_keys(content: dict[str, Any], random: Any) -> None:
    """The same content in another order, and from another run, is the same."""
    items = list(content.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(content)


def test_a_digest_tells_contents_apart() -> None:
    """Lists have an order, times a moment, and what JSON cannot say is refused."""
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest({"a": None}) != digest({})
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert digest({"a": NOW}) == digest({"a": elsewhere})
    assert digest({"a": "x"}).startswith("sha256:")
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})
    with pytest.raises(TypeError):
        digest({"a": b"x"})


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e6), st.floats(0, 1))
def test_backoff_keeps_its_bounds(attempt: int, asked: float | None, luck: float) -> None:
    """Never shorter than asked, never far beyond the cap."""
    wait = backoff(attempt, lambda low, high: low + luck * (high - low), asked=asked)
    assert wait >= (asked or 0.0)
    assert wait <= (asked or 0.0) + 60.0


@given(
    st.sampled_from(OutcomeKind),
    st.floats(1, 1e6),
    st.integers(0, 1000),
    st.none() | st.floats(0, 1e6),
    st.floats(0, 1),
)
def test_due_times_keep_their_bounds(
    kind: OutcomeKind, every: float, failures: int, retry: float | None, luck: float
) -> None:
    """Never before what the server asked for, never at once, never beyond reason."""
    retry_at = NOW + timedelta(seconds=retry) if retry is not None else None
    due = next_due(
        kind,
        now=NOW,
        every=every,
        failures=failures,
        retry_at=retry_at,
        min_interval=60.0,
        max_interval=604_800.0,
        uniform=lambda low, high: low + luck * (high - low),
    )
    assert due >= NOW + timedelta(seconds=60)
    assert retry_at is None or due >= retry_at
    longest = max(every, 604_800.0) * 1.5
    assert due <= max(NOW + timedelta(seconds=longest + 1), retry_at or NOW)


def test_failures_come_back_sooner_and_then_later() -> None:
    """What time heals is tried from a minute on, up to the interval; what it does not, later."""

    def after(kind: OutcomeKind, failures: int) -> float:
        due = next_due(
            kind,
            now=NOW,
            every=3600.0,
            failures=failures,
            retry_at=None,
            min_interval=60.0,
            max_interval=86_400.0,
            uniform=lambda low, high: low,
        )
        return (due - NOW).total_seconds()

    assert [after(OutcomeKind.UNREACHABLE, n) for n in (1, 2, 3, 99)] == [60, 120, 240, 3600]
    assert [after(OutcomeKind.NOT_FOUND, n) for n in (1, 2, 99)] == [3600, 7200, 86_400]
    assert after(OutcomeKind.CHANGED, 0) == 3600
