"""What an upstream's error means for the target that was asked for, and for its account."""

from fetcher.errors import (
    Blocked,
    Malformed,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unfinished,
    Unreachable,
    UpstreamError,
)
from fetcher.models import Due, Failure, Outcome, OutcomeKind
from fetcher.targets import Target

__all__ = ["AccountStop", "canonical", "ended_by"]

_KINDS: tuple[tuple[type[UpstreamError], OutcomeKind], ...] = (
    (NotFound, OutcomeKind.NOT_FOUND),
    (Blocked, OutcomeKind.BLOCKED),
    (Unauthorized, OutcomeKind.UNAUTHORIZED),
    (RateLimited, OutcomeKind.RATE_LIMITED),
    (Unreachable, OutcomeKind.UNREACHABLE),
    (Unfinished, OutcomeKind.UNREACHABLE),
    (Malformed, OutcomeKind.MALFORMED),
    (Refused, OutcomeKind.FAILED),
)


# After this many targets, or small batches, in a row without any answer the upstream is taken
# to be down.
_DOWN_AFTER = 3


class AccountStop:
    """Remembers what ends an account's whole poll, so that nobody asks again to hear the same.

    Going on against a limit or with bad credentials risks a ban:
    https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    """

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self._silent = 0
        self._unfinished = 0

    def heard(self) -> None:
        """The upstream answered."""
        self._silent = self._unfinished = 0

    def unfinished(self, error: UpstreamError) -> None:
        """The upstream gave up on a small batch: after some of them it is not their size."""
        self._unfinished += 1
        if self._unfinished >= _DOWN_AFTER:
            self.error = error

    def learn(self, error: UpstreamError) -> None:
        """Takes an error in; limits and refused credentials stop the account at once."""
        if isinstance(error, RateLimited) or (
            isinstance(error, Unauthorized) and error.whole_account
        ):
            self.error = error
        elif isinstance(error, Unreachable):
            self._silent += 1
            if self._silent >= _DOWN_AFTER:
                self.error = error
        else:
            self._silent = 0


def canonical(due: Due) -> Target:
    """The target as it was last spelled by the upstream, or as asked for."""
    return Target.of(due.state.key) if due.state is not None else due.target


def ended_by(error: UpstreamError, due: Due, *, some: bool = False) -> Outcome:
    """The outcome of a poll that an error ended; what is stored stays as it is.

    `some` says that records came before it did.
    """
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), OutcomeKind.FAILED)
    if some:
        kind = OutcomeKind.PARTIAL
    retry_at = error.retry_at if isinstance(error, RateLimited | Unreachable) else None
    missing = (due.target.name,) if kind is OutcomeKind.NOT_FOUND else ()
    return Outcome(
        asked=due.target,
        target=canonical(due),
        kind=kind,
        failure=Failure(
            str(error),
            error.evidence,
            retry_at,
            whole_account=isinstance(error, Unauthorized) and error.whole_account,
        ),
        missing=missing,
    )
