"""GenBank and GenPept: every field against two other readers, and no damage goes unnoticed."""

import io
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import Bio.GenBank
import gb_io
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.documents import Sequence, to_fasta
from fetcher.errors import UnreadableRecord
from fetcher.sources.flatfile import FlatFileSplitter, Piece
from fetcher.sources.genbank import read_record, read_records

ROOT = Path(__file__).parents[2]
NASTY = ROOT / "tests/samples/genbank"
FILES = sorted([*(ROOT / "fetcher/demo/data/ncbi").rglob("*.g[bp]"), *NASTY.glob("*.g[bp]")])


def load(name: str) -> bytes:
    return (NASTY / name).read_bytes()


def read(name: str) -> Sequence:
    return read_record(load(name), "nuccore")


def split(answer: bytes, size: int = 65536) -> list[Piece]:
    splitter = FlatFileSplitter()
    pieces = [
        piece
        for start in range(0, len(answer), size)
        for piece in splitter.feed(answer[start : start + size])
    ]
    last = splitter.close()
    return [*pieces, last] if last else pieces


# --- against other readers ------------------------------------------------------------------


UNBROKEN = ("translation", "transl_except")


def flowing(value: str, name: str) -> str:
    lines = [line.strip() for line in value.split("\n")]
    return "".join(lines) if name in UNBROKEN else " ".join(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_agrees_with_biopython(path: Path) -> None:
    """On every sample, every field that Biopython's plain reader has is the same."""
    data = path.read_bytes()
    encoding = "latin-1" if path.name == "latin1.gb" else "utf-8"
    with warnings.catch_warnings():  # it warns of dates, quotes and short LOCUS lines
        warnings.simplefilter("ignore")
        peer: Any = Bio.GenBank.read(  # type: ignore[no-untyped-call]
            io.StringIO(data.decode(encoding))
        )
    document = read_record(data, "nuccore")
    assert document["accession_version"] == peer.version
    assert [document["accession"], *document["secondary_accessions"]][: len(peer.accession)] == (
        peer.accession[: len(document["secondary_accessions"]) + 1]
    )
    assert document["uid"] == (peer.gi or None)
    assert document["definition"] == peer.definition
    assert document["length"] == int(peer.size)
    if document["molecule_type"] != "AA":
        assert document["molecule_type"] == peer.molecule_type.rpartition("-")[2]
    assert document["topology"] == (peer.topology or "linear")
    assert document["division"] == peer.data_file_division
    assert document["update_date"] == datetime.strptime(peer.date, "%d-%b-%Y").replace(tzinfo=UTC)
    assert document["organism"] == peer.organism
    assert document["lineage"] == peer.taxonomy
    assert document["keywords"] == [word for word in peer.keywords if word]
    if "##" not in (document["comment"] or ""):  # else it takes a part of it out
        lines = [line for line in (document["comment"] or "").split("\n") if line]
        assert lines == [line for line in peer.comment.split("\n") if line]
    assert (document["sequence"] or "") == peer.sequence.upper()
    for ours, theirs in zip(document["references"], peer.references, strict=True):
        assert ours["number"] == int(theirs.number)
        assert f"{ours['bases']})" == theirs.bases.rpartition("bases ")[2].rpartition("residues ")[
            2
        ].removeprefix("(")
        assert ", ".join(ours["authors"]) == theirs.authors.replace(" and ", ", ").removesuffix(
            "." if "," not in theirs.authors.split(" and ")[-1] else "|"
        )
        assert ours["consortium"] == (theirs.consrtm or None)
        assert ours["title"] == (theirs.title or None)
        assert ours["journal"] == (theirs.journal or None)
        assert ours["pubmed"] == (theirs.pubmed_id or None)
        assert ours["remark"] == (theirs.remark or None)
    for feature, other in zip(document["features"], peer.features, strict=True):
        assert (feature["type"], feature["location"]) == (other.key, other.location)
        values: dict[str, list[str] | None] = {}
        for qualifier in other.qualifiers:
            name, equals, _ = qualifier.key.strip("/").partition("=")
            value = qualifier.value
            if value[:1] == '"':
                value = value[1:-1].replace('""', '"')
            elif " " in value:  # it has put a blank at a line break
                value = value.replace(" ", "")
            if not equals:
                values[name] = None
            else:
                values[name] = [*(values.get(name) or []), flowing(value, name)]
        assert feature["qualifiers"] == values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_agrees_with_gb_io(path: Path) -> None:
    """A second reader with nothing in common; it refuses master records and Latin-1."""
    data = path.read_bytes()
    try:
        (peer,) = gb_io.load(io.BytesIO(data))
    except ValueError:
        assert path.stem in ("wgs_master", "tsa_master", "tls_master", "latin1")
        return
    document = read_record(data, "nuccore")
    assert peer.version is not None
    assert peer.version.split()[0] == document["accession_version"]
    assert flowing(peer.definition or "", "").removesuffix(".") == document["definition"]
    assert bytes(peer.sequence).upper().decode() == (document["sequence"] or "")
    assert peer.circular == (document["topology"] == "circular")
    assert len(peer.references) == len(document["references"])
    for feature, other in zip(document["features"], peer.features, strict=True):
        assert feature["type"] == other.kind
        values: dict[str, list[str] | None] = {}
        for qualifier in other.qualifiers:
            if qualifier.value is None:
                values[qualifier.key] = None
            else:
                value = flowing(qualifier.value, qualifier.key)
                values[qualifier.key] = [*(values.get(qualifier.key) or []), value]
        if path.stem != "quotes":
            assert feature["qualifiers"] == values


# --- field by field -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wgs_master.gb", {"sequence": None, "length": 3714, "uid": "1755607708"}),
        ("tsa_master.gb", {"sequence": None, "molecule_type": "RNA", "division": "TSA"}),
        ("tls_master.gb", {"sequence": None, "keywords": ["TLS", "Targeted Locus Study"]}),
        ("contig_only.gb", {"sequence": None, "secondary_accessions": ["ABJB010000000"]}),
        ("wrapped_origin.gb", {"topology": "circular", "refseq": True}),
        ("one_of.gb", {"topology": "linear", "molecule_type": "DNA", "keywords": []}),
        ("empty_accession.gb", {"accession": "AB070940", "version": 1}),
        ("swissprot.gp", {"molecule_type": "AA", "version": 0, "accession_version": "P01485"}),
        ("pdb.gp", {"accession_version": "1MRR_A", "refseq": False, "sequence": "AYTTFSATKNDQLKE"}),
        ("ms_dna.gb", {"strandedness": "mixed", "molecule_type": "DNA"}),
        ("ds_dna.gb", {"strandedness": "double", "topology": "linear"}),
        ("ss_rna_circular.gb", {"strandedness": "single", "molecule_type": "cRNA"}),
        ("no_taxid.gb", {"taxid": None, "lineage": ["Unclassified"], "strandedness": None}),
        ("replaced.gb", {"status": "replaced", "replaced_by": "NM_000551.4", "version": 3}),
        ("region.gb", {"secondary_accessions": ["GPC_000001293", "AB000001-AB000009"]}),
        ("sources.gb", {"taxid": 777, "create_date": None}),
    ],
)
def test_fields(name: str, expected: dict[str, object]) -> None:
    document: Any = read(name)
    assert {key: document[key] for key in expected} == expected


