"""Records that one request gives by the hundred: every name that was asked for ends somehow.

NCBI leaves unknown names out without a word; so those that an answer lacks are asked for once
more, by themselves, before they count as unknown.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fetcher.errors import NotFound
from fetcher.models import Chunk, Due, Outcome, OutcomeKind, Record
from fetcher.sources.outcomes import ended_by
from fetcher.targets import Target

__all__ = ["Answered", "Directory", "look_up"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A record, and what is asked for by its canonical target from now on."""

    record: Record
    target: Target


class Directory(Protocol):
    """A database that is asked by name, `at_once` names in a request."""

    at_once: int

    async def find(self, names: Sequence[str]) -> Mapping[str, Answered]:
        """Those that it knows, by the name that was asked; raises `UpstreamError`."""
        ...


async def look_up(
    directory: Directory, dues: Sequence[Due]
) -> AsyncGenerator[Chunk | Outcome, None]:
    """An outcome for each, its record before it; raises `UpstreamError` where no answer comes."""
    waiting: dict[str, list[Due]] = {}
    for due in dues:
        waiting.setdefault(due.target.name, []).append(due)
    for _ in range(2):
        if not waiting:
            return
        for name, found in (await directory.find(list(waiting))).items():
            for due in waiting.pop(name, ()):
                record = found.record
                yield Chunk(found.target, record.kind, (record,), asked=due.target)
                yield Outcome(due.target, found.target, OutcomeKind.UNCHANGED, reconciled=True)
    for name, left in waiting.items():
        for due in left:
            text = f"NCBI {due.target.database} has no record {name}"
            yield ended_by(NotFound(text), due)
