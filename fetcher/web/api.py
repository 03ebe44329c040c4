"""The read API: every declared route behind one door that checks, answers and explains."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from fetcher.errors import CursorGone, StoreError, UsageError
from fetcher.reader import Reader
from fetcher.web import feed_routes, github_routes, ncbi_routes
from fetcher.web.access import Access
from fetcher.web.answers import Answer, Prepared, send
from fetcher.web.call import Absent, Call, Poller, Watcher
from fetcher.web.declare import BadParameter, Route, read
from fetcher.web.kept import Kept, Ready
from fetcher.web.long import Long, send_long
from fetcher.web.openapi import document, page
from fetcher.web.problems import problem
from fetcher.web.stream import Crowded, Hub

__all__ = ["ROUTES", "Api"]

# The order counts: the first path that fits is taken.
ROUTES: Final[Sequence[Route]] = (
    *github_routes.ROUTES,
    *ncbi_routes.ROUTES,
    *feed_routes.ROUTES,
)
_RETRY_SECONDS: Final = "5"
_MANUAL: Final = "the API is described at /docs"


class Api:
    """Serves `ROUTES` from a reader."""

    def __init__(
        self,
        reader: Reader,
        access: Access,
        *,
        require_token: bool,
        poller: Poller | None = None,
        hub: Hub | None = None,
        watcher: Watcher | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._reader = reader
        self._access = access
        self._require = require_token
        self._poller = poller
        self._hub = hub
        self._watcher = watcher
        self._kept = kept if kept is not None else Kept(lambda: 0.0, hold=0.0)

    def add_to(self, app: web.Application) -> None:
        """Adds every route, and the description of all of them."""
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._serving(route))
            if route.method == "GET":
                app.router.add_route("HEAD", route.path, self._serving(route))
        described = Answer(document(ROUTES))
        shown = Answer(page(ROUTES), "text/html")
        for path, answer in (("/openapi.json", described), ("/docs", shown)):
            app.router.add_get(path, self._constant(answer))

    def _constant(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        prepared = Prepared(answer)

        async def handler(request: web.Request) -> web.StreamResponse:
            response = await send(request, prepared, self._reader.now())
            # Nothing from elsewhere, and no script at all.
            response.headers["Content-Security-Policy"] = (
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
            )
            return response

        return handler

    def _serving(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            may = await self._access.knows(request)
            if may is False or (may is None and (self._require or route.secured)):
                wrong = "the token is not right" if may is False else "this needs a token"
                return problem(
                    401,
                    f"{wrong}; send Authorization: Bearer TOKEN with api.token of the settings",
                    WWW_Authenticate="Bearer",
                )
            key = (route.name, request.raw_path, may is True)
            if isinstance(ready := self._kept.find(key), Prepared):
                return await send(request, ready, self._reader.now())
            try:
                values = read(route, request)
                call = Call(
                    request,
                    self._reader,
                    values,
                    may is True,
                    self._poller,
                    self._hub,
                    self._watcher,
                )
                if route.kept:
                    ready = await self._kept.get(key, partial(_prepared, route, call))
                    if isinstance(ready, Long):
                        return await send_long(request, ready, self._reader.now())
                    return await send(request, ready, self._reader.now())
                answer: Answer | web.StreamResponse = await route.handle(call)
            except (BadParameter, UsageError) as error:
                return problem(400, f"{error}; {_MANUAL}")
            except CursorGone as error:
                return problem(410, f"after: {error}; leave it out to begin again, and {_MANUAL}")
            except Absent as error:
                return problem(404, str(error))
            except Crowded:
                text = "as many readers follow the changes as may; ask for parts of them"
                return problem(503, text, Retry_After=_RETRY_SECONDS)
            except StoreError as error:
                return problem(503, str(error), Retry_After=_RETRY_SECONDS)
            if isinstance(answer, web.StreamResponse):
                return answer
            if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
                headers = {hdrs.CACHE_CONTROL: "no-store"}
                if answer.body:
                    headers[hdrs.CONTENT_TYPE] = answer.media_type
                return web.Response(status=answer.status, body=answer.body, headers=headers)
            return await send(request, Prepared(answer), self._reader.now())

        return handler


async def _prepared(route: Route, call: Call) -> Ready:
    answer: Answer | Long = await route.handle(call)
    return answer if isinstance(answer, Long) else Prepared(answer)
