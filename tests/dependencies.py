"""What fetcher depends on: as it is declared, as it is locked, and as it is installed.

``python -m tests.dependencies`` prints docs/licences.md.
"""

import re
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Final

from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["ROOT", "declared", "licence", "licences_page", "locked", "pinned", "runtime"]

ROOT: Final = Path(__file__).parent.parent

# Older metadata says it in words of its own. What each of them means was read in its licence file.
_WORDS: Final = {
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
}
_READ: Final = {"jinja2": "BSD-3-Clause"}

_HEAD: Final = """\
# Licences

fetcher is under the MIT licence. These are the licences of what an installation of it consists of
besides, as each package declares its own. All let it be used and passed on; what is under the MPL
is bound only in its own files, which nothing here changes. Made by `make licences`; a test holds it
to what is installed.

| Package | Licence | Needed by |
|---|---|---|
"""


def declared() -> dict[str, list[Requirement]]:
    """The requirements of pyproject.toml: those of everybody under "", then by extra."""
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = {"": told["project"]["dependencies"], **told["project"]["optional-dependencies"]}
    return {name: [Requirement(each) for each in group] for name, group in groups.items()}


def pinned(name: str) -> dict[str, str]:
    """The versions of a file of plain `name==version` lines."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(package): version for package, version in pairs}


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """The version and the hashes of each package in a file with hashes."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        package, *hashes = line.split()
        told = re.fullmatch(r"([^=]+)==([^=]+)", package)
        assert told is not None, line
        found[canonicalize_name(told[1])] = told[2], hashes
    return found


def runtime() -> dict[str, set[str]]:
    """What an installation consists of: each package, with those that need it."""
    needed: dict[str, set[str]] = {}
    waiting = [("fetcher", each) for each in declared()[""]]
    while waiting:
        by, requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        known = name in needed
        needed.setdefault(name, set()).add(by)
        if known and not requirement.extras:
            continue
        for line in distribution(name).requires or []:
            each = Requirement(line)
            extras = requirement.extras or {""}
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras):
                waiting.append((name, each))
    return needed


def licence(package: Distribution) -> str:
    """The SPDX expression of a package's licence."""
    told = package.metadata
    words: list[str] = told.get_all("License-Expression", [])
    words += filter(None, [_READ.get(canonicalize_name(package.name))])
    words += [each.strip().split("\n")[0] for each in told.get_all("License", [])]
    words += [
        each.split(" :: ")[-1]
        for each in told.get_all("Classifier", [])
        if each.startswith("License ::")
    ]
    for word in words:
        if word:
            return str(canonicalize_license_expression(_WORDS.get(word, word)))
    raise ValueError(f"{package.name} tells no licence: read its files, and say it here")


def licences_page() -> str:
    rows = []
    for name, by in sorted(runtime().items()):
        package = distribution(name)
        users = "fetcher" if "fetcher" in by else ", ".join(sorted(by))
        rows.append(f"| {package.name} | {licence(package)} | {users} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(licences_page())
