"""The documents that readers hold on to: one typed shape for each collection.

A document is a plain mapping with these keys, the same in MongoDB, in SQLite, in the reader
library and (times written as ``2026-11-23T10:15:00Z``) in JSON. Times are timezone-aware UTC.

The *content* of a record (everything its digest covers and its history tells of) is what the
upstream said; the keys of `Stored` are the fetcher's own and are added by the store.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import orjson

# Not from typing: pydantic, which describes them for the API, cannot read those before 3.12.
from typing_extensions import NotRequired, TypedDict  # noqa: UP035

__all__ = [
    "Ancestor",
    "Asset",
    "Content",
    "Document",
    "Feature",
    "Kind",
    "Reference",
    "Release",
    "Revision",
    "Sequence",
    "SourceFeature",
    "Stored",
    "Summary",
    "Tag",
    "Taxon",
    "flat_file",
    "from_json",
    "json_bytes",
    "time_text",
    "to_fasta",
    "to_json",
]

Kind: TypeAlias = Literal["release", "tag", "sequence", "taxon", "genome", "summary"]

Document: TypeAlias = dict[str, Any]
"""A stored document as the drivers give and take it."""

Content: TypeAlias = Mapping[str, Any]
"""What an upstream said of one record, without the fetcher's own keys."""


class Revision(TypedDict):
    """One entry of a record's history: the values that a change replaced."""

    revision: int
    changed_at: datetime
    fields: dict[str, Any]


class Stored(TypedDict):
    """Keys that the store adds to every record."""

    _id: str
    """Stable; what it is made of stands with each kind."""
    kind: Kind
    """What it is a record of."""
    targets: list[str]
    """Canonical keys of the targets that lead to it."""
    digest: str
    """Of its content."""
    revision: int
    """Grows only when the content changes."""
    history: list[Revision]
    """The last 20 changes; a value longer than 1,000 characters as `{digest, length}`."""
    fetched_at: datetime
    """When this content was got."""
    changed_at: datetime
    """When it last changed here, or was withdrawn."""
    source_url: str
    """Where it was got."""
    withdrawn_at: datetime | None
    """Gone upstream since; null while it is there."""
    flat: NotRequired[bytes]
    """The GenBank flat file as it was served, compressed by zlib; not in JSON."""


class Asset(TypedDict):
    """A file attached to a release; `size` in bytes, `digest` as ``sha256:…`` or None."""

    name: str
    content_type: str
    size: int
    digest: str | None
    download_url: str
    created_at: datetime
    updated_at: datetime


class Release(TypedDict):
    """A GitHub release, `_id` ``github:<repository id>:<release id>``.

    https://docs.github.com/en/rest/releases/releases
    """

    repository: str
    repository_id: int
    release_id: int
    tag: str
    name: str | None
    body: str | None
    draft: bool
    prerelease: bool
    immutable: bool
    private: bool
    author: str | None
    html_url: str
    created_at: datetime
    published_at: datetime | None
    updated_at: datetime | None
    assets: list[Asset]


class Tag(TypedDict):
    """A git tag of a repository without releases, `_id` ``github:<repository id>:tag:<name>``."""

    repository: str
    repository_id: int
    name: str
    commit: str


class Feature(TypedDict):
    """A GenBank feature; `location` is the INSDC string, a flag's value is None.

    https://www.insdc.org/submitting-standards/feature-table/
    """

    type: str
    location: str
    qualifiers: dict[str, list[str] | None]


class Reference(TypedDict):
    """A literature reference of a GenBank record; `bases` as written, such as ``1 to 7272``."""

    number: int
    bases: str | None
    authors: list[str]
    consortium: str | None
    title: str | None
    journal: str | None
    pubmed: str | None
    remark: str | None


class SourceFeature(TypedDict, total=False):
    """The source feature, flattened: `taxid` from its db_xref, flags as True.

    Qualifiers that occur once are strings, repeated ones lists of strings. Any other
    qualifier of the feature stands beside these under its own name.
    """

    taxid: int | None
    organism: str | None
    mol_type: str | None
    isolate: str | None
    host: str | None
    segment: str | None
    strain: str | None
    clone: str | None


