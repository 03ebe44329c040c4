"""Targets of an account that cannot poll for a while go to another one, and come back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from fetcher.accounts import Account, Homes
from fetcher.errors import StoreError, Unauthorized, UpstreamError
from fetcher.models import Clock, TargetState, Watched, Wish
from fetcher.store.protocol import Side, WriteStore
from fetcher.targets import Target

__all__ = ["Mover"]

# A limit that is over sooner is waited out: to move costs the cursors, which belong to a token.
_WORTH_MOVING: Final = 120.0
# Seconds between two looks, and between two questions whether credentials are good again.
_LOOK: Final = 5.0
_ASK: Final = 600.0
_AT_ONCE: Final = 1_000


@dataclass(slots=True)
class _Away:
    """Why an account does not poll: limited until then, or refused; times are monotonic."""

    until: float = float("-inf")
    refused: bool = False
    asked_at: float = float("-inf")


class Mover:
    """Knows which accounts of this process cannot poll now, and moves what they watch.

    Only where an upstream has several accounts. A private repository stays: who cannot see it
    would take it for gone.
    """

    def __init__(
        self,
        store: WriteStore,
        homes: Homes,
        accounts: Mapping[str, Account],
        clock: Clock,
        log: FilteringBoundLogger,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._homes = homes
        self._accounts = accounts
        self._clock = clock
        self._log = log
        self._wake = wake
        self._away: dict[str, _Away] = {}
        self._moved: frozenset[str] = frozenset()

    def home(self, target: Target) -> str:
        """The account that polls a target now."""
        return self._homes.of(target, self._moved)

    def refused(self, account: str) -> None:
        """The account's credentials were not taken."""
        away = self._away.setdefault(account, _Away(asked_at=self._clock.monotonic()))
        away.refused = True

    async def run(self) -> None:
        """Looks for accounts that went or came back, for as long as it runs."""
        while True:
            await self._clock.sleep(_LOOK)
            await self.look()

    async def look(self) -> None:
        """Moves what has to be moved now."""
        now = self._clock.monotonic()
        for name, account in self._accounts.items():
            if (closed := account.gate.closed_for()) >= _WORTH_MOVING:
                self._away.setdefault(name, _Away()).until = now + closed
        for name, away in list(self._away.items()):
            if away.refused and now - away.asked_at >= _ASK:
                away.asked_at = now
                away.refused = await self._is_refused(name)
            if not away.refused and away.until <= now:
                del self._away[name]
        wanted = frozenset(self._away)
        if wanted == self._moved:
            return
        before, self._moved = self._moved, wanted
        try:
            number = await self._move()
        except StoreError:
            self._moved = before  # next time
            raise
        self._log.warning("targets moved", away=sorted(wanted), targets=number)

    async def _is_refused(self, name: str) -> bool:
        """Asks for the limits, which costs nothing."""
        try:
            await self._accounts[name].source.reach()
        except Unauthorized:
            return True
        except UpstreamError:
            return False  # it says nothing of the credentials
        return False

    async def _move(self) -> int:
        """Gives every target to the account that polls it now; the number of those that moved."""
        now, number = await self._store.now(), 0
        part: list[tuple[Watched, str]] = []
        async for watched in self._store.watched():
            account = self.home(Target.of(watched.key))
            if account != watched.watch.account:
                part.append((watched, account))
            if len(part) == _AT_ONCE:
                number += await self._give(part, now)
                part = []
        return number + await self._give(part, now)

    async def _give(self, part: list[tuple[Watched, str]], now: datetime) -> int:
        if not part:
            return 0
        states = await self._store.targets_by_name([watched.names[0] for watched, _ in part])
        wishes: dict[Side, list[Wish]] = {"file": [], "hand": []}
        accounts: set[str] = set()
        for watched, account in part:
            state = states.get(watched.names[0])
            if state is None or state.facts.get("private"):
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
