"""Secrets that are known, and the search for them in whatever came out."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import bson
import pymongo
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fetcher.config.schema import every_key

__all__ = [
    "PLANTED",
    "Canaries",
    "bytes_of",
    "files_under",
    "proxy_url",
    "secret_keys",
    "settings_tree",
]

# Part of a secret is as bad: an attacker guesses the rest.
_WINDOW = 12
_RUN = re.compile(rb"[A-Za-z0-9+/_=-]{%d,}" % _WINDOW)


class Canaries:
    """Secrets by name, and where they are."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._needles: dict[bytes, str] = {}
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def new(self, name: str) -> str:
        """A secret with letters that URLs and JSON spell in other ways."""
        secret = f"{uuid4().hex[:24]}/+{uuid4().hex[:24]}"
        self.watch(name, secret)
        return secret

    def watch(self, name: str, secret: str) -> None:
        """From now on it is looked for: every part of it, as it is, and in other spellings."""
        self.values[name] = secret
        for start in range(0, len(secret) - _WINDOW + 1, _WINDOW):
            part = secret[start : start + _WINDOW].encode()
            for needle in (part, part.hex().encode(), part.hex().upper().encode(), *_base64(part)):
                self._needles[needle[:_WINDOW]] = name

    def watch_pem(self, name: str, pem: str) -> None:
        for number, line in enumerate(pem.splitlines()[1:-1]):
            self.watch(f"{name}, line {number}", line)

    def watch_authorization(self, headers: Mapping[str, str]) -> None:
        """Tokens that came to be on the way: an App's own, and those of its installation."""
        token = headers.get("Authorization", "").rpartition(" ")[2]
        # Head and claims of a JWT are no secret, and begin the same for everybody.
        token = token.rpartition(".")[2]
        if token and token not in self.values.values():
            self.watch(f"token {len(self.values)}", token)

    def pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()

    def public_pem(self) -> str:
        return (
            self.key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def found_in(self, what: str, data: bytes | str) -> list[str]:
        """``WHAT has SECRET: …text around it…`` for each that is there."""
        data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        found: dict[str, str] = {}
        for run in _RUN.finditer(data):
            for at in range(run.start(), run.end() - _WINDOW + 1):
                if (name := self._needles.get(data[at : at + _WINDOW])) is not None:
                    around = data[max(0, at - 80) : at + 40].decode("utf-8", "replace")
                    found.setdefault(name, f"{what} has {name}: …{around}…")
        return list(found.values())


def _base64(part: bytes) -> Iterator[bytes]:
    """How it looks within a longer text, which may begin at any byte of a group of three."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + part)
        whole = text[4 if shift else 0 : -4 if (shift + len(part)) % 3 else None]
        yield from (whole, whole.replace(b"+", b"-").replace(b"/", b"_"))


def secret_keys() -> set[str]:
    """Every key that may come from a file: that is, every secret of the settings."""
    keys = {".".join(map(str, each)) for each, _ in every_key()}
    return {key for key in keys if f"{key}_file" in keys}


# Where each secret is planted; `settings_tree` plants those that are not an address.
PLANTED = (
    "api.token",
    "api.tokens.0.token",
    "github.accounts.0.private_key",
    "github.accounts.0.token",
    "github.token",
    "github.webhook_secret",
    "github.webhook_secret_old",
    "http.proxy",
    "ncbi.accounts.0.api_key",
    "ncbi.api_key",
    "store.url",
)


def settings_tree(canaries: Canaries) -> dict[str, Any]:
    """Settings with a canary in each secret that is no address."""
    new = canaries.new
    canaries.watch_pem("github.accounts.0.private_key", canaries.pem())
    app = {"name": "app", "app_id": 7, "installation_id": 70, "private_key": canaries.pem()}
    return {
        "github": {
            "token": new("github.token"),
            "webhook_secret": new("github.webhook_secret"),
            "webhook_secret_old": new("github.webhook_secret_old"),
            "accounts": [{"name": "one", "token": new("github.accounts.0.token")}, app],
        },
        "ncbi": {
            "api_key": new("ncbi.api_key"),
            "accounts": [{"name": "one", "api_key": new("ncbi.accounts.0.api_key")}],
        },
        "api": {"token": new("api.token"), "tokens": [{"token": new("api.tokens.0.token")}]},
    }


def proxy_url(canaries: Canaries, address: str) -> str:
    """A proxy's address with a password in it."""
    return f"http://carrier:{quote(canaries.new('http.proxy'), safe='')}@{address}"


def files_under(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file with its bytes: stores with their WAL, parts of downloads, outputs."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def bytes_of(url: str) -> Iterator[tuple[str, bytes]]:
    """Every document of every collection of a MongoDB, GridFS among them, as BSON."""
    server, _, tail = url.partition("://")[2].partition("/")
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://{server}/") as client:
        database = client[tail.partition("?")[0]]
        for name in database.list_collection_names():
            documents = [bson.encode(document) for document in database[name].find()]
            yield f"collection {name}", b"".join(documents)
