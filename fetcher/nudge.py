"""A poll that something outside asks for: a request to the account's leader, left in the store.

It lies there before anybody is told that it will be seen to, so it outlives this process, and it
does not matter which replica leads. The leader takes it up once no poll of the target is under
way: what is told during a poll leads to another one after it. Nobody waits for its end, so the
leader takes it away, and repeats what found nothing: see `fetcher.asked`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from structlog.typing import FilteringBoundLogger

from fetcher.documents import Kind
from fetcher.models import PollRequest, TargetState
from fetcher.shield import Shield
from fetcher.store.protocol import Query, WriteStore
from fetcher.targets import Target, parse_target

__all__ = ["Nudger"]

# Seconds after which a request that nobody took up is dropped.
_EXPIRES: Final = 86_400.0
_KINDS: Final[tuple[Kind, ...]] = ("release", "tag")


@dataclass(slots=True)
class _Wanted:
    """What is about to be written for a target; who comes before that joins it."""

    state: TargetState
    full: bool


class Nudger:
    """Leaves requests for polls, one for each target however many replicas hear of it.

    `wake` is told the account of each request: where its leader is in this process, it need not
    wait for its next look at the store.
    """

    def __init__(
        self,
        store: WriteStore,
        shield: Shield,
        log: FilteringBoundLogger,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._shield = shield
        self._log = log
        self._wake = wake
        self._turn = asyncio.Lock()
        self._wanted: dict[str, tuple[_Wanted, asyncio.Task[None]]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def poll_now(self, repository_id: int, names: Sequence[Target], *, full: bool) -> bool:
        """Has a repository polled by whoever leads its account; False where nobody watches it.

        It does not wait for the poll. Once it returns, the poll comes even if this process dies.
        Raises `StoreError`.
        """
        state = await self._find(repository_id, names)
        if state is None:
            return False
        # A name that has changed hands: nothing that is known of it holds.
        another = state.facts.get("repository_id", repository_id) != repository_id
        await self._ask(state, full=full or another)
        return True

    async def poll_soon(self, state: TargetState, *, full: bool) -> bool:
        """Has a target polled by whoever leads its account; False where nobody watches it.

        Like `poll_now`. Raises `StoreError`.
        """
        if state.watch is None:
            return False
        await self._ask(state, full=full)
        return True

    async def _find(self, repository_id: int, names: Sequence[Target]) -> TargetState | None:
        """The watched target that is this repository: by its id before its name."""
        named = await self._watched(target.fold for target in names)
        found = _of(named, repository_id)
        if found is not None:
            return found
        # It may be known by a name that the event does not tell; its records know it by its id.
        for kind in _KINDS:
            query = Query(kind, where={"repository_id": repository_id}, limit=1)
            async with aclosing(self._store.records(query, whole=False)) as records:
                keys = [key async for record in records for key in record["targets"]]
            found = _of(await self._watched(parse_target(key).fold for key in keys), repository_id)
            if found is not None:
                return found
        return named[0] if named else None

    async def _watched(self, folds: Iterable[str]) -> list[TargetState]:
        wanted = list(dict.fromkeys(folds))
        states = await self._store.targets_by_name(wanted)
        found = [states[fold] for fold in wanted if fold in states]
        return [state for state in found if state.watch is not None]

    async def _ask(self, state: TargetState, *, full: bool) -> None:
        if state.id not in self._wanted:
            fresh = _Wanted(state, full)
            task = asyncio.create_task(self._write(fresh))
            self._writes.add(task)
            task.add_done_callback(self._written)
            self._wanted[state.id] = fresh, task
        wanted, task = self._wanted[state.id]
        wanted.full = wanted.full or full
        await asyncio.shield(task)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits is told

    async def _write(self, wanted: _Wanted) -> None:
        """One at a time: what comes meanwhile for the same target shares the next request."""
        state = wanted.state
        assert state.watch is not None  # noqa: S101 - only watched ones are found
        async with self._turn:
            del self._wanted[state.id]
            now = await self._store.now()
            request = PollRequest(
                id=f"nudge {state.id}",
                account=state.watch.account,
                targets=(state.key,),
                full=wanted.full,
                asked_at=now,
                expires_at=now + timedelta(seconds=_EXPIRES),
                awaited=False,
            )
            await self._shield.run(self._store.ask(request))
            self._wake(request.account)
            self._log.debug("a poll is asked for", target=state.key, full=request.full)


def _of(states: Iterable[TargetState], repository_id: int) -> TargetState | None:
    return next((s for s in states if s.facts.get("repository_id") == repository_id), None)
