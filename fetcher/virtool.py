"""The stored records in the shapes that Virtool's own fetchers gave it.

::

    from fetcher import Reader, virtool

    async with Reader.open("mongodb://reader@host/fetcher") as reader:
        release = await reader.latest_release("virtool/ref-plant-viruses")
        if release is not None:
            document["release"] = virtool.release(release, document["installed"])
        record = await reader.sequence("NC_003355")
        if record is not None:
            document |= virtool.genbank(record)

Pure functions over what a `Reader` gives: nothing here asks a store or an upstream.
https://github.com/virtool/virtool
"""

import re
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

# Not from typing: see fetcher.documents.
from typing_extensions import TypedDict

from fetcher.documents import Asset, Release, Sequence, Taxon, time_text
from fetcher.errors import UsageError

__all__ = [
    "Genbank",
    "GenbankRecord",
    "GithubRelease",
    "Record",
    "Taxonomy",
    "genbank",
    "newer",
    "record",
    "release",
    "taxonomy",
]

R = TypeVar("R", covariant=True)


class Record(Protocol[R]):
    """What a `Reader` gives: a record and when it was last found to be so."""

    @property
    def record(self) -> R: ...

    @property
    def checked_at(self) -> datetime | None: ...


class GithubRelease(TypedDict):
    """The latest release of a reference or of the HMMs, with one asset; times of GitHub are text.

    `etag` changes whenever the content does (GitHub's own differs from token to token), `newer`
    is whether it is newer than what is installed, `retrieved_at` when it was last found to be so.
    """

    id: int
    name: str
    body: str
    etag: str
    filename: str
    size: int
    html_url: str
    download_url: str
    published_at: str | None
    content_type: str
    newer: bool
    retrieved_at: datetime | None


class Genbank(TypedDict):
    """What a sequence editor fills in; `accession` is with its version, `host` empty if unknown."""

    accession: str
    definition: str
    host: str
    sequence: str


class GenbankRecord(TypedDict):
    """What a reference is built of.

    `moltype` is as the LOCUS line has it, `source` as `fetcher.documents.SourceFeature`;
    `refseq_predecessor` is the one accession that a RefSeq record says it was made from.
    """

    accession: str
    accession_version: str
    strandedness: Literal["single", "double", "mixed"] | None
    moltype: str | None
    topology: Literal["linear", "circular"]
    definition: str
    organism: str | None
    sequence: str
    source: Mapping[str, Any]
    comment: str
    refseq: bool
    refseq_predecessor: str | None


class Ancestor(TypedDict):
    """A taxon above another one."""

    id: int
    name: str
    rank: str


class Taxonomy(TypedDict):
    """A taxon; `other_names` are lists under ``acronym``, ``synonym`` and the like."""

    id: int
    name: str
    rank: str
    lineage: list[Ancestor]
    other_names: Mapping[str, list[str]]


_OTHER_NAMES: Final = ("acronym", "genbank_acronym", "equivalent_name", "synonym", "includes")

# "The reference sequence is identical to AB017503.", "… was derived from X52063.1."
_MADE_FROM: Final = re.compile(r"\b(?:identical\s+to|derived\s+from)\s+(.+?)\.(?:\s|$)", re.DOTALL)
_ACCESSION: Final = re.compile(r"\b([A-Z]{1,6}\d{5,10})(?:\.\d+)?\b", re.ASCII)

