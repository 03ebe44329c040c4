"""What is asked of the leader of an account through the store, and how it is answered."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from fetcher.gate import Door
from fetcher.models import Due, Failure, PollRequest, PollResult
from fetcher.refresh import Polled
from fetcher.shield import Shield
from fetcher.standing import LIMITED
from fetcher.store.protocol import WriteStore
from fetcher.targets import parse_target
from fetcher.timetable import Timetable

__all__ = ["Asked"]

# Seconds until a poll that nobody waits for, and that found nothing, is repeated: GitHub may tell
# of a change sooner than it lists it.
_AGAIN: Final = timedelta(seconds=10)


class Asked:
    """The requests of one account: which of them may be polled for now, and their ends."""

    def __init__(
        self, store: WriteStore, shield: Shield, account: str, gate: Door, timetable: Timetable
    ) -> None:
        self._store = store
        self._shield = shield
        self._account = account
        self._gate = gate
        self._timetable = timetable
        self._taken: set[str] = set()

    async def take(self, flying: Collection[str]) -> Sequence[tuple[PollRequest, Sequence[Due]]]:
        """Requests to poll for now, of which no target is `flying` (by id); `leave` must follow.

        A limited account polls for nobody. Who would wait in vain is told so; what can wait is
        polled when the limit is over.
        """
        # One whose poll ends while the store is read may still look unanswered.
        taken_before = frozenset(self._taken)
        asked = await self._store.asked(self._account)
        requests = [each for each in asked if each.id not in taken_before]
        if not requests:
            return ()
        now = await self._store.now()
        ends = self._limited(now)
        taken: list[tuple[PollRequest, Sequence[Due]]] = []
        under_way = set(flying)
        for request in requests:
            if request.not_before is not None and request.not_before > now:
                continue
            if ends is not None:
                if request.expires_at <= ends:
                    await self._refuse(request, ends)
                continue
            due = await self._due(request, now)
            ids = {each.id for each in due}
            if under_way.isdisjoint(ids):
                under_way |= ids
                taken.append((request, due))
        self._taken.update(request.id for request, _ in taken)
        return taken

    def _limited(self, now: datetime) -> datetime | None:
        """Until when the account is limited, for those who may use its reserve."""
        with self._gate.urgent():
            closed = self._gate.closed_for()
        return now + timedelta(seconds=closed) if closed > LIMITED else None

    async def _refuse(self, request: PollRequest, ends: datetime) -> None:
        text = f"the account {self._account} is limited until {ends:%H:%M:%S} UTC"
        refusal = Failure(text, retry_at=ends)
        await self._shield.run(self._store.answer(request, {}, refusal))

    async def _due(self, request: PollRequest, now: datetime) -> list[Due]:
        targets = [parse_target(key) for key in request.targets]
        states = await self._store.targets_by_name([target.fold for target in targets])
        return [
            self._timetable.asked(target, states.get(target.fold), now, full=request.full)
            for target in targets
        ]

    async def answer(self, request: PollRequest, polled: Mapping[str, Polled]) -> None:
        """The poll is over; `polled` has the ends of its targets by their keys as asked."""
        if request.awaited:
            results = {key: PollResult(each.state.id, each.changed) for key, each in polled.items()}
            await self._shield.run(self._store.answer(request, results))
            return
        # First the repeat, then the end: a crash between them costs a poll, and loses none.
        found = any(each.changed for each in polled.values())
        if polled and not found and request.not_before is None:
            await self._repeat(request, polled)
        await self._shield.run(self._store.unask(request))

    async def _repeat(self, request: PollRequest, polled: Mapping[str, Polled]) -> None:
        now = await self._store.now()
        failures = [each.state.failure for each in polled.values()]
        waits = [each.retry_at for each in failures if each is not None and each.retry_at]
        again = PollRequest(
            id=f"{request.id} again",
            account=request.account,
            targets=request.targets,
            full=request.full,
            asked_at=now,
            expires_at=now + (request.expires_at - request.asked_at),
            awaited=False,
            not_before=max([now + _AGAIN, *waits]),
        )
        await self._shield.run(self._store.ask(again))

    def leave(self, request: PollRequest) -> None:
        """The poll has ended in whatever way: what is not answered is taken again."""
        self._taken.discard(request.id)
