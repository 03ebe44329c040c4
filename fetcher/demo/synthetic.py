"""GenBank flat files of any number and length, for tests and benchmarks."""

import random
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

__all__ = ["flat_sequence", "synthetic_genbank"]

VIRUSES = ("Viruses", "Riboviria", "Orthornavirae", "Kitrinoviricota", "Virgaviridae")


def synthetic_genbank(
    accession: str,
    version: int = 1,
    length: int = 600,
    organism: str = "Synthetic mottle virus",
    taxid: int = 12242,
    *,
    definition: str | None = None,
    lineage: Sequence[str] = (*VIRUSES, "Tobamovirus"),
    molecule: str = "ss-RNA",
    topology: str = "linear",
    division: str = "VRL",
    date: str = "01-JAN-2024",
    comment: str | None = None,
    secondary: Sequence[str] = (),
    keywords: str | None = None,
    qualifiers: Iterable[tuple[str, str]] = (),
    seed: object = None,
) -> str:
    """One valid record, from LOCUS to ``//``; the same arguments give the same text.

    A `molecule` of ``AA`` makes it a protein. `qualifiers` are added to the source feature.
    """
    protein = molecule == "AA"
    rng = random.Random(f"{accession}.{version}/{seed}")
    letters = b"acdefghiklmnpqrstvwy" if protein else b"acgt"
    table = (letters * (256 // len(letters) + 1))[:256]
    residues = rng.randbytes(length).translate(table).decode()
    refseq = "_" in accession[:3]
    unit, kind = ("aa", "") if protein else ("bp", molecule)
    strand, _, name = kind.rpartition("-")
    kind = f"{strand + '-' if strand else '':>3}{name:<6}"
    title = definition or f"{organism} isolate {accession}, complete genome."
    lines = [
        # https://www.ncbi.nlm.nih.gov/Sitemap/samplerecord.html, columns as in release notes 3.4.4
        f"LOCUS       {accession:<16} {length:>11} {unit} {kind}  {topology:<8} {division} {date}",
        *_field("DEFINITION", title if title.endswith(".") else f"{title}."),
        *_field("ACCESSION", " ".join((accession, *secondary))),
        f"VERSION     {accession}.{version}",
        *_field("KEYWORDS", keywords or ("RefSeq." if refseq else ".")),
        *_field("SOURCE", organism),
        *_field("  ORGANISM", organism),
        *_lines(" " * 12, f"{'; '.join(lineage)}."),
        f"REFERENCE   1  ({'residues' if protein else 'bases'} 1 to {length})",
        "  AUTHORS   Doe,J. and Roe,R.",
        "  TITLE     Direct Submission",
        "  JOURNAL   Submitted (01-JAN-2024) Institute of Examples, Anytown",
    ]
    if comment:
        lines += _field("COMMENT", comment)
    mol_type = "genomic RNA" if name.endswith("RNA") else "genomic DNA"
    source = [
        ("organism", organism),
        ("mol_type", "protein" if protein else mol_type),
        ("isolate", accession),
        ("db_xref", f"taxon:{taxid}"),
        *qualifiers,
    ]
    lines.append("FEATURES             Location/Qualifiers")
    lines.append(f"     source          1..{length}")
    for key, value in source:
        lines += _lines(" " * 21, f'/{key}="{value}"', 58)
    if not protein and length >= 90:
        lines.append(f"     CDS             1..{length // 3 * 3}")
        for text in ("/codon_start=1", '/product="replicase"', f'/protein_id="{accession}P.1"'):
            lines.append(" " * 21 + text)
    return "\n".join((*lines, "ORIGIN      ", *flat_sequence(residues), "//", ""))


def flat_sequence(residues: str) -> Iterator[str]:
    """The lines below ORIGIN: 60 residues in blocks of ten, with the position of the first."""
    for at in range(0, len(residues), 60):
        line = residues[at : at + 60]
        yield f"{at + 1:>9} " + " ".join(line[k : k + 10] for k in range(0, len(line), 10))


def _field(keyword: str, text: str) -> list[str]:
    first, *rest = [line for part in text.split("\n") for line in wrap(part, 67) or [""]]
    return [f"{keyword:<12}{first}".rstrip(), *(f"{'':12}{line}".rstrip() for line in rest)]


def _lines(indent: str, text: str, width: int = 67) -> list[str]:
    return [indent + line for line in wrap(text, width)]
