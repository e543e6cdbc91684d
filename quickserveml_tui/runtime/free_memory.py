"""Gives memory that the C library keeps for later back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # only glibc has it
        return None
    return found


def return_free_memory() -> bool:
    """Give back what was freed and lies between what is in use; False where the C library does not offer it.

    glibc keeps freed weights below 32 MB, in a pool for each thread that loads: a worker of 130 MB grew to 220 MB by
    swapping a model of 8 MB. Takes some milliseconds, without the interpreter's lock.
    """
    trim = _trim()
    return trim is not None and trim(0) >= 0
