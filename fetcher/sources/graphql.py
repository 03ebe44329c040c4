"""GitHub's GraphQL API: one document there, one answer back, whatever it costs and says.

https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fetcher.documents import from_json, json_bytes
from fetcher.errors import Evidence, Malformed, Refused, Unfinished
from fetcher.gate import Gate
from fetcher.policy.verdict import (
    Accept,
    Fail,
    Reply,
    Retry,
    Verdict,
    judge_github,
    judge_limited,
    server_time,
)
from fetcher.sources.credentials import Credentials, shown
from fetcher.transport import Request, Response, Transport

__all__ = ["Answer", "Graphql", "NoGraphql", "Said", "UnknownField", "is_too_much"]

# "Something went wrong while executing your query. This may be the result of a timeout…"
_TIMEOUTS: Final = ("something went wrong", "timeout", "timed out", "couldn't respond")
_TOO_MUCH: Final = ("RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED")
# GitHub has been seen to use both.
_LIMITED: Final = ("RATE_LIMITED", "RATE_LIMIT")
_GATEWAY: Final = (502, 504)
# Not found; and not implemented, as an upstream says that stands in for GitHub without GraphQL.
_ABSENT: Final = (404, 501)


class NoGraphql(Refused):
    """There is no GraphQL where it should be."""


class UnknownField(Refused):
    """The server's schema is older, or newer, than the query."""


@dataclass(frozen=True, slots=True)
class Said:
    """One error of an answer: `path` leads to what it concerns, () is the whole."""

    type: str
    message: str
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: `data` by alias, and the errors beside it; `at` is the server's epoch time."""

    data: Mapping[str, Any]
    errors: tuple[Said, ...]
    evidence: Evidence
    at: float = 0.0

    def error_of(self, alias: str) -> Said | None:
        """The error that concerns an alias."""
        return next((each for each in self.errors if each.path[:1] == (alias,)), None)


def is_too_much(said: Said) -> bool:
    """Whether less at once may be answered."""
    message = said.message.lower()
    return said.type.upper() in _TOO_MUCH or any(word in message for word in _TIMEOUTS)


class Graphql:
    """Asks GitHub's GraphQL API for one account.

    `gate` holds its points, which are counted apart from REST's requests. `patience` is how long,
    in seconds, one query may wait for a limit.
    """

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        *,
        url: str,
        credentials: Credentials,
        patience: float,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._url = url
        self._credentials = credentials
        self._patience = patience

    async def ask(self, document: str, variables: Mapping[str, object], cost: int) -> Answer:
        """Sends a query that should cost so many points.

        Raises `Unfinished` where the server could not finish it, `UnknownField` where it does not
        know what is asked for, and other `UpstreamError`s. Errors that concern single aliases
        come with the answer.
        """
        answers: list[Answer] = []

        def judge(reply: Reply, now: float) -> Verdict:
            if reply.status in _GATEWAY:
                text = f"GitHub could not finish a query in time (it answered {reply.status})"
                return Fail(Unfinished(text, reply.evidence()))
            if reply.status in _ABSENT:
                return Fail(NoGraphql(f"there is no GraphQL at {self._url}", reply.evidence()))
            verdict = judge_github(reply, now)
            if not isinstance(verdict, Accept):
                return verdict
            found = _read(reply, now)
            if found is None:
                text = "GitHub's GraphQL answer makes no sense"
                return Retry(Malformed(text, reply.evidence()))
            answers[:] = [found]
            return _judge(found, reply, now)

        body = json_bytes({"query": document, "variables": variables})

        async def send(secret: Mapping[str, str]) -> Response:
            request = Request(
                "POST",
                self._url,
                self._gate,
                body=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                secret_headers=secret,
                cost=cost,
            )
            return await self._transport.send(request, judge, patience=self._patience)

        await shown(self._credentials, send)
        return answers[0]


def _read(reply: Reply, now: float) -> Answer | None:
    """None for what is no answer of GraphQL's at all."""
    try:
        body = from_json(reply.body)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    data, errors = body.get("data"), body.get("errors", ())
    if not (isinstance(data, dict) or data is None) or not isinstance(errors, Sequence):
        return None
    if data is None and not errors:
        return None
    said = tuple(_said(each, reply) for each in errors if isinstance(each, dict))
    evidence = reply.evidence() if said else Evidence(reply.status)
    return Answer(data or {}, said, evidence, server_time(reply.headers, now))


def _said(error: Mapping[str, Any], reply: Reply) -> Said:
    path = error.get("path")
    steps = tuple(s for s in path if isinstance(s, str | int)) if isinstance(path, list) else ()
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    kind = reply.line(str(error.get("type") or code or ""))
    return Said(kind, reply.line(str(error.get("message", ""))), steps)


def _judge(answer: Answer, reply: Reply, now: float) -> Verdict:
    """Errors that concern the whole query; with what did come, the answer is taken."""
    for each in answer.errors:
        if each.type.upper() in _LIMITED or "rate limit" in each.message.lower():
            return judge_limited(reply, now)
    if answer.data:
        return Accept()
    first = answer.errors[0]
    text = f"GitHub refuses a query: {first.message or first.type}"
    if any(map(is_too_much, answer.errors)):
        return Fail(
            Unfinished(f"GitHub could not finish a query: {first.message}", answer.evidence)
        )
    if any(
        "undefinedField" in each.type or "doesn't exist" in each.message for each in answer.errors
    ):
        return Fail(UnknownField(text, answer.evidence))
    return Fail(Refused(text, answer.evidence))
