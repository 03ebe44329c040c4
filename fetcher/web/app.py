"""The daemon's HTTP server: health, readiness, metrics.

=============  ==================================================================
``/healthz``   200 while the process serves
``/readyz``    200 when it polls and its store works, else 503 and why not
``/metrics``   Prometheus; wants the token where `api.require_token` is set
=============  ==================================================================
"""

import hmac
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from fetcher.errors import UsageError
from fetcher.metrics import Metrics
from fetcher.web.problems import NO_STORE, problem, problems

__all__ = ["Health", "serve"]

_CLOSING_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 30.0


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
    token: str | None,
    require_token: bool,
    log: FilteringBoundLogger,
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
        if require_token and not _knows(request, token):
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
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_CLOSING_SECONDS,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
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
        await runner.cleanup()


def _json(value: object) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), content_type="application/json", headers=NO_STORE
    )


def _knows(request: web.Request, token: str | None) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())
