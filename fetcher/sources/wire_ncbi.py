"""What NCBI's searches and summaries say, checked.

https://www.ncbi.nlm.nih.gov/books/NBK25499/ · summaries are read in the XML of version 1.0: the
JSON of nuccore has neither status nor successor.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from xml.etree import ElementTree

from fetcher.errors import Malformed
from fetcher.policy.verdict import Reply

__all__ = ["Found", "Status", "Summary", "found_of", "read_json", "read_xml", "summaries_of"]

Status: TypeAlias = Literal["live", "replaced", "suppressed", "withdrawn"]

_STATUSES: Final[Mapping[str, Status]] = {
    "live": "live",
    "replaced": "replaced",
    "suppressed": "suppressed",
    "withdrawn": "withdrawn",
    "dead": "withdrawn",
}
_ENTITY: Final = re.compile(rb"<!ENTITY", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A search kept on the history server: how many records, their names, the ticket to get them.

    `ids` are accession.versions (UIDs where there is none), as many as one search reaches.
    """

    count: int
    ids: tuple[str, ...]
    webenv: str
    query_key: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What NCBI says of one version of a record without its content; `updated` is a day."""

    uid: str
    accession: str
    accession_version: str
    updated: str
    status: Status
    replaced_by: str | None


def found_of(answer: Mapping[str, Any]) -> Found:
    """Raises `Malformed` for anything that is no search's answer."""
    result = answer.get("esearchresult")
    if not isinstance(result, Mapping):
        raise Malformed("NCBI's search answer has no result")
    ids = result.get("idlist")
    if not isinstance(ids, list):
        raise Malformed("NCBI's search answer has no list of ids")
    try:
        count = int(result["count"])
    except (KeyError, ValueError, TypeError) as error:
        raise Malformed("NCBI's search answer has no count") from error
    names = tuple(str(id_).upper() for id_ in ids)
    return Found(count, names, result.get("webenv", ""), result.get("querykey", ""))


def read_json(reply: Reply) -> Mapping[str, Any]:
    """NCBI's JSON, which may hold raw newlines in its strings; raises `Malformed`."""
    try:
        answer = json.loads(reply.body, strict=False)
    except ValueError as error:
        raise Malformed("NCBI answered with broken JSON", reply.evidence()) from error
    if not isinstance(answer, Mapping):
        raise Malformed("NCBI answered with JSON that is no object", reply.evidence())
    result = answer.get("esearchresult", answer)
    said = result.get("ERROR") or result.get("error") if isinstance(result, Mapping) else None
    if said and "esummaryresult" not in answer and "result" not in answer:
        text = " ".join(reply.masked(str(said)).split())[:200]
        raise Malformed(f"NCBI says: {text}", reply.evidence())
    return answer


def read_xml(reply: Reply, what: str) -> ElementTree.Element:
    """NCBI's XML, whole and without entities of its own; raises `Malformed`."""
    if _ENTITY.search(reply.body):
        raise Malformed(f"NCBI's {what} declares entities", reply.evidence())
    try:
        return ElementTree.fromstring(reply.body)  # noqa: S314 - no entities, and of capped size
    except ElementTree.ParseError as error:
        raise Malformed(f"NCBI's {what} is broken XML", reply.evidence()) from error


def summaries_of(reply: Reply) -> list[Summary]:
    """The summaries of those that NCBI knows; raises `Malformed` for no or half an answer.

    One that lacks what is compared is left out, as are those that NCBI has an error for.
    """
    root = read_xml(reply, "summaries")
    if root.tag != "eSummaryResult":
        raise Malformed("NCBI's summaries are none", reply.evidence())
    return [found for each in root.iter("DocSum") if (found := _summary(each)) is not None]


def _summary(document: ElementTree.Element) -> Summary | None:
    items = {item.get("Name"): item.text or "" for item in document.iter("Item")}
    name, updated = items.get("AccessionVersion", "").upper(), items.get("UpdateDate", "")
    status = _STATUSES.get(items.get("Status", "").lower())
    if not name or not updated or status is None:
        return None
    return Summary(
        uid=(document.findtext("Id") or items.get("Gi", "")).strip(),
        accession=name.partition(".")[0],
        accession_version=name,
        updated=updated,
        status=status,
        replaced_by=items.get("ReplacedBy", "").strip().upper() or None,
    )
