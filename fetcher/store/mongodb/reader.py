"""The read side of a MongoDB; a user who may only read is enough for it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final, Self

from pymongo import ASCENDING, DESCENDING

from fetcher.documents import Blob, Document, Kind
from fetcher.errors import StoreUnavailable
from fetcher.models import AccountState, PollRequest, Stamp, TargetState, Watch, Watched
from fetcher.store.feed import Changed, latest, visible
from fetcher.store.mongo import NO_CASE, Bucket, Client, Collection, Database
from fetcher.store.mongodb.errors import mapped
from fetcher.store.protocol import COLLECTIONS, Position, Query, after_prefix
from fetcher.store.spill import restore
from fetcher.store.states import bearer, request_from, state_from, watch_from

__all__ = ["MongoReader", "some", "state_of"]

_IN: Final = 1_000
# Chunks of a blob, of 255 kB, that are read at once.
_CHUNKS: Final = 4


class MongoReader:
    """Implements `ReadStore`."""

    def __init__(self, client: Client, database: Database, where: str) -> None:
        self._client = client
        self._database = database
        self._where = where
        self._blobs = Bucket(database, bucket_name="blobs")

    async def close(self) -> None:
        """Closes the client, which tells a replica set that its sessions are over."""
        await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _of(self, kind: Kind) -> Collection:
        return self._database[COLLECTIONS[kind]]

    async def now(self) -> datetime:
        """The server's time; read before a write it is the earlier one, which is the safe side."""
        with mapped(self._where):
            hello = await self._client.admin.command("hello")
        time: datetime = hello["localTime"]
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)

    async def identity(self) -> str:
        """See `ReadStore`."""
        with mapped(self._where):
            found = await self._database["meta"].find_one({"_id": "store"})
        return found["value"] if found is not None else ""

    async def target(self, name: str) -> TargetState | None:
        """See `ReadStore`."""
        return (await self.targets_by_name([name])).get(name)

    async def targets_by_name(self, names: Sequence[str]) -> Mapping[str, TargetState]:
        """See `ReadStore`."""
        claims: dict[str, list[TargetState]] = {}
        for part in some(names):
            wanted = set(part)
            with mapped(self._where):
                async for document in self._database["targets"].find({"names": {"$in": part}}):
                    state = state_of(document)
                    for name in wanted.intersection(state.names):
                        claims.setdefault(name, []).append(state)
        return {name: bearer(name, states) for name, states in claims.items()}

    async def targets(
        self, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[TargetState, None]:
        """See `ReadStore`."""
        wanted: Document = {"_id": {"$gt": after}} if after is not None else {}
        with mapped(self._where):
            cursor = self._database["targets"].find(wanted).sort("_id", ASCENDING)
            async for document in cursor.limit(limit or 0):
                yield state_of(document)

    async def watched(self) -> AsyncGenerator[Watched, None]:
        """See `ReadStore`."""
        wanted = {"watch.account": {"$ne": None}}
        with mapped(self._where):
            cursor = self._database["targets"].find(wanted, {"key": 1, "names": 1, "watch": 1})
            async for document in cursor.sort("_id", ASCENDING):
                watch = _watch(document)
                if watch is not None:
                    names = tuple(document["names"])
                    yield Watched(document["_id"], document["key"], names, watch)

    async def accounts(self) -> Sequence[AccountState]:
        """See `ReadStore`."""
        now = await self.now()
        with mapped(self._where):
            found = await self._database["leases"].find().sort("_id", ASCENDING).to_list(None)
        return [
            AccountState(
                account=each["_id"],
                owner=each["owner"] if each["expires_at"] > now else None,
                token=each["token"],
                expires_at=each["expires_at"],
                budget=each["budget"],
                watermark=each["watermark"],
                seals={seal["token"]: seal["n"] for seal in each.get("seals", ())},
            )
            for each in found
        ]

    async def request(self, id_: str) -> PollRequest | None:
        """See `ReadStore`."""
        with mapped(self._where):
            document = await self._database["requests"].find_one({"_id": id_})
        return request_from(document) if document is not None else None

    async def changes(self, after: Position) -> AsyncGenerator[Changed, None]:
        """See `ReadStore`."""
        for account in await self.accounts():
            name = account.account

            async def page(
                kind: Kind, begin: tuple[int, int], size: int, name: str = name
            ) -> list[Changed]:
                return await self._stamped(kind, name, begin, size)

            async with aclosing(visible(account, after.get(name, (0, 0)), page)) as changes:
                async for change in changes:
                    yield change

    async def _stamped(
        self, kind: Kind, account: str, begin: tuple[int, int], size: int
    ) -> list[Changed]:
        """Two ranges, each of which an index has in order: the rest of a token, and later ones."""
        token, n = begin
        found: list[Changed] = []
        for behind in (
            {"stamp.token": token, "stamp.n": {"$gt": n}},
            {"stamp.token": {"$gt": token}},
        ):
            if len(found) < size:
                order = [("stamp.token", ASCENDING), ("stamp.n", ASCENDING)]
                with mapped(self._where):
                    cursor = self._of(kind).find({"stamp.account": account, **behind}).sort(order)
                    documents = await cursor.limit(size - len(found)).to_list(None)
                found += [(Stamp(**each["stamp"]), each) for each in documents]
        return found

    async def recent(self, limit: int) -> Sequence[Document]:
        """See `ReadStore`."""
        order = [("stamp.token", DESCENDING), ("stamp.n", DESCENDING)]
        found: list[Document] = []
        for account, kind in product(await self.accounts(), COLLECTIONS):
            with mapped(self._where):
                cursor = self._of(kind).find({"stamp.account": account.account}).sort(order)
                found += await cursor.limit(limit).to_list(None)
        return latest(found, limit)

    async def record(self, kind: Kind, id_: str, *, whole: bool = True) -> Document | None:
        """See `ReadStore`."""
        with mapped(self._where):
            document = await self._of(kind).find_one({"_id": id_})
        return await self._whole(document) if document is not None and whole else document

    async def blob(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """See `ReadStore`."""
        came = 0
        with mapped(self._where):
            wanted = {"filename": blob["digest"], "length": blob["length"]}
            file = await self._database["blobs.files"].find_one(wanted, {"_id": 1})
            chunks = (
                self._database["blobs.chunks"]
                .find({"files_id": file["_id"] if file is not None else None}, {"data": 1})
                .sort("n", ASCENDING)
                # GridFS's own reader takes a hundred chunks at once, which are 25 MB.
                .batch_size(_CHUNKS)
            )
            async for chunk in chunks:
                came += len(chunk["data"])
                yield chunk["data"]
        if came != blob["length"]:
            raise StoreUnavailable(f"the store lacks a part of {blob['digest']}")

    async def records(self, query: Query, *, whole: bool = True) -> AsyncGenerator[Document, None]:
        """See `ReadStore`."""
        newest = query.order[0] == "published_at"
        order = [(query.order[0], DESCENDING if newest else ASCENDING), ("_id", ASCENDING)]
        left = query.limit
        for wanted in _behind(query):
            if left is not None and left <= 0:  # which means no limit to MongoDB
                return
            with mapped(self._where):
                cursor = self._of(query.kind).find(wanted).sort(order[-len(query.order) :])
                if "organism" in query.where:
                    cursor = cursor.collation(NO_CASE)
                if left is not None:
                    cursor = cursor.limit(left)
                async for document in cursor.allow_disk_use(True):
                    left = left - 1 if left is not None else None
                    yield await self._whole(document) if whole else document

    async def count(self, query: Query) -> int:
        """See `ReadStore`."""
        options: dict[str, Any] = {"collation": NO_CASE} if "organism" in query.where else {}
        with mapped(self._where):
            return int(await self._of(query.kind).count_documents(_filter(query), **options))

    async def counts(self, kind: Kind, targets: Sequence[str]) -> Mapping[str, int]:
        """See `ReadStore`."""
        found: dict[str, int] = {}
        for part in some(targets):
            pipeline: list[Document] = [
                {"$match": {"targets": {"$in": part}, "withdrawn_at": None}},
                {"$project": {"targets": 1}},
                {"$unwind": "$targets"},
                {"$match": {"targets": {"$in": part}}},
                {"$group": {"_id": "$targets", "number": {"$sum": 1}}},
            ]
            with mapped(self._where):
                async for row in self._of(kind).aggregate(pipeline):
                    found[row["_id"]] = int(row["number"])
        return found

    async def digests(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """See `ReadStore`."""
        found: dict[str, str] = {}
        for part in some(ids):
            wanted = {"_id": {"$in": part}, "withdrawn_at": None}
            with mapped(self._where):
                async for document in self._of(kind).find(wanted, {"digest": 1}):
                    found[document["_id"]] = document["digest"]
        return found

    async def ids(self, kind: Kind, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        wanted = {"targets": target, "withdrawn_at": None}
        with mapped(self._where):
            cursor = self._of(kind).find(wanted, {"_id": 1}).sort("_id", ASCENDING)
            async for document in cursor.allow_disk_use(True):
                yield document["_id"]

    async def members(self, kind: Kind, ids: Sequence[str], target: str) -> set[str]:
        """See `ReadStore`."""
        found: set[str] = set()
        for part in some(ids):
            wanted = {"_id": {"$in": part}, "targets": target, "withdrawn_at": None}
            with mapped(self._where):
                async for document in self._of(kind).find(wanted, {"_id": 1}):
                    found.add(document["_id"])
        return found

    async def oldest(self, kind: Kind, target: str) -> datetime | None:
        """See `ReadStore`."""
        steps: list[Document] = [
            {"$match": {"targets": target}},
            {"$group": {"_id": None, "at": {"$min": "$observed.at"}}},
        ]
        with mapped(self._where):
            async for document in self._of(kind).aggregate(steps):
                at: datetime = document["at"]
                return at
        return None

    async def owned(self, kind: Kind, prefix: str, target: str) -> AsyncGenerator[str, None]:
        """See `ReadStore`."""
        wanted: Document = {
            "_id": {"$gte": prefix, "$lt": after_prefix(prefix)},
            "$or": [{"withdrawn_at": None}, {"targets": {"$ne": target}}],
        }
        with mapped(self._where):
            async for document in self._of(kind).find(wanted, {"_id": 1}).sort("_id", ASCENDING):
                yield document["_id"]

    async def _whole(self, document: Document) -> Document:
        blobs: dict[str, bytes] = {}
        for digest in {blob["digest"] for blob in document.get("blobs", {}).values()}:
            with mapped(self._where):
                stream = await self._blobs.open_download_stream_by_name(digest)
                blobs[digest] = await stream.read()
        return restore(document, blobs)


def state_of(document: Document) -> TargetState:
    """The state of a target's document."""
    return state_from(document, _watch(document))


def _watch(document: Document) -> Watch | None:
    watch = document.get("watch") or {}
    return watch_from(watch.get("account"), watch.get("file"), watch.get("hand"))


def _behind(query: Query) -> Iterator[Document]:
    """The conditions behind a query's `after`, one after the other, each in an index's order."""
    wanted = _filter(query)
    match query.after:
        case None:
            yield wanted
        case (id_,):
            # In place of the lower bound that it may have: an index is entered by one alone.
            yield {**wanted, "_id": {**wanted.get("_id", {}), "$gt": id_}}
        case (value, id_):
            first = query.order[0]
            if first == "update_date":
                yield {**wanted, first: value, "_id": {"$gt": id_}}
                yield {**wanted, first: {"$gt": value}}
                return
            yield {"$and": [wanted, {first: value, "_id": {"$gt": id_}}]}
            if value is not None:
                yield {"$and": [wanted, {first: {"$lt": value}}]}
                yield {"$and": [wanted, {first: None}]}


def _filter(query: Query) -> Document:
    wanted: Document = {**query.conditions(), **query.match}
    if query.prefix is not None:
        wanted["_id"] = {"$gt": query.prefix, "$lt": after_prefix(query.prefix)}
    if query.updated_after is not None:
        wanted["update_date"] = {"$gt": query.updated_after}
    if query.target is not None:
        wanted["targets"] = query.target
    if query.withdrawn is not None:
        wanted["withdrawn_at"] = {"$ne": None} if query.withdrawn else None
    if query.except_token is not None:
        wanted["stamp.token"] = {"$ne": query.except_token}
    return wanted


def some(values: Sequence[str]) -> Iterator[list[str]]:
    """Parts of a list that fit into one command."""
    return (list(values[at : at + _IN]) for at in range(0, len(values), _IN))
