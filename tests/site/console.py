"""The ``console`` blocks of a page, run one after the other as a reader would type them.

A block has lines ``$ command``, each with the output that is shown below it, or none. In what is
shown a line of ``…`` stands for lines that are left out, and ``…`` in a line for a part of it; what
differs from run to run (times, ports, ids) is made alike on both sides.

The commands of a page share a folder, where the settings that the page shows lie in
``fetcher.toml``, and a shell's environment. What a command says goes to a terminal.
"""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Command", "Program", "Settings", "Shell", "commands"]

_FENCE: Final = re.compile(r"(?ms)^```(console|python|toml)\n(.*?)^```$")
_SIZE: Final = {"COLUMNS": "160", "LINES": "50"}
_PATIENCE: Final = 60.0
# What differs from run to run, and what stands for it.
_ALIKE: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?", "TIME"),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (r"\b\d+(ms|s|m|h) ago\b", "AGO"),
        (r"\b(localhost|127\.0\.0\.1):\d+", "HOST"),
        (r"[\w.-]+:\d+:[0-9a-f]{8}\b", "OWNER"),
        (r"(/[\w.-]+)*/fetcher-demo-\w+", "FOLDER"),
        (r"\b(rest|graphql) +[\d,]+ ", r"\1 LEFT "),
        (r"\b\d+\.\d+ s\b", "SECONDS"),
        (r"(?<=\")[A-Za-z0-9_=-]{32,}(?=\")", "OPAQUE"),
        (r"(^|\s)(\S*/)?\.venv/bin/fetcher\b", r"\1fetcher"),
        (r"[ \t]+", " "),
    )
)


@dataclass(frozen=True, slots=True)
class Command:
    """One line that a reader types, and what the page shows of its output."""

    line: str
    shown: Sequence[str]

    @property
    def text(self) -> str:
        """Without variables before it and a remark behind it."""
        return re.sub(r"^(\w+=\S+ )+|\s+#.*$", "", self.line)

    def told(self, output: str) -> bool:
        """Whether the output is as shown; nothing shown promises nothing."""
        if not self.shown:
            return True
        lines = [alike for line in output.splitlines() if (alike := _alike(line))]
        return _fits(_parts([_alike(line) for line in self.shown]), lines)


@dataclass(frozen=True, slots=True)
class Settings:
    """A piece of ``fetcher.toml``."""

    text: str


@dataclass(frozen=True, slots=True)
class Program:
    """Python as it is typed at a prompt that knows `await`."""

    text: str

    @property
    def source(self) -> str:
        """The same as a program of its own."""
        return (
            "import ast, asyncio\n"
            f"code = compile({self.text!r}, 'page', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
            "typed = eval(code, {})\n"
            "typed and asyncio.run(typed)\n"
        )


def commands(page: str) -> Iterator[Command | Program | Settings]:
    """What a page has its reader type, in order."""
    for kind, text in _FENCE.findall(page):
        if kind == "toml":
            yield Settings(text)
            continue
        if kind == "python":
            yield Program(text)
            continue
        first, *each = re.split(r"(?m)^\$ ", text)
        assert not first.strip(), f"a block that does not begin with a command: {first}"
        for part in each:
            line, *shown = part.splitlines()
            yield Command(line, [line for line in shown if line.strip()])


def _alike(line: str) -> str:
    for pattern, instead in _ALIKE:
        line = pattern.sub(instead, line)
    return line.strip()


def _parts(shown: Sequence[str]) -> list[list[str]]:
    """The runs of lines between those that stand for what is left out."""
    parts: list[list[str]] = [[]]
    for line in shown:
        if line == "…":
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def _fits(parts: Sequence[Sequence[str]], lines: Sequence[str]) -> bool:
    """The first part at the begin, the last at the end, the others in order between them."""
    first, *others = parts
    if not others:
        return len(first) == len(lines) and _run(first, lines, 0)
    if not _run(first, lines, 0):
        return False
    at = len(first)
    for part in others[:-1]:
        found = next((n for n in range(at, len(lines) + 1) if _run(part, lines, n)), None)
        if found is None:
            return False
        at = found + len(part)
    last = len(lines) - len(others[-1])
    return last >= at and _run(others[-1], lines, last)


def _run(part: Sequence[str], lines: Sequence[str], at: int) -> bool:
    if at + len(part) > len(lines):
        return False
    return all(
        re.fullmatch(".*".join(map(re.escape, shown.split("…"))), line)
        for shown, line in zip(part, lines[at:], strict=False)
    )


def _otherwise(command: Command, output: str) -> str:
    return "\n".join((f"$ {command.line}", output, "instead of", *command.shown))


