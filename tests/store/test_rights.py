"""The roles in docs/deploy/mongodb-users.js are what the fetcher needs, and nothing beyond it.

That nothing is missing every test over MongoDB sees to (`tests.stores`); here every method of a
store is called, so that what is never wanted is found as well.
"""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fetcher.models import PollRequest, PollResult, Wish
from fetcher.store import open_filler, open_store
from fetcher.store.protocol import Filler, Query, ReadStore, WriteStore
from fetcher.store.spill import LIMIT
from tests.clock import FakeClock
from tests.heard import listen
from tests.rights import ROLES, Wanted
from tests.store.build import KEY, T0, batch, release, sequence, state, take

CLOCK = FakeClock(1_900_000_000.0)


@pytest.fixture(params=["mongodb"])
def store_url(store_url: str) -> str:
    """Over MongoDB alone."""
    return store_url


class Noted:
    """A store that keeps which of its methods were called."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._store, name)


def methods(protocol: type) -> set[str]:
    names = {name for each in protocol.__mro__ for name in vars(each)}
    return {name for name in names if not name.startswith("_") and name != "close"}


async def read(store: Any) -> None:
    """Everything that a reader can ask."""
    await store.now()
    assert await store.identity()
    assert await store.target(KEY) is not None
    assert await store.targets_by_name([KEY])
    assert [each async for each in store.targets()]
    assert [each async for each in store.watched()]
    assert await store.accounts()
    assert await store.request("r") is not None
    assert [each async for each in store.changes({})]
    assert await store.recent(9)
    giant = await store.record("sequence", "nuccore:NC_2.1", whole=False)
    (blob,) = giant["blobs"].values()
    assert [part async for part in store.blob(blob)]
    assert await store.record("sequence", "nuccore:NC_2.1") is not None
    everything = Query("release", newest_first=True)
    assert [each async for each in store.records(everything)]
    assert await store.count(Query("sequence", where={"database": "nuccore", "organism": "x"})) == 0
    assert await store.counts("release", [KEY])
    assert await store.digests("release", ["github:7:1"])
    assert [each async for each in store.ids("release", KEY)]
    assert await store.members("release", ["github:7:1"], KEY)
    assert await store.oldest("release", KEY) is not None
    assert [each async for each in store.owned("release", "github:7:", "t")]


async def write(store: Any) -> None:
    """Everything that a leader, an asker and a person at the command line do."""
    lease = await take(store)
    assert await store.lease("a") is not None
    giant = sequence("NC_2", sequence="ACGT" * (LIMIT // 4 + 1))
    await store.write(lease, [batch(release()), batch(giant, target="t")])
    await store.write(lease, [batch(release(2), target="u")])
    await store.void(lease, [KEY])
    await store.save_targets(lease, [state()])
    await store.save_targets(lease, [], gone=["nobody"])
    await store.publish(lease)
    lease = await store.renew(lease, 30.0, {})
    await store.wish("hand", [Wish(KEY, KEY, "a", 900.0)])
    await store.due("a", T0, queries=False, limit=9)
    await store.upcoming("a", T0)
    await store.recall("a", T0)
    later = T0 + timedelta(days=40_000)
    await store.ask(PollRequest("r", "a", (KEY,), full=False, asked_at=T0, expires_at=later))
    (asked,) = await store.asked("a")
    await store.answer(asked, {KEY: PollResult(KEY, 1)})
    await store.unask(replace(asked, id="s"))
    await store.mend(lease)
    await store.release(lease, {})
    assert await store.purge("u", "u") == 1


async def fill(filler: Any) -> None:
    """An import that is given up, and one that comes to its end."""
    for last in (filler.clear, filler.end):
        await filler.begin()
        document: dict[str, Any] = {"_id": "x", "targets": ["x"], "stamp": {}, "withdrawn_at": None}
        await filler.put_records("release", [document])
        await filler.put_targets([state()])
        await filler.put_accounts([], 7)
        await last()


async def test_the_roles_are_what_is_wanted_and_no_more(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every method of a store is called by a writer, and those that read by a reader."""
    calls: tuple[tuple[str, type, Callable[[Any], Coroutine[Any, Any, None]]], ...] = (
        ("fill", Filler, fill),
        ("write", WriteStore, write),
        ("read", ReadStore, read),
    )
    wanted: dict[str, set[str]] = {}
    missed = set()
    for name, protocol, work in calls:
        listener = Wanted()
        with monkeypatch.context() as patch:
            listen(patch, listener)
            opened: Any
            if name == "fill":
                opened = await open_filler(store_url, clock=CLOCK)
            else:
                opened = await open_store(store_url, clock=CLOCK, create=name == "write")
        async with opened:
            noted = Noted(opened)
            await work(noted)
        missed |= (
            methods(protocol) - noted.called - (methods(ReadStore) if name != "read" else set())
        )
        wanted[name] = listener.actions
    assert missed == set()
    assert wanted["fill"] | wanted["write"] == ROLES["fetcherWriter"]
    assert wanted["read"] == ROLES["fetcherReader"]
