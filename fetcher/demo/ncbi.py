"""NCBI's E-utilities: who may ask, and einfo, esearch, epost and efetch.

https://www.ncbi.nlm.nih.gov/books/NBK25499/ · the odd answers as recorded in the wild
"""

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.flat import fasta
from fetcher.demo.ncbi_projects import projects
from fetcher.demo.ncbi_state import Entry, NcbiState
from fetcher.demo.ncbi_summary import json_summaries, xml_summaries
from fetcher.demo.ncbi_taxonomy import taxa_set
from fetcher.demo.terms import BadTerm, Saved, Term, day_range, parse_term

__all__ = ["NcbiApi"]

TEXT: Final = {"Content-Type": "text/plain; charset=UTF-8"}
XML: Final = {"Content-Type": "text/xml; charset=UTF-8"}
BLOCK_PAGE: Final = """<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head><title>NCBI - WWW Error Blocked Diagnostic</title></head>
<body><h1>Access Denied</h1>
<p>Your access to the NCBI website at <b>eutils.ncbi.nlm.nih.gov</b> has been temporarily blocked
due to a possible misuse/abuse situation involving your site. Please contact info@ncbi.nlm.nih.gov
so that your use can be reviewed.</p></body></html>
"""
# Accessions come in many forms, so whatever might be one is looked up; a UID is a number.
# https://www.ncbi.nlm.nih.gov/genbank/acc_prefix/
_ID: Final = re.compile(
    r"\d+|(?:[A-Z]{1,6}\d{5,13}|[A-Z]{2}_(?:[A-Z]{1,6})?\d{6,13}"
    r"|[A-Z]\d[A-Z\d]{3}\d|\d[A-Z\d]{3}(?:_[A-Z\d]{1,4})?)(?:\.\d+)?",
    re.IGNORECASE,
)


