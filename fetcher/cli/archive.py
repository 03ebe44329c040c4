"""``fetcher export`` and ``fetcher import``: a whole store as one file, and back."""

import contextlib
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, cast

from fetcher.archive import dump, fill
from fetcher.cli.common import Common, say
from fetcher.cli.output import open_bytes
from fetcher.cli.settings import told_settings_of
from fetcher.clock import SystemClock
from fetcher.errors import UsageError
from fetcher.store import Query, open_filler, open_store
from fetcher.store.protocol import COLLECTIONS

__all__ = ["export", "import_"]

_GZIP = b"\x1f\x8b"


async def export(output: Path | None, common: Common) -> int:
    """Writes all that the store has; compressed where the file's name ends in ``.gz``."""
    settings = told_settings_of(common)
    clock = SystemClock()
    async with await open_store(settings.store.url, clock=clock, create=False) as store:
        total = sum([await store.count(Query(kind)) for kind in COLLECTIONS])
        records = 0
        bar = _bar("Exporting", total, quiet=common.quiet)
        with bar as tick, _open_export(output) as out:
            async with aclosing(dump(store, tick)) as lines:
                async for line in lines:
                    out.write(line)
                    records += line.startswith(b'{"record"')
    if not common.quiet:
        say(f"{records} records exported")
    return 0


async def import_(path: Path, common: Common) -> int:
    """Fills an empty store from an export, compressed or not; ``-`` is standard input."""
    settings = told_settings_of(common)
    name = "standard input" if str(path) == "-" else str(path)
    with (
        _open_import(path) as (file, size, place),
        _bar("Importing", size, quiet=common.quiet, place=place) as tick,
    ):
        async with await open_filler(settings.store.url, clock=SystemClock()) as filler:
            counts = await fill(filler, _lines(file, name), name, tick)
    if not common.quiet:
        told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        say(f"imported, and verified: {told or 'nothing, for there was nothing'}")
    return 0


@contextlib.contextmanager
def _open_export(path: Path | None) -> Iterator[IO[bytes]]:
    with open_bytes(path) as out:
        if path is None or path.suffix != ".gz":
            yield out
            return
        # Without a name or a time in it, so that the same store gives the same bytes.
        with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


@contextlib.contextmanager
def _open_import(path: Path) -> Iterator[tuple[IO[bytes], int | None, Callable[[], int] | None]]:
    """A file, unpacked; with its size as it lies there, and how far it was read, if it is one."""
    if str(path) == "-":
        file: IO[bytes] = sys.stdin.buffer
    else:
        try:
            file = path.open("rb")
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        # Its first bytes tell, not its name.
        packed = isinstance(file, io.BufferedReader) and file.peek(2)[:2] == _GZIP
        told = os.fstat(file.fileno())
        size, place = (told.st_size, file.tell) if stat.S_ISREG(told.st_mode) else (None, None)
        read = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb") if packed else file)
        yield read, size, place


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, OSError, zlib.error) as error:
        raise UsageError(f"{name} cannot be read to its end; it is cut or damaged") from error


@contextlib.contextmanager
def _bar(
    title: str, total: int | None, *, quiet: bool, place: Callable[[], int] | None = None
) -> Iterator[Callable[[int], None]]:
    """A bar if standard error is a terminal and nobody asked for quiet.

    It counts records; how far it has come tells `place`, where that knows more.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda records: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[records]:,} records"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total, records=0)
        came = 0

        def tick(records: int) -> None:
            nonlocal came
            came += records
            bar.update(task, completed=place() if place is not None else came, records=came)

        yield tick
