"""What is known of a query's changes, by the day: pure.

Entrez tells the day on which a record was modified, and no more. So a record that is fetched on
that day may change again and look the same: whatever was modified lately is fetched once when it
is first seen, and once more when its day is over.
https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESearch
"""

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any, Final

__all__ = ["LAG", "Ledger", "Window", "is_over"]

LAG: Final = timedelta(days=2)
"""After this a day is over everywhere, and in NCBI's index."""


def is_over(day: date, today: date) -> bool:
    """Whether nothing can have been modified on `day` any more that is not to be seen `today`."""
    return day + LAG <= today


REMEMBERED: Final = 10_000
"""Names that a window remembers; beyond, it goes by their number until the day is over."""


class Ledger:
    """A set of names in eight bytes each; two names in 10^19 are taken for one."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._marks = array("Q", map(_mark, names))
        self._sorted = False

    def __len__(self) -> int:
        self._sort()
        return len(self._marks)

    def __contains__(self, name: str) -> bool:
        self._sort()
        mark = _mark(name)
        at = bisect_left(self._marks, mark)
        return at < len(self._marks) and self._marks[at] == mark

    def add(self, names: Iterable[str]) -> None:
        """Takes names in; cheap as long as nothing is asked in between."""
        self._marks.extend(map(_mark, names))
        self._sorted = False

    def text(self) -> str:
        """As a cursor keeps it."""
        self._sort()
        return b64encode(self._marks.tobytes()).decode()

    @classmethod
    def of(cls, text: str) -> "Ledger":
        """What `text` gave; raises `ValueError` for anything else."""
        ledger = cls()
        ledger._marks.frombytes(b64decode(text, validate=True))
        return ledger

    def _sort(self) -> None:
        if not self._sorted:
            self._marks = array("Q", sorted(set(self._marks)))
            self._sorted = True


@dataclass(frozen=True, slots=True)
class Window:
    """What was modified up to the day `settled` has been fetched when that day was over.

    Of what was modified later, `seen` are the names that have been fetched, `number` is how many
    there were; without `seen` they were too many to remember.
    """

    settled: date
    number: int
    seen: Ledger | None

    @classmethod
    def after(cls, settled: date, names: "Ledger") -> "Window":
        """A window behind which everything is settled, and in which `names` were fetched."""
        number = len(names)
        return cls(settled, number, names if number <= REMEMBERED else None)

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> "Window | None":
        """What a cursor says; None where it says nothing that can be relied on."""
        try:
            found = (cursor or {})["window"]
            seen = Ledger.of(found["seen"]) if found["seen"] is not None else None
            return cls(date.fromisoformat(found["settled"]), int(found["number"]), seen)
        except (KeyError, TypeError, ValueError):
            return None

    def cursor(self) -> Mapping[str, Any]:
        """For `of`."""
        seen = self.seen.text() if self.seen is not None else None
        told = {"settled": self.settled.isoformat(), "number": self.number, "seen": seen}
        return {"window": told}

    def news(self, names: Iterable[str], number: int) -> list[str]:
        """Those of the names found now (`number` in all) that are to be fetched."""
        if self.seen is None:
            return [] if number == self.number else list(names)
        return [name for name in names if name not in self.seen]


def _mark(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
