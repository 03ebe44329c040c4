"""The one-shot's composition: settings in, targets polled once, side by side by account."""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher import __version__
from fetcher.accounts import Account, homes_of, open_accounts, open_asset_account
from fetcher.config import Settings
from fetcher.download import Downloader
from fetcher.errors import FetcherError
from fetcher.gate import REST, Wait
from fetcher.leases import AccountBusy, Seat, Tenure, hold
from fetcher.models import Clock, Due, TargetState
from fetcher.refresh import Event, Refresher
from fetcher.relay import Inquiry
from fetcher.shield import Shield, tell_of
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target
from fetcher.timetable import Timetable
from fetcher.transport import HttpSettings, Transport

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
    """Accounts, their sources and the refresher, around one store and one transport."""

    def __init__(
        self,
        settings: Settings,
        store: WriteStore,
        transport: Transport,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        patience: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._store = store
        self._transport = transport
        self._clock = clock
        self._patience = patience
        self._uniform = uniform
        self._owner = owner_name()
        self._shield = Shield(tell_of(log))
        self._timetable = Timetable(settings, uniform)
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
    ) -> dict[Target, FetcherError]:
        """Polls these targets now, each account side by side with the others.

        `full` ignores cursors. Where somebody else holds an account, it is asked through the
        store to poll for us. Gives the targets that could not be polled because it neither did
        nor freed the account for `wait` seconds, or because it is limited. Raises `StoreError`.
        However it ends, writes that had begun have ended first and the leases are given back.
        """
        known = await self._store.targets_by_name([target.fold for target in targets])
        now = await self._store.now()
        by_account: dict[str, list[Due]] = {}
        for target in targets:
            state = known.get(target.fold)
            due = self._timetable.asked(target, state, now, full=full)
            by_account.setdefault(self._home(target, state), []).append(due)
        busy: dict[Target, FetcherError] = {}

        async def one(account: Account, due: Sequence[Due]) -> None:
            left = await self._poll_account(account, due, on_event, wait, on_wait)
            busy.update(left)

        try:
            async with asyncio.TaskGroup() as group:
                for key, dues in by_account.items():
                    group.create_task(one(self._accounts[key], dues))
        except BaseExceptionGroup as errors:
            # The first is the cause; the others are what it took down.
            raise errors.exceptions[0] from None
        return busy

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
            budget=account.gate.dump,
            on_wait=waiting,
        )
        try:
            async with holding as tenure:
                await inquiry.withdraw()
                account.gate.load(tenure.lease.budget, silent_for=tenure.silent_for)
                account.gate.held_while(tenure.may_send)
                events = self._refresher.refresh(tenure, account.source, inquiry.left)
                async with aclosing(events):
                    async for event in events:
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
