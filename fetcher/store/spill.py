"""Fields that are too large for a document: they move to blobs, and come back whole.

MongoDB takes documents up to 16 MB (https://www.mongodb.com/docs/manual/reference/limits/), so
from 12 MiB on the largest fields are kept beside the document, largest first. A blob is
immutable and named by the SHA-256 of its bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fetcher.documents import Document, from_json, time_text
from fetcher.errors import StoreUnavailable
from fetcher.store.times import read_times

__all__ = ["LIMIT", "blob_digest", "restore", "spill"]

LIMIT: Final = 12 << 20
# Content whose JSON is no longer fits whatever is kept beside it (twenty entries of history, in
# which long values are digests), and however much longer BSON is.
_SURELY_SMALL: Final = 1 << 20
_SPILLABLE: Final = ("sequence", "flat", "features", "references", "comment", "body", "assets")


def spill(
    document: Document, limit: int = LIMIT, size: int | None = None
) -> tuple[Document, dict[str, bytes]]:
    """The document within the limit, and its blobs by digest.

    ``blobs`` says of each field that moved: digest, length and encoding; the field is None.
    Those that moved before stay where they are. `size` is that of its content as JSON, where
    that is known: most documents need not be measured.
    """
    if size is not None and size <= _SURELY_SMALL:
        return document, {}
    sizes = {
        field: _size(document[field]) for field in _SPILLABLE if document.get(field) is not None
    }
    rest = sum(_size(value) for field, value in document.items() if field not in sizes)
    total = rest + sum(sizes.values())
    blobs: dict[str, bytes] = {}
    where: dict[str, Any] = dict(document.get("blobs", {}))
    small = dict(document)
    for field in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= limit:
            break
        encoding, data = _encode(document[field])
        name = _name(data)
        blobs[name] = data
        where[field] = {"digest": name, "length": len(data), "encoding": encoding}
        small[field] = None
        total -= sizes[field]
    if where:
        small["blobs"] = where
    return small, blobs


def restore(document: Document, blobs: Mapping[str, bytes]) -> Document:
    """The whole document again; `blobs` has the bytes of each of its blobs by digest.

    Raises `StoreUnavailable` for a blob that is not whole.
    """
    whole = {key: value for key, value in document.items() if key != "blobs"}
    for field, blob in document.get("blobs", {}).items():
        data = blobs.get(blob["digest"], b"")
        if len(data) != blob["length"]:
            raise StoreUnavailable(f"the store lacks a part of {document['_id']}: its {field}")
        whole[field] = _decode(blob["encoding"], data)
    return whole


def blob_digest(value: object) -> str:
    """The name that a field's blob has or would have."""
    return _name(_encode(value)[1])


def _name(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _encode(value: object) -> tuple[str, bytes]:
    match value:
        case bytes():
            return "bytes", value
        case str():
            return "text", value.encode("utf-8", "surrogatepass")
        case _:
            text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=time_text)
            return "json", text.encode("utf-8", "surrogatepass")


def _decode(encoding: str, data: bytes) -> object:
    match encoding:
        case "bytes":
            return data
        case "text":
            return data.decode("utf-8", "surrogatepass")
        case _:
            value = from_json(data)
            for each in value if isinstance(value, list) else ():
                if isinstance(each, dict):
                    read_times(each)
            return value


def _size(value: object) -> int:
    """About how many bytes a value takes in a document: cheap, and never far too few."""
    match value:
        case bytes():
            return len(value)
        case str():
            return len(value) if value.isascii() else 4 * len(value)
        case None | bool() | int() | datetime():
            return 16
        case list() | tuple():
            return 8 + sum([16 + _size(each) for each in value])
        case Mapping():
            return 8 + sum([16 + len(str(key)) + _size(each) for key, each in value.items()])
        case _:
            return 16
