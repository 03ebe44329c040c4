"""A query's whole result, in slices that one search can reach.

https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESearch: a search reaches its first 10,000
records. What finds more is cut by the day of modification, and a day that still finds more by the
length of the sequences.
"""

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from fetcher.sources.eutils import SEARCH_REACH, Days, Eutils
from fetcher.sources.wire_ncbi import Found

__all__ = ["FIRST_DAY", "LAST_DAY", "Slice", "slices"]

# GenBank is of 1982. Days that have not come yet do no harm, and clocks differ.
FIRST_DAY: Final = date(1980, 1, 1)
LAST_DAY: Final = date(2100, 12, 31)
_LONGEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of what a term finds; None does not limit."""

    term: str
    days: Days | None = None
    lengths: tuple[int, int] | None = None

    def words(self) -> str:
        """The term as it is searched for."""
        if self.lengths is None:
            return self.term
        low, high = self.lengths
        return f"({self.term}) AND {low}:{high}[SLEN]"

    def halves(self, today: date) -> "tuple[Slice, Slice] | None":
        """Two that make up this one, the older first; None where it cannot be cut.

        What is modified while all is read moves to the last day, which is read last.
        """
        first, last = self.days or (FIRST_DAY, LAST_DAY)
        if first < last:
            # Half of all records are of the last years; what is to come is none.
            recent = min(last, max(today, first + timedelta(days=1)))
            middle = first + (recent - first) // 2
            return (
                replace(self, days=(first, middle)),
                replace(self, days=(middle + timedelta(days=1), last)),
            )
        low, high = self.lengths or (0, _LONGEST)
        if low == high:
            return None
        cut = min(high - 1, math.isqrt((low + 1) * (high + 1)))
        return (
            replace(self, days=(first, last), lengths=(low, cut)),
            replace(self, days=(first, last), lengths=(cut + 1, high)),
        )


async def slices(
    eutils: Eutils, database: str, whole: Slice, today: date
) -> AsyncGenerator[tuple[Slice, Found], None]:
    """Searches of which each reaches all that it finds; the first one tells how much there is.

    The first is the whole: where that is too much it comes without names, and its parts follow.
    One that cannot be cut further comes with the names that are within reach.
    """
    waiting: list[tuple[Slice, int | None]] = [(whole, None)]
    while waiting:
        part, count = waiting.pop()
        halves = part.halves(today)
        if count is None or count <= SEARCH_REACH or halves is None:
            found = await eutils.search(database, part.words(), days=part.days)
            if count is None and waiting:
                # What the first half has not is in the second, which may be too much for sure.
                second, both = waiting.pop()
                waiting.append((second, (both or 0) - found.count))
            count = found.count
            if count <= SEARCH_REACH or halves is None:
                yield part, found
                continue
            if part == whole:
                yield part, replace(found, ids=())
        waiting += ((halves[1], count), (halves[0], None))
