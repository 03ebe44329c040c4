"""``fetcher download``: the assets of a release, verified, into a folder."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from fetcher.assets import Asset, assets_of
from fetcher.cli.common import Common, say
from fetcher.cli.render import Format, json_text, plain, print_table
from fetcher.cli.settings import told_settings_of
from fetcher.cli.status import ago
from fetcher.cli.transfers import Transfers, make_transfers
from fetcher.clock import SystemClock
from fetcher.config import Settings, parse_duration
from fetcher.documents import Document
from fetcher.download import Existing, Result, ResultKind
from fetcher.errors import FetcherError, NotFound, UpstreamError, UsageError
from fetcher.log import set_up_log
from fetcher.models import TargetState
from fetcher.refresh import Event, Polled
from fetcher.service import Service, open_transport
from fetcher.store import open_store
from fetcher.store.protocol import Query, WriteStore
from fetcher.targets import Target, parse_target

__all__ = ["DownloadOptions", "download"]

_NAMED = 10


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """The options of one call, as typed."""

    target: str
    tag: str | None = None
    globs: Sequence[str] = ()
    folder: Path = Path()
    clobber: bool = False
    skip_existing: bool = False
    force: bool = False
    wait: str = "60s"
    at_once: int = 4
    format: Format = Format.NDJSON

    @property
    def existing(self) -> Existing:
        """What to do where another file has the name."""
        if self.clobber:
            return "replace"
        return "skip" if self.skip_existing else "refuse"


async def download(options: DownloadOptions, common: Common) -> int:
    """Runs the command to its exit code."""
    target = _checked(options)
    settings = told_settings_of(common, files=True)
    wait = parse_duration(options.wait)
    _make_folder(options.folder)
    with make_transfers(quiet=common.quiet) as transfers:
        return await _Download(settings, target, options, common, wait, transfers).run(sys.stdout)


def _checked(options: DownloadOptions) -> Target:
    target = parse_target(options.target)
    if target.upstream != "github":
        raise UsageError(f"{options.target!r} has no assets: only github:OWNER/REPO has")
    if options.clobber and options.skip_existing:
        raise UsageError("--clobber and --skip-existing exclude each other")
    return target


def _make_folder(folder: Path) -> None:
    """Before any request, so that a wrong name costs none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written to")


