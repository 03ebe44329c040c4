"""NCBI Datasets v2: genome reports by accession, on a budget of its own.

https://www.ncbi.nlm.nih.gov/datasets/docs/v2/api/rest-api/
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fetcher.documents import Stored
from fetcher.errors import Malformed, NotFound, Refused
from fetcher.gate import Gate
from fetcher.models import Record
from fetcher.policy.verdict import Accept, Reply, Retry, Verdict, judge_datasets
from fetcher.sources.lookups import Answered, Found, record_of
from fetcher.sources.wire_ncbi import Status, read_json
from fetcher.targets import Target
from fetcher.transport import Request, Transport

__all__ = ["Genomes"]

T = TypeVar("T")

# The most that a page gives.
_PAGE: Final = 1_000
# More than a hundred names can fill.
_PAGES: Final = 100
_STATUSES: Final[Mapping[str, Status]] = {
    "current": "live",
    "previous": "replaced",
    "suppressed": "suppressed",
    "retired": "withdrawn",
}
# What the fetcher itself keeps with every record.
_OURS: Final = {*Stored.__annotations__, "stamp", "observed", "blobs", "error"}
_ACCESSION: Final = re.compile(r"GC[AF]_[0-9]{9}\.[0-9]{1,3}", re.ASCII)


class Genomes:
    """Genome reports on one account; an empty key is never sent."""

    # All of them stand in the URL.
    at_once = 100

    def __init__(
        self, transport: Transport, gate: Gate, *, url: str, api_key: str | None, patience: float
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._url = url.rstrip("/")
        self._secrets = {"api-key": api_key} if api_key else {}
        self._patience = patience

    async def find(self, names: Sequence[str]) -> Found:
        """See `Directory`; a name without a version gets its newest one."""
        found: dict[str, Answered | Malformed] = {}
        versions: dict[str, int] = {}
        for versioned in (False, True):
            mine = [name for name in names if ("." in name) == versioned]
            for report in await self._reports(mine, every_version=versioned) if mine else ():
                whole = str(report.get("accession")) if isinstance(report, Mapping) else ""
                if not _ACCESSION.fullmatch(whole):
                    # Of whichever of them that does not come otherwise.
                    error = Malformed("NCBI Datasets has a report of nothing")
                    found = {**dict.fromkeys(mine, error), **found}
                    continue
                bare, _, number = whole.partition(".")
                name = whole if versioned else bare
                if versions.get(name, -1) < int(number):
                    versions[name] = int(number)
                    found[name] = self._answered(report, whole, Target("ncbi", "genome", name))
        return found

    def _answered(
        self, report: Mapping[str, Any], accession: str, target: Target
    ) -> Answered | Malformed:
        try:
            return Answered(self._record(report, accession), target)
        except Malformed as error:
            return error

    async def _reports(self, names: Sequence[str], *, every_version: bool) -> list[Any]:
        """All pages; where one name spoils the answer, without that one."""
        try:
            return await self._pages(names, every_version=every_version)
        except (NotFound, Refused):
            if len(names) == 1:
                # Alone it is refused for itself, and is as good as unknown.
                return []
        middle = len(names) // 2
        return [
            *await self._reports(names[:middle], every_version=every_version),
            *await self._reports(names[middle:], every_version=every_version),
        ]

    async def _pages(self, names: Sequence[str], *, every_version: bool) -> list[Any]:
        reports: list[Any] = []
        asked = {"page_size": str(_PAGE)}
        if every_version:
            asked["filters.assembly_version"] = "all_assemblies"
        tokens: set[str] = set()
        while True:
            page = await self._page(names, asked)
            reports += page.get("reports", ())
            token = page.get("next_page_token")
            if not token:
                break
            if token in tokens or len(tokens) == _PAGES:
                raise Malformed("NCBI Datasets gives the same page again and again")
            tokens.add(token)
            asked["page_token"] = token
        total = page.get("total_count", len(reports))
        if total != len(reports):
            text = f"NCBI Datasets counts {total} reports, and gives {len(reports)}"
            raise Malformed(text)
        return reports

    async def _page(self, names: Sequence[str], asked: Mapping[str, str]) -> Mapping[str, Any]:
        found: list[Mapping[str, Any]] = []

        def judge(reply: Reply, now: float) -> Verdict:
            verdict = judge_datasets(reply, now)
            if isinstance(verdict, Accept):
                try:
                    found[:] = [_page_of(reply)]
                except Malformed as error:
                    return Retry(error, None)
            return verdict

        path = f"genome/accession/{','.join(names)}/dataset_report"
        request = Request(
            "GET",
            f"{self._url}/{path}?{urlencode(asked)}",
            self._gate,
            headers={"Accept": "application/json"},
            secret_headers=self._secrets,
        )
        await self._transport.send(request, judge, patience=self._patience)
        return found[0]

    def _record(self, report: Mapping[str, Any], accession: str) -> Record:
        organism = _part(report, "organism", dict) or {}
        assembly = _part(report, "assembly_info", dict) or {}
        status = _STATUSES.get(str(assembly.get("assembly_status", "current")), "live")
        current = _part(report, "current_accession", str)
        content: dict[str, Any] = {
            f"report_{key}" if key in _OURS else key: value for key, value in report.items()
        }
        content |= {
            "version": int(accession.partition(".")[2]),
            "taxid": _part(organism, "tax_id", int),
            "organism_name": _part(organism, "organism_name", str),
            "status": status,
            "replaced_by": current if status == "replaced" and current != accession else None,
        }
        url = f"{self._url}/genome/accession/{accession}/dataset_report"
        return record_of(f"genome:{accession}", "genome", content, url)


def _part(whole: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """What a report says there, if anything; raises `Malformed` for a thing of another kind."""
    value = whole.get(name)
    if value is not None and not isinstance(value, kind):
        raise Malformed(f"NCBI Datasets has a report whose {name} makes no sense")
    return value


def _page_of(reply: Reply) -> Mapping[str, Any]:
    """One page; raises `Malformed` for one that is none."""
    page = read_json(reply)
    if not isinstance(page.get("reports", []), list):
        raise Malformed("NCBI Datasets answered without a list of reports", reply.evidence())
    token = page.get("next_page_token") or ""
    if not (isinstance(token, str) and token.isascii() and len(token) < 4_096):
        raise Malformed("NCBI Datasets names a page that is none", reply.evidence())
    return page
