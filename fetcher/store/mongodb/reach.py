"""MongoDB: why no server can be spoken to, where that is a matter of TLS.

The driver looks for a server until its time is over, and its errors say why in words alone. So
after a moment the servers are tried by hand: what is wrong with a certificate is a code then, and
whoever speaks TLS where none is asked for (or the other way round) is found out. Waiting makes
none of this better.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from fetcher.errors import StoreUnavailable

__all__ = ["Address", "unless_hopeless"]

T = TypeVar("T")

Address: TypeAlias = tuple[str, int | None]

_MOMENT_SECONDS: Final = 1.0
_TRIAL_SECONDS: Final = 2.0
# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = (62, 64)
# What a server says that does not take a client's certificate, or the want of one.
_ALERTS: Final = (
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_UNKNOWN_CA",
)
# A `hello` in OP_MSG: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
_BODY: Final = b"\x10hello\0\1\0\0\0\x02$db\0\x06\0\0\0admin\0"
_HELLO: Final = (
    (16 + 5 + 4 + len(_BODY) + 1).to_bytes(4, "little")
    + (1).to_bytes(4, "little")
    + (0).to_bytes(4, "little")
    + (2013).to_bytes(4, "little")
    + b"\0\0\0\0\0"
    + (4 + len(_BODY) + 1).to_bytes(4, "little")
    + _BODY
    + b"\0"
)


async def unless_hopeless(
    work: Coroutine[Any, Any, T], url: str, where: str, servers: Callable[[], Collection[Address]]
) -> T:
    """Does it; raises `StoreUnavailable` as soon as TLS is seen to fail with all `servers`."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)
    trying: asyncio.Task[list[str | None]] | None = None
    try:
        await asyncio.wait({working}, timeout=_MOMENT_SECONDS)
        if not working.done():
            trying = loop.create_task(_trials(servers(), _context(url)))
            await asyncio.wait({working, trying}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and trying is not None:
            found = await trying
            if found and all(found):
                raise StoreUnavailable(f"the store {where} does not work: {found[0]}")
        return await working
    finally:
        tasks = [task for task in (working, trying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _trials(servers: Collection[Address], context: ssl.SSLContext | None) -> list[str | None]:
    return await asyncio.gather(*(_trouble(each, context) for each in servers))


def _context(url: str) -> ssl.SSLContext | None:
    """What store.url says of TLS; the driver has read it already, so it makes sense."""
    scheme, _, rest = url.partition("://")
    given = {name.lower(): value for name, value in parse_qsl(rest.partition("?")[2])}
    default = "true" if scheme.lower() == "mongodb+srv" else "false"
    if given.get("tls", given.get("ssl", default)).lower() != "true":
        return None
    context = ssl.create_default_context(cafile=given.get("tlscafile"))
    if file := given.get("tlscertificatekeyfile"):
        context.load_cert_chain(file, password=given.get("tlscertificatekeyfilepassword"))
    lax = {name for name, value in given.items() if value.lower() == "true"}
    if lax & {"tlsinsecure", "tlsallowinvalidhostnames", "tlsallowinvalidcertificates"}:
        context.check_hostname = False
    if lax & {"tlsinsecure", "tlsallowinvalidcertificates"}:
        context.verify_mode = ssl.CERT_NONE
    return context


async def _trouble(server: Address, context: ssl.SSLContext | None) -> str | None:
    """What is wrong, as the end of a sentence; None where nothing is, or something else."""
    if server[1] is None:  # a socket in the file system
        return None
    if context is None:
        any_certificate = ssl.create_default_context()
        any_certificate.check_hostname = False
        any_certificate.verify_mode = ssl.CERT_NONE
        if not await _speaks(server, None) and await _handshake(server, any_certificate):
            return "it wants TLS; write tls=true into store.url"
        return None
    try:
        if await _speaks(server, context):
            return None
    except ssl.SSLCertVerificationError as error:
        return _of_certificate(error.verify_code)
    except ssl.SSLError as error:
        if error.reason in _ALERTS:
            return (
                "it does not take this client's certificate, or wants one; name a file with a "
                "certificate and its key in tlsCertificateKeyFile in store.url"
            )
    if await _speaks(server, None):
        return "it speaks no TLS, which tls=true in store.url asks for"
    return None


def _of_certificate(code: int) -> str:
    if code == _EXPIRED:
        return "its certificate has expired; the server needs a new one"
    if code == _NOT_YET:
        return "its certificate is not valid yet; is the clock right, here and there?"
    if code in _OTHER_NAME:
        return (
            "its certificate is for another host name; write the host into store.url as the "
            "certificate has it"
        )
    return (
        "its certificate is signed by nobody who is trusted here; name the file with its CA's "
        "certificate in tlsCAFile in store.url"
    )


async def _speaks(server: Address, context: ssl.SSLContext | None) -> bool:
    """Whether it answers a `hello`; raises `ssl.SSLError` where TLS is what fails."""
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            reader, writer = await asyncio.open_connection(*server, ssl=context)
            try:
                writer.write(_HELLO)
                return len(await reader.read(16)) > 0
            finally:
                writer.close()
    except ssl.SSLError:
        raise
    except (OSError, TimeoutError):
        return False


async def _handshake(server: Address, context: ssl.SSLContext) -> bool:
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            _, writer = await asyncio.open_connection(*server, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
