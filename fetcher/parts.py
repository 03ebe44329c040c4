"""A file under way: written beside its place, continued after a break, moved there when whole.

``NAME.part`` holds what has come, and the small ``NAME.part.json`` says of which version it is,
so that nothing of another version is ever continued. All of this blocks: call it in a thread.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from fetcher.errors import FileTrouble

__all__ = ["Part", "digest_of", "paths_of", "safe_name", "tidy"]

PART: Final = ".part"
NOTE: Final = ".part.json"
# https://man7.org/linux/man-pages/man2/mkdir.2.html: bytes of a name, our endings included.
_LONGEST_NAME: Final = 255 - len(NOTE)
_LONGEST_NOTE: Final = 1 << 16
_BLOCK: Final = 1 << 20
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_SEPARATORS: Final = frozenset('/\\:*?"<>|')


def safe_name(name: str) -> str:
    """The name, if it can only ever be a file in the folder that it is put into.

    GitHub itself renames files with such characters, and those that begin or end with a period:
    https://docs.github.com/en/rest/releases/assets#upload-a-release-asset
    Raises `FileTrouble` for any other.
    """
    shown = ascii(name[:80])
    if not name or not name.isprintable() or _SEPARATORS & set(name):
        raise FileTrouble(f"{shown} can be no file name: it is empty or leads elsewhere")
    if name.strip(". ") != name:
        raise FileTrouble(f"{shown} is refused as a file name: periods or blanks at its ends")
    if _RESERVED.fullmatch(name):
        raise FileTrouble(f"{shown} is refused as a file name: it means a device on Windows")
    if len(name.encode()) > _LONGEST_NAME:
        raise FileTrouble(f"{shown}… is refused as a file name: longer than {_LONGEST_NAME} bytes")
    return name


def paths_of(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Where a file is put in the end, where its bytes come, and the note beside them."""
    return folder / name, folder / f"{name}{PART}", folder / f"{name}{NOTE}"


