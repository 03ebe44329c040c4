"""Errors as problem documents: https://www.rfc-editor.org/rfc/rfc9457"""

import json
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

__all__ = ["NO_STORE", "problem", "problems"]

NO_STORE = {"Cache-Control": "no-store"}


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """A problem document; `detail` is a sentence for the reader."""
    body = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers={**NO_STORE, **{name.replace("_", "-"): value for name, value in headers.items()}},
    )


def problems(log: FilteringBoundLogger) -> Middleware:
    """A middleware that makes a problem of every error, and tells nothing of the inside."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return problem(
                405, f"{request.method} is not allowed here; {allowed} is", Allow=allowed
            )
        except web.HTTPNotFound:
            return problem(404, "there is nothing at this path")
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return problem(error.status, error.reason)
        except Exception:
            log.exception("a request failed", method=request.method, path=request.path)
            return problem(500, "an error of the fetcher's own; its log tells more")

    return middleware
