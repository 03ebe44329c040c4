"""An upstream that quotes, in whatever it answers, all that it was sent."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import quote
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web

__all__ = ["ANSWERS", "Echo"]

Made: TypeAlias = Callable[[str], tuple[int, Mapping[str, str], str]]


def _json(status: int, make: Callable[[str], object], **headers: str) -> Made:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda said: (
        status,
        {"Content-Type": "application/json", **told},
        json.dumps(make(said)),
    )


def _text(status: int, make: Callable[[str], str], kind: str = "text/plain") -> Made:
    return lambda said: (status, {"Content-Type": kind}, make(said))


def _record(said: str) -> str:
    return f"LOCUS       X 10 bp DNA linear VRL 01-JAN-2020\nACCESSION   {said}\nORIGIN\n//\n"


ANSWERS: Final[Mapping[str, Made]] = {
    "bad request": _json(400, lambda said: {"message": said, "error": said}),
    "a key that is refused": _json(400, lambda said: {"error": f"API key invalid: {said}"}),
    "bad credentials": _json(401, lambda said: {"message": said, "error": said}),
    "bad credentials, a page": _text(401, lambda said: f"<html>{said}</html>", "text/html"),
    "no permission": _json(403, lambda said: {"message": said}),
    "a limit": _json(429, lambda said: {"message": said, "error": said}, Retry_After="2"),
    "a limit, told badly": _json(403, lambda said: {"message": f"rate limit {said}"}),
    "not found": _json(404, lambda said: {"message": said}),
    "gone": _json(410, lambda said: {"message": said}),
    "closed": _json(451, lambda said: {"message": said, "block": {"reason": said}}),
    "broken": _text(500, lambda said: said),
    "bad gateway": _text(502, lambda said: f"<html>{said}</html>", "text/html"),
    "a page": _text(200, lambda said: f"<!doctype html><html>{said}</html>", "text/html"),
    "plain text": _text(200, lambda said: said),
    "half a JSON": _text(200, lambda said: json.dumps({"data": said})[:-2], "application/json"),
    "JSON of another shape": _json(
        200, lambda said: {"data": {said: said}, "result": {said: said}}
    ),
    "a list": _json(200, lambda said: [{said: said, "tag_name": [said], "id": said, "name": 5}]),
    "errors": _json(
        200, lambda said: {"errors": [{"type": said, "message": said, "path": [said]}]}
    ),
    "errors of each": _json(
        200,
        lambda said: {
            "data": {f"r{n}": None for n in range(9)},
            "errors": [{"type": said, "message": said, "path": [f"r{n}"]} for n in range(9)],
        },
    ),
    "a timeout": _json(200, lambda said: {"errors": [{"message": f"timeout {said}"}]}),
    "an ERROR of a search": _json(200, lambda said: {"esearchresult": {"ERROR": said}}),
    "an error": _json(200, lambda said: {"error": said}),
    "an ERROR in XML": _text(
        200, lambda said: f"<eFetchResult><ERROR>{escape(said)}</ERROR></eFetchResult>", "text/xml"
    ),
    "broken XML": _text(200, lambda said: f"<TaxaSet><Taxon>{escape(said)}</TaxaSet>", "text/xml"),
    "a record of nothing": _text(200, _record),
    "another encoding": lambda said: (200, {"Content-Encoding": "br"}, said),
    "a request id": lambda said: (
        500,
        {"X-GitHub-Request-Id": said[:4000], "NCBI-PHID": said[:4000]},
        "",
    ),
    "elsewhere": lambda said: (
        302,
        {"Location": "/away/from/here?api_key=ours&X-Amz-Signature=s"},
        "",
    ),
    "nowhere": lambda said: (302, {"Location": f"http://[{quote(said[-999:])}"}, ""),
}


_OF_ONE_HOP: Final = (
    "connection",
    "content-length",
    "host",
    "proxy-authorization",
    "transfer-encoding",
)


class Echo:
    """`answer` names what is answered, `padding` moves what is quoted across places of a cut.

    With no `answer` it hands on what it gets, as a proxy does. `granted` is the token that an App
    gets; without one its asking is answered like the rest.
    """

    def __init__(self) -> None:
        self.answer = "broken"
        self.padding = 0
        self.granted = ""
        self.headers: list[Mapping[str, str]] = []
        self.url = ""

    async def _handle(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        if not self.answer:
            return await self._forward(request)
        if self.granted and request.path.endswith("/access_tokens"):
            grant = {"token": self.granted, "expires_at": "2100-01-01T00:00:00Z"}
            return web.json_response(grant, status=201)
        body = (await request.read()).decode("utf-8", "replace")
        words = [body, str(request.url)]
        form = await request.post() if request.content_type.endswith("urlencoded") else {}
        for value in (*request.headers.values(), *map(str, form.values())):
            word = value.removeprefix("Bearer ")
            words += [
                word,
                value,
                quote(word, safe=""),
                base64.b64encode(word.encode()).decode(),
                base64.urlsafe_b64encode(word.encode()).decode(),
                word.encode().hex(),
            ]
        said = "x" * self.padding + " ".join(sorted(words, key=_of_interest, reverse=True))
        status, headers, text = ANSWERS[self.answer](said)
        return web.Response(status=status, headers=headers, body=text.encode())

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _OF_ONE_HOP}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, request.url, data=body, headers=kept, allow_redirects=False
            ) as answer,
        ):
            told = {k: v for k, v in answer.headers.items() if k.lower() not in _OF_ONE_HOP}
            return web.Response(status=answer.status, headers=told, body=await answer.read())

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self.url
        finally:
            await runner.cleanup()


def _of_interest(word: str) -> bool:
    """Secrets first, so that they are in whatever is kept of an answer."""
    return len(word) >= 40 and " " not in word
