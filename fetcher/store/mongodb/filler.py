"""MongoDB: a new store that takes over all that another one had."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from fetcher.documents import Document, Kind
from fetcher.errors import UsageError
from fetcher.models import AccountState, TargetState
from fetcher.store.mongodb.errors import mapped
from fetcher.store.mongodb.writer import MongoStore
from fetcher.store.protocol import COLLECTIONS
from fetcher.store.spill import spill
from fetcher.store.states import state_document

__all__ = ["MongoFiller"]

_FILLED: Final = (*COLLECTIONS.values(), "targets", "leases")
_BESIDE: Final = ("requests", "blobs.files", "blobs.chunks")
_NEVER: Final = datetime.fromtimestamp(0, UTC)


class MongoFiller(MongoStore):
    """Implements `Filler`; open it with `open_filler`."""

    async def begin(self) -> None:
        """See `Filler`."""
        with mapped(self._where):
            meta = self._database["meta"]
            if await meta.find_one({"_id": "filling"}) is not None:
                await self._empty()
            for name in _FILLED:
                if await self._database[name].find_one({}, {"_id": 1}) is not None:
                    raise UsageError(
                        f"the store {self._where} is not empty: it has {name}; import into a new "
                        "one, which --store names"
                    )
            await meta.replace_one({"_id": "filling"}, {"_id": "filling"}, upsert=True)

    async def put_records(self, kind: Kind, documents: Sequence[Document]) -> None:
        """See `Filler`."""
        spilled = await asyncio.to_thread(lambda: [spill(document) for document in documents])
        for _, blobs in spilled:
            for digest, data in blobs.items():
                await self._upload(digest, data)
        with mapped(self._where):
            await self._of(kind).insert_many([small for small, _ in spilled], ordered=False)

    async def put_targets(self, states: Sequence[TargetState]) -> None:
        """See `Filler`."""
        with mapped(self._where):
            await self._database["targets"].insert_many(
                [{**state_document(state), **_watched(state)} for state in states], ordered=False
            )

    async def put_accounts(self, accounts: Sequence[AccountState], token: int) -> None:
        """See `Filler`."""
        with mapped(self._where):
            await self._database["meta"].update_one({"_id": "token"}, {"$max": {"value": token}})
            if accounts:
                await self._database["leases"].insert_many([_free(each) for each in accounts])

    async def end(self) -> None:
        """See `Filler`."""
        with mapped(self._where):
            await self._database["meta"].delete_one({"_id": "filling"})

    async def clear(self) -> None:
        """See `Filler`."""
        with mapped(self._where):
            await self._empty()
        await self.end()

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
