"""Taxa, genome reports and summaries: every name that was asked for ends in a known state."""

import pytest

from fetcher.demo import Fault
from fetcher.demo.ncbi_datasets import synthetic_genome
from fetcher.demo.ncbi_taxonomy import Taxon
from tests.world import World

VIRUSES = Taxon(10239, "Viruses", "acellular root", parent=0)
GENUS = Taxon(12234, "Tobamovirus", "genus", parent=10239)
MOTTLE = Taxon(
    1169032,
    "Wasabi mottle virus",
    "species",
    parent=12234,
    other_names={
        "Acronym": ["WMoV"],
        "GenbankAcronym": ["WMoV"],
        "EquivalentName": ["Tobamovirus wasabi", "Tobamovirus <wasabi>"],
        "Includes": ["Crucifer tobamovirus"],
    },
    class_names={"authority": ["Tobamovirus wasabi ICTV 2023"], "type material": ["x"]},
    merged=(12242, 12243),
)
KEY = "ncbi:taxonomy/1169032"
GENOME = "ncbi:genome/GCF_000861825"


@pytest.fixture
def taxa(world: World) -> World:
    for taxon in (VIRUSES, GENUS, MOTTLE):
        world.upstream.ncbi.add_taxon(taxon)
    return world


async def test_a_taxon_with_lineage_and_all_its_names(taxa: World) -> None:
    """Names by their class, also those that have no element of their own."""
    assert await taxa.outcome(KEY) == "changed"
    (document,) = await taxa.records(KEY)
    assert document["_id"] == "taxonomy:1169032"
    told = {name: document[name] for name in ("taxid", "name", "rank", "lineage", "other_names")}
    assert told == {
        "taxid": 1169032,
        "name": "Wasabi mottle virus",
        "rank": "species",
        "lineage": [
            {"taxid": 10239, "name": "Viruses", "rank": "acellular root"},
            {"taxid": 12234, "name": "Tobamovirus", "rank": "genus"},
        ],
        "other_names": {
            "acronym": ["WMoV"],
            "authority": ["Tobamovirus wasabi ICTV 2023"],
            "equivalent_name": ["Tobamovirus wasabi", "Tobamovirus <wasabi>"],
            "genbank_acronym": ["WMoV"],
            "includes": ["Crucifer tobamovirus"],
            "type_material": ["x"],
        },
    }
    assert (document["parent_taxid"], document["merged_taxids"]) == (12234, [12242, 12243])
    assert await taxa.outcome(KEY) == "unchanged"


async def test_a_merged_taxid_is_the_taxon_that_it_became(taxa: World) -> None:
    """One target that answers to both, as a renamed repository does."""
    old = "ncbi:taxonomy/12242"
    polled = (await taxa.poll(old))[old]
    assert (polled.state.key, polled.state.outcome, polled.state.records) == (KEY, "changed", 1)
    for name in (old, KEY):
        state = await taxa.store.target(name)
        assert state is not None
        assert state.key == KEY
    assert await taxa.outcome(KEY) == "unchanged"
    assert await taxa.outcome(old) == "unchanged"
    assert len(await taxa.records(KEY)) == 1


async def test_a_taxon_that_is_merged_while_it_is_watched(taxa: World) -> None:
    """Both were known before: they become one, together or one after the other."""
    ncbi = taxa.upstream.ncbi
    ncbi.add_taxon(Taxon(555, "Old name", "species", parent=12234))
    both = ["ncbi:taxonomy/555", KEY]
    await taxa.poll(*both)
    ncbi.add_taxon(
        Taxon(1169032, "Wasabi mottle virus", "species", parent=12234, merged=(12242, 555))
    )
    polled = await taxa.poll(*both)
    assert {each.state.key for each in polled.values()} == {KEY}
    state = await taxa.store.target("ncbi:taxonomy/555")
    assert state is not None
    assert (state.key, state.records) == (KEY, 1)


