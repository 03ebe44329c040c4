"""What a webhook of GitHub says, and whether GitHub says it: pure rules, no I/O.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fetcher.errors import TargetError
from fetcher.targets import Target, parse_target

__all__ = ["EVENTS", "BadPayload", "Memory", "News", "Seal", "read_news"]

EVENTS: Final = ("create", "delete", "ping", "release", "repository")
"""The events that are known here; `create` and `delete` are those of tags and branches."""

# Which poll each action asks for. In full (True) where a conditional poll of the first page would
# miss it: what is gone or edited may stand far back, and a repository's own facts are in no list.
_RELEASE: Final[Mapping[str, bool]] = {
    "created": False,
    "published": False,
    "released": False,
    "prereleased": False,
    "edited": True,
    "deleted": True,
    "unpublished": True,
}
_REPOSITORY: Final = ("renamed", "transferred", "deleted", "privatized", "publicized")

_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)
_DELIVERY = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
# What a store can hold: a signed 64-bit number.
_ID_AT_MOST: Final = 2**63 - 1


class BadPayload(Exception):
    """The payload is not what the event's name promises; the text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class News:
    """That something has changed in a repository.

    `names` are those that it has or had, today's first; `full` wants everything looked at.
    """

    repository_id: int
    names: tuple[Target, ...]
    full: bool


class Seal:
    """The signature of a body that is read piece by piece, with any of some secrets.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._macs = [hmac.new(secret, digestmod="sha256") for secret in secrets]

    def update(self, piece: bytes) -> None:
        """One more piece of the raw body."""
        for mac in self._macs:
            mac.update(piece)

    def fits(self, signature: str) -> bool:
        """Whether this is a signature of all that was read; how nearly, no time tells."""
        made = (f"sha256={mac.hexdigest()}" for mac in self._macs)
        return any(hmac.compare_digest(each, signature) for each in made)

    @staticmethod
    def can_be(signature: str) -> bool:
        """Whether a header has the form of a signature, which costs nothing to find out."""
        return _SIGNATURE.fullmatch(signature) is not None


class Memory:
    """The deliveries of late, so that none counts twice; the oldest ones are forgotten.

    GitHub names a delivery that it sends again by the same id. Only what was signed is let in.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._seen: OrderedDict[str, None] = OrderedDict()

    def add(self, delivery: str) -> bool:
        """Whether this delivery is new."""
        if delivery in self._seen:
            return False
        self._seen[delivery] = None
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return True

    def forget(self, delivery: str) -> None:
        """It came to nothing and may come again."""
        self._seen.pop(delivery, None)

    @staticmethod
    def can_be(delivery: str) -> bool:
        """Whether a header has the form of a delivery's id."""
        return _DELIVERY.fullmatch(delivery) is not None


def read_news(event: str, body: bytes | bytearray) -> News | None:
    """What an event says of a repository; None where it says nothing that matters here.

    Raises `BadPayload`.
    """
    if event not in EVENTS:
        return None
    try:
        payload = json.loads(body.decode("utf-8"))
    except RecursionError as error:
        raise BadPayload("the body is nested too deeply") from error
    except ValueError as error:
        raise BadPayload("the body is no JSON") from error
    if not isinstance(payload, dict):
        raise BadPayload("the body is no JSON object")
    full = _wants(event, payload)
    if full is None:
        return None
    repository = payload.get("repository")
    if not isinstance(repository, dict):
        raise BadPayload("there is no repository in the body")
    id_ = repository.get("id")
    if not isinstance(id_, int) or isinstance(id_, bool) or not 0 < id_ <= _ID_AT_MOST:
        raise BadPayload("the repository has no id that GitHub gives")
    try:
        # Of what is no text nothing is written down: it may be nested more deeply than Python can.
        target = parse_target(f"github:{_at(repository, 'full_name')}")
    except TargetError:
        raise BadPayload("the repository has no name that GitHub gives") from None
    return News(id_, (target, *_formerly(target, payload.get("changes"))), full)


def _wants(event: str, payload: Mapping[str, Any]) -> bool | None:
    """Whether it wants everything looked at; None where it wants nothing."""
    action = payload.get("action")
    match event:
        case "release":
            return _RELEASE.get(action) if isinstance(action, str) else None
        case "repository":
            return True if action in _REPOSITORY else None
        case "create" | "delete":
            return False if payload.get("ref_type") == "tag" else None
        case _:
            return None


def _formerly(target: Target, changes: object) -> tuple[Target, ...]:
    """The name before a rename or a transfer, as far as the payload tells it."""
    owner, _, name = target.name.partition("/")
    renamed = _at(changes, "repository", "name", "from")
    moved = _at(changes, "owner", "from", "user", "login") or _at(
        changes, "owner", "from", "organization", "login"
    )
    if renamed is None and moved is None:
        return ()
    try:
        return (parse_target(f"github:{moved or owner}/{renamed or name}"),)
    except TargetError:
        return ()


def _at(value: object, *keys: str) -> str | None:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value if isinstance(value, str) else None
