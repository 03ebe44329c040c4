"""The breaker: opens late, asks with one probe at a time, closes at once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.breaker import Breaker


def high(_: float, most: float) -> float:
    return most


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(high, first=5.0, cap=300.0)
    for _ in range(3):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    """Two failures and an answer, over and over, are no outage."""
    breaker = Breaker(high)
    for now in range(0, 100, 10):
        breaker.failed(now)
        breaker.failed(now + 1)
        assert not breaker.probing
        assert breaker.down_since is None
        assert breaker.delay(now + 1) == 0.0
        breaker.answered(now + 2)
    breaker.failed(100)
    breaker.failed(110)
    breaker.failed(120)
    assert breaker.probing
    assert breaker.delay(120) == 5.0
    # Down since the first of them, not since it was noticed.
    assert breaker.down_since == 100


def test_as_many_failures_as_were_set_open_it() -> None:
    """`after` is the number of failures, not one more or less."""
    for after in (1, 2, 5):
        breaker = Breaker(high, after=after)
        for number in range(after):
            assert not breaker.probing
            breaker.failed(float(number))
        assert breaker.probing


def test_a_failed_probe_doubles_the_wait_up_to_the_cap() -> None:
    """5, 10, 20, … 300, 300: also after days of it."""
    breaker = opened()
    now = 100.0
    waits = []
    for _ in range(2000):
        waits.append(breaker.delay(now))
        now += waits[-1]
        assert breaker.delay(now) == 0.0
        assert breaker.probing
        assert breaker.down_since == 100.0
        breaker.failed(now)
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert waits[-1] == 300


def test_polls_that_were_under_way_are_no_probes() -> None:
    """A hundred that fail together open it once: the wait is the first, not the longest."""
    breaker = Breaker(high)
    for number in range(100):
        breaker.failed(100.0 + number / 100)
    assert breaker.delay(101.0) <= 5.0
    breaker.failed(104.9)
    assert breaker.delay(105.1) == 0.0


def test_any_answer_closes_it_and_all_begins_anew() -> None:
    """Open or half-open: after an answer everybody polls, and the next outage is a new one."""
    breaker = opened()
    breaker.failed(105.0)
    assert breaker.delay(105.0) == 10.0
    breaker.answered(106.0)
    assert not breaker.probing
    assert breaker.down_since is None
    assert breaker.delay(106.0) == 0.0
    breaker.failed(200.0)
    breaker.failed(201.0)
    assert not breaker.probing
    breaker.failed(202.0)
    assert breaker.delay(202.0) == 5.0
    assert breaker.down_since == 200.0


@given(
    st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=200),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_a_wait_is_at_least_half_its_ceiling_and_never_beyond_the_cap(
    events: list[tuple[float, bool]], luck: list[float]
) -> None:
    """Whatever comes in whatever order; while it waits, failures change nothing."""
    draws = 0

    def uniform(low: float, most: float) -> float:
        nonlocal draws
        draws += 1
        assert most / 2 == low
        return low + luck[draws % len(luck)] * (most - low)

    breaker = Breaker(uniform)
    now = 0.0
    for pause, answer in events:
        now += pause
        before = breaker.delay(now)
        if answer:
            breaker.answered(now)
            assert breaker.delay(now) == 0.0
        else:
            breaker.failed(now)
            after = breaker.delay(now)
            assert after == before or before == 0.0
            assert after == 0.0 or after <= 300.0
            assert after == 0.0 or before > 0.0 or after >= 2.5 - 1e-9
        assert breaker.probing == (breaker.down_since is not None)
        assert breaker.probing or breaker.delay(now) == 0.0


def test_those_who_lost_the_upstream_together_do_not_come_back_together() -> None:
    """The wait is drawn between a half and the whole of its ceiling, for each probe anew."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, most: float) -> float:
        asked.append((low, most))
        return low

    breaker = Breaker(uniform, first=8.0, cap=20.0)
    for now in (0.0, 0.0, 0.0, 4.0, 12.0):
        breaker.failed(now)
    assert asked == [(4.0, 8.0), (8.0, 16.0), (10.0, 20.0)]
    assert all(low < most for low, most in asked)
    assert all(first[1] < second[1] for first, second in pairwise(asked))
