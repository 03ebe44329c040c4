"""The local GitHub keeps to GitHub's rules."""

import re
from typing import Any

import pytest

from fetcher.demo import DemoUpstream, GithubUser
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
    assert len(await releases(client)) == 5
    assert len(await releases(client, token="t2")) == 6  # another token of the same user? no:
