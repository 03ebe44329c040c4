"""The GenBank flat file as a layout: whole records out of a stream, and columns into fields.

Nothing here knows what a field means (that is `fetcher.sources.genbank`); all of it knows where
a field may stand. The layout is what tells a whole record from a damaged one: a flat file has
no checksum and no closing tag, connections drop in its middle, and NCBI writes error documents
between (or into) good records. So every line has to be of the layout, the residues are counted
against LOCUS and against the position number before each of their lines, and whatever does not
fit raises `Damaged`; nothing is skipped.

==========  ==================================================================================
column 1    a keyword (``LOCUS`` … ``//``), its text from column 13
column 3-4  a sub-keyword (``  AUTHORS``, ``   PUBMED``), its text from column 13
column 6    a feature key, its location from column 22
column 13   more text of the keyword above
column 22   more of the location above, ``/qualifier=…``, or more of a qualifier's value
ORIGIN      the position of the line's first residue, then residues in blocks
==========  ==================================================================================

https://www.ncbi.nlm.nih.gov/genbank/samplerecord/ · https://ftp.ncbi.nih.gov/genbank/gbrel.txt
(section 3.4) · https://www.insdc.org/submitting-standards/feature-table/ (sections 3 and 4)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from fetcher.documents import Feature

__all__ = ["Damaged", "Field", "FlatFileSplitter", "FlatRecord", "Piece", "parse_flat"]


class Damaged(ValueError):
    """A record that is not whole, or not of the layout; its text says where."""


# --- from a stream to records ---------------------------------------------------------------

_MAX_NOISE = 64 * 1024
_BEGIN = re.compile(rb"LOCUS {3,16}[^ \n]")
_END = re.compile(rb"\n(?://[ \t\r]{0,8}\n|(?=LOCUS {3,16}[^ \n]))")
_OVERLAP = 32  # more than either pattern can be long


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of an answer, its bytes exactly as served.

    ``record`` begins with a LOCUS line and ends with a ``//`` line (its newline included, an
    empty line after it not). ``cut`` is a record whose end never came: the stream ended, or a
    new LOCUS line began. ``noise`` is anything else that is not white space: error documents,
    ``Error: F a i l e d …``, HTML, JSON; a long one comes in several pieces.
    """

    kind: Literal["record", "noise", "cut"]
    data: bytes


class FlatFileSplitter:
    """Takes an answer apart as it arrives; holds one unfinished record at most.

    Each byte is looked at once, however small the chunks are, so the time is linear.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no pattern begins before this place in the buffer
        self._in_record = False

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes, in order."""
        buffer = self._buffer
        buffer += data
        pieces: list[Piece] = []
        start = 0
        while found := (_END if self._in_record else _BEGIN).search(buffer, self._searched):
            end = found.end() if self._in_record else found.start()
            if self._in_record:
                # A pattern that takes up only the newline has stopped before the next LOCUS.
                whole = end - found.start() > 1
                with memoryview(buffer)[start:end] as view:  # copied once: it may be a chromosome
                    pieces.append(Piece("record" if whole else "cut", bytes(view)))
                self._in_record = False
            else:
                pieces += _noise(buffer[start:end])
                self._in_record = True
            start = self._searched = end
        del buffer[:start]
        self._searched = max(self._searched - start, len(buffer) - _OVERLAP, 0)
        if not self._in_record and len(buffer) > _MAX_NOISE:
            pieces += _noise(buffer[: self._searched])
            del buffer[: self._searched]
            self._searched = 0
        return pieces

    def close(self) -> Piece | None:
        """What is left at the end of the stream; None where that is only white space."""
        rest, self._buffer, self._searched = bytes(self._buffer), bytearray(), 0
        if not self._in_record:
            return next(_noise(rest), None)
        self._in_record = False
        # The end line of the last record may lack its newline.
        return Piece("record" if rest.rstrip(b" \t\r").endswith(b"\n//") else "cut", rest)


def _noise(data: bytes | bytearray) -> Iterator[Piece]:
    if data.strip():
        yield Piece("noise", bytes(data))


# --- from a record to fields ----------------------------------------------------------------


Field: TypeAlias = tuple[str, bool, str]
"""A keyword, whether it is a sub-keyword, and its text, lines joined by a newline."""


class Locus(NamedTuple):
    """The LOCUS line; `unit` is bp, aa, or rc (the members that a master record counts)."""

    name: str
    length: int
    unit: str
    strand: str | None
    molecule: str | None
    topology: str | None
    division: str | None
    date: str


class FlatRecord(NamedTuple):
    """A record whose layout has been checked from LOCUS to ``//``.

    `fields` are those before and after the features, in order. `residues` are upper case, as
    many as LOCUS says; None for a record that has no ORIGIN.
    """

    locus: Locus
    fields: list[Field]
    features: list[Feature]
    residues: str | None


