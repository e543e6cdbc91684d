"""The access log: a line for every request, written by a thread of its own."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.key_text import redact
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.context import Asked
from quickserveml_tui.server.logs import written
from quickserveml_tui.server.options import ServeOptions

logger = logging.getLogger(__name__)

MAX_WAITING = 65_536
"""Lines that wait to be written; further ones are dropped and counted."""
_BATCH = 4096
_EVERY_S = 0.25
_MAX_PATH = 1024
_MAX_PARTS = 1024
_COMPLAIN_EVERY_S = 60.0
_Note: TypeAlias = tuple[float, Asked, int, int, int, int, bytes]
_Parts: TypeAlias = tuple[str, str, str]
"""What stands in a line before the status, after the sizes and after the request id."""


class AccessLogFile:
    """`AccessLog` into a file, or on stderr for `-`.

    A line is JSON with `time`, `method`, `path` (without its query), `status`, `ms`, `received` and `sent` (bytes of
    the bodies), `key` (id of the API key), `request_id`, `trace`, `worker`; in text the values stand in that order.
    The form `auto` is text on a terminal, JSON elsewhere.
    Taking note costs the event loop a tuple. A file that was moved away is opened anew, so logrotate needs no signal.

    Several workers may append to one file. Raises `UsageError` (`serve.access_log`) for a path that cannot be written.
    """

    def __init__(
        self,
        path: str,
        *,
        worker: int = 0,
        form: str = "auto",
        on_dropped: Callable[[int], None] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._path = path
        self._worker = worker
        self._on_dropped = on_dropped
        self._max_waiting = max_waiting
        self._waiting: deque[_Note] = deque()
        self._parts: dict[Asked, _Parts] = {}
        self._last_complaint = float("-inf")
        self._overflowed = 0
        """Lines for which there was no room; counted by the event loop alone."""
        self._unwritten = 0
        """Lines that the disk did not take; counted by the writer alone."""
        self._said = 0
        """How many of both the log has said."""
        self._descriptor = -1
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._open()
        except OSError as error:
            raise UsageError(
                f"The access log cannot be written: {safe_text(error.strerror or 'unknown reason', 80)}.",
                hint="Name a file in a folder that exists, or - for stderr.",
                code="serve.access_log",
            ) from error
        self._text = form == "text" or (form == "auto" and os.isatty(self._descriptor))

    @property
    def dropped(self) -> int:
        """Lines that were not written: too many waited, or the disk took no more."""
        return self._overflowed + self._unwritten

    def note(  # noqa: PLR0917 - called once a request: keywords would cost
        self,
        asked: Asked,
        status: int,
        elapsed_ns: int,
        received: int,
        sent: int,
        request_id: bytes,
    ) -> None:
        """A request is answered; see `AccessLog`."""
        if len(self._waiting) >= self._max_waiting:
            self._overflowed += 1
            return
        self._waiting.append((time.time(), asked, status, elapsed_ns, received, sent, request_id))

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.flush()
        if self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = -1

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self.flush()

    def flush(self) -> None:
        """Write what waits. Never in two threads at once."""
        while self._waiting:
            lines = self._lines(min(len(self._waiting), _BATCH))
            self._write("".join(lines).encode("ascii"), len(lines))
        dropped = self.dropped
        if dropped > self._said:
            line = {"time": written(time.time()), "dropped": dropped - self._said, "worker": self._worker}
            if self._write(json.dumps(line).encode("ascii") + b"\n", 0):
                self._said = dropped
            if self._on_dropped is not None:
                self._on_dropped(dropped)

    def _lines(self, count: int) -> list[str]:
        """The next lines. One loop without calls: what it costs, every request costs."""
        parts, take, text = self._parts, self._waiting.popleft, self._text
        moment, stamp = -1, ""
        lines = []
        for _ in range(count):
            when, asked, status, elapsed_ns, received, sent, request_id = take()
            now = int(when * 1000)
            if now != moment:
                moment, stamp = now, written(when)
            begin, middle, end = parts.get(asked) or self._known(asked)
            name = _safe(request_id.decode("latin-1")) if asked.named else request_id.decode("ascii")
            if text:
                sizes = f"{received} {sent}"
                lines.append(f"{stamp}{begin}{status} {elapsed_ns // 1000 / 1000}ms {sizes}{middle}{name or '-'}{end}")
            else:
                lines.append(
                    f'{{"time":"{stamp}{begin}{status},"ms":{elapsed_ns // 1000 / 1000},"received":{received},'
                    f'"sent":{sent}{middle}{name}{end}'
                )
        return lines

    def _known(self, asked: Asked) -> _Parts:
        """The parts of a line that are equal for all requests with one head; they are made once."""
        verb = _safe(asked.method.decode("ascii", "replace"))
        path = _safe(asked.target.partition(b"?")[0][:_MAX_PATH].decode("utf-8", "backslashreplace"))
        caller, trace = _safe(asked.caller), _safe(asked.trace)
        if self._text:
            parts = f' "{verb or "-"} {path or "-"}" ', f" {caller or '-'} ", f" {trace or '-'} {self._worker}\n"
        else:
            end = f'","trace":"{trace}","worker":{self._worker}}}\n'
            parts = f'","method":"{verb}","path":"{path}","status":', f',"key":"{caller}","request_id":"', end
        if len(self._parts) >= _MAX_PARTS:
            self._parts.clear()
        self._parts[asked] = parts
        return parts

    def _write(self, data: bytes, lines: int) -> bool:
        """Whether it went out; `lines` count as lost otherwise."""
        try:
            if self._path != "-" and self._moved():
                self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._unwritten += lines
            if time.monotonic() - self._last_complaint > _COMPLAIN_EVERY_S:
                self._last_complaint = time.monotonic()
                logger.warning("Lines of the access log are lost: %s", error.strerror)
            return False
        return True

    def _moved(self) -> bool:
        """Whether the file at the path is another one than is written to."""
        if self._descriptor < 0:
            return True
        try:
            there, here = os.stat(self._path), os.fstat(self._descriptor)  # noqa: PTH116 - once a write
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def _open(self) -> None:
        if self._path == "-":
            self._descriptor = sys.stderr.fileno()
            return
        # Without O_NONBLOCK a FIFO that nobody reads would block for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o640)
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is a pipe")
        old, self._descriptor = self._descriptor, descriptor
        if old > 2:
            os.close(old)


def _safe(text: str) -> str:
    """ASCII that is safe between quotation marks and on a terminal, without keys."""
    return json.dumps(redact(text[: 2 * _MAX_PATH]))[1:-1].replace("\x7f", "\\u007f")


def open_access_log(
    options: ServeOptions, *, worker: int = 0, on_dropped: Callable[[int], None] | None = None
) -> AccessLogFile | None:
    """The access log of a worker, writing already; None where none is wanted. Raises `UsageError`."""
    if not options.access_log:
        return None
    log = AccessLogFile(options.access_log, worker=worker, form=options.log_format, on_dropped=on_dropped)
    log.start()
    return log
