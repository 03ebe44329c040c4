"""The little of a flat file that the local NCBI must know to find a record, and to edit it.

It reads the header by its columns and nothing below FEATURES but the source feature's taxon.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from fetcher.demo.synthetic import flat_sequence

__all__ = ["Header", "fasta", "flat_date", "insert_comment", "mutated", "read_header", "redated"]

_TAXON = re.compile(rb'/db_xref="taxon:(\d+)"')
_KEYWORD = re.compile(r"^( {0,3}[A-Z]+)\s*(.*)$")
_LOCUS = re.compile(r"LOCUS\s+(\S+)\s+(\d+) (\S+)(?:\s+(\S*(?:DNA|RNA)))?(?:\s+(linear|circular))?")


@dataclass(frozen=True, slots=True)
class Header:
    """What stands above the features; `kind` is the molecule as LOCUS has it (``ss-RNA``)."""

    accession: str
    version: int
    length: int
    kind: str
    topology: str
    division: str
    updated: date
    definition: str
    secondary: tuple[str, ...]
    keywords: str
    organism: str
    lineage: tuple[str, ...]
    taxid: int

    @property
    def refseq(self) -> bool:
        """RefSeq accessions have an underscore: https://www.ncbi.nlm.nih.gov/books/NBK21091/"""
        return "_" in self.accession[:3]


def read_header(flat: bytes) -> Header:
    """Raises `ValueError` for what is no flat file."""
    head = flat[: flat.find(b"\nFEATURES") + 1 or len(flat)]
    fields: dict[str, list[str]] = {}
    current: list[str] = []
    for line in head.decode("utf-8", "replace").splitlines():
        if found := _KEYWORD.match(line):
            current = fields.setdefault(found[1].strip(), [])
            current.append(found[2].strip())
        else:
            current.append(line.strip())
    locus = _LOCUS.match(head.decode("utf-8", "replace"))
    if locus is None:
        raise ValueError("not a GenBank flat file")
    accessions = " ".join(fields.get("ACCESSION", ["unknown"])).split()
    name, _, version = fields.get("VERSION", [locus[1]])[0].split()[0].partition(".")
    taxon = _TAXON.search(flat, len(head))
    organism, *lineage = fields.get("ORGANISM", [""])
    words = head.partition(b"\n")[0].decode("utf-8", "replace").split()
    return Header(
        accession=name,
        version=int(version or 1),
        length=int(locus[2]),
        kind=locus[4] or "AA",
        topology=locus[5] or "linear",
        division=words[-2],
        updated=datetime.strptime(words[-1], "%d-%b-%Y").replace(tzinfo=UTC).date(),
        definition=" ".join(fields.get("DEFINITION", [""])).removesuffix("."),
        secondary=tuple(each for each in accessions[1:] if each != name),
        keywords=" ".join(fields.get("KEYWORDS", ["."])),
        organism=organism,
        lineage=tuple(
            each.strip() for each in " ".join(lineage).removesuffix(".").split(";") if each.strip()
        ),
        taxid=int(taxon[1]) if taxon is not None else 0,
    )


def flat_date(day: date) -> str:
    """``23-NOV-2026``, whatever the locale."""
    months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    return f"{day.day:02d}-{months[day.month - 1]}-{day.year}"


def fasta(flat: bytes, definition: str, name: str) -> bytes:
    """The record as FASTA, an empty line after it."""
    residues = _residues(flat).upper()
    lines = [residues[at : at + 70] for at in range(0, len(residues), 70)]
    return "\n".join((f">{name} {definition}", *lines, "", "")).encode()


def insert_comment(flat: bytes, comment: str) -> bytes:
    """The record with a paragraph on top of its COMMENT."""
    lines = comment.split("\n")
    top = f"COMMENT     {lines[0]}\n" + "".join(f"            {line}\n" for line in lines[1:])
    if (at := flat.find(b"\nCOMMENT ")) >= 0:
        rest = b" " * 12 + flat[at + 13 :]
        return flat[: at + 1] + top.encode() + rest
    at = flat.index(b"\nFEATURES") + 1
    return flat[:at] + top.encode() + flat[at:]


def mutated(flat: bytes, version: int, day: date) -> bytes:
    """The record's next version: another first residue, another date."""
    head, _, tail = flat.partition(b"\nORIGIN")
    head = re.sub(rb"(?m)^(VERSION     \S+)\.\d+", rb"\g<1>.%d" % version, head, count=1)
    head = redated(head, day)
    residues = _residues(flat)
    if not residues:
        return head + (b"\nORIGIN" + tail if tail else b"")
    other = "c" if residues[0] != "c" else "g"
    body = "\n".join(flat_sequence(other + residues[1:]))
    return head + b"\nORIGIN" + tail.partition(b"\n")[0] + b"\n" + body.encode() + b"\n//\n"


def redated(flat: bytes, day: date) -> bytes:
    """The record with another date in LOCUS."""
    locus, newline, rest = flat.partition(b"\n")
    return locus[: locus.rstrip().rfind(b" ") + 1] + flat_date(day).encode() + newline + rest


def _residues(flat: bytes) -> str:
    _, _, origin = flat.partition(b"\nORIGIN")
    lines = origin.partition(b"\n")[2].partition(b"//")[0]
    return re.sub(rb"[\s\d]", b"", lines).decode("ascii", "replace")
