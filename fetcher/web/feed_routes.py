"""``/v1/targets`` and ``/v1/changes``: how fresh everything is, and what changed."""

import asyncio
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from fetcher.documents import Document, from_json, to_json
from fetcher.models import TargetState
from fetcher.store.states import target_document
from fetcher.targets import parse_target
from fetcher.web.answers import Answer, Freshness, next_link
from fetcher.web.call import Absent, Call
from fetcher.web.declare import ACCEPTED, BadParameter, Parameter, Route, boolean, integer, text
from fetcher.web.github_routes import LIMIT

__all__ = ["ROUTES"]

_TARGET = Parameter("target", text(8192), "A target; its slashes may be escaped or not.")
_STREAM = "text/event-stream"
_LOOKED_AT = 5_000
# Seconds that the few bytes of a body may take.
_READING: Final = 10.0
_NOT_SHOWN = ("cursor", "rhythm", "token")


def _shown(state: TargetState, call: Call) -> bool:
    return call.may or state.facts.get("private") is not True


async def _targets(call: Call) -> Answer:
    limit, after = call.values["limit"], call.values["after"]
    now = call.reader.now()
    async with aclosing(call.reader.targets(after, limit + 1)) as states:
        found = [state async for state in states]
    items = [_told(state, now) for state in found[:limit] if _shown(state, call)]
    next_ = found[limit - 1].id if len(found) > limit else None
    links = [next_link(call.request, next_)] if next_ is not None else []
    body = to_json({"items": items, "next": next_})
    return Answer(body.encode(), links=links, private=call.may)


async def _target(call: Call) -> Answer:
    state = await _known(call)
    return Answer(to_json(_told(state, call.reader.now())).encode(), private=call.may)


async def _refresh(call: Call) -> Answer:
    state = await _known(call)
    if call.poller is None or not await call.poller.poll_soon(state, full=call.values["full"]):
        raise Absent(
            f"nobody watches {state.key}, so nobody would poll it; "
            f"`fetcher watch add {state.key}` has it watched"
        )
    body = to_json({"target": state.key, "status": "accepted"})
    return Answer(body.encode(), status=202, private=True)


async def _watch(call: Call) -> Answer:
    try:
        async with asyncio.timeout(_READING):
            body = await call.request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    every = _every(body)
    target = parse_target(call.values["target"])
    if call.watcher is None:
        raise Absent("nothing polls here, so nothing can be watched")
    state = await call.watcher.watch(target, every)
    return Answer(to_json(_told(state, call.reader.now())).encode())


def _every(body: bytes) -> str:
    """What a PUT wishes: `auto` where it says nothing."""
    if not body.strip():
        return "auto"
    try:
        wish = from_json(body)
    except ValueError:
        raise BadParameter("body", "it is no JSON") from None
    match wish:
        case {"every": str(every), **others} if not others:
            return every
        case {} if wish == {}:
            return "auto"
    raise BadParameter("body", 'write {"every": "15m"} or {"every": "auto"}')


async def _forget(call: Call) -> Answer:
    target = parse_target(call.values["target"])
    found = None
    if call.watcher is not None:
        found = await call.watcher.forget(target, purge=call.values["purge"])
    if found is None:
        raise Absent(f"the target {target.key} is not known here")
    return Answer(b"", status=204)


async def _known(call: Call) -> TargetState:
    target = parse_target(call.values["target"])
    state = await call.reader.target_state(target.key)
    if state is None or not _shown(state, call):
        raise Absent(f"the target {target.key} is not known here")
    return state


def _told(state: TargetState, now: Any) -> Document:  # noqa: ANN401 - a time
    document = target_document(state, now)
    for name in _NOT_SHOWN:
        document.pop(name, None)
    error = state.failure.message if state.failure is not None else None
    return {"target": state.key, "error": error, **document}


async def _changes(call: Call) -> Answer | web.StreamResponse:
    limit, after = call.values["limit"], call.values["after"]
    if _STREAM in call.request.headers.get("Accept", "") and call.hub is not None:
        last = call.request.headers.get("Last-Event-ID")
        return await call.hub.stream(call.request, last or after, may=call.may)
    items: list[Document] = []
    if after == "now":
        cursor = await call.reader.cursor()
    else:
        cursor = after if after is not None else ""
        async with aclosing(call.reader.changes(after)) as changes:
            seen = 0
            async for change in changes:
                seen += 1
                cursor = change.cursor
                if call.may or not _hidden(change.record):
                    items.append(change.document())
                # However much is hidden, an answer takes no longer than that.
                if len(items) == limit or seen == _LOOKED_AT:
                    break
        cursor = cursor or await call.reader.beginning()
    body = to_json({"items": items, "next": cursor})
    links = [next_link(call.request, cursor)]
    changed = max((each["changed_at"] for each in items), default=None)
    return Answer(
        body.encode(), freshness=Freshness(changed_at=changed), links=links, private=call.may
    )


def _hidden(record: Document) -> bool:
    return bool(record.get("private") or record.get("draft"))


ROUTES = (
    Route(
        "GET",
        "/v1/targets",
        "listTargets",
        "How every target stands, by id",
        _targets,
        (LIMIT, Parameter("after", text(8300), "The `next` of the part before.")),
        {"application/json": "TargetList"},
        "Freshness",
    ),
    Route(
        "POST",
        "/v1/targets/{target:.+}/refresh",
        "refresh",
        "Asks for a poll of a watched target now",
        _refresh,
        (
            _TARGET,
            Parameter("full", boolean(), "Ignore cursors and reconcile in full.", default=False),
        ),
        {"application/json": "Accepted"},
        "Freshness",
        status=ACCEPTED,
        secured=True,
    ),
    Route(
        "PUT",
        "/v1/targets/{target:.+}",
        "watch",
        "Watches a target from now on, or changes how often it is polled",
        _watch,
        (_TARGET,),
        {"application/json": "Target"},
        "Freshness",
        secured=True,
        body={
            "type": "object",
            "properties": {
                "every": {
                    "type": "string",
                    "description": "A duration such as `15m`, or `auto`.",
                    "default": "auto",
                }
            },
        },
    ),
    Route(
        "DELETE",
        "/v1/targets/{target:.+}",
        "forget",
        "Watches a target no longer",
        _forget,
        (
            _TARGET,
            Parameter(
                "purge",
                boolean(),
                "Its records go, too, but for those to which another target leads.",
                default=False,
            ),
        ),
        {},
        "Freshness",
        status="204",
        secured=True,
    ),
    Route(
        "GET",
        "/v1/targets/{target:.+}",
        "target",
        "How a target stands, by any name that it answers to",
        _target,
        (_TARGET,),
        {"application/json": "Target"},
        "Freshness",
    ),
    Route(
        "GET",
        "/v1/changes",
        "changes",
        "Records that changed since a cursor, each once at its latest state",
        _changes,
        (
            Parameter("limit", integer(1, 1000), "How many items at most.", 100),
            Parameter(
                "after",
                text(8192),
                "A cursor: from there on; `now` gives only a cursor; without it from the "
                "beginning. `next` is always there.",
            ),
        ),
        {"application/json": "ChangeList", _STREAM: "Text"},
        "Freshness",
    ),
)
