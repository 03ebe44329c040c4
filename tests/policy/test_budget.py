"""The budget: never one request more than the rule, never a shorter wait than was asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.policy.budget import Budget, Quota, Ticket, github_budget, ncbi_budget

# (pause before the next request, travel to the server, time until the answer) in seconds
TRIPS = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.floats(0, 0.4),
        st.floats(0, 3),
    ),
    min_size=1,
    max_size=60,
)


@given(st.integers(1, 12), TRIPS, st.integers(0, 60))
@settings(max_examples=300)
def test_no_window_at_the_server_sees_one_too_many(
    limit: int, trips: list[tuple[float, float, float]], hand_over: int
) -> None:
    """However requests jitter on their way, also when another process takes over in between."""
    budget = Budget(limit, 1.0)
    now = 0.0
    arrivals: list[float] = []
    under_way: list[tuple[float, Ticket]] = []
    for number, (pause, travel, answer) in enumerate(trips):
        now += pause
        if number == hand_over:
            state = budget.dump(now, epoch=1_000_000 + now)
            budget = Budget(limit, 1.0)
            budget.load(state, now, epoch=1_000_000 + now)
            under_way.clear()
        while True:
            for at, ticket in [each for each in under_way if each[0] <= now]:
                budget.answered(ticket, at, {}, 0.0)
                under_way.remove((at, ticket))
            wait = budget.delay(now)
            if wait == 0.0:
                break
            now = min([now + wait, *(at for at, _ in under_way if at > now)])
        ticket = budget.charge(now)
        arrivals.append(now + travel)
        under_way.append((now + travel + answer, ticket))
    arrivals.sort()
    for first, last in zip(arrivals, arrivals[limit:], strict=False):
        assert last - first >= 1.0 - 1e-6


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2)), max_size=20),
    st.integers(1, 3600),
)
def test_what_is_left_never_rises_before_the_reset(
    replies: list[tuple[int, int]], reset: int
) -> None:
    """Answers overtake each other; the lowest count holds until the reset, plus a second."""
    budget = Budget(1000, 1.0)
    epoch = 5_000.0
    lowest: int | None = None
    for remaining, _ in replies:
        ticket = budget.charge(0.0)
        headers = {
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(int(epoch) + reset),
        }
        budget.answered(ticket, 0.0, headers, epoch)
        lowest = remaining if lowest is None else min(lowest, remaining)
    if lowest == 0:
        assert budget.delay(2.0) >= reset - 1.0
        assert budget.delay(reset + 1.0) == 0.0
    else:
        assert budget.delay(2.0) == 0.0


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=10))
def test_no_wait_is_shorter_than_asked(waits: list[float]) -> None:
    """A later, shorter request for silence does not shorten an earlier one."""
    budget = Budget(10, 1.0)
    for wait in waits:
        assert budget.limited(0.0, wait, named=True) == wait
    assert budget.delay(0.0) >= max(waits)


def test_unnamed_limits_double_until_an_answer_is_accepted() -> None:
    """Sixty seconds, two minutes, four; after a good answer sixty again."""
    budget = Budget(10, 1.0)
    assert [budget.limited(0.0, 60.0, named=False) for _ in range(3)] == [60.0, 120.0, 240.0]
    budget.went_well()
    assert budget.limited(0.0, 60.0, named=False) == 60.0


def test_a_slow_server_does_not_halve_the_rate() -> None:
    """A request that is long under way counts as arrived after the slack."""
    budget = ncbi_budget(3)
    for _ in range(3):
        budget.charge(0.0)
    assert 1.0 < budget.delay(0.0) <= 1.5


def test_fractions_stretch_the_window() -> None:
    """Half a request a second is one in two."""
    budget = ncbi_budget(0.5)
    ticket = budget.charge(0.0)
    budget.answered(ticket, 0.0, {}, 0.0)
    assert budget.delay(0.0) == 2.0


def test_a_hand_over_keeps_what_was_spent_and_parked() -> None:
    """The next holder of the account knows all of it, on a clock of its own."""
    budget = github_budget()
    ticket = budget.charge(100.0)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "5600"}
    budget.answered(ticket, 100.0, headers, 5_000.0)
    state = budget.dump(100.0, 5_000.0)
    other = github_budget()
    other.load(state, 7.0, 5_010.0)
    assert 590 <= other.delay(7.0) <= 592
    budget.park(200.0)
    third = github_budget()
    third.load(budget.dump(100.0, 5_000.0), 0.0, 5_000.0)
    assert third.delay(0.0) >= 100.0


def test_the_servers_clock_counts() -> None:
    """A reset is so far away as the server's own time says, however wrong ours is."""
    budget = Budget(10, 1.0)
    headers = {
        "date": "Mon, 23 Nov 2026 10:00:00 GMT",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1795428060",
    }
    budget.answered(budget.charge(0.0), 0.0, headers, epoch=0.0)
    assert 59 <= budget.delay(1.5) + 1.5 <= 62


