"""A poll by somebody else: asking the leader of an account through the store."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import uuid4

from fetcher.errors import FetcherError, StoreError
from fetcher.models import Due, PollRequest
from fetcher.refresh import Polled
from fetcher.shield import Shield
from fetcher.store.protocol import WriteStore

__all__ = ["AccountLimited", "Inquiry"]

# Targets of one request: an answer is one document.
_TARGETS: Final = 1_000


class AccountLimited(FetcherError):
    """The account's leader polls nothing as long as a limit lasts."""


class Inquiry:
    """Requests for polls, left in the store until they are answered or taken back.

    `refused` are the targets (by their keys) that the leader did not poll, and why.
    """

    def __init__(self, store: WriteStore, shield: Shield, account: str, due: Sequence[Due]) -> None:
        self._store = store
        self._shield = shield
        self._account = account
        self.refused: dict[str, AccountLimited] = {}
        self._due = {each.target.key: each for each in due}
        self._open: dict[str, PollRequest] = {}

    @property
    def left(self) -> Sequence[Due]:
        """What is neither answered nor refused yet."""
        return list(self._due.values())

    async def ask(self, wait: float) -> None:
        """Leaves the requests; who has not answered after `wait` seconds need not."""
        now = await self._store.now()
        keys = list(self._due)
        for at in range(0, len(keys), _TARGETS):
            part = tuple(keys[at : at + _TARGETS])
            request = PollRequest(
                id=uuid4().hex,
                account=self._account,
                targets=part,
                full=any(self._due[key].full for key in part),
                asked_at=now,
                expires_at=now + timedelta(seconds=wait),
            )
            self._open[request.id] = request
            await self._shield.run(self._store.ask(request))

    async def answers(self) -> AsyncGenerator[Polled, None]:
        """What has been answered since this was last asked."""
        for id_, request in list(self._open.items()):
            found = await self._store.request(id_)
            if found is None or found.results is None:
                continue
            del self._open[id_]
            await self._shield.run(self._store.unask(request))
            if found.refusal is not None:
                for key in request.targets:
                    del self._due[key]
                    self.refused[key] = AccountLimited(found.refusal.message)
                continue
            folds = {self._due[key].target.fold: key for key in request.targets}
            states = await self._store.targets_by_name(list(folds))
            for fold, key in folds.items():
                result, state = found.results.get(key), states.get(fold)
                if result is not None and state is not None:
                    due = self._due.pop(key)
                    yield Polled(
                        due.target, state, result.changed, request.asked_at, since=request.asked_at
                    )

    async def withdraw(self) -> None:
        """Takes back what is still open."""
        for request in self._open.values():
            with suppress(StoreError):  # it expires by itself
                await self._shield.run(self._store.unask(request))
        self._open.clear()