def digest_of(path: Path) -> tuple[int, str] | None:
    """Size and SHA-256 of a file; None for what is none, such as a folder or a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        size, whole = _hashed(fd)
        return size, whole.hexdigest()
    finally:
        os.close(fd)


def tidy(folder: Path, name: str) -> None:
    """Takes away what a crash left just behind the move into place: a second name, and the note."""
    final, part, note = paths_of(folder, name)
    with contextlib.suppress(OSError, FileTrouble):
        if part.exists() and os.path.samestat(part.lstat(), final.lstat()):
            part.unlink()
        if not os.path.lexists(part) and _note(note) is not None:
            note.unlink()


class Part:
    """What has come of one version of a file; locked, so that no two processes write it.

    `mark` names the version. `etag` is the strong ETag that came with its first byte.
    """

    def __init__(self, folder: Path, name: str, mark: Mapping[str, Any]) -> None:
        self.final, self.path, self._note_path = paths_of(folder, name)
        self.size = 0
        self.etag: str | None = None
        self._folder = folder
        self._mark = dict(mark)
        self._hash = hashlib.sha256()
        self._fd = -1

    @classmethod
    def open(cls, folder: Path, name: str, mark: Mapping[str, Any]) -> Self:
        """What an earlier run left of this very version, or a new one.

        Raises `FileTrouble` where the place is taken by somebody else.
        """
        part = cls(folder, name, mark)
        try:
            part._fd = _lock(part.path)
            part._read()
        except BaseException:
            part.close()
            raise
        return part

    def _read(self) -> None:
        """Goes on from what is there, if it is ours."""
        about = os.fstat(self._fd)
        found = _note(self._note_path)
        if found is None and about.st_size:
            text = f"{self.path} is in the way: it is no part of a download; move it away"
            raise FileTrouble(text)
        # A second name is the file in its place, moved there just before a crash.
        if found is None or found.get("version") != self._mark or about.st_nlink != 1:
            self.restart()
            return
        etag = found.get("etag")
        self.etag = etag if isinstance(etag, str) else None
        self.size, self._hash = _hashed(self._fd)

    @property
    def sha256(self) -> str:
        """The digest of what has come."""
        return self._hash.hexdigest()

    def restart(self, etag: str | None = None) -> None:
        """Forgets what has come. The old file is not emptied: it may have another name."""
        self.etag = etag
        if self.size or os.fstat(self._fd).st_size:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1
            self._fd = _lock(self.path)
        self.size = 0
        self._hash = hashlib.sha256()
        self._write_note()

    def _write_note(self) -> None:
        """Before the first byte: bytes without a note belong to nobody."""
        text = json.dumps({"fetcher": 1, "version": self._mark, "etag": self.etag})
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._note_path, flags, 0o666)
        try:
            # Emptied first where the disk is full, because half a note is nobody's.
            if os.write(fd, text.encode()) < len(text.encode()):
                os.ftruncate(fd, 0)
                raise FileTrouble(f"{self._note_path} cannot be written: no space is left")
        finally:
            os.close(fd)

    def append(self, data: bytes) -> None:
        """Adds bytes to the end."""
        view = memoryview(data)
        while view:
            wrote = os.pwrite(self._fd, view, self.size)
            self._hash.update(view[:wrote])
            self.size += wrote
            view = view[wrote:]

    def place(self, *, replace: bool) -> None:
        """Moves the file into its place, at once and whole; raises `FileTrouble` if it is taken."""
        os.fsync(self._fd)
        if not _same(self.path, self._fd):
            raise FileTrouble(f"{self.path} was moved or replaced by somebody else")
        if replace:
            self.path.replace(self.final)
        else:
            self._place_new()
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._note_path.unlink(missing_ok=True)

    def _place_new(self) -> None:
        """A link is made only where nothing is; a rename would replace it."""
        try:
            os.link(self.path, self.final, follow_symlinks=False)
        except FileExistsError as error:
            raise FileTrouble(f"{self.final} has come into being meanwhile") from error
        except OSError:
            # A file system without links: the moment between is as short as can be.
            if os.path.lexists(self.final):
                raise FileTrouble(f"{self.final} has come into being meanwhile") from None
            self.path.rename(self.final)
        else:
            self.path.unlink()

    def discard(self) -> None:
        """Takes away what has come, and the note."""
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets others at it; leaves nothing behind where nothing has come."""
        if self._fd < 0:
            return
        try:
            if os.fstat(self._fd).st_size == 0 and _same(self.path, self._fd):
                self.path.unlink(missing_ok=True)
                with contextlib.suppress(FileTrouble):
                    if _note(self._note_path) is not None:
                        self._note_path.unlink(missing_ok=True)
        finally:
            os.close(self._fd)
            self._fd = -1


def _lock(path: Path) -> int:
    """Opens or makes the file, locked; it still has its name when this returns."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        try:
            fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise FileTrouble(f"{path} cannot be written: {error.strerror or error}") from error
        try:
            _check_regular(path, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(path, fd):
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise FileTrouble(f"{path} is being written by another process") from error
        except BaseException:
            os.close(fd)
            raise
        # Moved into its place by another process between the opening and the lock.
        os.close(fd)


def _check_regular(path: Path, fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise FileTrouble(f"{path} is in the way: it is no file")


def _same(path: Path, fd: int) -> bool:
    """Whether the name still means the open file."""
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(fd))
    return False


def _note(path: Path) -> dict[str, Any] | None:
    """What a note says; None where there is none. Raises `FileTrouble` for what is none of ours."""
    taken = f"{path} is in the way: it is no note of a download; move it away"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileTrouble(taken) from error
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        data = os.read(fd, _LONGEST_NOTE) if regular else b"-"
    finally:
        os.close(fd)
    if not data:
        # Cut short by a crash while it was written.
        return {}
    try:
        found = json.loads(data)
    except ValueError as error:
        raise FileTrouble(taken) from error
    if not isinstance(found, dict) or found.get("fetcher") != 1:
        raise FileTrouble(taken)
    return found


def _hashed(fd: int) -> "tuple[int, hashlib._Hash]":
    whole = hashlib.sha256()
    size = 0
    while data := os.pread(fd, _BLOCK, size):
        whole.update(data)
        size += len(data)
    return size, whole