_SEMVER: Final = re.compile(
    r"[vV]*(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)

_Precedence: TypeAlias = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def release(
    fresh: Record[Release], installed: Mapping[str, Any] | None = None, asset: str = "*"
) -> GithubRelease:
    """A release and the first of its assets, by name, that is like the pattern `asset`.

    `installed` is what this function gave of the one that is in use. Raises `UsageError` where
    the release has no such asset.
    """
    found = fresh.record
    chosen = _asset(found, asset)
    published = found["published_at"]
    return {
        "id": found["release_id"],
        "name": _name(found),
        "body": found["body"] or "",
        "etag": f'"{_digest(found)}"',
        "filename": chosen["name"],
        "size": chosen["size"],
        "html_url": found["html_url"],
        "download_url": chosen["download_url"],
        "published_at": time_text(published) if published is not None else None,
        "content_type": chosen["content_type"],
        "newer": installed is not None and newer(found, installed),
        "retrieved_at": fresh.checked_at,
    }


def _name(found: Release) -> str:
    return found["name"] or found["tag"]


def _digest(found: Release) -> str:
    # Every record has one: fetcher.documents.Stored.
    digest: str = found["digest"]  # type: ignore[typeddict-item]
    return digest.removeprefix("sha256:")[:32]


def _asset(found: Release, pattern: str) -> Asset:
    for each in found["assets"]:
        if fnmatchcase(each["name"], pattern):
            return each
    names = ", ".join(each["name"] for each in found["assets"]) or "none"
    raise UsageError(
        f"{found['repository']}@{found['tag']} has no asset like {pattern!r}; it has {names}"
    )


def newer(found: Release, installed: Mapping[str, Any]) -> bool:
    """Whether a release has a larger version (https://semver.org) than what is installed.

    Versions are read from the names, as Virtool does it, or from the tag. Of names that are no
    versions the one that was published later is the newer one.
    """
    mine = _precedence(_name(found)) or _precedence(found["tag"])
    other = _precedence(str(installed["name"]))
    if mine is not None and other is not None:
        return mine > other
    published, before = found["published_at"], installed.get("published_at")
    return published is not None and before is not None and time_text(published) > str(before)


def _precedence(name: str) -> _Precedence | None:
    match = _SEMVER.fullmatch(name.strip())
    if match is None:
        return None
    major, minor, patch, pre = match.groups()
    # A version without a prerelease comes after those with one, numbers come before words.
    parts = tuple(
        (False, int(each), "") if each.isdigit() else (True, 0, each)
        for each in (pre.split(".") if pre is not None else ())
    )
    return int(major), int(minor), int(patch), pre is None, parts


def genbank(fresh: Record[Sequence]) -> Genbank:
    """The four fields that Virtool took from a GenBank record."""
    found = fresh.record
    return {
        "accession": found["accession_version"],
        "definition": found["definition"],
        "host": _first(found["source"].get("host")),
        "sequence": found["sequence"] or "",
    }


def record(fresh: Record[Sequence]) -> GenbankRecord:
    """All that Virtool's reference builder reads of a GenBank record."""
    found = fresh.record
    comment = found["comment"] or ""
    return {
        "accession": found["accession"],
        "accession_version": found["accession_version"],
        "strandedness": found["strandedness"],
        "moltype": found["molecule_type"],
        "topology": found["topology"],
        "definition": found["definition"],
        "organism": found["organism"],
        "sequence": found["sequence"] or "",
        "source": found["source"],
        "comment": comment,
        "refseq": found["refseq"],
        "refseq_predecessor": _predecessor(comment) if found["refseq"] else None,
    }


def _predecessor(comment: str) -> str | None:
    """The one record that a RefSeq record was made from; None where it was made from several."""
    match = _MADE_FROM.search(comment)
    accessions = _ACCESSION.findall(match[1]) if match is not None else []
    return accessions[0] if len(accessions) == 1 else None


def _first(value: str | list[str] | None) -> str:
    if isinstance(value, list):
        return value[0] if value else ""
    return value or ""


def taxonomy(fresh: Record[Taxon]) -> Taxonomy:
    """A taxon as Virtool's reference builder reads it; other names of five classes."""
    found = fresh.record
    names = found["other_names"]
    return {
        "id": found["taxid"],
        "name": found["name"],
        "rank": found["rank"],
        "lineage": [
            {"id": each["taxid"], "name": each["name"], "rank": each["rank"]}
            for each in found["lineage"]
        ],
        "other_names": {each: list(names.get(each, ())) for each in _OTHER_NAMES},
    }