class _Process:
    """A command on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self._output = b""
        self._ended = asyncio.Event()
        self._said = asyncio.Event()
        asyncio.get_running_loop().add_reader(terminal, self._read)

    def _read(self) -> None:
        try:
            read = os.read(self._terminal, 1 << 16)
        except OSError:  # how Linux tells that the other side is closed
            read = b""
        self._output += read
        self._said.set()
        if not read:
            asyncio.get_running_loop().remove_reader(self._terminal)
            self._ended.set()

    @property
    def output(self) -> str:
        # What is read may end within a letter.
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    async def end(self) -> int:
        """Waits for its end."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ended.wait()
                return await self._process.wait()
        finally:
            self.kill()

    def interrupt(self) -> None:
        """As Ctrl-C does it: all that belong to the terminal hear of it."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Nothing is left of it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._terminal >= 0:
            asyncio.get_running_loop().remove_reader(self._terminal)
            os.close(self._terminal)
            self._terminal = -1

    async def shows(self, command: Command) -> None:
        """Waits until what is shown has come, whatever comes after it; fails at its end."""
        more = Command(command.line, [*command.shown, "…"] if command.shown else [])
        try:
            async with asyncio.timeout(_PATIENCE):
                while not self._shows(more) and not self._ended.is_set():
                    self._said.clear()
                    await self._said.wait()
        except TimeoutError:
            pass
        assert self._shows(more), _otherwise(command, self.output)

    def _shows(self, command: Command) -> bool:
        return bool(self._output.strip()) and command.told(self.output)


class Shell:
    """Runs the commands of a page.

    `elsewhere` are the variables that lead to local upstreams in the place of the real ones, where
    the reader has not named settings of his own in FETCHER_CONFIG; `replaced` is what to write in
    their lines in the place of what stands there.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        elsewhere: Mapping[str, str],
        replaced: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._environment = {**environment, **_SIZE, "TERM": "dumb"}
        given = " ".join(f"{name}={value}" for name, value in elsewhere.items())
        self._before = f'[ -n "$FETCHER_CONFIG" ] || export {given}'
        self._after = f"unset {' '.join(elsewhere)}"
        self._replaced = dict(replaced)
        self._state = folder / ".exported"
        self._state.write_text("", "utf-8")
        self._behind: list[tuple[Command, _Process]] = []

    async def run(self, command: Command, *, code: int = 0) -> None:
        """Runs it to its end: the exit code, and what is shown.

        While something else runs what it shows may take a moment to come about: then it is run
        again.
        """
        loop = asyncio.get_running_loop()
        patience = loop.time() + (_PATIENCE if self._behind else 0.0)
        while True:
            process = await self._start(command)
            ended = await process.end()
            if ended == code and command.told(process.output):
                return
            said = _otherwise(command, f"{process.output}exit code {ended}")
            assert loop.time() < patience, said

    async def program(self, program: Program) -> None:
        """Runs it, to exit code 0 and something that it prints."""
        self._folder.joinpath("page.py").write_text(program.source, "utf-8")
        await self.run(Command("python page.py", ["…", "…(…)"]))

    async def leave(self, command: Command) -> None:
        """Starts what does not end by itself, and waits until it shows what it should."""
        process = await self._start(command)
        self._behind.append((command, process))
        await process.shows(command)
        told = re.search(r"--config (\S+)", process.output)
        shown = re.search(r"--config (\S+)", "\n".join(command.shown))
        if told is not None and shown is not None:
            self._replaced[shown[1]] = told[1]

    def settings(self, text: str) -> None:
        """More of the settings that the page has its reader write."""
        with (self._folder / "fetcher.toml").open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    async def interrupt(self) -> None:
        """Ends what was left running, as a reader's Ctrl-C does; each ends in good order."""
        while self._behind:
            command, process = self._behind.pop()
            process.interrupt()
            try:
                code = await process.end()
            except TimeoutError as error:
                said = _otherwise(command, process.output)
                raise AssertionError(f"it did not end: {said}") from error
            # Others end by the signal, or say so, as make does whatever the command made of it.
            ours = command.text.startswith(("fetcher demo", "fetcher run"))
            good = (0,) if ours else (0, 2, 130, -signal.SIGINT)
            assert code in good, _otherwise(command, f"{process.output}exit code {code}")

    def kill(self) -> None:
        """Whatever became of the page, nothing of it goes on."""
        for _, process in self._behind:
            process.kill()

    async def _start(self, command: Command) -> _Process:
        line = command.line
        for old, new in self._replaced.items():
            line = line.replace(old, new)
        script = (
            f". {self._state}\n{self._before}\n{line}\ncode=$?\n{self._after}\n"
            f"export -p > {self._state}\nexit $code\n"
        )
        terminal, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        try:
            process = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                script,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=its,
                stderr=its,
                start_new_session=True,
            )
        finally:
            os.close(its)
        return _Process(process, terminal)
