"""From files, environment and command line to `Settings`, every mistake reported at once."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from fetcher.config.files import read_secrets, resolve_paths
from fetcher.config.findings import Findings, sentence, unknown_key, unknown_variable
from fetcher.config.layers import (
    Layer,
    Spot,
    environment_layer,
    file_layer,
    merge,
    overrides_layer,
)
from fetcher.config.places import Keys
from fetcher.config.rules import check_rules
from fetcher.config.sections import NcbiSection, StoreSection
from fetcher.config.settings import Settings
from fetcher.errors import Mistake, SettingsError

__all__ = ["load_settings"]

_FILE = "fetcher.toml"
_VARIABLE = "FETCHER_CONFIG"
# The names that other tools use, too; each secret also as NAME_FILE.
_CONVENTIONAL: Mapping[str, tuple[str, str]] = {
    "GITHUB_TOKEN": ("github", "token"),
    "NCBI_API_KEY": ("ncbi", "api_key"),
    "NCBI_EMAIL": ("ncbi", "email"),
}
# A copy of config.example.toml sets these keys to these values; that is not to have chosen them.
_UNSET = ("", NcbiSection().email)


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """The settings of a file, an environment and a command line; raises `SettingsError`.

    The file is `path`, else the one that FETCHER_CONFIG names, else ``fetcher.toml`` in `cwd` if
    there is one. `overrides` come from the command line, by dotted key (``store.url``); they win
    over FETCHER_… variables, and those over the file. GITHUB_TOKEN, NCBI_API_KEY and NCBI_EMAIL
    fill what all of these leave at its default. Secrets and target files are read here. A file
    of settings that cannot be read or parsed is reported alone, all other mistakes together.
    """
    cwd = cwd.absolute()
    file = _file(path, environ, cwd)
    environment = environment_layer(environ, cwd)
    layers = [overrides_layer(overrides, cwd), environment, *([file] if file is not None else [])]
    findings = Findings(layers)
    for name in environment.unknown:
        if (message := unknown_variable(name)) is not None:
            findings.add_elsewhere((name,), Mistake(name, message), environment)
    exposed = read_secrets(layers, findings)
    # They hold only what nobody else has set, so they can stand before all others.
    conventional = _conventional(environ, cwd, _merged(layers), findings)
    layers.insert(0, conventional)
    exposed += read_secrets([conventional], findings)
    default = {"store": {"url": StoreSection().url}}
    layers.append(Layer(default, cwd, {}, Spot("settings")))
    for layer in layers:
        resolve_paths(layer)
    settings = _validated(copy.deepcopy(_merged(layers)), findings)
    watches = check_rules(settings, findings, cwd)
    if findings.mistakes:
        raise SettingsError(findings.mistakes)
    return settings.completed(watches, file.source if file is not None else None, tuple(exposed))


def _file(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Layer | None:
    if path is not None:
        return file_layer(cwd / path, str(path), "--config")
    if named := environ.get(_VARIABLE):
        return file_layer(cwd / named, named, _VARIABLE)
    # A dangling link is no absent file.
    return file_layer(cwd / _FILE, _FILE) if os.path.lexists(cwd / _FILE) else None


def _merged(layers: Sequence[Layer]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for layer in layers:
        tree = merge(tree, layer.tree)
    return tree


def _conventional(
    environ: Mapping[str, str], cwd: Path, tree: dict[str, Any], findings: Findings
) -> Layer:
    """What the conventional names add to settings that leave it at its default."""
    found: dict[str, Any] = {}
    spots: dict[Keys, Spot] = {}
    for name, (section, key) in _CONVENTIONAL.items():
        table = tree.get(section, {})
        if not isinstance(table, dict) or table.get(key, "") not in _UNSET:
            continue
        # Accounts by name mean these accounts, not one more that happens to be around.
        if findings.is_bad((section, key)) or (key != "email" and table.get("accounts")):
            continue
        for variable, known in ((name, key), (f"{name}_FILE", f"{key}_file")):
            if environ.get(variable) and known != "email_file":
                found.setdefault(section, {})[known] = environ[variable]
                spots[(section, known)] = Spot(variable, says_key=True)
    return Layer(found, cwd, spots, Spot("environment"), is_environment=True)


def _validated(tree: dict[str, Any], findings: Findings) -> Settings:
    """The settings, with the defaults in the place of whatever is wrong, so that rules still run.

    Every mistake is in the findings afterwards.
    """
    for name in [name for name in tree if name not in Settings.model_fields]:
        findings.add((name,), _unknown((name,), findings))
        del tree[name]
    while True:
        try:
            return Settings(**tree)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
        for each in wrong:
            keys = each["loc"]
            if each["type"] == "extra_forbidden":
                findings.add(keys, _unknown(keys, findings))
            else:
                layer = findings.layer_of(keys)
                is_environment = layer is not None and layer.is_environment
                findings.add(keys, sentence(each, is_environment=is_environment))
            _repair(tree, keys, {} if each["type"] == "model_type" else "")


def _unknown(keys: Keys, findings: Findings) -> str:
    layer = findings.layer_of(keys)
    return unknown_key(keys, is_environment=layer is not None and layer.is_environment)


def _repair(tree: dict[str, Any], keys: Keys, harmless: object) -> None:
    """Takes a wrong value out of the tree; an element of a list becomes a harmless one."""
    holder: Any = tree
    for key in keys[:-1]:
        holder = holder[key]
    if isinstance(holder, dict):
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = harmless
