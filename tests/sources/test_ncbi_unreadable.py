"""Records that cannot be read are kept as they came, counted and named."""

import pytest

from fetcher.demo import synthetic_genbank
from fetcher.documents import flat_file
from fetcher.policy.storable import checked
from fetcher.store import Query
from tests.world import World

QUERY = "ncbi:nuccore?txid12242[Organism:exp]"
NAMES = [f"AB{n:06}" for n in range(6)]


def damage(world: World, accession: str) -> bytes:
    """Its sequence is shorter than LOCUS says: whole to the splitter, and not to the reader."""
    entry = world.upstream.ncbi.get(accession)
    at = entry.flat.index(b"ORIGIN")
    entry.flat = entry.flat[:at] + b"ORIGIN      \n        1 acgt\n//\n"
    return entry.flat


@pytest.fixture
def six(world: World) -> World:
    for name in NAMES:
        world.upstream.ncbi.add("nuccore", synthetic_genbank(name, length=240))
    return world


@pytest.mark.parametrize("what", ["query", "accession"])
async def test_it_is_stored_raw_with_its_error(six: World, what: str) -> None:
    """The rest goes on; when it can be read it is a record like all others."""
    whole = six.upstream.ncbi.get(NAMES[2]).flat
    served = damage(six, NAMES[2])
    keys = [QUERY] if what == "query" else [f"ncbi:nuccore/{name}" for name in NAMES]
    polled = await six.poll(*keys, wait=1000)
    bad = polled[keys[0 if what == "query" else 2]].state
    assert bad.outcome == ("partial" if what == "query" else "malformed")
    assert bad.missing == (f"{NAMES[2]}.1" if what == "query" else NAMES[2],)
    assert bad.failure is not None
    assert "LOCUS says 240" in bad.failure.message
    document = await six.store.record("sequence", f"nuccore:{NAMES[2]}.1")
    assert document is not None
    assert flat_file(document) == served
    assert "LOCUS says 240" in document["error"]
    assert (document["accession"], document["version"]) == (NAMES[2], 1)
    assert document["sequence"] is document["features"] is document["organism"] is None
    six.upstream.ncbi.get(NAMES[2]).flat = whole
    polled = await six.poll(*keys, wait=1000)
    assert {str(each.state.outcome) for each in polled.values()} <= {"changed", "unchanged"}
    document = await six.store.record("sequence", f"nuccore:{NAMES[2]}.1")
    assert document is not None
    assert "error" not in document
    assert (document["revision"], len(document["sequence"])) == (2, 240)
    assert flat_file(document) == whole


async def test_what_was_read_once_stays(six: World) -> None:
    """A damaged answer takes no whole record's place."""
    await six.poll(QUERY)
    before = await six.records(QUERY)
    damage(six, NAMES[2])
    polled = (await six.poll(QUERY, full=True, wait=1000))[QUERY]
    assert polled.state.outcome in ("partial", "unchanged")
    key = f"ncbi:nuccore/{NAMES[2]}"
    assert await six.outcome(key, wait=1000) == "malformed"
    assert await six.records(QUERY) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"taxon:12242", b"taxon:" + b"9" * 30),
        (b"REFERENCE   1 ", b"REFERENCE   " + b"9" * 30 + b" "),
        (b"DEFINITION  ", b"DEFINITION  " + b"x" * (2 << 20)),
        (b"VERSION     AB000002.1", b"VERSION     AB000002." + b"1" * 5000),
        (b"LOCUS       AB000002", b"LOCUS       AB000002" + b" " + b"9" * 5000),
    ],
    ids=["taxid", "reference", "definition", "version", "length"],
)
async def test_what_no_store_can_hold_spoils_no_other(six: World, old: bytes, new: bytes) -> None:
    """Numbers beyond 64 bits, and texts beyond a document: over the record's own store."""
    entry = six.upstream.ncbi.get(NAMES[2])
    assert old in entry.flat
    entry.flat = entry.flat.replace(old, new, 1)
    keys = [f"ncbi:nuccore/{name}" for name in NAMES]
    polled = await six.poll(*keys, wait=1000)
    outcomes = [str(polled[key].state.outcome) for key in keys]
    good = [*outcomes[:2], *outcomes[3:]]
    assert good == ["changed"] * 5
    assert outcomes[2] in ("changed", "malformed")
    async for document in six.store.records(Query("sequence")):
        checked({**document, "sequence": None, "flat": None, "stamp": None})
