"""The door of the HTTP server: how many may be inside, and nobody who does nothing for long.

aiohttp limits the size and the number of headers and closes idle connections, but waits for the
first request, and for readers that do not read, as long as they please.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

__all__ = ["Doorman"]

# Seconds in which the first request's headers must have come, as nginx and Apache have it.
_HEADERS: Final = 20.0
# Seconds in which something of an answer must have been taken.
_STALLED: Final = 30.0
_END: Final = b"\r\n\r\n"


class Doorman:
    """Makes the protocol of each connection, as `loop.create_server` wants it.

    `most` connections may be open at once; `on_refused` is told of each one more, which is closed.
    """

    def __init__(
        self,
        inner: Callable[[], asyncio.Protocol],
        most: int,
        on_refused: Callable[[], None],
        *,
        headers: float = _HEADERS,
        stalled: float = _STALLED,
    ) -> None:
        self._inner = inner
        self._most = most
        self._on_refused = on_refused
        self._headers = headers
        self._stalled = stalled
        self._inside = 0

    def __call__(self) -> asyncio.Protocol:
        """The protocol of one connection."""
        return _Visitor(self._inner, self, self._headers, self._stalled)

    def enter(self) -> bool:
        """Whether there is room for one more, who is inside then."""
        if self._inside >= self._most:
            self._on_refused()
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        """One who was inside is not any more."""
        self._inside -= 1


class _Visitor(asyncio.Protocol):
    """Hands everything on to the server's own protocol, and looks at the clock."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        door: Doorman,
        headers: float,
        stalled: float,
    ) -> None:
        self._make = make
        self._door = door
        self._headers = headers
        self._stalled = stalled
        self._protocol: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail: bytes | None = b""
        self._buffered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._door.enter():
            self._transport.abort()
            return
        self._protocol = self._make()
        self._timer = asyncio.get_running_loop().call_later(self._headers, self._transport.abort)
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._protocol is not None:
            self._door.leave()
            self._protocol.connection_lost(exc)
            self._protocol = None

    def data_received(self, data: bytes) -> None:
        if self._tail is not None:
            joined = self._tail + data
            if _END in joined:
                self._tail = None
                self._disarm()
            else:
                self._tail = joined[-3:]
        if self._protocol is not None:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received() if self._protocol is not None else None

    def pause_writing(self) -> None:
        assert self._transport is not None  # noqa: S101 - it writes
        self._buffered = self._transport.get_write_buffer_size()
        self._look_again()
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._disarm()
        if self._protocol is not None:
            self._protocol.resume_writing()

    def _look_again(self) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(self._stalled, self._still_there)

    def _still_there(self) -> None:
        """A large answer may take its time, as long as something of it goes out."""
        assert self._transport is not None  # noqa: S101 - it writes
        buffered = self._transport.get_write_buffer_size()
        if buffered >= self._buffered:
            self._transport.abort()
            return
        self._buffered = buffered
        self._look_again()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
