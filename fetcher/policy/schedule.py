"""When a target is due again."""

from datetime import datetime, timedelta

from fetcher.models import OutcomeKind
from fetcher.policy.retry import Uniform

__all__ = ["next_due"]

# These say that something must change before another poll can end better.
_SETTLED = (OutcomeKind.NOT_FOUND, OutcomeKind.BLOCKED, OutcomeKind.UNAUTHORIZED)


def next_due(
    kind: OutcomeKind,
    *,
    now: datetime,
    every: float,
    failures: int,
    retry_at: datetime | None,
    min_interval: float,
    max_interval: float,
    uniform: Uniform,
) -> datetime:
    """The next due time after an outcome; never before `retry_at`, which the server asked for.

    A good poll is followed by another after `every` seconds. A failure that time alone may heal
    is tried again from `min_interval` on, doubling up to `every`; one that time alone will not
    heal waits for `every` at least, doubling up to `max_interval`. Failures get jitter, since
    what failed together should not come back together.
    """
    every = max(every, min_interval)
    doublings = 2.0 ** min(max(failures, 1) - 1, 32)
    if kind.good:
        wait = every
    elif kind in _SETTLED:
        wait = min(every * doublings, max(max_interval, every)) * uniform(1.0, 1.1)
    else:
        wait = min(min_interval * doublings, every) * uniform(1.0, 1.5)
    due = now + timedelta(seconds=wait)
    return due if retry_at is None else max(due, retry_at)
