"""Assets to disk, over loopback: what is in place is what GitHub tells of, or nothing is."""

import asyncio
import os
import random
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fetcher.assets import Asset, assets_of
from fetcher.demo import Fault, GithubUser, Logged
from fetcher.download import Result, ResultKind
from fetcher.errors import (
    FetcherError,
    FileTrouble,
    Malformed,
    Mismatch,
    NotFound,
    RateLimited,
    Unauthorized,
    Unreachable,
)
from fetcher.leases import AccountBusy
from fetcher.parts import Part
from fetcher.policy.budget import Budget, Ticket
from fetcher.service import Service, open_transport
from fetcher.targets import parse_target
from tests.world import SILENT, World, open_world

REPO = "acme/tool"
KEY = f"github:{REPO}"
BYTES = random.Random(7).randbytes(3_000_000)
# Requests to the host that has the bytes, as faults know them.
OBJECTS = "^GET /objects/"


def instead(body: bytes, *, times: int | None, status: int = 200, **headers: str) -> Fault:
    """Other bytes than those that are asked for, as a file."""
    kind = {"Content-Type": "application/octet-stream", **headers}
    return Fault(OBJECTS, "status", times, status=status, body=body, headers=kind)


def cut(after: int, *, times: int | None = 1) -> Fault:
    """The connection breaks when so many bytes of the answer have been sent."""
    return Fault(OBJECTS, "truncate", times, after=after)


def refused(*, times: int | None = None, status: int = 503) -> Fault:
    return Fault(OBJECTS, "status", times, status=status)


