"""What the fetcher says to a MongoDB: every command, as the driver sends it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
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


def listen(monkeypatch: pytest.MonkeyPatch, listener: CommandListener) -> None:
    """Lets it hear every client that a store makes from now on, and none of the tests' own."""
    make: Callable[..., Any] = vars(mongo)["AsyncIOMotorClient"]

    def listened(*arguments: Any, **options: Any) -> Any:
        listeners = [listener, *options.pop("event_listeners", ())]
        return make(*arguments, **options, event_listeners=listeners)

    monkeypatch.setattr(mongo, "AsyncIOMotorClient", listened)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """All that stores say from now on."""
    heard = Heard()
    listen(monkeypatch, heard)
    return heard
