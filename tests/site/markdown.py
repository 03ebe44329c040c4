"""Tables and code in Markdown."""

from collections.abc import Iterable, Sequence

__all__ = ["code", "row", "table"]


def code(text: str) -> str:
    """Text as code."""
    return f"`{text}`" if text else ""


def row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell that is code may hold a vertical bar."""
    return "\n".join((row(heads), "|---" * len(heads) + "|", *map(row, rows)))
