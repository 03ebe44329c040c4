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

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from fetcher.errors import UsageError
from fetcher.metrics import Metrics
from fetcher.web.access import Access
from fetcher.web.api import Api
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
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            shown = f"{host or '*'}:{port}"
            why = error.strerror or str(error)
            raise UsageError(f"api.listen {shown} cannot be taken: {why}") from error
        yield runner.addresses[0][1]
    finally:
        if hub is not None:
            await hub.close()
        await runner.cleanup()


def _json(value: object) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), content_type="application/json", headers=NO_STORE
    )
