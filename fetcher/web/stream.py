"""The feed of changes as server-sent events: one look at the store serves every reader.

Who comes is first brought up to date from its own cursor, and then given what all are given. A
reader that cannot keep up is not waited for: it goes on from its cursor when it can, so that what
waits for it is bounded, and nothing is left out.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp_sse import EventSourceResponse
from structlog.typing import FilteringBoundLogger

from fetcher.documents import to_json
from fetcher.errors import StoreError
from fetcher.models import Clock
from fetcher.reader import Changed, Reader

__all__ = ["Crowded", "Hub"]

# Seconds between two looks at the store while anybody listens.
_PAUSE: Final = 0.2
_OUTAGE: Final = 2.0
_AT_ONCE: Final = 200
# Blocks that wait for one reader before it is on its own again.
_BEHIND: Final = 16
# Readers at once, and those of them that are brought up to date at the same time.
_READERS: Final = 2_000
_CATCHING_UP: Final = 8
# Seconds without a byte taken, after which a reader is given up; and between signs of life.
_STALLED: Final = 30.0
_HEARTBEAT: Final = 15.0


class Crowded(Exception):
    """There are as many readers as there may be."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Some changes as bytes: for those who may see all, and for everybody; and where they end."""

    everything: bytes
    public: bytes
    cursor: str

    @classmethod
    def of(cls, changes: Sequence[Changed]) -> "_Block":
        told = [(_event(change), _hidden(change)) for change in changes]
        public = b"".join(text for text, private in told if not private)
        return cls(b"".join(text for text, _ in told), public, changes[-1].cursor)


@dataclass(slots=True, eq=False)
class _Seat:
    """A reader that follows; `lost` once it could not keep up."""

    queue: asyncio.Queue[_Block] = field(default_factory=lambda: asyncio.Queue(_BEHIND))
    lost: bool = False

    def offer(self, block: _Block) -> None:
        if not self.lost:
            try:
                self.queue.put_nowait(block)
            except asyncio.QueueFull:
                self.lost = True


class Hub:
    """Follows the feed while anybody listens. `readers` is how many do."""

    def __init__(self, reader: Reader, clock: Clock, log: FilteringBoundLogger) -> None:
        self._reader = reader
        self._clock = clock
        self._log = log
        self._seats: set[_Seat] = set()
        self._open: set[EventSourceResponse] = set()
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._turn = asyncio.Semaphore(_CATCHING_UP)

    @property
    def readers(self) -> int:
        """Who listens now."""
        return len(self._open)

    async def close(self) -> None:
        """Ends all streams: their readers come again, with their cursors."""
        for response in self._open:
            response.stop_streaming()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stream(
        self, request: web.Request, after: str | None, *, may: bool
    ) -> web.StreamResponse:
        """Answers with the feed from a cursor on, until the reader goes.

        Raises `CursorGone`, `Crowded` and `StoreError` before anything is sent.
        """
        if len(self._open) >= _READERS:
            raise Crowded
        cursor = await self._reader.cursor() if after == "now" else after
        await self._reader.check(cursor)
        response = EventSourceResponse(
            headers={"Vary": "Accept, Authorization", "X-Content-Type-Options": "nosniff"},
            sep="\n",
            send_timeout=_STALLED,
            ping_interval=_HEARTBEAT,
        )
        await response.prepare(request)
        self._open.add(response)
        try:
            async with response:
                following = asyncio.create_task(self._follow(response, cursor, may=may))
                ended = asyncio.create_task(response.wait())
                try:
                    await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    following.cancel()
                    ended.cancel()
                    await asyncio.gather(following, ended, return_exceptions=True)
        finally:
            self._open.discard(response)
        return response

    async def _follow(
        self, response: EventSourceResponse, cursor: str | None, *, may: bool
    ) -> None:
        """Ends by an exception alone: the reader has gone, or the store is down for now."""
        with suppress(ConnectionError, TimeoutError, StoreError):
            # A sign of life at once: whoever waits for the first byte knows that it is heard.
            await self._write(response, b": here\n\n")
            while True:
                # First a seat, then up to date: what is published in between waits there.
                async with self._seat() as seat:
                    async with self._turn, aclosing(self._behind(cursor)) as blocks:
                        async for block in blocks:
                            cursor = block.cursor
                            await self._send(response, block, may=may)
                    caught_up = cursor
                    while not (seat.lost and seat.queue.empty()):
                        block = await seat.queue.get()
                        # The first ones may have come by both ways.
                        if caught_up and await self._reader.reaches(caught_up, block.cursor):
                            continue
                        caught_up, cursor = None, block.cursor
                        await self._send(response, block, may=may)

    async def _send(self, response: EventSourceResponse, block: _Block, *, may: bool) -> None:
        if data := block.everything if may else block.public:
            await self._write(response, data)

    async def _write(self, response: EventSourceResponse, data: bytes) -> None:
        async with asyncio.timeout(_STALLED):
            await response.write(data)

    async def _behind(self, cursor: str | None) -> AsyncGenerator[_Block, None]:
        """Everything from a cursor to what is visible now."""
        async with aclosing(self._reader.changes(cursor)) as changes:
            some: list[Changed] = []
            async for change in changes:
                some.append(change)
                if len(some) == _AT_ONCE:
                    yield _Block.of(some)
                    some = []
            if some:
                yield _Block.of(some)

    @asynccontextmanager
    async def _seat(self) -> AsyncIterator[_Seat]:
        """A seat from which nothing is missed that becomes visible once it is taken."""
        seat = _Seat()
        self._seats.add(seat)
        try:
            if self._task is None or self._task.done():
                self._begun.clear()
                self._task = asyncio.create_task(self._watch())
            await self._begun.wait()
            yield seat
        finally:
            self._seats.discard(seat)

    async def _watch(self) -> None:
        """Looks at the store while there are seats; all of them get the very same bytes."""
        cursor: str | None = None
        while self._seats:
            pause = _PAUSE
            try:
                if cursor is None:
                    cursor = await self._reader.cursor()
                    self._begun.set()
                async with aclosing(self._behind(cursor)) as blocks:
                    async for block in blocks:
                        cursor = block.cursor
                        for seat in self._seats:
                            seat.offer(block)
            except StoreError as error:
                self._log.debug("the feed waits for the store", error=str(error))
                pause = _OUTAGE
            await self._clock.sleep(pause)


def _hidden(change: Changed) -> bool:
    """Whether only those with a token may know of it."""
    return bool(change.record.get("private") or change.record.get("draft"))


def _event(change: Changed) -> bytes:
    # JSON has no line breaks of its own, and a cursor none at all.
    return f"id: {change.cursor}\ndata: {to_json(change.document())}\n\n".encode()
