"""A served upstream on a clock that only moves when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from fetcher.demo import DemoUpstream, Urls


@dataclass
class FakeClock:
    """Sleeping moves the time on and takes none."""

    time: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


@dataclass
class Reply:
    """A whole reply."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body, strict=False)


@dataclass
class Client:
    """Asks the upstream under test over real loopback HTTP."""

    session: aiohttp.ClientSession
    urls: Urls
    upstream: DemoUpstream
    clock: FakeClock

    async def github(self, path: str, token: str | None = None, **headers: str) -> Reply:
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            wanted["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else self.urls.github + path
        return await self._send("GET", url, headers=wanted)

    async def query(
        self, query: str, variables: dict[str, object] | None = None, *, token: str | None = "t1"
    ) -> Reply:
        """One GraphQL query."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        asked = {"query": query, "variables": variables or {}}
        return await self._send("POST", self.urls.graphql, headers=headers, json=asked)

    async def ncbi(self, utility: str, method: str = "POST", **params: str) -> Reply:
        """One call; a second passes before, so that no limit is in the way."""
        self.clock.time += 1.0
        params = {"db": "nuccore", **params}
        where: dict[str, Any] = {"data": params} if method == "POST" else {"params": params}
        return await self._send(method, f"{self.urls.eutils}/{utility}.fcgi", **where)

    async def fetch(self, id: str = "", **params: str) -> Reply:  # noqa: A002
        given = {"id": id} if id else {}
        return await self.ncbi("efetch", **{"rettype": "gb", "retmode": "text", **given, **params})

    async def search(self, term: str, **params: str) -> Any:
        reply = await self.ncbi("esearch", **{"term": term, "retmode": "json", **params})
        assert reply.status == 200
        return reply.json["esearchresult"]

    async def _send(self, method: str, url: str, **more: Any) -> Reply:
        async with self.session.request(method, url, allow_redirects=False, **more) as response:
            return Reply(response.status, response.headers, await response.read())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def upstream(clock: FakeClock) -> DemoUpstream:
    return DemoUpstream(clock.now, clock.sleep)


@pytest.fixture
async def client(upstream: DemoUpstream, clock: FakeClock) -> AsyncIterator[Client]:
    async with upstream.serve() as urls, aiohttp.ClientSession() as session:
        yield Client(session, urls, upstream, clock)
