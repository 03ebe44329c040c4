"""The local NCBI keeps to NCBI's rules, the odd ones included."""

import json
import re
from datetime import date
from typing import Any
from xml.etree import ElementTree

import pytest

from fetcher.demo import DemoUpstream, Fault, Taxon, synthetic_genbank
from tests.demo.conftest import Client


@pytest.fixture(autouse=True)
def _some(upstream: DemoUpstream) -> None:
    """Six nucleotides: two RefSeq, one of three in two versions; and a protein."""
    ncbi = upstream.ncbi
    for n, accession in enumerate(("NC_000001", "NC_000002", "AB000003", "AB000004")):
        flat = synthetic_genbank(
            accession,
            length=130,
            organism="Some mosaic virus" if n % 2 else "Other mottle virus",
            taxid=100 + n % 2,
            date=f"0{n + 1}-FEB-2024",
            secondary=("AX000009",) if accession == "AB000004" else (),
        )
        ncbi.add("nuccore", flat)
    ncbi.add("protein", synthetic_genbank("ABC12345", molecule="AA", length=70))
    ncbi.add_taxon(Taxon(10239, "Viruses", "superkingdom"))
    ncbi.add_taxon(Taxon(10, "Some genus", "genus", 10239))
    ncbi.add_taxon(Taxon(100, "Other mottle virus", "species", 10, {"Acronym": ["OMV", "O<V"]}))
    ncbi.add_taxon(Taxon(101, "Some mosaic virus", "species", 10))


def names(reply_text: str) -> list[str]:
    """The accession.versions of a flat answer, which holds whole records and nothing else."""
    records = reply_text.split("//\n\n")
    assert records.pop() == ""
    assert all(each.startswith("LOCUS ") for each in records)
    return re.findall(r"(?m)^VERSION     (\S+)$", reply_text)


# --- efetch: every row of the table ---------------------------------------------------------


async def test_records_end_with_an_empty_line(client: Client) -> None:
    """In the order asked for, each `//` followed by an empty line; POST and GET alike."""
    asked = {"id": "AB000003,NC_000001.1"}
    post = await client.fetch(**asked)
    get = await client.fetch(**asked, method="GET")
    assert post.text == get.text
    assert names(post.text) == ["AB000003.1", "NC_000001.1"]


async def test_an_unknown_accession_alone(client: Client, upstream: DemoUpstream) -> None:
    """400, letters spaced out; URL-encoded where it is wanted."""
    reply = await client.fetch("NC_999999")
    assert reply.status == 400
    said = "Error: F a i l e d  t o  r e t r i e v e  s e q u e n c e :  NC_999999"
    assert reply.text.strip() == said
    upstream.ncbi.urlencoded_errors = True
    reply = await client.fetch("NC_999999")
    assert (reply.status, reply.text[:17]) == (400, "Error%3A+F+a+i+l+")


async def test_an_unparseable_id(client: Client, upstream: DemoUpstream) -> None:
    """200 and nothing but an error, even among good ones; or the error among them."""
    for ids in ("not an id", "NC_000001,not an id"):
        reply = await client.fetch(ids)
        assert reply.status == 200
        said = "Error: F a i l e d  t o  u n d e r s t a n d  i d :  not an id"
        assert reply.text.strip() == said
    upstream.ncbi.inline_errors = True
    reply = await client.fetch("NC_000001,not an id,NC_000002")
    assert reply.text.count("//\n\n") == 2
    assert "//\n\nError: F a i l e d" in reply.text


async def test_some_unknown_are_left_out(client: Client) -> None:
    """200 with the others, and not a word about it."""
    reply = await client.fetch("NC_000001,NC_999999,AB000003.7,AB000004")
    assert reply.status == 200
    assert names(reply.text) == ["NC_000001.1", "AB000004.1"]


