"""A hostile NCBI: any value in any place of its answers, over both stores."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import pytest

from fetcher.demo import Fault, synthetic_genbank
from fetcher.demo.ncbi_datasets import synthetic_genome
from tests.hostile.conftest import Witness
from tests.hostile.values import all_changed, changed, place_of, texts
from tests.stores import store_url

__all__ = ["store_url"]

PROJECT: Final[Mapping[str, Any]] = {
    "project_title": "A title",
    "project_name": "A name",
    "project_description": "words",
    "organism_name": "Synthetic mottle virus",
    "taxid": 12242,
    "registration_date": "2024/01/01 00:00",
}
# Of each report, all that is read, and some that is only kept.
REPORT: Final = (
    *("", "accession", "current_accession", "organism", "organism.tax_id", "assembly_info"),
    *("organism.organism_name", "assembly_info.assembly_status", "source_database", "error"),
    *("assembly_stats.gc_percent", "assembly_stats.more", "withdrawn_at", "release_date", "kind"),
)
SUMMARY: Final = ("", "project_acc", "project_title", "taxid", "registration_date", "more")
# At the top of a document, where the fetcher's own fields stand.
KEYS: Final = ("$where", "$set", "a.b", ".", "", "_id", "stamp.n", "targets", "a\0b")


def changes_of(places: Sequence[str]) -> list[tuple[str, str]]:
    """What is changed where, one thing in each record."""
    return [(place, text) for place in places for text in texts(place, first=False)]


@pytest.mark.parametrize("every", [False, True], ids=["by accession", "by version"])
async def test_any_value_in_any_place_of_a_genome_report(witness: Witness, every: bool) -> None:
    """A report that makes no sense is its genome's, and nobody else's of the hundred."""
    ncbi = witness.world.upstream.ncbi
    changes = changes_of(REPORT)
    keys = []
    for number in range(len(changes) + len(KEYS) + 1):
        accession = f"GCF_{number:09d}.1"
        report = synthetic_genome(accession)
        if len(changes) <= number < len(changes) + len(KEYS):
            report[KEYS[number - len(changes)]] = {"x": 1}
        ncbi.add_genome(report)
        keys.append(f"ncbi:genome/{accession if every else accession[:-2]}")

    def change(body: bytes) -> bytes:
        wanted = []
        for at, report in enumerate(json.loads(body).get("reports", ())):
            number = int(report["accession"][4:-2])
            if number < len(changes):
                place, text = changes[number]
                wanted.append((("reports", at, *place_of(place)), text))
        return all_changed(body, wanted)

    witness.world.upstream.faults.append(Fault("dataset_report", "rewrite", None, change=change))
    polled = await witness.poll(*keys)
    assert polled[keys[-1]].state.outcome == "changed"
    assert len({str(each.state.outcome) for each in polled.values()}) > 1


async def test_any_value_in_any_place_of_a_summary(witness: Witness) -> None:
    """Likewise."""
    ncbi = witness.world.upstream.ncbi
    changes = changes_of(SUMMARY)
    keys = []
    for number in range(1, len(changes) + len(KEYS) + 2):
        ncbi.add_project(f"PRJNA{number}", **PROJECT)
        keys.append(f"ncbi:bioproject/PRJNA{number}")
        if len(changes) < number <= len(changes) + len(KEYS):
            ncbi.projects[number][KEYS[number - len(changes) - 1]] = {"x": 1}

    def change(body: bytes) -> bytes:
        wanted = []
        for uid in json.loads(body).get("result", {}).get("uids", ()):
            if int(uid) <= len(changes):
                place, text = changes[int(uid) - 1]
                wanted.append((("result", uid, *place_of(place)), text))
        return all_changed(body, wanted)

    witness.world.upstream.faults.append(Fault("esummary", "rewrite", None, change=change))
    polled = await witness.poll(*keys)
    assert polled[keys[-1]].state.outcome == "changed"
    assert len({str(each.state.outcome) for each in polled.values()}) > 1


QUERY: Final = "ncbi:nuccore?txid12242[Organism:exp]"
_SEARCH: Final = (
    *("", "esearchresult", "esearchresult.count", "esearchresult.idlist", "error"),
    *("esearchresult.idlist.0", "esearchresult.webenv", "esearchresult.querykey"),
    "esearchresult.ERROR",
)
ANSWERS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "datasets": (
        "dataset_report",
        "ncbi:genome/GCF_000000001",
        ("", "reports", "reports.0", "total_count", "next_page_token", "error", "message"),
    ),
    "search of a query": ("esearch", QUERY, _SEARCH),
    "search of a name": ("esearch", "ncbi:bioproject/PRJNA1", _SEARCH),
    "summaries": ("esummary", "ncbi:bioproject/PRJNA1", ("", "result", "result.uids", "result.1")),
    "a summary's uid": ("esummary", "ncbi:bioproject/PRJNA1", ("result.uids.0",)),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_any_answer(witness: Witness, answer: str) -> None:
    """Whatever the whole of it says ends in an outcome."""
    match, key, places = ANSWERS[answer]
    ncbi, faults = witness.world.upstream.ncbi, witness.world.upstream.faults
    ncbi.add_genome(synthetic_genome("GCF_000000001.1"))
    ncbi.add_project("PRJNA1", **PROJECT)
    ncbi.add("nuccore", synthetic_genbank("AB000001", length=240))
    for place in places:
        for text in texts(place, few=bool(place)):
            change = partial(changed, place=place, text=text)
            faults[:] = [Fault(match, "rewrite", times=None, change=change)]
            await witness.poll(key)
    faults.clear()
    polled = await witness.world.poll(key, full=True)
    assert polled[key].state.outcome in ("changed", "unchanged")
