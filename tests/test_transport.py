"""The only way out, against a server that does what servers do."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ClientResponse

from fetcher.border import HttpSettings, translate
from fetcher.errors import Malformed, NotFound, RateLimited, Refused, Unreachable
from fetcher.gate import Gate, Wait
from fetcher.policy.budget import Budget
from fetcher.policy.verdict import Accept, judge_github
from fetcher.transport import Request, Response, Transport
from tests.clock import FakeClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server on loopback that answers by `handler`, and notes what came."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self.handler: Handler = self._ok

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="fine")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path_qs, dict(request.headers)))
        return await self.handler(request)


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as served:
        yield served


class Way:
    """A transport on a clock of the tests' own."""

    def __init__(self, clock: FakeClock, **settings: Any) -> None:
        self.clock = clock
        self.waits: list[Wait] = []
        self.transport = Transport(
            HttpSettings(**settings),
            clock,
            lambda low, high: high,
            "fetcher/test",
            self.waits.append,
        )
        self.gate = Gate("tests", Budget(1000, 60.0), clock, in_flight=5)

    async def get(self, url: str, *, patience: float = 600, **more: Any) -> Response:
        request = Request("GET", url, self.gate, **more)
        return await self.transport.send(request, judge_github, patience=patience)


@asynccontextmanager
async def travelling(**settings: Any) -> AsyncIterator[Way]:
    way = Way(FakeClock(), **settings)
    async with way.transport:
        yield way


def answering(*replies: web.Response | int) -> Handler:
    """Each reply once, in order; the last again and again."""
    left = list(replies)

    async def handler(request: web.Request) -> web.StreamResponse:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, int):
            return web.Response(status=reply, text="fine")
        return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))

    return handler


async def test_it_introduces_itself_and_reads_the_answer(site: Site) -> None:
    """User agent, compression, one request charged."""
    async with travelling() as way:
        answer = await way.get(f"{site.url}/a?b=c")
    assert (answer.status, answer.body, answer.hops) == (200, b"fine", ())
    ((path, headers),) = site.seen
    assert path == "/a?b=c"
    assert headers["User-Agent"] == "fetcher/test"
    assert headers["Accept-Encoding"] == "gzip, deflate"
    assert way.gate.spent == 1


async def test_a_resend_on_a_dropped_connection_is_charged(site: Site) -> None:
    """aiohttp sends a GET again by itself when a kept-alive connection is gone."""
    async with travelling() as way:
        await way.get(site.url)

        async def drop(request: web.Request) -> web.StreamResponse:
            site.handler = site._ok
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        site.handler = drop
        await way.get(site.url)
    assert len(site.seen) == 3
    assert way.gate.spent == 3


async def test_server_errors_are_tried_again_with_backoff(site: Site) -> None:
    """Full jitter, doubling; then the answer."""
    site.handler = answering(500, 502, 503, 200)
    async with travelling() as way:
        assert (await way.get(site.url)).status == 200
    assert way.clock.slept == [1.0, 2.0, 4.0]


async def test_tries_are_bounded(site: Site) -> None:
    """After the last the error says what came."""
    site.handler = answering(503)
    async with travelling(max_attempts=3) as way:
        with pytest.raises(Unreachable) as caught:
            await way.get(site.url)
    assert len(site.seen) == 3
    assert caught.value.evidence.status == 503


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_a_lower_bound(site: Site, status: int, form: str) -> None:
    """As a number or as a date, for limits and for errors."""
    async with travelling() as way:
        after = "30"
        if form == "date":
            at = datetime.fromtimestamp(way.clock.time() + 30, UTC)
            after = format_datetime(at, usegmt=True)
        now = format_datetime(datetime.fromtimestamp(way.clock.time(), UTC), usegmt=True)
        limited = web.Response(status=status, headers={"Retry-After": after, "Date": now})
        site.handler = answering(limited, 200)
        assert (await way.get(site.url)).status == 200
        assert 30 <= way.clock.monotonic() < 45


