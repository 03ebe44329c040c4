"""Where a command's data goes: standard output, or a file that appears only when it is whole."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fetcher.errors import UsageError

__all__ = ["open_output"]


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[IO[str]]:
    """Opens before anything else is done, so that a wrong name costs no request.

    A regular file is written beside its place and moved there at the end; if the block is left
    by an exception, what stood there before stays. Raises `UsageError`.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A flat file goes out byte for byte, also where it is no UTF-8.
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        sys.stdout.flush()
        return
    special = path.exists() and not path.is_file()
    part = path if special else path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        out = part.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        with out:
            yield out
        if not special:
            part.replace(path)
    except BaseException:
        if not special:
            part.unlink(missing_ok=True)
        raise
