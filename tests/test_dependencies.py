"""Every dependency has a reason, is locked with hashes, and its licence is told."""

import re
from importlib.metadata import version

import pytest
from packaging.utils import canonicalize_name

from tests.dependencies import ROOT, declared, licences_page, locked, pinned, runtime

DOCS = ROOT / "docs"
LOCKS = ("requirements.lock", "requirements-build.lock")
# What may be passed on with a programme under any licence.
PERMISSIVE = re.compile(r"0BSD|Apache-2\.0|BSD-[23]-Clause|ISC|MIT|MIT-0|MPL-2\.0|PSF-2\.0")


def test_each_dependency_has_a_reason() -> None:
    """The tables of docs/architecture.md: what pyproject.toml declares, in order, and no more."""
    section = (DOCS / "architecture.md").read_text("utf-8").split("\n## Dependencies, and why\n")[1]
    _, *tables = re.split(r"^\| \w+ with \| Why \|$", section, flags=re.MULTILINE)
    groups = declared()
    for table, group in zip(tables, ("", "dev", "release"), strict=True):
        told = re.findall(r"^\| ([\w-]+) \| \S.*\|$", table, re.MULTILINE)
        assert told == [each.name for each in groups[group]]


def test_each_declared_version_is_pinned() -> None:
    """constraints.txt has a version of each, and one that pyproject.toml admits."""
    pins = pinned("constraints.txt")
    for group in declared().values():
        for each in group:
            assert each.specifier.contains(pins[canonicalize_name(each.name)]), each


def test_the_lock_is_what_an_installation_consists_of() -> None:
    """No package of it is missing in requirements.lock, none is there that nobody needs."""
    assert set(locked("requirements.lock")) == set(runtime())


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_the_pinned_versions(name: str) -> None:
    """And what is tested here is installed in just those."""
    pins = pinned("constraints.txt")
    for package, (locked_version, _) in locked(name).items():
        assert locked_version == pins[package], package
        if name == "requirements.lock":
            assert version(package) == locked_version, package


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_has_hashes(name: str) -> None:
    """And nothing but them: no host, no option that would let something else in."""
    for package, (_, hashes) in locked(name).items():
        assert hashes, package
        for each in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each), package


def test_the_licences_are_told() -> None:
    """docs/licences.md is what `make licences` makes of what is installed."""
    assert (DOCS / "licences.md").read_text("utf-8") == licences_page()


def test_the_licences_are_permissive() -> None:
    _, table = licences_page().split("|---|---|---|\n")
    rows = re.findall(r"^\| ([\w.-]+) \| (.+?) \| .+ \|$", table, re.MULTILINE)
    assert {canonicalize_name(name) for name, _ in rows} == set(runtime())
    for name, expression in rows:
        for word in re.findall(r"[\w.+-]+", expression):
            assert word in ("AND", "OR") or PERMISSIVE.fullmatch(word), name


def test_nobody_is_told_to_install_a_stranger() -> None:
    """On the public index `fetcher` is somebody else's package."""
    for text in [ROOT / "README.md", *(each for each in DOCS.rglob("*.*") if each.is_file())]:
        for line in text.read_text("utf-8").splitlines():
            if re.search(r"\bpip install .*(?<=\s)fetcher(\s|$)", line):
                assert "--no-index" in line, (text, line)
