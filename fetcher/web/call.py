"""What a handler of the API is given, and what it may raise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from fetcher.models import TargetState
from fetcher.reader import Reader
from fetcher.targets import Target
from fetcher.web.stream import Hub

__all__ = ["Absent", "Call", "Poller", "Watcher"]


class Absent(Exception):
    """There is no such thing, or nobody without a token may know of it: 404, and what to do."""


class Poller(Protocol):
    """Who has targets polled: what asks is handed in, the API itself writes nothing."""

    async def poll_soon(self, state: TargetState, *, full: bool) -> bool:
        """Asks whoever leads its account; False for a target that nobody watches."""
        ...


class Watcher(Protocol):
    """Who has targets watched and forgotten."""

    async def watch(self, target: Target, every: str) -> TargetState:
        """From now on, so often."""
        ...

    async def forget(self, target: Target, *, purge: bool) -> object | None:
        """No longer; None where it is not known."""
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
    watcher: Watcher | None = None
