"""What has to be known of an Entrez database to keep its summaries."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SummaryDatabase"]


@dataclass(frozen=True, slots=True)
class SummaryDatabase:
    """A database whose records are summaries, looked up by accession.

    `accession` is the pattern of one in upper case, `example` shows it to people. `search_field`
    is the field of a search that finds it, `key` the summary's field that holds it. `fields` are
    those of the summary that documents have beside it, by the name that they have there.

    https://www.ncbi.nlm.nih.gov/books/NBK25499/#chapter4.ESummary
    """

    name: str
    accession: re.Pattern[str]
    example: str
    search_field: str
    key: str
    fields: Mapping[str, str]
