"""``fetcher list`` and ``fetcher show``: what is stored, without asking any upstream."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO, Any

from fetcher.cli.common import check_format, say
from fetcher.cli.render import (
    TABLE_ROWS,
    Format,
    json_text,
    key_values,
    print_documents,
    print_table,
    write_sequence,
)
from fetcher.databases import SUMMARY_DATABASES
from fetcher.documents import Document, Kind
from fetcher.errors import TargetError, UsageError
from fetcher.models import TargetState
from fetcher.refresh import kinds_of
from fetcher.store.protocol import COLLECTIONS, Query, ReadStore
from fetcher.store.states import state_document
from fetcher.targets import parse_target

__all__ = ["find", "list_records", "show"]

_KINDS = {collection: kind for kind, collection in COLLECTIONS.items()}
_GITHUB_ID = re.compile(r"github:\d+:(tag:.+|\d+)", re.DOTALL)
_SEQUENCE_ID = re.compile(r"(nuccore|protein):(\S+)")
_TAXON_ID = re.compile(r"taxonomy:\d+")
_GENOME_ID = re.compile(r"genome:(\S+)")
_DATABASES = ("nuccore", "protein")


async def list_records(store: ReadStore, what: str | None, how: Format, out: IO[str]) -> int:
    """Writes stored records, withdrawn ones included: of a target, of a kind, or all.

    Raises `UsageError` for a format that has no place for them.
    """
    async with aclosing(await _listed(store, what, how)) as documents:
        await _write_all(documents, what, how, out)
    return 0


async def _write_all(
    documents: AsyncGenerator[Document, None], what: str | None, how: Format, out: IO[str]
) -> None:
    match how:
        case Format.TABLE:
            shown: list[Document] = []
            more = 0
            async for document in documents:
                if len(shown) < TABLE_ROWS:
                    shown.append(document)
                else:
                    more += 1
            print_documents(shown, out, more=more)
            if not shown:
                say("nothing is stored" if what is None else f"nothing is stored of {what}")
        case Format.JSON:
            out.write('{"items": [')
            first = True
            async for document in documents:
                out.write(("\n  " if first else ",\n  ") + json_text(document))
                first = False
            out.write("]}\n")
        case _:
            async for document in documents:
                _write(document, how, out)


async def _listed(
    store: ReadStore, what: str | None, how: Format
) -> AsyncGenerator[Document, None]:
    if what is None:
        return _all(store, ("sequence",) if how.for_sequences_only else tuple(COLLECTIONS), None)
    if what in _KINDS:
        check_format(how, what, (_KINDS[what],))
        return _all(store, (_KINDS[what],), None)
    target = parse_target(what)
    check_format(how, what, kinds_of(target))
    state = await store.target(target.fold)
    key = state.key if state is not None else target.key
    return _all(store, kinds_of(target), key)


async def _all(
    store: ReadStore, kinds: tuple[Kind, ...], target: str | None
) -> AsyncGenerator[Document, None]:
    for kind in kinds:
        newest_first = kind == "release" and target is not None
        query = Query(kind, target=target, newest_first=newest_first)
        async with aclosing(store.records(query)) as documents:
            async for document in documents:
                yield document


async def show(store: ReadStore, key: str, how: Format, out: IO[str]) -> int:
    """Writes one record, or the state of a target; 1 if there is none.

    Raises `UsageError` for a key that can be none, or a format that has no place for it.
    """
    found = await find(store, key)
    if found is None:
        say(f"fetcher: nothing is stored under {key}; `fetcher fetch` gets it")
        return 1
    check_format(how, key, (found["kind"],))
    if how is Format.TABLE:
        print_table(("FIELD", "VALUE"), list(key_values(found)), out)
    elif how is Format.JSON:
        out.write(f'{{"items": [{json_text(found)}]}}\n')
    else:
        _write(found, how, out)
    return 0


def _write(document: Document, how: Format, out: IO[str]) -> None:
    if how is Format.NDJSON:
        out.write(json_text(document) + "\n")
    else:
        write_sequence(document, how, out)


async def find(store: ReadStore, key: str) -> Document | None:
    """What a key means: an `_id`, OWNER/REPO@TAG, an accession, or a target."""
    if _GITHUB_ID.fullmatch(key):
        kind: Kind = "tag" if key.split(":")[2] == "tag" else "release"
        return await store.record(kind, key)
    if match := _SEQUENCE_ID.fullmatch(key):
        return await store.record("sequence", f"{match[1]}:{match[2].upper()}")
    if _TAXON_ID.fullmatch(key):
        return await store.record("taxon", key)
    if match := _GENOME_ID.fullmatch(key):
        return await store.record("genome", f"genome:{match[1].upper()}")
    database, _, name = key.partition(":")
    if database in SUMMARY_DATABASES:
        return await store.record("summary", f"{database}:{name.upper()}")
    repository, at, tag = key.partition("@")
    if at and tag:
        return await _tagged(store, repository, tag)
    try:
        target = parse_target(key)
    except TargetError as error:
        raise UsageError(
            f"{key!r} is neither an _id, an accession, OWNER/REPO@TAG nor a target"
        ) from error
    if ":" not in key and "/" not in key:
        return await _newest(store, target.name)
    state = await store.target(target.fold)
    return _state(state) if state is not None else None


async def _tagged(store: ReadStore, repository: str, tag: str) -> Document | None:
    state = await store.target(parse_target(repository).fold)
    if state is None or "repository_id" not in state.facts:
        return None
    where: dict[str, Any] = {"repository_id": state.facts["repository_id"]}
    for query in (
        Query("release", where={**where, "tag": tag}, limit=1),
        Query("tag", where={**where, "name": tag}, limit=1),
    ):
        for document in [each async for each in store.records(query)]:
            return document
    return None


async def _newest(store: ReadStore, accession: str) -> Document | None:
    """One version, or the newest stored: versions are numbers, .10 comes after .9."""
    name, _, version = accession.partition(".")
    for database in _DATABASES:
        if version:
            document = await store.record("sequence", f"{database}:{accession}")
            if document is not None:
                return document
            continue
        newest: Document | None = None
        where = {"database": database, "accession": name}
        async for document in store.records(Query("sequence", where=where), whole=False):
            if newest is None or document["version"] > newest["version"]:
                newest = document
        if newest is not None:
            return await store.record("sequence", newest["_id"])
    return None


def _state(state: TargetState) -> Document:
    return {"kind": "target", **state_document(state)}
