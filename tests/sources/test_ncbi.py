"""NCBI over loopback: every id that was asked for ends in a known state."""

from importlib.resources import files

import pytest

from fetcher.cli.render import Format, sequence_text
from fetcher.demo import Fault, synthetic_genbank
from fetcher.documents import flat_file
from tests.world import World

ACCESSIONS = [f"AB{number:06}" for number in range(1, 21)]
KEYS = [f"ncbi:nuccore/{accession}" for accession in ACCESSIONS]
QUERY = "ncbi:nuccore?txid12242[Organism:exp]"


@pytest.fixture
def twenty(world: World) -> World:
    """Twenty records of one organism."""
    for number, accession in enumerate(ACCESSIONS):
        text = synthetic_genbank(accession, length=200 + 61 * number)
        world.upstream.ncbi.add("nuccore", text)
    return world


async def test_a_real_record_arrives_with_everything(world: World) -> None:
    """All fields of the contract, and the flat file byte for byte."""
    world.upstream.load_bundled()
    key = "ncbi:nuccore/NC_003355.1"
    polled = (await world.poll(key))[key]
    assert (polled.state.outcome, polled.state.records) == ("changed", 1)
    (document,) = await world.records(key)
    assert document["_id"] == "nuccore:NC_003355.1"
    assert (document["accession"], document["version"]) == ("NC_003355", 1)
    assert (document["molecule_type"], document["strandedness"]) == ("RNA", "single")
    assert (document["topology"], document["division"], document["refseq"]) == (
        "linear",
        "VRL",
        True,
    )
    assert document["taxid"] == document["source"]["taxid"] == 1169032
    assert document["length"] == len(document["sequence"]) == 6298
    assert {feature["type"] for feature in document["features"]} >= {"source", "CDS"}
    served = files("fetcher.demo").joinpath("data/ncbi/NC_003355.1.gb").read_bytes()
    assert flat_file(document) == served
    assert (sequence_text(document, Format.FASTA) or "").startswith(">NC_003355.1 Wasabi mottle")


async def test_accessions_share_requests(twenty: World) -> None:
    """Twenty targets, their summaries in one request, the records in another, with tool and
    email; the same again takes the summaries alone, and changes nothing."""
    polled = await twenty.poll(*KEYS)
    assert {str(each.state.outcome) for each in polled.values()} == {"changed"}
    assert [each.path for each in twenty.upstream.log] == ["/esummary.fcgi", "/efetch.fcgi"]
    for request in twenty.upstream.log:
        assert (request.method, request.form["tool"]) == ("POST", "fetcher")
        assert request.form["email"] == "tests@example.org"
        assert "api_key" not in request.form
    twenty.upstream.log.clear()
    polled = await twenty.poll(*KEYS)
    assert {str(each.state.outcome) for each in polled.values()} == {"unchanged"}
    assert twenty.asked() == ["POST /esummary.fcgi"]


async def test_the_unknown_is_named_and_spoils_no_other(twenty: World) -> None:
    """Left out silently, alone, not understood: each is not found, the rest arrives."""
    unknown = ["ncbi:nuccore/ZZ999999", "ncbi:nuccore/ZZ999998.3"]
    polled = await twenty.poll(*KEYS, *unknown)
    for key in KEYS:
        assert polled[key].state.outcome == "changed"
    for key in unknown:
        assert polled[key].state.outcome == "not_found"
        assert polled[key].state.missing == (key.rpartition("/")[2],)
    assert sum(each.status != 429 for each in twenty.upstream.log) <= 5
    assert await twenty.outcome(unknown[0]) == "not_found"


async def test_what_ncbi_cannot_read_is_singled_out(twenty: World) -> None:
    """An id that can be none fails the whole answer; the others are asked for without it."""
    odd = "ncbi:nuccore/X1Y2Z3W4"
    polled = await twenty.poll(*KEYS, odd)
    outcomes = {key: str(each.state.outcome) for key, each in polled.items()}
    assert outcomes.pop(odd) == "not_found"
    assert set(outcomes.values()) == {"changed"}


