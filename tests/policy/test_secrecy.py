"""Secrets are found in what upstreams say, however they are spelt there."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.policy.secrecy import masked, secrets_of_proxy

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(SECRETS)
def test_a_secret_is_hidden_in_every_spelling(secret: str) -> None:
    """Nothing of it is left, wherever in a longer text it stands."""
    for spelt in (
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.islower() else secret,
        json.dumps(secret)[1:-1],
        secret.replace("/", "\\/"),
        html.escape(secret),
        secret.encode().hex(),
        secret.encode().hex().upper(),
    ):
        assert masked(f"it says '{spelt}'!", (secret,)) == "it says '***'!"


@given(SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_within_base64_is_hidden(secret: str, before: bytes, behind: bytes) -> None:
    """But for letters at its ends that hold its neighbours as well."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + behind).decode()
        rest = masked(text, (secret,))
        assert "***" in rest
        assert len(rest.replace("***", "").rstrip("=")) <= 4 * (len(before + behind) // 3 + 3)


@pytest.mark.parametrize("secret", ["a", "ab.c", "\\d+", "(", "ä ö", "[x]*{2}|y"])
def test_a_secret_is_no_pattern(secret: str) -> None:
    """Short ones and those with signs of regular expressions in them."""
    assert masked(f"1{secret}2", (secret,)) == "1***2"
    assert masked("1 2", (secret,)) == "1 2"


def test_what_is_no_secret_stays() -> None:
    """Nothing to hide, and several secrets at once."""
    assert masked("all of it", ()) == masked("all of it", ("",)) == "all of it"
    assert masked("first, second", ("second", "first")) == "***, ***"


def test_the_secrets_of_a_proxy_are_its_password_and_the_header_that_holds_it() -> None:
    assert secrets_of_proxy("http://me:p%40ss@proxy:3128") == ("p@ss", "bWU6cEBzcw==")
    assert secrets_of_proxy("http://proxy:3128") == secrets_of_proxy("http://me@proxy") == ()
