"""Tokens of a GitHub App: asked for by a signed word, kept for their hour, renewed in time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fetcher.errors import Unauthorized, UsageError
from fetcher.gate import Gate
from fetcher.policy.budget import github_budget
from fetcher.service import open_transport
from fetcher.sources.credentials import Installation
from tests.world import World, open_world

REPO = "acme/secret"
KEY = f"github:{REPO}"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
async def world(tmp_path: Path, key: rsa.RSAPrivateKey, pem: str) -> AsyncIterator[World]:
    """An App that sees one private repository."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    async with open_world(tmp_path) as opened:
        github = opened.upstream.github
        github.add_repository(REPO, private=True)
        github.add_release(REPO, "v1", assets=["a.gz"])
        app = github.add_app(7, public.decode())
        github.add_installation(app, 70, repositories={REPO})
        account = {"name": "app", "app_id": 7, "installation_id": 70, "private_key": pem}
        opened.overrides["github.accounts"] = [account]
        yield opened


@asynccontextmanager
async def installation(world: World, pem: str, id_: int = 70) -> AsyncIterator[Installation]:
    async with open_transport(world.settings, world.clock, uniform=lambda low, high: high) as way:
        yield Installation(
            way,
            Gate("app", github_budget(), world.clock, in_flight=4),
            world.clock,
            api_url=world.urls.github,
            app_id=7,
            installation_id=id_,
            private_key=pem,
            patience=10.0,
        )


async def test_a_private_repository_is_seen_by_its_app(world: World) -> None:
    """One exchange, whatever is asked with the token; nobody else sees it."""
    polled = (await world.poll(KEY))[KEY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 1)
    assert polled.state.account.startswith("github:")
    lines = world.asked()
    assert [line for line in lines if "access_tokens" in line] == [
        "POST /app/installations/70/access_tokens"
    ]
    assert lines[1:] == ["POST /graphql"] * 2
    assert await world.outcome(KEY) == "unchanged"
    world.overrides["github.accounts"] = []
    world.overrides["github.token"] = ""
    assert await world.outcome(KEY) == "not_found"


async def test_a_token_lasts_and_is_renewed_in_time(world: World, pem: str) -> None:
    """Ten minutes before its hour ends, so that no request under way loses it."""
    async with installation(world, pem) as credentials:
        first = await credentials.headers()
        world.clock.advance(49 * 60)
        assert await credentials.headers() == first
        world.clock.advance(2 * 60)
        second = await credentials.headers()
        assert second != first
        assert len(world.asked("access_tokens")) == 2
        assert credentials.refused(), "it may have been revoked: there is another to be had"
        assert await credentials.headers() != second
    assert not any(pem[40:80] in str(each.headers) for each in world.upstream.log)


async def test_a_token_that_is_revoked_is_replaced_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll goes on, and nobody notices."""
    github, headers = world.upstream.github, Installation.headers
    revoked: list[str] = []

    async def revoking(self: Installation) -> object:
        given = await headers(self)
        if not revoked:
            token = given["Authorization"].removeprefix("Bearer ")
            revoked.append(token)
            github.revoke(token)
        return given

    monkeypatch.setattr(Installation, "headers", revoking)
    assert await world.outcome(KEY) == "changed"
    assert len(world.asked("access_tokens")) == 2


async def test_an_installation_that_is_gone_ends_in_an_outcome(world: World, pem: str) -> None:
    """Suspended or unknown: the account is refused, once, and says so."""
    world.upstream.github.installations[70].suspended = True
    polled = (await world.poll(KEY))[KEY]
    assert polled.state.outcome == "unauthorized"
    assert polled.state.failure is not None
    assert "suspended" in polled.state.failure.message
    async with installation(world, pem, 99) as credentials:
        with pytest.raises(Unauthorized, match="installation 99"):
            await credentials.headers()


@pytest.mark.parametrize("bad", ["", "no key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"])
async def test_a_key_that_is_none_is_told_at_once(world: World, bad: str) -> None:
    """Before anything is asked."""
    with pytest.raises(UsageError, match="no RSA key"):
        async with installation(world, bad):
            pass
    assert world.asked() == []
