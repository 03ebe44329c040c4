"""Entrez databases of which only summaries are kept: each of them is one small file here."""

from collections.abc import Mapping
from typing import Final

from fetcher.databases.base import SummaryDatabase
from fetcher.databases.bioproject import BIOPROJECT

__all__ = ["SUMMARY_DATABASES", "SummaryDatabase"]

SUMMARY_DATABASES: Final[Mapping[str, SummaryDatabase]] = {
    each.name: each for each in (BIOPROJECT,)
}
"""By the name that targets and E-utilities have for them."""
