"""What a job says while it runs: every tenth of a second to its spool, every second to the state database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.services.job_frames import merge_frames
from quickserveml_tui.services.job_spool import SpoolWriter

SPOOL_INTERVAL_S = 0.1
RECORD_INTERVAL_S = 1.0
_MAX_HELD_FRAMES = 100


class JobTelemetry:
    """Takes progress and frames from the thread that works, and passes on what others need of them.

    `publish` is called every second from a thread of its own, with the newest progress, or None when nothing is new.
    """

    def __init__(
        self, spool: SpoolWriter, publish: Callable[[Progress | None], None], spec: BenchmarkSpec | None = None
    ) -> None:
        self._spool = spool
        self._publish = publish
        self._spec = spec
        self._lock = threading.Lock()
        self._newest: Progress | None = None
        self._published: Progress | None = None
        self._held_progress: Progress | None = None
        self._held_frames: list[BenchmarkFrame] = []
        self._phase = ""
        self._spooled_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_publishing, name="job-telemetry", daemon=True)

    @property
    def newest(self) -> Progress | None:
        """The newest progress; None before the first."""
        return self._newest

    def on_progress(self, progress: Progress) -> None:
        """Take how far the job is."""
        with self._lock:
            if progress.phase != self._phase:
                self._flush()
            self._newest = self._held_progress = progress
            self._flush_if_due(progress.phase)

    def on_frame(self, frame: BenchmarkFrame) -> None:
        """Take a frame of a benchmark."""
        with self._lock:
            if frame.phase.value != self._phase:
                self._flush()
            self._newest = self._held_progress = progress_of(frame, self._spec)
            self._held_frames.append(frame)
            self._flush_if_due(frame.phase.value)

    def _flush_if_due(self, phase: str) -> None:
        is_due = time.monotonic() - self._spooled_at >= SPOOL_INTERVAL_S or len(self._held_frames) >= _MAX_HELD_FRAMES
        if phase != self._phase or is_due:
            self._phase = phase
            self._flush()

    def _flush(self) -> None:
        self._spooled_at = time.monotonic()
        held, self._held_progress = self._held_progress, None
        frames, self._held_frames = self._held_frames, []
        for frame in merge_frames(frames):
            self._spool.frame(frame)
        if held is not None:
            self._spool.progress(held)

    def _keep_publishing(self) -> None:
        while not self._stop.wait(RECORD_INTERVAL_S):
            newest = self._newest
            self._publish(None if newest is self._published else newest)
            self._published = newest

    def __enter__(self) -> JobTelemetry:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._flush()


def progress_of(frame: BenchmarkFrame, spec: BenchmarkSpec | None = None) -> Progress:
    """How far a benchmark is, by the longest time it may take."""
    longest_s = spec.warmup_s + spec.duration_s if spec is not None else None
    return Progress(
        phase=frame.phase.value,
        done=frame.elapsed_s,
        total=longest_s,
        unit="s",
        eta_s=None if longest_s is None else max(longest_s - frame.elapsed_s, 0.0),
        elapsed_s=frame.elapsed_s,
    )
