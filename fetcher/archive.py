"""All that a store has as lines of JSON, and back: to keep a copy, or to move to another store.

A head, the records, the targets with their cursors and watches, the accounts with what is left of
their budgets, and an end that has the counts and a digest of all lines before it. The same store
gives the same bytes, whichever of the two it is.

An export may run beside a daemon. A cursor stands for exactly what is stored, so it is left out
where records may have changed meanwhile: the next poll of such a target gets everything anew.
Requests for polls are left out; they are over within a minute.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from fetcher.documents import Document, Kind, from_json, json_bytes
from fetcher.errors import UsageError
from fetcher.models import AccountState, TargetState
from fetcher.store.protocol import COLLECTIONS, SCHEMA_VERSION, Filler, Query, ReadStore
from fetcher.store.states import state_document, state_from, watch_from
from fetcher.store.times import read_document, read_time

__all__ = ["FORMAT", "dump", "fill"]

FORMAT: Final = 1
_HEAD: Final = {"fetcher": {"format": FORMAT, "schema": SCHEMA_VERSION}}
_TIMES: Final = ("last_attempt", "last_success", "last_change", "reconciled_at", "next_due")
# How many lines are put into the store at once, and about how many bytes of them.
_LINES: Final = 500
# What comes of values of another sort than an export has in their place.
_WRONG: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_BYTES: Final = 8 << 20
# No record has more levels (its content has 64 at most), MongoDB holds no more, and orjson 3.11.9
# writes beyond its memory where some two hundred end together.
_LEVELS: Final = 100
_ENDS: Final = re.compile(rb"[\]}\s]{%d}" % _LEVELS)


async def dump(store: ReadStore, tick: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """The lines of an export, each with its newline; `tick` is told how many records went by."""
    digest = hashlib.sha256()

    def line(value: object) -> bytes:
        data = json_bytes(value) + b"\n"
        digest.update(data)
        return data

    yield line(_HEAD)
    counts = dict.fromkeys((*COLLECTIONS.values(), "targets", "accounts"), 0)
    cursors: dict[str, bytes] = {}
    async with aclosing(store.targets()) as states:
        async for state in states:
            cursors[state.id] = _mark(state)
    at_first = {each.account: each for each in await store.accounts()}
    doubted: set[str] = set()
    last: dict[str, tuple[int, int]] = {}
    for kind, collection in COLLECTIONS.items():
        async with aclosing(store.records(Query(kind))) as documents:
            async for document in documents:
                stamp = document["stamp"]
                name, place = stamp["account"], (stamp["token"], stamp["n"])
                last[name] = max(place, last.get(name, place))
                account = at_first.get(name)
                if account is None or place[1] > account.seals.get(place[0], place[1]):
                    # A late write, which the account's leader is about to put right.
                    doubted.update(document["targets"])
                counts[collection] += 1
                yield line({"record": _plain(document)})
                tick(1)
    accounts = await store.accounts()
    # Whoever took over meanwhile may have found late writes, too.
    taken = {each.account for each in accounts if _token(at_first, each) != each.token}
    async with aclosing(store.targets()) as states:
        async for state in states:
            same = cursors.get(state.id) == _mark(state)
            if not same or state.key in doubted or state.account in taken:
                state = replace(state, cursor=None, reconciled_at=None)
            counts["targets"] += 1
            yield line({"target": _state(state)})
    for account in accounts:
        counts["accounts"] += 1
        yield line({"account": _account(account, last.get(account.account, (0, 0)))})
    yield json_bytes({"end": {"counts": counts, "sha256": digest.hexdigest()}}) + b"\n"


def _token(accounts: Mapping[str, AccountState], account: AccountState) -> int | None:
    known = accounts.get(account.account)
    return known.token if known is not None else None


def _mark(state: TargetState) -> bytes:
    """What tells a cursor from another one, in few bytes: there may be a million of them."""
    return hashlib.blake2b(json_bytes(state.cursor), digest_size=8).digest()


def _plain(document: Document) -> Document:
    flat = document.get("flat")
    if flat is None:
        return document
    # Last, wherever the store has it.
    plain = {key: value for key, value in document.items() if key != "flat"}
    return {**plain, "flat": base64.b64encode(flat).decode()}


def _state(state: TargetState) -> Document:
    watch = state.watch
    told = state_document(state)
    # Both stores keep whole milliseconds of these.
    told |= {name: _milliseconds(told[name]) for name in _TIMES}
    if watch is None:
        return {**told, "watch": None}
    return {
        **told,
        "watch": {"account": watch.account, "file": watch.file, "hand": watch.hand},
    }


def _milliseconds(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=time.microsecond // 1000 * 1000) if time is not None else None


def _account(account: AccountState, last: tuple[int, int]) -> Document:
    watermark = max(account.watermark, last[1] if last[0] == account.token else 0)
    return {
        "_id": account.account,
        "token": account.token,
        "watermark": watermark,
        "budget": account.budget,
    }


async def fill(
    filler: Filler, lines: Iterable[bytes], name: str, tick: Callable[[int], None]
) -> Mapping[str, int]:
    """Puts an export into an empty store, and gives the counts of what came.

    The store is as empty as before where this ends in an error. Raises `UsageError`, with the
    line, for what is no whole export of `dump`, and for a store that is not empty.
    """
    await filler.begin()
    try:
        try:
            counts = await _fill(filler, lines, name, tick)
        except _WRONG as error:
            # What a line says has the shape of what it should be, and no store can take it.
            text = f"{name}: a line of it is not as `fetcher export` writes it"
            raise UsageError(text) from error
        await _verify(filler, counts, name)
    except BaseException:
        await filler.clear()
        raise
    await filler.end()
    return counts


class _Waiting:
    """What is put into the store together: lines of one sort."""

    def __init__(self, filler: Filler) -> None:
        self._filler = filler
        self._sort: Kind | None = None
        self._documents: list[Document] = []
        self._states: list[TargetState] = []
        self._accounts: list[AccountState] = []
        self._bytes = 0
        self._token = 0

    async def record(self, document: Document, size: int) -> None:
        if self._sort != document["kind"]:
            await self.flush()
        self._sort = document["kind"]
        self._documents.append(document)
        self._token = max(self._token, document["stamp"]["token"])
        await self._grown(size)

    async def state(self, state: TargetState, size: int) -> None:
        self._states.append(state)
        self._token = max(self._token, state.token)
        await self._grown(size)

    def account(self, account: AccountState) -> None:
        self._accounts.append(account)
        self._token = max(self._token, account.token)

    async def _grown(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _BYTES or len(self._documents) + len(self._states) >= _LINES:
            await self.flush()

    async def flush(self) -> None:
        if self._documents and self._sort is not None:
            await self._filler.put_records(self._sort, self._documents)
        if self._states:
            await self._filler.put_targets(self._states)
        self._documents, self._states, self._bytes = [], [], 0

    async def close(self) -> None:
        await self.flush()
        await self._filler.put_accounts(self._accounts, self._token)


async def _fill(
    filler: Filler, lines: Iterable[bytes], name: str, tick: Callable[[int], None]
) -> Mapping[str, int]:
    counts = dict.fromkeys((*COLLECTIONS.values(), "targets", "accounts"), 0)
    waiting = _Waiting(filler)
    digest = hashlib.sha256()
    told: Document | None = None
    number = 0
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        if told is not None:
            raise UsageError(f"{where}: there is something behind the export's end")
        sort, value = _read(line, where)
        if (number == 1) != (sort == "fetcher"):
            raise UsageError(f"{where}: this is no export of `fetcher export`")
        if sort == "end":
            told = value
            continue
        digest.update(line)
        try:
            match sort:
                case "fetcher":
                    _head(value, where)
                case "record":
                    document = _document(value)
                    counts[COLLECTIONS[document["kind"]]] += 1
                    await waiting.record(document, len(line))
                    tick(1)
                case "target":
                    counts["targets"] += 1
                    await waiting.state(_state_from(value), len(line))
                case _:
                    counts["accounts"] += 1
                    waiting.account(_account_from(value))
        except _WRONG as error:
            raise UsageError(
                f"{where}: this {sort} is not as `fetcher export` writes it"
            ) from error
    if told is None:
        raise UsageError(f"{name}, line {number}: the export breaks off here; it is not whole")
    if told != {"counts": counts, "sha256": digest.hexdigest()}:
        raise UsageError(f"{name}: the export is damaged: it is not what its last line says")
    await waiting.close()
    return counts


async def _verify(filler: Filler, counts: Mapping[str, int], name: str) -> None:
    for kind, collection in COLLECTIONS.items():
        stored = await filler.count(Query(kind))
        if stored != counts[collection]:
            raise UsageError(
                f"{name}: of {counts[collection]} {collection} {stored} are different ones"
            )


_SORTS: Final = ("fetcher", "record", "target", "account", "end")


def _read(line: bytes, where: str) -> tuple[str, Any]:
    try:
        value = from_json(line) if line.endswith(b"\n") else None
    except ValueError as error:
        raise UsageError(f"{where}: this is no JSON") from error
    if value is None:
        raise UsageError(f"{where}: the export breaks off here; it is not whole")
    # What is deep ends with many brackets, which are found at once; then it is looked at.
    if _ENDS.search(line) is not None and _is_deep(value):
        raise UsageError(f"{where}: it has more than {_LEVELS} levels, as no export has")
    if isinstance(value, dict) and len(value) == 1:
        ((sort, told),) = value.items()
        if sort in _SORTS and isinstance(told, dict):
            return sort, told
    raise UsageError(f"{where}: this is no export of `fetcher export`")


def _is_deep(value: object) -> bool:
    waiting = [(value, 0)]
    while waiting:
        each, level = waiting.pop()
        if level > _LEVELS:
            return True
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        waiting.extend((one, level + 1) for one in inner)
    return False


def _head(value: Document, where: str) -> None:
    if value["format"] > FORMAT or value["schema"] > SCHEMA_VERSION:
        raise UsageError(f"{where}: a newer fetcher wrote this export; update the fetcher")


def _document(value: Document) -> Document:
    if not (isinstance(value["_id"], str) and isinstance(value["digest"], str)):
        raise TypeError("_id")
    if not all(isinstance(key, str) for key in value["targets"]):
        raise TypeError("targets")
    stamp = value["stamp"]
    if [type(stamp[name]) for name in ("account", "token", "n")] != [str, int, int]:
        raise TypeError("stamp")
    read_document(value)
    if value.get("flat") is not None:
        try:
            value["flat"] = base64.b64decode(value["flat"], validate=True)
        except binascii.Error as error:
            raise ValueError("flat") from error
    _ = value["kind"], value["withdrawn_at"], value["changed_at"]
    return value


def _state_from(value: Document) -> TargetState:
    watch = value["watch"] or {}
    value |= {name: read_time(value[name]) for name in _TIMES}
    if value["failure"] is not None:
        value["failure"]["retry_at"] = read_time(value["failure"]["retry_at"])
    for spell in value["spells"]:
        spell["since"] = read_time(spell["since"])
    watched = watch_from(watch.get("account"), watch.get("file"), watch.get("hand"))
    return state_from(value, watched)


def _account_from(value: Document) -> AccountState:
    never = datetime.fromtimestamp(0, UTC)
    token, watermark = int(value["token"]), int(value["watermark"])
    return AccountState(str(value["_id"]), None, token, never, dict(value["budget"]), watermark)