async def test_an_empty_id(client: Client) -> None:
    """400, with plus signs."""
    for given in ({"id": ""}, {"id": " , "}, {}):
        reply = await client.ncbi("efetch", rettype="gb", retmode="text", **given)
        assert (reply.status, reply.text.strip()) == (400, "Supplied+id+parameter+is+empty.")


async def test_an_expired_history(client: Client, upstream: DemoUpstream) -> None:
    """200 and one line."""
    kept = await client.search("refseq[filter]", usehistory="y")
    where = {"WebEnv": kept["webenv"], "query_key": kept["querykey"]}
    assert names((await client.fetch(**where)).text) == ["NC_000002.1", "NC_000001.1"]
    assert names((await client.fetch(**where, retstart="1", retmax="1")).text) == ["NC_000001.1"]
    upstream.ncbi.expire_history()
    reply = await client.fetch(**where)
    assert reply.status == 200
    assert "Unable to obtain query #1" in reply.text
    assert "LOCUS" not in reply.text


async def test_versions(client: Client, upstream: DemoUpstream) -> None:
    """An old version is served as asked for, and says what replaced it; no version is newest."""
    before = (await client.fetch("AB000003")).text
    upstream.ncbi.bump("AB000003")
    new = (await client.fetch("AB000003")).text
    old = (await client.fetch("AB000003.1")).text
    assert (names(new), names(old)) == (["AB000003.2"], ["AB000003.1"])
    assert "sequence was replaced by\n            AB000003.2." in old
    assert new.split("ORIGIN")[1] != old.split("ORIGIN")[1] == before.split("ORIGIN")[1]
    assert "14-NOV-2023" in new.split("\n")[0]
    assert names((await client.fetch("AB000003.1,AB000003")).text) == ["AB000003.1", "AB000003.2"]
    for _ in range(9):
        upstream.ncbi.bump("AB000003")
    assert names((await client.fetch("AB000003")).text) == ["AB000003.11"]


async def test_a_secondary_accession_and_a_uid(client: Client, upstream: DemoUpstream) -> None:
    """Both give the record that they stand for."""
    assert names((await client.fetch("AX000009")).text) == ["AB000004.1"]
    uid = str(upstream.ncbi.get("NC_000002").uid)
    assert names((await client.fetch(uid)).text) == ["NC_000002.1"]
    assert (await client.fetch("12")).status == 400


async def test_too_many_at_once(client: Client, upstream: DemoUpstream) -> None:
    """9,999 ids are taken, one more is refused."""
    ids = [f"ZZ{n:06d}" for n in range(9_999)]
    assert "F a i l e d  t o  r e t" in (await client.fetch(",".join(ids))).text
    reply = await client.fetch(",".join([*ids, "NC_000001"]))
    assert (reply.status, "9999 records" in reply.text) == (400, True)


async def test_other_forms(client: Client, upstream: DemoUpstream) -> None:
    """FASTA, accessions, and the parts that rettype=gb leaves out."""
    fasta = (await client.fetch("NC_000001", rettype="fasta")).text.split("\n")
    assert fasta[0] == ">NC_000001.1 Other mottle virus isolate NC_000001, complete genome"
    assert ([len(line) for line in fasta[1:]], fasta[1].isupper()) == ([70, 60, 0, 0], True)
    assert (await client.fetch("AX000009,NC_000001", rettype="acc")).text == (
        "AB000004.1\nNC_000001.1\n"
    )
    brief = synthetic_genbank("CM000001", length=120).split("FEATURES")[0] + "CONTIG      x\n//\n"
    upstream.ncbi.add("nuccore", synthetic_genbank("CM000001", length=120), brief=brief)
    assert "FEATURES" not in (await client.fetch("CM000001")).text
    assert "FEATURES" in (await client.fetch("CM000001", rettype="gbwithparts")).text
    protein = await client.fetch("ABC12345", db="protein", rettype="gp")
    assert names(protein.text) == ["ABC12345.1"]
    assert (await client.fetch("NC_000001", db="nonsense")).status == 400


