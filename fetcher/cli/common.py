"""What all commands share: options, settings, exit codes, and how a run ends."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from fetcher.cli.render import Format, plain_lines
from fetcher.errors import CursorGone, FetcherError, StoreError, UsageError

__all__ = [
    "Common",
    "ConfigOption",
    "FormatOption",
    "LogFormatOption",
    "LogLevelOption",
    "QuietOption",
    "RecordFormatOption",
    "StoreOption",
    "check_format",
    "choose_format",
    "fail",
    "guarded",
    "run",
    "say",
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings; default: $FETCHER_CONFIG, ./fetcher.toml."
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="The store: sqlite:///FILE or mongodb://HOST/DATABASE."
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors still show.")
]
LogFormatOption = Annotated[
    Literal["console", "json"], typer.Option("--log-format", help="How log lines are written.")
]
LogLevelOption = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option("--log-level", help="The least important log lines that are written."),
]
FormatOption = Annotated[
    Literal["table", "json", "ndjson"] | None,
    typer.Option("--format", "-f", help="Default: table on a terminal, ndjson else."),
]
RecordFormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        help="fasta and genbank are for sequences. Default: table on a terminal, ndjson else.",
    ),
]


@dataclass(frozen=True, slots=True)
class Common:
    """The common options of one call."""

    config: Path | None
    store: str | None
    quiet: bool
    log_format: str
    log_level: str


def say(text: str) -> None:
    """A line to standard error: everything that is not data. It may quote anybody."""
    sys.stderr.write(f"{plain_lines(text)}\n")
    sys.stderr.flush()


def fail(code: int, text: str) -> NoReturn:
    """Ends the command with a sentence."""
    say(f"fetcher: {text}")
    raise typer.Exit(code)


def choose_format(chosen: str | None, *, to_file: bool = False) -> Format:
    """A table for a person, ndjson for a program."""
    if chosen is not None:
        return Format(chosen)
    return Format.TABLE if sys.stdout.isatty() and not to_file else Format.NDJSON


def check_format(how: Format, what: str, kinds: Collection[str]) -> None:
    """Raises `UsageError` where `what` has records of these kinds, and none can be written so."""
    if how.for_sequences_only and "sequence" not in kinds:
        raise UsageError(f"--format {how} writes sequences only, not {what}")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turns errors into sentences and exit codes; no traceback reaches a user."""
    try:
        yield
    except CursorGone as error:
        fail(2, f"--after: {error}; leave it out to begin again")
    except UsageError as error:
        fail(2, str(error))
    except StoreError as error:
        fail(3, str(error))
    except FetcherError as error:
        fail(1, str(error))
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does: nothing is left to say.
        _drop_output()
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except OSError as error:
        # All others are mapped where they come from: this is a disk that is full, or the like.
        _drop_output()
        fail(1, f"the output cannot be written: {error.strerror or error}")
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _drop_output() -> None:
    """What is still buffered goes nowhere, so that the interpreter does not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(main: Coroutine[Any, Any, int], on_signal: Callable[[], None] = lambda: None) -> int:
    """Runs a command to its exit code; SIGINT and SIGTERM cancel it once.

    What had begun to be written ends first, however often the signal comes.
    """

    async def body() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is in a task
        received: list[int] = []

        def cancel(number: int) -> None:
            if not received:
                received.append(number)
                on_signal()
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, cancel, number)
        try:
            return await main
        except asyncio.CancelledError:
            if received:
                return 128 + received[0]
            raise

    return asyncio.run(body())
