"""A release's asset: what GitHub tells of it, and which answers may be its bytes.

https://docs.github.com/en/rest/releases/assets
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fetcher.documents import Document, time_text
from fetcher.errors import Malformed, Mismatch, NotFound, Unreachable
from fetcher.policy.verdict import (
    Accept,
    Fail,
    Judge,
    Reply,
    Retry,
    Verdict,
    asked_wait,
    is_html,
    judge_github,
)

__all__ = ["Asset", "assets_of", "begins", "continues", "gone", "judge_asset", "mismatch"]

_SPAN: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII | re.IGNORECASE)
_PAGES: Final = (".html", ".htm", ".xhtml", ".shtml")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file to get; `digest` is ``sha256:…`` or None where GitHub tells none.

    `id` is None where the record was got without it. `public_url` needs no account, and is None
    where the repository is private or the release a draft.
    """

    repository: str
    release_id: int
    tag: str
    name: str
    size: int
    digest: str | None
    content_type: str
    updated_at: str
    id: int | None = None
    state: str | None = None
    public_url: str | None = None

    @property
    def sha256(self) -> str | None:
        """The digest as hexadecimal digits, where it is one that we can compute."""
        found = _DIGEST.fullmatch(self.digest or "")
        return found[1].lower() if found is not None else None

    @property
    def version(self) -> Mapping[str, Any]:
        """What tells this version of the file from any other."""
        return {
            "repository": self.repository,
            "release": self.release_id,
            "asset": self.id,
            "size": self.size,
            "digest": self.digest,
            "updated_at": self.updated_at,
        }


def assets_of(release: Document) -> tuple[Asset, ...]:
    """The assets of a release's document."""
    hidden = release["private"] or release["draft"]
    return tuple(
        Asset(
            repository=release["repository"],
            release_id=release["release_id"],
            tag=release["tag"],
            name=each["name"],
            size=each["size"],
            digest=each["digest"],
            content_type=each["content_type"],
            updated_at=time_text(each["updated_at"]),
            id=each.get("id"),
            state=each.get("state"),
            public_url=None if hidden else each["download_url"],
        )
        for each in release["assets"]
    )


def mismatch(asset: Asset, expected: str, came: str) -> Mismatch:
    """The error for bytes that are not the asset's."""
    text = f"{asset.name} is not what GitHub tells of: expected {expected}, came {came}"
    return Mismatch(f"{text}; if it was replaced since, --force asks first", expected, came)


def gone(asset: Asset) -> str:
    """The sentence for an asset that GitHub does not have."""
    return f"GitHub has no such asset ({asset.name}) now; if it was replaced, --force asks first"


def judge_asset(asset: Asset, asked: str) -> Judge:
    """Bytes of the asset are taken, pages are not; another host's refusal is not the account's."""
    home = _host(asked)

    def judge(reply: Reply, now: float) -> Verdict:
        host = _host(reply.url)
        if reply.status == 416:
            return Accept()
        if reply.status in (200, 206):
            if _is_page(asset, reply):
                text = f"{host[0]} answered with a web page instead of {asset.name}"
                return Retry(Malformed(text, reply.evidence()))
            return Accept()
        if host != home:
            # Such as the address of a file that has run out: each try gets a new one.
            text = f"{host[0]} answered {reply.status} when asked for {asset.name}"
            return Retry(Unreachable(text, reply.evidence()), asked_wait(reply.headers, now))
        if reply.status == 404:
            return Fail(NotFound(gone(asset), reply.evidence()))
        verdict = judge_github(reply, now)
        if isinstance(verdict, Accept):
            text = f"GitHub answered {reply.status} when asked for {asset.name}"
            return Retry(Malformed(text, reply.evidence()))
        return verdict

    return judge


def _is_page(asset: Asset, reply: Reply) -> bool:
    """Whether it is some page in place of the asset; an asset may itself be a page."""
    kind = asset.content_type.lower()
    if "html" in kind or asset.name.lower().endswith(_PAGES):
        return False
    if reply.status == 206:
        # The middle of a file may look like anything.
        return reply.headers.get("content-type", "").lower().startswith("text/html")
    return is_html(reply)


def begins(asset: Asset, status: int, headers: Mapping[str, str]) -> str | None:
    """Looks at the head of a whole answer; gives the strong ETag by which it can be continued.

    Raises `Mismatch` where it is seen to be something else.
    """
    if status != 200:
        raise Malformed(f"the answer for all of {asset.name} has the status {status}")
    encoded = headers.get("content-encoding", "identity").lower() != "identity"
    length = headers.get("content-length", "")
    if not encoded and length.isascii() and length.isdigit() and int(length) != asset.size:
        raise mismatch(asset, f"{asset.size:,} bytes", f"{int(length):,}")
    etag = headers.get("etag", "")
    # A weak one does not vouch for bytes: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
    return etag if etag.startswith('"') and etag.isascii() and not encoded else None


def continues(
    asset: Asset, size: int, etag: str | None, status: int, headers: Mapping[str, str]
) -> bool:
    """Whether an answer goes on exactly behind the `size` bytes that came under this ETag."""
    span = _SPAN.fullmatch(headers.get("content-range", "").strip())
    if status != 206 or span is None or "content-encoding" in headers:
        return False
    first, last, total = int(span[1]), int(span[2]), span[3]
    same = etag is None or headers.get("etag", etag) == etag
    fits = first == size and first <= last < asset.size and total in ("*", str(asset.size))
    return fits and same


def _host(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)
