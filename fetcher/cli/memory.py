"""Memory that is freed goes back to the system, so that bulk leaves nothing behind."""

import contextlib
import ctypes
from typing import Final

__all__ = ["give_back"]

# https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 1 << 20


def give_back() -> None:
    """Has glibc map large blocks by themselves; other systems' allocators are left as they are.

    Of its own accord it takes blocks up to 32 MB from heaps, one for each thread, in which what a
    chromosome leaves behind is seldom used again.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_ARENA_MAX, 2)
