"""Where two sequences differ, in bounded time and memory: pure.

What they begin and end with alike is left out. Sequences of one length that are mostly alike are
compared place by place; others by the shortest edit script (E. Myers, An O(ND) Difference
Algorithm and Its Variations, Algorithmica 1, 1986, https://doi.org/10.1007/BF01840446), as long
as that has no more than `MOST_EDITS` steps. Beyond, only the region is told in which they differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import ne
from typing import Final, Literal, TypeAlias

__all__ = ["MOST_EDITS", "Alignment", "Edit", "align"]

MOST_EDITS: Final = 500
"""Residues put in and taken out, of which an edit script is looked for."""

# A share of places that differ, up to which sequences of one length are taken to have no gaps.
_PLACES: Final = 0.1
_STRIDE: Final = 64

Span: TypeAlias = tuple[int, int]
"""The first and the last place, both from 1; the last is before the first where it is empty."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`old` became `new`; an insertion stands behind the end of `old`, a deletion of `new`."""

    kind: Literal["substitution", "insertion", "deletion"]
    old: Span
    new: Span


@dataclass(frozen=True, slots=True)
class Alignment:
    """`identity` is the share of columns that are alike, from 0 to 1.

    Where the two are too different it is None, as is `edits`; `old` and `new` are then the
    regions outside of which they are alike.
    """

    identity: float | None
    edits: Sequence[Edit] | None
    old: Span
    new: Span


def align(old: str, new: str) -> Alignment:
    """How `old` became `new`."""
    start = _alike(old, new, 0, 0)
    end = _alike_at_end(old[start:], new[start:])
    a, b = old[start : len(old) - end], new[start : len(new) - end]
    spans = (start + 1, start + len(a)), (start + 1, start + len(b))
    if not a and not b:
        return Alignment(1.0, (), *spans)
    edits = _by_place(a, b)
    if edits is None:
        runs = _script(a, b)
        if runs is None:
            return Alignment(None, None, *spans)
        edits = list(_between(runs, a, b))
    placed = [_moved(edit, start) for edit in edits]
    columns = len(old) + sum(_long(e.new) - _long(e.old) for e in edits if e.kind == "insertion")
    differing = sum(max(_long(edit.old), _long(edit.new)) for edit in edits)
    return Alignment(1 - differing / columns, placed, *spans)


def _alike(old: str, new: str, at: int, to: int) -> int:
    """How many residues are alike from two places on: by longer and longer pieces."""
    most = min(len(old) - at, len(new) - to)
    count, step = 0, _STRIDE
    while count < most:
        piece = min(step, most - count)
        if old[at + count : at + count + piece] == new[to + count : to + count + piece]:
            count += piece
            step *= 2
        elif piece == 1:
            break
        else:
            step = max(1, piece // 2)
            most = min(most, count + piece)
    return count


def _alike_at_end(old: str, new: str) -> int:
    most = min(len(old), len(new))
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle :] == new[len(new) - middle :]:
            low = middle
        else:
            high = middle - 1
    return low


def _by_place(old: str, new: str, *, anyhow: bool = False) -> list[Edit] | None:
    """Substitutions alone; None where there are too many for that, or lengths differ."""
    if len(old) != len(new):
        return None
    edits: list[Edit] = []
    number, at = 0, 0
    while at < len(old):
        at += _alike(old, new, at, at)
        begin = at
        while at < len(old) and old[at] != new[at]:
            at += 1
        if at > begin:
            number += at - begin
            span = (begin + 1, at)
            edits.append(Edit("substitution", span, span))
            if not anyhow and number > _PLACES * len(old) and number > MOST_EDITS // 10:
                return None
    return edits


def _script(old: str, new: str) -> list[tuple[int, int, int]] | None:
    """Runs that are alike (place in old, place in new, length), ascending; None: too different."""
    furthest: dict[int, int] = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(MOST_EDITS, len(old) + len(new)) + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _step(furthest, diagonal, edits)
            y = x - diagonal
            if x <= len(old) and 0 <= y <= len(new):
                x += _alike(old, new, x, y)
            furthest[diagonal] = x
            if x >= len(old) and x - diagonal >= len(new):
                return _traced(trace, len(old), len(new))
    return None


def _step(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    """By an insertion from the diagonal above, or by a deletion from the one below."""
    above, below = furthest.get(diagonal + 1, -1), furthest.get(diagonal - 1, -1)
    if diagonal == -edits or (diagonal != edits and below < above):
        return above
    return below + 1


def _traced(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int, int]]:
    runs: list[tuple[int, int, int]] = []
    for edits in range(len(trace) - 1, -1, -1):
        furthest, diagonal = trace[edits], x - y
        begin = _step(furthest, diagonal, edits)
        if x > begin:
            runs.append((begin, begin - diagonal, x - begin))
        if edits == 0:
            break
        above, below = furthest.get(diagonal + 1, -1), furthest.get(diagonal - 1, -1)
        down = diagonal == -edits or (diagonal != edits and below < above)
        x, y = (begin, begin - diagonal - 1) if down else (begin - 1, begin - diagonal)
    runs.reverse()
    return runs


def _between(runs: Sequence[tuple[int, int, int]], old: str, new: str) -> Iterator[Edit]:
    """What lies between the runs that are alike; what goes and what comes there is paired."""
    for x, to_x, y, to_y in _gaps(runs, old, new):
        if to_x - x == to_y - y:
            for edit in _by_place(old[x:to_x], new[y:to_y], anyhow=True) or ():
                (first, last), (begin, end) = edit.old, edit.new
                yield Edit(edit.kind, (first + x, last + x), (begin + y, end + y))
            continue
        both = min(to_x - x, to_y - y)
        if both:
            yield Edit("substitution", (x + 1, x + both), (y + 1, y + both))
        if to_x - x > both:
            yield Edit("deletion", (x + both + 1, to_x), (to_y + 1, to_y))
        else:
            yield Edit("insertion", (to_x + 1, to_x), (y + both + 1, to_y))


def _gaps(
    runs: Sequence[tuple[int, int, int]], old: str, new: str
) -> Iterator[tuple[int, int, int, int]]:
    """(from, to) in old and in new, of what is not alike.

    A residue that was replaced beside one like it comes as a loss and a gain next to each other:
    two gaps that make up for one another, at no more cost, are one.
    """
    x = y = 0
    before: tuple[int, int, int, int] | None = None
    for at, to, length in (*runs, (len(old), len(new), 0)):
        if at > x or to > y:
            gap = (x, at, y, to)
            if before is not None:
                first, _, begin, _ = before
                cost = _cost(before) + _cost(gap)
                if at - first == to - begin and _unlike(old[first:at], new[begin:to]) <= cost:
                    gap = (first, at, begin, to)
                else:
                    yield before
            before = gap
        x, y = at + length, to + length
    if before is not None:
        yield before


def _cost(gap: tuple[int, int, int, int]) -> int:
    return max(gap[1] - gap[0], gap[3] - gap[2])


def _unlike(old: str, new: str) -> int:
    return sum(map(ne, old, new))


def _moved(edit: Edit, by: int) -> Edit:
    return Edit(
        edit.kind,
        (edit.old[0] + by, edit.old[1] + by),
        (edit.new[0] + by, edit.new[1] + by),
    )


def _long(span: Span) -> int:
    return span[1] - span[0] + 1
