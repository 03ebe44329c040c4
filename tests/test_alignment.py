"""Where two sequences differ."""

import random

from hypothesis import given
from hypothesis import strategies as st

from fetcher.alignment import MOST_EDITS, Alignment, align

BASES = st.text("ACGT", max_size=60)


def rebuilt(old: str, new: str, found: Alignment) -> str:
    """The new sequence, out of the old one and the edits alone."""
    assert found.edits is not None
    parts, at = [], 0
    for edit in found.edits:
        parts.append(old[at : edit.old[0] - 1])
        parts.append(new[edit.new[0] - 1 : edit.new[1]])
        at = edit.old[1]
    return "".join((*parts, old[at:]))


@given(BASES, BASES)
def test_the_edits_make_the_one_into_the_other(old: str, new: str) -> None:
    """Whatever they are; and there are none where both are the same."""
    found = align(old, new)
    assert rebuilt(old, new, found) == new
    assert found.identity is not None
    assert 0 <= found.identity <= 1
    assert (found.identity == 1) == (old == new) == (not found.edits)
    for edit in found.edits or ():
        first, second = (span[1] - span[0] + 1 for span in (edit.old, edit.new))
        assert {
            "substitution": first == second > 0,
            "insertion": first == 0 < second,
            "deletion": first > 0 == second,
        }[edit.kind]


@given(st.text("ACGT", min_size=1, max_size=200), st.data())
def test_one_mutation_is_told_as_it_is(old: str, data: st.DataObject) -> None:
    """Its kind and its place."""
    at = data.draw(st.integers(0, len(old) - 1))
    base = data.draw(st.sampled_from([each for each in "ACGT" if each != old[at]]))
    found = align(old, old[:at] + base + old[at + 1 :])
    assert [(edit.kind, edit.old, edit.new) for edit in found.edits or ()] == [
        ("substitution", (at + 1, at + 1), (at + 1, at + 1))
    ]
    for one, other, kind in (
        (old, old[:at] + old[at + 1 :], "deletion"),
        (old, old[:at] + base + old[at:], "insertion"),
    ):
        (edit,) = align(one, other).edits or ()
        assert edit.kind == kind


def test_long_sequences_with_a_few_changes() -> None:
    """A gap and some substitutions in 300,000 bases."""
    rng = random.Random(1)
    old = "".join(rng.choices("ACGT", k=300_000))
    new = list(old)
    for at in range(1_000, 300_000, 9_999):
        new[at] = "A" if old[at] != "A" else "C"
    del new[150_000:150_030]
    found = align(old, "".join(new))
    assert rebuilt(old, "".join(new), found) == "".join(new)
    assert found.identity is not None
    assert 0.999 < found.identity < 1
    kinds = [edit.kind for edit in found.edits or ()]
    assert kinds.count("substitution") >= 30


def test_what_is_too_different_is_not_looked_through() -> None:
    """Only where: what they begin and end with alike is known."""
    rng = random.Random(2)
    first, second = ("".join(rng.choices("ACGT", k=20_000)) for _ in range(2))
    found = align(f"GGGG{first}TTTT", f"GGGG{second[:-MOST_EDITS]}TTTT")
    assert (found.identity, found.edits) == (None, None)
    assert 5 <= found.old[0] <= 10
    assert 20_000 <= found.old[1] <= 20_004
