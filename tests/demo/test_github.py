"""The local GitHub keeps to GitHub's rules."""

import asyncio
import gzip
import re
from typing import Any

import aiohttp
import pytest

from fetcher.demo import DemoUpstream, Fault, GithubUser
from tests.demo.conftest import Client


@pytest.fixture(autouse=True)
def _some(upstream: DemoUpstream) -> None:
    state = upstream.github
    state.add_repository("Acme/Tool", 42)
    for n in range(5):
        state.add_release("acme/tool", f"v{n}", published_at=f"2024-01-0{n + 1}T00:00:00Z")
    state.tokens["t1"] = GithubUser("ann", push={"acme/tool"})
    state.tokens["t2"] = GithubUser("ann")
    state.tokens["t3"] = GithubUser("bob", limit=10)


async def releases(client: Client, query: str = "", **more: Any) -> list[Any]:
    reply = await client.github(f"/repos/acme/tool/releases{query}", **more)
    assert reply.status == 200, reply.text
    found: list[Any] = reply.json
    return found


async def test_a_release_has_the_recorded_shape(client: Client, upstream: DemoUpstream) -> None:
    """The keys of a release and its assets are those recorded from api.github.com."""
    upstream.github.add_release("acme/tool", "a/b", assets=[{"name": "x.gz", "content": b"abc"}])
    shape = (await client.github("/repos/ACME/tool/releases/tags/a/b")).json
    assert list(shape) == [
        "url",
        "assets_url",
        "upload_url",
        "html_url",
        "id",
        "author",
        "node_id",
        "tag_name",
        "target_commitish",
        "name",
        "draft",
        "immutable",
        "prerelease",
        "created_at",
        "updated_at",
        "published_at",
        "assets",
        "tarball_url",
        "zipball_url",
        "body",
    ]
    assert list(shape["assets"][0]) == [
        "url",
        "id",
        "node_id",
        "name",
        "label",
        "uploader",
        "content_type",
        "state",
        "size",
        "digest",
        "download_count",
        "created_at",
        "updated_at",
        "browser_download_url",
    ]
    assert shape["url"].startswith(f"{client.urls.github}/repos/Acme/Tool/releases/")
    assert shape["assets"][0]["size"] == 3
    assert shape["assets"][0]["digest"].startswith("sha256:ba7816bf")
    assert shape["html_url"] == "https://github.com/Acme/Tool/releases/tag/a/b"
    encoded = await client.github("/repos/acme/tool/releases/tags/a%2Fb")
    assert encoded.json == shape
    one = await client.github(shape["url"])
    assert one.json == shape


async def test_pages_are_linked_by_id(client: Client) -> None:
    """Links are absolute, keep the other parameters, and name the repository by its id."""
    first = await client.github("/repos/acme/tool/releases?per_page=2&x=y")
    links = dict(re.findall(r'<([^>]+)>; rel="(\w+)"', first.headers["Link"]))
    base = f"{client.urls.github}/repositories/42/releases?per_page=2&x=y&page="
    assert links == {f"{base}2": "next", f"{base}3": "last"}
    second = await client.github(f"{base}2")
    assert re.findall(r'rel="(\w+)"', second.headers["Link"]) == ["prev", "next", "last", "first"]
    last = await client.github(f"{base}3")
    assert re.findall(r'rel="(\w+)"', last.headers["Link"]) == ["prev", "first"]
    tags = [each["tag_name"] for page in (first, second, last) for each in page.json]
    assert tags == ["v4", "v3", "v2", "v1", "v0"]
    assert (await client.github(f"{base}9")).json == []
    assert "Link" not in (await client.github("/repos/acme/tool/releases")).headers


async def test_only_the_first_results_are_listed(client: Client, upstream: DemoUpstream) -> None:
    """Past the 10,000th release (here the fourth) there is a 422, and no link leads there."""
    upstream.github.listed_at_most = 4
    page = await client.github("/repos/acme/tool/releases?per_page=2&page=2")
    assert 'rel="next"' not in page.headers["Link"]
    beyond = await client.github("/repos/acme/tool/releases?per_page=2&page=3")
    assert beyond.status == 422
    assert "Only the first" in beyond.json["message"]


async def test_at_most_a_hundred_a_page(client: Client, upstream: DemoUpstream) -> None:
    """per_page above 100 is 100, none is 30."""
    upstream.github.populate(1, 120, assets=0)
    path = "/repos/acme/project-00000/releases"
    assert len((await client.github(f"{path}?per_page=500")).json) == 100
    assert len((await client.github(path)).json) == 30


