"""Release assets to disk: streamed, continued after a break, verified, and only then in place.

The way to the bytes is asked for at GitHub's API, through its account's gate and with its token;
the bytes come from another host, which sees no token.
https://docs.github.com/en/rest/releases/assets#get-a-release-asset
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from fetcher.assets import Asset, begins, continues, gone, judge_asset, mismatch
from fetcher.errors import (
    FetcherError,
    FileTrouble,
    Malformed,
    Mismatch,
    NotFound,
    RateLimited,
    StoreError,
    Unauthorized,
    Unreachable,
    UpstreamError,
)
from fetcher.fan import fan_out
from fetcher.gate import Gate
from fetcher.leases import AccountBusy
from fetcher.models import Clock
from fetcher.parts import Part, digest_of, paths_of, safe_name, tidy
from fetcher.policy.budget import Budget
from fetcher.policy.retry import Uniform, backoff
from fetcher.shield import Shield
from fetcher.transport import Request, Stream, Transport

__all__ = [
    "AssetSource",
    "Downloader",
    "Existing",
    "Result",
    "ResultKind",
]

T = TypeVar("T")

Existing: TypeAlias = Literal["refuse", "skip", "replace"]
"""What to do where another file has the name."""

# Bytes of one asset that wait in memory to be written.
_BUFFER: Final = 1 << 20
# A try that brought less than this further counts as one that brought nothing.
_PROGRESS: Final = 1 << 16


class ResultKind(StrEnum):
    """How the download of one asset ended; all but the last are good."""

    DOWNLOADED = "downloaded"
    PRESENT = "present"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one asset; `sha256` is of the bytes on disk, `resumed_from` a byte offset."""

    asset: Asset
    kind: ResultKind
    path: Path | None = None
    sha256: str | None = None
    resumed_from: int = 0
    error: FetcherError | None = None


class AssetSource(Protocol):
    """Who knows how an account asks for assets."""

    @property
    def api_url(self) -> str:
        """Where the API is."""
        ...

    async def asset_request(self, repository: str, asset_id: int) -> Request:
        """Asks for the bytes of an asset, or for the way to them; raises `UpstreamError`."""
        ...

    async def asset_ids(self, repository: str, release_id: int) -> Mapping[str, int]:
        """The ids of a release's assets by name; raises `UpstreamError`."""
        ...


class _StartOver(Exception):
    """The server does not continue what we have."""


