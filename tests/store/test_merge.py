"""The merge alone: pure, so that every order of events can be tried."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count, groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.documents import Document, Kind
from fetcher.models import Batch, Record, Stamp, Written
from fetcher.store.merge import (
    HISTORY,
    LONG_VALUE,
    Merged,
    merge_all,
    merge_record,
    merge_removal,
    summarised,
)
from fetcher.store.spill import spill
from tests.store.build import T0, batch, release, sequence

STAMP = Stamp("a", 1, 1)
# Whenever something was asked for, it is written later.
NOW = T0 + timedelta(days=365)


def merged(old: Document | None, record: Record, at: datetime = T0, n: int = 2) -> Merged:
    return merge_record(old, record, batch(record, at=at), Stamp("a", 1, n), NOW)


def stored(record: Record, at: datetime = T0) -> Document:
    document = merged(None, record, at, 1).document
    assert document is not None
    return document


def removed(old: Document | None, ids: Batch, *, withdrawn: bool = True) -> Merged:
    return merge_removal(old, ids, Stamp("b", 2, 1), NOW, withdrawn=withdrawn)


# One observation: what was seen, and when it was asked for.
SIGHTINGS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(SIGHTINGS, st.sampled_from(["time", "version", "updated"]), st.data())
def test_any_order_and_repetition_ends_in_the_newest(
    seen: list[int], by: str, data: st.DataObject
) -> None:
    """Observations told apart by time of asking, upstream version or upstream update time."""
    order = data.draw(st.permutations(seen * 2))
    document: Document | None = None
    stamps = count(1)
    accepted = []
    for number in order:
        version = {
            "time": (0, None),
            "version": (number, None),
            "updated": (0, T0 + timedelta(seconds=number)),
        }[by]
        at = T0 + timedelta(seconds=number) if by == "time" else T0
        record = release(body=f"b{number}", version=version)
        done = merged(document, record, at, next(stamps))
        if done.action == "changed":
            accepted.append(number)
        document = done.document or document
    assert document is not None
    assert document["body"] == f"b{max(seen)}"
    assert accepted == sorted(set(accepted))
    assert document["revision"] == len(accepted)
    assert [entry["fields"] for entry in document["history"]] == [
        {"body": f"b{number}"} for number in accepted[:-1]
    ]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_the_revision_counts_the_changes_of_content(bodies: list[int]) -> None:
    """As many as there are runs of equal content; history tells of the last of them."""
    document: Document | None = None
    for number, body in enumerate(bodies):
        at = T0 + timedelta(seconds=number)
        done = merged(document, release(body=f"b{body}"), at, number + 1)
        document = done.document or document
    runs = [body for body, _ in groupby(bodies)]
    assert document is not None
    assert document["revision"] == len(runs)
    old = [entry["fields"]["body"] for entry in document["history"]]
    assert old == [f"b{body}" for body in runs[:-1]][-HISTORY:]


@given(
    st.lists(
        st.tuples(st.sampled_from("abwd"), st.integers(1, 3), st.sampled_from("xy")), max_size=25
    )
)
def test_what_is_written_together_or_apart_is_the_same(
    steps: list[tuple[str, int, str]],
) -> None:
    """Batches in one write see what those before them made, as in writes of their own."""
    batches = []
    for number, (what, id_, target) in enumerate(steps):
        at = T0 + timedelta(seconds=number)
        ids = (f"github:7:{id_}",)
        match what:
            case "w":
                batches.append(Batch("release", target, at, withdrawn=ids))
            case "d":
                batches.append(Batch("release", target, at, detached=ids))
            case body:
                batches.append(Batch("release", target, at, (release(id_, body=body),)))

    def stamps(start: int) -> Any:
        return (Stamp("a", 1, n) for n in count(start))

    together: dict[tuple[Kind, str], Document] = {}
    written = summarised(merge_all(together, batches, stamps(1), T0), batches)
    apart: dict[tuple[Kind, str], Document] = {}
    singly: list[Written] = []
    for number, each in enumerate(batches):
        singly += summarised(merge_all(apart, [each], stamps(number + 1), T0), [each])
    assert together == apart
    assert written == tuple(singly)
    for document in together.values():
        assert len(document["targets"]) == len(set(document["targets"]))


@pytest.mark.parametrize("account", ["a", "b"])
def test_a_stamp_never_goes_back_within_its_account(account: str) -> None:
    """A later stamp of the same account refuses; another account's number means nothing."""
    old = {**stored(release()), "stamp": Stamp("a", 5, 9).document()}
    new = release(body="new")
    later = T0 + timedelta(days=1)
    for token, n in ((4, 100), (5, 8)):
        done = merge_record(old, new, batch(new, at=later), Stamp(account, token, n), later)
        assert done.action == ("refused" if account == "a" else "changed")
        gone = batch(withdrawn=("github:7:1",), at=later)
        removal = merge_removal(old, gone, Stamp(account, token, n), later, withdrawn=True)
        assert removal.action == ("refused" if account == "a" else "changed")