async def test_a_longer_wait_than_patience_is_told_at_once(site: Site) -> None:
    """Nobody waits for what they will not wait for to the end."""
    site.handler = answering(web.Response(status=429, headers={"Retry-After": "3600"}))
    async with travelling() as way:
        with pytest.raises(RateLimited) as caught:
            await way.get(site.url, patience=60)
        assert way.clock.monotonic() < 60
        assert caught.value.retry_at.timestamp() >= way.clock.time() + 3500
        with pytest.raises(RateLimited):
            await way.get(site.url, patience=60)
    assert len(site.seen) == 1


async def test_a_limit_without_a_name_waits_longer_each_time(site: Site) -> None:
    """A minute, then two, as GitHub asks."""
    limited = web.json_response({"message": "secondary rate limit"}, status=403)
    site.handler = answering(limited, limited, 200)
    async with travelling() as way:
        await way.get(site.url)
        assert 180 <= way.clock.monotonic() < 200
    assert [round(wait.seconds) for wait in way.waits] == [60, 120]


async def test_credentials_stay_at_home(site: Site) -> None:
    """A redirect to another host is followed without them, one within the host with them."""
    async with serving() as other, travelling() as way:

        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path == "/start":
                raise web.HTTPFound("/next")
            raise web.HTTPTemporaryRedirect(f"{other.url}/end?api_key=K&a=b")

        site.handler = handler
        answer = await way.get(
            f"{site.url}/start", secret_headers={"Authorization": "Bearer T"}, headers={"X": "1"}
        )
        assert answer.hops == (302, 307)
        assert [headers.get("Authorization") for _, headers in site.seen] == ["Bearer T"] * 2
        ((path, headers),) = other.seen
        assert path == "/end?a=b"
        assert "Authorization" not in headers
        assert headers["X"] == "1"
        assert way.gate.spent == 2


@pytest.mark.parametrize("where", ["/loop", "ftp://x/y", "http://", "file:///etc/passwd"])
async def test_bad_redirects_are_refused(site: Site, where: str) -> None:
    """In circles, and to what is no web address."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": where})

    site.handler = handler
    async with travelling() as way:
        with pytest.raises((Malformed, Refused)):
            await way.get(f"{site.url}/loop")
    assert len(site.seen) == 1


async def test_a_form_is_never_sent_on(site: Site) -> None:
    """A POST with a key in it does not follow a redirect away."""
    async with serving() as other, travelling() as way:
        site.handler = answering(web.Response(status=307, headers={"Location": f"{other.url}/x"}))
        request = Request("POST", site.url, way.gate, form=(("api_key", "K"),))
        with pytest.raises(Malformed):
            await way.transport.send(request, judge_github, patience=1)
        assert other.seen == []
    assert "K" not in repr(request).replace("KiB", "")


async def test_a_body_is_capped_after_decompression(site: Site) -> None:
    """A gigabyte of zeros in a megabyte of gzip is not taken in."""
    bomb = gzip.compress(bytes(50 << 20))

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    site.handler = handler
    async with travelling(max_body=1 << 20) as way:
        with pytest.raises(Malformed, match="max_body"):
            await way.get(site.url)
    assert len(site.seen) == 1


async def test_a_wrong_encoding_is_malformed(site: Site) -> None:
    """Tried again, then told."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})

    site.handler = handler
    async with travelling(max_attempts=2) as way:
        with pytest.raises(Malformed, match="decompressed"):
            await way.get(site.url)
    assert len(site.seen) == 2


async def test_deadlines_are_named(site: Site) -> None:
    """Silence, and an answer that takes too long as a whole."""
    silent = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await silent.wait()
        return web.Response()

    site.handler = handler
    async with travelling(max_attempts=1, read_timeout=0.05) as way:
        with pytest.raises(Unreachable, match=r"sent nothing for 0\.05 s"):
            await way.get(site.url)
    async with travelling(max_attempts=1, total_timeout=0.05) as way:
        with pytest.raises(Unreachable, match=r"in full within 0\.05 s"):
            await way.get(site.url)


async def test_nobody_there_is_unreachable() -> None:
    """No server, no such name."""
    async with travelling(max_attempts=2) as way:
        with pytest.raises(Unreachable):
            await way.get("http://127.0.0.1:1/")
        with pytest.raises(Unreachable, match="resolved"):
            await way.get("http://no-such-host.invalid/")
        with pytest.raises(Refused):
            await way.get("gopher://x/")


