"""What an upstream's reply means: take it, try again, wait for a limit, or give up.

Headers decide first, the text of a body last.
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
https://www.ncbi.nlm.nih.gov/books/NBK25497/
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import unquote_plus

from fetcher.errors import (
    Blocked,
    Evidence,
    Malformed,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unreachable,
    UpstreamError,
)
from fetcher.policy.secrecy import masked
from fetcher.policy.wire import shown_url

__all__ = [
    "Accept",
    "Fail",
    "Judge",
    "Limited",
    "Reply",
    "Retry",
    "Verdict",
    "asked_wait",
    "is_html",
    "judge_datasets",
    "judge_github",
    "judge_limited",
    "judge_ncbi",
    "server_time",
]

QUOTE = 200
# So much of a body is looked at for a quote, and twice as much for secrets that reach into that.
_LOOKED_AT = 2_000
_LONGEST_ID = 100
# "Wait at least one minute" where a secondary limit names no time.
SECONDARY_WAIT = 60.0
# A wait of centuries is a mistake of somebody's; ask again tomorrow.
LONGEST_WAIT = 86_400.0
_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_BLOCK_PAGE = re.compile(rb"WWW Error Blocked Diagnostic", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as far as it must be read to be judged.

    `headers` have lower-case names. `body` is the whole body, or, where not `complete`, what
    came first of a stream. `secrets` are what the request held and no quote may repeat: NCBI
    names the key that it refuses.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    complete: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def masked(self, text: str) -> str:
        """A text of the upstream's without the secrets that it may repeat."""
        return masked(text, self.secrets)

    def line(self, text: object) -> str:
        """A text of the upstream's as one short line to be shown; nothing for what is no text."""
        line = " ".join(self.masked(text).split())[:QUOTE] if isinstance(text, str) else ""
        return "".join(c for c in line if c.isprintable())

    def evidence(self) -> Evidence:
        """What to remember of it; of the URL without its query, which may hold what opens it."""
        request_id = self.headers.get("x-github-request-id") or self.headers.get("ncbi-phid")
        text = self.masked(self.body[: 2 * _LOOKED_AT].decode("utf-8", "replace"))
        quote = " ".join(text[:_LOOKED_AT].split())[:QUOTE]
        shown = "".join(c if c.isprintable() else " " for c in quote)
        return Evidence(
            self.status,
            self.line(request_id)[:_LONGEST_ID] or None,
            self.masked(shown_url(self.url)),
            shown or None,
        )


@dataclass(frozen=True, slots=True)
class Accept:
    """The reply is what was asked for, as far as can be seen from outside."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A fault that another try may not meet; `after` is the wait that the server asked for."""

    error: UpstreamError
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """The account must be silent for `wait` seconds; `error` says until when.

    `named` tells whether the server said how long, or the wait is a rule of thumb.
    """

    error: RateLimited
    wait: float
    named: bool = True


@dataclass(frozen=True, slots=True)
class Fail:
    """No other try will end differently."""

    error: UpstreamError


Verdict: TypeAlias = Accept | Retry | Limited | Fail
Judge: TypeAlias = Callable[[Reply, float], Verdict]
"""(reply, epoch seconds of the local clock) to a verdict."""


def server_time(headers: Mapping[str, str], now: float) -> float:
    """The server's own time where it tells it, so that a wrong local clock does no harm."""
    return _http_date(headers.get("date")) or now


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or as a date; a day at most.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", value, re.ASCII):
        return min(float(value), LONGEST_WAIT)
    date = _http_date(value)
    if date is None:
        return None
    return min(max(0.0, date - server_time(headers, now)), LONGEST_WAIT)


def judge_github(reply: Reply, now: float) -> Verdict:
    """The verdict on a reply of GitHub's REST API."""
    status, headers, evidence = reply.status, reply.headers, reply.evidence()
    if status == 304:
        return Accept()
    if 200 <= status < 300:
        if is_html(reply):
            return Retry(Malformed("GitHub answered with a web page instead of data", evidence))
        return Accept()
    said = _message(reply)
    if status in (403, 429):
        wait = _named_wait(headers, now)
        if wait is not None:
            return _limited("GitHub", wait, now, evidence)
        if status == 429 or "rate limit" in said.lower() or "abuse" in said.lower():
            return _limited("GitHub", SECONDARY_WAIT, now, evidence, named=False)
        text = f"GitHub refuses this account: {said or 'no permission'}"
        return Fail(Unauthorized(text, evidence))
    match status:
        case 401:
            text = f"GitHub does not accept the credentials: {said or 'bad credentials'}"
            return Fail(Unauthorized(text, evidence, whole_account=True))
        case 404:
            text = "GitHub knows no such repository; a private one looks the same to this account"
            return Fail(NotFound(text, evidence))
        case 410:
            text = "GitHub serves this version of its API no longer; a newer fetcher is needed"
            return Fail(Refused(text, evidence))
        case 451:
            reason = _block_reason(reply)
            return Fail(Blocked(f"GitHub has closed it for legal reasons: {reason}", evidence))
        case _ if status >= 500:
            text = f"GitHub answered {status}"
            return Retry(Unreachable(text, evidence), asked_wait(headers, now))
        case _:
            text = f"GitHub answered {status}: {said or 'without a reason'}"
            return Fail(Refused(text, evidence))


