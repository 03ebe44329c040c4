"""The only way out: one aiohttp session, and a border that no library error crosses.

Every request passes its account's gate (aiohttp's own resend of a request on a dropped
connection as well: it is charged in a client middleware), is tried again with backoff and
jitter, follows redirects by our own rule, and has its body capped after decompression.
"""

import io
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, Self, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity
from yarl import URL

from fetcher import redirects
from fetcher.border import Garbled, HttpSettings, border
from fetcher.errors import Evidence, Malformed, RateLimited, Unreachable, UpstreamError
from fetcher.gate import Gate, Wait
from fetcher.models import Clock
from fetcher.policy.retry import Uniform, backoff
from fetcher.policy.secrecy import secrets_of_proxy
from fetcher.policy.verdict import Accept, Fail, Judge, Limited, Reply
from fetcher.policy.wire import Decoder, decoder, header_text, shown_url

__all__ = ["Request", "Response", "Stream", "Transport"]

T = TypeVar("T")

_CHUNK: Final = 1 << 16
# As much of a stream is read ahead to judge it; of a bad answer, as much is kept as evidence.
_HEAD: Final = 2_048
_BAD_BODY: Final = 1 << 16
# Shorter parameters of an address, such as a version's number, open nothing.
_TELLING: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, through which gate; a POST has a form or a body.

    `secret_headers` go to the host of `url` alone, and never show in a repr. `bulk` is a file to
    be streamed: as large as it is, for as long as it keeps coming.
    """

    method: Literal["GET", "POST"]
    url: str
    gate: Gate
    form: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cost: int = 1
    bulk: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        headers = (value.rpartition(" ")[2] for value in self.secret_headers.values())
        form = (value for name, value in self.form or () if name in redirects.SECRET_PARAMETERS)
        return tuple(value for value in (*headers, *form) if value)


@dataclass(frozen=True, slots=True)
class Response:
    """An accepted answer, read whole; `hops` are the statuses of followed redirects."""

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    hops: tuple[int, ...] = ()


class _Again(Exception):
    """An error that another try may not meet; `after` is what the server asked for."""

    def __init__(self, error: UpstreamError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class _Raw:
    """An answer whose head has come; reading its body maps errors and keeps the cap."""

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        hops: tuple[int, ...],
        settings: HttpSettings,
        limit: int | None,
    ) -> None:
        self._answer = answer
        self._settings = settings
        self._limit = limit
        self._size = 0
        self.hops = hops
        self.status = answer.status
        self.url = str(answer.url)
        self.headers = {name.lower(): header_text(value) for name, value in answer.headers.items()}
        self._decoder: Decoder | None = None
        self._pieces: Iterator[bytes] = iter(())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decompressed, in pieces of at most 64 KiB."""
        limit = self._limit
        while True:
            # Kept: `head` stops somewhere in between, and who reads on goes on there.
            for piece in self._pieces:
                self._size += len(piece)
                if limit is not None and self._size > limit:
                    text = f"the answer is larger than {limit:,} bytes (http.max_body)"
                    raise Malformed(text, self._evidence())
                yield piece
            with border(self.url, self._settings):
                data = await self._answer.content.read(_CHUNK)
            if not data:
                break
            self._pieces = self._decoded(data)
        if self._decoder is not None and not self._decoder.whole:
            # Its framing was whole, and what it frames is not.
            raise Unreachable(f"the answer of {shown_url(self.url)} broke off", self._evidence())

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        try:
            if self._decoder is None:
                self._decoder = decoder(self.headers.get("content-encoding", ""), _CHUNK)
            yield from (data,) if self._decoder is None else self._decoder.feed(data)
        except (LookupError, zlib.error) as error:
            text = f"the answer of {shown_url(self.url)} cannot be decompressed"
            raise Garbled(text, self._evidence()) from error

    def _evidence(self) -> Evidence:
        return Evidence(self.status, url=shown_url(self.url))

    async def head(self, size: int) -> tuple[bytes, bool]:
        """The first bytes, at least `size` where there are so many; whether that is all."""
        some = io.BytesIO()
        async for data in self.chunks():
            some.write(data)
            if some.tell() >= size:
                return some.getvalue(), False
        return some.getvalue(), True

    async def body(self) -> bytes:
        """All of it."""
        whole = io.BytesIO()
        async for data in self.chunks():
            whole.write(data)
        return whole.getvalue()


class Stream:
    """An accepted answer whose body is read as it comes.

    Iterating raises `Unreachable` when the body breaks off, and `Malformed` when it is larger
    than may be or cannot be decompressed.
    """

    def __init__(self, raw: _Raw, head: bytes, *, complete: bool) -> None:
        self._raw = raw
        self._head = head
        self._complete = complete
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = raw.url

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._head:
            yield self._head
        if not self._complete:
            async for data in self._raw.chunks():
                yield data


