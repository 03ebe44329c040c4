"""The status page: what an operator sees; nothing in it runs or comes from elsewhere."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest
from yarl import URL

from fetcher.metrics import Metrics
from fetcher.models import Failure, OutcomeKind, Wish
from fetcher.web.access import Access
from fetcher.web.app import serve
from fetcher.web.pages import Pages
from tests.clock import FakeClock
from tests.shelf import FACTS, NOW, PLAIN, Shelf, shelf
from tests.store.build import KEY, batch, release, sequence
from tests.stores import store_url
from tests.web.test_app import Doctor
from tests.world import SILENT

__all__ = ["shelf", "store_url"]

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\n\"'& javascript:alert(3)"


class Outline(HTMLParser):
    """What a page has in it: tags with their attributes, links, and its text."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def links(self) -> list[str]:
        return [found["href"] or "" for tag, found in self.tags if tag == "a"]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


class Browser:
    """Opens pages."""

    def __init__(self, session: aiohttp.ClientSession, base: str, doctor: Doctor) -> None:
        self.session = session
        self.base = base
        self.doctor = doctor

    async def open(
        self, path: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Outline:
        url = URL(self.base + path, encoded=True)
        async with self.session.get(url, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
        page = Outline(text)
        for tag, found in page.tags:
            assert tag not in ("img", "iframe", "object", "base")
            assert not any(name.startswith("on") or name == "style" for name in found)
            if tag in ("script", "link"):
                assert (found.get("src") or found.get("href") or "").startswith("/site/")
        return page


async def browsing(shelf: Shelf, *, require: bool = False) -> AsyncIterator[Browser]:
    doctor = Doctor()
    access = Access(["s3cret"], FakeClock(), lambda: None)
    pages = Pages(shelf.reader, access, doctor, require_token=require)
    async with (
        aiohttp.ClientSession() as session,
        serve(
            ("127.0.0.1", 0),
            doctor,
            Metrics(),
            access=access,
            require_token=require,
            log=SILENT,
            pages=pages,
        ) as port,
    ):
        yield Browser(session, f"http://127.0.0.1:{port}", doctor)


@pytest.fixture
async def browser(shelf: Shelf) -> AsyncIterator[Browser]:
    async for each in browsing(shelf):
        yield each


@pytest.fixture
async def closed(shelf: Shelf) -> AsyncIterator[Browser]:
    async for each in browsing(shelf, require=True):
        yield each


async def failing(shelf: Shelf, name: str, message: str, **more: Any) -> None:
    known = await shelf.store.target(KEY)
    assert known is not None
    fold = f"github:{name}"
    bad = replace(
        known,
        id=fold,
        key=fold,
        names=(fold,),
        outcome=OutcomeKind.UNREACHABLE,
        failure=Failure(message),
        failures=3,
        **more,
    )
    await shelf.store.save_targets(shelf.lease, [bad])


async def test_what_fails_comes_first(browser: Browser, shelf: Shelf) -> None:
    """With its reason; counts, ages, and what changed last."""
    await failing(shelf, "z/z", "no answer came <b>")
    known = await shelf.store.target(KEY)
    assert known is not None
    await shelf.store.wish("hand", [Wish(known.id, known.key, "a", 900.0)])
    page = await browser.open("/")
    targets = [each for each in page.links() if each.startswith("/targets/")]
    assert targets == ["/targets/github%3Az%2Fz", "/targets/github%3Avirtool%2Fvirtool"]
    assert "no answer came <b>" in page.words
    assert "2 targets" in page.words
    assert "1 unreachable" in page.words
    assert "2m ago" in page.words
    assert "in 5m" in page.words
    assert "Ready" in page.words
    assert len([each for each in page.links() if each.startswith("/records/release/")]) == 4
    browser.doctor.reasons = ["it is draining"]
    assert "Not ready: it is draining" in (await browser.open("/")).words


async def test_search_and_filter(browser: Browser, shelf: Shelf) -> None:
    """By a part of the name and by outcome; what was asked for stands in the form, escaped."""
    await failing(shelf, "z/z", "no answer")

    async def targets(query: str) -> list[str]:
        page = await browser.open(f"/?{query}")
        return [each for each in page.links() if each.startswith("/targets/")]

    assert await targets("q=VIRT") == ["/targets/github%3Avirtool%2Fvirtool"]
    assert await targets("outcome=unreachable") == ["/targets/github%3Az%2Fz"]
    assert await targets("q=virt&outcome=unreachable") == []
    page = await browser.open("/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert [found for tag, found in page.tags if tag == "script"] == [
        {"src": "/site/changes.js", "defer": None}
    ]
    assert "No target is like that." in page.words


async def test_a_page_for_each_target_and_record(browser: Browser, shelf: Shelf) -> None:
    """Hostile texts are texts."""
    await shelf.write(batch(release(1, body=HOSTILE, tag="<b>", **PLAIN), at=NOW))
    await shelf.write(batch(sequence("AB1", status="live"), target="ncbi:nuccore/AB1"))
    page = await browser.open("/targets/github:virtool%2Fvirtool")
    assert "virtool/virtool@<b>" in page.words
    assert [tag for tag, _ in page.tags].count("svg") == 2
    assert "They failed for" in page.words
    assert "rate_limited from 2026-11-23 10:15 UTC" in page.words
    assert "draft" not in page.words
    record = next(each for each in page.links() if each.endswith("github%3A7%3A1"))
    shown = await browser.open(record)
    assert "<script>alert(1)</script>" in shown.words
    assert not [tag for tag, _ in shown.tags if tag == "script"]
    assert "body was: text" in shown.words
    assert "Checked 2m ago, revision 2" in shown.words
    sequence_page = await browser.open("/records/sequence/nuccore%3AAB1.1")
    assert "ACGT" in sequence_page.words
    for lost in ("/records/release/nothing", "/records/book/x", "/targets/no%2Fbody", "/targets/a"):
        assert "Not found" in (await browser.open(lost, 404)).words


async def test_what_is_private_is_for_those_with_a_token(browser: Browser, shelf: Shelf) -> None:
    """A browser sends it as a password."""
    token = {"Authorization": aiohttp.encode_basic_auth("me", "s3cret")}
    await failing(shelf, "z/secret", "hidden", facts={**FACTS, "private": True})
    assert "secret" not in (await browser.open("/")).words
    assert "z/secret" in (await browser.open("/", headers=token)).words
    await browser.open("/targets/github:z%2Fsecret", 404)
    await browser.open("/targets/github:z%2Fsecret", headers=token)
    await browser.open("/records/release/github:7:8", 404)
    await browser.open("/records/release/github:7:8", headers=token)


async def test_where_reading_needs_a_token(closed: Browser) -> None:
    """The browser is told to ask for it."""
    async with closed.session.get(closed.base + "/") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    await closed.open("/", headers={"Authorization": "Bearer s3cret"})


async def test_what_a_page_loads(browser: Browser) -> None:
    """From here alone."""
    for name, kind in (("style.css", "text/css"), ("changes.js", "text/javascript")):
        async with browser.session.get(f"{browser.base}/site/{name}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            text = await answer.text()
            assert "http://" not in text
            assert "https://" not in text
            assert "innerHTML" not in text