async def test_status(client: Client, upstream: DemoUpstream) -> None:
    """Suppressed: only by accession. Withdrawn: not at all. Replaced: the other one instead."""
    ncbi = upstream.ncbi
    ncbi.suppress("NC_000001")
    ncbi.withdraw("NC_000002")
    ncbi.replace("AB000003", by="AB000004")
    assert (await client.search("all[filter]", idtype="acc"))["idlist"] == ["AB000004.1"]
    reply = await client.fetch("NC_000001,NC_000002,AB000003.1")
    assert names(reply.text) == ["NC_000001.1", "AB000003.1"]
    assert names((await client.fetch("AB000003")).text) == ["AB000004.1"]
    summaries = await client.ncbi("esummary", id="NC_000001,NC_000002,AB000003.1,AB000004,X00001")
    found = re.findall(r'"(Status|ReplacedBy)" Type="String">([^<]*)<', summaries.text)
    values = [value for _, value in found]
    assert values == ["suppressed", "", "withdrawn", "", "replaced", "AB000004.1", "live", ""]
    assert "<ERROR>Invalid uid X00001 at position= 4</ERROR>" in summaries.text


# --- esearch --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("NC_000001", ["NC_000001.1"]),
        ("nc_000001.1[Accession]", ["NC_000001.1"]),
        ("AX000009[ACCN]", ["AB000004.1"]),
        ("all[filter]", ["AB000004.1", "AB000003.1", "NC_000002.1", "NC_000001.1"]),
        ("refseq[filter]", ["NC_000002.1", "NC_000001.1"]),
        ("srcdb_refseq[PROP]", ["NC_000002.1", "NC_000001.1"]),
        ("txid100[Organism:noexp]", ["AB000003.1", "NC_000001.1"]),
        ("txid100[Organism:exp] AND refseq[filter]", ["NC_000001.1"]),
        ("txid10[Organism:exp] NOT refseq[filter]", ["AB000004.1", "AB000003.1"]),
        ("txid10[Organism:noexp]", []),
        ("Some mosaic virus[Organism]", ["AB000004.1", "NC_000002.1"]),
        ('"some mosaic virus"[orgn] AND refseq[filter]', ["NC_000002.1"]),
        ("Tobamovirus[Organism] AND mottle", ["AB000003.1", "NC_000001.1"]),
        ("mosaic", ["AB000004.1", "NC_000002.1"]),
        ("mos*", ["AB000004.1", "NC_000002.1"]),
        ("mosaic nc_000002", ["NC_000002.1"]),
        ("NC_000001 OR (AB000003 AND mottle)", ["AB000003.1", "NC_000001.1"]),
        # From left to right, without precedence.
        ("AB000004 OR AB000003 AND mottle", ["AB000003.1"]),
        ("2024/02/02:2024/02/03[MDAT]", ["AB000003.1", "NC_000002.1"]),
        ("100:200[SLEN] AND NC_000001[accn]", ["NC_000001.1"]),
    ],
)
async def test_terms(client: Client, term: str, found: list[str]) -> None:
    """What each kind of term finds, newest first."""
    result = await client.search(term, idtype="acc")
    assert (result["idlist"], result["count"]) == (found, str(len(found)))


async def test_a_search_that_finds_nothing(client: Client) -> None:
    """Counts are strings; what was not found is named."""
    result = await client.search("mosaic AND nonsense")
    assert (result["count"], result["retmax"], result["idlist"]) == ("0", "0", [])
    assert result["errorlist"]["phrasesnotfound"] == ["nonsense"]
    assert result["warninglist"]["outputmessages"] == ["No items found."]
    result = await client.search("mosaic[Nofield]")
    assert result["errorlist"]["fieldsnotfound"] == ["Nofield"]


