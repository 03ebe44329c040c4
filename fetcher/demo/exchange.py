"""What passes between the wire and the two upstreams: a call in, an answer out, a line of log."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Answer", "Call", "Logged", "Refused", "Upstream", "json_answer"]

Upstream: TypeAlias = Literal["github", "ncbi"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived.

    `at` is epoch seconds; `base` the upstream's own URL (``http://127.0.0.1:1234/github``);
    `path` is below it and percent-encoded; a parameter that is repeated is joined with commas;
    `headers` are case-insensitive. `body` is one of JSON; `files` the base of the host that has the
    bytes of release assets.
    """

    at: float
    upstream: Upstream
    method: str
    base: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    remote: str
    body: bytes = b""
    files: str = ""

    @property
    def params(self) -> Mapping[str, str]:
        """Query and form together, as the E-utilities take them."""
        return {**self.query, **self.form}

    @property
    def line(self) -> str:
        """``GET /repos/a/b/releases?per_page=100``: what a fault's pattern is searched in.

        A body of JSON (a query) comes after a blank.
        """
        params = "&".join(f"{name}={value}" for name, value in self.params.items())
        line = f"{self.method} {self.path}" + (f"?{params}" if params else "")
        return f"{line} {self.body.decode(errors='replace')}" if self.body else line


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply before it is compressed, damaged and sent.

    `records` are those that an efetch body consists of, by accession.version; where they are
    given the body is made of them. `account` is whose budget the call was charged to. `encoded`
    forbids compression: the body is taken as it is, whatever the headers claim. It is sent `delay`
    seconds after it was asked for.
    """

    status: int
    headers: Mapping[str, str]
    text: bytes = b""
    account: str = ""
    records: tuple[tuple[str, bytes], ...] | None = None
    encoded: bool = False
    delay: float = 0.0

    @property
    def body(self) -> bytes:
        """The plain body."""
        return self.text if self.records is None else b"".join(data for _, data in self.records)


class Refused(Exception):
    """Ends the handling of a call with another answer than the one asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as the upstream saw it; `status` is 0 where nothing was answered.

    `path` is below the upstream's own URL (``/repos/a/b/releases``, ``/efetch.fcgi``), `account`
    the GitHub login or NCBI key that was charged, or ``ip:ADDRESS``; `body` is one of JSON.
    """

    at: float
    upstream: Upstream
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Mapping[str, str] = field(repr=False)
    status: int
    account: str
    body: bytes = field(default=b"", repr=False)

    @property
    def params(self) -> dict[str, str]:
        """Query and form together."""
        return {**self.query, **self.form}


def json_answer(
    status: int, value: object, headers: Mapping[str, str] | None = None, *, charset: str = "utf-8"
) -> Answer:
    """An answer of compact JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    kind = {"Content-Type": f"application/json; charset={charset}"}
    return Answer(status, {**kind, **(headers or {})}, body)
