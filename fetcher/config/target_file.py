"""Files of targets: one a line, ``#`` comments, UTF-8; watches and the command line share this."""

import re
from codecs import BOM_UTF8

from fetcher.errors import Mistake, SettingsError, TargetError
from fetcher.targets import parse_target, split_targets

__all__ = ["decode_text", "read_target_file"]

_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_target_file(data: bytes, name: str) -> tuple[tuple[int, str], ...]:
    """The targets of a file as written, each with its line number from 1.

    `data` is the whole file and `name` what mistakes call it. Every target that is returned can
    be parsed. Raises `SettingsError` with all mistakes: a line that is no target, a file that
    names none, and one that is no UTF-8 text.
    """
    found: list[tuple[int, str]] = []
    mistakes: list[Mistake] = []
    # Not splitlines(): it also cuts at characters that no editor counts as the end of a line.
    for number, line in enumerate(decode_text(data, name).split("\n"), start=1):
        text = _COMMENT.sub("", line).strip()
        if not text:
            continue
        wrong = _mistakes(text, f"{name}:{number}")
        mistakes += wrong
        if not wrong:
            found.append((number, text))
    if not found and not mistakes:
        mistakes.append(Mistake(name, "names no target: write one a line"))
    if mistakes:
        raise SettingsError(tuple(mistakes))
    return tuple(found)


def _mistakes(text: str, place: str) -> list[Mistake]:
    mistakes = []
    for one in split_targets(text):
        try:
            parse_target(one)
        except TargetError as error:
            mistakes.append(Mistake(place, str(error)))
    return mistakes


def decode_text(data: bytes, name: str) -> str:
    """The text of a file, which must be UTF-8 without NUL; raises `SettingsError`."""
    data = data.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n")
    wrong, what = data.find(b"\0"), "a NUL byte: this is no text file"
    if wrong < 0:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            wrong, what = error.start, "a byte that is no UTF-8"
    line = data.count(b"\n", 0, wrong) + 1
    raise SettingsError((Mistake(f"{name}:{line}", f"holds {what}"),))
