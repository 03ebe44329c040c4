"""What a page shows is compared with what came, and a difference is one."""

import pytest

from tests.site.console import Command, Settings, commands

CAME = "A  1\nB 2026-11-28 10:00 UTC\nC\nD at http://127.0.0.1:4321/\n"


@pytest.mark.parametrize(
    "shown",
    [
        [],
        ["A 1", "B 2020-01-01 11:11 UTC", "C", "D at http://127.0.0.1:80/"],
        ["…", "C", "…"],
        ["A 1", "…"],
        ["…", "D at …"],
        ["A …", "…", "C", "D …"],
        ["…", "B …", "…", "D …"],
    ],
)
def test_what_came_is_as_shown(shown: list[str]) -> None:
    assert Command("x", shown).told(CAME)


@pytest.mark.parametrize(
    "shown",
    [
        ["A 2", "…"],
        ["A 1"],
        ["A 1", "C", "…"],
        ["…", "C"],
        ["…", "E", "…"],
        ["…", "C", "…", "B …", "…"],
        ["…", "E", "…", "…"],
        ["A 1", "…", "A 1", "…"],
        ["…", "C", "…", "C", "…"],
    ],
)
def test_what_came_is_not_as_shown(shown: list[str]) -> None:
    """Another line, one that is missing, one too many, or another order."""
    assert not Command("x", shown).told(CAME)


def test_the_blocks_of_a_page() -> None:
    page = (
        "# x\n```console\n$ one --option    # a remark\nout\n\nput\n$ X=1 two\n```\n"
        "```toml\na = 1\n```\n```json\n{}\n```\n"
    )
    one, two, settings = commands(page)
    assert one == Command("one --option    # a remark", ["out", "put"])
    assert isinstance(one, Command)
    assert isinstance(two, Command)
    assert (one.text, two.text) == ("one --option", "two")
    assert settings == Settings("a = 1\n")


def test_a_block_begins_with_a_command() -> None:
    with pytest.raises(AssertionError, match="does not begin"):
        list(commands("```console\noutput of nothing\n```\n"))
