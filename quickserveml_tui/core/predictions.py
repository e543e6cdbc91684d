"""Results of local prediction and of batch runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.values import Value

MAX_BATCH = 1_000_000
MAX_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs of one inference."""

    outputs: dict[str, Value]
    """By output name."""
    dtypes: dict[str, str]
    """dtype by output name; the whole type (`seq(map(int64,tensor(float32)))`) for what is no tensor."""
    latency_ms: float
    ref: str
    synthetic: bool = False
    """Whether the inputs were made up because none were given."""
    inputs: dict[str, Value] = field(default_factory=dict)
    """By input name, where they were asked for."""
    runtime: str = ""
    """Name and version of what ran it."""


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How a data set is run through a model."""

    batch_size: int = 32
    target_column: str = ""
    """Name of the ground-truth column or array; empty picks `label` or `target` where there is one."""
    output_path: str = ""
    """JSONL file for the predictions; empty writes none."""
    intra_op_threads: int = 1
    verify: bool = True
    """Whether golden outputs of the version are checked first; one that fails refuses the run."""

    def validate(self) -> BatchSpec:
        """Itself, if its numbers are in range. Raises `UsageError` (`usage.batch`) otherwise."""
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise UsageError(
                "The batch size is out of range.", hint=f"Give a size from 1 to {MAX_BATCH:,}.", code="usage.batch"
            )
        if not 1 <= self.intra_op_threads <= MAX_THREADS:
            raise UsageError(
                "The number of threads is out of range.", hint=f"Give 1 to {MAX_THREADS:,} threads.", code="usage.batch"
            )
        return self


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row that was set apart."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of a batch run."""

    id: str
    ref: str
    data: str
    rows: int
    failed: int
    elapsed_s: float
    throughput_per_s: float
    """Rows a second."""
    accuracy: float | None = None
    """Share of rows whose predicted class equals the ground truth; None without ground truth."""
    correct: int = 0
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows by true class, columns by predicted class, in the order of `classes`."""
    classes: tuple[str, ...] = ()
    failures: tuple[RowFailure, ...] = ()
    """The first 100."""
    output: str = ""
    cancelled: bool = False
    created_at: str = ""
    command: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    """`golden`: how many golden outputs passed before it, such as `3 of 3`; what else was noticed."""
