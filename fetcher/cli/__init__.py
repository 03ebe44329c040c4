"""The command line; what a command needs is imported when it runs, so that --help is quick."""

import gc
from typing import Final

__all__ = ["main"]

# Objects made and not yet freed; Python's own default is 700. A start makes hundreds of thousands
# that stay, and polls under way are no garbage either: looking for it took a sixth of a command.
_COLLECT_AFTER: Final = 10_000


def main() -> None:
    """The console script."""
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    from fetcher.cli.app import start

    start()
