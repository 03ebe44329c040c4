"""``POST /v1/webhooks/github``: takes signed deliveries in, and answers at once.

Whoever has no signature costs a look at the headers. Bodies are bounded in size, number and time,
and nothing in them is believed, or shown anywhere, before their signature fits.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from fetcher.errors import StoreError
from fetcher.metrics import Metrics
from fetcher.models import Clock
from fetcher.targets import Target
from fetcher.web.deliveries import BadPayload, Memory, Seal, read_news
from fetcher.web.problems import NO_STORE, problem

__all__ = ["PATH", "Poller", "Webhooks"]

T = TypeVar("T")

PATH: Final = "/v1/webhooks/github"

# https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
_LARGEST: Final = 25 * 2**20
# Deliveries in hand at once, and the bytes of all their bodies.
_AT_ONCE: Final = 64
_HELD: Final = 3 * _LARGEST
# GitHub waits for 10 s. Seconds for the body to arrive, and for the store to take the request.
_READING: Final = 5.0
_ASKING: Final = 4.0
_RETRY_AFTER: Final = "30"


class Poller(Protocol):
    """Who sees to it that a repository is polled."""

    async def poll_now(self, repository_id: int, names: Sequence[Target], *, full: bool) -> bool:
        """Has it polled, without waiting for that; False where nobody watches it.

        Once this returns, the poll comes even if this process dies. Raises `StoreError`.
        """
        ...


class _Refused(Exception):
    """A delivery that does nothing but a count: `result` in the metrics, and what is answered."""

    def __init__(self, result: str, status: int, detail: str, **headers: str) -> None:
        super().__init__(result)
        self.result = result
        self.status = status
        self.detail = detail
        self.headers = headers


class Webhooks:
    """Deliveries of GitHub, signed with one of the `secrets`; without any all are refused."""

    def __init__(
        self, secrets: Sequence[str], poller: Poller, metrics: Metrics, clock: Clock
    ) -> None:
        self._secrets = [each.encode() for each in secrets]
        self._poller = poller
        self._metrics = metrics
        self._clock = clock
        self._memory = Memory()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inside = 0
        self._held = 0

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one delivery."""
        self._inside += 1
        body = bytearray()
        event = ""
        try:
            signature = self._admit(request)
            await self._read(request, body, signature)
            event = request.headers["X-GitHub-Event"]
            return await self._signed(event, request.headers["X-GitHub-Delivery"], body)
        except _Refused as refused:
            self._metrics.webhook(event, refused.result)
            response = problem(refused.status, refused.detail, **refused.headers)
            if not request.content.is_eof():
                response.force_close()  # what was not read shall not be read later
            return response
        finally:
            self._inside -= 1
            self._held -= len(body)

    def _admit(self, request: web.Request) -> str:
        """What the headers alone tell; gives the signature to hold against the body."""
        if not self._secrets:
            raise _Refused(
                "off", 404, "webhooks are refused as long as github.webhook_secret is not set"
            )
        signature = request.headers.get("X-Hub-Signature-256", "")
        if not Seal.can_be(signature):
            raise _Refused("unsigned", 403, "X-Hub-Signature-256 is missing or is no signature")
        headers = request.headers
        if "X-GitHub-Event" not in headers:
            raise _Refused("malformed", 400, "X-GitHub-Event is missing")
        if not Memory.can_be(headers.get("X-GitHub-Delivery", "")):
            raise _Refused("malformed", 400, "X-GitHub-Delivery is missing or is no id")
        if request.content_type == "application/x-www-form-urlencoded":
            detail = "choose the content type application/json in the settings of the webhook"
            raise _Refused("malformed", 415, detail)
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            # The signature is over the body as it is; and a small one can unpack to a huge one.
            raise _Refused("malformed", 415, "Content-Encoding is not understood here")
        if (request.content_length or 0) > _LARGEST:
            raise _too_large()
        if self._inside + len(self._tasks) > _AT_ONCE:
            raise _busy()
        return signature

    async def _read(self, request: web.Request, body: bytearray, signature: str) -> None:
        seal = Seal(self._secrets)

        async def read() -> None:
            while piece := await request.content.readany():
                if len(body) + len(piece) > _LARGEST:
                    raise _too_large()
                if self._held + len(piece) > _HELD:
                    raise _busy()
                self._held += len(piece)
                body.extend(piece)
                seal.update(piece)

        try:
            await self._within(_READING, read())
        except TimeoutError:
            detail = f"the body did not arrive within {_READING:g} seconds"
            raise _Refused("slow", 408, detail) from None
        except (OSError, ClientPayloadError, HttpProcessingError, web.RequestPayloadError):
            raise _Refused("malformed", 400, "the body ended too early") from None
        if not seal.fits(signature):
            raise _Refused("forged", 403, "X-Hub-Signature-256 does not fit the body")

    async def _signed(self, event: str, delivery: str, body: bytearray) -> web.Response:
        """GitHub said so."""
        if not self._memory.add(delivery):
            return self._answer(event, "replay")
        try:
            news = read_news(event, body)
            if news is None:
                return self._answer(event, "pong" if event == "ping" else "ignored")
            asking = self._poller.poll_now(news.repository_id, news.names, full=news.full)
            watched = await self._within(_ASKING, asking)
        except BadPayload as error:
            raise _Refused("malformed", 400, str(error)) from None
        except (StoreError, TimeoutError):
            self._memory.forget(delivery)
            detail = "the store does not take it now; have it delivered again"
            raise _Refused("failed", 503, detail, Retry_After=_RETRY_AFTER) from None
        except BaseException:
            self._memory.forget(delivery)
            raise
        return self._answer(event, "accepted" if watched else "unwatched")

    def _answer(self, event: str, result: str) -> web.Response:
        self._metrics.webhook(event, result)
        return web.json_response(
            {"result": result}, status=200 if result == "pong" else 202, headers=NO_STORE
        )

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Awaits work for so long, by the clock handed in; raises `TimeoutError`.

        What goes on after that, because a write that has begun ends, keeps its place till then.
        """
        task = asyncio.create_task(work)
        late = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({task, late}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise TimeoutError
        finally:
            late.cancel()
            if not task.done():
                self._tasks.add(task)
                task.add_done_callback(self._ended)
                task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # somebody was told already that it came to nothing


def _too_large() -> _Refused:
    return _Refused("too_large", 413, f"a delivery has at most {_LARGEST} bytes")


def _busy() -> _Refused:
    detail = "too many deliveries at once; have it delivered again"
    return _Refused("busy", 503, detail, Retry_After=_RETRY_AFTER)
