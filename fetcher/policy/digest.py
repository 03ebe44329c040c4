"""The digest of a record's content: equal for equal content, however it was got."""

import hashlib
import json
from datetime import datetime

from fetcher.documents import Content, time_text

__all__ = ["digest"]


def digest(content: Content) -> str:
    """``sha256:`` and the hash of the content as canonical JSON.

    Keys are sorted, lists keep their order, times are UTC text. Raises `ValueError` or
    `TypeError` for what JSON cannot say: NaN, bytes.
    """
    text = json.dumps(
        content,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        default=_plain,
    )
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"{type(value).__name__} is no content")