def test_a_process_that_takes_over_from_itself_counts_nothing_twice() -> None:
    """Given back and taken again the lease tells what is known already; others' is added."""
    budget = Budget(900, 60.0)
    for number in range(300):
        budget.charge(number / 100)
    for _ in range(5):
        # Two clocks are read one after the other.
        budget.load(budget.dump(4.0, 1_000.0), 4.0, 1_000.000_3)
    assert len(budget.dump(4.0, 1_000.0)["sent"]) == 300
    other = Budget(900, 60.0)
    for _ in range(600):
        other.charge(4.0)
    budget.load(other.dump(4.0, 1_000.0), 4.0, 1_000.0)
    assert budget.delay(4.0) > 0.0


def test_a_hand_over_never_raises_what_is_left() -> None:
    """Within one reset the lower count holds, whoever counted."""
    left = {"remaining": 0, "reset": 2_000, "reset_at": 2_001.0}
    for ours, theirs in ((0, 9), (9, 0)):
        budget = Budget(10, 1.0)
        budget.load({**left, "remaining": ours}, 0.0, 1_000.0)
        budget.load({**left, "remaining": theirs}, 0.0, 1_000.0)
        assert budget.delay(0.0) == 1_001.0
    budget.load({"remaining": 5, "reset": 1_500, "reset_at": 1_501.0}, 0.0, 1_000.0)
    assert budget.delay(0.0) == 1_001.0
    budget.load({"remaining": 5, "reset": 3_000, "reset_at": 3_001.0}, 0.0, 1_000.0)
    assert budget.delay(0.0) == 0.0


def test_a_reset_in_another_age_is_a_mistake() -> None:
    """Nothing is quiet for centuries."""
    budget = Budget(10, 1.0)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "999999999999"}
    budget.answered(budget.charge(0.0), 0.0, headers, 1.7e9)
    assert 0.0 < budget.delay(0.0) <= 86_401.0


def test_the_last_window_of_a_holder_that_died_is_waited_for() -> None:
    """It may have sent as much as it might, up to the moment at which it had to stop."""
    budget = ncbi_budget(3)
    budget.load({}, 100.0, 0.0, silent_for=0.25)
    assert budget.delay(100.0) == pytest.approx(1.25)
    other = ncbi_budget(3)
    other.load({}, 100.0, 0.0, silent_for=1.5)
    assert other.delay(100.0) == 0.0
    clean = ncbi_budget(3)
    clean.load({}, 100.0, 0.0)
    assert clean.delay(100.0) == 0.0


def test_a_reserve_is_kept_for_who_is_urgent() -> None:
    """The schedule stops before the quota ends; who is waited for goes on."""
    budget = Budget(100, 1.0, reserve=0.05)
    ticket = budget.charge(0.0)
    headers = {
        "x-ratelimit-limit": "60",
        "x-ratelimit-remaining": "4",
        "x-ratelimit-reset": "1000600",
    }
    budget.answered(ticket, 0.0, headers, epoch=1_000_000.0)
    assert (budget.delay(0.0), budget.left(0.0)) == (0.0, 1)
    ticket = budget.charge(1.0)
    budget.answered(ticket, 1.0, {**headers, "x-ratelimit-remaining": "3"}, epoch=1_000_001.0)
    assert (budget.left(1.0), budget.delay(1.0) > 500.0) == (0, True)
    budget.urgent += 1
    assert (budget.left(1.0), budget.delay(1.0)) == (3, 0.0)
    budget.urgent -= 1
    assert budget.delay(1.0) > 500.0


def test_a_quota_is_handed_on_whole() -> None:
    """With its limit: the reserve is a share of it, and holds before the first answer, too."""
    headers = {"x-ratelimit-remaining": "4", "x-ratelimit-limit": "60", "x-ratelimit-reset": "2000"}
    first = github_budget(reserve=0.05)
    first.answered(first.charge(0.0), 0.1, headers, 1_000.0)
    assert first.quota(0.1) == Quota(4, 60, 2_000.0)
    second = github_budget(reserve=0.05)
    second.load(first.dump(0.1, 1_000.0), 5.0, 1_005.0)
    assert second.quota(5.0) == first.quota(0.1)
    assert second.left(5.0) == first.left(0.1) == 1
    assert second.quota(1_100.0) is None, "past its reset"
