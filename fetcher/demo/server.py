"""The two upstreams on one loopback port, and the host of release assets on another.

=====================  =======================================================================
``/github``            GitHub's REST API (the configuration's ``github.api_url``), and its GraphQL
                       at ``/github/graphql``
``/api/v3``            the same as on an Enterprise Server, whose GraphQL is at ``/api/graphql``
``/entrez/eutils``     NCBI's E-utilities (``ncbi.eutils_url``)
``/datasets/v2``       NCBI Datasets
``/web``               stands for github.com: where release assets can be downloaded
=====================  =======================================================================

Downloads are redirected to ``/objects`` on the other port, where no token is welcome.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from aiohttp import web

from fetcher.demo.bundled import load_github, load_ncbi
from fetcher.demo.exchange import Answer, Call, Logged, Upstream
from fetcher.demo.faults import Fault, reshape, take
from fetcher.demo.github import GithubApi
from fetcher.demo.github_files import GithubFiles
from fetcher.demo.github_state import GithubState
from fetcher.demo.ncbi import NcbiApi
from fetcher.demo.ncbi_datasets import DatasetsApi
from fetcher.demo.ncbi_state import NcbiState
from fetcher.demo.wire import Sleep, Wire

__all__ = ["DemoUpstream", "Urls"]

GITHUB = "/github"
ENTERPRISE = "/api/v3"
ENTERPRISE_GRAPHQL = "/api/graphql"
EUTILS = "/entrez/eutils"
DATASETS = "/datasets/v2"

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the upstreams are served; `files` is the host of release assets."""

    base: str
    files: str = ""

    @property
    def github(self) -> str:
        """The configuration's ``github.api_url``."""
        return self.base + GITHUB

    @property
    def graphql(self) -> str:
        """GraphQL beside `github`."""
        return f"{self.github}/graphql"

    @property
    def enterprise(self) -> str:
        """The same GitHub under the base of an Enterprise Server: its ``github.api_url``."""
        return self.base + ENTERPRISE

    @property
    def enterprise_graphql(self) -> str:
        """GraphQL beside `enterprise`."""
        return self.base + ENTERPRISE_GRAPHQL

    @property
    def eutils(self) -> str:
        """The configuration's ``ncbi.eutils_url``."""
        return self.base + EUTILS

    @property
    def datasets(self) -> str:
        """The configuration's ``ncbi.datasets_url``."""
        return self.base + DATASETS

    @property
    def web(self) -> str:
        """What stands for https://github.com: set `GithubState.web_url` to it for downloads."""
        return f"{self.base}/web"


class DemoUpstream:
    """A local GitHub and NCBI that keep to the documented rules, and judge those who do not.

    `now` gives epoch seconds, `sleep` waits; tests hand in those of their own clock. `log` has
    every request in the order of arrival at an answer; `faults` damage answers.
    """

    def __init__(self, now: Callable[[], float] = time.time, sleep: Sleep = asyncio.sleep) -> None:
        self._now = now
        self._sleep = sleep
        self.github = GithubState(now)
        self.ncbi = NcbiState(now)
        self.log: list[Logged] = []
        self.faults: list[Fault] = []

    def load_bundled(self) -> None:
        """Fills both with the small data that comes with the package.

        It brings the GitHub token ``demo-token`` (it may push to Codertocat/Hello-World, whose
        draft it therefore sees) and the NCBI key ``demo-key``.
        """
        load_github(self.github)
        load_ncbi(self.ncbi)

    def requests(self, upstream: Upstream | None = None, path: str = "") -> list[Logged]:
        """The log of one upstream, of paths that contain `path`."""
        return [
            each for each in self.log if upstream in (None, each.upstream) and path in each.path
        ]

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Urls]:
        """Serves until the block ends; port 0 takes a free one, as the files always do."""
        closing = asyncio.Event()
        shown = f"[{host}]" if ":" in host else host
        async with AsyncExitStack() as stack:
            desk = _Desk(self, Wire(self._now, self._sleep, closing), self._now)
            desk.files = f"http://{shown}:{await _listen(stack, desk.file, host, 0)}"
            bound = await _listen(stack, desk.handle, host, port)
            stack.callback(closing.set)
            yield Urls(f"http://{shown}:{bound}", desk.files)


async def _listen(stack: AsyncExitStack, handle: Handler, host: str, port: int) -> int:
    """Serves until the stack unwinds; the port."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    bound: int = runner.addresses[0][1]
    return bound


class _Desk:
    """Takes requests in and hands them to the upstream that they are for."""

    def __init__(self, upstream: DemoUpstream, wire: Wire, now: Callable[[], float]) -> None:
        self._upstream = upstream
        self._wire = wire
        self._now = now
        self._api = GithubApi(upstream.github)
        self._files = GithubFiles(upstream.github)
        self._ncbi = NcbiApi(upstream.ncbi)
        self._datasets = DatasetsApi(upstream.ncbi)
        self.files = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        for prefix in (GITHUB, ENTERPRISE):
            if path.startswith(f"{prefix}/"):
                return await self._github(await self._read(request, "github", prefix), request)
        if path == ENTERPRISE_GRAPHQL:
            call = await self._read(request, "github", ENTERPRISE)
            return await self._github(replace(call, path="/graphql"), request)
        if path.startswith("/web/"):
            call = await self._read(request, "github", "")
            return await self._answer(request, call, self._files.browse(call))
        if path.startswith(f"{EUTILS}/"):
            call = await self._read(request, "ncbi", EUTILS)
            return await self._answer(request, call, self._ncbi.answer(call))
        if path.startswith(f"{DATASETS}/"):
            call = await self._read(request, "ncbi", DATASETS)
            return await self._answer(request, call, self._datasets.answer(call))
        raise web.HTTPNotFound

    async def _github(self, call: Call, request: web.Request) -> web.StreamResponse:
        with self._upstream.github.flight(call):
            return await self._answer(request, call, self._api.answer(call))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """The host of files."""
        call = await self._read(request, "github", "")
        return await self._answer(request, call, self._files.serve(call))

    async def _answer(self, request: web.Request, call: Call, answer: Answer) -> web.StreamResponse:
        fault = take(self._upstream.faults, call)
        account = answer.account
        if fault is not None:
            answer = reshape(fault, answer)
        silent = fault is not None and (
            fault.kind == "reset" or (fault.kind == "hang" and fault.after is None)
        )
        self._upstream.log.append(
            Logged(
                at=call.at,
                upstream=call.upstream,
                method=call.method,
                path=call.path,
                query=dict(call.query),
                form=dict(call.form),
                headers=call.headers,
                status=0 if silent else answer.status,
                account=account,
                body=call.body,
            )
        )
        return await self._wire.send(request, answer, fault)

    async def _read(self, request: web.Request, upstream: Upstream, prefix: str) -> Call:
        form: dict[str, str] = {}
        body = b""
        if request.content_type == "application/json":
            body = await request.read()
        elif request.method == "POST":
            posted = await request.post()
            for name, value in posted.items():
                if isinstance(value, str):
                    form[name] = f"{form[name]},{value}" if name in form else value
        query: dict[str, str] = {}
        for name, value in request.query.items():
            query[name] = f"{query[name]},{value}" if name in query else value
        return Call(
            at=self._now(),
            upstream=upstream,
            method=request.method,
            base=f"{request.scheme}://{request.host}{prefix}",
            path=request.rel_url.raw_path.removeprefix(prefix),
            query=query,
            form=form,
            headers=request.headers,
            remote=request.remote or "",
            body=body,
            files=self.files,
        )
