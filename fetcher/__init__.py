"""Keeps other systems supplied with what GitHub and NCBI publish."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fetcher.reader import Reader

__all__ = ["Reader", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - https://peps.python.org/pep-0562/
    """`Reader` is loaded when it is asked for: most of those who import a part do not read."""
    if name == "Reader":
        from fetcher.reader import Reader

        return Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
