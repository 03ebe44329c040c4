"""What a query's window remembers."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.window import LAG, REMEMBERED, Ledger, Window, is_over

DAY = date(2026, 11, 20)
NAMES = st.sets(st.text(max_size=12), max_size=40)


@given(NAMES, NAMES)
def test_a_ledger_is_a_set_of_names(first: set[str], second: set[str]) -> None:
    """Whatever is added in whatever parts: it has each once, and comes back from its text."""
    ledger = Ledger(first)
    assert len(ledger) == len(first)
    ledger.add(second)
    ledger.add(first)
    again = Ledger.of(ledger.text())
    for each in (ledger, again):
        assert len(each) == len(first | second)
        assert all(name in each for name in first | second)
        assert "no such name" not in each


@pytest.mark.parametrize("text", ["A", "AAA=", "häh", "AAAA"])
def test_what_is_no_ledger_is_refused(text: str) -> None:
    """Raises `ValueError`: no half marks."""
    with pytest.raises(ValueError, match=r".+"):
        Ledger.of(text)


def test_a_window_comes_back_from_its_cursor() -> None:
    """And gives as news what it has not seen."""
    window = Window.of(Window.after(DAY, Ledger(["A.1", "B.1"])).cursor())
    assert window is not None
    assert (window.settled, window.number) == (DAY, 2)
    assert window.news(["A.1", "C.1", "B.2"], 3) == ["C.1", "B.2"]


def test_too_many_names_go_by_their_number() -> None:
    """Another number has everything fetched; the same one, nothing."""
    names = [f"A{n}.1" for n in range(REMEMBERED + 1)]
    window = Window.of(Window.after(DAY, Ledger(names)).cursor())
    assert window is not None
    assert window.seen is None
    assert window.news(names, len(names)) == []
    assert window.news([*names, "B.1"], len(names) + 1) == [*names, "B.1"]


@pytest.mark.parametrize(
    "cursor",
    [
        None,
        {},
        {"window": None},
        {"window": {"settled": "yesterday", "number": 1, "seen": None}},
        {"window": {"settled": "2026-11-20", "number": 1, "seen": "A"}},
        {"window": {"settled": "2026-11-20", "seen": None}},
    ],
)
def test_a_cursor_of_something_else_is_none(cursor: dict[str, object] | None) -> None:
    """Then all is listed."""
    assert Window.of(cursor) is None


def test_a_day_is_over_when_it_is_everywhere() -> None:
    """Two days later, not before."""
    assert not is_over(DAY, DAY)
    assert not is_over(DAY, DAY + LAG - timedelta(days=1))
    assert is_over(DAY, DAY + LAG)
