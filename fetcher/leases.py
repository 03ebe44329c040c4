"""Holding an upstream account's lease for as long as it is polled.

The setting `service.lease` is a promise: a leader that dies is followed within that time. So the
lease in the store is shorter, it is renewed early, and its holder stops sending some time before
it can run out: whoever comes next never meets requests that are still on their way.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

from fetcher.errors import FetcherError, LeaseLost, StoreError
from fetcher.models import Clock, Lease
from fetcher.shield import Shield
from fetcher.store.protocol import WriteStore

__all__ = ["AccountBusy", "Seat", "Tenure", "hold"]

# Parts of the promised time: how long the store keeps a lease, and when it is renewed.
_KEPT: Final = 0.75
_RENEWED: Final = 0.25
# Seconds before its end in which nothing is sent any more: longer than any window of a budget.
_QUIET: Final = 1.5
_RETRIED: Final = 1.0


class AccountBusy(FetcherError):
    """Somebody else holds the account, and neither freed it nor polled for us in time."""

    def __init__(self, account: str, owner: str, waited: float) -> None:
        super().__init__(
            f"{owner} polls the account {account} and did not answer or free it within "
            f"{waited:g} s; try again later, or wait longer with --wait"
        )
        self.account = account
        self.owner = owner


class Tenure:
    """A lease while it is held: renewed early, and lost loudly.

    Between a failed renewal and the next good one nothing may be sent, because somebody else may
    have the account; what is to be written may be tried, because the store knows who has it.
    """

    def __init__(self, lease: Lease, clock: Clock, until: float, quiet: float = 0.0) -> None:
        self.lease = lease
        self.lost: StoreError | None = None
        self.ended = asyncio.Event()
        self._clock = clock
        self._until = until
        self._quiet = quiet
        # How long, at least, a predecessor that did not give its lease back has sent nothing.
        self.silent_for = None if lease.clean else quiet

    def check(self) -> Lease:
        """The lease, or the reason why it is ours no longer."""
        if self.lost is not None:
            raise self.lost
        return self.lease

    def may_send(self) -> bool:
        """Whether the account is surely ours now."""
        return self.lost is None and self._clock.monotonic() < self._until - self._quiet

    def renewed(self, lease: Lease, until: float) -> None:
        """It is ours until then (monotonic seconds)."""
        self.lease = lease
        self._until = until

    def lose(self, error: StoreError) -> None:
        """It is ours no longer."""
        self.lost = self.lost or error
        self.ended.set()


@contextlib.asynccontextmanager
async def hold(
    store: WriteStore,
    shield: Shield,
    account: str,
    owner: str,
    clock: Clock,
    *,
    promised: float,
    wait: float,
    budget: Callable[[], dict[str, Any]],
    on_wait: Callable[[str, float], Awaitable[None] | None] = lambda owner, seconds: None,
    on_renewal: Callable[[StoreError | None], None] = lambda error: None,
) -> AsyncIterator[Tenure]:
    """Takes an account's lease, renews it while the block runs, and gives it back.

    `budget` is asked at each renewal for what has been spent, so that whoever comes next knows.
    A holder that died is followed within `promised` seconds. Raises `AccountBusy` when the lease
    stays taken for `wait` seconds; `on_wait` is told the owner and the time left, `on_renewal`
    why a renewal failed, or that it did not.
    """
    kept = promised * _KEPT
    until = clock.monotonic() + wait
    while True:
        asked = clock.monotonic()
        lease = await _take(store, shield, account, owner, kept)
        if lease is not None:
            break
        left = until - clock.monotonic()
        holder = await store.lease(account)
        name = holder.owner if holder is not None else "somebody else"
        if left <= 0:
            raise AccountBusy(account, name, wait)
        waiting = on_wait(name, left)
        if waiting is not None:
            await waiting
        await clock.sleep(min(0.25, promised / 20, left))
    tenure = Tenure(lease, clock, asked + kept, min(_QUIET, promised / 8))
    renewing = asyncio.create_task(
        _renew(store, shield, tenure, clock, promised, budget, on_renewal)
    )
    try:
        yield tenure
    finally:
        # As one write: however often it is cancelled, the lease is given back.
        await shield.run(_give_up(store, tenure, renewing, budget))


class Seat:
    """A lease that many users in one process share: the first takes it, the last gives it back.

    `holding` makes the `hold`, given how long to wait for it; `on_taken` is told of each new one.
    Who has waited once for somebody that did not free it does not wait again.
    """

    def __init__(
        self,
        holding: Callable[[float], AbstractAsyncContextManager[Tenure]],
        shield: Shield,
        *,
        wait: float,
        on_taken: Callable[[Tenure], Awaitable[None]],
    ) -> None:
        self._holding = holding
        self._shield = shield
        self._wait = wait
        self._patience = wait
        self._on_taken = on_taken
        self._users = 0
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Raises `AccountBusy` when somebody else has the lease."""
        async with self._turn:
            if not self._users:
                await self._take()
            self._users += 1
        try:
            yield
        finally:
            await self._shield.run(self._leave())

    async def _take(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                tenure = await stack.enter_async_context(self._holding(self._patience))
            except AccountBusy:
                self._patience = 0.0
                raise
            self._patience = self._wait
            await self._on_taken(tenure)
            self._stack = stack.pop_all()

    async def _leave(self) -> None:
        async with self._turn:
            self._users -= 1
            if not self._users:
                await self._stack.aclose()


async def _give_up(
    store: WriteStore,
    tenure: Tenure,
    renewing: asyncio.Task[None],
    budget: Callable[[], dict[str, Any]],
) -> None:
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    if tenure.lost is None:
        with contextlib.suppress(StoreError):  # it runs out by itself
            await store.release(tenure.lease, budget())


async def _take(
    store: WriteStore, shield: Shield, account: str, owner: str, ttl: float
) -> Lease | None:
    """Tries once; cancelled on the way, it gives back what it may have got."""
    try:
        return await shield.run(store.acquire(account, owner, ttl))
    except asyncio.CancelledError:
        await shield.run(_undo(store, account, owner))
        raise


async def _undo(store: WriteStore, account: str, owner: str) -> None:
    with contextlib.suppress(StoreError):
        holder = await store.lease(account)
        if holder is not None and holder.owner == owner:
            await store.release(holder, holder.budget)


async def _renew(
    store: WriteStore,
    shield: Shield,
    tenure: Tenure,
    clock: Clock,
    promised: float,
    budget: Callable[[], dict[str, Any]],
    on_renewal: Callable[[StoreError | None], None],
) -> None:
    """Renews early; a failed try is repeated until the store says whose the lease is."""
    pause = promised * _RENEWED
    while True:
        await clock.sleep(pause)
        asked = clock.monotonic()
        try:
            lease = await shield.run(store.renew(tenure.lease, promised * _KEPT, budget()))
        except LeaseLost as error:
            tenure.lose(error)
            return
        except StoreError as error:
            on_renewal(error)
            pause = min(promised * _RENEWED, _RETRIED)
        else:
            on_renewal(None)
            tenure.renewed(lease, asked + promised * _KEPT)
            pause = promised * _RENEWED