async def test_dates(client: Client, upstream: DemoUpstream) -> None:
    """Days, both included; one bound without the other is an error with status 200."""
    both = {"datetype": "mdat", "mindate": "2024/02/02", "maxdate": "2024/02/03"}
    found = await client.search("all[filter]", idtype="acc", **both)
    assert found["idlist"] == ["AB000003.1", "NC_000002.1"]
    year = await client.search("all[filter]", datetype="mdat", mindate="2024", maxdate="2024")
    assert year["count"] == "4"
    for one in ({"mindate": "2024/02/02"}, {"maxdate": "2024/02/02", "mindate": ""}):
        assert "together" in (await client.search("all[filter]", datetype="mdat", **one))["ERROR"]
    upstream.ncbi.edit("NC_000001", "Other mottle", "Quite another")
    today = await client.search("2023/11/14[MDAT]", idtype="acc")
    assert today["idlist"] == ["NC_000001.1"]
    assert upstream.ncbi.get("NC_000001").mdat == date(2023, 11, 14)


async def test_paging_and_history(client: Client, upstream: DemoUpstream) -> None:
    """A kept result stays as it was; `#1` is searched again; beyond the reach is an error."""
    kept = await client.search("all[filter]", usehistory="y", retmax="1", retstart="1")
    assert (kept["count"], kept["retmax"], kept["retstart"]) == ("4", "1", "1")
    assert kept["idlist"] == [str(upstream.ncbi.get("AB000003").uid)]
    upstream.ncbi.populate(2)
    again = {"WebEnv": kept["webenv"], "idtype": "acc"}
    assert (await client.search("#1", **again))["count"] == "4"
    both = await client.search("#1 AND refseq[filter]", **again, usehistory="y")
    assert (both["count"], both["querykey"], both["webenv"]) == ("2", "2", kept["webenv"])
    assert (await client.search("all[filter]"))["count"] == "6"
    upstream.ncbi.expire_history(kept["webenv"])
    assert "Unable to obtain query #1" in (await client.search("#1", **again))["ERROR"]
    upstream.ncbi.reach = 5
    assert len((await client.search("all[filter]", retstart="4", retmax="9"))["idlist"]) == 1
    reply = await client.ncbi(
        "esearch", term="all[filter]", retstart="5", retmode="json", method="GET"
    )
    assert b"Exception:\n" in reply.body  # a raw newline within a string
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


async def test_bad_searches(client: Client) -> None:
    """Status 200, and an ERROR in place of a result; in XML too."""
    for term in ("", "  ", "(refseq[filter]", "AND", "#1", "x[SLEN]", "yesterday[MDAT]"):
        assert set(await client.search(term)) == {"ERROR"}
    xml = await client.ncbi("esearch", term="")
    assert "<ERROR>Empty term" in xml.text
    xml = await client.ncbi("esearch", term="NC_000001", usehistory="y")
    assert re.search(r"<Count>1</Count>.*<WebEnv>MCID_\w+</WebEnv>", xml.text)


async def test_without_a_uid_in_the_index(client: Client, upstream: DemoUpstream) -> None:
    """Some records can be fetched by accession and not be found by any search."""
    upstream.ncbi.add("nuccore", synthetic_genbank("OX000001"), searchable=False)
    assert (await client.search("OX000001"))["count"] == "0"
    assert names((await client.fetch("OX000001")).text) == ["OX000001.1"]


# --- esummary, epost, einfo -----------------------------------------------------------------