def test_a_blob_is_compared_and_remembered_by_its_digest() -> None:
    """A spilled field is neither read nor lost: not by a repeat, nor by a quiet change."""
    record = sequence(sequence="ACGT" * 10_000)
    small, blobs = spill(stored(record), limit=4_000)
    assert set(small["blobs"]) == {"sequence"}
    assert merged(small, record).action == "same"
    other = merge_record(small, record, batch(record, target="u"), STAMP, T0)
    assert other.action == "touched"
    assert other.document is not None
    again, more = spill(other.document, limit=4_000)
    assert (again["blobs"], more) == (small["blobs"], {})
    changed = merged(small, sequence(sequence="ACGT" * 9_999)).document
    assert changed is not None
    (digest,) = blobs
    assert changed["history"][0]["fields"] == {"sequence": {"digest": digest, "length": 40_000}}
    assert "blobs" not in changed


def test_a_quiet_field_that_grows_leaves_other_blobs_alone() -> None:
    """The flat file comes later and is large, too: both are kept."""
    record = sequence(sequence="ACGT" * 10_000, flat=None)
    small, _ = spill(stored(record), limit=4_000)
    told = merged(small, sequence(sequence="ACGT" * 10_000, flat=b"x" * 5000))
    assert told.action == "touched"
    assert told.document is not None
    both, _ = spill(told.document, limit=4_000)
    assert set(both["blobs"]) == {"sequence", "flat"}


def test_what_is_not_told_stays_known() -> None:
    """None in `extra` means that this way of asking does not tell, and replaces nothing."""
    old = stored(release(extra={"label": "L", "uid": "1"}))
    assert merged(old, release(extra={"label": None})).action == "same"
    changed = merged(old, release(body="new", extra={"label": None})).document
    assert changed is not None
    assert changed["label"] == "L"
    assets = [{"name": "a", "size": 1}]
    plain = merged(old, release(assets=assets, extra={"assets": None})).document
    assert plain is not None
    assert plain["assets"] == assets
    assert stored(release(extra={"uid": None}))["uid"] is None


def test_history_names_long_values() -> None:
    """Texts and lists alike, by digest and length; what is short stays."""
    old = stored(
        release(body="x" * (LONG_VALUE + 1), name="y" * LONG_VALUE, assets=[{"n": 1}] * 500)
    )
    changed = merged(old, release(body="", name="", assets=[])).document
    assert changed is not None
    fields = changed["history"][0]["fields"]
    assert fields["body"]["length"] == LONG_VALUE + 1
    assert fields["name"] == "y" * LONG_VALUE
    assert fields["assets"]["length"] == 500


def test_removals_of_what_is_not_there_do_nothing() -> None:
    """Unknown ids, targets that do not lead there, and what is withdrawn already."""
    gone = batch(withdrawn=("github:7:1",))
    assert removed(None, gone).action == "same"
    assert removed(stored(release()), batch(target="other"), withdrawn=False).action == "same"
    old = removed(stored(release()), gone).document
    assert old is not None
    assert removed(old, gone).action == "same"


def test_an_older_removal_is_refused_and_an_older_sighting_after_one() -> None:
    """Withdrawal is an observation like any other."""
    old = stored(release(), T0)
    before, after = T0 - timedelta(hours=1), T0 + timedelta(hours=1)
    assert removed(old, batch(withdrawn=("github:7:1",), at=before)).action == "refused"
    gone = removed(old, batch(withdrawn=("github:7:1",), at=after))
    assert gone.document is not None
    assert gone.document["history"][-1]["fields"] == {"withdrawn_at": None}
    assert merged(gone.document, release()).action == "refused"
    back = merged(gone.document, release(), after + timedelta(hours=1))
    assert (back.action, back.change) == ("changed", "changed")
    assert back.document is not None
    assert back.document["history"][-1]["fields"] == {"withdrawn_at": NOW}


@pytest.mark.parametrize("already", [False, True])
def test_what_was_withdrawn_moves_with_a_renamed_repository(already: bool) -> None:
    """It answers to the new key, once, whenever it went."""
    old = stored(release())
    if already:
        document = removed(old, batch(withdrawn=("github:7:1",))).document
        assert document is not None
        old = document
    gone = batch(withdrawn=("github:7:1",), target="github:new/name")
    done = removed(old, gone)
    assert done.action == ("touched" if already else "changed")
    assert done.document is not None
    assert done.document["targets"] == ["github:new/name"]


def test_only_some_are_merged_anew() -> None:
    """For those that another writer came in between of; the numbers run on all the same."""
    records: Sequence[Record] = [release(n) for n in (1, 2, 3)]
    steps = merge_all(
        {},
        [batch(*records)],
        (Stamp("a", 1, n) for n in count(1)),
        T0,
        {("release", records[1].id)},
    )
    (step,) = steps
    assert step.id == records[1].id
    assert step.merged.document is not None
    assert step.merged.document["stamp"]["n"] == 2


def test_a_time_that_has_not_come_refuses_nothing() -> None:
    """The clock was set back: what was seen then counts as older than what is seen now."""
    ahead, now = T0 + timedelta(days=1), T0
    old = stored(release(body="tomorrow"), ahead)
    new = release(body="today")
    assert merge_record(old, new, batch(new, at=now), Stamp("a", 1, 2), now).action == "changed"
    gone = batch(withdrawn=("github:7:1",), at=now)
    assert merge_removal(old, gone, STAMP, now, withdrawn=True).action == "changed"
