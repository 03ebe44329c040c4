"""Which line of a TOML file a key or an element stands on; tomllib does not say.

The text is known to be valid TOML 1.0 (tomllib has read it), so this only has to find its way:
https://toml.io/en/v1.0.0
"""

import re
import tomllib
from collections.abc import Mapping

__all__ = ["Keys", "dotted", "locate"]

Keys = tuple[str | int, ...]
"""The way to a value: keys of tables, and indices of arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")  # a date and time may have a space
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def dotted(keys: Keys) -> str:
    """The way to a value as people write it: ``github.accounts[0].token``."""
    parts = []
    for key in keys:
        bare = isinstance(key, str) and _BARE_KEY.fullmatch(key)
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key if bare else repr(key)}")
    return "".join(parts).removeprefix(".")


def locate(text: str) -> Mapping[Keys, int]:
    """The line, from 1, on which each table, key and element begins, in the order of the file."""
    return _Locator(text).run()


class _Locator:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Keys, int] = {}
        self._counts: dict[Keys, int] = {}

    def run(self) -> Mapping[Keys, int]:
        table: Keys = ()
        self._skip()
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                line = self._here()
                self._at += 2
                *above, last = self._key()
                array = (*self._resolve(above), last)
                count = self._counts.get(array, 0)
                self._counts[array] = count + 1
                table = (*array, count)
                self._note(table, line)
                self._pass("]]")
            elif self._text[self._at] == "[":
                line = self._here()
                self._at += 1
                table = self._resolve(self._key())
                self._note(table, line)
                self._pass("]")
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _note(self, keys: Keys, line: int) -> None:
        """Notes the line of a value, and of every table that it is the first to name."""
        for end in range(1, len(keys) + 1):
            self._lines.setdefault(keys[:end], line)

    def _resolve(self, parts: list[str]) -> Keys:
        """The way to a table: an array of tables means its last one."""
        keys: Keys = ()
        for part in parts:
            keys = (*keys, part)
            if keys in self._counts:
                keys = (*keys, self._counts[keys] - 1)
        return keys

    def _skip(self) -> None:
        self._at = self._end(_BLANK)

    def _end(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        if found is None:  # cannot be, in valid TOML; never loop for ever
            raise ValueError(f"lost at character {self._at}")
        return found.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        start, self._at = self._at, self._end(pattern)
        return self._text[start : self._at]

    def _pass(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip()
            if self._text[self._at] in "\"'":
                word = self._take(_STRING)
                parts.append(str(tomllib.loads(f"key = {word}")["key"]))
            else:
                parts.append(self._take(_BARE_KEY))
            if not self._pass("."):
                return parts

    def _pair(self, table: Keys) -> None:
        self._skip()
        line = self._here()
        keys = (*table, *self._key())
        self._note(keys, line)
        self._pass("=")
        self._value(keys)

    def _value(self, keys: Keys) -> None:
        self._skip()
        match self._text[self._at]:
            case '"' | "'":
                self._at = self._end(_STRING)
            case "[":
                self._at += 1
                index = 0
                while not self._pass("]"):
                    self._lines.setdefault((*keys, index), self._here())
                    self._value((*keys, index))
                    self._pass(",")
                    index += 1
            case "{":
                self._at += 1
                while not self._pass("}"):
                    self._pair(keys)
                    self._pass(",")
            case _:
                self._at = self._end(_SCALAR)