def test_source_is_flattened() -> None:
    """Of several sources the one with /focus; flags are True, repeated qualifiers lists."""
    assert read("sources.gb")["source"] == {
        "taxid": 777,
        "organism": "Example retrovirus",
        "mol_type": "genomic DNA",
        "isolate": "I",
        "host": None,
        "segment": "RNA 2",
        "strain": None,
        "clone": "c1",
        "focus": True,
        "proviral": True,
        "transgenic": True,
        "country": "Brazil: Manaus",
        "db_xref": ["BOLD:1", "taxon:777"],
        "note": ["first", "second"],
    }


def test_qualifiers() -> None:
    """Flags are None, an empty value is empty, and quotes and slashes in values are text."""
    assert read("sources.gb")["features"][-1]["qualifiers"] == {
        "transl_except": ["(pos:1..3,aa:OTHER)"],
        "note": [""],
        "ribosomal_slippage": None,
    }
    source, *notes = (feature["qualifiers"]["note"] for feature in read("quotes.gb")["features"])
    assert source == [
        '"This" is "already" "escaped"',
        'ends a line with a "quoted word" and goes on "here"',
    ]
    assert notes[2] == [
        'the first line, then a line that begins with a /slash and "one" more thing'
    ]


def test_locations_are_as_written() -> None:
    names = ("wrapped_origin.gb", "negative_location.gb", "one_of.gb")
    assert [feature["location"] for name in names for feature in read(name)["features"][1:]] == [
        "101..10",
        "join(50..60,70..80,complement(<101..10))",
        "complement(-2..49)",
        "one-of(18,19)..22",
        "join(18..25,U18267.1:1..270,U18268.1:1..309,U18270.1:1..6905)",
        "(1.5)..10^11",
    ]


