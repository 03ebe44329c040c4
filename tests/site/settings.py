"""The tables of the settings: keys and types from the models, the rest from config.example.toml.

Another test holds the example to the models, key by key and default by default.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo

from fetcher.config.schema import entry_of, is_secret, section_of
from fetcher.config.settings import Settings
from tests.site.markdown import code, table

__all__ = ["tables"]

# What a value is, by the function that reads or checks it; what has none, by its own type.
_BY_CHECK: Final = {
    "_duration": "duration",
    "_size": "size",
    "_every": 'duration or `"auto"`',
    "_header": "secret",
    "_encodable": "secret",
    "_listen": "`HOST:PORT`",
    "_email": "e-mail address",
    "_word": "word",
    "check_http_url": "URL",
    "check_proxy": "URL, may hold a secret",
    "check_store_url": "URL, may hold a secret",
}
_BY_TYPE: Final[Mapping[Any, str]] = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "text",
    tuple[str, ...]: "list of texts",
}
_LINE: Final = re.compile(r"#?(\[+)?([a-z_.]+)(?:\]+| = (.+))")


def tables(example: str) -> Mapping[str, str]:
    """A table for each section and each array of tables."""
    told = dict(_told(example))
    made: dict[str, str] = {}
    for name, info in Settings.model_fields.items():
        section = section_of(info)
        if section is not None:
            made[f"settings {name}"] = _section(name, section.model_fields, told)
            for key, each in section.model_fields.items():
                if (entry := entry_of(each)) is not None:
                    made[f"settings {name}.{key}"] = _entry(
                        f"{name}.{key}", entry.model_fields, told
                    )
        elif (entry := entry_of(info)) is not None:
            made[f"settings {name}"] = _entry(name, entry.model_fields, told)
    return made


def _told(example: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Dotted key → its default as written and what is said of it; of an array, its first entry."""
    comment: list[str] = []
    place = ""
    seen: set[str] = set()
    for line in example.splitlines():
        if line.startswith("# "):
            comment.append(line.removeprefix("# "))
            continue
        found = _LINE.fullmatch(line)
        if found is not None:
            if found[1]:
                place = found[2]
            key = place if found[1] else f"{place}.{found[2]}"
            if key not in seen:
                seen.add(key)
                default = "" if line.startswith("#") else found[3] or ""
                yield key, (default, " ".join(comment))
        comment = []


def _kind(info: FieldInfo) -> str:
    checks = [getattr(each, "func", None) for each in info.metadata]
    names = [each.__qualname__.split(".")[0] for each in checks if each is not None]
    for name in reversed(names):
        if name not in ("_nothing", "mask_url"):
            return _BY_CHECK[name]
    return _BY_TYPE[info.annotation]


def _rows(
    fields: Mapping[str, FieldInfo], above: str, told: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, str, str, str]]:
    """Key, type, default, meaning."""
    for name, info in fields.items():
        if section_of(info) is not None or entry_of(info) is not None:
            continue
        default, meaning = told[f"{above}.{name}"]
        yield name, _kind(info), default, meaning
        if is_secret(info):
            yield f"{name}_file", "path", "", told[f"{above}.{name}_file"][1]


def _section(
    name: str, fields: Mapping[str, FieldInfo], told: Mapping[str, tuple[str, str]]
) -> str:
    rows = [
        (
            f"{code(key)}<br>{code(f'FETCHER_{name}__{key}'.upper())}",
            f"{kind}<br>{code(default)}" if default else kind,
            meaning,
        )
        for key, kind, default, meaning in _rows(fields, name, told)
    ]
    return table(("Key, environment", "Type, default", "Means"), rows)


def _entry(name: str, fields: Mapping[str, FieldInfo], told: Mapping[str, tuple[str, str]]) -> str:
    rows = [(code(key), kind, meaning) for key, kind, _, meaning in _rows(fields, name, told)]
    variable = code(f"FETCHER_{name.replace('.', '__')}".upper())
    first = told[name][1].split(". ")[0].removesuffix(".")
    return (
        f"{first}. In the environment: {variable}, a JSON list of objects.\n\n"
        f"{table(('Key', 'Type', 'Means'), rows)}"
    )
