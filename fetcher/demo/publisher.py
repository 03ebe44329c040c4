"""Somebody who keeps publishing on the local GitHub and NCBI, edits, and takes back."""

from typing import TYPE_CHECKING, Final

from fetcher.demo.server import DemoUpstream
from fetcher.demo.synthetic import synthetic_genbank

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Publisher"]

_REPOSITORY: Final = "Codertocat/Hello-World"
_RECORD: Final = "NC_003355"
_ORGANISM: Final = "Wasabi mottle virus"
_TAXID: Final = 1_169_032
# What was published stays until so many more were.
_KEPT: Final = 2


class Publisher:
    """One act after another, round and round; what piles up is taken back in turn."""

    def __init__(self, upstream: DemoUpstream) -> None:
        self._github = upstream.github
        self._ncbi = upstream.ncbi
        self._number = 0
        self._releases: list[str] = []
        self._isolates: list[str] = []
        self._acts: tuple[Callable[[], str], ...] = (
            self._release,
            self._isolate,
            self._edit,
            self._version,
            self._delete,
            self._suppress,
        )
        self._turn = 0

    def publish(self) -> str:
        """Does what comes next; a sentence that says what it was."""
        act = self._acts[self._turn % len(self._acts)]
        self._turn += 1
        return act()

    def _release(self) -> str:
        self._number += 1
        tag = f"v1.{self._number}.0"
        body = f"Release number {self._number} of this demo.\n\n- it was published just now"
        self._github.add_release(_REPOSITORY, tag, name=tag, body=body, assets=["hello.tar.gz"])
        self._releases.append(tag)
        return f"GitHub: {_REPOSITORY} has a new release, {tag}"

    def _edit(self) -> str:
        tag = self._releases[-1]
        body = (
            f"Release number {self._number} of this demo.\n\n- its notes were edited, {self._turn}"
        )
        self._github.edit_release(_REPOSITORY, tag, body=body)
        return f"GitHub: {_REPOSITORY}@{tag} has other notes"

    def _delete(self) -> str:
        if len(self._releases) <= _KEPT:
            return self._edit()
        tag = self._releases.pop(0)
        self._github.delete_release(_REPOSITORY, tag)
        return f"GitHub: {_REPOSITORY}@{tag} is deleted"

    def _isolate(self) -> str:
        accession = f"ZZ{self._number:06d}"
        flat = synthetic_genbank(
            accession,
            organism=_ORGANISM,
            taxid=_TAXID,
            definition=f"{_ORGANISM} isolate demo-{self._number}, complete genome.",
            date=f"{self._ncbi.today():%d-%b-%Y}".upper(),
        )
        self._isolates.append(self._ncbi.add("nuccore", flat).accession_version)
        return f"NCBI: a new isolate of {_ORGANISM}, {self._isolates[-1]}"

    def _version(self) -> str:
        new = self._ncbi.bump(_RECORD)
        return f"NCBI: {_RECORD} has a new version, {new.accession_version}"

    def _suppress(self) -> str:
        if len(self._isolates) <= _KEPT:
            return self._version()
        accession = self._isolates.pop(0)
        self._ncbi.suppress(accession)
        return f"NCBI: {accession} is suppressed"
