"""MongoDB: a new store that takes over all that another one had."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from fetcher.documents import Document, Kind
from fetcher.errors import UsageError
from fetcher.models import AccountState, TargetState
from fetcher.store.mongo import Collection
from fetcher.store.mongodb.errors import mapped
from fetcher.store.mongodb.writer import MongoStore
from fetcher.store.protocol import COLLECTIONS, FILLING_SECONDS, filling_already
from fetcher.store.spill import spill
from fetcher.store.states import state_document

__all__ = ["MongoFiller"]

_FILLED: Final = (*COLLECTIONS.values(), "targets", "leases")
_BESIDE: Final = ("requests", "blobs.files", "blobs.chunks")
_NEVER: Final = datetime.fromtimestamp(0, UTC)


class MongoFiller(MongoStore):
    """Implements `Filler`; open it with `open_filler`."""

    _owner = ""
    _ttl = FILLING_SECONDS

    async def begin(self, ttl: float = FILLING_SECONDS) -> None:
        """See `Filler`."""
        self._owner, self._ttl = uuid4().hex, ttl
        now = await self.now()
        with mapped(self._where):
            left = await self._meta.find_one({"_id": "filling"})
            mine = {"owner": self._owner, "until": self._until(now)}
            if left is None:
                await self._refuse_used()
                try:
                    await self._meta.insert_one({"_id": "filling", "own": False, **mine})
                except DuplicateKeyError:
                    raise filling_already(self._where) from None
            else:
                if left.get("until", now) > now:
                    raise filling_already(self._where)
                same = {name: left.get(name) for name in ("_id", "owner", "until")}
                if (await self._meta.update_one(same, {"$set": mine})).matched_count == 0:
                    raise filling_already(self._where)
                # Where it says so, the store was found empty before: all in it is an import's.
                if left.get("own", True):
                    await self._empty()
            try:
                # Whoever opened the store before it was claimed may have written meanwhile.
                await self._refuse_used()
            except UsageError:
                await self._meta.delete_one(self._mine())
                raise
            await self._meta.update_one(self._mine(), {"$set": {"own": True}})
        await self._renew()

    async def _refuse_used(self) -> None:
        for name in _FILLED:
            if await self._database[name].find_one({}, {"_id": 1}) is not None:
                raise UsageError(
                    f"the store {self._where} is not empty: it has {name}; import into a new "
                    "one, which --store names"
                )

    @property
    def _meta(self) -> Collection:
        return self._database["meta"]

    def _mine(self) -> Document:
        return {"_id": "filling", "owner": self._owner}

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._ttl)

    async def _renew(self) -> None:
        if not await self._renewed():
            raise filling_already(self._where)

    async def _renewed(self) -> bool:
        until = {"$set": {"until": self._until(await self.now())}}
        with mapped(self._where):
            done = await self._meta.update_one(self._mine(), until)
        return done.matched_count > 0

    async def put_records(self, kind: Kind, documents: Sequence[Document]) -> None:
        """See `Filler`."""
        spilled = await asyncio.to_thread(lambda: [spill(document) for document in documents])
        for _, blobs in spilled:
            for digest, data in blobs.items():
                await self._renew()
                await self._upload(digest, data)
        await self._renew()
        with mapped(self._where):
            await self._of(kind).insert_many([small for small, _ in spilled], ordered=False)

    async def put_targets(self, states: Sequence[TargetState]) -> None:
        """See `Filler`."""
        await self._renew()
        with mapped(self._where):
            await self._database["targets"].insert_many(
                [{**state_document(state), **_watched(state)} for state in states], ordered=False
            )

    async def put_accounts(self, accounts: Sequence[AccountState], token: int) -> None:
        """See `Filler`."""
        await self._renew()
        with mapped(self._where):
            await self._database["meta"].update_one({"_id": "token"}, {"$max": {"value": token}})
            if accounts:
                await self._database["leases"].insert_many([_free(each) for each in accounts])

    async def end(self) -> None:
        """See `Filler`."""
        with mapped(self._where):
            done = await self._meta.delete_one(self._mine())
        if done.deleted_count == 0:
            raise filling_already(self._where)

    async def clear(self) -> None:
        """See `Filler`."""
        if not await self._renewed():
            return  # somebody else's by now
        with mapped(self._where):
            await self._empty()
            await self._meta.delete_one(self._mine())

    async def _empty(self) -> None:
        for name in (*_FILLED, *_BESIDE):
            await self._database[name].delete_many({})


def _watched(state: TargetState) -> Document:
    watch = state.watch
    if watch is None:
        return {}
    values = {"account": watch.account, "file": watch.file, "hand": watch.hand}
    return {"watch": {**values, "query": "?" in state.key}}


def _free(account: AccountState) -> Document:
    """The lease of an account that was given back after all was published."""
    return {
        "_id": account.account,
        "owner": None,
        "token": account.token,
        "expires_at": _NEVER,
        "budget": dict(account.budget),
        "watermark": account.watermark,
        "seals": [],
        "clean": True,
    }
