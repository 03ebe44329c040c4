"""Entrez queries: from the text of a term to a test of one record.

Operators are upper case and are applied from left to right, without precedence; words without
an operator between them are joined by AND, words before a field tag form a phrase.
https://www.ncbi.nlm.nih.gov/books/NBK3837/#EntrezHelp.Entrez_Searching_Options
"""

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeAlias

from fetcher.demo.ncbi_state import Entry, NcbiState

__all__ = ["BadTerm", "Saved", "Term", "day_range", "parse_term"]

Test: TypeAlias = Callable[[Entry], bool]
Saved: TypeAlias = Callable[[str], Sequence[Entry]]

_TOKEN: Final = re.compile(
    r'\s*(?:(?P<open>\()|(?P<close>\))|(?P<tag>\[[^\]]*\])|(?P<key>#\d+)|"(?P<quoted>[^"]*)"'
    r"|(?P<op>AND|OR|NOT)(?![\w.])|(?P<word>[^\s()\[\]\"]+))"
)
_TAXID: Final = re.compile(r"txid(\d+)", re.IGNORECASE)
_FIELDS: Final = {
    "accession": "accn",
    "accn": "accn",
    "primary accession": "pacc",
    "pacc": "pacc",
    "uid": "uid",
    "organism": "orgn",
    "orgn": "orgn",
    "organism:exp": "orgn",
    "orgn:exp": "orgn",
    "porgn": "orgn",
    "primary organism": "orgn",
    "organism:noexp": "orgn:noexp",
    "orgn:noexp": "orgn:noexp",
    "filter": "filter",
    "filt": "filter",
    "fltr": "filter",
    "sb": "filter",
    "properties": "prop",
    "prop": "prop",
    "title": "title",
    "titl": "title",
    "keyword": "kywd",
    "kywd": "kywd",
    "mdat": "mdat",
    "modification date": "mdat",
    "pdat": "pdat",
    "publication date": "pdat",
    "slen": "slen",
    "sequence length": "slen",
    "all fields": "all",
    "all": "all",
    "text word": "all",
    "word": "all",
}


class BadTerm(ValueError):
    """A term that Entrez refuses."""


@dataclass(slots=True)
class Found:
    """What became of the phrases of a term."""

    fields_not_found: list[str] = field(default_factory=list)
    phrases: list[tuple[str, Test]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Term:
    """A parsed term: `test` one record, `phrases` each phrase with its own test."""

    test: Test
    phrases: Sequence[tuple[str, Test]]
    fields_not_found: Sequence[str]


def parse_term(text: str, state: NcbiState, saved: Saved | None = None) -> Term:
    """Raises `BadTerm`; `saved` gives the result that ``#1`` stands for."""
    tokens: list[tuple[str, str]] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if found is None:
            raise BadTerm(f"Invalid query: {text}")
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind]))
        at = found.end()
    reader = _Reader(tokens, state, saved)
    test = reader.expression()
    if reader.at < len(tokens):
        raise BadTerm("Invalid query: unbalanced parentheses")
    return Term(test, reader.found.phrases, reader.found.fields_not_found)


