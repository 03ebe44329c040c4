"""Where settings come from: the command line, the environment, the file; each value's place."""

import copy
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PlainValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from fetcher.config.places import Keys, locate
from fetcher.config.schema import section_of
from fetcher.config.settings import Settings
from fetcher.config.target_file import decode_text
from fetcher.errors import Mistake, SettingsError

__all__ = [
    "DELIMITER",
    "PREFIX",
    "Layer",
    "Spot",
    "environment_layer",
    "file_layer",
    "holds",
    "merge",
    "overrides_layer",
    "read_capped",
]

PREFIX = "FETCHER_"
DELIMITER = "__"
_MAX_FILE = 16 * 2**20
_LOOSE: Mapping[object, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (bool, int, float)}


@dataclass(frozen=True, slots=True)
class Spot:
    """A place that a mistake can name; `says_key`: the place alone tells which key it is."""

    text: str
    order: int = 0
    says_key: bool = False


@dataclass(slots=True)
class Layer:
    """One source of settings; relative paths in it belong to `folder`."""

    tree: dict[str, Any]
    folder: Path
    spots: dict[Keys, Spot]
    elsewhere: Spot
    is_environment: bool = False
    source: Path | None = None
    unknown: list[str] = field(default_factory=list)
    """Variables with our prefix that set nothing."""

    def spot(self, keys: Keys) -> Spot:
        """The nearest place that is known: the value's own, or that of what holds it."""
        for end in range(len(keys), 0, -1):
            if (spot := self.spots.get(keys[:end])) is not None:
                return spot if end == len(keys) else Spot(spot.text, spot.order)
        for known, spot in self.spots.items():
            if known[: len(keys)] == keys:
                return Spot(spot.text, spot.order)
        return self.elsewhere


def holds(tree: object, keys: Keys) -> bool:
    """Whether there is a value at a place."""
    for key in keys:
        match tree:
            case dict() if key in tree:
                tree = tree[key]
            case list() if isinstance(key, int) and key < len(tree):
                tree = tree[key]
            case _:
                return False
    return True


def merge(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees in one; where both have a value, `over` wins. Neither is changed."""
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(value, below)
        else:
            merged[key] = value
    return merged


def read_capped(path: Path, limit: int) -> bytes:
    """A file's content; raises `OSError`, also for one that is too large or has no such name."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except ValueError:  # a NUL in the path
        raise OSError("it is no path") from None
    if len(data) > limit:
        raise OSError(f"it is larger than {limit} bytes")
    return data


def file_layer(path: Path, shown: str, named_by: str = "") -> Layer:
    """The settings of a file; raises `SettingsError` for one that cannot be read or parsed.

    `path` is absolute, `shown` what mistakes call it.
    """
    try:
        data = read_capped(path, _MAX_FILE)
    except OSError as error:
        whence = f" (named by {named_by})" if named_by else ""
        reason = f"cannot be read: {error.strerror or error}{whence}"
        raise SettingsError((Mistake(shown, reason),)) from None
    text = decode_text(data, shown)
    try:
        tree = tomllib.loads(text)
        lines = locate(text)
    except tomllib.TOMLDecodeError as error:
        line, column, reason = _syntax(error, text)
        raise SettingsError((Mistake(f"{shown}:{line}:{column}", reason),)) from None
    except RecursionError:
        raise SettingsError((Mistake(shown, "is nested too deeply"),)) from None
    except ValueError:  # https://docs.python.org/3/library/stdtypes.html#int-max-str-digits
        raise SettingsError((Mistake(shown, "holds a number beyond all bounds"),)) from None
    spots = {keys: Spot(f"{shown}:{line}", line) for keys, line in lines.items()}
    return Layer(tree, path.parent, spots, Spot(shown), source=path)


def _syntax(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, int, str]:
    """Line, column and reason: attributes since Python 3.14, only in the text before that."""
    reason, _, where = str(error).rpartition(" (at ")
    words = where.rstrip(")").replace(",", "").split()
    if len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
        line, column = int(words[1]), int(words[3])
    else:
        lines = text.split("\n")
        line, column = len(lines), len(lines[-1]) + 1
    reason = reason or "invalid"
    return line, column, f"is no valid TOML: {reason[:1].lower()}{reason[1:]}"


def overrides_layer(overrides: Mapping[str, object], folder: Path) -> Layer:
    """The settings of the command line, by dotted key: ``{"store.url": …}``."""
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        tree = merge(nested, tree)
    _loosen(tree, Settings)
    spots: dict[Keys, Spot] = {}
    if "store.url" in overrides:
        spots[("store", "url")] = Spot("--store", says_key=True)
    return Layer(copy.deepcopy(tree), folder, spots, Spot("command line"))


class _Environment(EnvSettingsSource):
    """pydantic-settings' source over an environment that is handed in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        # What is no JSON stays the text that it is, and validation says so with all the rest.
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


def environment_layer(environ: Mapping[str, str], folder: Path) -> Layer:
    """The settings of the ``FETCHER_…`` variables."""
    tree = _Environment(environ)()
    _loosen(tree, Settings)
    spots: dict[Keys, Spot] = {}
    layer = Layer(tree, folder, spots, Spot("environment"), is_environment=True)
    for order, name in enumerate(environ):
        if not name.upper().startswith(PREFIX):
            continue
        keys = tuple(name[len(PREFIX) :].lower().split(DELIMITER))
        if keys[0] in Settings.model_fields:
            spots[keys] = Spot(name, order, says_key=True)
        elif keys != ("config",):
            layer.unknown.append(name)
    return layer


def _loosen(tree: dict[str, Any], model: type[BaseModel]) -> None:
    """The environment has only text: numbers and truth values are read out of it."""
    for name, info in model.model_fields.items():
        value = tree.get(name)
        if isinstance(value, dict) and (section := section_of(info)) is not None:
            _loosen(value, section)
            continue
        loose = _LOOSE.get(info.annotation) if isinstance(value, str) else None
        # Durations and sizes are numbers that are written as text everywhere.
        written = any(isinstance(each, PlainValidator) for each in info.metadata)
        if loose is not None and not written:
            try:
                tree[name] = loose.validate_python(value)
            except ValidationError:
                continue  # what it should have been is said by the strict validation
