"""The API described by the very declarations that serve it: OpenAPI 3.1, and a page of it.

https://spec.openapis.org/oas/v3.1.1.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from pydantic import TypeAdapter

from fetcher import __version__, documents
from fetcher.models import OutcomeKind
from fetcher.web.declare import Route

__all__ = ["document", "page"]

_REF: Final = "#/components/schemas/"
_KINDS: Final[Mapping[str, Any]] = {
    "Release": documents.Release,
    "Tag": documents.Tag,
    "Sequence": documents.Sequence,
    "Taxon": documents.Taxon,
}
_TIME: Final = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": "integer"}
_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "A parameter that cannot be meant; `detail` names it.",
    "401": "A token is needed, or is not right.",
    "404": "There is no such thing here; `detail` says how to get it.",
    "503": "The store cannot be read just now.",
}
_READ: Final[Mapping[str, str]] = {
    "304": "It is what `If-None-Match` names.",
}
_HEADERS: Final[Mapping[str, str]] = {
    "ETag": "Strong: one for each representation.",
    "Age": "Seconds since the last successful check.",
    "Last-Modified": "When it last changed.",
    "Cache-Control": "`max-age`: from one check to the next.",
}


def document(routes: Sequence[Route]) -> bytes:
    """The OpenAPI document."""
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "fetcher",
            "version": __version__,
            "summary": "What GitHub and NCBI publish, kept current.",
            "license": {"name": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": _paths(routes),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(_schemas()),
        },
    }
    return json.dumps(described, separators=(",", ":")).encode()


def _paths(routes: Sequence[Route]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.plain_path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route) -> dict[str, Any]:
    content = {media: {"schema": {"$ref": _REF + name}} for media, name in route.answers.items()}
    answers: dict[str, Any] = {route.status: {"description": route.summary}}
    if content:
        answers[route.status]["content"] = content
    if route.method == "GET":
        answers[route.status]["headers"] = {
            name: {"description": text, "schema": _TEXT} for name, text in _HEADERS.items()
        }
        answers |= {status: {"description": text} for status, text in _READ.items()}
    told = dict(_PROBLEMS)
    if route.name == "changes":
        told["410"] = "The cursor is of another store or cannot be read: begin without one."
    problem = {"application/problem+json": {"schema": {"$ref": _REF + "Problem"}}}
    answers |= {status: {"description": t, "content": problem} for status, t in told.items()}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [_parameter(route, each) for each in route.parameters],
        "responses": dict(sorted(answers.items())),
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": route.body}}}
    if route.secured:
        operation["security"] = [{"token": []}]
    return operation


def _parameter(route: Route, parameter: Any) -> dict[str, Any]:  # noqa: ANN401
    in_path = parameter.name in route.in_path
    schema = dict(parameter.type.schema)
    if parameter.default is not None and not in_path:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path,
        "description": parameter.description,
        "schema": schema,
    }


def _schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    stored = _record_of(documents.Stored)
    for name, kind in _KINDS.items():
        made = _record_of(kind)
        made["properties"] = {**stored["properties"], **made["properties"]}
        yield name, made
        yield f"{name}List", _list_of(name)
    yield "Genome", {"type": "object", "properties": dict(stored["properties"])}
    yield "Text", _TEXT
    yield "Target", _TARGET
    yield "TargetList", _list_of("Target")
    yield "Change", _CHANGE
    yield "ChangeList", _list_of("Change")
    yield "Accepted", _object(target=_TEXT, status=_TEXT)
    yield "Problem", _object(status=_NUMBER, title=_TEXT, detail=_TEXT)


def _record_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a TypedDict
    made: dict[str, Any] = TypeAdapter(kind).json_schema(ref_template=_REF + "{model}")
    # Small enough to stand where they are used.
    definitions = made.pop("$defs", {})
    inlined: dict[str, Any] = _inline(made, definitions)
    inlined["properties"].pop("flat", None)  # bytes, which JSON leaves out
    inlined.pop("required", None)  # what cannot be read has its error alone
    return inlined


def _inline(value: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_inline(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return _inline(definitions[reference.removeprefix(_REF)], definitions)
    return {key: _inline(each, definitions) for key, each in value.items() if key != "title"}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(name: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": _REF + name}}
    return _object(items=items, next=_MAYBE_TEXT)


_TARGET: Final = _object(
    target=_TEXT,
    outcome={"type": ["string", "null"], "enum": [*map(str, OutcomeKind), None]},
    error=_MAYBE_TEXT,
    missing={"type": "array", "items": _TEXT},
    records=_NUMBER,
    failures=_NUMBER,
    watched={"type": "boolean"},
    every={"type": ["number", "string", "null"]},
    age={"type": ["number", "null"]},
    last_attempt=_MAYBE_TIME,
    last_success=_MAYBE_TIME,
    last_change=_MAYBE_TIME,
    next_due=_MAYBE_TIME,
    spells={"type": "array", "items": _object(since=_TIME, outcome=_TEXT)},
)
_CHANGE: Final = _object(
    cursor=_TEXT,
    _id=_TEXT,
    kind=_TEXT,
    change={"type": "string", "enum": ["added", "changed", "withdrawn"]},
    fields={"type": "array", "items": _TEXT},
    revision=_NUMBER,
    changed_at=_TIME,
)


# --- the page -------------------------------------------------------------------------------

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>fetcher: the API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code{font-family:ui-monospace,monospace}
h3{margin:2rem 0 .25rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;
border-bottom:1px solid #8886}
</style></head><body><main><h1>The API</h1>
<p>Everything here stands in <a href="/openapi.json">openapi.json</a> for programs.
Errors are <code>application/problem+json</code>.</p>
"""


def page(routes: Sequence[Route]) -> bytes:
    """The same for people: one page, nothing from elsewhere."""
    parts = [_HEAD]
    for tag in dict.fromkeys(route.tag for route in routes):
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_shown(route) for route in routes if route.tag == tag]
    parts.append("</main></body></html>")
    return "".join(parts).encode()


def _shown(route: Route) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each.name)}</code></td><td>{escape(_kind(each))}</td>"
        f"<td>{escape(each.description)}</td></tr>"
        for each in route.parameters
    )
    needs = "<p>Needs a token.</p>" if route.secured else ""
    table = (
        f"<table><thead><tr><th>Parameter</th><th>Type</th><th>Meaning</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    return (
        f"<h3><code>{route.method} {escape(route.plain_path)}</code></h3>"
        f"<p>{escape(route.summary)}.</p>{needs}{table}"
    )


def _kind(parameter: Any) -> str:  # noqa: ANN401
    schema = parameter.type.schema
    kind = ", ".join(schema["enum"]) if "enum" in schema else str(schema["type"])
    if parameter.default is None:
        return kind
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{kind} (default {shown})"
