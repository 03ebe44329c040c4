"""NCBI records: sequences by accession and by query, all else by name; every id accounted for.

NCBI leaves unknown ids out without a word, puts error documents between records, and cuts long
answers short. So every answer is reconciled: what was asked for and did not come is asked for
again, and what does not come then is missing, by name.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date

from fetcher.errors import UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Expected, Known, Outcome
from fetcher.sources.eutils import Eutils
from fetcher.sources.lookups import Directory, look_up
from fetcher.sources.ncbi_accessions import Accessions, Group, groups_of
from fetcher.sources.ncbi_queries import Queries
from fetcher.sources.outcomes import AccountStop, ended_by

__all__ = ["NcbiSource"]


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Targets of one database that are asked for together."""

    directory: Directory
    due: Sequence[Due]


_Job = Group | _Lookup | Due


class NcbiSource:
    """Records of nuccore and protein, and of the `directories`, by the names of their databases.

    `today` is the day now, in UTC.
    """

    def __init__(
        self,
        eutils: Eutils,
        today: Callable[[], date],
        directories: Mapping[str, Directory],
        *,
        workers: int = 4,
    ) -> None:
        self._eutils = eutils
        self._directories = directories
        self._accessions = Accessions(eutils, today)
        self._queries = Queries(eutils, today)
        self._workers = workers

    async def reach(self) -> str:
        """Whether NCBI answers; raises `UpstreamError`."""
        return await self._eutils.reach()

    async def poll(
        self, due: Sequence[Due], known: Known
    ) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
        """Names of all targets share requests; each query is a job of its own."""
        # Each upstream of its own limits stops for itself.
        stops = (AccountStop(), AccountStop())

        async def work(job: _Job) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
            left = {each.target: each for each in _dues(job)}
            stop = stops[next(iter(left)).database == "genome"]
            if stop.error is None:
                try:
                    steps = self._steps(job, known, stop)
                    async with aclosing(steps):
                        async for item in steps:
                            stop.heard()
                            if isinstance(item, Outcome):
                                left.pop(item.asked, None)
                            yield item
                except UpstreamError as error:
                    stop.learn(error)
                    for each in left.values():
                        yield ended_by(error, each)
                return
            for each in left.values():
                yield ended_by(stop.error, each)

        jobs = fan_out(self._jobs(due), work, workers=self._workers, ahead=2)
        async with aclosing(jobs) as items:
            async for item in items:
                yield item

    def _steps(
        self, job: _Job, known: Known, stop: AccountStop
    ) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
        match job:
            case Group():
                return self._accessions.poll(job, known)
            case _Lookup():
                return look_up(job.directory, job.due)
            case _:
                return self._queries.poll(job, known, stop)

    def _jobs(self, due: Sequence[Due]) -> Iterator[_Job]:
        named: dict[str, list[Due]] = {}
        for each in due:
            if each.target.database in self._directories:
                named.setdefault(each.target.database, []).append(each)
        yield from groups_of(
            each
            for each in due
            if not each.target.is_query and each.target.database not in self._directories
        )
        for database, mine in named.items():
            directory = self._directories[database]
            for at in range(0, len(mine), directory.at_once):
                yield _Lookup(directory, mine[at : at + directory.at_once])
        yield from (each for each in due if each.target.is_query)


def _dues(job: _Job) -> Sequence[Due]:
    match job:
        case Group():
            return job.dues()
        case _Lookup():
            return job.due
        case _:
            return [job]
