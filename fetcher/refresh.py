"""The one path from due targets to committed outcomes, for daemon, one-shot and demo alike.

Order of every commit: records, then the watermark of changes, then cursor and due time; each
step is idempotent, so after a crash at any instant the next poll repairs the rest.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher.documents import Kind
from fetcher.errors import StoreError
from fetcher.fan import bunches
from fetcher.leases import Tenure
from fetcher.models import (
    Batch,
    Change,
    Chunk,
    Due,
    Failure,
    Outcome,
    OutcomeKind,
    Source,
    TargetState,
    Written,
)
from fetcher.shield import Shield
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target

__all__ = ["Event", "NextDue", "Polled", "Refresher", "Stored", "kinds_of"]

NextDue: TypeAlias = Callable[[Target, OutcomeKind, datetime, int, datetime | None], datetime]
"""(target, outcome, now, failures in a row, earliest retry) to the next due time."""

_COMMIT_RECORDS = 500
"""Records that share one commit: what a crash can cost, and what memory holds."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Records of one target were committed; `changes` are those that the poll changed."""

    target: Target
    changes: tuple[Change, ...]
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Polled:
    """One target's poll ended and its outcome is committed; `changed` counts records."""

    asked: Target
    state: TargetState
    changed: int


Event: TypeAlias = Stored | Polled


def kinds_of(target: Target) -> tuple[Kind, ...]:
    """The kinds of records that a target can have."""
    if target.upstream == "github":
        return ("release", "tag")
    match target.database:
        case "taxonomy":
            return ("taxon",)
        case "genome":
            return ("genome",)
        case _:
            return ("sequence",)


@dataclass(slots=True)
class _Tally:
    """What the poll of one target has done so far."""

    changed: int = 0
    refused: bool = False


@dataclass(slots=True)
class _Run:
    """One refresh under way: who is still to be answered, and the tallies by canonical key."""

    tenure: Tenure
    observed_at: datetime
    due: dict[Target, Due]
    tallies: dict[str, _Tally] = field(default_factory=dict)


