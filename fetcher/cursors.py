"""Places in a listing or in the feed of changes, as text that a reader keeps and gives back.

The text is opaque: base64url of JSON, so that it needs no escaping in a URL.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fetcher.documents import from_json, json_bytes
from fetcher.errors import CursorGone, UsageError
from fetcher.store.protocol import Position, Scalar

__all__ = ["feed_cursor", "feed_position", "page_cursor", "page_place", "reaches"]

_TOO_LONG = 8192


def page_cursor(order: Sequence[str], place: Sequence[Scalar]) -> str:
    """The cursor behind a record that stands at `place` in a listing of this `order`."""
    return _pack([list(order), list(place)])


def page_place(text: str, order: Sequence[str]) -> tuple[Scalar, ...]:
    """The place of a cursor; raises `UsageError` for one of another listing, or of none."""
    match _unpack(text):
        case [list(names), list(values)] if names == list(order) and len(values) == len(names):
            try:
                return tuple(_value(name, each) for name, each in zip(names, values, strict=True))
            except (OverflowError, TypeError, ValueError):
                pass
    raise UsageError("`after` is no cursor of this listing; leave it out to begin again")


def _value(name: str, value: object) -> Scalar:
    if name.endswith(("_at", "_date")) and value is not None:
        if not isinstance(value, str):
            raise TypeError(name)
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError(value)
        return time.astimezone(UTC)
    if value is not None and not isinstance(value, str):
        raise TypeError(name)
    return value


def feed_cursor(store: str, position: Position) -> str:
    """The cursor of a reader of changes that has come so far in the store of this identity."""
    return _pack([store, {account: list(place) for account, place in position.items()}])


def feed_position(text: str, store: str) -> dict[str, tuple[int, int]]:
    """How far that reader had come; raises `CursorGone` where this store cannot say."""
    match _unpack(text):
        case [str(name), dict(places)]:
            if name != store:
                raise CursorGone("the cursor is of another store")
            if (position := _position(places)) is not None:
                return position
    raise CursorGone("the cursor cannot be read")


def reaches(one: str, other: str, store: str) -> bool:
    """Whether a reader at one cursor has come as far as another: nothing before it is news."""
    here = feed_position(one, store)
    there = feed_position(other, store)
    return all(here.get(account, (0, 0)) >= place for account, place in there.items())


def _position(places: Mapping[str, Any]) -> dict[str, tuple[int, int]] | None:
    position: dict[str, tuple[int, int]] = {}
    for account, place in places.items():
        match place:
            case [int(token), int(n)] if 0 <= token < 1 << 62 and 0 <= n < 1 << 62:
                position[account] = (token, n)
            case _:
                return None
    return position


def _pack(value: object) -> str:
    return base64.urlsafe_b64encode(json_bytes(value)).decode().rstrip("=")


def _unpack(text: str) -> object:
    """What was packed; None for what never was."""
    if len(text) > _TOO_LONG:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        unpacked: object = from_json(data)
    except (binascii.Error, ValueError):
        return None
    return unpacked
