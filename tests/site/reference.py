"""Writes the tables of the reference from the code: ``make reference``.

A page of docs/ has them between two comments, and prose of its own around them::

    <!-- generated: settings github -->
    <!-- end -->

What the first comment names is one of `tables()`.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from fetcher import documents, errors
from fetcher.cli.app import app
from fetcher.models import OutcomeKind
from fetcher.sources.outcomes import ended_by
from fetcher.web.api import ROUTES
from fetcher.web.openapi import document
from tests.site import settings
from tests.site.markdown import code, table

__all__ = ["DOCS", "ROOT", "filled", "tables"]

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
_BLOCK: Final = re.compile(r"(?ms)^<!-- generated: (.+?) -->\n(.*?)^<!-- end -->$")


def tables() -> Mapping[str, str]:
    """Every table by its name."""
    return {
        **settings.tables((ROOT / "config.example.toml").read_text("utf-8")),
        **dict(_commands()),
        **dict(_routes()),
        **dict(_documents()),
        "metrics": _metrics(),
        "errors": _errors(),
        "outcomes": _outcomes(),
        "exit codes": _of_readme("Exit code"),
        "targets": _of_readme("Written"),
    }


def filled(text: str, made: Mapping[str, str]) -> str:
    """A page with its tables as the code has them; raises `KeyError` for one that there is not."""
    return _BLOCK.sub(
        lambda found: f"<!-- generated: {found[1]} -->\n\n{made[found[1]]}\n\n<!-- end -->",
        text,
    )


# --- commands -------------------------------------------------------------------------------

_COMMON: Final = ("format", "config", "store", "quiet", "log-format", "log-level")


def _commands() -> Iterator[tuple[str, str]]:
    common: dict[str, tuple[str, str]] = {}
    for name, command in _every_command(typer.main.get_command(app)):
        context = command.make_context(name, [], resilient_parsing=True)
        own, shared = [], []
        for parameter in command.params:
            names, told = parameter.get_help_record(context)
            told = _told(told)
            found = re.search(r"--([a-z-]+)", names)
            if found is None:
                own.append((code(str(parameter.metavar)), told))
            elif found[1] in _COMMON and "fasta" not in names:  # some write sequences beside
                shared.append(code(f"--{found[1]}"))
                common.setdefault(found[1], (_names(names), told))
            else:
                own.append((_names(names), told))
        listed = table(("Argument, option", "Does"), own) + "\n\n" if own else ""
        summary = inspect.cleandoc(command.help or "")
        also = f"[Common options](#common-options): {', '.join(shared)}."
        yield f"command {name}", f"{summary}\n\n{listed}{also}"
    yield "common options", table(("Option", "Does"), [common[name] for name in _COMMON])


def _every_command(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _every_command(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def _names(written: str) -> str:
    """Such as ``-f, --format <table|json>``: each name as code, the long ones first."""
    plain = re.sub("[<>]", "", written)
    names = sorted(re.findall(r"--?[A-Za-z-]+", plain), key=lambda each: not each.startswith("--"))
    value = re.search(r" ([^ -][^ ]*)$", plain)
    first = f"{names[0]} {value[1]}" if value is not None else names[0]
    return ", ".join(map(code, (first, *names[1:])))


def _told(text: str) -> str:
    """The help, with what typer tells of a default as a sentence."""
    text = re.sub(r"\s*\[required\]$", "", text)
    found = re.fullmatch(r"(.+?)\s*\[default: (.+?)(?:; (\d+)<=x<=(\d+))?\]", text)
    if found is None or "Default:" in found[1]:
        return found[1] if found is not None else text
    bounds = f", from {found[3]} to {found[4]}" if found[3] else ""
    return f"{found[1]} Default: {code(found[2])}{bounds}."


# --- routes ---------------------------------------------------------------------------------


def _routes() -> Iterator[tuple[str, str]]:
    paths = json.loads(document(ROUTES))["paths"]
    tags: dict[str, list[str]] = {}
    for path, operations in paths.items():
        for method, operation in operations.items():
            (tag,) = operation["tags"]
            tags.setdefault(tag, []).append(_route(method.upper(), path, operation))
    for tag, routes in tags.items():
        yield f"routes {tag}", "\n\n".join(routes)


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### {code(f'{method} {path}')}", f"{operation['summary']}."]
    parameters = [
        (code(each["name"]), each["in"], _schema(each["schema"]), each["description"])
        for each in operation["parameters"]
    ]
    if "requestBody" in operation:
        (media,) = operation["requestBody"]["content"]
        schema = operation["requestBody"]["content"][media]["schema"]
        for name, each in schema["properties"].items():
            told = each.get("description", "")
            parameters.append((code(name), "body", _schema(each), told))
    if parameters:
        parts.append(table(("Parameter", "In", "Type", "Means"), parameters))
    status, answer = next(
        (status, answer)
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    )
    given = ", ".join(
        f"{code(shape['schema']['$ref'].rsplit('/', 1)[1])} as {code(media)}"
        for media, shape in answer.get("content", {}).items()
    )
    refusals = [each for each in operation["responses"] if each[0] in "45"]
    token = " Needs a token." if operation.get("security") == [{"token": []}] else ""
    parts.append(
        f"Answers {status}{': ' if given else ''}{given}. Problems: {', '.join(refusals)}.{token}"
    )
    return "\n\n".join(parts)


def _schema(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    if "enum" in schema:
        told = ", ".join(code(str(each)) for each in schema["enum"])
    elif "minimum" in schema:
        told = f"{kind}, {schema['minimum']} to {schema['maximum']:,}"
    elif schema.get("format") == "date-time":
        told = "date or time"
    else:
        told = str(kind)
    if "default" not in schema:
        return told
    return f"{told}; default {code(json.dumps(schema['default']).strip(chr(34)))}"


# --- documents ------------------------------------------------------------------------------


def _documents() -> Iterator[tuple[str, str]]:
    for name, shape in vars(documents).items():
        if name.startswith("_") or not hasattr(shape, "__required_keys__"):
            continue
        rows = [(code(key), code(kind), told) for key, kind, told in _fields(shape)]
        if not any(told for _, _, told in rows):
            yield f"document {name}", table(("Field", "Type"), [each[:2] for each in rows])
        else:
            yield f"document {name}", table(("Field", "Type", "Means"), rows)


def _fields(shape: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and the docstring that may follow, as the source has them."""
    lines = re.finditer(
        r'(?m)^    (\w+): (.+)\n(?:    """(.+?)"""\n)?', inspect.getsource(shape) + "\n"
    )
    for found in lines:
        yield found[1], re.sub(r"NotRequired\[(.+)\]", r"\1", found[2]), found[3] or ""


