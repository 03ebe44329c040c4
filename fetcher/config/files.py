"""What a layer says about other files: secrets in ``KEY_file``, and relative paths."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fetcher.config.findings import Findings
from fetcher.config.layers import Layer, merge, read_capped
from fetcher.config.places import Keys
from fetcher.config.schema import entry_of, is_secret, section_of
from fetcher.config.settings import Settings
from fetcher.config.units import mask_url

__all__ = ["read_secrets", "resolve_paths"]

_MAX_SECRET = 64 * 2**10
_SQLITE = "sqlite:///"


def read_secrets(layers: Sequence[Layer], findings: Findings) -> list[Path]:
    """Puts the content of each ``KEY_file`` in the place of its KEY, in every layer.

    Within a layer only one of the two may be given; a stronger layer's KEY or ``KEY_file``
    wins over both, and then the weaker one's file is not even read. Gives the files with secrets
    in them, the settings file among them, that everybody on this machine may read.
    """
    above: dict[str, Any] = {}
    files: list[Path] = []
    for layer in layers:
        _Reader(layer, findings, files).table(Settings, layer.tree, above, ())
        above = merge(above, layer.tree)
    return [path for path in dict.fromkeys(files) if _open_to_all(path)]


def _open_to_all(path: Path) -> bool:
    """Whether other users may read a file: it itself, and every folder on the way to it."""
    try:
        path = path.resolve()
        if not path.stat().st_mode & stat.S_IROTH:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return False


class _Reader:
    def __init__(self, layer: Layer, findings: Findings, files: list[Path]) -> None:
        self._layer = layer
        self._findings = findings
        self._files = files

    def table(self, model: type[BaseModel], tree: object, above: object, keys: Keys) -> None:
        if not isinstance(tree, dict):
            return
        above = above if isinstance(above, dict) else {}
        for name, info in model.model_fields.items():
            inner, below = (*keys, name), tree.get(name)
            if (section := section_of(info)) is not None:
                self.table(section, below, above.get(name), inner)
            elif (entry := entry_of(info)) is not None:
                if isinstance(below, list) and name not in above:
                    for index, each in enumerate(below):
                        self.table(entry, each, None, (*inner, index))
            elif is_secret(info):
                path = tree.pop(f"{name}_file", "")
                self._secret(tree, above, inner, (*keys, f"{name}_file"), path)
                file = self._layer.source if path == "" else self._layer.folder / str(path)
                if file is not None and _tells(info, tree.get(name)):
                    self._files.append(file)

    def _secret(
        self, tree: dict[str, Any], above: dict[str, Any], keys: Keys, file_keys: Keys, path: object
    ) -> None:
        name = str(keys[-1])
        # Mistakes in the content are mistakes of the line that names the file.
        if file_keys in self._layer.spots:
            self._layer.spots[keys] = self._layer.spots[file_keys]
        if path == "":
            return
        if not isinstance(path, str):
            self._wrong(keys, file_keys, "must be text: the path of a file")
        elif tree.get(name, "") != "":
            self._wrong(keys, file_keys, f"{name} is given as well; leave one of the two out")
        elif name not in above:
            try:
                tree[name] = _read(self._layer.folder / path)
            except OSError as error:
                what = self._named(path)
                self._wrong(keys, file_keys, f"{what}: {error.strerror or error}")
            except ValueError as error:
                self._wrong(keys, file_keys, f"{path!r} {error}")

    def _named(self, path: str) -> str:
        """What cannot be read, by name only where it is one: people put the secret itself there."""
        if os.path.lexists(self._layer.folder / path):
            return f"{path!r} cannot be read"
        where = "" if os.path.isabs(path) else f", looked for in {self._layer.folder}"
        return f"the file that it names cannot be read{where}"

    def _wrong(self, keys: Keys, file_keys: Keys, message: str) -> None:
        self._findings.add(file_keys, message, self._layer)
        self._findings.mark(keys)


def _tells(info: FieldInfo, value: object) -> bool:
    """Whether a value is one to hide: an address is none unless there is a password in it."""
    is_address = info.annotation is str and isinstance(value, str)
    return bool(value) and not (is_address and mask_url(str(value).strip()) == str(value).strip())


def _read(path: Path) -> str:
    """The secret in a file, without the line end after it; raises `OSError`, `ValueError`."""
    try:
        text = read_capped(path, _MAX_SECRET).decode()
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None
    secret = text.rstrip("\r\n")
    if not secret.strip():
        raise ValueError("is empty")
    return secret


def resolve_paths(layer: Layer) -> None:
    """Makes the relative paths of a layer absolute; what is no path is left for validation."""
    store = layer.tree.get("store")
    url = store.get("url") if isinstance(store, dict) else None
    if isinstance(store, dict) and isinstance(url, str) and url.strip().startswith(_SQLITE):
        path = url.strip().removeprefix(_SQLITE)
        if path and not path.endswith("/") and path != ":memory:":
            store["url"] = f"{_SQLITE}{layer.folder / path}"
    watches = layer.tree.get("watch")
    for watch in watches if isinstance(watches, list) else ():
        named = watch.get("from_file") if isinstance(watch, dict) else None
        if named and isinstance(named, str):
            watch["from_file"] = str(layer.folder / named)
