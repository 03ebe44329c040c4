"""Tables that fit, and text that can do nothing to a terminal."""

import io
import json
import re
import zlib

import pytest

from fetcher.cli.common import say
from fetcher.cli.render import Format, json_text, key_values, plain, print_table, write_sequence
from fetcher.log import set_up_log


class Terminal(io.StringIO):
    """A terminal of sixty columns."""

    def isatty(self) -> bool:
        return True


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names end early, what tells rows apart stays whole."""
    out = Terminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    rows = [("NC_003355.1", "Wasabi mottle virus, complete genome and more of it", "6298")]
    print_table(("ACCESSION", "DEFINITION", "LENGTH"), rows, out)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert "NC_003355.1" in lines[-1]
    assert "6298" in lines[-1]


def test_a_table_in_a_pipe_is_whole() -> None:
    """However wide it must be."""
    out = io.StringIO()
    long = "x" * 300
    print_table(("ACCESSION", "DEFINITION"), [("A1", long)], out)
    assert long in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_escape_sequences_do_nothing() -> None:
    """Release names and tags are the upstream's, and may be hostile."""
    out = io.StringIO()
    evil = "\x1b]0;pwned\x07[bold]x[/bold]\x9b31m\r\n"
    print_table(("TAG",), [(evil,)], out)
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\x9b", "\r"}
    assert "[bold]x[/bold]" in out.getvalue()
    assert plain("naïve 🧬") == "naïve 🧬"


def test_long_values_are_shortened() -> None:
    """A page of sequence says how long it is."""
    values = dict(key_values({"sequence": "A" * 10_000, "flat": b"x", "taxid": 7}))
    assert values["sequence"].endswith("(10,000 characters)")
    assert values["taxid"] == "7"
    assert "flat" not in values


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x7f", "\x85", "\x9b31m", "\u202e", "\u2066", "\u2028"]
)
def test_no_way_out_moves_a_terminal(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says the same and has none of it; sentences and the log's lines go without."""
    document = {"name": f"a{evil}b", "lines": "1\n2"}
    line = json_text(document)
    assert json.loads(line) == document
    say(f"one\nof {evil}two")
    log = set_up_log("console", "info")
    log.info(f"event {evil}", error=f"says {evil}", exception=f"Traceback\n  {evil}")
    told = capsys.readouterr().err
    assert told.startswith("one\nof ")
    for text in (line, told):
        assert evil[0] not in text


def test_a_flat_file_on_a_terminal_moves_nothing() -> None:
    """In a pipe it is what NCBI served, byte for byte."""
    document = {"flat": zlib.compress(b"LOCUS\tx\n\x1b[2J\xc2\x9b//\n"), "accession_version": "A.1"}
    piped, shown = io.StringIO(), Terminal()
    for out in (piped, shown):
        write_sequence(document, Format.GENBANK, out)
    assert piped.getvalue() == "LOCUS\tx\n\x1b[2J\x9b//\n"
    assert shown.getvalue() == "LOCUS   x\n [2J //\n"
