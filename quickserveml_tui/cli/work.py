"""Long work under Ctrl-C: it runs in a thread, says how far it is on stderr, and stops when asked."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from quickserveml_tui.cli.output import Terminal
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import plural, safe_text, truncate
from quickserveml_tui.core.units import format_duration, significant

if TYPE_CHECKING:
    from collections.abc import Callable

    from quickserveml_tui.core.benchmarks import BenchmarkFrame
    from quickserveml_tui.core.jobs import Progress

T = TypeVar("T")
_PAINT_INTERVAL_S = 0.1
_SIGNAL_S = 0.25
"""How soon a Ctrl-C is seen that the system gave to another thread: it does not wake the one that waits."""


class _Work(Generic[T]):
    """A call in a thread, with what became of it."""

    def __init__(self, work: Callable[[CancelToken], T]) -> None:
        self.cancel = CancelToken()
        self.done = threading.Event()
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work(self.cancel)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self.done.set()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def run_cancellable(work: Callable[[CancelToken], T]) -> T:
    """What `work` returns. The first Ctrl-C cancels its token, a second one raises `KeyboardInterrupt` at once."""
    job = _Work(work)
    thread = threading.Thread(target=job.run, name="work", daemon=True)
    is_started = False
    while True:
        try:
            if not is_started:
                is_started = True  # first, so that a Ctrl-C while the thread starts cancels it like any other
                thread.start()
            while not job.done.wait(_SIGNAL_S):
                pass
            return job.outcome()
        except KeyboardInterrupt:
            if job.cancel.cancelled:
                raise
            job.cancel.cancel()


class Narrator:
    """Says on stderr how far work is: one line painted in place on a terminal, a line per phase elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._terminal = Terminal(sys.stderr)
        self._quiet = quiet and not self._terminal.interactive
        self._phase = ""
        self._painted_at = 0.0
        self._is_line_open = False

    def phase(self, name: str, text: str) -> None:
        """Name the phase; elsewhere than on a terminal each phase is one line."""
        if self._quiet or name in (self._phase, "done"):
            return
        self._phase = name
        if not self._terminal.interactive:
            self._write(f"{safe_text(text)}\n")

    def live(self, text: str) -> None:
        """Paint the line in place, at most ten times a second."""
        now = time.monotonic()
        if not self._terminal.interactive or now - self._painted_at < _PAINT_INTERVAL_S:
            return
        self._painted_at = now
        self._is_line_open = True
        width = shutil.get_terminal_size().columns - 1
        self._write(f"\r{self._terminal.style(truncate(safe_text(text), width), 'muted')}\x1b[K")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._quiet:
            return
        self.close()
        self._terminal.line(self._terminal.style(safe_text(text), "muted"))
        self._terminal.stream.flush()

    def close(self) -> None:
        """Take the live line away."""
        if self._is_line_open:
            self._is_line_open = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.stream.flush()

    def on_progress(self, progress: Progress) -> None:
        """Show a job's progress."""
        self.phase(progress.phase, f"{progress.phase} …")
        parts = [progress.phase]
        if progress.total:
            parts.append(f"{progress.done:,.0f} of {progress.total:,.0f} {progress.unit}".rstrip())
        elif progress.done:
            parts.append(f"{progress.done:,.0f} {progress.unit}".rstrip())
        if progress.rate_per_s:
            parts.append(f"{significant(progress.rate_per_s)} /s")
        if progress.eta_s is not None:
            parts.append(f"{format_duration(progress.eta_s)} left")
        if progress.failed:
            parts.append(f"{plural(progress.failed, 'row')} set apart")
        if progress.note:
            parts.append(progress.note)
        self.live("  ".join(parts))

    def on_frame(self, frame: BenchmarkFrame) -> None:
        """Show a frame of a benchmark."""
        self.phase(frame.phase.value, f"{frame.phase.value} …")
        parts = [frame.phase.value, format_duration(frame.elapsed_s), plural(frame.count, "run")]
        if frame.latencies_ms:
            newest = sorted(frame.latencies_ms)
            parts.append(f"median now {significant(newest[len(newest) // 2])} ms")
        if frame.cpu_percent is not None:
            parts.append(f"CPU {significant(frame.cpu_percent)} %")
        self.live("  ".join(parts))
