"""How much to ask for at once: less where the server gives up, more again when it goes well."""

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["BatchSize", "halves"]

T = TypeVar("T")

# So many answers in a row before more is asked for.
_TRUST = 4
# This part of the most is little: who cannot answer that has other troubles.
_LITTLE = 10


class BatchSize:
    """Halved by each answer that could not be finished, doubled after some that could.

    Additive growth would take too long: sizes span two orders of magnitude, and one failure costs
    ten seconds at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = most
        self._good = 0

    def too_much(self, asked: int) -> bool:
        """`asked` at once was too much; whether that was little."""
        self._good = 0
        self.size = max(1, min(self.size, asked // 2))
        return asked * _LITTLE <= self._most

    def went_well(self, asked: int) -> None:
        """`asked` at once was answered; only whole batches count."""
        if asked < self.size or self.size == self._most:
            return
        self._good += 1
        if self._good >= _TRUST:
            self._good = 0
            self.size = min(self._most, self.size * 2)


def halves(batch: Sequence[T]) -> list[list[T]]:
    """Both halves of a batch, without an empty one."""
    half = len(batch) // 2
    return [part for part in ([*batch[:half]], [*batch[half:]]) if part]
