"""What differs between two sequence records: fields, features, sequence. Pure."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fetcher.alignment import Alignment, align
from fetcher.documents import Document, json_bytes

__all__ = ["Difference", "compare"]

_FIELDS: Final = (
    "definition",
    "length",
    "molecule_type",
    "strandedness",
    "topology",
    "division",
    "update_date",
    "organism",
    "taxid",
    "lineage",
    "keywords",
    "comment",
    "secondary_accessions",
    "references",
    "status",
    "replaced_by",
)
"""Those that are not told by the names of the two, by features or by the sequence."""

_NAMES: Final = ("locus_tag", "protein_id", "gene", "product", "organism")
"""What a feature is known by though it moved, the first that it has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs; `old` or `new` is None where there is none.

    `what` names it: a field, a feature's type and name or location, or a kind of edit.
    """

    part: Literal["field", "feature", "sequence"]
    change: Literal["added", "removed", "changed", "substitution", "insertion", "deletion"]
    what: str
    old: Any
    new: Any


def compare(old: Document, new: Document) -> tuple[list[Difference], Alignment | None]:
    """All differences in the order of a flat file; how the sequences align, where both have one."""
    differences = [
        Difference("field", "changed", name, old.get(name), new.get(name))
        for name in _FIELDS
        if old.get(name) != new.get(name)
    ]
    differences += _features(old["features"] or (), new["features"] or ())
    first, second = old["sequence"], new["sequence"]
    if first is None or second is None:
        if first != second:
            change: Literal["added", "removed"] = "added" if first is None else "removed"
            differences.append(Difference("sequence", change, "sequence", None, None))
        return differences, None
    alignment = align(first, second)
    differences += _sequence(alignment, first, second)
    return differences, alignment


def _sequence(alignment: Alignment, old: str, new: str) -> Iterator[Difference]:
    if alignment.edits is None:
        spans = [f"{first}..{last}" for first, last in (alignment.old, alignment.new)]
        yield Difference("sequence", "changed", "region", *spans)
        return
    for edit in alignment.edits:
        (first, last), (begin, end) = edit.old, edit.new
        if edit.kind == "insertion":
            where = f"{last}^{last + 1}"
        else:
            where = str(first) if first == last else f"{first}..{last}"
        was, now = old[first - 1 : last], new[begin - 1 : end]
        yield Difference("sequence", edit.kind, where, was or None, now or None)


# --- features -------------------------------------------------------------------------------

_Feature = Mapping[str, Any]


def _features(old: Sequence[_Feature], new: Sequence[_Feature]) -> Iterator[Difference]:
    """Equal ones are left out; the others are paired by location, then by name."""
    left, right = _unequal(old, new), _unequal(new, old)
    pairs: list[tuple[_Feature, _Feature]] = []
    keys: tuple[Callable[[_Feature], Hashable], ...] = (_place, _name)
    for key in keys:
        waiting: dict[Hashable, list[_Feature]] = {}
        for feature in right:
            waiting.setdefault(key(feature), []).append(feature)
        rest = []
        for feature in left:
            found = waiting.get(key(feature)) if key(feature) is not None else None
            if found:
                pairs.append((feature, found.pop(0)))
            else:
                rest.append(feature)
        left = rest
        taken = {id(each) for _, each in pairs}
        right = [feature for feature in right if id(feature) not in taken]
    for before, after in pairs:
        yield Difference("feature", "changed", _called(before), *_parts(before, after))
    for feature in left:
        yield Difference("feature", "removed", _called(feature), feature, None)
    for feature in right:
        yield Difference("feature", "added", _called(feature), None, feature)


def _unequal(features: Sequence[_Feature], others: Sequence[_Feature]) -> list[_Feature]:
    there = Counter(map(_whole, others))
    found = []
    for feature in features:
        key = _whole(feature)
        if there[key]:
            there[key] -= 1
        else:
            found.append(feature)
    return found


def _whole(feature: _Feature) -> bytes:
    return json_bytes(feature, sort_keys=True)


def _place(feature: _Feature) -> Hashable:
    return feature["type"], feature["location"]


def _name(feature: _Feature) -> Hashable:
    for name in _NAMES:
        values = feature["qualifiers"].get(name)
        if values:
            # A protein keeps its name when its version changes.
            value = values[0].partition(".")[0] if name == "protein_id" else values[0]
            return feature["type"], name, value
    return None


def _called(feature: _Feature) -> str:
    name = _name(feature)
    told = f" {name[2]}" if isinstance(name, tuple) else ""
    return f"{feature['type']}{told} {feature['location']}"


def _parts(old: _Feature, new: _Feature) -> tuple[dict[str, Any], dict[str, Any]]:
    """The location and the qualifiers that differ, as they were and as they are."""
    was: dict[str, Any] = {"location": old["location"], **old["qualifiers"]}
    now: dict[str, Any] = {"location": new["location"], **new["qualifiers"]}
    names = [
        name
        for name in dict.fromkeys((*was, *now))
        if name not in was or name not in now or was[name] != now[name]
    ]
    before = {name: was[name] for name in names if name in was}
    return before, {name: now[name] for name in names if name in now}
