"""esummary's two forms: JSON of version 2.0, and XML of version 1.0.

The JSON of nuccore has neither status nor replacedby and stops at 500 ids; the XML has both and
does not. https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESummary
"""

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from fetcher.demo.exchange import Answer, json_answer
from fetcher.demo.ncbi_state import Entry

__all__ = ["json_summaries", "xml_summaries"]

Asked = Sequence[tuple[str, Entry | None]]


def json_summaries(asked: Asked, at_most: int) -> Answer:
    """The summaries by UID.

    An unknown UID stands among them with an error, an unknown accession beside them; where
    nothing at all is found there is no ``result``.
    """
    header = {"type": "esummary", "version": "0.3"}
    if len(asked) > at_most:
        text = (
            f"Too many UIDs in request. Maximum number of UIDs is {at_most} for JSON format output."
        )
        return json_answer(200, {"header": header, "esummaryresult": [text]}, charset="UTF-8")
    uids: list[str] = []
    result: dict[str, Any] = {"uids": uids}
    invalid: list[str] = []
    for at, (name, entry) in enumerate(asked):
        if entry is not None:
            uids.append(str(entry.uid))
            result[str(entry.uid)] = _document(entry)
        elif name.isdecimal():
            uids.append(name)
            result[name] = {"uid": name, "error": "cannot get document summary"}
        else:
            invalid.append(f"Invalid uid {name} at position= {at}")
    if not uids:
        return json_answer(200, {"header": header, "esummaryresult": invalid}, charset="UTF-8")
    shape: dict[str, Any] = {"header": header, "result": result}
    if invalid:
        shape["error"] = invalid[0]
    return json_answer(200, shape, charset="UTF-8")


def xml_summaries(asked: Asked) -> str:
    """The summaries in the order of asking, ``ERROR`` for those that are none."""
    docs = [
        _items(entry)
        if entry is not None
        else f"<ERROR>Invalid uid {escape(name)} at position= {at}</ERROR>\n"
        for at, (name, entry) in enumerate(asked)
    ]
    doctype = (
        '<!DOCTYPE eSummaryResult PUBLIC "-//NLM//DTD esummary v1 20041029//EN" '
        '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20041029/esummary-v1.dtd">\n'
    )
    return f"{doctype}<eSummaryResult>\n{''.join(docs)}</eSummaryResult>\n"


def _document(entry: Entry) -> dict[str, Any]:
    head = entry.header
    source = "refseq" if head.refseq else "insd"
    return {
        "uid": str(entry.uid),
        "term": str(entry.uid),
        "caption": head.accession,
        "title": head.definition,
        "extra": f"gi|{entry.uid}|{'ref' if head.refseq else 'gb'}|{entry.accession_version}|",
        "gi": entry.uid,
        "createdate": f"{head.updated:%Y/%m/%d}",
        "updatedate": f"{entry.mdat:%Y/%m/%d}",
        "flags": "",
        "taxid": head.taxid,
        "slen": head.length,
        "biomol": "peptide" if head.kind == "AA" else "genomic",
        "moltype": head.kind.rpartition("-")[2].lower(),
        "topology": head.topology,
        "sourcedb": source,
        "segsetsize": "",
        "projectid": "0",
        "genome": "genomic",
        "subtype": "",
        "subname": "",
        "assemblygi": "",
        "assemblyacc": "",
        "tech": "",
        "completeness": "complete",
        "geneticcode": "1",
        "strand": "",
        "organism": head.organism,
        "strain": "",
        "biosample": "",
        "statistics": [{"type": "Length", "count": head.length}],
        "properties": {},
        "oslt": {"indexed": True, "value": entry.accession_version},
        "accessionversion": entry.accession_version,
    }


def _items(entry: Entry) -> str:
    head = entry.header
    items = [
        ("Caption", "String", head.accession),
        ("Title", "String", head.definition),
        ("Extra", "String", f"gi|{entry.uid}|{entry.accession_version}|"),
        ("Gi", "Integer", str(entry.uid)),
        ("CreateDate", "String", f"{head.updated:%Y/%m/%d}"),
        ("UpdateDate", "String", f"{entry.mdat:%Y/%m/%d}"),
        ("Flags", "Integer", "0"),
        ("TaxId", "Integer", str(head.taxid)),
        ("Length", "Integer", str(head.length)),
        ("Status", "String", entry.status),
        ("ReplacedBy", "String", entry.replaced_by or ""),
        ("Comment", "String", ""),
        ("AccessionVersion", "String", entry.accession_version),
    ]
    lines = "".join(
        f'\t<Item Name="{name}" Type="{kind}">{escape(value)}</Item>\n'
        for name, kind, value in items
    )
    return f"<DocSum>\n\t<Id>{entry.uid}</Id>\n{lines}</DocSum>\n"