async def test_summaries(client: Client, upstream: DemoUpstream) -> None:
    """JSON has no status; unknown UIDs stand among the others, unknown accessions do not."""
    entry = upstream.ncbi.get("NC_000001")
    ask: dict[str, str] = {"retmode": "json", "version": "2.0"}
    shape = (await client.ncbi("esummary", id=f"NC_000001,77,NOPE1,{entry.uid}", **ask)).json
    assert shape["result"]["uids"] == [str(entry.uid), "77", str(entry.uid)]
    found = shape["result"][str(entry.uid)]
    assert (found["accessionversion"], found["slen"], found["taxid"]) == ("NC_000001.1", 130, 100)
    assert (found["updatedate"], found["moltype"]) == ("2024/02/01", "rna")
    assert not {"status", "replacedby"} & set(found)
    assert shape["result"]["77"] == {"uid": "77", "error": "cannot get document summary"}
    assert shape["error"] == "Invalid uid NOPE1 at position= 2"
    nothing = (await client.ncbi("esummary", id="NOPE1", **ask)).json
    assert nothing["esummaryresult"] == ["Invalid uid NOPE1 at position= 0"]
    assert "result" not in nothing


async def test_at_most_500_summaries_in_json(client: Client, upstream: DemoUpstream) -> None:
    """501 are too many for JSON and none too many for XML."""
    ids = upstream.ncbi.populate(501)
    ask: dict[str, str] = {"retmode": "json", "version": "2.0"}
    most = (await client.ncbi("esummary", id=",".join(ids[:500]), **ask)).json
    assert len(most["result"]["uids"]) == 500
    over = (await client.ncbi("esummary", id=",".join(ids), **ask)).json
    assert over["esummaryresult"][0].startswith("Too many UIDs in request.")
    xml = await client.ncbi("esummary", id=",".join(ids))
    assert xml.text.count("<DocSum>") == 501


async def test_epost_and_einfo(client: Client) -> None:
    """Ids are kept in order, bad ones are named; einfo tells the databases."""
    posted = await client.ncbi("epost", id="AB000003,NC_000001,NOPE1")
    webenv = re.search(r"<WebEnv>(\w+)</WebEnv>", posted.text)
    assert webenv is not None
    assert "<InvalidIdList><Id>NOPE1</Id></InvalidIdList>" in posted.text
    fetched = await client.fetch(WebEnv=webenv[1], query_key="1")
    assert names(fetched.text) == ["AB000003.1", "NC_000001.1"]
    summed = await client.ncbi("esummary", WebEnv=webenv[1], query_key="1", retmode="json")
    assert len(summed.json["result"]["uids"]) == 2
    info = await client.session.get(f"{client.urls.eutils}/einfo.fcgi?retmode=json")
    assert (await info.json())["einforesult"]["dblist"] == [
        "nuccore",
        "protein",
        "taxonomy",
        "bioproject",
    ]
    one = await client.ncbi("einfo", retmode="json")
    assert one.json["einforesult"]["dbinfo"][0]["count"] == "4"


async def test_taxa(client: Client) -> None:
    """A TaxaSet with lineages from the root down and other names; unknown ones are left out."""
    reply = await client.ncbi("efetch", db="taxonomy", id="100,77,10", retmode="xml")
    root = ElementTree.fromstring(reply.text)
    assert [each.findtext("TaxId") for each in root] == ["100", "10"]
    assert [each.text for each in root[0].iterfind("OtherNames/Acronym")] == ["OMV", "O<V"]
    lineage = [each.text for each in root[0].iterfind("LineageEx/Taxon/ScientificName")]
    assert lineage == ["Viruses", "Some genus"]
    assert root[0].findtext("Lineage") == "Viruses; Some genus"
    assert (root[0].findtext("Rank"), root[0].findtext("ParentTaxId")) == ("species", "10")
    nothing = await client.ncbi("efetch", db="taxonomy", id="77", retmode="xml")
    assert "<ERROR>" in nothing.text


# --- limits and keys ------------------------------------------------------------------------


async def burst(client: Client, count: int, **params: str) -> list[Any]:
    """So many calls at one instant."""
    url = f"{client.urls.eutils}/einfo.fcgi"
    replies = []
    for _ in range(count):
        async with client.session.get(url, params={"retmode": "json", **params}) as response:
            replies.append((response.status, dict(response.headers), await response.json()))
    return replies


