"""NCBI sequence records by accession and by query, every id accounted for.

NCBI leaves unknown ids out without a word, puts error documents between records, and cuts long
answers short. So every answer is reconciled: what was asked for and did not come is asked for
again, and what does not come then is missing, by name.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import date

from fetcher.errors import UpstreamError
from fetcher.fan import fan_out
from fetcher.models import Chunk, Due, Expected, Known, Outcome
from fetcher.sources.eutils import Eutils
from fetcher.sources.ncbi_accessions import Accessions, Group, groups_of
from fetcher.sources.ncbi_queries import Queries
from fetcher.sources.outcomes import AccountStop, ended_by

__all__ = ["NcbiSource"]


class NcbiSource:
    """Records of nuccore and protein; `today` is the day now, in UTC."""

    def __init__(self, eutils: Eutils, today: Callable[[], date], *, workers: int = 4) -> None:
        self._eutils = eutils
        self._accessions = Accessions(eutils, today)
        self._queries = Queries(eutils, today)
        self._workers = workers

    async def reach(self) -> str:
        """Whether NCBI answers; raises `UpstreamError`."""
        return await self._eutils.reach()

    async def poll(
        self, due: Sequence[Due], known: Known
    ) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
        """Accessions of all targets share requests; each query is a job of its own."""
        stop = AccountStop()

        async def work(job: Group | Due) -> AsyncGenerator[Chunk | Expected | Outcome, None]:
            left = {each.target: each for each in (job.dues() if isinstance(job, Group) else [job])}
            if stop.error is None:
                steps = (
                    self._accessions.poll(job, known)
                    if isinstance(job, Group)
                    else self._queries.poll(job, known, stop)
                )
                try:
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

        async with aclosing(fan_out(_jobs(due), work, workers=self._workers)) as items:
            async for item in items:
                yield item


def _jobs(due: Sequence[Due]) -> Iterator[Group | Due]:
    yield from groups_of(each for each in due if not each.target.is_query)
    yield from (each for each in due if each.target.is_query)
