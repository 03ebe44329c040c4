"""What queries cost, what may be asked in an hour and a minute, and what takes too long."""

import asyncio
import json
import sys
from typing import Any

import pytest

from fetcher.demo import DemoUpstream, Fault, GithubUser
from tests.demo.conftest import Client, Reply

ASSETS = "releaseAssets(first: 100) { nodes { name } }"


@pytest.fixture(autouse=True)
def _some(upstream: DemoUpstream) -> None:
    upstream.github.populate(3, 2, assets=1)
    upstream.github.tokens["t1"] = GithubUser("ann")
    upstream.github.tokens["t2"] = GithubUser("bob", graphql_limit=3)


def batch(count: int, selection: str, root: str = "") -> str:
    fields = " ".join(
        f'r{n}: repository(owner: "acme", name: "project-0000{n % 3}") {{ {selection} }}'
        for n in range(count)
    )
    return f"{{ {root} {fields} }}"


def left(reply: Reply) -> int:
    return int(reply.headers["X-RateLimit-Remaining"])


@pytest.mark.parametrize(
    ("query", "cost", "nodes"),
    [
        (batch(100, "releases(first: 10) { nodes { tagName } }"), 1, 1_000),
        (batch(100, f"releases(first: 10) {{ nodes {{ tagName {ASSETS} }} }}"), 11, 101_000),
        (batch(1, "databaseId"), 1, 0),
        (batch(49, f"releases(first: 1) {{ nodes {{ {ASSETS} }} }}"), 1, 4_949),
        (batch(10, f"releases(last: 14) {{ edges {{ node {{ {ASSETS} }} }} }}"), 2, 14_140),
        # What is left out costs nothing, nor does the same connection twice.
        (batch(100, "releases(first: 10) @skip(if: true) { nodes { id } }"), 1, 0),
        (
            batch(
                1, "releases(first: 9) { nodes { id } } ... { releases(first: 9) { totalCount } }"
            ),
            1,
            9,
        ),
    ],
)
async def test_the_rule(client: Client, query: str, cost: int, nodes: int) -> None:
    """Requests to fulfil each connection, by hundreds; the nodes that could come."""
    reply = await client.query(query.replace("{", "{ rateLimit { cost nodeCount remaining }", 1))
    assert "errors" not in reply.json
    limit = reply.json["data"]["rateLimit"]
    assert limit == {"cost": cost, "nodeCount": nodes, "remaining": 5000 - cost}
    assert left(reply) == 5000 - cost


async def test_by_variables_and_fragments(client: Client) -> None:
    """Sizes may come from variables, and selections from fragments."""
    query = """
      query($n: Int!) { rateLimit { cost nodeCount }
        repository(owner: "acme", name: "project-00000") { ...Some } }
      fragment Some on Repository { releases(first: $n) { nodes { releaseAssets(first: $n) {
        nodes { name } } } } }
    """
    reply = await client.query(query, {"n": 100})
    assert reply.json["data"]["rateLimit"] == {"cost": 1, "nodeCount": 10_100}


async def test_a_dry_run(client: Client) -> None:
    """It tells the cost, spends nothing and looks nothing up."""
    query = batch(
        100, f"releases(first: 10) {{ nodes {{ {ASSETS} }} }}", "rateLimit(dryRun: true) { cost }"
    )
    reply = await client.query(query)
    assert reply.json["data"]["rateLimit"] == {"cost": 11}
    assert reply.json["data"]["r0"] is None
    assert left(reply) == 5000


async def test_too_many_nodes(client: Client) -> None:
    """500,000 at most, whatever would really come."""
    inner = f"releases(first: 100) {{ nodes {{ {ASSETS} }} }}"
    assert "data" in (await client.query(batch(49, inner))).json
    reply = await client.query(batch(50, inner))
    assert reply.status == 200
    assert reply.json == {
        "errors": [
            {
                "type": "MAX_NODE_LIMIT_EXCEEDED",
                "message": "This query requests up to 505,000 possible nodes which exceeds the "
                "maximum limit of 500,000.",
            }
        ]
    }


async def test_points_of_an_hour(client: Client, upstream: DemoUpstream) -> None:
    """A resource of its own, told by headers and /rate_limit; then RATE_LIMITED."""
    for remaining in (2, 1, 0):
        reply = await client.query(batch(1, "id"), token="t2")
        assert (reply.status, left(reply)) == (200, remaining)
        assert reply.headers["X-RateLimit-Resource"] == "graphql"
        assert "errors" not in reply.json
    over = await client.query(batch(1, "id"), token="t2")
    assert (over.status, left(over)) == (200, 0)
    assert set(over.json) == {"errors"}
    (error,) = over.json["errors"]
    assert error["type"] == "RATE_LIMITED"
    assert error["message"].startswith("API rate limit exceeded for user ID")
    assert upstream.github.violations == [client.clock.time]
    rest = await client.github("/repos/acme/project-00000", token="t2")
    assert (rest.status, left(rest), rest.headers["X-RateLimit-Resource"]) == (200, 4999, "core")
    shape = (await client.github("/rate_limit", token="t2")).json["resources"]
    assert (shape["graphql"]["remaining"], shape["core"]["remaining"]) == (0, 4999)
    client.clock.time = float(over.headers["X-RateLimit-Reset"])
    assert left(await client.query(batch(1, "id"), token="t2")) == 2
    upstream.github.exhaust("ann", resource="graphql")
    assert (await client.query(batch(1, "id"))).json["errors"][0]["type"] == "RATE_LIMITED"


