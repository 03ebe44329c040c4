"""A one-shot whose account cannot poll has another one poll in its place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetcher.accounts import homes_of
from fetcher.demo import GithubUser
from fetcher.refresh import Polled
from fetcher.targets import Target
from tests.stores import store_url
from tests.world import World, open_world

__all__ = ["store_url"]

LOGINS = {"t1": "one", "t2": "two", "t3": "three"}


@pytest.fixture
async def world(tmp_path: Path, store_url: str) -> AsyncIterator[World]:
    """Three accounts, and nine repositories with a release each."""
    async with open_world(tmp_path, store_url) as opened:
        github = opened.upstream.github
        github.tokens = {token: GithubUser(login) for token, login in LOGINS.items()}
        opened.overrides["github.accounts"] = [
            {"name": login, "token": token} for token, login in LOGINS.items()
        ]
        for number in range(9):
            github.add_release(github.add_repository(f"acme/r{number}").full_name, "v1")
        yield opened


def home(world: World, target: str) -> tuple[str, str]:
    """The login and the token of the account that a target belongs to."""
    accounts = {f"github:{a.identity}": a.name for a in world.settings.github.all_accounts}
    login = accounts[homes_of(world.settings).of(Target.of(target))]
    return login, next(token for token, name in LOGINS.items() if name == login)


def limit(world: World, login: str) -> None:
    world.upstream.github.exhaust(login, 1800, "graphql")
    world.upstream.github.exhaust(login, 1800, "core")


TARGETS = [f"github:acme/r{number}" for number in range(9)]


async def polled(world: World, *targets: str) -> dict[str, Polled]:
    return await world.poll(*targets, wait=5)


async def test_what_a_limited_account_leaves_others_poll(world: World) -> None:
    """All of it comes, one sentence says where, and nobody goes on against a limit."""
    login, _ = home(world, TARGETS[0])
    mine = [target for target in TARGETS if home(world, target)[0] == login]
    limit(world, login)
    ended = await polled(world, *TARGETS)
    assert {str(each.state.outcome) for each in ended.values()} == {"changed"}
    assert {each.changed for each in ended.values()} == {1}
    assert all(not each.state.failures for each in ended.values())
    by_login = {f"github:{a.identity}": a.name for a in world.settings.github.all_accounts}
    accounts = {target: by_login[each.state.account] for target, each in ended.items()}
    for target in TARGETS:
        assert (accounts[target] == home(world, target)[0]) == (target not in mine)
    others = {accounts[target] for target in mine}
    assert len(world.moves) == len(others)
    for sentence in world.moves:
        assert f"because GitHub account {login} cannot: " in sentence
        assert "UTC" in sentence
    assert len([each for each in world.upstream.log if each.account == login]) == 1
    assert len(world.upstream.github.violations) == 1, "the one that was told of the limit"
    # By now it is known: nothing more is asked of it, and nothing is got twice.
    world.upstream.log.clear()
    again = await polled(world, *mine)
    assert {str(each.state.outcome) for each in again.values()} == {"unchanged"}
    assert login not in {each.account for each in world.upstream.log}
    assert len(world.upstream.github.violations) == 1


async def test_a_revoked_account_is_replaced(world: World) -> None:
    """After one refusal of its token."""
    login, token = home(world, TARGETS[0])
    world.upstream.github.revoke(token)
    ended = await polled(world, *TARGETS)
    assert {str(each.state.outcome) for each in ended.values()} == {"changed"}
    assert len([each for each in world.upstream.log if each.status == 401]) == 1
    assert any(f"GitHub account {login} cannot" in sentence for sentence in world.moves)
    refused = [each for each in await world.store.accounts() if each.budget.get("refused")]
    assert len(refused) == 1, "whoever polls next is told"


async def test_a_private_repository_stays_with_its_account(world: World) -> None:
    """Who cannot see it would take it for gone."""
    login, token = home(world, TARGETS[0])
    github = world.upstream.github
    github.repository("acme/r0").private = True
    github.tokens[token].pull.add("acme/r0")
    await polled(world, TARGETS[0])
    limit(world, login)
    world.upstream.log.clear()
    (ended,) = (await polled(world, TARGETS[0])).values()
    assert (str(ended.state.outcome), world.moves) == ("rate_limited", [])
    assert {each.account for each in world.upstream.log} <= {login}


async def test_where_all_are_limited_each_is_tried_once(world: World) -> None:
    """And the target ends once, with what the last of them said."""
    for login in LOGINS.values():
        limit(world, login)
    (ended,) = (await polled(world, TARGETS[0])).values()
    assert str(ended.state.outcome) == "rate_limited"
    assert ended.state.failures == 3
    assert sorted(each.account for each in world.upstream.log) == sorted(LOGINS.values())
    assert len(world.moves) == 2


async def test_a_limit_within_the_wait_is_waited_for(world: World) -> None:
    """Another account would be asked without its cursors."""
    login, _ = home(world, TARGETS[0])
    world.upstream.github.exhaust(login, 30, "graphql")
    (ended,) = (await world.poll(TARGETS[0], wait=60)).values()
    assert (str(ended.state.outcome), world.moves) == ("changed", [])
    assert {each.account for each in world.upstream.log} == {login}
