"""How much memory and time a model may take while it is tried and used."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.runtime import host

GIB = 1 << 30
FLOOR_BYTES = 4 * GIB
"""Any model may use this much beyond what the bare runner takes: feeds, activations and outputs."""
PER_FILE_BYTE = 4
"""Loading holds the file, the parsed weights, the packed weights and one copy of the largest at a time."""
SHARE_OF_MACHINE = 0.8

_LOCATION_KEY = b"\x0a\x08location"  # StringStringEntryProto.key of external data


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """Wall-time limits of a runner's calls in seconds, and how long a cancelled call may take to end."""

    start_s: float = 60.0
    trial_s: float = 30.0
    read_s: float = 60.0
    """Facts, layers and the list of external files."""
    predict_s: float = 600.0
    idle_s: float = 600.0
    """Benchmarks (beyond their own duration) and batches (since the last progress)."""
    grace_s: float = 1.0
    """After a cancel or a limit; then the process is killed."""
    memory_bytes: int | None = None
    """Cap of private memory; None takes `memory_cap_bytes` of the model."""


DEFAULT_LIMITS = RunnerLimits()


def _has_external_data(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(_LOCATION_KEY) != -1


def _folder_bytes(folder: Path, most_files: int = 10_000) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= most_files:
                break
            if entry.is_file(follow_symlinks=False):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def memory_cap_bytes(path: Path) -> int:
    """Private memory that a runner may use for the model at `path`, above what it uses when empty.

    4 GiB + 4 × the size of its files, at most 80 % of the machine. For a model with external data every file of its
    folder counts: too much rather than too little, the machine is the bound that protects the user.
    """
    size = path.stat().st_size
    if size and _has_external_data(path):
        size = max(size, _folder_bytes(path.parent))
    return int(min(FLOOR_BYTES + PER_FILE_BYTE * size, SHARE_OF_MACHINE * host.total_memory_bytes()))
