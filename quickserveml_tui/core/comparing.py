"""Interleaved comparisons: what is compared, what was found, and the verdict."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import StrEnum

from quickserveml_tui.core.benchmarks import BenchmarkSpec, Fingerprint, Interval
from quickserveml_tui.core.errors import QuickServeError, StoreError, UsageError
from quickserveml_tui.core.units import plain_number

MAX_SIDES = 16
"""Candidates and the baseline together."""


class Verdict(StrEnum):
    """What a comparison says of a candidate beside the baseline."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUAL = "equal"
    """The whole interval lies within the threshold."""
    INCONCLUSIVE = "inconclusive"
    """The interval lies across a threshold, or there are too few rounds for one."""


@dataclass(frozen=True, slots=True)
class Side:
    """A model with settings that takes part; its duration and number of runs are the comparison's."""

    ref: str
    spec: BenchmarkSpec = field(default_factory=BenchmarkSpec)
    label: str = ""
    """How the baseline's model with other settings is called; empty for a model with the settings of all."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.label or self.ref


@dataclass(frozen=True, slots=True)
class ComparisonSpec:
    """How to compare: in each round every side runs one block, in random order."""

    duration_s: float = 10.0
    """Measured time of all sides together."""
    block_s: float = 0.02
    """Least time of a block; a block has one inference at least."""
    generations: int = 0
    """How many times every side gets a new process: the memory that one happens to get can make it a little faster
    throughout. 0 takes one for each 2.5 s, at most 4."""
    threshold: float = 0.02
    """Relative difference of the medians from which on sides are not called equal."""
    precision: float | None = None
    """End early once every interval is no wider than this on each side of its ratio; None measures the whole time."""
    warmup_s: float = 0.3
    """Time to warm up each new process."""
    seed: int = 0
    """Seed of the order within rounds and of the bootstrap."""

    def validate(self) -> ComparisonSpec:
        """Itself, if every value is in range. Raises `UsageError` otherwise."""
        problems = [
            (not 0 < self.duration_s <= 86_400, "The duration must be over 0 s and at most 24 h."),
            (not 0.001 <= self.block_s <= 60, "A block takes 1 ms to 60 s."),
            (not 0 <= self.generations <= 100, "Processes for each side: 1 to 100."),
            (not 0 < self.threshold < 1, "The threshold lies between 0 and 100 %."),
            (
                self.precision is not None and not 0 < self.precision < 1,
                "The precision lies between 0 and 100 %.",
            ),
            (not 0 <= self.warmup_s <= 3_600, "The warm-up must be between 0 s and 1 h."),
        ]
        for wrong, hint in problems:
            if wrong:
                raise UsageError("The settings of the comparison are out of range.", hint=hint, code="usage.compare")
        return self

    @property
    def processes(self) -> int:
        """Processes that each side gets, one after the other."""
        return self.generations or max(1, min(4, int(self.duration_s / 2.5)))

    def to_args(self) -> list[str]:
        """The options of `quickserveml compare` that say the same."""
        default = ComparisonSpec()
        args = ["--duration", f"{plain_number(self.duration_s)}s"]
        if self.threshold != default.threshold:
            args += ["--threshold", f"{plain_number(self.threshold * 100)}%"]
        if self.precision is not None:
            args += ["--precision", f"{plain_number(self.precision * 100)}%"]
        if self.generations:
            args += ["--processes", str(self.generations)]
        if self.block_s != default.block_s:
            args += ["--block", f"{plain_number(self.block_s * 1000)}ms"]
        if self.seed:
            args += ["--order-seed", str(self.seed)]
        return args


@dataclass(frozen=True, slots=True)
class Paired:
    """A candidate beside the baseline."""

    ratio: float
    """Median over the rounds of the candidate's latency over the baseline's; over 1 is slower."""
    interval: Interval | None
    """95 % interval of `ratio` by a block bootstrap over processes and rounds; None with too few rounds."""
    pairs: int
    """Rounds."""
    verdict: Verdict
    reason: str = ""
    """Why it is inconclusive; empty otherwise."""


@dataclass(frozen=True, slots=True)
class SideFigures:
    """What was measured of a side."""

    n: int
    p50_ms: float
    p50_interval: Interval | None
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    throughput_per_s: float
    """Items a second while it ran."""
    cpu_percent: float | None
    peak_rss_bytes: int | None
    batch: int = 1

    @property
    def peak_rss_mb(self) -> float | None:
        """Peak resident memory in MB (10^6 bytes)."""
        return None if self.peak_rss_bytes is None else self.peak_rss_bytes / 1e6


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far the outputs of a candidate lie from the baseline's on the same made-up inputs."""

    compared: bool
    reason: str = ""
    """Why they could not be compared; empty where they were."""
    equal: bool = False
    """Whether every output is the same, bit for bit or in text."""
    max_abs: float | None = None
    """Largest absolute difference of a number; None without numbers."""
    max_rel: float | None = None
    """Largest difference over the largest absolute value of its output in the baseline."""
    worst_output: str = ""


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """A side with its result."""

    side: Side
    model: str
    version: int | None
    digest: str
    figures: SideFigures
    paired: Paired | None
    """None for the baseline."""
    outputs: OutputDifference | None
    """None for the baseline."""


@dataclass(frozen=True, slots=True)
class ComparisonFrame:
    """How far a comparison is."""

    elapsed_s: float
    """Measured time so far."""
    rounds: int
    process: int
    """Which process of each side runs, from 1."""
    p50_ms: tuple[float, ...]
    """Median latency by side, the baseline first; NaN before the first block."""
    paired: tuple[Paired | None, ...]
    """By side; None for the baseline and before there is a round."""
    phase: str = "measuring"
    """`loading`, `measuring` or `done`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison; the first side is the baseline."""

    id: str
    created_at: str
    spec: ComparisonSpec
    sides: tuple[ComparedSide, ...]
    fingerprint: Fingerprint
    """Of the baseline's run: all sides share the machine."""
    elapsed_s: float
    noisy: bool
    noise_reason: str
    samples_digest: str = ""
    """Blob with the rounds (NPZ: `medians_ms`, rounds × sides; `process`, by round; `latencies_ms_K` of side K)."""
    command: str = ""
    cancelled: bool = False
    note: str = ""

    @property
    def baseline(self) -> ComparedSide:
        """The side that the others are held against."""
        return self.sides[0]

    @property
    def candidates(self) -> tuple[ComparedSide, ...]:
        """All sides but the baseline."""
        return self.sides[1:]


class UnsavedComparisonError(StoreError):
    """A comparison that could not be saved; `comparison` is all there is of it."""

    default_code = "comparison.unsaved"

    def __init__(self, comparison: Comparison, cause: QuickServeError) -> None:
        super().__init__(
            f"The comparison could not be saved: {cause.message}",
            hint=cause.hint or "What was measured stands in this output only.",
            code=cause.code,
            detail=cause.detail,
        )
        self.comparison = comparison


def compare_command(refs: tuple[str, ...], spec: ComparisonSpec, options: tuple[str, ...] = ()) -> str:
    """The command line that repeats a comparison."""
    return shlex.join(["quickserveml", "compare", *refs, *spec.to_args(), *options])
