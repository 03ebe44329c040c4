"""The local GitHub's GraphQL: the same things as REST, by the names of the public schema."""

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
    state.tokens["t2"] = GithubUser("bob")


async def data(client: Client, query: str, **more: Any) -> Any:
    reply = await client.query(query, **more)
    assert (reply.status, reply.json.get("errors")) == (200, None), reply.text
    return reply.json["data"]


async def errors(client: Client, query: str, **more: Any) -> list[Any]:
    reply = await client.query(query, **more)
    assert reply.status == 200, reply.text
    found: list[Any] = reply.json["errors"]
    return found


def tool(selection: str, of: str = "") -> str:
    return f'{{ repository(owner: "acme", name: "tool"{of}) {{ {selection} }} }}'


async def test_it_is_what_rest_says(client: Client, upstream: DemoUpstream) -> None:
    """Ids, dates, texts and assets agree field by field with the REST API."""
    upstream.github.add_release(
        "acme/tool",
        "x",
        name="X",
        body="text",
        prerelease=True,
        immutable=True,
        assets=[{"name": "a.gz", "content": b"abc"}],
    )
    release = """
        id databaseId tagName name description isDraft isPrerelease isLatest immutable createdAt
        publishedAt updatedAt url author { login databaseId id } tagCommit { oid }
        releaseAssets(first: 100) { totalCount nodes {
          id name contentType size downloadCount digest createdAt updatedAt url downloadUrl
          uploadedBy { login } } }
    """
    node = "id databaseId nameWithOwner isPrivate isArchived isEmpty isDisabled"
    found = await data(client, tool(f'{node} release(tagName: "x") {{ {release} }}'))
    repo, shown = found["repository"], found["repository"]["release"]
    rest = (await client.github("/repos/acme/tool")).json
    assert (repo["id"], repo["databaseId"]) == (rest["node_id"], 42)
    assert (repo["nameWithOwner"], repo["isPrivate"], repo["isEmpty"]) == (
        "Acme/Tool",
        False,
        False,
    )
    rest = (await client.github("/repos/acme/tool/releases/tags/x")).json
    for ours, theirs in {
        "id": "node_id",
        "databaseId": "id",
        "tagName": "tag_name",
        "name": "name",
        "description": "body",
        "isDraft": "draft",
        "isPrerelease": "prerelease",
        "immutable": "immutable",
        "createdAt": "created_at",
        "publishedAt": "published_at",
        "updatedAt": "updated_at",
        "url": "html_url",
    }.items():
        assert shown[ours] == rest[theirs], ours
    assert shown["isLatest"] is False
    assert shown["author"]["databaseId"] == rest["author"]["id"]
    tag = (await client.github("/repos/acme/tool/tags")).json[0]
    assert shown["tagCommit"] == {"oid": tag["commit"]["sha"]}
    (asset,), (same,) = shown["releaseAssets"]["nodes"], rest["assets"]
    for ours, theirs in {
        "id": "node_id",
        "name": "name",
        "contentType": "content_type",
        "size": "size",
        "digest": "digest",
        "downloadCount": "download_count",
        "url": "url",
        "downloadUrl": "browser_download_url",
    }.items():
        assert asset[ours] == same[theirs], ours


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("nope", "Field 'nope' doesn't exist on type 'Repository'"),
        ("nameWithOwner(a: 1)", "Field 'nameWithOwner' doesn't accept argument 'a'"),
        ("refs(first: 1) { totalCount }", "Field 'refs' is missing required arguments: refPrefix"),
        (
            "latestRelease { releaseAssets(first: 1) { nodes { databaseId } } }",
            "Field 'databaseId' doesn't exist on type 'ReleaseAsset'",
        ),
        (
            "latestRelease { releaseAssets(first: 1) { nodes { state } } }",
            "Field 'state' doesn't exist on type 'ReleaseAsset'",
        ),
    ],
)
async def test_what_the_schema_has_not_is_refused(
    client: Client, selection: str, message: str
) -> None:
    """The whole query, with the place, and no data at all."""
    reply = await client.query(tool(selection))
    assert set(reply.json) == {"errors"}
    (error,) = reply.json["errors"]
    assert error["message"] == message
    assert error["path"][:2] == ["query", "repository"]
    assert set(error["locations"][0]) == {"line", "column"}
    assert error["extensions"]["code"]