class Downloads:
    """A repository with a release, and a folder."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.faults = world.upstream.faults
        self.folder = folder
        self.github = world.upstream.github
        self.progress: list[tuple[str, int]] = []
        self.release = self.github.add_release(
            (self.github.add_repository(REPO)).full_name, "v1", published_at="2026-01-01T00:00:00Z"
        )

    def objects(self) -> list[Logged]:
        """What the host that has the bytes was asked for."""
        return self.world.upstream.requests("github", "/objects/")

    def add(self, name: str = "tool.bin", content: bytes = BYTES, **more: Any) -> None:
        self.github.add_asset(REPO, "v1", {"name": name, "content": content, **more})

    async def assets(self) -> tuple[Asset, ...]:
        """As the store has them after a poll."""
        await self.world.poll(KEY, full=True)
        (release,) = await self.world.records(KEY)
        return assets_of(release)

    async def get(
        self,
        *,
        assets: tuple[Asset, ...] | None = None,
        on_progress: Callable[[Asset, int], None] | None = None,
        wait: float = 60.0,
        at_once: int = 4,
        **more: Any,
    ) -> dict[str, Result]:
        """One run, as of one command."""
        wanted = assets if assets is not None else await self.assets()
        world, settings = self.world, self.world.settings

        def note(asset: Asset, size: int) -> None:
            self.progress.append((asset.name, size))

        async with open_transport(settings, world.clock, uniform=lambda low, high: high) as way:
            service = Service(settings, world.store, way, world.clock, SILENT, patience=wait)
            downloader = service.downloader(parse_target(KEY), at_once=at_once)
            results = downloader.download(
                wanted, self.folder, on_progress=on_progress or note, **more
            )
            async with aclosing(results):
                return {each.asset.name: each async for each in results}

    async def one(self, **more: Any) -> Result:
        (result,) = (await self.get(**more)).values()
        return result

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def read(self, name: str = "tool.bin") -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
async def downloads(tmp_path: Path) -> AsyncIterator[Downloads]:
    folder = tmp_path / "to"
    folder.mkdir()
    async with open_world(tmp_path) as world:
        yield Downloads(world, folder)


def error_of(result: Result, kind: type[FetcherError]) -> str:
    assert result.kind is ResultKind.FAILED
    assert isinstance(result.error, kind), repr(result.error)
    return str(result.error)


async def test_an_asset_comes_verified_and_leaves_nothing_else(downloads: Downloads) -> None:
    """Its bytes, its digest, the usual mode, and progress to the end."""
    downloads.add()
    downloads.add("empty", b"")
    results = await downloads.get()
    assert {each.kind for each in results.values()} == {ResultKind.DOWNLOADED}
    assert downloads.read() == BYTES
    assert downloads.names() == ["empty", "tool.bin"]
    result = results["tool.bin"]
    assert (result.sha256, result.resumed_from) == (result.asset.sha256, 0)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((downloads.folder / "tool.bin").stat().st_mode) == 0o666 & ~umask
    sizes = [size for name, size in downloads.progress if name == "tool.bin"]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(BYTES)


async def test_the_token_goes_to_the_api_alone(downloads: Downloads) -> None:
    """The host of the bytes would refuse it."""
    downloads.github.tokens = {"t1": GithubUser("one")}
    downloads.world.overrides["github.token"] = "t1"
    downloads.add()
    assert (await downloads.one()).kind is ResultKind.DOWNLOADED
    (asked,) = downloads.world.upstream.requests("github", "releases/assets")
    assert asked.headers["Authorization"] == "Bearer t1"
    assert asked.headers["Accept"] == "application/octet-stream"
    assert ["Authorization" in each.headers for each in downloads.objects()] == [False]


async def test_a_break_is_continued_where_it_was(downloads: Downloads) -> None:
    """With Range and If-Range, again and again as long as it comes further."""
    downloads.add()
    downloads.faults.append(cut(300_000, times=8))
    result = await downloads.one()
    assert (result.kind, downloads.read()) == (ResultKind.DOWNLOADED, BYTES)
    log = downloads.objects()
    assert not {"Range", "If-Range"} & log[0].headers.keys()
    assert len(log) == 9
    assert [each.status for each in log] == [200] + [206] * 8
    starts = [int(each.headers["Range"].removeprefix("bytes=")[:-1]) for each in log[1:]]
    assert starts == sorted(starts)
    assert starts[0] > 0
    assert all(each.headers["If-Range"] for each in log[1:])


async def test_no_progress_ends_and_the_next_run_goes_on(downloads: Downloads) -> None:
    """So many tries as the settings say; what came is kept."""
    downloads.add()
    downloads.faults += cut(1_500_000), cut(4_000, times=None)
    told = error_of(await downloads.one(), Unreachable)
    assert "kept" in told
    assert len(downloads.objects()) == 5
    assert downloads.names() == ["tool.bin.part", "tool.bin.part.json"]
    downloads.faults.clear()
    downloads.world.upstream.log.clear()
    # What lay in aiohttp's buffer at the break is lost; what was taken from it is not.
    kept = (downloads.folder / "tool.bin.part").stat().st_size
    result = await downloads.one()
    assert result.resumed_from == kept > 100_000
    assert downloads.read() == BYTES
    (asked,) = downloads.objects()
    assert asked.headers["Range"] == f"bytes={result.resumed_from}-"
    assert downloads.names() == ["tool.bin"]


async def test_a_whole_part_needs_no_request(downloads: Downloads) -> None:
    """Killed just before the move into place."""
    downloads.add()
    (asset,) = await downloads.assets()
    part = Part.open(downloads.folder, asset.name, asset.version)
    part.append(BYTES)
    part.close()
    assert (await downloads.one(assets=(asset,))).resumed_from == len(BYTES)
    assert downloads.read() == BYTES
    assert downloads.objects() == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BYTES[::-1], "sha256:"),
        (BYTES[:-10], f"{len(BYTES):,} bytes"),
        (BYTES + b"x" * 10, f"{len(BYTES):,} bytes"),
    ],
    ids=["wrong", "short", "long"],
)
async def test_what_is_not_the_asset_is_asked_for_once_more(
    downloads: Downloads, body: bytes, expected: str
) -> None:
    """Then the error says what was expected and what came, and nothing is left."""
    downloads.add()
    downloads.faults.append(instead(body, times=1))
    assert (await downloads.one()).kind is ResultKind.DOWNLOADED
    assert (downloads.read(), len(downloads.objects())) == (BYTES, 2)
    (downloads.folder / "tool.bin").unlink()
    downloads.world.upstream.log.clear()
    downloads.faults.append(instead(body, times=None))
    result = await downloads.one()
    told = error_of(result, Mismatch)
    assert isinstance(result.error, Mismatch)
    assert expected in result.error.expected
    assert result.error.expected in told
    assert result.error.came in told
    assert (downloads.names(), len(downloads.objects())) == ([], 2)


async def test_a_spoilt_part_is_not_built_upon(downloads: Downloads) -> None:
    """Bytes that changed on disk between two runs: the whole is fetched anew."""
    downloads.add()
    (asset,) = await downloads.assets()
    downloads.faults += cut(1_200_000), refused()
    error_of(await downloads.one(assets=(asset,)), Unreachable)
    with (downloads.folder / "tool.bin.part").open("r+b") as file:
        file.write(b"spoilt")
    downloads.faults.clear()
    result = await downloads.one(assets=(asset,))
    assert (result.kind, result.resumed_from) == (ResultKind.DOWNLOADED, 0)
    assert downloads.read() == BYTES


async def test_a_web_page_is_no_asset(downloads: Downloads) -> None:
    """Though it comes with status 200; one that is meant to be a page is taken."""
    downloads.add()
    downloads.add("manual.html", b"<!doctype html><p>Hello", content_type="text/html")
    downloads.faults.append(Fault(f"{OBJECTS}.*tool", "garbage", times=None))
    results = await downloads.get()
    assert "web page" in error_of(results["tool.bin"], Malformed)
    assert results["manual.html"].kind is ResultKind.DOWNLOADED
    assert downloads.names() == ["manual.html"]
    downloads.faults[:] = [Fault(f"{OBJECTS}.*tool", "garbage")]
    assert (await downloads.get())["tool.bin"].kind is ResultKind.DOWNLOADED


HOSTILE = [
    "../up",
    "a/b",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".bashrc",
    "end.",
    " x",
    "a\\b",
    "a\nb",
    "a\x1b[31m",
    "a\u202eb",
    "\ud800",
    "a\0b",
    "c:x",
    "NUL",
    "com1.txt",
    "x" * 250,
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_hostile_names_are_refused(downloads: Downloads, name: str) -> None:
    """Nothing is written, in the folder or outside it, and nothing asked for."""
    downloads.add()
    (asset,) = await downloads.assets()
    downloads.world.upstream.log.clear()
    around = sorted(downloads.folder.parent.iterdir())
    told = error_of(await downloads.one(assets=(replace(asset, name=name),)), FileTrouble)
    assert told.isprintable()
    assert downloads.names() == []
    assert sorted(downloads.folder.parent.iterdir()) == around
    assert downloads.world.upstream.log == []


async def test_two_assets_do_not_share_a_file(downloads: Downloads) -> None:
    """One may be called like the other's part."""
    downloads.add("a", b"first")
    downloads.add("a.part", b"second")
    results = await downloads.get()
    assert sorted(str(each.kind) for each in results.values()) == ["downloaded", "failed"]
    assert downloads.read("a") == b"first"


