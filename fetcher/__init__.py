"""Keeps other systems supplied with what GitHub and NCBI publish."""

__all__ = ["__version__"]

__version__ = "0.1.0"
