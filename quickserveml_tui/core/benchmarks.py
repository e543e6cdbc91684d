"""Benchmark specifications, live frames, summaries and fingerprints."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import StrEnum

from quickserveml_tui.core.errors import QuickServeError, StoreError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.units import plain_number

MAX_SAMPLES = 5_000_000
"""The most inferences that a run keeps; it ends there before its time."""

PRECISION_FIGURES = ("p50", "p90", "p95", "p99", "mean")
"""Figures whose precision may end a run."""


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """What to measure: a closed loop with one client, ended by time or by count, whichever comes first."""

    duration_s: float = 10.0
    max_runs: int | None = None
    warmup_s: float = 1.0
    """Longest time spent warming up."""
    warmup_runs: int = 10
    """Fewest warm-up inferences, unless one takes so long that `warmup_s` is over before."""
    intra_op_threads: int = 1
    inter_op_threads: int = 1
    provider: str = "CPUExecutionProvider"
    optimization: str = "all"
    """Graph optimisation level: `disable`, `basic`, `extended`, `all`."""
    spinning: bool = False
    feed: FeedSpec = field(default_factory=FeedSpec)
    verify: bool = True
    """Whether golden outputs of the version are checked first; one that fails refuses the run."""
    precision: float | None = None
    """End early once half the width of the interval of `precision_of` is at most this share of it; None never does."""
    precision_of: str = "p50"
    """Figure that `precision` is about: `p50`, `p90`, `p95`, `p99` or `mean`."""

    def validate(self) -> BenchmarkSpec:
        """Itself, if every value is in range. Raises `UsageError` otherwise."""
        problems = [
            (not 0 < self.duration_s <= 86_400, "The duration must be over 0 s and at most 24 h."),
            (not 0 <= self.warmup_s <= 3_600, "The warm-up must be between 0 s and 1 h."),
            (not 0 <= self.warmup_runs <= 1_000_000, "Warm-up runs must be between 0 and 1,000,000."),
            (self.max_runs is not None and not 1 <= self.max_runs <= MAX_SAMPLES, f"Runs: 1 to {MAX_SAMPLES:,}."),
            (not 1 <= self.intra_op_threads <= 1024, "Intra-op threads must be between 1 and 1024."),
            (not 1 <= self.inter_op_threads <= 1024, "Inter-op threads must be between 1 and 1024."),
            (
                not (self.provider.isascii() and self.provider.isalnum() and len(self.provider) <= 64),
                "An execution provider is called like CPUExecutionProvider.",
            ),
            (
                self.optimization not in ("disable", "basic", "extended", "all"),
                "Optimisation is one of disable, basic, extended, all.",
            ),
            (self.precision is not None and not 0 < self.precision < 1, "The precision lies between 0 and 100 %."),
            (
                self.precision_of not in PRECISION_FIGURES,
                f"A precision is about one of {', '.join(PRECISION_FIGURES)}.",
            ),
            (self.feed.batch is not None and not 1 <= self.feed.batch <= 1_000_000, "Batch: 1 to 1,000,000."),
        ]
        for wrong, hint in problems:
            if wrong:
                raise UsageError("The benchmark settings are out of range.", hint=hint, code="usage.benchmark")
        self.feed.validate()
        return self

    def command(self, ref: str) -> str:
        """The command line that reproduces the run."""
        default = BenchmarkSpec()
        args = ["quickserveml", "benchmark", ref, "--duration", f"{plain_number(self.duration_s)}s"]
        if self.max_runs is not None:
            args += ["--runs", str(self.max_runs)]
        for option, value, base in (
            ("--warmup", f"{plain_number(self.warmup_s)}s", f"{plain_number(default.warmup_s)}s"),
            ("--warmup-runs", str(self.warmup_runs), str(default.warmup_runs)),
            ("--threads", str(self.intra_op_threads), str(default.intra_op_threads)),
            ("--inter-op-threads", str(self.inter_op_threads), str(default.inter_op_threads)),
            ("--provider", self.provider, default.provider),
            ("--optimization", self.optimization, default.optimization),
        ):
            if value != base:
                args += [option, value]
        if self.precision is not None:
            figure = "" if self.precision_of == default.precision_of else f"{self.precision_of}="
            args += ["--precision", f"{figure}{plain_number(round(self.precision * 100, 9))}%"]
        if self.spinning:
            args.append("--spinning")
        if not self.verify:
            args.append("--no-verify")
        return shlex.join(args + self.feed.to_args())


class Phase(StrEnum):
    """Phase of a benchmark."""

    LOADING = "loading"
    WARMUP = "warm-up"
    MEASURING = "measuring"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class BenchmarkFrame:
    """What happened since the frame before: pushed every 50 to 100 ms while a benchmark runs."""

    phase: Phase
    elapsed_s: float
    """Since the start of the warm-up."""
    starts_s: tuple[float, ...]
    """Start time of each new inference, seconds since the start of the warm-up."""
    latencies_ms: tuple[float, ...]
    """Latency of each new inference; at most 2,000 a frame, then the largest and a sample of the rest."""
    count: int
    """Inferences so far in this phase."""
    dropped: int = 0
    """New inferences left out of `latencies_ms`."""
    cpu_percent: float | None = None
    """Of one core, over the time since the frame before."""
    rss_bytes: int | None = None
    rss_anon_bytes: int | None = None
    batch: int = 1
    """Items in one inference."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Latency in ms. A percentile is None where there are too few samples to hold it (`n` < 1)."""

    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    mean: float
    stddev: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The conditions of a measurement: runs compare only where these agree."""

    model_digest: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    python: str
    runtime: str
    provider: str
    governor: str = ""
    pinned_cpus: tuple[int, ...] = ()
    load_before: float | None = None
    """Load average over one minute before the run."""
    load_after: float | None = None
    version: str = ""
    """Version of this program."""


@dataclass(frozen=True, slots=True)
class HistogramData:
    """Latency histogram: `edges_ms` has one element more than `counts`."""

    edges_ms: tuple[float, ...]
    counts: tuple[int, ...]


class OutlierCause(StrEnum):
    """What most likely made an inference slow. Never the garbage collector: it is off while a model is measured."""

    STEAL = "steal"
    """The hypervisor took the CPU."""
    INTERRUPTED = "interrupted"
    """The system gave the CPU to something else (an involuntary context switch)."""
    PAGE_FAULT = "page fault"
    """Memory had to be read from a disk."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OutlierMark:
    """One outlier."""

    at_s: float
    """Since the start of the first measured inference."""
    latency_ms: float
    cause: OutlierCause


