"""Each fault does to a client what it says."""

import asyncio
import time
import zlib
from typing import Any

import aiohttp
import pytest

from fetcher.demo import DemoUpstream, Fault
from tests.demo.conftest import Client

PATH = "/repos/acme/tool/releases"


@pytest.fixture(autouse=True)
def _some(upstream: DemoUpstream) -> None:
    upstream.github.add_repository("acme/tool")
    for n in range(40):
        upstream.github.add_release("acme/tool", f"v{n}")


def fault(upstream: DemoUpstream, kind: Any, **more: Any) -> Fault:
    upstream.faults.append(Fault(PATH, kind, **more))
    return upstream.faults[-1]


async def post(client: Client) -> None:
    """Not sent again by aiohttp itself, as a GET on a dropped connection is."""
    await client.session.post(f"{client.urls.eutils}/einfo.fcgi", data={"retmode": "json"})


async def test_reset(client: Client, upstream: DemoUpstream) -> None:
    """The connection drops before any header, and the log says that nothing was answered."""
    upstream.faults.append(Fault("einfo", "reset"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client)
    await post(client)
    assert [each.status for each in upstream.log] == [0, 200]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_truncate(
    client: Client, upstream: DemoUpstream, encoding: str, *, chunked: bool
) -> None:
    """So many bytes of the plain body come, compressed or not, and then the connection ends."""
    whole = (await client.github(PATH)).body
    fault(upstream, "truncate", after=3000, chunked=chunked)
    url, got = client.urls.github + PATH, b""
    async with client.session.get(url, headers={"Accept-Encoding": encoding}) as response:
        assert response.status == 200
        assert ("Content-Length" in response.headers) is not chunked
        while len(got) < 3000:
            got += await response.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert got == whole[:3000]


async def test_clean_truncation(client: Client, upstream: DemoUpstream) -> None:
    """Half a body that HTTP takes for a whole one."""
    whole = (await client.github(PATH)).body
    fault(upstream, "truncate", clean=True)
    assert (await client.github(PATH)).body == whole[: len(whole) // 2]
    assert (await client.github(PATH)).body == whole


async def test_slow_and_delay(client: Client, upstream: DemoUpstream) -> None:
    """Both wait on the clock that was handed in."""
    whole = (await client.github(PATH)).body
    fault(upstream, "slow", delay=2.0, chunk=10_000)
    assert (await client.github(PATH)).body == whole
    assert client.clock.slept == [2.0] * -(-len(whole) // 10_000)
    client.clock.slept.clear()
    fault(upstream, "delay", delay=7.0)
    assert (await client.github(PATH)).body == whole
    assert client.clock.slept == [7.0]


async def test_hang(client: Client, upstream: DemoUpstream) -> None:
    """Nothing comes until the client goes, and then the upstream is free again."""
    fault(upstream, "hang")
    waiting = asyncio.ensure_future(client.github(PATH))
    while not upstream.log:
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await client.github(PATH)).status == 200
    assert upstream.log[0].status == 0


async def test_what_hangs_does_not_hold_up_the_end(upstream: DemoUpstream) -> None:
    """Serving ends although somebody still waits."""
    upstream.faults.append(Fault("einfo", "hang"))
    async with aiohttp.ClientSession() as session:
        async with upstream.serve() as urls:
            waiting = asyncio.ensure_future(session.post(f"{urls.eutils}/einfo.fcgi"))
            while not upstream.log:
                await asyncio.sleep(0)
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_status_and_redirect(client: Client, upstream: DemoUpstream) -> None:
    """What is given is what comes."""
    fault(upstream, "status", status=503, headers={"Retry-After": "7"}, body='{"message":"no"}')
    reply = await client.github(PATH)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")
    assert (reply.json, upstream.log[-1].status) == ({"message": "no"}, 503)
    assert reply.headers["Content-Type"].startswith("application/json")
    assert "X-RateLimit-Limit" not in reply.headers
    fault(upstream, "status")
    assert (await client.github(PATH)).status == 502
    fault(upstream, "redirect", location="http://127.0.0.1:1/", status=307)
    reply = await client.github(PATH)
    assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:1/")


async def test_garbage(client: Client, upstream: DemoUpstream) -> None:
    """A web page, JSON that breaks off, or bytes, all with 200."""
    fault(upstream, "garbage")
    reply = await client.github(PATH)
    assert (reply.status, reply.headers["Content-Type"][:9]) == (200, "text/html")
    fault(upstream, "garbage", garbage="json")
    reply = await client.github(PATH)
    assert reply.headers["Content-Type"].startswith("application/json")
    with pytest.raises(ValueError, match="line 1"):
        _ = reply.json
    fault(upstream, "garbage", garbage="bytes")
    with pytest.raises(UnicodeDecodeError):
        _ = (await client.github(PATH)).text
    fault(upstream, "garbage", body="null")
    assert (await client.github(PATH)).body == b"null"


async def test_wrong_encoding(client: Client, upstream: DemoUpstream) -> None:
    """Claims gzip and is plain; or claims another charset."""
    fault(upstream, "wrong_encoding")
    with pytest.raises(aiohttp.ClientError):
        await client.github(PATH)
    fault(upstream, "wrong_encoding", charset="utf-16")
    reply = await client.github(PATH)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-16"
    assert reply.text.startswith("[{")


async def test_bomb(client: Client, upstream: DemoUpstream) -> None:
    """A small valid gzip body of enormous size."""
    size = (5 << 20) + 77
    fault(upstream, "bomb", size=size)
    assert (await client.github(PATH)).body == b" " * size
    fault(upstream, "bomb", size=64 << 20)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        packed = await (await session.get(client.urls.github + PATH)).read()
    assert len(packed) < 100_000
    assert len(zlib.decompress(packed, 31)) == 64 << 20
    fault(upstream, "bomb")
    async with client.session.get(client.urls.github + PATH) as response:
        got = await response.content.read(10 << 20)
    assert got  # and the client goes away without the rest


async def test_which_fault_is_applied(client: Client, upstream: DemoUpstream) -> None:
    """The first that matches, after `skip` calls, for `times` calls or always."""
    upstream.faults += [
        Fault("/nothing", "status", times=None),
        Fault("/repos", "status", upstream="ncbi", times=None),
        Fault(r"^GET /repos/acme/tool/releases\?per_page=5$", "status", status=599, times=None),
        Fault(PATH, "status", status=500, skip=1, times=2),
        Fault(PATH, "status", status=501),
    ]
    statuses = [(await client.github(PATH)).status for _ in range(5)]
    assert statuses == [501, 500, 500, 200, 200]
    assert [(await client.github(f"{PATH}?per_page=5")).status for _ in range(3)] == [599] * 3


async def test_it_does_not_sleep(client: Client, upstream: DemoUpstream) -> None:
    """An hour on the fake clock passes at once."""
    began = time.monotonic()
    fault(upstream, "delay", delay=3600.0)
    await client.github(PATH)
    assert time.monotonic() - began < 5
