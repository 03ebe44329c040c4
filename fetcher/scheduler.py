"""The leader of one upstream account: what is due goes to its source, oldest first.

The schedule lives in the store, so there is nothing to load at a start and nothing to lose at an
end. What one tick costs depends on what is due. Targets under way are bounded in number, and
queries, each of which may take hours, have places of their own: nobody starves behind them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from structlog.typing import FilteringBoundLogger

from fetcher.asked import Asked
from fetcher.errors import LeaseLost, StoreError
from fetcher.gate import Door
from fetcher.leases import Tenure, hold
from fetcher.models import Clock, Due, Lease, PollRequest, ReachableSource
from fetcher.policy.budget import Quota
from fetcher.refresh import Event, Polled, Refresher
from fetcher.shield import Shield
from fetcher.standing import Standing
from fetcher.store.protocol import WriteStore
from fetcher.targets import parse_target
from fetcher.timetable import Timetable

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Leader", "Observer", "Pace"]

# Seconds that a clock must be set back by to be taken note of.
_SET_BACK: Final = 5.0
# Seconds in which what falls due is polled together: the most that a poll is late by itself.
_TOGETHER: Final = 0.1
# Seconds between two tries of a store that fails: doubling, up to the second.
_FIRST_RETRY: Final = 0.25
_LAST_RETRY: Final = 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a leader does at once.

    `tick` is how often it looks for all that there is to do, in seconds, whatever is due in
    between. `targets` and `polls` bound what is
    under way, queries aside, of which there are `queries` at most.
    """

    tick: float = 1.0
    targets: int = 1_000
    polls: int = 16
    queries: int = 4


class Observer(Protocol):
    """Whoever counts and shows what leaders do."""

    def event(self, account: str, event: Event) -> None:
        """Something was committed."""
        ...

    def account(
        self,
        account: str,
        *,
        leading: bool,
        under_way: int = 0,
        closed: float = 0.0,
        quotas: Mapping[str, Quota] = MappingProxyType({}),
    ) -> None:
        """How an account stands: seconds that it is closed for, and what is left of its quotas."""
        ...

    def store(self, who: str, error: StoreError | None) -> None:
        """The store failed for one of those who use it, or (None) works."""
        ...


class _Stopped(Exception):
    """It shall stop while it waits for its lease."""


