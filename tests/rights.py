"""Which rights a MongoDB wants for what the fetcher says to it, and which ones it has."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

__all__ = ["ROLES", "Wanted"]

SCRIPT = Path(__file__).parent.parent / "docs" / "deploy" / "mongodb-users.js"


def _roles() -> Mapping[str, frozenset[str]]:
    told = re.search(r"const may = (\{.+?\});", SCRIPT.read_text("utf-8"), re.DOTALL)
    assert told is not None
    return {name: frozenset(actions) for name, actions in json.loads(told[1]).items()}


ROLES = _roles()

# Who has let themselves in may always do these; the last, with what they began themselves.
_FREE = {"hello", "ismaster", "ping", "endSessions", "saslStart", "saslContinue", "killCursors"}
# https://www.mongodb.com/docs/manual/reference/privilege-actions/ and the page of each command
_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "find": ("find",),
    "getMore": ("find",),
    "count": ("find",),
    "insert": ("insert",),
    "delete": ("remove",),
    "createIndexes": ("createIndex",),
    "listIndexes": ("listIndexes",),
}


def _actions(name: str, sent: Mapping[str, Any]) -> Iterator[str]:
    if name in _FREE:
        return
    if name == "update":
        yield "update"
        if any(each.get("upsert") for each in sent["updates"]):
            yield "insert"
    elif name == "findAndModify":
        yield "find"
        yield "remove" if sent.get("remove") else "update"
        if sent.get("upsert"):
            yield "insert"
    elif name == "aggregate" and not any(
        {"$out", "$merge"} & set(each) for each in sent["pipeline"]
    ):
        yield "find"
    else:
        yield from _ACTIONS.get(name, (f"whatever {name} wants",))


class Wanted(CommandListener):
    """The actions that are wanted for all that was sent."""

    def __init__(self) -> None:
        self.actions: set[str] = set()
        self.databases: set[str] = set()

    def started(self, event: CommandStartedEvent) -> None:
        """Called by the driver."""
        actions = set(_actions(event.command_name, event.command))
        self.actions |= actions
        if actions:
            self.databases.add(event.database_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing."""
