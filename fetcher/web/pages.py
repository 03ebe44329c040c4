"""The status page, and a page for each target and record: made here, read without a script.

Nothing comes from elsewhere and everything is escaped (texts of releases are hostile): the policy
below lets a browser load only what this server has. The one script shows changes as they come.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from importlib.resources import files
from typing import Any, Final, Protocol
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from fetcher import __version__
from fetcher.documents import Document, Kind, time_text, to_json
from fetcher.errors import StoreError, UsageError
from fetcher.models import OutcomeKind, TargetState
from fetcher.reader import Changed, Reader
from fetcher.store.protocol import COLLECTIONS
from fetcher.told import account_document
from fetcher.web.access import Access
from fetcher.web.charts import changes_by_day, mood_of, timeline

__all__ = ["Pages"]

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ASSETS: Final[Mapping[str, str]] = {"style.css": "text/css", "changes.js": "text/javascript"}
# Targets that one page looks at, and shows; changes and records that it shows.
_LOOKED_AT: Final = 20_000
_SHOWN: Final = 200
_CHANGES: Final = 30
_RECORDS: Final = 500
_LONG: Final = 20_000
_UPSTREAMS: Final = ("github:", "ncbi:")
_OWN: Final = ("_id", "kind", "targets", "history", "stamp", "observed", "blobs", "flat")


class Readiness(Protocol):
    """Who knows whether the daemon is ready."""

    def ready(self) -> Sequence[str]:
        """Why it is not, a sentence each; nothing when it is."""
        ...


class Pages:
    """Serves ``/``, ``/targets/…`` and ``/records/…``."""

    def __init__(
        self, reader: Reader, access: Access, health: Readiness, *, require_token: bool
    ) -> None:
        self._reader = reader
        self._access = access
        self._health = health
        self._require = require_token
        # What a template names and does not have is an error, not an empty place.
        self._templates = Environment(
            loader=PackageLoader("fetcher.web", "site"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            enable_async=False,
        )
        self._templates.filters.update(_FILTERS)
        self._templates.globals["version"] = __version__

    def add_to(self, app: web.Application) -> None:
        """Adds the pages and what they load."""
        for path, page in (
            ("/", self._status),
            ("/targets/{target:.+}", self._target),
            ("/records/{kind}/{id:.+}", self._record),
        ):
            app.router.add_get(path, self._guarded(page))
        for name, media_type in _ASSETS.items():
            app.router.add_get(f"/site/{name}", _asset(name, media_type))

    def _guarded(
        self, page: Callable[[web.Request, bool], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            may = await self._access.knows(request)
            if may is False or (self._require and not may):
                # A browser asks for it: any name, and the token as the password.
                asked = {"WWW-Authenticate": 'Basic realm="fetcher", charset="UTF-8"'}
                return web.Response(status=401, text="A token is needed.", headers=asked)
            try:
                return await page(request, may is True)
            except StoreError as error:
                return web.Response(status=503, text=str(error), headers=_HEADERS)

        return handler

    def _page(self, name: str, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401
        text = self._templates.get_template(name).render(now=self._reader.now(), **values)
        return web.Response(status=status, text=text, content_type="text/html", headers=_HEADERS)

    def _absent(self, what: str) -> web.Response:
        return self._page("absent.html", 404, what=what)

    async def _status(self, request: web.Request, may: bool) -> web.Response:
        q, outcome = request.query.get("q", "")[:256], request.query.get("outcome", "")
        counts: Counter[str] = Counter()
        found: list[TargetState] = []
        total = 0
        async with aclosing(self._reader.targets(limit=_LOOKED_AT)) as states:
            async for state in states:
                if not may and state.facts.get("private") is True:
                    continue
                total += 1
                name = str(state.outcome) if state.outcome is not None else "never polled"
                counts[name] += 1
                if q.lower() in state.key.lower() and outcome in ("", name):
                    found.append(state)
        # What fails comes first, the longest of that before; then what is due.
        found.sort(key=lambda each: (-each.failures, each.next_due is None, each.next_due, each.id))
        return self._page(
            "status.html",
            reasons=list(self._health.ready()),
            accounts=await self._accounts(),
            outcomes=["never polled", *map(str, OutcomeKind)],
            q=q,
            outcome=outcome,
            total=total,
            counts=counts.most_common(),
            cut=_LOOKED_AT if total >= _LOOKED_AT else 0,
            found=len(found),
            failing=[each for each in found if each.failures],
            shown=found[:_SHOWN],
            changes=[
                each
                for each in await self._reader.recent(_CHANGES)
                if may or not _is_hidden(each.record)
            ],
        )

    async def _accounts(self) -> list[Document]:
        return [
            account_document(each)
            for each in await self._reader.accounts()
            if each.account.startswith(_UPSTREAMS)
        ]

    async def _target(self, request: web.Request, may: bool) -> web.Response:
        text = request.match_info["target"]
        try:
            state = await self._reader.target_state(text)
        except UsageError as error:
            return self._absent(str(error))
        if state is None or (state.facts.get("private") is True and not may):
            return self._absent(f"The target {text} is not known here.")
        records = await self._reader.of_target(state.key, _RECORDS + 1)
        shown = [each for each in records[:_RECORDS] if may or not _is_hidden(each)]
        now = self._reader.now()
        days = changes_by_day(shown, now)
        return self._page(
            "target.html",
            state=state,
            every=_every(state),
            records=[_lenient(each) for each in shown],
            more=len(records) > _RECORDS,
            days=days,
            polls=timeline(state.spells, now),
            most=max([1, *(number for _, number in days)]),
        )

    async def _record(self, request: web.Request, may: bool) -> web.Response:
        kind, id_ = request.match_info["kind"], request.match_info["id"]
        known: dict[str, Kind] = {each: each for each in COLLECTIONS}
        fresh = await self._reader.record(known[kind], id_) if kind in known else None
        if fresh is None or (not may and _is_hidden(fresh.record)):
            return self._absent(f"No record {id_} is stored.")
        fields = [(name, _shown(value)) for name, value in fresh.record.items() if name not in _OWN]
        return self._page("record.html", fresh=fresh, record=_lenient(fresh.record), fields=fields)


def _asset(name: str, media_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    data = files("fetcher.web").joinpath("site", name).read_bytes()
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "max-age=3600",
        "Content-Type": f"{media_type}; charset=utf-8",
    }

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=data, headers=headers)

    return handler


def _is_hidden(record: Document) -> bool:
    return bool(record.get("private") or record.get("draft"))


def _every(state: TargetState) -> str:
    every = state.watch.every if state.watch is not None else None
    return _span(every) if isinstance(every, float | int) else str(every)


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a document holds
    text = value if isinstance(value, str) else to_json(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text):,} characters)"


class _Lenient(dict[str, Any]):
    """A document whose kind may lack a field that another one has."""

    def __missing__(self, name: str) -> None:
        return None


def _lenient(document: Document) -> _Lenient:
    return _Lenient(document)


# --- filters --------------------------------------------------------------------------------


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _since(time: datetime | None, now: datetime) -> str:
    return f"{_span(max(0.0, (now - time).total_seconds()))} ago" if time is not None else "never"


def _until(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "not known"
    left = (time - now).total_seconds()
    return f"in {_span(left)}" if left > 0 else f"due for {_span(-left)}"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _key_path(key: str) -> str:
    return f"/targets/{quote(key, safe='')}"


def _target_path(state: TargetState) -> str:
    return _key_path(state.key)


def _record_path(record: Changed | Document) -> str:
    kind, id_ = (
        (record.kind, record.id) if isinstance(record, Changed) else (record["kind"], record["_id"])
    )
    return f"/records/{quote(kind, safe='')}/{quote(id_, safe='')}"


def _record_name(record: Document) -> str:
    match record["kind"]:
        case "release":
            return f"{record['repository']}@{record['tag']}"
        case "sequence":
            return str(record["accession_version"])
        case _:
            return str(record["_id"])


def _mood(state: TargetState) -> str:
    return mood_of(str(state.outcome) if state.outcome is not None else None)


def _safe_link(url: str) -> str:
    return url if url.startswith(("https://", "http://")) else "#"


def _short(value: Any) -> str:  # noqa: ANN401 - whatever a document holds
    text = _shown(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


_FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "iso": time_text,
    "key_path": _key_path,
    "moment": _moment,
    "mood": _mood,
    "record_name": _record_name,
    "record_path": _record_path,
    "safe_link": _safe_link,
    "short": _short,
    "since": _since,
    "span": _span,
    "target_path": _target_path,
    "until": _until,
}
