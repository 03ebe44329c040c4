"""What upstreams say, without the secrets that they repeat, however they spell them.

NCBI names the key that it refuses, S3 the signature, and a proxy's page may quote all headers.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["HIDDEN", "hider", "masked", "secrets_of_proxy"]

HIDDEN: Final = "***"
# Shorter ones would be found by chance in what is no secret.
_ENCODED: Final = 6


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets: as they are, escaped, in hexadecimal or in base64.

    Cut it afterwards: part of a secret is not found.
    """
    return hider(secrets)(text)


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """`masked` for many texts and the same secrets."""
    patterns = [pattern for secret in secrets if secret for pattern in _patterns(secret)]
    if not patterns:
        return lambda text: text
    found = re.compile("|".join(patterns))
    return lambda text: found.sub(HIDDEN, text)


def _patterns(secret: str) -> Iterator[str]:
    """Regular expressions, longer matches before shorter ones."""
    data = secret.encode("utf-8", "surrogatepass")
    if len(data) >= _ENCODED:
        yield f"(?i:{data.hex()})"
        yield from map(_base64, (data, b" " + data, b"  " + data), range(3))
    yield "".join(map(_letter, secret))


def _letter(letter: str) -> str:
    """As it is, percent-encoded, or escaped as in JSON and in HTML."""
    if letter.isascii() and letter.isalnum():
        return letter
    encoded = "".join(f"%{byte:02x}" for byte in letter.encode("utf-8", "surrogatepass"))
    return rf"(?:&[#\w]{{1,8}};|(?i:{encoded}|\\u{ord(letter):04x})|\\?{re.escape(letter)})"


def _base64(data: bytes, shift: int) -> str:
    """Within a longer text it may begin at any byte of a group of three: what is sure of it."""
    text = base64.b64encode(data).decode()
    sure = text[(0, 2, 3)[shift] :].rstrip("=")
    sure = sure[:-1] if len(data) % 3 else sure
    return re.escape(sure).replace(r"\+", "[+-]").replace("/", "[/_]")


def secrets_of_proxy(url: str) -> tuple[str, ...]:
    """The password in a proxy's address, and the form in which it travels."""
    parts = urlsplit(url)
    if not parts.password:
        return ()
    user, password = unquote(parts.username or ""), unquote(parts.password)
    return password, base64.b64encode(f"{user}:{password}".encode()).decode()