class _Reader:
    def __init__(
        self,
        tokens: Sequence[tuple[str, str]],
        state: NcbiState,
        saved: Saved | None,
    ) -> None:
        self._tokens = tokens
        self._state = state
        self._saved = saved
        self.at = 0
        self.found = Found()

    def expression(self) -> Test:
        test = self._operand()
        while self.at < len(self._tokens) and self._kind() != "close":
            operator = "AND"
            if self._kind() == "op":
                operator = self._take()
            test = _joined(operator, test, self._operand())
        return test

    def _kind(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self._tokens[at][0] if at < len(self._tokens) else ""

    def _take(self) -> str:
        self.at += 1
        return self._tokens[self.at - 1][1]

    def _operand(self) -> Test:
        match self._kind():
            case "open":
                self._take()
                test = self.expression()
                if self._kind() != "close":
                    raise BadTerm("Invalid query: unbalanced parentheses")
                self._take()
                return test
            case "key":
                key = self._take()[1:]
                if self._saved is None:
                    raise BadTerm(f"Unable to obtain query #{key}")
                uids = {entry.uid for entry in self._saved(key)}
                return lambda entry: entry.uid in uids
            case "quoted":
                phrase = self._take()
            case "word":
                phrase = self._phrase()
            case _:
                raise BadTerm("Invalid query: an operand is missing")
        name = self._take()[1:-1].strip() if self._kind() == "tag" else ""
        return self._tested(phrase, name)

    def _phrase(self) -> str:
        """The words up to a field tag; one word alone where no tag follows."""
        ahead = 0
        while self._kind(ahead) == "word":
            ahead += 1
        if self._kind(ahead) != "tag":
            return self._take()
        return " ".join(self._take() for _ in range(ahead))

    def _tested(self, phrase: str, name: str) -> Test:
        known = _FIELDS.get(name.lower())
        if name and known is None:
            self.found.fields_not_found.append(name)
        test = self._test(phrase.strip(), known or ("orgn" if _TAXID.fullmatch(phrase) else "all"))
        shown = f"{phrase}[{name}]" if name else phrase
        self.found.phrases.append((shown, test))
        return test

    def _test(self, phrase: str, name: str) -> Test:
        lowered = phrase.lower()
        match name:
            case "accn" | "pacc":
                return lambda entry: lowered in _names(entry, secondary=name == "accn")
            case "uid":
                return lambda entry: str(entry.uid) == lowered
            case "orgn" | "orgn:noexp":
                return self._organism(lowered, below=name == "orgn")
            case "filter" | "prop":
                return _filter(lowered)
            case "title":
                return lambda entry: _within(lowered, entry.header.definition.lower())
            case "kywd":
                return lambda entry: _within(lowered, entry.header.keywords.lower())
            case "mdat" | "pdat":
                first, _, last = phrase.partition(":")
                days = day_range(first, last or first)
                return lambda entry: days[0] <= entry.mdat <= days[1]
            case "slen":
                low, _, high = phrase.partition(":")
                if not (low.isdecimal() and (high or low).isdecimal()):
                    raise BadTerm(f"Invalid range: {phrase}")
                span = range(int(low), int(high or low) + 1)
                return lambda entry: entry.header.length in span
            case _:
                return _anywhere(lowered)

    def _organism(self, lowered: str, *, below: bool) -> Test:
        if found := _TAXID.fullmatch(lowered):
            taxid = int(found[1])
        elif lowered.isdecimal():
            taxid = int(lowered)
        else:
            return lambda entry: (
                entry.header.organism.lower() == lowered
                or (below and lowered in (each.lower() for each in entry.header.lineage))
            )
        if not below:
            return lambda entry: entry.header.taxid == taxid
        state = self._state
        wanted = state.taxa.get(taxid)
        # A record's own lineage helps where its taxon is not known here.
        return lambda entry: (
            taxid == entry.header.taxid
            or any(taxon.taxid == taxid for taxon in state.lineage(entry.header.taxid))
            or (wanted is not None and wanted.name in entry.header.lineage)
        )


def _joined(operator: str, left: Test, right: Test) -> Test:
    match operator:
        case "OR":
            return lambda entry: left(entry) or right(entry)
        case "NOT":
            return lambda entry: left(entry) and not right(entry)
        case _:
            return lambda entry: left(entry) and right(entry)


def _names(entry: Entry, *, secondary: bool) -> set[str]:
    head = entry.header
    names = {head.accession, entry.accession_version, *(head.secondary if secondary else ())}
    return {name.lower() for name in names}


def _filter(name: str) -> Test:
    match name:
        case "all":
            return lambda entry: True
        case "refseq" | "srcdb_refseq" | "srcdb refseq":
            return lambda entry: entry.header.refseq
        case "viruses" | "gbdiv_vrl" | "gbdiv vrl":
            return lambda entry: entry.header.division == "VRL"
        case "biomol_mrna" | "biomol mrna":
            return lambda entry: entry.header.kind.endswith("mRNA")
        case "biomol_genomic" | "biomol genomic":
            return lambda entry: not entry.header.kind.endswith("mRNA")
        case "ddbj_embl_genbank" | "nucleotide_embl" | "srcdb_genbank":
            return lambda entry: not entry.header.refseq
        case _:
            return lambda entry: False


def _within(phrase: str, text: str) -> bool:
    if phrase.endswith("*"):
        return any(word.startswith(phrase[:-1]) for word in text.split())
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) is not None


def _anywhere(phrase: str) -> Test:
    words = phrase.split()
    if len(words) > 1:
        return lambda entry: _within(phrase, f"{entry.header.definition} ".lower())
    if phrase.endswith("*"):
        return lambda entry: any(word.startswith(phrase[:-1]) for word in entry.words)
    return lambda entry: phrase in entry.words or phrase == str(entry.uid)


def day_range(first: str, last: str) -> tuple[date, date]:
    """``YYYY``, ``YYYY/MM`` or ``YYYY/MM/DD`` each, both ends included; raises `BadTerm`."""
    return _day(first, end=False), _day(last, end=True)


def _day(text: str, *, end: bool) -> date:
    parts = re.fullmatch(r"(\d{4})(?:[/-](\d{1,2}))?(?:[/-](\d{1,2}))?", text.strip().strip('"'))
    if parts is None:
        raise BadTerm(f"Invalid date: {text}")
    year, month, day = int(parts[1]), int(parts[2] or 0), int(parts[3] or 0)
    month = month or (12 if end else 1)
    if not day and end and month <= 12:
        day = monthrange(year, month)[1]
    try:
        return date(year, month, day or 1)
    except ValueError:
        raise BadTerm(f"Invalid date: {text}") from None
