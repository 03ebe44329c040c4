"""Progress on standard error: a bar for a person, nothing in a pipe."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from fetcher.gate import Wait

__all__ = ["Progress", "make_progress"]


class Progress(Protocol):
    """What a long command tells of its course."""

    def ended(self, records: int) -> None:
        """One more target has ended."""
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
    def stored(self, records: int) -> None: ...
    def waiting(self, wait: Wait) -> None: ...
    def account_taken(self, owner: str, seconds: float) -> None: ...
    def stop(self) -> None: ...


class _Bar:
    """A bar of targets with the records beside it, drawn by rich."""

    def __init__(self, total: int) -> None:
        from rich import progress
        from rich.console import Console

        self._records = 0
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[records]:,} records"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task("Fetching", total=total, records=0)
        self._bar.start()

    def ended(self, records: int) -> None:
        self._bar.update(self._task, advance=1, description="Fetching")

    def stored(self, records: int) -> None:
        self._records += records
        self._bar.update(self._task, records=self._records, description="Fetching")

    def waiting(self, wait: Wait) -> None:
        self._bar.update(self._task, description=f"Waiting {wait.seconds:.0f} s ({wait.reason})")

    def account_taken(self, owner: str, seconds: float) -> None:
        text = f"Waiting for {owner}, {seconds:.0f} s left"
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