@dataclass(frozen=True, slots=True)
class Outliers:
    """Inferences beyond the median by more than ten median absolute deviations; they stay in every statistic."""

    count: int
    bound_ms: float
    """Latency from which on an inference counts as one."""
    causes: dict[str, int] = field(default_factory=dict)
    """How many by `OutlierCause`."""
    marks: tuple[OutlierMark, ...] = ()
    """The slowest 100 in order of time."""


class Ending(StrEnum):
    """Why a run ended."""

    TIME = "time"
    RUNS = "runs"
    """It made as many as were asked for, or as are kept."""
    PRECISION = "precision"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class BenchmarkSummary:
    """The result of a benchmark."""

    n: int
    warmup: int
    """Inferences spent on warm-up; in no statistic."""
    latency_ms: LatencySummary
    intervals: dict[str, Interval | None]
    """95 % interval by name: of percentiles between order statistics, of `mean` by a block bootstrap.

    None where there are too few runs, counted as independent ones (`effective_n`)."""
    throughput_per_s: float
    """Items a second: inferences times batch."""
    elapsed_s: float
    peak_rss_bytes: int | None
    cpu_percent: float | None
    noisy: bool
    noise_reason: str
    steady: bool
    histogram: HistogramData
    batch: int = 1
    cancelled: bool = False
    """Whether it was cancelled before its end: a partial result."""
    effective_n: dict[str, int] = field(default_factory=dict)
    """How many independent runs these are worth, by the name of the interval; empty in runs of older versions."""
    autocorrelation: float | None = None
    """Between neighbours, of being above the median; None with fewer than 12 runs."""
    steady_from_s: float | None = None
    """When it became steady, since the start of the first measured inference: 0 where it always was. None: never."""
    drift: float | None = None
    """Median of the last third over that of the first, minus one."""
    outliers: Outliers | None = None
    ended_by: Ending | None = None
    """None in runs of older versions."""
    precision: float | None = None
    """Half the width of the interval of `precision_of` over the figure, where a precision was asked for."""

    @property
    def peak_rss_mb(self) -> float | None:
        """Peak resident memory in MB (10^6 bytes)."""
        return None if self.peak_rss_bytes is None else self.peak_rss_bytes / 1e6


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A saved benchmark."""

    id: str
    ref: str
    """`name@version`, or the path of a file that is not registered."""
    model: str
    version: int | None
    created_at: str
    spec: BenchmarkSpec
    summary: BenchmarkSummary
    fingerprint: Fingerprint
    samples_digest: str = ""
    """Blob with the raw samples (NPZ: starts_s, latencies_ms, warmup_starts_s, warmup_latencies_ms)."""
    command: str = ""
    origin: str = ""
    """Where a run that was not measured in this home comes from, such as `bundle mobilenet@3`; empty for its own."""
    metadata: dict[str, str] = field(default_factory=dict)
    """`golden`: how many golden outputs passed before it, such as `3 of 3`."""

    @property
    def capped(self) -> bool:
        """Whether it ended before its time because no more inferences are kept, and nobody had asked for so many."""
        return not self.summary.cancelled and self.spec.max_runs is None and self.summary.n >= MAX_SAMPLES


CAPPED = f"ended at {MAX_SAMPLES:,} runs, the most that are kept"
"""What is said of a run that is `capped`."""


class UnsavedRunError(StoreError):
    """A measurement that could not be saved; `run` is all there is of it."""

    default_code = "benchmark.unsaved"

    def __init__(self, run: BenchmarkRun, cause: QuickServeError) -> None:
        super().__init__(
            f"The run could not be saved: {cause.message}",
            hint=cause.hint or "What was measured stands in this output only.",
            code=cause.code,
            detail=cause.detail,
        )
        self.run = run


@dataclass(frozen=True, slots=True)
class BenchmarkFigures:
    """The figures of a saved benchmark that lists, filters and sorts look at."""

    run_id: str
    created_at: str
    n: int
    min_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    throughput_per_s: float
    """Items a second."""
    peak_rss_bytes: int | None
    cpu_percent: float | None
    noisy: bool
