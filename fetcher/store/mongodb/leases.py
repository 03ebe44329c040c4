"""MongoDB: leases with fencing tokens, watermarks, and the seals behind leaders that vanished.

A leader's writes carry stamps of its token. Readers go as far as its published watermark. When
it ends without giving its lease back, its successor seals its token at that watermark: whatever
is found beyond (the rest of a crashed batch, or the late write of a paused leader) is hidden
from readers until `mend` has stamped it anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from fetcher.documents import Document
from fetcher.errors import LeaseLost, StoreUnavailable
from fetcher.models import Lease
from fetcher.store.mongo import Client, Database
from fetcher.store.mongodb.errors import mapped
from fetcher.store.mongodb.reader import MongoReader

__all__ = ["MongoLeases"]

_NEVER: Final = datetime.fromtimestamp(0, UTC)
# Leaders that vanished, and may yet write, of one account; a thousand crashes ago is long ago.
_SEALS: Final = 1_000


@dataclass(slots=True)
class _Counter:
    """The stamps that one lease has given out, and those whose writes are not known to be done."""

    last: int = 0
    under_way: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)

    def take(self, size: int) -> int:
        """Reserves `size` numbers behind the one returned."""
        start = self.last
        self.last += size
        if size:
            self.under_way.add(start)
        return start

    def done(self, start: int) -> None:
        """All of them are written, or never will be."""
        self.under_way.discard(start)

    def unknown(self, start: int) -> None:
        """They may be written yet."""
        self.under_way.discard(start)
        self.lost.add(start)

    def visible(self) -> int:
        """The number up to which everything is written."""
        return min(self.under_way | self.lost, default=self.last)


class MongoLeases(MongoReader):
    """The leases of `WriteStore`."""

    def __init__(self, client: Client, database: Database, where: str) -> None:
        super().__init__(client, database, where)
        self._counters: dict[tuple[str, int], _Counter] = {}

    def _counter(self, lease: Lease) -> _Counter:
        return self._counters.setdefault((lease.account, lease.token), _Counter())

    async def acquire(self, account: str, owner: str, ttl: float) -> Lease | None:
        """See `WriteStore`."""
        now = await self.now()
        until = now + timedelta(seconds=ttl)
        leases = self._database["leases"]
        with mapped(self._where):
            held = await leases.find_one({"_id": account})
            if held is not None and held["owner"] is not None and held["expires_at"] > now:
                return None
            token = await self._next_token()
            if held is None:
                values = {"owner": owner, "token": token, "expires_at": until, "watermark": 0}
                try:
                    await leases.insert_one({"_id": account, "budget": {}, "seals": [], **values})
                except DuplicateKeyError:
                    return None
                return Lease(account, owner, token, until)
            # Whoever took or renewed it since has changed one of these.
            same = {"_id": account, "token": held["token"], "expires_at": held["expires_at"]}
            clean = held["owner"] is None and bool(held.get("clean"))
            seals = None if clean else _seal(held)
            taken = await leases.update_one(same, _take(owner, token, until, seals))
        if taken.matched_count == 0:
            return None
        return Lease(account, owner, token, until, held["budget"], clean)

    async def lease(self, account: str) -> Lease | None:
        """See `WriteStore`."""
        now = await self.now()
        with mapped(self._where):
            held = await self._database["leases"].find_one({"_id": account})
        if held is None or held["owner"] is None or held["expires_at"] <= now:
            return None
        return Lease(account, held["owner"], held["token"], held["expires_at"], held["budget"])

    async def renew(self, lease: Lease, ttl: float, budget: Mapping[str, Any]) -> Lease:
        """See `WriteStore`."""
        until = await self.now() + timedelta(seconds=ttl)
        counter = self._counter(lease)
        if counter.lost and not counter.under_way:
            with mapped(self._where):
                held = await self._database["leases"].find_one(_held(lease))
                if held is None:
                    raise lost(lease)
                token = await self._next_token()
            update = _take(lease.owner, token, until, _seal(held))
            update["$set"]["budget"] = dict(budget)
            await self._update_lease(lease, update)
            return Lease(lease.account, lease.owner, token, until, budget)
        await self._update_lease(lease, {"$set": {"expires_at": until, "budget": dict(budget)}})
        return Lease(lease.account, lease.owner, lease.token, until, budget)

    async def release(self, lease: Lease, budget: Mapping[str, Any]) -> None:
        """See `WriteStore`."""
        counter = self._counters.pop((lease.account, lease.token), _Counter())
        free: dict[str, Any] = {"owner": None, "expires_at": _NEVER, "budget": dict(budget)}
        free["clean"] = counter.visible() == counter.last
        try:
            upto = {"watermark": counter.visible()}
            await self._update_lease(lease, {"$set": free, "$max": upto})
        except LeaseLost:
            return

    async def publish(self, lease: Lease) -> int:
        """See `WriteStore`."""
        upto = self._counter(lease).visible()
        await self._update_lease(lease, {"$max": {"watermark": upto}})
        return upto

    async def _next_token(self) -> int:
        counter = await self._database["meta"].find_one_and_update(
            {"_id": "token"}, {"$inc": {"value": 1}}, return_document=True
        )
        if counter is None:
            raise StoreUnavailable(f"the store {self._where} has lost its counter of tokens")
        return int(counter["value"])

    async def _update_lease(self, lease: Lease, update: Document) -> None:
        with mapped(self._where):
            done = await self._database["leases"].update_one(_held(lease), update)
        if done.matched_count == 0:
            raise lost(lease)

    async def _check(self, lease: Lease) -> Document:
        """Refuses a late writer early; what slips through is refused or sealed by its stamp."""
        with mapped(self._where):
            held = await self._database["leases"].find_one(_held(lease), {"seals": 1})
        if held is None:
            raise lost(lease)
        return held


def _take(owner: str, token: int, until: datetime, seals: list[Document] | None) -> Document:
    values: Document = {"owner": owner, "token": token, "expires_at": until, "watermark": 0}
    return {"$set": values if seals is None else {**values, "seals": seals}}


def _seal(held: Document) -> list[Document]:
    """Its seals and one more; a lease of an earlier version has published everything or nothing."""
    return [*held.get("seals", ()), {"token": held["token"], "n": held["watermark"]}][-_SEALS:]


def _held(lease: Lease) -> Document:
    return {"_id": lease.account, "owner": lease.owner, "token": lease.token}


def lost(lease: Lease) -> LeaseLost:
    """What a late writer hears."""
    return LeaseLost(f"somebody else polls the account {lease.account} now")
