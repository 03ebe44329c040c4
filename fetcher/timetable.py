"""When a target is due again: the policy's rules with what is configured and watched."""

from collections.abc import Callable
from datetime import datetime

from fetcher.config import Settings
from fetcher.models import Due, Every, OutcomeKind, TargetState
from fetcher.policy.rhythm import Rhythm
from fetcher.policy.schedule import next_due, share
from fetcher.targets import Target

__all__ = ["UNWATCHED_EVERY", "Timetable"]

UNWATCHED_EVERY = 15 * 60.0
"""Seconds after which a target that nobody watches counts as due again."""


class Timetable:
    """Due times under one set of settings, for the store of this identity.

    All who share a store poll in the same moments, and those of another store in others: not all
    fetchers of the world ask in one second.
    """

    def __init__(
        self, settings: Settings, uniform: Callable[[float, float], float], identity: str = ""
    ) -> None:
        self._min = settings.service.min_interval
        self._max = settings.service.max_interval
        self._reconcile = {
            "github": settings.github.reconcile,
            "ncbi": settings.ncbi.reconcile,
        }
        self._uniform = uniform
        self._origin = share(identity) * 86_400.0
        self._every: dict[str, Every] = {
            target.fold: watch.every for watch in settings.watches for target in watch.targets
        }

    def every(self, state: TargetState, rhythm: Rhythm | None = None) -> float:
        """Seconds between two polls of a target, by the rhythm that is known or by its own."""
        watched = state.watch.every if state.watch is not None else None
        if watched is None:
            watched = next((self._every[n] for n in state.names if n in self._every), None)
        if watched == "auto":
            rhythm = rhythm or Rhythm.of(state.rhythm)
            return rhythm.interval(self._min, self._max)
        return watched if watched is not None else UNWATCHED_EVERY

    def next_due(
        self,
        state: TargetState,
        outcome: OutcomeKind,
        failures: int,
        retry_at: datetime | None,
        rhythm: Rhythm,
        now: datetime,
    ) -> datetime:
        """The next due time after a poll of a target that had this state: see `NextDue`."""
        return next_due(
            outcome,
            key=state.id,
            now=now,
            every=self.every(state, rhythm),
            failures=failures,
            retry_at=retry_at,
            min_interval=self._min,
            max_interval=self._max,
            uniform=self._uniform,
            origin=self._origin,
        )

    def due(self, state: TargetState, now: datetime) -> Due:
        """A target to poll, in full where its listing is to be reconciled."""
        return Due(Target.of(state.key), state, self.overdue(state, now))

    def overdue(self, state: TargetState, now: datetime) -> bool:
        """Whether all that a repository or a query has is to be listed again.

        That finds edits and deletions far back, and what has left a query. What was listed
        together parts: each has its own time in the last quarter of the period.
        """
        upstream, _, name = state.key.partition(":")
        listed = upstream == "github" or "?" in name
        if not listed or state.last_success is None:
            return False
        if state.reconciled_at is None:
            return True
        period = self._reconcile[upstream] * (1.0 - share(state.id) / 4)
        return (now - state.reconciled_at).total_seconds() >= period

    def asked(self, target: Target, state: TargetState | None, now: datetime, *, full: bool) -> Due:
        """A target that somebody asks for now."""
        return Due(target, state, full or (state is not None and self.overdue(state, now)))