async def test_what_is_there_is_left_alone(downloads: Downloads) -> None:
    """Unless it is to be replaced; what is right already is neither fetched nor a failure."""
    downloads.add()
    file = downloads.folder / "tool.bin"
    file.write_bytes(b"mine")
    told = error_of(await downloads.one(), FileTrouble)
    assert "--clobber" in told
    assert (await downloads.one(existing="skip")).kind is ResultKind.SKIPPED
    assert file.read_bytes() == b"mine"
    assert downloads.objects() == []
    assert (await downloads.one(existing="replace")).kind is ResultKind.DOWNLOADED
    assert file.read_bytes() == BYTES
    downloads.world.upstream.log.clear()
    for existing in ("refuse", "replace"):
        assert (await downloads.one(existing=existing)).kind is ResultKind.PRESENT
    assert downloads.objects() == []
    assert downloads.names() == ["tool.bin"]


async def test_a_link_is_replaced_and_not_followed(downloads: Downloads) -> None:
    """What it leads to stays as it is; a folder is in the way."""
    downloads.add()
    outside = downloads.folder.parent / "outside"
    outside.write_bytes(b"mine")
    (downloads.folder / "tool.bin").symlink_to(outside)
    error_of(await downloads.one(), FileTrouble)
    assert (await downloads.one(existing="replace")).kind is ResultKind.DOWNLOADED
    assert (outside.read_bytes(), downloads.read()) == (b"mine", BYTES)
    (downloads.folder / "tool.bin").unlink()
    (downloads.folder / "tool.bin").mkdir()
    assert "folder" in error_of(await downloads.one(existing="replace"), FileTrouble)
    (downloads.folder / "tool.bin").rmdir()
    for name in ("tool.bin.part", "tool.bin.part.json"):
        (downloads.folder / name).symlink_to(outside)
        error_of(await downloads.one(), FileTrouble)
        (downloads.folder / name).unlink()
    assert outside.read_bytes() == b"mine"


