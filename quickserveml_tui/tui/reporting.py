"""The worker's side of a job: progress and frames, thinned before they become messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.tui.messages import FramesArrived, JobAdvanced

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkFrame
    from quickserveml_tui.tui.jobs import UiJob

PROGRESS_PERIOD_S = 0.1
FRAME_PERIOD_S = 0.5
"""Charts are painted twice a second while something is measured: painting takes cores from the measurement."""


class Reporter:
    """Passes a job's progress and frames on as messages, at a rate that a screen can follow."""

    def __init__(self, post: Callable[[Message], object], job: UiJob) -> None:
        self._post = post
        self._job = job
        self._last_progress = float("-inf")
        self._last_frames = float("-inf")
        self._frames: list[BenchmarkFrame] = []
        self._phase = ""

    def progress(self, progress: Progress) -> None:
        """Keep the newest progress; tell at most ten times a second, and at once when the phase changes."""
        now = time.monotonic()
        self._job.progress = progress
        if progress.phase != self._phase or now - self._last_progress >= PROGRESS_PERIOD_S:
            self._last_progress, self._phase = now, progress.phase
            self._post(JobAdvanced(self._job))

    def frame(self, frame: BenchmarkFrame) -> None:
        """Collect frames; hand them over twice a second, and at once when the phase changes."""
        now = time.monotonic()
        changed = frame.phase.value != self._phase
        self._phase = frame.phase.value
        self._frames.append(frame)
        if changed or now - self._last_frames >= FRAME_PERIOD_S:
            self._last_frames = now
            self.flush()

    def flush(self) -> None:
        """Hand over what was collected."""
        if self._frames:
            frames, self._frames = tuple(self._frames), []
            self._post(FramesArrived(self._job, frames))