async def test_order_and_latest(client: Client, upstream: DemoUpstream) -> None:
    """Lists and "latest" go by the commit's date; latest is neither draft nor pre-release."""
    state = upstream.github
    state.add_release(
        "acme/tool", "old", created_at="2020-01-01T00:00:00Z", published_at="2025-01-01T00:00:00Z"
    )
    state.add_release("acme/tool", "rc", prerelease=True, published_at="2025-02-01T00:00:00Z")
    state.add_release("acme/tool", "draft", draft=True)
    assert [each["tag_name"] for each in await releases(client)][:2] == ["rc", "v4"]
    assert [each["tag_name"] for each in await releases(client)][-1] == "old"
    latest = await client.github("/repos/acme/tool/releases/latest")
    assert latest.json["tag_name"] == "v4"
    state.repository("acme/tool").latest = state.repository("acme/tool").release("v1").id
    latest = await client.github("/repos/acme/tool/releases/latest")
    assert latest.json["tag_name"] == "v1"
    state.add_repository("acme/none")
    assert (await client.github("/repos/acme/none/releases/latest")).status == 404


async def test_drafts_show_with_push_access_only(client: Client, upstream: DemoUpstream) -> None:
    """A draft is listed for who may push; its tag finds nothing until it is published."""
    draft = upstream.github.add_release("acme/tool", "next", draft=True)
    path = f"/repos/acme/tool/releases/{draft.id}"
    assert len(await releases(client)) == len(await releases(client, token="t2")) == 5
    assert len(await releases(client, token="t1")) == 6
    assert (await client.github(path)).status == 404
    shape = (await client.github(path, token="t1")).json
    assert (shape["draft"], shape["published_at"]) == (True, None)
    assert (await client.github("/repos/acme/tool/releases/tags/next", token="t1")).status == 404
    upstream.github.edit_release("acme/tool", "next", draft=False)
    shape = (await client.github("/repos/acme/tool/releases/tags/next")).json
    assert shape["published_at"] == "2023-11-14T22:13:20Z"
    tags = (await client.github("/repos/acme/tool/tags")).json
    assert {each["name"] for each in tags} == {"v0", "v1", "v2", "v3", "v4", "next"}


async def test_conditional_requests(client: Client, upstream: DemoUpstream) -> None:
    """A 304 costs nothing with a token and one request without; ETags differ by token."""
    path = "/repos/acme/tool/releases"
    first = await client.github(path, token="t1")
    etag, left = first.headers["ETag"], int(first.headers["X-RateLimit-Remaining"])
    assert re.fullmatch(r'W/"[0-9a-f]{64}"', etag)
    again = await client.github(path, token="t1", If_None_Match=etag)
    assert (again.status, again.body) == (304, b"")
    assert int(again.headers["X-RateLimit-Remaining"]) == left
    # Without its quotes it is another one, and so it is with another token.
    assert (await client.github(path, token="t1", If_None_Match=etag[3:-1])).status == 200
    assert (await client.github(path, token="t3", If_None_Match=etag)).status == 200
    anonymous = await client.github(path)
    spent = await client.github(path, If_None_Match=anonymous.headers["ETag"])
    assert (spent.status, spent.headers["X-RateLimit-Remaining"]) == (304, "58")


async def test_what_changes_an_etag(client: Client, upstream: DemoUpstream) -> None:
    """Content does, and so do download counters, though they are no content."""
    state = upstream.github
    state.add_release("acme/tool", "v9", assets=["x"])
    seen: list[str] = []

    async def look() -> str:
        reply = await client.github("/repos/acme/tool/releases", token="t1")
        etag: str = reply.headers["ETag"]
        return etag

    seen.append(await look())
    assert await look() == seen[-1]
    for change in (
        lambda: state.bump_downloads("acme/tool"),
        lambda: state.edit_release("acme/tool", "v9", body="new"),
        lambda: state.replace_asset("acme/tool", "v9", "x", b"other"),
        lambda: state.delete_release("acme/tool", "v9"),
    ):
        change()
        seen.append(await look())
    assert len(set(seen)) == 5
    state.weak_etags = False
    assert (await look()).startswith('"')


async def test_primary_limit_without_a_token(client: Client, upstream: DemoUpstream) -> None:
    """60 an hour for an address; then 403, until the reset that the headers name."""
    for left in range(59, -1, -1):
        reply = await client.github("/repos/acme/tool")
        assert reply.headers["X-RateLimit-Remaining"] == str(left)
    over = await client.github("/repos/acme/tool")
    assert over.status == 403
    assert over.json["message"].startswith("API rate limit exceeded for 127.0.0.1.")
    assert over.headers["X-RateLimit-Used"] == "60"
    assert "Retry-After" not in over.headers
    assert upstream.github.violations == [client.clock.time]
    assert (await client.github("/repos/acme/tool", token="t1")).status == 200
    upstream.github.limit_status = 429
    assert (await client.github("/repos/acme/tool")).status == 429
    client.clock.time = float(over.headers["X-RateLimit-Reset"])
    assert (await client.github("/repos/acme/tool")).headers["X-RateLimit-Remaining"] == "59"


async def test_tokens_of_a_user_share_a_limit(client: Client, upstream: DemoUpstream) -> None:
    """The limit is the user's; /rate_limit tells it and costs nothing."""
    await client.github("/repos/acme/tool", token="t1")
    await client.github("/repos/acme/tool", token="t2")
    for _ in range(2):
        shape = (await client.github("/rate_limit", token="t2")).json
        assert shape["resources"]["core"]["remaining"] == shape["rate"]["remaining"] == 4998
    newer = await client.github("/rate_limit", token="t3", X_GitHub_Api_Version="2026-03-10")
    assert "rate" not in newer.json
    assert newer.json["resources"]["core"]["limit"] == 10
    upstream.github.exhaust("ann", reset_in=60)
    assert (await client.github("/repos/acme/tool", token="t1")).status == 403
    assert [each.account for each in upstream.log][-3:] == ["ann", "bob", "ann"]


async def test_points_of_the_secondary_limit(client: Client, upstream: DemoUpstream) -> None:
    """So many points a minute; then 403 with Retry-After, or without any hint at all."""
    state = upstream.github
    state.secondary_points = 3
    for _ in range(3):
        assert (await client.github("/repos/acme/tool", token="t1")).status == 200
    over = await client.github("/repos/acme/tool", token="t1")
    assert (over.status, over.headers["Retry-After"]) == (403, "60")
    assert over.json["message"].startswith("You have exceeded a secondary rate limit.")
    assert over.headers["X-RateLimit-Remaining"] == "4997"
    client.clock.time += 59
    assert (await client.github("/repos/acme/tool", token="t1")).status == 403
    assert state.violations == [client.clock.time]
    client.clock.time += 1
    state.secondary_retry_after, state.secondary_status = None, 429
    for expected in (200, 200, 200, 429):
        reply = await client.github("/repos/acme/tool", token="t1")
        assert reply.status == expected
    assert "Retry-After" not in reply.headers


async def test_requests_at_once(client: Client, upstream: DemoUpstream) -> None:
    """More at once than allowed exceed the secondary limit too."""
    upstream.github.secondary_concurrent = 2
    upstream.faults.append(Fault("/repos", "hang", times=2))
    hanging = [asyncio.ensure_future(client.github("/repos/acme/tool")) for _ in range(2)]
    while len(upstream.log) < 2:
        await asyncio.sleep(0)
    assert (await client.github("/repos/acme/tool")).status == 403
    assert upstream.github.most_in_flight == 3
    for each in hanging:
        each.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_who_may_ask(client: Client, upstream: DemoUpstream) -> None:
    """No User-Agent 403, a bad token 401, an unknown version 400, a retired one 410."""
    async with client.session.get(
        f"{client.urls.github}/repos/acme/tool", skip_auto_headers=["User-Agent"]
    ) as response:
        assert response.status == 403
        assert "User-Agent" in await response.text()
    state = upstream.github
    state.tokens["t3"].revoked = True
    for token in ("unknown", "t3"):
        bad = await client.github("/repos/acme/tool", token=token)
        assert (bad.status, bad.json["message"]) == (401, "Bad credentials")
    unknown = await client.github("/repos/acme/tool", X_GitHub_Api_Version="2020-01-01")
    assert unknown.status == 400
    state.retired_versions.add("2022-11-28")
    retired = await client.github("/repos/acme/tool", X_GitHub_Api_Version="2022-11-28")
    assert retired.status == 410
    state.retired_versions.clear()
    state.require_token = True
    nobody = await client.github("/repos/acme/tool")
    assert (nobody.status, nobody.json["message"]) == (401, "Requires authentication")
    assert (await client.github("/user", token="t1")).json["login"] == "ann"