# Read by its words: long names and lengths push the columns, and older files had others.
_LOCUS = re.compile(
    r"LOCUS +(\S+) +([0-9]{1,18}) (bp|aa|rc)"
    r"(?: +(?:([sdm]s)-)?([A-Za-z]*NA))?"
    r"(?: +(linear|circular))?"
    r"(?: +([A-Z]{3}))?"
    r" +(\d\d-[A-Z]{3}-\d{4}) *"
)
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n") + b"\x7f"
_FIELD = re.compile(r"\n(?! {12})")
_KEYWORD = re.compile(r"(?:[A-Z][A-Z_]{1,10}|BASE COUNT| {2,3}[A-Z]{2,8}) +")
_ORIGIN = re.compile(rb"\nORIGIN(?: [^\n]*)?\n")
_FEATURES = "\nFEATURES             Location/Qualifiers"
_FEATURES_END = re.compile(r"\n(?=[^ \n])")


def parse_flat(data: bytes) -> FlatRecord:
    """Check one record from its LOCUS line to its ``//`` line, and take it apart.

    Raises `Damaged`.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if not data.startswith(b"LOCUS "):
        raise Damaged("it does not begin with LOCUS")
    # Not by taking off what follows: that would be a copy of a chromosome.
    last = data.rfind(b"\n//")
    if last < 0 or data[last + 3 :].strip(b" \t\n"):
        raise Damaged("its end is missing")
    origin = _ORIGIN.search(data)
    before = data[: origin.start() if origin else last]
    if len(before.translate(None, _CONTROL)) != len(before):
        raise Damaged("it holds control characters")
    text = _decode(before)
    head, separator, rest = text.partition(_FEATURES)
    if not separator:
        raise Damaged("it has no FEATURES")
    line, _, head = head.partition("\n")
    locus = _locus(line)
    block, tail = rest, ""
    if end := _FEATURES_END.search(rest):
        block, tail = rest[: end.start()].rstrip("\n"), rest[end.end() :]
    fields = _fields(head) + (_fields(tail) if tail else [])
    return FlatRecord(
        locus=locus,
        fields=fields,
        features=list(_features(block)),
        residues=_residues(data[origin.end() : last + 1], locus) if origin else None,
    )


def _decode(data: bytes) -> str:
    """GenBank is ASCII; what is not has come from elsewhere and is most often Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _locus(line: str) -> Locus:
    found = _LOCUS.fullmatch(line)
    if not found:
        raise Damaged(f"its LOCUS line makes no sense: {line[:80]!r}")
    name, length, *rest = found.groups()
    return Locus(name, int(length), *rest)


def _fields(text: str) -> list[Field]:
    fields = []
    for entry in _FIELD.split(text):
        keyword, sub = _keyword(entry[:12])
        if not keyword:
            raise Damaged(f"a line that is no part of a record: {_quote(entry)}")
        body = entry[12:]
        if "\n" in body:
            body = body.replace("\n            ", "\n")
        fields.append((keyword, sub, body))
    return fields


@lru_cache(maxsize=256)
def _keyword(columns: str) -> tuple[str, bool]:
    """What stands in the first twelve columns: the keyword (empty for none), and its rank."""
    found = _KEYWORD.fullmatch(columns.ljust(12))
    return (columns.strip(), columns[0] == " ") if found else ("", False)


def _quote(text: str) -> str:
    return repr(text.partition("\n")[0][:80])


# --- features -------------------------------------------------------------------------------

_INDENT = "\n" + " " * 21
_FEATURE = re.compile(r"\n {5}(?! )")
_TRAILING = re.compile(r" +(?=\n)")
_LOCATION = re.compile(r"[\w.,:<>()^|*+-]*[\w)]", re.ASCII)
_NAME = re.compile(r"[\w'*+.-]+", re.ASCII)
_RESIDUES = ("translation", "peptide")


def _features(block: str) -> Iterator[Feature]:
    """The feature table, after its heading; each feature by itself, so that no step is long."""
    if " \n" in block:
        block = _TRAILING.sub("", block)
    starts = [*(found.start() for found in _FEATURE.finditer(block)), len(block)]
    # Every line begins a feature or goes on at column 22; there is no third kind.
    if starts[0] != 0 or block.count("\n") != len(starts) - 1 + block.count(_INDENT):
        raise Damaged("a line in the feature table that is no part of it")
    for start, end in pairwise(starts):
        yield _feature(block[start + 6 : end])


def _feature(text: str) -> Feature:
    # Most values hold no line that begins with a slash; where one does, it is put together again.
    parts = text.split(_INDENT + "/")
    first = parts[0]
    key, location = first[:15].rstrip(), first[16:]
    if first[15:16] != " " or location[:1] in ("", " ") or not _NAME.fullmatch(key):
        raise Damaged(f"a feature that makes no sense: {_quote(first)}")
    if " " in location:
        location = "".join(location.split())
    if not _LOCATION.fullmatch(location) or location.count("(") != location.count(")"):
        raise Damaged(f"the location of a {key} makes no sense: {location[:80]!r}")
    qualifiers: dict[str, list[str] | None] = {}
    index, count = 1, len(parts)
    while index < count:
        name, equals, value = parts[index].partition("=")
        index += 1
        if not name.isidentifier() and not _NAME.fullmatch(name):
            raise Damaged(f"a qualifier of a {key} makes no sense: {_quote(name)}")
        if not equals:
            qualifiers.setdefault(name, None)
            continue
        quoted = value[:1] == '"'
        if quoted:
            if value.count('"') == 2 and value[-1] == '"':
                value = value[1:-1]
            else:
                value, index = _quoted(name, value, parts, index)
        if "\n" in value:
            value = _joined(value, " " if quoted and name not in _RESIDUES else "")
        if (values := qualifiers.get(name)) is None:
            qualifiers[name] = [value]
        else:
            values.append(value)
    return {"type": key, "location": location, "qualifiers": qualifiers}