class Leader:
    """Polls the targets of one account for as long as it holds its lease."""

    def __init__(
        self,
        account: str,
        gate: Door,
        source: ReachableSource,
        *,
        store: WriteStore,
        shield: Shield,
        timetable: Timetable,
        clock: Clock,
        uniform: Callable[[float, float], float],
        log: FilteringBoundLogger,
        owner: str,
        promised: float,
        observer: Observer,
        pace: Pace = Pace(),
    ) -> None:
        self._account = account
        self._gate = gate
        self._source = source
        self._store = store
        self._shield = shield
        self._timetable = timetable
        self._clock = clock
        self._uniform = uniform
        self._log = log.bind(account=account)
        self._owner = owner
        self._promised = promised
        self._observer = observer
        self._pace = pace
        self._refresher = Refresher(store, shield, timetable.next_due, log, self._on_outage)
        self._standing = Standing(gate, clock, uniform, self._log)
        self._asked = Asked(store, shield, account, gate, timetable)
        self._stopping = False
        self._wake = asyncio.Event()
        self._polls: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._flying: dict[str, bool] = {}  # ids under way: whether it is a query
        self._doubted: set[str] = set()
        self._mended: Lease | None = None
        self._crash: Exception | None = None
        self._store_failures = 0
        self._ahead: float | None = None
        self._looked = float("-inf")
        self._upcoming: datetime | None = None
        self._told_lease = False

    def stop(self) -> None:
        """Claims nothing more; `run` returns when what is under way has ended."""
        self._stopping = True
        self._wake.set()

    def wake(self) -> None:
        """Looks for all that there is to do now."""
        self._looked = float("-inf")
        self._wake.set()

    async def run(self) -> None:
        """Leads whenever it may, until it is stopped.

        Cancelled, it takes its polls with it: writes that had begun end first, and the lease is
        given back. An error of our own ends it; it may be run again.
        """
        while not self._stopping:
            try:
                async with hold(
                    self._store,
                    self._shield,
                    self._account,
                    self._owner,
                    self._clock,
                    promised=self._promised,
                    wait=float("inf"),
                    budget=self._standing.dump,
                    on_wait=self._standing_by,
                    on_renewal=self._renewal,
                ) as tenure:
                    await self._lead(tenure)
            except _Stopped:
                return
            except LeaseLost:
                self._log.warning("lease lost")
            except StoreError as error:
                await self._on_outage(error, self._store_failures + 1)

    def _standing_by(self, owner: str, left: float) -> None:
        self._worked()
        self._observer.account(self._account, leading=False)
        if self._stopping:
            raise _Stopped

    def _renewal(self, error: StoreError | None) -> None:
        """Until it succeeds nothing is sent: somebody else may have the account."""
        if (error is not None) != self._told_lease:
            self._told_lease = error is not None
            if error is not None:
                self._log.error("the lease cannot be renewed", error=str(error))
            else:
                self._log.info("the lease is renewed again")
        self._observer.store(f"the lease of {self._account}", error)

    async def _lead(self, tenure: Tenure) -> None:
        lease = tenure.check()
        self._standing.load(lease.budget, silent_for=tenure.silent_for)
        self._gate.held_while(tenure.may_send)
        self._mended = None
        self._ahead = None
        self._renewal(None)
        self._log.info("leading", token=lease.token, after_a_crash=not lease.clean)
        try:
            while not self._stopping:
                if self._crash is not None:
                    crash, self._crash = self._crash, None
                    raise crash
                try:
                    await self._step(tenure)
                    self._worked()
                except LeaseLost as error:
                    if tenure.check().token == lease.token:
                        tenure.lose(error)
                        raise
                    lease = tenure.check()
                except StoreError as error:
                    await self._on_outage(error, self._store_failures + 1)
                await self._nap(await self._pause())
            if self._polls:
                await asyncio.wait(self._polls)
        finally:
            tasks = [*self._polls, *([self._asking] if self._asking is not None else ())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._observer.account(self._account, leading=False)

    async def _pause(self) -> float:
        """Seconds until the next look: a tick, or less where something falls due before."""
        if self._upcoming is None:
            return self._pace.tick
        due = (self._upcoming - await self._store.now()).total_seconds()
        return min(max(due, _TOGETHER), self._pace.tick)

    async def _step(self, tenure: Tenure) -> None:
        """One look at what is to be done; between two ticks only at what has fallen due."""
        lease = tenure.check()
        self._upcoming = None
        ticked = self._clock.monotonic() - self._looked >= self._pace.tick
        if lease is not self._mended:
            # With every renewal: a paused leader may come back at any time.
            keys = await self._store.mend(lease)
            if keys:
                self._log.warning("late writes were put right", targets=len(keys))
                self._doubted.update(parse_target(key).fold for key in keys)
            self._mended = lease
        if ticked:
            self._looked = self._clock.monotonic()
            await self._set_back()
            for request, due in await self._asked.take(self._flying):
                self._start(tenure, due, request)
            asking = self._asking is not None and not self._asking.done()
            if self._standing.to_be_asked() and tenure.may_send() and not asking:
                self._asking = asyncio.create_task(self._standing.ask(self._source))
                self._asking.add_done_callback(self._ended)
        closed = self._standing.closed(busy=bool(self._flying), pause=self._pace.tick)
        self._observer.account(
            self._account,
            leading=True,
            under_way=len(self._flying),
            closed=closed,
            quotas=self._gate.quotas(),
        )
        if not closed and tenure.may_send():
            await self._claim(tenure, queries_too=ticked)

    async def _set_back(self) -> None:
        """When the clock was set back, at the start or since, due times lie too far ahead."""
        ahead = self._clock.time() - self._clock.monotonic()
        if self._ahead is not None and self._ahead - ahead < _SET_BACK:
            self._ahead = max(self._ahead, ahead)
            return
        self._ahead = ahead
        number = await self._store.recall(self._account, await self._store.now())
        if number:
            self._log.warning("the clock was set back", due_at_once=number)

    async def _claim(self, tenure: Tenure, *, queries_too: bool) -> None:
        """Takes what is due, oldest first, as far as there are places for it."""
        now = await self._store.now()
        queries = sum(self._flying.values())
        others = len(self._flying) - queries
        # By halves: while one is committed, the next is read and polled.
        half = max(1, self._pace.targets // 2)
        free = self._pace.targets - others >= half
        room = half if free and len(self._polls) - queries < self._pace.polls else 0
        if (left := self._gate.room()) is not None:
            room = min(room, left)
        places = {False: room, True: self._pace.queries - queries if queries_too else 0}
        if self._standing.probing:
            places = {False: 1, True: 1}
        if self._doubted and not self._standing.probing:
            await self._repoll(tenure)
        for is_query, limit in places.items():
            if limit <= 0:
                continue
            states = await self._store.due(
                self._account, now, queries=is_query, limit=limit, skip=list(self._flying)
            )
            due = [self._timetable.due(state, now) for state in states]
            if not is_query and len(due) < limit:
                self._upcoming = await self._store.upcoming(self._account, now)
            if not due:
                continue
            if is_query:
                for each in due:
                    self._start(tenure, [each])
            else:
                self._start(tenure, due)
                if len(due) == half:
                    self._wake.set()
            if self._standing.probing:
                return

    async def _repoll(self, tenure: Tenure) -> None:
        """Targets whose records were put right are polled whole, after any poll under way."""
        states = await self._store.targets_by_name(list(self._doubted))
        ready = {fold: state for fold, state in states.items() if state.id not in self._flying}
        self._doubted -= ready.keys() | (self._doubted - states.keys())
        due = {state.id: Due(parse_target(state.key), state, full=True) for state in ready.values()}
        if due:
            self._start(tenure, list(due.values()))

    def _start(
        self, tenure: Tenure, due: Sequence[Due], request: PollRequest | None = None
    ) -> None:
        self._flying.update((each.id, each.target.is_query) for each in due)
        task = asyncio.create_task(self._poll(tenure, due, request))
        self._polls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._crash = error
        self._wake.set()

    async def _poll(self, tenure: Tenure, due: Sequence[Due], request: PollRequest | None) -> None:
        ids = {each.target.key: each.id for each in due}
        ended: dict[str, Polled] = {}
        try:
            async with AsyncExitStack() as stack:
                if request is not None:  # somebody waits for it
                    stack.enter_context(self._gate.urgent())
                refreshed = self._refresher.refresh(tenure, self._source, due)
                async for event in await stack.enter_async_context(aclosing(refreshed)):
                    if isinstance(event, Polled):
                        self._flying.pop(ids.pop(event.asked.key), None)
                        self._standing.learn(event.state)
                        if request is not None:
                            ended[event.asked.key] = event
                    self._observer.event(self._account, event)
            if request is not None:
                await self._asked.answer(request, ended)
        except LeaseLost:
            self._wake.set()
        except StoreError as error:
            # What was not committed is still due.
            await self._on_outage(error, self._store_failures + 1)
        finally:
            for id_ in ids.values():
                self._flying.pop(id_, None)
            if request is not None:
                self._asked.leave(request)

    async def _on_outage(self, error: StoreError, failures: int) -> None:
        """Tells of a failing store once, and waits before it is tried again."""
        if not self._store_failures:
            self._log.error("the store fails", error=str(error))
        self._store_failures += 1
        self._observer.store(self._account, error)
        wait = min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** min(failures - 1, 16))
        await self._clock.sleep(self._uniform(wait / 2, wait))

    def _worked(self) -> None:
        if self._store_failures:
            self._log.info("the store works again", failures=self._store_failures)
        self._store_failures = 0
        self._observer.store(self._account, None)

    async def _nap(self, seconds: float) -> None:
        """Until the next tick, or until something asks to be looked at."""
        if self._wake.is_set():
            self._wake.clear()
            return
        tasks = [
            asyncio.create_task(self._clock.sleep(seconds)),
            asyncio.create_task(self._wake.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._wake.clear()