async def test_somebody_elses_part_is_in_the_way(downloads: Downloads) -> None:
    """A file, a pipe, a note that is none; they are named and stay as they are."""
    downloads.add()
    (asset,) = await downloads.assets()
    path = downloads.folder / "tool.bin.part"
    for make, clean in (
        (lambda: path.write_bytes(b"mine"), path.unlink),
        (lambda: os.mkfifo(path), path.unlink),
        (path.mkdir, path.rmdir),
    ):
        make()
        assert str(path) in error_of(await downloads.one(assets=(asset,)), FileTrouble)
        assert path.exists()
        clean()
    note = downloads.folder / "tool.bin.part.json"
    for text in ("not json", "[]", '{"mine": 1}'):
        note.write_text(text)
        error_of(await downloads.one(assets=(asset,)), FileTrouble)
        assert note.read_text() == text
        assert downloads.names() == [note.name]
    note.write_text("")
    assert (await downloads.one(assets=(asset,))).kind is ResultKind.DOWNLOADED


async def test_two_processes_do_not_write_one_part(downloads: Downloads) -> None:
    """The second is told; the first goes on."""
    downloads.add()
    (asset,) = await downloads.assets()
    part = Part.open(downloads.folder, asset.name, asset.version)
    part.append(BYTES[:10])
    assert "another process" in error_of(await downloads.one(assets=(asset,)), FileTrouble)
    part.close()
    assert (await downloads.one(assets=(asset,))).resumed_from == 10


async def test_a_crash_behind_the_move_is_cleaned_up(downloads: Downloads) -> None:
    """Two names of one file: neither is ever emptied."""
    downloads.add()
    (asset,) = await downloads.assets()
    part = Part.open(downloads.folder, asset.name, asset.version)
    part.append(BYTES)
    os.link(part.path, part.final)
    part.close()
    assert (await downloads.one(assets=(asset,))).kind is ResultKind.PRESENT
    assert downloads.names() == ["tool.bin"]
    other = replace(asset, id=1)
    part = Part.open(downloads.folder, asset.name, asset.version)
    part.append(b"old")
    part.close()
    os.unlink(part.final)
    os.link(part.path, part.final)
    part = Part.open(downloads.folder, other.name, other.version)
    assert (part.size, downloads.read()) == (0, b"old")
    part.close()


