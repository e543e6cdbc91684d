"""Starts a server as a process of its own and waits for what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import (
    DataError,
    ExitCode,
    GateError,
    NotPermittedError,
    QuickServeError,
    RunnerError,
    UnavailableError,
    UsageError,
)
from quickserveml_tui.core.jobs import CancelToken, new_id
from quickserveml_tui.core.serving import ServerRecord
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.core.units import plain_number
from quickserveml_tui.runtime.child import child_environment
from quickserveml_tui.runtime.host import boot_name, process_born
from quickserveml_tui.services.job_process import ProcessName
from quickserveml_tui.services.server_records import ServerRecords
from quickserveml_tui.storage import fs

MAX_ANNOUNCEMENT = 1 << 20
_POLL_S = 0.02
_END_S = 5.0
_TAIL = 4000
_ERRORS: dict[int, type[QuickServeError]] = {
    ExitCode.GATE_FAILED: GateError,
    ExitCode.USAGE: UsageError,
    ExitCode.BAD_INPUT: DataError,
    ExitCode.UNAVAILABLE: UnavailableError,
    ExitCode.NOT_PERMITTED: NotPermittedError,
    ExitCode.RUNTIME_CRASHED: RunnerError,
}


def start_server(
    records: ServerRecords,
    home: Path,
    arguments: Sequence[str],
    command: str,
    *,
    timeout_s: float,
    cancel: CancelToken,
) -> ServerRecord:
    """The record of a server that takes requests; see `ServersService.start`.

    A server that writes no record of itself gets one here.
    """
    cancel.raise_if_cancelled()
    starting = _Starting(records.folder, home, arguments)
    try:
        document = starting.announcement(timeout_s, cancel)
        written = records.of_process(starting.name)
        record = written or _described(starting, document)
        log = records.log_path(record.id)
        starting.settle(log)
        if written is None or not written.log_path:
            record = replace(record, log_path=str(log), command=record.command or command)
        if written is None:
            records.write(record)
    except BaseException:
        starting.give_up()
        raise
    return record


def _described(starting: _Starting, document: dict[str, Any]) -> ServerRecord:
    """The record of a server by what it announced."""
    models, workers = document.get("models"), document.get("workers")
    return ServerRecord(
        id=starting.id,
        pid=starting.name.pid,
        url=safe_text(document.get("url", ""), 2048),
        started_at=utc_now(),
        models=tuple(safe_text(model, 300) for model in models) if isinstance(models, list) else (),
        grpc_url=safe_text(document.get("grpc_url") or "", 2048),
        workers=workers if isinstance(workers, int) else 1,
        auth=safe_text(document.get("auth") or "none", 40),
        boot=starting.name.boot,
        born=starting.name.born,
    )


class _Starting:
    """A server that has not said yet that it takes requests."""

    def __init__(self, folder: Path, home: Path, arguments: Sequence[str]) -> None:
        self.id = new_id("server")
        self._log = folder / f"{self.id}.log"
        self._said = folder / f"{self.id}.out"
        line = [sys.executable, "-P", "-m", "quickserveml_tui", "--home", str(home), "serve", *arguments, "--json"]
        with self._files(folder) as (log, said):
            try:
                # What it says goes to a file, not a pipe: it must not fail where whoever started it has gone.
                self.process = subprocess.Popen(
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    env=child_environment(),
                )
            except (OSError, ValueError) as error:
                self._forget()
                raise UnavailableError(
                    "The process of the server cannot be started.",
                    hint="Check free memory, disk space and process limits.",
                    code="server.start",
                    detail=safe_text(error),
                ) from error
        self.name = ProcessName(self.process.pid, process_born(self.process.pid) or 0, boot_name())

    @contextmanager
    def _files(self, folder: Path) -> Iterator[tuple[int, int]]:
        """Descriptors of the log and of the file that the announcement comes in. Raises `StoreError`."""
        opened: list[int] = []
        try:
            try:
                fs.make_private_dir(folder)
                for path in (self._log, self._said):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                    opened.append(os.open(path, flags, 0o600))
            except OSError as error:
                self._forget()
                raise fs.store_error(error, "log of the server") from error
            yield opened[0], opened[1]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def announcement(self, timeout_s: float, cancel: CancelToken) -> dict[str, Any]:
        """The document that the server prints once it takes requests. Raises what it says instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            code = self.process.poll()
            document = self._document()
            if document is not None:
                if "error" in document:
                    raise self._refusal(document["error"])
                return document
            if code is not None:
                raise UnavailableError(
                    f"The server ended before it took requests (exit code {code}).",
                    hint="Start it with `quickserveml serve` in a terminal to see what it says.",
                    code="server.start",
                    detail=self._tail(),
                )
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"The server did not take requests within {plain_number(timeout_s)} s and was ended.",
                    hint="Give it more time; large models take long to load.",
                    code="server.start_timeout",
                    detail=self._tail(),
                )
            cancel.wait(_POLL_S)
            cancel.raise_if_cancelled()

    def _document(self) -> dict[str, Any] | None:
        """The first line that it printed, if that is whole and a document."""
        try:
            with self._said.open("rb") as file:
                raw = file.read(MAX_ANNOUNCEMENT)
        except OSError:
            return None
        line, end, _rest = raw.partition(b"\n")
        if not end:
            return None
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def _refusal(self, error: Any) -> QuickServeError:
        """What the server said when it did not start, as the error that it was there."""
        try:
            code = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = ExitCode.GATE_FAILED
        told = error if isinstance(error, dict) else {}
        return _ERRORS.get(code, QuickServeError)(
            safe_text(told.get("message", "The server did not start.")),
            hint=safe_text(told.get("hint", "")),
            code=safe_text(told.get("code", "server.start"), 100),
            detail=self._tail(),
        )

    def _tail(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
                return safe_lines(file.read(_TAIL).decode("utf-8", "replace"))
        except OSError:
            return ""

    def settle(self, log: Path) -> None:
        """Let it go on alone, with its log under that name. Raises `StoreError`."""
        fs.remove_quietly(self._said)
        try:
            self._log.replace(log)
        except OSError as error:
            raise fs.store_error(error, "log of the server") from error
        self._log = log
        # A process that has ended stays until somebody waits for it, and would count as there elsewhere.
        threading.Thread(target=self.process.wait, name="server-reaper", daemon=True).start()

    def give_up(self) -> None:
        """End it, with all that it started, and leave nothing behind."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: nobody can do more
            self.process.wait(_END_S)
        self._forget()

    def _forget(self) -> None:
        fs.remove_quietly(self._said)
        fs.remove_quietly(self._log)
