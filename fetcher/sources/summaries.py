"""Entrez databases of which only summaries are kept: a search for the UIDs, then the summaries.

https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESummary
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fetcher.databases import SummaryDatabase
from fetcher.errors import Malformed
from fetcher.models import Record
from fetcher.policy.digest import digest
from fetcher.policy.verdict import Reply
from fetcher.sources.eutils import Eutils
from fetcher.sources.lookups import Answered
from fetcher.sources.wire_ncbi import read_json
from fetcher.targets import Target

__all__ = ["Summaries"]


class Summaries:
    """One such database on one account."""

    at_once = 100

    def __init__(self, eutils: Eutils, database: SummaryDatabase) -> None:
        self._eutils = eutils
        self._database = database

    async def find(self, names: Sequence[str]) -> Mapping[str, Answered]:
        """See `Directory`."""
        database = self._database
        term = " OR ".join(f'"{name}"[{database.search_field}]' for name in names)
        uids = (await self._eutils.search(database.name, term)).ids
        if not uids:
            return {}
        form = {"db": database.name, "id": ",".join(uids), "retmode": "json", "version": "2.0"}
        summaries = await self._eutils.ask("esummary.fcgi", form, _summaries)
        found: dict[str, Answered] = {}
        for uid, summary in summaries.items():
            accession = str(summary.get(database.key, "")).upper()
            if not database.accession.fullmatch(accession):
                continue
            content: dict[str, Any] = {
                "database": database.name,
                "accession": accession,
                "uid": uid,
                **{ours: summary.get(theirs) for ours, theirs in database.fields.items()},
                "summary": summary,
            }
            record = Record(
                id=f"{database.name}:{accession}",
                kind="summary",
                content=content,
                source_url=self._eutils.url_of("esummary.fcgi", database.name, uid),
                digest=digest(content),
            )
            found[accession] = Answered(record, Target("ncbi", database.name, accession))
        return found


def _summaries(reply: Reply) -> dict[str, dict[str, Any]]:
    """Summaries by UID, without those that are errors; raises `Malformed`."""
    result = read_json(reply).get("result")
    if not isinstance(result, dict) or not isinstance(result.get("uids"), list):
        raise Malformed("NCBI's summaries are none", reply.evidence())
    found = {}
    for uid in map(str, result["uids"]):
        summary = result.get(uid)
        if not isinstance(summary, dict):
            raise Malformed(f"NCBI's summaries lack {uid}, which they name", reply.evidence())
        if "error" not in summary:
            found[uid] = summary
    return found
