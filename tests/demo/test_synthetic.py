"""Synthetic records are records to every parser; and the counting windows count."""

import io
from typing import Any

import gb_io
import pytest
from Bio import SeqIO

from fetcher.demo import DemoUpstream, synthetic_genbank
from fetcher.demo.flat import fasta, insert_comment, mutated, read_header
from fetcher.demo.limits import ResettingWindow, SlidingWindow
from tests.demo.conftest import FakeClock


def biopython(text: str) -> Any:
    """The one record of a flat file."""
    return SeqIO.read(io.StringIO(text), "genbank")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("length", [1, 59, 60, 61, 600, 12_345])
@pytest.mark.parametrize("molecule", ["ss-RNA", "DNA", "mRNA", "ds-DNA", "AA"])
@pytest.mark.parametrize("comment", [None, "One line", "Some\nlines and " + "many words " * 20])
def test_biopython_and_gb_io_read_them(length: int, molecule: str, comment: str | None) -> None:
    """Both find the same record, of the length that LOCUS says."""
    text = synthetic_genbank(
        "NC_123456",
        3,
        length,
        "A virus with a name that is so long that it has to be continued on the next line",
        4242,
        molecule=molecule,
        topology="circular",
        comment=comment,
        secondary=("AB000001", "AB000002"),
        qualifiers=[("host", "Arabis"), ("note", "many words " * 12)],
    )
    assert max(map(len, text.split("\n"))) <= 80
    record = biopython(text)
    assert (record.id, len(record.seq)) == ("NC_123456.3", length)
    assert record.features[0].qualifiers["db_xref"] == ["taxon:4242"]
    assert record.annotations["accessions"] == ["NC_123456", "AB000001", "AB000002"]
    assert record.annotations["topology"] == "circular"
    other = gb_io.load(io.BytesIO(text.encode()))[0]
    assert (other.version, len(other.sequence)) == ("NC_123456.3", length)
    assert bytes(other.sequence).decode().upper() == str(record.seq).upper()
    header = read_header(text.encode())
    assert (header.accession, header.version, header.length) == ("NC_123456", 3, length)
    assert (header.kind, header.topology) == (molecule, "circular")
    assert (header.taxid, header.refseq) == (4242, True)
    assert header.secondary == ("AB000001", "AB000002")
    assert f"{header.updated}" == "2024-01-01"
    assert fasta(text.encode(), "x", "y").count(b"\n") == 2 + -(-length // 70)


def test_the_same_arguments_give_the_same_record() -> None:
    """No randomness but the seed's."""
    assert synthetic_genbank("AB000001") == synthetic_genbank("AB000001")
    assert synthetic_genbank("AB000001") != synthetic_genbank("AB000001", seed=1)


def test_an_edited_record_is_still_one() -> None:
    """A new version and a comment keep to the layout, whether or not there was a comment."""
    for comment in (None, "There is one."):
        flat = synthetic_genbank("AB000001", length=100, comment=comment).encode()
        edited = insert_comment(mutated(flat, 12, read_header(flat).updated), "Two\nlines.")
        record = biopython(edited.decode())
        assert (record.id, len(record.seq)) == ("AB000001.12", 100)
        assert record.annotations["comment"].startswith("Two\nlines.")
        assert edited.count(b"There is one.") == (comment is not None)


def test_bundled_records_have_headers(clock: FakeClock) -> None:
    """Every bundled record is found by its own name, and is edited without harm."""
    upstream = DemoUpstream(clock.now, clock.sleep)
    upstream.load_bundled()
    for entry in upstream.ncbi.current("nuccore"):
        assert upstream.ncbi.get(entry.accession_version) is entry
        assert entry.header.taxid
        bumped = upstream.ncbi.bump(entry.accession_version)
        record = biopython(bumped.flat.decode())
        assert record.id == bumped.accession_version
        assert len(record.seq) == entry.header.length
        old = biopython(entry.flat.decode())
        assert old.annotations["comment"].startswith("[WARNING] On Nov 14, 2023")
        assert old.id == entry.accession_version


def test_a_resetting_window() -> None:
    """It begins with the first request and is whole again at its reset."""
    window = ResettingWindow(2, 10.0)
    assert window.look(100.0) == 2
    window.spend(100.0)
    window.spend(105.0, 5)
    assert (window.look(109.9), window.used, window.reset_epoch) == (0, 2, 110.0)
    assert window.look(110.0) == 2


def test_a_sliding_window() -> None:
    """What is exactly as old as the window has left it."""
    window = SlidingWindow(3, 1.0)
    assert [window.spend(each) for each in (0.0, 0.5, 0.75, 1.0, 1.5)] == [1, 2, 3, 3, 3]
