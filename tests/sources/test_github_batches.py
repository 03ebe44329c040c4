"""A thousand repositories for ten requests: batches, what spoils them, and what they cost."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fetcher.demo import Fault, GithubUser
from fetcher.models import Wish
from fetcher.refresh import Polled
from fetcher.sources.graphql import Answer, Graphql
from tests.world import World, open_world

TOKEN = "ghp_0123456789"
T0 = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        opened.upstream.github.tokens = {TOKEN: GithubUser("me")}
        opened.overrides["github.token"] = TOKEN
        yield opened


def populate(world: World, count: int, releases: int = 2) -> list[str]:
    names = world.upstream.github.populate(count, releases)
    return [f"github:{name}" for name in names]


def outcomes(polled: Mapping[str, Polled]) -> dict[str, str]:
    return {name.rpartition("/")[2]: str(each.state.outcome) for name, each in polled.items()}


def spent(world: World) -> int:
    """Points of GraphQL so far."""
    github = world.upstream.github
    return github.tokens[TOKEN].graphql_limit - github.budget("me", 5000, "graphql").look(
        world.clock.time()
    )


async def test_what_is_unchanged_costs_a_point_for_a_hundred(world: World) -> None:
    """And a request; what changed is asked for alone."""
    keys = populate(world, 250)
    polled = await world.poll(*keys)
    assert set(outcomes(polled).values()) == {"changed"}
    assert sum(each.state.records for each in polled.values()) == 500
    world.asked()
    before = spent(world)
    assert set(outcomes(await world.poll(*keys)).values()) == {"unchanged"}
    assert world.asked() == ["POST /graphql"] * 3
    assert spent(world) - before == 3
    world.clock.advance(60)
    github = world.upstream.github
    github.edit_release("acme/project-00007", "v1.0.0", body="new words")
    github.add_release("acme/project-00203", "v9", assets=["a"])
    github.delete_release("acme/project-00204", "v1.0.0")
    world.changes()
    told = outcomes(await world.poll(*keys))
    changed = {name for name, outcome in told.items() if outcome == "changed"}
    assert changed == {"project-00007", "project-00203", "project-00204"}
    assert len(world.changes()) == 3
    assert world.asked() == ["POST /graphql"] * 5


async def test_one_bad_repository_spoils_no_other(world: World) -> None:
    """Each alias ends in an outcome of its own; REST says of the odd ones what it is."""
    keys = populate(world, 60)
    github = world.upstream.github
    github.block("acme/project-00003")
    github.forbid("acme/project-00005")
    github.rename("acme/project-00007", "acme/renamed")
    github.delete_repository("acme/project-00009")
    told = outcomes(await world.poll(*keys))
    bad = {name: outcome for name, outcome in told.items() if outcome != "changed"}
    assert bad == {
        "project-00003": "blocked",
        "project-00005": "unauthorized",
        "project-00009": "not_found",
    }
    state = await world.store.target("github:acme/project-00007")
    assert state is not None
    assert state.key == "github:acme/renamed"


async def test_what_an_answer_leaves_out_is_asked_of_rest(world: World) -> None:
    """Without an error beside it; the others are taken as they are."""
    keys = populate(world, 3)
    await world.poll(*keys)
    world.asked()
    found = {
        "databaseId": 1,
        "nameWithOwner": "x/y",
        "isPrivate": False,
        "isArchived": False,
        "marks": {"totalCount": "many", "nodes": []},
    }
    body = json.dumps({"data": {"r0": None, "r2": found}})
    headers = {"Content-Type": "application/json"}
    fault = Fault("/graphql", "status", status=200, body=body, headers=headers)
    world.upstream.faults.append(fault)
    assert set(outcomes(await world.poll(*keys)).values()) == {"unchanged"}
    assert len(world.asked("/repos/acme")) == 3


@pytest.mark.parametrize("status", [502, 504])
async def test_too_much_at_once_is_asked_for_in_parts(world: World, status: int) -> None:
    """Smaller while the server gives up, larger again later; everybody gets an answer."""
    keys = populate(world, 400, releases=1)
    github = world.upstream.github
    github.graphql_slow_above = 30
    github.graphql_timeout_status = status
    assert set(outcomes(await world.poll(*keys)).values()) == {"changed"}
    github.graphql_slow_above = None
    world.asked()
    assert set(outcomes(await world.poll(*keys)).values()) == {"unchanged"}
    assert world.asked() == ["POST /graphql"] * 4


async def test_resource_limits_answer_in_part(world: World) -> None:
    """What came is taken, the rest is asked for again."""
    keys = populate(world, 100, releases=1)
    world.upstream.github.graphql_resources_above = 40
    assert set(outcomes(await world.poll(*keys)).values()) == {"changed"}
    assert len(world.asked("/repos/")) <= 10


async def test_a_server_that_only_times_out_is_given_up(world: World) -> None:
    """After a few tries of any size: the account is not worn out, and nobody is lost."""
    keys = populate(world, 300)
    world.upstream.faults.append(Fault("/graphql", "status", times=None, status=502))
    told = outcomes(await world.poll(*keys, wait=1000))
    assert set(told.values()) == {"unreachable"}
    assert len(world.asked()) <= 40


async def test_the_primary_limit_of_points_names_its_end(world: World) -> None:
    """Told with status 200; nothing is asked after it."""
    keys = populate(world, 150)
    await world.poll(keys[0])
    world.upstream.github.exhaust("me", 1800, "graphql")
    reset = world.clock.time() + 1800
    world.asked()
    polled = await world.poll(*keys, wait=5)
    assert set(outcomes(polled).values()) == {"rate_limited"}
    for each in polled.values():
        assert each.state.next_due is not None
        assert each.state.next_due.timestamp() >= reset - 2
    assert len(world.asked()) <= 4


@pytest.mark.parametrize("retry_after", [20, None])
async def test_secondary_limits_are_waited_out(world: World, retry_after: int | None) -> None:
    """With `Retry-After` as long as it says, without it a minute at least."""
    (key,) = populate(world, 1)
    body = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    world.upstream.faults.append(
        Fault("/graphql", "status", status=403, headers=headers, body=body)
    )
    before = world.clock.monotonic()
    assert await world.outcome(key, wait=300) == "changed"
    assert world.clock.monotonic() - before >= (retry_after or 60)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("{}", "malformed"),
        ("[]", "malformed"),
        ('{"data": null}', "malformed"),
        ('{"data": 7, "errors": []}', "malformed"),
        ('{"errors": [{"message": "Parse error on \\"x\\""}]}', "failed"),
        ('{"data": {}, "errors": [{"type": "RATE_LIMITED", "message": "x"}]}', "rate_limited"),
    ],
)
async def test_nonsense_ends_in_its_outcome(world: World, body: str, outcome: str) -> None:
    """With status 200, as GitHub likes it."""
    (key,) = populate(world, 1)
    await world.poll(key)
    headers = {"Content-Type": "application/json"}
    world.upstream.faults.append(
        Fault("/graphql", "status", times=None, status=200, body=body, headers=headers)
    )
    polled = (await world.poll(key, wait=10))[key]
    assert (polled.state.outcome, polled.state.records) == (outcome, 2)
    world.upstream.faults.clear()
    world.clock.advance(3600)
    assert await world.outcome(key) == "unchanged"


async def test_an_older_server_lacks_fields(world: World) -> None:
    """It names them, and is asked without."""
    (key,) = populate(world, 1)
    message = "Field 'immutable' doesn't exist on type 'Release'"
    error = {"message": message, "extensions": {"code": "undefinedField"}}
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"errors": [error]})
    fault = Fault("/graphql", "status", status=200, body=body, headers=headers, skip=1)
    world.upstream.faults.append(fault)
    assert await world.outcome(key) == "changed"
    assert len(world.asked()) == 3


async def test_a_listing_that_moves_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that comes between two pages: what came is stored, and nothing is believed."""
    github = world.upstream.github
    github.add_repository("acme/big")
    for n in range(70):
        github.add_release("acme/big", f"v{n}", published_at=T0 + timedelta(hours=n))
    ask, queries = Graphql.ask, 0

    async def moving(self: Graphql, *arguments: Any) -> Answer:
        nonlocal queries
        queries += 1
        if queries == 3:  # the check, the first page, the second one
            github.delete_release("acme/big", "v69")
        return await ask(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Graphql, "ask", moving)
        await world.poll("github:acme/big")
    state = await world.store.target("github:acme/big")
    assert state is not None
    assert state.cursor is None
    assert await world.outcome("github:acme/big") == "changed"
    (gone,) = await world.records("github:acme/big", withdrawn=True)
    assert gone["tag"] == "v69"
    assert len(await world.records("github:acme/big")) == 69


