"""The one path from due targets to committed outcomes, for daemon, one-shot and demo alike.

Order of every commit: the old cursor goes, then records, the watermark of changes, and the new
cursor with the due time; each step is idempotent, so after a crash at any instant the next poll
repairs the rest.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher.aftermath import NextDue, state_after
from fetcher.databases import SUMMARY_DATABASES
from fetcher.documents import Kind
from fetcher.errors import LeaseLost, StoreError
from fetcher.fan import bunches
from fetcher.leases import Tenure
from fetcher.models import (
    Batch,
    Change,
    Chunk,
    Due,
    Expected,
    Failure,
    Lease,
    Outcome,
    OutcomeKind,
    Source,
    TargetState,
    Wish,
    Written,
    value,
)
from fetcher.shield import Shield
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target

__all__ = ["Event", "OnOutage", "Polled", "Refresher", "Stored", "kinds_of"]

OnOutage: TypeAlias = Callable[[StoreError, int], Awaitable[None]]
"""(why a commit failed, how often in a row): returns when it may be tried again, or raises."""

_COMMIT_RECORDS = 500
"""Records that share one commit: what a crash can cost, and what memory holds."""
# Bytes that count as one more record: five megabytes are a commit, however few records they are.
_HEAVY: Final = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """Records of one target were committed; `changes` are those that the poll changed."""

    target: Target
    changes: tuple[Change, ...]
    unchanged: int = 0


@value
class Polled:
    """One target's poll ended and its outcome is committed; `changed` counts records.

    `begun` is when the poll began, `was_due` when it ought to have, by the store's clock. `since`
    is set where another process polled: what changed after it is what that poll changed.
    """

    asked: Target
    state: TargetState
    changed: int
    begun: datetime
    was_due: datetime | None = None
    since: datetime | None = None


Event: TypeAlias = Expected | Stored | Polled


def kinds_of(target: Target) -> tuple[Kind, ...]:
    """The kinds of records that a target can have."""
    if target.upstream == "github":
        return ("release", "tag")
    match target.database:
        case "taxonomy":
            return ("taxon",)
        case "genome":
            return ("genome",)
        case database if database in SUMMARY_DATABASES:
            return ("summary",)
        case _:
            return ("sequence",)


@dataclass(slots=True)
class _Tally:
    """What the poll of one target has done so far."""

    changed: int = 0
    touched: bool = False
    refused: bool = False


_NOTHING: Final = _Tally()


@dataclass(slots=True)
class _Run:
    """One refresh under way: who is still to be answered, and the tallies by canonical key."""

    tenure: Tenure
    observed_at: datetime
    due: dict[str, Due]
    tallies: dict[str, _Tally] = field(default_factory=dict)
    named: dict[str, TargetState] = field(default_factory=dict)
    """By id, as saved: targets that an earlier commit of this refresh gave further names."""


@dataclass(slots=True)
class _Work:
    """What is committed together, and how far that has come."""

    chunks: Sequence[Chunk]
    outcomes: Sequence[Outcome]
    written: Sequence[Written] | None = None


class Refresher:
    """Polls what is due through its source and commits what comes, shielded.

    Where the store fails, `on_outage` decides: without one the refresh ends with the error. While
    it waits, nothing more is taken from the source, so memory stays bounded.
    """

    def __init__(
        self,
        store: WriteStore,
        shield: Shield,
        next_due: NextDue,
        log: FilteringBoundLogger,
        on_outage: OnOutage | None = None,
    ) -> None:
        self._store = store
        self._shield = shield
        self._next_due = next_due
        self._log = log
        self._on_outage = on_outage
        self._talkative = log.is_enabled_for(logging.DEBUG)

    async def refresh(
        self, tenure: Tenure, source: Source, due: Sequence[Due]
    ) -> AsyncGenerator[Event, None]:
        """Yields an event for everything committed, and one `Polled` for each due target.

        What a source expects goes by as it is.

        Targets of which the source says nothing, because it raised or forgot them, end as
        `failed`. Raises `StoreError` when the store fails: then nothing further is committed,
        and what was not is polled again next time.
        """
        run = _Run(tenure, await self._store.now(), {each.target.key: each for each in due})
        log_id: str | None = None
        try:
            async with aclosing(
                bunches(source.poll(due, self._store), most=_COMMIT_RECORDS, weigh=_weight)
            ) as bunched:
                async for items in bunched:
                    for item in items:
                        if isinstance(item, Expected):
                            yield item
                    for event in await self._committed(run, items):
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
                Outcome(each.target, each.target, OutcomeKind.FAILED, failure)
                for each in run.due.values()
            ]
            for event in await self._committed(run, failed):
                yield event

    async def _committed(
        self, run: _Run, items: Sequence[Chunk | Expected | Outcome]
    ) -> list[Event]:
        """Commits until it is done; what was written already is not written again."""
        work = _Work(
            [item for item in items if isinstance(item, Chunk)],
            [
                self._logged(item)
                for item in items
                if isinstance(item, Outcome) and item.asked.key in run.due
            ],
        )
        failures = 0
        while True:
            lease = run.tenure.check()
            try:
                return await self._shield.run(self._commit(run, work, lease))
            except LeaseLost as error:
                # The lease may have come back with a new token: see `WriteStore.renew`.
                if run.tenure.check().token == lease.token:
                    run.tenure.lose(error)
                    raise
            except StoreError as error:
                if self._on_outage is None:
                    raise
                failures += 1
                await self._on_outage(error, failures)

    async def _commit(self, run: _Run, work: _Work, lease: Lease) -> list[Event]:
        """Records first, then the watermark, then the states of the targets that ended."""
        events: list[Event] = []
        if work.chunks:
            if work.written is None:
                await self._void(run, work.chunks, lease)
                batches = [_batch(chunk, run.observed_at) for chunk in work.chunks]
                work.written = await self._store.write(lease, batches)
                for chunk, wrote in zip(work.chunks, work.written, strict=True):
                    _count(run, chunk, wrote)
            await self._store.publish(lease)
            events += (
                Stored(chunk.target, wrote.changes, wrote.unchanged)
                for chunk, wrote in zip(work.chunks, work.written, strict=True)
            )
        if work.outcomes:
            ended = await self._ended(run, work.outcomes, lease)
            for outcome in work.outcomes:
                tally = run.tallies.pop(outcome.target.key, None)
                polled = ended[outcome.asked]
                old = run.due.pop(outcome.asked.key).state
                self._tell(polled, old, refused=tally is not None and tally.refused)
                events.append(polled)
        return events

    async def _void(self, run: _Run, chunks: Sequence[Chunk], lease: Lease) -> None:
        """What a cursor stands for is about to change; the poll's end may never come."""
        keys = {(chunk.asked or chunk.target).key for chunk in chunks}
        stood = {
            key: state
            for key in keys & run.due.keys()
            if (state := run.due[key].state) is not None and state.cursor is not None
        }
        if stood:
            await self._store.void(lease, [state.id for state in stood.values()])
            for key, state in stood.items():
                run.due[key] = replace(run.due[key], state=replace(state, cursor=None))

    async def _ended(
        self, run: _Run, outcomes: Sequence[Outcome], lease: Lease
    ) -> dict[Target, Polled]:
        """Saves the states; those that changed under our hands are read and made again."""
        now = await self._store.now()
        counts = await self._counts(run, outcomes, lease)
        known: dict[str, TargetState] = {}
        for outcome in outcomes:
            state = run.due[outcome.asked.key].state
            if state is not None:
                state = run.named.get(state.id, state)
                for name in state.names:
                    known[name] = state
        # Only names that nobody answered to when the poll began: new targets and new names.
        unknown = [each.target.fold for each in outcomes if each.target.fold not in known]
        known.update(await self._store.targets_by_name(unknown))
        ended: dict[Target, Polled] = {}
        gone = await self._one(outcomes, known, run)
        left = list(outcomes)
        while left:
            made: dict[str, list[Outcome]] = {}
            states: dict[str, TargetState] = {}
            before: dict[str, TargetState] = {}
            for outcome in left:
                old = known.get(outcome.target.fold) or run.due[outcome.asked.key].state
                tally = run.tallies.get(outcome.target.key, _NOTHING)
                state = state_after(
                    old,
                    outcome,
                    lease,
                    changed=tally.changed > 0,
                    refused=tally.refused,
                    records=counts.get(outcome.target.key),
                    now=now,
                    next_due=self._next_due,
                )
                if old is not None:
                    before.setdefault(old.id, old)
                for name in state.names:
                    known[name] = state
                if old is not None and state.names != old.names:
                    run.named[state.id] = state
                states[state.id] = state
                made.setdefault(state.id, []).append(outcome)
                was_due = old.next_due if old is not None and old.watch is not None else None
                ended[outcome.asked] = Polled(
                    outcome.asked, state, tally.changed, run.observed_at, was_due
                )
            stale = await self._store.save_targets(lease, list(states.values()), gone, before)
            left = []
            if stale:
                fresh = await self._store.targets_by_name(
                    [outcome.target.fold for id_ in stale for outcome in made[id_]]
                )
                known.update(fresh)
                for outcome in (each for id_ in stale for each in made[id_]):
                    found = fresh.get(outcome.target.fold)
                    if found is not None and (found.last_attempt or now) > now:
                        # Another account polled it later: what that found stands.
                        ended[outcome.asked] = replace(ended[outcome.asked], state=found)
                    else:
                        left.append(outcome)
        return ended

    async def _one(
        self, outcomes: Sequence[Outcome], known: dict[str, TargetState], run: _Run
    ) -> list[str]:
        """Makes one target of two that turned out to be the same, by a rename.

        The one that has the name today stays, and is watched as the other was; gives the ids of
        those that go.
        """
        gone: list[str] = []
        for outcome in outcomes:
            mine, other = run.due[outcome.asked.key].state, known.get(outcome.target.fold)
            if mine is None or other is None or mine.id == other.id:
                continue
            gone.append(mine.id)
            watch = mine.watch
            if watch is not None and other.watch is None:
                wish = Wish(other.id, other.key, watch.account, watch.every)
                await self._store.wish("hand" if watch.hand is not None else "file", [wish])
                watch = replace(watch, file=watch.file if watch.hand is None else None)
                known[outcome.target.fold] = replace(other, watch=watch)
        return gone

    def _logged(self, outcome: Outcome) -> Outcome:
        """An error of ours can be found in the log by the id that its target carries."""
        failure = outcome.failure
        if outcome.kind is not OutcomeKind.FAILED or failure is None or failure.log_id:
            return outcome
        log_id = uuid4().hex[:12]
        self._log.error(failure.message, log_id=log_id, target=outcome.target.key)
        message = f"{failure.message} (logged as {log_id})"
        return replace(outcome, failure=replace(failure, message=message, log_id=log_id))

    async def _counts(
        self, run: _Run, outcomes: Sequence[Outcome], lease: Lease
    ) -> Mapping[str, int]:
        """Records that targets have now, by key, of those where that may have changed.

        A state that was saved under another lease may lack what a crash cut off: records that
        were written, and are no news to this poll.
        """
        by_kind: dict[Kind, list[str]] = {}
        for outcome in outcomes:
            target, old = outcome.target, run.due[outcome.asked.key].state
            tally = run.tallies.get(target.key)
            touched = tally is not None and tally.touched
            if old is None or old.token != lease.token or old.key != target.key or touched:
                for kind in kinds_of(target):
                    by_kind.setdefault(kind, []).append(target.key)
        totals: dict[str, int] = {key: 0 for keys in by_kind.values() for key in keys}
        for kind, keys in by_kind.items():
            for key, count in (await self._store.counts(kind, keys)).items():
                totals[key] += count
        return totals

    def _tell(self, polled: Polled, old: TargetState | None, *, refused: bool) -> None:
        """Logs the first failure and the recovery, not every repeat.

        A limit is the account's, not the target's: whoever holds the account tells of it once.
        """
        state = polled.state
        before = old.failures if old is not None else 0
        if not (refused or state.failures or before or polled.changed):
            if self._talkative:  # nearly all polls end here
                self._log.debug("polled", **_told(polled))
            return
        evidence = state.failure.evidence if state.failure is not None else None
        log = self._log.bind(**_told(polled))
        if refused:
            log.info("an older answer was not stored", next="polled again without a cursor")
        if state.failures and not before and state.outcome is not OutcomeKind.RATE_LIMITED:
            log.warning(
                "target failed",
                error=state.failure.message if state.failure is not None else None,
                status=evidence.status if evidence is not None else None,
            )
        elif before and not state.failures:
            log.info("target recovered", failures=before)
        elif polled.changed:
            log.info("target changed")
        else:
            log.debug("polled")


def _told(polled: Polled) -> dict[str, Any]:
    state = polled.state
    evidence = state.failure.evidence if state.failure is not None else None
    seconds = (state.last_attempt or polled.begun) - polled.begun
    return {
        "target": state.key,
        "account": state.account,
        "outcome": str(state.outcome),
        "changed": polled.changed,
        "seconds": round(seconds.total_seconds(), 3),
        **({"request_id": evidence.request_id} if evidence and evidence.request_id else {}),
    }


def _weight(item: Chunk | Expected | Outcome) -> int:
    if not isinstance(item, Chunk):
        return 1
    return sum([1 + (record.size or 0) // _HEAVY for record in item.records])


def _batch(chunk: Chunk, observed_at: datetime) -> Batch:
    return Batch(
        chunk.kind,
        chunk.target.key,
        observed_at,
        chunk.records,
        chunk.withdrawn,
        chunk.detached,
    )


def _count(run: _Run, chunk: Chunk, wrote: Written) -> None:
    tally = run.tallies.setdefault(chunk.target.key, _Tally())
    tally.changed += len(wrote.changes)
    tally.touched = tally.touched or bool(wrote.changes or wrote.touched)
    tally.refused = tally.refused or bool(wrote.refused)
