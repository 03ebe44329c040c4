"""Where redirects may lead: nobody on the Internet leads us into our own network."""

import socket

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fetcher.errors import Malformed
from fetcher.redirects import PublicOnly, is_public, leaves_for_outside
from tests.test_transport import answering, serving, travelling


class Names(AbstractResolver):
    """Knows a few names."""

    def __init__(self, **names: str) -> None:
        self.names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self.names:
            raise OSError("no such name")
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self.names[host].split()
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("140.82.121.6", True),
        ("2606:50c0:8000::154", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2130706433", False),
        ("0x7f.1", False),
        ("localhost", False),
        ("LOCALHOST.", False),
        ("github.com", None),
        ("", None),
    ],
)
def test_what_is_on_the_internet(host: str, public: bool | None) -> None:
    """Loopback, link-local and private addresses are not, however they are written."""
    assert is_public(host) is public


async def test_who_stands_inside_may_lead_inside() -> None:
    """GitHub Enterprise in a company's network keeps its files there."""
    names = Names(ghe="10.0.0.1", outside="140.82.121.6", both="140.82.121.6 10.0.0.1")
    inside = URL("http://192.168.1.1/")
    for home in ("http://ghe", "http://127.0.0.1:80", "http://both", "http://localhost"):
        assert not await leaves_for_outside(inside, URL(home), names)
    for home in ("https://outside", "https://140.82.121.6", "https://unknown"):
        assert await leaves_for_outside(URL("https://elsewhere/"), URL(home), names)
        with pytest.raises(Malformed, match="inside the network"):
            await leaves_for_outside(inside, URL(home), names)


async def test_a_name_that_leads_inside_is_refused() -> None:
    """All of its addresses count."""
    guarded = PublicOnly(Names(good="140.82.121.6", bad="140.82.121.6 169.254.169.254"))
    assert [each["host"] for each in await guarded.resolve("good")] == ["140.82.121.6"]
    with pytest.raises(Malformed, match="inside the network"):
        await guarded.resolve("bad")


async def test_a_redirect_from_outside_leads_to_no_address_inside() -> None:
    """The host behind the proxy is on the Internet as far as anybody knows."""
    async with serving() as proxy, serving() as inner, travelling(proxy=proxy.url) as way:
        proxy.handler = answering(web.Response(status=302, headers={"Location": inner.url}))
        with pytest.raises(Malformed, match="inside the network"):
            await way.get("http://upstream.invalid/")
        assert len(proxy.seen) == 1
        assert inner.seen == []


async def test_a_redirect_from_outside_leads_to_no_name_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection itself is refused, so that a name cannot change its meaning in between."""
    async with serving() as site, serving() as inner, travelling() as way:
        port = URL(inner.url).port
        where = web.Response(status=302, headers={"Location": f"http://inner.test:{port}/"})
        site.handler = answering(where)
        known = Names(**{"api.test": "127.0.0.1", "inner.test": "127.0.0.1"})
        assert way.transport._outer is not None
        connector = way.transport._outer.connector
        monkeypatch.setattr(connector, "_resolver", PublicOnly(known))

        async def outside(*arguments: object) -> bool:
            return True

        monkeypatch.setattr("fetcher.redirects.leaves_for_outside", outside)
        with pytest.raises(Malformed, match="inside the network"):
            await way.get(site.url)
        assert inner.seen == []


async def test_the_address_of_a_file_stays_whole() -> None:
    """What signs it is the upstream's own, and goes along; our credentials do not."""
    async with serving() as site, serving() as other, travelling() as way:
        where = web.Response(status=302, headers={"Location": f"{other.url}/x?token=S&sig=1"})
        site.handler = answering(where)
        secret = {"Authorization": "Bearer T"}
        await way.get(site.url, secret_headers=secret, bulk=True)
        await way.get(site.url, secret_headers=secret)
        assert [path for path, _ in other.seen] == ["/x?token=S&sig=1", "/x?sig=1"]
        assert all("Authorization" not in headers for _, headers in other.seen)


async def test_a_file_is_as_large_as_it_is() -> None:
    """Neither the cap of a body nor the deadline of a request is meant for it."""
    async with serving() as site, travelling(max_body=10, total_timeout=1e-6) as way:
        site.handler = answering(web.Response(body=b"x" * 100))
        assert len((await way.get(site.url, bulk=True)).body) == 100