# --- metrics, errors, outcomes, what README has --------------------------------------------------


def _metrics() -> str:
    from fetcher.metrics import Metrics

    ours = [
        each
        for each in Metrics().registry._collector_to_names
        if str(getattr(each, "_name", "")).startswith("fetcher_")
    ]
    endings = {"counter": "_total", "info": "_info"}
    rows = []
    for each in ours:
        metric: Any = each
        labels = metric._labelnames or (("version",) if metric._type == "info" else ())
        name = f"{metric._name}{endings.get(metric._type, '')}"
        rows.append((code(name), metric._type, ", ".join(map(code, labels)), metric._documentation))
    return table(("Name", "Type", "Labels", "Means"), rows)


def _errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def _outcomes() -> str:
    causes: dict[str, list[str]] = {}
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.UpstreamError):
            causes.setdefault(str(_ends_as(kind)), []).append(code(name))
    rows = [
        (code(kind), "yes" if kind.good else "no", ", ".join(causes.get(str(kind), ())))
        for kind in OutcomeKind
    ]
    return table(("Outcome", "Good", "Error behind it"), rows)


def _ends_as(kind: type[errors.UpstreamError]) -> OutcomeKind:
    from fetcher.models import Due
    from fetcher.targets import parse_target

    error = kind.__new__(kind)
    errors.UpstreamError.__init__(error, "")
    vars(error).update(retry_at=None, whole_account=False)
    return ended_by(error, Due(parse_target("a/b"), None)).kind


def _of_readme(heading: str) -> str:
    """The table of README.md that begins so: those are held to the code by other tests."""
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"(?m)^\| {heading} \|.*\n(?:\|.*\n)+", readme)
    assert found is not None, heading
    return found[0].strip()


def main(pages: Sequence[Path]) -> None:
    """Writes the tables into the pages anew."""
    made = tables()
    for page in pages:
        text = page.read_text("utf-8")
        if (new := filled(text, made)) != text:
            page.write_text(new, "utf-8")


if __name__ == "__main__":
    main(sorted(DOCS.rglob("*.md")))
