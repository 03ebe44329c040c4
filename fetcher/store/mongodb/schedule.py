"""MongoDB: what is due, who watches it, and what is asked of a leader."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pymongo import ASCENDING, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError

from fetcher.documents import Document
from fetcher.errors import LeaseLost, StoreError
from fetcher.models import Failure, Lease, PollRequest, PollResult, TargetState, Wish
from fetcher.store.mongodb.errors import DUPLICATE, mapped, translate_write
from fetcher.store.mongodb.leases import MongoLeases
from fetcher.store.mongodb.reader import some, state_of
from fetcher.store.protocol import COLLECTIONS, Side
from fetcher.store.states import (
    advances,
    passing,
    request_document,
    request_from,
    state_document,
    under,
)

__all__ = ["MongoSchedule"]

_ROUNDS: Final = 5


class MongoSchedule(MongoLeases):
    """The states, the schedule and the requests of `WriteStore`."""

    async def save_targets(
        self,
        lease: Lease,
        states: Sequence[TargetState],
        gone: Sequence[str] = (),
        known: Mapping[str, TargetState] = MappingProxyType({}),
    ) -> Sequence[str]:
        """See `WriteStore`."""
        await self._check(lease)
        stale = await self._save(lease, states, known) if states else ()
        if gone:
            with mapped(self._where):
                await self._database["targets"].delete_many({"_id": {"$in": list(gone)}})
        return stale

    async def _save(
        self, lease: Lease, states: Sequence[TargetState], known: Mapping[str, TargetState]
    ) -> Sequence[str]:
        last = {state.id: under(lease, state) for state in states}
        left = set(last)
        for last_round in range(_ROUNDS - 1, -1, -1):
            # In one order, so that two writers never wait for each other in a circle.
            writes = [_save(lease, last[id_], known.get(id_)) for id_ in sorted(left)]
            known = {}  # what the first round could not save is not as it was known
            try:
                with mapped(self._where):
                    done = await self._database["targets"].bulk_write(writes, ordered=False)
                    if done.matched_count + done.upserted_count == len(writes):
                        return ()
                trouble: StoreError | None = None
            except StoreError as error:
                cause = error.__cause__
                if not isinstance(cause, BulkWriteError) or cause.details.get("writeConcernErrors"):
                    raise
                trouble = translate_write(cause.details["writeErrors"], self._where)
                if trouble is not None:
                    raise trouble from cause
                if any(each["code"] != DUPLICATE for each in cause.details["writeErrors"]):
                    trouble = error  # such as a deadlock between two bulks: tried again
            stale, left = await self._unsaved(lease, {id_: last[id_] for id_ in left})
            if not left:
                return stale
            if trouble is not None and last_round == 0:
                raise trouble
        return [*stale, *left]

    async def _unsaved(
        self, lease: Lease, wanted: Mapping[str, TargetState]
    ) -> tuple[list[str], set[str]]:
        """Those that something stands against, and those that may be tried once more."""
        stale: list[str] = []
        left = set(wanted)
        fields = {"account": 1, "token": 1, "last_attempt": 1, "watch": 1}
        for part in some(list(wanted)):
            with mapped(self._where):
                found = (
                    await self._database["targets"]
                    .find({"_id": {"$in": part}}, fields)
                    .to_list(None)
                )
            for document in found:
                id_ = document["_id"]
                mine = wanted[id_]
                account, token = document["account"], document["token"]
                if account == lease.account and token > lease.token:
                    raise LeaseLost(f"a later leader has polled {mine.key} already")
                at = document["last_attempt"]
                if _wished(document.get("watch") or {}) != _wished_by(mine):
                    stale.append(id_)
                    left.discard(id_)
                    continue
                if (account, token, at) == (lease.account, lease.token, _whole(mine.last_attempt)):
                    left.discard(id_)
                    continue
                later = at is not None and mine.last_attempt is not None and at > mine.last_attempt
                if later:
                    stale.append(id_)
                    left.discard(id_)
        return stale, left

    async def void(self, lease: Lease, ids: Sequence[str]) -> None:
        """See `WriteStore`."""
        await self._check(lease)
        for part in some(ids):
            with mapped(self._where):
                await self._database["targets"].update_many(
                    {"_id": {"$in": part}}, {"$set": {"cursor": None}}
                )

    async def due(
        self, account: str, now: datetime, *, queries: bool, limit: int, skip: Collection[str] = ()
    ) -> Sequence[TargetState]:
        """See `WriteStore`."""
        wanted: Document = {
            "watch.account": account,
            "watch.query": queries,
            "next_due": {"$lte": now},
        }
        if skip:
            wanted["_id"] = {"$nin": list(skip)}
        with mapped(self._where):
            cursor = self._database["targets"].find(wanted).sort("next_due", ASCENDING)
            return [state_of(each) async for each in cursor.limit(limit)]

    async def upcoming(self, account: str, now: datetime) -> datetime | None:
        """See `WriteStore`."""
        later = {"watch.account": account, "watch.query": False, "next_due": {"$gt": now}}
        with mapped(self._where):
            found = await self._database["targets"].find_one(
                later, {"next_due": 1}, sort=[("next_due", ASCENDING)]
            )
        return found["next_due"] if found is not None else None

    async def recall(self, account: str, now: datetime) -> int:
        """See `WriteStore`."""
        mine = {"watch.account": account}
        polled = {**mine, "last_attempt": {"$gt": now}}
        new = {**mine, "last_attempt": None, "next_due": {"$gt": now}}
        writes = [
            UpdateMany(polled, {"$set": {"last_attempt": now, "next_due": now}}),
            UpdateMany(new, {"$set": {"next_due": now}}),
        ]
        with mapped(self._where):
            done = await self._database["targets"].bulk_write(writes)
        return int(done.modified_count)

    async def wish(self, side: Side, wishes: Sequence[Wish]) -> None:
        """See `WriteStore`."""
        if not wishes:
            return
        now = await self.now()
        writes: list[UpdateOne | UpdateMany] = []
        for each in sorted(wishes, key=lambda wish: wish.id):
            state = TargetState(each.id, each.key, (each.id,), each.account, next_due=now)
            new = state_document(state)
            del new["_id"]
            wish: Document = {
                "$set": {
                    f"watch.{side}": each.every,
                    "watch.account": each.account,
                    "watch.query": "?" in each.key,
                }
            }
            if each.due is not None:
                wish["$min"] = {"next_due": each.due}
                del new["next_due"]
            if each.every is not None:
                wish["$setOnInsert"] = new
            writes.append(UpdateOne({"_id": each.id}, wish, upsert=each.every is not None))
        ids = [each.id for each in wishes if each.every is None]
        if ids:
            gone = {"_id": {"$in": ids}, "watch.file": None, "watch.hand": None}
            writes.append(UpdateMany(gone, {"$set": {"watch.account": None}}))
        with mapped(self._where):
            await self._database["targets"].bulk_write(writes, ordered=True)

    async def purge(self, id_: str, key: str) -> int:
        """See `WriteStore`."""
        purged = 0
        with mapped(self._where):
            # The target last: a crash in between leaves it to be purged again.
            for name in COLLECTIONS.values():
                gone = await self._database[name].delete_many({"targets": [key]})
                purged += gone.deleted_count
                await self._database[name].update_many(
                    {"targets": key}, {"$pull": {"targets": key}}
                )
            await self._database["targets"].delete_one({"_id": id_})
        return purged

    # Requests

    async def ask(self, request: PollRequest) -> None:
        """See `WriteStore`."""
        requests = self._database["requests"]
        # Those that no leader is left to drop.
        with mapped(self._where):
            await requests.delete_many({"expires_at": {"$lte": request.asked_at}})
            document = request_document(request)
            full = document.pop("full")
            fields = {"$set": document, "$max": {"full": full}}
            await requests.update_one({"_id": request.id}, fields, upsert=True)

    async def asked(self, account: str) -> Sequence[PollRequest]:
        """See `WriteStore`."""
        requests = self._database["requests"]
        with mapped(self._where):
            found = await requests.find({"account": account}).sort("asked_at").to_list(None)
            if not found:
                return ()
            now = await self.now()
            if any(each["expires_at"] <= now for each in found):
                await requests.delete_many({"account": account, "expires_at": {"$lte": now}})
        return [
            request_from(each)
            for each in found
            if each["results"] is None and each["expires_at"] > now
        ]

    async def answer(
        self,
        request: PollRequest,
        results: Mapping[str, PollResult],
        refusal: Failure | None = None,
    ) -> None:
        """See `WriteStore`."""
        document = request_document(replace(request, results=results, refusal=refusal))
        with mapped(self._where):
            await self._database["requests"].replace_one(_same(request), document)

    async def unask(self, request: PollRequest) -> None:
        """See `WriteStore`."""
        with mapped(self._where):
            await self._database["requests"].delete_one(_same(request))


def _save(lease: Lease, state: TargetState, known: TargetState | None) -> UpdateOne:
    file, hand = _wished_by(state)
    wished = {"watch.file": file, "watch.hand": hand}
    if known is not None and advances(lease, state, known):
        same: Document = {
            "_id": state.id,
            "account": known.account,
            "token": known.token,
            "last_attempt": known.last_attempt,
            **wished,
        }
        return UpdateOne(same, {"$set": passing(state)})
    document = state_document(state)
    del document["_id"]
    same = {
        "_id": state.id,
        "last_attempt": {"$not": {"$gt": state.last_attempt}},
        "$or": [{"account": {"$ne": lease.account}}, {"token": {"$lte": lease.token}}],
        **wished,
    }
    return UpdateOne(same, {"$set": document}, upsert=True)


def _same(request: PollRequest) -> Document:
    """As long as nobody has asked anew."""
    return {"_id": request.id, "asked_at": request.asked_at}


def _wished(watch: Document) -> tuple[object, object]:
    return watch.get("file"), watch.get("hand")


def _wished_by(state: TargetState) -> tuple[object, object]:
    return (state.watch.file, state.watch.hand) if state.watch is not None else (None, None)


def _whole(time: datetime | None) -> datetime | None:
    """As MongoDB keeps it: whole milliseconds."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000) if time is not None else None
