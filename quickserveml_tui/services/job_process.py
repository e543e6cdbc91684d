"""Processes of jobs: how one is named, known to live, started and told to stop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.host import boot_name, process_born, signal_process
from quickserveml_tui.services.job_folders import open_log

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord, Lease

_TOKEN = re.compile(r"(\d+)\.(\d+)@(.+)")


@dataclass(frozen=True, slots=True)
class ProcessName:
    """What tells a process from every other one, also from later ones with its number."""

    pid: int
    born: int
    boot: str

    @classmethod
    def own(cls) -> ProcessName:
        """The name of this process."""
        return cls(os.getpid(), process_born(os.getpid()) or 0, boot_name())

    @classmethod
    def of(cls, record: JobRecord) -> ProcessName:
        """The name of the process that a job's record speaks of."""
        return cls(record.pid, record.born, record.boot)

    @classmethod
    def parse(cls, owner: str) -> ProcessName | None:
        """The name that is written as the owner of a lease; None for other owners."""
        found = _TOKEN.fullmatch(owner)
        return cls(int(found[1]), int(found[2]), found[3]) if found else None

    def __str__(self) -> str:
        """The name as the owner of leases."""
        return f"{self.pid}.{self.born}@{self.boot}"

    @property
    def can_be_seen(self) -> bool:
        """Whether this process would see it if it lived."""
        return self.boot == boot_name()

    @property
    def is_alive(self) -> bool:
        """Whether it is seen to live."""
        return self.can_be_seen and process_born(self.pid) == self.born

    def signal(self, number: int) -> bool:
        """Send it a signal, if it is there; never to another process with its number."""
        return self.can_be_seen and signal_process(self.pid, self.born, number)


def is_lost(record: JobRecord, leases: Mapping[str, Lease], now: float | None = None) -> bool:
    """Whether the process of a job that has not ended is gone.

    Where processes can be seen, that decides: one that was stopped for a while has not lost its job. A process of
    another machine, boot or container lives as long as one of its leases does.
    """
    if not record.live:
        return False
    process = ProcessName.of(record)
    if process.can_be_seen:
        return not process.is_alive
    moment = time.time() if now is None else now
    return not any(lease.owner == str(process) and lease.live(moment) for lease in leases.values())


class WaitingProcess:
    """A process for jobs that does nothing before it is let go, and ends by itself when its jobs are not recorded.

    So the jobs can be recorded, in one commit, with the process that runs them: whatever is killed and when, either
    there is no job, or there is one and it runs, or it is known to be lost.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.name = ProcessName(process.pid, process_born(process.pid) or 0, boot_name())

    def let_go(self) -> None:
        """Let it look for its jobs."""
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(OSError):  # it died: its jobs will be found lost
            pipe.close()
        # A process that has ended stays until somebody waits for it, and would count as there elsewhere.
        threading.Thread(target=self._process.wait, name="job-reaper", daemon=True).start()


def start_process(home: Path, job_ids: Sequence[str], folder: Path) -> WaitingProcess:
    """Start a process for jobs, with its output in the log of `folder`; it waits until it is let go.

    Raises `UnavailableError` (`job.start`) when the process cannot be started.
    """
    from quickserveml_tui.runtime.child import child_environment

    command = [sys.executable, "-P", "-m", "quickserveml_tui", "--home", str(home), "job", "run", "--wait-for-starter"]
    try:
        log = open_log(folder)
        try:
            process = subprocess.Popen(
                [*command, *job_ids],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=home,
                umask=0o077,
                env=child_environment(),
            )
        finally:
            os.close(log)
    except OSError as error:
        raise UnavailableError(
            "The process of the job cannot be started.",
            hint="Check free memory, disk space and process limits.",
            code="job.start",
            detail=safe_text(error),
        ) from error
    return WaitingProcess(process)


def wait_for_starter() -> None:
    """Wait until whoever started this process has recorded its jobs, or is gone; then let go of its pipe."""
    while os.read(0, 1):
        pass
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
