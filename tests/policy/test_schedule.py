"""Due times: within their bounds, spread over the interval, and staying where they are."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.models import OutcomeKind
from fetcher.policy.schedule import next_due, spread

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEYS = st.text(max_size=30)
# Far to both sides, in any zone: a wall clock may say anything.
MOMENTS = st.datetimes(
    NOW.replace(year=1950, tzinfo=None),
    NOW.replace(year=2150, tzinfo=None),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]),
)
EVERY = st.floats(1, 1e6)
MICROSECOND = timedelta(microseconds=1)
# As stores keep times.
MILLISECOND = timedelta(milliseconds=1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@given(
    st.sampled_from(OutcomeKind),
    KEYS,
    MOMENTS,
    EVERY,
    st.integers(0, 1000),
    st.none() | st.floats(-1e6, 1e6),
    st.floats(0, 1),
)
def test_due_times_keep_their_bounds(
    kind: OutcomeKind,
    key: str,
    now: datetime,
    every: float,
    failures: int,
    retry: float | None,
    luck: float,
) -> None:
    """Never before what the server asked for, never at once, never beyond reason."""
    retry_at = now + seconds(retry) if retry is not None else None
    due = next_due(
        kind,
        key=key,
        now=now,
        every=every,
        failures=failures,
        retry_at=retry_at,
        min_interval=60.0,
        max_interval=604_800.0,
        uniform=lambda low, high: low + luck * (high - low),
    )
    assert due.tzinfo is not None
    assert due >= now + (seconds(30.0) - MILLISECOND if kind.good else seconds(60.0))
    assert retry_at is None or due >= retry_at
    longest = max(every, 60.0) if kind.good else max(every, 604_800.0) * 1.5
    assert due <= max(now + seconds(longest) + MICROSECOND, retry_at or now)


def test_failures_come_back_sooner_and_then_later() -> None:
    """What time heals is tried from a minute on, up to the interval; what it does not, later."""

    def after(kind: OutcomeKind, failures: int) -> float:
        due = next_due(
            kind,
            key="github:a/b",
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
    assert 1800 <= after(OutcomeKind.CHANGED, 0) <= 3600


@given(KEYS, MOMENTS, EVERY)
def test_a_good_poll_waits_for_half_to_a_whole_interval(
    key: str, now: datetime, every: float
) -> None:
    """The bounds hold whatever the clock says, and so do they after it has jumped."""
    due = spread(key, now, every)
    assert due.tzinfo is not None
    assert now + seconds(every / 2) - MILLISECOND <= due <= now + seconds(every) + MICROSECOND


@given(KEYS, MOMENTS, st.integers(1, 1_000_000))
def test_a_target_comes_to_its_phase_and_keeps_it(key: str, now: datetime, every: int) -> None:
    """From the second due time on the polls are exactly `every` apart: one poll more at most."""
    dues = [spread(key, now, every)]
    for _ in range(4):
        dues.append(spread(key, dues[-1], every))
    assert [later - sooner for sooner, later in pairwise(dues[1:])] == [seconds(every)] * 3
    assert dues[1] - now <= seconds(2 * every)


@given(KEYS, MOMENTS, st.integers(60, 1_000_000), st.lists(st.floats(0, 29), max_size=30))
def test_polls_that_come_late_do_not_drift(
    key: str, now: datetime, every: int, late: list[float]
) -> None:
    """A target on its phase stays there, however late each poll is (up to half the interval)."""
    on_phase = spread(key, spread(key, now, every), every)
    due = on_phase
    for number, each in enumerate(late, start=1):
        due = spread(key, due + seconds(each), every)
        assert due == on_phase + number * seconds(every)


@given(KEYS, KEYS, MOMENTS, st.integers(1, 10_000), st.integers(1, 300))
def test_intervals_that_divide_each_other_share_their_moments(
    key: str, other: str, now: datetime, quarters: int, times: int
) -> None:
    """What is polled rarely is polled in a moment of what is polled often: one request for both."""
    short = 240 * quarters
    long = short * times
    rare = spread(other, spread(other, now, long), long)
    apart = (rare - spread(key, spread(key, now, short), short)) / seconds(short / 16)
    assert apart == round(apart)


@given(KEYS, MOMENTS, EVERY, st.floats(0, 86_400))
def test_another_origin_moves_all_moments_alike(
    key: str, now: datetime, every: float, origin: float
) -> None:
    """As if it were another time: what holds for one store holds for each."""
    shift = timedelta(milliseconds=round(origin * 1000))
    assert spread(key, now, every, origin) == spread(key, now + shift, every) - shift


@given(KEYS, MOMENTS, st.integers(240, 1_000_000))
def test_the_poll_in_between_may_have_company_as_well(key: str, now: datetime, every: int) -> None:
    """Whatever is due next is due in a sixteenth of an interval, unless its phase is just ahead."""
    due = spread(key, now, every)
    moment = (due - EPOCH) / seconds(every / 16)
    if abs(moment - round(moment)) > 0.001 / (every / 16):
        on_phase = spread(key, due, every)
        assert on_phase - seconds(every) - now < seconds(every / 16)


@settings(max_examples=5000)
@given(st.integers(2, 10_000_000), st.integers(0, 2**40))
def test_one_poll_in_between_is_enough(every: int, now: int) -> None:
    """In milliseconds, wherever the phase lies: it is never too near twice."""
    begin = EPOCH + timedelta(milliseconds=now)
    for key in "abcdefghijklmnop":
        once = spread(key, begin, every / 1000)
        twice = spread(key, once, every / 1000)
        assert spread(key, twice, every / 1000) - twice == timedelta(milliseconds=every)
        assert timedelta(milliseconds=every // 2) <= once - begin <= timedelta(milliseconds=every)
        assert twice - once >= timedelta(milliseconds=every // 2)


@pytest.mark.parametrize(
    ("every", "phases"), [(1.0, 1), (20.0, 1), (59.7, 3), (60.0, 4), (900.0, 16), (86_400.0, 16)]
)
def test_what_was_polled_at_once_is_spread_over_few_moments(every: float, phases: int) -> None:
    """10,000 targets polled in one moment: so few requests that batches fill, and no crowd."""
    count: Counter[datetime] = Counter()
    first: Counter[datetime] = Counter()
    for number in range(10_000):
        key = f"github:owner-{number % 97}/repository-{number}"
        once = spread(key, NOW, every)
        twice = spread(key, once, every)
        first[once] += 1
        count[EPOCH + (twice - EPOCH) % seconds(every)] += 1
    assert len(count) == phases
    assert sorted(count) == [EPOCH + seconds(every) * n / phases for n in range(phases)]
    expected = 10_000 / phases
    # 15 degrees of freedom: a fair spread goes beyond 38 once in a thousand, and this is fixed.
    assert sum((number - expected) ** 2 / expected for number in count.values()) < 38
    # The first round has only half the interval, half of it twice as dense, and rounded at that.
    assert max(first.values()) < 4.5 * expected


def test_the_phase_is_the_same_in_every_process() -> None:
    """Whoever polls next, on whatever machine, finds the target on the same phase."""
    code = (
        "from datetime import datetime, UTC\n"
        "from fetcher.policy.schedule import spread\n"
        "print(spread('github:a/b', datetime(2026, 11, 23, 10, tzinfo=UTC), 3600.0).isoformat())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {spread("github:a/b", NOW, 3600.0).isoformat()}
