"""What a watch list can get out of an account."""

from typing import Final

__all__ = ["ANONYMOUS_ACCOUNT", "attainable", "without_token"]

ANONYMOUS_ACCOUNT: Final = "github:anonymous"
# Requests an hour for an address without a token; a conditional one that finds nothing counts.
# https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
_HOURLY: Final = 60


def attainable(repositories: int) -> float:
    """Seconds between two polls of each repository, at best, without a token."""
    return repositories * 3600.0 / _HOURLY


def without_token(repositories: int) -> str:
    """What to say of a watch list that is polled without a token."""
    minutes = attainable(repositories) / 60.0
    every = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    number = f"{repositories:,} repositories" if repositories != 1 else "1 repository"
    return (
        f"without a token GitHub gives {_HOURLY} requests an hour: {number} watched, "
        f"each every {every} at best; with one (github.token) a hundred take a single request"
    )
