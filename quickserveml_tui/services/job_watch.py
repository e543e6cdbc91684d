"""Follows a job: its spool a dozen times a second, its record now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.services.job_frames import merge_frames
from quickserveml_tui.services.job_process import ProcessName
from quickserveml_tui.services.job_spool import read_spool

if TYPE_CHECKING:
    from quickserveml_tui.core.runners import FrameSink

SPOOL_POLL_S = 0.08
RECORD_POLL_S = 0.5


class JobWatch:
    """One follower of one job."""

    def __init__(
        self, folder: Path, get: Callable[[], JobRecord], on_progress: ProgressSink, on_frame: FrameSink | None
    ) -> None:
        self._folder = folder
        self._get = get
        self._on_progress = on_progress
        self._on_frame = on_frame
        self._offset = 0

    def follow(self, ask_to_stop: Callable[[], None], cancel: CancelToken, detach: CancelToken) -> JobRecord:
        """The job's record when it has ended, or when `detach` ends the watching."""
        woken = threading.Event()
        taken_back = [cancel.on_cancel(woken.set), detach.on_cancel(woken.set)]
        try:
            return self._follow(ask_to_stop, cancel, detach, woken)
        finally:
            for take_back in taken_back:
                take_back()

    def _follow(
        self, ask_to_stop: Callable[[], None], cancel: CancelToken, detach: CancelToken, woken: threading.Event
    ) -> JobRecord:
        record, looked_at = self._get(), time.monotonic()
        has_asked = False
        while True:
            if cancel.cancelled and not has_asked:
                has_asked = True
                ask_to_stop()
                record = self._get()
            has_ended = self._pass_on()
            if not record.live or detach.cancelled:
                return record
            is_due = time.monotonic() - looked_at >= RECORD_POLL_S
            if has_ended or is_due or _is_gone(record):
                record, looked_at = self._get(), time.monotonic()
                if not record.live:
                    continue  # what it said last is still to be passed on
            woken.wait(SPOOL_POLL_S)
            woken.clear()

    def _pass_on(self) -> bool:
        """Pass on everything new; returns whether the job said that it has ended."""
        while True:
            part = read_spool(self._folder, self._offset)
            if part.offset == self._offset:
                return False
            self._offset = part.offset
            for progress in _phases_and_newest(part.progress):
                self._on_progress(progress)
            if self._on_frame is not None:
                for frame in merge_frames(part.frames):
                    self._on_frame(frame)
            if part.ended:
                return True


def _is_gone(record: JobRecord) -> bool:
    process = ProcessName.of(record)
    return process.can_be_seen and not process.is_alive


def _phases_and_newest(progress: tuple[Progress, ...]) -> list[Progress]:
    """What a follower who looks rarely must not miss: each phase, and where the job stands now."""
    last = len(progress) - 1
    return [item for at, item in enumerate(progress) if at in (0, last) or item.phase != progress[at - 1].phase]
