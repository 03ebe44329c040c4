"""The write side of a MongoDB: leases, and records under compare-and-set."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Final, Self, TypeAlias

from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from fetcher.documents import Document, Kind
from fetcher.errors import StoreError, StoreUnavailable
from fetcher.models import Batch, Lease, Stamp, Written
from fetcher.store.merge import Step, merge_all, summarised
from fetcher.store.mongo import client_of, database_of, prepare, servers_of
from fetcher.store.mongodb.errors import DUPLICATE, mapped, shown, translate_write
from fetcher.store.mongodb.reach import unless_hopeless
from fetcher.store.mongodb.reader import some
from fetcher.store.mongodb.schedule import MongoSchedule
from fetcher.store.protocol import COLLECTIONS
from fetcher.store.spill import spill
from fetcher.targets import parse_target

__all__ = ["MongoStore"]

# How often a batch is merged anew because another writer came in between.
_ROUNDS: Final = 20
# Records of late writers that are put right at once.
_LATE: Final = 200

_Key: TypeAlias = tuple[Kind, str]


class MongoStore(MongoSchedule):
    """Implements `WriteStore`; open it with `open_store`."""

    @classmethod
    async def open(cls, url: str, *, create: bool, filling: bool = False) -> Self:
        """Raises `StoreUnavailable`, `SchemaTooNew` or `UsageError`."""
        where = shown(url)
        client = client_of(url)
        try:
            with mapped(where):
                database = database_of(client, url)
                work = prepare(database, where, create=create, filling=filling)
                await unless_hopeless(work, url, where, lambda: servers_of(client))
        except BaseException:
            await asyncio.to_thread(client.close)
            raise
        return cls(client, database, where)

    # Writing

    async def write(self, lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
        """See `WriteStore`."""
        await self._check(lease)
        counter = self._counter(lease)
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
                counter.done(start)  # nothing of it was sent
                raise
            try:
                lost, trouble = await self._put(documents, before)
            except BaseException:
                # Its outcome is unknown: the watermark never passes its numbers, and the next
                # renewal begins anew under another token.
                counter.unknown(start)
                raise
            counter.done(start)
            done += [step for step in steps if (step.kind, step.id) not in lost]
            if not lost:
                return summarised(done, batches)
            left = lost
        raise trouble or StoreUnavailable(
            f"the store {self._where}: other writers keep coming in between"
        )

    async def mend(self, lease: Lease) -> Sequence[str]:
        """See `WriteStore`."""
        seals = (await self._check(lease)).get("seals", ())
        if not seals:
            return ()
        beyond: Document = {
            "stamp.account": lease.account,
            "$or": [
                {"stamp.token": each["token"], "stamp.n": {"$gt": each["n"]}} for each in seals
            ],
        }
        keys: set[str] = set()
        for kind in COLLECTIONS:
            while True:
                with mapped(self._where):
                    late = await self._of(kind).find(beyond).limit(_LATE).to_list(None)
                if not late:
                    break
                # The targets first: a crash in between leaves the records to be found again.
                mine = {key for document in late for key in document["targets"]}
                await self._doubt(lease, mine)
                keys |= mine
                trouble = await self._stamp_anew(lease, kind, late)
                if trouble is not None:
                    raise trouble  # it will be found again
        if keys:
            await self.publish(lease)
        return sorted(keys)

    async def _doubt(self, lease: Lease, keys: Iterable[str]) -> None:
        """What these targets' cursors stand for is not what is stored: poll them whole, at once."""
        folds = [parse_target(key).fold for key in keys]
        now = await self.now()
        doubt = {"cursor": None, "reconciled_at": None, "next_due": now}
        for part in some(folds):
            with mapped(self._where):
                await self._database["targets"].update_many(
                    {"names": {"$in": part}}, {"$set": doubt}
                )

    async def _stamp_anew(
        self, lease: Lease, kind: Kind, late: Sequence[Document]
    ) -> StoreError | None:
        counter = self._counter(lease)
        start = counter.take(len(late))
        before = {(kind, each["_id"]): _mark(each) for each in late}
        documents = {
            (kind, each["_id"]): {**each, "stamp": Stamp(lease.account, lease.token, n).document()}
            for n, each in enumerate(late, start + 1)
        }
        try:
            _, trouble = await self._put(documents, before)
        except BaseException:
            counter.unknown(start)
            raise
        counter.done(start)
        return trouble

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
            (step.kind, step.id): (step.merged.document, step.merged.size)
            for step in steps
            if step.merged.document is not None
        }
        small = await asyncio.to_thread(
            lambda: {key: spill(doc, size=size) for key, (doc, size) in last.items()}
        )
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


def _size(batch: Batch) -> int:
    return len(batch.records) + len(batch.withdrawn) + len(batch.detached)
