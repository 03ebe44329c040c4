"""Changes to JSON that leave it JSON, where a change of bytes would seldom do."""

import json
import random
import re
from typing import Any, Final

from tests.hostile.values import ANYWHERE, NAMES, TIMES, Place, all_changed, places

__all__ = ["MOST", "mutated"]

MOST: Final = 6_000
"""Bytes of an input."""
# What chooses a target, and a parser of it.
_BEGIN: Final = re.compile(rb"[^\[{]{1,2}(?=[\[{])", re.DOTALL)
_TEXTS: Final = [
    text for text in (*ANYWHERE.values(), *NAMES.values(), *TIMES.values()) if len(text) < MOST
]


def mutated(data: bytes, seed: int) -> bytes | None:
    """One of its lines with something else in some places; None where that is no JSON."""
    chance = random.Random(seed)
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    begin = _BEGIN.match(lines[at])
    mark = begin[0] if begin is not None else b""
    try:
        shape: Any = json.loads(lines[at][len(mark) :])
    except (ValueError, RecursionError):
        return None
    try:
        known = [place for place in places(shape) if place]
    except RecursionError:
        return None
    if not known:
        return None
    changes: list[tuple[Place, str]] = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.choice(known)
        changes.append((place, chance.choice(_TEXTS)))
        if chance.random() < 0.3:  # what stands elsewhere in it
            other: Any = shape
            for step in chance.choice(known):
                other = other[step]
            changes[-1] = (place, json.dumps(other))
    lines[at] = mark + all_changed(lines[at][len(mark) :], changes)
    return b"\n".join(lines)
