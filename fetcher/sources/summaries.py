"""Entrez databases of which only summaries are kept: a search for the UIDs, then the summaries.

https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESummary
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fetcher.databases import SummaryDatabase
from fetcher.errors import Malformed
from fetcher.policy.verdict import Reply
from fetcher.sources.eutils import Eutils
from fetcher.sources.lookups import Answered, Found, record_of
from fetcher.sources.wire_ncbi import read_json
from fetcher.targets import Target

__all__ = ["Summaries"]


class Summaries:
    """One such database on one account."""

    at_once = 100

    def __init__(self, eutils: Eutils, database: SummaryDatabase) -> None:
        self._eutils = eutils
        self._database = database

    async def find(self, names: Sequence[str]) -> Found:
        """See `Directory`."""
        database = self._database
        term = " OR ".join(f'"{name}"[{database.search_field}]' for name in names)
        uids = (await self._eutils.search(database.name, term)).ids
        if not uids:
            return {}
        form = {"db": database.name, "id": ",".join(uids), "retmode": "json", "version": "2.0"}
        summaries = await self._eutils.ask("esummary.fcgi", form, _summaries)
        found: dict[str, Answered | Malformed] = {}
        for uid, summary in summaries.items():
            accession = str(summary.get(database.key, "")).upper()
            if database.accession.fullmatch(accession):
                found[accession] = self._answered(uid, accession, summary)
        return found

    def _answered(
        self, uid: str, accession: str, summary: Mapping[str, Any]
    ) -> Answered | Malformed:
        database = self._database
        content = {
            "database": database.name,
            "accession": accession,
            "uid": uid,
            **{ours: summary.get(theirs) for ours, theirs in database.fields.items()},
            "summary": summary,
        }
        url = self._eutils.url_of("esummary.fcgi", database.name, uid)
        try:
            record = record_of(f"{database.name}:{accession}", "summary", content, url)
        except Malformed as error:
            return error
        return Answered(record, Target("ncbi", database.name, accession))


def _summaries(reply: Reply) -> dict[str, dict[str, Any]]:
    """Summaries by UID, without those that are errors; raises `Malformed`."""
    result = read_json(reply).get("result")
    if not isinstance(result, dict) or not isinstance(result.get("uids"), list):
        raise Malformed("NCBI's summaries are none", reply.evidence())
    found = {}
    for uid in map(str, result["uids"]):
        summary = result.get(uid)
        if not isinstance(summary, dict):
            raise Malformed(f"NCBI's summaries lack {uid[:40]}, which they name", reply.evidence())
        if "error" not in summary:
            found[uid] = summary
    return found
