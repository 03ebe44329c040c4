"""A clock of the tests' own: sleeping takes no time."""

import asyncio

__all__ = ["FakeClock"]


class FakeClock:
    """Time moves only when somebody sleeps; implements `fetcher.models.Clock`.

    A sleeper yields to the event loop before time moves, so that what others do meanwhile
    happens before; who sleeps shorter wakes earlier. With a `step` no more than that many
    seconds pass in a real millisecond, so that work that takes real time is not slept through.
    """

    def __init__(self, start: float = 1_764_000_000.0, *, step: float | None = None) -> None:
        self._start = start
        self._step = step
        self._passed = 0.0
        self._wakes: list[float] = []
        self.slept: list[float] = []

    def time(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return self._passed

    def advance(self, seconds: float) -> None:
        """Lets time pass without anybody asleep."""
        self._passed += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        self._start += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = self._passed + max(0.0, seconds)
        self._wakes.append(wake)
        try:
            while True:
                # A real millisecond, so that what is under way on loopback can arrive.
                await asyncio.sleep(0.001)
                if min(self._wakes) == wake:
                    if self._step is None or wake - self._passed <= self._step:
                        break
                    self._passed += self._step
        finally:
            self._wakes.remove(wake)
        self._passed = max(self._passed, wake)
