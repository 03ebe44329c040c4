"""What servers, networks and home directories do to a transport that trusts them."""

import asyncio
import gzip
import os
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from fetcher.errors import Malformed, NotFound, RateLimited, Refused, Unreachable, UpstreamError
from fetcher.policy.verdict import LONGEST_WAIT, judge_github
from fetcher.transport import Request
from tests.test_transport import answering, serving, travelling

NOISE = os.urandom(100_000)


@asynccontextmanager
async def saying(data: bytes) -> AsyncIterator[str]:
    """A server that answers everything with these very bytes and closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await server.wait_closed()


def framed(body: bytes, *headers: str, length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {told}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.parametrize(
    "answer",
    [
        framed(b"x" * 100, length=1000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe",
        framed(gzip.compress(NOISE)[:50_000], "Content-Encoding: gzip"),
        framed(zlib.compress(NOISE)[:50_000], "Content-Encoding: deflate"),
        b"",
    ],
    ids=["content-length", "chunked", "gzip", "deflate", "nothing"],
)
async def test_a_cut_answer_is_unreachable(answer: bytes) -> None:
    """Also where the framing is whole and what it frames is not; read whole or as it comes."""
    async with saying(answer) as url, travelling(max_attempts=1) as way:
        with pytest.raises(Unreachable):
            await way.get(url)

        async def read() -> None:
            request = Request("GET", url, way.gate)
            async with way.transport.stream(request, judge_github, patience=1) as stream:
                async for _ in stream:
                    pass

        with pytest.raises(Unreachable):
            await read()


@pytest.mark.parametrize(
    "answer",
    [
        framed(gzip.compress(NOISE)[:-8] + bytes(8), "Content-Encoding: gzip"),
        framed(b"abc", "Content-Encoding: br"),
        framed(b"abc", "X-Long: " + "a" * 20_000),
        framed(b"abc", *(f"X-{n}: a" for n in range(100_000))),
        b"hello\r\n\r\n",
    ],
    ids=["checksum", "unasked encoding", "long header", "many headers", "not http"],
)
async def test_nonsense_is_malformed(answer: bytes) -> None:
    """After all tries."""
    async with saying(answer) as url, travelling(max_attempts=2) as way:
        with pytest.raises(Malformed):
            await way.get(url)
        assert way.gate.spent == 2


@pytest.mark.parametrize("body", [NOISE, b"0123456789" * 100_000, b""], ids=["dense", "thin", ""])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_answers_come_out_whole(encoding: str, body: bytes) -> None:
    """Read whole or as it comes; nothing is lost where the judge has looked and stopped."""
    squeeze: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    answer = framed(squeeze.get(encoding, bytes)(body), f"Content-Encoding: {encoding}")
    async with saying(answer) as url, travelling() as way:
        assert (await way.get(url)).body == body
        request = Request("GET", url, way.gate)
        async with way.transport.stream(request, judge_github, patience=1) as stream:
            assert b"".join([data async for data in stream]) == body


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://[::1", "http://x:99999/", "http:///x", "http://\ud800/"]
)
async def test_what_is_no_address_is_refused(url: str) -> None:
    """Such as a next page that makes no sense; nothing is spent on it."""
    async with travelling() as way:
        with pytest.raises(Refused):
            await way.get(url)
        assert way.gate.spent == 0


@pytest.mark.parametrize("where", ["http://[::1", "http://x:99999/", "http://", "\xff\xfe"])
async def test_a_redirect_to_no_address_is_malformed(where: str) -> None:
    """No library error gets past the border on the way."""
    answer = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
    async with saying(answer.encode("latin-1")) as url, travelling() as way:
        with pytest.raises(Malformed) as caught:
            await way.get(url)
        assert (caught.value.evidence.url or "").isascii()


async def test_credentials_do_not_come_back() -> None:
    """Who was sent home from another host was sent by that host."""
    async with serving() as site, serving() as other, travelling() as way:

        async def home(request: web.Request) -> web.StreamResponse:
            if request.path == "/start":
                raise web.HTTPFound(f"{other.url}/there")
            return web.Response(text="fine")

        async def there(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"{site.url}/back")

        site.handler, other.handler = home, there
        await way.get(f"{site.url}/start", secret_headers={"Authorization": "Bearer T"})
        seen = [(path, headers.get("Authorization")) for path, headers in site.seen]
        assert seen == [("/start", "Bearer T"), ("/back", None)]
        assert way.gate.spent == 2


async def test_no_netrc_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's ~/.netrc neither goes out nor stands in the way of our own credentials."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login person password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving() as site, travelling() as way:
        await way.get(site.url)
        await way.get(site.url, secret_headers={"Authorization": "Bearer T"})
        assert [headers.get("Authorization") for _, headers in site.seen] == [None, "Bearer T"]


@pytest.mark.parametrize("how", ["settings", "environment"])
async def test_a_proxy_gets_its_own_credentials(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in its address, and go to nobody else."""
    async with serving() as site:
        proxy = site.url.replace("://", "://user:pass@")
        if how == "environment":
            monkeypatch.setenv("http_proxy", proxy)
        settings = {"proxy": proxy} if how == "settings" else {}
        async with travelling(**settings) as way:
            await way.get("http://upstream.invalid/")
        ((_, headers),) = site.seen
        assert headers["Proxy-Authorization"] == "Basic dXNlcjpwYXNz"
        assert "Authorization" not in headers