async def test_what_cannot_be_read(client: Client) -> None:
    """A syntax error, no query, no JSON, an operation or a variable that is missing."""
    (error,) = await errors(client, "{ repository(")
    assert error["message"] == "Expected NAME, actual: <EOF> at [1, 14]"
    (error,) = await errors(client, "query A { viewer { login } } query B { viewer { login } }")
    assert error["message"] == "An operation name is required"
    (error,) = await errors(client, "query($n: String!) { repository(owner: $n, name: $n) { id } }")
    assert "$n" in error["message"]
    url, headers = client.urls.graphql, {"Authorization": "Bearer t1"}
    async with client.session.post(url, json={"variables": {}}, headers=headers) as response:
        assert response.status == 200
        (error,) = (await response.json())["errors"]
        assert error["message"] == "A query attribute must be specified and must be a string."
    headers["Content-Type"] = "application/json"
    async with client.session.post(url, data=b"{", headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["message"] == "Problems parsing JSON"


async def test_a_token_is_required(client: Client, upstream: DemoUpstream) -> None:
    """401 without one, 401 with a bad one, and neither has anything left."""
    reply = await client.query("{ viewer { login } }", token=None)
    assert reply.status == 401
    assert reply.json["message"] == "This endpoint requires you to be authenticated."
    assert reply.headers["X-RateLimit-Limit"] == "0"
    reply = await client.query("{ viewer { login } }", token="nope")
    assert (reply.status, reply.json["message"]) == (401, "Bad credentials")
    upstream.github.revoke("t2")
    assert (await client.query("{ viewer { login } }", token="t2")).status == 401
    found = await data(client, "{ viewer { login } }")
    assert found == {"viewer": {"login": "ann"}}
    assert (await client.github("/graphql", token="t1")).status == 404


async def test_an_enterprise_base(client: Client, upstream: DemoUpstream) -> None:
    """``/api/v3`` and ``/api/graphql`` are the same GitHub."""
    shape = (await client.github(f"{client.urls.enterprise}/repos/acme/tool")).json
    assert shape["url"] == f"{client.urls.base}/api/v3/repos/Acme/Tool"
    async with client.session.post(
        client.urls.enterprise_graphql,
        json={"query": "{ viewer { login } }"},
        headers={"Authorization": "token t2"},
    ) as response:
        assert (await response.json()) == {"data": {"viewer": {"login": "bob"}}}
    assert [each.path for each in upstream.log] == ["/repos/acme/tool", "/graphql"]


async def test_one_alias_may_fail(client: Client, upstream: DemoUpstream) -> None:
    """What is not there, or not to be seen, is null with an error; the others are intact."""
    state = upstream.github
    state.add_repository("acme/secret", private=True)
    state.forbid(state.add_repository("acme/closed"), "Resource not accessible by integration")
    state.forbid(
        state.add_repository("acme/sso"),
        "Resource protected by organization SAML enforcement. You must grant your Personal Access "
        "token access to this organization.",
    )
    state.block(state.add_repository("acme/taken"))
    names = ("tool", "none", "secret", "closed", "sso", "taken")
    query = " ".join(
        f'r{n}: repository(owner: "acme", name: "{name}") {{ databaseId }}'
        for n, name in enumerate(names)
    )
    reply = await client.query(f"{{\n{query} }}")
    assert reply.status == 200
    assert reply.json["data"] == {"r0": {"databaseId": 42}, **{f"r{n}": None for n in range(1, 6)}}
    found = {error["path"][0]: error for error in reply.json["errors"]}
    assert list(found["r1"]) == ["type", "path", "locations", "message"]
    assert found["r1"]["type"] == found["r2"]["type"] == "NOT_FOUND"
    assert found["r1"]["locations"][0]["line"] == 2
    message = "Could not resolve to a Repository with the name 'acme/none'."
    assert found["r1"]["message"] == message
    assert [found[f"r{n}"]["type"] for n in (3, 4, 5)] == ["FORBIDDEN"] * 3
    assert found["r4"]["extensions"] == {"saml_failure": True}
    assert found["r5"]["message"] == "Repository access blocked"


async def test_an_old_name(client: Client, upstream: DemoUpstream) -> None:
    """It leads to the repository and its present name, unless that is not wanted."""
    upstream.github.rename("acme/tool", "Acme/Better")
    found = await data(client, tool("databaseId nameWithOwner"))
    assert found["repository"] == {"databaseId": 42, "nameWithOwner": "Acme/Better"}
    (error,) = await errors(client, tool("id", ", followRenames: false"))
    assert error["type"] == "NOT_FOUND"


async def test_nodes_by_id(client: Client, upstream: DemoUpstream) -> None:
    """Repositories and releases can be had by id, and each of several fails for itself."""
    upstream.github.add_repository("acme/secret", 77, private=True)
    upstream.github.tokens["t3"] = GithubUser("cid", pull={"acme/secret"})
    query = 'repository(owner: "acme", name: "secret") { id }'
    secret = (await data(client, f"{{ {query} }}", token="t3"))["repository"]["id"]
    repo = (await data(client, tool("id latestRelease { id }")))["repository"]
    selection = "__typename ... on Repository { databaseId } ... on Release { tagName }"
    query = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {selection} }} }}"
    ids = [repo["id"], repo["latestRelease"]["id"], "R_nope", secret]
    reply = await client.query(query, {"ids": ids})
    assert reply.json["data"]["nodes"] == [
        {"__typename": "Repository", "databaseId": 42},
        {"__typename": "Release", "tagName": "v4"},
        None,
        None,
    ]
    first, second = reply.json["errors"]
    assert (first["type"], first["path"]) == ("NOT_FOUND", ["nodes", 2])
    assert first["message"] == "Could not resolve to a node with the global id of 'R_nope'"
    assert second["path"] == ["nodes", 3]
    (error,) = await errors(client, query, variables={"ids": ["x"] * 101})
    assert error["type"] == "ARGUMENT_LIMIT"
    node = f'{{ node(id: "{repo["id"]}") {{ id ... on Repository {{ nameWithOwner }} }} }}'
    assert (await data(client, node))["node"]["nameWithOwner"] == "Acme/Tool"


