"""The write side of a MongoDB: leases, and records under compare-and-set."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeAlias

from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from fetcher.documents import Document, Kind
from fetcher.errors import LeaseLost, StoreError, StoreUnavailable
from fetcher.models import Batch, Lease, TargetState, Written
from fetcher.store.merge import Stamp, Step, merge_all, summarised
from fetcher.store.mongo import Client, Database, client_of, database_of, prepare
from fetcher.store.mongodb.errors import DUPLICATE, mapped, shown, translate_write
from fetcher.store.mongodb.reader import MongoReader, some
from fetcher.store.protocol import COLLECTIONS
from fetcher.store.spill import spill
from fetcher.store.states import state_document

__all__ = ["MongoStore"]

# How often a batch is merged anew because another writer came in between.
_ROUNDS: Final = 20
_NEVER: Final = datetime.fromtimestamp(0, UTC)

_Key: TypeAlias = tuple[Kind, str]


@dataclass(slots=True)
class _Counter:
    """The stamps that one lease has given out, and those whose writes are under way."""

    last: int = 0
    under_way: set[int] = field(default_factory=set)

    def take(self, size: int) -> int:
        """Reserves `size` numbers behind the one returned."""
        start = self.last
        self.last += size
        if size:
            self.under_way.add(start)
        return start

    def visible(self) -> int:
        """The number up to which everything is written."""
        return min(self.under_way, default=self.last)


class MongoStore(MongoReader):
    """Implements `WriteStore`; open it with `open_store`."""

    def __init__(self, client: Client, database: Database, where: str) -> None:
        super().__init__(client, database, where)
        self._counters: dict[tuple[str, int], _Counter] = {}

    @classmethod
    async def open(cls, url: str, *, create: bool) -> "MongoStore":
        """Raises `StoreUnavailable`, `SchemaTooNew` or `UsageError`."""
        where = shown(url)
        client = client_of(url)
        try:
            with mapped(where):
                database = database_of(client, url)
                await prepare(database, where, create=create)
        except BaseException:
            client.close()
            raise
        return cls(client, database, where)

    # Leases

    async def acquire(self, account: str, owner: str, ttl: float) -> Lease | None:
        """See `WriteStore`."""
        now = await self.now()
        until = now + timedelta(seconds=ttl)
        leases = self._database["leases"]
        with mapped(self._where):
            held = await leases.find_one({"_id": account})
            if held is not None and held["owner"] is not None and held["expires_at"] > now:
                return None
            counter = await self._database["meta"].find_one_and_update(
                {"_id": "token"}, {"$inc": {"value": 1}}, return_document=True
            )
            if counter is None:
                raise StoreUnavailable(f"the store {self._where} has lost its counter of tokens")
            token = int(counter["value"])
            values = {"owner": owner, "token": token, "expires_at": until, "watermark": 0}
            if held is None:
                try:
                    await leases.insert_one({"_id": account, "budget": {}, **values})
                except DuplicateKeyError:
                    return None
                return Lease(account, owner, token, until)
            # Whoever took or renewed it since has changed one of these.
            same = {"_id": account, "token": held["token"], "expires_at": held["expires_at"]}
            taken = await leases.update_one(same, {"$set": values})
        if taken.matched_count == 0:
            return None
        return Lease(account, owner, token, until, held["budget"])

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
        await self._update_lease(lease, {"$set": {"expires_at": until, "budget": dict(budget)}})
        return Lease(lease.account, lease.owner, lease.token, until, budget)

    async def release(self, lease: Lease, budget: Mapping[str, Any]) -> None:
        """See `WriteStore`."""
        free = {"owner": None, "expires_at": _NEVER, "budget": dict(budget)}
        try:
            await self._update_lease(lease, {"$set": free})
        except LeaseLost:
            return
        self._counters.pop((lease.account, lease.token), None)

    async def _update_lease(self, lease: Lease, update: Document) -> None:
        with mapped(self._where):
            done = await self._database["leases"].update_one(_held(lease), update)
        if done.matched_count == 0:
            raise _lost(lease)

    async def _check(self, lease: Lease) -> None:
        """Refuses a late writer early; what slips through is refused or sealed by its stamp."""
        with mapped(self._where):
            held = await self._database["leases"].find_one(_held(lease), {"_id": 1})
        if held is None:
            raise _lost(lease)

    # Writing

    async def write(self, lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
        """See `WriteStore`."""
        await self._check(lease)
        counter = self._counters.setdefault((lease.account, lease.token), _Counter())
        now = await self.now()
        done: list[Step] = []
        # None: all of them; later those that another writer came in between of.
        left: set[_Key] | None = None
        trouble: StoreError | None = None
        for _ in range(_ROUNDS):
            stored = await self._stored(batches, left)
            before = {key: (doc["stamp"], doc["targets"]) for key, doc in stored.items()}
            start = counter.take(sum(map(_size, batches)))
            stamps = (Stamp(lease.account, lease.token, n) for n in count(start + 1))
            try:
                steps = await asyncio.to_thread(merge_all, stored, batches, stamps, now, left)
                documents = await self._spilled(steps)
            except BaseException:
                counter.under_way.discard(start)  # nothing of it was sent
                raise
            # A write that fails has an unknown outcome: its numbers stay under way, and the
            # watermark never passes them. The next lease begins anew.
            lost, trouble = await self._put(documents, before)
            counter.under_way.discard(start)
            done += [step for step in steps if (step.kind, step.id) not in lost]
            if not lost:
                return summarised(done, batches)
            left = lost
        raise trouble or StoreUnavailable(
            f"the store {self._where}: other writers keep coming in between"
        )

    async def _stored(
        self, batches: Sequence[Batch], only: set[_Key] | None
    ) -> dict[_Key, Document]:
        ids: dict[Kind, dict[str, None]] = {}
        for batch in batches:
            named = (*(r.id for r in batch.records), *batch.withdrawn, *batch.detached)
            wanted = (id_ for id_ in named if only is None or (batch.kind, id_) in only)
            ids.setdefault(batch.kind, {}).update(dict.fromkeys(wanted))
        stored: dict[_Key, Document] = {}
        for kind, wanted_ids in ids.items():
            for part in some(list(wanted_ids)):
                with mapped(self._where):
                    async for document in self._of(kind).find({"_id": {"$in": part}}):
                        stored[kind, document["_id"]] = document
        return stored

    async def _spilled(self, steps: Iterable[Step]) -> dict[_Key, Document]:
        """What is to be stored, the last word on each record; its blobs stand already."""
        last = {
            (step.kind, step.id): step.merged.document
            for step in steps
            if step.merged.document is not None
        }
        small = await asyncio.to_thread(lambda: {key: spill(doc) for key, doc in last.items()})
        for _, blobs in small.values():
            for digest, data in blobs.items():
                await self._upload(digest, data)
        return {key: document for key, (document, _) in small.items()}

    async def _upload(self, digest: str, data: bytes) -> None:
        """A blob is whole once its file document stands, which GridFS writes last.

        Two uploaders at once make two copies of the same bytes; either will do.
        """
        with mapped(self._where):
            whole = {"filename": digest, "length": len(data)}
            if await self._database["blobs.files"].find_one(whole, {"_id": 1}) is None:
                await self._blobs.upload_from_stream(digest, data)

    async def _put(
        self,
        documents: Mapping[_Key, Document],
        before: Mapping[_Key, tuple[Document, Sequence[str]]],
    ) -> tuple[set[_Key], StoreError | None]:
        """Replaces what is still as it was read; gives those that are not, and any trouble."""
        lost: set[_Key] = set()
        trouble: StoreError | None = None
        for kind in COLLECTIONS:
            # In one order, so that two writers never wait for each other in a circle.
            mine = {id_: documents[each, id_] for each, id_ in sorted(documents) if each == kind}
            if not mine:
                continue
            writes = [_compare_and_set(doc, before.get((kind, id_))) for id_, doc in mine.items()]
            with mapped(self._where):
                try:
                    result = await self._of(kind).bulk_write(writes, ordered=False)
                    if result.matched_count + result.inserted_count == len(writes):
                        continue
                except BulkWriteError as error:
                    if error.details.get("writeConcernErrors"):
                        raise
                    problems = error.details["writeErrors"]
                    if (fatal := translate_write(problems, self._where)) is not None:
                        raise fatal from error
                    # Duplicates are another writer's inserts; other faults of single writes
                    # (a deadlock between two bulks) are tried again as well.
                    if any(problem["code"] != DUPLICATE for problem in problems):
                        text = f"it refuses a write (code {problems[0]['code']})"
                        trouble = StoreUnavailable(f"the store {self._where} does not work: {text}")
                fields = {"stamp": 1, "targets": 1}
                for part in some(list(mine)):
                    async for found in self._of(kind).find({"_id": {"$in": part}}, fields):
                        wanted = mine[found["_id"]]
                        if _mark(found) == _mark(wanted):
                            del mine[found["_id"]]
            lost |= {(kind, id_) for id_ in mine}
        return lost, trouble

    async def publish(self, lease: Lease) -> int:
        """See `WriteStore`."""
        counter = self._counters.setdefault((lease.account, lease.token), _Counter())
        upto = counter.visible()
        await self._update_lease(lease, {"$max": {"watermark": upto}})
        return upto

    async def save_targets(self, lease: Lease, states: Sequence[TargetState]) -> None:
        """See `WriteStore`."""
        if not states:
            return
        await self._check(lease)
        last = {state.id: state for state in states}
        writes = [
            ReplaceOne(
                {"_id": id_, "token": {"$lte": lease.token}},
                {**state_document(last[id_]), "token": lease.token},
                upsert=True,
            )
            for id_ in sorted(last)
        ]
        with mapped(self._where):
            try:
                await self._database["targets"].bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
                if problems and all(each["code"] == DUPLICATE for each in problems):
                    text = "a later leader has polled one of these targets already"
                    raise LeaseLost(text) from error
                raise


def _compare_and_set(
    document: Document, before: tuple[Document, Sequence[str]] | None
) -> InsertOne[Document] | ReplaceOne[Document]:
    if before is None:
        return InsertOne(document)
    stamp, targets = before
    same = {"_id": document["_id"], "targets": targets}
    same |= {f"stamp.{key}": value for key, value in stamp.items()}
    return ReplaceOne(same, document)


def _mark(document: Document) -> tuple[Document, Sequence[str]]:
    return document["stamp"], document["targets"]


def _held(lease: Lease) -> Document:
    return {"_id": lease.account, "owner": lease.owner, "token": lease.token}


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"somebody else polls the account {lease.account} now")


def _size(batch: Batch) -> int:
    return len(batch.records) + len(batch.withdrawn) + len(batch.detached)
