"""What the fetcher says to a MongoDB: every command, as the driver sends it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from fetcher.store import mongo

__all__ = ["Heard", "heard", "listen"]


class Heard(CommandListener):
    """All commands that were sent, with their names and databases."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str, Mapping[str, Any]]] = []
        self.done: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Keeps it."""
        self.commands.append((event.command_name, event.database_name, dict(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Keeps its name."""
        self.done.append(event.command_name)

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing."""


def listen(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Hears every client that a store makes from now on, and none of the tests' own."""
    heard = Heard()
    make: Callable[..., Any] = AsyncIOMotorClient

    def listened(*arguments: Any, **options: Any) -> Any:
        return make(*arguments, **options, event_listeners=[heard])

    monkeypatch.setattr(mongo, "AsyncIOMotorClient", listened)
    return heard


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    return listen(monkeypatch)
