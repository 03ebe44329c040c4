"""The door of one upstream account: no request leaves without passing its budget."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from fetcher.errors import RateLimited
from fetcher.models import Clock
from fetcher.policy.budget import Budget, Quota, Ticket

__all__ = ["DATASETS", "GRAPHQL", "REST", "Door", "DoubleDoor", "Gate", "Wait"]

GRAPHQL: Final = "graphql"
REST: Final = "rest"
"""Under this name an account that asks by GraphQL keeps what is left of REST's quota."""
DATASETS: Final = "datasets"
"""Under this name an NCBI account keeps what it has sent to Datasets."""

# Waits shorter than this are the account's own pace and not worth a word.
_WORTH_TELLING = 1.0
# A lease that could not be renewed comes back, or its holder ends.
_LEASE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait for a limit, told to whoever looks on."""

    seconds: float
    reason: str


class Door(Protocol):
    """What the holder of an account's lease sees of its gates."""

    @property
    def spent(self) -> int:
        """Requests, or points, that were let through."""
        ...

    def held_while(self, may_send: Callable[[], bool]) -> None:
        """Lets requests through only while this says so: while the account's lease is ours."""
        ...

    def closed_for(self) -> float:
        """Seconds until a request may go, as far as is known; 0.0 means now."""
        ...

    def room(self) -> int | None:
        """Targets that may be polled before the next reset, where the server says it."""
        ...

    def quotas(self) -> Mapping[str, Quota]:
        """What the server says that is left, by what it counts, as far as that is known."""
        ...

    def urgent(self) -> AbstractContextManager[None]:
        """Somebody waits for what is polled meanwhile: the account's reserve is open."""
        ...

    def dump(self) -> dict[str, Any]:
        """What the next holder of the account's lease must know."""
        ...

    def load(self, state: Mapping[str, Any], *, silent_for: float | None = None) -> None:
        """Takes over what the last holder of the lease left; see `Budget.load`."""
        ...


