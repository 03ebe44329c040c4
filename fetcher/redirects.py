"""Where a redirect may lead: the rules that every followed one keeps.

A redirect is the word of whoever answered. It leads to web addresses only, never from https to
http, never on with a form, and never from an upstream on the Internet into the network that this
machine stands in: https://owasp.org/www-community/attacks/Server_Side_Request_Forgery
"""

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fetcher.errors import Evidence, Malformed
from fetcher.policy.wire import shown_url

__all__ = [
    "MAX_HOPS",
    "REDIRECTS",
    "SECRET_PARAMETERS",
    "PublicOnly",
    "address",
    "is_public",
    "leaves_for_outside",
    "next_hop",
]

MAX_HOPS: Final = 5
REDIRECTS: Final = (301, 302, 303, 307, 308)
SECRET_PARAMETERS: Final = ("api_key", "access_token", "token")

# https://www.rfc-editor.org/rfc/rfc6052: an IPv4 address in the last 32 bits.
_NAT64 = ip_network("64:ff9b::/96")


def address(text: str, base: URL | None = None) -> URL:
    """A URL with a host and a port that can be; raises `ValueError` for any other text."""
    url = URL(text, encoded=text.isascii())
    url = url if base is None else base.join(url)
    # What is wrong with these is only found when they are asked for.
    url.origin()
    if not url.host or url.port == 0:
        raise ValueError("no host, or no port")
    return url


def next_hop(
    method: str, url: URL, status: int, location: str, home: URL, *, ours: bool = True
) -> URL:
    """Where the answer of `url` leads, if it may be followed; `home` is whom we asked first.

    Parameters that carry keys are left out for another host, unless none can be `ours`.
    """
    evidence = Evidence(status, url=shown_url(str(url)))
    try:
        target = address(location, url)
    except ValueError as error:
        raise Malformed("a redirect leads to no address", evidence) from error
    if target.scheme not in ("http", "https"):
        raise Malformed(f"a redirect leads to {target.scheme}:, which is refused", evidence)
    if url.scheme == "https" and target.scheme == "http":
        raise Malformed("a redirect leads from https to http, which is refused", evidence)
    leaves = target.origin() != home
    if method == "POST" and (status not in (307, 308) or leaves):
        # A form may hold a key, and must not arrive as a GET either.
        raise Malformed("a redirect of a POST request is refused", evidence)
    if leaves and ours:
        kept = [(k, v) for k, v in target.query.items() if k not in SECRET_PARAMETERS]
        target = target.with_query(kept) if len(kept) < len(target.query) else target
    return target.with_fragment(None)


async def leaves_for_outside(url: URL, home: URL, resolver: AbstractResolver | None) -> bool:
    """Whether `home` is on the Internet, so that what it leads to must be there as well.

    A server in this network may lead to another in it, as GitHub Enterprise does. `resolver` is
    None where a proxy knows the names; what cannot be known is taken to be outside. Raises
    `Malformed` where the address `url` is seen to be inside.
    """
    host = home.host or ""
    outside = is_public(host) is not False
    if outside and is_public(host) is None and resolver is not None:
        with contextlib.suppress(OSError):
            found = await resolver.resolve(host, home.port or 443, socket.AF_UNSPEC)
            outside = all(is_public(each["host"]) is not False for each in found)
    if outside and is_public(url.host or "") is False:
        raise Malformed(_refusal(url.host or ""), Evidence(url=shown_url(str(home))))
    return outside


def _refusal(host: str) -> str:
    return f"a redirect leads to {host}, inside the network that we stand in, which is refused"


def is_public(host: str) -> bool | None:
    """Whether an address is one of the Internet's; None for a name.

    Numbers count as the operating system reads them: ``2130706433`` is 127.0.0.1.
    """
    if host.lower().rstrip(".") in ("localhost", "localhost.localdomain"):
        return False
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            found = ip_address(socket.inet_aton(host))
        except (OSError, UnicodeError, ValueError):
            return None
    inner = _inner(found)
    return inner.is_global and not inner.is_multicast


def _inner(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(found, IPv4Address):
        return found
    if found in _NAT64:
        return IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found


class PublicOnly(AbstractResolver):
    """Gives the addresses of names, unless one of them lies in the network we stand in.

    Asked by the connector itself, so that no name can mean another address a moment later.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises `Malformed` for a name that leads inside."""
        found = await self._inner.resolve(host, port, family)
        if any(is_public(each["host"]) is False for each in found):
            raise Malformed(_refusal(host))
        return found

    async def close(self) -> None:
        """Closes what it asks."""
        await self._inner.close()