class Sequence(TypedDict):
    """An NCBI sequence record, `_id` ``<database>:<accession.version>``.

    `length` counts bases or residues, `sequence` is upper case (None for master and
    contig-only records), `lineage` runs from the root down.
    https://www.ncbi.nlm.nih.gov/genbank/samplerecord/
    """

    database: str
    accession: str
    version: int
    accession_version: str
    uid: str | None
    definition: str
    length: int
    molecule_type: str | None
    strandedness: Literal["single", "double", "mixed"] | None
    topology: Literal["linear", "circular"]
    division: str | None
    create_date: datetime | None
    update_date: datetime | None
    organism: str | None
    taxid: int | None
    lineage: list[str]
    keywords: list[str]
    comment: str | None
    secondary_accessions: list[str]
    refseq: bool
    source: dict[str, Any]
    features: list[Feature]
    references: list[Reference]
    sequence: str | None
    status: Literal["live", "replaced", "suppressed", "withdrawn"]
    replaced_by: str | None


class Ancestor(TypedDict):
    """A taxon above another one."""

    taxid: int
    name: str
    rank: str


class Taxon(TypedDict):
    """An NCBI taxon, `_id` ``taxonomy:<taxid>``.

    `lineage` runs from the root down, without the taxon itself. `other_names` are lists by the
    class of name in lower case with underscores (``acronym``, ``genbank_acronym``, ``synonym``,
    ``equivalent_name``, ``includes``, ``common_name``, ``authority``, …). `merged_taxids` are
    those that stood for other taxa before they became this one.

    https://www.ncbi.nlm.nih.gov/books/NBK53758/
    """

    taxid: int
    name: str
    rank: str
    parent_taxid: int | None
    division: str | None
    lineage: list[Ancestor]
    other_names: dict[str, list[str]]
    merged_taxids: list[int]


class Summary(TypedDict):
    """What Entrez says in short of a record, `_id` ``<database>:<accession>``.

    `summary` is all of it; the `fields` of `fetcher.databases` stand beside these, too.
    """

    database: str
    accession: str
    uid: str
    summary: dict[str, Any]


def time_text(value: datetime) -> str:
    """A time as JSON carries it: ``2026-11-23T10:15:00Z``, with microseconds where it has any."""
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def to_json(document: object) -> str:
    """A document, or a list of them, as one line of JSON; the compressed flat file is left out."""
    if isinstance(document, list | tuple):
        return json_bytes([_without_bytes(each) for each in document]).decode()
    return json_bytes(_without_bytes(document)).decode()


def json_bytes(value: object, *, sort_keys: bool = False) -> bytes:
    """JSON as UTF-8, compact; times, which are UTC, as `time_text` writes them, NaN as null.

    Half a surrogate pair, which UTF-8 cannot say, stands in it escaped. Raises `TypeError` for
    what is no JSON, such as bytes.
    """
    try:
        return orjson.dumps(value, _plain, _SORTED if sort_keys else _AS_IS)
    except orjson.JSONEncodeError:
        # Half pairs, integers beyond 64 bits, keys that are no text: seldom, and slowly.
        text = json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), default=_plain)
        return text.encode()


def from_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever it says
    """What the JSON says; raises `ValueError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Half a surrogate pair, which `json_bytes` escapes, is refused there; or it is no JSON.
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def _without_bytes(document: object) -> object:
    if not isinstance(document, Mapping):
        return document
    return {key: value for key, value in document.items() if not isinstance(value, bytes)}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


_AS_IS: Final = orjson.OPT_UTC_Z
_SORTED: Final = orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS


class Blob(TypedDict):
    """Where a field of a document is: `digest` names it, `length` is in bytes.

    `encoding` is ``text`` (UTF-8), ``json`` or ``bytes``.
    """

    digest: str
    length: int
    encoding: str


def flat_file(document: Content) -> bytes | None:
    """The GenBank flat file of a sequence document, exactly as it was served, if it is kept."""
    flat = document.get("flat")
    return zlib.decompress(flat) if flat is not None else None


def to_fasta(document: Mapping[str, Any], width: int = 70) -> Iterator[str]:
    """The record as FASTA, in parts of some hundred lines; ``>ACC.V definition`` comes first.

    Raises `ValueError` for a record without a sequence (master and contig-only records).
    """
    sequence: str | None = document["sequence"]
    if sequence is None:
        raise ValueError(f"{document['accession_version']} has no sequence")
    return _fasta(f">{document['accession_version']} {document['definition']}\n", sequence, width)


def _fasta(heading: str, sequence: str, width: int) -> Iterator[str]:
    yield heading
    step = width * 512
    for start in range(0, len(sequence), step):
        part = sequence[start : start + step]
        yield "".join([f"{part[at : at + width]}\n" for at in range(0, len(part), width)])
