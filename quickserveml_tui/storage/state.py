"""The state database: runs, jobs and leases in SQLite."""

from __future__ import annotations

from pathlib import Path

from quickserveml_tui.core.clock import instant
from quickserveml_tui.storage.state_care import StateCare
from quickserveml_tui.storage.state_file import StateFile
from quickserveml_tui.storage.state_jobs import StateJobs
from quickserveml_tui.storage.state_leases import Clock
from quickserveml_tui.storage.state_metrics import StateMetrics
from quickserveml_tui.storage.state_repair import StateRepair
from quickserveml_tui.storage.state_results import StateResults
from quickserveml_tui.storage.state_runs import StateRuns
from quickserveml_tui.storage.state_transfer import StateTransfer


class SqliteState(StateRuns, StateResults, StateJobs, StateMetrics, StateCare, StateRepair, StateTransfer):
    """`StateStore` in a file that any number of threads and processes may use at once.

    A file that does not exist yet reads as empty and is created by the first write. A file of an older schema is read
    as it is, and led to the newest one by the first write, which keeps a copy in `backups/`. With `read_only` nothing
    is ever created, changed or undone. `busy_timeout_s` is how long a call waits for another process.
    """

    def __init__(
        self, path: Path, *, busy_timeout_s: float = 10.0, read_only: bool = False, clock: Clock = instant
    ) -> None:
        self._file = StateFile(path, busy_timeout_s=busy_timeout_s, read_only=read_only)
        self._clock = clock

    def generation(self) -> str:
        """A token that changes with every write that a list may show; tokens of two processes differ.

        Heartbeats, progress and leases do not change it. Cheap enough to poll: about 20 µs.
        """
        return self._file.generation()

    def close(self) -> None:
        """Close the connection that watches for changes; the store can still be used."""
        self._file.close()
