"""The rate budget of one upstream account, without a clock of its own.

Two rules at once: so much in any sliding window, judged where requests *arrive*, and what the
server says is left of its quota (``x-ratelimit-remaining`` until ``x-ratelimit-reset``).
Times are monotonic seconds unless they are called `epoch`.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fetcher.policy.verdict import LONGEST_WAIT, server_time

__all__ = [
    "RESERVE",
    "Budget",
    "Quota",
    "Ticket",
    "asset_budget",
    "github_budget",
    "graphql_budget",
    "ncbi_budget",
]

RESERVE: Final = 0.05
"""The share of GitHub's hourly quotas that the schedule leaves to those who ask for a poll now."""

# How long a request may be on its way before it is taken to have arrived.
SLACK = 0.5
# A limit without a named end is waited out twice as long each time, up to this many doublings.
MAX_STRIKES = 6
# Places dumped and loaded again by one process are known again, though two clocks were read.
SAME_PLACE = 0.05
# Seconds after which to look again for an answer that decides.
_ASK_AGAIN = 0.05


@dataclass(slots=True, eq=False)
class Ticket:
    """One request that was sent; its place in the window is taken until `until`.

    `cost` is what it takes of the server's quota.
    """

    cost: int
    until: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What the server says that it still gives: `remaining` of `limit`, until `reset_epoch`."""

    remaining: int
    limit: int
    reset_epoch: float


class Budget:
    """What an account may still send, and when.

    `limit` requests in any `window` seconds, whatever they cost of the quota. A request arrives
    at some moment between its being sent and its being answered. Its place is therefore taken
    from when it is sent until a whole window after its answer, or after `SLACK` seconds where the
    answer takes longer: so however requests jitter on their way, no window at the server sees one
    too many, and a slow server does not halve the rate.

    Where the server tells its counters (`told`), whoever takes over an account sends one request
    and hears its answer before the next: the last holder may have died without a word of what
    it spent. `reserve` is the share of the server's quota that is kept for who is `urgent`.
    """

    def __init__(
        self,
        limit: int,
        window: float,
        *,
        slack: float = SLACK,
        told: bool = False,
        reserve: float = 0.0,
    ) -> None:
        self._limit = limit
        self._window = window
        self._slack = slack
        self._told = told
        self._reserve = reserve
        self._quota = 0
        self.urgent = 0
        self._unsure = False
        self._sent: deque[Ticket] = deque()
        self._outstanding: set[Ticket] = set()
        self._parked_until = float("-inf")
        self._strikes = 0
        self._remaining: int | None = None
        self._reset_epoch: float | None = None
        self._reset_at = float("-inf")

    def delay(self, now: float, cost: int = 1) -> float:
        """Seconds until a request of that cost may go; 0.0 means now."""
        wait = max(0.0, self._parked_until - now)
        if self._unsure and self._outstanding:
            wait = max(wait, _ASK_AGAIN)
        if self._remaining is not None:
            if now >= self._reset_at:
                self._remaining = None
            elif self._spare(self._remaining) < cost:
                wait = max(wait, self._reset_at - now)
        self._prune(now)
        over = len(self._sent) + 1 - self._limit
        if over > 0:
            ends = sorted(each.until for each in self._sent)
            wait = max(wait, ends[over - 1] - now)
        return wait

    def charge(self, now: float, cost: int = 1) -> Ticket:
        """Takes a place for a request that is sent now; ask `delay` first."""
        ticket = Ticket(cost, now + self._slack + self._window)
        self._sent.append(ticket)
        self._outstanding.add(ticket)
        return ticket

    def answered(
        self, ticket: Ticket, now: float, headers: Mapping[str, str] | None, epoch: float
    ) -> None:
        """The answer's head has come, or (`headers` None) the request has failed.

        Counters of answers that overtake each other never raise what is left before the reset.
        """
        if ticket in self._outstanding:
            self._outstanding.discard(ticket)
            if headers is not None:
                ticket.until = min(ticket.until, now + self._window)
        if headers is None:
            return
        self._unsure = False
        remaining, reset = _number(headers, "remaining"), _number(headers, "reset")
        if remaining is None or reset is None:
            return
        self._quota = _number(headers, "limit") or 0
        if self._reset_epoch is None or reset > self._reset_epoch or self._remaining is None:
            self._reset_epoch = reset
            self._remaining = remaining
        elif reset == self._reset_epoch:
            self._remaining = min(self._remaining, remaining)
        else:
            return
        # A second more, for the clocks' fractions.
        left = min(max(0.0, reset - server_time(headers, epoch)), LONGEST_WAIT)
        self._reset_at = now + left + 1.0

    def quota(self, now: float) -> Quota | None:
        """What the server said last, as long as it holds."""
        if self._remaining is None or self._reset_epoch is None or now >= self._reset_at:
            return None
        return Quota(self._remaining, self._quota, self._reset_epoch)

    def left(self, now: float) -> int | None:
        """What the server's quota still gives before its reset, where that is known."""
        if self._remaining is None or now >= self._reset_at:
            return None
        return max(0, self._spare(self._remaining))

    def _spare(self, remaining: int) -> int:
        """What is left for those who ask now."""
        kept = 0 if self.urgent else int(self._quota * self._reserve)
        return remaining - kept - sum(each.cost for each in self._outstanding)

    def limited(self, now: float, wait: float, *, named: bool) -> float:
        """The server limits the account: nothing goes for so long; gives the wait in seconds.

        Where the server `named` no time the wait doubles with every repeat.
        """
        if not named:
            wait *= 2.0 ** min(self._strikes, MAX_STRIKES)
            self._strikes += 1
        self.park(now + wait)
        return wait

    def went_well(self) -> None:
        """An answer was accepted; limits that follow are new ones."""
        self._strikes = 0

    def park(self, until: float) -> None:
        """Nothing goes before `until`; an earlier end does not shorten a later one."""
        self._parked_until = max(self._parked_until, until)

    def dump(self, now: float, epoch: float) -> dict[str, Any]:
        """What the next holder of the account must know, in epoch seconds."""
        self._prune(now)
        shift = epoch - now
        state: dict[str, Any] = {"sent": [[t.until + shift, t.cost] for t in self._sent]}
        if self._parked_until > now:
            state["parked_until"] = self._parked_until + shift
        if self._remaining is not None and self._reset_at > now:
            state["remaining"] = self._remaining
            state["limit"] = self._quota
            state["reset"] = self._reset_epoch
            state["reset_at"] = self._reset_at + shift
        return state

    def load(
        self,
        state: Mapping[str, Any],
        now: float,
        epoch: float,
        *,
        silent_for: float | None = None,
    ) -> None:
        """Takes over what an earlier holder dumped, who may have been this very process.

        A holder that died, or is paused, may have sent more than it told, but nothing in the
        last `silent_for` seconds: so nothing goes before its last window is over.
        """
        if silent_for is not None:
            self.park(now - silent_for + self._window + self._slack)
        shift = now - epoch
        self._unsure = self._told
        self._prune(now)
        mine = sorted(self._sent, key=lambda ticket: ticket.until)
        for until, cost in sorted(state.get("sent", ())):
            # Even with clocks far apart a place is never taken for longer than it can be.
            at = min(until + shift, now + self._slack + self._window)
            # Only one holds the account at a time: a place at the same moment is the same place.
            while mine and mine[0].until < at - SAME_PLACE:
                mine.pop(0)
            if mine and mine[0].until <= at + SAME_PLACE and mine[0].cost == int(cost):
                mine.pop(0)
            else:
                self._sent.append(Ticket(int(cost), at))
        if "parked_until" in state:
            self.park(state["parked_until"] + shift)
        if "remaining" in state:
            remaining, reset = int(state["remaining"]), state["reset"]
            if self._remaining is None or self._reset_epoch is None or reset > self._reset_epoch:
                self._remaining, self._reset_epoch = remaining, reset
                self._quota = int(state.get("limit", 0))
                self._reset_at = state["reset_at"] + shift
            elif reset == self._reset_epoch:
                self._remaining = min(self._remaining, remaining)

    def _prune(self, now: float) -> None:
        self._sent = deque(each for each in self._sent if each.until > now)


