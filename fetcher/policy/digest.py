"""The digest of a record's content: equal for equal content, however it was got."""

import hashlib

from fetcher.documents import Content, json_bytes

__all__ = ["digest", "measured"]


def digest(content: Content) -> str:
    """``sha256:`` and the hash of the content as canonical JSON.

    Keys are sorted, lists keep their order, times are UTC. Raises `TypeError` for what JSON
    cannot say, such as bytes.
    """
    return measured(content)[0]


def measured(content: Content) -> tuple[str, int]:
    """The digest, and how many bytes of JSON it was made of."""
    data = json_bytes(content, sort_keys=True)
    return "sha256:" + hashlib.sha256(data).hexdigest(), len(data)