async def test_points_of_a_minute(client: Client, upstream: DemoUpstream) -> None:
    """Queries have a minute of their own; too many are refused with 403, or with 200."""
    state = upstream.github
    assert (state.secondary_points, state.secondary_points_graphql) == (900, 2000)
    state.secondary_points_graphql = 2
    for _ in range(2):
        assert (await client.query(batch(1, "id"))).status == 200
    over = await client.query(batch(1, "id"))
    assert (over.status, over.headers["Retry-After"], left(over)) == (403, "60", 4998)
    assert over.json["message"].startswith("You have exceeded a secondary rate limit.")
    assert (await client.github("/repos/acme/project-00000", token="t1")).status == 200
    client.clock.time += 60
    state.secondary_retry_after, state.graphql_secondary_status = None, 200
    for _ in range(3):
        reply = await client.query(batch(1, "id"))
    assert reply.status == 200
    assert "Retry-After" not in reply.headers
    assert "secondary rate limit" in reply.json["errors"][0]["message"]
    assert left(reply) == 4996


async def test_both_at_once_count_together(client: Client, upstream: DemoUpstream) -> None:
    """A hundred requests at once, REST and GraphQL together."""
    upstream.github.secondary_concurrent = 2
    upstream.faults.append(Fault("/repos|graphql", "hang", times=2))
    hanging = [
        asyncio.ensure_future(client.github("/repos/acme/project-00000", token="t1")),
        asyncio.ensure_future(client.query(batch(1, "id"))),
    ]
    while len(upstream.log) < 2:
        await asyncio.sleep(0)
    assert (await client.query(batch(1, "id"))).status == 403
    for each in hanging:
        each.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize("status", [502, 504])
async def test_what_takes_too_long(client: Client, upstream: DemoUpstream, status: int) -> None:
    """Beyond so many fields the answer is a timeout after 10 seconds, and costs extra."""
    state = upstream.github
    state.graphql_slow_above, state.graphql_timeout_status = 20, status
    assert (await client.query(batch(20, "id"))).status == 200
    assert client.clock.slept == []
    reply = await client.query(batch(21, "id"))
    assert (reply.status, client.clock.slept) == (status, [10.0])
    assert left(reply) == 5000 - 1 - 11
    if status == 502:
        assert reply.json["data"] is None
        assert "Something went wrong while executing your query." in reply.text
    else:
        assert reply.json["message"].startswith("We couldn't respond to your request in time.")


async def test_what_takes_too_much(client: Client, upstream: DemoUpstream) -> None:
    """Beyond so many repositories the rest is null, with errors."""
    upstream.github.graphql_resources_above = 2
    reply = await client.query(batch(4, "databaseId"))
    assert [value is None for value in reply.json["data"].values()] == [False, False, True, True]
    assert [each["path"] for each in reply.json["errors"]] == [["r2"], ["r3"]]
    assert {each["type"] for each in reply.json["errors"]} == {"RESOURCE_LIMITS_EXCEEDED"}


async def test_faults_of_queries(client: Client, upstream: DemoUpstream) -> None:
    """An alias null with an error, an alias left out, one error in place of everything."""

    async def with_fault(**more: Any) -> Reply:
        upstream.faults.append(Fault("POST /graphql", **more))
        return await client.query(batch(4, "databaseId"))

    reply = await with_fault(kind="alias_error")
    assert [value is None for value in reply.json["data"].values()] == [False, False, True, True]
    assert reply.json["errors"][0] == {
        "type": "RESOURCE_LIMITS_EXCEEDED",
        "path": ["r2"],
        "locations": [{"line": 1, "column": 3}],
        "message": "Resource limits for this query exceeded.",
    }
    reply = await with_fault(kind="alias_error", aliases=("r0",), error="FORBIDDEN")
    assert (reply.json["data"]["r0"], len(reply.json["errors"])) == (None, 1)
    reply = await with_fault(kind="alias_missing", aliases=("r1",))
    assert (list(reply.json), list(reply.json["data"])) == (["data"], ["r0", "r2", "r3"])
    reply = await with_fault(kind="query_error", error="RATE_LIMITED")
    assert (reply.status, left(reply), list(reply.json)) == (200, 0, ["errors"])
    assert reply.json["errors"][0]["message"].startswith("API rate limit exceeded")
    reply = await with_fault(kind="query_error", error="")
    assert (reply.status, reply.json["data"]) == (200, None)
    assert reply.json["errors"][0]["message"].startswith("Something went wrong while executing")
    assert (await with_fault(kind="query_error", error="", status=502)).status == 502
    reply = await with_fault(kind="garbage")
    assert (reply.status, reply.headers["Content-Type"][:9]) == (200, "text/html")


async def test_a_fault_can_look_into_the_query(client: Client, upstream: DemoUpstream) -> None:
    """The line that a pattern is searched in ends with the query; so does the log."""
    upstream.faults.append(Fault("/graphql .*project-00002", "status", status=500, times=None))
    assert (await client.query(batch(2, "id"))).status == 200
    assert (await client.query(batch(3, "id"))).status == 500
    logged = upstream.requests("github", "/graphql")[-1]
    assert "project-00002" in json.loads(logged.body)["query"]
    assert (logged.status, logged.account) == (500, "ann")


async def test_without_graphql_core(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo works without the library, and says what is missing when it is asked a query."""
    for name in [each for each in sys.modules if each.startswith("fetcher.demo.graphql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "graphql", None)
    reply = await client.query("{ viewer { login } }")
    assert reply.status == 501
    assert "graphql" in reply.json["message"]
    assert (await client.github("/repos/acme/project-00000")).status == 200
