"""The site is whole: nothing leads nowhere, nothing comes from elsewhere, every page is found."""

import os
import re
import shutil
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest
from playwright.async_api import Route, async_playwright

from tests.site.conftest import BUILD, build
from tests.site.reference import DOCS, ROOT
from tests.web.test_browser import CHROMIUM, FLAGS

LOADED: Final = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("object", "data"),
    ("link", "href"),
}
PAGES: Final = sorted(page for page in DOCS.rglob("*.md"))


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be led to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif (tag, name) in LOADED and value:
                self.loads.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


@cache
def read(file: Path) -> Page:
    return Page(file.read_text("utf-8"))


def html(site: Path) -> Iterator[Path]:
    return site.rglob("*.html")


def test_every_link_leads_somewhere(site: Path) -> None:
    """To a file of the site, and to a place in it; `make docs` has looked at the sources."""
    for file in html(site):
        for link in read(file).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert there.is_file(), f"{file.name}: {link}"
            if parts.fragment and there.suffix == ".html":
                assert unquote(parts.fragment) in read(there).ids, f"{file.name}: {link}"


@pytest.mark.parametrize(
    "link",
    ["[x](nowhere.md)", "[x](metrics.md#nowhere)", "[x](#nowhere)", "[x](deploy/nowhere.yaml)"],
)
def test_a_link_that_leads_nowhere_fails_the_build(link: str, tmp_path: Path) -> None:
    """So that the build bites."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("conf.py", "site.css", "metrics.md"):
        shutil.copy(DOCS / name, docs / name)
    shutil.copytree(DOCS / "prometheus", docs / "prometheus")
    docs.joinpath("metrics.md").write_text("# Metrics\n", "utf-8")
    docs.joinpath("index.md").write_text(f"# x\n\n## y\n\n- [z](metrics.md)\n\n{link}\n", "utf-8")
    with pytest.raises(AssertionError, match="xref_missing"):
        build(docs, tmp_path / "out")


def test_a_page_that_nobody_finds_fails_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("conf.py", "site.css"):
        shutil.copy(DOCS / name, docs / name)
    docs.joinpath("index.md").write_text("# x\n\n## y\n\n- [z](z.md)\n", "utf-8")
    docs.joinpath("z.md").write_text("# z\n", "utf-8")
    docs.joinpath("lost.md").write_text("# lost\n", "utf-8")
    with pytest.raises(AssertionError, match=r"lost\.md.*toctree"):
        build(docs, tmp_path / "out")


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """Of every page."""
    made = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in PAGES}
    for file in (site / "index.html", site / "how-to" / "watch.html"):
        text = file.read_text("utf-8")
        navigation = text[text.index('class="sidebar-tree"') : text.index("</aside>")]
        found = {
            (file.parent / unquote(link)).resolve().relative_to(site.resolve()).as_posix()
            for link in Page(navigation).links
            if not link.startswith("#")
        }
        assert found | {"index.html", file.relative_to(site).as_posix()} >= made


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture has an address with a host, in pages and styles alike."""
    for file in html(site):
        for address in read(file).loads:
            assert not urlsplit(address).netloc, f"{file.name} loads {address}"
    for file in site.rglob("*.css"):
        text = re.sub(r"(?s)/\*.*?\*/", "", file.read_text("utf-8"))
        for address in re.findall(r"url\(\s*[\"']?([^\"')]+)", text):
            assert address.startswith("data:") or not urlsplit(address).netloc, address
        assert not re.search(r"@import\s+[\"'](https?:)?//", text)


async def test_a_browser_asks_nobody_else(site: Path) -> None:
    """Read from the disk, searched, and on a narrow screen, where nothing is wider than it is."""
    if CHROMIUM is None:
        assert not os.environ.get("CI_REQUIRES_CHROMIUM"), "FETCHER_TEST_CHROMIUM is not set"
        pytest.skip("there is no Chromium")
    asked: list[str] = []

    async def note(route: Route) -> None:
        asked.append(route.request.url)
        await route.continue_()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = await browser.new_context(viewport={"width": 375, "height": 800})
        await context.route("**/*", note)
        page = await context.new_page()
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        for file in sorted(html(site)):
            await page.goto(file.as_uri())
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 375, f"{file.name} is {wide} wide"
        await page.goto(f"{(site / 'search.html').as_uri()}?q=webhook")
        await page.wait_for_selector("#search-results li a")
        await browser.close()
    assert len(asked) > len(list(html(site)))
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}
    assert not broken


def links_of(text: str) -> Iterator[str]:
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
    yield from re.findall(r"\]\(([^)\s]+)\)", prose)


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_out_of_the_repository_are_whole(page: Path) -> None:
    """By https, with a host that has a domain; whether it answers cannot be known here."""
    for link in links_of(page.read_text("utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), link
            assert link.isascii(), link


def test_links_of_the_readme_lead_somewhere(site: Path) -> None:
    """What is in the repository beside the site: files, and places in its pages."""
    for name in ("README.md", "CHANGELOG.md"):
        for link in links_of((ROOT / name).read_text("utf-8")):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            there = ROOT / parts.path
            assert there.exists(), f"{name}: {link}"
            if parts.fragment:
                built = site / there.relative_to(DOCS).with_suffix(".html")
                assert parts.fragment in read(built).ids, f"{name}: {link}"


def test_the_build_is_the_one_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"-m sphinx {' '.join(BUILD)} docs site" in makefile
    assert "make docs" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_tests_that_the_invariants_name_are_there() -> None:
    """A promise whose test was renamed is held by nothing."""
    text = (DOCS / "invariants.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/.]+)`", text)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name


def test_sources_are_named_for_the_rules_of_the_upstreams() -> None:
    for name, host in (("github.md", "docs.github.com"), ("ncbi.md", "www.ncbi.nlm.nih.gov")):
        links = list(links_of((DOCS / name).read_text("utf-8")))
        assert any(urlsplit(link).netloc == host for link in links), name