class Refresher:
    """Polls what is due through its source and commits what comes, shielded."""

    def __init__(
        self, store: WriteStore, shield: Shield, next_due: NextDue, log: FilteringBoundLogger
    ) -> None:
        self._store = store
        self._shield = shield
        self._next_due = next_due
        self._log = log

    async def refresh(
        self, tenure: Tenure, source: Source, due: Sequence[Due]
    ) -> AsyncGenerator[Event, None]:
        """Yields an event for everything committed, and one `Polled` for each due target.

        Targets of which the source says nothing, because it raised or forgot them, end as
        `failed`. Raises `StoreError` when the store fails: then nothing further is committed,
        and what was not is polled again next time.
        """
        run = _Run(tenure, await self._store.now(), {each.target: each for each in due})
        log_id: str | None = None
        try:
            async with aclosing(
                bunches(source.poll(due, self._store), most=_COMMIT_RECORDS, weigh=_weight)
            ) as bunched:
                async for items in bunched:
                    for event in await self._shield.run(self._commit(run, items)):
                        yield event
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - every path ends in an outcome
            log_id = uuid4().hex[:12]
            self._log.exception("poll failed", log_id=log_id, targets=len(run.due))
        if run.due:
            log_id = log_id or uuid4().hex[:12]
            self._log.error("targets without an outcome", log_id=log_id, targets=len(run.due))
            failure = Failure(f"an error of the fetcher's own, logged as {log_id}", log_id=log_id)
            failed = [
                Outcome(target, target, OutcomeKind.FAILED, failure) for target in list(run.due)
            ]
            for event in await self._shield.run(self._commit(run, failed)):
                yield event

    async def _commit(self, run: _Run, items: Sequence[Chunk | Outcome]) -> list[Event]:
        """Records first, then the watermark, then the states of the targets that ended."""
        chunks = [item for item in items if isinstance(item, Chunk)]
        outcomes = [item for item in items if isinstance(item, Outcome) and item.asked in run.due]
        events: list[Event] = []
        if chunks:
            batches = [_batch(chunk, run.observed_at) for chunk in chunks]
            written = await self._store.write(run.tenure.check(), batches)
            await self._store.publish(run.tenure.check())
            for chunk, wrote in zip(chunks, written, strict=True):
                _count(run, chunk, wrote)
                events.append(Stored(chunk.target, wrote.changes, wrote.unchanged))
        if outcomes:
            ended = await self._ended(run, outcomes)
            await self._store.save_targets(run.tenure.check(), [each.state for each in ended])
            for outcome in outcomes:
                del run.due[outcome.asked]
            events.extend(ended)
        return events

    async def _ended(self, run: _Run, outcomes: Sequence[Outcome]) -> list[Polled]:
        now = await self._store.now()
        names = [outcome.target.fold for outcome in outcomes]
        known = dict(await self._store.targets_by_name(names))
        counts = await self._counts([outcome.target for outcome in outcomes])
        ended = []
        for outcome in map(self._logged, outcomes):
            due = run.due[outcome.asked]
            old = known.get(outcome.target.fold) or due.state
            tally = run.tallies.pop(outcome.target.key, _Tally())
            state = self._state(run, outcome, old, tally, now, counts)
            known.update(dict.fromkeys(state.names, state))
            ended.append(Polled(outcome.asked, state, tally.changed))
            self._tell(old, state, tally.changed)
        return ended

    def _logged(self, outcome: Outcome) -> Outcome:
        """An error of ours can be found in the log by the id that its target carries."""
        failure = outcome.failure
        if outcome.kind is not OutcomeKind.FAILED or failure is None or failure.log_id:
            return outcome
        log_id = uuid4().hex[:12]
        self._log.error(failure.message, log_id=log_id, target=outcome.target.key)
        message = f"{failure.message} (logged as {log_id})"
        return replace(outcome, failure=replace(failure, message=message, log_id=log_id))

    async def _counts(self, targets: Sequence[Target]) -> Mapping[str, int]:
        """Records that each target has now, by its key."""
        by_kind: dict[Kind, list[str]] = {}
        for target in targets:
            for kind in kinds_of(target):
                by_kind.setdefault(kind, []).append(target.key)
        totals: dict[str, int] = {}
        for kind, keys in by_kind.items():
            for key, count in (await self._store.counts(kind, keys)).items():
                totals[key] = totals.get(key, 0) + count
        return totals

    def _state(
        self,
        run: _Run,
        outcome: Outcome,
        old: TargetState | None,
        tally: _Tally,
        now: datetime,
        counts: Mapping[str, int],
    ) -> TargetState:
        target, lease = outcome.target, run.tenure.lease
        kind = outcome.kind
        if kind is OutcomeKind.UNCHANGED and tally.changed:
            kind = OutcomeKind.CHANGED
        if old is None:
            old = TargetState(target.fold, target.key, (), lease.account)
        failures = 0 if kind.good else old.failures + 1
        retry_at = outcome.failure.retry_at if outcome.failure is not None else None
        # A bad poll keeps the last good cursor, which never outran its records; a refused
        # record voids it, because what the cursor stands for was not stored.
        cursor = outcome.cursor if kind.good else outcome.cursor or old.cursor
        return replace(
            old,
            key=target.key,
            names=tuple(dict.fromkeys((*old.names, target.fold, outcome.asked.fold))),
            account=lease.account,
            outcome=kind,
            failure=outcome.failure,
            missing=outcome.missing,
            cursor=None if tally.refused else cursor,
            facts=outcome.facts if kind.good else {**old.facts, **outcome.facts},
            records=counts.get(target.key, 0),
            failures=failures,
            last_attempt=now,
            last_success=now if kind.good else old.last_success,
            last_change=now if tally.changed else old.last_change,
            reconciled_at=now if outcome.reconciled and kind.good else old.reconciled_at,
            next_due=self._next_due(target, kind, now, failures, retry_at),
            token=lease.token,
        )

    def _tell(self, old: TargetState | None, state: TargetState, changed: int) -> None:
        """Logs the first failure and the recovery, not every repeat."""
        before = old.failures if old is not None else 0
        log = self._log.bind(target=state.key, outcome=str(state.outcome), changed=changed)
        if state.failures and not before:
            evidence = state.failure.evidence if state.failure is not None else None
            log.warning(
                "target failed",
                error=state.failure.message if state.failure is not None else None,
                status=evidence.status if evidence is not None else None,
                request_id=evidence.request_id if evidence is not None else None,
            )
        elif before and not state.failures:
            log.info("target recovered", failures=before)
        else:
            log.debug("polled")


def _weight(item: Chunk | Outcome) -> int:
    return len(item.records) if isinstance(item, Chunk) else 1


def _batch(chunk: Chunk, observed_at: datetime) -> Batch:
    return Batch(
        chunk.kind,
        chunk.target.key,
        observed_at,
        chunk.records,
        chunk.withdrawn,
        chunk.detached,
        chunk.formerly,
    )


def _count(run: _Run, chunk: Chunk, wrote: Written) -> None:
    tally = run.tallies.setdefault(chunk.target.key, _Tally())
    tally.changed += len(wrote.changes)
    tally.refused = tally.refused or bool(wrote.refused)
