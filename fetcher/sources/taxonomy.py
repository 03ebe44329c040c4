"""Taxa by taxid, a hundred in a request; a merged taxid leads to what it became."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from fetcher.errors import Malformed
from fetcher.sources.eutils import Eutils
from fetcher.sources.lookups import Answered, Found, record_of
from fetcher.sources.wire_taxonomy import taxa_of
from fetcher.targets import Target

if TYPE_CHECKING:
    from fetcher.documents import Content

__all__ = ["Taxonomy"]


class Taxonomy:
    """Entrez' taxonomy on one account."""

    at_once = 100

    def __init__(self, eutils: Eutils) -> None:
        self._eutils = eutils

    async def find(self, names: Sequence[str]) -> Found:
        """See `Directory`."""
        form = {"db": "taxonomy", "id": ",".join(names), "retmode": "xml"}
        found: dict[str, Answered | Malformed] = {}
        for taxon in await self._eutils.ask("efetch.fcgi", form, taxa_of):
            if isinstance(taxon, Malformed):
                # Of whichever of them that does not come otherwise.
                found = {**dict.fromkeys(names, taxon), **found}
                continue
            taxid = taxon["taxid"]
            answered = self._answered(str(taxid), cast("Content", taxon))
            for each in (*taxon["merged_taxids"], taxid):
                found[str(each)] = answered
        return found

    def _answered(self, taxid: str, content: "Content") -> Answered | Malformed:
        url = self._eutils.url_of("efetch.fcgi", "taxonomy", taxid)
        try:
            record = record_of(f"taxonomy:{taxid}", "taxon", content, url)
        except Malformed as error:
            return error
        return Answered(record, Target("ncbi", "taxonomy", taxid))
