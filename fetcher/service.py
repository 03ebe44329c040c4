"""The one-shot's composition: settings in, targets polled once, side by side by account."""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher import __version__
from fetcher.accounts import Account, homes_of, open_accounts, open_asset_account
from fetcher.border import HttpSettings
from fetcher.config import Settings
from fetcher.download import Downloader
from fetcher.errors import FetcherError
from fetcher.gate import REST, Wait
from fetcher.leases import AccountBusy, Seat, Tenure, hold
from fetcher.models import Clock, Due, OutcomeKind, TargetState
from fetcher.refresh import Event, Polled, Refresher
from fetcher.relay import AccountLimited, Inquiry
from fetcher.shield import Shield, tell_of
from fetcher.standing import Standing
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target
from fetcher.timetable import Timetable
from fetcher.transport import Transport

__all__ = ["Service", "open_transport", "owner_name"]

_SHARED = ("parked_until", "remaining", "limit", "reset", "reset_at")


def owner_name() -> str:
    """Who holds a lease: machine, process, and a mark that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def open_transport(
    settings: Settings,
    clock: Clock,
    on_wait: Callable[[Wait], None] | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Transport:
    """The one way out, as configured; use it as a context manager."""
    http = settings.http
    return Transport(
        HttpSettings(
            connect_timeout=http.connect_timeout,
            read_timeout=http.read_timeout,
            total_timeout=http.total_timeout,
            max_body=http.max_body,
            max_attempts=http.max_attempts,
            proxy=http.proxy or None,
        ),
        clock,
        uniform,
        # GitHub refuses requests that do not introduce themselves.
        f"fetcher/{__version__}",
        on_wait,
    )


class Service:
    """Accounts, their sources and the refresher, around one store and one transport.

    `identity` is the store's: due times are counted from a time of its own. Who does not poll
    needs none.
    """

    def __init__(
        self,
        settings: Settings,
        store: WriteStore,
        transport: Transport,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        patience: float,
        identity: str = "",
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._store = store
        self._transport = transport
        self._clock = clock
        self._patience = patience
        self._uniform = uniform
        self._log = log
        self._owner = owner_name()
        self._shield = Shield(tell_of(log))
        self._timetable = Timetable(settings, uniform, identity)
        self._refresher = Refresher(store, self._shield, self._timetable.next_due, log)
        self._homes = homes_of(settings)
        self._accounts = open_accounts(settings, transport, clock, patience)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, of every upstream."""
        return tuple(self._accounts.values())

    async def poll(
        self,
        targets: Sequence[Target],
        on_event: Callable[[Event], Awaitable[None]],
        *,
        full: bool,
        wait: float,
        on_wait: Callable[[str, float], None],
        on_move: Callable[[str], None] = lambda sentence: None,
    ) -> dict[Target, FetcherError]:
        """Polls these targets now, each account side by side with the others.

        `full` ignores cursors. Where somebody else holds an account, it is asked through the
        store to poll for us. What an account cannot poll, because it is limited for longer than
        `wait` seconds or its credentials are refused, is polled on another one: `on_move` is told
        in a sentence. Gives the targets that nobody could poll, and why: who holds the account
        neither polled nor freed it for so long, or is limited. Raises `StoreError`. However it
        ends, writes that had begun have ended first and the leases are given back.
        """
        known = await self._store.targets_by_name([target.fold for target in targets])
        now = await self._store.now()
        ways: dict[Target, _Way] = {}
        for target in targets:
            state = known.get(target.fold)
            due = self._timetable.asked(target, state, now, full=full)
            ways[target] = _Way(due, self._home(target, state))

        async def take(event: Event) -> None:
            if isinstance(event, Polled):
                way = ways[event.asked]
                way.end, failure = event, event.state.failure
                way.stopped = failure.message if failure and _is_the_accounts(event.state) else None
                if way.stopped and self._elsewhere(way) is not None:
                    way.due = replace(way.due, state=event.state)
                    return  # it has not ended yet
            await on_event(event)

        until = self._clock.monotonic() + wait
        under_way = list(ways.values())
        while under_way:
            left = min(wait, max(0.0, until - self._clock.monotonic()))
            await self._round(under_way, take, left, on_wait)
            under_way = self._turned(under_way, on_move)
        return {
            target: way.end for target, way in ways.items() if isinstance(way.end, FetcherError)
        }

    async def _round(
        self,
        ways: Sequence["_Way"],
        on_event: Callable[[Event], Awaitable[None]],
        wait: float,
        on_wait: Callable[[str, float], None],
    ) -> None:
        """Polls each on the account where it is now."""
        by_account: dict[str, list[_Way]] = {}
        for way in ways:
            by_account.setdefault(way.account, []).append(way)

        async def one(account: Account, mine: Sequence[_Way]) -> None:
            due = [way.due for way in mine]
            errors = await self._poll_account(account, due, on_event, wait, on_wait)
            for way in mine:
                if (error := errors.get(way.due.target)) is not None:
                    way.end = error
                    way.stopped = str(error) if isinstance(error, AccountLimited) else None

        try:
            async with asyncio.TaskGroup() as group:
                for key, mine in by_account.items():
                    group.create_task(one(self._accounts[key], mine))
        except BaseExceptionGroup as errors:
            # The first is the cause; the others are what it took down.
            raise errors.exceptions[0] from None

    def _turned(self, ways: Sequence["_Way"], on_move: Callable[[str], None]) -> list["_Way"]:
        """Those that go on, on the account that is next."""
        turned: list[_Way] = []
        told: dict[tuple[str, str], tuple[str, int]] = {}
        for way in ways:
            if way.stopped is None or (account := self._elsewhere(way)) is None:
                continue
            reason, number = told.get((way.account, account), (way.stopped, 0))
            told[way.account, account] = reason, number + 1
            way.tried.add(way.account)
            way.account = account
            turned.append(way)
        for (before, after), (reason, number) in told.items():
            moved = "1 target is" if number == 1 else f"{number:,} targets are"
            first, second = self._accounts[before].name, self._accounts[after].name
            on_move(f"{moved} polled on {second}, because {first} cannot: {reason}")
        return turned

    def _elsewhere(self, way: "_Way") -> str | None:
        """Another account that may be tried: none for who would not see the repository."""
        state = way.end.state if isinstance(way.end, Polled) else way.due.state
        if state is not None and state.facts.get("private"):
            return None
        return self._homes.other(way.due.target, {*way.tried, way.account})

    def _home(self, target: Target, state: TargetState | None) -> str:
        """The account that polls it now: it may have moved from one that is limited."""
        watch = state.watch if state is not None else None
        if watch is not None and watch.account in self._accounts:
            return watch.account
        return self._homes.of(target)

    def downloader(
        self,
        target: Target,
        *,
        at_once: int,
        on_wait: Callable[[str, float], None] = lambda owner, seconds: None,
    ) -> Downloader:
        """What gets the assets of a repository, on the account that polls it.

        It works beside whoever polls, under a lease of its own.
        """
        settings, store = self._settings, self._store
        key = self._homes.of(target)
        account = open_asset_account(settings, self._transport, self._clock, self._patience, key)

        def holding(wait: float) -> AbstractAsyncContextManager[Tenure]:
            return hold(
                store,
                self._shield,
                account.key,
                self._owner,
                self._clock,
                promised=settings.service.lease,
                wait=wait,
                budget=account.gate.dump,
                on_wait=on_wait,
            )

        async def taken(tenure: Tenure) -> None:
            account.gate.load(tenure.lease.budget, silent_for=tenure.silent_for)
            # What is left of the hour, and a silence that was asked for, are the whole account's.
            for each in await store.accounts():
                if each.account == account.polls:
                    left = each.budget.get(REST, each.budget)
                    shared = {name: left[name] for name in _SHARED if name in left}
                    account.gate.load(shared)
            account.gate.held_while(tenure.may_send)

        return Downloader(
            self._transport,
            account.source,
            Seat(holding, self._shield, wait=self._patience, on_taken=taken),
            self._clock,
            self._shield,
            self._uniform,
            patience=self._patience,
            attempts=settings.http.max_attempts,
            at_once=at_once,
        )

    async def _poll_account(
        self,
        account: Account,
        due: Sequence[Due],
        on_event: Callable[[Event], Awaitable[None]],
        wait: float,
        on_wait: Callable[[str, float], None],
    ) -> dict[Target, FetcherError]:
        """Under a lease of our own, or by whoever leads the account, whichever is first."""
        inquiry = Inquiry(self._store, self._shield, account.key, due)
        standing = Standing(account.gate, self._clock, self._uniform, self._log)
        busy: dict[Target, FetcherError] = {}
        asked = False

        async def waiting(owner: str, left: float) -> None:
            nonlocal asked
            on_wait(owner, left)
            if not asked:
                asked = True
                await inquiry.ask(left)
            async with aclosing(inquiry.answers()) as answers:
                async for polled in answers:
                    await on_event(polled)
            if not inquiry.left:
                raise _Answered

        holding = hold(
            self._store,
            self._shield,
            account.key,
            self._owner,
            self._clock,
            promised=self._settings.service.lease,
            wait=wait,
            budget=standing.dump,
            on_wait=waiting,
        )
        try:
            async with holding as tenure:
                await inquiry.withdraw()
                standing.load(tenure.lease.budget, silent_for=tenure.silent_for)
                account.gate.held_while(tenure.may_send)
                events = self._refresher.refresh(tenure, account.source, inquiry.left)
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Polled):
                            standing.learn(event.state)
                        await on_event(event)
        except _Answered:
            pass
        except AccountBusy as error:
            busy.update((each.target, error) for each in inquiry.left)
        finally:
            await inquiry.withdraw()
        for each in due:
            if (refusal := inquiry.refused.get(each.target.key)) is not None:
                busy[each.target] = refusal
        return busy


class _Answered(Exception):
    """The leader has answered everything."""


@dataclass(slots=True)
class _Way:
    """A target on its way from account to account; `stopped` says why this one cannot poll it.

    `end` is how its last poll ended, or why there was none.
    """

    due: Due
    account: str
    tried: set[str] = field(default_factory=set)
    stopped: str | None = None
    end: Polled | FetcherError | None = None


def _is_the_accounts(state: TargetState) -> bool:
    """Whether the account, not the target, is what a poll failed for."""
    refused = state.failure is not None and state.failure.whole_account
    return refused or state.outcome is OutcomeKind.RATE_LIMITED
