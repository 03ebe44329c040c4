"""Progress on standard error: a bar for a person, nothing in a pipe."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from fetcher.cli.render import plain
from fetcher.gate import Wait

__all__ = ["Progress", "make_progress"]


class Progress(Protocol):
    """What a long command tells of its course."""

    def ended(self, records: int) -> None:
        """One more target has ended."""
        ...

    def expected(self, records: int) -> None:
        """So many more records are to come; fewer, where it is negative."""
        ...

    def stored(self, records: int) -> None:
        """So many more records came."""
        ...

    def waiting(self, wait: Wait) -> None:
        """A request waits for a limit."""
        ...

    def account_taken(self, owner: str, seconds: float) -> None:
        """Somebody else polls the account; that long we go on waiting."""
        ...

    def stop(self) -> None:
        """Takes the bar away."""
        ...


class _Silent:
    def ended(self, records: int) -> None: ...
    def expected(self, records: int) -> None: ...
    def stored(self, records: int) -> None: ...
    def waiting(self, wait: Wait) -> None: ...
    def account_taken(self, owner: str, seconds: float) -> None: ...
    def stop(self) -> None: ...


class _Bar:
    """A bar drawn by rich: of records, once it is known how many come; of targets before.

    Its rate and the time left are those of the last half minute.
    """

    def __init__(self, total: int) -> None:
        from rich import progress
        from rich.console import Console

        self._targets, self._ended = total, 0
        self._expected, self._records = 0, 0
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[told]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task("Fetching", total=total, told="")
        self._bar.start()

    def ended(self, records: int) -> None:
        self._ended += 1
        self._tell()

    def expected(self, records: int) -> None:
        self._expected += records
        self._tell()

    def stored(self, records: int) -> None:
        self._records += records
        self._tell()

    def _tell(self) -> None:
        """Everything counts alike in the bar: a target, and a record that is expected."""
        task = self._bar.tasks[0]
        done = self._ended + min(self._records, self._expected)
        total = self._targets + self._expected
        told = f"{self._records:,} records"
        if self._expected > 0:
            told = f"{self._records:,} of {self._expected:,} records"
        if self._targets > 1:
            told = f"{self._ended:,} of {self._targets:,} targets, {told}"
        if task.speed and self._records > 1:
            told += f", {task.speed:,.0f} a second"
        self._bar.update(self._task, completed=done, total=total, told=told, description="Fetching")

    def waiting(self, wait: Wait) -> None:
        self._bar.update(self._task, description=f"Waiting {wait.seconds:.0f} s ({wait.reason})")

    def account_taken(self, owner: str, seconds: float) -> None:
        from rich.markup import escape

        text = f"Waiting for {escape(plain(owner))}, {seconds:.0f} s left"
        self._bar.update(self._task, description=text)

    def stop(self) -> None:
        self._bar.stop()


@contextlib.contextmanager
def make_progress(total: int, *, quiet: bool) -> Iterator[Progress]:
    """A bar if standard error is a terminal and nobody asked for quiet."""
    progress = _Bar(total) if sys.stderr.isatty() and not quiet else _Silent()
    try:
        yield progress
    finally:
        progress.stop()
