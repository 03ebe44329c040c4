"""Release assets and their bytes, which another host has; and what else a release may be."""

import re
from typing import Any

import pytest

from fetcher.demo import DemoUpstream, Fault, GithubUser, Release
from tests.demo.conftest import Client, Reply

CONTENT = bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def release(upstream: DemoUpstream) -> Release:
    upstream.github.add_repository("acme/tool", 42)
    upstream.github.tokens["t1"] = GithubUser("ann")
    return upstream.github.add_release(
        "acme/tool", "v1", assets=[{"name": "a b.gz", "content": CONTENT}]
    )


async def ask(client: Client, release: Release, **headers: str) -> Reply:
    """What the API answers when it is asked for the bytes."""
    path = f"/repos/acme/tool/releases/assets/{release.assets[0].id}"
    accept = {"Accept": "application/octet-stream", **headers}
    return await client.github(path, token="t1", **accept)


async def place(client: Client, release: Release) -> str:
    moved = await ask(client, release)
    assert moved.status == 302
    where: str = moved.headers["Location"]
    return where


async def test_another_host_has_the_bytes(client: Client, release: Release) -> None:
    """The redirect leaves the API's port; nothing there is charged to anybody."""
    where = await place(client, release)
    assert where.startswith(f"{client.urls.files}/objects/")
    assert client.urls.files != client.urls.base
    whole = await client.github(where)
    assert (whole.status, whole.body) == (200, CONTENT)
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert int(whole.headers["Content-Length"]) == release.assets[0].size == len(CONTENT)
    assert "X-RateLimit-Remaining" not in whole.headers
    left = (await client.github("/rate_limit", token="t1")).json["resources"]["core"]
    assert left["used"] == 1


async def test_it_refuses_tokens(client: Client, release: Release) -> None:
    """Any Authorization is one too many, and nothing of the bytes comes."""
    where = await place(client, release)
    reply = await client.github(where, token="t1")
    assert reply.status == 400
    assert "Only one auth mechanism allowed" in reply.text


async def test_links_end(client: Client, upstream: DemoUpstream, release: Release) -> None:
    """After five minutes the API has to be asked again; a link that was made up is none."""
    where = await place(client, release)
    client.clock.time += 299
    assert (await client.github(where)).status == 200
    client.clock.time += 1
    late = await client.github(where)
    assert (late.status, "Request has expired" in late.text) == (403, True)
    for bad in (where.partition("?")[0], re.sub(r"se=\d+", "se=9999999999", where)):
        assert (await client.github(bad)).status == 403
    asset = release.assets[0].id
    upstream.github.replace_asset("acme/tool", release, "a b.gz", b"other")
    assert (await client.github(where)).status == 404
    path = f"/repos/acme/tool/releases/assets/{asset}"
    assert (await client.github(path, Accept="application/octet-stream")).status == 404


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        ("bytes=0-", (0, 2048)),
        ("bytes=2000-", (2000, 2048)),
        ("bytes=10-19", (10, 20)),
        ("bytes=2040-9999", (2040, 2048)),
        ("bytes=-8", (2040, 2048)),
    ],
)
async def test_ranges(client: Client, release: Release, wanted: str, span: tuple[int, int]) -> None:
    """206 with what was asked for, and where it stands in the whole."""
    part = await client.github(await place(client, release), Range=wanted)
    assert (part.status, part.body) == (206, CONTENT[slice(*span)])
    assert part.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/2048"
    assert int(part.headers["Content-Length"]) == span[1] - span[0]


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("bytes=2048-", 416), ("bytes=9-3", 416), ("bytes=-", 200), ("lines=1-", 200)],
)
async def test_ranges_that_are_none(
    client: Client, release: Release, wanted: str, status: int
) -> None:
    """416 beyond the end, with the length; what is no range at all is not looked at."""
    reply = await client.github(await place(client, release), Range=wanted)
    assert reply.status == status
    if status == 416:
        assert reply.headers["Content-Range"] == "bytes */2048"
        assert reply.body == b""


async def test_only_if_it_is_the_same(
    client: Client, upstream: DemoUpstream, release: Release
) -> None:
    """With If-Range a file that is another one by now comes whole."""
    where = await place(client, release)
    etag = (await client.github(where)).headers["ETag"]
    same = await client.github(where, Range="bytes=9-", If_Range=etag)
    assert same.status == 206
    release.assets[0].content = CONTENT[::-1]
    other = await client.github(where, Range="bytes=9-", If_Range=etag)
    assert (other.status, other.body) == (200, CONTENT[::-1])
    assert other.headers["ETag"] != etag


async def test_the_api_may_have_them_itself(
    client: Client, upstream: DemoUpstream, release: Release
) -> None:
    """200 or 302, says the documentation; ranges go either way."""
    upstream.github.redirects_assets = False
    assert (await ask(client, release)).body == CONTENT
    part = await ask(client, release, Range="bytes=2040-")
    assert (part.status, part.body) == (206, CONTENT[2040:])


async def test_faults_of_the_host(client: Client, upstream: DemoUpstream, release: Release) -> None:
    """Its answers are in the log and can be damaged: here a web page with status 200."""
    where = await place(client, release)
    upstream.faults.append(Fault("^GET /objects/", "garbage"))
    page = await client.github(where)
    assert (page.status, page.headers["Content-Type"][:9]) == (200, "text/html")
    assert (await client.github(where)).body == CONTENT
    assert [each.path.split("/")[1] for each in upstream.log] == ["repos", "objects", "objects"]


async def test_an_upload_that_has_not_ended(client: Client, upstream: DemoUpstream) -> None:
    """It is listed as open, without a digest, and has no bytes."""
    state = upstream.github
    opened = {"name": "x", "state": "open", "size": 0, "digest": None}
    release = state.add_release("acme/tool", "v2", assets=[opened])
    shape = (await client.github("/repos/acme/tool/releases/tags/v2")).json["assets"][0]
    assert (shape["state"], shape["size"], shape["digest"]) == ("open", 0, None)
    assert (await ask(client, release)).status == 404


async def test_more_than_a_hundred_assets(client: Client, upstream: DemoUpstream) -> None:
    """All stand within the release; on their own they come in pages."""
    names = [f"f{n:03}" for n in range(205)]
    release = upstream.github.add_release("acme/tool", "big", assets=names)
    shape = (await client.github("/repos/acme/tool/releases/tags/big")).json
    assert [each["name"] for each in shape["assets"]] == names
    found = await pages(client, f"/repos/acme/tool/releases/{release.id}/assets?per_page=100")
    assert [len(page) for page in found] == [100, 100, 5]
    assert [each["name"] for page in found for each in page] == names


async def test_more_than_ten_pages(client: Client, upstream: DemoUpstream) -> None:
    """Links lead through all of them."""
    upstream.github.populate(1, 25, assets=0)
    found = await pages(client, "/repos/acme/project-00000/releases?per_page=2")
    assert len(found) == 13
    assert len({each["id"] for page in found for each in page}) == 25


async def pages(client: Client, path: str) -> list[list[Any]]:
    found = []
    url: str | None = path
    while url is not None:
        reply = await client.github(url, token="t1")
        found.append(reply.json)
        following = re.search(r'<([^>]+)>; rel="next"', reply.headers.get("Link", ""))
        url = following[1] if following else None
    return found


async def test_an_immutable_release(client: Client, upstream: DemoUpstream) -> None:
    """Its tag and files are locked, its text is not."""
    state = upstream.github
    state.add_release("acme/tool", "v3", draft=True, immutable=True)
    state.add_asset("acme/tool", "v3", "x")
    state.edit_release("acme/tool", "v3", draft=False)
    assert (await client.github("/repos/acme/tool/releases/tags/v3")).json["immutable"] is True
    for change in (
        lambda: state.add_asset("acme/tool", "v3", "y"),
        lambda: state.replace_asset("acme/tool", "v3", "x"),
        lambda: state.edit_release("acme/tool", "v3", tag="v4"),
    ):
        with pytest.raises(ValueError, match="v3 is immutable"):
            change()
    state.edit_release("acme/tool", "v3", body="new")
    assert (await client.github("/repos/acme/tool/releases/tags/v3")).json["body"] == "new"


async def test_closed_repositories(client: Client, upstream: DemoUpstream) -> None:
    """451 after a takedown, 403 for its terms of service, both with the reason."""
    state = upstream.github
    state.block("acme/tool", "tos")
    closed = await client.github("/repos/acme/tool/releases", token="t1")
    assert (closed.status, closed.json["message"]) == (403, "Repository access blocked")
    assert closed.json["block"]["reason"] == "tos"
    assert int(closed.headers["X-RateLimit-Remaining"]) > 0
    state.block("acme/tool")
    assert (await client.github("/repos/acme/tool", token="t1")).status == 451