async def test_versions_secondary_accessions_and_uids(world: World) -> None:
    """An old version is that version, a secondary accession its owner, a UID its record."""
    ncbi = world.upstream.ncbi
    ncbi.add("nuccore", synthetic_genbank("AB000001", 1))
    ncbi.add("nuccore", synthetic_genbank("AB000001", 2, secondary=["ZZ000009"]), uid=77)
    targets = [f"ncbi:nuccore/{name}" for name in ("AB000001.1", "AB000001", "ZZ000009", "77")]
    polled = await world.poll(*targets, "ncbi:nuccore/78")
    versions = {}
    for target in targets:
        assert polled[target].state.outcome in ("changed", "unchanged")
        (document,) = await world.records(target)
        versions[target.rpartition("/")[2]] = document["version"]
    assert versions == {"AB000001.1": 1, "AB000001": 2, "ZZ000009": 2, "77": 2}
    assert polled["ncbi:nuccore/78"].state.outcome == "not_found"
    (document,) = await world.records("ncbi:nuccore/77")
    assert document["uid"] == "77"


async def test_proteins_too(world: World) -> None:
    """The same for the protein database."""
    world.upstream.load_bundled()
    (accession, *_) = world.upstream.ncbi.databases["protein"]
    key = f"ncbi:protein/{accession}"
    assert await world.outcome(key) == "changed"
    (document,) = await world.records(key)
    assert (document["molecule_type"], document["strandedness"]) == ("AA", None)


async def test_a_query_is_fetched_whole(twenty: World) -> None:
    """Found, kept on the history server, fetched; a record that leaves it loses the target."""
    polled = (await twenty.poll(QUERY))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 20)
    assert await twenty.outcome(QUERY) == "unchanged"
    twenty.upstream.ncbi.remove(ACCESSIONS[0])
    twenty.upstream.ncbi.add("nuccore", synthetic_genbank("CD000001"))
    polled = (await twenty.poll(QUERY, full=True))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 20)
    left = await twenty.store.record("sequence", f"nuccore:{ACCESSIONS[0]}.1")
    assert left is not None
    assert (left["targets"], left["withdrawn_at"]) == ([], None)


async def test_a_query_without_hits_is_empty(twenty: World) -> None:
    """Reached, and there is nothing."""
    assert await twenty.outcome("ncbi:nuccore?txid4[Organism:exp]") == "empty"


async def test_a_large_query_comes_in_pages(world: World) -> None:
    """More than one page, each record once."""
    world.upstream.ncbi.populate(1234)
    polled = (await world.poll("ncbi:nuccore?all[filter]"))["ncbi:nuccore?all[filter]"]
    assert (polled.state.outcome, polled.state.records) == ("changed", 1234)
    pages = [each for each in world.upstream.log if "efetch" in each.path and each.status == 200]
    assert len(pages) == 3


async def test_a_query_beyond_reach_says_so(world: World) -> None:
    """The first ten thousand are stored; that this is not all is an outcome, never a success."""
    world.upstream.ncbi.populate(10_100, length=60)
    target = "ncbi:nuccore?all[filter]"
    polled = (await world.poll(target))[target]
    assert (polled.state.outcome, polled.state.records) == ("partial", 10_000)
    assert polled.state.failure is not None
    assert "10,100" in polled.state.failure.message


async def test_a_query_that_breaks_off_is_partial(world: World) -> None:
    """What came is stored, and the next poll gets the rest."""
    world.upstream.ncbi.populate(700)
    world.upstream.faults.append(Fault("retstart=500", "status", times=None, status=500))
    target = "ncbi:nuccore?all[filter]"
    polled = (await world.poll(target))[target]
    assert (polled.state.outcome, polled.state.records) == ("partial", 500)
    world.upstream.faults.clear()
    polled = (await world.poll(target))[target]
    assert (polled.state.outcome, polled.state.records) == ("changed", 700)


