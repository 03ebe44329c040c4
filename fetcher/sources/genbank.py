"""GenBank and GenPept records, from NCBI's flat file to the `Sequence` document.

The reader is strict where it must be (`fetcher.sources.flatfile` checks the layout line by line,
here the fields are checked against each other) and liberal where it may be: any accession, any
feature key, qualifier and location that keeps to the layout. What it gives is what the record
says; what it cannot vouch for raises `UnreadableRecord`.

How texts are joined: lines of a field by one blank; COMMENT keeps its lines; a quoted
qualifier's lines by one blank, a translation's and those of an unquoted one by none; locations
have no blanks.

https://www.ncbi.nlm.nih.gov/genbank/samplerecord/
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from fetcher.documents import Feature, Reference, Sequence
from fetcher.errors import UnreadableRecord
from fetcher.sources.flatfile import (
    Damaged,
    Field,
    FlatFileSplitter,
    FlatRecord,
    Piece,
    parse_flat,
)

__all__ = ["FlatFileSplitter", "Piece", "read_record", "read_records"]


def read_records(pieces: Iterable[bytes], database: str) -> list[Sequence | UnreadableRecord]:
    """Every record of `pieces` in order, with the error in the place of one that is damaged.

    Made for a worker thread. It needs no other parser: since every line has to be looked at to
    know that it belongs to the record, gb-io beside it would only do the same work again (it
    gives locations as objects and neither COMMENT nor CONTIG). gb-io and Biopython are the
    peers of the tests.
    """
    results: list[Sequence | UnreadableRecord] = []
    for data in pieces:
        try:
            results.append(read_record(data, database))
        except UnreadableRecord as error:
            results.append(error)
    return results


def read_record(data: bytes, database: str) -> Sequence:
    """The document of one record, from its LOCUS line to its ``//`` line.

    `database` is ``nuccore`` or ``protein``. Raises `UnreadableRecord`, whose `name` is the
    accession.version as far as it can be made out.
    """
    try:
        return _document(parse_flat(data), database)
    except Damaged as error:
        name = _name(data)
        raise UnreadableRecord(f"record {name or 'without a name'}: {error}", name) from error


_NAMES = re.compile(
    rb"^(?:VERSION|ACCESSION|LOCUS) +([A-Za-z0-9_]{1,64}(?:\.[0-9]{1,9})?)(?![A-Za-z0-9_.])",
    re.MULTILINE,
)


def _name(data: bytes) -> str | None:
    """What a damaged record is called: its version, else its accession, else its locus."""
    names = [found[1].decode() for found in _NAMES.finditer(data[:65536])]
    return next((name for name in names if "." in name), names[-1] if names else None)


# --- the document ---------------------------------------------------------------------------

_MASTER = re.compile(r"(?:WGS|TSA|TLS)(?:_[A-Z]+)?")
_REFSEQ = re.compile(r"[A-Z]{2}_")
_STRANDS: dict[str | None, Literal["single", "double", "mixed"] | None] = {
    None: None,
    "ss": "single",
    "ds": "double",
    "ms": "mixed",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def _document(record: FlatRecord, database: str) -> Sequence:
    locus = record.locus
    texts, references = _collect(record.fields)
    accession, version, accession_version, uid = _identity(texts, locus.unit)
    if record.residues is None and not (
        locus.unit == "rc" or "CONTIG" in texts or any(map(_MASTER.fullmatch, texts))
    ):
        raise Damaged("it has no sequence, and is neither a master record nor made of contigs")
    organism, lineage = _organism(texts["ORGANISM"])
    source = _source(record.features)
    comment = texts.get("COMMENT", "").strip("\n") or None
    replaced, replaced_by = _replacement(comment)
    return {
        "database": database,
        "accession": accession,
        "version": version,
        "accession_version": accession_version,
        "uid": uid,
        "definition": _flow(texts["DEFINITION"]).removesuffix("."),
        "length": locus.length,
        "molecule_type": "AA" if locus.unit == "aa" else locus.molecule,
        "strandedness": _STRANDS[locus.strand],
        "topology": "circular" if locus.topology == "circular" else "linear",
        "division": locus.division,
        "create_date": None,
        "update_date": _date(locus.date),
        "organism": organism,
        "taxid": source["taxid"],
        "lineage": lineage,
        "keywords": _listed(texts["KEYWORDS"]),
        "comment": comment,
        "secondary_accessions": _accessions(texts["ACCESSION"])[1:],
        "refseq": _REFSEQ.match(accession) is not None,
        "source": source,
        "features": record.features,
        "references": [_reference(text, parts) for text, parts in references],
        "sequence": record.residues,
        "status": "replaced" if replaced else "live",
        "replaced_by": replaced_by,
    }


# --- the header -----------------------------------------------------------------------------

_NEEDED = ("DEFINITION", "ACCESSION", "VERSION", "KEYWORDS", "SOURCE", "ORGANISM")
_SEVERAL = re.compile(r"COMMENT|PRIMARY|(?:WGS|TSA|TLS)(?:_[A-Z]+)?")
# No number that a store cannot hold, here and below.
_VERSION = re.compile(r"([A-Za-z0-9_]{1,64})(?:\.([0-9]{1,9}))?(?: +GI:([0-9]{1,18}))?")


def _collect(fields: list[Field]) -> tuple[dict[str, str], list[tuple[str, dict[str, str]]]]:
    """The texts by keyword, and the references as texts; what stands twice or lost is damage."""
    texts: dict[str, str] = {}
    references: list[tuple[str, dict[str, str]]] = []
    parent = ""
    for keyword, sub, text in fields:
        into = texts
        if sub:
            if parent == "REFERENCE":
                into = references[-1][1]
            elif (parent, keyword) != ("SOURCE", "ORGANISM"):
                raise Damaged(f"{keyword} does not belong under {parent or 'LOCUS'}")
        else:
            parent = keyword
            if keyword == "REFERENCE":
                references.append((text, {}))
                continue
        if keyword not in into:
            into[keyword] = text
        elif _SEVERAL.fullmatch(keyword):
            into[keyword] += f"\n{text}"
        else:
            raise Damaged(f"{keyword} stands in it twice")
    for keyword in _NEEDED:
        if keyword not in texts:
            raise Damaged(f"it has no {keyword}")
    return texts, references


def _identity(texts: Mapping[str, str], unit: str) -> tuple[str, int, str, str | None]:
    """Accession, version, both in one, and the GI.

    Version 0 stands for none: PDB chains and some old protein records have no number.
    """
    found = _VERSION.fullmatch(texts["VERSION"].strip())
    if not found or (found[2] is None and unit != "aa"):
        raise Damaged(f"its VERSION makes no sense: {texts['VERSION'][:80]!r}")
    accession, number, uid = found.groups()
    # An empty ACCESSION is known from the wild; one that differs is two records in one.
    if (primary := _accessions(texts["ACCESSION"])[:1]) not in ([], [accession]):
        raise Damaged(f"its ACCESSION is {primary[0]} and its VERSION is of {accession}")
    return accession, int(number or 0), f"{accession}.{number}" if number else accession, uid


def _accessions(text: str) -> list[str]:
    """All of ACCESSION; the part of a sequence that was asked for (``REGION: 1..5``) is none."""
    return text.partition("REGION:")[0].split()


def _organism(text: str) -> tuple[str | None, list[str]]:
    """The name, which may go over several lines, and the lineage: from the first line with a
    semicolon on, or else the last line.
    """
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if n and ";" in line), max(len(lines) - 1, 1))
    name = _flow("\n".join(lines[:first]))
    return name or None, _listed("\n".join(lines[first:]))


def _listed(text: str) -> list[str]:
    """The parts of a list with semicolons and a final period; a period alone is an empty one."""
    return [part for part in _flow(text).removesuffix(".").split("; ") if part]


def _flow(text: str) -> str:
    """Lines of a field as one."""
    if "\n" in text:
        text = " ".join([line.strip() for line in text.split("\n")])
    return text.strip()


def _date(text: str) -> datetime:
    try:
        month = _MONTHS.index(text[3:6]) + 1
        return datetime(int(text[7:]), month, int(text[:2]), tzinfo=UTC)
    except ValueError:
        raise Damaged(f"its LOCUS line has no such date: {text!r}") from None


_REPLACED = re.compile(
    r"\[WARNING\] On .{1,40}? this sequence was replaced by\b(?: .{0,80}?([A-Z][A-Z0-9_]*\.\d+))?"
)


def _replacement(comment: str | None) -> tuple[bool, str | None]:
    """Whether COMMENT says that another record replaced this one, and which."""
    if comment is None or "[WARNING]" not in comment:
        return False, None
    found = _REPLACED.search(_flow(comment))
    return found is not None, found[1] if found else None


# --- references -----------------------------------------------------------------------------

_REFERENCE = re.compile(r"([0-9]{1,9})(?: +\((?:(?:bases|residues) +)?(.*)\))?")
_BETWEEN_AUTHORS = re.compile(r", +| and ")


def _reference(text: str, parts: Mapping[str, str]) -> Reference:
    found = _REFERENCE.fullmatch(_flow(text))
    if not found:
        raise Damaged(f"its REFERENCE makes no sense: {text[:80]!r}")
    flowing = {keyword: _flow(part) for keyword, part in parts.items()}.get
    return {
        "number": int(found[1]),
        "bases": found[2],
        "authors": _authors(flowing("AUTHORS")),
        "consortium": flowing("CONSRTM"),
        "title": flowing("TITLE"),
        "journal": flowing("JOURNAL"),
        "pubmed": flowing("PUBMED"),
        "remark": flowing("REMARK"),
    }


def _authors(text: str | None) -> list[str]:
    """``Lee,K., Roye,M.E. and Wu,S.``, or in PubMed's way ``Lee K, Roye ME and Wu S.``

    The final period ends the list in PubMed's way, and the initials in GenBank's.
    """
    names = _BETWEEN_AUTHORS.split(text) if text else []
    if names and "," not in names[-1]:
        names[-1] = names[-1].removesuffix(".")
    return names


# --- the source feature ---------------------------------------------------------------------

_TAXID = re.compile(r"[0-9]{1,10}")
_USUAL = ("taxid", "organism", "mol_type", "isolate", "host", "segment", "strain", "clone")


def _source(features: Iterable[Feature]) -> dict[str, Any]:
    """The source feature, flattened; of several, the one with /focus or else the first."""
    sources = [feature["qualifiers"] for feature in features if feature["type"] == "source"]
    flat: dict[str, Any] = dict.fromkeys(_USUAL)
    if not sources:
        return flat
    for name, values in next((one for one in sources if "focus" in one), sources[0]).items():
        if values is None:
            flat[name] = True
        elif name == "db_xref":
            flat[name] = values
            taxon = next((value for value in values if value.startswith("taxon:")), "")[6:]
            flat["taxid"] = int(taxon) if _TAXID.fullmatch(taxon) else None
        else:
            flat[name] = values[0] if len(values) == 1 else values
    return flat
