"""What keys there are, asked of the models, so that nothing is listed twice."""

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fetcher.config.places import Keys
from fetcher.config.sections import SECRET, Section
from fetcher.config.settings import Settings

__all__ = ["entry_of", "every_key", "is_secret", "known_keys", "model_at", "section_of"]


def section_of(info: FieldInfo) -> type[Section] | None:
    """The model of a table."""
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def entry_of(info: FieldInfo) -> type[Section] | None:
    """The model of each table of an array of tables."""
    arguments = get_args(info.annotation)
    kind = arguments[0] if arguments else None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def is_secret(info: FieldInfo) -> bool:
    """Whether a key holds a secret, and can thus be given as ``KEY_file``."""
    return SECRET in info.metadata


def known_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a table, ``KEY_file`` of each secret among them."""
    keys: list[str] = []
    for name, info in model.model_fields.items():
        keys.append(name)
        if is_secret(info):
            keys.append(f"{name}_file")
    return tuple(keys)


def model_at(keys: Keys) -> type[BaseModel] | None:
    """The model of the table at a place."""
    model: type[BaseModel] = Settings
    for key in keys:
        if isinstance(key, int):
            continue
        info = model.model_fields.get(key)
        found = (section_of(info) or entry_of(info)) if info is not None else None
        if found is None:
            return None
        model = found
    return model


def every_key(model: type[BaseModel] = Settings, above: Keys = ()) -> Iterator[tuple[Keys, object]]:
    """Every key and its default; an array of tables gives the keys of its entries (index 0)."""
    for name, info in model.model_fields.items():
        keys = (*above, name)
        if (section := section_of(info)) is not None:
            yield from every_key(section, keys)
        elif (entry := entry_of(info)) is not None:
            yield from every_key(entry, (*keys, 0))
        else:
            yield keys, info.default
            if is_secret(info):
                yield (*above, f"{name}_file"), None