async def test_a_record_that_a_query_lacks_is_named(twenty: World) -> None:
    """Silently left out of the page and of its own request: partial, with its name."""
    fault = Fault("efetch", "drop", times=None, accessions=(ACCESSIONS[3],))
    twenty.upstream.faults.append(fault)
    polled = (await twenty.poll(QUERY))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("partial", 19)
    assert polled.state.missing == (f"{ACCESSIONS[3]}.1",)
    twenty.upstream.faults.clear()
    assert await twenty.outcome(QUERY) == "changed"


async def test_an_expired_search_is_run_again(twenty: World) -> None:
    """`Unable to obtain query #1` is no record and no end."""
    fault = Fault("efetch", "status", status=200, body="Unable to obtain query #1\n")
    twenty.upstream.faults.append(fault)
    polled = (await twenty.poll(QUERY))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 20)
    searches = [each for each in twenty.upstream.log if "esearch" in each.path]
    assert sum(each.status == 200 for each in searches) == 2


@pytest.mark.parametrize("kind", ["prefix", "between", "suffix"])
@pytest.mark.parametrize("what", ["accessions", "query"])
async def test_error_documents_are_seen_and_not_stored(twenty: World, kind: str, what: str) -> None:
    """Before, between or behind good records: those are kept, nothing else is."""
    twenty.upstream.faults.append(Fault("efetch", kind))  # type: ignore[arg-type]
    polled = await twenty.poll(*(KEYS if what == "accessions" else [QUERY]))
    assert {str(each.state.outcome) for each in polled.values()} == {"changed"}
    assert await twenty.store.counts("sequence", [QUERY]) == (
        {} if what == "accessions" else {QUERY: 20}
    )


@pytest.mark.parametrize("how", [{}, {"chunked": True}, {"clean": True}])
@pytest.mark.parametrize("what", ["accessions", "query"])
async def test_a_truncated_answer_keeps_its_whole_records(
    twenty: World, what: str, how: dict[str, bool]
) -> None:
    """The rest is asked for again; no record is ever shorter than it is."""
    twenty.upstream.faults.append(Fault("efetch", "truncate", after=9000, **how))  # type: ignore[arg-type]
    polled = await twenty.poll(*(KEYS if what == "accessions" else [QUERY]))
    assert {str(each.state.outcome) for each in polled.values()} == {"changed"}
    requests = [each for each in twenty.upstream.log if "efetch" in each.path]
    assert len(requests) == 2
    if what == "accessions":
        assert 0 < len(requests[1].form["id"].split(",")) < 20
    for accession in ACCESSIONS:
        document = await twenty.store.record("sequence", f"nuccore:{accession}.1")
        assert document is not None
        assert flat_file(document) == twenty.upstream.ncbi.get(accession).flat
        assert len(document["sequence"]) == document["length"]


async def test_an_answer_that_is_always_cut_ends_as_failure(twenty: World) -> None:
    """What came is stored, what did not is told, and nothing is asked for ever."""
    first = len(twenty.upstream.ncbi.get(ACCESSIONS[0]).flat)
    twenty.upstream.faults.append(Fault("efetch", "truncate", times=None, after=first + 500))
    polled = await twenty.poll(*KEYS, wait=1000)
    outcomes = {str(each.state.outcome) for each in polled.values()}
    assert outcomes <= {"changed", "unreachable", "malformed"}
    assert len(twenty.upstream.log) < 100
    for key, each in polled.items():
        stored = await twenty.records(key)
        assert len(stored) == (1 if each.state.outcome == "changed" else 0)