async def test_many_taxa_share_a_request_and_the_unknown_are_named(taxa: World) -> None:
    """Left out silently: asked for once more, then not found; the others arrive."""
    for taxid in range(20_000, 20_150):
        taxa.upstream.ncbi.add_taxon(Taxon(taxid, f"Virus {taxid}", "species", parent=12234))
    keys = [f"ncbi:taxonomy/{taxid}" for taxid in range(20_000, 20_152)]
    polled = await taxa.poll(*keys)
    outcomes = [str(polled[key].state.outcome) for key in keys]
    assert outcomes == ["changed"] * 150 + ["not_found"] * 2
    assert polled[keys[-1]].state.missing == ("20151",)
    answered = [each for each in taxa.upstream.log if each.status == 200]
    assert len(answered) == 3
    assert await taxa.outcome("ncbi:taxonomy/31337") == "not_found"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("efetch", "truncate", times=None, after=900, clean=True), "malformed"),
        (Fault("efetch", "status", times=None, status=200, body="<TaxaSet/><x>"), "malformed"),
        (
            Fault(
                "efetch",
                "status",
                times=None,
                status=200,
                body="<eFetchResult><ERROR>Service busy</ERROR></eFetchResult>",
            ),
            "malformed",
        ),
        (
            Fault(
                "efetch",
                "status",
                times=None,
                status=200,
                body='<!DOCTYPE x [<!ENTITY a "b">]><TaxaSet><Taxon>&a;</Taxon></TaxaSet>',
            ),
            "malformed",
        ),
        (Fault("efetch", "status", times=None, status=502), "unreachable"),
    ],
)
async def test_half_an_answer_is_none(taxa: World, fault: Fault, outcome: str) -> None:
    """Never a shorter one, and never an unknown taxon."""
    await taxa.poll(KEY)
    before = await taxa.records(KEY)
    fault.applied = 0
    taxa.upstream.faults.append(fault)
    assert await taxa.outcome(KEY, wait=1000) == outcome
    assert await taxa.records(KEY) == before


async def test_a_genome_report_with_its_fields(world: World) -> None:
    """The report as it is, and what readers ask for first beside it."""
    world.upstream.ncbi.add_genome(synthetic_genome("GCF_000861825.2"))
    assert await world.outcome(f"{GENOME}.2") == "changed"
    (document,) = await world.records(f"{GENOME}.2")
    assert document["_id"] == "genome:GCF_000861825.2"
    assert (document["taxid"], document["version"], document["status"]) == (12242, 2, "live")
    assert document["assembly_info"]["assembly_level"] == "Complete Genome"
    (request,) = world.upstream.log
    assert request.path == "/genome/accession/GCF_000861825.2/dataset_report"
    assert "api-key" not in request.headers
    assert await world.outcome(f"{GENOME}.2") == "unchanged"


async def test_versions_of_a_genome(world: World) -> None:
    """Without a version it is the current one; an old one says what stands in its place."""
    ncbi = world.upstream.ncbi
    for version in (2, 9, 10):
        status = "current" if version == 10 else "previous"
        ncbi.add_genome(
            synthetic_genome(f"GCF_000861825.{version}", status=status, current="GCF_000861825.10")
        )
    ncbi.add_genome(synthetic_genome("GCA_000000001.1", status="suppressed"))
    suppressed = "ncbi:genome/GCA_000000001.1"
    polled = await world.poll(GENOME, f"{GENOME}.9", suppressed)
    assert {str(each.state.outcome) for each in polled.values()} == {"changed"}
    told = {
        document["accession"]: (document["status"], document["replaced_by"])
        for key in (GENOME, f"{GENOME}.9", suppressed)
        for document in await world.records(key)
    }
    assert told == {
        "GCF_000861825.10": ("live", None),
        "GCF_000861825.9": ("replaced", "GCF_000861825.10"),
        "GCA_000000001.1": ("suppressed", None),
    }


