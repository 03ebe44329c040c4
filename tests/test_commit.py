"""The commit path, cancelled at every single await, over both stores and a whole upstream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from fetcher.refresh import Refresher
from tests.stores import store_url
from tests.world import World, open_world

__all__ = ["store_url"]

REPOSITORY = "octo/cat"
TARGET = f"github:{REPOSITORY}"
QUERY = "ncbi:nuccore?txid1169032[Organism:exp]"


class Counted:
    """A coroutine that tells whenever it waits for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._waits = waits

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        try:
            waited = next(steps)
            while True:
                self._waits()
                try:
                    sent = yield waited
                except BaseException as error:  # noqa: BLE001 - handed on
                    waited = steps.throw(error)
                else:
                    waited = steps.send(sent)
        except StopIteration as end:
            return end.value


class Axe:
    """Cancels a task when the commits it started have waited so many times, once or ever after."""

    def __init__(self, at: int, *, often: bool) -> None:
        self.left = at
        self.often = often
        self.victim: asyncio.Task[Any] | None = None

    def waits(self) -> None:
        self.left -= 1
        if self.victim is not None and (self.left == 0 or (self.often and self.left < 0)):
            self.victim.cancel()

    @property
    def struck(self) -> bool:
        return self.left <= 0


@pytest.fixture
async def world(tmp_path: Path, store_url: str) -> AsyncIterator[World]:
    async with open_world(tmp_path, store_url) as opened:
        opened.upstream.load_bundled()
        opened.upstream.github.forget_limits()
        opened.upstream.github.add_repository(REPOSITORY)
        yield opened


def publish(world: World, round_: int) -> None:
    """Something new, something edited, something gone."""
    github = world.upstream.github
    for n in range(3):
        github.add_release(REPOSITORY, f"v{round_}.{n}", body="new", assets=["a.tar.gz"])
    if round_:
        github.edit_release(REPOSITORY, f"v{round_ - 1}.0", body=f"edited {round_}")
        github.delete_release(REPOSITORY, f"v{round_ - 1}.1")


def truth(world: World) -> dict[str, str | None]:
    return {each.tag: each.body for each in world.upstream.github.repository(REPOSITORY).releases}


async def stored(world: World) -> dict[str, str | None]:
    return {each["tag"]: each["body"] for each in await world.records(TARGET)}


async def cut(world: World, monkeypatch: pytest.MonkeyPatch, at: int, how: str) -> bool:
    """Polls, cancelled at the given await of its commits; whether it came to that."""
    axe = Axe(at, often=how == "often")
    commit = Refresher._commit

    async def counted(self: Refresher, *arguments: Any) -> Any:
        return await Counted(commit(self, *arguments), axe.waits)

    async def poll() -> None:
        await world.poll(TARGET, QUERY)

    async def in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            axe.victim = group.create_task(poll())

    with monkeypatch.context() as patched:
        patched.setattr(Refresher, "_commit", counted)
        task = asyncio.create_task(in_a_group() if how == "group" else poll())
        axe.victim = axe.victim or task
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        assert axe.struck or not task.cancelled()
    world.events.clear()
    return axe.struck


@pytest.mark.parametrize("how", ["once", "often", "group"])
async def test_cancelled_at_every_await_the_next_poll_repairs(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No cursor ahead of its records, no lease kept, nothing lost, nothing doubled."""
    at = 1
    publish(world, 0)
    while True:
        world.upstream.github.forget_limits()
        publish(world, at)
        came_to_it = await cut(world, monkeypatch, at, how)
        state = await world.store.target(TARGET)
        before = await stored(world)
        if state is not None and state.last_change == state.last_attempt and not came_to_it:
            assert before == truth(world)
        # If the cursor were ahead of its records, this poll would not look for them.
        await world.poll(TARGET, QUERY)
        assert await stored(world) == truth(world), (at, before)
        assert await world.store.lease("github:anonymous") is None
        for document in await world.records(TARGET, withdrawn=None):
            assert document["revision"] == 1 + len(document["history"])
            revisions = [entry["revision"] for entry in document["history"]]
            assert revisions == list(range(2, 2 + len(revisions)))
        if not came_to_it:
            break
        at += 1
    assert at > 5, "the commit path waits more than a few times"


async def test_a_deadline_lets_the_write_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.timeout` gives its TimeoutError, after the write."""
    publish(world, 0)
    commit = Refresher._commit
    ended: list[bool] = []

    async def slow(self: Refresher, *arguments: Any) -> Any:
        await asyncio.sleep(0.3)
        result = await commit(self, *arguments)
        ended.append(True)
        return result

    monkeypatch.setattr(Refresher, "_commit", slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await world.poll(TARGET)
    assert ended
    monkeypatch.setattr(Refresher, "_commit", commit)
    await world.poll(TARGET)
    assert await stored(world) == truth(world)
