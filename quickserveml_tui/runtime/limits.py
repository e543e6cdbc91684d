"""How much memory and time a model may take while it is tried and used."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.trials import TrialPolicy
from quickserveml_tui.runtime import host
from quickserveml_tui.storage import fs

GIB = 1 << 30
FLOOR_BYTES = 4 * GIB
"""Any model may use this much beyond what the bare runner takes: feeds, activations and outputs."""
PER_FILE_BYTE = 4
"""Loading holds the file, the parsed weights, the packed weights and one copy of the largest at a time."""
SHARE_OF_MACHINE = 0.8
S_PER_BYTE = 20.0 / 1e9
"""Loading takes 2 to 3 s a GB from memory, and 10 from a slow disk."""
S_PER_NODE = 1e-4
"""Ten times what loading and a first run take on graphs of 100,000 small nodes."""
MAX_SCANNED_BYTES = 64 << 20
"""Model files up to this size are searched for references to other files: 0.03 s."""
MAX_FOLDER_FILES = 10_000
"""Entries of the model's folder, and of those below it, that are looked at."""

_LOCATION_KEY = b"\x0a\x08location"  # StringStringEntryProto.key of external data


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """Wall-time limits of a runner's calls in seconds, and how long a cancelled call may take to end."""

    start_s: float = 60.0
    trial_s: float = 30.0
    """For a small model; `trial_limit_s` adds what larger ones need."""
    read_s: float = 60.0
    """Facts, layers and the list of external files of a small model; `read_limit_s` adds what larger ones need."""
    predict_s: float = 600.0
    idle_s: float = 600.0
    """Benchmarks (beyond their own duration) and batches (since the last progress)."""
    grace_s: float = 1.0
    """After a cancel or a limit; then the process is killed."""
    memory_bytes: int | None = None
    """Cap of private memory; None takes `memory_cap_bytes` of the model."""

    def trial_limit_s(self, size_bytes: int, nodes: int = 0) -> float:
        """Seconds that loading and one run may take: 20 s more for each GB of files, 1 s for each 10,000 nodes."""
        return self.trial_s + size_bytes * S_PER_BYTE + nodes * S_PER_NODE

    def read_limit_s(self, size_bytes: int) -> float:
        """Seconds that reading the model file may take: 20 s more for each GB of it."""
        return self.read_s + size_bytes * S_PER_BYTE


DEFAULT_LIMITS = RunnerLimits()


def limits_of(policy: TrialPolicy) -> RunnerLimits:
    """The limits with what a policy says of trials."""
    return RunnerLimits(trial_s=policy.timeout_s, memory_bytes=policy.memory_bytes)


def file_bytes(path: Path) -> int:
    """Size of a file; 0 for one that is not there: whoever opens it next says so."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def model_bytes(path: Path) -> int:
    """Size of the model file with its external data.

    For a model with external data, and for one too large to be searched for it, every file of its folder and of those
    below counts: too much rather than too little.
    """
    size = file_bytes(path)
    if size > MAX_SCANNED_BYTES or (size and _names_other_files(path)):
        return max(size, _folder_bytes(path.parent))
    return size


def memory_cap_bytes(path: Path) -> int:
    """Private memory that a runner may use for the model at `path`, above what it uses when empty.

    4 GiB + 4 × the size of its files, at most 80 % of the machine, which is the bound that protects the user.
    """
    return int(min(FLOOR_BYTES + PER_FILE_BYTE * model_bytes(path), SHARE_OF_MACHINE * host.total_memory_bytes()))


def _names_other_files(path: Path) -> bool:
    """Whether the file mentions external data; read and not mapped, since it may be cut while it is looked at."""
    try:
        descriptor = fs.open_regular(path)
    except (OSError, ValueError):
        return False
    try:
        rest = b""
        for offset in range(0, MAX_SCANNED_BYTES, fs.CHUNK_BYTES):
            chunk = os.pread(descriptor, fs.CHUNK_BYTES, offset)
            if _LOCATION_KEY in rest + chunk:
                return True
            if not chunk:
                break
            rest = chunk[-len(_LOCATION_KEY) :]
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder and those below it; links are not followed."""
    total, seen, folders = 0, 0, [str(folder)]
    while folders and seen < MAX_FOLDER_FILES:
        # A folder may be searched but not listed, or something in it vanished.
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_FOLDER_FILES:
                    break
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    return total
