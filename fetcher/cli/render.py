"""Documents on a terminal and in a pipe: tables, JSON, ndjson, FASTA and flat files."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import IO, Any, Final

from fetcher.documents import Document, flat_file, time_text, to_json

__all__ = [
    "Format",
    "columns_of",
    "json_text",
    "key_values",
    "plain",
    "plain_lines",
    "print_table",
    "sequence_text",
    "write_sequence",
]

_MOVES: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

TABLE_ROWS = 1_000
"""Rows that a table shows at most; who wants more wants ndjson."""


class Format(StrEnum):
    """How data is written to standard output."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    FASTA = "fasta"
    GENBANK = "genbank"

    @property
    def for_sequences_only(self) -> bool:
        """Whether only sequence records can be written like this."""
        return self in (Format.FASTA, Format.GENBANK)


_NUMBERS = ("LENGTH", "ASSETS", "RECORDS", "CHANGED", "TAXID", "LEFT", "LIMIT", "TARGETS", "SHARE")
_SENTENCES = ("VALUE", "FOUND")
_ELASTIC = (
    "ACCOUNT",
    "NAME",
    "DEFINITION",
    "TAG",
    "TARGET",
    "MOLECULE",
    "LINEAGE",
    "ORGANISM",
    "ASSEMBLY",
)

_COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "release": (
        ("REPOSITORY", "repository"),
        ("TAG", "tag"),
        ("NAME", "name"),
        ("PUBLISHED", "published_at"),
        ("ASSETS", "assets"),
        ("", "flags"),
    ),
    "tag": (("REPOSITORY", "repository"), ("TAG", "name"), ("COMMIT", "commit"), ("", "flags")),
    "sequence": (
        ("ACCESSION", "accession_version"),
        ("DEFINITION", "definition"),
        ("LENGTH", "length"),
        ("MOLECULE", "molecule_type"),
        ("TAXID", "taxid"),
        ("UPDATED", "update_date"),
        ("", "flags"),
    ),
    "taxon": (("TAXID", "taxid"), ("NAME", "name"), ("RANK", "rank"), ("LINEAGE", "lineage")),
    "genome": (
        ("ACCESSION", "accession"),
        ("ORGANISM", "organism_name"),
        ("TAXID", "taxid"),
        ("ASSEMBLY", "assembly_info"),
        ("", "flags"),
    ),
    "summary": (("DATABASE", "database"), ("ACCESSION", "accession"), ("NAME", "title")),
}


def columns_of(kind: str) -> tuple[str, ...]:
    """The headings of a kind's table."""
    return tuple(heading for heading, _ in _COLUMNS.get(kind, (("ID", "_id"),)))


def _row(document: Document) -> tuple[str, ...]:
    kind = _COLUMNS.get(document["kind"], (("ID", "_id"),))
    return tuple(_cell(document, field) for _, field in kind)


def _cell(document: Document, field: str) -> str:
    if field == "flags":
        names = ("draft", "prerelease", "private", "refseq")
        flags = [name for name in names if document.get(name)]
        if document.get("withdrawn_at") is not None:
            flags.append("withdrawn")
        if document.get("error") is not None:
            flags.append("unreadable")
        elif document.get("status", "live") != "live":
            flags.append(document["status"])
        return " ".join(flags)
    value = document.get(field)
    if field == "assets":
        return str(len(value or ()))
    if field == "lineage":
        return plain("; ".join(each["name"] for each in value or ()))
    if field == "assembly_info":
        told = (value or {}).get("assembly_name"), (value or {}).get("assembly_level")
        return plain(", ".join(str(each) for each in told if each))
    if field == "commit":
        return str(value)[:12]
    if field in ("published_at", "update_date"):
        return time_text(value)[:10] if value is not None else "-"
    return plain("-" if value is None or value == "" else str(value))


def plain(text: str) -> str:
    """Text that can do nothing to a terminal: no control characters, no escape sequences."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def plain_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(map(plain, text.split("\n")))


def json_text(value: object) -> str:
    """One line of JSON that can do nothing to a terminal, and says the same to every reader.

    JSON itself escapes the first 32 characters alone: neither DEL nor the eighth bit's controls,
    nor those that turn the direction of what follows.
    """
    text = to_json(value)
    return _MOVES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], out: IO[str]) -> None:
    """A table as wide as the terminal; in a pipe as wide as it must be."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    console = Console(file=out, highlight=False, markup=False, no_color=not out.isatty())
    if out.isatty():
        widths = _fit(headings, widths, console.width)
    else:
        console.width = sum(widths) + 2 * len(widths)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, width in zip(headings, widths, strict=True):
        sentence = heading in _SENTENCES
        shown.add_column(
            heading,
            justify="right" if heading in _NUMBERS else "left",
            width=width,
            no_wrap=not sentence,
            overflow="fold" if sentence else "ellipsis",
        )
    for row in cells:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)


def _fit(headings: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit a terminal: sentences wrap, names end early, the rest stays whole."""
    elastic = [n for n, heading in enumerate(headings) if heading in (*_SENTENCES, *_ELASTIC)]
    fitted = list(widths)
    while sum(fitted) + 2 * len(fitted) > room:
        widest = max(elastic, key=lambda n: fitted[n], default=None)
        if widest is None or fitted[widest] <= 8:
            break
        fitted[widest] -= 1
    return fitted


def print_documents(documents: Sequence[Document], out: IO[str], *, more: int = 0) -> None:
    """One table for each kind, in the order of the documents."""
    kinds = dict.fromkeys(document["kind"] for document in documents)
    for number, kind in enumerate(kinds):
        rows = [_row(document) for document in documents if document["kind"] == kind]
        if number:
            out.write("\n")
        print_table(columns_of(kind), rows, out)
    if more:
        out.write(f"… and {more} more; --format ndjson writes them all\n")


def key_values(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A document for reading: long values shortened, nested ones as JSON."""
    for key, value in document.items():
        if isinstance(value, bytes):
            continue
        text = value if isinstance(value, str) else json_text(value).strip('"')
        yield key, text if len(text) <= 600 else f"{text[:600]}… ({len(text):,} characters)"


def sequence_text(document: Document, how: Format) -> str | None:
    """A sequence record as FASTA or as the flat file that was served; None if it has none."""
    if how is Format.GENBANK:
        flat = flat_file(document)
        return flat.decode("utf-8", "surrogateescape") if flat is not None else None
    from fetcher.documents import to_fasta

    if document.get("sequence") is None:
        return None
    return "".join(to_fasta(document))


def write_sequence(document: Document, how: Format, out: IO[str]) -> None:
    """The same into `out`; a record that cannot be written like this is named on standard error."""
    text = sequence_text(document, how)
    if text is not None:
        # In a pipe it is what was served, byte for byte.
        out.write(plain_lines(text.expandtabs()) if out.isatty() else text)
        return
    what = "flat file" if how is Format.GENBANK else "sequence of its own"
    sys.stderr.write(f"fetcher: {document['accession_version']} is left out: it has no {what}\n")


def stdout_is_terminal() -> bool:
    """Whether a person reads along."""
    return sys.stdout.isatty()
