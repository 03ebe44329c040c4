"""The feed of changes as server-sent events: nothing is missed, and nobody waits for the slow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from fetcher.errors import StoreUnavailable
from fetcher.web import stream
from tests.shelf import NOW, PLAIN, Shelf, shelf
from tests.store.build import batch, release
from tests.stores import store_url
from tests.web.test_api import TOKEN, Client, client

__all__ = ["client", "shelf", "store_url"]

STREAM = {"Accept": "text/event-stream"}


class Events:
    """What a reader takes, event by event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last = ""

    async def __call__(self, number: int) -> list[Any]:
        """The next events, which have to come soon."""
        found: list[Any] = []
        async with asyncio.timeout(20):
            while len(found) < number:
                line = (await self._answer.content.readline()).decode()
                assert line, "the stream has ended"
                if line.startswith("id: "):
                    self.last = line[4:].strip()
                elif line.startswith("data: "):
                    found.append(json.loads(line[6:]))
        return found


@asynccontextmanager
async def listening(client: Client, query: str = "", **headers: str) -> AsyncIterator[Events]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{client.base}/v1/changes{query}"
    async with client.session.get(url, headers={**STREAM, **named}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Events(answer)


async def edit(shelf: Shelf, *numbers: int, at: int = 1, **more: Any) -> None:
    edited = [release(n, body=f"text {at}", **{**PLAIN, **more}) for n in numbers]
    await shelf.write(batch(*edited, at=NOW + timedelta(seconds=at)))


async def test_what_changes_comes(client: Client) -> None:
    """From now on, or from the beginning; each event with the cursor behind it."""
    async with listening(client, "?after=now") as events, listening(client) as everything:
        assert len(await everything(4)) == 4
        await edit(client.shelf, 1)
        (first,) = await events(1)
        assert (first["_id"], first["change"], first["fields"]) == (
            "github:7:1",
            "changed",
            ["body"],
        )
        assert first["cursor"] == events.last
        assert await everything(1) == [first]
        await edit(client.shelf, 2, 3, at=2)
        assert [each["_id"] for each in await events(2)] == ["github:7:2", "github:7:3"]
        page = await client.json(f"/v1/changes?after={events.last}")
        assert page["items"] == []


async def test_a_reader_that_comes_again_misses_nothing(client: Client) -> None:
    """`Last-Event-ID` goes before the address that it was opened with."""
    async with listening(client, "?after=now") as events:
        await edit(client.shelf, 1)
        await events(1)
    await edit(client.shelf, 2, at=2)
    await edit(client.shelf, 3, at=3)
    async with listening(client, "?after=now", Last_Event_ID=events.last) as again:
        assert [each["_id"] for each in await again(2)] == ["github:7:2", "github:7:3"]


async def test_what_is_hidden(client: Client) -> None:
    """Private repositories and drafts are for those with a token; the cursor passes them."""
    async with (
        listening(client, "?after=now") as public,
        listening(client, "?after=now", **TOKEN) as trusted,
    ):
        await edit(client.shelf, 1, private=True)
        await edit(client.shelf, 2, at=2)
        assert [each["_id"] for each in await trusted(2)] == ["github:7:1", "github:7:2"]
        assert [each["_id"] for each in await public(1)] == ["github:7:2"]
        assert public.last == trusted.last


async def test_a_cursor_that_means_nothing(client: Client) -> None:
    """A problem, not a stream."""
    status, detail = await client.problem("/v1/changes?after=nonsense", **STREAM)
    assert (status, "leave it out" in detail) == (410, True)
    status, _ = await client.problem("/v1/changes", **STREAM, Last_Event_ID="nonsense")
    assert status == 410


async def test_there_is_room_for_so_many(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes after them is told when to come again; who goes makes room."""
    monkeypatch.setattr(stream, "_READERS", 1)
    async with listening(client):
        assert (await client.problem("/v1/changes", **STREAM))[0] == 503
    async with asyncio.timeout(20):
        while client.hub.readers:
            await asyncio.sleep(0)
    async with listening(client):
        pass


async def test_who_cannot_keep_up_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on; the slow one finds all that it missed, at its latest state."""
    monkeypatch.setattr(stream, "_BEHIND", 1)
    gate = asyncio.Event()
    slow: list[Any] = []
    write = stream.Hub._write

    async def stalls(hub: Any, response: Any, data: bytes) -> None:
        if response in slow:
            await gate.wait()
        await write(hub, response, data)

    monkeypatch.setattr(stream.Hub, "_write", stalls)
    async with listening(client, "?after=now") as late:
        await edit(client.shelf, 1, at=1)
        await late(1)
        slow.extend(client.hub._open)
        async with listening(client, "?after=now") as prompt:
            for round_ in range(2, 12):
                await edit(client.shelf, 1, 2, at=round_)
                assert len(await prompt(2)) == 2
            gate.set()
            seen: dict[str, int] = {}
            while seen != {"github:7:1": 12, "github:7:2": 11}:
                (event,) = await late(1)
                assert event["revision"] > seen.get(event["_id"], 0)
                seen[event["_id"]] = event["revision"]


async def test_an_outage_of_the_store_is_waited_out(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream stays open."""
    async with listening(client, "?after=now") as events:
        await edit(client.shelf, 1)
        await events(1)
        accounts = type(client.shelf.reader._store).accounts
        failures = 0

        async def gone(store: Any) -> Any:
            nonlocal failures
            failures += 1
            raise StoreUnavailable("gone")

        monkeypatch.setattr(type(client.shelf.reader._store), "accounts", gone)
        async with asyncio.timeout(20):
            while failures < 3:
                await asyncio.sleep(0)
        monkeypatch.setattr(type(client.shelf.reader._store), "accounts", accounts)
        await edit(client.shelf, 2, at=2)
        assert [each["_id"] for each in await events(1)] == ["github:7:2"]


async def test_many_readers_see_everything(client: Client) -> None:
    """While records change: each reader ends at the latest state of all of them."""
    readers = 40
    async with asyncio.TaskGroup() as group:

        async def read() -> None:
            latest: dict[str, int] = {}
            async with listening(client, "?after=now") as events:
                ready.release()
                while len(latest) < 3 or min(latest.values()) < 11:
                    (event,) = await events(1)
                    latest[event["_id"]] = event["revision"]

        ready = asyncio.Semaphore(0)
        for _ in range(readers):
            group.create_task(read())
        for _ in range(readers):
            await ready.acquire()
        for round_ in range(1, 11):
            await edit(client.shelf, 1, 2, 3, at=round_)
