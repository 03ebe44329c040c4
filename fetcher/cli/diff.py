"""``fetcher diff``: what changed between two stored versions of a record, or two records."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import IO, Any, Final

from fetcher.alignment import Alignment
from fetcher.cli.common import say
from fetcher.cli.read import find
from fetcher.cli.render import Format, json_text, print_table
from fetcher.comparison import Difference, compare
from fetcher.documents import Document
from fetcher.errors import NotFound, UsageError
from fetcher.store.protocol import Query, ReadStore

__all__ = ["diff"]

_SHORT: Final = 60
"""Characters of a value that a table shows."""
_EDITS: Final = 50
"""Edits of a sequence that a table shows."""


async def diff(store: ReadStore, first: str, second: str | None, how: Format, out: IO[str]) -> int:
    """Writes what differs; an accession alone stands for its two newest versions.

    Raises `NotFound` for what is not stored, `UsageError` for what can be no sequence record.
    """
    old, new = await _two(store, first, second)
    differences, alignment = compare(old, new)
    if how is Format.TABLE:
        _table(old, new, differences, alignment, out)
    else:
        items = [_item(each) for each in differences]
        if alignment is not None:
            items.append(_summary(old, new, alignment))
        if how is Format.JSON:
            listed = ",\n  ".join(map(json_text, items))
            out.write(f'{{"items": [{listed}]}}\n')
        else:
            out.writelines(f"{json_text(item)}\n" for item in items)
    if not differences:
        say(f"{_named(old)} and {_named(new)} say the same")
    return 0


async def _two(store: ReadStore, first: str, second: str | None) -> tuple[Document, Document]:
    if second is not None:
        return await _one(store, first), await _one(store, second)
    newest = await _one(store, first)
    where = {"database": newest["database"], "accession": newest["accession"]}
    before: Document | None = None
    async with aclosing(store.records(Query("sequence", where=where), whole=False)) as documents:
        async for each in documents:
            earlier = each["version"] < newest["version"]
            if earlier and (before is None or each["version"] > before["version"]):
                before = each
    if before is None:
        name = newest["accession_version"]
        raise NotFound(f"only one version is stored of {name}; name another record beside it")
    old = await store.record("sequence", before["_id"])
    return old or before, newest


async def _one(store: ReadStore, name: str) -> Document:
    found = await find(store, name)
    if found is None:
        raise NotFound(f"{name} is not stored; `fetcher fetch {name}` gets it")
    if found.get("kind") != "sequence":
        raise UsageError(f"{name!r} is no sequence record")
    if found.get("error") is not None:
        raise NotFound(f"{name} could not be read: {found['error']}")
    return found


def _named(document: Document) -> str:
    name: str = document["accession_version"]
    return name


def _item(difference: Difference) -> dict[str, Any]:
    return {name: getattr(difference, name) for name in Difference.__slots__}


def _summary(old: Document, new: Document, alignment: Alignment) -> dict[str, Any]:
    return {
        "part": "summary",
        "old": _named(old),
        "new": _named(new),
        "old_length": len(old["sequence"]),
        "new_length": len(new["sequence"]),
        "identity": alignment.identity,
    }


def _table(
    old: Document,
    new: Document,
    differences: Sequence[Difference],
    alignment: Alignment | None,
    out: IO[str],
) -> None:
    edits = [each for each in differences if each.part == "sequence"]
    shown = [each for each in differences if each.part != "sequence"] + edits[:_EDITS]
    if shown:
        rows = [row for each in shown for row in _rows(each)]
        print_table(("CHANGE", "WHAT", _named(old), _named(new)), rows, out)
        out.write("\n")
    if len(edits) > _EDITS:
        out.write(f"… and {len(edits) - _EDITS:,} more; --format ndjson writes them all\n")
    if alignment is not None:
        lengths = f"{len(old['sequence']):,} to {len(new['sequence']):,} residues"
        if alignment.identity is None:
            text = "too different to align"
        else:
            number = "1 edit" if len(edits) == 1 else f"{len(edits):,} edits"
            text = f"{100 * alignment.identity:.4g} % identical, {number}"
        out.write(f"Sequence: {lengths}, {text}\n")


def _rows(difference: Difference) -> Iterator[tuple[str, str, str, str]]:
    """One for a field or an edit; one for each qualifier of a feature that changed."""
    old, new = difference.old, difference.new
    what = f"{difference.part} {difference.what}"
    if difference.part == "feature" and difference.change == "changed":
        for name in dict.fromkeys((*old, *new)):
            yield ("changed", _short(f"{what} {name}"), _cell(old, name), _cell(new, name))
    elif difference.part == "feature":
        yield (
            difference.change,
            _short(what),
            "-" if old is None else "there",
            "-" if new is None else "there",
        )
    else:
        yield (difference.change, _short(what), _short(_text(old)), _short(_text(new)))


def _cell(values: Mapping[str, Any], name: str) -> str:
    return _short(_text(values[name])) if name in values else "-"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "; ".join(value)
    return json_text(value).strip('"')


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
