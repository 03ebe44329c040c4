"""Who may: bearer tokens, compared in constant time, and slow answers to those who guess."""

import base64
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from fetcher.models import Clock

__all__ = ["Access"]

# Seconds that a wrong token waits: more after each, and forgotten after a while without one.
_FIRST: Final = 0.25
_MOST: Final = 8.0
_FORGET: Final = 900.0
# Addresses that are remembered at once.
_ADDRESSES: Final = 4_096


class Access:
    """Knows the tokens; `on_failure` is told of each wrong one."""

    def __init__(self, tokens: Sequence[str], clock: Clock, on_failure: Callable[[], None]) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._clock = clock
        self._on_failure = on_failure
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def knows(self, request: web.Request) -> bool | None:
        """Whether the request brings a token that is right; None where it brings none.

        Returns late for a wrong one, the later the more of them came from its address.
        """
        header = request.headers.get("Authorization")
        if header is None:
            return None
        right = self._right(_given(header))
        if not right:
            self._on_failure()
            await self._clock.sleep(self._delay(request.remote or ""))
        return right

    def _right(self, given: bytes) -> bool:
        # All of them, so that the time tells nothing of which was nearly right.
        found = [hmac.compare_digest(given, token) for token in self._tokens]
        return any(found)

    def _delay(self, address: str) -> float:
        now = self._clock.monotonic()
        failures, last = self._failures.pop(address, (0, now))
        if now - last > _FORGET:
            failures = 0
        self._failures[address] = (failures + 1, now)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        return float(min(_MOST, _FIRST * 2 ** min(failures, 10)))


def _given(header: str) -> bytes:
    """The token: a bearer's, or the password that a browser asked its user for."""
    scheme, _, given = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip().encode()
        case "basic":
            try:
                return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
            except ValueError:
                pass
    return b""
