"""Homes with jobs: real processes, followed by what they say and never by the clock."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import psutil
from catalog_builders import save_linear

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState, Progress, new_id
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.job_process import ProcessName

DEADLINE_S = 60.0
ROWS = 40


class JobHome:
    """A home, a model and data beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.model = save_linear(folder / "linear.onnx")
        self.data = folder / "rows.npz"
        np.savez(self.data, x=np.ones((ROWS, 4), np.float32), y=np.zeros(ROWS, np.int64))
        self.output = folder / "predictions.jsonl"
        self.bench = open_workbench(self.home)
        self.jobs = self.bench.jobs
        self.state = self.bench.state

    def close(self) -> None:
        """Stop whatever still runs."""
        for record in self.jobs.list():
            if record.live and record.pid != os.getpid():
                ProcessName.of(record).signal(9)
        self.bench.close()

    def batch(self, *, output: Path | None = None) -> JobRequest:
        """A batch of 40 rows: over at once."""
        spec = BatchSpec(output_path=str(output or ""))
        return JobRequest(JobKind.BATCH, str(self.model), data=str(self.data), batch=spec)

    def endless(self) -> JobRequest:
        """A benchmark of a day: it ends when somebody wants it to."""
        feed = FeedSpec(batch=100_000)  # or the most samples that a run may keep would end it within seconds
        spec = BenchmarkSpec(duration_s=86_400, warmup_s=0.1, warmup_runs=1, feed=feed)
        return JobRequest(JobKind.BENCHMARK, str(self.model), benchmark=spec)

    def written(self, **changes) -> JobRecord:
        """A job in the state database that no process was started for."""
        own = ProcessName.own()
        fields = {"state": JobState.QUEUED, "pid": own.pid, "boot": own.boot, "born": own.born} | changes
        state = fields.pop("state")
        record = JobRecord(
            fields.pop("id", new_id("job")), self.batch(), "linear.onnx  rows.npz", state, Progress("queued"),
            fields.pop("created_at", utc_now()), **fields,
        )  # fmt: skip
        self.state.add_jobs([record])
        return record

    def read_only(self):
        """The same home, opened so that nothing can be written."""
        return open_workbench(self.home, read_only=True)

    # ---- following

    def ended(self, record: JobRecord) -> JobRecord:
        """The job when it has ended."""
        with deadline() as late:
            last = self.jobs.watch(record.id, detach=late)
        assert not last.live, last
        return last

    def until_measuring(self, record: JobRecord) -> JobRecord:
        """The job once it measures."""
        with deadline() as token:
            seen = []

            def look(frame) -> None:
                if frame.phase.value == "measuring" and frame.count:
                    seen.append(frame)
                    token.cancel()

            last = self.jobs.watch(record.id, on_frame=look, detach=token)
        assert seen, (last, self.jobs.log(record.id))
        return self.jobs.get(record.id)

    def until_waiting(self, record: JobRecord) -> Progress:
        """What the job says that waits before the lane."""
        with deadline() as token:
            seen = []

            def look(progress) -> None:
                if progress.phase == "waiting":
                    seen.append(progress)
                    token.cancel()

            last = self.jobs.watch(record.id, on_progress=look, detach=token)
        assert seen, last
        return seen[-1]


@contextmanager
def deadline():
    """A token that is cancelled when it takes too long."""
    token = CancelToken()
    timer = threading.Timer(DEADLINE_S, token.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield token
    finally:
        timer.cancel()


def kill(record: JobRecord) -> None:
    """kill -9 the process of a job, and wait until it is gone."""
    kill_pid(record.pid)


def kill_pid(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    os.kill(pid, 9)
    assert is_over(descriptor)


def is_over(descriptor: int, timeout_s: float = 10.0) -> bool:
    """Whether the process behind a pidfd ends in time; closes it."""
    ready = wait([descriptor], timeout=timeout_s)
    os.close(descriptor)
    return bool(ready)


def runners_of(record: JobRecord) -> list[int]:
    """Processes that the job's process started."""
    return [child.pid for child in psutil.Process(record.pid).children()]
