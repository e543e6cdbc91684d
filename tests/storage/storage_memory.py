"""A folder in memory where there is such a place: kills and injected faults do not need a disk, only its calls."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def memory_folder(otherwise):
    """A folder that is gone after the block; on disk below `otherwise` where nothing can be kept in memory."""
    place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else otherwise
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