async def test_order_drafts_and_latest(client: Client, upstream: DemoUpstream) -> None:
    """By date or name in either direction; a draft only for who may push."""
    state = upstream.github
    state.add_release("acme/tool", "a", name="zz", created_at="2020-01-01T00:00:00Z")
    state.add_release("acme/tool", "d", name="dd", draft=True)

    async def tags(order: str, token: str = "t2") -> list[str]:
        listed = f"releases(first: 10{order}) {{ nodes {{ tagName isLatest isDraft }} }}"
        found = await data(client, tool(listed), token=token)
        nodes = found["repository"]["releases"]["nodes"]
        assert [each["tagName"] for each in nodes if each["isLatest"]] == ["v4"]
        return [each["tagName"] for each in nodes]

    ascending = ["a", "v0", "v1", "v2", "v3", "v4"]
    assert await tags("") == ascending
    assert await tags(", orderBy: {field: CREATED_AT, direction: ASC}") == ascending
    assert await tags(", orderBy: {field: CREATED_AT, direction: DESC}") == ascending[::-1]
    assert (await tags(", orderBy: {field: NAME, direction: DESC}"))[0] == "a"
    assert len(await tags("", "t1")) == 7
    found = await data(client, tool("latestRelease { tagName }"))
    assert found["repository"]["latestRelease"] == {"tagName": "v4"}


async def test_pages(client: Client, upstream: DemoUpstream) -> None:
    """Cursors go on where they stopped, whatever came or went meanwhile."""

    async def some(arguments: str) -> Any:
        inner = (
            "totalCount nodes { tagName } edges { cursor } "
            "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
        )
        order = "orderBy: {field: CREATED_AT, direction: DESC}"
        found = await data(client, tool(f"releases({arguments}, {order}) {{ {inner} }}"))
        page = found["repository"]["releases"]
        return [each["tagName"] for each in page["nodes"]], page["pageInfo"], page

    tags, info, page = await some("first: 2")
    assert (tags, page["totalCount"]) == (["v4", "v3"], 5)
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert page["edges"][1]["cursor"] == info["endCursor"]
    upstream.github.delete_release("acme/tool", "v3")
    upstream.github.add_release("acme/tool", "v5", published_at="2024-02-01T00:00:00Z")
    tags, info, _ = await some(f'first: 2, after: "{info["endCursor"]}"')
    assert tags == ["v2", "v1"]
    back, _, _ = await some(f'last: 2, before: "{info["startCursor"]}"')
    assert back == ["v5", "v4"]
    tags, info, _ = await some(f'first: 100, after: "{info["endCursor"]}"')
    assert (tags, info["hasNextPage"]) == (["v0"], False)
    (error,) = await errors(client, tool('releases(first: 1, after: "x") { nodes { id } }'))
    assert error["type"] == "INVALID_CURSOR_ARGUMENTS"
    assert error["message"] == "`x` does not appear to be a valid cursor."
    upstream.github.add_release("acme/tool", "v6", assets=["a"])
    asset = 'release(tagName: "v6") { releaseAssets(first: 1) { pageInfo { endCursor } } }'
    found = (await data(client, tool(asset)))["repository"]["release"]["releaseAssets"]
    other = found["pageInfo"]["endCursor"]
    (error,) = await errors(
        client, tool(f'releases(first: 1, after: "{other}") {{ nodes {{ id }} }}')
    )
    assert error["type"] == "INVALID_CURSOR_ARGUMENTS"


