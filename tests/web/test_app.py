"""Health, readiness and metrics over a real loopback."""

import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fetcher.errors import UsageError
from fetcher.metrics import Metrics
from fetcher.web.access import Access
from fetcher.web.app import serve
from tests.clock import FakeClock
from tests.world import SILENT


class Doctor:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def ready(self) -> list[str]:
        if self.reasons == ["bug"]:
            raise KeyError("inside")
        return self.reasons


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_alive_and_ready(session: aiohttp.ClientSession) -> None:
    """Not ready is a problem document that names every reason; none of it is cached."""
    doctor = Doctor()
    serving = serve(
        ("127.0.0.1", 0),
        doctor,
        Metrics(),
        access=Access([], FakeClock(), lambda: None),
        require_token=False,
        log=SILENT,
    )
    async with serving as port:
        base = f"http://127.0.0.1:{port}"
        async with session.get(f"{base}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "alive"})
            assert answer.headers["Server"] == "fetcher"
            assert answer.headers["Cache-Control"] == "no-store"
        async with session.get(f"{base}/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        async with session.head(f"{base}/readyz") as answer:
            assert answer.status == 200
        doctor.reasons = ["it is draining", "the store is gone"]
        async with session.get(f"{base}/readyz") as answer:
            assert answer.status == 503
            assert answer.content_type == "application/problem+json"
            problem = json.loads(await answer.text())
        assert problem == {
            "status": 503,
            "title": "Service Unavailable",
            "detail": "it is draining; the store is gone",
        }


async def test_errors_are_problems_and_tell_nothing_of_the_inside(
    session: aiohttp.ClientSession,
) -> None:
    """Unknown paths, wrong methods, and a bug."""
    doctor = Doctor()
    doctor.reasons = ["bug"]
    serving = serve(
        ("127.0.0.1", 0),
        doctor,
        Metrics(),
        access=Access([], FakeClock(), lambda: None),
        require_token=False,
        log=SILENT,
    )
    async with serving as port:
        base = f"http://127.0.0.1:{port}"
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("POST", "/healthz", 405),
            ("GET", "/readyz", 500),
        ):
            async with session.request(method, base + path) as answer:
                assert answer.status == status
                assert answer.content_type == "application/problem+json"
                text = await answer.text()
                assert json.loads(text)["status"] == status
                assert "inside" not in text
                if status == 405:
                    assert "GET" in answer.headers["Allow"]


async def test_slow_and_talkative_clients(session: aiohttp.ClientSession) -> None:
    """Too many headers, and a huge one."""
    serving = serve(
        ("127.0.0.1", 0),
        Doctor(),
        Metrics(),
        access=Access([], FakeClock(), lambda: None),
        require_token=False,
        log=SILENT,
    )
    async with serving as port:
        url = f"http://127.0.0.1:{port}/healthz"
        for headers in ({f"X-{n}": "a" for n in range(500)}, {"X-A": "a" * 100_000}):
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 400
        async with session.get(url) as answer:
            assert answer.status == 200


async def test_metrics_want_the_token_where_reading_does(session: aiohttp.ClientSession) -> None:
    """Health is for everybody."""
    serving = serve(
        ("127.0.0.1", 0),
        Doctor(),
        Metrics(),
        access=Access(["s3cret"], FakeClock(), lambda: None),
        require_token=True,
        log=SILENT,
    )
    async with serving as port:
        base = f"http://127.0.0.1:{port}"
        async with session.get(f"{base}/healthz") as answer:
            assert answer.status == 200
        for given in (None, "Bearer wrong", "Basic s3cret", "s3cret"):
            headers = {"Authorization": given} if given is not None else {}
            async with session.get(f"{base}/metrics", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": "Bearer s3cret"}
        async with session.get(f"{base}/metrics", headers=right) as answer:
            assert answer.status == 200
            assert "fetcher_build_info" in await answer.text()


async def test_an_address_that_is_taken_is_named() -> None:
    """Exit code 2 with a sentence, not a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"api.listen 127.0.0.1:{port} cannot be taken"):
            async with serve(
                ("127.0.0.1", port),
                Doctor(),
                Metrics(),
                access=Access([], FakeClock(), lambda: None),
                require_token=False,
                log=SILENT,
            ):
                pass