async def test_a_renamed_repository_redirects(client: Client, upstream: DemoUpstream) -> None:
    """The old name leads to the id, with path and query, until another one takes the name."""
    upstream.github.rename("acme/tool", "Acme/Better")
    reply = await client.github("/repos/acme/TOOL/releases?per_page=2")
    assert reply.status == 301
    url = f"{client.urls.github}/repositories/42/releases?per_page=2"
    assert reply.headers["Location"] == reply.json["url"] == url
    assert reply.json["message"] == "Moved Permanently"
    assert len((await client.github(url)).json) == 2
    assert (await client.github("/repositories/42")).json["full_name"] == "Acme/Better"
    assert (await client.github("/repos/acme/better")).json["id"] == 42
    upstream.github.add_repository("acme/tool", 43)
    assert (await client.github("/repos/acme/tool")).json["id"] == 43
    assert (await client.github("/repositories/42")).json["full_name"] == "Acme/Better"


async def test_what_may_not_be_seen(client: Client, upstream: DemoUpstream) -> None:
    """Private is 404, blocked 451, forbidden 403 with requests left."""
    state = upstream.github
    state.add_repository("acme/secret", private=True)
    state.tokens["t2"].pull.add("Acme/Secret")
    assert (await client.github("/repos/acme/secret")).status == 404
    assert (await client.github("/repos/acme/secret", token="t3")).status == 404
    assert (await client.github("/repos/acme/secret", token="t2")).json["private"] is True
    state.block("acme/tool")
    blocked = await client.github("/repos/acme/tool/releases")
    assert blocked.status == 451
    assert blocked.json["message"] == "Repository access blocked"
    assert blocked.json["block"]["reason"] == "dmca"
    state.block("acme/tool", None)
    state.forbid("acme/tool")
    refused = await client.github("/repos/acme/tool", token="t1")
    assert refused.status == 403
    assert refused.json["message"] == "Resource not accessible by personal access token"
    assert int(refused.headers["X-RateLimit-Remaining"]) > 0
    missing = await client.github("/repos/acme/nothing")
    assert (missing.status, missing.json["message"]) == (404, "Not Found")


async def test_assets_can_be_downloaded(client: Client, upstream: DemoUpstream) -> None:
    """By the API, by the browser's URL, and from the middle on."""
    state = upstream.github
    state.web_url = client.urls.web
    release = state.add_release("acme/tool", "x/y", assets=[{"name": "a b", "content": b"hello"}])
    shape = (await client.github(f"/repos/acme/tool/releases/{release.id}/assets")).json[0]
    assert (await client.github(shape["url"])).json == shape
    moved = await client.github(shape["url"], Accept="application/octet-stream")
    assert moved.status == 302
    whole = await client.github(moved.headers["Location"])
    assert (whole.body, whole.headers["Accept-Ranges"]) == (b"hello", "bytes")
    rest = await client.github(moved.headers["Location"], Range="bytes=3-")
    assert (rest.status, rest.body) == (206, b"lo")
    assert rest.headers["Content-Range"] == "bytes 3-4/5"
    past = await client.github(moved.headers["Location"], Range="bytes=5-")
    assert past.status == 416
    async with client.session.get(shape["browser_download_url"]) as response:
        assert await response.read() == b"hello"


async def test_compression_and_date(client: Client, upstream: DemoUpstream) -> None:
    """gzip where it is accepted, and the clock's date on everything."""
    url = f"{client.urls.github}/repos/acme/tool/releases"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(url, headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            packed = await response.read()
        async with session.get(url, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == gzip.decompress(packed)
            assert response.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"


async def test_bundled_data(client: Client, upstream: DemoUpstream) -> None:
    """A pre-release, a draft, only tags, nothing at all, several pages, an old name."""
    fresh = DemoUpstream(client.clock.now, client.clock.sleep)
    fresh.load_bundled()
    state = fresh.github
    assert len(state.repository("pygithub/pygithub").releases) == 30
    hello = state.repository("Codertocat/Hello-World").releases
    assert {(each.draft, each.prerelease) for each in hello} == {
        (False, False),
        (True, False),
        (False, True),
    }
    tags = state.repository("padima2/protoncoin")
    assert (len(tags.releases), len(tags.tags)) == (0, 3)
    assert state.formerly("protoncoin/protoncoin") is tags
    empty = state.repository("Codertocat/Empty")
    assert not empty.releases
    assert not empty.tags
    ids = [each.id for repo in state.repositories() for each in repo.releases]
    assert len(set(ids)) == len(ids)
    recorded = state.repository("stellarcarbon/sorocarbon").release(223668595)
    assert recorded.assets[0].digest is not None
    assert len(fresh.ncbi.current("nuccore")) >= 19
    assert len(fresh.ncbi.current("protein")) >= 1
