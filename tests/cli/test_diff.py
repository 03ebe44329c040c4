"""`fetcher diff`, and the formats in which records come out."""

import io
import json
from pathlib import Path
from typing import Any

from Bio import SeqIO

from fetcher.demo import synthetic_genbank
from fetcher.demo.ncbi_datasets import synthetic_genome
from tests.cli.conftest import Cli

MASTER = Path(__file__).parent.parent / "samples" / "genbank" / "wgs_master.gb"


async def two_versions(cli: Cli) -> None:
    ncbi = cli.upstream.ncbi
    ncbi.add("nuccore", synthetic_genbank("AB000001", length=300))
    assert (await cli("fetch", "AB000001")).code == 0
    ncbi.bump("AB000001")
    assert (await cli("fetch", "AB000001")).code == 0


async def test_what_changed_between_two_versions(cli: Cli) -> None:
    """Both named, or the accession alone for its newest two; in every format."""
    await two_versions(cli)
    done = await cli("diff", "AB000001.1", "AB000001.2")
    assert done.code == 0
    *changes, summary = done.lines
    assert {each["part"] for each in changes} >= {"sequence"}
    assert (summary["old"], summary["new"]) == ("AB000001.1", "AB000001.2")
    assert summary["old_length"] == 300
    assert 0.9 < summary["identity"] < 1
    assert (await cli("diff", "AB000001")).out == done.out
    assert (await cli("diff", "AB000001", "--format", "json")).json["items"] == done.lines
    table = await cli("diff", "AB000001", "--format", "table")
    assert b"AB000001.1" in table.out
    assert b"% identical" in table.out
    same = await cli("diff", "AB000001.1", "AB000001.1")
    assert (same.code, "say the same" in same.err) == (0, True)


async def test_what_cannot_be_compared(cli: Cli) -> None:
    """A sentence that says what to do."""
    await two_versions(cli)
    done = await cli("diff", "AB000001.1", "AB000001.3")
    assert (done.code, "fetcher fetch AB000001.3" in done.err) == (1, True)
    assert (await cli("diff", "a b")).code == 2
    assert (await cli("diff", "AB000001", "--format", "fasta")).code == 2
    assert (await cli("fetch", "NC_003355")).code == 0
    alone = await cli("diff", "NC_003355")
    assert (alone.code, "only one version" in alone.err) == (1, True)


async def test_biopython_reads_what_comes_out(cli: Cli) -> None:
    """FASTA and flat files of every bundled record agree with their documents."""
    names = [f"ncbi:{db}/{name}" for db in ("nuccore", "protein") for name in cli.bundled(db)]
    cli.folder.joinpath("names").write_text("\n".join(names), "utf-8")
    ndjson = await cli("fetch", "--from-file", "names")
    assert ndjson.code == 0
    documents = {each["accession_version"]: each for each in ndjson.lines}
    assert len(documents) == len(names) > 20
    fasta = await cli("list", "sequences", "--format", "fasta")
    flat = await cli("list", "sequences", "--format", "genbank")
    read: dict[str, dict[str, Any]] = {"fasta": {}, "genbank": {}}
    for how, text in (("fasta", fasta.out), ("genbank", flat.out)):
        parsed: Any = SeqIO.parse(io.StringIO(text.decode()), how)  # type: ignore[no-untyped-call]
        read[how] = {record.id: record for record in parsed}
    assert read["fasta"].keys() == read["genbank"].keys() == documents.keys()
    for name, document in documents.items():
        short, whole = read["fasta"][name], read["genbank"][name]
        assert str(short.seq) == document["sequence"] == str(whole.seq).upper()
        assert short.description == f"{name} {document['definition']}"
        assert whole.description.removesuffix(".") == document["definition"]
        told = whole.annotations
        assert told["organism"] == document["organism"]
        assert told["taxonomy"] == document["lineage"]
        assert told["topology"] == document["topology"]
        assert told["data_file_division"] == document["division"]
        assert told["accessions"] == [document["accession"], *document["secondary_accessions"]]
        assert [word for word in told["keywords"] if word] == document["keywords"]
        assert len(told.get("references", ())) == len(document["references"])
        assert [each.type for each in whole.features] == [
            each["type"] for each in document["features"]
        ]
        for feature, ours in zip(whole.features, document["features"], strict=True):
            flags = [key for key, value in ours["qualifiers"].items() if value is None]
            assert set(feature.qualifiers) == set(ours["qualifiers"])
            for key, values in ours["qualifiers"].items():
                if key not in flags and key != "translation":
                    assert len(feature.qualifiers[key]) == len(values)


async def test_a_record_without_a_sequence_is_named(cli: Cli) -> None:
    """FASTA has no place for it: it is left out, and said so; its flat file comes as served."""
    cli.upstream.ncbi.add("nuccore", MASTER.read_bytes())
    (name,) = (each for each in cli.upstream.ncbi.databases["nuccore"] if "0000000" in each)
    done = await cli("fetch", name, "--format", "fasta")
    assert (done.code, done.out) == (0, b"")
    assert "is left out: it has no sequence of its own" in done.err
    flat = await cli("fetch", name, "--format", "genbank")
    assert flat.out == cli.upstream.ncbi.get(name).flat


async def test_taxa_genomes_and_summaries_come_out(cli: Cli) -> None:
    """Fetched, listed and shown as all else."""
    ncbi = cli.upstream.ncbi
    ncbi.add_genome(synthetic_genome("GCF_000861825.2"))
    ncbi.add_project("PRJNA485481", project_title="Viral genomes", taxid=10239)
    targets = ("ncbi:taxonomy/12234", "ncbi:genome/GCF_000861825", "ncbi:bioproject/PRJNA485481")
    done = await cli("fetch", *targets)
    kinds = sorted(each["kind"] for each in done.lines)
    assert (done.code, kinds) == (0, ["genome", "summary", "taxon"])
    for kind, key in (
        ("taxa", "taxonomy:12234"),
        ("genomes", "genome:GCF_000861825.2"),
        ("summaries", "bioproject:PRJNA485481"),
    ):
        listed = await cli("list", kind, "--format", "table")
        assert listed.code == 0
        (shown,) = (await cli("show", key)).lines
        assert shown["_id"] == key
    table = await cli("fetch", *targets, "--format", "table")
    assert b"Tobamovirus" in table.out
    assert json.loads((await cli("show", targets[0])).out)["outcome"] == "unchanged"
    assert (await cli("fetch", targets[0], "--format", "fasta")).code == 2
