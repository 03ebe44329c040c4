"""What a document cannot hold, alone and over every store."""

import asyncio
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import StoreUnavailable
from fetcher.store import Query, WriteStore, open_store
from fetcher.store.spill import LIMIT, blob_digest, restore, spill
from tests.clock import FakeClock
from tests.store.build import T0, batch, sequence, take

MB = 1 << 20


def test_the_largest_go_first_and_no_more_than_must() -> None:
    """What is left fits; each blob is named by its bytes."""
    document = {"_id": "x", "sequence": "A" * 500, "comment": "B" * 400, "body": "C" * 300}
    small, blobs = spill(document, 800)
    assert (small["sequence"], small["comment"], small["body"]) == (None, "B" * 400, "C" * 300)
    (where,) = small["blobs"].values()
    assert where == {"digest": blob_digest("A" * 500), "length": 500, "encoding": "text"}
    assert blobs == {where["digest"]: b"A" * 500}
    assert restore(small, blobs) == document
    assert spill(document, 5000) == (document, {})


# BSON has no longer ones.
_NUMBERS = st.integers(-(2**63), 2**63 - 1)


@given(
    st.dictionaries(
        st.sampled_from(["sequence", "flat", "features", "comment", "assets", "other"]),
        st.one_of(
            st.none(),
            st.text(max_size=50),
            st.binary(max_size=50),
            st.lists(st.dictionaries(st.text(), _NUMBERS | st.none()), max_size=3),
        ),
    ),
    st.integers(0, 200),
)
def test_whatever_moves_comes_back(fields: Mapping[str, Any], limit: int) -> None:
    """Texts, half surrogate pairs, bytes, lists and nothing, at any limit."""
    document = {"_id": "x", **fields}
    small, blobs = spill(document, limit)
    assert restore(small, blobs) == document
    smaller, more = spill(small, 0)
    assert restore(smaller, {**blobs, **more}) == document


def test_times_in_a_blob_are_times_again() -> None:
    """Assets have times, and JSON has none."""
    time = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    document = {"_id": "x", "assets": [{"name": "2026-01-02", "created_at": time}]}
    small, blobs = spill(document, 0)
    assert small["assets"] is None
    assert restore(small, blobs) == document


def test_a_blob_that_is_not_whole_is_no_value() -> None:
    """Half a sequence is never given out."""
    small, blobs = spill({"_id": "x", "sequence": "ACGT"}, 0)
    for broken in ({}, {digest: data[:-1] for digest, data in blobs.items()}):
        with pytest.raises(StoreUnavailable, match="lacks a part of x"):
            restore(small, broken)


async def test_a_long_sequence_comes_back_whole(store: WriteStore) -> None:
    """100 MB, far beyond the limit of a document."""
    lease = await take(store)
    long = "ACGT" * 25_000_000
    record = sequence(sequence=long)
    await store.write(lease, [batch(record, target="t")])
    document = await store.record("sequence", record.id)
    assert document is not None
    assert document["sequence"] == long
    assert "blobs" not in document
    (written,) = await store.write(lease, [batch(record, target="t")])
    assert written.unchanged == 1
    shorter = sequence(sequence=long[:-4])
    await store.write(lease, [batch(shorter, target="t")])
    document = await store.record("sequence", record.id)
    assert document is not None
    assert len(document["sequence"]) == len(long) - 4
    assert document["history"][0]["fields"]["sequence"]["length"] == len(long)


@pytest.mark.parametrize("size", [LIMIT - 2000, LIMIT, 15_900_000])
async def test_documents_about_as_large_as_they_may_be(store: WriteStore, size: int) -> None:
    """Just below and above the limit, and just below MongoDB's own."""
    lease = await take(store)
    record = sequence(sequence="A" * size, flat=b"\xff" * 100)
    await store.write(lease, [batch(record, target="t")])
    document = await store.record("sequence", record.id)
    assert document is not None
    assert document["sequence"] == record.content["sequence"]
    assert document["flat"] == record.flat
    (again,) = await store.write(lease, [batch(record, target="t")])
    assert again.unchanged == 1


async def test_several_large_fields_and_later_ones(store: WriteStore) -> None:
    """A flat file told later, and another target, leave the sequence where it is."""
    lease = await take(store)
    features = [{"type": "gene", "location": "1..9", "qualifiers": {"note": ["é" * MB]}}] * 4
    large: dict[str, Any] = {"sequence": "A" * (13 * MB), "features": features}
    await store.write(lease, [batch(sequence(flat=None, **large), target="t")])
    flat = b"\x01" * (14 * MB)
    (told,) = await store.write(lease, [batch(sequence(flat=flat, **large), target="u")])
    assert (told.changes, told.unchanged) == ((), 1)
    document = await store.record("sequence", "nuccore:NC_1.1")
    assert document is not None
    assert document["flat"] == flat
    assert document["sequence"] == large["sequence"]
    assert document["features"] == features
    assert document["targets"] == ["t", "u"]
    assert document["revision"] == 1
    async for short in store.records(Query("sequence"), whole=False):
        assert short["sequence"] is None
        assert set(short["blobs"]) == {"sequence", "features", "flat"}
    await store.write(lease, [batch(kind="sequence", target="t", withdrawn=("nuccore:NC_1.1",))])
    document = await store.record("sequence", "nuccore:NC_1.1")
    assert document is not None
    assert document["sequence"] == large["sequence"]


async def test_two_write_the_same_blob_at_once(store_url: str, clock: FakeClock) -> None:
    """A blob is never half there, whoever comes first."""
    async with (
        await open_store(store_url, clock=clock) as one,
        await open_store(store_url, clock=clock) as two,
    ):
        leases = [await take(one, "a"), await take(two, "b")]
        long = "ACGT" * (4 * MB)
        records = [sequence("NC_1", sequence=long), sequence("NC_2", sequence=long)]
        await asyncio.gather(
            *(
                store.write(lease, [batch(record, target="t")])
                for store, lease, record in zip((one, two), leases, records, strict=True)
            )
        )
        for record in records:
            document = await two.record("sequence", record.id)
            assert document is not None
            assert document["sequence"] == long


async def test_many_large_documents_are_read_in_bounded_memory(store: WriteStore) -> None:
    """One after the other, not all at once."""
    lease = await take(store)
    for n in range(24):
        record = sequence(f"NC_{n:02}", sequence="ACGT" * (MB // 2), flat=None, update_date=T0)
        await store.write(lease, [batch(record, target="t")])
    tracemalloc.start()
    try:
        number = 0
        async for document in store.records(Query("sequence", "t")):
            assert len(document["sequence"]) == 2 * MB
            number += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == 24
    assert peak < 80 * MB
