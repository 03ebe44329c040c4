"""MongoDB: what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    DocumentTooLarge,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from fetcher.errors import StoreError, StoreFull, StoreUnavailable

__all__ = ["DATABASE", "mapped", "shown"]

DATABASE: Final = "fetcher"

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_UNAUTHORIZED: Final = (13, 18, 8000)
_OUT_OF_DISK: Final = (14031, 17280)


def shown(url: str) -> str:
    """The URL for people: no password, no options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{parts.path.strip('/') or DATABASE}"


@contextmanager
def mapped(where: str) -> Iterator[None]:
    """No error of pymongo's gets past here; told apart by class and code, never by text."""
    try:
        yield
    except PyMongoError as error:
        raise _translate(error, where) from error


def _translate(error: PyMongoError, where: str) -> StoreError:
    match error:
        case ServerSelectionTimeoutError():
            text = "no server answers; is it running, and is the address right?"
        case AutoReconnect():
            text = "the connection was lost; what was being written may or may not be stored"
        case InvalidURI() | ConfigurationError():
            text = "its address cannot be understood; see store.url"
        case DocumentTooLarge():
            text = "a document is larger than MongoDB takes"
        case OperationFailure(code=code) if code in _UNAUTHORIZED:
            text = "it does not let this user in; see the name, password and roles in store.url"
        case OperationFailure(code=code) if code in _OUT_OF_DISK:
            return StoreFull(f"the store {where} is full")
        case OperationFailure(code=code):
            text = f"it refused a command (code {code})"
        case _:
            text = f"{type(error).__name__}"
    return StoreUnavailable(f"the store {where} does not work: {text}")
