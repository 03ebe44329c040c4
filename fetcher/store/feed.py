"""The feed of changes: an index over the stamps that records carry, not a log beside them."""

import heapq
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from fetcher.documents import Document, Kind
from fetcher.models import AccountState, Stamp
from fetcher.store.protocol import COLLECTIONS

__all__ = ["Changed", "PageOf", "latest", "visible"]

_PAGE: Final = 200

Changed: TypeAlias = tuple[Stamp, Document]

PageOf: TypeAlias = Callable[[Kind, tuple[int, int], int], Awaitable[list[Changed]]]
"""(kind, (token, n), size) to the first records of that kind behind that position."""


async def visible(
    account: AccountState, after: tuple[int, int], page_of: PageOf
) -> AsyncGenerator[Changed, None]:
    """What changed on an account behind a position, ascending, up to its published watermark.

    What stands beyond a seal is left out: its leader ended before it could say that all before
    it is written, and the next one stamps it anew. A record that changes while this reads has a
    higher stamp, and comes again.
    """
    end = (account.token, account.watermark)
    while after < end:
        pages = [await page_of(kind, after, _PAGE) for kind in COLLECTIONS]
        # Beyond the last of a full page that kind may have more.
        full = [page[-1][0] for page in pages if len(page) == _PAGE]
        upto = min(full) if full else None
        for stamp, document in heapq.merge(*pages, key=lambda change: change[0]):
            if upto is not None and stamp > upto:
                break
            after = (stamp.token, stamp.n)
            if after > end:
                return
            if stamp.n <= account.seals.get(stamp.token, stamp.n):
                yield stamp, document
        if upto is None:
            return


def latest(documents: Sequence[Document], limit: int) -> list[Document]:
    """Those that changed last, newest first."""
    ordered = sorted(documents, key=lambda each: (each["changed_at"], each["_id"]), reverse=True)
    return ordered[:limit]