class NcbiApi:
    """Answers calls out of an `NcbiState`."""

    def __init__(self, state: NcbiState) -> None:
        self._state = state
        self._answered = 0

    def answer(self, call: Call) -> Answer:
        """The answer, with what every answer of the E-utilities carries."""
        state, self._answered = self._state, self._answered + 1
        key = call.params.get("api_key")
        known = key is not None and key in state.api_keys
        limit = state.api_keys[key] if key is not None and known else state.limit_without_key
        account = key if key is not None and known else f"ip:{call.remote}"
        count, too_many = state.arrive(account, limit, call.at)
        headers = {
            "Server": "Finatra",
            "Cache-Control": "private",
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - count)),
            "NCBI-PHID": f"322C2F91E09EF725{self._answered:016X}.1.1.m_1",
        }
        if state.blocked:
            kind = {"Content-Type": "text/html; charset=UTF-8"}
            answer = Answer(state.blocked_status, kind, BLOCK_PAGE.encode())
        elif key is not None and not known:
            shape = {"error": "API key invalid", "api-key": key, "type": "client"}
            answer = json_answer(400, {**shape, "status": "unknown"}, charset="UTF-8")
        elif too_many:
            shape = {"error": "API rate limit exceeded", "api-key": key or call.remote}
            shape |= {"count": str(count), "limit": str(limit)}
            answer = json_answer(state.limit_status, shape, charset="UTF-8")
            if state.limit_status == 429 and state.retry_after is not None:
                headers["Retry-After"] = str(state.retry_after)
        else:
            try:
                answer = self._route(call)
            except Refused as refused:
                answer = refused.answer
        return replace(answer, account=account, headers={**headers, **answer.headers})

    def _route(self, call: Call) -> Answer:
        params = call.params
        utility = call.path.removeprefix("/")
        if call.method not in ("GET", "POST"):
            raise _refusal(405, "Error: method not allowed")
        if utility == "einfo.fcgi":
            return self._einfo(params)
        database = params.get("db", "")
        if database == "taxonomy" and utility == "efetch.fcgi":
            return self._taxa(params)
        if database == "bioproject":
            if (answer := projects(self._state, utility, params)) is not None:
                return answer
            raise _refusal(404, "Error: no such utility")
        if database not in self._state.databases:
            raise _refusal(400, f"Error: Invalid db name specified: {database}")
        match utility:
            case "esearch.fcgi":
                return self._esearch(database, params)
            case "epost.fcgi":
                return self._epost(database, params)
            case "esummary.fcgi":
                return self._esummary(database, params)
            case "efetch.fcgi":
                return self._efetch(database, params)
            case _:
                raise _refusal(404, "Error: no such utility")

    def _einfo(self, params: Mapping[str, str]) -> Answer:
        header = {"type": "einfo", "version": "0.3"}
        names = [*self._state.databases, "taxonomy", "bioproject"]
        if "db" not in params:
            if params.get("retmode") == "json":
                shape: dict[str, Any] = {"header": header, "einforesult": {"dblist": names}}
                return json_answer(200, shape, charset="UTF-8")
            listed = "".join(f"<DbName>{name}</DbName>\n" for name in names)
            return _xml(f"<eInfoResult>\n<DbList>\n{listed}</DbList>\n</eInfoResult>\n")
        name = params["db"]
        if name not in names:
            raise _refusal(400, f"Error: Can not find db: {name}")
        state = self._state
        held: dict[str, Sized] = {"taxonomy": state.taxa, "bioproject": state.projects}
        count = str(len(held[name] if name in held else state.current(name)))
        if params.get("retmode") == "json":
            info = {"dbname": name, "menuname": name, "count": count, "lastupdate": ""}
            shape = {"header": header, "einforesult": {"dbinfo": [info]}}
            return json_answer(200, shape, charset="UTF-8")
        info_xml = f"<DbInfo><DbName>{name}</DbName><Count>{count}</Count></DbInfo>"
        return _xml(f"<eInfoResult>\n{info_xml}\n</eInfoResult>\n")

    # --- esearch ----------------------------------------------------------------------------

    def _esearch(self, database: str, params: Mapping[str, str]) -> Answer:
        as_json = params.get("retmode") == "json"
        try:
            return self._search(database, params, as_json=as_json)
        except BadTerm as error:
            if not as_json:
                text = escape(str(error))
                return _xml(f"<eSearchResult><ERROR>{text}</ERROR></eSearchResult>\n")
            header = {"type": "esearch", "version": "0.3"}
            answer = json_answer(
                200, {"header": header, "esearchresult": {"ERROR": str(error)}}, charset="UTF-8"
            )
            # A line break within a string is no JSON, but this is how it comes.
            broken = answer.text.replace(b"\\n", b"\n") if self._state.raw_newlines else answer.text
            return replace(answer, text=broken)

    def _search(self, database: str, params: Mapping[str, str], *, as_json: bool) -> Answer:
        state, webenv = self._state, params.get("WebEnv", "")
        text = params.get("term", "")
        key = params.get("query_key", "")
        if not text.strip() and key:
            text = f"#{key}"
        if not text.strip():
            raise BadTerm("Empty term and query_key - nothing todo")

        def saved(key: str) -> Sequence[Entry]:
            kept = state.recall(database, webenv, key)
            if kept is None:
                raise BadTerm(f"Unable to obtain query #{key}")
            return kept

        term = parse_term(text, state, saved if webenv else None)
        entries = _results(text, term, saved if webenv else None, state.current(database))
        if "mindate" in params or "maxdate" in params:
            if not (params.get("mindate") and params.get("maxdate")):
                raise BadTerm("mindate and maxdate must be used together")
            first, last = day_range(params["mindate"], params["maxdate"])
            entries = [entry for entry in entries if first <= entry.mdat <= last]
        start = _number(params.get("retstart"), 0)
        size = min(_number(params.get("retmax"), 20), state.reach)
        if start >= state.reach:
            # https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESearch
            raise BadTerm(
                "Search Backend failed: Exception:\n'retstart' cannot be larger than "
                f"{state.reach - 1}. ESearch can only retrieve the first {state.reach} records "
                "matching the query."
            )
        shown = entries[start : min(start + size, state.reach)]
        acc = params.get("idtype") == "acc"
        result: dict[str, Any] = {
            "count": str(len(entries)),
            "retmax": str(len(shown)),
            "retstart": str(start),
        }
        if params.get("usehistory") == "y":
            webenv, query_key = state.remember(database, entries, webenv)
            result |= {"querykey": query_key, "webenv": webenv}
        result["idlist"] = [each.accession_version if acc else str(each.uid) for each in shown]
        result |= {"translationset": [], "querytranslation": text}
        current = state.current(database) if not entries else []
        lost = [phrase for phrase, test in term.phrases if not any(map(test, current))]
        if not entries or term.fields_not_found:
            result["errorlist"] = {
                "phrasesnotfound": lost if not entries else [],
                "fieldsnotfound": list(term.fields_not_found),
            }
            result["warninglist"] = {
                "phrasesignored": [],
                "quotedphrasesnotfound": [],
                "outputmessages": [] if entries else ["No items found."],
            }
        if as_json:
            header = {"type": "esearch", "version": "0.3"}
            return json_answer(200, {"header": header, "esearchresult": result}, charset="UTF-8")
        return _search_xml(result)

    # --- ids --------------------------------------------------------------------------------

    def _ids(self, params: Mapping[str, str]) -> list[str]:
        ids = [each.strip() for each in params.get("id", "").split(",")]
        found = [each for each in ids if each]
        if not found:
            raise _refusal(400, "Supplied+id+parameter+is+empty.")
        return found

    def _history(self, database: str, params: Mapping[str, str]) -> Sequence[Entry] | None:
        """The entries that WebEnv and query_key name; None for a call without them."""
        webenv, key = params.get("WebEnv", ""), params.get("query_key", "")
        if not (webenv or key):
            return None
        entries = self._state.recall(database, webenv, key)
        if entries is None:
            raise _refusal(200, f"Error: Unable to obtain query #{key or 1}")
        return entries

    def _epost(self, database: str, params: Mapping[str, str]) -> Answer:
        names = self._ids(params)
        found = {name: self._state.find(database, name) for name in names}
        entries = [entry for entry in found.values() if entry is not None]
        bad = "".join(f"<Id>{escape(name)}</Id>" for name, entry in found.items() if entry is None)
        listed = f"<InvalidIdList>{bad}</InvalidIdList>" if bad else ""
        if not entries:
            error = "<ERROR>IDs contain invalid characters which was treated as delimiters.</ERROR>"
            return _xml(f"<ePostResult>{listed}{error}</ePostResult>\n", status=400)
        webenv, key = self._state.remember(database, entries, params.get("WebEnv", ""))
        kept = f"<QueryKey>{key}</QueryKey>\n\t<WebEnv>{webenv}</WebEnv>"
        return _xml(f"<ePostResult>\n\t{listed}{kept}\n</ePostResult>\n")

    def _esummary(self, database: str, params: Mapping[str, str]) -> Answer:
        state = self._state
        kept = self._history(database, params)
        if kept is None:
            names = self._ids(params)
            found = [(name, state.find(database, name)) for name in names]
        else:
            start = _number(params.get("retstart"), 0)
            stop = start + _number(params.get("retmax"), state.reach)
            found = [(str(entry.uid), entry) for entry in kept[start:stop]]
        if params.get("retmode") == "json":
            return json_summaries(found, state.summary_at_most)
        return _xml(xml_summaries(found))

    # --- efetch -----------------------------------------------------------------------------

    def _efetch(self, database: str, params: Mapping[str, str]) -> Answer:
        state = self._state
        if params.get("retmode", "text") != "text":
            raise _refusal(400, f"Error: retmode {params['retmode']} is not served here")
        form = params.get("rettype", "")
        if form not in ("gb", "gp", "gbwithparts", "fasta", "acc"):
            raise _refusal(400, f"Error: rettype {form} is not served here")
        kept = self._history(database, params)
        records: list[tuple[str, bytes]] = []
        if kept is not None:
            start = _number(params.get("retstart"), 0)
            size = _number(params.get("retmax"), state.fetch_at_most)
            if size > state.fetch_at_most or start >= state.reach:
                raise _refusal(400, f"Error: at most {state.fetch_at_most} records a call")
            stop = min(start + size, state.reach)
            entries = [entry for entry in kept[start:stop] if entry.fetchable]
            return Answer(200, TEXT, records=tuple(_rendered(form, entry) for entry in entries))
        names = list(dict.fromkeys(self._ids(params)))
        if len(names) > state.fetch_at_most:
            raise _refusal(400, f"Error: at most {state.fetch_at_most} records a call")
        seen: set[int] = set()
        for name in names:
            if not _ID.fullmatch(name):
                text = self._spaced("Failed to understand id: ", name)
                if not state.inline_errors:
                    raise _refusal(200, text)
                records.append(("", text.encode()))
                continue
            entry = state.find(database, name)
            if entry is not None and entry.fetchable and entry.uid not in seen:
                seen.add(entry.uid)
                records.append(_rendered(form, entry))
        if not records:
            raise _refusal(400, self._spaced("Failed to retrieve sequence: ", ",".join(names)))
        return Answer(200, TEXT, records=tuple(records))

    def _taxa(self, params: Mapping[str, str]) -> Answer:
        """Taxa as XML; unknown ones are left out, as with records."""
        state = self._state
        ids = [int(each) for each in self._ids(params) if each.isdecimal()]
        lineages = [state.lineage(id_) for id_ in ids]
        found = [(lineage[0], lineage[:0:-1]) for lineage in lineages if lineage]
        if not found:
            return _xml("<eFetchResult>\n\t<ERROR>ID list is empty! </ERROR>\n</eFetchResult>\n")
        return Answer(200, XML, taxa_set(found).encode())

    def _spaced(self, text: str, name: str) -> str:
        """``Error: F a i l e d  t o …``, as NCBI writes it, sometimes URL-encoded."""
        spaced = "".join(char if char == " " else f"{char} " for char in text)
        said = f"Error: {spaced}{name}\n"
        return quote_plus(said) if self._state.urlencoded_errors else said