async def test_another_token_trusts_no_cursor(world: World) -> None:
    """What one token sees is not what another one sees."""
    (key,) = populate(world, 1)
    github = world.upstream.github
    github.tokens["ghp_other"] = GithubUser("you", push={"acme/project-00000"})
    github.add_release("acme/project-00000", "draft", draft=True)
    await world.poll(key)
    world.overrides["github.token"] = "ghp_other"
    assert await world.outcome(key) == "changed"
    assert len(await world.records(key)) == 3


async def test_a_one_shot_asks_where_a_target_is_polled_now(world: World) -> None:
    """It may have moved from an account that is limited; by itself it would go there."""
    (key,) = populate(world, 1)
    tokens = {"one": "ghp_1111111111", "two": "ghp_2222222222"}
    for name, token in tokens.items():
        world.upstream.github.tokens[token] = GithubUser(name)
    world.overrides["github.token"] = ""
    world.overrides["github.accounts"] = [
        {"name": name, "token": token} for name, token in tokens.items()
    ]
    home = (await world.poll(key))[key].state
    (other,) = {f"github:{each.identity}" for each in world.settings.github.all_accounts} - {
        home.account
    }
    await world.store.wish("hand", [Wish(home.id, home.key, other, 60.0)])
    polled = (await world.poll(key))[key]
    assert (polled.state.account, polled.state.outcome) == (other, "unchanged")
    gone = Wish(home.id, home.key, "github:gone", 60.0)
    await world.store.wish("hand", [gone])
    assert (await world.poll(key))[key].state.account == home.account
