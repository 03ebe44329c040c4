"""What polls cost and how late they come: sums that can be done by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.capacity import Demand, Tariff, lateness
from fetcher.policy.schedule import phase

ONE_BY_ONE = Tariff(1, 1.0)
BY_THE_HUNDRED = Tariff(100, 0.01, page=0.5, whole=True)


def demand(tariff: Tariff, number: int, every: float, **kinds: float) -> Demand:
    made = Demand(tariff)
    for each in range(number):
        made.add(f"github:a/r{each}", every, **kinds)  # type: ignore[arg-type]
    return made


def test_one_by_one_each_poll_is_a_request() -> None:
    """Sixty targets an hour each are sixty requests an hour."""
    assert demand(ONE_BY_ONE, 60, 3600.0).hourly() == pytest.approx(60.0)


def test_targets_of_a_moment_share_a_request() -> None:
    """Sixteen moments in a quarter of an hour, so many targets in each as the hash puts there."""
    assert demand(BY_THE_HUNDRED, 1_000, 900.0).hourly() == pytest.approx(16 * 4)
    full = demand(BY_THE_HUNDRED, 10_000, 900.0).hourly()
    assert 4 * 100 <= full <= 4 * (100 + 16)


def test_what_changes_costs_a_page_or_a_whole_request() -> None:
    """Alone a changed target costs a unit; among many it costs its page."""
    rare = demand(BY_THE_HUNDRED, 1, 3600.0, changes=1 / 360_000)
    assert rare.hourly() == pytest.approx(1 - math.expm1(-0.01), rel=1e-4)
    often = demand(BY_THE_HUNDRED, 160, 3600.0, changes=1 / 360)
    assert often.hourly() == pytest.approx(16 + 160 * 10 * 0.5)
    listed = demand(BY_THE_HUNDRED, 160, 3600.0, listings=1 / 360, pages=3)
    assert listed.hourly() == pytest.approx(16 + 160 * 10 * 3 * 0.5)


def test_who_wants_too_much_comes_late_by_the_same_time() -> None:
    """A hundred an hour are wanted and sixty given: what is due each hour comes after 100 min."""
    hourly = [demand(ONE_BY_ONE, 100, 3600.0)]
    assert lateness(hourly, 100.0) == 0.0
    assert lateness(hourly, 60.0) == pytest.approx(2400.0, rel=0.01)
    assert lateness([demand(ONE_BY_ONE, 1, 60.0, listings=1.0, pages=0)], 0.001) < math.inf
    endless = demand(BY_THE_HUNDRED, 1, 60.0, changes=1.0)
    assert lateness([endless], 1.0) == math.inf


@given(
    st.lists(st.tuples(st.sampled_from([60.0, 900.0, 86_400.0]), st.integers(1, 300)), min_size=1),
    st.floats(1.0, 1e4),
)
def test_what_comes_late_fits(groups: list[tuple[float, int]], limit: float) -> None:
    """The time that is given is enough, and hardly less would be."""
    demands = [demand(Tariff(100, 0.01), number, every) for every, number in groups]
    late = lateness(demands, limit)
    spent = sum(each.hourly(late) for each in demands)
    if late:
        assert spent <= limit
        assert (
            sum(each.hourly(late - max(2.0, late / 500)) for each in demands if late > 2)
            <= (limit * 1.2)
            or late <= 2
        )
    else:
        assert min(spent, sum(each.hourly(1e-3) for each in demands)) <= limit


@given(st.text(max_size=20), st.floats(1.0, 1e7))
def test_a_phase_is_one_of_few(key: str, every: float) -> None:
    """Sixteen at the most, a quarter of a minute apart at the least."""
    number, phases = phase(key, every)
    assert 0 <= number < phases <= 16
    assert phases == 1 or every / phases >= 14.999