def _quoted(name: str, value: str, parts: list[str], index: int) -> tuple[str, int]:
    """A value with more than its own two quotes, or with fewer; and the index after it.

    A quote inside is doubled (feature table, section 3.3.2.1). Where it is not, the value is
    taken as it is, as long as it closes by itself and no other qualifier can have got into it.
    """
    whole, after = value, index
    while whole.count('"') % 2 and after < len(parts):
        whole += f"{_INDENT}/{parts[after]}"
        after += 1
    inner = whole[1:-1]
    if len(whole) > 1 and whole[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"'), after
    inner = value[1:-1]
    if len(value) > 1 and value[-1] == '"' and '="' not in inner:
        return inner.replace('""', '"'), index
    raise Damaged(f"the quotes of a /{name} do not close")


def _joined(value: str, blank: str) -> str:
    """The lines of a value as one, with a blank at each break where the value is a text.

    A word longer than a line is broken by NCBI without a mark; it gets a blank too, since
    nothing tells it from two words (Biopython does the same). What is not quoted is no text
    (``/transl_except=(pos:1..3,`` ``aa:Met)``) and has no blank, as in NCBI's XML.
    """
    return blank.join([line.strip(" ") for line in value.split("\n")])


# --- residues -------------------------------------------------------------------------------

_PER_LINE, _WIDTH = 60, 76
_STEP = 4096 * _WIDTH
_ORIGIN_LINE = re.compile(rb" *(\d{1,12})((?: +[A-Za-z*-]+)*) *")
_ORIGIN_TEXT = re.compile(rb" {12}[^ \d].*")
_LAYOUT = b" \n0123456789"


def _alphabet(letters: bytes) -> bytes:
    """A translation table to upper case that makes ``!`` of what is no residue."""
    upper = letters.upper()
    return bytes(
        code if code in upper else code - 32 if code in letters else ord("!") for code in range(256)
    )


_BASES = _alphabet(b"acgturyswkmbdhvn")
_AMINO_ACIDS = _alphabet(bytes(range(97, 123)) + b"*-")


def _residues(body: bytes, locus: Locus) -> str:
    """The residues of `body`, which is what stands between the ORIGIN line and the end line."""
    table = _AMINO_ACIDS if locus.unit == "aa" else _BASES
    lines = locus.length // _PER_LINE
    full = lines * _WIDTH if _regular(body, lines) else 0
    # In steps, since a single one over a chromosome would keep all other threads waiting.
    parts = [
        body[start : min(start + _STEP, full)].translate(table, _LAYOUT)
        for start in range(0, full, _STEP)
    ]
    count = sum(map(len, parts))
    if full and count != lines * _PER_LINE:
        raise Damaged(f"{count} residues in the first {lines} lines of ORIGIN")
    for line in body[full:].rstrip(b"\n").splitlines():
        if found := _ORIGIN_LINE.fullmatch(line):
            if int(found[1]) != count + 1:
                raise Damaged(f"residue {count + 1} is not where ORIGIN has {line[:20]!r}")
            parts.append(found[2].translate(table, _LAYOUT))
            count += len(parts[-1])
        elif parts or not _ORIGIN_TEXT.fullmatch(line):
            raise Damaged(f"a line in ORIGIN that is no part of it: {line[:80]!r}")
    if count != locus.length:
        raise Damaged(f"{count} residues, where LOCUS says {locus.length}")
    residues = b"".join(parts)
    if b"!" in residues:
        raise Damaged("a letter in ORIGIN that is no residue")
    return residues.decode("ascii")


def _regular(body: bytes, lines: int) -> bool:
    """Whether `body` begins with so many full lines in the usual columns, each in its place."""
    end = lines * _WIDTH
    if len(body) < end or body[75:end:_WIDTH].count(b"\n") != lines:
        return False
    for column in range(9, 75, 11):
        if body[column:end:_WIDTH].count(b" ") != lines:
            return False
    positions = _POSITIONS if len(_POSITIONS) >= 9 * lines else _positions(lines)
    # Column by column, not line by line: a chromosome has millions of lines.
    return all(body[column:end:_WIDTH] == positions[column : 9 * lines : 9] for column in range(9))


def _positions(lines: int) -> bytes:
    return b"".join([b"%9d" % (line * _PER_LINE + 1) for line in range(lines)])


_POSITIONS = _positions(512)
