"""NCBI's E-utilities: what is asked, and what an answer is taken for.

https://www.ncbi.nlm.nih.gov/books/NBK25499/
"""

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fetcher import documents
from fetcher.errors import Evidence, Malformed, UnreadableRecord, UpstreamError
from fetcher.gate import Gate
from fetcher.models import Record
from fetcher.policy.digest import digest
from fetcher.policy.verdict import Accept, Reply, Retry, Verdict, judge_ncbi
from fetcher.sources.genbank import FlatFileSplitter, read_records
from fetcher.transport import Request, Transport

__all__ = ["SEARCH_REACH", "Answer", "Eutils", "Found"]

T = TypeVar("T")

# Records are handed on, and parsed in a worker thread, by the megabyte: enough to amortise the
# hop between threads, little enough for memory.
_PARSE_BYTES: Final = 1 << 20
# One search reaches no further, whatever retstart says.
SEARCH_REACH: Final = 10_000
SUMMARY_IDS: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A search kept on the history server: how many records, and the ticket to get them."""

    count: int
    webenv: str
    query_key: str


@dataclass(slots=True)
class Answer:
    """What an efetch answer held beside its whole records.

    `noise` is text that is no record, such as an error document between two of them. `broken`
    says why the answer ended early; `cut` that its last record has no end.
    """

    noise: list[str] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    broken: UpstreamError | None = None
    cut: bool = False

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end."""
        return self.broken is None and not self.cut

    @property
    def expired(self) -> bool:
        """Whether the history server has forgotten the search."""
        return any("Unable to obtain query" in text for text in self.noise)

    @property
    def not_understood(self) -> bool:
        """Whether NCBI says that an id can be none; it spaces the letters of that out."""
        squeezed = ("".join(text.split()).replace("+", "").lower() for text in self.noise)
        return any("failedtounderstandid" in text for text in squeezed)

    def error(self, what: str) -> UpstreamError:
        """Why `what` did not come."""
        if self.broken is not None:
            return self.broken
        if self.unreadable:
            return self.unreadable[0]
        if self.noise:
            quote = " ".join(self.noise[0].split())[:200]
            return Malformed(f"NCBI answered with no record of {what}", Evidence(quote=quote))
        return Malformed(f"NCBI's answer broke off before {what} was complete")


class Eutils:
    """Requests to the E-utilities on one account; `tool` and `email` go with every one."""

    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        *,
        url: str,
        api_key: str | None,
        email: str,
        tool: str,
        patience: float,
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._url = url
        self._patience = patience
        who = {"tool": tool, "email": email, "api_key": api_key or ""}
        # An empty key is refused with 400, so what is empty is not sent.
        self._who = tuple((name, value) for name, value in who.items() if value)

    async def reach(self) -> str:
        """Whether the E-utilities answer, and the limit that they state."""
        request = self._request("einfo.fcgi", {"retmode": "json"})
        response = await self._transport.send(request, judge_ncbi, patience=self._patience)
        limit = response.headers.get("x-ratelimit-limit")
        stated = f", {limit} requests a second" if limit else ""
        key = "with" if any(name == "api_key" for name, _ in self._who) else "without"
        return f"{self._url}: reachable {key} an API key{stated}"

    async def search(self, database: str, term: str) -> Found:
        """Runs a query and keeps its result on the history server."""
        form = {"db": database, "term": term, "usehistory": "y", "retmax": "0", "retmode": "json"}
        return await self._json("esearch.fcgi", form, _found)

    async def found_ids(self, database: str, found: Found, start: int, size: int) -> list[str]:
        """The accession.versions (or UIDs) at some places of a search's result."""
        form = {
            "db": database,
            "term": f"#{found.query_key}",
            "WebEnv": found.webenv,
            "usehistory": "y",
            "retstart": str(start),
            "retmax": str(size),
            "idtype": "acc",
            "retmode": "json",
        }
        return await self._json("esearch.fcgi", form, _idlist)

    async def accessions(self, database: str, uids: Sequence[str]) -> dict[str, str]:
        """Accession.version by UID, of those UIDs that NCBI knows."""
        named: dict[str, str] = {}
        for at in range(0, len(uids), SUMMARY_IDS):
            some = uids[at : at + SUMMARY_IDS]
            form = {"db": database, "id": ",".join(some), "retmode": "json", "version": "2.0"}
            result = await self._json("esummary.fcgi", form, _summaries)
            for uid in some:
                summary = result.get(uid)
                if isinstance(summary, Mapping) and summary.get("accessionversion"):
                    named[uid] = str(summary["accessionversion"]).upper()
        return named

    async def _json(
        self, script: str, form: Mapping[str, str], read: Callable[[Mapping[str, Any]], T]
    ) -> T:
        """What `read` makes of a JSON answer; one that makes no sense is asked for again."""
        parsed: list[T] = []

        def judge(reply: Reply, now: float) -> Verdict:
            verdict = judge_ncbi(reply, now)
            if isinstance(verdict, Accept):
                try:
                    parsed[:] = [read(_read_json(reply))]
                except Malformed as error:
                    return Retry(error, None)
            return verdict

        await self._transport.send(self._request(script, form), judge, patience=self._patience)
        return parsed[0]

    async def fetch(
        self, database: str, asked: Mapping[str, str], answer: Answer
    ) -> AsyncGenerator[list[Record], None]:
        """Streams whole records as they come, and fills `answer` with whatever else came.

        `asked` names them: ``id``, or a search's ``WebEnv`` and ``query_key`` with ``retstart``
        and ``retmax``. Raises `UpstreamError` only when there was no answer at all.
        """
        form = {"db": database, "rettype": "gb", "retmode": "text", **asked}
        splitter = FlatFileSplitter()
        waiting: list[bytes] = []
        size = 0
        request = self._request("efetch.fcgi", form)
        async with self._transport.stream(request, judge_ncbi, patience=self._patience) as stream:
            try:
                async for data in stream:
                    for piece in splitter.feed(data):
                        if piece.kind == "record":
                            waiting.append(piece.data)
                            size += len(piece.data)
                        else:
                            _note(answer, piece.kind, piece.data)
                    if size >= _PARSE_BYTES:
                        yield await self._records(database, waiting, answer)
                        waiting, size = [], 0
            except UpstreamError as error:
                answer.broken = error
        last = splitter.close()
        if last is not None and last.kind == "record":
            waiting.append(last.data)
        elif last is not None:
            _note(answer, last.kind, last.data)
        if waiting:
            yield await self._records(database, waiting, answer)

    async def _records(self, database: str, flats: Sequence[bytes], answer: Answer) -> list[Record]:
        read = await asyncio.to_thread(_read, database, flats, self._url)
        answer.unreadable.extend(each for each in read if isinstance(each, UnreadableRecord))
        return [each for each in read if isinstance(each, Record)]

    def _request(self, script: str, form: Mapping[str, str]) -> Request:
        return Request(
            "POST", f"{self._url}/{script}", self._gate, form=(*form.items(), *self._who)
        )


