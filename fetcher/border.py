"""The border that no library error crosses: each becomes one of ours.

Deadlines and caps stand here, too, for the sentences name them.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import http_exceptions

from fetcher.errors import Evidence, Malformed, Refused, Unreachable, UpstreamError
from fetcher.policy.wire import shown_url

__all__ = ["Garbled", "HttpSettings", "border", "translate"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Deadlines in seconds, the cap of a body in bytes."""

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    total_timeout: float = 300.0
    max_body: int = 256 << 20
    max_attempts: int = 5
    proxy: str | None = None


class Garbled(Malformed):
    """An answer spoilt on its way: another try may bring it whole."""


@contextmanager
def border(url: str, settings: HttpSettings) -> Iterator[None]:
    """No library error gets past here."""
    try:
        yield
    except (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, ValueError) as error:
        # TimeoutError is an OSError; UnicodeError, as of a host name, is a ValueError.
        raise translate(error, url, settings) from error


def translate(error: Exception, url: str, settings: HttpSettings) -> UpstreamError:
    """Our error for one of aiohttp's, asyncio's or the operating system's.

    Most special first. Raises `LookupError` for one that nobody has thought of.
    """
    where = shown_url(url)
    evidence = Evidence(url=where)
    match error:
        case aiohttp.ConnectionTimeoutError():
            text = f"no connection to {where} within {settings.connect_timeout:g} s"
            return Unreachable(text, evidence)
        case aiohttp.ServerTimeoutError():
            text = f"{where} sent nothing for {settings.read_timeout:g} s"
            return Unreachable(text, evidence)
        case TimeoutError():
            text = f"{where} did not answer in full within {settings.total_timeout:g} s"
            return Unreachable(text, evidence)
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"the host name of {where} cannot be resolved", evidence)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Unreachable(f"the proxy on the way to {where} does not let us through", evidence)
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return Unreachable(f"no secure connection to {where}: {error}", evidence)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionResetError():
            return Unreachable(f"{where} closed the connection without an answer", evidence)
        case aiohttp.ClientPayloadError():
            return Unreachable(f"the answer of {where} broke off", evidence)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | aiohttp.RedirectClientError():
            return Refused(f"{where} is no address that can be asked", evidence)
        case aiohttp.ClientResponseError() | http_exceptions.HttpProcessingError():
            return Garbled(f"{where} does not speak HTTP as it should", evidence)
        case aiohttp.ClientConnectionError() | aiohttp.UploadAbortedError() | OSError():
            reason = getattr(error, "strerror", None) or "the connection failed"
            return Unreachable(f"{where} cannot be reached: {reason}", evidence)
        case ValueError() if not isinstance(error, aiohttp.ClientError):
            return Refused(f"the request to {where} cannot be sent: {error}", evidence)
    raise LookupError(f"nobody has thought of {type(error).__name__}") from error
