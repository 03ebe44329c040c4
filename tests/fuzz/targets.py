"""What is fuzzed: each target takes bytes, and raises for what no input may do.

A target asks of the code that reads hostile input: only its documented errors come out, and what
was accepted keeps a promise.
"""

import json
import zlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, TypeAlias, cast

from yarl import URL

from fetcher import archive
from fetcher.config import load_settings
from fetcher.config.target_file import read_target_file
from fetcher.cursors import feed_cursor, feed_position, page_cursor, page_place, reaches
from fetcher.databases import SUMMARY_DATABASES
from fetcher.documents import Document, flat_file, from_json, json_bytes
from fetcher.errors import (
    CursorGone,
    Evidence,
    Malformed,
    SettingsError,
    TargetError,
    UnreadableRecord,
    UsageError,
)
from fetcher.models import AccountState, Record, TargetState
from fetcher.policy.storable import checked
from fetcher.policy.verdict import Reply, judge_datasets, judge_github, judge_limited, judge_ncbi
from fetcher.policy.wire import decoder, header_text, shown_url
from fetcher.redirects import is_public, next_hop
from fetcher.sources import datasets, eutils, graphql, summaries, wire_github, wire_graphql
from fetcher.sources.genbank import FlatFileSplitter, read_record
from fetcher.sources.github import next_page
from fetcher.sources.lookups import Answered
from fetcher.sources.wire_ncbi import found_of, read_json, summaries_of
from fetcher.sources.wire_taxonomy import taxa_of
from fetcher.store.protocol import COLLECTIONS
from fetcher.store.spill import spill
from fetcher.store.sqlite_schedule import row_of
from fetcher.store.sqlite_schema import from_row, to_row
from fetcher.targets import Target, parse_target, split_targets
from fetcher.web.deliveries import EVENTS, BadPayload, read_news

__all__ = ["TARGETS"]

Fuzzed: TypeAlias = Callable[[bytes], None]

_HOME: Final = URL("https://api.github.com")


def _reply(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, "https://x.example/", body)


def _kept(record: Record) -> None:
    """Both stores can hold it, and give it back."""
    checked(record.content)
    checked({"extra": record.extra, "url": record.source_url, "id": record.id})
    text = json_bytes(record.content).decode()
    assert json_bytes(from_json(text)).decode() == text


def genbank(data: bytes) -> None:
    """A record is a piece of the answer; one that is read gives back its flat file, and is kept."""
    whole, parts = FlatFileSplitter(), FlatFileSplitter()
    cut = 1 + (len(data) * 7 % 97)
    pieces = [*whole.feed(data)]
    again = [p for at in range(0, len(data), cut) for p in parts.feed(data[at : at + cut])]
    last, other = whole.close(), parts.close()
    pieces += [last] if last is not None else []
    again += [other] if other is not None else []
    records = [piece.data for piece in pieces if piece.kind == "record"]
    assert records == [piece.data for piece in again if piece.kind == "record"]
    at = 0
    for piece in pieces:
        at = data.index(piece.data, at) + len(piece.data)
    for flat in records or [data]:
        for database in ("nuccore", "protein"):
            try:
                read = read_record(flat, database)
            except UnreadableRecord:
                continue
            assert read["sequence"] is None or len(read["sequence"]) == read["length"]
        found, _ = eutils._read("nuccore", [flat], "https://x.example", {})
        for record in found:
            if isinstance(record, Record):
                _kept(record)
                assert flat_file({"flat": record.flat}) == flat


def github_rest(data: bytes) -> None:
    """Releases, tags, repositories, assets and limits."""
    evidence = Evidence()
    repository = wire_github.Repository(id=1, full_name="a/b")
    try:
        match data[:1]:
            case b"0":
                repository = wire_github.parse_repository(data[1:], evidence)
                assert parse_target(f"github:{repository.full_name}").name == repository.full_name
                checked(repository.model_dump())
            case b"1":
                for release in wire_github.parse_releases(data[1:], evidence):
                    _kept(wire_github.release_record(release, repository))
            case b"2":
                for tag in wire_github.parse_tags(data[1:], evidence):
                    _kept(wire_github.tag_record(tag, repository, "https://x.example/"))
            case b"3":
                for asset in wire_github.parse_assets(data[1:], evidence):
                    checked(asset.model_dump())
            case b"4":
                f"{wire_github.parse_limits(data[1:], evidence).resources.core.reset:%H:%M}"
            case _:
                _kept(
                    wire_github.release_record(
                        wire_github.parse_release(data, evidence), repository
                    )
                )
    except Malformed as error:
        str(error).encode()


