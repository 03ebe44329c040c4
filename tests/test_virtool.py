"""What Virtool's own fetchers gave it, from what a `Reader` gives."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fetcher import Reader, virtool
from fetcher.errors import UsageError
from tests.cli.conftest import Cli, cli
from tests.shelf import NOW, PLAIN, Shelf, shelf
from tests.store.build import KEY, T0, batch, release, sequence
from tests.stores import store_url

__all__ = ["cli", "shelf", "store_url"]

PAGE = Path(__file__).parent.parent / "docs" / "virtool.md"


def asset(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "content_type": "application/gzip",
        "size": 42,
        "digest": None,
        "download_url": f"https://x/{name}",
        "created_at": T0,
        "updated_at": T0,
    }


async def test_a_release_as_virtool_knows_it(shelf: Shelf) -> None:
    """All twelve fields, over both stores."""
    assets = [asset("notes.txt"), asset("reference.json.gz")]
    await shelf.write(
        batch(release(2, "text", name="v1.10.0", assets=assets, html_url="https://h/", **PLAIN))
    )
    found = await shelf.reader.latest_release(KEY)
    assert found is not None
    told = virtool.release(found, {"name": "v1.9.0"}, asset="*.gz")
    assert told == {
        "id": 2,
        "name": "v1.10.0",
        "body": "text",
        "etag": f'"{found["digest"][7:39]}"',
        "filename": "reference.json.gz",
        "size": 42,
        "html_url": "https://h/",
        "download_url": "https://x/reference.json.gz",
        "published_at": "2026-11-25T10:15:00Z",
        "content_type": "application/gzip",
        "newer": True,
        "retrieved_at": datetime.fromtimestamp(NOW.timestamp() - 90, UTC),
    }
    assert virtool.release(found)["filename"] == "notes.txt"
    assert not virtool.release(found)["newer"]
    assert not virtool.release(found, told)["newer"]
    with pytest.raises(UsageError, match=r"no asset like '\*.zip'; it has notes.txt, reference"):
        virtool.release(found, asset="*.zip")
    await shelf.write(batch(release(2, "text", name="v1.10.0", html_url="https://h/", **PLAIN)))
    again = await shelf.reader.latest_release(KEY)
    assert again is not None
    with pytest.raises(UsageError, match="it has none"):
        virtool.release(again)


# In the order of https://semver.org/#spec-item-11.
VERSIONS = (
    "1.0.0-alpha",
    "v1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "v1.0.0-rc.1",
    "1.0.0",
    "v1.9.0",
    "1.10.0+build.5",
    "V2.0.0",
)


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_are_in_the_order_of_the_standard(name: str) -> None:
    found: Any = {"name": name, "tag": "x", "published_at": None}
    for other in VERSIONS:
        later = VERSIONS.index(name) > VERSIONS.index(other)
        assert virtool.newer(found, {"name": other}) is later


def test_names_that_are_no_versions_go_by_time() -> None:
    found: Any = {"name": "Spring edition", "tag": "spring", "published_at": T0}
    before, after = "2026-11-23T10:14:59Z", "2026-11-23T10:15:01Z"
    assert virtool.newer(found, {"name": "Winter", "published_at": before})
    assert not virtool.newer(found, {"name": "Summer", "published_at": after})
    assert not virtool.newer(found, {"name": "Winter"})
    tagged: Any = {**found, "tag": "v2.0.0"}
    assert virtool.newer(tagged, {"name": "v1.9.9", "published_at": after}), "by its tag"


async def test_the_example_of_the_page_runs_on_real_records(cli: Cli) -> None:
    """The consumer's code of docs/virtool.md, word for word, beside a store that was fetched."""
    done = await cli("fetch", "NC_003355.1", "JQ821387.1", "ncbi:taxonomy/438782")
    assert done.code == 0
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    url = f"sqlite:///{cli.folder}/fetcher.db"
    none, given = await names["updates"](url, "no/where", None, "JQ821387")
    assert none is None
    assert given["accession"] == "JQ821387.1"
    assert given["definition"].startswith("Jacquemontia")
    assert given["host"] == "Jacquemontia pentantha"
    assert re.fullmatch("[ACGTN]+", given["sequence"])
    async with Reader.open(url) as reader:
        found = await reader.sequence("NC_003355")
        taxon = await reader.taxon(438782)
    assert found is not None
    assert taxon is not None
    whole = virtool.record(found)
    assert (whole["refseq"], whole["refseq_predecessor"]) == (True, "AB017503")
    assert whole["source"]["taxid"] == 1169032
    assert (whole["strandedness"], whole["topology"], whole["moltype"]) == (
        found["strandedness"],
        "linear",
        "RNA",
    )
    told = virtool.taxonomy(taxon)
    assert (told["id"], told["name"]) == (438782, taxon["name"])
    assert [each["name"] for each in told["lineage"]] == [e["name"] for e in taxon["lineage"]]
    assert set(told["other_names"]) == {
        "acronym",
        "genbank_acronym",
        "equivalent_name",
        "synonym",
        "includes",
    }


@pytest.mark.parametrize(
    ("comment", "predecessor"),
    [
        ("REVIEWED REFSEQ: x. The reference sequence was derived from X52063.1.", "X52063"),
        ("The reference sequence is identical\nto AB017503.\nCOMPLETENESS: full.", "AB017503"),
        ("was derived from AC034193.5, L15409.1,\nAK315799.1 and D58014.1.", None),
        ("COMPLETENESS: full length.", None),
        (None, None),
    ],
)
def test_the_predecessor_of_a_refseq_record(comment: str | None, predecessor: str | None) -> None:
    """One that is not named alone is none."""
    content: Any = dict(sequence("NC_1").content)
    fields = dict.fromkeys(("strandedness", "molecule_type", "topology", "definition"))
    content |= {**fields, "comment": comment, "refseq": True, "source": {"host": ["A", "B"]}}

    class Found:
        record = content
        checked_at = None

    assert virtool.record(Found())["refseq_predecessor"] == predecessor
    assert virtool.genbank(Found())["host"] == "A"
    content["refseq"] = False
    assert virtool.record(Found())["refseq_predecessor"] is None
