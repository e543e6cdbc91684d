"""Servers in the background: processes of their own that outlive the front that started them."""

from __future__ import annotations

import re
import shlex
import signal
import time
from pathlib import Path

from quickserveml_tui.core.errors import OPEN_FOR_WRITING, NotFoundError, ReadOnlyError, UnavailableError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.refs import looks_like_path
from quickserveml_tui.core.serving import ServerPlan, ServerRecord
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import plain_number
from quickserveml_tui.services.server_records import ServerRecords, no_such_server, process_of

_OPTION = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_OURS = frozenset({"json", "home", "help", "verbose"})
_POLL_S = 0.05


class ServersService:
    """`ServersPort` on a home of this machine; safe to use from any thread and any number of processes."""

    def __init__(self, home: Path, home_args: tuple[str, ...] = (), *, read_only: bool = False) -> None:
        self._home = home
        self._home_args = home_args
        self._read_only = read_only
        self._records = ServerRecords(home, read_only=read_only)

    def start(self, plan: ServerPlan, *, timeout_s: float = 60.0, cancel: CancelToken | None = None) -> ServerRecord:
        """Start a server in the background and wait until it takes requests.

        It keeps the folder that this process is in, so relative paths mean what they mean here. Raises what the server
        itself said when it did not start, with its own code and hint; `UnavailableError` (`server.start`,
        `server.start_timeout`), `UsageError` (`usage.serve`), `ReadOnlyError` and `CancelledError`: then no server runs
        and none is recorded.
        """
        from quickserveml_tui.services.server_start import start_server

        self._check_writable()
        arguments = _arguments(plan)
        self._records.trim_logs()
        return start_server(
            self._records,
            self._home,
            arguments,
            self.command(plan),
            timeout_s=timeout_s,
            cancel=cancel or CancelToken(),
        )

    def stop(self, server_id: str, *, timeout_s: float = 45.0) -> None:
        """Let a server finish what is under way and end.

        Raises `NotFoundError` (`server.not_found`), and `UnavailableError` (`server.stop_timeout`) when it has not
        ended in time; it goes on ending.
        """
        record = self._find(server_id)
        self._check_writable()
        process = process_of(record)
        process.signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while process.is_alive:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"The server {record.id} has not ended within {plain_number(timeout_s)} s.",
                    hint=f"It still answers requests; kill -9 {record.pid} ends it at once.",
                    code="server.stop_timeout",
                )
            time.sleep(_POLL_S)
        self._records.remove(record.id)

    def list(self) -> tuple[ServerRecord, ...]:
        """Servers of this home that run, newest first."""
        return self._records.running()

    def log(self, server_id: str, offset: int = 0) -> tuple[str, int]:
        """Printable text that a server wrote to its log since byte `offset`, at most 128 KiB, and where to go on.

        The log of one that has ended is kept for a while. Raises `NotFoundError` (`server.not_found`), and
        (`server.no_log`) for a server that writes to a terminal instead.
        """
        from quickserveml_tui.services.job_folders import read_log_file

        path = self._records.log_path(server_id)
        if not path.is_file():
            record = self._find(server_id)
            if not record.log_path:
                raise NotFoundError(
                    f"The server {record.id} writes no log of its own.",
                    hint="It was started in a terminal: what it has to say is there.",
                    code="server.no_log",
                )
            path = Path(record.log_path)
        return read_log_file(path, offset, "log of the server")

    def command(self, plan: ServerPlan) -> str:
        """The command that does the same."""
        return shlex.join(["quickserveml", "serve", *_arguments(plan), *self._home_args])

    def _find(self, server_id: str) -> ServerRecord:
        for record in self._records.running():
            if record.id == server_id:
                return record
        raise no_such_server(server_id)

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError("The home was opened read-only.", hint=OPEN_FOR_WRITING)


def _arguments(plan: ServerPlan) -> list[str]:
    """What comes after `serve`. Raises `UsageError` (`usage.serve`)."""
    if not plan.refs and not plan.every and not any(name in ("profile", "repository") for name, _ in plan.options):
        raise UsageError("There is no model to serve.", hint="Name at least one model.", code="usage.serve")
    arguments = []
    for ref in plan.refs:
        _check_text(ref)
        # A file in this folder whose name begins with a dash would be taken for an option.
        arguments.append(f"./{ref}" if ref.startswith("-") and looks_like_path(ref) else ref)
        if arguments[-1].startswith("-") or not ref:
            raise _bad(ref)
    if plan.every:
        arguments.append("--all")
    for name, value in plan.options:
        if not _OPTION.fullmatch(name) or name in _OURS:
            raise _bad(f"--{name}")
        _check_text(value)
        arguments += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", *filter(None, [value])]
    return arguments


def _check_text(text: str) -> None:
    if "\0" in text or len(text) > 4096:
        raise _bad(text)


def _bad(text: str) -> UsageError:
    return UsageError(
        f"“{safe_text(text, 60)}” cannot be given to a server.",
        hint="quickserveml serve --help lists its options.",
        code="usage.serve",
    )
