"""Who watches what, changed while it runs: for the API and for the commands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from fetcher.config import parse_every
from fetcher.errors import UsageError
from fetcher.models import TargetState, Wish
from fetcher.shield import Shield
from fetcher.store.protocol import Side, WriteStore
from fetcher.targets import Target
from fetcher.watches import wish_by_hand

__all__ = ["Forgotten", "Keeper"]

_SIDES: Final[tuple[Side, ...]] = ("hand", "file")

Home: TypeAlias = Callable[[Target], str]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A target that nobody watches any more.

    `in_file`: the settings file watches it, and will again at the next start or reload.
    `purged` counts the records that went with it.
    """

    key: str
    in_file: bool
    purged: int = 0


class Keeper:
    """Watches targets by hand, and forgets them; each write ends whoever is cancelled.

    `home` names the account that polls a new target, `interval` how often in seconds a state's
    watch means, `least` the shortest that may be wished.
    """

    def __init__(
        self,
        store: WriteStore,
        shield: Shield,
        home: Home,
        interval: Callable[[TargetState], float],
        least: float,
        wake: Callable[[str], None] = lambda account: None,
    ) -> None:
        self._store = store
        self._shield = shield
        self._home = home
        self._interval = interval
        self._least = least
        self._wake = wake

    async def watch(self, target: Target, every: str) -> TargetState:
        """Has a target polled so often (a duration, or ``auto``), from now on.

        Raises `UsageError` for what is no duration, or too short; and `StoreError`.
        """
        try:
            wanted = parse_every(every)
        except UsageError as error:
            raise UsageError(f"every: {error}") from None
        if wanted != "auto" and wanted < self._least:
            least = f"{self._least:g}s"
            raise UsageError(f"every: {every!r} is below service.min_interval, which is {least}")
        wish = wish_by_hand(self._store, [target], wanted, self._home, self._interval)
        await self._shield.run(wish)
        state = await self._store.target(target.fold)
        assert state is not None  # noqa: S101 - it was wished for just now
        if state.watch is not None:
            self._wake(state.watch.account)
        return state

    async def forget(self, target: Target, *, purge: bool) -> Forgotten | None:
        """Watches a target no longer; with `purge` its records go, but for those of others.

        None for one that is not known. A poll that is under way may bring back what it is about
        to write. Raises `StoreError`.
        """
        state = await self._store.target(target.fold)
        if state is None:
            return None
        watch = state.watch
        if watch is not None:
            for side in _SIDES:
                wish = Wish(state.id, state.key, watch.account, None)
                await self._shield.run(self._store.wish(side, [wish]))
        purged = 0
        if purge:
            purged = await self._shield.run(self._store.purge(state.id, state.key))
        return Forgotten(state.key, watch is not None and watch.file is not None, purged)
