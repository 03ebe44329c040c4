"""``/v1/ncbi``: sequences, taxa, genome reports, summaries."""

import asyncio
from typing import Any

from fetcher.databases import SUMMARY_DATABASES
from fetcher.documents import flat_file, to_fasta
from fetcher.reader import Fresh, Reader
from fetcher.web.answers import Answer, Freshness, listing, of_record
from fetcher.web.call import Absent, Call
from fetcher.web.declare import (
    BadParameter,
    Parameter,
    Route,
    boolean,
    choice,
    integer,
    text,
    time,
)
from fetcher.web.github_routes import AFTER, LIMIT
from fetcher.web.long import Long, long_fasta, long_flat, long_json

__all__ = ["ROUTES"]

_SEQUENCES = ("nuccore", "protein")
_FASTA = "text/x-fasta"
_GENBANK = "text/plain"

_DATABASE = Parameter("database", text(32), "`nuccore`, `protein` or a database of summaries.")
_ACCESSION = Parameter(
    "accession", text(64), "The accession; without a version the newest one that is stored."
)
_FORMAT = Parameter("format", choice("json", "fasta", "genbank"), "How it is written.", "json")


def _absent(database: str, name: str) -> Absent:
    target = f"ncbi:{database}/{name}"
    return Absent(f"nothing is stored under {target}; `fetcher fetch {target}` gets it")


async def _record(call: Call) -> Answer | Long:
    database, name = call.values["database"], call.values["accession"]
    if database in _SEQUENCES:
        found = await call.reader.sequence(name, database=database, whole=False)
        if found is None:
            raise _absent(database, name)
        if "blobs" in found.record:
            return await _long(call.reader, found, call.values["format"])
        return await _written(found, call.values["format"])
    if database not in SUMMARY_DATABASES:
        raise _unknown(database)
    if call.values["format"] != "json":
        raise BadParameter("format", f"{database} has json only")
    summary = await call.reader.summary(database, name)
    if summary is None:
        raise _absent(database, name)
    return of_record(summary)


def _unknown(database: str) -> Absent:
    known = ", ".join((*_SEQUENCES, "taxonomy", "genome", *SUMMARY_DATABASES))
    return Absent(f"there is no database {database!r} here; known are {known}")


async def _long(reader: Reader, found: Fresh[Any], how: str) -> Answer | Long:
    """What is too long for a document is sent as it is read; the rest as ever."""
    match how:
        case "json":
            return long_json(reader, found)
        case "fasta":
            long = long_fasta(reader, found, _FASTA)
        case _:
            long = long_flat(reader, found, _GENBANK)
    return long if long is not None else await _written(found, how)


async def _written(found: Fresh[Any], how: str) -> Answer:
    document = found.record
    name = document["accession_version"]
    fresh = Freshness.of([found])
    match how:
        case "json":
            return of_record(found)
        case "fasta":
            if document["sequence"] is None:
                raise Absent(f"{name} has no sequence of its own: it is a list of others")
            body = await asyncio.to_thread(lambda: "".join(to_fasta(document)).encode())
            return Answer(body, _FASTA, fresh, ranges=True)
    flat = await asyncio.to_thread(flat_file, document)
    if flat is None:
        raise Absent(f"of {name} no flat file is kept")
    return Answer(flat, _GENBANK, fresh, ranges=True)


async def _listed(call: Call) -> Answer:
    given = call.values
    database = given["database"]
    if database not in _SEQUENCES:
        raise _unknown(database)
    page = await call.reader.sequences_page(
        database,
        taxid=given["taxid"],
        organism=given["organism"],
        updated_after=given["updated_after"],
        status=given["status"],
        target=given["target"],
        whole=given["sequence"],
        limit=given["limit"],
        after=given["after"],
    )
    return listing(page, call.request)


async def _taxon(call: Call) -> Answer:
    taxid = call.values["taxid"]
    found = await call.reader.taxon(taxid)
    if found is None:
        raise _absent("taxonomy", str(taxid))
    return of_record(found)


async def _genome(call: Call) -> Answer:
    name = call.values["accession"]
    found = await call.reader.genome(name)
    if found is None:
        raise _absent("genome", name)
    return of_record(found)


ROUTES = (
    Route(
        "GET",
        "/v1/ncbi/taxonomy/{taxid}",
        "taxon",
        "A taxon, also by a taxid that was merged into it",
        _taxon,
        (Parameter("taxid", integer(1, 9_999_999_999), "The taxid."),),
        {"application/json": "Taxon"},
        "NCBI",
        kept=True,
    ),
    Route(
        "GET",
        "/v1/ncbi/genome/{accession}",
        "genome",
        "A genome report",
        _genome,
        (Parameter("accession", text(32), "The accession of the assembly, `GCF_…` or `GCA_…`."),),
        {"application/json": "Genome"},
        "NCBI",
        kept=True,
    ),
    Route(
        "GET",
        "/v1/ncbi/{database}/{accession}",
        "record",
        "A record",
        _record,
        (_DATABASE, _ACCESSION, _FORMAT),
        {"application/json": "Sequence", _FASTA: "Text", _GENBANK: "Text"},
        "NCBI",
        kept=True,
    ),
    Route(
        "GET",
        "/v1/ncbi/{database}",
        "listRecords",
        "The records of a database that meet every condition",
        _listed,
        (
            _DATABASE,
            Parameter("taxid", integer(1, 9_999_999_999), "Of this taxon itself."),
            Parameter("organism", text(512), "Of this organism, exact but for case."),
            Parameter("updated_after", time(), "Updated after this, by NCBI's own date."),
            Parameter(
                "status",
                choice("live", "replaced", "suppressed", "withdrawn", "any"),
                "What NCBI says of them.",
                "live",
            ),
            Parameter("target", text(8192), "Only those to which this target leads."),
            Parameter("sequence", boolean(), "With their sequences.", default=False),
            LIMIT,
            AFTER,
        ),
        {"application/json": "SequenceList"},
        "NCBI",
        kept=True,
    ),
)
