"""MongoDB through motor, which nothing else imports.

Built on single-document atomicity, which every MongoDB has: a record's content, history, stamp
and observation are one document, replaced only if it is still the one that was merged with.
https://www.mongodb.com/docs/manual/core/write-operations-atomicity/
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bson.codec_options import CodecOptions
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
    AsyncIOMotorGridFSBucket,
)
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne
from pymongo.collation import Collation
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from fetcher.documents import Document, Kind
from fetcher.errors import LeaseLost, SchemaTooNew, StoreUnavailable
from fetcher.models import Batch, Lease, TargetState, Written
from fetcher.store.merge import Stamp, Step, merge_all, summarised
from fetcher.store.mongo_errors import DATABASE, mapped, shown
from fetcher.store.protocol import COLLECTIONS, INDEXED, SCHEMA_VERSION, Query
from fetcher.store.spill import restore, spill
from fetcher.store.states import state_document, state_from

__all__ = ["MongoStore"]

# How often a batch is merged anew because another writer came in between.
_ROUNDS: Final = 10
_DUPLICATE: Final = 11000
_IN: Final = 1_000
_TIMEOUT_MS: Final = 5_000
_NEVER: Final = datetime.fromtimestamp(0, UTC)
_NO_CASE: Final = Collation(locale="en", strength=2)


@dataclass(slots=True)
class _Counter:
    """The stamps that one lease has given out, and those whose writes are under way."""

    last: int = 0
    under_way: set[int] = field(default_factory=set)

    def take(self, size: int) -> int:
        """Reserves `size` numbers behind the one returned."""
        start = self.last
        self.last += size
        self.under_way.add(start)
        return start

    def visible(self) -> int:
        """The number up to which everything is written."""
        return min(self.under_way, default=self.last)


class MongoStore:
    """Implements `WriteStore`; open it with `open_store`."""

    def __init__(self, client: AsyncIOMotorClient[Document], name: str, where: str) -> None:
        self._client = client
        self._where = where
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._database: AsyncIOMotorDatabase[Document] = client.get_database(
            name,
            codec_options=options,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority"),
            read_concern=ReadConcern("majority"),
        )
        self._blobs = AsyncIOMotorGridFSBucket(self._database, bucket_name="blobs")
        self._counters: dict[tuple[str, int], _Counter] = {}

    @classmethod
    async def open(cls, url: str, *, create: bool) -> "MongoStore":
        """Raises `StoreUnavailable` or `SchemaTooNew`."""
        where = shown(url)
        with mapped(where):
            client, name = _open_client(url)
            store = cls(client, name, where)
            try:
                await store._prepare(create=create)
            except BaseException:
                client.close()
                raise
        return store

    async def _prepare(self, *, create: bool) -> None:
        meta = self._database["meta"]
        schema = await meta.find_one({"_id": "schema"})
        if schema is not None and schema["version"] > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"the store {self._where} was written by a newer fetcher (schema "
                f"{schema['version']}, this one knows {SCHEMA_VERSION}); update the fetcher"
            )
        if not create:
            return
        for kind, name in COLLECTIONS.items():
            await self._database[name].create_indexes(list(_indexes(kind)))
        await self._database["targets"].create_indexes(
            [IndexModel("names"), IndexModel("next_due")]
        )
        for id_, values in (("schema", {"version": SCHEMA_VERSION}), ("token", {"value": 0})):
            await meta.update_one({"_id": id_}, {"$setOnInsert": values}, upsert=True)

    async def close(self) -> None:
        """Closes the client."""
        self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _of(self, kind: Kind) -> AsyncIOMotorCollection[Document]:
        return self._database[COLLECTIONS[kind]]

    # Reading

    async def now(self) -> datetime:
        """The server's time; read before a write it is the earlier one, which is the safe side."""
        with mapped(self._where):
            hello = await self._client.admin.command("hello")
        time: datetime = hello["localTime"]
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)

    async def target(self, name: str) -> TargetState | None:
        """See `ReadStore`."""
        return (await self.targets_by_name([name])).get(name)

    async def targets_by_name(self, names: Sequence[str]) -> Mapping[str, TargetState]:
        """See `ReadStore`."""
        found: dict[str, TargetState] = {}
        for some in _some(names):
            wanted = set(some)
            with mapped(self._where):
                async for document in self._database["targets"].find({"names": {"$in": some}}):
                    state = state_from(document)
                    found.update((name, state) for name in state.names if name in wanted)
        return found

    async def targets(self) -> AsyncGenerator[TargetState, None]:
        """See `ReadStore`."""
        with mapped(self._where):
            async for document in self._database["targets"].find().sort("_id", ASCENDING):
                yield state_from(document)

    async def record(self, kind: Kind, id_: str) -> Document | None:
        """See `ReadStore`."""
        with mapped(self._where):
            document = await self._of(kind).find_one({"_id": id_})
        return await self._whole(document) if document is not None else None

    async def records(self, query: Query, *, whole: bool = True) -> AsyncGenerator[Document, None]:
        """See `ReadStore`."""
        with mapped(self._where):
            cursor = self._of(query.kind).find(_filter(query))
            if "organism" in query.where:
                cursor = cursor.collation(_NO_CASE)
            order = [("_id", ASCENDING)]
            if query.newest_first:
                order = [("published_at", DESCENDING), *order]
            cursor = cursor.sort(order)
            if query.limit is not None:
                cursor = cursor.limit(query.limit)
            async for document in cursor:
                yield await self._whole(document) if whole else document

    async def count(self, query: Query) -> int:
        """See `ReadStore`."""
        with mapped(self._where):
            if "organism" not in query.where:
                return int(await self._of(query.kind).count_documents(_filter(query)))
            found = self._of(query.kind).find(_filter(query), {"_id": 1}).collation(_NO_CASE)
            return len([document async for document in found])

    async def counts(self, kind: Kind, targets: Sequence[str]) -> Mapping[str, int]:
        """See `ReadStore`."""
        found: dict[str, int] = {}
        for some in _some(targets):
            pipeline: list[Document] = [
                {"$match": {"targets": {"$in": some}, "withdrawn_at": None}},
                {"$project": {"targets": 1}},
                {"$unwind": "$targets"},
                {"$match": {"targets": {"$in": some}}},
                {"$group": {"_id": "$targets", "number": {"$sum": 1}}},
            ]
            with mapped(self._where):
                async for row in self._of(kind).aggregate(pipeline):
                    found[row["_id"]] = int(row["number"])
        return found

    async def digests(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """See `ReadStore`."""
        found: dict[str, str] = {}
        for some in _some(ids):
            wanted = {"_id": {"$in": some}, "withdrawn_at": None}
            with mapped(self._where):
                async for document in self._of(kind).find(wanted, {"digest": 1}):
                    found[document["_id"]] = document["digest"]
        return found

    async def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        wanted = {"targets": target, "withdrawn_at": None}
        with mapped(self._where):
            async for document in self._of(kind).find(wanted, {"_id": 1}).sort("_id", ASCENDING):
                yield document["_id"]

    async def _whole(self, document: Document) -> Document:
        if "blobs" not in document:
            return document
        blobs: dict[str, bytes] = {}
        for blob in document["blobs"].values():
            with mapped(self._where):
                stream = await self._blobs.open_download_stream_by_name(blob["digest"])
                blobs[blob["digest"]] = await stream.read()
        return restore(document, blobs)

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

    async def _update_lease(self, lease: Lease, update: Document) -> None:
        with mapped(self._where):
            done = await self._database["leases"].update_one(_held(lease), update)
        if done.matched_count == 0:
            raise LeaseLost(f"somebody else polls the account {lease.account} now")

    async def _check(self, lease: Lease) -> None:
        """Refuses a late writer early; what slips through is refused or sealed by its stamp."""
        with mapped(self._where):
            held = await self._database["leases"].find_one(_held(lease), {"_id": 1})
        if held is None:
            raise LeaseLost(f"somebody else polls the account {lease.account} now")

    # Writing

    async def write(self, lease: Lease, batches: Sequence[Batch]) -> tuple[Written, ...]:
        """See `WriteStore`."""
        await self._check(lease)
        counter = self._counters.setdefault((lease.account, lease.token), _Counter())
        now = await self.now()
        done: list[Step] = []
        # None: all of them; later those that another writer came in between of.
        left: set[tuple[Kind, str]] | None = None
        for _ in range(_ROUNDS):
            stored = await self._stored(batches, left)
            before = {key: (doc["stamp"], doc["targets"]) for key, doc in stored.items()}
            # A write that fails has an unknown outcome: its numbers stay under way, and the
            # watermark never passes them.
            start = counter.take(sum(map(_size, batches)))
            stamps = (Stamp(lease.account, lease.token, start + n) for n in _counting())
            steps = await asyncio.to_thread(merge_all, stored, batches, stamps, now, left)
            lost = await self._put(_last(steps), before)
            counter.under_way.discard(start)
            done += [step for step in steps if (step.kind, step.id) not in lost]
            if not lost:
                return summarised(done, batches)
            left = lost
        raise StoreUnavailable(f"the store {self._where}: other writers keep coming in between")

    async def _stored(
        self, batches: Sequence[Batch], only: set[tuple[Kind, str]] | None
    ) -> dict[tuple[Kind, str], Document]:
        ids: dict[Kind, dict[str, None]] = {}
        for batch in batches:
            named = (*(r.id for r in batch.records), *batch.withdrawn, *batch.detached)
            wanted = (id_ for id_ in named if only is None or (batch.kind, id_) in only)
            ids.setdefault(batch.kind, {}).update(dict.fromkeys(wanted))
        stored: dict[tuple[Kind, str], Document] = {}
        for kind, wanted_ids in ids.items():
            for some in _some(list(wanted_ids)):
                with mapped(self._where):
                    async for document in self._of(kind).find({"_id": {"$in": some}}):
                        stored[kind, document["_id"]] = document
        return stored

    async def _put(
        self,
        documents: Mapping[tuple[Kind, str], Document],
        before: Mapping[tuple[Kind, str], tuple[Document, Sequence[str]]],
    ) -> set[tuple[Kind, str]]:
        """Replaces what is still as it was read; gives those that are not."""
        lost: set[tuple[Kind, str]] = set()
        for kind in COLLECTIONS:
            # In one order, so that two writers never wait for each other in a circle.
            mine = sorted(id_ for each, id_ in documents if each == kind)
            if not mine:
                continue
            writes: list[InsertOne[Document] | ReplaceOne[Document]] = []
            wanted: dict[str, Document] = {}
            for id_ in mine:
                small, blobs = await asyncio.to_thread(spill, documents[kind, id_])
                for digest, data in blobs.items():
                    await self._upload(digest, data)
                wanted[id_] = small
                if (kind, id_) in before:
                    stamp, targets = before[kind, id_]
                    same = {"_id": id_, "targets": targets}
                    same |= {f"stamp.{key}": value for key, value in stamp.items()}
                    writes.append(ReplaceOne(same, small))
                else:
                    writes.append(InsertOne(small))
            with mapped(self._where):
                try:
                    result = await self._of(kind).bulk_write(writes, ordered=False)
                    clean = result.matched_count + result.inserted_count == len(writes)
                except BulkWriteError as error:
                    problems = error.details["writeErrors"]
                    # Duplicates are another writer's inserts; other faults of single writes
                    # (a deadlock between two bulks) are tried again as well.
                    if error.details.get("writeConcernErrors"):
                        raise
                    clean = not problems
                if clean:
                    continue
                fields = {"stamp": 1, "targets": 1}
                stored = self._of(kind).find({"_id": {"$in": mine}}, fields)
                there = {document["_id"]: document async for document in stored}
            for id_, small in wanted.items():
                found = there.get(id_)
                mark = (small["stamp"], small["targets"])
                if found is None or (found["stamp"], found["targets"]) != mark:
                    lost.add((kind, id_))
        return lost

    async def _upload(self, digest: str, data: bytes) -> None:
        """A blob is whole once its file document stands, which GridFS writes last.

        Two uploaders at once make two copies of the same bytes; either will do.
        """
        with mapped(self._where):
            if await self._database["blobs.files"].find_one({"filename": digest}, {"_id": 1}):
                return
            await self._blobs.upload_from_stream(digest, data)

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
                await self._database["targets"].bulk_write(writes, ordered=True)
            except BulkWriteError as error:
                if all(each["code"] == _DUPLICATE for each in error.details["writeErrors"]):
                    text = "a later leader has polled one of these targets already"
                    raise LeaseLost(text) from error
                raise


def _open_client(url: str) -> tuple[AsyncIOMotorClient[Document], str]:
    """A client, and the database's name from the URL's path."""
    parts = urlsplit(url)
    given = parts.query.lower()
    options: dict[str, Any] = {"appname": "fetcher"}
    for name in ("serverSelectionTimeoutMS", "connectTimeoutMS"):
        if f"{name.lower()}=" not in given:
            options[name] = _TIMEOUT_MS
    return AsyncIOMotorClient(url, **options), parts.path.strip("/") or DATABASE


def _indexes(kind: Kind) -> Iterator[IndexModel]:
    yield IndexModel("targets")
    yield IndexModel([("stamp.account", 1), ("stamp.token", 1), ("stamp.n", 1)])
    for fields in INDEXED[kind]:
        keys = [(name, ASCENDING) for name in (*fields, "_id")]
        yield IndexModel(keys, collation=_NO_CASE) if "organism" in fields else IndexModel(keys)


def _filter(query: Query) -> Document:
    fields = {name for index in INDEXED[query.kind] for name in index}
    for name in query.where:
        if name not in fields:
            raise ValueError(f"{query.kind} has no index on {name}")
    wanted: Document = dict(query.where)
    if query.target is not None:
        wanted["targets"] = query.target
    if query.withdrawn is not None:
        wanted["withdrawn_at"] = {"$ne": None} if query.withdrawn else None
    return wanted


def _last(steps: Iterable[Step]) -> dict[tuple[Kind, str], Document]:
    """What is to be stored: the last word on each record."""
    return {
        (step.kind, step.id): step.merged.document
        for step in steps
        if step.merged.document is not None
    }


def _held(lease: Lease) -> Document:
    return {"_id": lease.account, "owner": lease.owner, "token": lease.token}


def _size(batch: Batch) -> int:
    return len(batch.records) + len(batch.withdrawn) + len(batch.detached)


def _counting() -> Iterator[int]:
    n = 0
    while True:
        n += 1
        yield n


def _some(values: Sequence[str]) -> Iterator[list[str]]:
    return (list(values[at : at + _IN]) for at in range(0, len(values), _IN))
