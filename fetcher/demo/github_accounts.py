"""Who asks the local GitHub, and what is left of their limits; tests set both.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

from fetcher.demo.exchange import Call
from fetcher.demo.github_models import GithubApp, GithubUser, Installation
from fetcher.demo.limits import ResettingWindow, SlidingWindow

__all__ = ["GithubAccounts", "Resource"]

Resource: TypeAlias = Literal["core", "graphql"]


class GithubAccounts:
    """Tokens, and the counters of those whom they belong to.

    `limit_status` and `secondary_status` are 403 or 429 (a query that exceeds the secondary
    limit may also get a 200, see `graphql_secondary_status`); `secondary_retry_after` of None
    leaves the header out. `secondary_points` a minute are REST's, `secondary_points_graphql` the
    queries'; `secondary_concurrent` counts both together.

    `apps` and their `installations` get tokens of an hour, of 40 characters or, with
    `long_installation_tokens`, of the newer kind.

    `violations` are the times of requests that came although a limit was known to be used up,
    `most_in_flight` how many requests of one account were under way at once.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.tokens: dict[str, GithubUser] = {}
        self.require_token = False
        self.limit_anonymous = 60
        self.limit_status = 403
        self.secondary_points = 900
        self.secondary_points_graphql = 2000
        self.secondary_concurrent = 100
        self.secondary_status = 403
        self.graphql_secondary_status = 403
        self.secondary_retry_after: int | None = 60
        self.apps: dict[int, GithubApp] = {}
        self.installations: dict[int, Installation] = {}
        self.long_installation_tokens = False
        self.violations: list[float] = []
        self.most_in_flight = 0
        self._budgets: dict[tuple[str, Resource], ResettingWindow] = {}
        self._points: dict[tuple[str, Resource], SlidingWindow] = {}
        self._silent_until: dict[tuple[str, Resource], float] = {}
        self._in_flight: dict[str, int] = {}

    def user(self, call: Call) -> GithubUser | None:
        """The user of the call's token; None for a call without one.

        Raises `PermissionError` for a token that is unknown, revoked or expired.
        """
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        user = self.tokens.get(token.strip()) if scheme.lower() in ("bearer", "token") else None
        if user is None or user.revoked:
            raise PermissionError(token)
        if user.expires_epoch is not None and call.at >= user.expires_epoch:
            raise PermissionError(token)
        return user

    def account(self, call: Call) -> str:
        """The login, or ``ip:ADDRESS`` for a call without a (good) token."""
        try:
            user = self.user(call)
        except PermissionError:
            user = None
        return f"ip:{call.remote}" if user is None else user.login

    def add_app(
        self,
        id: int,  # noqa: A002 - GitHub's own word
        public_key: str,
        client_id: str | None = None,
    ) -> GithubApp:
        """An app that signs with the private key to this public one (PEM)."""
        self.apps[id] = GithubApp(id, public_key, client_id or f"Iv23li{id:014}")
        return self.apps[id]

    def add_installation(
        self,
        app: GithubApp | int,
        id: int,  # noqa: A002 - GitHub's own word
        *,
        repositories: Iterable[str] = (),
        permissions: Mapping[str, str] | None = None,
        limit: int = 5000,
    ) -> Installation:
        """Where the app is installed; by default it may read contents and metadata."""
        app_id = app if isinstance(app, int) else app.id
        allowed = {"contents": "read", "metadata": "read"} if permissions is None else permissions
        self.installations[id] = Installation(
            id, app_id, set(repositories), dict(allowed), limit=limit
        )
        return self.installations[id]

    def revoke(self, token: str) -> None:
        """The token is refused from now on."""
        self.tokens[token].revoked = True

    # --- the hour ---------------------------------------------------------------------------

    def budget(self, account: str, limit: int, resource: Resource = "core") -> ResettingWindow:
        """The hour of an account, of requests or of GraphQL's points."""
        window = self._budgets.setdefault((account, resource), ResettingWindow(limit))
        window.limit = limit
        return window

    def limit(self, user: GithubUser | None, resource: Resource) -> int:
        """How much a user may ask for in an hour; GraphQL has nothing for nobody."""
        if user is None:
            return self.limit_anonymous if resource == "core" else 0
        return user.limit if resource == "core" else user.graphql_limit

    def exhaust(self, account: str, reset_in: float = 3600.0, resource: Resource = "core") -> None:
        """Somebody else has used up the account's hour, which has `reset_in` seconds left."""
        users = (user for user in self.tokens.values() if user.login == account)
        window = self.budget(account, self.limit(next(users, None), resource), resource)
        window.look(self.now())
        window.used, window.reset_epoch = window.limit, float(int(self.now() + reset_in))

    def forget_limits(self) -> None:
        """All budgets are whole again."""
        self._budgets.clear()
        self._points.clear()
        self._silent_until.clear()

    # --- the minute, and how many at once ---------------------------------------------------

    def points(self, account: str, resource: Resource = "core") -> SlidingWindow:
        """The secondary limit's minute of an account."""
        limit = self._minute(resource)
        return self._points.setdefault((account, resource), SlidingWindow(limit, 60.0))

    @contextmanager
    def flight(self, call: Call) -> Iterator[None]:
        """Counts a call as under way."""
        account = self.account(call)
        self._in_flight[account] = self._in_flight.get(account, 0) + 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight[account])
        try:
            yield
        finally:
            self._in_flight[account] -= 1

    def secondary(self, account: str, cost: int, resource: Resource = "core") -> bool:
        """Charges the secondary limits; whether they are exceeded."""
        now = self.now()
        if now < self._silent_until.get((account, resource), 0.0):
            self.violations.append(now)
            return True
        minute = self.points(account, resource)
        crowded = self._in_flight.get(account, 0) > self.secondary_concurrent
        if crowded or minute.count(now) + cost > self._minute(resource):
            self._silent_until[account, resource] = now + (self.secondary_retry_after or 0)
            return True
        minute.spend(now, cost)
        return False

    def _minute(self, resource: Resource) -> int:
        return self.secondary_points if resource == "core" else self.secondary_points_graphql
