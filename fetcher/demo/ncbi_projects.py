"""A database of which E-utilities give summaries only: BioProject.

https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESummary
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from fetcher.demo.exchange import Answer, json_answer
from fetcher.demo.ncbi_state import NcbiState

__all__ = ["projects"]

_PHRASE: Final = re.compile(r'"?(PRJ[A-Z]{1,2}\d+)"?\[(?:Project Accession|PRJA)\]', re.IGNORECASE)


def projects(state: NcbiState, utility: str, params: Mapping[str, str]) -> Answer | None:
    """The answer of a utility to a question about projects; None where there is no such one."""
    if utility == "esearch.fcgi":
        names = {name.upper() for name in _PHRASE.findall(params.get("term", ""))}
        found = [uid for uid, each in state.projects.items() if each["project_acc"] in names]
        result = {"count": str(len(found)), "retmax": str(len(found)), "retstart": "0"}
        shape: dict[str, Any] = {**result, "idlist": [str(uid) for uid in found]}
        header = {"type": "esearch", "version": "0.3"}
        return json_answer(200, {"header": header, "esearchresult": shape}, charset="UTF-8")
    if utility == "esummary.fcgi":
        told: dict[str, Any] = {"uids": []}
        for uid in params.get("id", "").split(","):
            told["uids"].append(uid)
            known = state.projects.get(int(uid)) if uid.isdecimal() else None
            error = {"uid": uid, "error": "cannot get document summary"}
            told[uid] = {"uid": uid, **known} if known is not None else error
        header = {"type": "esummary", "version": "0.3"}
        return json_answer(200, {"header": header, "result": told}, charset="UTF-8")
    return None
