"""Tables that fit, and text that can do nothing to a terminal."""

import io
import re

import pytest

from fetcher.cli.render import key_values, plain, print_table


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
