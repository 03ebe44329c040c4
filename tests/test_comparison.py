"""What differs between two records."""

from typing import Any

from fetcher.comparison import Difference, compare
from fetcher.demo import synthetic_genbank
from fetcher.sources.genbank import read_record


def record(**options: Any) -> dict[str, Any]:
    """A record as it is stored, but for the fetcher's own fields."""
    return dict(read_record(synthetic_genbank("AB000001", **options).encode(), "nuccore"))


def told(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str, Any, Any]]:
    found, _ = compare(old, new)
    return [(each.part, each.change, each.what, each.old, each.new) for each in found]


def test_the_same_record_has_no_differences() -> None:
    """Nothing but an alignment of 100 %."""
    found, alignment = compare(record(), record())
    assert found == []
    assert alignment is not None
    assert alignment.identity == 1


def test_fields_and_sequence() -> None:
    """Each with its old and its new value; an edit with its place and its letters."""
    old = record(length=300)
    new = {**old, "definition": "Another title", "keywords": ["A", "B"]}
    letter = "A" if old["sequence"][99] != "A" else "C"
    new["sequence"] = f"{old['sequence'][:99]}{letter}{old['sequence'][100:]}"
    assert told(old, new) == [
        ("field", "changed", "definition", old["definition"], "Another title"),
        ("field", "changed", "keywords", [], ["A", "B"]),
        ("sequence", "substitution", "100", old["sequence"][99], letter),
    ]
    shorter = {**old, "sequence": old["sequence"][:200], "length": 200}
    assert told(old, shorter)[1:] == [
        ("sequence", "deletion", "201..300", old["sequence"][200:], None)
    ]
    assert told(shorter, old)[1:] == [
        ("sequence", "insertion", "200^201", None, old["sequence"][200:])
    ]


def test_a_record_without_a_sequence() -> None:
    """It came, or it went; there is nothing to align."""
    old = record()
    without = {**old, "sequence": None}
    found, alignment = compare(old, without)
    assert (found, alignment) == (
        [Difference("sequence", "removed", "sequence", None, None)],
        None,
    )
    assert compare(without, old)[0][0].change == "added"


def test_features_are_paired() -> None:
    """By their place, then by their name; what has neither came or went."""

    def feature(kind: str, location: str, **qualifiers: str) -> dict[str, Any]:
        listed = {name: [value] for name, value in qualifiers.items()}
        return {"type": kind, "location": location, "qualifiers": listed}

    old = {
        **record(),
        "features": [
            feature("source", "1..600", organism="A virus"),
            feature("CDS", "1..90", gene="a", product="old name"),
            feature("CDS", "100..190", protein_id="AAA1.1"),
            feature("gene", "200..290", gene="gone"),
            feature("misc", "300..310"),
        ],
    }
    new = {
        **record(),
        "features": [
            feature("source", "1..600", organism="A virus"),
            feature("CDS", "1..90", gene="a", product="new name"),
            feature("CDS", "103..190", protein_id="AAA1.2"),
            feature("misc", "300..310"),
            feature("misc", "400..410"),
        ],
    }
    assert told(old, new) == [
        ("feature", "changed", "CDS a 1..90", {"product": ["old name"]}, {"product": ["new name"]}),
        (
            "feature",
            "changed",
            "CDS AAA1 100..190",
            {"location": "100..190", "protein_id": ["AAA1.1"]},
            {"location": "103..190", "protein_id": ["AAA1.2"]},
        ),
        ("feature", "removed", "gene gone 200..290", old["features"][3], None),
        ("feature", "added", "misc 400..410", None, new["features"][4]),
    ]
