"""Durations, sizes and URLs as people write them; every refusal is a sentence of its own."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from fetcher.errors import UsageError

__all__ = [
    "check_http_url",
    "check_proxy",
    "check_store_url",
    "is_loopback",
    "mask_url",
    "parse_duration",
    "parse_every",
    "parse_listen",
    "parse_size",
    "quoted",
]

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
# The larger unit first, each at most once: 1d12h, 1h30m, 90s, 250ms.
_DURATION = re.compile(
    rf"(?=[0-9])(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m(?!s))?"
    rf"(?:({_NUMBER})s)?(?:({_NUMBER})ms)?"
)
_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_LONGEST = 36_500 * 86_400.0
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]*)")
_BYTES = {
    "": 1, "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_LARGEST = 2**50
_SQLITE = "sqlite:///"
_SCHEMES = ("sqlite", "mongodb", "mongodb+srv")
# Options of a MongoDB URL that are, or may hold, secrets:
# https://www.mongodb.com/docs/manual/reference/connection-string-options/
_SECRET_OPTION = re.compile(
    r"(?i)([?&;](?:tlsCertificateKeyFilePassword|proxyPassword|authMechanismProperties)=)[^&;]*"
)


def quoted(text: str) -> str:
    """What was written, short enough to be repeated in a sentence."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``15m``, ``6h``, ``1d``, ``1h30m`` or ``250ms``; raises `UsageError`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        number = re.fullmatch(_NUMBER, text.strip())
        hint = f"{number[0]} needs a unit" if number else f"{quoted(text)} is no duration"
        raise UsageError(f"{hint}; write 30s, 15m, 6h, 1d or 1h30m")
    parts = zip(found.groups(), _SECONDS, strict=True)
    seconds = sum(float(number) * unit for number, unit in parts if number is not None)
    if seconds > _LONGEST:
        raise UsageError(f"{quoted(text)} is longer than a hundred years")
    return seconds


def parse_every(text: str) -> float | Literal["auto"]:
    """A duration, or ``auto``; raises `UsageError`."""
    return "auto" if text.strip() == "auto" else parse_duration(text)


def parse_size(text: str) -> int:
    """Bytes of ``256MiB``, ``1.5GB``, ``64kB`` or ``4096``; raises `UsageError`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[2] not in _BYTES:
        raise UsageError(f"{quoted(text)} is no size; write 256MiB, 1GiB, 64kB or bytes")
    number = float(found[1]) if "." in found[1] else int(found[1])
    if number * _BYTES[found[2]] > _LARGEST:
        raise UsageError(f"{quoted(text)} is larger than can be meant")
    return int(number * _BYTES[found[2]])


def mask_url(url: str) -> str:
    """The URL with its password, and whatever else in it may be secret, as asterisks.

    An address whose password was not percent-encoded is masked as well, rather too much of it
    than too little.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    who, at, where = rest.rpartition("@")
    user, colon, _ = who.partition(":")
    return _SECRET_OPTION.sub(r"\1***", f"{scheme}://{user}{colon and ':***'}{at}{where}")


def check_http_url(url: str) -> str:
    """An upstream's address, without its trailing slash; raises `ValueError`."""
    url = url.strip()
    parts = _split(url)
    if parts.username is not None or parts.password is not None or "@" in url:
        raise ValueError("must hold no user name and no password")
    if parts.query or parts.fragment or url[-1:] in {"?", "#"}:
        raise ValueError("must hold no query and no fragment")
    return url.rstrip("/")


def check_proxy(url: str) -> str:
    """The address of a proxy, which may hold a password, or nothing; raises `ValueError`."""
    url = url.strip()
    if url:
        _split(url)
    return url


def _split(url: str) -> SplitResult:
    # urlsplit drops line breaks and tabs without a word.
    clean = url.isprintable() and " " not in url
    with suppress(ValueError):  # of brackets, and of a port that is no number
        parts = urlsplit(url if clean else "")
        if parts.scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    # Not repeated: where there should be an address, people have pasted tokens.
    raise ValueError("is no address; write http://HOST or https://HOST:PORT")


def check_store_url(url: str) -> str:
    """The address of a store; raises `ValueError`."""
    url = url.strip()
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError("is no address; write sqlite:///FILE or mongodb://HOST/DATABASE")
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown store {quoted(scheme)}; known are {', '.join(_SCHEMES)}")
    if not url.isprintable():
        raise ValueError("holds control characters")
    if scheme == "sqlite":
        _check_file(url)
    else:
        _check_servers(rest)
    return url


def _check_file(url: str) -> None:
    if not url.startswith(_SQLITE):
        raise ValueError("names a host; write sqlite:///FILE or sqlite:////ABSOLUTE")
    name = url.removeprefix(_SQLITE).rpartition("/")[2]
    if not name:
        raise ValueError("names no file; write sqlite:///fetcher.db")
    if name == ":memory:":
        raise ValueError("a store in memory keeps nothing; name a file")
    if "?" in name:
        raise ValueError("has options, which a SQLite address does not take")


def _check_servers(rest: str) -> None:
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    who, at, servers = authority.rpartition("@")
    path = rest[len(authority) :].partition("?")[0]
    if "@" in who or "@" in path or (at and (not who or re.search(r":.*:|[\[\]#]", who))):
        raise ValueError(
            "the user name and password must be percent-encoded (%40 for @, %3A for :, %2F for /)"
        )
    if not all(server.partition(":")[0] for server in servers.split(",")):
        raise ValueError("names no server; write mongodb://HOST/DATABASE")
    if " " in rest:
        raise ValueError("holds a space; write %20")


def parse_listen(text: str) -> tuple[str, int] | None:
    """Host and port of ``127.0.0.1:8080``, ``[::1]:8080`` or ``:8080`` (every address).

    None for an empty text: off. Raises `ValueError`.
    """
    text = text.strip()
    if not text:
        return None
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]*)):([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65_535:
        raise ValueError(
            f"{quoted(text)} is no address to listen on; "
            "write 127.0.0.1:8080, [::1]:8080, or nothing to turn it off"
        )
    return found[1] or found[2], int(found[3])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
