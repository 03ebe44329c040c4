"""The taxonomy database: taxa, and how efetch writes them (TaxaSet).

https://www.ncbi.nlm.nih.gov/books/NBK53758/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

__all__ = ["Taxon", "taxa_set"]


@dataclass(frozen=True, slots=True)
class Taxon:
    """A taxon; `parent` is the taxid above it, 0 for none; `other_names` by NCBI's element names.

    ``{"Acronym": ["WMoV"], "Synonym": [...], "EquivalentName": [...]}``. `class_names` are of
    classes that have no element, such as ``authority``; `merged` are taxids that became this one.
    """

    taxid: int
    name: str
    rank: str = "no rank"
    parent: int = 0
    other_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    merged: Sequence[int] = ()


def taxa_set(taxa: Iterable[tuple[Taxon, Sequence[Taxon]]]) -> str:
    """The document; each taxon comes with its lineage from the root down."""
    doctype = (
        '<!DOCTYPE TaxaSet PUBLIC "-//NLM//DTD Taxon, 14th January 2002//EN" '
        '"https://www.ncbi.nlm.nih.gov/entrez/query/DTD/taxon.dtd">\n'
    )
    listed = "".join(_taxon(taxon, lineage) for taxon, lineage in taxa)
    return f'<?xml version="1.0" ?>\n{doctype}<TaxaSet>{listed}</TaxaSet>\n'


def _taxon(taxon: Taxon, lineage: Sequence[Taxon]) -> str:
    others = "".join(
        f"        <{kind}>{escape(name)}</{kind}>\n"
        for kind, names in taxon.other_names.items()
        for name in names
    )
    others += "".join(
        f"        <Name>\n            <ClassCDE>{kind}</ClassCDE>\n"
        f"            <DispName>{escape(name)}</DispName>\n        </Name>\n"
        for kind, names in taxon.class_names.items()
        for name in names
    )
    also = "".join(f"        <TaxId>{taxid}</TaxId>\n" for taxid in taxon.merged)
    also = f"    <AkaTaxIds>\n{also}    </AkaTaxIds>\n" if also else ""
    other_names = f"    <OtherNames>\n{others}    </OtherNames>\n" if others else ""
    above = "".join(
        f"        <Taxon>\n            <TaxId>{each.taxid}</TaxId>\n"
        f"            <ScientificName>{escape(each.name)}</ScientificName>\n"
        f"            <Rank>{escape(each.rank)}</Rank>\n        </Taxon>\n"
        for each in lineage
    )
    division = "Viruses" if lineage and lineage[0].taxid == 10239 else "Unassigned"
    return (
        f"<Taxon>\n    <TaxId>{taxon.taxid}</TaxId>\n"
        f"    <ScientificName>{escape(taxon.name)}</ScientificName>\n{other_names}"
        f"    <ParentTaxId>{taxon.parent}</ParentTaxId>\n    <Rank>{escape(taxon.rank)}</Rank>\n"
        f"    <Division>{division}</Division>\n"
        "    <GeneticCode>\n        <GCId>1</GCId>\n        <GCName>Standard</GCName>\n"
        "    </GeneticCode>\n"
        f"    <Lineage>{escape('; '.join(each.name for each in lineage))}</Lineage>\n"
        f"    <LineageEx>\n{above}    </LineageEx>\n{also}</Taxon>\n"
    )