class Gate:
    """Lets requests of one account through, first come first served.

    `in_flight` bounds how many are under way at once. `spent` counts what was let through.
    """

    def __init__(self, name: str, budget: Budget, clock: Clock, *, in_flight: int) -> None:
        self.name = name
        self.spent = 0
        self._budget = budget
        self._clock = clock
        self._may_send: Callable[[], bool] = lambda: True
        self._queue = asyncio.Lock()
        self._slots = asyncio.Semaphore(in_flight)
        self._told: list[Callable[[float], None]] = []

    async def enter(
        self, cost: int, until: float, on_wait: Callable[[Wait], None] | None = None
    ) -> Ticket:
        """Waits for a place and charges it; `leave` must follow.

        Raises `RateLimited` at once when the wait would pass `until` (monotonic seconds).
        """
        self._wait(cost, until)
        await self._slots.acquire()
        try:
            return await self._pass(cost, until, on_wait)
        except BaseException:
            self._slots.release()
            raise

    async def again(
        self,
        ticket: Ticket,
        cost: int,
        until: float,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> Ticket:
        """Charges a request that is sent once more; its first ticket has had no answer."""
        self.answered(ticket, None)
        return await self._pass(cost, until, on_wait)

    async def _pass(
        self, cost: int, until: float, on_wait: Callable[[Wait], None] | None
    ) -> Ticket:
        # Before queueing: who stands in front may be far more patient, and holds the queue.
        self._wait(cost, until)
        async with self._queue:
            return await self._charged(cost, until, on_wait)

    async def _charged(
        self, cost: int, until: float, on_wait: Callable[[Wait], None] | None
    ) -> Ticket:
        while True:
            while not self._may_send():
                await self._clock.sleep(_LEASE_SECONDS)
            wait = self._wait(cost, until)
            if wait <= 0.0:
                self.spent += cost
                return self._budget.charge(self._clock.monotonic(), cost)
            if on_wait is not None and wait >= _WORTH_TELLING:
                on_wait(Wait(wait, f"rate limit of {self.name}"))
            await self._clock.sleep(wait)

    def _wait(self, cost: int, until: float) -> float:
        """Seconds until a place is free; raises `RateLimited` when that is past `until`."""
        now = self._clock.monotonic()
        wait = self._budget.delay(now, cost)
        if wait > 0.0 and now + wait > until:
            at = datetime.fromtimestamp(self._clock.time() + wait, UTC)
            raise RateLimited(
                f"the rate limit of {self.name} is used up until {at:%H:%M:%S} UTC "
                f"({wait:.0f} s), which is longer than this may wait",
                at,
            )
        return wait

    def answered(self, ticket: Ticket, headers: Mapping[str, str] | None) -> None:
        """The head of the answer came, or (None) there will be none."""
        self._budget.answered(ticket, self._clock.monotonic(), headers, self._clock.time())

    def leave(self, ticket: Ticket) -> None:
        """The exchange is over."""
        self.answered(ticket, None)
        self._slots.release()

    def limited(self, wait: float, *, named: bool) -> float:
        """The server limits the account; gives the seconds that nothing goes."""
        now = self._clock.monotonic()
        wait = self._budget.limited(now, wait, named=named)
        for tell in self._told:
            tell(wait)
        return wait

    def park(self, seconds: float) -> None:
        """Nothing goes for so long."""
        self._budget.park(self._clock.monotonic() + seconds)

    def tell_limits(self, tell: Callable[[float], None]) -> None:
        """Tells of the seconds that each limit takes."""
        self._told.append(tell)

    def went_well(self) -> None:
        """An answer was accepted."""
        self._budget.went_well()

    def held_while(self, may_send: Callable[[], bool]) -> None:
        """Lets requests through only while this says so: while the account's lease is ours."""
        self._may_send = may_send

    def closed_for(self) -> float:
        """Seconds until a request may go, as far as is known; 0.0 means now."""
        return self._budget.delay(self._clock.monotonic())

    def room(self) -> int | None:
        """Requests that are left before the next reset, where the server says it."""
        return self._budget.left(self._clock.monotonic())

    def quota(self) -> Quota | None:
        """See `Budget`."""
        return self._budget.quota(self._clock.monotonic())

    def quotas(self) -> Mapping[str, Quota]:
        """See `Door`."""
        quota = self.quota()
        return {REST: quota} if quota is not None else {}

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """See `Door`."""
        self._budget.urgent += 1
        try:
            yield
        finally:
            self._budget.urgent -= 1

    def dump(self) -> dict[str, Any]:
        """What the next holder of the account's lease must know."""
        return self._budget.dump(self._clock.monotonic(), self._clock.time())

    def load(self, state: Mapping[str, Any], *, silent_for: float | None = None) -> None:
        """Takes over what the last holder of the lease left; see `Budget.load`."""
        now, epoch = self._clock.monotonic(), self._clock.time()
        self._budget.load(state, now, epoch, silent_for=silent_for)


class DoubleDoor:
    """Two gates of one account: most goes by the main one, one of its points for `each` targets.

    What the second one has sent is kept under the name `other`. Limits that are counted
    `together` close both: GitHub counts requests and points apart, and some limits together.
    """

    def __init__(
        self, main: Gate, second: Gate, *, each: int, other: str = REST, together: bool = True
    ) -> None:
        if together:
            main.tell_limits(second.park)
            second.tell_limits(main.park)
        self._main = main
        self._other = second
        self._each = each
        self._name = other

    @property
    def spent(self) -> int:
        """See `Door`."""
        return self._main.spent + self._other.spent

    def held_while(self, may_send: Callable[[], bool]) -> None:
        """See `Door`."""
        self._main.held_while(may_send)
        self._other.held_while(may_send)

    def closed_for(self) -> float:
        """See `Door`."""
        return self._main.closed_for()

    def room(self) -> int | None:
        """See `Door`."""
        left = self._main.room()
        return left * self._each if left is not None else None

    def quotas(self) -> Mapping[str, Quota]:
        """See `Door`."""
        quota = self._main.quota()
        return {**({GRAPHQL: quota} if quota is not None else {}), **self._other.quotas()}

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """See `Door`."""
        with self._main.urgent(), self._other.urgent():
            yield

    def dump(self) -> dict[str, Any]:
        """See `Door`."""
        return {**self._main.dump(), self._name: self._other.dump()}

    def load(self, state: Mapping[str, Any], *, silent_for: float | None = None) -> None:
        """See `Door`."""
        self._main.load(state, silent_for=silent_for)
        self._other.load(state.get(self._name, {}), silent_for=silent_for)
