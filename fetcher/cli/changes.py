"""``fetcher changes``: which records changed since a cursor, and what goes on changing."""

from contextlib import aclosing
from typing import IO, Final

from fetcher.cli.common import say
from fetcher.cli.render import Format, json_text, print_table
from fetcher.documents import time_text
from fetcher.errors import UsageError
from fetcher.models import Clock
from fetcher.reader import Changed, Reader
from fetcher.store.protocol import ReadStore

__all__ = ["changes"]

_PAUSE: Final = 0.5
_ROWS: Final = 200
_HEADINGS: Final = ("AT", "CHANGE", "RECORD", "REVISION", "FIELDS")


async def changes(
    store: ReadStore, after: str | None, how: Format, out: IO[str], clock: Clock, *, follow: bool
) -> int:
    """Writes changes up to now, or for as long as nobody ends it; the cursor comes last."""
    if follow and how is Format.JSON:
        raise UsageError("what never ends cannot be one JSON document; use --format ndjson")
    reader = Reader(store, clock)
    cursor = await reader.cursor() if after == "now" else after
    await reader.check(cursor)
    if how is Format.JSON:
        return await _json(reader, cursor, out)
    while True:
        rows: list[tuple[str, ...]] = []
        async with aclosing(reader.changes(cursor)) as found:
            async for change in found:
                cursor = change.cursor
                if how is Format.NDJSON:
                    out.write(json_text(change.document()) + "\n")
                    continue
                rows.append(_row(change))
                if len(rows) == _ROWS:
                    print_table(_HEADINGS, rows, out)
                    rows = []
        if rows:
            print_table(_HEADINGS, rows, out)
        out.flush()
        if not follow:
            if how is Format.TABLE:
                say(f"go on later with --after {cursor or await reader.beginning()}")
            return 0
        await clock.sleep(_PAUSE)


async def _json(reader: Reader, cursor: str | None, out: IO[str]) -> int:
    out.write('{"items": [')
    first = True
    async with aclosing(reader.changes(cursor)) as found:
        async for change in found:
            cursor = change.cursor
            out.write(("\n  " if first else ",\n  ") + json_text(change.document()))
            first = False
    out.write(f'],\n "next": {json_text(cursor or await reader.beginning())}}}\n')
    return 0


def _row(change: Changed) -> tuple[str, ...]:
    return (
        time_text(change.changed_at.replace(microsecond=0)),
        change.change,
        change.id,
        str(change.revision),
        ", ".join(change.fields),
    )