async def test_no_proxy_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by every program that reads the environment."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with serving() as site, travelling(max_attempts=1) as way:
        assert (await way.get(site.url)).status == 200


async def test_no_wait_is_longer_than_a_day() -> None:
    """A mistake in a header does not silence an account for decades, nor put a target off."""
    async with serving() as site, travelling() as way:
        site.handler = answering(web.Response(status=503, headers={"Retry-After": "999999999"}))
        with pytest.raises(Unreachable) as caught:
            await way.get(site.url)
        assert caught.value.retry_at is not None
        assert caught.value.retry_at.timestamp() <= way.clock.time() + LONGEST_WAIT
        assert way.gate.dump().get("parked_until", 0.0) <= way.clock.time() + LONGEST_WAIT


async def test_a_limit_that_is_given_up_on_keeps_its_evidence() -> None:
    """What the upstream said stands beside until when."""
    limited = web.Response(
        status=429, headers={"Retry-After": "3600", "X-GitHub-Request-Id": "A1"}, text="slow down"
    )
    async with serving() as site, travelling() as way:
        site.handler = answering(limited)
        with pytest.raises(RateLimited) as caught:
            await way.get(site.url, patience=60)
    evidence = caught.value.evidence
    assert (evidence.status, evidence.request_id, evidence.quote) == (429, "A1", "slow down")


async def test_evidence_can_be_stored() -> None:
    """Bytes in headers that are no text do not reach the store."""
    head = b"HTTP/1.1 404 Not Found\r\nX-GitHub-Request-Id: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}"
    async with saying(head) as url, travelling() as way:
        with pytest.raises(NotFound) as caught:
            await way.get(url)
    assert (caught.value.evidence.request_id or "").encode()


async def test_a_secret_that_cannot_be_sent_is_not_told() -> None:
    """A token with a line break in it."""
    async with serving() as site, travelling() as way:
        with pytest.raises(Refused) as caught:
            await way.get(site.url, secret_headers={"Authorization": "Bearer SEC\nRET"})
    assert "SEC" not in f"{caught.value} {caught.value.evidence}"


async def test_a_connection_that_never_comes_is_named() -> None:
    """A listener whose queue is full answers nothing at all."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    try:
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        async with travelling(max_attempts=1, connect_timeout=0.05) as way:
            with pytest.raises(Unreachable, match=r"no connection to .* within 0\.05 s"):
                await way.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    finally:
        for each in (*waiting, listener):
            each.close()


async def test_a_signed_address_is_not_told() -> None:
    """Neither the query that opens a file nor what its server repeats of it, cut or not."""
    signature = "9f8e7d6c5b4a" * 5
    query = f"X-Amz-Credential=AKIA0123456789/s3&X-Amz-Signature={signature}"
    async with serving() as site, serving() as other, travelling() as way:

        async def leads(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"{other.url}/file?{query}")

        async def refuses(request: web.Request) -> web.StreamResponse:
            said = f"<Error>{'x' * 150} SignatureDoesNotMatch {request.query_string}</Error>"
            return web.Response(status=403, text=said, headers={"X-GitHub-Request-Id": signature})

        site.handler, other.handler = leads, refuses
        with pytest.raises(UpstreamError) as caught:
            await way.get(site.url)
    error = caught.value
    told = f"{error} {error!r} {error.evidence} {vars(error)}"
    assert "SignatureDoesNotMatch" in told
    for part in (signature[:8], "AKIA0123"):
        assert part not in told
