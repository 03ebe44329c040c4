"""When a target is due again."""

import hashlib
from datetime import UTC, datetime, timedelta

from fetcher.models import OutcomeKind
from fetcher.policy.retry import Uniform

__all__ = ["next_due", "phase", "share", "spread"]

# These say that something must change before another poll can end better.
_SETTLED = (OutcomeKind.NOT_FOUND, OutcomeKind.BLOCKED, OutcomeKind.UNAUTHORIZED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# An upstream that answers for hundreds of targets in one request is asked so many times in an
# interval at the least, and a sixteenth of the targets is due in one moment at the most.
_PHASES = 16
# Milliseconds from one phase to the next at the least.
_APART = 15_000


def next_due(
    kind: OutcomeKind,
    *,
    key: str,
    now: datetime,
    every: float,
    failures: int,
    retry_at: datetime | None,
    min_interval: float,
    max_interval: float,
    uniform: Uniform,
    origin: float = 0.0,
) -> datetime:
    """The next due time after an outcome; never before `retry_at`, which the server asked for.

    A good poll is followed by another after `every` seconds at most, on the target's own phase:
    see `spread`. A failure that time alone may heal is tried again from `min_interval` on,
    doubling up to `every`; one that time alone will not heal waits for `every` at least,
    doubling up to `max_interval`. Failures get jitter, since what failed together should not
    come back together. `now` is timezone-aware, and so is the result.
    """
    every = max(every, min_interval)
    if kind.good:
        due = spread(key, now, every, origin)
        return due if retry_at is None else max(due, retry_at)
    doublings = 2.0 ** min(max(failures, 1) - 1, 32)
    if kind in _SETTLED:
        wait = min(every * doublings, max(max_interval, every)) * uniform(1.0, 1.1)
        due = now + timedelta(seconds=wait)
    else:
        wait = min(min_interval * doublings, every) * uniform(1.0, 1.5)
        due = now + timedelta(seconds=wait)
    return due if retry_at is None else max(due, retry_at)


def spread(key: str, now: datetime, every: float, origin: float = 0.0) -> datetime:
    """The next moment on a target's phase, `every` / 2 to `every` seconds after `now`.

    An interval has up to sixteen phases, and the hash of `key` says which one is the target's, in
    every process. So targets that were polled together part, yet those of one phase fall due in
    the same moment and can share a request; and a poll that was a little late moves none that
    follow. All phases are counted from one time, `origin` seconds before the epoch: where one
    interval is a multiple of another, its moments are moments of the other one, too.

    Where the next moment on the phase is too near, the poll in between goes about half way to the
    moment after it: one poll more, and the next one is on the phase.
    """
    # In whole milliseconds, as stores keep them: who is polled just then is not before its phase.
    period = round(every * 1e3) or 1
    epoch = _EPOCH - round(origin * 1e3) * _MILLISECOND
    since = (now - epoch) // _MILLISECOND
    number, phases = phase(key, every)
    ahead = (number * period // phases - since) % period or period
    if 2 * ahead < period:
        # Half an interval from now at the least, and half of one before the moment after it. Where
        # between these is a moment that others may have, then there.
        first, last = (period + 1) // 2, ahead + period // 2
        middle = (ahead + period) // 2
        sixteenths = (since + middle) * _PHASES // period
        shared = [(sixteenths + more) * period // _PHASES - since for more in (0, 1)]
        ahead = next((each for each in shared if first <= each <= last), middle)
    return epoch + (since + ahead) * _MILLISECOND


def phase(key: str, every: float) -> tuple[int, int]:
    """The number of a target's phase, from 0, and of how many: see `spread`."""
    phases = max(1, min(_PHASES, round(every * 1e3) // _APART))
    return _hashed(key) % phases, phases


def share(key: str) -> float:
    """A number from 0 to 1, always the same for a key, evenly spread over keys."""
    return _hashed(key) / 2**64


def _hashed(key: str) -> int:
    encoded = key.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())
