"""A reader of the daemons' event stream, who comes again with its cursor whenever one is killed."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import aiohttp

from fetcher.documents import Kind
from fetcher.store import WriteStore
from fetcher.store.protocol import COLLECTIONS, Query
from tests.chaos.checks import Complaints

__all__ = ["API_TOKEN", "Subscriber"]

API_TOKEN: Final = "storm"
# A paused daemon says nothing, and something changes all the time.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=3.0)
_AGAIN: Final = 0.05


class Subscriber:
    """Listens to any of the daemons that run; `revisions` are the latest that it heard of."""

    def __init__(
        self, ports: Callable[[], Sequence[int]], rng: random.Random, complain: Complaints
    ) -> None:
        self._ports = ports
        self._rng = rng
        self._complain = complain
        self._cursor: str | None = None
        self.revisions: dict[tuple[str, str], int] = {}
        self.events = 0
        self.connections = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                if ports := self._ports():
                    with suppress(aiohttp.ClientError, TimeoutError):
                        await self._listen(session, self._rng.choice(ports))
                await asyncio.sleep(_AGAIN)

    async def _listen(self, session: aiohttp.ClientSession, port: int) -> None:
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {API_TOKEN}"}
        if self._cursor is not None:
            headers["Last-Event-ID"] = self._cursor
        url = f"http://127.0.0.1:{port}/v1/changes"
        async with session.get(url, headers=headers) as answer:
            if answer.status != 200:
                if answer.status != 503:
                    self._complain("a cursor is good for ever", await answer.text())
                return
            self.connections += 1
            told: dict[str, str] = {}
            async for line in answer.content:
                if text := line.decode().rstrip("\r\n"):
                    name, _, value = text.partition(": ")
                    told[name] = value
                    continue
                # Only what came whole counts: a kill may cut an event anywhere.
                if "data" in told:
                    self._take(told)
                told = {}

    def _take(self, told: dict[str, str]) -> None:
        change = json.loads(told["data"])
        key = change["kind"], change["_id"]
        known = self.revisions.get(key, 0)
        if change["revision"] < known:
            text = f"{key} came at revision {known}, then at {change['revision']}"
            self._complain("the stream never contradicts itself", text)
        self.revisions[key] = change["revision"]
        self._cursor = told["id"]
        self.events += 1

    async def missed(self, store: WriteStore) -> list[str]:
        """Records whose latest state it has not heard of."""
        kinds: list[Kind] = list(COLLECTIONS)
        return [
            f"{document['_id']} is at revision {document['revision']}, heard {heard}"
            for kind in kinds
            async for document in store.records(Query(kind), whole=False)
            if (heard := self.revisions.get((kind, document["_id"]))) != document["revision"]
        ]
