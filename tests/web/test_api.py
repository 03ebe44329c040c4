"""The read API over a real loopback and both stores, as its users see it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from isal import isal_zlib
from openapi_spec_validator import validate
from yarl import URL

from fetcher.keeper import Keeper
from fetcher.metrics import Metrics
from fetcher.models import TargetState, Wish
from fetcher.reader import Reader
from fetcher.shield import Shield
from fetcher.store import Query
from fetcher.web.access import Access
from fetcher.web.api import ROUTES, Api
from fetcher.web.app import serve
from fetcher.web.stream import Hub
from tests.clock import FakeClock
from tests.shelf import FACTS, NOW, PLAIN, Shelf, shelf
from tests.store.build import KEY, T0, batch, release, sequence
from tests.stores import store_url
from tests.web.test_app import Doctor
from tests.world import SILENT

__all__ = ["TOKEN", "Client", "client", "shelf", "store_url"]

REPO = "/v1/github/virtool/virtool"
TOKEN = {"Authorization": "Bearer s3cret"}
FLAT = b"LOCUS       NC_1\n//\n"


class Asked:
    """Remembers what is to be polled."""

    def __init__(self) -> None:
        self.of: list[tuple[str, bool]] = []

    async def poll_soon(self, state: TargetState, *, full: bool) -> bool:
        self.of.append((state.key, full))
        return state.watch is not None


class Client:
    """Asks the API, and reads what comes."""

    def __init__(self, session: aiohttp.ClientSession, base: str, shelf: Shelf) -> None:
        self.session = session
        self.base = base
        self.shelf = shelf
        self.asked = Asked()
        self.failures = 0
        self.clock = FakeClock()
        self.hub = Hub(shelf.reader, self.clock, SILENT)

    async def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """`path` is escaped already."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, headers=named) as answer:
            return answer, await answer.read()

    async def json(self, path: str, **headers: str) -> Any:
        answer, body = await self.ask(path, **headers)
        assert answer.status == 200, body
        return json.loads(body)

    async def problem(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        answer, body = await self.ask(path, method, **headers)
        assert answer.content_type == "application/problem+json"
        told = json.loads(body)
        assert told["status"] == answer.status
        return answer.status, told["detail"]


async def serving(shelf: Shelf, *, require: bool = False) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(
        auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    ) as session:
        client = Client(session, "", shelf)

        def failed() -> None:
            client.failures += 1

        access = Access(["other", "s3cret"], client.clock, failed)
        keeper = Keeper(
            shelf.store, Shield(lambda error: None), lambda target: "a", lambda state: 60.0, 60.0
        )
        client.hub = Hub(shelf.reader, client.clock, SILENT)
        api = Api(
            shelf.reader,
            access,
            require_token=require,
            poller=client.asked,
            hub=client.hub,
            watcher=keeper,
        )
        async with serve(
            ("127.0.0.1", 0),
            Doctor(),
            Metrics(),
            access=access,
            require_token=require,
            log=SILENT,
            api=api,
            hub=client.hub,
        ) as port:
            client.base = f"http://127.0.0.1:{port}"
            yield client


@pytest.fixture
async def client(shelf: Shelf) -> AsyncIterator[Client]:
    async for each in serving(shelf):
        yield each


@pytest.fixture
async def closed(shelf: Shelf) -> AsyncIterator[Client]:
    async for each in serving(shelf, require=True):
        yield each


async def test_releases_and_their_pages(client: Client) -> None:
    """Newest first; the link leads to the next part, with the same filters."""
    listed = await client.json(f"{REPO}/releases?limit=3&prereleases=false")
    assert [each["tag"] for each in listed["items"]] == ["v3", "v2", "v1"]
    assert listed["next"] is None
    answer, body = await client.ask(f"{REPO}/releases?limit=2&prereleases=true")
    first = json.loads(body)
    link = answer.links["next"]["url"]
    assert str(link).startswith(f"{client.base}{REPO}/releases?limit=2&prereleases=true&after=")
    rest = await client.json(str(link)[len(client.base) :])
    assert [each["tag"] for each in (*first["items"], *rest["items"])] == ["v9", "v3", "v2", "v1"]
    assert rest["next"] is None
    by_old_name = await client.json("/v1/github/OLD/Name/releases?limit=2")
    assert by_old_name["items"] == first["items"]


async def test_one_release(client: Client) -> None:
    """Latest, newest, and by tag; a slash of a tag is escaped or not."""
    await client.shelf.write(batch(release(5, tag="rel/5", **PLAIN)))
    assert (await client.json(f"{REPO}/releases/latest"))["tag"] == "v2"
    assert (await client.json(f"{REPO}/releases/newest"))["tag"] == "v9"
    for tag in ("rel%2F5", "rel/5"):
        assert (await client.json(f"{REPO}/releases/tags/{tag}"))["_id"] == "github:7:5"
    status, detail = await client.problem(f"{REPO}/releases/tags/v77")
    assert (status, "v77" in detail) == (404, True)
    status, detail = await client.problem("/v1/github/no/body/releases")
    assert status == 404
    assert "fetcher fetch no/body" in detail
    assert (await client.json(f"{REPO}/tags"))["items"] == []


async def test_drafts_and_private_repositories_need_a_token(client: Client) -> None:
    """Whoever has none sees nothing of them, not even that they exist."""
    drafts = f"{REPO}/releases?drafts=true"
    assert "v8" not in [each["tag"] for each in (await client.json(drafts))["items"]]
    assert "v8" in [each["tag"] for each in (await client.json(drafts, **TOKEN))["items"]]
    assert (await client.problem(f"{REPO}/releases/tags/v8"))[0] == 404
    answer, _ = await client.ask(f"{REPO}/releases/tags/v8", **TOKEN)
    assert answer.status == 200
    assert answer.headers["Cache-Control"].startswith("private")
    known = await client.shelf.store.target(KEY)
    assert known is not None
    private = replace(known, facts={**FACTS, "private": True})
    await client.shelf.store.save_targets(client.shelf.lease, [private])
    await client.shelf.write(batch(release(1, **{**PLAIN, "private": True}), at=NOW))
    for path in (
        f"{REPO}/releases",
        f"{REPO}/releases/latest",
        f"{REPO}/tags",
        f"/v1/targets/{KEY}",
    ):
        assert (await client.problem(path))[0] == 404
        await client.json(path, **TOKEN)
    assert (await client.json("/v1/targets"))["items"] == []
    assert len((await client.json("/v1/targets", **TOKEN))["items"]) == 1
    shown = [each["_id"] for each in (await client.json("/v1/changes"))["items"]]
    assert sorted(shown) == ["github:7:2", "github:7:3", "github:7:9"]
    assert len((await client.json("/v1/changes", **TOKEN))["items"]) == 5


async def test_a_wrong_token_is_refused_and_slowed(client: Client) -> None:
    """The more of them, the later the answer; they are counted."""
    begun = client.clock.monotonic()
    for number in range(1, 4):
        answer, _ = await client.ask(f"{REPO}/releases", Authorization="Bearer nonsense")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.failures == number
    assert client.clock.monotonic() - begun == pytest.approx(0.25 + 0.5 + 1.0)
    await client.json(f"{REPO}/releases", Authorization="bearer other")


async def test_where_reading_needs_a_token(closed: Client) -> None:
    """Everything but health."""
    assert (await closed.problem(f"{REPO}/releases"))[0] == 401
    await closed.json(f"{REPO}/releases", **TOKEN)
    assert (await closed.ask("/healthz"))[0].status == 200


async def test_freshness_stands_in_the_headers(client: Client) -> None:
    """Not in the body, so that the ETag stays as long as the content does."""
    answer, body = await client.ask(f"{REPO}/releases/latest")
    assert answer.headers["Age"] == "90"
    assert answer.headers["Cache-Control"] == "public, no-cache"
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert "checked" not in body.decode()
    known = await client.shelf.store.target(KEY)
    assert known is not None
    await client.shelf.store.wish("hand", [Wish(known.id, known.key, "a", 900.0)])
    watched, same = await client.ask(f"{REPO}/releases/latest")
    assert same == body
    assert watched.headers["ETag"] == answer.headers["ETag"]
    # Looked at 90 seconds ago, and again in five minutes.
    assert watched.headers["Cache-Control"] == "public, max-age=390, must-revalidate"


async def test_not_modified(client: Client) -> None:
    """Each representation has an ETag of its own."""
    path = f"{REPO}/releases"
    answer, body = await client.ask(path)
    packed, small = await client.ask(path, Accept_Encoding="br;q=0.5, gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small) == body
    etags = [each.headers["ETag"] for each in (answer, packed)]
    assert etags[0] != etags[1]
    for given in (etags[0], f'"x", {etags[0]}', f"W/{etags[0]}", "*"):
        again, nothing = await client.ask(path, If_None_Match=given)
        assert (again.status, nothing) == (304, b"")
        assert again.headers["ETag"] == etags[0]
        assert again.headers["Cache-Control"]
    again, _ = await client.ask(path, If_None_Match=etags[0], Accept_Encoding="gzip")
    assert again.status == 200
    plain, _ = await client.ask(path, Accept_Encoding="gzip;q=0")
    assert "Content-Encoding" not in plain.headers
    head, empty = await client.ask(path, "HEAD")
    assert (head.status, empty) == (200, b"")
    assert head.headers["ETag"] == etags[0]
    assert int(head.headers["Content-Length"]) == len(body)


async def test_a_sequence_in_every_format(client: Client) -> None:
    """Without a version the newest; the flat file is byte for byte what was served."""
    flat = isal_zlib.compress(FLAT, 1)
    two = [
        sequence("NC_1", v, status="live", definition="Some virus", flat=flat, sequence="ACGT" * 40)
        for v in (9, 10)
    ]
    master = sequence("AAAA01000000", status="live", definition="x", sequence=None, flat=None)
    await client.shelf.write(batch(*two, master, target="ncbi:nuccore/NC_1"))
    path = "/v1/ncbi/nuccore/nc_1"
    assert (await client.json(path))["version"] == 10
    assert (await client.json(f"{path}.9"))["version"] == 9
    answer, body = await client.ask(f"{path}?format=genbank")
    assert body == FLAT
    assert answer.content_type == "text/plain"
    answer, fasta = await client.ask(f"{path}?format=fasta")
    lines = fasta.decode().splitlines()
    assert lines[0] == ">NC_1.10 Some virus"
    assert "".join(lines[1:]) == "ACGT" * 40
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert (await client.problem(f"{path}.11"))[0] == 404
    assert (await client.problem("/v1/ncbi/nuccore/AAAA01000000?format=fasta"))[0] == 404
    assert (await client.problem("/v1/ncbi/books/X1"))[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=150-", 206, 150, 182),
        ("bytes=-5", 206, 177, 182),
        ("bytes=5-900", 206, 5, 182),
        ("bytes=900-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, 182),
        ("bytes=0-1,4-5", 200, 0, 182),
        ("lines=1-2", 200, 0, 182),
    ],
)
async def test_parts_of_fasta(
    client: Client, asked: str, status: int, start: int, end: int
) -> None:
    """One range; what cannot be understood is answered in full."""
    await client.shelf.write(
        batch(sequence("NC_1", status="live", definition="Some virus", sequence="ACGT" * 40))
    )
    path = "/v1/ncbi/nuccore/NC_1?format=fasta"
    whole, everything = await client.ask(path)
    assert len(everything) == 182
    answer, body = await client.ask(path, Range=asked, If_Range=whole.headers["ETag"])
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */182"
        return
    assert body == everything[start:end]
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/182"
    stale, body = await client.ask(path, Range=asked, If_Range='"another"')
    assert (stale.status, body) == (200, everything)


async def test_records_by_their_filters(client: Client) -> None:
    """Without sequences unless they are asked for."""
    await client.shelf.write(
        batch(
            sequence("AB1", status="live"),
            sequence("AB2", status="suppressed", taxid=5, organism="Other virus"),
            sequence("AB3", status="live", update_date=T0 + timedelta(days=3)),
            target="ncbi:nuccore?x[Organism]",
        )
    )

    async def names(query: str) -> list[str]:
        listed = await client.json(f"/v1/ncbi/nuccore?{query}")
        return [each["accession"] for each in listed["items"]]

    assert await names("") == ["AB1", "AB3"]
    assert await names("status=any") == ["AB1", "AB2", "AB3"]
    assert await names("taxid=5&status=suppressed") == ["AB2"]
    assert await names("organism=other%20VIRUS&status=any") == ["AB2"]
    assert await names("updated_after=2026-11-24") == ["AB3"]
    assert await names("updated_after=2026-11-24T00:00:00%2B01:00") == ["AB3"]
    assert await names("target=ncbi:nuccore%3Fx%5BOrganism%5D") == ["AB1", "AB3"]
    assert await names("target=ncbi:nuccore/ZZ9") == []
    page = await client.json("/v1/ncbi/nuccore?limit=1")
    assert "sequence" not in page["items"][0]
    more = await client.json(f"/v1/ncbi/nuccore?sequence=true&after={page['next']}")
    assert [each["sequence"] for each in more["items"]] == ["ACGT"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{REPO}/releases?limit=0", "limit"),
        (f"{REPO}/releases?limit=x", "limit"),
        (f"{REPO}/releases?drafts=maybe", "drafts"),
        (f"{REPO}/releases?after=nonsense", "after"),
        (f"{REPO}/releases?colour=red", "colour"),
        (f"{REPO}/releases?limit=1&limit=2", "limit"),
        (f"{REPO}/releases/latest?limit=1", "limit"),
        ("/v1/ncbi/nuccore?taxid=-1", "taxid"),
        ("/v1/ncbi/nuccore?updated_after=yesterday", "updated_after"),
        ("/v1/ncbi/nuccore?status=dead", "status"),
        ("/v1/ncbi/nuccore?target=a/b/c", "target"),
        ("/v1/ncbi/nuccore/AB%201", "AB 1"),
        ("/v1/ncbi/taxonomy/virus", "taxid"),
        ("/v1/targets/github:a", "target"),
        ("/v1/changes?limit=100000", "limit"),
    ],
)
async def test_what_cannot_be_meant_is_named(client: Client, path: str, name: str) -> None:
    """400, and the parameter."""
    status, detail = await client.problem(path)
    assert status == 400
    assert name in detail


async def test_targets_and_refresh(client: Client) -> None:
    """Who watches it polls it; who does not says so."""
    for name in ("github:virtool%2Fvirtool", "github:virtool/virtool", "Old%2FName"):
        told = await client.json(f"/v1/targets/{name}")
        assert told["target"] == "github:virtool/virtool"
        assert (told["outcome"], told["error"], told["records"]) == ("changed", None, 3)
        assert told["age"] == 90.0
        assert told["next_due"]
    path = "/v1/targets/github:virtool%2Fvirtool/refresh"
    assert (await client.problem(path, "POST"))[0] == 401
    status, detail = await client.problem(path, "POST", **TOKEN)
    assert (status, "fetcher watch add" in detail) == (404, True)
    known = await client.shelf.store.target(KEY)
    assert known is not None
    await client.shelf.store.wish("hand", [Wish(known.id, known.key, "a", 900.0)])
    answer, body = await client.ask(f"{path}?full=true", "POST", **TOKEN)
    assert answer.status == 202
    assert json.loads(body)["target"] == "github:virtool/virtool"
    assert client.asked.of[-1] == ("github:virtool/virtool", True)
    assert (await client.problem("/v1/targets/no%2Fbody"))[0] == 404


async def test_a_target_is_watched_and_forgotten(client: Client) -> None:
    """By those with a token; its records go if that is wished, but for what others lead to."""
    path = "/v1/targets/github:virtool%2Fvirtool"
    assert (await client.problem(path, "PUT"))[0] == 401
    assert (await client.problem(path, "DELETE"))[0] == 401

    async def put(body: bytes | None) -> tuple[int, Any]:
        url = URL(client.base + path, encoded=True)
        async with client.session.put(url, data=body, headers=TOKEN) as answer:
            return answer.status, json.loads(await answer.read())

    status, told = await put(b'{"every": "15m"}')
    assert (status, told["watched"], told["every"]) == (200, True, 900.0)
    assert told["target"] == "github:virtool/virtool"
    assert (await put(b""))[1]["every"] == "auto"
    for bad in (b'{"every": "1s"}', b'{"every": "soon"}', b'{"often": 1}', b"[", b"[1]"):
        status, told = await put(bad)
        assert status == 400
        assert "every" in told["detail"] or "JSON" in told["detail"]
    answer, body = await client.ask(path, "DELETE", **TOKEN)
    assert (answer.status, body) == (204, b"")
    assert (await client.json(path))["watched"] is False
    shared = batch(release(3, **PLAIN), target="github:other/target", at=NOW)
    await client.shelf.write(shared)
    answer, _ = await client.ask(f"{path}?purge=true", "DELETE", **TOKEN)
    assert answer.status == 204
    assert (await client.problem(path))[0] == 404
    assert (await client.problem(path, "DELETE", **TOKEN))[0] == 404
    left = [each async for each in client.shelf.store.records(Query("release"))]
    assert [(each["_id"], each["targets"]) for each in left] == [
        ("github:7:3", ["github:other/target"])
    ]
    status, _ = await put(b'{"every": "1h"}')
    assert status == 200
    path = "/v1/targets/ncbi:nuccore%3Ftxid1%5BOrganism%3Aexp%5D%20AND%20a%2Fb"
    assert (await put(b""))[1]["target"] == "ncbi:nuccore?txid1[Organism:exp] AND a/b"
    assert (await client.json(path))["watched"] is True


async def test_pages_of_targets(client: Client) -> None:
    """Each once."""
    wishes = [Wish(f"github:a/{n}", f"github:a/{n}", "a", 900.0) for n in range(5)]
    await client.shelf.store.wish("hand", wishes)
    seen: list[str] = []
    after = ""
    while True:
        page = await client.json(f"/v1/targets?limit=2{after}")
        seen += [each["target"] for each in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [*(f"github:a/{n}" for n in range(5)), "github:virtool/virtool"]


async def test_changes_from_a_cursor(client: Client) -> None:
    """Nothing twice, nothing missed; `next` is always there."""
    start = await client.json("/v1/changes?after=now")
    assert start["items"] == []
    everything = await client.json("/v1/changes?limit=2")
    assert [each["change"] for each in everything["items"]] == ["added", "added"]
    rest = await client.json(f"/v1/changes?after={everything['next']}", **TOKEN)
    assert len(rest["items"]) == 3
    await client.shelf.write(batch(release(1, body="edited", **PLAIN), at=NOW))
    (changed,) = (await client.json(f"/v1/changes?after={start['next']}"))["items"]
    assert changed["_id"] == "github:7:1"
    assert (changed["change"], changed["fields"], changed["revision"]) == ("changed", ["body"], 2)
    end = await client.json(f"/v1/changes?after={changed['cursor']}")
    assert end == {"items": [], "next": changed["cursor"]}
    status, detail = await client.problem("/v1/changes?after=nonsense")
    assert (status, "leave it out" in detail) == (410, True)


async def test_an_outage_of_the_store(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and when to come back."""
    from fetcher.errors import StoreUnavailable

    async def gone(*arguments: object) -> None:
        raise StoreUnavailable("the store is gone")

    monkeypatch.setattr(Reader, "target_state", gone)
    answer, body = await client.ask(f"{REPO}/releases")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
    assert json.loads(body)["detail"] == "the store is gone"


async def test_the_description_is_what_serves(client: Client) -> None:
    """Every path and parameter of the one is in the other, and every answer fits."""
    described = await client.json("/openapi.json")
    assert described["openapi"].startswith("3.1")
    validate(described)
    paths = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert paths == {(route.plain_path, route.method.lower()) for route in ROUTES}
    text = json.dumps(described)
    schemas = described["components"]["schemas"]
    for name in {each.split('"')[0] for each in text.split("#/components/schemas/")[1:]}:
        assert name in schemas
    latest = await client.json(f"{REPO}/releases/latest")
    assert set(latest) - set(schemas["Release"]["properties"]) <= {"stamp", "observed"}
    told = await client.json(f"/v1/targets/{KEY}")
    assert set(schemas["Target"]["required"]) <= set(told)
    answer, page = await client.ask("/docs")
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for route in ROUTES:
        assert route.plain_path in page.decode()
    assert b"http://" not in page
    assert b"https://" not in page


async def test_many_readers_at_once(client: Client) -> None:
    """All of them get the same."""
    answers = await asyncio.gather(*(client.ask(f"{REPO}/releases") for _ in range(50)))
    assert len({body for _, body in answers}) == 1