async def test_genomes_by_pages_each_accounted_for(world: World) -> None:
    """More than a page holds, and some that nobody knows."""
    ncbi = world.upstream.ncbi
    ncbi.reports_at_most = 7
    names = [f"GCF_{n:09}.1" for n in range(1, 21)]
    for name in names[:18]:
        ncbi.add_genome(synthetic_genome(name))
    keys = [f"ncbi:genome/{name}" for name in names]
    polled = await world.poll(*keys)
    outcomes = [str(polled[key].state.outcome) for key in keys]
    assert outcomes == ["changed"] * 18 + ["not_found"] * 2


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("dataset_report", "status", times=None, status=500), "unreachable"),
        (Fault("dataset_report", "garbage", times=None), "malformed"),
        (Fault("dataset_report", "status", times=None, status=200, body="[]"), "malformed"),
        (
            Fault(
                "dataset_report",
                "status",
                times=None,
                status=200,
                body='{"reports":[{"accession":"GCF_000861825.2"}],"total_count":2}',
            ),
            "malformed",
        ),
        (
            Fault(
                "dataset_report",
                "status",
                times=None,
                status=200,
                body='{"reports":[],"next_page_token":"p0","total_count":0}',
            ),
            "malformed",
        ),
        (
            Fault(
                "dataset_report",
                "status",
                times=None,
                status=429,
                headers={"Retry-After": "900"},
                body='{"code":8,"message":"slow down","details":[]}',
            ),
            "rate_limited",
        ),
    ],
)
async def test_datasets_errors_end_in_their_outcome(
    world: World, fault: Fault, outcome: str
) -> None:
    """What is stored stays."""
    world.upstream.ncbi.add_genome(synthetic_genome("GCF_000861825.2"))
    await world.poll(GENOME)
    before = await world.records(GENOME)
    fault.applied = 0
    world.upstream.faults.append(fault)
    assert await world.outcome(GENOME, wait=60) == outcome
    assert await world.records(GENOME) == before


async def test_one_bad_genome_spoils_no_other(world: World) -> None:
    """A whole answer that is refused for one name is asked for in parts."""
    names = [f"GCF_{n:09}.1" for n in range(1, 9)]
    for name in names:
        world.upstream.ncbi.add_genome(synthetic_genome(name))
    body = '{"code":3,"message":"invalid accession","details":[]}'
    world.upstream.faults.append(Fault(names[4], "status", times=None, status=400, body=body))
    polled = await world.poll(*(f"ncbi:genome/{name}" for name in names), wait=1000)
    outcomes = {key[-11:]: str(each.state.outcome) for key, each in polled.items()}
    assert outcomes.pop(names[4][-11:]) == "not_found"
    assert set(outcomes.values()) == {"changed"}


async def test_datasets_and_eutils_are_counted_apart(taxa: World) -> None:
    """A limit of the one holds nothing of the other; both keep to three a second."""
    taxa.upstream.ncbi.add_genome(synthetic_genome("GCF_000861825.2"))
    limit = Fault(
        "dataset_report", "status", times=None, status=429, headers={"Retry-After": "900"}
    )
    taxa.upstream.faults.append(limit)
    polled = await taxa.poll(GENOME, KEY)
    assert polled[GENOME].state.outcome == "rate_limited"
    assert polled[KEY].state.outcome == "changed"
    taxa.upstream.faults.clear()
    # The limit outlives the process, and still is that one's alone.
    polled = await taxa.poll(GENOME, KEY)
    assert polled[GENOME].state.outcome == "rate_limited"
    assert polled[KEY].state.outcome == "unchanged"
    taxa.clock.advance(1000)
    assert await taxa.outcome(GENOME) == "changed"
    assert taxa.upstream.ncbi.violations == []


async def test_a_key_goes_with_every_request(world: World) -> None:
    """In the header that Datasets reads, and nowhere else."""
    world.upstream.ncbi.api_keys["secret-key"] = 10
    world.overrides["ncbi.api_key"] = "secret-key"
    world.upstream.ncbi.add_genome(synthetic_genome("GCF_000861825.2"))
    assert await world.outcome(GENOME) == "changed"
    (request,) = world.upstream.log
    assert request.headers["api-key"] == "secret-key"
    assert "secret-key" not in request.path


async def test_summaries_of_a_further_database(world: World) -> None:
    """Found by a search, told by a summary: two requests for many, and each accounted for."""
    ncbi = world.upstream.ncbi
    for n in range(1, 31):
        ncbi.add_project(
            f"PRJNA{n}", project_title=f"Project {n}", organism_name="A virus", taxid=12242
        )
    keys = [f"ncbi:bioproject/PRJNA{n}" for n in range(1, 32)]
    polled = await world.poll(*keys)
    outcomes = [str(polled[key].state.outcome) for key in keys]
    assert outcomes == ["changed"] * 30 + ["not_found"]
    assert len([each for each in world.upstream.log if each.status == 200]) == 3
    (document,) = await world.records(keys[6])
    assert document["_id"] == "bioproject:PRJNA7"
    assert (document["title"], document["taxid"]) == ("Project 7", 12242)
    assert document["summary"]["project_acc"] == "PRJNA7"
    assert await world.outcome(keys[6]) == "unchanged"
    ncbi.add_project("PRJNA7", project_title="Renamed")
    assert await world.outcome(keys[6]) == "changed"
