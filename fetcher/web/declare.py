"""How routes are declared: what serves them, checks their parameters and describes them is one.

A declaration says what a parameter may be; `read` takes a request apart by it, and
`fetcher.web.openapi` writes it down for others.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from aiohttp import web

__all__ = [
    "ACCEPTED",
    "BadParameter",
    "Parameter",
    "Route",
    "Type",
    "Values",
    "boolean",
    "choice",
    "integer",
    "read",
    "text",
    "time",
]

Values: TypeAlias = Mapping[str, Any]
"""The parameters of a request by name: as given, or their defaults."""

_PATH: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")

ACCEPTED: Final = "202"


class BadParameter(Exception):
    """A parameter that cannot be meant; `name` is which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Type:
    """What a parameter may be: `read` raises `ValueError` with what would be right."""

    read: Callable[[str], Any]
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or of the path where the path names it."""

    name: str
    type: Type
    description: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method, what it takes and what it gives.

    `path` is as aiohttp has it. `answers` has the names of schemas by media type. `secured`: a
    token is needed whatever the settings say. `body` is the schema of what a PUT brings.
    `kept`: the answer depends on the path, the query and the token alone, and on what is stored.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    summary: str
    handle: Callable[..., Awaitable[Any]]
    parameters: Sequence[Parameter] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    status: str = "200"
    secured: bool = False
    body: Mapping[str, Any] | None = None
    kept: bool = False

    @property
    def plain_path(self) -> str:
        """The path as OpenAPI has it, its patterns left out."""
        return _PATH.sub(r"{\1}", self.path)

    @property
    def in_path(self) -> tuple[str, ...]:
        """The names of its parameters that stand in the path."""
        return tuple(_PATH.findall(self.path))


def read(route: Route, request: web.Request) -> dict[str, Any]:
    """The values of a request's parameters; raises `BadParameter` for the first bad one."""
    known = {parameter.name: parameter for parameter in route.parameters}
    in_path = route.in_path
    values = {name: each.default for name, each in known.items()}
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known or name in in_path:
            taken = ", ".join(each for each in known if each not in in_path)
            raise BadParameter(name, f"there is no such parameter; known are {taken or 'none'}")
        if name in given:
            raise BadParameter(name, "it stands there twice")
        given[name] = value
    given.update({name: request.match_info[name] for name in in_path})
    for name, value in given.items():
        try:
            values[name] = known[name].type.read(value)
        except ValueError as error:
            raise BadParameter(name, f"{value[:80]!r} is not {error}") from None
    return values


def integer(low: int, high: int) -> Type:
    """A whole number within bounds."""

    def of(value: str) -> int:
        if re.fullmatch(r"-?\d{1,18}", value, re.ASCII) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"a whole number from {low} to {high}")

    return Type(of, {"type": "integer", "minimum": low, "maximum": high})


def boolean() -> Type:
    """``true`` or ``false``."""

    def of(value: str) -> bool:
        match value.lower():
            case "true" | "1":
                return True
            case "false" | "0":
                return False
        raise ValueError("true or false")

    return Type(of, {"type": "boolean"})


def choice(*names: str) -> Type:
    """One of some words."""

    def of(value: str) -> str:
        if value in names:
            return value
        raise ValueError(f"one of {', '.join(names)}")

    return Type(of, {"type": "string", "enum": list(names)})


def text(longest: int = 256) -> Type:
    """Any text that can be printed."""

    def of(value: str) -> str:
        if 0 < len(value) <= longest and value.isprintable():
            return value
        raise ValueError(f"a text of 1 to {longest} characters")

    return Type(of, {"type": "string", "minLength": 1, "maxLength": longest})


def time() -> Type:
    """A date, or a time with its offset; without one it is UTC."""

    def of(value: str) -> datetime:
        try:
            # In a query a plus that is not escaped has become a blank.
            found = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
            return found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("a date or time such as 2026-11-23 or 2026-11-23T10:15:00Z") from None

    return Type(of, {"type": "string", "format": "date-time"})
