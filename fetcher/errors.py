"""Every error that leaves one room for another; library exceptions end at their border.

::

    FetcherError
    ├── UsageError                 what the user wrote: exit 2, before any request is sent
    │   ├── TargetError            a string that can be no target
    │   └── SettingsError          mistakes in the configuration, all of them at once
    ├── UpstreamError              what an upstream did: becomes a target's outcome
    │   ├── NotFound               it does not know the thing, or hides it
    │   ├── Blocked                legally or administratively closed (451, NCBI's block page)
    │   ├── Unauthorized           bad credentials or no permission
    │   ├── RateLimited            a limit; `retry_at` says when to come back
    │   ├── Unreachable            no answer, or a server error, after retries
    │   ├── Unfinished             it gave up on a request that asked for much at once
    │   ├── Malformed              an answer that makes no sense, after retries
    │   │   ├── UnreadableRecord   one record that cannot be read
    │   │   └── Mismatch           bytes that are not those which the upstream tells of
    │   └── Refused                a request that the upstream will never take: ours to mend
    ├── CursorGone                 a reader's place in the feed of changes that means nothing here
    ├── FileTrouble                a file that is in the way, or cannot be written
    └── StoreError                 exit 3
        ├── StoreUnavailable       cannot be reached, opened, created or written
        │   └── StoreMissing       is not there, and was not to be made
        ├── SchemaTooNew           written by a newer fetcher
        ├── LeaseLost              a write under a lease that somebody else has since taken
        └── StoreFull              no room left

Nothing is told apart by matching the text of an exception: the class and its fields say it.
"""

from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "Blocked",
    "CursorGone",
    "Evidence",
    "FetcherError",
    "FileTrouble",
    "LeaseLost",
    "Malformed",
    "Mismatch",
    "Mistake",
    "NotFound",
    "RateLimited",
    "Refused",
    "SchemaTooNew",
    "SettingsError",
    "StoreError",
    "StoreFull",
    "StoreMissing",
    "StoreUnavailable",
    "TargetError",
    "Unauthorized",
    "Unfinished",
    "Unreachable",
    "UnreadableRecord",
    "UpstreamError",
    "UsageError",
]


class FetcherError(Exception):
    """Base of all; its text is a sentence for the person who reads it."""


class UsageError(FetcherError):
    """What was typed or configured cannot be meant."""


class TargetError(UsageError):
    """A string that can be no target; `text` is the string."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is no target: {reason}")
        self.text = text
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake with its place: a file and line, or the name of an environment variable."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SettingsError(UsageError):
    """All mistakes of a configuration at once."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the upstream really said, for the log and the target's state; never a secret.

    `quote` is at most 200 characters of the body. All of it can be stored and shown.
    """

    status: int | None = None
    request_id: str | None = None
    url: str | None = None
    quote: str | None = None

    def __post_init__(self) -> None:
        for name in ("request_id", "url", "quote"):
            text = getattr(self, name)
            if text is not None and not (text.isascii() and text.isprintable()):
                object.__setattr__(self, name, _shown(text))


def _shown(text: str) -> str:
    """Without what moves a terminal, and half pairs, which no store takes: neither is printable."""
    return "".join(c if c.isprintable() else " " for c in text)


class UpstreamError(FetcherError):
    """Something an upstream did; its sentence may hold the upstream's own words."""

    def __init__(self, message: str, evidence: Evidence | None = None) -> None:
        super().__init__(_shown(message))
        self.evidence = evidence if evidence is not None else Evidence()


class NotFound(UpstreamError):
    """The upstream does not know it, or does not show it to this account."""


class Blocked(UpstreamError):
    """Closed on purpose: HTTP 451, or NCBI's block page."""


class Unauthorized(UpstreamError):
    """Bad credentials (`whole_account`: nothing on this account can work), or no permission."""

    def __init__(
        self, message: str, evidence: Evidence | None = None, *, whole_account: bool = False
    ) -> None:
        super().__init__(message, evidence)
        self.whole_account = whole_account


class RateLimited(UpstreamError):
    """A limit that could not be waited out; come back at `retry_at` (UTC)."""

    def __init__(self, message: str, retry_at: datetime, evidence: Evidence | None = None) -> None:
        super().__init__(message, evidence)
        self.retry_at = retry_at


class Unreachable(UpstreamError):
    """No answer, a broken connection, a deadline passed, or a server error, after all tries.

    `retry_at` (UTC) is the earliest next try where the server named one.
    """

    def __init__(
        self, message: str, evidence: Evidence | None = None, retry_at: datetime | None = None
    ) -> None:
        super().__init__(message, evidence)
        self.retry_at = retry_at


class Unfinished(UpstreamError):
    """The server gave up on a request: less of it at once may be answered."""


class Malformed(UpstreamError):
    """An answer that makes no sense."""


class UnreadableRecord(Malformed):
    """One record that cannot be read; `name` is its accession as far as it is known."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class Mismatch(Malformed):
    """Bytes that are not those which the upstream tells of: `expected` and `came` say which."""

    def __init__(self, message: str, expected: str, came: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.came = came


class Refused(UpstreamError):
    """A request that the upstream will never take, such as one for a retired API version."""


class CursorGone(FetcherError):
    """A cursor of another store, or one that cannot be read: begin without one."""


class FileTrouble(FetcherError):
    """A file that is in the way, cannot be written, or may not have its name."""


class StoreError(FetcherError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, opened, created, read or written."""


class StoreMissing(StoreUnavailable):
    """There is no store yet, and who asks only reads."""


class SchemaTooNew(StoreError):
    """The store was written by a newer fetcher."""


class LeaseLost(StoreError):
    """A write under a lease that somebody else has since taken; nothing of it was stored."""


class StoreFull(StoreError):
    """No room left on the device or in the quota."""