def test_comment_keeps_its_lines() -> None:
    comment = read("replaced.gb")["comment"]
    assert comment is not None
    assert comment.endswith(
        "\n\n##Evidence-Data-START##\n"
        "RNAseq introns              :: single sample supports all introns\n"
        "                               ERS025081 [ECO:0000348]\n"
        "##Evidence-Data-END##"
    )


@pytest.mark.parametrize("name", ["latin1.gb", "utf8.gb"])
def test_letters_beyond_ascii(name: str) -> None:
    (reference,) = read(name)["references"]
    assert (reference["authors"], reference["title"]) == (["Müller,J.", "Garçon,É."], "Straße")
    assert reference["bases"] == "sites"


def test_line_ends_of_other_systems() -> None:
    data = load("replaced.gb")
    assert read_record(data.replace(b"\n", b"\r\n"), "nuccore") == read("replaced.gb")


def test_fasta() -> None:
    document = read("wide.gb")
    text = "".join(to_fasta(document))
    heading, *lines = text.splitlines()
    assert heading == ">AB000010.1 A record"
    assert [len(line) for line in lines] == [70, 60]
    assert "".join(lines) == document["sequence"]
    with pytest.raises(ValueError, match=r"DS830848\.1 has no sequence"):
        to_fasta(read("contig_only.gb"))


# --- a record made up, and read back --------------------------------------------------------

words = st.text(st.sampled_from('abcXYZ019.,;:-()/="[]%~'), min_size=1, max_size=30)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)


def wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


