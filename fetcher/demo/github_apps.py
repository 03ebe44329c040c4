"""GitHub Apps: a signed word of the app itself is exchanged for a token of an installation.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
The messages are those that api.github.com was seen to give.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import jwt
from jwt.types import Options

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.github_answers import refusal
from fetcher.demo.github_models import GithubApp, GithubUser, Installation, stamp
from fetcher.demo.github_state import GithubState

__all__ = ["GithubApps"]

UNDECODABLE: Final = "A JSON web token could not be decoded"
ISSUED: Final = (
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was "
    "issued"
)
EXPIRES: Final = (
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
    "which the assertion expires"
)
TOO_FAR: Final = "'Expiration time' claim ('exp') is too far in the future"
LONGEST: Final = 600
LIFETIME: Final = 3600
PATH: Final = re.compile(r"/app/installations/(\d+)/access_tokens")
# Times are checked by the demo's clock, in GitHub's words.
UNTIMED: Final[Options] = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class GithubApps:
    """Issues installation tokens; what they may do is the installation's."""

    def __init__(self, state: GithubState) -> None:
        self._state = state
        self._issued = 0

    def answer(self, call: Call) -> Answer:
        """The answer to a call of an app itself; no limit is told or counted here."""
        try:
            found = PATH.fullmatch(call.path)
            app = self._app(call)
            if found is None or call.method != "POST":
                raise refusal(404, "Not Found")
            installation = self._state.installations.get(int(found[1]))
            if installation is None or installation.app_id != app.id:
                raise refusal(404, "Not Found")
            if installation.suspended:
                raise refusal(403, "This installation has been suspended")
            return self._issue(call, installation)
        except Refused as refused:
            return refused.answer

    def _app(self, call: Call) -> GithubApp:
        """Whose word it is, if it is good."""
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise refusal(401, UNDECODABLE)
        claimed = _claims(token, None)
        app = self._issuer(claimed.get("iss"))
        claims = _claims(token, app.public_key)
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or issued > call.at:
            raise refusal(401, ISSUED)
        if not isinstance(expires, int | float) or expires <= call.at:
            raise refusal(401, EXPIRES)
        if expires > call.at + LONGEST:
            raise refusal(401, TOO_FAR)
        return app

    def _issuer(self, issuer: object) -> GithubApp:
        """The app by its id, or by its client id."""
        for app in self._state.apps.values():
            if issuer is not None and str(issuer) in (str(app.id), app.client_id):
                return app
        if not str(issuer).isdecimal():
            raise refusal(401, "'Issuer' claim ('iss') must be an Integer")
        raise refusal(404, "Integration not found")

    def _issue(self, call: Call, installation: Installation) -> Answer:
        asked = _body(call)
        permissions = dict(asked.get("permissions") or installation.permissions)
        for name, level in permissions.items():
            if level not in (installation.permissions.get(name), "read") or (
                name not in installation.permissions
            ):
                message = "The permissions requested are not granted to this installation."
                raise refusal(422, message)
        repositories = self._repositories(asked, installation)
        self._issued += 1
        expires = float(int(call.at)) + LIFETIME
        token = self._token(installation)
        self._state.tokens[token] = GithubUser(
            installation.login,
            limit=installation.limit,
            graphql_limit=installation.limit,
            pull=set(repositories),
            push=set(repositories) if permissions.get("contents") == "write" else set(),
            id=installation.id,
            expires_epoch=expires,
        )
        shape = {
            "token": token,
            "expires_at": stamp(expires),
            "permissions": permissions,
            "repository_selection": "selected" if asked else installation.selection,
        }
        return json_answer(201, shape)

    def _repositories(self, asked: Mapping[str, Any], installation: Installation) -> set[str]:
        names = asked.get("repositories")
        if names is None:
            return installation.repositories
        known = {each.partition("/")[2].lower(): each for each in installation.repositories}
        if any(str(name).lower() not in known for name in names):
            message = (
                "There is at least one repository that does not exist or is not accessible to "
                "the parent installation."
            )
            raise refusal(422, message)
        return {known[str(name).lower()] for name in names}

    def _token(self, installation: Installation) -> str:
        """40 characters, or of the longer kind that GitHub is changing to.

        https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
        """
        secret = hashlib.sha512(f"{installation.id}/{self._issued}".encode()).hexdigest()
        if self._state.long_installation_tokens:
            return f"ghs_{installation.app_id}_eyJhbGciOiJFUzI1NiJ9.{secret}.{secret[::-1]}"
        return f"ghs_{secret[:36]}"


def _claims(token: str, key: str | None) -> dict[str, Any]:
    """What the token claims; unverified without a key."""
    try:
        return jwt.decode(
            token,
            key or "",
            algorithms=["RS256"],
            options={**UNTIMED, "verify_signature": key is not None},
        )
    except (jwt.InvalidTokenError, ValueError):
        raise refusal(401, UNDECODABLE) from None


def _body(call: Call) -> dict[str, Any]:
    try:
        asked = json.loads(call.body or b"{}")
    except ValueError:
        raise refusal(400, "Problems parsing JSON") from None
    return asked if isinstance(asked, dict) else {}
