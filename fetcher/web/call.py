"""What a handler of the API is given, and what it may raise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from fetcher.models import TargetState
from fetcher.reader import Reader
from fetcher.web.stream import Hub

__all__ = ["Absent", "Call", "Poller"]


class Absent(Exception):
    """There is no such thing, or nobody without a token may know of it: 404, and what to do."""


class Poller(Protocol):
    """Who has targets polled: what asks is handed in, the API itself writes nothing."""

    async def poll_soon(self, state: TargetState, *, full: bool) -> bool:
        """Asks whoever leads its account; False for a target that nobody watches."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `values` are its parameters, `may` says that it brought a right token."""

    request: web.Request
    reader: Reader
    values: Mapping[str, Any]
    may: bool
    poller: Poller | None = None
    hub: Hub | None = None
