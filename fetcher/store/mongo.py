"""The only door to motor: from a URL to a database that is ready, with its indexes.

motor is past its end of life; a move to PyMongo's `AsyncMongoClient` would touch this file alone.
https://www.mongodb.com/docs/drivers/motor/
"""

import contextlib
import ssl
import warnings
from collections.abc import Iterator, KeysView, Mapping
from datetime import UTC
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from bson.codec_options import CodecOptions
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
    AsyncIOMotorGridFSBucket,
)
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collation import Collation
from pymongo.errors import ConfigurationError, DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from fetcher.documents import Document, Kind
from fetcher.errors import SchemaTooNew, UsageError
from fetcher.store.mongodb.errors import DATABASE, shown
from fetcher.store.protocol import COLLECTIONS, INDEXED, SCHEMA_VERSION, half_filled

__all__ = [
    "NO_CASE",
    "Bucket",
    "Client",
    "Collection",
    "Database",
    "client_of",
    "database_of",
    "prepare",
    "servers_of",
]

Client: TypeAlias = AsyncIOMotorClient[Document]
Database: TypeAlias = AsyncIOMotorDatabase[Document]
Collection: TypeAlias = AsyncIOMotorCollection[Document]
Bucket = AsyncIOMotorGridFSBucket

NO_CASE: Final = Collation(locale="en", strength=2)

# Where the URL does not say otherwise; without the last one a silent server would be waited for
# forever: https://pymongo.readthedocs.io/en/stable/api/pymongo/mongo_client.html
_DEFAULTS: Final = {
    "appName": "fetcher",
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
}


def client_of(url: str) -> Client:
    """A client, not yet connected; raises `UsageError` for a URL that cannot be meant."""
    given = url.partition("?")[2].lower()
    options: dict[str, Any] = {k: v for k, v in _DEFAULTS.items() if f"{k.lower()}=" not in given}
    try:
        with warnings.catch_warnings():
            # Of an option that it does not understand the driver warns, and goes on without it: a
            # misspelt one would be no TLS, or no deadline.
            warnings.simplefilter("error", UserWarning)
            return AsyncIOMotorClient(url, **options)
    except UserWarning as warning:
        said = str(warning).partition(". ")[0]
        for value in parse_qs(url.partition("?")[2]).values():
            said = said.replace(value[0], "…")
        raise UsageError(f"an option of store.url {shown(url)}: {said}") from None
    except OSError as error:
        raise _unreadable(error, url) from None
    except (ConfigurationError, TypeError, ValueError) as error:
        if isinstance(error.__context__, OSError):  # what OpenSSL says of a key
            raise _unreadable(error.__context__, url) from None
        # The driver's own words may quote the password.
        raise UsageError(
            f"store.url {shown(url)} cannot be understood; write "
            "mongodb://USER:PASSWORD@HOST/DATABASE, with / ? # [ ] @ : in the password as %2F …"
        ) from None


def _unreadable(error: OSError, url: str) -> UsageError:
    """Of a file that TLS needs: one that is not there, or has something else in it."""
    if isinstance(error, ssl.SSLError):
        text = "is not in PEM, or its certificate, key and password do not belong together"
        return UsageError(f"a file that store.url {shown(url)} names for TLS {text}")
    return UsageError(
        f"{error.filename or 'a file'}, which store.url {shown(url)} names for TLS, cannot be "
        f"read: {error.strerror or error}"
    )


def servers_of(client: Client) -> KeysView[tuple[str, int | None]]:
    """The servers that are known so far: those of the URL, until one of them answers."""
    topology: Any = client.topology_description  # a property, which motor types as a method
    known: Mapping[tuple[str, int | None], object] = topology.server_descriptions()
    return known.keys()


def database_of(client: Client, url: str) -> Database:
    """What is read has been acknowledged by most servers, and so will be what is written."""
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
    return client.get_database(
        unquote(path.strip("/")) or DATABASE,
        codec_options=options,
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern("majority"),
        read_concern=ReadConcern("majority"),
    )


async def prepare(database: Database, where: str, *, create: bool, filling: bool = False) -> None:
    """Makes what is missing, if it may; harmless when several do it at once."""
    meta = database["meta"]
    schema = await meta.find_one({"_id": "schema"})
    if schema is not None and schema["version"] > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"the store {where} was written by a newer fetcher (schema {schema['version']}, this "
            f"one knows {SCHEMA_VERSION}); update the fetcher"
        )
    if not filling and await meta.find_one({"_id": "filling"}) is not None:
        raise half_filled(where)
    if not create:
        return
    for kind, name in COLLECTIONS.items():
        await database[name].create_indexes(list(_indexes(kind)))
    due = [("watch.account", ASCENDING), ("watch.query", ASCENDING), ("next_due", ASCENDING)]
    await database["targets"].create_indexes([IndexModel("names"), IndexModel(due)])
    await database["requests"].create_indexes([IndexModel("account")])
    made: tuple[tuple[str, Document], ...] = (
        ("token", {"value": 0}),
        ("schema", {"version": SCHEMA_VERSION}),
        ("store", {"value": uuid4().hex[:16]}),
    )
    for id_, values in made:
        with contextlib.suppress(DuplicateKeyError):  # another process came first
            await meta.update_one({"_id": id_}, {"$setOnInsert": values}, upsert=True)
    # What later versions add has a meaning where it is missing, so there is nothing to convert.
    await meta.update_one(
        {"_id": "schema", "version": {"$lt": SCHEMA_VERSION}},
        {"$set": {"version": SCHEMA_VERSION}},
    )


def _indexes(kind: Kind) -> Iterator[IndexModel]:
    yield IndexModel([("targets", ASCENDING), ("_id", ASCENDING)])
    yield IndexModel([(f"stamp.{name}", ASCENDING) for name in ("account", "token", "n")])
    for fields in INDEXED[kind]:
        keys = [(name, ASCENDING) for name in (*fields, "_id")]
        yield IndexModel(keys, collation=NO_CASE) if "organism" in fields else IndexModel(keys)
        if "published_at" in fields:
            yield IndexModel([("published_at", DESCENDING), ("_id", ASCENDING)])
