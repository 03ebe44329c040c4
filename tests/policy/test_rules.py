"""Digest and backoff."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.digest import digest
from fetcher.policy.retry import backoff

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
    assert digest({"a": NOW}) != digest({"a": NOW + timedelta(microseconds=1)})
    assert digest({"a": "x"}).startswith("sha256:")
    with pytest.raises(TypeError):
        digest({"a": b"x"})


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e6), st.floats(0, 1))
def test_backoff_keeps_its_bounds(attempt: int, asked: float | None, luck: float) -> None:
    """Never shorter than asked, never far beyond the cap."""
    wait = backoff(attempt, lambda low, high: low + luck * (high - low), asked=asked)
    assert wait >= (asked or 0.0)
    assert wait <= (asked or 0.0) + 60.0
