"""Servers of a home as files: `servers/<id>.json` in the home, one a server, with its log beside it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.serving import ServerRecord
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.job_process import ProcessName
from quickserveml_tui.storage import fs

MAX_RECORD = 1 << 20
KEPT_LOGS = 20
FORGOTTEN_AFTER_S = 7 * 86_400.0
"""Records of processes that cannot be seen from here, of another boot or container, go after so long."""

_ID = re.compile(r"server-[0-9a-f]{12}")


def check_id(server_id: str) -> str:
    """`server_id`, if servers can be called so. Raises `NotFoundError` (`server.not_found`)."""
    if not isinstance(server_id, str) or not _ID.fullmatch(server_id):
        raise no_such_server(server_id)
    return server_id


def no_such_server(server_id: str) -> NotFoundError:
    """The error for an id that no server of this home has."""
    return NotFoundError(
        f"There is no server “{safe_text(server_id, 60)}” that runs.",
        hint="quickserveml servers list shows them.",
        code="server.not_found",
    )


class ServerRecords:
    """The files; safe to use from any number of processes."""

    def __init__(self, home: Path, *, read_only: bool = False) -> None:
        self.folder = home / "servers"
        self._read_only = read_only

    def write(self, record: ServerRecord) -> None:
        """Write a record, whole or not at all. Raises `StoreError`."""
        path = self.folder / f"{check_id(record.id)}.json"
        try:
            fs.make_private_dir(self.folder)
            fs.write_atomic(path, msgspec.json.encode(record))
        except OSError as error:
            raise fs.store_error(error, "record of the server") from error

    def write_own(
        self,
        url: str,
        models: Sequence[str],
        *,
        grpc_url: str = "",
        workers: int = 1,
        auth: str = "none",
        command: str = "",
        log_path: str = "",
    ) -> ServerRecord:
        """Write down the server that this process is, before it announces itself; `remove` it at its end.

        `models` are `name@version`. Raises `StoreError`.
        """
        process = ProcessName.own()
        record = ServerRecord(
            new_id("server"), process.pid, url, utc_now(), tuple(models), grpc_url, workers, command, log_path, auth,
            process.boot, process.born,
        )  # fmt: skip
        self.write(record)
        return record

    def remove(self, server_id: str) -> None:
        """Forget a server; its log stays for a while."""
        if not self._read_only:
            fs.remove_quietly(self.folder / f"{check_id(server_id)}.json")

    def running(self) -> tuple[ServerRecord, ...]:
        """Servers whose process is seen to live, newest first; records of others are removed."""
        found = []
        for path in self._paths(".json"):
            record = self._read(path)
            if record is not None and process_of(record).is_alive:
                found.append(self._with_log(record))
            elif record is None or process_of(record).can_be_seen or _age_s(path) > FORGOTTEN_AFTER_S:
                self.remove(path.stem)
        own = {process_of(record): record for record in sorted(found, key=lambda record: record.id)}
        return tuple(sorted(own.values(), key=lambda record: (record.started_at, record.id), reverse=True))

    def of_process(self, process: ProcessName) -> ServerRecord | None:
        """The record that a process wrote of itself; None before it has."""
        for path in self._paths(".json"):
            record = self._read(path)
            if record is not None and process_of(record) == process:
                return self._with_log(record)
        return None

    def log_path(self, server_id: str) -> Path:
        """Where a server that was started in the background logs. Raises `NotFoundError` for what is no id."""
        return self.folder / f"{check_id(server_id)}.log"

    def trim_logs(self) -> None:
        """Remove the oldest logs of servers that do not run any more."""
        live = {record.id for record in self.running()}
        ended = sorted((path for path in self._paths(".log") if path.stem not in live), key=_age_s)
        for path in ended[KEPT_LOGS:]:
            fs.remove_quietly(path)

    def _paths(self, suffix: str) -> Iterator[Path]:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(self.folder) as entries:
            for entry in entries:
                stem, dot = os.path.splitext(entry.name)  # noqa: PTH122 - no path is made of what is not taken
                if dot == suffix and _ID.fullmatch(stem):
                    yield self.folder / entry.name

    def _read(self, path: Path) -> ServerRecord | None:
        """A record; None for a file that is none or names another server."""
        try:
            descriptor = fs.open_regular(path)
        except OSError:
            return None
        try:
            record = msgspec.json.decode(fs.read_all(descriptor, MAX_RECORD), type=ServerRecord)
        except (OSError, msgspec.DecodeError, RecursionError):
            return None
        finally:
            os.close(descriptor)
        return _printable(record) if record.id == path.stem else None

    def _with_log(self, record: ServerRecord) -> ServerRecord:
        path = self.log_path(record.id)
        return record if record.log_path or not path.is_file() else replace(record, log_path=str(path))


def process_of(record: ServerRecord) -> ProcessName:
    """The name of the process that a record speaks of."""
    return ProcessName(record.pid, record.born, record.boot)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _printable(record: ServerRecord) -> ServerRecord:
    return replace(
        record,
        url=safe_text(record.url, 2048),
        grpc_url=safe_text(record.grpc_url, 2048),
        started_at=safe_text(record.started_at, 40),
        command=safe_text(record.command),
        auth=safe_text(record.auth, 40),
        models=tuple(safe_text(model, 300) for model in record.models),
    )
