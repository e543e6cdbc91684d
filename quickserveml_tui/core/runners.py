"""Runner ports: what services ask of the processes that open models.

All calls block and are made from worker threads; those that take a `CancelToken` stop soon after it is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec
from quickserveml_tui.core.compatibility import Conversion, RuntimeLimits
from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import ValueDifference
from quickserveml_tui.core.jobs import CancelToken, ProgressSink
from quickserveml_tui.core.models import TrialReport
from quickserveml_tui.core.predictions import BatchResult, BatchSpec, Prediction

FrameSink: TypeAlias = Callable[[BenchmarkFrame], None]


class Stretch(NamedTuple):
    """What the system counted from one look at its counters to the next, where that is not nothing."""

    begin: float
    """Index of the first measured inference in it."""
    end: float
    """Index behind the last one."""
    preemptions: float
    """Involuntary context switches of the measuring thread."""
    major_faults: float
    """Page faults of the process that had to read from a disk."""
    steal_s: float
    """CPU time that the hypervisor took from the whole machine."""


@dataclass(frozen=True, slots=True)
class RawBenchmark:
    """Samples of a closed-loop benchmark as the runner measured them."""

    warmup_starts_s: Sequence[float]
    warmup_latencies_ms: Sequence[float]
    starts_s: Sequence[float]
    """Seconds since the start of the warm-up, by `time.perf_counter_ns` (float64 arrays)."""
    latencies_ms: Sequence[float]
    cpu_s: float
    """CPU time, user and system, of the runner while it measured."""
    peak_rss_bytes: int | None
    batch: int
    pinned_cpus: tuple[int, ...]
    cancelled: bool
    paused_s: float = 0.0
    """Time between two inferences that the harness took to send frames; in no latency and no throughput."""
    preemptions: int | None = None
    """Involuntary context switches of the measuring thread; None where the system does not count them."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of each input as it was measured; empty when the runner was killed before it could tell."""
    stretches: Any = ()
    """Rows of `Stretch` in order (float64 array); those in which nothing was counted are left out."""
    precise: bool = False
    """Whether it ended because it was precise enough."""


@dataclass(frozen=True, slots=True)
class Block:
    """A few inferences in a row of a runner that takes turns with others."""

    starts_ns: Sequence[int]
    """By `time.perf_counter_ns` (int64 array)."""
    latencies_ms: Sequence[float]
    """float64 array."""
    cpu_s: float
    """CPU time, user and system, of the runner meanwhile."""
    preemptions: int | None
    """Involuntary context switches of the measuring thread; None where the system does not count them."""
    rss_bytes: int | None
    peak_rss_bytes: int | None
    cancelled: bool = False


class ModelRunner(Protocol):
    """A child process that opens models. One call at a time; `close` may come from another thread.

    Every call raises `RunnerCrashedError` when the process dies (`signal` names the signal), `RunnerTimeoutError` when
    it exceeds its limit, `CancelledError` on cancel (a benchmark or batch returns its partial result instead), and
    `ModelError` or `DataError` for what the runtime refuses.
    """

    @property
    def pid(self) -> int:
        """Process id of the child."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the child can take another call."""
        ...

    def runtime(self, cancel: CancelToken | None = None) -> str:
        """Name and version of the runtime in the child, which may be older than the one installed by now."""
        ...

    def external_files(self, path: Path) -> tuple[str, ...]:
        """Relative paths of the external data that the model refers to; raises `ModelError` for one that escapes."""
        ...

    def limits(self) -> RuntimeLimits:
        """The newest formats that the runtime takes, found by trying."""
        ...

    def read_header(self, path: Path) -> ModelHeader:
        """What the model file says at once, in milliseconds whatever its size."""
        ...

    def read_totals(self, path: Path) -> ModelFacts:
        """Facts of the model file without what shape inference and the checker find: `macs` is None."""
        ...

    def read_facts(self, path: Path) -> ModelFacts:
        """Facts of the model file."""
        ...

    def read_layers(self, path: Path, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
        """A part of the layer table; without `shapes` at once, as far as the nodes themselves tell."""
        ...

    def trial(self, path: Path, feed: FeedSpec, *, nodes: int = 0, cancel: CancelToken | None = None) -> TrialReport:
        """Load the model and run it once on synthetic inputs; never raises for what the model does.

        `nodes`, where they are known, lengthen the time that it may take. Raises `UsageError` for overrides that do
        not fit, and `CancelledError`.
        """
        ...

    def predict(
        self,
        path: Path,
        *,
        inputs: Path | Mapping[str, Any] | None,
        feed: FeedSpec,
        keep_inputs: bool = False,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """One inference on an NPZ or JSON file, on values by name, or on synthetic inputs.

        With `keep_inputs` the result has the inputs as well.
        """
        ...

    def compare(
        self,
        path: Path,
        *,
        inputs: Path,
        outputs: Path,
        rtol: float,
        atol: float,
        cancel: CancelToken | None = None,
    ) -> tuple[tuple[ValueDifference, ...], float]:
        """Run on inputs from a file, and hold the outputs against those in another; with the time of the run in ms.

        Both files are in the form of `runtime.value_files`.
        """
        ...

    def convert(self, path: Path, target: Path, *, opset: int | None, ir_version: int | None) -> Conversion:
        """Write the model at `path` to `target` with another opset and IR version; external data goes beside it.

        None takes the newest that both the runtime and the converter take. Nothing is compared yet.
        """
        ...

    def reference(
        self, path: Path, *, inputs: Mapping[str, Any], cancel: CancelToken | None = None
    ) -> Mapping[str, Any]:
        """Outputs by name of the `onnx` package's own, slow evaluator, for what the runtime cannot run."""
        ...

    def benchmark(self, path: Path, spec: BenchmarkSpec, *, on_frame: FrameSink, cancel: CancelToken) -> RawBenchmark:
        """Warm up and measure, pushing frames; on cancel the partial result comes back."""
        ...

    def prepare_blocks(self, path: Path, spec: BenchmarkSpec, *, cpus: tuple[int, ...], cancel: CancelToken) -> int:
        """Load the model and bind its inputs for `measure_block`; returns the items of one inference.

        `cpus` are the cores to bind the measuring thread to; empty leaves it free.
        """
        ...

    def measure_block(self, seconds: float, *, cancel: CancelToken) -> Block:
        """Time inferences until one ends after `seconds`; on cancel what there is of the block comes back."""
        ...

    def batch(
        self, path: Path, data: Path, spec: BatchSpec, *, on_progress: ProgressSink, cancel: CancelToken
    ) -> BatchResult:
        """Run a data set (CSV or NPZ) through the model; on cancel the partial result comes back."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


class RunnerPool(Protocol):
    """Where runners come from."""

    def borrow(self) -> AbstractContextManager[ModelRunner]:
        """A warm runner that is used again after, unless it crashed: for trials, facts, layers, predictions."""
        ...

    def fresh(self) -> AbstractContextManager[ModelRunner]:
        """A runner of one's own with its own cores, ended after: for measured runs."""
        ...

    def close(self) -> None:
        """End all runners."""
        ...
