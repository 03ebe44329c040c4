"""What the outcome of a poll makes of its target's state: pure."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

from fetcher.models import Lease, Outcome, OutcomeKind, Spell, TargetState
from fetcher.policy.rhythm import Rhythm

__all__ = ["NextDue", "state_after"]

# Spells that are remembered: an upstream that fails every other day is seen for three months.
_SPELLS: Final = 90

NextDue: TypeAlias = Callable[
    [TargetState, OutcomeKind, int, datetime | None, Rhythm, datetime], datetime
]
"""(the state before, the outcome, failures in a row, the server's earliest time, the rhythm,
now) to the next due time."""


def state_after(
    old: TargetState | None,
    outcome: Outcome,
    lease: Lease,
    *,
    changed: bool,
    refused: bool,
    records: int | None,
    now: datetime,
    next_due: NextDue,
) -> TargetState:
    """The state after a poll that `changed` records or not, and of which some were `refused`.

    `records` is how many the target has now; None: as many as before.
    """
    target, asked, kind = outcome.target, outcome.asked, outcome.kind
    if changed and kind is OutcomeKind.UNCHANGED:
        kind = OutcomeKind.CHANGED
    if old is None:
        old = TargetState(target.fold, target.key, (), lease.account)
    names = old.names
    if target.fold not in names or asked.fold not in names:
        names = tuple(dict.fromkeys((*names, target.fold, asked.fold)))
    failure = outcome.failure
    success: datetime | None
    rhythm = Rhythm.of(old.rhythm)
    if kind.good:
        failures, success = 0, now
        cursor, facts = outcome.cursor, outcome.facts
        if old.last_success is not None:
            rhythm = rhythm.seen((now - old.last_success).total_seconds(), changed=changed)
    else:
        failures, success = old.failures + 1, old.last_success
        # A bad poll that changed nothing keeps the last good cursor.
        cursor, facts = outcome.cursor or old.cursor, {**old.facts, **outcome.facts}
    ended, spells = "good" if kind.good else str(kind), old.spells
    if not spells or spells[-1].outcome != ended:
        spells = (*spells, Spell(now, ended))[-_SPELLS:]
    reconciled = now if outcome.reconciled else old.reconciled_at
    retry_at = failure.retry_at if failure is not None else None
    due = next_due(old, kind, failures, retry_at, rhythm, now)
    return TargetState(
        id=old.id,
        key=target.key,
        names=names,
        account=lease.account,
        outcome=kind,
        failure=failure,
        missing=outcome.missing,
        # A refused record voids the cursor: what it stands for was not stored.
        cursor=None if refused else cursor,
        facts=facts,
        records=old.records if records is None else records,
        failures=failures,
        last_attempt=now,
        last_success=success,
        last_change=now if changed else old.last_change,
        reconciled_at=reconciled,
        # Whole milliseconds, as stores keep them.
        next_due=due.replace(microsecond=due.microsecond // 1000 * 1000),
        rhythm=rhythm.document(),
        spells=spells,
        token=lease.token,
        watch=old.watch,
    )
