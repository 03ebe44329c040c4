"""The pages in a real headless Chromium: what it loads, runs, shows, and can be reached with."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from fetcher.metrics import Metrics
from fetcher.models import Failure, OutcomeKind
from fetcher.web.access import Access
from fetcher.web.api import Api
from fetcher.web.app import serve
from fetcher.web.pages import Pages
from fetcher.web.stream import Hub
from tests.clock import FakeClock
from tests.shelf import NOW, PLAIN, Shelf, shelf
from tests.store.build import KEY, batch, release, sequence
from tests.stores import store_url
from tests.web.test_app import Doctor
from tests.world import SILENT

__all__ = ["shelf", "store_url"]

CHROMIUM: Final = os.environ.get("FETCHER_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE: Final = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>"
    "<a href='javascript:alert(3)'>x</a><style>body{display:none}</style>"
)
TARGET: Final = "/targets/github:virtool%2Fvirtool"
RECORD: Final = "/records/release/github:7:1"
PAGES: Final = ("/", TARGET, RECORD, "/records/sequence/nuccore%3AAB1.1", "/docs")
NARROW: Final[ViewportSize] = {"width": 320, "height": 640}

# Contrast of every text with what is behind it, as https://www.w3.org/TR/WCAG22/#contrast-minimum
# has it: 4.5 at least, 3 for large or bold text. Colours are read from a canvas: any notation.
CONTRAST: Final = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((each) => each / 255);
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement("div"));
  probe.style.backgroundColor = "Canvas";
  const paper = rgba(getComputedStyle(probe).backgroundColor).slice(0, 3);
  probe.remove();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const behind = (element) => {
    const stack = [];
    for (let e = element; e; e = e.parentElement) stack.push(getComputedStyle(e).backgroundColor);
    return stack.reverse().reduce((under, top) => over(rgba(top), under), paper);
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!text || !element.checkVisibility() || element.closest("svg")) continue;
    const style = getComputedStyle(element), under = behind(element);
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
    const colour = rgba(style.color); colour[3] *= opacity;
    const [a, b] = [light(over(colour, under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([element.tagName, element.textContent.slice(0, 40), ratio, dark]);
  }
  return bad;
}"""
# What a screen reader has to go by: https://www.w3.org/TR/WCAG22/
UNNAMED: Final = """() => [
    ...document.querySelectorAll("a, button, input, select, meter, svg, table")]
  .filter((e) => e.checkVisibility() || e.classList.contains("skip"))
  .filter((e) => {
    const by = (e.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
    const label = e.labels && [...e.labels].map((l) => l.textContent).join("");
    const name = by.length
      ? by.map((id) => document.getElementById(id)?.textContent || "").join("")
      : label || e.getAttribute("aria-label") || e.textContent;
    return !name.trim();
  }).map((e) => e.outerHTML)"""


class Tab:
    """A page of the browser, and everything that it did besides showing."""

    def __init__(self, page: Page, base: str, shelf: Shelf) -> None:
        self.page = page
        self.base = base
        self.shelf = shelf
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda told: self.complaints.append(told.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.asked.append(request.url))

    async def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    async def open(self, path: str) -> None:
        """Shows it; what it loads comes from here, and nothing is complained about."""
        answer = await self.page.goto(self.base + path, wait_until="load")
        assert answer is not None
        assert answer.status == 200
        # What a hostile text would have run has had its turn.
        await self.page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
        assert self.complaints == []
        assert all(url.startswith(self.base) for url in self.asked), self.asked


class Chromium:
    """Opens tabs, each of a profile of its own."""

    def __init__(self, browser: Browser, base: str, shelf: Shelf) -> None:
        self._browser = browser
        self._base = base
        self._shelf = shelf

    @asynccontextmanager
    async def tab(self, **options: Any) -> AsyncIterator[Tab]:
        context = await self._browser.new_context(**options)
        try:
            yield Tab(await context.new_page(), self._base, self._shelf)
        finally:
            await context.close()


