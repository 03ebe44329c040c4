"""Records that one request gives by the hundred: every name that was asked for ends somehow.

NCBI leaves unknown names out without a word; so those that an answer lacks, or of which it says
nothing sensible, are asked for once more, by themselves, before that counts.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fetcher.documents import Content, Kind
from fetcher.errors import Malformed, NotFound
from fetcher.models import Chunk, Due, Outcome, OutcomeKind, Record
from fetcher.policy.storable import Unstorable, checked
from fetcher.sources.outcomes import ended_by
from fetcher.targets import Target

__all__ = ["Answered", "Directory", "Found", "look_up", "record_of"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A record, and what is asked for by its canonical target from now on."""

    record: Record
    target: Target


Found: TypeAlias = Mapping[str, Answered | Malformed]
"""By the name that was asked: the record, or why it cannot be read."""


def record_of(id_: str, kind: Kind, content: Content, source_url: str) -> Record:
    """A record of what an upstream says in its own words; raises `Malformed`."""
    try:
        return Record(id_, kind, content, source_url, checked(content))
    except Unstorable as error:
        raise Malformed(f"NCBI's record {id_} cannot be stored: it has {error}") from error


class Directory(Protocol):
    """A database that is asked by name, `at_once` names in a request."""

    at_once: int

    async def find(self, names: Sequence[str]) -> Found:
        """Those that it knows; raises `UpstreamError`."""
        ...


async def look_up(
    directory: Directory, dues: Sequence[Due]
) -> AsyncGenerator[Chunk | Outcome, None]:
    """An outcome for each, its record before it; raises `UpstreamError` where no answer comes."""
    waiting: dict[str, list[Due]] = {}
    for due in dues:
        waiting.setdefault(due.target.name, []).append(due)
    unreadable: dict[str, Malformed] = {}
    for _ in range(2):
        if not waiting:
            return
        for name, found in (await directory.find(list(waiting))).items():
            if isinstance(found, Malformed):
                unreadable[name] = found
                continue
            for due in waiting.pop(name, ()):
                record = found.record
                yield Chunk(found.target, record.kind, (record,), asked=due.target)
                yield Outcome(due.target, found.target, OutcomeKind.UNCHANGED, reconciled=True)
    for name, left in waiting.items():
        for due in left:
            unknown = NotFound(f"NCBI {due.target.database} has no record {name}")
            yield ended_by(unreadable.get(name, unknown), due)
