"""Targets of an account that cannot poll for a while go to another one, and come back."""

import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from fetcher.accounts import Homes
from fetcher.errors import StoreError
from fetcher.models import Clock, TargetState, Watched, Wish
from fetcher.standing import away
from fetcher.store.protocol import Side, WriteStore
from fetcher.targets import Target

__all__ = ["Mover"]

# Seconds between two looks.
_LOOK: Final = 5.0
_AT_ONCE: Final = 1_000


class Mover:
    """Gives each watched target to the account that is to poll it, as things stand.

    Which accounts cannot poll now is read from the store, where their leaders say it: so every
    replica comes to the same end, whoever leads, and none takes back what another one moved. A
    private repository stays where it is: who cannot see it would take it for gone.
    """

    def __init__(
        self,
        store: WriteStore,
        homes: Homes,
        clock: Clock,
        log: FilteringBoundLogger,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._homes = homes
        self._clock = clock
        self._log = log
        self._wake = wake
        self._away: frozenset[str] = frozenset()

    def home(self, target: Target) -> str:
        """The account that polls a target now."""
        return self._homes.of(target, self._away)

    async def run(self) -> None:
        """Looks for accounts that went or came back, for as long as it runs."""
        while True:
            await self._clock.sleep(_LOOK)
            # Whoever polls tells of an outage; what could not be moved moves next time.
            with contextlib.suppress(StoreError):
                await self.look()

    async def look(self) -> None:
        """Moves what has to be moved now."""
        before = self._away
        await self.learn()
        if self._away != before:
            try:
                await self.settle()
            except StoreError:
                self._away = before  # next time
                raise

    async def learn(self) -> None:
        """Reads which accounts cannot poll now."""
        self._away = away(await self._store.accounts(), self._clock.time())

    async def settle(self) -> None:
        """Gives every target to the account that polls it now, as far as that is another one."""
        now, number = await self._store.now(), 0
        part: list[tuple[Watched, str]] = []
        async for watched in self._store.watched():
            account = self.home(Target.of(watched.key))
            if account != watched.watch.account:
                part.append((watched, account))
            if len(part) == _AT_ONCE:
                number += await self._give(part, now)
                part = []
        number += await self._give(part, now)
        if number:
            self._log.warning("targets moved", away=sorted(self._away), targets=number)

    async def _give(self, part: list[tuple[Watched, str]], now: datetime) -> int:
        if not part:
            return 0
        states = await self._store.targets_by_name([watched.names[0] for watched, _ in part])
        wishes: dict[Side, list[Wish]] = {"file": [], "hand": []}
        accounts: set[str] = set()
        for watched, account in part:
            state = states.get(watched.names[0])
            stays = watched.watch.account in self._homes
            if state is None or (stays and state.facts.get("private")):
                continue
            side: Side = "hand" if watched.watch.hand is not None else "file"
            wish = Wish(watched.id, watched.key, account, watched.watch.every, _due(state, now))
            wishes[side].append(wish)
            accounts.add(account)
        for side, some in wishes.items():
            if some:
                await self._store.wish(side, some)
        for account in accounts:
            self._wake(account)
        return sum(map(len, wishes.values()))


def _due(state: TargetState, now: datetime) -> datetime | None:
    """What waits for the account alone need not wait any longer."""
    waits = state.outcome is not None and str(state.outcome) in ("rate_limited", "unauthorized")
    return now if waits else None