async def test_limits_told_with_200_are_limits(twenty: World) -> None:
    """The body of a limit is no record, whatever the status."""
    body = '{"error":"API rate limit exceeded","api-key":"x","count":"4","limit":"3"}'
    for status in (429, 200):
        headers = {"Retry-After": "2", "Content-Type": "application/json"}
        twenty.upstream.faults.append(
            Fault("efetch", "status", status=status, headers=headers, body=body)
        )
    assert await twenty.outcome(KEYS[0]) == "changed"
    twenty.upstream.faults.append(Fault("", "status", times=None, status=200, body=body))
    assert await twenty.outcome(KEYS[1], wait=0) == "rate_limited"


@pytest.mark.parametrize(
    "body",
    [
        '{"header":{},"esearchresult":{"ERROR":"Search Backend failed:\nno answer"}}',
        '{"header":{},"esearchresult":{"webenv":"x"}}',
        '{"header":{},"esearchresult":{"count":"many"}}',
        "[]",
    ],
)
async def test_a_search_that_fails_with_200_is_no_empty_result(twenty: World, body: str) -> None:
    """An error, raw newlines included, detaches nothing and is tried again."""
    await twenty.poll(QUERY)
    headers = {"Content-Type": "application/json"}
    fault = Fault("esearch", "status", times=None, status=200, headers=headers, body=body)
    twenty.upstream.faults.append(fault)
    polled = (await twenty.poll(QUERY, wait=1000))[QUERY]
    assert (polled.state.outcome, polled.state.records) == ("malformed", 20)
    twenty.upstream.faults.clear()
    fault = Fault("esearch", "status", status=200, headers=headers, body=body)
    twenty.upstream.faults.append(fault)
    assert await twenty.outcome(QUERY) == "unchanged"


async def test_the_block_page_parks_and_is_told(twenty: World) -> None:
    """Nothing is stored, and the operator reads what to do."""
    twenty.upstream.ncbi.blocked = True
    polled = (await twenty.poll(KEYS[0]))[KEYS[0]]
    assert polled.state.outcome == "blocked"
    assert polled.state.failure is not None
    assert "info@ncbi.nlm.nih.gov" in polled.state.failure.message


async def test_a_bad_key_is_unauthorized(twenty: World) -> None:
    """A key that NCBI does not know."""
    twenty.overrides["ncbi.api_key"] = "unknown"
    assert await twenty.outcome(KEYS[0]) == "unauthorized"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("", "garbage", times=None), "malformed"),
        (Fault("", "garbage", times=None, garbage="bytes"), "malformed"),
        (Fault("", "status", times=None, status=502), "unreachable"),
        (Fault("", "reset", times=None), "unreachable"),
        (Fault("", "wrong_encoding", times=None, encoding="gzip"), "malformed"),
        (Fault("", "status", times=None, status=200, body=""), "malformed"),
    ],
    ids=lambda each: f"{each.kind}-{each.garbage}-{each.status}" if isinstance(each, Fault) else "",
)
@pytest.mark.parametrize("target", [KEYS[0], QUERY])
async def test_faults_end_in_their_outcome(
    twenty: World, fault: Fault, outcome: str, target: str
) -> None:
    """After all tries; what was stored stays."""
    await twenty.poll(target)
    before = await twenty.records(target)
    fault.applied = 0
    twenty.upstream.faults.append(fault)
    polled = (await twenty.poll(target, wait=1000))[target]
    assert polled.state.outcome == outcome
    assert await twenty.records(target) == before


async def test_no_second_sees_one_request_too_many(world: World) -> None:
    """Three a second without a key, judged where the requests arrive, across runs too."""
    world.upstream.ncbi.populate(2000)
    for start in range(0, 2000, 500):
        entries = list(world.upstream.ncbi.databases["nuccore"])[start : start + 500]
        await world.poll(*(f"ncbi:nuccore/{accession}" for accession in entries))
        await world.poll("ncbi:nuccore?txid4[Organism:exp]")
    assert world.upstream.ncbi.violations == []
    assert len(world.upstream.log) >= 16
