"""From a body to an answer: strong ETags, 304, freshness, compression, parts of it.

The body is the content alone. How fresh it is stands in the headers: `Age` is how long ago the
last good poll was, `Cache-Control: max-age` how long after that poll the schedule looks again, so
that caches keep a body exactly until then (https://www.rfc-editor.org/rfc/rfc9111#section-4.2).
"""

import asyncio
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any, Final

from aiohttp import hdrs, web
from isal import isal_zlib

from fetcher.documents import json_bytes, to_json
from fetcher.reader import Fresh, Page
from fetcher.web.problems import problem

__all__ = [
    "JSON",
    "Answer",
    "Freshness",
    "Prepared",
    "describe",
    "listing",
    "of_record",
    "part_of",
    "send",
]

JSON: Final = "application/json"
_GZIP: Final = 16 + zlib.MAX_WBITS
# Bodies below are not worth it; those above are compressed beside the event loop.
_SMALL: Final = 1_024
_LARGE: Final = 1 << 16
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")|\*')
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_VARY: Final = "Accept, Accept-Encoding, Authorization"


@dataclass(frozen=True, slots=True)
class Freshness:
    """`checked_at`: the last good poll; `lifetime`: seconds from that one to the next."""

    checked_at: datetime | None = None
    lifetime: float | None = None
    changed_at: datetime | None = None

    @classmethod
    def of(cls, records: Iterable[Fresh[Any]]) -> "Freshness":
        """Of several records the oldest check, the soonest next one, the latest change."""
        records = list(records)
        checks = [each.checked_at for each in records if each.checked_at is not None]
        lifetimes = [
            (each.next_check - each.checked_at).total_seconds()
            for each in records
            if each.next_check is not None and each.checked_at is not None
        ]
        changed = [each["changed_at"] for each in records]
        known = len(checks) == len(records)
        return cls(
            min(checks, default=None) if known else None,
            min(lifetimes, default=None) if len(lifetimes) == len(records) else None,
            max(changed, default=None),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A body with what its headers say; `private` is for no cache that is shared."""

    body: bytes
    media_type: str = JSON
    freshness: Freshness = Freshness()
    private: bool = False
    links: Sequence[str] = ()
    status: int = 200
    ranges: bool = False


def of_record(record: Fresh[Any], *, private: bool = False) -> Answer:
    """A record as JSON."""
    body = to_json(record.record).encode()
    return Answer(body, JSON, Freshness.of([record]), private)


def listing(page: Page[Any], request: web.Request, *, private: bool = False) -> Answer:
    """A part of a listing, with the link to the next one."""
    items = ",".join([to_json(each.record) for each in page.items])
    body = f'{{"items":[{items}],"next":{json_bytes(page.next).decode()}}}'.encode()
    links = [next_link(request, page.next)] if page.next is not None else []
    return Answer(body, JSON, Freshness.of(page.items), private, links)


def next_link(request: web.Request, cursor: str) -> str:
    """``Link: rel="next"``, with the other parameters as they were."""
    return f'<{request.rel_url.update_query(after=cursor)}>; rel="next"'


class Prepared:
    """An answer with what can be made of it once, however often it is sent."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        # Strong: one for each representation.
        self._name = blake2b(answer.body, digest_size=16, person=b"fetcher").hexdigest()
        self._packed: bytes | None = None
        self._headers = {hdrs.VARY: _VARY, **_freshness(answer)}
        if answer.links:
            self._headers[hdrs.LINK] = ", ".join(answer.links)
        if answer.ranges:
            self._headers[hdrs.ACCEPT_RANGES] = "bytes"

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 2 * len(self.answer.body)

    def etag(self, *, compressed: bool) -> str:
        """Of the body as it is, or of the compressed one."""
        return f'"{self._name}-gzip"' if compressed else f'"{self._name}"'

    def headers(self, now: datetime) -> dict[str, str]:
        """Those that a 304 has, too."""
        checked = self.answer.freshness.checked_at
        if checked is None:
            return dict(self._headers)
        age = max(0, int((now - checked).total_seconds()))
        return {**self._headers, hdrs.AGE: str(age)}

    async def packed(self) -> bytes:
        """The body, compressed."""
        if self._packed is None:
            body = self.answer.body
            large = len(body) > _LARGE
            self._packed = await asyncio.to_thread(_gzip, body) if large else _gzip(body)
        return self._packed


def describe(
    request: web.Request, prepared: Prepared, now: datetime, *, long: bool = False
) -> tuple[dict[str, str], bool, bool]:
    """The headers, whether the body shall be compressed, and whether the reader has it already."""
    answer, asking = prepared.answer, request.headers
    compressed = (
        (long or len(answer.body) >= _SMALL)
        and hdrs.RANGE not in asking
        and _takes_gzip(asking.get(hdrs.ACCEPT_ENCODING, ""))
    )
    etag = prepared.etag(compressed=compressed)
    headers = prepared.headers(now)
    headers[hdrs.ETAG] = etag
    if _matches(asking.get(hdrs.IF_NONE_MATCH), etag):
        return headers, compressed, True
    headers[hdrs.CONTENT_TYPE] = _content_type(answer.media_type)
    headers["X-Content-Type-Options"] = "nosniff"
    return headers, compressed, False


def part_of(request: web.Request, size: int, etag: str) -> tuple[int, int] | web.Response | None:
    """From where to where a reader wants it; None for the whole, 416 for what is outside of it."""
    asked = request.headers.get(hdrs.RANGE, "")
    part = _part(asked, size, request.headers.get(hdrs.IF_RANGE), etag)
    if part is not None and part[0] >= part[1]:
        text = f"Range: {asked} is outside of {size} bytes"
        return problem(416, text, Content_Range=f"bytes */{size}")
    return part


async def send(request: web.Request, prepared: Prepared, now: datetime) -> web.StreamResponse:
    """The response: 200, 206, 304 or 416."""
    answer = prepared.answer
    headers, compressed, same = describe(request, prepared, now)
    if same:
        return web.Response(status=304, headers=headers)
    body = answer.body
    status = answer.status
    if answer.ranges and hdrs.RANGE in request.headers:
        part = part_of(request, len(body), headers[hdrs.ETAG])
        if isinstance(part, web.Response):
            return part
        if part is not None:
            start, end = part
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{len(body)}"
            body, status = body[start:end], 206
    if compressed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        body = await prepared.packed()
    return web.Response(status=status, body=body, headers=headers)


def _content_type(media_type: str) -> str:
    return media_type if media_type.startswith(JSON) else f"{media_type}; charset=utf-8"


def _gzip(body: bytes) -> bytes:
    return isal_zlib.compress(body, 2, _GZIP)


def _freshness(answer: Answer) -> dict[str, str]:
    fresh = answer.freshness
    headers: dict[str, str] = {}
    scope = "private" if answer.private else "public"
    if fresh.checked_at is not None and fresh.lifetime is not None:
        lasts = max(0, int(fresh.lifetime))
        headers[hdrs.CACHE_CONTROL] = f"{scope}, max-age={lasts}, must-revalidate"
    else:
        headers[hdrs.CACHE_CONTROL] = f"{scope}, no-cache"
    if fresh.changed_at is not None:
        changed = fresh.changed_at.astimezone(UTC).replace(microsecond=0)
        headers[hdrs.LAST_MODIFIED] = format_datetime(changed, usegmt=True)
    return headers


def _matches(given: str | None, etag: str) -> bool:
    """Whether one of ``If-None-Match`` is meant: https://www.rfc-editor.org/rfc/rfc9110#13.1.2"""
    if given is None or given == etag:
        return given is not None
    return any(each[0] == "*" or each[1] == etag for each in _TAG.finditer(given))


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            found = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", weight)
            if not weight or (found and float(found[1]) > 0):
                return True
    return False


def _part(asked: str, size: int, if_range: str | None, etag: str) -> tuple[int, int] | None:
    """From where to where; None for the whole: one range only, and of this representation."""
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = found.groups()
    if first:
        end = min(int(last) + 1, size) if last else size
        return (int(first), end) if not last or int(last) >= int(first) else None
    return (
        (max(size - int(last), 0), size) if last and int(last) else (size, size) if last else None
    )
