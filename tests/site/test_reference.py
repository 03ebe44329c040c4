"""The reference is what the code says."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import fetcher.web
from fetcher import documents, errors
from fetcher.config.places import dotted
from fetcher.config.schema import every_key
from fetcher.models import OutcomeKind
from fetcher.web.api import ROUTES
from fetcher.web.openapi import document
from tests.site.reference import DOCS, filled, tables

PAGES: Final = sorted(DOCS.rglob("*.md"))
TABLES: Final = tables()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_tables_of_a_page_are_those_of_the_code(page: Path) -> None:
    """`make reference` writes them anew."""
    text = page.read_text("utf-8")
    assert text == filled(text, TABLES)


def test_every_table_stands_on_one_page() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for name in TABLES:
        assert text.count(f"<!-- generated: {name} -->\n") == 1, name


def test_a_page_that_is_behind_the_code_is_seen() -> None:
    """So that the comparison bites."""
    text = "<!-- generated: x -->\n\n| old |\n\n<!-- end -->\n"
    assert "| new |" in filled(text, {"x": "| new |"})
    with pytest.raises(KeyError):
        filled(text, {})


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def test_every_setting_is_told() -> None:
    text = page("settings.md")
    for keys, _ in every_key():
        *above, key = [each for each in keys if each != 0]
        heading = (
            f"[[{'.'.join(map(str, above))}]]" if 0 in keys else f"[{'.'.join(map(str, above))}]"
        )
        section = text.split(f"`{heading}`\n")[1].split("\n## ")[0].split("\n### ")[0]
        assert f"| `{key}`" in section, dotted(keys)
        if 0 not in keys:
            assert f"`FETCHER_{'__'.join(map(str, keys))}`".upper() in section.upper()


def test_every_command_has_its_heading() -> None:
    named = {name.removeprefix("command ") for name in TABLES if name.startswith("command ")}
    assert {"fetch", "run", "watch add", "demo"} < named
    assert set(re.findall(r"(?m)^## `fetcher (.+)`$", page("commands.md"))) == named


def test_every_route_is_told() -> None:
    """The declared ones, and those that are added by hand."""
    text = page("api.md")
    for path, operations in json.loads(document(ROUTES))["paths"].items():
        for method in operations:
            assert f"### `{method.upper()} {path}`\n" in text
    for path in by_hand():
        assert f"{path}`" in text, path


def by_hand() -> Iterator[str]:
    """Paths that `fetcher.web` hands to the router as they stand."""
    for tree in modules():
        for call in calls(tree, "add_get", "add_post"):
            path = call.args[0]
            if isinstance(path, ast.Constant):
                yield str(path.value)


def modules() -> Iterator[ast.Module]:
    folder = Path(str(fetcher.web.__file__)).parent
    for file in sorted(folder.glob("*.py")):
        yield ast.parse(file.read_text("utf-8"))


def calls(tree: ast.Module, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in names:
                yield node


def test_every_problem_is_told() -> None:
    """The statuses that the code answers with, and no others."""
    said = {
        argument.value
        for tree in modules()
        for call in calls(tree, "problem", "_Refused")
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    }
    told = set(map(int, re.findall(r"(?m)^\| (\d{3}) \|", page("errors.md"))))
    assert {400, 401, 404, 410, 503} < said
    assert told == said


def test_every_error_and_outcome_is_told() -> None:
    text = page("errors.md")
    tree = text.split("## In Python")[1]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.FetcherError):
            assert re.search(rf"(─ |^){name}\b", tree, re.MULTILINE), name
    for outcome in OutcomeKind:
        assert f"| `{outcome}` |" in text


def test_every_document_is_told() -> None:
    shapes = [
        name for name in documents.__all__ if hasattr(getattr(documents, name), "__required_keys__")
    ]
    assert len(shapes) > 9
    for name in shapes:
        for field in getattr(documents, name).__annotations__:
            assert f"| `{field}` |" in TABLES[f"document {name}"]