def judge_limited(reply: Reply, now: float) -> Limited:
    """The verdict on a limit that GitHub tells of in the body of a good answer."""
    wait = _named_wait(reply.headers, now)
    if wait is None:
        return _limited("GitHub", SECONDARY_WAIT, now, reply.evidence(), named=False)
    return _limited("GitHub", wait, now, reply.evidence())


def judge_ncbi(reply: Reply, now: float) -> Verdict:
    """The verdict on a reply of NCBI's E-utilities; what a body holds is read elsewhere."""
    status, headers, evidence = reply.status, reply.headers, reply.evidence()
    if _BLOCK_PAGE.search(reply.body[:20_000]):
        text = "NCBI has blocked this address; write to info@ncbi.nlm.nih.gov before going on"
        return Fail(Blocked(text, evidence))
    said = _error(reply)
    # The body of a limit has been seen with status 200 as well.
    if status == 429 or "rate limit exceeded" in said.lower():
        wait = asked_wait(headers, now)
        return _limited("NCBI", max(1.0, wait if wait is not None else 1.0), now, evidence)
    if status >= 500:
        return Retry(Unreachable(f"NCBI answered {status}", evidence), asked_wait(headers, now))
    if 200 <= status < 300:
        # Its texts come under more than one content type; a page is known by how it begins.
        if _HTML.match(reply.body):
            return Retry(Malformed("NCBI answered with a web page instead of data", evidence))
        return Accept()
    if status == 400 and "failedtoretrievesequence" in _squeezed(reply.body[:2000]):
        return Fail(NotFound("NCBI has no such record", evidence))
    if "api key" in said.lower() or status in (401, 403):
        text = f"NCBI does not accept the API key: {said or status}"
        return Fail(Unauthorized(text, evidence, whole_account=True))
    text = f"NCBI answered {status}: {said or evidence.quote or 'without a reason'}"
    return Fail(Refused(text, evidence))


def judge_datasets(reply: Reply, now: float) -> Verdict:
    """The verdict on a reply of NCBI Datasets, whose errors are ``{code, message, details}``.

    https://www.ncbi.nlm.nih.gov/datasets/docs/v2/api/rest-api/
    """
    status = reply.status
    if status == 404:
        return Fail(NotFound("NCBI Datasets has no such record", reply.evidence()))
    if status == 400:
        text = f"NCBI Datasets refuses it: {_message(reply) or 'without a reason'}"
        return Fail(Refused(text, reply.evidence()))
    return judge_ncbi(reply, now)


def _named_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds of silence that the headers of a 403 or 429 ask for.

    The order is GitHub's: retry-after, then, with nothing remaining, the reset and a second.
    """
    asked = asked_wait(headers, now)
    reset = headers.get("x-ratelimit-reset", "")
    spent = headers.get("x-ratelimit-remaining") == "0"
    if asked is None and spent and re.fullmatch(r"[0-9]{1,12}", reset, re.ASCII):
        return max(0.0, float(reset) - server_time(headers, now)) + 1.0
    return asked


def _limited(
    who: str, wait: float, now: float, evidence: Evidence, *, named: bool = True
) -> Limited:
    wait = min(wait, LONGEST_WAIT)
    until = datetime.fromtimestamp(now + wait, UTC)
    text = f"{who}'s rate limit is used up until {until:%H:%M:%S} UTC"
    return Limited(RateLimited(text, until, evidence), wait, named)


def _http_date(value: str | None) -> float | None:
    try:
        date = parsedate_to_datetime(value) if value else None
        if date is not None and date.tzinfo is None:
            # The oldest form names no zone and means UTC, whatever this machine's is.
            date = date.replace(tzinfo=UTC)
        return date.timestamp() if date is not None else None
    except (ValueError, TypeError, OverflowError):
        return None


def is_html(reply: Reply) -> bool:
    """Whether it is a web page, by its type or by how it begins."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/html" or _HTML.match(reply.body) is not None


def _json(reply: Reply) -> Mapping[str, object]:
    try:
        said = json.loads(reply.body[:65_536], strict=False)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, Mapping) else {}


def _message(reply: Reply) -> str:
    return reply.line(_json(reply).get("message"))


def _error(reply: Reply) -> str:
    if reply.body.lstrip()[:1] != b"{":
        return ""
    return reply.line(_json(reply).get("error"))


def _block_reason(reply: Reply) -> str:
    block = _json(reply).get("block")
    reason = reply.line(block.get("reason")) if isinstance(block, Mapping) else ""
    return reason or "none given"


def _squeezed(body: bytes) -> str:
    """NCBI spaces the letters of some errors out, and URL-encodes others."""
    return "".join(unquote_plus(body.decode("utf-8", "replace")).split()).lower()
