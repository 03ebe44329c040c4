"""A poll that something outside asks for: a request to the account's leader, left in the store.

It lies there before anybody is told that it will be seen to, so it outlives this process, and it
does not matter which replica leads. The leader takes it up once no poll of the target is under
way: what is told during a poll leads to another one after it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from fetcher.documents import Kind
from fetcher.errors import StoreError
from fetcher.models import Clock, PollRequest, TargetState
from fetcher.shield import Shield
from fetcher.store.protocol import Query, WriteStore
from fetcher.targets import Target, parse_target

__all__ = ["Nudger"]

# Seconds after which a request that nobody took up is dropped.
_EXPIRES: Final = 86_400.0
# Seconds until a poll that found nothing is repeated: GitHub may tell of a change sooner than it
# lists it.
_AGAIN: Final = 10.0
# Seconds between two looks for answers, and how many are looked at in a second.
_LOOK: Final = 1.0
_LOOKED_AT: Final = 100
_KINDS: Final[tuple[Kind, ...]] = ("release", "tag")


@dataclass(slots=True)
class _Wanted:
    """What is about to be written for a target; who comes before that joins it."""

    state: TargetState
    full: bool
    again: bool


@dataclass(frozen=True, slots=True)
class _Open:
    """A request without an answer; `again`: it repeats one, and is not repeated itself."""

    request: PollRequest
    again: bool


@dataclass(frozen=True, slots=True)
class _Later:
    """What is asked for once more, at a time of the steady clock; `name` is folded."""

    at: float
    name: str
    full: bool


class Nudger:
    """Leaves requests for polls, one at a time for each target, and looks after them.

    `wake` is told the account of each request: where its leader is in this process, it need not
    wait for its next look at the store.
    """

    def __init__(
        self,
        store: WriteStore,
        shield: Shield,
        clock: Clock,
        log: FilteringBoundLogger,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._shield = shield
        self._clock = clock
        self._log = log
        self._wake = wake
        self._turn = asyncio.Lock()
        self._wanted: dict[str, tuple[_Wanted, asyncio.Task[None]]] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._open: dict[str, _Open] = {}
        self._later: dict[str, _Later] = {}
        self._some = asyncio.Event()

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

    async def run(self) -> None:
        """Looks for answers for as long as there are requests, and repeats what found nothing."""
        while True:
            await self._some.wait()
            with suppress(StoreError):  # others tell of it; this is looked at again
                await self._look()
                await self._repeat()
            if not self._open and not self._later:
                self._some.clear()
            await self._clock.sleep(max(_LOOK, len(self._open) / _LOOKED_AT))

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

    async def _ask(self, state: TargetState, *, full: bool, again: bool = False) -> None:
        if state.id not in self._wanted:
            fresh = _Wanted(state, full, again)
            task = asyncio.create_task(self._write(fresh))
            self._writes.add(task)
            task.add_done_callback(self._written)
            self._wanted[state.id] = fresh, task
        wanted, task = self._wanted[state.id]
        wanted.full = wanted.full or full
        wanted.again = wanted.again and again
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
            old = self._open.get(state.id)
            now = await self._store.now()
            request = PollRequest(
                id=uuid4().hex,
                account=state.watch.account,
                targets=(state.key,),
                full=wanted.full or (old is not None and old.request.full),
                asked_at=now,
                expires_at=now + timedelta(seconds=_EXPIRES),
            )
            await self._shield.run(self._store.ask(request))
            self._open[state.id] = _Open(request, wanted.again)
            self._some.set()
            self._wake(request.account)
            self._log.debug("a poll is asked for", target=state.key, full=request.full)
            if old is not None:
                # The new one stands for both; where the old one is being polled, it comes after.
                with suppress(StoreError):  # one poll more, then
                    await self._shield.run(self._store.unask(old.request))

    async def _look(self) -> None:
        """Takes away what was answered."""
        for id_, each in list(self._open.items()):
            found = await self._store.request(each.request.id)
            if found is not None:
                if found.results is None:
                    continue
                (key,) = each.request.targets
                result = found.results.get(key)
                if result is not None and not result.changed and not each.again:
                    await self._plan(id_, each.request)
                await self._shield.run(self._store.unask(each.request))
            if self._open.get(id_) is each:  # none has taken its place meanwhile
                del self._open[id_]

    async def _plan(self, id_: str, request: PollRequest) -> None:
        """Once more, in a while: GitHub may lag, or the poll may have failed."""
        fold = parse_target(request.targets[0]).fold
        wait = _AGAIN
        state = (await self._store.targets_by_name([fold])).get(fold)
        if state is not None and state.failure is not None and state.failure.retry_at is not None:
            left = state.failure.retry_at - await self._store.now()
            wait = max(wait, left.total_seconds())
        self._later[id_] = _Later(self._clock.monotonic() + wait, fold, request.full)

    async def _repeat(self) -> None:
        """Asks once more for what is due for it."""
        now = self._clock.monotonic()
        for id_, each in list(self._later.items()):
            if each.at > now:
                continue
            # A request that came meanwhile is as good.
            for state in () if id_ in self._open else await self._watched([each.name]):
                await self._ask(state, full=each.full, again=True)
            del self._later[id_]


def _of(states: Iterable[TargetState], repository_id: int) -> TargetState | None:
    return next((s for s in states if s.facts.get("repository_id") == repository_id), None)