@pytest.fixture
async def chromium(shelf: Shelf, tmp_path: Path) -> AsyncIterator[Chromium]:
    if CHROMIUM is None:
        assert not os.environ.get("CI_REQUIRES_CHROMIUM"), "FETCHER_TEST_CHROMIUM is not set"
        pytest.skip(
            "no chromium on PATH; FETCHER_TEST_CHROMIUM names one, .ci/chromium installs it"
        )
    await shelf.write(batch(release(1, body=HOSTILE, tag="<b>", **PLAIN), at=NOW))
    await shelf.write(batch(sequence("AB1", status="live"), target="ncbi:nuccore/AB1"))
    known = await shelf.store.target(KEY)
    assert known is not None
    bad = replace(
        known,
        id="github:z/z",
        key="github:z/z",
        names=("github:z/z",),
        outcome=OutcomeKind.UNREACHABLE,
        failure=Failure(f"no answer came {HOSTILE}"),
        failures=3,
    )
    await shelf.store.save_targets(shelf.lease, [bad])
    doctor, access, clock = Doctor(), Access([], FakeClock(), lambda: None), FakeClock()
    hub = Hub(shelf.reader, clock, SILENT)
    async with (
        serve(
            ("127.0.0.1", 0),
            doctor,
            Metrics(),
            access=access,
            require_token=False,
            log=SILENT,
            api=Api(shelf.reader, access, require_token=False, hub=hub),
            hub=hub,
            pages=Pages(shelf.reader, access, doctor, require_token=False),
        ) as port,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        try:
            yield Chromium(browser, f"http://127.0.0.1:{port}", shelf)
        finally:
            await browser.close()


async def until(wanted: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await wanted():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_can_be_read(chromium: Chromium, scheme: Any) -> None:
    """Nothing hostile runs or is loaded; contrast, names for screen readers, one heading."""
    async with chromium.tab(color_scheme=scheme) as tab:
        for path in PAGES:
            await tab.open(path)
            assert await tab.page.evaluate(CONTRAST) == [], path
            assert await tab.page.evaluate(UNNAMED) == [], path
            assert await tab.page.locator("h1").count() == 1
            assert await tab.page.get_attribute("html", "lang") == "en"
            assert await tab.page.title()
        await tab.open(RECORD)
        assert HOSTILE in await tab.page.inner_text("dl.record")


async def test_narrow_screens(chromium: Chromium) -> None:
    """Nothing has to be scrolled sideways but tables, within themselves."""
    async with chromium.tab(viewport=NARROW) as tab:
        for path in PAGES[:-1]:
            await tab.open(path)
            width = await tab.page.evaluate("() => document.scrollingElement.scrollWidth")
            assert width <= NARROW["width"], path


async def test_changes_come_live(chromium: Chromium) -> None:
    """Without a reload; each leads to its record, and a hostile name is a text."""
    async with chromium.tab() as tab:
        await tab.open("/")
        live = tab.page.locator("#live")
        await until(lambda: live.is_visible())
        assert "Live" in await live.inner_text()
        first = tab.page.locator("ol.changes li").first
        before = await first.inner_text()
        await chromium._shelf.write(
            batch(release(2, body="news", **PLAIN), at=NOW + timedelta(seconds=9))
        )

        async def fresh() -> bool:
            return (await first.inner_text()) != before

        await until(fresh)
        assert "just now changed github:7:2 body" in await first.inner_text()
        await first.locator("a").click()
        await tab.page.wait_for_load_state("load")
        assert "virtool/virtool@v2" in await tab.page.inner_text("h1")
        assert tab.complaints == []


async def test_without_a_script(chromium: Chromium) -> None:
    """Everything can be read, and the form works."""
    async with chromium.tab(java_script_enabled=False) as tab:
        await tab.page.goto(f"{tab.base}/?q=virt")
        assert await tab.page.locator("table").count() >= 1
        assert await tab.page.locator("ol.changes li").count() >= 4
        assert not await tab.page.locator("#live").is_visible()


async def test_by_keyboard(chromium: Chromium) -> None:
    """The first stop skips the navigation; search, filter and links can be reached and used."""
    async with chromium.tab() as tab:
        await tab.open("/")
        keys = tab.page.keyboard
        focused = "() => document.activeElement.name || document.activeElement.textContent"
        await keys.press("Tab")
        assert await tab.page.evaluate(focused) == "Skip to the content"
        await keys.press("Enter")
        stops = []
        for _ in range(8):
            await keys.press("Tab")
            stops.append(await tab.page.evaluate(focused))
            if stops[-1] == "q":
                break
        assert stops[-1] == "q", stops
        await keys.type("z/z")
        await keys.press("Enter")
        await tab.page.wait_for_url("**/?q=z*")
        links: Mapping[str, str] = await tab.page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('tbody th a')]"
            ".map((a) => [a.textContent, a.href]))"
        )
        assert list(links) == ["github:z/z"]
