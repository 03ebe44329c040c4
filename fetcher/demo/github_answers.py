"""What GitHub says no with, word for word as recorded from api.github.com."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.github_accounts import GithubAccounts, Resource
from fetcher.demo.github_models import GithubUser, Repository, stamp

__all__ = [
    "DOCS",
    "LIMITS",
    "NO_USER_AGENT",
    "Row",
    "block",
    "exhausted",
    "refusal",
    "request_id",
    "too_fast",
]

Row: TypeAlias = dict[str, Any]

DOCS: Final = "https://docs.github.com/rest"
LIMITS: Final = f"{DOCS}/using-the-rest-api/rate-limits-for-the-rest-api"
NO_USER_AGENT: Final = (
    "Request forbidden by administrative rules. Please make sure your request has a User-Agent "
    "header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api"
    "#user-agent-required). Check https://developer.github.com for other possible causes.\r\n"
)
SECONDARY: Final = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "For more on scraping GitHub and how it may affect your rights, please review our Terms of "
    "Service (https://docs.github.com/en/site-policy/github-terms/github-terms-of-service)"
)


def refusal(
    status: int,
    message: str,
    *,
    about: str = DOCS,
    headers: Mapping[str, str] | None = None,
) -> Refused:
    """The body that every error of the REST API has."""
    shape = {"message": message, "documentation_url": about, "status": str(status)}
    return Refused(json_answer(status, shape, headers))


def too_fast(state: GithubAccounts, resource: Resource) -> Refused:
    """The secondary limit is exceeded."""
    after = state.secondary_retry_after
    headers = {} if after is None else {"Retry-After": str(after)}
    if resource == "graphql" and state.graphql_secondary_status == 200:
        error = {"type": "RATE_LIMITED", "message": SECONDARY}
        return Refused(json_answer(200, {"errors": [error]}, headers))
    status = state.secondary_status if resource == "core" else state.graphql_secondary_status
    about = f"{LIMITS}#about-secondary-rate-limits"
    return refusal(status, SECONDARY, about=about, headers=headers)


def exhausted(call: Call, user: GithubUser | None) -> str:
    """The message of the primary limit."""
    if user is not None:
        return (
            f"API rate limit exceeded for user ID {user.id}. If you reach out to GitHub Support "
            f"for help, please include the request ID and timestamp {stamp(call.at)}."
        )
    return (
        f"API rate limit exceeded for {call.remote}. (But here's the good news: Authenticated "
        "requests get a higher rate limit. Check out the documentation for more details.)"
    )


def block(repo: Repository) -> Answer:
    """A repository that GitHub had to close: 451 for a takedown, 403 for its terms of service."""
    reason = repo.blocked
    page = f"https://github.com/github/{reason}/blob/master/{repo.id}.md"
    shape = {
        "message": "Repository access blocked",
        "block": {
            "reason": reason,
            "created_at": repo.created_at,
            "html_url": "https://github.com/tos" if reason == "tos" else page,
        },
    }
    return json_answer(403 if reason == "tos" else 451, shape)


def request_id(number: int, at: float) -> str:
    """An id as GitHub gives every answer one."""
    return f"DE40:{number:06X}:F095E:DEB0C:{int(at):08X}"