class Transport:
    """Sends requests; use it as a context manager, and close it after all its users.

    `uniform` is the source of jitter. `on_wait` is told of waits for limits.
    """

    def __init__(
        self,
        settings: HttpSettings,
        clock: Clock,
        uniform: Uniform,
        user_agent: str,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._uniform = uniform
        self._user_agent = user_agent
        self._on_wait = on_wait
        self._session: aiohttp.ClientSession | None = None
        self._outer: aiohttp.ClientSession | None = None  # for redirects that may not lead inside
        self._resolver: aiohttp.ThreadedResolver | None = None

    async def __aenter__(self) -> Self:
        self._resolver = aiohttp.ThreadedResolver()
        self._session = self._open(aiohttp.TCPConnector(limit=100))
        guarded = redirects.PublicOnly(self._resolver)
        self._outer = self._open(aiohttp.TCPConnector(limit=100, resolver=guarded))
        return self

    def _open(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip, deflate"},
            # With trust_env aiohttp would also send what ~/.netrc has for the host, and refuse
            # every request that has an Authorization of its own.
            trust_env=False,
            # Done here: aiohttp's takes a gzip stream that ends too early for a whole one.
            auto_decompress=False,
            raise_for_status=False,
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for session in (self._session, self._outer):
            if session is not None:
                await session.close()
        self._session = self._outer = None

    async def send(self, request: Request, judge: Judge, *, patience: float) -> Response:
        """Sends until an answer is accepted, and reads it whole.

        `patience` is how many seconds all waiting for limits and between tries may take.
        Raises `UpstreamError`.
        """
        until = self._clock.monotonic() + patience

        async def once() -> Response:
            async with self._answer(request, until) as raw:
                body = await raw.body()
                reply = Reply(
                    raw.status, raw.headers, raw.url, body, secrets=self._secrets(request, raw)
                )
                self._judge(judge, reply, request.gate)
                return Response(raw.status, raw.headers, raw.url, body, raw.hops)

        return await self._retrying(once, until)

    @asynccontextmanager
    async def stream(
        self, request: Request, judge: Judge, *, patience: float
    ) -> AsyncIterator[Stream]:
        """Like `send`, but the body of the accepted answer is left to be read.

        The judge sees the first bytes only, and the whole of a short answer.
        """
        until = self._clock.monotonic() + patience

        async def once() -> tuple[AsyncExitStack, Stream]:
            async with AsyncExitStack() as stack:
                raw = await stack.enter_async_context(self._answer(request, until))
                wanted = _HEAD if raw.status < 300 else _BAD_BODY
                head, complete = await raw.head(wanted)
                secrets = self._secrets(request, raw)
                reply = Reply(raw.status, raw.headers, raw.url, head, complete, secrets)
                self._judge(judge, reply, request.gate)
                return stack.pop_all(), Stream(raw, head, complete=complete)
            raise AssertionError  # the block returns or raises

        stack, stream = await self._retrying(once, until)
        async with stack:
            yield stream

    async def _retrying(self, once: Callable[[], Awaitable[T]], until: float) -> T:
        """Tries with backoff and full jitter; what the server asked for comes first."""

        def wait(state: tenacity.RetryCallState) -> float:
            again = state.outcome.exception() if state.outcome is not None else None
            asked = again.after if isinstance(again, _Again) else None
            limited = isinstance(again, _Again) and isinstance(again.error, RateLimited)
            # The gate is parked for a limit, and everybody on the account waits there.
            return 0.0 if limited else backoff(state.attempt_number, self._uniform, asked=asked)

        def stop(state: tenacity.RetryCallState) -> bool:
            if state.attempt_number >= self._settings.max_attempts:
                return True
            return self._clock.monotonic() + state.upcoming_sleep > until

        said = Evidence()

        async def attempt() -> T:
            nonlocal said
            try:
                return await once()
            except (Unreachable, Garbled) as error:
                raise _Again(error) from error.__cause__
            except _Again as again:
                if isinstance(again.error, RateLimited):
                    said = again.error.evidence
                raise
            except RateLimited as error:
                # The gate knows until when; what the upstream said of it came a try earlier.
                error.evidence = said
                raise

        try:
            return await tenacity.AsyncRetrying(
                sleep=self._clock.sleep,
                stop=stop,
                wait=wait,
                retry=tenacity.retry_if_exception_type(_Again),
                reraise=True,
            )(attempt)
        except _Again as again:
            error = again.error
            if isinstance(error, Unreachable) and again.after is not None:
                error.retry_at = datetime.fromtimestamp(self._clock.time() + again.after, UTC)
            raise error from again.__cause__

    def _secrets(self, request: Request, raw: _Raw) -> tuple[str, ...]:
        """What this answer may repeat: of the request, of the proxy, and of where it was led to."""
        opens = URL(raw.url).query.values() if raw.hops else ()
        proxy = self._proxy(URL(raw.url))
        passes = secrets_of_proxy(str(proxy)) if proxy is not None else ()
        return (*request.secrets, *(each for each in opens if len(each) >= _TELLING), *passes)

    def _judge(self, judge: Judge, reply: Reply, gate: Gate) -> None:
        """Returns for an accepted reply and raises for any other."""
        match judge(reply, self._clock.time()):
            case Accept():
                gate.went_well()
            case Limited(error=error, wait=wait, named=named):
                wait = gate.limited(wait, named=named)
                error.retry_at = datetime.fromtimestamp(self._clock.time() + wait, UTC)
                raise _Again(error, wait)
            case Fail(error=error):
                raise error
            case retry:
                if retry.after is not None:
                    gate.limited(retry.after, named=True)
                raise _Again(retry.error, retry.after)

    @asynccontextmanager
    async def _answer(self, request: Request, until: float) -> AsyncIterator[_Raw]:
        """One try, redirects followed."""
        hops: tuple[int, ...] = ()
        with border(request.url, self._settings):
            url = redirects.address(request.url)
        home, away, seen = url.origin(), False, {url}
        while True:
            async with self._hop(request, url, hops, until, home, away) as raw:
                if raw.status not in redirects.REDIRECTS or "location" not in raw.headers:
                    yield raw
                    return
                hops = (*hops, raw.status)
                # A file's address may hold what opens it, and none of ours.
                ours = not request.bulk
                where = raw.headers["location"]
                url = redirects.next_hop(request.method, url, raw.status, where, home, ours=ours)
            # Who comes back from elsewhere was sent by somebody else: no credentials any more.
            away = away or url.origin() != home
            if url in seen or len(hops) > redirects.MAX_HOPS:
                text = f"{shown_url(request.url)} redirects in circles, or too often"
                raise Malformed(text, Evidence(raw.status, url=shown_url(str(url))))
            seen.add(url)

    @asynccontextmanager
    async def _hop(
        self, request: Request, url: URL, hops: tuple[int, ...], until: float, home: URL, away: bool
    ) -> AsyncIterator[_Raw]:
        """One request on the wire. Who leaves `home` takes no credentials along."""
        session = await self._session_for(url, home)
        headers = {**request.headers, **({} if away else request.secret_headers)}

        async def ask(*middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientResponse:
            with border(str(url), self._settings):
                return await session.request(
                    request.method,
                    url,
                    data=request.body or request.form,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy(url),
                    middlewares=middlewares,
                    timeout=aiohttp.ClientTimeout(
                        total=None if request.bulk else self._settings.total_timeout,
                        connect=self._settings.connect_timeout,
                        sock_connect=self._settings.connect_timeout,
                        sock_read=self._settings.read_timeout,
                    ),
                )

        limit = None if request.bulk else self._settings.max_body

        if url.origin() != home:
            # Another host is not this account's upstream, and nothing of its budget is spent.
            async with await ask() as answer:
                yield _Raw(answer, hops, self._settings, limit)
            return
        gate, sent = request.gate, False
        ticket = await gate.enter(request.cost, until, self._on_wait)

        async def charge(
            wire: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # aiohttp sends an idempotent request once more when a kept-alive connection turns
            # out to be closed, and comes through here again.
            nonlocal ticket, sent
            if sent:
                ticket = await gate.again(ticket, request.cost, until, self._on_wait)
            sent = True
            return await handler(wire)

        try:
            async with await ask(charge) as answer:
                raw = _Raw(answer, hops, self._settings, limit)
                # Who is not let in is shown another account's counters.
                gate.answered(ticket, raw.headers if raw.status != 401 else {})
                yield raw
        finally:
            gate.leave(ticket)

    async def _session_for(self, url: URL, home: URL) -> aiohttp.ClientSession:
        """The session that may ask this address; raises `Malformed` where none may."""
        hint = "use the transport as a context manager"
        assert self._session is not None and self._outer is not None, hint  # noqa: S101, PT018
        resolver = self._resolver if self._proxy(home) is None else None
        guarded = url.origin() != home and await redirects.leaves_for_outside(url, home, resolver)
        # A proxy resolves names itself, and may well stand inside.
        return self._outer if guarded and self._proxy(url) is None else self._session

    def _proxy(self, url: URL) -> str | None:
        """The proxy of the settings, else that of the environment, as every program finds it."""
        if self._settings.proxy is not None:
            return self._settings.proxy
        bypassed = url.host is None or proxy_bypass(url.host)
        return None if bypassed else getproxies().get(url.scheme)
