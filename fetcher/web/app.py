"""The daemon's HTTP server: health, readiness, metrics, webhooks, and the read API.

=======================  ========================================================
``/healthz``             200 while the process serves
``/readyz``              200 when it polls and its store works, else 503 and why not
``/metrics``             Prometheus; wants the token where `api.require_token` is set
``/v1/webhooks/github``  deliveries of GitHub: see `fetcher.web.webhooks`
``/v1/…``, ``/docs``     the read API: see `fetcher.web.api`
``/``                    the status page: see `fetcher.web.pages`
=======================  ========================================================
"""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from fetcher.errors import UsageError
from fetcher.metrics import Metrics
from fetcher.web.access import Access
from fetcher.web.api import Api
from fetcher.web.doorman import Doorman
from fetcher.web.pages import Pages
from fetcher.web.problems import NO_STORE, problem, problems
from fetcher.web.stream import Hub
from fetcher.web.webhooks import PATH, Webhooks

__all__ = ["Health", "serve"]

_CLOSING_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 30.0
# How long the rest of a refused body is read and thrown away: who is cut off while sending may
# never see the answer.
_LINGERING_SECONDS = 1.0
# Open connections: more readers of the stream than one process should have, and file descriptors
# that are left to the store and the upstreams.
_CONNECTIONS = 4_096
_KEPT_BACK = 256


class Health(Protocol):
    """Who knows whether the daemon is ready."""

    def ready(self) -> Sequence[str]:
        """Why it is not, a sentence each; nothing when it is."""
        ...


@asynccontextmanager
async def serve(
    address: tuple[str, int],
    health: Health,
    metrics: Metrics,
    *,
    access: Access,
    require_token: bool,
    log: FilteringBoundLogger,
    webhooks: Webhooks | None = None,
    api: Api | None = None,
    hub: Hub | None = None,
    pages: Pages | None = None,
) -> AsyncIterator[int]:
    """Serves until the block ends; gives the port. An empty host is every address.

    Raises `UsageError` when the address cannot be taken.
    """

    async def healthz(request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def readyz(request: web.Request) -> web.Response:
        reasons = health.ready()
        return problem(503, "; ".join(reasons)) if reasons else _json({"status": "ready"})

    async def prometheus(request: web.Request) -> web.Response:
        if require_token and not await access.knows(request):
            return problem(
                401,
                "metrics need the token of the settings: Authorization: Bearer TOKEN",
                WWW_Authenticate="Bearer",
            )
        body, content_type = metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**NO_STORE, "Content-Type": content_type})

    app = web.Application(middlewares=[problems(log)], client_max_size=1 << 16)
    app.on_response_prepare.append(_nameless)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", prometheus)
    if webhooks is not None:
        app.router.add_post(PATH, webhooks.handle)
    if api is not None:
        api.add_to(app)
    if pages is not None:
        pages.add_to(app)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_CLOSING_SECONDS,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        lingering_time=_LINGERING_SECONDS,
        # Signatures are over the body as it came, and a small one can unpack to a huge one.
        auto_decompress=False,
    )
    await runner.setup()
    try:
        host, port = address
        assert runner.server is not None  # noqa: S101 - it is set up
        door = Doorman(runner.server, connections(), metrics.refused_connection)
        try:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(door, host or None, port)
        except OSError as error:
            shown = f"{host or '*'}:{port}"
            why = error.strerror or str(error)
            raise UsageError(f"api.listen {shown} cannot be taken: {why}") from error
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        if hub is not None:
            await hub.close()
        await runner.cleanup()


def connections() -> int:
    """How many may be open at once: fewer where the process may not open many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(1, min(_CONNECTIONS, files - min(_KEPT_BACK, files // 2)))


async def _nameless(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp would tell its version and Python's to whoever looks for a hole in them.
    response.headers["Server"] = "fetcher"


def _json(value: object) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), content_type="application/json", headers=NO_STORE
    )
