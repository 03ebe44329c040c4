"""Taxa by taxid, a hundred in a request; a merged taxid leads to what it became."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from fetcher.models import Record
from fetcher.policy.digest import digest
from fetcher.sources.eutils import Eutils
from fetcher.sources.lookups import Answered
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

    async def find(self, names: Sequence[str]) -> Mapping[str, Answered]:
        """See `Directory`."""
        form = {"db": "taxonomy", "id": ",".join(names), "retmode": "xml"}
        found: dict[str, Answered] = {}
        for taxon in await self._eutils.ask("efetch.fcgi", form, taxa_of):
            taxid, content = taxon["taxid"], cast("Content", taxon)
            record = Record(
                id=f"taxonomy:{taxid}",
                kind="taxon",
                content=content,
                source_url=self._eutils.url_of("efetch.fcgi", "taxonomy", str(taxid)),
                digest=digest(content),
            )
            answered = Answered(record, Target("ncbi", "taxonomy", str(taxid)))
            for each in (*taxon["merged_taxids"], taxid):
                found[str(each)] = answered
        return found