@dataclass(slots=True)
class _Download:
    """One call under way."""

    settings: Settings
    target: Target
    options: DownloadOptions
    common: Common
    wait: float
    transfers: Transfers
    results: list[Result] = field(default_factory=list)

    async def run(self, out: IO[str]) -> int:
        log = set_up_log(self.common.log_format, self.common.log_level, self.settings.secrets)
        clock = SystemClock()
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                await open_store(self.settings.store.url, clock=clock)
            )
            transport = await stack.enter_async_context(
                open_transport(self.settings, clock, self.transfers.waiting)
            )
            service = Service(self.settings, store, transport, clock, log, patience=self.wait)
            assets: Sequence[Asset] = ()
            try:
                release, told = await self._release(service, store)
                assets = self._wanted(release)
                self.transfers.expect(assets)
                await self._all(service, assets, out)
            except asyncio.CancelledError:
                self.transfers.stop()
                say(f"fetcher: interrupted; {self._so_far(assets)}run it again to go on")
                raise
        self.transfers.stop()
        self._print(out)
        return self._summary(release, told)

    def _so_far(self, assets: Sequence[Asset]) -> str:
        if not assets:
            return "nothing was downloaded yet; "
        complete = sum(each.kind is not ResultKind.FAILED for each in self.results)
        return (
            f"{complete} of {len(assets)} assets are complete in {self.options.folder}, what has "
            "come of the others is kept: "
        )

    # --- which release, which assets ----------------------------------------------------------

    async def _release(self, service: Service, store: WriteStore) -> tuple[Document, str]:
        """The release that is meant, from the store where it knows the repository.

        Otherwise, with --force, and for a tag that the store does not know, GitHub is asked first.
        """
        state = await store.target(self.target.fold)
        asked = False
        if self.options.force or state is None or state.last_success is None:
            state, asked = await self._polled(service, full=self.options.force), True
        found = await self._chosen(store, state)
        if found is None and not asked:
            state, asked = await self._polled(service, full=False), True
            found = await self._chosen(store, state)
        if found is None:
            raise NotFound(await self._nothing(store, state))
        if asked or state.last_success is None:
            return found, ""
        age = ago((await store.now() - state.last_success).total_seconds())
        return found, f" (as GitHub said {age}; --force asks again)"

    async def _polled(self, service: Service, *, full: bool) -> TargetState:
        """Polls the repository as `fetch` does."""
        ended: list[Polled] = []

        async def on_event(event: Event) -> None:
            if isinstance(event, Polled):
                ended.append(event)

        busy = await service.poll(
            [self.target],
            on_event,
            full=full,
            wait=self.wait,
            on_wait=self.transfers.account_taken,
        )
        for error in busy.values():
            raise error
        state = ended[0].state
        if state.outcome is None or not state.outcome.good:
            why = state.failure.message if state.failure is not None else "the poll failed"
            raise UpstreamError(f"{self.options.target}: {state.outcome}: {why}")
        return state

    async def _chosen(self, store: WriteStore, state: TargetState) -> Document | None:
        id_, tag = state.facts.get("repository_id"), self.options.tag
        if id_ is None:
            return None
        if tag is None:
            latest = state.facts.get("latest")
            found = await store.record("release", f"github:{id_}:{latest}")
            return found if found is not None and found["withdrawn_at"] is None else None
        query = Query("release", where={"repository_id": id_, "tag": tag}, withdrawn=False)
        async with aclosing(store.records(query)) as documents:
            releases = [each async for each in documents]
        # Several drafts may have the tag of a release, too.
        return min(releases, key=lambda each: each["draft"], default=None)

    async def _nothing(self, store: WriteStore, state: TargetState) -> str:
        query = Query("release", target=state.key, withdrawn=False, newest_first=True, limit=_NAMED)
        async with aclosing(store.records(query, whole=False)) as documents:
            tags = [plain(each["tag"]) async for each in documents]
        if not tags:
            return f"{state.key} has no release"
        what = f"no release {self.options.tag!r}" if self.options.tag else "no latest release"
        return f"{state.key} has {what}; --tag names one, the newest are {', '.join(tags)}"

    def _wanted(self, release: Document) -> tuple[Asset, ...]:
        assets = assets_of(release)
        globs = self.options.globs
        wanted = tuple(
            each
            for each in assets
            if not globs or any(fnmatchcase(each.name, glob) for glob in globs)
        )
        if not wanted:
            where = f"{release['tag']} of {release['repository']}"
            if not assets:
                raise NotFound(f"{where} has no assets")
            names = ", ".join(plain(each.name) for each in assets[:_NAMED])
            more = f" and {len(assets) - _NAMED} more" if len(assets) > _NAMED else ""
            raise NotFound(f"no asset of {where} matches {' '.join(globs)}; it has {names}{more}")
        return wanted

    # --- the downloads, and what is said of them ----------------------------------------------

    async def _all(self, service: Service, assets: Sequence[Asset], out: IO[str]) -> None:
        downloader = service.downloader(
            self.target, at_once=self.options.at_once, on_wait=self.transfers.account_taken
        )
        results = downloader.download(
            assets,
            self.options.folder,
            existing=self.options.existing,
            on_progress=self.transfers.came,
        )
        async with aclosing(results):
            async for result in results:
                self.results.append(result)
                self.transfers.ended(result.asset)
                if self.options.format is Format.NDJSON:
                    out.write(json_text(_document(result)) + "\n")
                    out.flush()

    def _print(self, out: IO[str]) -> None:
        results = sorted(self.results, key=lambda each: each.asset.name)
        if self.options.format is Format.JSON:
            out.write(f'{{"items": {json_text([_document(each) for each in results])}}}\n')
        elif self.options.format is Format.TABLE:
            rows = [
                (each.asset.name, str(each.kind), f"{each.asset.size:,}", str(each.path or "-"))
                for each in results
            ]
            print_table(("NAME", "OUTCOME", "LENGTH", "PATH"), rows, out)
        out.flush()

    def _summary(self, release: Document, told: str) -> int:
        """Failures are named always, the rest unless it shall be quiet."""
        bad = [each for each in self.results if each.kind is ResultKind.FAILED]
        for each in bad:
            say(f"fetcher: {plain(each.asset.name)}: {_sentence(each.error)}")
        if not self.common.quiet:
            counts = [
                f"{sum(each.kind is kind for each in self.results)} {kind}"
                for kind in ResultKind
                if any(each.kind is kind for each in self.results)
            ]
            tag = plain(release["tag"])
            where = f"in {self.options.folder}"
            say(f"{release['repository']} {tag}{told}: {', '.join(counts)}; {where}")
        return 1 if bad else 0


def _sentence(error: FetcherError | None) -> str:
    return plain(str(error))


def _document(result: Result) -> dict[str, Any]:
    asset = result.asset
    return {
        "kind": "download",
        "repository": asset.repository,
        "tag": asset.tag,
        "name": asset.name,
        "outcome": str(result.kind),
        "path": str(result.path) if result.path is not None else None,
        "size": asset.size,
        "digest": f"sha256:{result.sha256}" if result.sha256 is not None else None,
        "expected_digest": asset.digest,
        "resumed_from": result.resumed_from,
        "error": str(result.error) if result.error is not None else None,
    }
