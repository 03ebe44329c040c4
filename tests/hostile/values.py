"""What a hostile upstream puts where something else belongs, and the places where it may."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

__all__ = [
    "ANYWHERE",
    "NAMES",
    "TIMES",
    "Place",
    "all_changed",
    "changed",
    "is_json",
    "place_of",
    "places",
    "texts",
]

Place: TypeAlias = tuple[str | int, ...]

_MARK: Final = "@here {}@"


def _deep(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


# As JSON, so that what Python cannot say can be said.
ANYWHERE: Final[Mapping[str, str]] = {
    "null": "null",
    "true": "true",
    "nothing": '""',
    "zero": "0",
    "negative": "-1",
    "fraction": "1.5",
    "not a number": "NaN",
    "infinity": "-Infinity",
    "beyond floats": "1e999",
    "beyond BSON": str(1 << 63),
    "beyond 64 bits": str(1 << 64),
    "thousands of digits": "9" * 5000,
    "list": "[]",
    "object": "{}",
    "list of objects": '[{"a": {}}]',
    "deep": _deep(90),
    "deeper": _deep(300),
    "too deep": _deep(2_500),
    "deepest": _deep(100_000),
    "half a pair": '"\\ud800"',
    "broken pairs": '"\\udc00\\ud800 x"',
    "nul": '"a\\u0000b"',
    "escape sequence": '"\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u007f"',
    "bidi": '"\\u202e\\u2066gnp.exe\\u2028\\ufeff"',
    "markup": '"</script><img src=x onerror=alert(1)>"',
    "lines": '"a\\r\\nb\\n"',
    "path": '"../../etc/passwd"',
    "long": json.dumps("x" * 70_000),
}
NAMES: Final[Mapping[str, str]] = {
    "operator": '{"$where": "1"}',
    "dotted": '{"a.b": {"c.d": 1}, ".": 1, "a..b": 2}',
    "nul in a name": '{"a\\u0000b": 1}',
    "empty name": '{"": 1}',
    "half a pair in a name": '{"\\ud800": 1}',
    "reserved": '{"_id": 1, "$set": {"kind": 2}, "$ref": "x", "$id": 1, "$numberLong": "1"}',
    "twice": '{"a": 1, "a": 2}',
    "prototype": '{"__proto__": 1, "__class__": 2}',
}
TIMES: Final[Mapping[str, str]] = {
    "year 0": '"0000-01-01T00:00:00Z"',
    "before year 1": '"0001-01-01T00:00:00+23:59"',
    "year 1": '"0001-01-01T00:00:00Z"',
    "after year 9999": '"9999-12-31T23:59:59-23:59"',
    "year 9999": '"9999-12-31T23:59:59.999999Z"',
    "year 99999": '"99999-01-01T00:00:00Z"',
    "microseconds": '"2024-01-01T00:00:00.123456Z"',
    "no zone": '"2024-01-01T00:00:00"',
    "leap second": '"2016-12-31T23:59:60Z"',
    "day": '"2024-01-01"',
    "epoch": "1704067200",
    "epoch of milliseconds": "1704067200123",
    "epoch as text": '"1704067200"',
}
_FEW: Final = (
    *("null", "nothing", "negative", "fraction", "beyond 64 bits", "list of objects", "object"),
    *("half a pair", "nul", "escape sequence", "lines", "long"),
)
_NO_TIME: Final = ("null", "zero", "object", "half a pair", "nul", "beyond 64 bits")


def places(document: object, *above: str | int) -> Iterator[Place]:
    """Every value in a document, itself included."""
    yield above
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    for step, value in inner:
        yield from places(value, *above, step)


def place_of(text: str) -> Place:
    """``0.assets.0.name`` as steps; the empty text is the whole document."""
    return tuple(int(step) if step.isdecimal() else step for step in text.split(".") if step)


def texts(place: str, *, first: bool = True, few: bool = False) -> Sequence[str]:
    """What to put there; what spoils the whole document alike wherever it is only at `first`."""
    if few:
        wanted = [ANYWHERE[name] for name in _FEW]
    elif place.lower().endswith(("_at", "edat")):
        wanted = [*TIMES.values(), *(ANYWHERE[name] for name in _NO_TIME)]
    else:
        wanted = [*ANYWHERE.values(), *NAMES.values()]
    return [text for text in wanted if first or is_json(text)]


def is_json(text: str) -> bool:
    """Whether it is JSON to others as well, so that the rest of its document can be read."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def changed(body: bytes, place: str, text: str) -> bytes:
    """A body of JSON with another value in one place."""
    return all_changed(body, [(place_of(place), text)])


def all_changed(body: bytes, changes: Sequence[tuple[Place, str]]) -> bytes:
    """A body of JSON with other values in some places, as far as it has them."""
    document: Any = json.loads(body)
    for number, (place, text) in enumerate(changes):
        if not place:
            return text.encode()
        inner = document
        try:
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = _MARK.format(number)
        except (LookupError, TypeError):
            continue
    whole = json.dumps(document)
    for number, (_, text) in enumerate(changes):
        whole = whole.replace(f'"{_MARK.format(number)}"', text)
    return whole.encode()
