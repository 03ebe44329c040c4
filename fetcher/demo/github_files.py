"""The bytes of release assets: a browser's way to them, and the host that has them.

The host is another one than the API's, and it refuses credentials: its links carry their own.
https://docs.github.com/en/rest/releases/assets#get-a-release-asset
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from fetcher.demo.exchange import Answer, Call
from fetcher.demo.github_models import Asset
from fetcher.demo.github_state import GithubState

__all__ = ["GithubFiles"]

NOTHING: Final = Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"Not Found")


class GithubFiles:
    """Answers for ``/web`` (github.com) and ``/objects`` (the host of files)."""

    def __init__(self, state: GithubState) -> None:
        self._state = state

    def link(self, call: Call, asset: Asset) -> Answer:
        """The redirect to the bytes, with a signature that soon is void."""
        until = int(call.at) + self._state.asset_link_seconds
        where = f"{call.files}/objects/{asset.id}/{quote(asset.name)}"
        headers = {"Location": f"{where}?se={until}&sig={_signature(asset, until)}"}
        return Answer(302, {"Content-Type": "text/html;charset=utf-8", **headers})

    def whole(self, call: Call, asset: Asset) -> Answer:
        """The bytes, or the range of them that is asked for."""
        return NOTHING if asset.content is None else _bytes(call, asset)

    def browse(self, call: Call) -> Answer:
        """What a browser's download URL leads to."""
        parts = [unquote(part) for part in call.path.split("/")[1:]]
        for repo in self._state.repositories():
            if repo.blocked is not None or not self._state.sees(None, repo):
                continue
            for release in repo.releases:
                for asset in release.assets:
                    wanted = ["releases", "download", *release.tag.split("/"), asset.name]
                    if parts == ["web", *repo.full_name.split("/"), *wanted]:
                        return NOTHING if release.draft else self.link(call, asset)
        return NOTHING

    def serve(self, call: Call) -> Answer:
        """What the host of files answers; it knows links, and nobody's token."""
        if "Authorization" in call.headers:
            return _complaint(
                400,
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                "Signature query string parameter or the Authorization header should be specified",
            )
        match call.path.split("/")[1:]:
            case ["objects", id_, _] if id_.isdecimal():
                asset = self._asset(int(id_))
            case _:
                asset = None
        if asset is None:
            return _complaint(404, "NoSuchKey", "The specified key does not exist.")
        until = call.query.get("se", "")
        if not until.isdecimal() or call.query.get("sig") != _signature(asset, int(until)):
            return _complaint(403, "AccessDenied", "Access Denied")
        if call.at >= int(until):
            return _complaint(403, "AccessDenied", "Request has expired")
        return self.whole(call, asset)

    def _asset(self, id_: int) -> Asset | None:
        for repo in self._state.repositories():
            for release in repo.releases:
                for asset in release.assets:
                    if asset.id == id_ and asset.content is not None:
                        return asset
        return None


def _bytes(call: Call, asset: Asset) -> Answer:
    """https://www.rfc-editor.org/rfc/rfc9110#name-range-requests, one range at a time."""
    content = asset.content or b""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers: dict[str, str] = {
        "Content-Type": asset.content_type,
        "Content-Disposition": f"attachment; filename={quote(asset.name)}",
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("Range", ""))
    condition = call.headers.get("If-Range", etag)
    if wanted is None or not any(wanted.groups()) or condition != etag:
        return Answer(200, headers, content, encoded=True)
    return _range(headers, content, *wanted.groups())


def _range(headers: Mapping[str, str], content: bytes, first: str, last: str) -> Answer:
    size = len(content)
    if first:
        start, end = int(first), min(int(last or size), size - 1)
    else:
        start, end = max(0, size - int(last)), size - 1
    if start >= size or end < start:
        return Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    within = {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, within, content[start : end + 1], encoded=True)


def _signature(asset: Asset, until: int) -> str:
    return hashlib.sha256(f"{asset.id}/{until}".encode()).hexdigest()[:16]


def _complaint(status: int, code: str, message: str) -> Answer:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())
