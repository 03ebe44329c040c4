"""What NCBI's taxonomy says, checked: from a ``TaxaSet`` to documents.

https://www.ncbi.nlm.nih.gov/books/NBK53758/
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from fetcher.documents import Ancestor, Taxon
from fetcher.errors import Malformed
from fetcher.policy.verdict import Reply
from fetcher.sources.wire_ncbi import read_xml

__all__ = ["taxa_of"]

_TAXID = re.compile(r"[0-9]{1,10}", re.ASCII)
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[ -]+")


def taxa_of(reply: Reply) -> list[Taxon | Malformed]:
    """The taxa of an answer, none where it knows none of those asked for; errors among them.

    Raises `Malformed` for half an answer, and for one that says anything else.
    """
    root = read_xml(reply, "taxonomy")
    if root.tag == "eFetchResult":
        said = reply.line(root.findtext("ERROR") or "nothing")
        if "ID list is empty" in said:
            return []
        raise Malformed(f"NCBI's taxonomy says: {said}", reply.evidence())
    if root.tag != "TaxaSet":
        raise Malformed("NCBI's taxonomy answered with something else", reply.evidence())
    return [_read(each) for each in root.findall("Taxon")]


def _read(element: ElementTree.Element) -> Taxon | Malformed:
    try:
        return _taxon(element)
    except ValueError:
        return Malformed("NCBI's taxonomy has a taxon without its id")


def _taxon(element: ElementTree.Element) -> Taxon:
    parent = _text(element, "ParentTaxId")
    return {
        "taxid": _number(_text(element, "TaxId")),
        "name": _text(element, "ScientificName"),
        "rank": _text(element, "Rank") or "no rank",
        "parent_taxid": _number(parent) if parent else None,
        "division": _text(element, "Division") or None,
        "lineage": [_ancestor(each) for each in element.findall("LineageEx/Taxon")],
        "other_names": _other_names(element),
        "merged_taxids": sorted(
            _number(each.text or "") for each in element.findall("AkaTaxIds/TaxId")
        ),
    }


def _ancestor(element: ElementTree.Element) -> Ancestor:
    return {
        "taxid": _number(_text(element, "TaxId")),
        "name": _text(element, "ScientificName"),
        "rank": _text(element, "Rank") or "no rank",
    }


def _other_names(element: ElementTree.Element) -> dict[str, list[str]]:
    """Names by their class: most have an element of their own, the others say it in ClassCDE."""
    names: dict[str, list[str]] = {}
    for each in element.iterfind("OtherNames/*"):
        for kind, name in _named(each):
            known = names.setdefault(kind, [])
            if name not in known:
                known.append(name)
    return dict(sorted(names.items()))


def _named(element: ElementTree.Element) -> Iterator[tuple[str, str]]:
    if element.tag == "Name":
        kind, name = _text(element, "ClassCDE"), _text(element, "DispName")
    else:
        # ``GenbankAcronym``, ``EquivalentName``
        kind, name = element.tag, " ".join((element.text or "").split())
    if kind and name:
        yield "_".join(_WORDS.split(kind)).lower(), name


def _number(text: str) -> int:
    """A taxid; raises `ValueError`."""
    if not _TAXID.fullmatch(text):
        raise ValueError("no taxid")
    return int(text)


def _text(element: ElementTree.Element, tag: str) -> str:
    return " ".join((element.findtext(tag) or "").split())
