"""How an account stands with its upstream: free, limited, refused, or nobody answers there.

Whoever leads an account knows. What others have to know to poll elsewhere meanwhile lies in the
store, beside the budget that goes with the lease, so that all replicas come to the same end.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

from fetcher.errors import Unauthorized, UpstreamError
from fetcher.gate import Door
from fetcher.models import AccountState, Clock, OutcomeKind, ReachableSource, TargetState
from fetcher.policy.breaker import Breaker

__all__ = ["LIMITED", "Standing", "away"]

LIMITED: Final = 2.0
"""A wait of more seconds than these is a limit, and no more the account's own pace."""
# A limit that is over sooner is waited out: to move costs the cursors, which belong to a token.
_WORTH_MOVING: Final = 120.0
# Seconds between two questions whether refused credentials are good again, and how long others
# go by what was said last: whoever leads the account says it again and again.
_ASK: Final = 600.0
_BELIEVED: Final = 1_200.0


def away(accounts: Iterable[AccountState], epoch: float) -> frozenset[str]:
    """The accounts that cannot poll for a while, by what their leaders have left in the store."""
    return frozenset(
        each.account for each in accounts if each.budget.get("away_until", epoch) > epoch
    )


class Standing:
    """What one account's leader knows of it, from its door and from how its polls end."""

    def __init__(
        self,
        gate: Door,
        clock: Clock,
        uniform: Callable[[float, float], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._log = log
        self._breaker = Breaker(uniform)
        self._away_until = float("-inf")
        self._refused = False
        self._asked_at = float("-inf")
        self._told_limit = False
        self._told_down = False

    @property
    def probing(self) -> bool:
        """The upstream is down: one target at a time may be polled, as a probe."""
        return self._breaker.probing

    def learn(self, state: TargetState) -> None:
        """Takes in how a poll ended."""
        now = self._clock.monotonic()
        if state.outcome is OutcomeKind.UNREACHABLE:
            self._breaker.failed(now)
        elif state.outcome is not OutcomeKind.FAILED:
            self._breaker.answered(now)
        if state.failure is not None and state.failure.whole_account:
            if not self._refused:
                self._log.warning("account refused", error=state.failure.message)
                self._asked_at = now
            self._refused = True
        elif state.outcome is not None and state.outcome.good:
            self._taken()

    def closed(self, *, busy: bool, pause: float) -> float:
        """Seconds until something may be polled; limits and outages are told of once.

        While the upstream is down and its probe is under way (`busy`) that is a `pause` at least.
        """
        limit = self._gate.closed_for()
        if (limit > LIMITED) != self._told_limit:
            self._told_limit = limit > LIMITED
            if self._told_limit:
                self._log.warning("account limited", seconds=round(limit))
            else:
                self._log.info("account free again")
        if self._breaker.probing != self._told_down:
            self._told_down = self._breaker.probing
            if self._told_down:
                self._log.warning("upstream unreachable", then="one probe at a time")
            else:
                self._log.info("upstream answers again")
        down = self._breaker.delay(self._clock.monotonic())
        if self._breaker.probing and busy:
            down = max(down, pause)
        return max(limit if limit > LIMITED else 0.0, down)

    def to_be_asked(self) -> bool:
        """Whether it is time to ask if refused credentials are good again."""
        return self._refused and self._clock.monotonic() - self._asked_at >= _ASK

    async def ask(self, source: ReachableSource) -> None:
        """Asks for the account's limits, which costs nothing of them."""
        self._asked_at = self._clock.monotonic()
        try:
            await source.reach()
        except Unauthorized:
            return
        except UpstreamError:
            return  # it says nothing of the credentials
        self._taken()

    def dump(self) -> dict[str, Any]:
        """What the account's next leader must know, and everybody who looks for one that polls."""
        now = self._clock.monotonic()
        if (closed := self._gate.closed_for()) >= _WORTH_MOVING:
            self._away_until = now + closed
        left = _BELIEVED if self._refused else self._away_until - now
        told = {"away_until": self._clock.time() + left} if left > 0.0 else {}
        return {**self._gate.dump(), **told, **({"refused": True} if self._refused else {})}

    def load(self, state: Mapping[str, Any], *, silent_for: float | None = None) -> None:
        """Takes over what the last leader left, who may have been this very process."""
        self._gate.load(state, silent_for=silent_for)
        self._refused = bool(state.get("refused"))
        self._asked_at = float("-inf")
        left = state.get("away_until", 0.0) - self._clock.time()
        self._away_until = self._clock.monotonic() + (0.0 if self._refused else left)

    def _taken(self) -> None:
        if self._refused:
            self._refused = False
            self._log.info("account accepted again")
