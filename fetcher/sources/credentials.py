"""What an account shows to GitHub: nothing, a token, or an App's token that is renewed in time.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from fetcher.errors import Malformed, NotFound, Unauthorized, UsageError
from fetcher.gate import Gate
from fetcher.models import Clock
from fetcher.policy.verdict import Accept, Fail, Reply, Retry, Verdict, judge_github
from fetcher.transport import Request, Transport

__all__ = ["Anonymous", "Credentials", "Installation", "Token", "shown"]

T = TypeVar("T")

# "The time that the JWT was created. To protect against clock drift, we recommend that you set
# this 60 seconds in the past"; it "can't be more than 10 minutes into the future".
_BACKDATED: Final = timedelta(seconds=60)
_VALID: Final = timedelta(minutes=9)
# A token lives for an hour. It is renewed while the old one is still good, so that no request
# under way loses it.
_RENEWED: Final = timedelta(minutes=10)


class Credentials(Protocol):
    """What goes into the `Authorization` of each request."""

    async def headers(self) -> Mapping[str, str]:
        """The secret headers of a request; raises `UpstreamError` where none can be had."""
        ...

    def refused(self) -> bool:
        """The server did not take them; whether others may be had now."""
        ...


class Anonymous:
    """None at all."""

    async def headers(self) -> Mapping[str, str]:
        """See `Credentials`."""
        return {}

    def refused(self) -> bool:
        """See `Credentials`."""
        return False


class Token:
    """One that somebody made, and may revoke."""

    def __init__(self, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}

    async def headers(self) -> Mapping[str, str]:
        """See `Credentials`."""
        return self._headers

    def refused(self) -> bool:
        """See `Credentials`."""
        return False


class _Granted(BaseModel):
    token: str
    expires_at: AwareDatetime


_GRANTED: Final = TypeAdapter(_Granted)


class Installation:
    """Tokens of an App's installation, each for an hour.

    `private_key` is PEM text; raises `UsageError` where it is no RSA key.
    """

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        clock: Clock,
        *,
        api_url: str,
        app_id: int,
        installation_id: int,
        private_key: str,
        patience: float,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._clock = clock
        self._id = installation_id
        self._url = f"{api_url}/app/installations/{installation_id}/access_tokens"
        self._app_id = app_id
        self._private_key = private_key
        self._patience = patience
        self._turn = asyncio.Lock()
        self._granted: _Granted | None = None
        self._signed()  # a key that is none is told of at the start

    async def headers(self) -> Mapping[str, str]:
        """See `Credentials`."""
        async with self._turn:
            granted = self._granted
            if granted is None or granted.expires_at - self._now() < _RENEWED:
                granted = self._granted = await self._grant()
            return {"Authorization": f"Bearer {granted.token}"}

    def refused(self) -> bool:
        """See `Credentials`: a token may be revoked before its hour is over."""
        had, self._granted = self._granted, None
        return had is not None

    async def _grant(self) -> _Granted:
        granted: list[_Granted] = []

        def judge(reply: Reply, now: float) -> Verdict:
            verdict = judge_github(reply, now)
            if isinstance(verdict, Accept):
                try:
                    granted[:] = [_GRANTED.validate_json(reply.body)]
                except ValidationError:
                    return Retry(Malformed("GitHub grants no token that can be read"))
            elif isinstance(verdict, Fail) and isinstance(verdict.error, NotFound | Unauthorized):
                said = verdict.error if isinstance(verdict.error, Unauthorized) else "unknown"
                text = f"GitHub gives no token for installation {self._id} of the App: {said}"
                return Fail(Unauthorized(text, verdict.error.evidence, whole_account=True))
            return verdict

        request = Request(
            "POST",
            self._url,
            self._gate,
            body=b"{}",
            headers={"Accept": "application/vnd.github+json"},
            secret_headers={"Authorization": f"Bearer {self._signed()}"},
        )
        await self._transport.send(request, judge, patience=self._patience)
        return granted[0]

    def _signed(self) -> str:
        # Only who has an App pays for the import.
        import jwt

        now = self._now()
        claims = {"iat": now - _BACKDATED, "exp": now + _VALID, "iss": str(self._app_id)}
        try:
            return jwt.encode(claims, self._private_key, algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            text = f"the private key of the GitHub App {self._app_id} is no RSA key in PEM form"
            raise UsageError(text) from error

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


async def shown(credentials: Credentials, send: Callable[[Mapping[str, str]], Awaitable[T]]) -> T:
    """Sends with credentials, once more with new ones where the server did not take them."""
    try:
        return await send(await credentials.headers())
    except Unauthorized as error:
        if not (error.whole_account and credentials.refused()):
            raise
        return await send(await credentials.headers())
