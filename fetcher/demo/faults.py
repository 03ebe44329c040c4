"""What can go wrong on the way: each kind of fault is one that a real upstream has shown.

The kinds that only change an answer are applied here; those about the way it is sent (`reset`,
`truncate`, `slow`, `hang`, `bomb`, `delay`) in `fetcher.demo.wire`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from fetcher.demo.exchange import Answer, Call, Upstream

__all__ = ["Fault", "FaultKind", "reshape", "take"]

FaultKind: TypeAlias = Literal[
    "reset",
    "truncate",
    "slow",
    "hang",
    "status",
    "garbage",
    "wrong_encoding",
    "bomb",
    "delay",
    "prefix",
    "between",
    "suffix",
    "drop",
    "redirect",
    "alias_error",
    "alias_missing",
    "query_error",
    "rewrite",
]

HTML_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Unicorn! &middot; GitHub</title></head>\n"
    "<body><p><strong>This page is taking too long to load.</strong></p></body></html>\n"
)
ERROR_DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n'
    '<!DOCTYPE eFetchResult PUBLIC "-//NLM//DTD efetch 20131226//EN" '
    '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20131226/efetch.dtd">\n'
    "<eFetchResult>\n\t<ERROR>Unable to obtain record</ERROR>\n</eFetchResult>\n"
)
# By type; an error without one is GitHub's word for everything else.
QUERY_ERRORS: Final[Mapping[str, str]] = {
    "": (
        "Something went wrong while executing your query. This may be the result of a timeout, or "
        "it could be a GitHub bug. Please include `DE40:1E240:F095E:DEB0C:0` when reporting this "
        "issue."
    ),
    "FORBIDDEN": "Resource not accessible by personal access token",
    "NOT_FOUND": "Could not resolve to a Repository with the name 'somebody/something'.",
    "RATE_LIMIT": "API rate limit already exceeded for user ID 583231.",
    "RATE_LIMITED": "API rate limit exceeded for user ID 583231.",
    "RESOURCE_LIMITS_EXCEEDED": "Resource limits for this query exceeded.",
}


@dataclass(slots=True)
class Fault:
    """Damages the answers to calls whose `Call.line` the pattern `match` is found in.

    `times` is how often (None: always), `skip` how many matching calls pass unharmed before;
    `applied` counts. Where several faults match, the first that is not used up is applied.

    ==============  ==============================================================================
    reset           the connection drops before any header
    truncate        `after` bytes of the plain body come (half of it by default), then the
                    connection is cut short of Content-Length, or with `chunked` within a chunked
                    body; with `clean` the shortened body looks complete to HTTP
    slow            the body trickles: `delay` seconds before each piece of `chunk` bytes
    hang            no answer until the client goes away, or `after` bytes of it and no more
    delay           the answer comes after `delay` seconds
    status          `status` with `headers` and `body`
    garbage         200 with `garbage`: a web page, random bytes, or JSON that breaks off; or `body`
    wrong_encoding  claims an `encoding` (gzip) that the body does not have, or another `charset`
    bomb            a gzip body that decompresses to `size` bytes, made as it is sent
    prefix …        `text` (an eFetchResult error document) before, `between` or after (`suffix`)
                    the records of an efetch
    drop            leaves `accessions` (with or without version) out of an efetch
    redirect        to `location`, with `status` (302)
    alias_error     `aliases` of a query (the second half of them by default) are null, with an
                    error of the type `error` (RESOURCE_LIMITS_EXCEEDED) and its `message`
    alias_missing   `aliases` of a query are not in the answer, which has no error
    query_error     a query is answered by one `error` alone, and its `message`, with `status`
                    (200)
    rewrite         the body is what `change` makes of it, with `headers` besides
    ==============  ==============================================================================
    """

    match: str
    kind: FaultKind
    times: int | None = 1
    upstream: Upstream | None = None
    skip: int = 0
    after: int | None = None
    chunked: bool = False
    clean: bool = False
    delay: float = 1.0
    chunk: int = 1024
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None
    garbage: Literal["html", "bytes", "json"] = "html"
    encoding: str | None = None
    charset: str | None = None
    size: int = 1 << 30
    text: str = ERROR_DOCUMENT
    accessions: tuple[str, ...] = ()
    location: str = ""
    aliases: tuple[str, ...] = ()
    error: str = "RESOURCE_LIMITS_EXCEEDED"
    message: str | None = None
    change: Callable[[bytes], bytes] = bytes
    applied: int = 0


def take(faults: Iterable[Fault], call: Call) -> Fault | None:
    """The fault for this call, if any, counted as applied."""
    for fault in faults:
        if fault.upstream not in (None, call.upstream) or not re.search(fault.match, call.line):
            continue
        if fault.skip > 0:
            fault.skip -= 1
        elif fault.times is None or fault.times > fault.applied:
            fault.applied += 1
            return fault
    return None


def reshape(fault: Fault, answer: Answer) -> Answer:
    """The answer as this fault changes it; unchanged where the fault is about the sending."""
    match fault.kind:
        case "status":
            return _instead(answer, fault.status or 502, fault.body or b"", fault.headers)
        case "redirect":
            return _instead(
                answer, fault.status or 302, b"", {"Location": fault.location, **fault.headers}
            )
        case "garbage":
            return _garbage(fault, answer)
        case "wrong_encoding":
            return _wrong_encoding(fault, answer)
        case "truncate" if fault.clean:
            return replace(answer, text=cut(fault, answer.body), records=None)
        case "prefix" | "between" | "suffix":
            return _with_text(fault, answer)
        case "drop":
            return _without(fault, answer)
        case "alias_error" | "alias_missing":
            return _less(fault, answer)
        case "query_error":
            return _failed(fault, answer)
        case "rewrite":
            headers = {**answer.headers, **fault.headers}
            return replace(answer, headers=headers, text=fault.change(answer.body), records=None)
        case _:
            return answer


def cut(fault: Fault, body: bytes) -> bytes:
    """What a truncation lets through."""
    return body[: len(body) // 2 if fault.after is None else fault.after]


def _instead(answer: Answer, status: int, body: str | bytes, headers: Mapping[str, str]) -> Answer:
    data = body.encode() if isinstance(body, str) else body
    kind = "application/json" if data[:1] in (b"{", b"[") else "text/html"
    return Answer(status, {"Content-Type": f"{kind}; charset=utf-8", **headers}, data)


def _garbage(fault: Fault, answer: Answer) -> Answer:
    if fault.body is not None:
        return _instead(answer, 200, fault.body, fault.headers)
    if fault.garbage == "html":
        return _instead(answer, 200, HTML_PAGE, fault.headers)
    if fault.garbage == "json":
        # One byte short at least, so that it never is whole.
        body = answer.body[: max(1, len(answer.body) // 2)] or b'{"message": "Se'
    else:
        body = bytes((i * 167 + 13) % 256 for i in range(4096))
    return replace(answer, status=200, text=body, records=None)


def _wrong_encoding(fault: Fault, answer: Answer) -> Answer:
    headers = dict(answer.headers)
    if fault.charset is not None:
        kind = headers.get("Content-Type", "text/plain").partition(";")[0]
        headers["Content-Type"] = f"{kind}; charset={fault.charset}"
    if fault.encoding is None and fault.charset is not None:
        return replace(answer, headers=headers)
    headers["Content-Encoding"] = fault.encoding or "gzip"
    return replace(answer, headers=headers, text=answer.body, records=None, encoded=True)


def _with_text(fault: Fault, answer: Answer) -> Answer:
    text = ("", fault.text.encode())
    records = answer.records if answer.records is not None else (("", answer.text),)
    if fault.kind == "prefix":
        records = (text, *records)
    elif fault.kind == "suffix":
        records = (*records, text)
    else:
        middle = (len(records) + 1) // 2
        records = (*records[:middle], text, *records[middle:])
    return replace(answer, records=records)


def _without(fault: Fault, answer: Answer) -> Answer:
    if answer.records is None:
        return answer
    dropped = {name.upper() for name in fault.accessions}
    kept = tuple(
        (name, data)
        for name, data in answer.records
        if not {name.upper(), name.upper().partition(".")[0]} & dropped
    )
    return replace(answer, records=kept)


def _less(fault: Fault, answer: Answer) -> Answer:
    """A query's answer with some of its root fields null, each for an error, or not there."""
    shape = _json(answer)
    data = shape.get("data")
    if not data:
        return answer
    names = fault.aliases or tuple(data)[len(data) // 2 :]
    errors = list(shape.get("errors", ()))
    for name in names:
        if name not in data:
            continue
        del data[name]
        if fault.kind == "alias_error":
            data[name] = None
            errors.append(_error(fault, [name]))
    kept = {name: value for name, value in shape.items() if name != "errors"}
    return _with_json(answer, {**kept, **({"errors": errors} if errors else {})})


def _failed(fault: Fault, answer: Answer) -> Answer:
    headers = {**answer.headers, **fault.headers}
    if fault.error.startswith("RATE_LIMIT"):
        headers |= {
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Used": headers.get("X-RateLimit-Limit", "5000"),
        }
    answer = replace(answer, status=fault.status or 200, headers=headers)
    shape: dict[str, Any] = {"errors": [_error(fault, [])]}
    return _with_json(answer, shape if fault.error else {"data": None, **shape})


def _error(fault: Fault, path: list[str]) -> dict[str, Any]:
    message = fault.message
    if message is None:
        message = QUERY_ERRORS.get(fault.error, fault.error)
    row: dict[str, Any] = {"type": fault.error} if fault.error else {}
    if fault.error == "RATE_LIMIT":
        row["code"] = "graphql_rate_limit"
    if path:
        row |= {"path": path, "locations": [{"line": 1, "column": 3}]}
    return {**row, "message": message}


def _json(answer: Answer) -> dict[str, Any]:
    try:
        shape = json.loads(answer.body)
    except ValueError:
        return {}
    return shape if isinstance(shape, dict) else {}


def _with_json(answer: Answer, shape: Mapping[str, Any]) -> Answer:
    text = json.dumps(shape, separators=(",", ":"), ensure_ascii=False).encode()
    return replace(answer, text=text, records=None)
