"""Pages of a connection: cursors that hold while things come and go, and bounds that must be given.

https://relay.dev/graphql/connections.htm · the messages as recorded from api.github.com
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Final, Generic, TypeAlias, TypeVar

from graphql import FieldNode, GraphQLError, GraphQLResolveInfo

__all__ = ["Key", "Listing", "failure", "page"]

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]
Info: TypeAlias = GraphQLResolveInfo[Any]
# What a list is sorted by, with an id so that no two are equal.
Key: TypeAlias = tuple[str | int, ...]

PREFIX: Final = b"cursor:v2:"
MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All of a list, with the key of each; `falling` is the order in which it is listed."""

    items: Sequence[tuple[Key, T]]
    falling: bool = False


def failure(kind: str, message: str, **extensions: object) -> GraphQLError:
    """An error of the query that has GitHub's `type`."""
    return GraphQLError(message, extensions={"type": kind, **extensions})


def page(
    info: Info,
    given: Mapping[str, Any],
    listing: Listing[T],
    shape: Callable[[T], Row],
) -> Row:
    """The connection that the field's arguments ask for."""
    first, last = _bounds(info, given)
    ordered = sorted(listing.items, key=lambda each: each[0], reverse=listing.falling)
    start, end = 0, len(ordered)
    keys = [key for key, _ in ordered]
    up_to, before = (ge, gt) if listing.falling else (le, lt)
    if given.get("after") is not None:
        start = _count(keys, up_to, given["after"])
    if given.get("before") is not None:
        end = _count(keys, before, given["before"])
    if first is not None:
        end = min(end, start + first)
    elif last is not None:
        start = max(start, end - last)
    else:
        end = start  # only what can be said without a page was asked for
    shown = ordered[start:end]
    cursors = [_encoded(key) for key, _ in shown]
    nodes = [shape(item) for _, item in shown]
    return {
        "edges": [
            {"cursor": cursor, "node": node} for cursor, node in zip(cursors, nodes, strict=True)
        ],
        "nodes": nodes,
        "pageInfo": {
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
            "hasPreviousPage": start > 0,
            "hasNextPage": end < len(ordered),
        },
        "totalCount": len(ordered),
    }


def _bounds(info: Info, given: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """`first` and `last`; without either only a count can be had."""
    first, last = given.get("first"), given.get("last")
    name = info.field_name
    if first is None and last is None and _wants_page(info):
        raise failure(
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the "
            f"`{name}` connection.",
        )
    if first is not None and last is not None:
        raise GraphQLError(
            f"Passing both `first` and `last` to paginate the `{name}` connection is not supported."
        )
    for argument, value in (("first", first), ("last", last)):
        if value is not None and not 1 <= value <= MOST:
            raise failure(
                "EXCESSIVE_PAGINATION",
                f"Requesting {value} records on the `{name}` connection exceeds the "
                f"`{argument}` limit of {MOST} records.",
            )
    return first, last


def _wants_page(info: Info) -> bool:
    return any(
        not isinstance(each, FieldNode) or each.name.value not in ("totalCount", "__typename")
        for node in info.field_nodes
        for each in (node.selection_set.selections if node.selection_set else ())
    )


def _encoded(key: Key) -> str:
    return base64.b64encode(PREFIX + json.dumps(key).encode()).decode()


def _count(keys: Sequence[Key], holds: Callable[[Key, Key], bool], cursor: str) -> int:
    """How many keys stand in that relation to a cursor; its item may have gone meanwhile."""
    try:
        text = base64.b64decode(cursor, validate=True)
        wanted = tuple(json.loads(text[text.index(PREFIX) + len(PREFIX) :]))
        return sum(holds(key, wanted) for key in keys)
    except (TypeError, ValueError):  # no cursor, or one of another list
        message = f"`{cursor}` does not appear to be a valid cursor."
        raise failure("INVALID_CURSOR_ARGUMENTS", message) from None