async def test_bounds_of_pages(client: Client) -> None:
    """One of `first` and `last`, from 1 to 100, unless only the count is asked for."""
    found = await data(client, tool("releases { totalCount }"))
    assert found["repository"]["releases"] == {"totalCount": 5}
    for arguments, kind in (
        ("", "MISSING_PAGINATION_BOUNDARIES"),
        ("(first: 101)", "EXCESSIVE_PAGINATION"),
        ("(last: 101)", "EXCESSIVE_PAGINATION"),
        ("(first: 0)", "EXCESSIVE_PAGINATION"),
    ):
        reply = await client.query(tool(f"releases{arguments} {{ nodes {{ id }} }}"))
        assert reply.json["data"] == {"repository": None}
        (error,) = reply.json["errors"]
        assert (error["type"], error["path"]) == (kind, ["repository", "releases"])
        assert "`releases` connection" in error["message"]


async def test_refs(client: Client, upstream: DemoUpstream) -> None:
    """Tags are commits, or annotated and then objects of their own that point to one."""
    state = upstream.github
    state.add_repository("acme/tags")
    state.add_tag("acme/tags", "light", "a" * 40)
    state.add_tag("acme/tags", "noted", "b" * 40, annotated=True)
    query = """{ repository(owner: "acme", name: "tags") {
      releases(first: 1) { totalCount }
      refs(refPrefix: "refs/tags/", first: 5, orderBy: {field: ALPHABETICAL, direction: DESC}) {
        nodes { name target { __typename oid ... on Tag { target { oid } } } } } } }"""
    found = (await data(client, query))["repository"]
    assert found["releases"]["totalCount"] == 0
    noted, light = found["refs"]["nodes"]
    assert light["target"] == {"__typename": "Commit", "oid": "a" * 40}
    assert noted["target"]["__typename"] == "Tag"
    assert noted["target"]["target"] == {"oid": "b" * 40}
    assert noted["target"]["oid"] != "b" * 40
    order = "orderBy: {field: TAG_COMMIT_DATE, direction: DESC}"
    found = await data(
        client, tool(f'refs(refPrefix: "refs/tags/", last: 1, {order}) {{ nodes {{ name }} }}')
    )
    assert found["repository"]["refs"]["nodes"] == [{"name": "v0"}]


async def test_many_assets(client: Client, upstream: DemoUpstream) -> None:
    """More than a hundred come in pages, or one by its name."""
    upstream.github.add_release("acme/tool", "big", assets=[f"f{n:03}" for n in range(130)])
    inner = "totalCount pageInfo { hasNextPage endCursor } nodes { name }"
    query = f"""query($after: String) {{ repository(owner: "acme", name: "tool") {{
      release(tagName: "big") {{ releaseAssets(first: 100, after: $after) {{ {inner} }} }} }} }}"""
    names: list[str] = []
    after = None
    while True:
        found = await data(client, query, variables={"after": after})
        page = found["repository"]["release"]["releaseAssets"]
        names += [each["name"] for each in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert (len(names), page["totalCount"]) == (130, 130)
    one = 'release(tagName: "big") { releaseAssets(name: "f007", first: 1) { totalCount } }'
    found = await data(client, tool(one))
    assert found["repository"]["release"]["releaseAssets"]["totalCount"] == 1