@st.composite
def records(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A flat record and what has to be read from it."""
    residues = draw(st.text("acgtn", min_size=1, max_size=200))
    definition, title = draw(sentences), draw(sentences)
    comment = draw(st.lists(sentences | st.just(""), min_size=1, max_size=5))
    names = st.sampled_from(["note", "gene", "product", "db_xref"])
    features = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["source", "gene", "CDS", "misc_difference", "5'UTR"]),
                st.dictionaries(names, st.lists(sentences, min_size=1, max_size=3), max_size=3),
            ),
            max_size=4,
        )
    )
    flat = [
        f"LOCUS       AB000001         {len(residues):>11} bp    DNA     linear   VRL 01-JAN-2020",
        "DEFINITION  " + "\n            ".join(wrapped(definition, 67)) + ".",
        "ACCESSION   AB000001\nVERSION     AB000001.1\nKEYWORDS    .",
        "SOURCE      A virus\n  ORGANISM  A virus\n            Viruses.",
        f"REFERENCE   1  (bases 1 to {len(residues)})",
        "  TITLE     " + "\n            ".join(wrapped(title, 67)),
        "COMMENT     " + "\n            ".join(comment),
        "FEATURES             Location/Qualifiers",
    ]
    for kind, qualifiers in features:
        flat.append(f"     {kind:<16}1..{len(residues)}")
        for name, values in qualifiers.items():
            for value in values:
                quoted = f'/{name}="' + value.replace('"', '""') + '"'
                flat.extend(" " * 21 + line for line in wrapped(quoted, 58))
    flat.append("ORIGIN      ")
    flat.extend(
        f"{at + 1:>9} " + " ".join(residues[n : n + 10] for n in range(at, at + 60, 10)).rstrip()
        for at in range(0, len(residues), 60)
    )
    expected = {
        "definition": definition,
        "comment": "\n".join(comment).strip("\n") or None,
        "sequence": residues.upper(),
        "features": [
            {"type": kind, "location": f"1..{len(residues)}", "qualifiers": qualifiers}
            for kind, qualifiers in features
        ],
    }
    return ("\n".join(flat) + "\n//\n").encode(), expected | {"title": title}


@given(records())
def test_reads_back_what_was_written(made: tuple[bytes, dict[str, Any]]) -> None:
    data, expected = made
    document: Any = read_record(data, "nuccore")
    document["title"] = document["references"][0]["title"]
    assert {key: document[key] for key in expected} == expected


# --- damage ---------------------------------------------------------------------------------

WHOLE = [
    (ROOT / f"fetcher/demo/data/ncbi/{name}.gb").read_bytes()
    for name in ("EF546803.1", "FJ787434.1", "AY238137.1", "NC_043170.1")
]
ERROR = b"<eFetchResult>\n\t<ERROR>Unable to obtain query #1</ERROR>\n</eFetchResult>\n"
FOREIGN = [
    ERROR,
    b"Error: F a i l e d  t o  u n d e r s t a n d  i d :  1 \n",
    b'{"error":"API rate limit exceeded","count":"4"}\n',
    b"<!DOCTYPE html>\n<html>\n            <body>Bad gateway</body>\n</html>\n",
    b"Supplied+id+parameter+is+empty.\n",
    b"2026-11-23 10:15:00 ERROR backend closed the connection\n",
    b"Resource temporarily unavailable\n",
]
ANSWER = b"\n".join([WHOLE[0], WHOLE[1], ERROR, WHOLE[2], WHOLE[3]]) + b"\n"
DOCUMENTS = {
    document["accession_version"]: document
    for document in (read_record(data, "nuccore") for data in WHOLE)
}
offsets = st.integers(0, len(ANSWER))
spans = st.tuples(offsets, offsets).map(sorted) | st.tuples(offsets, st.integers(0, 300)).map(
    lambda pair: [pair[0], min(sum(pair), len(ANSWER))]
)


def yielded(answer: bytes) -> Iterator[Sequence]:
    records = [piece.data for piece in split(answer) if piece.kind == "record"]
    for result in read_records(records, "nuccore"):
        if not isinstance(result, UnreadableRecord):
            yield result


def test_an_answer_in_pieces() -> None:
    """Records exactly as served, and what stands between them by itself."""
    pieces = split(ANSWER)
    assert [piece.data for piece in pieces if piece.kind == "record"] == WHOLE
    assert [piece.data.strip() for piece in pieces if piece.kind == "noise"] == [ERROR.strip()]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=50))
def test_chunks_do_not_matter(sizes: list[int]) -> None:
    splitter = FlatFileSplitter()
    pieces: list[Piece] = []
    at = 0
    while at < len(ANSWER):
        size = sizes[at % len(sizes)]
        pieces += splitter.feed(ANSWER[at : at + size])
        at += size
    assert splitter.close() is None
    assert pieces == split(ANSWER)


@given(offsets)
def test_a_cut_answer_yields_only_whole_records(end: int) -> None:
    for document in yielded(ANSWER[:end]):
        assert document == DOCUMENTS[document["accession_version"]]
    pieces = split(ANSWER[:end])
    assert b"".join(b"".join(piece.data for piece in pieces).split()) == b"".join(
        ANSWER[:end].split()
    )


@given(offsets, st.sampled_from(FOREIGN), st.booleans())
def test_foreign_lines_are_never_taken_for_content(at: int, foreign: bytes, within: bool) -> None:
    """Lines between two lines of a record, or breaking one of them up."""
    if within:
        foreign = b"\n" + foreign
    else:
        at = ANSWER.rfind(b"\n", 0, at) + 1
    for document in yielded(ANSWER[:at] + foreign + ANSWER[at:]):
        assert document == DOCUMENTS[document["accession_version"]]


@given(spans)
def test_deletions_never_shorten_a_sequence(span: list[int]) -> None:
    """A text has no checksum, but a sequence is whole, or its record is not yielded."""
    start, end = span
    for document in yielded(ANSWER[:start] + ANSWER[end:]):
        whole = DOCUMENTS[document["accession_version"]]
        assert (document["sequence"], document["length"]) == (whole["sequence"], whole["length"])


@given(spans, offsets)
def test_doubled_parts_never_lengthen_a_sequence(span: list[int], at: int) -> None:
    start, end = span
    for document in yielded(ANSWER[:at] + ANSWER[start:end] + ANSWER[at:]):
        whole = DOCUMENTS[document["accession_version"]]
        assert (document["sequence"], document["length"]) == (whole["sequence"], whole["length"])


@given(st.sampled_from(WHOLE), st.data())
def test_whatever_happens_in_origin_is_noticed(whole: bytes, data: st.DataObject) -> None:
    first = whole.index(b"\nORIGIN") + 1
    places = st.integers(first, len(whole))
    start, end = sorted([data.draw(places), data.draw(places)])
    damaged = data.draw(
        st.sampled_from([whole[:start] + whole[end:], whole[:end] + whole[start:end] + whole[end:]])
    )
    for document in yielded(damaged):
        assert document == DOCUMENTS[document["accession_version"]]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"ORIGIN      \n", b"", "no part of it"),
        (b"FEATURES  ", b"FEATURE   ", "no FEATURES"),
        (b"DEFINITION  A record.\n", b"", "no DEFINITION"),
        (b"VERSION     AB000010.1\n", b"", "no VERSION"),
        (b"VERSION     AB000010.1", b"VERSION     AB000011.1", "is of AB000011"),
        (b"VERSION     AB000010.1", b"VERSION     AB000010", "makes no sense"),
        (b"KEYWORDS    .", b"KEYWORDS    .\nKEYWORDS    .", "twice"),
        (b"REFERENCE   1  (bases 1 to 130)\n", b"", "AUTHORS does not belong"),
        (b" 130 bp", b" 131 bp", "130 residues, where LOCUS says 131"),
        (b" 130 bp", b" bp", "LOCUS line"),
        (b"13-AUG-2018", b"31-FEB-2018", "no such date"),
        (b"        61 ", b"        62 ", "residue 61"),
        (b'taxon:12345"', b"taxon:12345", "quotes"),
        (b"1..130\n", b"join(1..130\n", "location"),
        (b"     source", b"      source", "feature table"),
        (b"Doe,J.", b"Doe\x00J.", "control"),
        (b"//\n", b"", "end"),
        (b"LOCUS ", b"LOKUS ", "LOCUS"),
    ],
)
def test_damage_is_named(old: bytes, new: bytes, reason: str) -> None:
    data = load("wide.gb")
    assert data.count(old) >= 1
    with pytest.raises(UnreadableRecord, match=reason) as caught:
        read_record(data.replace(old, new, 1), "nuccore")
    if b"VERSION" not in old:
        assert caught.value.name == "AB000010.1"


def test_no_sequence_only_where_there_is_none() -> None:
    data = load("wide.gb")
    with pytest.raises(UnreadableRecord, match="no sequence"):
        read_record(data[: data.index(b"ORIGIN")] + b"//\n", "nuccore")


def test_a_record_that_ends_in_another() -> None:
    """Its end never came, and a new LOCUS line did."""
    pieces = split(WHOLE[0][:900] + b"\n" + WHOLE[1])
    assert [piece.kind for piece in pieces] == ["cut", "record"]
    assert pieces[1].data == WHOLE[1]


def test_noise_is_kept_in_small_pieces() -> None:
    pieces = split(b"<p>no end to it</p>" * 20_000 + WHOLE[0])
    assert {piece.kind for piece in pieces[:-1]} == {"noise"}
    assert max(len(piece.data) for piece in pieces[:-1]) < 200_000
    assert pieces[-1] == Piece("record", WHOLE[0])


def test_an_end_without_a_newline_is_an_end() -> None:
    assert split(WHOLE[0].rstrip(b"\n")) == [Piece("record", WHOLE[0].rstrip(b"\n"))]


# --- size -----------------------------------------------------------------------------------


def chromosome(lines: int) -> bytes:
    """A record of so many full lines."""
    blocks = b" acgtnacgtn" * 6
    rows = b"\n".join([b"%9d%s" % (60 * n + 1, blocks) for n in range(lines)])
    head = WHOLE[1][: WHOLE[1].index(b"ORIGIN")].replace(b" 513 bp", b" %d bp" % (60 * lines))
    return head + b"ORIGIN      \n" + rows + b"\n//\n"


def test_time_grows_with_size_alone() -> None:
    """Twice the record in the same small chunks takes about twice the time, not four times."""

    def seconds(data: bytes) -> float:
        best = 60.0
        for _ in range(3):
            begin = time.perf_counter()
            (piece,) = split(data, 4096)
            read_record(piece.data, "nuccore")
            best = min(best, time.perf_counter() - begin)
        return best

    small, large = chromosome(20_000), chromosome(80_000)
    assert seconds(large) < 10 * seconds(small)


def test_other_threads_go_on_meanwhile() -> None:
    """Reading a chromosome in a thread leaves the event loop its turns."""
    data = chromosome(100_000)
    worker = threading.Thread(target=read_record, args=(data, "nuccore"))
    worst, last = 0.0, time.perf_counter()
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    assert worst < 1.0