class _Broken(Exception):
    """The answer broke off in the middle."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class _Job:
    """One asset under way; `furthest` is the most that any try brought."""

    asset: Asset
    part: Part
    ranges: bool = True
    furthest: int = 0
    resumed_from: int = 0


class Downloader:
    """Downloads assets of one account, `at_once` side by side.

    `seat` is held while the API is asked: the right to send on the account, which may raise
    `AccountBusy`. `patience` is how long (seconds) one request may wait for a limit, `attempts`
    how often in a row a download may break off without having come further.
    """

    def __init__(
        self,
        transport: Transport,
        source: AssetSource,
        seat: Callable[[], AbstractAsyncContextManager[object]],
        clock: Clock,
        shield: Shield,
        uniform: Uniform,
        *,
        patience: float,
        attempts: int = 5,
        at_once: int = 4,
    ) -> None:
        self._transport = transport
        self._source = source
        self._seat = seat
        self._clock = clock
        self._shield = shield
        self._uniform = uniform
        self._patience = patience
        self._attempts = attempts
        self._at_once = at_once
        # Public addresses are of no account; this only keeps us from being rude.
        self._public = Gate("public downloads", Budget(10, 1.0), clock, in_flight=at_once)
        self._ids: dict[tuple[str, int], asyncio.Task[Mapping[str, int]]] = {}
        self._refused: Unauthorized | None = None

    async def download(
        self,
        assets: Sequence[Asset],
        folder: Path,
        *,
        existing: Existing = "refuse",
        on_progress: Callable[[Asset, int], None] = lambda asset, size: None,
    ) -> AsyncGenerator[Result, None]:
        """Yields a result for each asset as it ends; close the generator (`aclosing`).

        What is left under way keeps its parts, and the next call goes on from them. A file that
        is there already and has the right digest is left alone, whatever `existing` says.
        `on_progress` is told how many bytes of an asset there are. Raises `StoreError` only.
        """
        taken: set[str] = set()

        async def work(asset: Asset) -> AsyncGenerator[Result, None]:
            try:
                mine = {_fold(path) for path in paths_of(folder, safe_name(asset.name))}
                if mine & taken:
                    text = f"{asset.name} would take the place of another file of this download"
                    raise FileTrouble(text)
                taken.update(mine)
                yield await self._one(asset, folder, existing, on_progress)
            except StoreError:
                raise
            except FetcherError as error:
                yield Result(asset, ResultKind.FAILED, error=error)
            except OSError as error:
                text = f"{asset.name} cannot be written: {error.strerror or error}"
                yield Result(asset, ResultKind.FAILED, error=FileTrouble(text))

        try:
            async with aclosing(fan_out(assets, work, workers=self._at_once)) as results:
                async for result in results:
                    yield result
        finally:
            for task in self._ids.values():
                task.cancel()
            await asyncio.gather(*self._ids.values(), return_exceptions=True)

    async def _one(
        self,
        asset: Asset,
        folder: Path,
        existing: Existing,
        on_progress: Callable[[Asset, int], None],
    ) -> Result:
        final, _, _ = paths_of(folder, asset.name)
        if await self._thread(lambda: os.path.lexists(final)):
            if existing == "skip":
                return Result(asset, ResultKind.SKIPPED, final)
            found = await self._thread(lambda: digest_of(final))
            if found is not None and found == (asset.size, asset.sha256):
                await self._thread(lambda: tidy(folder, asset.name))
                on_progress(asset, asset.size)
                return Result(asset, ResultKind.PRESENT, final, found[1])
            if existing == "refuse" or final.is_dir():
                raise FileTrouble(_in_the_way(final, asset))
        if asset.state not in (None, "uploaded"):
            raise NotFound(f"{asset.name} is still being uploaded to GitHub")
        part = await self._opened(folder, asset)
        try:
            on_progress(asset, part.size)
            job = _Job(asset, part, resumed_from=part.size)
            await self._fill(job, on_progress)
            await self._thread(lambda: part.place(replace=existing == "replace"))
            return Result(
                asset, ResultKind.DOWNLOADED, final, part.sha256, resumed_from=job.resumed_from
            )
        finally:
            await self._thread(part.close)

    async def _opened(self, folder: Path, asset: Asset) -> Part:
        """Cancelled meanwhile, it leaves nothing open."""
        opened: list[Part] = []
        try:
            await self._thread(
                lambda: opened.append(Part.open(folder, asset.name, asset.version)),
            )
        except asyncio.CancelledError:
            for part in opened:
                part.close()
            raise
        return opened[0]

    async def _fill(self, job: _Job, on_progress: Callable[[Asset, int], None]) -> None:
        """Brings the part to what GitHub says it is; raises what stands in the way."""
        failures = 0
        wrong: Mismatch | None = None
        job.furthest = job.part.size
        while True:
            try:
                if job.part.size < job.asset.size:
                    await self._some(job, on_progress)
                _verify(job)
            except Mismatch as error:
                # What is wrong is nothing to go on from: once more from the start, then never.
                if wrong is not None:
                    await self._thread(job.part.discard)
                    raise
                wrong = error
                await self._again(job, on_progress)
                job.furthest = 0
            except _StartOver:
                job.ranges = False
                await self._again(job, on_progress)
            except _Broken as broken:
                further = job.part.size - job.furthest
                job.furthest = max(job.furthest, job.part.size)
                failures = 1 if further >= _PROGRESS else failures + 1
                pause = backoff(failures, self._uniform)
                if failures >= self._attempts or pause > self._patience:
                    text = f"{broken}; {job.part.size:,} bytes are kept for the next run"
                    raise Unreachable(text, broken.error.evidence) from broken.error
                await self._clock.sleep(pause)
            else:
                return

    async def _again(self, job: _Job, on_progress: Callable[[Asset, int], None]) -> None:
        await self._thread(job.part.restart)
        job.resumed_from = 0
        on_progress(job.asset, 0)

    async def _some(self, job: _Job, on_progress: Callable[[Asset, int], None]) -> None:
        """One answer, as far as it comes."""
        asset, part = job.asset, job.part
        if part.size and not (job.ranges and (part.etag or asset.sha256)):
            # Nothing would tell whether the rest belongs to what we have.
            await self._again(job, on_progress)
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.etag:
                headers["If-Range"] = part.etag
        async with AsyncExitStack() as stack:
            stream = await self._ask(stack, asset, headers)
            if part.size and stream.status == 200:
                # Another version, or a server that knows no ranges.
                await self._again(job, on_progress)
            if not part.size:
                etag = begins(asset, stream.status, stream.headers)
                await self._thread(lambda: part.restart(etag))
            elif not continues(asset, part.size, part.etag, stream.status, stream.headers):
                raise _StartOver
            await self._take(job, stream, on_progress)

    async def _take(
        self, job: _Job, stream: Stream, on_progress: Callable[[Asset, int], None]
    ) -> None:
        """Writes what comes; what came before a break or a cancellation is written, too."""
        asset, part, buffer = job.asset, job.part, bytearray()

        async def write() -> None:
            data = bytes(buffer)
            buffer.clear()
            await self._thread(lambda: part.append(data))

        try:
            async for data in stream:
                buffer += data
                came = part.size + len(buffer)
                if came > asset.size:
                    buffer.clear()
                    raise mismatch(asset, f"{asset.size:,} bytes", "more")
                on_progress(asset, came)
                if len(buffer) >= _BUFFER:
                    await write()
        except Mismatch:
            raise
        except (Unreachable, Malformed) as error:
            raise _Broken(error) from error
        finally:
            if buffer:
                await write()

    async def _ask(self, stack: AsyncExitStack, asset: Asset, headers: Mapping[str, str]) -> Stream:
        """The API first; a public asset does not wait for an account that is busy or limited."""
        if self._refused is not None:
            raise self._refused
        try:
            async with self._seat():
                id_ = await self._id(asset)
                request = await self._source.asset_request(asset.repository, id_)
                return await self._enter(stack, asset, request, headers)
        except Unauthorized as error:
            if error.whole_account:
                # To repeat bad credentials risks a ban.
                self._refused = error
            raise
        except (AccountBusy, RateLimited):
            public = await self._public_request(asset)
            if public is None:
                raise
        return await self._enter(stack, asset, public, headers)

    async def _enter(
        self, stack: AsyncExitStack, asset: Asset, request: Request, headers: Mapping[str, str]
    ) -> Stream:
        request = replace(request, headers={**request.headers, **headers}, bulk=True)
        judge = judge_asset(asset, request.url)
        opening = self._transport.stream(request, judge, patience=self._patience)
        return await stack.enter_async_context(opening)

    async def _id(self, asset: Asset) -> int:
        """The asset's id; where the record has none the release is asked once for all."""
        if asset.id is not None:
            return asset.id
        release = (asset.repository, asset.release_id)
        if release not in self._ids:
            self._ids[release] = asyncio.create_task(
                _listed(self._source, asset.repository, asset.release_id)
            )
        found = (await asyncio.shield(self._ids[release])).get(asset.name)
        if found is None:
            raise NotFound(gone(asset))
        return found

    async def _public_request(self, asset: Asset) -> Request | None:
        """Without credentials, if the record's address is one of the API's own site."""
        if asset.public_url is None:
            return None
        api = urlsplit(self._source.api_url)
        try:
            url = urlsplit(asset.public_url)
            fits = url.scheme == api.scheme and api.hostname in (
                url.hostname,
                f"api.{url.hostname}",
            )
        except ValueError:
            return None
        return Request("GET", asset.public_url, self._public) if fits else None

    async def _thread(self, call: Callable[[], T]) -> T:
        """Work on the disk, which a cancelled caller does not leave behind."""
        return await self._shield.run(_in_thread(call))


def _fold(path: Path) -> str:
    """Equal for names that may mean one file."""
    return str(path) if sys.platform == "linux" else str(path).casefold()


def _in_the_way(final: Path, asset: Asset) -> str:
    if final.is_dir():
        return f"{final} is a folder"
    other = "and is another one" if asset.sha256 else "and GitHub tells no digest to compare it by"
    return f"{final} is there already, {other}: --clobber replaces it, --skip-existing leaves it"


async def _in_thread(call: Callable[[], T]) -> T:
    return await asyncio.to_thread(call)


async def _listed(source: AssetSource, repository: str, release_id: int) -> Mapping[str, int]:
    return await source.asset_ids(repository, release_id)


def _verify(job: _Job) -> None:
    """Size and digest, as far as GitHub tells them; raises `Mismatch`."""
    asset, part = job.asset, job.part
    if part.size != asset.size:
        raise mismatch(asset, f"{asset.size:,} bytes", f"{part.size:,}")
    if asset.sha256 is not None and part.sha256 != asset.sha256:
        raise mismatch(asset, f"sha256:{asset.sha256}", f"sha256:{part.sha256}")
