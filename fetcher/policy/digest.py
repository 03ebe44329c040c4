"""The digest of a record's content: equal for equal content, however it was got."""

import hashlib

from fetcher.documents import Content, json_bytes

__all__ = ["digest"]


def digest(content: Content) -> str:
    """``sha256:`` and the hash of the content as canonical JSON.

    Keys are sorted, lists keep their order, times are UTC. Raises `TypeError` for what JSON
    cannot say, such as bytes.
    """
    return "sha256:" + hashlib.sha256(json_bytes(content, sort_keys=True)).hexdigest()