def _rendered(form: str, entry: Entry) -> tuple[str, bytes]:
    """A record as efetch gives it: each is followed by an empty line."""
    name = entry.accession_version
    if form == "acc":
        return name, f"{name}\n".encode()
    if form == "fasta":
        return name, fasta(entry.flat, entry.header.definition, name)
    flat = entry.brief if form in ("gb", "gp") and entry.brief is not None else entry.flat
    return name, flat + b"\n"


def _results(text: str, term: Term, saved: Saved | None, current: Sequence[Entry]) -> list[Entry]:
    """What a term finds; a bare ``#1`` gives the saved result in its own order."""
    if saved is not None and re.fullmatch(r"\s*#\d+\s*", text):
        return list(saved(text.strip()[1:]))
    return [entry for entry in current if term.test(entry)]


def _search_xml(result: Mapping[str, Any]) -> Answer:
    names = {"count": "Count", "retmax": "RetMax", "retstart": "RetStart"}
    names |= {"querykey": "QueryKey", "webenv": "WebEnv"}
    head = "".join(f"<{tag}>{result[key]}</{tag}>" for key, tag in names.items() if key in result)
    ids = "".join(f"<Id>{id_}</Id>\n" for id_ in result["idlist"])
    doctype = (
        '<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
        '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd">\n'
    )
    translated = f"<QueryTranslation>{escape(result['querytranslation'])}</QueryTranslation>"
    body = f"<eSearchResult>{head}<IdList>\n{ids}</IdList><TranslationSet/>{translated}"
    return _xml(f"{doctype}{body}</eSearchResult>\n")


def _xml(text: str, status: int = 200) -> Answer:
    return Answer(status, XML, f'<?xml version="1.0" encoding="UTF-8" ?>\n{text}'.encode())


def _refusal(status: int, text: str) -> Refused:
    return Refused(Answer(status, TEXT, text.rstrip("\n").encode() + b"\n"))


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise
