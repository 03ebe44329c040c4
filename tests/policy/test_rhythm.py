"""What is learned of a target's pace, and the interval that follows from it."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rhythm import MIXED, compare
from fetcher.policy.rhythm import Rhythm

HOUR = 3600.0
DAY = 24 * HOUR
LEAST, MOST = 60.0, 7 * DAY
SPANS = st.lists(st.tuples(st.floats(0, 30 * DAY), st.booleans()), max_size=60)


def after(spans: list[tuple[float, bool]]) -> Rhythm:
    rhythm = Rhythm()
    for seconds, changed in spans:
        rhythm = rhythm.seen(seconds, changed=changed)
    return rhythm


def regular(rhythm: Rhythm, pace: float, changes: int) -> Rhythm:
    """So many changes, each `pace` seconds after the last and seen by a tenth poll."""
    for _ in range(changes):
        for part in range(10):
            rhythm = rhythm.seen(pace / 10, changed=part == 9)
    return rhythm


def pace_of(rhythm: Rhythm) -> float:
    """Mean seconds between changes, as far as the rounding to powers of two tells."""
    return rhythm.interval(1e-6, 1e12) ** 2 / 1e-6


@given(SPANS, st.floats(1, 1e5), st.floats(1, 1e7))
def test_the_interval_keeps_its_bounds(
    spans: list[tuple[float, bool]], least: float, more: float
) -> None:
    """Never below the one nor above the other, whatever was seen."""
    most = least + more
    interval = after(spans).interval(least, most)
    assert least <= interval <= most


@given(SPANS)
def test_intervals_are_the_least_one_doubled(spans: list[tuple[float, bool]]) -> None:
    """A minute, two, four, …: so a target whose estimate wavers keeps its interval and phase."""
    interval = after(spans).interval(LEAST, MOST)
    assert interval == MOST or math.log2(interval / LEAST).is_integer()


def test_nobody_known_is_polled_about_every_half_hour() -> None:
    """The prior is one change a day: the geometric mean with a minute is 38 minutes."""
    assert Rhythm().interval(LEAST, MOST) == 32 * 60
    assert Rhythm().interval(2 * HOUR, MOST) == 8 * HOUR
    assert Rhythm().interval(2 * DAY, 3 * DAY) == 2 * DAY


@pytest.mark.parametrize(
    ("pace", "minutes"),
    [(60.0, 1), (HOUR, 8), (DAY, 32), (7 * DAY, 128), (30 * DAY, 256), (365 * DAY, 512)],
)
def test_the_interval_is_the_geometric_mean(pace: float, minutes: int) -> None:
    """The table of the documentation: rounded, never further off than the root of two."""
    interval = regular(Rhythm(), pace, 100).interval(LEAST, MOST)
    assert interval == minutes * 60
    assert 2**-0.5 * 0.95 < interval / math.sqrt(LEAST * pace) < 2**0.5 * 1.05


@given(SPANS, st.floats(0, 30 * DAY))
def test_a_change_never_lengthens_and_silence_never_shortens(
    spans: list[tuple[float, bool]], seconds: float
) -> None:
    """The same span with a change gives no longer interval than without."""
    rhythm = after(spans)
    with_change = rhythm.seen(seconds, changed=True).interval(LEAST, MOST)
    without = rhythm.seen(seconds, changed=False).interval(LEAST, MOST)
    assert with_change <= without
    assert without >= rhythm.interval(LEAST, MOST)


@given(st.floats(300, 300 * DAY), st.floats(1, 50), st.integers(1, 40))
def test_the_faster_is_never_polled_less_often(pace: float, times: float, changes: int) -> None:
    """Of two regular targets, after as many changes each."""
    slow = regular(Rhythm(), pace * times, changes).interval(LEAST, MOST)
    assert regular(Rhythm(), pace, changes).interval(LEAST, MOST) <= slow


@pytest.mark.parametrize(
    ("before", "then", "within"),
    [(20 * DAY, 2 * DAY, 30), (60 * DAY, 2 * DAY, 50), (2 * DAY, 20 * DAY, 5), (HOUR, 30 * DAY, 3)],
)
def test_a_new_pace_is_learned(before: float, then: float, within: int) -> None:
    """Ten times as fast is learned in 30 changes, as slow in 5 (of the slow): to a factor of 2."""
    old = regular(Rhythm(), before, 200)
    assert before / 2.5 < pace_of(old) < before * 2.5
    new = regular(old, then, within)
    # The rounding of the interval by the root of two is another factor of two in the pace.
    assert then / 4 < pace_of(new) < then * 4
    # What was learned is what a target of that pace has always had, at most one doubling off.
    always = regular(Rhythm(), then, 200).interval(LEAST, MOST)
    assert always / 2 <= new.interval(LEAST, MOST) <= always * 2


@pytest.mark.parametrize("pace", [30.0, 60.0, 600.0, HOUR, DAY])
def test_changes_that_nobody_saw_do_not_bias_the_estimate(pace: float) -> None:
    """Random changes, polled at the interval learned: also where most polls find several."""
    chance = random.Random(7)
    rhythm = Rhythm()
    paces = []
    for _ in range(20_000):
        interval = rhythm.interval(LEAST, MOST)
        changed = chance.random() < -math.expm1(-interval / pace)
        rhythm = rhythm.seen(interval, changed=changed)
        paces.append(rhythm.seconds / rhythm.changes)
    assert 0.9 * pace < sorted(paces)[10_000] < 1.1 * pace


def test_a_long_pause_does_not_make_a_busy_target_a_quiet_one() -> None:
    """A month without polls, then one change seen: it was not the only one."""
    busy = regular(Rhythm(), HOUR, 50)
    assert busy.seen(30 * DAY, changed=True).interval(LEAST, MOST) == busy.interval(LEAST, MOST)
    # No change in all that time is news, but one more change soon brings it back.
    silent = busy.seen(30 * DAY, changed=False)
    assert busy.interval(LEAST, MOST) < silent.interval(LEAST, MOST) < DAY


def test_always_changed_or_never_runs_to_no_extreme() -> None:
    """A hundred thousand polls one way, and twenty the other way still count."""
    always = Rhythm()
    for _ in range(100_000):
        always = always.seen(60.0, changed=True)
    assert always.interval(LEAST, MOST) == LEAST
    assert Rhythm.of(always.document()) == always
    slower = always
    for _ in range(20):
        slower = slower.seen(60.0, changed=False)
    assert slower.interval(LEAST, MOST) > LEAST
    never = Rhythm()
    for _ in range(100_000):
        never = never.seen(never.interval(LEAST, MOST), changed=False)
    assert never.interval(LEAST, MOST) == MOST
    assert Rhythm.of(never.document()) == never


@given(SPANS)
def test_what_is_stored_comes_back(spans: list[tuple[float, bool]]) -> None:
    """As plain numbers, and finite."""
    rhythm = after(spans)
    assert all(math.isfinite(value) for value in rhythm.document().values())
    assert Rhythm.of(rhythm.document()) == rhythm


BAD: st.SearchStrategy[Any] = st.sampled_from(
    [math.nan, math.inf, -math.inf, -1.0, 0.0, 5e-324, 1e300, 10**400, None, "12", "", True, [], {}]
)


@given(BAD, st.sampled_from(["changes", "seconds"]))
def test_what_makes_no_sense_is_no_knowledge(bad: Any, key: str) -> None:
    """NaN, negative, missing, text: the target is learned anew, and nothing raises."""
    document = {"changes": 3.0, "seconds": 1e6}
    assert Rhythm.of(document) == Rhythm(3.0, 1e6)
    assert Rhythm.of(document | {key: bad}) == Rhythm()
    assert Rhythm.of({key: 5.0}) == Rhythm()
    assert Rhythm.of({}) == Rhythm.of(None) == Rhythm()


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -5.0, 1e300])
def test_a_span_that_cannot_be_counts_as_no_time(seconds: float) -> None:
    """A wall clock that was set back: the change counts, the time does not."""
    rhythm = regular(Rhythm(), DAY, 5)
    for changed in (False, True):
        assert rhythm.seen(seconds, changed=changed) == rhythm.seen(0.0, changed=changed)
    assert rhythm.seen(seconds, changed=False) == rhythm


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_auto_is_faster_than_a_fixed_interval_at_the_same_cost(seed: int) -> None:
    """The benchmark, small: mixed histories, nothing known at first, as many polls both ways."""
    found = compare(MIXED, targets=80, length=120 * DAY, seed=seed)
    assert found.changes > 500
    assert found.mean < 0.8
    assert found.p90 < 0.9