async def test_a_cancelled_request_gives_its_place_back(site: Site) -> None:
    """Cancelled any number of times, the gate lets others through."""
    forever = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/hang":
            await forever.wait()
        return web.Response(text="fine")

    site.handler = handler
    async with travelling() as way:
        for _ in range(12):
            task = asyncio.create_task(way.get(f"{site.url}/hang"))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            assert (await way.get(site.url)).status == 200


async def test_a_stream_comes_as_it_comes_and_tells_when_it_breaks(site: Site) -> None:
    """The judge sees the first bytes; what came before the break is not lost."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(10):
            await answer.write(b"x" * 1000)
        if request.path == "/cut":
            assert request.transport is not None
            request.transport.abort()
        return answer

    site.handler = handler
    async with travelling() as way:
        request = Request("GET", site.url, way.gate)
        async with way.transport.stream(request, judge_github, patience=1) as stream:
            assert sum([len(data) async for data in stream]) == 10_000
        request = Request("GET", f"{site.url}/cut", way.gate)
        size = 0

        async def read() -> None:
            nonlocal size
            async with way.transport.stream(request, judge_github, patience=1) as stream:
                async for data in stream:
                    size += len(data)

        with pytest.raises(Unreachable):
            await read()
        assert 0 < size <= 10_000
        site.handler = answering(404)
        with pytest.raises(NotFound):
            async with way.transport.stream(request, judge_github, patience=1):
                pass


@pytest.mark.parametrize("how", ["settings", "environment"])
async def test_a_proxy_is_used(site: Site, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the settings, or from the environment as every program does."""
    settings = {"proxy": site.url} if how == "settings" else {}
    if how == "environment":
        monkeypatch.setenv("http_proxy", site.url)
    async with travelling(**settings) as way:
        assert (await way.get("http://upstream.invalid/path")).body == b"fine"
    assert site.seen[0][1]["Host"] == "upstream.invalid"


class _Reply(ClientResponse):
    """aioresponses knows nothing of the `stream_writer` that aiohttp wants since 3.14."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


async def test_one_canned_reply() -> None:
    """A unit that wants no server."""
    with aioresponses.aioresponses() as canned:
        canned.get("http://upstream.invalid/", status=200, body=b"{}", response_class=_Reply)
        async with travelling() as way:
            assert (await way.get("http://upstream.invalid/")).body == b"{}"


def _all(cls: type[Exception]) -> list[type[Exception]]:
    return [cls, *(each for sub in cls.__subclasses__() for each in _all(sub))]


@pytest.mark.parametrize(
    "cls", [each for each in _all(aiohttp.ClientError) if each is not aiohttp.ClientError]
)
def test_every_library_error_is_mapped(cls: type[Exception]) -> None:
    """One that nobody has thought of fails here, and not at a user's."""
    if not cls.__module__.startswith("aiohttp"):
        pytest.skip("a test's own")
    error = cls.__new__(cls)
    for name in ("_conn_key", "_os_error", "_certificate_error"):
        setattr(error, name, Mock())
    assert str(translate(error, "http://x/?api_key=K", HttpSettings()))


@pytest.mark.parametrize("cls", [TimeoutError, OSError, ConnectionResetError, ValueError])
def test_the_systems_errors_are_mapped(cls: type[Exception]) -> None:
    """And nothing of a URL's query shows."""
    error = translate(cls("x"), "http://u:p@x/?api_key=K", HttpSettings())
    assert "K" not in str(error)
    assert ":p@" not in str(error)


async def test_an_accepted_answer_ends_a_series_of_limits(site: Site) -> None:
    """`Accept` is what the judge says; the series starts anew."""
    limited = web.json_response({"message": "secondary rate limit"}, status=403)
    async with travelling() as way:
        for _ in range(2):
            site.handler = answering(limited, 200)
            await way.get(site.url)
    assert [round(wait.seconds) for wait in way.waits] == [60, 60]
    assert isinstance(Accept(), Accept)
