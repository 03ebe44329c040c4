"""Where the bytes of GitHub's assets lie: another host, as strict as such hosts are.

It answers 400 to whoever brings an ``Authorization`` (a signed address and a token are two ways
of asking at once), knows ranges, and can be told to fail in the ways that such hosts have failed.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from aiohttp import web

from fetcher.demo.github_models import Asset
from fetcher.demo.github_state import GithubState

__all__ = ["AssetFault", "AssetHost", "Served"]

AssetFaultKind: TypeAlias = Literal[
    "cut", "hang", "short", "long", "html", "wrong", "no_range", "wrong_range", "status"
]

_PIECE = 64 * 1024
_PAGE = b"<!DOCTYPE html>\n<html><body>We had issues producing the response.</body></html>\n"


@dataclass(slots=True)
class AssetFault:
    """Spoils the answers for assets whose name the pattern `match` is found in.

    `times` is how often (None: always), `applied` counts.

    ============  ================================================================================
    cut           the connection drops when `after` bytes of the answer have been sent
    hang          nothing more comes after so many bytes
    short, long   a whole answer that lacks `after` bytes, or has so many more
    html          a web page with status 200
    wrong         every byte is another one, the length is right
    no_range      ``Range`` is ignored: 200, and everything
    wrong_range   206, but from the beginning
    status        `status`
    ============  ================================================================================
    """

    match: str
    kind: AssetFaultKind
    times: int | None = 1
    after: int = 0
    status: int = 503
    applied: int = 0


@dataclass(frozen=True, slots=True)
class Served:
    """One request as it came, and the status that it was answered with."""

    name: str
    status: int
    range: str | None
    if_range: str | None
    authorization: str | None


@dataclass(slots=True)
class AssetHost:
    """Serves the contents of a `GithubState`'s assets on a port of its own.

    While it does, GitHub's API leads there. `most_at_once` is how many answers were under way
    together; `gate` holds each answer back after its first piece until it is set.
    """

    github: GithubState
    faults: list[AssetFault] = field(default_factory=list)
    log: list[Served] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event | None = None

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Gives the URL, until the block ends."""
        app = web.Application()
        app.router.add_get("/{id}/{name}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, 0).start()
            self.github.objects_url = f"http://{host}:{runner.addresses[0][1]}"
            yield self.github.objects_url
        finally:
            self.github.objects_url = None
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asset = self._asset(request.match_info["id"])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request, asset)
        finally:
            self.at_once -= 1

    def _asset(self, id_: str) -> Asset:
        for repo in self.github.repositories():
            for release in repo.releases:
                for asset in release.assets:
                    if str(asset.id) == id_ and asset.content is not None:
                        return asset
        raise web.HTTPNotFound

    async def _answer(self, request: web.Request, asset: Asset) -> web.StreamResponse:
        fault = self._fault(asset.name)
        kind = fault.kind if fault is not None else ""
        content = asset.content or b""
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        headers = {
            "Content-Type": asset.content_type,
            "Accept-Ranges": "bytes",
            "ETag": etag,
        }
        status, body = 200, content
        if "Authorization" in request.headers:
            status, body = 400, b"<Error><Code>InvalidArgument</Code></Error>"
        elif kind == "status" and fault is not None:
            status, body = fault.status, b""
        elif kind == "html":
            headers["Content-Type"] = "text/html; charset=utf-8"
            body = _PAGE
        elif kind != "no_range" and request.headers.get("If-Range", etag) == etag:
            status, body, more = _span(request.headers.get("Range", ""), content)
            headers |= more
            if status == 206 and kind == "wrong_range":
                body = content
                headers["Content-Range"] = f"bytes 0-{len(content) - 1}/{len(content)}"
        self.log.append(
            Served(
                asset.name,
                status,
                request.headers.get("Range"),
                request.headers.get("If-Range"),
                request.headers.get("Authorization"),
            )
        )
        return await self._send(request, status, headers, _spoilt(fault, body), fault)

    async def _send(
        self,
        request: web.Request,
        status: int,
        headers: dict[str, str],
        body: bytes,
        fault: AssetFault | None,
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        stops = fault is not None and fault.kind in ("cut", "hang")
        end = fault.after if fault is not None and stops else len(body)
        for at in range(0, end, _PIECE):
            await response.write(body[at : min(at + _PIECE, end)])
            if self.gate is not None:
                await self.gate.wait()
        if fault is not None and fault.kind == "hang":
            await asyncio.Event().wait()
        if stops and request.transport is not None:
            request.transport.close()
            return response
        await response.write_eof()
        return response

    def _fault(self, name: str) -> AssetFault | None:
        for fault in self.faults:
            unused = fault.times is None or fault.applied < fault.times
            if unused and re.search(fault.match, name):
                fault.applied += 1
                return fault
        return None


def _span(wanted: str, content: bytes) -> tuple[int, bytes, dict[str, str]]:
    """What ``bytes=N-`` asks for. https://www.rfc-editor.org/rfc/rfc9110#section-14"""
    found = re.fullmatch(r"bytes=([0-9]+)-", wanted)
    if found is None:
        return 200, content, {}
    start = int(found[1])
    if start >= len(content):
        return 416, b"", {"Content-Range": f"bytes */{len(content)}"}
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return 206, content[start:], {"Content-Range": span}


def _spoilt(fault: AssetFault | None, body: bytes) -> bytes:
    spoil: dict[str, Callable[[bytes, int], bytes]] = {
        "short": lambda data, by: data[: len(data) - by],
        "long": lambda data, by: data + b"x" * by,
        "wrong": lambda data, by: data.translate(bytes(255 - n for n in range(256))),
    }
    if fault is None or fault.kind not in spoil:
        return body
    return spoil[fault.kind](body, fault.after)