async def test_three_a_second(client: Client, upstream: DemoUpstream) -> None:
    """The fourth within any second is refused, by the body that NCBI sends."""
    replies = await burst(client, 4)
    assert [status for status, _, _ in replies] == [200, 200, 200, 429]
    assert [headers["X-RateLimit-Remaining"] for _, headers, _ in replies] == ["2", "1", "0", "0"]
    assert replies[3][1]["Retry-After"] == "1"
    said = {"error": "API rate limit exceeded", "api-key": "127.0.0.1", "count": "4", "limit": "3"}
    assert replies[3][2] == said
    assert upstream.ncbi.violations == [client.clock.time]
    client.clock.time += 0.75
    assert (await burst(client, 1))[0][0] == 429
    client.clock.time += 0.25
    assert [each[0] for each in await burst(client, 4)] == [200, 200, 200, 429]
    upstream.ncbi.limit_status = 200
    assert (await burst(client, 1))[0][2]["error"] == "API rate limit exceeded"
    upstream.ncbi.enforce = False
    assert "einforesult" in (await burst(client, 1))[0][2]
    assert len(upstream.ncbi.violations) == 5


async def test_keys(client: Client, upstream: DemoUpstream) -> None:
    """Ten a second with a known key; an unknown or empty one is refused."""
    upstream.ncbi.api_keys["abc"] = 10
    replies = await burst(client, 11, api_key="abc")
    assert [each[0] for each in replies] == [200] * 10 + [429]
    assert replies[0][1]["X-RateLimit-Limit"] == "10"
    assert upstream.log[0].account == "abc"
    for wrong in ("", "nonsense"):
        client.clock.time += 1
        status, _, shape = (await burst(client, 1, api_key=wrong))[0]
        assert (status, shape["error"]) == (400, "API key invalid")


async def test_the_block_page(client: Client, upstream: DemoUpstream) -> None:
    """HTML, whatever is asked for."""
    upstream.ncbi.blocked = True
    reply = await client.ncbi("esearch", term="NC_000001", retmode="json")
    assert reply.status == 403
    assert "<title>NCBI - WWW Error Blocked Diagnostic</title>" in reply.text


async def test_the_log(client: Client, upstream: DemoUpstream) -> None:
    """Every request with what was sent: tool, email, headers in any case."""
    await client.fetch("NC_000001", tool="t", email="a@b.c")
    await client.fetch("NC_000001", method="GET")
    posted, got = upstream.requests("ncbi", "efetch")
    assert (posted.method, posted.path, posted.status) == ("POST", "/efetch.fcgi", 200)
    assert (posted.form["tool"], posted.form["email"]) == ("t", "a@b.c")
    assert (posted.query, got.form) == ({}, {})
    assert got.params["id"] == "NC_000001"
    assert "aiohttp" in got.headers["user-agent"]
    assert (posted.at, posted.account) == (client.clock.time - 1.0, "ip:127.0.0.1")


async def test_texts_stand_between_records(client: Client, upstream: DemoUpstream) -> None:
    """Error documents before, between and after good records; and records left out."""
    ids = "NC_000001,NC_000002,AB000003"
    for kind in ("prefix", "between", "suffix"):
        upstream.faults.append(Fault("efetch", kind))
        text = (await client.fetch(ids)).text
        assert text.count("//\n\n") == 3
        at = {"prefix": 0, "suffix": len(text) - len(upstream.faults[-1].text)}.get(kind)
        found = text.index("<?xml")
        assert found == at if at is not None else 0 < found < text.rindex("LOCUS")
    upstream.faults.append(Fault("efetch", "drop", accessions=("nc_000001", "AB000003.1")))
    assert names((await client.fetch(ids)).text) == ["NC_000002.1"]
    assert names((await client.fetch(ids)).text) == ["NC_000001.1", "NC_000002.1", "AB000003.1"]
    assert [each.applied for each in upstream.faults] == [1, 1, 1, 1]