def _read(database: str, flats: Sequence[bytes], url: str) -> list[Record | UnreadableRecord]:
    """Runs in a worker thread: parses, digests and compresses."""
    return [
        read if isinstance(read, UnreadableRecord) else _record(database, read, flat, url)
        for read, flat in zip(read_records(flats, database), flats, strict=True)
    ]


def _record(database: str, read: documents.Sequence, flat: bytes, url: str) -> Record:
    # The UID is no content: some ways of asking tell it, others do not.
    content: dict[str, Any] = {key: value for key, value in read.items() if key != "uid"}
    name = read["accession_version"]
    return Record(
        id=f"{database}:{name}",
        kind="sequence",
        content=content,
        source_url=f"{url}/efetch.fcgi?db={database}&id={name}&rettype=gb&retmode=text",
        digest=digest(content),
        upstream_version=(read["version"], read["update_date"]),
        extra={"uid": read["uid"]},
        flat=zlib.compress(flat, 1),
    )


def _note(answer: Answer, kind: str, data: bytes) -> None:
    if kind == "cut":
        answer.cut = True
    else:
        answer.noise.append(data[:2000].decode("utf-8", "replace"))


def _esearch(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    result = answer.get("esearchresult")
    if not isinstance(result, Mapping):
        raise Malformed("NCBI's search answer has no result")
    return result


def _found(answer: Mapping[str, Any]) -> Found:
    result = _esearch(answer)
    try:
        return Found(int(result["count"]), result.get("webenv", ""), result.get("querykey", ""))
    except (KeyError, ValueError, TypeError) as error:
        raise Malformed("NCBI's search answer has no count") from error


def _idlist(answer: Mapping[str, Any]) -> list[str]:
    ids = _esearch(answer).get("idlist")
    if not isinstance(ids, list):
        raise Malformed("NCBI's search answer has no list of ids")
    return [str(id_) for id_ in ids]


def _summaries(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    result = answer.get("result")
    # Where all of them are unknown there is an error and no result.
    return result if isinstance(result, Mapping) else {}


def _read_json(reply: Reply) -> Mapping[str, Any]:
    """NCBI's JSON, which may hold raw newlines in its strings."""
    try:
        answer = json.loads(reply.body, strict=False)
    except ValueError as error:
        raise Malformed("NCBI answered with broken JSON", reply.evidence()) from error
    if not isinstance(answer, Mapping):
        raise Malformed("NCBI answered with JSON that is no object", reply.evidence())
    result = answer.get("esearchresult", answer)
    said = result.get("ERROR") or result.get("error") if isinstance(result, Mapping) else None
    if said and "esummaryresult" not in answer and "result" not in answer:
        text = " ".join(reply.masked(str(said)).split())[:200]
        raise Malformed(f"NCBI says: {text}", reply.evidence())
    return answer
