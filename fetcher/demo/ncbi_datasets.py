"""NCBI Datasets v2: genome reports by accession, by pages, with a limit of their own.

https://www.ncbi.nlm.nih.gov/datasets/docs/v2/api/rest-api/
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from fetcher.demo.exchange import Answer, Call, json_answer
from fetcher.demo.ncbi_state import NcbiState

__all__ = ["DatasetsApi", "synthetic_genome"]

_CODES: Final = {400: 3, 404: 5, 429: 8, 401: 16}
_MOST: Final = 1_000


class DatasetsApi:
    """Answers calls by what the state holds."""

    def __init__(self, state: NcbiState) -> None:
        self._state = state

    def answer(self, call: Call) -> Answer:
        """The answer to any call; a key that is not known is refused."""
        state = self._state
        key = call.headers.get("api-key")
        account = key or call.remote
        limit = state.api_keys.get(key, 0) if key is not None else state.limit_without_key
        count, too_many = state.arrive(f"datasets {account}", limit, call.at)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - count)),
        }
        if key is not None and key not in state.api_keys:
            answer = _error(401, "API key invalid")
        elif too_many:
            answer = _error(429, "Too many requests")
            if state.retry_after is not None:
                headers["Retry-After"] = str(state.retry_after)
        else:
            answer = self._route(call)
        return replace(answer, account=account, headers={**headers, **answer.headers})

    def _route(self, call: Call) -> Answer:
        match call.path.strip("/").split("/"):
            case ["genome", "accession", names, "dataset_report"] if call.method == "GET":
                return self._reports(unquote(names).split(","), call.query)
            case _:
                return _error(404, "Not Found")

    def _reports(self, names: Sequence[str], query: Mapping[str, str]) -> Answer:
        size = min(int(query.get("page_size", "20")), _MOST, self._state.reports_at_most)
        start = query.get("page_token", "p0")
        if not (start[:1] == "p" and start[1:].isdecimal()):
            return _error(400, "invalid page_token")
        every = query.get("filters.assembly_version") == "all_assemblies"
        found: list[dict[str, Any]] = []
        for name in names:
            if not name.upper().startswith(("GCF_", "GCA_")):
                return _error(400, f"invalid accession {name}")
            found += self._state.genomes_of(name.upper(), every=every)
        at = int(start[1:])
        shape: dict[str, Any] = {}
        if found:
            shape = {"reports": found[at : at + size], "total_count": len(found)}
        if at + size < len(found):
            shape["next_page_token"] = f"p{at + size}"
        return json_answer(200, shape)


def _error(status: int, message: str) -> Answer:
    return json_answer(status, {"code": _CODES[status], "message": message, "details": []})


def synthetic_genome(
    accession: str,
    *,
    organism: str = "Synthetic mottle virus",
    taxid: int = 12242,
    status: str = "current",
    current: str | None = None,
    length: int = 6_300,
) -> dict[str, Any]:
    """A genome report with what the real ones have; `status` is current, previous, suppressed or
    retired.
    """
    return {
        "accession": accession,
        "current_accession": current or accession,
        "source_database": "SOURCE_DATABASE_REFSEQ",
        "organism": {"tax_id": taxid, "organism_name": organism},
        "assembly_info": {
            "assembly_level": "Complete Genome",
            "assembly_status": status,
            "assembly_name": f"ViralMultiSegProj{taxid}",
            "assembly_type": "haploid",
            "release_date": "2024-01-01",
            "submitter": "Institute of Examples",
        },
        "assembly_stats": {
            "total_sequence_length": str(length),
            "number_of_component_sequences": 1,
            "gc_percent": 43.5,
        },
    }
