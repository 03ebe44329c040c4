"""NCBI Datasets v2: genome reports by accession, on a budget of its own.

https://www.ncbi.nlm.nih.gov/datasets/docs/v2/api/rest-api/
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from fetcher.documents import Stored
from fetcher.errors import Malformed, NotFound, Refused
from fetcher.gate import Gate
from fetcher.models import Record
from fetcher.policy.digest import digest
from fetcher.policy.verdict import Accept, Reply, Retry, Verdict, judge_datasets
from fetcher.sources.lookups import Answered
from fetcher.sources.wire_ncbi import Status, read_json
from fetcher.targets import Target
from fetcher.transport import Request, Transport

__all__ = ["Genomes"]

# The most that a page gives.
_PAGE: Final = 1_000
_STATUSES: Final[Mapping[str, Status]] = {
    "current": "live",
    "previous": "replaced",
    "suppressed": "suppressed",
    "retired": "withdrawn",
}
# What the fetcher itself keeps with every record.
_OURS: Final = {*Stored.__annotations__, "stamp", "observed", "blobs"}


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

    async def find(self, names: Sequence[str]) -> Mapping[str, Answered]:
        """See `Directory`; a name without a version gets its newest one."""
        found: dict[str, Answered] = {}
        for versioned in (False, True):
            mine = [name for name in names if ("." in name) == versioned]
            for report in await self._reports(mine, every_version=versioned) if mine else ():
                record = self._record(report)
                name = record.content["accession"]
                bare = name.partition(".")[0]
                if versioned:
                    found[name] = Answered(record, Target("ncbi", "genome", name))
                elif bare not in found or _version(found[bare]) < record.content["version"]:
                    found[bare] = Answered(record, Target("ncbi", "genome", bare))
        return found

    async def _reports(
        self, names: Sequence[str], *, every_version: bool
    ) -> list[Mapping[str, Any]]:
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

    async def _pages(self, names: Sequence[str], *, every_version: bool) -> list[Mapping[str, Any]]:
        reports: list[Mapping[str, Any]] = []
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
            if token in tokens:
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

    def _record(self, report: Mapping[str, Any]) -> Record:
        accession = str(report["accession"])
        organism, assembly = report.get("organism") or {}, report.get("assembly_info") or {}
        status = _STATUSES.get(str(assembly.get("assembly_status", "current")), "live")
        current = report.get("current_accession")
        content: dict[str, Any] = {
            f"report_{key}" if key in _OURS else key: value for key, value in report.items()
        }
        content |= {
            "version": int(accession.partition(".")[2] or 0),
            "taxid": organism.get("tax_id"),
            "organism_name": organism.get("organism_name"),
            "status": status,
            "replaced_by": current if status == "replaced" and current != accession else None,
        }
        return Record(
            id=f"genome:{accession}",
            kind="genome",
            content=content,
            source_url=f"{self._url}/genome/accession/{accession}/dataset_report",
            digest=digest(content),
        )


def _page_of(reply: Reply) -> Mapping[str, Any]:
    """One page; raises `Malformed` for reports that are none."""
    page = read_json(reply)
    reports = page.get("reports", [])
    if not isinstance(reports, list):
        raise Malformed("NCBI Datasets answered without a list of reports", reply.evidence())
    for each in reports:
        if not isinstance(each, dict) or "." not in str(each.get("accession", "")):
            raise Malformed("NCBI Datasets has a report of nothing", reply.evidence())
    return page


def _version(answered: Answered) -> int:
    version: int = answered.record.content["version"]
    return version
