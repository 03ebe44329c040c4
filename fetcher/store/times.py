"""Times in JSON text, read back: MongoDB gives times, SQLite and blobs give what they hold."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from fetcher.documents import Document

__all__ = ["read_document", "read_time", "read_times"]

# Just what `time_text` writes; an upstream's own "2023-04-05" stays the text that it is.
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?Z", re.ASCII)
# Kinds whose fields have the upstream's own names, and what the fetcher keeps beside them.
_IN_THEIR_WORDS: Final = ("genome", "summary")
_OWN: Final = ("fetched_at", "changed_at", "withdrawn_at")


def read_time(text: str | None) -> datetime | None:
    """A time as `time_text` wrote it."""
    return datetime.fromisoformat(text) if text is not None else None


def read_times(values: dict[str, Any], names: Collection[str] | None = None) -> None:
    """Makes times of times: of values with these `names`, or that end in ``_at`` or ``_date``."""
    for key, value in values.items():
        if names is not None and key not in names:
            continue
        if isinstance(value, str) and key.endswith(("_at", "_date")) and _TIME.fullmatch(value):
            values[key] = datetime.fromisoformat(value)


def read_document(document: Document) -> None:
    """Makes times of a record's times, wherever a document has them."""
    names = _OWN if document["kind"] in _IN_THEIR_WORDS else None
    read_times(document, names)
    for asset in (document.get("assets") or ()) if names is None else ():
        read_times(asset)
    for entry in document["history"]:
        read_times(entry)
        read_times(entry["fields"], names)
        assets = entry["fields"].get("assets") if names is None else None
        for asset in assets if isinstance(assets, list) else ():
            read_times(asset)
    observed = document["observed"]
    observed.update(at=read_time(observed["at"]), updated=read_time(observed["updated"]))
