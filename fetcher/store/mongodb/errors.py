"""MongoDB: what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from fetcher.errors import StoreError, StoreFull, StoreUnavailable

__all__ = ["DATABASE", "DUPLICATE", "mapped", "shown", "translate_write"]

DATABASE: Final = "fetcher"

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
DUPLICATE: Final = 11000
_FORBIDDEN: Final = 13
_UNKNOWN_USER: Final = (18, 8000)
_NO_MECHANISM: Final = 334
_UNAUTHORIZED: Final = (_FORBIDDEN, *_UNKNOWN_USER, _NO_MECHANISM)
_OUT_OF_DISK: Final = (14031, 17280)
_TOO_LARGE: Final = (10334, 17419, 17420)
_UNSURE: Final = "what was being written may or may not be stored"


def shown(url: str) -> str:
    """The URL for people: scheme, hosts and database, if nothing in it can be a password."""
    scheme, _, rest = url.partition("://")
    hosts, slash, tail = rest.partition("/")
    user, at, hosts = hosts.rpartition("@")
    # Whoever forgot to escape a password may have any of these in it.
    if "@" in user or "@" in tail or "?" in user or ("?" in hosts and not slash and not at):
        return f"{scheme}://…"
    hosts = hosts.partition("?")[0]
    return f"{scheme}://{hosts}/{tail.partition('?')[0].strip('/') or DATABASE}"


@contextmanager
def mapped(where: str) -> Iterator[None]:
    """No error of pymongo's gets past here; told apart by class and code, never by text."""
    try:
        yield
    # DocumentTooLarge is bson's, and numbers and texts that do not fit are Python's own.
    except (PyMongoError, BSONError, OverflowError, UnicodeEncodeError) as error:
        raise _translate(error, where) from error


def translate_write(problems: list[dict[str, Any]], where: str) -> StoreError | None:
    """What the failures of a bulk's single writes mean, where trying again would not help."""
    for problem in problems:
        if problem.get("code") in (*_OUT_OF_DISK, *_UNAUTHORIZED, *_TOO_LARGE):
            return _refusal(problem["code"], where)
    return None


def _translate(error: Exception, where: str) -> StoreError:
    match error:
        case ServerSelectionTimeoutError():
            text = "no server answers; is it running, and is the address right?"
        case NetworkTimeout():
            text = f"the server does not answer in time; {_UNSURE}"
        case AutoReconnect():
            text = f"the connection was lost; {_UNSURE}"
        case ConfigurationError():
            text = "its address cannot be used; see store.url"
        case DocumentTooLarge():
            text = "a document is larger than MongoDB takes"
        case WriteConcernError():
            text = f"most of its servers did not confirm in time; {_UNSURE}"
        case BulkWriteError(details=details) if details.get("writeErrors"):
            return _refusal(details["writeErrors"][0].get("code"), where)
        case OperationFailure(code=code):
            return _refusal(code, where)
        case PyMongoError():
            text = type(error).__name__
        case _:
            text = "a document has a value or a name that MongoDB does not take"
    return StoreUnavailable(f"the store {where} does not work: {text}")


def _refusal(code: int | None, where: str) -> StoreError:
    if code in _OUT_OF_DISK:
        return StoreFull(f"the store {where} is full: there is no room left on its disk")
    text = f"it refused a command (code {code})"
    if code in _UNKNOWN_USER:
        text = (
            "it does not let this user in; see the name and the password in store.url, and "
            "authSource, the database that knows the user (by default the store's own)"
        )
    if code == _FORBIDDEN:
        text = (
            "it does not let this user do what is needed; store.url wants a name and a password, "
            "and the user a role: see docs/mongodb.md"
        )
    if code == _NO_MECHANISM:
        text = "it does not know the authMechanism that store.url asks for"
    if code in _TOO_LARGE:
        text = "a document is larger than MongoDB takes"
    return StoreUnavailable(f"the store {where} does not work: {text}")