def github_graphql(data: bytes) -> None:
    """Every alias of an answer, as a check, and as a page of releases and tags."""
    reply = _reply(data)
    answer = graphql._read(reply, 0.0)
    if answer is None:
        return
    graphql._judge(answer, reply, 0.0) if answer.data or answer.errors else None
    for alias, value in answer.data.items():
        answer.error_of(alias)
        try:
            found = wire_graphql.parse_repository(value, answer.evidence)
        except Malformed as error:
            str(error).encode()
            continue
        repository = found.repository()
        assert parse_target(f"github:{repository.full_name}").name == repository.full_name
        wire_graphql.fingerprint(found)
        wire_graphql.last_update(found)
        for node in found.releases.nodes if found.releases is not None else ():
            _kept(wire_graphql.graph_record(node, repository, "https://x.example"))
        for each in found.tags.nodes if found.tags is not None else ():
            if (
                record := wire_graphql.graph_tag(each, repository, "https://x.example")
            ) is not None:
                _kept(record)


_GENOMES: Final = datasets.Genomes(
    cast("Any", None), cast("Any", None), url="https://x.example", api_key=None, patience=0
)


class _Urls:
    def url_of(self, script: str, database: str, name: str) -> str:
        return f"https://x.example/{script}?db={database}&id={name}"


_SUMMARIES: Final = summaries.Summaries(cast("Any", _Urls()), SUMMARY_DATABASES["bioproject"])


def ncbi_json(data: bytes) -> None:
    """Searches, summaries and genome reports."""
    reply = _reply(data)
    try:
        found = found_of(read_json(reply))
        ",".join(found.ids).encode("ascii")
        checked({"count": found.count, "of": [found.webenv, found.query_key]})
    except Malformed as error:
        str(error).encode()
    answered: list[Answered | Malformed] = []
    try:
        for uid, each in summaries._summaries(reply).items():
            answered.append(_SUMMARIES._answered(uid, "PRJNA1", each))
    except Malformed as error:
        str(error).encode()
    try:
        page = datasets._page_of(reply)
        target = Target("ncbi", "genome", "GCF_000000001.1")
        answered += [
            _GENOMES._answered(report, target.name, target)
            for report in page.get("reports", ())
            if isinstance(report, dict)
        ]
    except Malformed as error:
        str(error).encode()
    for one in answered:
        if isinstance(one, Answered):
            _kept(one.record)


def ncbi_xml(data: bytes) -> None:
    """Summaries of sequences, and taxa."""
    reply = _reply(data)
    try:
        for summary in summaries_of(reply):
            checked({"of": [summary.uid, summary.accession_version, summary.updated]})
    except Malformed as error:
        str(error).encode()
    try:
        for taxon in taxa_of(reply):
            if not isinstance(taxon, Malformed):
                checked(cast("Mapping[str, Any]", taxon))
    except Malformed as error:
        str(error).encode()


def headers(data: bytes) -> None:
    """What servers say in headers, and bodies as they are packed; any verdict can be stored."""
    lines = data.split(b"\n", 8)
    texts = [header_text(line.decode("utf-8", "surrogateescape")) for line in lines]
    for text in texts:
        text.encode()
        shown_url(text).encode()
        is_public(text)
        if (url := next_page(text)) is not None:
            assert url in text
        for method, status in (("GET", 302), ("POST", 307)):
            try:
                target = next_hop(method, _HOME / "x", status, text, _HOME)
            except Malformed:
                continue
            assert target.scheme == "https"
            assert target.host
    names = ("retry-after", "date", "x-ratelimit-reset", "x-ratelimit-remaining", "content-type")
    said = dict(zip(names, texts, strict=False))
    status = (200, 301, 400, 403, 429, 451, 500)[len(data) % 7]
    reply = Reply(status, said, texts[-1], lines[-1], secrets=("s3cret",))
    for judge in (judge_github, judge_ncbi, judge_datasets, judge_limited):
        error = getattr(judge(reply, 1e9), "error", None)
        if error is not None:
            str(error).encode()
            assert "s3cret" not in f"{error} {error.evidence}"
    for encoding in ("gzip", "deflate"):
        unpacker = decoder(encoding, 1 << 10)
        assert unpacker is not None
        try:
            for piece in unpacker.feed(lines[-1]):
                assert len(piece) <= 1 << 10
        except zlib.error:
            continue


def targets(data: bytes) -> None:
    """What is a target is the same target in its canonical spelling, and can be stored."""
    text = data.decode(
        "utf-8", "replace" if data[:1] < b"\x80" else "surrogatepass" if _pairs(data) else "replace"
    )
    try:
        target = parse_target(text)
    except TargetError as error:
        assert error.reason
        return
    target.key.encode()
    assert parse_target(target.key) == target == Target.of(target.key)
    assert parse_target(target.key).key == target.key
    assert target.key.isprintable()
    for one in split_targets(text):
        try:
            parse_target(one)
        except TargetError:
            continue


