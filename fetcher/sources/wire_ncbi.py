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
_ENTITY: Final = re.compile("<!ENTITY", re.IGNORECASE)
_COUNT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
# What can be asked for again, in a list with commas.
_WORD: Final = re.compile(r"[!-+.-~-]{1,200}", re.ASCII)


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
    ids, count = result.get("idlist"), str(result.get("count"))
    if not isinstance(ids, list):
        raise Malformed("NCBI's search answer has no list of ids")
    if not _COUNT.fullmatch(count):
        raise Malformed("NCBI's search answer has no count")
    names = tuple(str(id_).upper() for id_ in ids)
    ticket = tuple(str(result.get(name, "")) for name in ("webenv", "querykey"))
    if not all(map(_WORD.fullmatch, (*names, *filter(None, ticket)))):
        raise Malformed("NCBI's search answer names something that is no id")
    return Found(int(count), names, *ticket)


def read_json(reply: Reply) -> Mapping[str, Any]:
    """NCBI's JSON, which may hold raw newlines in its strings; raises `Malformed`."""
    try:
        answer = json.loads(reply.body, strict=False, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed("NCBI answered with broken JSON", reply.evidence()) from error
    if not isinstance(answer, Mapping):
        raise Malformed("NCBI answered with JSON that is no object", reply.evidence())
    result = answer.get("esearchresult", answer)
    said = result.get("ERROR") or result.get("error") if isinstance(result, Mapping) else None
    if said and "esummaryresult" not in answer and "result" not in answer:
        raise Malformed(f"NCBI says: {reply.line(said) or 'an error'}", reply.evidence())
    return answer


def _no_number(name: str) -> object:
    """Python takes NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


def read_xml(reply: Reply, what: str) -> ElementTree.Element:
    """NCBI's XML, whole, in UTF-8 and without entities of its own; raises `Malformed`."""
    try:
        # What it says of its encoding is not asked: in another one entities would not be seen.
        text = reply.body.decode()
        if _ENTITY.search(text):
            raise Malformed(f"NCBI's {what} declares entities", reply.evidence())
        return ElementTree.fromstring(text)  # noqa: S314 - no entities, and of capped size
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
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
