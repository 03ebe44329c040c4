"""The composition root: settings in, a running fetcher out.

What polls is put together here and nowhere else; the one-shot command and the demo (and the
daemon, once there is one) differ only in who asks and how long they stay.
"""

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher import __version__
from fetcher.config import Settings
from fetcher.errors import UsageError
from fetcher.gate import Gate, Wait
from fetcher.leases import AccountBusy, hold
from fetcher.models import Clock, Due, OutcomeKind, Source, TargetState
from fetcher.policy.budget import github_budget, ncbi_budget
from fetcher.policy.schedule import next_due
from fetcher.refresh import Event, NextDue, Refresher
from fetcher.shield import Shield
from fetcher.sources.eutils import Eutils
from fetcher.sources.github import GithubSource
from fetcher.sources.ncbi import NcbiSource
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target
from fetcher.transport import HttpSettings, Transport

__all__ = ["UNWATCHED_EVERY", "Account", "Service", "open_transport"]

UNWATCHED_EVERY = 15 * 60.0
"""Seconds after which a target that nobody watches counts as due again."""


class ReachableSource(Source, Protocol):
    """A source that can also say whether its upstream answers."""

    async def reach(self) -> str:
        """What the upstream says of the account's limits; raises `UpstreamError`."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """One upstream account: the key of its lease, its door, and the source that uses it."""

    key: str
    gate: Gate
    source: ReachableSource


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
        self._clock = clock
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._shield = Shield(lambda error: log.error("a write failed", error=str(error)))
        self._refresher = Refresher(store, self._shield, _next_due(settings, uniform), log)
        self._accounts = {
            "github": _github(settings, transport, clock, patience),
            "ncbi": _ncbi(settings, transport, clock, patience),
        }

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, of every upstream."""
        return tuple(account for accounts in self._accounts.values() for account in accounts)

    async def poll(
        self,
        targets: Sequence[Target],
        on_event: Callable[[Event], Awaitable[None]],
        *,
        full: bool,
        wait: float,
        on_wait: Callable[[str, float], None],
    ) -> dict[Target, AccountBusy]:
        """Polls these targets now, each account side by side with the others.

        `full` ignores cursors. Gives the targets that could not be polled because their account
        stayed taken for `wait` seconds. Raises `StoreError`. However it ends, writes that had
        begun have ended first and the leases are given back.
        """
        known = await self._store.targets_by_name([target.fold for target in targets])
        now = await self._store.now()
        by_account: dict[str, tuple[Account, list[Due]]] = {}
        for target in targets:
            account = self._account(target)
            state = known.get(target.fold)
            due = Due(target, state, full or self._overdue(state, now))
            by_account.setdefault(account.key, (account, []))[1].append(due)
        busy: dict[Target, AccountBusy] = {}

        async def one(account: Account, due: Sequence[Due]) -> None:
            try:
                await self._poll_account(account, due, on_event, wait, on_wait)
            except AccountBusy as error:
                busy.update((each.target, error) for each in due)

        try:
            async with asyncio.TaskGroup() as group:
                for account, dues in by_account.values():
                    group.create_task(one(account, dues))
        except BaseExceptionGroup as errors:
            # The first is the cause; the others are what it took down.
            raise errors.exceptions[0] from None
        return busy

    async def _poll_account(
        self,
        account: Account,
        due: Sequence[Due],
        on_event: Callable[[Event], Awaitable[None]],
        wait: float,
        on_wait: Callable[[str, float], None],
    ) -> None:
        holding = hold(
            self._store,
            self._shield,
            account.key,
            self._owner,
            self._clock,
            ttl=self._settings.service.lease,
            wait=wait,
            budget=account.gate.dump,
            on_wait=on_wait,
        )
        async with holding as tenure:
            account.gate.load(tenure.lease.budget)
            events = self._refresher.refresh(tenure, account.source, due)
            async with aclosing(events):
                async for event in events:
                    await on_event(event)

    def _account(self, target: Target) -> Account:
        """Rendezvous hashing: a target keeps its account when others come and go.

        https://en.wikipedia.org/wiki/Rendezvous_hashing
        """

        def weight(account: Account) -> bytes:
            return hashlib.sha256(f"{account.key} {target.fold}".encode()).digest()

        return max(self._accounts[target.upstream], key=weight)

    def _overdue(self, state: TargetState | None, now: datetime) -> bool:
        """Whether a repository's full listing is due, which finds edits and deletions far back."""
        if state is None or state.reconciled_at is None or not state.key.startswith("github:"):
            return False
        since = (now - state.reconciled_at).total_seconds()
        return since >= self._settings.github.reconcile


def _next_due(settings: Settings, uniform: Callable[[float, float], float]) -> NextDue:
    every = {
        target.fold: UNWATCHED_EVERY if watch.every == "auto" else watch.every
        for watch in settings.watches
        for target in watch.targets
    }
    service = settings.service

    def due(
        target: Target, kind: OutcomeKind, now: datetime, failures: int, retry_at: datetime | None
    ) -> datetime:
        return next_due(
            kind,
            key=target.fold,
            now=now,
            every=every.get(target.fold, UNWATCHED_EVERY),
            failures=failures,
            retry_at=retry_at,
            min_interval=service.min_interval,
            max_interval=service.max_interval,
            uniform=uniform,
        )

    return due


def _github(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> tuple[Account, ...]:
    accounts = []
    for account in settings.github.all_accounts:
        if account.app is not None:
            text = f"the GitHub account {account.name} is an App, which this version cannot use yet"
            raise UsageError(text)
        token = account.token.get_secret_value() if account.token is not None else None
        # GitHub allows 100 at once for REST and GraphQL together, and asks to be spared.
        gate = Gate(f"GitHub account {account.name}", github_budget(), clock, in_flight=20)
        source = GithubSource(
            transport,
            gate,
            api_url=settings.github.api_url,
            token=token,
            identity=account.identity,
            patience=patience,
        )
        accounts.append(Account(f"github:{account.identity}", gate, source))
    return tuple(accounts)


def _ncbi(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> tuple[Account, ...]:
    accounts = []
    for account in settings.ncbi.all_accounts:
        key = account.api_key.get_secret_value() if account.api_key is not None else None
        gate = Gate(f"NCBI account {account.name}", ncbi_budget(account.rate), clock, in_flight=8)
        eutils = Eutils(
            transport,
            gate,
            url=settings.ncbi.eutils_url,
            api_key=key,
            email=settings.ncbi.email,
            tool=settings.ncbi.tool,
            patience=patience,
        )
        accounts.append(Account(f"ncbi:{account.identity}", gate, NcbiSource(eutils)))
    return tuple(accounts)
