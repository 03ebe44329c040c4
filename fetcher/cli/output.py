"""Where a command's data goes: standard output, or a file that appears only when it is whole."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from fetcher.errors import UsageError

__all__ = ["open_bytes", "open_output"]


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[IO[str]]:
    """Text for `open_bytes`, or for standard output where there is no `path`."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A flat file goes out byte for byte, also where it is no UTF-8.
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        sys.stdout.flush()
        return
    with open_bytes(path) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", errors="surrogateescape", newline="")
        yield text
        text.detach()  # flushed, and left open for whoever opened it


@contextlib.contextmanager
def open_bytes(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file; opened before anything else, so that a wrong name costs nothing.

    A regular file is written beside its place and moved there at the end; if the block is left
    by an exception, what stood there before stays. A device or a pipe is written as it is. Raises
    `UsageError`.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    special = path.exists() and not path.is_file()
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        part = path if special else path.with_name(f".{path.name}.part")
        out = part.open("wb")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        with out:
            yield out
            if not special:
                out.flush()
                os.fsync(out.fileno())
        if not special:
            part.replace(path)
    except BaseException:
        if not special:
            part.unlink(missing_ok=True)
        raise