async def test_several_at_once_and_no_more(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many side by side, within the account's share of the limit."""
    sent: list[float] = []
    charge = Budget.charge

    def note(budget: Budget, now: float, cost: int = 1) -> Ticket:
        sent.append(now)
        return charge(budget, now, cost)

    for number in range(12):
        downloads.add(f"f{number}", BYTES[: 70_000 + number])
    assets = await downloads.assets()
    downloads.faults.append(Fault(OBJECTS, "hang", times=None, after=1))
    running = asyncio.create_task(downloads.get(assets=assets, at_once=3))
    async with asyncio.timeout(20):
        while len(downloads.objects()) < 3:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(downloads.objects()) == 3, "none of them has ended"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    downloads.faults.clear()
    monkeypatch.setattr(Budget, "charge", note)
    results = await downloads.get(assets=assets, at_once=3)
    assert {each.kind for each in results.values()} == {ResultKind.DOWNLOADED}
    # By when they were sent: on this clock a request may arrive long after.
    assert len(sent) == 12
    assert all(later - sooner > 0.999 for sooner, later in zip(sent, sent[2:], strict=False))
    assert downloads.github.violations == []


async def test_cancelled_it_keeps_what_came(downloads: Downloads) -> None:
    """At any moment; the next run goes on from there."""
    downloads.add()
    (asset,) = await downloads.assets()
    downloads.faults.append(Fault(OBJECTS, "hang", after=700_000))
    far = asyncio.Event()

    def note(asset: Asset, size: int) -> None:
        if size >= 600_000:
            far.set()

    running = asyncio.create_task(downloads.get(assets=(asset,), on_progress=note))
    await far.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert downloads.names() == ["tool.bin.part", "tool.bin.part.json"]
    result = await downloads.one(assets=(asset,))
    assert (result.kind, result.resumed_from >= 600_000) == (ResultKind.DOWNLOADED, True)
    assert downloads.read() == BYTES


async def test_a_part_of_a_replaced_asset_is_not_continued(downloads: Downloads) -> None:
    """Same name and size, another version: from the beginning."""
    downloads.add()
    downloads.faults += cut(1_500_000), refused()
    error_of(await downloads.one(), Unreachable)
    assert (downloads.folder / "tool.bin.part").stat().st_size > 100_000
    downloads.faults.clear()
    downloads.world.upstream.log.clear()
    new = BYTES[::-1]
    downloads.github.replace_asset(REPO, "v1", "tool.bin", new)
    assert (await downloads.one()).resumed_from == 0
    assert downloads.read() == new
    assert ["Range" in each.headers for each in downloads.objects()] == [False]


@pytest.mark.parametrize("told", [True, False], ids=["digest", "no digest"])
async def test_other_bytes_behind_the_same_asset_are_not_mixed_in(
    downloads: Downloads, told: bool
) -> None:
    """The ETag changed between two runs, and the record did not: If-Range gives the whole."""
    downloads.add()
    (asset,) = await downloads.assets()
    if not told:
        asset = replace(asset, digest=None)
    downloads.faults += cut(1_500_000), refused()
    error_of(await downloads.one(assets=(asset,)), Unreachable)
    downloads.faults.clear()
    new = BYTES[::-1]
    downloads.release.assets[0].content = new
    result = await downloads.one(assets=(asset,))
    if told:
        error_of(result, Mismatch)
        assert downloads.names() == []
    else:
        assert (result.resumed_from, downloads.read()) == (0, new)


SPAN = {"Content-Range": f"bytes 0-{len(BYTES) - 1}/{len(BYTES)}"}


@pytest.mark.parametrize(
    "fault",
    [
        lambda: instead(BYTES, times=None),
        lambda: instead(BYTES, times=1, status=206, **SPAN),
        lambda: refused(times=1, status=416),
    ],
    ids=["ignored", "another", "refused"],
)
async def test_a_server_that_does_not_continue_is_asked_for_all(
    downloads: Downloads, fault: Callable[[], Fault]
) -> None:
    """It ignores Range, answers another one, or refuses it."""
    downloads.add()
    downloads.faults += cut(1_500_000), fault()
    result = await downloads.one()
    assert (result.kind, result.resumed_from) == (ResultKind.DOWNLOADED, 0)
    assert downloads.read() == BYTES


async def test_a_server_that_never_continues_does_not_go_on_forever(downloads: Downloads) -> None:
    """Every try brings as much, and none more than the first."""
    downloads.add()
    (asset,) = await downloads.assets()
    another = instead(BYTES, times=1, status=206, **SPAN)
    downloads.faults += cut(200_000), another, cut(200_000, times=None)
    error_of(await downloads.one(assets=(asset,)), Unreachable)
    assert len(downloads.objects()) < 20


async def test_an_address_that_has_run_out_is_asked_for_again(downloads: Downloads) -> None:
    """A refusal of the other host is not the account's, whose credentials it never saw."""
    downloads.github.tokens = {"t1": GithubUser("one")}
    downloads.world.overrides["github.token"] = "t1"
    downloads.add()
    downloads.faults.append(refused(times=2, status=403))
    assert (await downloads.one()).kind is ResultKind.DOWNLOADED
    assert len(downloads.world.upstream.requests("github", "releases/assets")) == 3


async def test_a_public_asset_does_not_wait_for_a_limit(downloads: Downloads) -> None:
    """Its public address costs nothing of it, and sees no token; a private one has to wait."""
    github, world = downloads.github, downloads.world
    github.web_url = world.urls.web
    github.tokens = {"t1": GithubUser("one", pull={REPO})}
    world.overrides["github.token"] = "t1"
    downloads.add()
    public = await downloads.assets()
    github.repository(REPO).private = True
    private = await downloads.assets()
    assert private[0].public_url is None
    github.exhaust("one", 1800)
    error_of(await downloads.one(assets=private, wait=5), RateLimited)
    github.repository(REPO).private = False
    assert (await downloads.one(assets=public, wait=5)).kind is ResultKind.DOWNLOADED
    assert downloads.read() == BYTES
    (asked,) = world.upstream.requests("github", "releases/download") or world.upstream.log[-1:]
    assert "Authorization" not in asked.headers
    assert len(github.violations) <= 1


async def test_an_address_of_another_site_is_not_asked(downloads: Downloads) -> None:
    """A record may say anything."""
    downloads.add()
    (asset,) = await downloads.assets()
    downloads.github.exhaust(downloads.world.upstream.log[0].account, 1800)
    for url in ("http://169.254.169.254/x", "file:///etc/passwd", "http://[", ""):
        wanted = (replace(asset, public_url=url),)
        error_of(await downloads.one(assets=wanted, wait=5), RateLimited)


@asynccontextmanager
async def held(world: World, account: str) -> AsyncIterator[None]:
    lease = await world.store.acquire(account, "somebody", 600.0)
    assert lease is not None
    yield
    await world.store.release(lease, {})


async def test_downloads_go_on_beside_a_daemon(downloads: Downloads) -> None:
    """Who polls the account holds its lease for months; downloads have one of their own."""
    downloads.add()
    assets = await downloads.assets()
    async with held(downloads.world, "github:anonymous"):
        assert (await downloads.one(assets=assets, wait=1)).kind is ResultKind.DOWNLOADED
    (downloads.folder / "tool.bin").unlink()
    async with held(downloads.world, "downloads:github:anonymous"):
        error_of(await downloads.one(assets=assets, wait=1), AccountBusy)
        assert len(downloads.objects()) == 1


async def test_what_the_pollers_limit_says_holds_for_downloads(downloads: Downloads) -> None:
    """A silence that GitHub asked of the account is one for all of it."""
    downloads.add()
    assets = await downloads.assets()
    lease = await downloads.world.store.acquire("github:anonymous", "daemon", 600.0)
    assert lease is not None
    parked = {"parked_until": downloads.world.clock.time() + 500}
    await downloads.world.store.renew(lease, 600.0, parked)
    downloads.world.upstream.log.clear()
    error_of(await downloads.one(assets=assets, wait=5), RateLimited)
    assert downloads.world.upstream.log == []


async def test_bad_credentials_are_not_repeated(downloads: Downloads) -> None:
    """Each further request would bring a ban nearer."""
    for number in range(10):
        downloads.add(f"f{number}", b"x")
    assets = await downloads.assets()
    downloads.world.upstream.log.clear()
    downloads.world.overrides["github.token"] = "wrong"
    results = await downloads.get(assets=assets, at_once=1)
    for each in results.values():
        error_of(each, Unauthorized)
    assert len(downloads.world.upstream.log) == 1


async def test_records_without_ids_cost_one_question(downloads: Downloads) -> None:
    """As got by a way that tells none."""
    for number in range(4):
        downloads.add(f"f{number}", b"x" * number)
    assets = tuple(replace(each, id=None) for each in await downloads.assets())
    downloads.world.upstream.log.clear()
    results = await downloads.get(assets=assets)
    assert {each.kind for each in results.values()} == {ResultKind.DOWNLOADED}
    listings = [each for each in downloads.world.upstream.log if each.path.endswith("/assets")]
    assert len(listings) == 1


async def test_an_asset_that_is_gone_says_so(downloads: Downloads) -> None:
    """Deleted or replaced since the poll, or not yet whole."""
    downloads.add()
    downloads.add("open", b"x")
    first, second = await downloads.assets()
    assets = (replace(first, state="open"), replace(second, id=1))
    results = await downloads.get(assets=assets)
    assert "uploaded" in error_of(results["open"], NotFound)
    assert "--force" in error_of(results["tool.bin"], NotFound)


async def test_a_full_disk_is_a_sentence(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the one that did not fit."""
    downloads.add("large")
    downloads.add("small", b"x")
    real = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if offset + len(data) > 100_000:
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr("fetcher.parts.os.pwrite", full)
    results = await downloads.get()
    assert "No space left" in error_of(results["large"], FileTrouble)
    assert results["small"].kind is ResultKind.DOWNLOADED
