"""How the records of a fetch are written: as they arrive, or in one piece at the end."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import IO, Any, Protocol

from fetcher.cli.render import (
    TABLE_ROWS,
    Format,
    json_text,
    print_documents,
    print_table,
    write_sequence,
)
from fetcher.documents import Document, Kind, time_text
from fetcher.models import Change, Expected, TargetState
from fetcher.refresh import Event, Polled, Stored, kinds_of
from fetcher.store.protocol import Query, ReadStore
from fetcher.targets import Target, parse_target

__all__ = ["Row", "Sink", "make_sink"]


@dataclass(frozen=True, slots=True)
class Row:
    """What is reported of one target; `asked` and `missing` are as typed."""

    target: str
    asked: str
    outcome: str
    records: int
    changed: int
    missing: tuple[str, ...]
    error: str | None
    next_due: str | None

    @classmethod
    def of(cls, asked: str, polled: Polled) -> "Row":
        """The report of a poll that ended."""
        state = polled.state
        name = polled.asked.name
        typed = asked.rpartition("/")[2] if polled.asked.upstream == "ncbi" else asked
        missing = tuple(typed if each == name else each for each in state.missing)
        return cls(
            target=state.key,
            asked=asked,
            outcome=str(state.outcome),
            records=state.records,
            changed=polled.changed,
            missing=missing,
            error=state.failure.message if state.failure is not None else None,
            next_due=time_text(state.next_due) if state.next_due is not None else None,
        )

    @classmethod
    def busy(cls, asked: str, target: Target, state: TargetState | None, error: str) -> "Row":
        """The report of a target whose account was not to be had."""
        due = state.next_due if state is not None else None
        return cls(
            target=state.key if state is not None else target.key,
            asked=asked,
            outcome="rate_limited",
            records=state.records if state is not None else 0,
            changed=0,
            missing=(),
            error=error,
            next_due=time_text(due) if due is not None else None,
        )

    def document(self) -> dict[str, Any]:
        """The row as ``--format json`` has it."""
        return {name: getattr(self, name) for name in self.__slots__}


class Sink(Protocol):
    """Takes what a fetch stores, and writes it."""

    async def take(self, event: Event) -> None:
        """One event, as it was committed."""
        ...

    async def close(self, rows: Sequence[Row]) -> None:
        """All targets have ended."""
        ...


def make_sink(how: Format, store: ReadStore, out: IO[str], *, changed_only: bool) -> Sink:
    """The sink of a format; `changed_only` writes what the poll changed and nothing else."""
    if how in (Format.JSON, Format.TABLE):
        return _AtTheEnd(how, store, out, changed_only=changed_only)
    return _AsTheyArrive(how, store, out, changed_only=changed_only)


class _AsTheyArrive:
    """ndjson, FASTA and flat files: what changed is written at once, the rest when the target
    ends. No record is written twice, and none is remembered for that: what this run changed
    carries its fencing token, and what two targets share was written with the first.
    """

    def __init__(self, how: Format, store: ReadStore, out: IO[str], *, changed_only: bool) -> None:
        self._how = how
        self._store = store
        self._out = out
        self._changed_only = changed_only
        self._done: set[str] = set()

    async def take(self, event: Event) -> None:
        if isinstance(event, Stored):
            for change in event.changes:
                if self._changed_only or change.change != "withdrawn":
                    self._write(await _whole(self._store, change))
        elif isinstance(event, Expected):
            return
        elif self._changed_only:
            if event.since is not None:
                async with aclosing(_changed(self._store, event)) as documents:
                    async for document in documents:
                        self._write(document)
        else:
            key = event.state.key
            # Where another process polled, nothing was written here yet.
            written = event.state.token if event.since is None else None
            async with aclosing(_records_of(self._store, key, written)) as documents:
                async for document in documents:
                    if self._done.isdisjoint(document["targets"]):
                        self._write(document)
            self._done.add(key)
        self._out.flush()

    async def close(self, rows: Sequence[Row]) -> None:
        self._out.flush()

    def _write(self, document: Document) -> None:
        if self._how is Format.NDJSON:
            self._out.write(json_text(document))
            self._out.write("\n")
        else:
            write_sequence(document, self._how, self._out)


class _AtTheEnd:
    """JSON and tables, which have a head and an order: targets first, then their records."""

    def __init__(self, how: Format, store: ReadStore, out: IO[str], *, changed_only: bool) -> None:
        self._how = how
        self._store = store
        self._out = out
        self._changes: dict[str, Kind] | None = {} if changed_only else None

    async def take(self, event: Event) -> None:
        if isinstance(event, Stored) and self._changes is not None:
            self._changes.update((change.id, change.kind) for change in event.changes)
        elif isinstance(event, Polled) and event.since is not None and self._changes is not None:
            async with aclosing(_changed(self._store, event)) as documents:
                async for document in documents:
                    self._changes[document["_id"]] = document["kind"]

    async def close(self, rows: Sequence[Row]) -> None:
        if self._how is Format.JSON:
            await self._json(rows)
        else:
            await self._table(rows)
        self._out.flush()

    async def _json(self, rows: Sequence[Row]) -> None:
        listed = json_text([row.document() for row in rows])
        self._out.write(f'{{"targets": {listed},\n "records": [')
        first = True
        async with aclosing(self._documents(rows)) as documents:
            async for document in documents:
                self._out.write(("\n  " if first else ",\n  ") + json_text(document))
                first = False
        self._out.write("]}\n")

    async def _table(self, rows: Sequence[Row]) -> None:
        shown: list[Document] = []
        more = 0
        async for document in self._documents(rows):
            if len(shown) < TABLE_ROWS:
                shown.append(document)
            else:
                more += 1
        headings = ("TARGET", "OUTCOME", "RECORDS", "CHANGED", "NEXT DUE")
        cells = [
            (row.target, row.outcome, str(row.records), str(row.changed), _minute(row.next_due))
            for row in rows
        ]
        print_table(headings, cells, self._out)
        if shown:
            self._out.write("\n")
            print_documents(shown, self._out, more=more)

    async def _documents(self, rows: Sequence[Row]) -> AsyncGenerator[Document, None]:
        if self._changes is not None:
            for id_, kind in self._changes.items():
                document = await self._store.record(kind, id_)
                if document is not None:
                    yield document
            return
        done: set[str] = set()
        for key in dict.fromkeys(row.target for row in rows):
            async with aclosing(_records_of(self._store, key)) as documents:
                async for document in documents:
                    if done.isdisjoint(document["targets"]):
                        yield document
            done.add(key)


def _minute(time: str | None) -> str:
    """A time for people: to the minute."""
    return f"{time[:10]} {time[11:16]} UTC" if time is not None else "-"


async def _records_of(
    store: ReadStore, key: str, except_token: int | None = None
) -> AsyncGenerator[Document, None]:
    """The records that a target has now: releases newest first, all else by id."""
    for kind in kinds_of(parse_target(key)):
        query = Query(
            kind, key, withdrawn=False, newest_first=kind == "release", except_token=except_token
        )
        async with aclosing(store.records(query)) as documents:
            async for document in documents:
                yield document


async def _changed(store: ReadStore, polled: Polled) -> AsyncGenerator[Document, None]:
    """What a poll by another process changed, withdrawn records included."""
    assert polled.since is not None  # noqa: S101 - asked for only then
    for kind in kinds_of(parse_target(polled.state.key)):
        query = Query(kind, target=polled.state.key)
        async with aclosing(store.records(query)) as documents:
            async for document in documents:
                if document["changed_at"] >= polled.since:
                    yield document


async def _whole(store: ReadStore, change: Change) -> Document:
    """A changed document; what was too large for it is read back."""
    if "blobs" not in change.document:
        return change.document
    return await store.record(change.kind, change.id) or change.document
