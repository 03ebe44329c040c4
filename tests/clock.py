"""Clocks of the tests' own: sleeping takes no time."""

import asyncio
import bisect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fetcher.store import WriteStore

__all__ = ["FakeClock", "StillClock", "Working"]

# So many turns of the event loop without work mean that everybody waits.
_STILL: Final = 30


class FakeClock:
    """Time moves only when somebody sleeps; implements `fetcher.models.Clock`.

    A sleeper yields to the event loop before time moves, so that what others do meanwhile
    happens before; who sleeps shorter wakes earlier.
    """

    def __init__(self, start: float = 1_764_000_000.0) -> None:
        self._start = start
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
                    break
        finally:
            self._wakes.remove(wake)
        self._passed = max(self._passed, wake)


class StillClock:
    """Time moves to the next sleeper's wake once nobody works; `fetcher.models.Clock`.

    `working` counts what takes real time, such as calls to a store (`Working`): it takes none of
    this clock's.
    """

    def __init__(self, start: float = 1_764_000_000.0) -> None:
        self.working = 0
        self._start = start
        self._passed = 0.0
        self._wakes: list[float] = []

    def time(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return self._passed

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        self._start += seconds

    async def sleep(self, seconds: float) -> None:
        wake = self._passed + max(0.0, seconds)
        bisect.insort(self._wakes, wake)
        try:
            still = 0
            while still < _STILL:
                await asyncio.sleep(0.0002 if self.working else 0)
                still = 0 if self.working or self._wakes[0] != wake else still + 1
        finally:
            self._wakes.remove(wake)
        self._passed = max(self._passed, wake)


class Working:
    """A store that tells the clock when it is at work; `fails` may raise in place of a call."""

    def __init__(
        self, store: WriteStore, clock: StillClock, fails: Callable[[str], None] = lambda name: None
    ) -> None:
        self._store = store
        self._clock = clock
        self.fails = fails

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        if name in ("targets", "watched", "records", "changes", "ids"):
            made: Callable[..., Any] = method
            return made

        async def call(*args: object, **options: object) -> Any:
            self.fails(name)
            self._clock.working += 1
            try:
                done: Awaitable[Any] = method(*args, **options)
                return await done
            finally:
                self._clock.working -= 1

        return call
