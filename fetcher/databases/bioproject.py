"""BioProject: what a set of data was made for.

https://www.ncbi.nlm.nih.gov/books/NBK169438/ · https://www.ncbi.nlm.nih.gov/bioproject/
"""

import re
from typing import Final

from fetcher.databases.base import SummaryDatabase

__all__ = ["BIOPROJECT"]

BIOPROJECT: Final = SummaryDatabase(
    name="bioproject",
    accession=re.compile(r"PRJ[A-Z]{1,2}[0-9]{1,9}"),
    example="PRJNA…",
    search_field="Project Accession",
    key="project_acc",
    fields={
        "title": "project_title",
        "name": "project_name",
        "description": "project_description",
        "organism": "organism_name",
        "taxid": "taxid",
        "registered": "registration_date",
    },
)
