"""The composition root of `fetcher run`: leaders, web, reload, and the order of the end."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from structlog.typing import FilteringBoundLogger

from fetcher.accounts import Account, homes_of, open_accounts
from fetcher.config import Settings
from fetcher.errors import FetcherError, SettingsError, StoreError
from fetcher.gate import GRAPHQL, REST
from fetcher.keeper import Keeper
from fetcher.metrics import Metrics
from fetcher.models import Clock
from fetcher.moves import Mover
from fetcher.notify import Notifier
from fetcher.nudge import Nudger
from fetcher.policy.budget import RESERVE, Quota
from fetcher.reader import Reader
from fetcher.refresh import Event, Polled, Stored
from fetcher.scheduler import Leader, Pace
from fetcher.service import open_transport, owner_name
from fetcher.shield import Shield, tell_of
from fetcher.store import WriteStore, open_store
from fetcher.supervise import supervise
from fetcher.timetable import Timetable
from fetcher.watches import Applied, apply_file
from fetcher.web.access import Access
from fetcher.web.api import Api
from fetcher.web.app import serve
from fetcher.web.kept import Kept
from fetcher.web.pages import Pages
from fetcher.web.stream import Hub
from fetcher.web.webhooks import Webhooks

__all__ = ["Daemon"]

# How long one request may wait for a limit: longer ones end the poll, which is due again later.
_PATIENCE: Final = 60.0
_PULSE: Final = 2.0
# Seconds that writes get after the drain deadline: as long as a driver takes to give up.
_LAST_WRITES: Final = 35.0


class Daemon:
    """Keeps the watch list current until it is told to stop.

    `reload` reads the settings anew. Hand signals to `stop` and `reload_soon`.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        environ: Mapping[str, str],
        uniform: Callable[[float, float], float] = random.uniform,
        metrics: Metrics | None = None,
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._clock = clock
        self._log = log
        self._uniform = uniform
        self._notifier = Notifier.of(environ, os.getpid())
        self._metrics = metrics if metrics is not None else Metrics()
        self._pace = pace
        self._shield = Shield(tell_of(log))
        self._leaders: dict[str, Leader] = {}
        self._accounts: dict[str, Account] = {}
        self._spent: dict[str, int] = {}
        self._mover: Mover | None = None
        self._on_commit: Callable[[], None] = lambda: None
        self._store_errors: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._hasten = asyncio.Event()
        self._reloading = asyncio.Event()
        self.signals: list[int] = []
        self.port: int | None = None
        self.started = asyncio.Event()

    # What others may do

    def stop(self, number: int) -> None:
        """A signal to end: the first drains, the second cancels what is under way."""
        self.signals.append(number)
        (self._hasten if self._stop.is_set() else self._stop).set()

    def reload_soon(self) -> None:
        """Reads the settings file again, and applies its watch list."""
        self._reloading.set()

    def ready(self) -> list[str]:
        """Why it is not ready; nothing when it is."""
        reasons = []
        if not self.started.is_set():
            reasons.append("it is starting")
        if self._stop.is_set():
            reasons.append("it is draining")
        return reasons + sorted(set(self._store_errors.values()))

    # What leaders tell

    def event(self, account: str, event: Event) -> None:
        """See `Observer`."""
        self._on_commit()
        upstream = account.partition(":")[0]
        if isinstance(event, Stored):
            kinds: dict[tuple[str, str], int] = {}
            for change in event.changes:
                key = change.kind, change.change
                kinds[key] = kinds.get(key, 0) + 1
            for (kind, change_kind), count in kinds.items():
                self._metrics.stored(kind, change_kind, count)
        if not isinstance(event, Polled):
            return
        now = event.state.last_attempt or event.begun
        late = (event.begun - event.was_due).total_seconds() if event.was_due is not None else None
        seconds = max(0.0, (now - event.begun).total_seconds())
        self._metrics.polled(upstream, str(event.state.outcome), seconds, late)

    def account(
        self,
        account: str,
        *,
        leading: bool,
        under_way: int = 0,
        closed: float = 0.0,
        quotas: Mapping[str, Quota] = MappingProxyType({}),
    ) -> None:
        """See `Observer`."""
        spent = self._accounts[account].gate.spent
        self._metrics.requests(account, spent - self._spent.get(account, 0))
        self._spent[account] = spent
        self._metrics.account(
            account,
            leading=leading,
            closed_seconds=closed,
            under_way=under_way,
        )
        for resource in (GRAPHQL, REST):
            quota = quotas.get(resource)
            told = (quota.remaining, quota.limit, quota.reset_epoch) if quota is not None else None
            self._metrics.quota(account, resource, told)

    def store(self, who: str, error: StoreError | None) -> None:
        """See `Observer`."""
        if error is not None:
            self._store_errors[who] = str(error)
            self._metrics.store_failure()
        else:
            self._store_errors.pop(who, None)
        self._metrics.store(up=not self._store_errors)

    # The run

    async def run(self) -> int:
        """Runs to the exit code.

        Raises `StoreError` and `UsageError` for what keeps it from starting.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            # They close in the other order: web, transport, and the store's client last.
            store = await stack.enter_async_context(
                await open_store(settings.store.url, clock=self._clock)
            )
            transport = await stack.enter_async_context(
                open_transport(settings, self._clock, uniform=self._uniform)
            )
            self._accounts = open_accounts(
                settings, transport, self._clock, _PATIENCE, reserve=RESERVE
            )
            homes = homes_of(settings)
            self._mover = Mover(store, homes, self._clock, self._log, self._wake)
            nudger = Nudger(store, self._shield, self._log, self._wake)
            timetable = Timetable(settings, self._uniform, await store.identity())
            if (address := settings.api.address) is not None:
                access = Access(settings.api.all_tokens, self._clock, self._metrics.wrong_token)
                require = settings.api.require_token
                reader = Reader(store, self._clock)
                hub = Hub(reader, self._clock, self._log)
                keeper = Keeper(
                    store,
                    self._shield,
                    self._mover.home,
                    timetable.every,
                    settings.service.min_interval,
                    self._wake,
                )
                kept = Kept(self._clock.monotonic)
                self._on_commit = kept.forget
                api = Api(
                    reader,
                    access,
                    require_token=require,
                    poller=nudger,
                    hub=hub,
                    watcher=keeper,
                    kept=kept,
                )
                self.port = await stack.enter_async_context(
                    serve(
                        address,
                        self,
                        self._metrics,
                        access=access,
                        require_token=require,
                        log=self._log,
                        api=api,
                        hub=hub,
                        pages=Pages(reader, access, self, require_token=require),
                        webhooks=Webhooks(
                            settings.github.webhook_secrets,
                            nudger,
                            self._metrics,
                            self._clock,
                        ),
                    )
                )
            stack.callback(self._notifier.close)
            await self._apply(store, settings, timetable)
            owner = owner_name()
            self._leaders = {
                account.key: Leader(
                    account.key,
                    account.gate,
                    account.source,
                    store=store,
                    shield=self._shield,
                    timetable=timetable,
                    clock=self._clock,
                    uniform=self._uniform,
                    log=self._log,
                    owner=owner,
                    promised=settings.service.lease,
                    observer=self,
                    pace=self._pace,
                )
                for account in self._accounts.values()
            }
            await self._live(store, timetable, self._mover)
        return 128 + self.signals[1] if len(self.signals) > 1 else 0

    def _wake(self, account: str) -> None:
        """Somebody asks for a poll: if its account's leader is here, it looks at once."""
        if (leader := self._leaders.get(account)) is not None:
            leader.wake()

    async def _live(self, store: WriteStore, timetable: Timetable, mover: Mover) -> None:
        leading = [
            asyncio.create_task(self._supervised(f"leader of {key}", leader.run))
            for key, leader in self._leaders.items()
        ]
        beside = [
            asyncio.create_task(self._supervised(name, work))
            for name, work in (
                ("pulse", lambda: self._pulse(store)),
                ("reload", lambda: self._reloads(store, timetable)),
                ("moves", mover.run),
                ("watchdog", self._watchdog),
            )
        ]
        try:
            self.started.set()
            self._notifier.ready("polling")
            where = f"port {self.port}" if self.port is not None else "off"
            self._log.info("started", store=self._settings.store.shown, api=where)
            await self._stop.wait()
            await self._drain(leading)
        finally:
            for task in (*leading, *beside):
                task.cancel()
            await asyncio.gather(*leading, *beside, return_exceptions=True)

    async def _drain(self, leading: list[asyncio.Task[None]]) -> None:
        """Stop claiming; let polls end; cancel; drain writes; leases are given back on the way."""
        self._notifier.stopping("draining")
        deadline = self._settings.service.drain
        self._log.info("draining", seconds=deadline)
        for leader in self._leaders.values():
            leader.stop()
        ended = asyncio.create_task(_all(leading))
        hastened = asyncio.create_task(self._hasten.wait())
        late = asyncio.create_task(self._clock.sleep(deadline))
        await asyncio.wait({ended, hastened, late}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            self._log.warning("polls under way are ended", hastened=self._hasten.is_set())
        for task in (ended, *leading, hastened, late):
            task.cancel()
        await asyncio.gather(ended, *leading, hastened, late, return_exceptions=True)
        if not await self._shield.drain(_LAST_WRITES):
            self._log.error("writes are still under way", number=len(self._shield))
        self._log.info("drained")

    async def _supervised(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        await supervise(
            name,
            work,
            clock=self._clock,
            uniform=self._uniform,
            log=self._log,
            on_restart=self._metrics.restarted,
        )

    async def _pulse(self, store: WriteStore) -> None:
        """Asks the store for the time: readiness knows of an outage though nothing is due."""
        while True:
            try:
                await store.now()
            except StoreError as error:
                self.store("pulse", error)
            else:
                self.store("pulse", None)
            await self._clock.sleep(_PULSE)

    async def _watchdog(self) -> None:
        interval = self._notifier.watchdog_interval
        while interval is not None:
            self._notifier.alive()
            await self._clock.sleep(interval)

    async def _reloads(self, store: WriteStore, timetable: Timetable) -> None:
        while True:
            await self._reloading.wait()
            self._reloading.clear()
            self._notifier.reloading(time.clock_gettime(time.CLOCK_MONOTONIC))
            ok = False
            try:
                fresh = self._reload()
                await self._apply(store, fresh, timetable)
                ok = True
            except SettingsError as error:
                for mistake in error.mistakes:
                    self._log.error(
                        "settings not taken over", place=mistake.place, why=mistake.message
                    )
            except FetcherError as error:
                self._log.error("settings not taken over", why=str(error))
            else:
                self._changed(fresh)
                self._settings = fresh
                for leader in self._leaders.values():
                    leader.wake()
            finally:
                self._metrics.reloaded(ok=ok)
                self._notifier.ready("polling" if ok else "polling; the new settings are bad")

    def _changed(self, fresh: Settings) -> None:
        """Says what a reload cannot change."""
        for name in ("store", "github", "ncbi", "http", "service", "api"):
            if getattr(fresh, name) != getattr(self._settings, name):
                self._log.warning("changed settings need a restart", section=name)

    async def _apply(self, store: WriteStore, settings: Settings, timetable: Timetable) -> None:
        wanted = {target: watch.every for watch in settings.watches for target in watch.targets}
        assert self._mover is not None  # noqa: S101 - it runs
        await self._mover.learn()
        applied: Applied = await apply_file(store, wanted, self._mover.home, timetable.every)
        await self._mover.settle()
        self._log.info(
            "watch list applied",
            targets=len(wanted),
            added=applied.added,
            changed=applied.changed,
            removed=applied.removed,
            at=datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="seconds"),
        )


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
