"""NCBI's E-utilities: what is asked, and what an answer is taken for.

https://www.ncbi.nlm.nih.gov/books/NBK25499/
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeAlias, TypeVar

from isal import isal_zlib

from fetcher import documents
from fetcher.errors import Evidence, Malformed, UnreadableRecord, UpstreamError
from fetcher.gate import Gate
from fetcher.models import Record
from fetcher.policy.digest import measured
from fetcher.policy.secrecy import masked
from fetcher.policy.storable import LARGEST
from fetcher.policy.verdict import Accept, Reply, Retry, Verdict, judge_ncbi
from fetcher.sources.genbank import FlatFileSplitter, read_records
from fetcher.sources.wire_ncbi import Found, Summary, found_of, read_json, summaries_of
from fetcher.transport import Request, Transport

__all__ = ["SEARCH_REACH", "SUMMARY_IDS", "Answer", "Days", "Eutils"]

T = TypeVar("T")

# So much of a text that is no record is looked at.
_NOISE: Final = 2_000

# Records are handed on, and parsed in a worker thread, by the megabyte: enough to amortise the
# hop between threads, little enough for memory.
_PARSE_BYTES: Final = 1 << 20
# One search reaches no further, whatever retstart says.
SEARCH_REACH: Final = 10_000
SUMMARY_IDS: Final = 500
# https://www.ncbi.nlm.nih.gov/genbank/release/current/ (3.4.15): what a record is made of
_PARTS: Final = b"\nCONTIG "
# What a store may keep beside a document.
_BESIDE: Final = ("sequence", "features", "references", "comment")

Days: TypeAlias = tuple[date, date]
"""The first and the last day, both included, on which records were modified."""


@dataclass(slots=True)
class Answer:
    """What an efetch answer held beside its whole records.

    `noise` is text that is no record, such as an error document between two of them. `broken`
    says why the answer ended early; `cut` that its last record has no end. `in_parts` are the
    accession.versions of records that say of which others they are made, without a sequence.
    """

    noise: list[str] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    in_parts: set[str] = field(default_factory=set)
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
        # More threads at once would only wait for each other, and the event loop for all of them.
        self._reading = asyncio.Lock()
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

    async def search(
        self, database: str, term: str, *, days: Days | None = None, names: int = SEARCH_REACH
    ) -> Found:
        """Runs a query and keeps its result on the history server; gives so many names of it."""
        form = {
            "db": database,
            "term": term,
            "usehistory": "y",
            "retmax": str(names),
            "idtype": "acc",
            "retmode": "json",
        }
        if days is not None:
            first, last = (f"{day:%Y/%m/%d}" for day in days)
            form |= {"datetype": "mdat", "mindate": first, "maxdate": last}
        return await self.ask("esearch.fcgi", form, lambda reply: found_of(read_json(reply)))

    async def summaries(self, database: str, ids: Sequence[str]) -> list[Summary]:
        """What NCBI says of those that it knows; one request for up to `SUMMARY_IDS`."""
        form = {"db": database, "id": ",".join(ids), "retmode": "xml"}
        return await self.ask("esummary.fcgi", form, summaries_of)

    async def ask(self, script: str, form: Mapping[str, str], read: Callable[[Reply], T]) -> T:
        """What `read` makes of an answer; where it raises `Malformed` it is asked for again."""
        found: list[T] = []

        def judge(reply: Reply, now: float) -> Verdict:
            verdict = judge_ncbi(reply, now)
            if isinstance(verdict, Accept):
                try:
                    found[:] = [read(reply)]
                except Malformed as error:
                    return Retry(error, None)
            return verdict

        await self._transport.send(self._request(script, form), judge, patience=self._patience)
        return found[0]

    def url_of(self, script: str, database: str, name: str) -> str:
        """Where a record comes from."""
        return f"{self._url}/{script}?db={database}&id={name}"

    async def fetch(
        self,
        database: str,
        asked: Mapping[str, str],
        answer: Answer,
        told: Mapping[str, Summary] | None = None,
    ) -> AsyncGenerator[list[Record], None]:
        """Streams whole records as they come, and fills `answer` with whatever else came.

        One that cannot be read comes as its flat file, with an `error` in its content, and stands
        in `answer` as well.

        `asked` names them: ``id``, or a search's ``WebEnv`` and ``query_key`` with ``retstart``
        and ``retmax``. `told` is what summaries say of them, by accession.version. A chromosome,
        which comes without its features and sequence, is asked for again with them. Raises
        `UpstreamError` only when there was no answer at all.
        """
        told = told or {}
        async with aclosing(self._stream(database, asked, answer, told)) as bunches:
            async for records in bunches:
                whole = [each for each in records if _name(each) not in answer.in_parts]
                if whole:
                    yield whole
        # Not while that answer is open: it holds one of the account's places.
        if answer.in_parts:
            again = {"id": ",".join(sorted(answer.in_parts)), "rettype": "gbwithparts"}
            async with aclosing(self._stream(database, again, answer, told)) as bunches:
                async for records in bunches:
                    yield records

    async def _stream(
        self,
        database: str,
        asked: Mapping[str, str],
        answer: Answer,
        told: Mapping[str, Summary],
    ) -> AsyncGenerator[list[Record], None]:
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
                            _note(answer, piece.kind, piece.data, request.secrets)
                    if size >= _PARSE_BYTES:
                        # Nothing of it is held any more while the records wait to be taken.
                        records = await self._records(database, waiting, answer, told)
                        waiting, size = [], 0
                        yield records
                        del records
            except UpstreamError as error:
                answer.broken = error
        last = splitter.close()
        if last is not None and last.kind == "record":
            waiting.append(last.data)
        elif last is not None:
            _note(answer, last.kind, last.data, request.secrets)
        if waiting:
            yield await self._records(database, waiting, answer, told)

    async def _records(
        self,
        database: str,
        flats: Sequence[bytes],
        answer: Answer,
        told: Mapping[str, Summary],
    ) -> list[Record]:
        async with self._reading:
            read, parts = await asyncio.to_thread(_read, database, flats, self._url, told)
        answer.in_parts |= parts
        answer.unreadable.extend(each for each in read if isinstance(each, UnreadableRecord))
        return [each for each in read if isinstance(each, Record)]

    def _request(self, script: str, form: Mapping[str, str]) -> Request:
        return Request(
            "POST", f"{self._url}/{script}", self._gate, form=(*form.items(), *self._who)
        )


def _read(
    database: str, flats: Sequence[bytes], url: str, told: Mapping[str, Summary]
) -> tuple[list[Record | UnreadableRecord], set[str]]:
    """Runs in a worker thread: parses, digests and compresses; also gives those made of parts."""
    found: list[Record | UnreadableRecord] = []
    in_parts: set[str] = set()
    for read, flat in zip(read_records(flats, database), flats, strict=True):
        error = read if isinstance(read, UnreadableRecord) else None
        if not isinstance(read, UnreadableRecord):
            record = _record(database, read, flat, url, told)
            error = _too_large(record)
            if error is None:
                found.append(record)
                if read["sequence"] is None and _PARTS in flat:
                    in_parts.add(read["accession_version"])
        if error is not None:
            found.append(error)
            if (raw := _raw(database, error, flat, url)) is not None:
                found.append(raw)
    return found, in_parts


def _too_large(record: Record) -> UnreadableRecord | None:
    """Why no document can hold it, where what stores do not keep beside one is too much."""
    if (record.size or 0) <= LARGEST:
        return None
    inside = {key: value for key, value in record.content.items() if key not in _BESIDE}
    if measured(inside)[1] <= LARGEST:
        return None
    name = _name(record)
    return UnreadableRecord(f"record {name}: its header is too large for a document", name)


def _raw(database: str, error: UnreadableRecord, flat: bytes, url: str) -> Record | None:
    """What cannot be read is kept as it came, with why; None where nobody can tell what it is."""
    accession, _, version = (error.name or "").partition(".")
    if not version.isdecimal():
        return None
    content: dict[str, Any] = dict.fromkeys(documents.Sequence.__annotations__)
    del content["uid"]
    content |= {
        "database": database,
        "accession": accession,
        "version": int(version),
        "accession_version": error.name,
        "error": str(error),
    }
    return Record(
        id=f"{database}:{error.name}",
        kind="sequence",
        content=content,
        source_url=_url(url, database, f"{error.name}"),
        digest=measured(content)[0],
        upstream_version=(int(version), None),
        extra={"uid": None},
        flat=isal_zlib.compress(flat, 1),
    )


def _url(url: str, database: str, name: str) -> str:
    return f"{url}/efetch.fcgi?db={database}&id={name}&rettype=gb&retmode=text"


def _record(
    database: str, read: documents.Sequence, flat: bytes, url: str, told: Mapping[str, Summary]
) -> Record:
    # The UID is no content: some ways of asking tell it, others do not.
    content: dict[str, Any] = {key: value for key, value in read.items() if key != "uid"}
    summary = told.get(read["accession_version"])
    if summary is not None and summary.status != "live":
        content["status"] = summary.status
        content["replaced_by"] = summary.replaced_by or read["replaced_by"]
    uid = summary.uid if summary is not None else read["uid"]
    name = read["accession_version"]
    digest, size = measured(content)
    packed = isal_zlib.compress(flat, 1)
    return Record(
        id=f"{database}:{name}",
        kind="sequence",
        content=content,
        source_url=_url(url, database, name),
        digest=digest,
        upstream_version=(read["version"], read["update_date"]),
        extra={"uid": uid},
        flat=packed,
        size=size + len(packed),
    )


def _name(record: Record) -> str:
    name: str = record.content["accession_version"]
    return name


def _note(answer: Answer, kind: str, data: bytes, secrets: tuple[str, ...]) -> None:
    if kind == "cut":
        answer.cut = True
    else:
        text = masked(data[: 2 * _NOISE].decode("utf-8", "replace"), secrets)
        answer.noise.append(text[:_NOISE])
