"""Holding an upstream account's lease for as long as it is polled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fetcher.errors import FetcherError, LeaseLost, StoreError
from fetcher.models import Clock, Lease
from fetcher.shield import Shield
from fetcher.store.protocol import WriteStore

__all__ = ["AccountBusy", "Tenure", "hold"]


class AccountBusy(FetcherError):
    """Somebody else holds the account, and went on holding it for as long as we waited."""

    def __init__(self, account: str, owner: str, waited: float) -> None:
        super().__init__(
            f"{owner} polls the account {account} and did not free it within {waited:g} s; "
            "try again later, or wait longer with --wait"
        )
        self.account = account
        self.owner = owner


class Tenure:
    """A lease while it is held: renewed early, and lost loudly."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.lost: StoreError | None = None

    def check(self) -> Lease:
        """The lease, or the reason why it is ours no longer."""
        if self.lost is not None:
            raise self.lost
        return self.lease


@contextlib.asynccontextmanager
async def hold(
    store: WriteStore,
    shield: Shield,
    account: str,
    owner: str,
    clock: Clock,
    *,
    ttl: float,
    wait: float,
    budget: Callable[[], dict[str, Any]],
    on_wait: Callable[[str, float], None] = lambda owner, seconds: None,
) -> AsyncIterator[Tenure]:
    """Takes an account's lease, renews it while the block runs, and gives it back.

    `budget` is asked at each renewal for what has been spent, so that whoever comes next knows.
    A holder that died frees its lease after at most `ttl` seconds. Raises `AccountBusy` when
    the lease stays taken for `wait` seconds; `on_wait` is told the owner and the time left.
    """
    until = clock.monotonic() + wait
    while (lease := await _take(store, shield, account, owner, ttl)) is None:
        left = until - clock.monotonic()
        holder = await store.lease(account)
        name = holder.owner if holder is not None else "somebody else"
        if left <= 0:
            raise AccountBusy(account, name, wait)
        on_wait(name, left)
        await clock.sleep(min(0.25, left))
    tenure = Tenure(lease)
    renewing = asyncio.create_task(_renew(store, tenure, clock, ttl, budget))
    try:
        yield tenure
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        if tenure.lost is None:
            with contextlib.suppress(StoreError):  # it runs out by itself
                await shield.run(store.release(tenure.lease, budget()))


async def _take(
    store: WriteStore, shield: Shield, account: str, owner: str, ttl: float
) -> Lease | None:
    """Tries once; cancelled on the way, it gives back what it may have got."""
    try:
        return await shield.run(store.acquire(account, owner, ttl))
    except asyncio.CancelledError:
        holder = await shield.run(store.lease(account))
        if holder is not None and holder.owner == owner:
            await shield.run(store.release(holder, holder.budget))
        raise


async def _renew(
    store: WriteStore,
    tenure: Tenure,
    clock: Clock,
    ttl: float,
    budget: Callable[[], dict[str, Any]],
) -> None:
    """Renews at a third of the lease; a failed try is repeated until the lease has run out."""
    good_until = clock.monotonic() + ttl
    while True:
        await clock.sleep(ttl / 3)
        asked = clock.monotonic()
        try:
            tenure.lease = await store.renew(tenure.lease, ttl, budget())
        except LeaseLost as error:
            tenure.lost = error
            return
        except StoreError as error:
            if clock.monotonic() >= good_until:
                tenure.lost = error
                return
        else:
            good_until = asked + ttl
