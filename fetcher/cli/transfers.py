"""Bars of downloads on standard error: each file with its bytes, rate and time left."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from fetcher.assets import Asset
from fetcher.cli.render import plain
from fetcher.gate import Wait

__all__ = ["Transfers", "make_transfers"]


class Transfers(Protocol):
    """What downloads tell of their course."""

    def expect(self, assets: Sequence[Asset]) -> None:
        """These are to be downloaded."""
        ...

    def came(self, asset: Asset, size: int) -> None:
        """So many bytes of an asset are there."""
        ...

    def ended(self, asset: Asset) -> None:
        """One more has ended."""
        ...

    def waiting(self, wait: Wait) -> None:
        """A request waits for a limit."""
        ...

    def account_taken(self, owner: str, seconds: float) -> None:
        """Somebody else has the account; that long we go on waiting."""
        ...

    def stop(self) -> None:
        """Takes the bars away."""
        ...


class _Silent:
    def expect(self, assets: Sequence[Asset]) -> None: ...
    def came(self, asset: Asset, size: int) -> None: ...
    def ended(self, asset: Asset) -> None: ...
    def waiting(self, wait: Wait) -> None: ...
    def account_taken(self, owner: str, seconds: float) -> None: ...
    def stop(self) -> None: ...


class _Bars:
    """A bar for all, above one for each file under way, drawn by rich."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            # A name is text: what looks like markup in it is none.
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._all = self._bars.add_task("Asking GitHub", total=None)
        self._tasks: dict[Asset, progress.TaskID] = {}
        self._sizes: dict[Asset, int] = {}
        self._ended = 0
        self._count = 0
        self._bars.start()

    def expect(self, assets: Sequence[Asset]) -> None:
        self._count = len(assets)
        self._bars.reset(self._all, total=sum(each.size for each in assets))
        self._show()

    def came(self, asset: Asset, size: int) -> None:
        self._sizes[asset] = size
        task = self._tasks.get(asset)
        if task is None:
            # What an earlier run brought does not count for the rate.
            name = plain(asset.name)
            task = self._bars.add_task(name, total=asset.size, completed=size)
            self._tasks[asset] = task
        elif size == 0:
            self._bars.reset(task)
        else:
            self._bars.update(task, completed=size)
        self._bars.update(self._all, completed=sum(self._sizes.values()))

    def ended(self, asset: Asset) -> None:
        self._ended += 1
        self._sizes[asset] = asset.size
        if (task := self._tasks.pop(asset, None)) is not None:
            self._bars.remove_task(task)
        self._bars.update(self._all, completed=sum(self._sizes.values()))
        self._show()

    def waiting(self, wait: Wait) -> None:
        self._show(f"Waiting {wait.seconds:.0f} s ({wait.reason})")

    def account_taken(self, owner: str, seconds: float) -> None:
        self._show(f"Waiting for {owner}, {seconds:.0f} s left")

    def _show(self, text: str | None = None) -> None:
        told = text or f"{self._ended} of {self._count} files"
        self._bars.update(self._all, description=told)

    def stop(self) -> None:
        self._bars.stop()


@contextlib.contextmanager
def make_transfers(*, quiet: bool) -> Iterator[Transfers]:
    """Bars if standard error is a terminal and nobody asked for quiet."""
    transfers = _Bars() if sys.stderr.isatty() and not quiet else _Silent()
    try:
        yield transfers
    finally:
        transfers.stop()
