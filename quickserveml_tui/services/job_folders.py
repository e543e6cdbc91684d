"""Where jobs keep their logs and spools: one private folder each, below `jobs` in the home."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.storage import fs

if TYPE_CHECKING:
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.stores import StateStore

LOG_BYTES = 1 << 20
"""A longer log is cut to nothing and begun anew."""
READ_BYTES = 128 << 10
STRAY_AFTER_S = 3600.0
"""A folder is made before its job is recorded: a young one may be about to get it."""

_ID = re.compile(r"job-[0-9a-f]{12}")


def check_id(job_id: str) -> str:
    """`job_id`, if jobs can be called so. Raises `NotFoundError` (`job.not_found`)."""
    if not isinstance(job_id, str) or not _ID.fullmatch(job_id):
        raise no_such_job(job_id)
    return job_id


def no_such_job(job_id: str) -> NotFoundError:
    """The error for an id that no job has."""
    return NotFoundError(
        f"There is no job “{safe_text(job_id, 60)}”.", hint="quickserveml job list shows them.", code="job.not_found"
    )


def job_folder(home: Path, job_id: str) -> Path:
    """The folder of a job; it need not exist. Raises `NotFoundError` for what is no id."""
    return home / "jobs" / check_id(job_id)


def make_job_folder(home: Path, job_id: str) -> Path:
    """The folder of a job, there and private. Raises `StoreError`."""
    folder = job_folder(home, job_id)
    try:
        fs.make_private_dir(folder)
    except OSError as error:
        raise fs.store_error(error, "folder of the job") from error
    return folder


def remove_job_folder(home: Path, job_id: str) -> None:
    """Remove the folder of a job, as far as that can be done: what is left counts as stray."""
    shutil.rmtree(job_folder(home, job_id), ignore_errors=True)


def stray_job_folders(home: Path, state: StateStore, *, older_than_s: float = STRAY_AFTER_S) -> tuple[Path, ...]:
    """Folders of jobs that the state database does not know and that nothing was put in for a while.

    A folder that no job could have is never among them.
    """
    oldest = time.time() - older_than_s
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(home / "jobs") as entries:
        for entry in entries:
            if not _ID.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):
                if fs.newest_mtime(Path(entry.path)) <= oldest and state.job(entry.name) is None:
                    found.append(Path(entry.path))
    return tuple(sorted(found))


def remove_stray_job_folders(home: Path, state: StateStore) -> int:
    """Remove the folders that `stray_job_folders` finds; returns how many."""
    strays = stray_job_folders(home, state)
    for folder in strays:
        remove_job_folder(home, folder.name)
    return len(strays)


def open_log(folder: Path) -> int:
    """Descriptor that appends to a job's log, made private when it is new. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(folder / "log", flags, 0o600)


class JobLog:
    """Appends lines to the log of a job; a log that cannot be written stops no job."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        with suppress(OSError):
            self._descriptor = open_log(folder)

    def write(self, text: str) -> None:
        """Append text, which may have lines of its own, with the time."""
        if self._descriptor < 0:
            return
        self.trim()
        line = f"{utc_now()}  {safe_lines(text, 20_000)}\n".encode()
        with suppress(OSError):
            fs.write_all(self._descriptor, line)

    def trim(self) -> None:
        """Begin anew when the log has become too long, whoever wrote to it."""
        if self._descriptor < 0:
            return
        with suppress(OSError):
            if os.fstat(self._descriptor).st_size > LOG_BYTES:
                os.ftruncate(self._descriptor, 0)
                fs.write_all(self._descriptor, f"{utc_now()}  The log was full; it begins anew.\n".encode())

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def note_end(folder: Path, record: JobRecord) -> None:
    """Say in the log of a job whose process is gone how it ended, as others found it."""
    log = JobLog(folder)
    log.write(f"Process {record.pid} is gone. Found {record.state.value}: {record.outcome}")
    log.close()


def read_log(folder: Path, offset: int) -> tuple[str, int]:
    """Printable text of a job's log from byte `offset`, at most 128 KiB, and where to go on.

    Begins at the beginning when the log has become shorter than `offset`. Raises `StoreError`.
    """
    return read_log_file(folder / "log", offset, "log of the job")


def read_log_file(path: Path, offset: int, what: str) -> tuple[str, int]:
    """`read_log` of any file; `what` names it in errors."""
    try:
        descriptor = fs.open_regular(path)
    except FileNotFoundError:
        return "", 0
    except OSError as error:
        raise fs.store_error(error, what, "read") from error
    try:
        start = offset if 0 <= offset <= os.fstat(descriptor).st_size else 0
        raw = os.pread(descriptor, READ_BYTES, start)
    except OSError as error:
        raise fs.store_error(error, what, "read") from error
    finally:
        os.close(descriptor)
    if len(raw) == READ_BYTES and b"\n" in raw:
        raw = raw[: raw.rindex(b"\n") + 1]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    end = start + len(raw) - len(decoder.getstate()[0])
    return safe_lines(text) + ("\n" if text.endswith("\n") else ""), end
