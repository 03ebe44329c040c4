"""A GitHub App gets tokens for its signature, by the demo's clock."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fetcher.demo import DemoUpstream
from tests.demo.conftest import Client, Reply

EXPIRES = "'Expiration time' claim ('exp') "
UNDECODABLE = "A JSON web token could not be decoded"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def _some(upstream: DemoUpstream, key: rsa.RSAPrivateKey) -> None:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    state = upstream.github
    state.add_repository("acme/secret", private=True)
    state.add_repository("acme/other", private=True)
    state.add_release("acme/secret", "draft", draft=True)
    app = state.add_app(7, pem.decode(), "Iv23abc")
    state.add_app(8, pem.decode())
    state.add_installation(app, 70, repositories={"acme/secret"})


def signed(client: Client, key: Any, *, algorithm: str = "RS256", **claims: Any) -> str:
    now = int(client.clock.time)
    usual = {"iat": now - 60, "exp": now + 540, "iss": "7"}
    given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    # jwt.encode() would refuse what GitHub takes: an issuer that is a number.
    return jwt.api_jws.encode(json.dumps(given).encode(), key, algorithm=algorithm)


async def exchange(
    client: Client, word: str, id_: int = 70, body: Mapping[str, Any] | None = None
) -> Reply:
    url = f"{client.urls.github}/app/installations/{id_}/access_tokens"
    headers = {"Authorization": f"Bearer {word}"}
    async with client.session.post(url, headers=headers, json=body) as response:
        return Reply(response.status, response.headers, await response.read())


async def test_a_token_of_an_installation(
    client: Client, upstream: DemoUpstream, key: rsa.RSAPrivateKey
) -> None:
    """It sees what the installation sees, for an hour, on a budget that all of them share."""
    reply = await exchange(client, signed(client, key))
    assert reply.status == 201
    assert reply.json["expires_at"] == "2023-11-14T23:13:20Z"
    assert reply.json["permissions"] == {"contents": "read", "metadata": "read"}
    token = reply.json["token"]
    assert (token[:4], len(token)) == ("ghs_", 40)
    other = (await exchange(client, signed(client, key))).json["token"]
    assert other != token
    assert (await client.github("/repos/acme/secret", token=token)).status == 200
    again = await client.github("/repos/acme/secret/releases", token=other)
    assert again.json == []
    assert again.headers["X-RateLimit-Remaining"] == "4998"
    assert (await client.github("/repos/acme/other", token=token)).status == 404
    query = '{ repository(owner: "acme", name: "secret") { nameWithOwner } }'
    assert "errors" not in (await client.query(query, token=token)).json
    client.clock.time += 3599
    assert (await client.github("/repos/acme/secret", token=token)).status == 200
    client.clock.time += 1
    late = await client.github("/repos/acme/secret", token=token)
    assert (late.status, late.json["message"]) == (401, "Bad credentials")
    assert (await client.query(query, token=token)).status == 401


async def test_a_revoked_token(
    client: Client, upstream: DemoUpstream, key: rsa.RSAPrivateKey
) -> None:
    """401, while a new one is good."""
    token = (await exchange(client, signed(client, key))).json["token"]
    upstream.github.revoke(token)
    assert (await client.github("/repos/acme/secret", token=token)).status == 401
    token = (await exchange(client, signed(client, key))).json["token"]
    assert (await client.github("/repos/acme/secret", token=token)).status == 200


async def test_longer_tokens(
    client: Client, upstream: DemoUpstream, key: rsa.RSAPrivateKey
) -> None:
    """Nobody may rely on a token's length."""
    upstream.github.long_installation_tokens = True
    token = (await exchange(client, signed(client, key))).json["token"]
    assert token.startswith("ghs_7_")
    assert len(token) > 200
    assert (await client.github("/repos/acme/secret", token=token)).status == 200


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"iss": 7}, 201, None),
        ({"iss": "Iv23abc"}, 201, None),
        ({"iat": "x"}, 401, "'Issued at' claim ('iat') must be an Integer"),
        ({"iat": 1_700_000_001}, 401, "'Issued at' claim ('iat') must be an Integer"),
        ({"iat": 1_700_000_000}, 201, None),
        ({"exp": None}, 401, f"{EXPIRES}must be a numeric value"),
        ({"exp": 1_700_000_000}, 401, f"{EXPIRES}must be a numeric value"),
        ({"exp": 1_700_000_600}, 201, None),
        ({"exp": 1_700_000_601}, 401, f"{EXPIRES}is too far in the future"),
        ({"iss": "x"}, 401, "'Issuer' claim ('iss') must be an Integer"),
        ({"iss": "9"}, 404, "Integration not found"),
        ({"iss": "8"}, 404, "Not Found"),
    ],
)
async def test_claims(
    client: Client,
    key: rsa.RSAPrivateKey,
    claims: dict[str, Any],
    status: int,
    message: str | None,
) -> None:
    """Issued not in the future, good for ten minutes at most, by an app that is known."""
    reply = await exchange(client, signed(client, key, **claims))
    assert reply.status == status
    if message is not None:
        assert reply.json["message"].startswith(message)


async def test_signatures(client: Client, key: rsa.RSAPrivateKey) -> None:
    """By the app's own key, with RS256, and nothing else will do."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for word in (
        signed(client, stranger),
        signed(client, "x" * 32, algorithm="HS256"),
        signed(client, "", algorithm="none"),
        signed(client, key)[:-9],
        "ghs_token",
    ):
        reply = await exchange(client, word)
        assert (reply.status, reply.json["message"]) == (401, UNDECODABLE)


async def test_what_is_asked_for(
    client: Client, upstream: DemoUpstream, key: rsa.RSAPrivateKey
) -> None:
    """Fewer repositories or permissions, never more; nothing while it is suspended."""
    state = upstream.github
    state.add_installation(
        7, 71, repositories={"acme/secret", "acme/other"}, permissions={"contents": "write"}
    )
    word = signed(client, key)
    reply = await exchange(client, word, 71, {"repositories": ["secret"]})
    token = reply.json["token"]
    assert reply.json["repository_selection"] == "selected"
    assert len((await client.github("/repos/acme/secret/releases", token=token)).json) == 1
    assert (await client.github("/repos/acme/other", token=token)).status == 404
    reply = await exchange(client, word, 71, {"permissions": {"contents": "read"}})
    assert reply.json["permissions"] == {"contents": "read"}
    for body in ({"permissions": {"issues": "read"}}, {"repositories": ["none"]}):
        assert (await exchange(client, word, 71, body)).status == 422
    state.installations[71].suspended = True
    assert (await exchange(client, word, 71)).status == 403
    assert (await exchange(client, word, 72)).status == 404
