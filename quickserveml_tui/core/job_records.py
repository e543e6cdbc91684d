"""Detached jobs: what is asked for, what is known of them, and what they say while they run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.predictions import BatchSpec


class JobKind(StrEnum):
    """What a job does."""

    BENCHMARK = "benchmark"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Work for a process of its own."""

    kind: JobKind
    ref: str
    """The model: a reference or an absolute path."""
    data: str = ""
    """Data set of a batch, an absolute path."""
    benchmark: BenchmarkSpec | None = None
    batch: BatchSpec | None = None
    origin: str = "command"
    """Who asked: `workbench`, `command` or `server`."""
    asked: str = ""
    """The reference as it was written, where `ref` is the version that it stood for when the job was started."""

    def validate(self) -> JobRequest:
        """Itself, if it is complete and in range. Raises `UsageError`."""
        if self.kind is JobKind.BENCHMARK and self.benchmark is not None:
            self.benchmark.validate()
        elif self.kind is JobKind.BATCH and self.batch is not None and self.data:
            self.batch.validate()
        else:
            raise UsageError("The job is not complete.", hint="Say what to measure or which data to run.")
        return self


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the state database keeps it."""

    id: str
    request: JobRequest
    subject: str
    """What it works on, for lists: a reference and, for a batch, the name of the data."""
    state: JobState
    progress: Progress
    created_at: str
    started_at: str = ""
    ended_at: str = ""
    outcome: str = ""
    """One sentence once it has ended."""
    error_code: str = ""
    """Code of the error that ended it."""
    hint: str = ""
    """What to do about that error."""
    exit_code: int = 0
    """Exit code of a command that ended with that error."""
    result_id: str = ""
    """Id of the saved benchmark or batch result."""
    cancel_asked: bool = False
    attempt: int = 1
    """Grows when a job is resumed."""
    pid: int = 0
    """Process that runs it; 0 before it started."""
    boot: str = ""
    """Boot of the machine, and name space of its processes, that `pid` belongs to."""
    born: int = 0
    """Start time of that process as its system counts it: tells it from a later one with the same number."""
    rev: int = 0

    @property
    def kind(self) -> JobKind:
        """What it does."""
        return self.request.kind

    @property
    def fraction(self) -> float | None:
        """Done share between 0 and 1, 1 once it is done, or None while the total is unknown."""
        return 1.0 if self.state is JobState.DONE else self.progress.fraction

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobEvents:
    """What a job said since `offset` of the call before."""

    offset: int
    """Where to go on reading."""
    progress: Progress | None = None
    """The newest."""
    frames: tuple[BenchmarkFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim that ends by itself unless its owner renews it."""

    name: str
    owner: str
    expires_at: float
    """Seconds since the epoch."""
    acquired_at: str
    note: str = ""
    """What it is for, for people."""
    digests: tuple[str, ...] = field(default=())
    """Blobs that must not be collected while it lives."""

    def live(self, now: float) -> bool:
        """Whether it holds at `now` (seconds since the epoch)."""
        return now < self.expires_at
