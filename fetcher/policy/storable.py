"""What every store can hold of what an upstream says in its own words.

MongoDB has integers of 64 bits, text in UTF-8 and a hundred levels, and takes no names that begin
with a dollar: https://www.mongodb.com/docs/manual/reference/limits/. JSON as others read it has no
numbers that are none.
"""

import math
from collections.abc import Mapping
from typing import Final

from fetcher.documents import Content
from fetcher.policy.digest import measured

__all__ = ["LARGEST", "Unstorable", "checked", "checked_text"]

# As deep again may be what stands around it, such as its history.
_LEVELS: Final = 64
LARGEST: Final = 1 << 20
"""Bytes of JSON that fit a document whatever they are, and however much longer BSON is."""
_INTEGERS: Final = range(-(1 << 63), 1 << 63)


class Unstorable(ValueError):
    """No store can hold it; the text says what of it, for the end of a sentence."""


def checked(content: Content) -> str:
    """The digest of content that every store can hold; raises `Unstorable` for any other."""
    waiting: list[tuple[object, int]] = [(content, 0)]
    while waiting:
        value, level = waiting.pop()
        match value:
            case str():
                checked_text(value)
            case int() if value not in _INTEGERS:
                raise Unstorable("a number beyond 64 bits")
            case float() if not math.isfinite(value):
                raise Unstorable("a number that is none")
            case Mapping() | list() | tuple() if level == _LEVELS:
                raise Unstorable(f"more than {_LEVELS} levels")
            case Mapping():
                for name, each in value.items():
                    _check_name(name)
                    waiting.append((each, level + 1))
            case list() | tuple():
                waiting.extend((each, level + 1) for each in value)
    digest, size = measured(content)
    if size > LARGEST:
        raise Unstorable(f"{size:,} bytes, where {LARGEST:,} are the most")
    return digest


def checked_text(text: str) -> str:
    """The text, if UTF-8 has it: JSON can say half of a surrogate pair; else `Unstorable`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unstorable("text that is no Unicode") from error
    return text


def _check_name(name: str) -> None:
    checked_text(name)
    if name.startswith("$") or "\0" in name:
        raise Unstorable("a name that no field can have")
