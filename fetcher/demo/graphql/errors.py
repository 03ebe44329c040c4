"""Errors of a query in GitHub's words, with its keys in its order, whoever found them.

Recorded from api.github.com, whose GraphQL library is another one than ours.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    Node,
    OperationDefinitionNode,
    SelectionNode,
)

__all__ = ["invalid", "shown", "unreadable"]

Row: TypeAlias = dict[str, Any]


def shown(error: GraphQLError) -> Row:
    """An error of a field that was looked up."""
    if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
        raise error.original_error  # a mistake of ours is no answer
    extensions = dict(error.extensions or {})
    kind = extensions.pop("type", None)
    return _row(error, kind=kind, path=error.path or (), extensions=extensions)


def unreadable(error: GraphQLSyntaxError) -> Row:
    """An error of a document that cannot be parsed."""
    where = (error.locations or [])[0]
    text = error.message.removeprefix("Syntax Error: ").rstrip(".")
    found = re.fullmatch(r"Expected (.+), found (.+)", text)
    if found is not None:
        text = f"Expected {found[1].upper()}, actual: {found[2]}"
    return _row(error, message=f"{text} at [{where.line}, {where.column}]")


def invalid(document: DocumentNode, error: GraphQLError) -> Row:
    """An error of a document that the schema does not allow."""
    path = _trail(document, error.nodes[0]) if error.nodes else ()
    message, extensions = _reworded(error.message)
    return _row(error, path=path, extensions=extensions, message=message)


def _row(
    error: GraphQLError,
    *,
    kind: str | None = None,
    path: Sequence[str | int] = (),
    extensions: Row | None = None,
    message: str | None = None,
) -> Row:
    row: Row = {} if kind is None else {"type": kind}
    if path:
        row["path"] = list(path)
    if extensions:
        row["extensions"] = extensions
    if error.locations:
        row["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return {**row, "message": message or error.message}


def _reworded(message: str) -> tuple[str, Row]:
    if found := re.match(r"Cannot query field '(\w+)' on type '(\w+)'", message):
        name, kind = found.groups()
        more = {"code": "undefinedField", "typeName": kind, "fieldName": name}
        return f"Field '{name}' doesn't exist on type '{kind}'", more
    if found := re.match(r"Unknown argument '(\w+)' on field '\w+\.(\w+)'", message):
        argument, name = found.groups()
        more = {
            "code": "argumentNotAccepted",
            "name": name,
            "typeName": "Field",
            "argumentName": argument,
        }
        return f"Field '{name}' doesn't accept argument '{argument}'", more
    if found := re.match(r"Argument '\w+\.(\w+)\((\w+):\)' of type .* is required", message):
        name, argument = found.groups()
        more = {
            "code": "missingRequiredArguments",
            "className": "Field",
            "name": name,
            "arguments": argument,
        }
        return f"Field '{name}' is missing required arguments: {argument}", more
    return message, {}


def _trail(document: DocumentNode, wanted: Node) -> tuple[str, ...]:
    """Where in the document a node stands: ``("query", "repository", "nope")``."""
    for definition in document.definitions:
        selections = getattr(definition, "selection_set", None)
        if selections is None:
            continue
        start = "fragment"
        if isinstance(definition, OperationDefinitionNode):
            start = definition.operation.value
        name = getattr(definition, "name", None)
        label = start if name is None else f"{start} {name.value}"
        for path, node in _fields(selections.selections, (label,)):
            if node is wanted or wanted in (node.arguments or ()):
                return path
    return ()


def _fields(
    selections: Sequence[SelectionNode], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], FieldNode]]:
    for each in selections:
        here = above
        if isinstance(each, FieldNode):
            here = (*above, (each.alias or each.name).value)
            yield here, each
        inner = getattr(each, "selection_set", None)
        if inner is not None:
            yield from _fields(inner.selections, here)