def github_budget(reserve: float = 0.0) -> Budget:
    """GitHub's secondary limit for REST: 900 points a minute, a GET being one.

    Two of the fifteen a second are left to downloads, see `asset_budget`. Taken by the second, so
    that a leader that takes over has only a second of its predecessor's to fear. The hourly quota
    (60 without a token, 5,000 and more with one) is learned from the headers.
    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    return Budget(13, 1.0, told=True, reserve=reserve)


def graphql_budget(reserve: float = 0.0) -> Budget:
    """GitHub's secondary limit for GraphQL: 2,000 points a minute, a query being one.

    See `github_budget`. What a query costs otherwise is of the hourly quota (5,000 points and
    more), which is learned from the headers.
    https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
    """
    return Budget(33, 1.0, told=True, reserve=reserve)


def asset_budget() -> Budget:
    """The share of GitHub's secondary limit that downloads have beside whoever polls.

    A daemon holds its account's lease for months; a download waits neither for it nor for the
    requests that it has not sent.
    """
    return Budget(2, 1.0, told=True)


def ncbi_budget(requests_per_second: float) -> Budget:
    """NCBI's limit: 3 requests in any second, 10 with a key; fractions stretch the window.

    https://www.ncbi.nlm.nih.gov/books/NBK25497/
    """
    limit = max(1, int(requests_per_second))
    return Budget(limit, limit / requests_per_second)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(f"x-ratelimit-{name}", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 13 else None