def _pairs(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


_FOLDER: Final = Path("/dev/shm" if Path("/dev/shm").is_dir() else gettempdir())


def settings(data: bytes) -> None:
    """Every mistake has its place; the file's, or the name of a variable."""
    file, _, rest = data.partition(b"\0")
    path = _FOLDER / "fetcher-fuzz.toml"
    path.write_bytes(file)
    environ: dict[str, str] = {}
    for line in rest.decode("utf-8", "surrogateescape").split("\n"):
        name, equals, value = line.partition("=")
        if equals and "\0" not in line:
            environ[name] = value
    environ.pop("FETCHER_CONFIG", None)
    for text in (json_safe(file), *environ.values()):
        if "_file" in text or "/dev/" in text or "/proc/" in text:
            return
    if any(name.lower().endswith("_file") for name in environ):
        return
    try:
        repr(load_settings(path, environ, _FOLDER))
    except SettingsError as error:
        assert error.mistakes
        for mistake in error.mistakes:
            assert mistake.place
            assert mistake.message
    try:
        for number, text in read_target_file(file, "file"):
            assert number > 0
            parse_target(split_targets(text)[0])
    except SettingsError as error:
        assert all(mistake.place.startswith("file") for mistake in error.mistakes)


def json_safe(data: bytes) -> str:
    return data.decode("latin-1")


_ORDER: Final = ("published_at", "_id")


def cursors(data: bytes) -> None:
    """A cursor that is taken leads to the place that it stands for."""
    text = data.decode("utf-8", "surrogateescape")
    made = page_cursor(_ORDER, ("2024-01-01T00:00:00Z", text)) if _storable(text) else text
    for each in (text, made, *_packed(data)):
        try:
            place = page_place(each, _ORDER)
        except UsageError:
            continue
        assert page_place(page_cursor(_ORDER, place), _ORDER) == place
        json_bytes(place)
    for each in (text, *_packed(data)):
        try:
            position = feed_position(each, "s")
        except CursorGone:
            continue
        assert feed_position(feed_cursor("s", position), "s") == position
        assert reaches(each, each, "s")


def _storable(text: str) -> bool:
    return text.isprintable()


def _packed(data: bytes) -> tuple[str, ...]:
    import base64

    return (base64.urlsafe_b64encode(data).decode().rstrip("="),)


def webhooks(data: bytes) -> None:
    """News are of a repository that there can be."""
    for event in EVENTS:
        try:
            news = read_news(event, data)
        except BadPayload as error:
            str(error).encode()
            continue
        if news is not None:
            assert 0 < news.repository_id < 1 << 63
            for target in news.names:
                assert parse_target(target.key) == target


class _Filler:
    """A store that forgets, and makes rows as SQLite's does."""

    def __init__(self) -> None:
        self.counted = 0

    async def begin(self) -> None: ...

    async def end(self) -> None: ...

    async def clear(self) -> None: ...

    async def count(self, query: Any) -> int:
        return self.counted

    async def put_records(self, kind: Any, documents: list[Document]) -> None:
        for document in documents:
            small, _ = spill(document)
            row = to_row(kind, small)
            from_row(row[1], row[2])

    async def put_targets(self, states: list[TargetState]) -> None:
        json_bytes([row_of(state) for state in states])

    async def put_accounts(self, accounts: list[AccountState], token: int) -> None:
        for each in accounts:
            json_bytes(each.budget)


def _run(work: Coroutine[Any, Any, object]) -> None:
    """Runs what never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


_HEAD: Final = json_bytes(archive._HEAD) + b"\n"


def exports(data: bytes) -> None:
    """An export that was tampered with is refused with its line, or can be stored."""
    import hashlib

    lines = [_HEAD, *(line + b"\n" for line in data.split(b"\n") if line)]
    counts = dict.fromkeys((*COLLECTIONS.values(), "targets", "accounts"), 0)
    for line in lines[1:]:
        try:
            shape = json.loads(line)
            (sort,) = shape
            counts[
                {"target": "targets", "account": "accounts"}.get(sort)
                or COLLECTIONS[shape["record"]["kind"]]
            ] += 1
        except (ValueError, RecursionError, KeyError, TypeError):
            break
    told = {"counts": counts, "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    lines.append(json_bytes({"end": told}) + b"\n")
    try:
        _run(archive.fill(cast("Any", _Filler()), lines, "x", lambda number: None))
    except UsageError as error:
        assert str(error).startswith("x")


TARGETS: Final[Mapping[str, Fuzzed]] = {
    each.__name__: each
    for each in (
        genbank,
        github_rest,
        github_graphql,
        ncbi_json,
        ncbi_xml,
        headers,
        targets,
        settings,
        cursors,
        webhooks,
        exports,
    )
}
